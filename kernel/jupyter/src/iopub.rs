//! The one writer of iopub, the socket on which every client hears what any of them caused.

use std::time::Duration;

use crossbeam_channel::RecvTimeoutError;
use serde_json::Value;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::wire::Origin;
use crate::wire::Outgoing;
use crate::wire::Publisher;

/// How long streamed text is gathered before it is sent; one message per line would overload a browser.
const GATHER: Duration = Duration::from_millis(80);
/// Text that is longer does not wait.
const MOST_GATHERED: usize = 1 << 16;

/// Sends on iopub from any thread; messages leave in the order in which they are submitted.
#[derive(Clone)]
pub(crate) struct IoPub(mpsc::UnboundedSender<Letter>);

/// What the writer is handed.
pub(crate) enum Letter {
    Message(Outgoing),
    /// To be dropped when everything before it is sent.
    Flush(crossbeam_channel::Sender<()>),
}

/// A stream of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    Stdout,
    Stderr,
}

impl IoPub {
    /// The handle, and what [`write()`] reads from.
    pub(crate) fn new() -> (Self, mpsc::UnboundedReceiver<Letter>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self(sender), receiver)
    }

    pub(crate) fn busy(&self, origin: &Origin) {
        self.send(origin, "status", json!({"execution_state": "busy"}));
    }

    pub(crate) fn idle(&self, origin: &Origin) {
        self.send(origin, "status", json!({"execution_state": "idle"}));
    }

    pub(crate) fn stream(&self, origin: &Origin, stream: Stream, text: &str) {
        let name = if stream == Stream::Stdout { "stdout" } else { "stderr" };
        self.send(origin, "stream", json!({"name": name, "text": text}));
    }

    pub(crate) fn send(&self, origin: &Origin, kind: &'static str, content: Value) {
        self.send_with(origin, kind, content, json!({}));
    }

    /// The same with metadata of the message.
    pub(crate) fn send_with(&self, origin: &Origin, kind: &'static str, content: Value, metadata: Value) {
        // The writer lives as long as the process.
        let _ =
            self.0.send(Letter::Message(Outgoing { metadata, ..Outgoing::new(Some(origin.clone()), kind, content) }));
    }

    /// What a comm says.
    pub(crate) fn comm(&self, origin: &Origin, comm_id: &str, data: Value) {
        self.send(origin, "comm_msg", json!({"comm_id": comm_id, "data": data}));
    }

    /// Waits until everything is sent, so that what is asked on another socket comes after it.
    pub(crate) fn flush(&self) {
        self.flush_unless(|| false);
    }

    /// The same, unless it is given up: a client that does not read keeps the writer waiting.
    pub(crate) fn flush_unless(&self, is_given_up: impl Fn() -> bool) {
        let (letter, sent) = crossbeam_channel::bounded(0);
        let _ = self.0.send(Letter::Flush(letter));
        // Nothing is ever received: the other end is dropped.
        while sent.recv_timeout(GATHER) == Err(RecvTimeoutError::Timeout) && !is_given_up() {}
    }
}

/// Writes what the handles send until the last of them is gone, and welcomes subscribers (JEP 65).
pub(crate) async fn write(mut socket: Publisher, mut letters: mpsc::UnboundedReceiver<Letter>) {
    let mut gathered: Option<(Outgoing, Instant)> = None;
    loop {
        let until = gathered.as_ref().map_or_else(|| Instant::now() + GATHER, |(_, since)| *since + GATHER);
        tokio::select! {
            // In this order: a subscriber is welcomed before it hears anything else.
            biased;
            topic = socket.subscription() => if let Ok(topic) = topic {
                let content = json!({"subscription": topic});
                send(&mut socket, Outgoing::new(None, "iopub_welcome", content)).await;
            },
            letter = letters.recv() => match letter {
                Some(Letter::Flush(letter)) => {
                    flush(&mut socket, gathered.take()).await;
                    drop(letter);
                }
                Some(Letter::Message(message)) => gathered = gather(&mut socket, gathered, message).await,
                None => break,
            },
            () = tokio::time::sleep_until(until), if gathered.is_some() => {
                flush(&mut socket, gathered.take()).await;
            }
        }
    }
    flush(&mut socket, gathered).await;
}

/// Adds text to text of the same cell and stream; anything else sends first what was gathered.
async fn gather(
    socket: &mut Publisher,
    gathered: Option<(Outgoing, Instant)>,
    message: Outgoing,
) -> Option<(Outgoing, Instant)> {
    let gathered = match gathered {
        Some((mut text, since)) if continues(&text, &message) => {
            if let (Value::String(text), Value::String(more)) = (&mut text.content["text"], &message.content["text"]) {
                text.push_str(more);
            }
            Some((text, since))
        }
        other => {
            flush(socket, other).await;
            if message.kind != "stream" {
                send(socket, message).await;
                return None;
            }
            Some((message, Instant::now()))
        }
    };
    let is_long = |text: &Outgoing| text.content["text"].as_str().is_some_and(|text| text.len() > MOST_GATHERED);
    match gathered {
        Some((text, _)) if is_long(&text) => {
            send(socket, text).await;
            None
        }
        gathered => gathered,
    }
}

fn continues(text: &Outgoing, message: &Outgoing) -> bool {
    let cell = |message: &Outgoing| message.origin.as_ref().map(|origin| origin.message_id().to_string());
    message.kind == "stream" && text.content["name"] == message.content["name"] && cell(text) == cell(message)
}

async fn flush(socket: &mut Publisher, gathered: Option<(Outgoing, Instant)>) {
    if let Some((text, _)) = gathered {
        send(socket, text).await;
    }
}

async fn send(socket: &mut Publisher, message: Outgoing) {
    // A subscriber that went away is no reason to stop.
    let _ = socket.send(message).await;
}
