//! The vision tower: patches to features of the language model's width.

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
use crate::layers::Vector;
use crate::models::VisionBackward;
use crate::models::VisionTower;
use crate::ops::Weight;
use crate::ops::add;
use crate::ops::add_weight_gradient;
use crate::ops::linear;

use super::block::VisionBlock;
use super::config::VisionConfig;
use super::layout::Layout;
use super::merger::Merger;
use super::position_embedding::PositionEmbedding;

/// A vision transformer with its projector.
pub(crate) struct VisionTransformer {
    config: VisionConfig,
    patch_embed: PatchEmbedding,
    positions: Option<PositionEmbedding>,
    blocks: Vec<VisionBlock>,
    merger: Merger,
    /// As many as `deepstack_blocks`.
    deepstack: Vec<Merger>,
    device: Device,
}

/// The 3-D convolution whose stride is its kernel, as the linear layer that it is.
struct PatchEmbedding {
    weight: Matrix,
    bias: Option<Vector>,
    precision: Precision,
}

impl VisionTransformer {
    pub(crate) fn load(config: &VisionConfig, loader: &mut Loader) -> crate::Result<Self> {
        let names = loader.shape.names;
        let prefix = names.vision_tower;
        let patch_embed = PatchEmbedding::load(&format!("{prefix}.patch_embed.proj"), config, loader)?;
        let name = format!("{prefix}.pos_embed.weight");
        let positions =
            config.position_side.map(|side| PositionEmbedding::load(name, side, config.hidden_size, loader));
        let positions = positions.transpose()?;
        let blocks = (0..config.depth)
            .map(|i| VisionBlock::load(&format!("{prefix}.blocks.{i}"), config, loader))
            .collect::<crate::Result<_>>()?;
        let merger = Merger::load(names.projector, config, loader)?;
        let deepstack = (0..config.deepstack_blocks.len())
            .map(|i| Merger::load_joining_first(&format!("{prefix}.deepstack_merger_list.{i}"), config, loader))
            .collect::<crate::Result<_>>()?;
        let (config, device) = (config.clone(), loader.device.clone());
        Ok(Self { config, patch_embed, positions, blocks, merger, deepstack, device })
    }

    /// The patches, `[Σ t·h·w, values of a patch]`.
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

    /// The residual stream before each block and after the last one; only what features are made of, unless `keeps_all`.
    fn states(
        &self,
        patches: &Tensor,
        layout: &Layout,
        keeps_all: bool,
        ctx: ForwardContext,
    ) -> crate::Result<Vec<Option<Tensor>>> {
        // Has the system map all weights at once.
        self.matrices().into_iter().for_each(|matrix| matrix.frozen.map());
        let mut x = self.patch_embed.forward(patches, ctx)?;
        if let Some(positions) = &self.positions {
            x = add(&x, &positions.forward(&layout.places, &self.device, ctx)?)?;
        }
        x = layout.in_order(x)?;
        let mut states = Vec::with_capacity(self.blocks.len() + 1);
        for (i, block) in self.blocks.iter().enumerate() {
            ctx.check_cancelled()?;
            let y = block.forward(&x, &layout.rotary, layout.segments(i), ctx)?;
            let state = std::mem::replace(&mut x, y);
            states.push(Some(state).filter(|_| keeps_all || self.mergers().any(|(at, _)| at == i)));
        }
        states.push(Some(x));
        Ok(states)
    }

    /// The projector and the mergers of DeepStack, each with the index of the state that it reads.
    fn mergers(&self) -> impl Iterator<Item = (usize, &Merger)> {
        let deepstack = self.config.deepstack_blocks.iter().map(|block| block + 1).zip(&self.deepstack);
        [(self.blocks.len(), &self.merger)].into_iter().chain(deepstack)
    }

    fn features(&self, states: &[Option<Tensor>], layout: &Layout, ctx: ForwardContext) -> Result<Tensor> {
        let merged = self.mergers().filter_map(|(at, merger)| Some(merger.forward(states[at].as_ref()?, ctx)));
        layout.in_raster_order(joined(merged.collect::<Result<_>>()?)?)
    }

    /// Adds the gradients of what trains to `gradients`, given that of the features. It goes no further down than there is
    /// something to train.
    fn backward(
        &self,
        patches: &Tensor,
        states: &[Option<Tensor>],
        layout: &Layout,
        dfeatures: &Tensor,
        ctx: ForwardContext,
        gradients: &mut Gradients,
    ) -> Result<()> {
        let dfeatures = layout.in_raster_order_backward(dfeatures.clone())?;
        let width = self.config.out_hidden_size;
        let mut of_states: Vec<Option<Tensor>> = vec![None; states.len()];
        for (part, (at, merger)) in self.mergers().enumerate() {
            let Some(state) = &states[at] else { continue };
            let dfeatures = dfeatures.narrow(1, part * width, width)?.contiguous()?;
            let dx = merger.backward(state, &dfeatures, ctx, gradients)?;
            of_states[at] = Some(of_states[at].take().map_or(Ok(dx.clone()), |sum| add(&sum, &dx))?);
        }
        let embedding_trains = self.patch_embed.trains(ctx) || self.positions.as_ref().is_some_and(|p| p.trains(ctx));
        let lowest = match embedding_trains {
            true => 0,
            false => self.blocks.iter().position(|block| block.trains(ctx)).unwrap_or(self.blocks.len()),
        };
        let Some(mut dx) = of_states.pop().flatten() else { return Ok(()) };
        for (i, block) in self.blocks.iter().enumerate().skip(lowest).rev() {
            let Some(x) = &states[i] else { continue };
            dx = block.backward(x, &dx, &layout.rotary, layout.segments(i), ctx, gradients)?;
            if let Some(of_merger) = &of_states[i] {
                dx = add(&dx, of_merger)?;
            }
        }
        if embedding_trains {
            let dx = layout.in_order_backward(dx)?;
            self.patch_embed.backward(patches, &dx, ctx, gradients)?;
            if let Some(positions) = &self.positions {
                positions.backward(&layout.places, &dx, ctx, gradients)?;
            }
        }
        Ok(())
    }
}

impl VisionTower for VisionTransformer {
    fn forward(&self, patches: Vec<f32>, grids: &[[usize; 3]], ctx: ForwardContext) -> crate::Result<Tensor> {
        let layout = Layout::new(grids, &self.config, &self.device)?;
        let states = self.states(&self.patches(patches, grids)?, &layout, false, ctx)?;
        Ok(self.features(&states, &layout, ctx)?)
    }

    /// Each block's input is kept.
    fn forward_saving<'a>(
        &'a self,
        patches: Vec<f32>,
        grids: &[[usize; 3]],
        ctx: ForwardContext<'a>,
    ) -> crate::Result<(Tensor, VisionBackward<'a>)> {
        let layout = Layout::new(grids, &self.config, &self.device)?;
        let patches = self.patches(patches, grids)?;
        let states = self.states(&patches, &layout, true, ctx)?;
        let features = self.features(&states, &layout, ctx)?;
        let backward = move |dfeatures: &Tensor, gradients: &mut Gradients| {
            self.backward(&patches, &states, &layout, dfeatures, ctx, gradients)
        };
        Ok((features, Box::new(backward)))
    }

    fn linears(&self) -> Vec<&Linear> {
        let blocks = self.blocks.iter().flat_map(VisionBlock::linears);
        blocks.chain(self.mergers().flat_map(|(_, merger)| [&merger.first, &merger.second])).collect()
    }

    fn linears_mut(&mut self) -> Vec<&mut Linear> {
        let Self { blocks, merger, deepstack, .. } = self;
        linears_mut(blocks, merger, deepstack).collect()
    }

    fn matrices(&self) -> Vec<&Matrix> {
        let linears = self.linears().into_iter().map(|linear| &linear.weight);
        linears.chain([&self.patch_embed.weight]).collect()
    }

    fn matrices_mut(&mut self) -> Vec<&mut Matrix> {
        let Self { patch_embed, blocks, merger, deepstack, .. } = self;
        let linears = linears_mut(blocks, merger, deepstack).map(|linear| &mut linear.weight);
        linears.chain([&mut patch_embed.weight]).collect()
    }

    fn depth(&self) -> usize {
        self.blocks.len()
    }
}

fn linears_mut<'a>(
    blocks: &'a mut [VisionBlock],
    merger: &'a mut Merger,
    deepstack: &'a mut [Merger],
) -> impl Iterator<Item = &'a mut Linear> {
    let mergers = [merger].into_iter().chain(deepstack);
    let blocks = blocks.iter_mut().flat_map(VisionBlock::linears_mut);
    blocks.chain(mergers.flat_map(|merger| [&mut merger.first, &mut merger.second]))
}

/// Side by side.
fn joined(mut parts: Vec<Tensor>) -> Result<Tensor> {
    if parts.len() == 1 { Ok(parts.remove(0)) } else { Tensor::cat(&parts, 1) }
}

impl PatchEmbedding {
    fn load(name: &str, config: &VisionConfig, loader: &mut Loader) -> crate::Result<Self> {
        let weight = loader.matrix(format!("{name}.weight"), config.hidden_size, config.patch_values())?;
        let bias = config.patch_bias.then(|| loader.vector(format!("{name}.bias"), config.hidden_size)).transpose()?;
        Ok(Self { weight, bias, precision: loader.precision })
    }

    fn trains(&self, ctx: ForwardContext) -> bool {
        self.weight.trained(ctx).is_some() || self.bias.as_ref().is_some_and(|bias| bias.trained(ctx).is_some())
    }

    /// What the blocks read of patches, `[T, hidden]`.
    fn forward(&self, patches: &Tensor, ctx: ForwardContext) -> Result<Tensor> {
        // As the matrix that the convolution's kernel is.
        let trained = self.weight.trained(ctx).map(|kernel| kernel.flatten_from(1)).transpose()?;
        let weight = trained.as_ref().map_or(Weight::Frozen(&self.weight.frozen), Weight::Trained);
        let bias = self.bias.as_ref().map(|bias| bias.values(ctx));
        linear(patches, weight, bias, None, self.precision, DType::F32)
    }

    fn backward(&self, patches: &Tensor, dy: &Tensor, ctx: ForwardContext, gradients: &mut Gradients) -> Result<()> {
        if let Some(bias) = &self.bias {
            bias.bias_backward(dy, ctx, gradients)?;
        }
        if let Some(weight) = self.weight.trained(ctx) {
            add_weight_gradient(&gradients.sum(weight)?.flatten_from(1)?, dy, patches, self.precision)?;
        }
        Ok(())
    }
}
