//! Stop strings in a text that comes piece by piece.

/// Finds the first stop string of a text, and holds back what may yet become one.
///
/// Where several occur, the one that is complete first counts, and of those that end together the longest: so the result does
/// not depend on how the text is cut into pieces.
#[derive(Debug)]
pub(crate) struct StopFinder {
    stops: Vec<String>,
    held: String,
}

/// What may go to the client.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// No stop string so far. The text may be empty.
    Text(String),
    /// What came before the stop string. Nothing more is to come.
    Stop(String),
}

impl StopFinder {
    /// `stops`: none is empty.
    pub(crate) fn new(stops: Vec<String>) -> Self {
        Self { stops, held: String::new() }
    }

    pub(crate) fn push(&mut self, piece: &str) -> Found {
        self.held += piece;
        let ends = self.stops.iter().filter_map(|stop| self.held.find(stop).map(|at| (at + stop.len(), at)));
        if let Some((_, at)) = ends.min() {
            self.held.truncate(at);
            return Found::Stop(std::mem::take(&mut self.held));
        }
        let beginning = self.stops.iter().map(|stop| longest_beginning(&self.held, stop)).max().unwrap_or(0);
        let rest = self.held.split_off(self.held.len() - beginning);
        Found::Text(std::mem::replace(&mut self.held, rest))
    }

    /// What was held back, when the text has ended.
    pub(crate) fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }
}

/// The bytes of the longest end of `text` that is a beginning of `stop`, and not all of it. Both are whole characters, so the
/// end begins with one.
fn longest_beginning(text: &str, stop: &str) -> usize {
    let most = text.len().min(stop.len() - 1);
    (1..=most).rev().find(|length| text.as_bytes().ends_with(&stop.as_bytes()[..*length])).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Text and whether it was stopped, of a text in pieces.
    fn run(stops: &[&str], pieces: &[&str]) -> (String, bool) {
        let mut finder = StopFinder::new(stops.iter().map(|stop| stop.to_string()).collect());
        let mut text = String::new();
        for piece in pieces {
            match finder.push(piece) {
                Found::Text(found) => text += &found,
                Found::Stop(found) => return (text + &found, true),
            }
        }
        (text + &finder.finish(), false)
    }

    #[test]
    fn a_stop_string_is_found_over_the_borders_of_pieces() {
        assert_eq!(run(&["END"], &["one E", "N", "D two"]), ("one ".into(), true));
        assert_eq!(run(&["END"], &["one E", "N", "d two"]), ("one ENd two".into(), false));
        assert_eq!(run(&["aab"], &["a", "a", "a", "b"]), ("a".into(), true));
        assert_eq!(run(&["\n\n"], &["\n", "x\n", "\ny"]), ("\nx".into(), true));
        assert_eq!(run(&["x"], &["x"]), (String::new(), true));
        assert_eq!(run(&[], &["a", "", "b"]), ("ab".into(), false));
    }

    #[test]
    fn characters_of_several_bytes_stay_whole() {
        assert_eq!(run(&["。结"], &["好。", "结束"]), ("好".into(), true));
        // é is C3 A9, è is C3 A8: the same first byte is no beginning of a match.
        assert_eq!(run(&["é"], &["caf", "è"]), ("cafè".into(), false));
        assert_eq!(run(&["🎈🎉"], &["🎈", "🎈", "🎉", "x"]), ("🎈".into(), true));
    }

    #[test]
    fn nothing_but_a_beginning_is_held_back() {
        let mut finder = StopFinder::new(vec!["END".into(), "stop".into()]);
        assert_eq!(finder.push("abcEN"), Found::Text("abc".into()));
        assert_eq!(finder.push("x"), Found::Text("ENx".into()));
        assert_eq!(finder.push("st"), Found::Text(String::new()));
        assert_eq!(finder.finish(), "st");
    }

    #[test]
    fn the_result_does_not_depend_on_the_pieces() {
        // All texts of length 6 over two letters, in all ways to cut them, against one letter at a time.
        let stops = [vec!["abab", "ba"], vec!["aab", "b"], vec!["bb", "abb"], vec!["aaaa", "aab", "ba"]];
        for (stops, bits) in stops.iter().flat_map(|stops| (0..64u32).map(move |bits| (stops, bits))) {
            let text: String = (0..6).map(|i| if bits >> i & 1 == 1 { 'b' } else { 'a' }).collect();
            let letters: Vec<_> = (0..6).map(|i| &text[i..i + 1]).collect();
            let expected = run(stops, &letters);
            for cuts in 0..32u32 {
                let mut pieces = vec![String::new()];
                for (i, letter) in letters.iter().enumerate() {
                    pieces.last_mut().unwrap().push_str(letter);
                    if i < 5 && cuts >> i & 1 == 1 {
                        pieces.push(String::new());
                    }
                }
                let pieces: Vec<_> = pieces.iter().map(String::as_str).collect();
                assert_eq!(run(stops, &pieces), expected, "{stops:?} in {pieces:?}");
            }
        }
    }
}
