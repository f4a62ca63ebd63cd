//! What stands in an event file: the messages of TensorFlow's `event.proto` and `summary.proto`, as `SummaryWriter` of
//! PyTorch fills them, in protobuf's encoding.

/// A protobuf message, field by field in the order of their numbers. A field that is 0 or empty is left out.
#[derive(Default)]
pub(super) struct Message(Vec<u8>);

/// How a field is encoded.
const VARINT: u32 = 0;
const EIGHT_BYTES: u32 = 1;
const LENGTH_DELIMITED: u32 = 2;
const FOUR_BYTES: u32 = 5;

impl Message {
    fn key(&mut self, field: u32, kind: u32) {
        self.varint(u64::from(field << 3 | kind));
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn integer(mut self, field: u32, value: u64) -> Self {
        if value != 0 {
            self.key(field, VARINT);
            self.varint(value);
        }
        self
    }

    fn double(mut self, field: u32, value: f64) -> Self {
        if value != 0.0 {
            self.key(field, EIGHT_BYTES);
            self.0.extend(value.to_le_bytes());
        }
        self
    }

    /// A field that is one of several: 0 is there as well.
    fn chosen_float(mut self, field: u32, value: f32) -> Self {
        self.key(field, FOUR_BYTES);
        self.0.extend(value.to_le_bytes());
        self
    }

    /// Where it must be there even if it is empty.
    fn message(mut self, field: u32, Message(bytes): Message) -> Self {
        self.key(field, LENGTH_DELIMITED);
        self.varint(bytes.len() as u64);
        self.0.extend(bytes);
        self
    }

    fn bytes(self, field: u32, bytes: &[u8]) -> Self {
        if bytes.is_empty() { self } else { self.message(field, Self(bytes.to_vec())) }
    }
}

/// One number, text or picture, under its tag.
pub(super) struct Value(Message);

impl Value {
    /// As `add_scalar`.
    pub(super) fn scalar(tag: &str, value: f64) -> Self {
        Self(Message::default().bytes(1, tag.as_bytes()).chosen_float(2, value as f32))
    }

    /// As `add_text`; it is shown as Markdown.
    pub(super) fn text(tag: &str, markdown: &str) -> Self {
        const STRING: u64 = 7;
        let one_long = Message::default().message(2, Message::default().integer(1, 1));
        let tensor = Message::default().integer(1, STRING).message(2, one_long).message(8, text(markdown));
        let metadata = Message::default().message(1, Message::default().bytes(1, b"text"));
        let tag = format!("{tag}/text_summary");
        Self(Message::default().bytes(1, tag.as_bytes()).message(8, tensor).message(9, metadata))
    }

    /// As `add_image`, of an RGB image and its PNG file.
    pub(super) fn image(tag: &str, (width, height): (u32, u32), png: &[u8]) -> Self {
        const RGB: u64 = 3;
        let image = Message::default().integer(1, height.into()).integer(2, width.into()).integer(3, RGB);
        Self(Message::default().bytes(1, tag.as_bytes()).message(4, image.bytes(4, png)))
    }
}

fn text(text: &str) -> Message {
    Message(text.as_bytes().to_vec())
}

/// The first event of a file.
pub(super) fn version(wall_time: f64) -> Vec<u8> {
    Message::default().double(1, wall_time).bytes(3, b"brain.Event:2").0
}

/// Has TensorBoard forget what it has read of `step` and later.
pub(super) fn start(wall_time: f64, step: usize) -> Vec<u8> {
    const START: u64 = 1;
    at(wall_time, step).message(SESSION_LOG, Message::default().integer(1, START)).0
}

/// Values of a step. `wall_time` is in seconds since 1970.
pub(super) fn summary(wall_time: f64, step: usize, values: Vec<Value>) -> Vec<u8> {
    let summary = values.into_iter().fold(Message::default(), |summary, Value(value)| summary.message(1, value));
    at(wall_time, step).message(SUMMARY, summary).0
}

const SUMMARY: u32 = 5;
const SESSION_LOG: u32 = 7;

fn at(wall_time: f64, step: usize) -> Message {
    Message::default().double(1, wall_time).integer(2, step as u64)
}

/// What an event is that this module has written.
#[derive(Debug, PartialEq)]
pub(super) enum Seen {
    Start { step: usize },
    Values { step: usize },
}

/// The most bytes of an event that [`seen`] needs.
pub(super) const BEGINNING: u64 = 24;

/// Reads the beginning of an event: the wall time, the step, and which field comes next.
pub(super) fn seen(event: &[u8]) -> Option<Seen> {
    let mut rest = event.strip_prefix(&[(1 << 3 | EIGHT_BYTES) as u8])?.get(8..)?;
    let mut step = 0;
    if let Some(after) = rest.strip_prefix(&[(2 << 3 | VARINT) as u8]) {
        let length = after.iter().position(|byte| byte & 0x80 == 0)? + 1;
        step = after[..length]
            .iter()
            .rev()
            .try_fold(0usize, |step, byte| step.checked_mul(0x80).map(|step| step | usize::from(byte & 0x7f)))?;
        rest = &after[length..];
    }
    let is = |field: u32| rest.first() == Some(&((field << 3 | LENGTH_DELIMITED) as u8));
    match () {
        () if is(SUMMARY) => Some(Seen::Values { step }),
        () if is(SESSION_LOG) => Some(Seen::Start { step }),
        () => None,
    }
}
