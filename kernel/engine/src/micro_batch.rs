//! One micro-batch: its tokens laid end to end, its loss, and the gradients of the adapter.

use candle_core::Device;
use candle_core::Tensor;
use candle_core::Var;
use candle_core::backprop::GradStore;
use tunebook_data::Encoded;
use tunebook_data::IGNORE_INDEX;
use tunebook_data::ImageProcessor;
use tunebook_nn::adapter::Adapter;
use tunebook_nn::ops::Labels;
use tunebook_nn::ops::Segments;
use tunebook_nn::ops::backward_from;
use tunebook_nn::ops::linear_cross_entropy;
use tunebook_nn::qwen2_5_vl::DropoutRun;
use tunebook_nn::qwen2_5_vl::Pass;
use tunebook_nn::qwen2_5_vl::Qwen2_5Vl;
use tunebook_nn::qwen2_5_vl::positions::rotary;

use crate::error::Result;
use crate::optimizer::Gradients;
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

    /// Mean cross-entropy over the labelled tokens, and its gradients in the order of [`Adapter::vars`].
    ///
    /// The forward pass keeps each layer's input, and the graph of the last `kept` layers; the backward pass goes
    /// through the layers in reverse and rebuilds the others. Nothing else of the forward pass is held, so memory
    /// grows with the inputs and not with what a layer makes of them.
    ///
    /// # Errors
    /// Whatever candle reports.
    pub fn backward(
        self,
        net: &Qwen2_5Vl,
        adapter: &Adapter,
        dropout: DropoutRun,
        kept: usize,
    ) -> Result<(f64, Gradients)> {
        let mut gradients = Gradients::default();
        if self.rows.is_empty() {
            return Ok((0.0, gradients));
        }
        let rotary = rotary(&self.positions, &net.config.text);
        let running = Pass { adapter: Some(adapter), record: false, dropout: Some(dropout) };
        let recording = Pass { record: true, ..running };
        let layers = &net.text.layers;
        let first_kept = layers.len().saturating_sub(kept);

        let mut x = Tensor::from_vec(self.x, (self.positions.len(), net.config.text.hidden_size), &Device::Cpu)?;
        let mut inputs = Vec::with_capacity(layers.len());
        for (i, layer) in layers.iter().enumerate() {
            if i < first_kept {
                let y = layer.forward(&x, &rotary, &self.segments, running)?;
                inputs.push((x, None));
                x = y;
            } else {
                let input = Var::from_tensor(&x)?;
                let y = layer.forward(&input, &rotary, &self.segments, recording)?;
                x = y.detach();
                inputs.push((input.into_inner(), Some(y)));
            }
        }

        let x = Var::from_tensor(&x)?;
        let weights = vec![1.0 / self.rows.len() as f32; self.rows.len()];
        let normed = net.text.norm(&x)?;
        let labels = Labels { rows: &self.rows, targets: &self.targets, weights: &weights };
        let loss = linear_cross_entropy(&normed, net.text.lm_head(), labels, net.precision)?;
        let mut dx = gradient_of(&mut loss.backward()?, &x)?;
        let loss = f64::from(loss.to_scalar::<f32>()?);

        let parameters = adapter.vars();
        for (layer, (input, output)) in layers.iter().zip(inputs).rev() {
            let (input, output) = match output {
                Some(output) => (input, output),
                None => {
                    let input = Var::from_tensor(&input)?;
                    let output = layer.forward(&input, &rotary, &self.segments, recording)?;
                    (input.into_inner(), output)
                }
            };
            let mut store = backward_from(&output, &dx)?;
            for (index, (_, parameter)) in parameters.iter().enumerate() {
                if let Some(gradient) = store.remove(parameter) {
                    gradients.add(index, gradient)?;
                }
            }
            dx = gradient_of(&mut store, &input)?;
        }
        Ok((loss, gradients))
    }
}

fn gradient_of(store: &mut GradStore, x: &Tensor) -> Result<Tensor> {
    Ok(store.remove(x).map_or_else(|| x.zeros_like(), Ok)?)
}
