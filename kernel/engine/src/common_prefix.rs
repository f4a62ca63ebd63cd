//! The common prefix of two sequences of tokens and images.
//!
//! A token attends only to those before it. So a system prompt, or an image that is asked about several times, has the
//! same hidden states in every sample that begins with it, and is computed once for all samples of a forward pass. The
//! gradients of several samples add up in these rows. Losses and gradients are the same but for the order of sums, and
//! tokens are counted as if nothing had been shared.
//!
//! A sample is compared only with the first one of its pass. Nothing is shared under dropout or NEFTune, which give
//! each sample random numbers of its own. Of eight samples of 121 tokens that share 15, 12 % of the rows are not
//! computed.

/// How many tokens and whole pictures at the start of `ids` are those of `known`. Of the picture with an index, `picture`
/// tells how many tokens of `ids` stand for it, and whether the other one with that index is the same.
pub(crate) fn common_prefix(
    ids: &[u32],
    known: &[u32],
    image_token_id: u32,
    picture: impl Fn(usize) -> Option<(usize, bool)>,
) -> (usize, usize) {
    let (mut tokens, mut pictures) = (0, 0);
    while let (Some(&next), Some(other)) = (ids.get(tokens), known.get(tokens)) {
        let found = picture(pictures).filter(|_| next == image_token_id);
        let (step, same) = found.unwrap_or((1, true));
        if next != *other || !same || tokens + step > known.len().min(ids.len()) {
            break;
        }
        tokens += step;
        pictures += usize::from(found.is_some());
    }
    (tokens, pictures)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The placeholder of pictures' tokens; each picture has two.
    const P: u32 = 99;

    type Sample<'a> = (&'a [u32], &'a [&'a str]);

    fn common((ids, pictures): Sample, (known, others): Sample) -> (usize, usize) {
        common_prefix(ids, known, P, |index| pictures.get(index).map(|name| (2, others.get(index) == Some(name))))
    }

    #[test]
    fn text_is_common_up_to_the_first_difference() {
        let known: Sample = (&[1, 2, 3, 4], &[]);
        assert_eq!(common((&[1, 2, 5, 4], &[]), known), (2, 0));
        assert_eq!(common((&[1, 2, 3], &[]), known), (3, 0));
        assert_eq!(common((&[1, 2, 3, 4, 5], &[]), known), (4, 0));
        assert_eq!(common((&[7, 2], &[]), known), (0, 0));
    }

    #[test]
    fn a_picture_is_common_if_it_is_the_same() {
        let known: Sample = (&[1, P, P, 2, P, P, 3], &["a", "b"]);
        assert_eq!(common((&[1, P, P, 2, P, P, 4], &["a", "b"]), known), (6, 2));
        assert_eq!(common((&[1, P, P, 2, P, P, 3], &["a", "c"]), known), (4, 1));
        assert_eq!(common((&[1, P, P, 2, P, P, 3], &["b", "a"]), known), (1, 0));
        assert_eq!(common((&[1, P, P, 5], &["a"]), known), (3, 1));
    }

    #[test]
    fn a_picture_is_common_as_a_whole() {
        let sample: Sample = (&[1, P, P, 2], &["a"]);
        assert_eq!(common((&sample.0[..2], sample.1), sample), (1, 0));
        assert_eq!(common((&sample.0[..3], sample.1), sample), (3, 1));
        assert_eq!(common((&[1, 2], &[]), sample), (1, 0));
        assert_eq!(common(sample, (&[1, P], &[])), (1, 0));
    }
}
