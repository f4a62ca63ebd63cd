//! The shell socket. Cells wait in line for the executor; everything else is answered at once, from the declarations
//! and the last snapshot of the session, also while a cell runs.

use std::sync::Arc;

use serde_json::Value;
use serde_json::json;
use tunebook_commands::cell;
use tunebook_commands::complete;
use tunebook_commands::inspect;
use zeromq::SocketRecv;

use crate::execute::Executor;
use crate::info;
use crate::kernel::Kernel;
use crate::kernel::Replies;
use crate::kernel::pause;
use crate::kernel::refusal;
use crate::request;
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
            Ok(message) => {
                kernel.iopub.busy(&message.origin);
                answer(&message, &replies, &kernel);
                kernel.iopub.idle(&message.origin);
            }
            Err(problem) => {
                eprintln!("a message on shell was dropped: {problem}");
                pause().await;
            }
        }
    }
}

fn answer(message: &Incoming, replies: &Replies, kernel: &Kernel) {
    let content = message.content.clone();
    let reply = |kind, content: Result<Value, String>| {
        replies.send(&message.origin, kind, content.unwrap_or_else(|problem| refusal(&problem)));
    };
    match message.kind.as_str() {
        "kernel_info_request" => reply("kernel_info_reply", Ok(info::reply())),
        "complete_request" => reply("complete_reply", request::read(content).map(|at| completion(&at, kernel))),
        "inspect_request" => reply("inspect_reply", request::read(content).map(|at| inspection(&at, kernel))),
        "is_complete_request" => reply("is_complete_reply", request::read(content).map(|code| completeness(&code))),
        "history_request" => {
            let found = request::read(content).map(|asked| kernel.history().find(&asked));
            reply("history_reply", found.map(|history| json!({"status": "ok", "history": history})));
        }
        "comm_info_request" => reply("comm_info_reply", Ok(json!({"status": "ok", "comms": {}}))),
        // There are no comms; a widget that opens one is told so.
        "comm_open" => {
            let comm: request::CommOpen = request::read(content).unwrap_or_default();
            kernel.iopub.send(&message.origin, "comm_close", json!({"comm_id": comm.comm_id, "data": {}}));
        }
        "comm_msg" | "comm_close" => {}
        // Older clients send it here.
        "shutdown_request" => reply("shutdown_reply", Err("`shutdown_request` belongs on control".to_string())),
        kind => eprintln!("`{kind}` on shell is not known"),
    }
}

fn completion(at: &request::At, kernel: &Kernel) -> Value {
    let (line, cursor) = at.line();
    let (start, candidates) = complete::complete(line, cursor, &kernel.host.snapshot());
    let (start, end) = (at.in_code(start), at.in_code(cursor));
    let types: Vec<_> = candidates
        .iter()
        .map(|candidate| {
            let kind = if candidate.text.ends_with('=') { "keyword" } else { "function" };
            json!({"text": candidate.text, "type": kind, "start": start, "end": end, "signature": candidate.description})
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
    let text = inspect::at(line, cursor, &kernel.host.snapshot());
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
