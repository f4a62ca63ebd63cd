//! A limit on the length of messages.
//!
//! The `zeromq` crate (0.7) reserves memory for a frame as soon as its header has arrived, whoever sends it, and a
//! reservation that fails ends the process. Announcing a frame of 2^40 bytes needs no key, and the crate has no option
//! that limits the length. So bytes are looked through before they reach it. This and `port.rs` can go when the crate
//! has a limit; a codec of our own would be most of the crate, and libzmq a C++ library to build.

/// The longest message that is passed on, in bytes of all its frames.
const LONGEST: u64 = 64 << 20;
/// Approximate overhead of a frame in the library, in bytes.
const FRAME: u64 = 64;
/// The length of a peer's greeting.
const GREETING: u64 = 64;

/// A frame has more than [`LONGEST`] bytes, or a message has, with all its frames.
#[derive(Debug, PartialEq)]
pub(crate) struct TooLong;

/// Follows the frames of one connection, however they are cut.
pub(crate) struct FrameLimit {
    /// How many bytes to pass on before the next header.
    rest: u64,
    header: Vec<u8>,
    /// The frames of the message so far.
    message: u64,
}

impl FrameLimit {
    pub(crate) fn new() -> Self {
        Self { rest: GREETING, header: Vec::new(), message: 0 }
    }

    /// Looks at the next bytes.
    ///
    /// # Errors
    /// They announce too much: none of them is to be passed on.
    pub(crate) fn follow(&mut self, mut bytes: &[u8]) -> Result<(), TooLong> {
        while !bytes.is_empty() {
            let passed = bytes.len().min(usize::try_from(self.rest).unwrap_or(usize::MAX));
            self.rest -= passed as u64;
            bytes = &bytes[passed..];
            if let Some((byte, behind)) = bytes.split_first() {
                self.header.push(*byte);
                bytes = behind;
                self.begin_frame()?;
            }
        }
        Ok(())
    }

    /// A header is a byte of flags and a length, of eight bytes if bit 1 says so, else of one. Bit 0 says that the message
    /// goes on.
    fn begin_frame(&mut self) -> Result<(), TooLong> {
        let (length, flags) = match self.header[..] {
            [flags, length] if flags & 2 == 0 => (u64::from(length), flags),
            [flags, a, b, c, d, e, f, g, h] => (u64::from_be_bytes([a, b, c, d, e, f, g, h]), flags),
            _ => return Ok(()),
        };
        self.message = self.message.saturating_add(length).saturating_add(FRAME);
        if self.message > LONGEST {
            return Err(TooLong);
        }
        self.rest = length;
        if flags & 1 == 0 {
            self.message = 0;
        }
        self.header.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(flags: u8, length: u64) -> Vec<u8> {
        let announced = match flags & 2 {
            0 => vec![length as u8],
            _ => length.to_be_bytes().to_vec(),
        };
        [vec![flags], announced].concat()
    }

    fn follow(parts: &[Vec<u8>], at_once: usize) -> Result<(), TooLong> {
        let mut limit = FrameLimit::new();
        [&[vec![0xff; GREETING as usize]], parts]
            .concat()
            .concat()
            .chunks(at_once)
            .try_for_each(|part| limit.follow(part))
    }

    #[test]
    fn frames_of_an_honest_length_pass_however_they_are_cut() {
        let parts = [
            frame(4, 5),
            vec![2; 5],
            frame(1, 0),
            frame(3, 300),
            vec![3; 300],
            frame(2, 70_000),
            vec![7; 70_000],
            frame(0, 255),
            vec![2; 255],
        ];
        for at_once in [1, 2, 7, 64, 65, 1000, usize::MAX] {
            assert_eq!(follow(&parts, at_once), Ok(()), "{at_once} bytes at once");
        }
    }

    #[test]
    fn what_announces_too_much_is_refused() {
        for length in [LONGEST, 1 << 40, 1 << 62, 1 << 63, u64::MAX] {
            // A message's frame, and a command.
            for flags in [2, 6] {
                assert_eq!(follow(&[frame(1, 1), vec![0], frame(flags, length)], 3), Err(TooLong), "{length}");
            }
        }
    }

    #[test]
    fn a_message_of_many_frames_counts_as_a_whole() {
        let half = LONGEST / 2;
        let bytes = vec![0; half as usize];
        assert_eq!(follow(&[frame(2, half), bytes.clone(), frame(2, half), bytes.clone()], usize::MAX), Ok(()));
        assert_eq!(follow(&[frame(3, half), bytes, frame(2, half)], usize::MAX), Err(TooLong));
        let endless = [vec![0xff; GREETING as usize], [1, 0].repeat(2_000_000)].concat();
        assert_eq!(FrameLimit::new().follow(&endless), Err(TooLong));
    }
}
