//! Requests to the session, and their answers.

use crate::wire::choice;

choice! {
    /// A call. The first one on a connection is `Hello`.
    pub enum Request {
        /// The token that lets in.
        Hello { token: String } = 0,
        /// A line of the command language. Answer: nothing; if `shown`, what the command answers appears in the cell.
        Run { line: String, shown: bool } = 1,
        /// Answer: how many optimizer steps the active adapter was trained for.
        StepCount {} = 2,
        /// Answer: the setting's value as text.
        Get { key: String } = 3,
        Set { key: String, value: String } = 4,
        /// Answer: [`Model`](crate::Model).
        Load { model: String } = 5,
        /// Answer: [`Data`](crate::Data).
        Data { names: String } = 6,
        /// Answer: [`Adapter`](crate::Adapter).
        Lora { name: String } = 7,
        /// What stands behind `blend` on a line. Answer: [`Adapter`](crate::Adapter).
        Blend { sum: String } = 31,
        /// Answer: [`Trained`](crate::Trained).
        Train { steps: Option<usize> } = 8,
        /// Answer: a list of [`Step`](crate::Step).
        History {} = 9,
        /// Answer: a list of [`Evaluation`](crate::Evaluation).
        Evaluations {} = 10,
        /// Answer: [`Evaluation`](crate::Evaluation).
        Evaluate {} = 11,
        /// Answer: [`Predictions`](crate::Predictions).
        Predict {} = 12,
        /// Answer: the text, which comes in pieces as well if `streamed`.
        Chat { text: String, images: Vec<String>, streamed: bool } = 13,
        /// Answer: a list of [`Answer`](crate::Answer).
        ChatN { text: String, images: Vec<String>, n: usize } = 21,
        /// Answer: a list of [`Token`](crate::Token).
        ChatTokens { text: String, images: Vec<String>, alternatives: usize } = 25,
        /// Answer: a list of [`Answer`](crate::Answer).
        Compare { text: String, images: Vec<String> } = 22,
        /// Answer: nothing.
        Probe { question: String, images: Vec<String> } = 23,
        /// Answer: a list of [`Probed`](crate::Probed).
        Probes {} = 24,
        /// Answer: how many optimizer steps the active adapter is trained for now.
        Undo { steps: Option<usize> } = 30,
        /// Answer: as that of `Undo`.
        Redo {} = 26,
        /// Answer: [`Adapter`](crate::Adapter).
        Branch { name: String, at: Option<usize> } = 27,
        /// Answer: a list of [`Trial`](crate::Trial).
        Sweep { settings: String, steps: usize } = 28,
        /// Answer: a list of [`SampleLoss`](crate::SampleLoss).
        Worst { most: usize, split: String } = 29,
        /// Answer: a list of [`Adapter`](crate::Adapter).
        Adapters {} = 14,
        /// Answer: a list of [`Tensor`](crate::Tensor).
        Tensors {} = 15,
        /// Answer: [`Tensor`](crate::Tensor).
        Tensor { name: String } = 18,
        /// Answer: nothing.
        UseAdapter { name: String } = 19,
        /// Answer: nothing; the curve appears in the cell.
        Plot { name: String } = 20,
        /// What the cell has written to standard output or standard error, a part of it. Answer: nothing.
        Print { text: String, is_error: bool } = 32,
        /// The cell reads standard input. Answer: the user's line, or none if the input is at its end.
        Input { prompt: String, is_secret: bool } = 33,
        /// A line for the cell's standard error, which may be the text of an error. Answer: nothing.
        Stderr { line: String } = 16,
        /// The cell has panicked, or an error was passed on by `?`, which the line before it says. Answer: nothing.
        Failed { panicked: bool } = 17,
    }
}

choice! {
    /// What comes back, in frames: any number of pieces, and one of the others at the end.
    pub enum Part {
        /// A piece of an answer's text.
        Piece { text: String } = 0,
        /// The value, in bytes, as its type travels.
        Value { bytes: Vec<u8> } = 1,
        Refused { message: String } = 2,
        Interrupted { message: String } = 3,
        Finished { message: String } = 4,
    }
}
