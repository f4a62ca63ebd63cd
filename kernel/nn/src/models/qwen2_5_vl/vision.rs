//! The vision tower: patches to features of the language model's width.

use std::sync::Arc;

use candle_core::DType;
use candle_core::Device;
use candle_core::Result;
use candle_core::Tensor;
use tunebook_gemm::Precision;

use crate::gradients::Gradients;
use crate::layers::ForwardContext;
use crate::layers::Linear;
use crate::layers::Loader;
use crate::layers::Matrix;
use crate::layers::positions::inverse_frequencies;
use crate::layers::positions::rotary_of;
use crate::models::VisionBackward;
use crate::models::VisionTower;
use crate::ops::Rotary;
use crate::ops::Segments;
use crate::ops::Weight;
use crate::ops::add_weight_gradient;
use crate::ops::linear;

use super::config::Config;
use super::config::VisionConfig;
use super::merger::Merger;
use super::vision_block::VisionBlock;
use super::windows::Windows;

/// `model.visual`.
pub(super) struct VisionModel {
    config: VisionConfig,
    window: usize,
    /// The 3-D convolution whose stride is its kernel, as the matrix that it is.
    patch_embed: Matrix,
    blocks: Vec<VisionBlock>,
    merger: Merger,
    precision: Precision,
    device: Device,
}

impl VisionModel {
    pub(super) fn load(config: &Config, loader: &mut Loader) -> crate::Result<Self> {
        let vision = &config.vision;
        let names = loader.shape.names;
        let prefix = names.vision_tower;
        let patch_embed = format!("{prefix}.patch_embed.proj.weight");
        let patch_embed = loader.matrix(patch_embed, vision.hidden_size, vision.patch_values())?;
        let blocks = (0..vision.depth)
            .map(|i| VisionBlock::load(&format!("{prefix}.blocks.{i}"), vision, loader))
            .collect::<crate::Result<_>>()?;
        let merger = Merger::load(names.projector, vision, loader)?;
        Ok(Self {
            config: vision.clone(),
            window: config.window_tokens(),
            patch_embed,
            blocks,
            merger,
            precision: loader.precision,
            device: loader.device.clone(),
        })
    }

    /// Adds the gradients of what trains to `gradients`, given that of the features. It goes no further down than there is
    /// something to train.
    fn backward(&self, seen: Seen, dfeatures: &Tensor, ctx: ForwardContext, gradients: &mut Gradients) -> Result<()> {
        let Seen { patches, inputs, merged, layout } = seen;
        let trained = self.patch_embed.trained(ctx);
        let lowest = match trained {
            Some(_) => 0,
            None => self.blocks.iter().position(|block| block.trains(ctx)).unwrap_or(self.blocks.len()),
        };
        let mut dx = self.merger.backward(&merged, &layout.in_window_order(dfeatures, 1)?, ctx, gradients)?;
        for (i, x) in inputs.iter().enumerate().skip(lowest).rev() {
            let segments = layout.segments(i, &self.config);
            dx = self.blocks[i].backward(x, &dx, &layout.rotary, segments, ctx, gradients)?;
        }
        if let Some(weight) = trained {
            let sum = gradients.sum(weight)?.flatten_from(1)?;
            add_weight_gradient(&sum, &permute(&dx, &layout.reverse, layout.block)?, &patches, self.precision)?;
        }
        Ok(())
    }

    /// Has the system map all weights at once.
    fn map(&self) {
        self.matrices().into_iter().for_each(|matrix| matrix.frozen.map());
    }

    /// The patches, `[Σ t·h·w, 1176]`.
    fn patches(&self, patches: Vec<f32>, grids: &[[usize; 3]]) -> crate::Result<Tensor> {
        let merge = self.config.spatial_merge_size;
        let rows = grids.iter().map(|[t, h, w]| t * h * w).sum::<usize>();
        let width = self.config.patch_values();
        if patches.len() != rows * width || grids.iter().any(|[_, h, w]| h % merge != 0 || w % merge != 0) {
            return Err(crate::Error::Input(format!(
                "images of grids {grids:?} need {rows} patches of {width} values, but there are {} values",
                patches.len()
            )));
        }
        Ok(Tensor::from_vec(patches, (rows, width), &self.device)?)
    }

    /// What the first block reads, in window order.
    fn embedded(&self, patches: &Tensor, layout: &Layout, ctx: ForwardContext) -> Result<Tensor> {
        // As the matrix that the convolution's kernel is.
        let trained = self.patch_embed.trained(ctx).map(|kernel| kernel.flatten_from(1)).transpose()?;
        let weight = trained.as_ref().map_or(Weight::Frozen(&self.patch_embed.frozen), Weight::Trained);
        layout.in_window_order(&linear(patches, weight, None, None, self.precision, DType::F32)?, layout.block)
    }

    fn layout(&self, grids: &[[usize; 3]]) -> Result<Layout> {
        let merge = self.config.spatial_merge_size;
        let windows = Windows::new(grids, merge, self.window);
        Ok(Layout {
            rotary: self.rotary(grids, &windows.index)?,
            in_windows: segments(&windows.cu_window),
            in_full: segments(&windows.cu_full),
            reverse: windows.reverse(),
            index: windows.index,
            block: merge * merge,
        })
    }

    /// The 2-D rotation: half of the frequencies turn with the patch's row, half with its column; both base
    /// 10000, in f32. Patches lie in window order.
    fn rotary(&self, grids: &[[usize; 3]], index: &[u32]) -> Result<Rotary> {
        let merge = self.config.spatial_merge_size;
        let mut places = Vec::new();
        for &[t, h, w] in grids {
            for _ in 0..t {
                for (top, left) in (0..h).step_by(merge).flat_map(|top| (0..w).step_by(merge).map(move |l| (top, l))) {
                    places.extend((0..merge * merge).map(|i| (top + i / merge, left + i % merge)));
                }
            }
        }
        let quarter = self.config.head_dim() / 4;
        let frequencies = inverse_frequencies(quarter, 10_000.0);
        let block = merge * merge;
        let ordered = index.iter().flat_map(|&token| &places[token as usize * block..][..block]);
        let angles = ordered.flat_map(|&(row, column)| {
            let by = |position: usize| frequencies.iter().map(move |f| position as f32 * f);
            by(row).chain(by(column))
        });
        rotary_of(angles, 2 * quarter, &self.device)
    }
}

impl VisionTower for VisionModel {
    /// `patches` are in the order of 2 × 2 blocks in raster order; a token is one such block.
    fn forward(&self, patches: Vec<f32>, grids: &[[usize; 3]], ctx: ForwardContext) -> crate::Result<Tensor> {
        self.map();
        let layout = self.layout(grids)?;
        let mut x = self.embedded(&self.patches(patches, grids)?, &layout, ctx)?;
        for (i, block) in self.blocks.iter().enumerate() {
            ctx.check_cancelled()?;
            x = block.forward(&x, &layout.rotary, layout.segments(i, &self.config), ctx)?;
        }
        Ok(layout.in_raster_order(&self.merger.forward(&x, ctx)?)?)
    }

    /// Each block's input is kept.
    fn forward_saving<'a>(
        &'a self,
        patches: Vec<f32>,
        grids: &[[usize; 3]],
        ctx: ForwardContext<'a>,
    ) -> crate::Result<(Tensor, VisionBackward<'a>)> {
        self.map();
        let layout = self.layout(grids)?;
        let patches = self.patches(patches, grids)?;
        let mut x = self.embedded(&patches, &layout, ctx)?;
        let mut inputs = Vec::with_capacity(self.blocks.len());
        for (i, block) in self.blocks.iter().enumerate() {
            ctx.check_cancelled()?;
            let y = block.forward(&x, &layout.rotary, layout.segments(i, &self.config), ctx)?;
            inputs.push(std::mem::replace(&mut x, y));
        }
        let features = layout.in_raster_order(&self.merger.forward(&x, ctx)?)?;
        let seen = Seen { patches, inputs, merged: x, layout };
        Ok((features, Box::new(move |dfeatures, gradients| self.backward(seen, dfeatures, ctx, gradients))))
    }

    fn linears(&self) -> Vec<&Linear> {
        self.blocks.iter().flat_map(VisionBlock::linears).chain([&self.merger.first, &self.merger.second]).collect()
    }

    fn linears_mut(&mut self) -> Vec<&mut Linear> {
        let blocks = self.blocks.iter_mut().flat_map(VisionBlock::linears_mut);
        blocks.chain([&mut self.merger.first, &mut self.merger.second]).collect()
    }

    fn matrices(&self) -> Vec<&Matrix> {
        self.linears().into_iter().map(|linear| &linear.weight).chain([&self.patch_embed]).collect()
    }

    fn matrices_mut(&mut self) -> Vec<&mut Matrix> {
        let Self { patch_embed, blocks, merger, .. } = self;
        let linears = blocks.iter_mut().flat_map(VisionBlock::linears_mut);
        let linears = linears.chain([&mut merger.first, &mut merger.second]);
        linears.map(|linear| &mut linear.weight).chain([patch_embed]).collect()
    }

    fn depth(&self) -> usize {
        self.blocks.len()
    }
}

/// What the backward pass reads of a forward pass.
struct Seen {
    patches: Tensor,
    /// Of each block.
    inputs: Vec<Tensor>,
    /// What the merger read.
    merged: Tensor,
    layout: Layout,
}

/// How the patches of some pictures lie and attend to each other.
struct Layout {
    rotary: Rotary,
    in_windows: Segments,
    in_full: Segments,
    /// Position in window order → token in raster order.
    index: Vec<u32>,
    /// The other way round.
    reverse: Vec<u32>,
    /// Patches of a token.
    block: usize,
}

impl Layout {
    fn segments(&self, block: usize, config: &VisionConfig) -> &Segments {
        if config.fullatt_block_indexes.contains(&block) { &self.in_full } else { &self.in_windows }
    }

    /// Rows that lie in raster order, `block` of them a token.
    fn in_window_order(&self, x: &Tensor, block: usize) -> Result<Tensor> {
        permute(x, &self.index, block)
    }

    /// Tokens that lie in window order.
    fn in_raster_order(&self, x: &Tensor) -> Result<Tensor> {
        permute(x, &self.reverse, 1)
    }
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
