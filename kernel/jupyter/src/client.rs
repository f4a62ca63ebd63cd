//! A client of a running kernel, for the prompt: it shares the kernel's session with the notebook.

use std::collections::HashMap;
use std::collections::HashSet;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;
use std::time::Instant;
use std::time::SystemTime;

use crossbeam_channel::Receiver as Inbox;
use crossbeam_channel::RecvTimeoutError;
use crossbeam_channel::Sender as Letters;
use crossbeam_channel::unbounded;
use serde_json::Value;
use serde_json::json;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

use crate::error::Error;
use crate::error::Result;
use crate::kernelspec;
use crate::wire::Address;
use crate::wire::ClientSockets;
use crate::wire::Incoming;
use crate::wire::Outgoing;
use crate::wire::Receiver;
use crate::wire::Sender;

/// Time limit for requests that a kernel answers at once.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long what was shown before a question may take longer than the question itself, on its own socket.
const SETTLE: Duration = Duration::from_millis(30);
/// Interval at which a silent kernel is asked whether it is alive.
const ASK: Duration = Duration::from_secs(2);

/// A client of a kernel.
pub struct Client {
    /// Holds the tasks that read and write the sockets.
    _runtime: Runtime,
    inbox: Inbox<(Channel, Incoming)>,
    shell: Outbox,
    control: Outbox,
    stdin: Outbox,
}

/// An output of a cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shown {
    /// A cell is about to run.
    Input(String),
    Text(String),
    /// An output as plain text.
    Output(String),
    /// A display as plain text, which replaces what it showed before.
    Display(String),
    /// The lines of a traceback, with ANSI escapes.
    Error(Vec<String>),
    Clear,
}

/// How a cell ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Done,
    Failed,
    /// The cell asks its client to leave.
    Leave,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Channel {
    Shell,
    Control,
    Stdin,
    IoPub,
}

type Outbox = mpsc::UnboundedSender<Outgoing>;

impl Client {
    /// Attaches to the kernel of a connection file, or to the one that was started last. `overhear` is told, on a thread
    /// of its own, what the cells of other clients show.
    ///
    /// # Errors
    /// There is no such kernel, or it does not answer.
    pub fn attach(file: Option<&Path>, overhear: impl FnMut(Shown) + Send + 'static) -> Result<Self> {
        if let Some(file) = file {
            return Self::connect(&Address::read(file)?, overhear);
        }
        let folder = jupyter_zmq_client::runtime_dir();
        let mut known = newest_first(&folder).into_iter().filter_map(|file| Address::read(&file).ok());
        let kernels =
            kernelspec::list().into_iter().filter_map(|kernel| kernel.folder.file_name()?.to_str().map(str::to_string));
        let names: HashSet<_> = kernels.chain([kernelspec::NAME.to_string()]).collect();
        // The files of kernels that were killed stay.
        let is_ours = |address: &Address| address.name().is_some_and(|name| names.contains(name));
        let running = known.find(|address| is_ours(address) && address.is_listening());
        Self::connect(&running.ok_or(Error::NoKernel(folder))?, overhear)
    }

    fn connect(address: &Address, overhear: impl FnMut(Shown) + Send + 'static) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.map_err(Error::Start)?;
        let connect = async { tokio::time::timeout(PATIENCE, ClientSockets::connect(address)).await };
        let sockets = runtime.block_on(connect).map_err(|_| Error::NoAnswer)??;
        let (letters, inbox) = unbounded();
        runtime.spawn(listen(sockets.iopub, sockets.session, letters.clone(), overhear));
        let client = Self {
            inbox,
            shell: exchange(&runtime, sockets.shell, Channel::Shell, letters.clone()),
            control: exchange(&runtime, sockets.control, Channel::Control, letters.clone()),
            stdin: exchange(&runtime, sockets.stdin, Channel::Stdin, letters),
            _runtime: runtime,
        };
        client.request(&client.shell, "kernel_info_request", json!({}));
        client.reply("kernel_info_reply").map(|_| client)
    }

    /// Runs a cell. `show` draws what it shows, `ask` answers what it asks.
    ///
    /// # Errors
    /// The kernel is gone.
    pub fn execute(&self, code: &str, show: &mut dyn FnMut(Shown), ask: &mut dyn FnMut(&str) -> String) -> Result<End> {
        let content = json!({
            "code": code, "silent": false, "store_history": true, "user_expressions": {}, "allow_stdin": true,
            "stop_on_error": true,
        });
        self.request(&self.shell, "execute_request", content);
        let mut reply: Option<Incoming> = None;
        // Cells whose idle was heard before their reply.
        let mut idle = Vec::new();
        let mut question: Option<String> = None;
        let mut heard = Instant::now();
        loop {
            let (channel, message) = match self.inbox.recv_timeout(if question.is_some() { SETTLE } else { ASK }) {
                Ok(message) => message,
                Err(_) if let Some(prompt) = question.take() => {
                    let value = ask(&prompt);
                    self.request(&self.stdin, "input_reply", json!({"value": value, "status": "ok"}));
                    heard = Instant::now();
                    continue;
                }
                Err(RecvTimeoutError::Timeout) if heard.elapsed() < PATIENCE + ASK => {
                    self.request(&self.control, "kernel_info_request", json!({}));
                    continue;
                }
                Err(_) => return Err(Error::NoAnswer),
            };
            heard = Instant::now();
            match (channel, message.kind.as_str()) {
                (Channel::Stdin, "input_request") => {
                    question = Some(message.content["prompt"].as_str().unwrap_or_default().to_string());
                }
                (Channel::Shell, "execute_reply") => reply = Some(message),
                (Channel::IoPub, "status") if message.content["execution_state"] == "idle" => {
                    idle.push(message.parent_id);
                }
                (Channel::IoPub, kind) if kind != "execute_input" => shown(&message).into_iter().for_each(&mut *show),
                _ => {}
            }
            if let Some(reply) = reply.as_ref().filter(|reply| idle.contains(&reply.parent_id)) {
                return Ok(end(&reply.content));
            }
        }
    }

    /// The completions at `cursor`, and where the text that they replace begins, both in bytes.
    pub fn complete(&self, line: &str, cursor: usize) -> (usize, Vec<String>) {
        let cursor_pos = line.get(..cursor).map_or(0, |before| before.chars().count());
        self.request(&self.shell, "complete_request", json!({"code": line, "cursor_pos": cursor_pos}));
        let Ok(reply) = self.reply("complete_reply") else { return (cursor, Vec::new()) };
        let start = reply["cursor_start"].as_u64().and_then(|start| usize::try_from(start).ok()).unwrap_or(cursor_pos);
        let start = line.char_indices().nth(start).map_or(line.len(), |(at, _)| at);
        let matches = reply["matches"].as_array().into_iter().flatten();
        (start, matches.filter_map(|text| text.as_str().map(str::to_string)).collect())
    }

    /// A handle that interrupts the running cell, whichever client sent it, from any thread.
    pub fn interrupter(&self) -> impl Fn() + Send + 'static {
        let control = self.control.clone();
        move || {
            let _ = control.send(Outgoing::new(None, "interrupt_request", json!({})));
        }
    }

    fn request(&self, outbox: &Outbox, kind: &'static str, content: Value) {
        // The writer lives as long as the client.
        let _ = outbox.send(Outgoing::new(None, kind, content));
    }

    /// The next reply of that kind on shell.
    fn reply(&self, kind: &str) -> Result<Value> {
        let until = Instant::now() + PATIENCE;
        loop {
            match self.inbox.recv_deadline(until) {
                Ok((Channel::Shell, message)) if message.kind == kind => return Ok(message.content),
                Ok(_) => {}
                Err(_) => return Err(Error::NoAnswer),
            }
        }
    }
}

/// The connection files of a folder.
fn newest_first(folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<(SystemTime, PathBuf)> = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let is_json = entry.path().extension().is_some_and(|ending| ending == "json");
        if let (true, Ok(time)) = (is_json, entry.metadata().and_then(|data| data.modified())) {
            found.push((time, entry.path()));
        }
    }
    found.sort();
    found.into_iter().rev().map(|(_, path)| path).collect()
}

/// Reads a socket into the inbox, and writes to it what the outbox is given.
fn exchange<R, S>(
    runtime: &Runtime,
    (mut from, mut to): (Receiver<R>, Sender<S>),
    channel: Channel,
    letters: Letters<(Channel, Incoming)>,
) -> Outbox
where
    R: zeromq::SocketRecv + Send + 'static,
    S: zeromq::SocketSend + Send + 'static,
{
    let (outbox, mut messages) = mpsc::unbounded_channel();
    runtime.spawn(async move {
        while let Some(message) = messages.recv().await {
            // A kernel that is gone is noticed by its silence.
            let _ = to.send(message).await;
        }
    });
    runtime.spawn(async move {
        loop {
            match from.receive().await {
                Ok(message) => drop(letters.send((channel, message))),
                Err(_) => crate::kernel::pause().await,
            }
        }
    });
    outbox
}

/// Reads iopub: what is on account of this client's cell goes to the inbox, the rest is overheard. So is what a cell shows
/// that has ended, such as a training in the background, whoever's cell its displays are drawn in.
async fn listen(
    mut socket: Receiver<zeromq::SubSocket>,
    session: String,
    letters: Letters<(Channel, Incoming)>,
    mut overhear: impl FnMut(Shown) + Send + 'static,
) {
    let (mut ended, mut displays): (HashSet<String>, HashMap<String, String>) = Default::default();
    loop {
        match socket.receive().await {
            Ok(message) => {
                let display = message.content["transient"]["display_id"].as_str();
                let cell = match display {
                    Some(id) => displays.entry(id.to_string()).or_insert_with(|| message.parent_id.clone()).clone(),
                    None => message.parent_id.clone(),
                };
                let is_own = message.parent_session == session && !ended.contains(&cell);
                if message.kind == "status" && message.content["execution_state"] == "idle" {
                    ended.insert(cell);
                }
                match is_own {
                    true => drop(letters.send((Channel::IoPub, message))),
                    false => shown(&message).into_iter().for_each(&mut overhear),
                }
            }
            Err(_) => crate::kernel::pause().await,
        }
    }
}

fn shown(message: &Incoming) -> Option<Shown> {
    let content = &message.content;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
    Some(match message.kind.as_str() {
        "execute_input" => Shown::Input(text(&content["code"])),
        "stream" => Shown::Text(text(&content["text"])),
        "execute_result" => Shown::Output(text(&content["data"]["text/plain"])),
        "display_data" if content["transient"]["display_id"].is_null() => {
            Shown::Output(text(&content["data"]["text/plain"]))
        }
        "display_data" | "update_display_data" => Shown::Display(text(&content["data"]["text/plain"])),
        "error" => Shown::Error(content["traceback"].as_array().into_iter().flatten().map(text).collect()),
        "clear_output" => Shown::Clear,
        _ => return None,
    })
}

fn end(reply: &Value) -> End {
    let payload = reply["payload"].as_array().into_iter().flatten();
    match reply["status"].as_str() {
        Some("ok") if payload.into_iter().any(|item| item["source"] == "ask_exit") => End::Leave,
        Some("ok") => End::Done,
        _ => End::Failed,
    }
}
