//! M-RoPE: three positions a token, and the rotation they make.

use candle_core::Device;
use candle_core::Tensor;

use crate::error::Error;
use crate::error::Result;
use crate::ops::Rotary;

use super::text_config::TextConfig;

/// Temporal, height and width position of every token of one sequence, and `rope_delta`, which added to
/// the count of tokens gives the position of the next generated one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Positions {
    pub thw: Vec<[u32; 3]>,
    pub delta: i64,
}

/// The positions of a sequence (`get_rope_index` in transformers).
///
/// Text advances all three together. A picture of `grid_thw` (patches) that starts at position `s` puts
/// its merged token in row `r` and column `c` of frame `t` at `(s + t, s + r, s + c)`, and what follows
/// continues at `s + max(grid_h, grid_w) / merge`.
///
/// # Errors
/// The placeholders in `input_ids` are not as many as the grids ask for.
pub fn rope_index(input_ids: &[u32], grids: &[[usize; 3]], image_token_id: u32, merge: usize) -> Result<Positions> {
    let mut thw = Vec::with_capacity(input_ids.len());
    let mut next = 0u32;
    let mut grids_left = grids.iter();
    while thw.len() < input_ids.len() {
        if input_ids[thw.len()] != image_token_id {
            thw.push([next; 3]);
            next += 1;
            continue;
        }
        let [t, h, w] =
            *grids_left.next().ok_or_else(|| placeholders_differ(input_ids, grids, image_token_id, merge))?;
        let (rows, columns) = (h / merge, w / merge);
        let end = thw.len() + t * rows * columns;
        if end > input_ids.len() || input_ids[thw.len()..end].iter().any(|&id| id != image_token_id) {
            return Err(placeholders_differ(input_ids, grids, image_token_id, merge));
        }
        for frame in 0..t as u32 {
            for row in 0..rows as u32 {
                thw.extend((0..columns as u32).map(|column| [next + frame, next + row, next + column]));
            }
        }
        next += rows.max(columns) as u32;
    }
    if grids_left.next().is_some() {
        return Err(placeholders_differ(input_ids, grids, image_token_id, merge));
    }
    Ok(Positions { delta: i64::from(next) - input_ids.len() as i64, thw })
}

fn placeholders_differ(input_ids: &[u32], grids: &[[usize; 3]], image_token_id: u32, merge: usize) -> Error {
    let found = input_ids.iter().filter(|&&id| id == image_token_id).count();
    let expected: usize = grids.iter().map(|[t, h, w]| t * (h / merge) * (w / merge)).sum();
    Error::Input(format!("{} images need {expected} image tokens, but the text has {found}", grids.len()))
}

/// The rotation of the language model at `positions`.
///
/// Frequency `j` of `head_dim / 2` is `theta^(-2j / head_dim)`; its angle multiplies the position along [`axis`].
/// Computed in f32 as transformers does.
///
/// # Errors
/// Whatever candle reports of the device.
pub fn rotary(positions: &[[u32; 3]], config: &TextConfig, device: &Device) -> candle_core::Result<Rotary> {
    let half = config.head_dim / 2;
    let frequencies = inverse_frequencies(half, config.rope_theta);
    let axes: Vec<usize> = (0..half).map(|j| axis(j, config)).collect();
    let angles = positions.iter().flat_map(|p| axes.iter().zip(&frequencies).map(|(&axis, f)| p[axis] as f32 * f));
    rotary_of(angles, half, device)
}

/// Which of the temporal, height and width position frequency `j` follows. In sections: the first `mrope_section[0]`
/// frequencies the temporal one, the next `mrope_section[1]` the height, the rest the width. Interleaved: T, H and W take
/// turns, as long as H and W have frequencies left; the rest is temporal (`apply_interleaved_mrope` in transformers).
fn axis(j: usize, config: &TextConfig) -> usize {
    let [temporal, height, _] = config.mrope_section;
    match config.mrope_interleaved {
        true => Some(j % 3).filter(|&axis| j < 3 * config.mrope_section[axis]).unwrap_or(0),
        false => usize::from(j >= temporal) + usize::from(j >= temporal + height),
    }
}

/// The tables of a rotation by `angles`, `half` of them a token.
pub(crate) fn rotary_of(
    angles: impl Iterator<Item = f32>,
    half: usize,
    device: &Device,
) -> candle_core::Result<Rotary> {
    let (sin, cos): (Vec<f32>, Vec<f32>) = angles.map(f32::sin_cos).unzip();
    let shape = (cos.len() / half, half);
    Ok(Rotary { cos: Tensor::from_vec(cos, shape, device)?, sin: Tensor::from_vec(sin, shape, device)? })
}

/// `theta^(-j / half)` for `j` in `0..half`.
pub(crate) fn inverse_frequencies(half: usize, theta: f64) -> Vec<f32> {
    (0..half).map(|j| 1.0 / (theta as f32).powf(j as f32 / half as f32)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_has_rows_and_columns() {
        // Two words, <|vision_start|>, a picture of 2 x 3 tokens, <|vision_end|>, three words.
        let (x, start, image, end) = (1, 2, 9, 3);
        let ids = [x, x, start, image, image, image, image, image, image, end, x, x, x];
        let found = rope_index(&ids, &[[1, 4, 6]], image, 2).unwrap();
        let axis = |a: usize| found.thw.iter().map(|p| p[a]).collect::<Vec<_>>();
        assert_eq!(axis(0), [0, 1, 2, 3, 3, 3, 3, 3, 3, 6, 7, 8, 9]);
        assert_eq!(axis(1), [0, 1, 2, 3, 3, 3, 4, 4, 4, 6, 7, 8, 9]);
        assert_eq!(axis(2), [0, 1, 2, 3, 4, 5, 3, 4, 5, 6, 7, 8, 9]);
        assert_eq!(found.delta, -3);
    }

    #[test]
    fn interleaved_axes_take_turns() {
        let axes: String = (0..64).map(|j| ["T", "H", "W"][axis(j, &TextConfig::QWEN3)]).collect();
        assert_eq!(axes, format!("{}TTTT", "THW".repeat(20)));
        let axes: String = (0..64).map(|j| ["T", "H", "W"][axis(j, &TextConfig::QWEN2)]).collect();
        assert_eq!(axes, format!("{}{}{}", "T".repeat(16), "H".repeat(24), "W".repeat(24)));
    }

    #[test]
    fn a_missing_placeholder_is_an_error() {
        assert!(rope_index(&[1, 9, 9, 9], &[[1, 4, 4]], 9, 2).is_err());
        assert!(rope_index(&[1, 9, 9, 9, 9, 9], &[[1, 4, 4]], 9, 2).is_err());
        assert!(rope_index(&[1, 1], &[[1, 4, 4]], 9, 2).is_err());
    }
}
