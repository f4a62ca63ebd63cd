//! Requests as the protocol has them, to conversations as the engine has them, and back.

use std::collections::HashMap;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use serde_json::Value;
use tunebook_data::IMAGE_PLACEHOLDER;
use tunebook_data::ImageError;
use tunebook_data::Message;
use tunebook_engine::Error;
use tunebook_engine::chat_requests::ChatRequest;
use tunebook_engine::chat_requests::ChatRequests;
use tunebook_engine::chat_requests::Decoding;
use tunebook_engine::chat_requests::Heard;
use tunebook_engine::chat_requests::Likely;
use tunebook_engine::chat_requests::Score;
use tunebook_engine::report::AnswerEnd;
use tunebook_serve::Asked;
use tunebook_serve::Ended;
use tunebook_serve::Inbox;
use tunebook_serve::Part;
use tunebook_serve::Refusal;
use tunebook_serve::Reply;
use tunebook_serve::Role;
use tunebook_serve::Scored;

/// What clients ask, taken from the server's inbox.
pub(super) struct FromClients<'a> {
    inbox: &'a Inbox,
    /// How many requests there were.
    count: &'a AtomicUsize,
    /// Whether those that are still in the inbox have to wait for their turn.
    is_closed: &'a dyn Fn() -> bool,
    open: HashMap<usize, Asking>,
}

/// A request whose answers are on their way.
struct Asking {
    reply: Reply,
    /// How many answers have not ended.
    left: usize,
}

impl<'a> FromClients<'a> {
    pub(super) fn new(inbox: &'a Inbox, count: &'a AtomicUsize, is_closed: &'a dyn Fn() -> bool) -> Self {
        Self { inbox, count, is_closed, open: HashMap::new() }
    }
}

impl ChatRequests for FromClients<'_> {
    fn next(&mut self) -> Option<ChatRequest> {
        while !(self.is_closed)() {
            let Asked { model, messages, tools, options, reply } = self.inbox.next()?;
            match conversation(messages) {
                Err(problem) => reply.refuse(invalid(problem)),
                Ok(Conversation { system, messages, images }) => {
                    let id = self.count.fetch_add(1, Ordering::Relaxed);
                    self.open.insert(id, Asking { reply, left: options.n });
                    let tools = if tools.is_empty() { String::new() } else { Value::Array(tools).to_string() };
                    let decoding = Decoding {
                        temperature: options.temperature,
                        top_p: options.top_p,
                        top_k: options.top_k,
                        repetition_penalty: options.repetition_penalty,
                        seed: options.seed,
                        max_new_tokens: options.max_tokens,
                        alternatives: options.top_logprobs,
                    };
                    return Some(ChatRequest { id, model, messages, system, tools, images, n: options.n, decoding });
                }
            }
        }
        None
    }

    fn hear(&mut self, id: usize, heard: Heard) {
        let Some(Asking { reply, left }) = self.open.get_mut(&id) else { return };
        match heard {
            Heard::Begin { prompt_tokens, cached_tokens } => reply.begin(prompt_tokens, cached_tokens),
            Heard::Piece { answer, text, score } => {
                reply.count(answer);
                score.into_iter().for_each(|score| reply.token(answer, scored(score)));
                reply.piece(answer, &text);
            }
            Heard::End { answer, end } => {
                let end = match end {
                    AnswerEnd::EndOfTurn => Ended::Stop,
                    AnswerEnd::MaxNewTokens => Ended::Length,
                    AnswerEnd::Interrupted => Ended::Interrupted,
                };
                reply.end(answer, end);
                *left -= 1;
                if *left == 0 {
                    self.open.remove(&id);
                }
            }
        }
    }

    fn fail(&mut self, id: usize, error: &Error) {
        if let Some(Asking { reply, .. }) = self.open.remove(&id) {
            reply.refuse(refusal(error));
        }
    }

    fn is_wanted(&self, id: usize, answer: usize) -> bool {
        self.open.get(&id).is_some_and(|asking| asking.reply.is_wanted(answer))
    }
}

fn scored(Score { token, likeliest }: Score) -> Scored {
    let Likely { text: token, bytes, log_probability: logprob } = token;
    let top = likeliest.into_iter().map(|Likely { text, bytes, log_probability }| (text, bytes, log_probability));
    Scored { token, bytes, logprob, top: top.collect() }
}

fn invalid(message: impl ToString) -> Refusal {
    Refusal::Invalid { message: message.to_string(), param: Some("messages".to_string()) }
}

/// What of an error is told to whoever has asked: what is wrong with the request, and of other errors only that there was
/// one, since they may name files.
fn refusal(error: &Error) -> Refusal {
    match error {
        Error::UnknownAdapter { .. } => Refusal::UnknownModel,
        Error::NoModel => Refusal::NoModel,
        Error::PromptTooLong { tokens, most } => Refusal::TooLong { prompt_tokens: *tokens, most: *most },
        Error::Template(_) | Error::Image(ImageError::Picture(_)) => invalid(error),
        _ => Refusal::Failed { message: "The model failed to answer.".to_string() },
    }
}

/// The messages of a request.
#[derive(Debug, Default, PartialEq)]
struct Conversation {
    system: Option<String>,
    messages: Vec<Message>,
    images: Vec<Vec<u8>>,
}

/// System messages come first; then user and assistant take turns, and the user is the last. Results of tools that follow
/// each other become one message, as in a dataset's records.
fn conversation(asked: Vec<tunebook_serve::Message>) -> Result<Conversation, String> {
    let mut conversation = Conversation::default();
    for (index, message) in asked.into_iter().enumerate() {
        let (text, calls) = (text(message.parts, &mut conversation.images), message.tool_calls);
        let Conversation { system, messages, .. } = &mut conversation;
        let (role, text) = match message.role {
            Role::System if messages.is_empty() => {
                *system = Some(system.take().map_or(String::new(), |system| system + "\n") + &text);
                continue;
            }
            Role::System => return Err(format!("message {index}: system messages must come first")),
            Role::User => (tunebook_data::Role::User, text),
            Role::Assistant if calls.is_empty() => (tunebook_data::Role::Assistant, text),
            Role::Assistant => (tunebook_data::Role::Function, function_calls(&calls, index)?),
            Role::Tool => (tunebook_data::Role::Observation, text),
        };
        match messages.last_mut() {
            Some(last) if last.role == role && role == tunebook_data::Role::Observation => {
                last.content += tunebook_data::NEXT_TOOL_RESULT;
                last.content += &text;
            }
            _ => messages.push(Message::new(role, text)),
        }
    }
    let is_question = |message: &Message| !message.role.is_answer();
    let order = |(turn, message): (usize, &Message)| is_question(message) == (turn % 2 == 0);
    let messages = &conversation.messages;
    if !messages.iter().enumerate().all(order) {
        return Err("user and assistant must take turns, beginning with the user".to_string());
    }
    match messages.last().is_some_and(is_question) {
        true => Ok(conversation),
        false => Err("the last message must be the user's, or a tool's".to_string()),
    }
}

/// The text of a message, with its pictures where they come.
fn text(parts: Vec<Part>, images: &mut Vec<Vec<u8>>) -> String {
    let text = |part| match part {
        Part::Text(text) => text,
        Part::Image(image) => {
            images.push(image);
            IMAGE_PLACEHOLDER.to_string()
        }
    };
    parts.into_iter().map(text).collect()
}

/// Calls as a dataset has them: `{"name": …, "arguments": …}`, of which OpenAI's protocol has the arguments as text.
fn function_calls(calls: &[Value], index: usize) -> Result<String, String> {
    let call = |call: &Value| {
        let function = call.get("function")?.as_object()?;
        let (name, arguments) = (function.get("name")?, function.get("arguments")?);
        let parsed = arguments.as_str().map(serde_json::from_str::<Value>);
        let arguments = parsed.map_or_else(|| Some(arguments.clone()), Result::ok)?;
        Some(serde_json::json!({"name": name, "arguments": arguments}))
    };
    let calls: Option<Vec<_>> = calls.iter().map(call).collect();
    let calls =
        calls.ok_or_else(|| format!("message {index}: tool_calls need function.name and function.arguments"))?;
    Ok(Value::Array(calls).to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn message(role: Role, parts: Vec<Part>) -> tunebook_serve::Message {
        tunebook_serve::Message { role, parts, tool_calls: Vec::new(), tool_call_id: None }
    }

    fn said(role: Role, text: &str) -> tunebook_serve::Message {
        message(role, vec![Part::Text(text.to_string())])
    }

    #[test]
    fn messages_become_a_conversation() {
        let call = json!({"type": "function", "function": {"name": "f", "arguments": "{\"x\": 1}"}});
        let calls = tunebook_serve::Message { tool_calls: vec![call], ..said(Role::Assistant, "") };
        let asked = vec![
            said(Role::System, "Be brief."),
            said(Role::System, "Be kind."),
            message(Role::User, vec![Part::Image(vec![1]), Part::Text("Who?".to_string()), Part::Image(vec![2])]),
            calls,
            said(Role::Tool, "one"),
            said(Role::Tool, "two"),
        ];
        let Conversation { system, messages, images } = conversation(asked).unwrap();
        assert_eq!(system.unwrap(), "Be brief.\nBe kind.");
        assert_eq!(images, [[1], [2]]);
        let contents: Vec<_> = messages.iter().map(|message| message.content.as_str()).collect();
        let call = r#"[{"name":"f","arguments":{"x":1}}]"#;
        assert_eq!(contents, ["<image>Who?<image>", call, "one\n</tool_response>\n<tool_response>\ntwo"]);
    }

    #[test]
    fn an_order_that_the_template_does_not_have_is_named() {
        let problem = |roles: &[Role]| conversation(roles.iter().map(|role| said(*role, "x")).collect()).unwrap_err();
        assert!(problem(&[]).contains("last message"));
        assert!(problem(&[Role::User, Role::Assistant]).contains("last message"));
        assert!(problem(&[Role::User, Role::User]).contains("take turns"));
        assert!(problem(&[Role::Assistant, Role::User]).contains("take turns"));
        assert!(problem(&[Role::User, Role::System]).contains("message 1: system"));
    }
}
