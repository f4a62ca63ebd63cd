//! The vision tower: patches to features of the language model's width. It is frozen.

use std::sync::Arc;

use candle_core::Device;
use candle_core::Result;
use candle_core::Tensor;
use tunebook_gemm::Precision;

use crate::frozen::FrozenMatrix;
use crate::ops::Rotary;
use crate::ops::Segments;
use crate::ops::add;
use crate::ops::attention;
use crate::ops::linear;
use crate::ops::rms_norm;
use crate::ops::rope;
use crate::ops::swiglu;

use super::config::Config;
use super::config::VisionConfig;
use super::linear::Linear;
use super::linear::Linears;
use super::linear::Pass;
use super::positions::inverse_frequencies;
use super::positions::rotary_of;
use super::windows::Windows;

/// RMSNorm epsilon of the tower, fixed by the architecture.
const EPS: f32 = 1e-6;

/// `model.visual`.
pub struct VisionModel {
    config: VisionConfig,
    window: usize,
    /// The 3-D convolution whose stride is its kernel, as the matrix that it is.
    patch_embed: FrozenMatrix,
    blocks: Vec<VisionBlock>,
    merger: Merger,
    precision: Precision,
}

impl VisionModel {
    pub(super) fn load(config: &Config, linears: &mut Linears) -> crate::Result<Self> {
        let vision = &config.vision;
        let prefix = "model.visual";
        let patch_embed = linears.checkpoint.matrix(
            &format!("{prefix}.patch_embed.proj.weight"),
            vision.hidden_size,
            vision.patch_values(),
        )?;
        let blocks = (0..vision.depth)
            .map(|i| VisionBlock::load(&format!("{prefix}.blocks.{i}"), vision, linears))
            .collect::<crate::Result<_>>()?;
        let merger = Merger::load(&format!("{prefix}.merger"), vision, linears)?;
        Ok(Self {
            config: vision.clone(),
            window: config.window_tokens(),
            patch_embed,
            blocks,
            merger,
            precision: linears.precision,
        })
    }

    /// The layers whose weights are quantized, in the order in which they are loaded.
    pub(super) fn linears_mut(&mut self) -> impl Iterator<Item = &mut Linear> {
        let blocks = self.blocks.iter_mut().flat_map(|block| {
            let VisionBlock { qkv, proj, gate_proj, up_proj, down_proj, .. } = block;
            [qkv, proj, gate_proj, up_proj, down_proj]
        });
        blocks.chain([&mut self.merger.first, &mut self.merger.second])
    }

    /// Features `[tokens, hidden]` of pictures: `patches` holds the rows of all of them, `[Σ t·h·w, 1176]`, in
    /// the image processor's order (2 × 2 blocks in raster order); a token is one such block.
    ///
    /// # Errors
    /// `patches` is not as long as the grids ask for.
    pub fn features(&self, patches: Vec<f32>, grids: &[[usize; 3]]) -> crate::Result<Tensor> {
        let merge = self.config.spatial_merge_size;
        let rows = grids.iter().map(|[t, h, w]| t * h * w).sum::<usize>();
        let width = self.config.patch_values();
        if patches.len() != rows * width || grids.iter().any(|[_, h, w]| h % merge != 0 || w % merge != 0) {
            return Err(crate::Error::Input(format!(
                "pictures of grids {grids:?} need {rows} patches of {width} values, but there are {} values",
                patches.len()
            )));
        }
        let windows = Windows::new(grids, merge, self.window);
        let block = merge * merge;
        let x = Tensor::from_vec(patches, (rows, width), &Device::Cpu)?;
        let x = linear(&x, &self.patch_embed, None, None, self.precision)?;
        let mut x = permute_blocks(&x, &windows.index, block)?;
        let rotary = self.rotary(grids, &windows.index);
        let (in_windows, in_full) = (segments(&windows.cu_window), segments(&windows.cu_full));
        for (i, layer) in self.blocks.iter().enumerate() {
            let full = self.config.fullatt_block_indexes.contains(&i);
            x = layer.forward(&x, &rotary, if full { &in_full } else { &in_windows })?;
        }
        let merged = self.merger.forward(&x, block)?;
        Ok(permute_blocks(&merged, &windows.reverse(), 1)?)
    }

    /// What the matrices take in memory once they have been read, in bytes.
    pub fn size(&self) -> usize {
        self.matrices().map(FrozenMatrix::size).sum()
    }

    /// Lets the system take back the memory of the weights; the next picture reads them from the file again.
    pub fn release(&self) {
        self.matrices().for_each(FrozenMatrix::release);
    }

    fn matrices(&self) -> impl Iterator<Item = &FrozenMatrix> {
        let blocks = self.blocks.iter().flat_map(|block| {
            let VisionBlock { qkv, proj, gate_proj, up_proj, down_proj, .. } = block;
            [qkv, proj, gate_proj, up_proj, down_proj]
        });
        let linears = blocks.chain([&self.merger.first, &self.merger.second]);
        linears.map(Linear::weight).chain([&self.patch_embed])
    }

    /// The 2-D rotation: half of the frequencies turn with the patch's row, half with its column; both base
    /// 10000, in f32. Patches lie in window order.
    fn rotary(&self, grids: &[[usize; 3]], index: &[u32]) -> Rotary {
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
        rotary_of(angles, self.config.head_dim())
    }
}

/// `x` with its groups of `block` rows in the order of `index`.
fn permute_blocks(x: &Tensor, index: &[u32], block: usize) -> Result<Tensor> {
    let (rows, width) = x.dims2()?;
    let index = Tensor::from_slice(index, index.len(), &Device::Cpu)?;
    x.reshape((rows / block, block * width))?.index_select(&index, 0)?.reshape((rows, width))
}

/// Bidirectional attention within each of the ranges that `bounds` separates.
fn segments(bounds: &[usize]) -> Segments {
    let bounds: Arc<[usize]> = bounds.into();
    Segments { q: bounds.clone(), k: bounds, causal: false }
}

/// One block: `x += attention(norm1(x))`, then `x += mlp(norm2(x))`.
struct VisionBlock {
    norm1: Arc<[f32]>,
    qkv: Linear,
    proj: Linear,
    norm2: Arc<[f32]>,
    gate_proj: Linear,
    up_proj: Linear,
    down_proj: Linear,
    heads: usize,
    precision: Precision,
}

impl VisionBlock {
    fn load(prefix: &str, config: &VisionConfig, linears: &mut Linears) -> crate::Result<Self> {
        let (hidden, ffn) = (config.hidden_size, config.intermediate_size);
        let checkpoint = linears.checkpoint;
        let norm = |name: &str| checkpoint.vector(&format!("{prefix}.{name}.weight"), hidden);
        Ok(Self {
            norm1: norm("norm1")?,
            qkv: linears.take(format!("{prefix}.attn.qkv"), 3 * hidden, hidden, true)?,
            proj: linears.take(format!("{prefix}.attn.proj"), hidden, hidden, true)?,
            norm2: norm("norm2")?,
            gate_proj: linears.take(format!("{prefix}.mlp.gate_proj"), ffn, hidden, true)?,
            up_proj: linears.take(format!("{prefix}.mlp.up_proj"), ffn, hidden, true)?,
            down_proj: linears.take(format!("{prefix}.mlp.down_proj"), hidden, ffn, true)?,
            heads: config.num_heads,
            precision: linears.precision,
        })
    }

    fn forward(&self, x: &Tensor, rotary: &Rotary, segments: &Segments) -> Result<Tensor> {
        let pass = Pass::default();
        let hidden = x.dim(1)?;
        let qkv = self.qkv.forward(&rms_norm(x, &self.norm1, EPS)?, pass)?;
        let part = |i: usize| qkv.narrow(1, i * hidden, hidden)?.contiguous();
        let (q, k) = (rope(&part(0)?, rotary)?, rope(&part(1)?, rotary)?);
        let attended = attention(&q, &k, &part(2)?, segments, [self.heads, self.heads], self.precision)?;
        let x = add(x, &self.proj.forward(&attended, pass)?)?;
        let normed = rms_norm(&x, &self.norm2, EPS)?;
        let (gate, up) = (self.gate_proj.forward(&normed, pass)?, self.up_proj.forward(&normed, pass)?);
        add(&x, &self.down_proj.forward(&swiglu(&gate, &up)?, pass)?)
    }
}

/// Four neighbouring patches to one token: norm, join, and a two-layer perceptron with the exact GELU.
struct Merger {
    ln_q: Arc<[f32]>,
    first: Linear,
    second: Linear,
}

impl Merger {
    fn load(prefix: &str, config: &VisionConfig, linears: &mut Linears) -> crate::Result<Self> {
        let joined = config.hidden_size * config.spatial_merge_size * config.spatial_merge_size;
        Ok(Self {
            ln_q: linears.checkpoint.vector(&format!("{prefix}.ln_q.weight"), config.hidden_size)?,
            first: linears.take(format!("{prefix}.mlp.0"), joined, joined, true)?,
            second: linears.take(format!("{prefix}.mlp.2"), config.out_hidden_size, joined, true)?,
        })
    }

    fn forward(&self, x: &Tensor, block: usize) -> Result<Tensor> {
        let (rows, width) = x.dims2()?;
        let joined = rms_norm(x, &self.ln_q, EPS)?.reshape((rows / block, block * width))?;
        let hidden = self.first.forward(&joined, Pass::default())?.gelu_erf()?;
        self.second.forward(&hidden, Pass::default())
    }
}
