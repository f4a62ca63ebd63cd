//! What a program writes as text, in pieces.

/// The text of `held` up to its last whole character, which is taken out; all of it if it is the last. What is no UTF-8
/// is replaced.
pub(super) fn take_text(held: &mut Vec<u8>, is_last: bool) -> String {
    let last = held.utf8_chunks().last().map_or(&[][..], |chunk| chunk.invalid());
    let is_begun = str::from_utf8(last).is_err_and(|error| error.error_len().is_none());
    let end = held.len() - if is_begun && !is_last { last.len() } else { 0 };
    let rest = held.split_off(end);
    String::from_utf8_lossy(&std::mem::replace(held, rest)).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_in_two_parts_are_whole() {
        let mut held = b"a\xff".to_vec();
        held.extend(&"图".as_bytes()[..2]);
        assert_eq!(take_text(&mut held, false), "a\u{fffd}");
        held.extend(&"图".as_bytes()[2..]);
        assert_eq!(take_text(&mut held, false), "图");
        held.extend(&"图".as_bytes()[..1]);
        assert_eq!((take_text(&mut held, false), take_text(&mut held, true)), (String::new(), "\u{fffd}".to_string()));
        assert!(held.is_empty());
    }
}
