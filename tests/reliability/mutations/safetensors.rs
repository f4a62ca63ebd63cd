//! Mutations of safetensors files: of the header's JSON, of its length, of the bytes of both and of what follows.

use super::bytes;
use super::dice::Dice;
use super::json;

pub(super) fn mutate(dice: &mut Dice, file: &[u8]) -> Vec<u8> {
    let length = file.first_chunk().map_or(0, |length| u64::from_le_bytes(*length) as usize);
    let (header, data) = file[8..].split_at(length);
    match dice.below(4) {
        0 => bytes::mutate(dice, file),
        1 => {
            let mut file = bytes::mutate(dice, &file[..8 + length]);
            file.extend_from_slice(data);
            file
        }
        _ => {
            let header = json::mutate_file(dice, header);
            [&(header.len() as u64).to_le_bytes(), &header[..], data].concat()
        }
    }
}
