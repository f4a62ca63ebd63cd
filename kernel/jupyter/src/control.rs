//! The control socket: requests that are answered whatever the shell does.

use serde_json::Value;
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
    let reply = |kind, content: Result<Value, String>| {
        replies.send(&message.origin, kind, content.unwrap_or_else(|problem| refusal(&problem)));
    };
    match message.kind.as_str() {
        "interrupt_request" => {
            let asked = message.check();
            asked.iter().for_each(|()| kernel.interrupt());
            reply("interrupt_reply", asked.map(|()| json!({"status": "ok"})));
        }
        "shutdown_request" => {
            let asked = message.check().map(|()| message.read::<request::Shutdown>().unwrap_or_default());
            let ends = asked.is_ok();
            reply("shutdown_reply", asked.map(|asked| json!({"status": "ok", "restart": asked.restart})));
            return ends;
        }
        "kernel_info_request" => {
            reply("kernel_info_reply", message.check().map(|()| info::reply(kernel.host.language().get())));
        }
        "debug_request" => reply("debug_reply", Err("there is no debugger".to_string())),
        kind => log(&format!("`{}` on control is not known", quote(kind))),
    }
    false
}
