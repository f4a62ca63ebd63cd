//! What a file says beside its tensors.

/// Keys and values, in order.
pub type Metadata = Vec<(String, Value)>;

/// A value of the types that llama.cpp reads of text models, projectors and adapters.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    U32(u32),
    I32(i32),
    F32(f32),
    Bool(bool),
    String(String),
    I32s(Vec<i32>),
    F32s(Vec<f32>),
    Bools(Vec<bool>),
    Strings(Vec<String>),
}

/// The numbers of the types of values.
const U32: u32 = 4;
const I32: u32 = 5;
const F32: u32 = 6;
const BOOL: u32 = 7;
const STRING: u32 = 8;
const ARRAY: u32 = 9;

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.to_string())
    }
}

impl Value {
    /// Appends the number of the type and the value.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::U32(value) => scalar(out, U32, &value.to_le_bytes()),
            Self::I32(value) => scalar(out, I32, &value.to_le_bytes()),
            Self::F32(value) => scalar(out, F32, &value.to_le_bytes()),
            Self::Bool(value) => scalar(out, BOOL, &[u8::from(*value)]),
            Self::String(text) => {
                out.extend(STRING.to_le_bytes());
                string(out, text);
            }
            Self::I32s(values) => array(out, I32, values, |out, value| out.extend(value.to_le_bytes())),
            Self::F32s(values) => array(out, F32, values, |out, value| out.extend(value.to_le_bytes())),
            Self::Bools(values) => array(out, BOOL, values, |out, value| out.push(u8::from(*value))),
            Self::Strings(texts) => array(out, STRING, texts, |out, text| string(out, text)),
        }
    }
}

fn scalar(out: &mut Vec<u8>, kind: u32, bytes: &[u8]) {
    out.extend(kind.to_le_bytes());
    out.extend(bytes);
}

fn array<T>(out: &mut Vec<u8>, kind: u32, values: &[T], element: impl Fn(&mut Vec<u8>, &T)) {
    out.extend(ARRAY.to_le_bytes());
    out.extend(kind.to_le_bytes());
    out.extend((values.len() as u64).to_le_bytes());
    values.iter().for_each(|value| element(out, value));
}

/// Appends the length in bytes and the text.
pub(crate) fn string(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}
