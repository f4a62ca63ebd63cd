//! The losses of batches, shared out among workers.

use std::collections::VecDeque;

use tunebook_data::Encoded;

use super::group::ProcessGroup;
use super::wire::LossOutcome;
use super::wire::Pixels;
use super::wire::Reply;
use super::wire::Request;
use crate::conversation::RunContext;
use crate::error::Error;
use crate::error::Result;
use crate::event::Context;

/// Batches that a worker has at a time: the next one is there when one is done.
const BATCHES: usize = 2;

/// The loss of a batch.
pub(crate) enum BatchLoss {
    Loss(f64),
    /// A sample of it cannot be used.
    BadSample,
}

pub(super) fn losses(
    group: &mut ProcessGroup,
    first: usize,
    batches: &[Vec<&Encoded>],
    run: RunContext,
    hear: &mut dyn FnMut(usize, BatchLoss) -> Result<()>,
    cx: &Context,
) -> Result<()> {
    group.take_over(run.adapter, run.model, cx)?;
    let mut waiting: VecDeque<usize> = (first..batches.len()).collect();
    // The batches that each worker has.
    let mut given = vec![VecDeque::new(); group.len()];
    let mut done: Vec<Option<BatchLoss>> = (first..batches.len()).map(|_| None).collect();
    let (mut next, mut cancelled) = (first, false);
    loop {
        for (rank, given) in given.iter_mut().enumerate() {
            while given.len() < BATCHES
                && !cancelled
                && let Some(at) = waiting.pop_front()
            {
                let samples = batches[at].iter().map(|sample| group.wire_sample(rank, sample)).collect();
                group.send(rank, &Request::Loss { pixels: Pixels::of(run.processor), samples }, &[])?;
                given.push_back(at);
            }
        }
        if given.iter().all(VecDeque::is_empty) {
            return if cancelled { Err(Error::Cancelled) } else { Ok(()) };
        }
        if let Some((rank, reply, _)) = group.receive()? {
            let Some(at) = given[rank].pop_front() else { return Err(group.unexpected(rank, reply)) };
            done[at - first] = match reply {
                Reply::Loss(LossOutcome::Loss(loss)) => Some(BatchLoss::Loss(loss)),
                Reply::Loss(LossOutcome::BadSample) => Some(BatchLoss::BadSample),
                Reply::Loss(LossOutcome::Cancelled) => None,
                other => return Err(group.unexpected(rank, other)),
            };
        }
        while let Some(loss) = done.get_mut(next - first).and_then(Option::take) {
            hear(next, loss)?;
            next += 1;
        }
        if cx.is_cancelled() && !cancelled {
            cancelled = true;
            group.cancel()?;
        }
    }
}
