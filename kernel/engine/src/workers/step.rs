//! The gradients of a step's micro-batches, shared out among workers.

use std::time::Instant;

use tunebook_data::Encoded;
use tunebook_data::ImageProcessor;
use tunebook_nn::adapter::Adapter;
use tunebook_nn::gradients::Gradients;

use super::group::ProcessGroup;
use super::settings_map;
use super::share::share;
use super::wire::Pixels;
use super::wire::Reply;
use super::wire::Request;
use super::wire::ShareOutcome;
use super::wire::WireMicroBatch;
use crate::bad_sample::of_sample;
use crate::error::Error;
use crate::error::Result;
use crate::event::Context;
use crate::report::StepTimes;
use crate::step_metrics::StepMetrics;
use crate::training::micro_batch::Computed;
use crate::training::micro_batch::Learner;
use crate::training::micro_batch::MicroBatch;
use crate::training::micro_batch::Outcome;

/// The gradients of the micro-batches of a step.
pub(super) fn step<'s>(
    group: &mut ProcessGroup,
    learner: Learner,
    micro_batches: &[MicroBatch<'s>],
    gradients: &mut Gradients,
    on_progress: &dyn Fn(f64) -> tunebook_nn::Result<()>,
    cx: &Context,
) -> Result<Outcome<'s>> {
    let Learner { model, adapter, processor, settings } = learner;
    let start = Instant::now();
    group.take_over(Some(adapter), model, cx)?;
    let parameters = start.elapsed();
    let costs = Costs::new(group, learner, micro_batches);
    let speed = |worker: usize| if settings.full_determinism { 1.0 } else { group.speed(worker) };
    let shares = share(micro_batches.len(), group.len(), &|worker, place| costs.of(worker, place) / speed(worker));
    let of_share = |(worker, places): (usize, &Vec<usize>)| places.iter().map(|&place| costs.of(worker, place)).sum();
    let costs: Vec<f64> = shares.iter().enumerate().map(of_share).collect();
    let written = settings_map::write(settings);
    for (rank, places) in shares.iter().enumerate() {
        let of_place = |&place: &usize| {
            let MicroBatch { number, samples } = &micro_batches[place];
            let samples = samples.iter().map(|sample| group.wire_sample(rank, sample)).collect();
            WireMicroBatch { number: *number, samples }
        };
        let micro_batches = places.iter().map(of_place).collect();
        let settings = written.clone();
        group.send(rank, &Request::Gradients { settings, pixels: Pixels::of(processor), micro_batches }, &[])?;
    }
    let replies = group.replies(&mut |fraction| Ok(on_progress(fraction)?))?;
    let computed = start.elapsed() - parameters;
    let (mut all, mut tokens, mut seconds): (Option<StepMetrics>, _, _) = (None, 0, Vec::new());
    for (rank, (reply, _)) in replies.into_iter().enumerate() {
        let sample_at = |(at, sample): (usize, usize)| micro_batches[shares[rank][at]].samples[sample];
        match reply {
            Reply::Gradients(ShareOutcome::Computed { metrics, tokens: more, seconds: took }) => {
                all = match (all, metrics) {
                    (Some(sum), Some(metrics)) => Some(sum.plus(&metrics)),
                    (sum, metrics) => sum.or(metrics),
                };
                tokens += more;
                seconds.push(took);
            }
            Reply::Gradients(ShareOutcome::NotFinite(samples)) => {
                return Ok(Outcome::NotFinite(samples.into_iter().map(sample_at).collect()));
            }
            Reply::Gradients(ShareOutcome::BadSample(at, sample)) => {
                return Err(why_bad(sample_at((at, sample)), processor).unwrap_or_else(|| group.cannot_read(rank)));
            }
            // Another one has found something.
            Reply::Gradients(ShareOutcome::Cancelled) => {}
            other => return Err(group.unexpected(rank, other)),
        }
    }
    let Some(metrics) = all.filter(|_| seconds.len() == group.len()) else { return Err(Error::Cancelled) };
    group.took(seconds, &costs);
    let before = Instant::now();
    add_sum(group, adapter, settings.full_determinism, gradients)?;
    group.times = Some(StepTimes {
        parameters: parameters.as_secs_f64(),
        computing: computed.as_secs_f64(),
        gradients: before.elapsed().as_secs_f64(),
        bytes: adapter.parameter_count() * size_of::<f32>(),
    });
    Ok(Outcome::Computed(Computed { metrics, tokens, micro_batches: micro_batches.len() }))
}

/// What micro-batches cost, in tokens.
struct Costs {
    /// For a worker that knows none of its pictures.
    full: Vec<f64>,
    /// How much less it is for workers that know some.
    less: Vec<Vec<(usize, f64)>>,
}

impl Costs {
    /// With `full_determinism`, they depend on nothing but the tokens, so that the same number of workers gives the same
    /// bits.
    fn new(group: &ProcessGroup, learner: Learner, micro_batches: &[MicroBatch]) -> Self {
        let Learner { model, adapter, processor, settings } = learner;
        // A token of a picture goes through the vision tower as four patches, and forward only.
        let vision = 2.0 * model.net.vision_size() as f64 / model.net.text.size().max(1) as f64;
        let vision = if settings.full_determinism { 0.0 } else { vision };
        let is_kept = !adapter.changes_pictures();
        let mut costs = Self { full: Vec::new(), less: Vec::new() };
        for batch in micro_batches {
            let tokens: usize = batch.samples.iter().map(|sample| sample.input_ids.len()).sum();
            let (mut full, mut less) = (tokens as f64, Vec::<(usize, f64)>::new());
            for image in batch.samples.iter().flat_map(|sample| &sample.images) {
                let cost = vision * processor.tokens(image.grid) as f64;
                full += cost;
                for &worker in group.who_know(&image.path).iter().filter(|_| is_kept) {
                    match less.iter_mut().find(|(known, _)| *known == worker) {
                        Some((_, sum)) => *sum += cost,
                        None => less.push((worker, cost)),
                    }
                }
            }
            costs.full.push(full);
            costs.less.push(less);
        }
        costs
    }

    fn of(&self, worker: usize, place: usize) -> f64 {
        let less = self.less[place].iter().find(|(known, _)| *known == worker);
        self.full[place] - less.map_or(0.0, |(_, less)| *less)
    }
}

/// Adds the sum of all workers' gradients.
fn add_sum(group: &mut ProcessGroup, adapter: &Adapter, in_order: bool, gradients: &mut Gradients) -> Result<()> {
    for rank in (0..group.len()).rev() {
        group.send(rank, &Request::Sum { in_order }, &[])?;
    }
    // The workers are within MPI, where nothing stops them.
    let mut replies = group.replies(&mut |_| Ok(()))?.into_iter();
    let Some((Reply::Sum { parts }, values)) = replies.next() else { return Err(Error::Cancelled) };
    let mut rest = &values[..];
    for ((_, parameter), is_there) in adapter.vars().iter().zip(parts) {
        let (sum, others) = rest.split_at(parameter.elem_count().min(rest.len()));
        rest = others;
        if !is_there {
            continue;
        }
        let mut sum = sum.to_vec();
        if let Some(before) = gradients.get(parameter) {
            let before = before.flatten_all()?.to_vec1::<f32>()?;
            sum.iter_mut().zip(before).for_each(|(sum, before)| *sum += before);
        }
        gradients.put(parameter, sum)?;
    }
    Ok(())
}

/// Why a worker could not use a sample, as this process finds out; none if it can be used here.
fn why_bad(sample: &Encoded, processor: &ImageProcessor) -> Option<Error> {
    let failed = sample.images.iter().find_map(|image| processor.load(image).err())?;
    Some(of_sample(sample, failed.into()))
}
