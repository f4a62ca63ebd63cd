//! How the patches of some pictures lie, and which of them attend to each other.

use std::iter;
use std::sync::Arc;

use candle_core::Device;
use candle_core::Result;
use candle_core::Tensor;

use crate::layers::positions::inverse_frequencies;
use crate::layers::positions::rotary_of;
use crate::ops::Rotary;
use crate::ops::Segments;

use super::config::VisionConfig;
use super::position_embedding::Place;
use super::windows::Windows;

/// The image processor lays patches in raster order of tokens, the patches of a token one after the other; attention within
/// windows needs the tokens of a window to lie together.
pub(super) struct Layout {
    /// Turns queries and keys by their patch's row and column.
    pub(super) rotary: Rotary,
    /// Where each patch lies in its picture, in the image processor's order.
    pub(super) places: Vec<Place>,
    /// Of each frame.
    frames: Segments,
    windows: Option<InWindows>,
    /// Patches of a token.
    block: usize,
}

struct InWindows {
    segments: Segments,
    /// The blocks that attend over whole frames.
    full_blocks: Vec<usize>,
    /// Position in window order → token in raster order, and the other way round.
    index: Vec<u32>,
    reverse: Vec<u32>,
}

impl Layout {
    pub(super) fn new(grids: &[[usize; 3]], config: &VisionConfig, device: &Device) -> Result<Self> {
        let (merge, block) = (config.spatial_merge_size, config.patches_of_token());
        let places: Vec<Place> = grids.iter().flat_map(|&grid| places(grid, merge)).collect();
        let windows = config.windows.as_ref().map(|attention| {
            let windows = Windows::new(grids, merge, attention.side);
            InWindows {
                segments: segments(&windows.bounds),
                full_blocks: attention.full_blocks.clone(),
                reverse: windows.reverse(),
                index: windows.index,
            }
        });
        let ordered: Vec<Place> = match &windows {
            Some(windows) => {
                windows.index.iter().flat_map(|&token| &places[token as usize * block..][..block]).copied().collect()
            }
            None => places.clone(),
        };
        let rotary = rotary(&ordered, config, device)?;
        let frames = grids.iter().flat_map(|&[t, h, w]| iter::repeat_n(h * w, t));
        let ends = frames.scan(0, |end, patches| {
            *end += patches;
            Some(*end)
        });
        let bounds: Vec<usize> = iter::once(0).chain(ends).collect();
        Ok(Self { rotary, places, frames: segments(&bounds), windows, block })
    }

    /// What attends to each other in a block.
    pub(super) fn segments(&self, block: usize) -> &Segments {
        match &self.windows {
            Some(windows) if !windows.full_blocks.contains(&block) => &windows.segments,
            _ => &self.frames,
        }
    }

    /// Patches, in the order in which blocks read them.
    pub(super) fn in_order(&self, x: Tensor) -> Result<Tensor> {
        self.windows.as_ref().map_or(Ok(x.clone()), |windows| permute(&x, &windows.index, self.block))
    }

    /// The other way round.
    pub(super) fn in_order_backward(&self, dx: Tensor) -> Result<Tensor> {
        self.windows.as_ref().map_or(Ok(dx.clone()), |windows| permute(&dx, &windows.reverse, self.block))
    }

    /// Tokens that lie as blocks read them, in raster order.
    pub(super) fn in_raster_order(&self, x: Tensor) -> Result<Tensor> {
        self.windows.as_ref().map_or(Ok(x.clone()), |windows| permute(&x, &windows.reverse, 1))
    }

    /// The other way round.
    pub(super) fn in_raster_order_backward(&self, dx: Tensor) -> Result<Tensor> {
        self.windows.as_ref().map_or(Ok(dx.clone()), |windows| permute(&dx, &windows.index, 1))
    }
}

/// The patches of a picture, frame by frame, token by token.
fn places([t, h, w]: [usize; 3], merge: usize) -> impl Iterator<Item = Place> {
    let tokens = move || (0..h).step_by(merge).flat_map(move |top| (0..w).step_by(merge).map(move |left| (top, left)));
    let frames = (0..t).flat_map(move |_| tokens());
    frames.flat_map(move |(top, left)| {
        (0..merge * merge).map(move |i| Place { row: top + i / merge, column: left + i % merge, grid: [h, w] })
    })
}

/// The 2-D rotation: half of the frequencies turn with the patch's row, half with its column; both base 10000, in f32.
fn rotary(places: &[Place], config: &VisionConfig, device: &Device) -> Result<Rotary> {
    let quarter = config.head_dim() / 4;
    let frequencies = inverse_frequencies(quarter, 10_000.0);
    let angles = places.iter().flat_map(|place| {
        let by = |position: usize| frequencies.iter().map(move |f| position as f32 * f);
        by(place.row).chain(by(place.column))
    });
    rotary_of(angles, 2 * quarter, device)
}

/// `x` with its groups of `block` rows in the order of `index`.
fn permute(x: &Tensor, index: &[u32], block: usize) -> Result<Tensor> {
    let (rows, width) = x.dims2()?;
    let index = Tensor::new(index, x.device())?;
    x.reshape((rows / block, block * width))?.index_select(&index, 0)?.reshape((rows, width))
}

/// Bidirectional attention within each of the ranges that `bounds` separates.
fn segments(bounds: &[usize]) -> Segments {
    let bounds: Arc<[usize]> = bounds.into();
    Segments { q: bounds.clone(), k: bounds, causal: false }
}
