//! Asking the client that sent a cell for a line of text.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use crossbeam_channel::Receiver as Answers;
use crossbeam_channel::RecvTimeoutError;
use crossbeam_channel::unbounded;
use serde_json::json;
use tunebook_commands::colourless;
use tunebook_quote::message;
use zeromq::SocketRecv;

use crate::kernel::Kernel;
use crate::kernel::Replies;
use crate::kernel::pause;
use crate::log::log;
use crate::request;
use crate::wire::Incoming;
use crate::wire::Origin;
use crate::wire::Receiver;

/// How often a wait for an answer looks whether it was interrupted.
const POLL: Duration = Duration::from_millis(50);

/// The stdin socket, for the thread that runs cells.
#[derive(Clone)]
pub(crate) struct Stdin {
    requests: Replies,
    answers: Arc<Mutex<Answers<Incoming>>>,
}

impl Stdin {
    pub(crate) fn start<S: SocketRecv + Send + 'static>(mut socket: Receiver<S>, requests: Replies) -> Self {
        let (sender, answers) = unbounded();
        tokio::spawn(async move {
            loop {
                match socket.receive().await {
                    Ok(message) => drop(sender.send(message)),
                    Err(problem) => {
                        log(&format!("a message on stdin was dropped: {}", colourless(&message(&problem))));
                        pause().await;
                    }
                }
            }
        });
        Self { requests, answers: Arc::new(Mutex::new(answers)) }
    }

    /// Asks the client behind `origin`; `None` if the cell is interrupted meanwhile.
    pub(crate) fn ask(&self, origin: &Origin, prompt: &str, is_secret: bool, kernel: &Kernel) -> Option<String> {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        // Answers to a question that was given up count no more.
        while answers.try_recv().is_ok() {}
        kernel.iopub.flush();
        self.requests.send(origin, "input_request", json!({"prompt": prompt, "password": is_secret}));
        loop {
            match answers.recv_timeout(POLL) {
                Ok(answer) if answer.kind == "input_reply" && answer.origin.session() == origin.session() => {
                    let reply: request::InputReply = answer.read().unwrap_or_default();
                    return Some(reply.value);
                }
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) if !kernel.is_interrupted() => {}
                Err(_) => return None,
            }
        }
    }
}
