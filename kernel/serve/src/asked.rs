//! What a client asks for, read and checked.

use serde_json::Value;

use crate::Reply;

/// One request for a chat completion.
#[derive(Debug)]
pub struct Asked {
    /// One of [`Answerer::models`](crate::Answerer::models), as they were when the request came.
    pub model: String,
    /// At least one.
    pub messages: Vec<Message>,
    /// The tools as the client described them, `{"type": "function", "function": {…}}`. Empty with `tool_choice: "none"`.
    pub tools: Vec<Value>,
    pub options: AskedOptions,
    /// Where the answer goes.
    pub reply: Reply,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    pub role: Role,
    /// Empty for an assistant's message that only calls tools.
    pub parts: Vec<Part>,
    /// An assistant's calls of tools as the client gave them, `{"id", "type", "function": {"name", "arguments"}}`; the
    /// arguments are JSON in a string.
    pub tool_calls: Vec<Value>,
    /// Which of them a tool's message answers.
    pub tool_call_id: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// `developer`, too.
    System,
    User,
    Assistant,
    Tool,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Part {
    Text(String),
    /// An encoded file of some kind; nobody has looked into it. In a user's message only.
    Image(Vec<u8>),
}

/// How to answer. None where the client does not say.
#[derive(Clone, Debug, PartialEq)]
pub struct AskedOptions {
    /// 0 to 2.
    pub temperature: Option<f64>,
    /// 0 to 1.
    pub top_p: Option<f64>,
    /// At least 1. None, too, where the client gives 0 or -1, which is vLLM's word for all tokens.
    pub top_k: Option<usize>,
    /// Above 0, at most 10.
    pub repetition_penalty: Option<f64>,
    /// The same seed asks for the same answers. Choices of one request are to differ all the same.
    pub seed: Option<u64>,
    /// The most tokens of one choice, at least 1 (`max_completion_tokens`, or `max_tokens`).
    pub max_tokens: Option<usize>,
    /// How many answers, at least 1.
    pub n: usize,
    /// For each token the log-probabilities of so many of the likeliest, at most 20. 0: only the chosen token's. None: the
    /// client asks for none.
    pub top_logprobs: Option<usize>,
}
