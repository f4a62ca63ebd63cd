//! What a Rust cell's process sends, and what it is sent, over their socket.

use std::panic::catch_unwind;
use std::path::Path;

use tunebook_client::Part;
use tunebook_client::Request;
use tunebook_client::wire;
use tunebook_client::wire::Wire;

use super::Verdict;
use super::bytes;
use super::dice::Dice;

/// A stream of frames, read as the server and as the client read it.
pub(super) fn frames(dice: &mut Dice, _: &Path) -> Verdict {
    let text = || "a text".to_string();
    let mut stream = Vec::new();
    let mut send = |value: &dyn Fn(&mut Vec<u8>)| {
        let mut frame = Vec::new();
        value(&mut frame);
        wire::write_frame(&mut stream, &frame).unwrap();
    };
    send(&|to| Request::Hello { token: text() }.put(to));
    send(&|to| Request::Run { line: text(), shown: true }.put(to));
    send(&|to| Request::Train { steps: Some(5) }.put(to));
    send(&|to| Request::Chat { text: text(), images: vec![text(), text()], streamed: true }.put(to));
    send(&|to| Part::Piece { text: text() }.put(to));
    send(&|to| Part::Value { bytes: vec![1, 2, 3] }.put(to));
    let stream = bytes::mutate(dice, &stream);
    let read = catch_unwind(|| {
        let mut rest = &stream[..];
        let mut whole = 0;
        while let Ok(frame) = wire::read_frame(&mut rest) {
            whole += usize::from(wire::whole::<Request>(&frame).is_some());
            whole += usize::from(wire::whole::<Part>(&frame).is_some());
        }
        whole
    });
    match read {
        Ok(6..) => Verdict::Taken,
        Ok(_) => Verdict::Refused,
        Err(_) => Verdict::Fault("it panics".to_string()),
    }
}
