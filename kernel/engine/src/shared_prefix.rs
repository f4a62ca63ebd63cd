//! What samples of a micro-batch begin with in common: the system prompt, often, and sometimes a picture. Their tokens
//! see nothing but each other, so that they are the same in every layer, and need not be made twice.

use tunebook_data::Encoded;
use tunebook_data::ImageProcessor;

/// What a sample has in common with the first one of its micro-batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SharedPrefix {
    pub tokens: usize,
    /// The pictures among them.
    pub images: usize,
}

impl SharedPrefix {
    /// At most `limit` tokens. A picture is shared as a whole.
    pub fn of(
        sample: &Encoded,
        first: &Encoded,
        limit: usize,
        image_token_id: u32,
        processor: &ImageProcessor,
    ) -> Self {
        let same = sample.input_ids.iter().zip(&first.input_ids).take(limit).take_while(|(a, b)| a == b).count();
        let mut end = 0;
        for (images, image) in sample.images.iter().enumerate() {
            let placeholder = sample.input_ids[end..].iter().position(|&id| id == image_token_id);
            let start = placeholder.map_or(sample.input_ids.len(), |distance| end + distance);
            end = start + processor.tokens(image.grid);
            if same < end || first.images.get(images) != Some(image) {
                return Self { tokens: same.min(start), images };
            }
        }
        Self { tokens: same, images: sample.images.len() }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use tunebook_data::DEFAULT_IMAGE_MAX_PIXELS;
    use tunebook_data::DEFAULT_IMAGE_MIN_PIXELS;
    use tunebook_data::Grid;
    use tunebook_data::ImageRef;
    use tunebook_data::Origin;

    use super::*;

    /// The placeholder of pictures' tokens.
    const P: u32 = 99;

    fn sample(input_ids: &[u32], images: &[&str]) -> Encoded {
        let grid = Grid { t: 1, h: 2, w: 4 };
        Encoded {
            input_ids: input_ids.to_vec(),
            labels: vec![],
            images: images.iter().map(|path| ImageRef { path: path.into(), grid }).collect(),
            truncated: false,
            origin: Origin { file: Path::new("data.json").into(), index: 0 },
        }
    }

    /// The tokens and pictures that a sample shares with a first one; each picture has two tokens.
    fn shared(sample: &Encoded, first: &Encoded, limit: usize) -> [usize; 2] {
        let processor = ImageProcessor {
            patch_size: 14,
            temporal_patch_size: 2,
            merge_size: 2,
            min_pixels: 56 * 56,
            max_pixels: 28 * 28 * 1280,
            rescale_factor: 1.0 / 255.0,
            image_mean: [0.5; 3],
            image_std: [0.5; 3],
            image_max_pixels: DEFAULT_IMAGE_MAX_PIXELS,
            image_min_pixels: DEFAULT_IMAGE_MIN_PIXELS,
        };
        let SharedPrefix { tokens, images } = SharedPrefix::of(sample, first, limit, P, &processor);
        [tokens, images]
    }

    #[test]
    fn text_is_shared_up_to_the_first_difference_and_the_limit() {
        let first = sample(&[1, 2, 3, 4], &[]);
        assert_eq!(shared(&sample(&[1, 2, 5, 4], &[]), &first, 9), [2, 0]);
        assert_eq!(shared(&sample(&[1, 2, 3], &[]), &first, 9), [3, 0]);
        assert_eq!(shared(&sample(&[1, 2, 3, 4, 5], &[]), &first, 1), [1, 0]);
        assert_eq!(shared(&sample(&[7, 2], &[]), &first, 9), [0, 0]);
    }

    #[test]
    fn a_picture_is_shared_if_it_is_the_same() {
        let first = sample(&[1, P, P, 2, P, P, 3], &["a", "b"]);
        assert_eq!(shared(&sample(&[1, P, P, 2, P, P, 4], &["a", "b"]), &first, 9), [6, 2]);
        assert_eq!(shared(&sample(&[1, P, P, 2, P, P, 3], &["a", "c"]), &first, 9), [4, 1]);
        assert_eq!(shared(&sample(&[1, P, P, 2, P, P, 3], &["b", "a"]), &first, 9), [1, 0]);
        assert_eq!(shared(&sample(&[1, P, P, 5], &["a"]), &first, 9), [3, 1]);
    }

    #[test]
    fn a_picture_is_shared_as_a_whole() {
        let first = sample(&[1, P, P, 2], &["a"]);
        assert_eq!(shared(&first, &first, 2), [1, 0]);
        assert_eq!(shared(&first, &first, 3), [3, 1]);
        assert_eq!(shared(&sample(&[1, 2], &[]), &first, 9), [1, 0]);
        assert_eq!(shared(&first, &sample(&[1, P], &[]), 9), [1, 0]);
    }
}
