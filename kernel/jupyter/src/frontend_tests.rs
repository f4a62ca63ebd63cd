//! The kernel over real sockets, as a frontend meets it. Each test is a script of the messages in order; every message
//! on iopub has to be expected.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use serde_json::json;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tunebook_commands::Lang;

use crate::error::Result;
use crate::kernel;
use crate::wire::Address;
use crate::wire::ClientSockets;
use crate::wire::Incoming;
use crate::wire::Outgoing;

/// Long enough for a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn a_cell_is_busy_says_shows_replies_and_is_idle() {
    let mut frontend = Frontend::start();
    frontend.execute("print one\nprint two\nadapter list");
    frontend.busy();
    assert_eq!(
        frontend.iopub("execute_input"),
        json!({
            "code": "print one\nprint two\nadapter list", "execution_count": 1
        })
    );
    // Two lines, gathered, and sent before what follows them.
    assert_eq!(frontend.iopub("stream"), json!({"name": "stdout", "text": "one\ntwo\n"}));
    let result = frontend.iopub("execute_result");
    assert_eq!(result["execution_count"], 1);
    assert!(result["data"]["text/plain"].as_str().unwrap().starts_with("there are no adapters"));
    let reply = frontend.shell("execute_reply");
    assert_eq!(reply, json!({"status": "ok", "execution_count": 1, "payload": [], "user_expressions": {}}));
    frontend.idle();
}

#[test]
fn a_cell_that_fails_aborts_those_behind_it_and_no_later_one() {
    let mut frontend = Frontend::start();
    for code in ["trian", "print b", "print c"] {
        frontend.execute(code);
    }
    frontend.busy();
    frontend.iopub("execute_input");
    let error = frontend.iopub("error");
    assert_eq!(error["ename"], "UnknownCommand");
    let reply = frontend.shell("execute_reply");
    assert_eq!((&reply["status"], &reply["traceback"]), (&json!("error"), &error["traceback"]));
    frontend.idle();
    for _ in 0..2 {
        frontend.busy();
        assert_eq!(frontend.shell("execute_reply")["status"], "aborted");
        frontend.idle();
    }
    frontend.execute("print d");
    frontend.busy();
    assert_eq!(frontend.iopub("execute_input")["execution_count"], 2);
    assert_eq!(frontend.iopub("stream")["text"], "d\n");
    assert_eq!(frontend.shell("execute_reply")["status"], "ok");
    frontend.idle();
}

/// A frame that announces more than there is memory ends its connection, also where ports are files.
#[cfg(unix)]
#[test]
fn a_peer_may_announce_anything() {
    use std::io::Read;
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    let mut frontend = Frontend::start();
    for port in 1..=5 {
        for length in [1 << 40, 0x7665_7273_6970_6e22, u64::MAX] {
            let mut peer = UnixStream::connect(frontend.folder.path().join(format!("k-{port}"))).unwrap();
            let mut greeting = b"\xff\0\0\0\0\0\0\0\0\x7f\x03\0NULL".to_vec();
            greeting.resize(64, 0);
            peer.write_all(&[&greeting[..], &[2], &u64::to_be_bytes(length)].concat()).unwrap();
            peer.set_read_timeout(Some(PATIENCE)).unwrap();
            // Until it is closed.
            let _ = peer.read_to_end(&mut Vec::new());
        }
    }
    frontend.execute("print one");
    assert_eq!(frontend.shell("execute_reply")["status"], "ok");
}

#[test]
fn a_kernel_speaks_the_language_that_it_is_told_to() {
    let mut frontend = Frontend::start();
    frontend.execute("lang zh");
    assert_eq!(frontend.shell("execute_reply")["status"], "ok");
    frontend.execute("trian");
    let reply = frontend.shell("execute_reply");
    assert_eq!(reply["ename"], "UnknownCommand");
    assert_eq!(reply["traceback"][1], "  没有命令 `trian`（是不是想写 `train`？）");
    assert_eq!(reply["traceback"][2], "  \u{1b}[32m→ `help` 列出所有命令\u{1b}[0m");
    frontend.request("inspect_request", json!({"code": "train", "cursor_pos": 5}));
    let text = frontend.shell("inspect_reply")["data"]["text/plain"].as_str().unwrap().to_string();
    assert!(text.starts_with("训练适配器") && text.contains("用法：train"), "{text}");
    frontend.request("complete_request", json!({"code": "trai", "cursor_pos": 4}));
    let candidate = &frontend.shell("complete_reply")["metadata"]["_jupyter_types_experimental"][0];
    assert!(candidate["signature"].as_str().unwrap().starts_with("训练适配器"), "{candidate}");
}

#[test]
fn nothing_is_aborted_where_errors_are_to_be_expected() {
    let mut frontend = Frontend::start();
    for code in ["trian", "print b"] {
        frontend.request("execute_request", json!({"code": code, "stop_on_error": false}));
    }
    let statuses = [0, 1].map(|_| frontend.shell("execute_reply")["status"].clone());
    assert_eq!(statuses, ["error", "ok"]);
}

#[test]
fn what_lacks_a_field_is_answered_and_what_has_a_wrong_one_too() {
    let mut frontend = Frontend::start();
    frontend.request("execute_request", json!({}));
    frontend.busy();
    assert_eq!(frontend.iopub("execute_input")["code"], "");
    assert_eq!(frontend.shell("execute_reply")["status"], "ok");
    frontend.idle();
    for (request, reply) in [("complete_request", "complete_reply"), ("history_request", "history_reply")] {
        frontend.request(request, json!({"code": 5, "n": "many"}));
        frontend.busy();
        let reply = frontend.shell(reply);
        assert_eq!(reply["status"], "error");
        assert!(reply["evalue"].as_str().unwrap().contains("cannot be read"), "{reply}");
        frontend.idle();
    }
    frontend.request("no_such_request", json!({}));
    frontend.busy();
    frontend.idle();
}

#[test]
fn control_answers_and_ends_the_kernel() {
    let mut frontend = Frontend::start();
    frontend.control_request("kernel_info_request", json!({}));
    frontend.busy();
    assert_eq!(frontend.control_reply("kernel_info_reply")["language_info"]["file_extension"], ".tune");
    frontend.idle();
    frontend.control_request("interrupt_request", json!({}));
    frontend.busy();
    assert_eq!(frontend.control_reply("interrupt_reply"), json!({"status": "ok"}));
    frontend.idle();
    // An interrupt that came while nothing ran harms no later cell.
    frontend.execute("print a");
    assert_eq!(frontend.shell("execute_reply")["status"], "ok");
    frontend.control_request("shutdown_request", json!({"restart": true}));
    assert_eq!(frontend.control_reply("shutdown_reply"), json!({"status": "ok", "restart": true}));
    let Frontend { runtime, kernel, .. } = frontend;
    runtime.block_on(async { tokio::time::timeout(PATIENCE, kernel).await }).unwrap().unwrap().unwrap();
}

#[test]
fn who_has_not_the_key_is_not_heard() {
    let mut frontend = Frontend::start();
    let stranger = address(frontend.folder.path(), "another key");
    let mut sockets = frontend.runtime.block_on(ClientSockets::connect(&stranger)).unwrap();
    // Everybody hears that somebody was welcomed.
    frontend.iopub("iopub_welcome");
    let secret = Outgoing::new(None, "execute_request", json!({"code": "set seed=7"}));
    frontend.runtime.block_on(sockets.shell.1.send(secret)).unwrap();
    frontend.execute("show seed");
    frontend.busy();
    assert_eq!(frontend.iopub("execute_input")["execution_count"], 1);
    assert_eq!(frontend.iopub("stream")["text"], "seed = 42\n");
}

/// A kernel in this process, and a client of it.
struct Frontend {
    runtime: Runtime,
    kernel: JoinHandle<Result<()>>,
    sockets: ClientSockets,
    folder: TempDir,
}

impl Frontend {
    /// Both, welcomed.
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let address = address(folder.path(), "the key");
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let served = address.clone();
        let kernel = runtime.spawn(async move { kernel::run(&served, None, Lang::En).await });
        while !(1..=5).all(|port| folder.path().join(format!("k-{port}")).exists()) {
            assert!(!kernel.is_finished(), "the kernel ended");
            std::thread::sleep(Duration::from_millis(5));
        }
        let sockets = runtime.block_on(ClientSockets::connect(&address)).unwrap();
        let mut frontend = Self { runtime, kernel, sockets, folder };
        assert_eq!(frontend.iopub("iopub_welcome"), json!({"subscription": ""}));
        frontend
    }

    fn execute(&mut self, code: &str) {
        self.request("execute_request", json!({"code": code}));
    }

    fn request(&mut self, kind: &'static str, content: Value) {
        let message = Outgoing::new(None, kind, content);
        self.runtime.block_on(self.sockets.shell.1.send(message)).unwrap();
    }

    fn control_request(&mut self, kind: &'static str, content: Value) {
        let message = Outgoing::new(None, kind, content);
        self.runtime.block_on(self.sockets.control.1.send(message)).unwrap();
    }

    /// The content of the next message on shell, which is of that kind.
    fn shell(&mut self, kind: &str) -> Value {
        let received = async { tokio::time::timeout(PATIENCE, self.sockets.shell.0.receive()).await };
        content(self.runtime.block_on(received).unwrap().unwrap(), kind)
    }

    fn control_reply(&mut self, kind: &str) -> Value {
        let received = async { tokio::time::timeout(PATIENCE, self.sockets.control.0.receive()).await };
        content(self.runtime.block_on(received).unwrap().unwrap(), kind)
    }

    fn iopub(&mut self, kind: &str) -> Value {
        let received = async { tokio::time::timeout(PATIENCE, self.sockets.iopub.receive()).await };
        content(self.runtime.block_on(received).unwrap().unwrap(), kind)
    }

    fn busy(&mut self) {
        assert_eq!(self.iopub("status"), json!({"execution_state": "busy"}));
    }

    fn idle(&mut self) {
        assert_eq!(self.iopub("status"), json!({"execution_state": "idle"}));
    }
}

fn content(message: Incoming, kind: &str) -> Value {
    assert_eq!(message.kind, kind, "{}", message.content);
    message.content
}

/// Sockets in a folder, so that no two tests want the same ports.
fn address(folder: &Path, key: &str) -> Address {
    let file = folder.join("connection.json");
    let connection = json!({
        "transport": "ipc", "ip": folder.join("k"), "shell_port": 1, "iopub_port": 2, "stdin_port": 3,
        "control_port": 4, "hb_port": 5, "key": key, "signature_scheme": "hmac-sha256", "kernel_name": "tunebook",
    });
    std::fs::write(&file, connection.to_string()).unwrap();
    Address::read(&file).unwrap()
}
