//! The control socket: requests that are answered whatever the shell does.

use serde_json::json;
use tunebook_commands::colourless;
use tunebook_quote::message;
use tunebook_quote::quote;
use zeromq::SocketRecv;

use crate::info;
use crate::kernel::Kernel;
use crate::kernel::Replies;
use crate::kernel::pause;
use crate::kernel::refusal;
use crate::log::log;
use crate::request;
use crate::wire::Incoming;
use crate::wire::Receiver;

/// Answers until a client asks for the end.
pub(crate) async fn serve<S: SocketRecv>(mut socket: Receiver<S>, replies: Replies, kernel: &Kernel) {
    loop {
        let message = match socket.receive().await {
            Ok(message) => message,
            Err(problem) => {
                log(&format!("a message on control was dropped: {}", colourless(&message(&problem))));
                pause().await;
                continue;
            }
        };
        kernel.iopub.busy(&message.origin);
        let ends = answer(&message, &replies, kernel);
        kernel.idle_beside_cell(&message.origin);
        if ends {
            return;
        }
    }
}

/// Whether it asks for the end.
fn answer(message: &Incoming, replies: &Replies, kernel: &Kernel) -> bool {
    let reply = |kind, content| replies.send(&message.origin, kind, content);
    match message.kind.as_str() {
        "interrupt_request" => {
            kernel.interrupt();
            reply("interrupt_reply", json!({"status": "ok"}));
        }
        "shutdown_request" => {
            let request: request::Shutdown = request::read(message.content.clone()).unwrap_or_default();
            reply("shutdown_reply", json!({"status": "ok", "restart": request.restart}));
            return true;
        }
        "kernel_info_request" => reply("kernel_info_reply", info::reply(kernel.host.language().get())),
        "debug_request" => reply("debug_reply", refusal("there is no debugger")),
        kind => log(&format!("`{}` on control is not known", quote(kind))),
    }
    false
}
