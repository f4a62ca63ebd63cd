//! One micro-batch: its tokens laid end to end, its loss, and the gradients of the adapter.

use candle_core::Device;
use candle_core::Tensor;
use tunebook_data::Encoded;
use tunebook_data::IGNORE_INDEX;
use tunebook_data::ImageProcessor;
use tunebook_nn::adapter::Adapter;
use tunebook_nn::gradients::Gradients;
use tunebook_nn::ops::Labels;
use tunebook_nn::ops::Segments;
use tunebook_nn::ops::linear_cross_entropy_with_gradient;
use tunebook_nn::qwen2_5_vl::DropoutRun;
use tunebook_nn::qwen2_5_vl::Pass;
use tunebook_nn::qwen2_5_vl::Qwen2_5Vl;
use tunebook_nn::qwen2_5_vl::positions::rotary;

use crate::error::Result;
use crate::pictures::Features;
use crate::pictures::grid_thw;

/// The samples of a micro-batch, packed without padding.
pub struct MicroBatch {
    /// Embeddings with picture features in place, `[T · hidden]`.
    x: Vec<f32>,
    positions: Vec<[u32; 3]>,
    segments: Segments,
    /// Rows whose next token is learned, and that token.
    rows: Vec<u32>,
    targets: Vec<u32>,
}

impl MicroBatch {
    pub fn new(
        net: &Qwen2_5Vl,
        processor: &ImageProcessor,
        features: &mut Features,
        samples: &[&Encoded],
    ) -> Result<Self> {
        let (mut x, mut positions, mut bounds) = (Vec::new(), Vec::new(), vec![0]);
        let (mut rows, mut targets) = (Vec::new(), Vec::new());
        for sample in samples {
            let start = positions.len();
            let grids: Vec<_> = sample.images.iter().map(grid_thw).collect();
            let pictures = sample.images.iter().map(|image| features.get(net, processor, image));
            x.extend(net.embed(&sample.input_ids, &pictures.collect::<Result<Vec<_>>>()?)?);
            positions.extend(net.positions(&sample.input_ids, &grids)?.thw);
            bounds.push(positions.len());
            for (i, &label) in sample.labels.iter().enumerate().skip(1).filter(|(_, label)| **label != IGNORE_INDEX) {
                rows.push((start + i - 1) as u32);
                targets.push(label as u32);
            }
        }
        let bounds: std::sync::Arc<[usize]> = bounds.into();
        let segments = Segments { q: bounds.clone(), k: bounds, causal: true };
        Ok(Self { x, positions, segments, rows, targets })
    }

    pub fn tokens(&self) -> usize {
        self.positions.len()
    }

    /// Tokens that are learned.
    pub fn labels(&self) -> usize {
        self.rows.len()
    }

    /// Mean cross-entropy over the labelled tokens; its gradients are added to `gradients`.
    ///
    /// The forward pass keeps each layer's input, and the inner values of the last `kept` layers; the backward pass
    /// goes through the layers in reverse and makes the inner values of the others again.
    ///
    /// # Errors
    /// Whatever candle reports.
    pub fn backward(
        self,
        net: &Qwen2_5Vl,
        adapter: &Adapter,
        dropout: DropoutRun,
        kept: usize,
        gradients: &mut Gradients,
    ) -> Result<f64> {
        if self.rows.is_empty() {
            return Ok(0.0);
        }
        let Self { x, positions, segments, rows, targets } = self;
        let rotary = rotary(&positions, &net.config.text);
        let pass = Pass { adapter: Some(adapter), dropout: Some(dropout) };
        let layers = &net.text.layers;
        let first_kept = layers.len().saturating_sub(kept);

        let mut x = Tensor::from_vec(x, (positions.len(), net.config.text.hidden_size), &Device::Cpu)?;
        let mut passed = Vec::with_capacity(layers.len());
        for (i, layer) in layers.iter().enumerate() {
            let inner = layer.inner(&x, &rotary, &segments, pass)?;
            let y = layer.output(&inner, pass)?;
            passed.push((layer, x, (i >= first_kept).then_some(inner)));
            x = y;
        }

        let weights = vec![1.0 / rows.len() as f32; rows.len()];
        let labels = Labels { rows: &rows, targets: &targets, weights: &weights };
        let normed = net.text.norm(&x)?;
        let (loss, dnormed) = linear_cross_entropy_with_gradient(&normed, net.text.lm_head(), labels, net.precision)?;
        let mut dx = net.text.norm_backward(&x, &dnormed)?;

        for (layer, x, inner) in passed.into_iter().rev() {
            let inner = inner.map_or_else(|| layer.inner(&x, &rotary, &segments, pass), Ok)?;
            dx = layer.backward(&x, &inner, &dx, (&rotary, &segments), pass, gradients)?;
        }
        Ok(loss)
    }
}
