//! A kernel's connection file, and messages to a kernel.

use std::fs;
use std::io::Read;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Child;
use std::process::Stdio;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use serde_json::Value;
use serde_json::json;

use super::Verdict;
use super::bytes;
use super::child;
use super::child::Ended;
use super::child::Started;
use super::dice::Dice;
use super::json;
use super::verdict;
use crate::binary::tunebook;

/// Messages a kernel.
const COUNT: usize = 30;
/// Long enough for a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);

/// A changed connection file, given to a kernel and to a client.
pub(super) fn file(dice: &mut Dice, folder: &Path) -> Verdict {
    let changed = json::mutate(dice, &connection(&folder.join("k")));
    fs::write(folder.join("c.json"), changed).unwrap();
    let started = match dice.once_in(2) {
        true => {
            Started { arguments: &["kernel", "start", "--connection-file", "c.json"], ..Started::script(folder, "") }
        }
        false => Started { arguments: &["attach", "c.json"], ..Started::script(folder, "print one\n") },
    };
    // A kernel that can use it serves until it is asked to end.
    verdict::of(&Started { patience: Some(Duration::from_millis(500)), ..started }.ended())
}

/// Changed messages on all sockets of a kernel, which then answers and ends as if nothing had been.
pub(super) fn messages(dice: &mut Dice, folder: &Path) -> Verdict {
    let place = folder.join("k");
    fs::write(folder.join("c.json"), connection(&place).to_string()).unwrap();
    let mut command = child::limited(tunebook());
    let output = |name| fs::File::create(folder.join(name)).unwrap();
    command.args(["kernel", "start", "--connection-file", "c.json"]).current_dir(folder);
    command.stdin(Stdio::null()).stdout(output(".stdout")).stderr(output(".stderr"));
    let kernel = command.spawn().unwrap();
    for _ in 0..COUNT {
        let socket = *dice.pick(&[SHELL, SHELL, SHELL, IOPUB, STDIN, CONTROL, HEARTBEAT]);
        let sent = changed(dice, socket);
        // Who talks nonsense may be cut off.
        let _ = connected(&place, socket).is_some_and(|mut stream| stream.write_all(&sent).is_ok());
    }
    let answers = asked(&place, SHELL, "kernel_info_request", "kernel_info_reply");
    let ends = asked(&place, CONTROL, "shutdown_request", "shutdown_reply");
    judged(kernel, folder, answers && ends)
}

fn judged(mut kernel: Child, folder: &Path, answered: bool) -> Verdict {
    if !answered {
        // It would wait for somebody who asks it to end.
        let _ = kernel.kill();
    }
    let (code, hung, peak_megabytes) = child::wait(kernel, None);
    let text = |name| String::from_utf8_lossy(&fs::read(folder.join(name)).unwrap()).into_owned();
    let (out, err) = (text(".stdout"), text(".stderr"));
    // It tells there of each message that it cannot read, and goes on.
    let code = if code == 0 && !err.is_empty() { 1 } else { code };
    match verdict::of(&Ended { code, hung, peak_megabytes, out, err }) {
        Verdict::Fault(fault) if answered => Verdict::Fault(fault),
        verdict if !answered => Verdict::Fault(format!("it does not answer any more: {verdict:?}")),
        verdict => verdict,
    }
}

const SHELL: usize = 1;
const IOPUB: usize = 2;
const STDIN: usize = 3;
const CONTROL: usize = 4;
const HEARTBEAT: usize = 5;

/// Sockets in the folder of the case, and no key, so that every message counts as signed.
fn connection(place: &Path) -> Value {
    json!({
        "transport": "ipc", "ip": place, "shell_port": SHELL, "iopub_port": IOPUB, "stdin_port": STDIN,
        "control_port": CONTROL, "hb_port": HEARTBEAT, "key": "", "signature_scheme": "hmac-sha256",
        "kernel_name": "tunebook",
    })
}

/// A connection on which a peer has greeted as ZMTP 3.0 wants it; none if nobody listens.
fn connected(place: &Path, socket: usize) -> Option<UnixStream> {
    let path = format!("{}-{socket}", place.display());
    let start = Instant::now();
    let mut stream = loop {
        match UnixStream::connect(&path) {
            Ok(stream) => break stream,
            Err(_) if start.elapsed() > PATIENCE => return None,
            Err(_) => {}
        }
        thread::sleep(Duration::from_millis(2));
    };
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let kind = match socket {
        IOPUB => "SUB",
        HEARTBEAT => "REQ",
        _ => "DEALER",
    };
    let ready = [b"\x05READY\x0bSocket-Type", &(kind.len() as u32).to_be_bytes()[..], kind.as_bytes()].concat();
    let mut greeting = b"\xff\0\0\0\0\0\0\0\0\x7f\x03\0NULL".to_vec();
    greeting.resize(64, 0);
    let all = [&greeting[..], &[4, ready.len() as u8], &ready].concat();
    stream.write_all(&all).ok().map(|()| stream)
}

/// The bytes of a changed message for a socket: what its frames hold, how many they are, or their flags and lengths.
fn changed(dice: &mut Dice, socket: usize) -> Vec<u8> {
    let mut frames = match socket {
        IOPUB => vec![b"\x01topic".to_vec()],
        HEARTBEAT => vec![Vec::new(), b"ping".to_vec()],
        _ => request(dice),
    };
    if dice.once_in(4) {
        let at = dice.below(frames.len());
        frames[at] = bytes::mutate(dice, &frames[at]);
    }
    if dice.once_in(8) && frames.len() > 1 {
        frames.remove(dice.below(frames.len()));
    }
    let sent = framed(&frames);
    if dice.once_in(8) { bytes::mutate(dice, &sent) } else { sent }
}

/// A request whose content is changed, and perhaps its code and its header.
fn request(dice: &mut Dice) -> Vec<Vec<u8>> {
    let (kind, mut content) = dice.pick(&requests()).clone();
    if let Some(Value::String(code)) = content.get_mut("code")
        && dice.once_in(2)
    {
        // What is run writes to no other folder.
        *code = String::from_utf8_lossy(&bytes::mutate_text(dice, code)).replace('/', "_");
    }
    let header = header(kind);
    let (content, parent) = (json::mutate(dice, &content), json::mutate(dice, &header));
    let header = if dice.once_in(3) { json::mutate(dice, &header) } else { header.to_string().into_bytes() };
    message(&header, &parent, &content)
}

fn requests() -> [(&'static str, Value); 8] {
    [
        (
            "execute_request",
            json!({"code": "print one two", "silent": false, "store_history": true, "allow_stdin": false,
            "user_expressions": {"a": "b"}, "stop_on_error": true}),
        ),
        ("complete_request", json!({"code": "train lr=1", "cursor_pos": 5})),
        ("inspect_request", json!({"code": "train 5\nset lr=1", "cursor_pos": 3, "detail_level": 0})),
        ("is_complete_request", json!({"code": "%%rust\nlet x = 1;"})),
        (
            "history_request",
            json!({"hist_access_type": "range", "output": false, "raw": true, "session": 0, "start": 1,
            "stop": 5, "n": 3, "pattern": "*a?", "unique": true}),
        ),
        ("comm_open", json!({"comm_id": "1", "target_name": "t", "data": {}})),
        ("input_reply", json!({"value": "x", "status": "ok"})),
        ("interrupt_request", json!({})),
    ]
}

fn header(kind: &str) -> Value {
    json!({"msg_id": "1", "session": "s", "username": "u", "date": "2026-01-01T00:00:00.000000Z",
        "msg_type": kind, "version": "5.3"})
}

fn message(header: &[u8], parent: &[u8], content: &[u8]) -> Vec<Vec<u8>> {
    [b"<IDS|MSG>", &b""[..], header, parent, b"{}", content].map(<[u8]>::to_vec).to_vec()
}

/// Frames as ZMTP writes them: flags, a length of one byte or eight, the bytes.
fn framed(frames: &[Vec<u8>]) -> Vec<u8> {
    let mut sent = Vec::new();
    for (index, frame) in frames.iter().enumerate() {
        let more = u8::from(index + 1 < frames.len());
        match u8::try_from(frame.len()) {
            Ok(length) => sent.extend([more, length]),
            Err(_) => {
                sent.push(more | 2);
                sent.extend((frame.len() as u64).to_be_bytes());
            }
        }
        sent.extend(frame);
    }
    sent
}

/// Whether a request is answered.
fn asked(place: &Path, socket: usize, request: &str, reply: &str) -> bool {
    let Some(mut stream) = connected(place, socket) else { return false };
    let message = message(header(request).to_string().as_bytes(), b"{}", b"{}");
    if stream.write_all(&framed(&message)).is_err() {
        return false;
    }
    let (mut read, mut piece) = (Vec::new(), [0; 4096]);
    let start = Instant::now();
    while let Ok(count @ 1..) = stream.read(&mut piece) {
        read.extend_from_slice(&piece[..count]);
        if memchr::memmem::find(&read, reply.as_bytes()).is_some() {
            return true;
        }
        if start.elapsed() > PATIENCE {
            return false;
        }
    }
    false
}
