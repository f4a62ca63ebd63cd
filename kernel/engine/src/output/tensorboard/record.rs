//! TFRecord, the format of event files: each record with its length, and checksums of both.

use std::io;
use std::io::Read;
use std::io::Seek;
use std::io::SeekFrom;

/// Bytes of a length, and of a checksum.
const LENGTH: usize = 8;
const CHECKSUM: usize = 4;

/// `length: u64, masked CRC of it: u32, data, masked CRC of it: u32`, in little endian.
pub(super) fn record(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    let parts: [&[u8]; 4] = [&length, &checksum(&length), data, &checksum(data)];
    parts.concat()
}

/// CRC-32C, masked as TensorFlow does it: a checksum of data that hold a checksum is no good otherwise.
fn checksum(data: &[u8]) -> [u8; CHECKSUM] {
    crc32c::crc32c(data).rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
}

/// The first bytes of each whole record, at most so many.
///
/// # Errors
/// The file cannot be read. A record that is damaged or cut off is where it ends.
pub(super) fn beginnings(file: &mut (impl Read + Seek), most: u64, hear: &mut dyn FnMut(&[u8])) -> io::Result<()> {
    let end = file.seek(SeekFrom::End(0))?;
    let mut at = file.seek(SeekFrom::Start(0))?;
    loop {
        let mut header = [0; LENGTH + CHECKSUM];
        if end - at < header.len() as u64 {
            return Ok(());
        }
        file.read_exact(&mut header)?;
        let (length, check) = header.split_at(LENGTH);
        let bytes = length.try_into().map_or(0, u64::from_le_bytes);
        let next = (at + (LENGTH + 2 * CHECKSUM) as u64).checked_add(bytes).filter(|next| *next <= end);
        let Some(next) = next.filter(|_| check == checksum(length)) else { return Ok(()) };
        let mut beginning = Vec::new();
        file.by_ref().take(bytes.min(most)).read_to_end(&mut beginning)?;
        hear(&beginning);
        at = file.seek(SeekFrom::Start(next))?;
    }
}
