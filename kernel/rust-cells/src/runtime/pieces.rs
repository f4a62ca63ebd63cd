//! What a cell writes, in pieces: text for the user, and lines that evcxr has it write for evcxr.

/// Begins all of evcxr's lines, and the mark.
const PREFIX: &[u8] = b"EVCXR_";
/// Written behind text, to see when it has come through.
pub(super) const MARK: &[u8] = b"EVCXR_HANDED_OVER\n";
const CONTENT: &[u8] = b"EVCXR_BEGIN_CONTENT ";
const END_OF_CONTENT: &[u8] = b"EVCXR_END_CONTENT\n";
const PANICKED: &[u8] = b"EVCXR_PANIC_NOTIFICATION\n";
/// Others that evcxr hears.
const NEWS: [&[u8]; 2] = [b"EVCXR_ERROR_OCCURRED\n", b"EVCXR_VARIABLE_CHANGED_TYPE:"];
/// The crate evcxr_input asks with it before it reads standard input.
const ASKED: &str = "EVCXR_INPUT_REQUEST";
const ASKED_SECRETLY: &str = "EVCXR_INPUT_REQUEST_PASSWORD";

/// A part of what was written.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Text(String),
    /// For evcxr, with its line feed.
    Line(Vec<u8>),
    /// What is read next answers this.
    Asked {
        prompt: String,
        is_secret: bool,
    },
    Mark,
}

/// Splits a stream, whatever parts it comes in.
pub(super) struct Pieces {
    /// Only the mark is no text.
    is_error: bool,
    /// What may go on: a character, a line of evcxr's.
    held: Vec<u8>,
    in_content: bool,
}

impl Pieces {
    pub(super) fn new(is_error: bool) -> Self {
        Self { is_error, held: Vec::new(), in_content: false }
    }

    /// The pieces that `bytes` complete.
    pub(super) fn split(&mut self, bytes: &[u8]) -> Vec<Piece> {
        let mut pieces = Vec::new();
        self.held.extend_from_slice(bytes);
        while let Some(at) = find(&self.held, MARK) {
            let behind = self.held.split_off(at + MARK.len());
            self.held.truncate(at);
            self.take(true, &mut pieces);
            pieces.push(Piece::Mark);
            self.held.extend(behind);
        }
        self.take(false, &mut pieces);
        pieces
    }

    /// Takes pieces off the front. What may be the beginning of a line for evcxr is text if it is `marked` as complete.
    fn take(&mut self, is_marked: bool, pieces: &mut Vec<Piece>) {
        loop {
            if self.in_content {
                let Some(line) = self.line() else { return };
                self.in_content = line != END_OF_CONTENT && line != PANICKED;
                pieces.push(Piece::Line(line));
                continue;
            }
            let start = find(&self.held, PREFIX).or_else(|| begun(&self.held)).filter(|_| !is_marked || self.is_line());
            let behind = self.held.split_off(start.unwrap_or(self.held.len()));
            self.text(start.is_some(), pieces);
            let Some(_) = start else { return };
            self.held.extend(behind);
            let Some(line) = self.line() else { return };
            pieces.push(self.meant(line));
        }
    }

    /// Whether there is a whole line of evcxr's.
    fn is_line(&self) -> bool {
        find(&self.held, PREFIX).is_some_and(|at| self.held[at..].contains(&b'\n'))
    }

    /// The first line, if it is whole.
    fn line(&mut self) -> Option<Vec<u8>> {
        let end = self.held.iter().position(|byte| *byte == b'\n')?;
        let behind = self.held.split_off(end + 1);
        Some(std::mem::replace(&mut self.held, behind))
    }

    /// What a line means that may be evcxr's.
    fn meant(&mut self, line: Vec<u8>) -> Piece {
        let text = String::from_utf8_lossy(&line).into_owned();
        if self.is_error {
            return Piece::Text(text);
        }
        self.in_content = line.starts_with(CONTENT);
        if self.in_content || line == PANICKED || NEWS.iter().any(|news| line.starts_with(news)) {
            return Piece::Line(line);
        }
        match text.trim_end().split_once(':') {
            Some((ASKED, prompt)) => Piece::Asked { prompt: prompt.to_string(), is_secret: false },
            Some((ASKED_SECRETLY, prompt)) => Piece::Asked { prompt: prompt.to_string(), is_secret: true },
            _ => Piece::Text(text),
        }
    }

    /// All that is held as text; where nothing follows yet, up to the last whole character.
    fn text(&mut self, is_whole: bool, pieces: &mut Vec<Piece>) {
        let end = match str::from_utf8(&self.held) {
            Err(error) if error.error_len().is_none() && !is_whole => error.valid_up_to(),
            _ => self.held.len(),
        };
        let rest = self.held.split_off(end);
        let bytes = std::mem::replace(&mut self.held, rest);
        if !bytes.is_empty() {
            pieces.push(Piece::Text(String::from_utf8_lossy(&bytes).into_owned()));
        }
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

/// Where `PREFIX` begins at the end of `bytes`.
fn begun(bytes: &[u8]) -> Option<usize> {
    let most = bytes.len().min(PREFIX.len() - 1);
    (bytes.len() - most..bytes.len()).find(|at| PREFIX.starts_with(&bytes[*at..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Piece {
        Piece::Text(text.to_string())
    }

    fn line(line: &str) -> Piece {
        Piece::Line(line.as_bytes().to_vec())
    }

    /// Adjacent texts as one.
    fn joined(pieces: Vec<Piece>) -> Vec<Piece> {
        let mut joined: Vec<Piece> = Vec::new();
        for piece in pieces {
            match (joined.last_mut(), piece) {
                (Some(Piece::Text(before)), Piece::Text(text)) => before.push_str(&text),
                (_, piece) => joined.push(piece),
            }
        }
        joined
    }

    #[test]
    fn text_comes_before_its_line_ends() {
        let mut pieces = Pieces::new(false);
        assert_eq!(pieces.split(b"\r10 %"), [text("\r10 %")]);
        assert_eq!(pieces.split("图".as_bytes()), [text("图")]);
        // A character in two parts.
        assert_eq!(pieces.split(&"图".as_bytes()[..1]), []);
        assert_eq!(pieces.split(&"图".as_bytes()[1..]), [text("图")]);
        assert_eq!(pieces.split(b"\xff."), [text("\u{fffd}.")]);
    }

    #[test]
    fn lines_of_evcxr_are_found_wherever_they_stand() {
        let written = "no end EVCXR_BEGIN_CONTENT text/plain\n4\n\n2\nEVCXR_END_CONTENT\nafterEVCXR_PANIC_NOTIFICATION\n\
                       EVCXR_INPUT_REQUEST_PASSWORD:Token: \nEVCXR_?\nE EVCXR_VARIABLE_CHANGED_TYPE:x\nEVCXR_HANDED_OVER\nEV";
        let expected = [
            text("no end "),
            line("EVCXR_BEGIN_CONTENT text/plain\n"),
            line("4\n"),
            line("\n"),
            line("2\n"),
            line("EVCXR_END_CONTENT\n"),
            text("after"),
            line("EVCXR_PANIC_NOTIFICATION\n"),
            Piece::Asked { prompt: "Token:".to_string(), is_secret: true },
            text("EVCXR_?\nE "),
            line("EVCXR_VARIABLE_CHANGED_TYPE:x\n"),
            Piece::Mark,
        ];
        assert_eq!(joined(Pieces::new(false).split(written.as_bytes())), expected);
        for size in 1..9 {
            let mut pieces = Pieces::new(false);
            let found = written.as_bytes().chunks(size).flat_map(|bytes| pieces.split(bytes)).collect();
            assert_eq!(joined(found), expected, "in parts of {size}");
        }
    }

    #[test]
    fn a_mark_is_found_in_the_middle_and_takes_what_was_held() {
        assert_eq!(Pieces::new(false).split(b"EVCXR_HANDED_OVER\n"), [Piece::Mark]);
        assert_eq!(Pieces::new(false).split(b"a EVEVCXR_HANDED_OVER\nb"), [text("a EV"), Piece::Mark, text("b")]);
        assert_eq!(Pieces::new(false).split(b"EVCXR_EVCXR_HANDED_OVER\n"), [text("EVCXR_"), Piece::Mark]);
        assert_eq!(joined(Pieces::new(true).split(b"EVCXR_BEGIN_CONTENT x\ny")), [text("EVCXR_BEGIN_CONTENT x\ny")]);
        let mut pieces = Pieces::new(false);
        let content = [line("EVCXR_BEGIN_CONTENT x\n"), Piece::Mark];
        assert_eq!(pieces.split(b"EVCXR_BEGIN_CONTENT x\nhalEVCXR_HANDED_OVER\n"), content);
        assert_eq!(pieces.split(b"f\nEVCXR_END_CONTENT\n."), [line("half\n"), line("EVCXR_END_CONTENT\n"), text(".")]);
    }
}
