//! The encoding of values: numbers as little-endian bytes, a text or a list as its length and its contents, a record as
//! its fields in order. A frame is a length (u32) and that many bytes.

use std::io;
use std::io::Read;
use std::io::Write;

/// A value that travels.
pub trait Wire: Sized {
    fn put(&self, to: &mut Vec<u8>);

    /// Takes the value off the front; `None` if it is not there.
    fn take(from: &mut &[u8]) -> Option<Self>;
}

/// Writes a frame.
///
/// # Errors
/// The other end is gone, or the frame is too long to be one.
pub fn write_frame(mut to: impl Write, frame: &[u8]) -> io::Result<()> {
    let length = u32::try_from(frame.len()).map_err(io::Error::other)?;
    let mut bytes = Vec::with_capacity(4 + frame.len());
    length.put(&mut bytes);
    bytes.extend_from_slice(frame);
    to.write_all(&bytes)
}

/// Reads a frame.
///
/// # Errors
/// The other end is gone.
pub fn read_frame(mut from: impl Read) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let mut frame = Vec::new();
    // What is claimed is not believed before it is there.
    let length = u64::from(u32::from_le_bytes(length));
    let read = from.take(length).read_to_end(&mut frame)?;
    if read as u64 == length { Ok(frame) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// All of a frame as one value.
pub fn whole<T: Wire>(mut frame: &[u8]) -> Option<T> {
    T::take(&mut frame).filter(|_| frame.is_empty())
}

macro_rules! number {
    ($($type:ty),*) => {$(
        impl Wire for $type {
            fn put(&self, to: &mut Vec<u8>) {
                to.extend_from_slice(&self.to_le_bytes());
            }

            fn take(from: &mut &[u8]) -> Option<Self> {
                let (bytes, rest) = from.split_first_chunk()?;
                *from = rest;
                Some(Self::from_le_bytes(*bytes))
            }
        }
    )*};
}

number!(u8, u32, u64, f32, f64);

impl Wire for () {
    fn put(&self, _: &mut Vec<u8>) {}

    fn take(_: &mut &[u8]) -> Option<Self> {
        Some(())
    }
}

impl Wire for usize {
    fn put(&self, to: &mut Vec<u8>) {
        (*self as u64).put(to);
    }

    fn take(from: &mut &[u8]) -> Option<Self> {
        u64::take(from)?.try_into().ok()
    }
}

impl Wire for bool {
    fn put(&self, to: &mut Vec<u8>) {
        u8::from(*self).put(to);
    }

    fn take(from: &mut &[u8]) -> Option<Self> {
        Some(u8::take(from)? != 0)
    }
}

impl Wire for String {
    fn put(&self, to: &mut Vec<u8>) {
        self.len().put(to);
        to.extend_from_slice(self.as_bytes());
    }

    fn take(from: &mut &[u8]) -> Option<Self> {
        let length = usize::take(from)?;
        let (bytes, rest) = from.split_at_checked(length)?;
        *from = rest;
        Self::from_utf8(bytes.to_vec()).ok()
    }
}

impl<T: Wire> Wire for Option<T> {
    fn put(&self, to: &mut Vec<u8>) {
        self.is_some().put(to);
        if let Some(value) = self {
            value.put(to);
        }
    }

    fn take(from: &mut &[u8]) -> Option<Self> {
        if bool::take(from)? { T::take(from).map(Some) } else { Some(None) }
    }
}

impl<T: Wire> Wire for Vec<T> {
    fn put(&self, to: &mut Vec<u8>) {
        self.len().put(to);
        self.iter().for_each(|value| value.put(to));
    }

    fn take(from: &mut &[u8]) -> Option<Self> {
        let length = usize::take(from)?;
        (0..length).map(|_| T::take(from)).collect()
    }
}

impl<A: Wire, B: Wire> Wire for (A, B) {
    fn put(&self, to: &mut Vec<u8>) {
        self.0.put(to);
        self.1.put(to);
    }

    fn take(from: &mut &[u8]) -> Option<Self> {
        Some((A::take(from)?, B::take(from)?))
    }
}

/// Declares a record that travels.
macro_rules! record {
    ($(#[$about:meta])* pub struct $name:ident { $($(#[$of:meta])* pub $field:ident: $type:ty,)* }) => {
        $(#[$about])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $name {
            $($(#[$of])* pub $field: $type,)*
        }

        impl $crate::wire::Wire for $name {
            fn put(&self, to: &mut Vec<u8>) {
                $($crate::wire::Wire::put(&self.$field, to);)*
            }

            fn take(from: &mut &[u8]) -> Option<Self> {
                Some(Self { $($field: $crate::wire::Wire::take(from)?,)* })
            }
        }
    };
}

/// Declares a choice that travels, as the number of the case and its fields.
macro_rules! choice {
    ($(#[$about:meta])* pub enum $name:ident {
        $($(#[$of:meta])* $case:ident { $($field:ident: $type:ty),* } = $number:literal,)*
    }) => {
        $(#[$about])*
        #[derive(Clone, Debug, PartialEq)]
        pub enum $name {
            $($(#[$of])* $case { $($field: $type),* },)*
        }

        impl $crate::wire::Wire for $name {
            fn put(&self, to: &mut Vec<u8>) {
                match self {
                    $(Self::$case { $($field),* } => {
                        to.push($number);
                        $($crate::wire::Wire::put($field, to);)*
                    })*
                }
            }

            fn take(from: &mut &[u8]) -> Option<Self> {
                match u8::take(from)? {
                    $($number => Some(Self::$case { $($field: $crate::wire::Wire::take(from)?),* }),)*
                    _ => None,
                }
            }
        }
    };
}

pub(crate) use choice;
pub(crate) use record;

#[cfg(test)]
mod tests {
    use super::*;

    fn travels<T: Wire + PartialEq + std::fmt::Debug>(value: T) {
        let mut bytes = Vec::new();
        value.put(&mut bytes);
        assert_eq!(whole::<T>(&bytes), Some(value));
        for cut in 0..bytes.len() {
            assert_eq!(whole::<T>(&bytes[..cut]), None, "{cut} of {}", bytes.len());
        }
        bytes.push(0);
        assert_eq!(whole::<T>(&bytes), None);
    }

    #[test]
    fn values_travel_whole_or_not_at_all() {
        travels(7_u64);
        travels(f32::MIN_POSITIVE);
        travels("这只 is one".to_string());
        travels(vec![Some(1.5_f64), None]);
        travels((vec!["a".to_string(), String::new()], true));
    }

    #[test]
    fn a_length_that_lies_is_no_value() {
        let mut bytes = Vec::new();
        u64::MAX.put(&mut bytes);
        assert_eq!(whole::<String>(&bytes), None);
        assert_eq!(whole::<Vec<u64>>(&bytes), None);
        assert!(read_frame(&[255, 255, 255, 255, 1][..]).is_err());
    }

    #[test]
    fn frames_come_one_after_another() {
        let mut stream = Vec::new();
        write_frame(&mut stream, b"one").unwrap();
        write_frame(&mut stream, b"").unwrap();
        let mut stream = &stream[..];
        assert_eq!(read_frame(&mut stream).unwrap(), b"one");
        assert_eq!(read_frame(&mut stream).unwrap(), b"");
        assert!(read_frame(&mut stream).is_err());
    }
}
