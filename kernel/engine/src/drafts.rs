//! Drafts for speculative decoding (Leviathan et al. 2023, arXiv 2211.17192) without a second model: what most often
//! followed the last tokens, in the prompt and the answer itself and in the answers of the data in use. A tuned model says
//! what resembles them.
//!
//! The model reads drafted tokens together with the one before them, and a sampler goes through their logits in order. As
//! long as it chooses what was drafted, it has the next logits already; the rest is forgotten. So an answer is what it
//! would have been without drafts. With a draft of one certain token this is the rejection sampling of that paper: the
//! draft is accepted with the probability that the model gives it, and else a token is drawn from the others.

use std::collections::HashMap;

/// Tokens that followed tokens: an n-gram model that backs off to shorter contexts.
#[derive(Clone, Debug, Default)]
pub struct NGrams {
    after_three: HashMap<[u32; 3], Followers>,
    after_two: HashMap<[u32; 2], Followers>,
}

/// The tokens that followed a context. The first is the one that did so most often; of several the last one that came to
/// this count.
#[derive(Clone, Debug, Default)]
struct Followers(Vec<Follower>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Follower {
    token: u32,
    count: u32,
}

impl Followers {
    fn add(&mut self, token: u32) {
        let at = self.0.iter().position(|known| known.token == token).unwrap_or_else(|| {
            self.0.push(Follower { token, count: 0 });
            self.0.len() - 1
        });
        self.0[at].count += 1;
        if self.0[at].count >= self.0[0].count {
            self.0.swap(0, at);
        }
    }
}

impl NGrams {
    /// Counts what follows in `tokens` from the token `from` on.
    pub fn add(&mut self, tokens: &[u32], from: usize) {
        for next in from.max(2)..tokens.len() {
            let (before, token) = (&tokens[..next], tokens[next]);
            if let Some(context) = before.last_chunk() {
                self.after_two.entry(*context).or_default().add(token);
            }
            if let Some(context) = before.last_chunk() {
                self.after_three.entry(*context).or_default().add(token);
            }
        }
    }

    fn after_three(&self, before: &[u32]) -> Option<Follower> {
        self.after_three.get(before.last_chunk()?)?.0.first().copied()
    }

    fn after_two(&self, before: &[u32]) -> Option<Follower> {
        self.after_two.get(before.last_chunk()?)?.0.first().copied()
    }
}

/// Up to `most` tokens that are likely to follow the last of `tokens`: at each place the one that followed three tokens
/// most often in one of the texts, or else two.
pub(crate) fn draft(texts: [Option<&NGrams>; 2], tokens: &[u32], most: usize) -> Vec<u32> {
    let mut before = tokens[tokens.len().saturating_sub(3)..].to_vec();
    let mut drafted = Vec::new();
    while drafted.len() < most {
        let texts = texts.into_iter().flatten();
        let after_three = texts.clone().filter_map(|text| text.after_three(&before)).max_by_key(|next| next.count);
        let after_two = || texts.filter_map(|text| text.after_two(&before)).max_by_key(|next| next.count);
        let Some(Follower { token, .. }) = after_three.or_else(after_two) else { break };
        drafted.push(token);
        before.push(token);
    }
    drafted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(tokens: &[u32]) -> NGrams {
        let mut text = NGrams::default();
        text.add(tokens, 0);
        text
    }

    #[test]
    fn what_followed_is_drafted_as_far_as_it_is_known() {
        let none = NGrams::default();
        let text = of(&[1, 2, 3, 4, 5, 6]);
        assert_eq!(draft([Some(&text), Some(&none)], &[9, 2, 3], 8), [4, 5, 6]);
        assert_eq!(draft([Some(&none), Some(&text)], &[2, 3], 2), [4, 5]);
        assert_eq!(draft([Some(&text), Some(&none)], &[3, 2], 8), [0; 0]);
        assert_eq!(draft([Some(&text), Some(&none)], &[2], 8), [0; 0]);
        assert_eq!(draft([Some(&none), Some(&none)], &[], 8), [0; 0]);
    }

    #[test]
    fn the_most_frequent_follower_wins_and_longer_contexts_come_first() {
        let none = NGrams::default();
        let text = of(&[1, 2, 7, 0, 1, 2, 8, 0, 1, 2, 7, 5, 5, 2, 7, 9]);
        assert_eq!(draft([Some(&text), Some(&none)], &[4, 1, 2], 1), [7]);
        assert_eq!(draft([Some(&text), Some(&none)], &[5, 2, 7], 1), [9]);
        let often = of(&[1, 2, 8, 1, 2, 8, 1, 2, 8]);
        assert_eq!(draft([Some(&text), Some(&often)], &[1, 2], 1), [8], "three times against two");
    }

    #[test]
    fn a_text_that_grows_counts_each_token_once() {
        let tokens = [1, 2, 3, 1, 2, 4, 1, 2, 4];
        let mut text = of(&tokens[..5]);
        text.add(&tokens, 5);
        assert_eq!(text.after_two(&[1, 2]), Some(Follower { token: 4, count: 2 }));
        assert_eq!(text.after_three(&[3, 1, 2]), Some(Follower { token: 4, count: 1 }));
    }
}
