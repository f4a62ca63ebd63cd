//! What an answer rests on in its pictures: gradient × input (Shrikumar et al. 2016, arXiv 1605.01713) of the image features
//! that the language model reads; the gradient alone is the saliency of Simonyan et al. 2013 (arXiv 1312.6034).
//!
//! To first order, it is how much less likely the answer would be if the features of an image token were scaled down. It
//! says nothing of what came into these features in the vision tower, where every patch has seen the others.

use std::path::PathBuf;
use std::sync::Arc;

use candle_core::Tensor;
use tunebook_data::read_picture;
use tunebook_nn::VisionLanguageModel;
use tunebook_nn::adapter::Adapter;
use tunebook_nn::gradients::Gradients;
use tunebook_nn::layers::CheckpointPlan;
use tunebook_nn::layers::DecoderGradients;
use tunebook_nn::layers::DecoderSequences;
use tunebook_nn::layers::ForwardContext;
use tunebook_nn::layers::Sequences;
use tunebook_nn::ops::Labels;
use tunebook_nn::ops::Segments;
use tunebook_nn::ops::linear_cross_entropy_with_gradient;

use crate::conversation::RunContext;
use crate::error::Result;
use crate::generate::Prompt;
use crate::memory::StepMemory;
use crate::memory::Trainable;
use crate::report::PictureRegions;

/// The regions of all pictures of a prompt, whose files are `images`, for the tokens of its answer. It takes as long and as much
/// memory as a micro-batch of a training on prompt and answer.
///
/// # Errors
/// A picture cannot be read any more; the memory does not suffice; the device fails; a stop.
pub(crate) fn regions(
    prompt: &Prompt,
    images: &[PathBuf],
    answer: &[u32],
    run: RunContext,
    stop: &dyn Fn() -> bool,
) -> Result<Vec<PictureRegions>> {
    let RunContext { model, adapter, settings, .. } = run;
    let net = &model.net;
    let tokens = prompt.input_ids.len() + answer.len();
    let memory = StepMemory::new(net, adapter.map(Trainable::of).unwrap_or_default(), tokens, answer.len());
    let relevance = relevance(net, adapter, prompt, answer, memory.plan(settings.memory)?, stop)?;
    net.check_unchanged()?;
    let merge = net.config.spatial_merge_size();
    let mut rest = relevance.into_iter();
    let of_picture = |(path, &[frames, height, width]): (&PathBuf, &[usize; 3])| {
        let (rows, columns) = (frames * height / merge, width / merge);
        let relevance = rest.by_ref().take(rows * columns).collect();
        let size = read_picture(path).map_err(tunebook_data::ImageError::from)?.rgb.dimensions();
        Ok(PictureRegions { path: path.clone(), size, rows, columns, relevance })
    };
    images.iter().zip(&prompt.grids).map(of_picture).collect()
}

/// The relevance of each image token of a prompt for its answer, in their order: with the log-probability
/// ln p = Σᵢ ln p(answerᵢ) at temperature 1 and the features v of the token, those of DeepStack among them,
/// `Σⱼ vⱼ · ∂ ln p / ∂ vⱼ`, in nats.
///
/// # Errors
/// The device fails; a stop.
pub fn relevance(
    net: &VisionLanguageModel,
    adapter: Option<&Adapter>,
    prompt: &Prompt,
    answer: &[u32],
    plan: CheckpointPlan,
    stop: &dyn Fn() -> bool,
) -> Result<Vec<f32>> {
    let image_token = net.config.image_token_id();
    let rows: Vec<u32> =
        (0..).zip(&prompt.input_ids).filter(|(_, id)| **id == image_token).map(|(row, _)| row).collect();
    let Some((last, read)) = answer.split_last().filter(|_| !rows.is_empty()) else {
        return Ok(vec![0.0; rows.len()]);
    };
    let ctx = ForwardContext { adapter, stop: Some(stop), ..ForwardContext::default() };
    let on_progress = |_| ctx.check_cancelled();
    let ids = [&prompt.input_ids, read].concat();
    let sequences = alone(net, &ids, &prompt.grids, prompt.input_ids.len() - 1)?;
    let input = net.embed(&ids, &prompt.features, ctx)?;
    let (hidden, saved) = net.text.forward_saving(input, &sequences, true, plan, ctx, &on_progress)?;
    let targets = [read, &[*last]].concat();
    let labels = Labels {
        rows: &(0..targets.len() as u32).collect::<Vec<_>>(),
        targets: &targets,
        weights: &vec![1.0; targets.len()],
    };
    let head = net.text.lm_head(ctx);
    let (_, dhidden) = linear_cross_entropy_with_gradient(&hidden, head, labels, net.precision, None, &|| !stop())?;
    // What trains gets gradients, too; nobody asks for them.
    let mut gradients = Gradients::default();
    let DecoderGradients { embeddings, deepstack } =
        net.text.backward(saved, &sequences, &dhidden, ctx, &mut gradients, &on_progress)?;
    let mut dloss = vec![embeddings.index_select(&Tensor::new(rows, &net.device)?, 0)?];
    dloss.extend(deepstack);
    let features = Tensor::cat(&prompt.features, 0)?;
    Ok((Tensor::cat(&dloss, 1)? * features)?.sum(1)?.neg()?.to_vec1()?)
}

/// One text, of which the last layer computes the rows from `first` on.
fn alone(net: &VisionLanguageModel, ids: &[u32], grids: &[[usize; 3]], first: usize) -> Result<DecoderSequences> {
    let k: Arc<[usize]> = [0, ids.len()].into();
    let segments = |queries: usize| Segments { q: [0, queries].into(), k: k.clone(), causal: true };
    let queries = (first > 0).then(|| (first as u32..ids.len() as u32).collect());
    Ok(DecoderSequences {
        rotary: net.rotary(&net.positions(ids, grids)?.thw)?,
        all: Sequences::new(segments(ids.len()), None, None, &net.device)?,
        last: Sequences::new(segments(ids.len() - first), queries, None, &net.device)?,
    })
}
