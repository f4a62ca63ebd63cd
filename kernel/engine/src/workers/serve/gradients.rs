//! The gradients of a worker's share of a step, and their sum over all workers.

use std::sync::atomic::Ordering;
use std::time::Instant;

use candle_core::Tensor;
use tunebook_nn::gradients::Gradients;

use super::worker::Worker;
use crate::error::Error;
use crate::error::Result;
use crate::memory;
use crate::memory::Trainable;
use crate::step_metrics::StepMetrics;
use crate::training::micro_batch::Computed;
use crate::training::micro_batch::Learner;
use crate::training::micro_batch::MicroBatch;
use crate::training::micro_batch::Outcome;
use crate::workers::error::WorkersError;
use crate::workers::settings_map;
use crate::workers::wire::Pixels;
use crate::workers::wire::Reply;
use crate::workers::wire::SettingsMap;
use crate::workers::wire::ShareOutcome;
use crate::workers::wire::WireMicroBatch;

impl Worker {
    /// The sum of the gradients of all workers, of which rank 0 tells.
    pub(super) fn sum(&mut self, in_order: bool) -> Result<(Reply, Vec<f32>)> {
        let adapter = self.adapter.as_ref().ok_or(Error::NoAdapter)?;
        let gradients = std::mem::take(&mut self.gradients);
        let (parameters, count) = (adapter.vars(), adapter.parameter_count());
        let mut parts = Vec::with_capacity(parameters.len() + 1);
        for (_, parameter) in &parameters {
            let sum = gradients.get(parameter).cloned();
            parts.push(sum.map_or_else(|| parameter.zeros_like(), Ok)?.flatten_all()?);
        }
        // How many workers have a gradient of each parameter.
        let counts: Vec<f32> =
            parameters.iter().map(|(_, parameter)| f32::from(gradients.get(parameter).is_some())).collect();
        parts.push(Tensor::new(counts, &self.model()?.net.device)?);
        drop(gradients);
        let mut values = self.summed(&parts, in_order)?;
        let mut parts = Vec::new();
        if self.mpi.rank() == 0 {
            parts = values.split_off(count).into_iter().map(|count| count > 0.0).collect();
        }
        Ok((Reply::Sum { parts }, values))
    }

    /// The sums of all workers' values, at rank 0: the tensors' end to end.
    fn summed(&mut self, parts: &[Tensor], in_order: bool) -> Result<Vec<f32>> {
        #[cfg(feature = "cuda")]
        if !in_order && !self.model()?.net.device.is_cpu() {
            use crate::workers::device_sum;
            use crate::workers::device_sum::DeviceSum;
            let joined = match self.device_sum.take() {
                Some(joined) => joined,
                None => DeviceSum::join(&self.mpi)?,
            };
            if let DeviceSum::Nccl(nccl) = self.device_sum.insert(joined) {
                return device_sum::sum(nccl, parts, self.mpi.rank());
            }
        }
        let mut values = Vec::with_capacity(parts.iter().map(Tensor::elem_count).sum());
        for part in parts {
            values.extend(part.to_vec1::<f32>()?);
        }
        let summed = if in_order { self.mpi.sum_in_order(&mut values) } else { self.mpi.sum(&mut values) };
        summed.map_err(WorkersError::from)?;
        if self.mpi.rank() > 0 {
            values.clear();
        }
        Ok(values)
    }

    pub(super) fn gradients(
        &mut self,
        settings: SettingsMap,
        pixels: Pixels,
        micro_batches: Vec<WireMicroBatch>,
    ) -> Result<ShareOutcome> {
        let start = Instant::now();
        self.gradients = Gradients::default();
        let mut settings = settings_map::read(&settings)?;
        // A limit is that of a host.
        settings.memory = settings.memory.map(memory::own_part);
        let processor = self.processor(pixels)?;
        let mut places = Vec::new();
        let mut encoded = Vec::with_capacity(micro_batches.len());
        for (at, WireMicroBatch { number, samples }) in micro_batches.into_iter().enumerate() {
            let first = places.len();
            places.extend((0..samples.len()).map(|sample| (at, sample)));
            encoded.push((number, self.encoded(samples, first)?));
        }
        let micro_batches: Vec<MicroBatch> = encoded
            .iter()
            .map(|(number, samples)| MicroBatch { number: *number, samples: samples.iter().collect() })
            .collect();
        let adapter = self.adapter.as_ref().ok_or(Error::NoAdapter)?;
        let model = self.model.as_ref().ok_or(Error::NoModel)?;
        let trainable = Trainable::of(adapter);
        let at_once = memory::tokens_at_once(&model.net, trainable, settings.memory, self.tokens_at_once);
        self.tokens_at_once = Some(at_once);
        let limit = if settings.has_noise(adapter) { 0 } else { at_once };
        let learner = Learner { model, adapter, processor: &processor, settings: &settings };
        let (mut all, mut tokens): (Option<StepMetrics>, _) = (None, 0);
        let mut rest = &micro_batches[..];
        while !rest.is_empty() {
            let (group, others) = rest.split_at(group(rest, limit));
            let done = micro_batches.len() - rest.len();
            rest = others;
            let on_progress = |fraction: f64| {
                let fraction = (done as f64 + fraction * group.len() as f64) / micro_batches.len() as f64;
                self.progress.store((fraction as f32).to_bits(), Ordering::Relaxed);
                if self.cancel.is_cancelled() { Err(tunebook_nn::Error::Cancelled) } else { Ok(()) }
            };
            let coming = others.iter().flat_map(|micro_batch| micro_batch.samples.iter().copied());
            let (features, gradients) = (&mut self.features, &mut self.gradients);
            match learner.forward_backward(group, coming, features, gradients, &on_progress) {
                Ok(Outcome::Computed(Computed { metrics, tokens: more, .. })) => {
                    all = Some(all.map_or_else(|| metrics.clone(), |sum| sum.plus(&metrics)));
                    tokens += more;
                }
                Ok(Outcome::NotFinite(samples)) => {
                    let samples = samples.iter().map(|sample| places[sample.origin.index]);
                    return Ok(ShareOutcome::NotFinite(samples.collect()));
                }
                Err(Error::BadSample(sample)) => {
                    let (micro_batch, sample) = places[sample.origin.index];
                    return Ok(ShareOutcome::BadSample(micro_batch, sample));
                }
                Err(Error::Cancelled) => return Ok(ShareOutcome::Cancelled),
                Err(error) => return Err(error),
            }
        }
        model.net.check_unchanged()?;
        Ok(ShareOutcome::Computed { metrics: all, tokens, seconds: start.elapsed().as_secs_f64() })
    }
}

/// How many of the first micro-batches go through the model together: as many as have no more than `limit` tokens, and one
/// at least.
fn group(micro_batches: &[MicroBatch], limit: usize) -> usize {
    let tokens = |batch: &MicroBatch| batch.samples.iter().map(|sample| sample.input_ids.len()).sum::<usize>();
    let sums = micro_batches.iter().scan(0, |sum, batch| {
        *sum += tokens(batch);
        Some(*sum)
    });
    sums.take_while(|sum| *sum <= limit).count().max(1)
}
