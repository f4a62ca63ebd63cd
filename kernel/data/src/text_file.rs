//! Text files: UTF-8, or UTF-16 with a byte order mark.

use std::path::Path;

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::Encoding;

use crate::DatasetError;

/// The text of a file, without its byte order mark. LLaMA-Factory accepts only UTF-8; a byte order mark is unambiguous,
/// so it is followed.
///
/// # Errors
/// The file cannot be read, or is in another encoding: the likely one is named.
pub(crate) fn read(path: &Path) -> Result<String, DatasetError> {
    let bytes = tunebook_files::read(path).map_err(|source| DatasetError::Read { path: path.to_owned(), source })?;
    if let Some((encoding, mark)) = Encoding::for_bom(&bytes) {
        let text = encoding.decode_without_bom_handling_and_without_replacement(&bytes[mark..]);
        return match text {
            Some(text) => Ok(text.into_owned()),
            None => Err(DatasetError::BrokenText { path: path.to_owned(), encoding: encoding.name() }),
        };
    }
    String::from_utf8(bytes).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        let line = 1 + error.as_bytes()[..good].iter().filter(|byte| **byte == b'\n').count();
        DatasetError::NotUtf8 { path: path.to_owned(), line, encoding: likely_encoding(error.as_bytes(), good) }
    })
}

/// What bytes that are UTF-8 only up to `good` are likely to be; none if they are hardly text.
fn likely_encoding(bytes: &[u8], good: usize) -> Option<&'static str> {
    const ENOUGH: usize = 1 << 20;
    if bytes.contains(&0) {
        return None;
    }
    let mut detector = EncodingDetector::new(Iso2022JpDetection::Deny);
    detector.feed(&bytes[good..bytes.len().min(good + ENOUGH)], good + ENOUGH >= bytes.len());
    Some(detector.guess(None, Utf8Detection::Deny).name())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_bytes(bytes: &[u8]) -> Result<String, DatasetError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.json");
        std::fs::write(&path, bytes).unwrap();
        read(&path)
    }

    #[test]
    fn a_byte_order_mark_tells_the_encoding() {
        let utf16 = |order: fn(u16) -> [u8; 2]| "\u{feff}你好 😀".encode_utf16().flat_map(order).collect::<Vec<_>>();
        assert_eq!(read_bytes("你好 😀".as_bytes()).unwrap(), "你好 😀");
        assert_eq!(read_bytes("\u{feff}你好 😀".as_bytes()).unwrap(), "你好 😀");
        assert_eq!(read_bytes(&utf16(u16::to_le_bytes)).unwrap(), "你好 😀");
        assert_eq!(read_bytes(&utf16(u16::to_be_bytes)).unwrap(), "你好 😀");
        let message = read_bytes(&utf16(u16::to_le_bytes)[..9]).unwrap_err().to_string();
        assert!(message.contains("UTF-16LE"), "{message}");
    }

    #[test]
    fn another_encoding_is_named_with_the_line() {
        let encoded = |encoding: &'static Encoding, text| encoding.encode(text).0.into_owned();
        let cases = [
            (encoded(encoding_rs::GBK, "[\n{\"a\": \"你好，这是谁？\"}]"), "line 2", "GBK"),
            (encoded(encoding_rs::GBK, "instruction,output\n你好,这是狐狸\n"), "line 2", "GBK"),
            (encoded(encoding_rs::BIG5, "[{\"a\": \"這是一隻會說話的狐狸，牠住在森林裡。\"}]"), "line 1", "Big5"),
            (encoded(encoding_rs::SHIFT_JIS, "これは森に住むきつねです。"), "line 1", "Shift_JIS"),
            (encoded(encoding_rs::WINDOWS_1252, "Le café est fermé."), "line 1", "windows-1252"),
        ];
        for (bytes, line, encoding) in cases {
            let message = read_bytes(&bytes).unwrap_err().to_string();
            let command = format!("iconv -f {encoding} -t UTF-8");
            assert!(message.contains(line) && message.contains(&command), "{message}");
        }
        let message = read_bytes(b"PK\x03\x04\0\0\xff\xd8").unwrap_err().to_string();
        assert!(message.contains("not text") && !message.contains("iconv"), "{message}");
    }
}
