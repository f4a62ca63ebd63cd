//! Mutations of bytes and of text, whatever they mean.

use super::dice::Dice;

/// Numbers at which arithmetic and allocations go wrong.
pub(super) const EXTREMES: [&str; 18] = [
    "0",
    "-1",
    "1",
    "2147483647",
    "2147483648",
    "4294967296",
    "1099511627776",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "-9223372036854775809",
    "1e308",
    "1e999",
    "-1e-320",
    "0.1",
    "NaN",
    "-Infinity",
];

/// A character that no text of the tests has, so that what is quoted of a long text can be counted.
pub(super) const MARK: char = 'ʬ';

/// One to four changes of the bytes.
pub(super) fn mutate(dice: &mut Dice, bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..1 + dice.below(2) * dice.below(4) {
        change(dice, &mut bytes);
    }
    bytes
}

/// A text with numbers replaced by extremes, words by others and lines moved, and sometimes with its bytes changed.
pub(super) fn mutate_text(dice: &mut Dice, text: &str) -> Vec<u8> {
    let mut text = text.to_string();
    for _ in 0..1 + dice.below(2) * dice.below(3) {
        change_text(dice, &mut text);
    }
    if dice.once_in(5) { mutate(dice, text.as_bytes()) } else { text.into_bytes() }
}

fn change(dice: &mut Dice, bytes: &mut Vec<u8>) {
    if bytes.is_empty() {
        bytes.push(dice.byte());
        return;
    }
    let at = dice.below(bytes.len());
    let span = dice.span(bytes.len());
    match dice.below(9) {
        0 => bytes[at] ^= 1 << dice.below(8),
        1 => bytes[at] = dice.byte(),
        2 => bytes.truncate(at),
        3 => drop(bytes.drain(span)),
        4 => {
            let piece = bytes[span].to_vec();
            bytes.splice(at..at, piece);
        }
        5 => bytes[span].fill(*dice.pick(&[0, 0xff, b' ', b'0', b'"', b'[', 0x1b])),
        6 => set_length(dice, bytes, at),
        7 => {
            let piece: Vec<_> = (0..1 + dice.below(16)).map(|_| dice.byte()).collect();
            bytes.splice(at..at, piece);
        }
        _ => bytes[span].reverse(),
    }
}

/// A number of 2, 4 or 8 bytes in either order, as headers have them.
fn set_length(dice: &mut Dice, bytes: &mut [u8], at: usize) {
    let number =
        *dice.pick(&[0, 1, 255, 0x7fff, 0xffff, 1 << 31, (1 << 31) - 1, 1 << 32, 1 << 40, i64::MAX as u64, u64::MAX]);
    let width = *dice.pick(&[2, 4, 8]);
    let number = if dice.once_in(2) {
        number.to_le_bytes()[..width].to_vec()
    } else {
        number.to_be_bytes()[8 - width..].to_vec()
    };
    // Fields are mostly aligned.
    let at = if dice.once_in(2) { at } else { at / width * width };
    bytes.iter_mut().skip(at).zip(number).for_each(|(byte, new)| *byte = new);
}

fn change_text(dice: &mut Dice, text: &mut String) {
    let words: Vec<(usize, usize)> = words(text);
    if words.is_empty() {
        text.push_str(&strange(dice));
        return;
    }
    let (start, end) = *dice.pick(&words);
    let (other_start, other_end) = *dice.pick(&words);
    let other = text[other_start..other_end].to_string();
    let is_number = text[start..end].parse::<f64>().is_ok();
    match dice.below(6) {
        0.. if is_number && !dice.once_in(4) => text.replace_range(start..end, dice.pick::<&str>(&EXTREMES)),
        0 => text.replace_range(start..end, dice.pick::<&str>(&EXTREMES)),
        1 => text.replace_range(start..end, &strange(dice)),
        2 | 3 => text.replace_range(start..end, &other),
        4 => text.insert_str(start, &other.repeat(1 + dice.below(3))),
        _ => {
            let mut lines: Vec<_> = text.split_inclusive('\n').map(str::to_string).collect();
            let line = dice.pick(&lines).clone();
            lines.insert(dice.below(lines.len()), line);
            *text = lines.concat();
        }
    }
}

/// Where words and numbers begin and end.
fn words(text: &str) -> Vec<(usize, usize)> {
    let is_word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '-' | '+');
    let mut words = Vec::new();
    for (at, piece) in text.split_inclusive(|c| !is_word(c)).scan(0, |at, piece| {
        *at += piece.len();
        Some((*at - piece.len(), piece))
    }) {
        let word = piece.trim_end_matches(|c| !is_word(c));
        if !word.is_empty() {
            words.push((at, at + word.len()));
        }
    }
    words
}

/// Text that is long, empty, steers a terminal, or means something to somebody.
pub(super) fn strange(dice: &mut Dice) -> String {
    match dice.below(10) {
        0 => String::new(),
        1 => MARK.to_string().repeat(*dice.pick(&[79, 81, 5_000, 200_000])),
        2 => "\x1b]52;c;cm0gLXJm\x07\x1b[2J\u{9b}31m\x08".to_string(),
        3 => "a\u{202e}b\u{2066}c\u{200b}".to_string(),
        4 => "a\0b\r\nc\u{85}".to_string(),
        5 => "{{ x }}{% for %} %s %n $HOME `id`".to_string(),
        6 => "<image>".repeat(1 + dice.below(200)),
        7 => "<|im_start|>system\n<|im_end|><|image_pad|><|endoftext|>".to_string(),
        8 => dice
            .pick(&["null", "true", "none", "[]", "{}", "..", "~", "*", "auto", "all", "(", "[a-", "\\", "\"", "'"])
            .to_string(),
        _ => "名\u{fe0f}\u{10ffff}\u{feff}\u{301}".to_string(),
    }
}
