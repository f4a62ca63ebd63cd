//! The session's calls.

use std::cell::RefCell;
use std::fmt;

use crate::connection::Connection;
use crate::error::Result;
use crate::records::Adapter;
use crate::records::Answer;
use crate::records::Data;
use crate::records::Evaluation;
use crate::records::Model;
use crate::records::Predictions;
use crate::records::Probed;
use crate::records::SampleLoss;
use crate::records::Step;
use crate::records::Tensor;
use crate::records::Token;
use crate::records::Trained;
use crate::records::Trial;
use crate::request::Request;
use crate::wire::Wire;

/// The live session. What a call shows while it runs (progress, pictures) appears in the cell at once.
///
/// Every call fails with the message that its command has, and leaves the session as it was.
pub struct Session(RefCell<Result<Connection>>);

impl Session {
    /// A connection of its own. That it cannot be made, the first call says.
    pub fn connect() -> Self {
        Self(RefCell::new(Connection::open()))
    }

    /// Carries out a line of the command language, such as `train 5 lr=1e-4`, and shows in the cell what it shows.
    pub fn run(&self, line: &str) -> Result<()> {
        self.call(Request::Run { line: line.to_string(), shown: true })
    }

    /// Loads a model: a folder, or what a hub has under that name.
    pub fn load(&self, model: &str) -> Result<Model> {
        self.call(Request::Load { model: model.to_string() })
    }

    /// Chooses data sets, with commas between their names.
    pub fn data(&self, names: &str) -> Result<Data> {
        self.call(Request::Data { names: names.to_string() })
    }

    /// A new LoRA adapter from the settings, turned on.
    pub fn lora(&self, name: &str) -> Result<Adapter> {
        self.call(Request::Lora { name: name.to_string() })
    }

    /// A new adapter as the weighted sum of others, turned on: `session().blend("mix=0.7*a+0.3*b combination_type=cat")`.
    pub fn blend(&self, sum: &str) -> Result<Adapter> {
        self.call(Request::Blend { sum: sum.to_string() })
    }

    /// Every adapter of the session.
    pub fn adapters(&self) -> Result<Vec<Adapter>> {
        self.call(Request::Adapters {})
    }

    /// Turns the adapter of that name on.
    pub fn use_adapter(&self, name: &str) -> Result<()> {
        self.call(Request::UseAdapter { name: name.to_string() })
    }

    /// Turns adapters off: the base model answers.
    pub fn adapter_off(&self) -> Result<()> {
        self.call(Request::Run { line: "adapter off".to_string(), shown: false })
    }

    /// Changes a setting, as `session().set("learning_rate", 1e-4)`.
    pub fn set(&self, key: &str, value: impl fmt::Display) -> Result<()> {
        self.call(Request::Set { key: key.to_string(), value: value.to_string() })
    }

    /// The value of a setting, as text.
    pub fn get(&self, key: &str) -> Result<String> {
        self.call(Request::Get { key: key.to_string() })
    }

    /// How many optimizer steps the active adapter was trained for; 0 without one.
    ///
    /// # Panics
    /// The session cannot be reached.
    pub fn step(&self) -> usize {
        match self.call(Request::StepCount {}) {
            Ok(step) => step,
            Err(error) => panic!("{error}"),
        }
    }

    /// Makes so many optimizer steps, or as many as are left.
    ///
    /// # Errors
    /// None is left, which is [`Kind::Finished`](crate::Kind::Finished); it was stopped, which is
    /// [`Kind::Interrupted`](crate::Kind::Interrupted).
    pub fn train(&self, steps: usize) -> Result<Trained> {
        self.call(Request::Train { steps: Some(steps) })
    }

    /// Makes all steps that are left.
    pub fn train_to_end(&self) -> Result<Trained> {
        self.call(Request::Train { steps: None })
    }

    /// Every step made with the active adapter.
    pub fn history(&self) -> Result<Vec<Step>> {
        self.call(Request::History {})
    }

    /// Every evaluation made while the active adapter was trained.
    pub fn evaluations(&self) -> Result<Vec<Evaluation>> {
        self.call(Request::Evaluations {})
    }

    /// The loss on what is held out.
    pub fn evaluate(&self) -> Result<Evaluation> {
        self.call(Request::Evaluate {})
    }

    /// Answers to what is held out, with their scores.
    pub fn predict(&self) -> Result<Predictions> {
        self.call(Request::Predict {})
    }

    /// Asks the model, with pictures in front of the text; the conversation goes on from call to call.
    pub fn chat(&self, text: &str, images: &[&str]) -> Result<String> {
        self.ask(text, images, None)
    }

    /// The same; pieces of the answer are handed to `on_piece` as they are made.
    pub fn chat_streamed(&self, text: &str, images: &[&str], mut on_piece: impl FnMut(&str)) -> Result<String> {
        self.ask(text, images, Some(&mut on_piece))
    }

    /// Asks for several answers to a question, each with its own seed; the conversation goes on with the first.
    pub fn chat_n(&self, text: &str, images: &[&str], n: usize) -> Result<Vec<Answer>> {
        self.call(Request::ChatN { text: text.to_string(), images: owned(images), n })
    }

    /// Asks the model, and tells of each token of its answer, the one that ends it included, how likely it was, with so many
    /// of the likeliest tokens in its place.
    pub fn chat_tokens(&self, text: &str, images: &[&str], alternatives: usize) -> Result<Vec<Token>> {
        self.call(Request::ChatTokens { text: text.to_string(), images: owned(images), alternatives })
    }

    /// Asks the base model and all adapters the same question; the conversation is not changed.
    pub fn compare(&self, text: &str, images: &[&str]) -> Result<Vec<Answer>> {
        self.call(Request::Compare { text: text.to_string(), images: owned(images) })
    }

    /// Has trainings answer a question before their first step and every `probe_steps`.
    pub fn probe(&self, question: &str, images: &[&str]) -> Result<()> {
        self.call(Request::Probe { question: question.to_string(), images: owned(images) })
    }

    /// The answers to probes during the training of the active adapter, by step.
    pub fn probes(&self) -> Result<Vec<Probed>> {
        self.call(Request::Probes {})
    }

    /// Goes back so many optimizer steps; gives the step that the training is at.
    pub fn undo(&self, steps: usize) -> Result<usize> {
        self.call(Request::Undo { steps: Some(steps) })
    }

    /// Goes back to before the last call of `train`; gives the step that the training is at.
    pub fn undo_train(&self) -> Result<usize> {
        self.call(Request::Undo { steps: None })
    }

    /// Takes the last `undo` back; gives the step that the training is at.
    pub fn redo(&self) -> Result<usize> {
        self.call(Request::Redo {})
    }

    /// A second adapter that goes on from here, turned on.
    pub fn branch(&self, name: &str) -> Result<Adapter> {
        self.call(Request::Branch { name: name.to_string(), at: None })
    }

    /// The same from an earlier step.
    pub fn branch_at(&self, name: &str, step: usize) -> Result<Adapter> {
        self.call(Request::Branch { name: name.to_string(), at: Some(step) })
    }

    /// The same training with different settings, as `session().sweep("learning_rate=1e-4,1e-3", 30)`; the best is turned on.
    pub fn sweep(&self, settings: &str, steps: usize) -> Result<Vec<Trial>> {
        self.call(Request::Sweep { settings: settings.to_string(), steps })
    }

    /// The samples of a split, `train` or `eval`, with the highest loss, the worst first.
    pub fn worst(&self, most: usize, split: &str) -> Result<Vec<SampleLoss>> {
        self.call(Request::Worst { most, split: split.to_string() })
    }

    /// Leaves training samples out from the next step on, by their numbers.
    pub fn data_drop(&self, samples: &[usize]) -> Result<()> {
        let numbers: Vec<_> = samples.iter().map(usize::to_string).collect();
        self.call(Request::Run { line: format!("data drop {}", numbers.join(",")), shown: false })
    }

    /// Takes all of them back.
    pub fn data_undrop(&self) -> Result<()> {
        self.call(Request::Run { line: "data undrop all".to_string(), shown: false })
    }

    /// Forgets the conversation.
    pub fn chat_clear(&self) -> Result<()> {
        self.call(Request::Run { line: "chat clear".to_string(), shown: false })
    }

    /// Shows a curve in the cell: `loss`, `eval_loss`, `lr` or `grad_norm`.
    pub fn plot(&self, name: &str) -> Result<()> {
        self.call(Request::Plot { name: name.to_string() })
    }

    /// Every tensor of the adapter that is on.
    pub fn tensors(&self) -> Result<Vec<Tensor>> {
        self.call(Request::Tensors {})
    }

    /// The one of that name.
    pub fn tensor(&self, name: &str) -> Result<Tensor> {
        self.call(Request::Tensor { name: name.to_string() })
    }

    fn ask(&self, text: &str, images: &[&str], on_piece: Option<&mut dyn FnMut(&str)>) -> Result<String> {
        let request = Request::Chat { text: text.to_string(), images: owned(images), streamed: on_piece.is_some() };
        self.call_streamed(&request, on_piece.unwrap_or(&mut |_| {}))
    }

    fn call<T: Wire>(&self, request: Request) -> Result<T> {
        self.call_streamed(&request, &mut |_| {})
    }

    fn call_streamed<T: Wire>(&self, request: &Request, on_piece: &mut dyn FnMut(&str)) -> Result<T> {
        match &mut *self.0.borrow_mut() {
            Ok(connection) => connection.call(request, on_piece),
            Err(error) => Err(error.clone()),
        }
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the live session")
    }
}

fn owned(images: &[&str]) -> Vec<String> {
    images.iter().map(|image| image.to_string()).collect()
}
