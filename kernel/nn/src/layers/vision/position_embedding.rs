//! Learned positions of patches, stretched over pictures of any size.

use candle_core::Device;
use candle_core::Result;
use candle_core::Tensor;

use crate::gradients::Gradients;
use crate::layers::ForwardContext;
use crate::layers::Loader;
use crate::layers::Matrix;

/// A square table of positions, `[side², hidden]`.
///
/// The table's corners lie on the picture's: of a picture of h × w patches, row i is at i (side - 1) / (h - 1) of the table,
/// and columns likewise. Between the table's rows and columns, positions are interpolated bilinearly
/// (`fast_pos_embed_interpolate` in transformers).
pub(super) struct PositionEmbedding {
    table: Matrix,
    side: usize,
}

/// For each patch, the four rows of the table around it, and their shares.
type Taps = Vec<[(usize, f32); 4]>;

impl PositionEmbedding {
    pub(super) fn load(name: String, side: usize, hidden: usize, loader: &mut Loader) -> crate::Result<Self> {
        Ok(Self { table: loader.matrix(name, side * side, hidden)?, side })
    }

    pub(super) fn trains(&self, ctx: ForwardContext) -> bool {
        self.table.trained(ctx).is_some()
    }

    /// The positions `[places, hidden]` of patches of pictures, each at (row, column) of a grid h × w.
    pub(super) fn forward(&self, places: &[Place], device: &Device, ctx: ForwardContext) -> Result<Tensor> {
        let taps = self.taps(places);
        if let Some(table) = self.table.trained(ctx) {
            let table = table.detach();
            let mut sum = Tensor::zeros((taps.len(), table.dim(1)?), table.dtype(), device)?;
            for tap in 0..4 {
                let (rows, shares) = columns(&taps, tap, device)?;
                sum = (sum + table.index_select(&rows, 0)?.broadcast_mul(&shares)?)?;
            }
            return Ok(sum);
        }
        let width = self.table.frozen.cols;
        let (mut values, mut row) = (vec![0f32; taps.len() * width], vec![0f32; width]);
        for (taps, sum) in taps.iter().zip(values.chunks_exact_mut(width)) {
            for &(index, share) in taps.iter().filter(|(_, share)| *share != 0.0) {
                self.table.frozen.read_row(index, &mut row);
                sum.iter_mut().zip(&row).for_each(|(sum, value)| *sum += share * value);
            }
        }
        Tensor::from_vec(values, (taps.len(), width), device)
    }

    /// Adds the gradient of the table, if it trains, given that of the patches, `[places, hidden]`.
    pub(super) fn backward(
        &self,
        places: &[Place],
        dy: &Tensor,
        ctx: ForwardContext,
        gradients: &mut Gradients,
    ) -> Result<()> {
        let Some(table) = self.table.trained(ctx) else { return Ok(()) };
        let sum = gradients.sum(table)?;
        let taps = self.taps(places);
        let mut gradient = sum.zeros_like()?;
        for tap in 0..4 {
            let (rows, shares) = columns(&taps, tap, dy.device())?;
            gradient = gradient.index_add(&rows, &dy.broadcast_mul(&shares)?, 0)?;
        }
        sum.slice_set(&(&sum + gradient)?, 0, 0)
    }

    fn taps(&self, places: &[Place]) -> Taps {
        let along = |place: usize, length: usize| {
            let last = self.side - 1;
            // In f32, as transformers has it.
            let at = if length > 1 { place as f32 * (last as f32 / (length - 1) as f32) } else { 0.0 };
            let below = (at as usize).min(last);
            let share = at - below as f32;
            [(below, 1.0 - share), ((below + 1).min(last), share)]
        };
        places
            .iter()
            .map(|&Place { row, column, grid: [h, w] }| {
                let ([top, bottom], [left, right]) = (along(row, h), along(column, w));
                [(top, left), (top, right), (bottom, left), (bottom, right)]
                    .map(|((row, a), (column, b))| (row * self.side + column, a * b))
            })
            .collect()
    }
}

/// Where a patch lies in its picture.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) row: usize,
    pub(super) column: usize,
    /// Height and width of the picture, in patches.
    pub(super) grid: [usize; 2],
}

/// The rows of the table of one tap, and their shares as a column.
fn columns(taps: &Taps, tap: usize, device: &Device) -> Result<(Tensor, Tensor)> {
    let rows: Vec<u32> = taps.iter().map(|taps| taps[tap].0 as u32).collect();
    let shares: Vec<f32> = taps.iter().map(|taps| taps[tap].1).collect();
    Ok((Tensor::new(rows, device)?, Tensor::from_vec(shares, (taps.len(), 1), device)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frozen::FrozenMatrix;

    #[test]
    fn a_table_is_stretched_over_a_picture() {
        let table = Matrix { name: String::new(), frozen: FrozenMatrix::missing(16, 1) };
        let embedding = PositionEmbedding { table, side: 4 };
        // Two rows of three tokens of 2 x 2 patches; a table whose values are their indices. By transformers.
        let mut places = Vec::new();
        for (top, left) in [(0, 0), (0, 2), (0, 4), (2, 0), (2, 2), (2, 4)] {
            for (row, column) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
                places.push(Place { row: top + row, column: left + column, grid: [4, 6] });
            }
        }
        let taps = embedding.taps(&places);
        let found: Vec<f32> = taps.iter().map(|taps| taps.iter().map(|&(i, share)| i as f32 * share).sum()).collect();
        let expected = [
            0.0, 0.6, 4.0, 4.6, 1.2, 1.8, 5.2, 5.8, 2.4, 3.0, 6.4, 7.0, 8.0, 8.6, 12.0, 12.6, 9.2, 9.8, 13.2, 13.8,
            10.4, 11.0, 14.4, 15.0,
        ];
        assert!(found.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-5), "{found:?}");
    }

    #[test]
    fn a_picture_of_one_row_has_the_first_row_of_the_table() {
        let table = Matrix { name: String::new(), frozen: FrozenMatrix::missing(16, 1) };
        let embedding = PositionEmbedding { table, side: 4 };
        let taps = embedding.taps(&[Place { row: 0, column: 1, grid: [1, 2] }]);
        let position: f32 = taps[0].iter().map(|&(i, share)| i as f32 * share).sum();
        assert_eq!(position, 3.0);
    }
}
