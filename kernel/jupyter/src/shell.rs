//! The shell socket. Cells wait in line for the executor. Everything else is answered at once from the declarations and
//! the last snapshot of the session, even while a cell runs.

use std::sync::Arc;

use serde_json::Value;
use serde_json::json;
use tunebook_commands::cell;
use tunebook_commands::colourless;
use tunebook_commands::complete;
use tunebook_commands::inspect;
use tunebook_quote::message;
use tunebook_quote::quote;
use tunebook_rust_cells::Completion;
use tunebook_rust_cells::Completions;
use zeromq::SocketRecv;

use crate::execute::Executor;
use crate::info;
use crate::kernel::Kernel;
use crate::kernel::Replies;
use crate::kernel::pause;
use crate::kernel::refusal;
use crate::log::log;
use crate::request;
use crate::widgets::CommMessage;
use crate::widgets::Widgets;
use crate::wire::Incoming;
use crate::wire::Receiver;

/// Answers as long as there is a process.
pub(crate) async fn serve<S: SocketRecv>(
    mut socket: Receiver<S>,
    replies: Replies,
    kernel: Arc<Kernel>,
    executor: Executor,
) {
    loop {
        match socket.receive().await {
            Ok(message) if message.kind == "execute_request" => executor.submit(message),
            // What is asked about Rust takes its time, for which others need not wait.
            Ok(message) if matches!(message.kind.as_str(), "complete_request" | "inspect_request") => {
                let (replies, kernel) = (replies.clone(), Arc::clone(&kernel));
                tokio::task::spawn_blocking(move || respond(&message, &replies, &kernel));
            }
            Ok(message) => respond(&message, &replies, &kernel),
            Err(problem) => {
                log(&format!("a message on shell was dropped: {}", colourless(&message(&problem))));
                pause().await;
            }
        }
    }
}

fn respond(message: &Incoming, replies: &Replies, kernel: &Kernel) {
    kernel.iopub.busy(&message.origin);
    answer(message, replies, kernel);
    kernel.idle_beside_cell(&message.origin);
}

fn answer(message: &Incoming, replies: &Replies, kernel: &Kernel) {
    let reply = |kind, content: Result<Value, String>| {
        replies.send(&message.origin, kind, content.unwrap_or_else(|problem| refusal(&problem)));
    };
    match message.kind.as_str() {
        "kernel_info_request" => {
            reply("kernel_info_reply", message.check().map(|()| info::reply(kernel.host.language().get())));
        }
        "complete_request" => reply("complete_reply", message.read().map(|at| completion(&at, kernel))),
        "inspect_request" => reply("inspect_reply", message.read().map(|at| inspection(&at, kernel))),
        "is_complete_request" => reply("is_complete_reply", message.read().map(|code| completeness(&code))),
        "history_request" => {
            let found = message.read().map(|asked| kernel.history().find(&asked));
            reply("history_reply", found.map(|history| json!({"status": "ok", "history": history})));
        }
        "comm_info_request" => {
            let comms = message.check().map(|()| kernel.widgets.list());
            reply("comm_info_reply", comms.map(|comms| json!({"status": "ok", "comms": comms})));
        }
        // Who opens another one is told that nobody is there.
        "comm_open" => {
            let comm: request::CommOpen = message.read().unwrap_or_default();
            if !Widgets::takes(&comm.target_name) {
                kernel.iopub.send(&message.origin, "comm_close", json!({"comm_id": comm.comm_id, "data": {}}));
            }
        }
        "comm_msg" => {
            let said: CommMessage = message.read().unwrap_or_default();
            kernel.widgets.hear(&kernel.iopub, &message.origin, said);
        }
        "comm_close" => {
            let comm: request::CommOpen = message.read().unwrap_or_default();
            kernel.widgets.close(&comm.comm_id);
        }
        // Older clients send it here.
        "shutdown_request" => reply("shutdown_reply", Err("`shutdown_request` belongs on control".to_string())),
        kind => log(&format!("`{}` on shell is not known", quote(kind))),
    }
}

fn completion(at: &request::At, kernel: &Kernel) -> Value {
    let (line, cursor) = at.line();
    let Completions { start, end, candidates } = kernel.rust.complete(line, cursor).unwrap_or_else(|| {
        let (start, candidates) = complete::complete(line, cursor, &kernel.host.snapshot());
        let kind = |text: &str| if text.ends_with('=') { "keyword" } else { "function" };
        let completion = |candidate: complete::Candidate| Completion {
            kind: kind(&candidate.text),
            text: candidate.text,
            description: candidate.description,
        };
        Completions { start, end: cursor, candidates: candidates.into_iter().map(completion).collect() }
    });
    let (start, end) = (at.in_code(start), at.in_code(end));
    let types: Vec<_> = candidates
        .iter()
        .map(|Completion { text, kind, description }| {
            json!({"text": text, "type": kind, "start": start, "end": end, "signature": description})
        })
        .collect();
    json!({
        "status": "ok",
        "matches": candidates.iter().map(|candidate| &candidate.text).collect::<Vec<_>>(),
        "cursor_start": start,
        "cursor_end": end,
        "metadata": {"_jupyter_types_experimental": types},
    })
}

/// Help for the word at the cursor, or else for the verb of its line.
fn inspection(at: &request::At, kernel: &Kernel) -> Value {
    let (line, cursor) = at.line();
    let of_rust = kernel.rust.inspect(line, cursor);
    let text = of_rust.or_else(|| inspect::at(line, cursor, &kernel.host.snapshot()));
    let data = text.as_ref().map_or_else(|| json!({}), |text| json!({"text/plain": text}));
    json!({"status": "ok", "found": text.is_some(), "data": data, "metadata": {}})
}

/// A cell that begins with `%%` ends with an empty line; another one asks for more with a `\`.
fn completeness(request: &request::IsComplete) -> Value {
    match cell::state(&request.code) {
        cell::State::Complete => json!({"status": "complete"}),
        cell::State::Incomplete => json!({"status": "incomplete", "indent": "  "}),
        cell::State::Invalid => json!({"status": "invalid"}),
    }
}
