//! Questions, shared out among workers, and their answers.

use std::collections::VecDeque;

use tunebook_data::Encoded;

use super::group::ProcessGroup;
use super::settings_map;
use super::wire::Pixels;
use super::wire::Reply;
use super::wire::Request;
use crate::conversation::RunContext;
use crate::error::Error;
use crate::error::Result;
use crate::event::Context;
use crate::report::AnswerEnd;

/// Questions that a worker has at a time, where no number of answers at once is set.
const QUESTIONS: usize = 32;

/// Who asks questions and hears the answers.
pub(crate) trait Answering {
    /// The number of the next question; none when there are no more.
    fn next(&mut self) -> Option<usize>;

    /// The sample that asks a question.
    fn sample(&self, index: usize) -> &Encoded;

    /// Hears an answer; none where the sample cannot be used.
    ///
    /// # Errors
    /// It cannot be dealt with, which ends all.
    fn hear(&mut self, index: usize, answer: Option<(Vec<u32>, AnswerEnd)>) -> Result<()>;
}

/// `again` are questions to ask first. Those that are still open, if a worker is lost, are put into `open`.
pub(super) fn answers(
    group: &mut ProcessGroup,
    again: Vec<usize>,
    run: (RunContext, &[&[u32]]),
    answering: &mut dyn Answering,
    open: &mut Vec<usize>,
    cx: &Context,
) -> Result<()> {
    let mut again = VecDeque::from(again);
    let mut given: Vec<Vec<usize>> = vec![Vec::new(); group.len()];
    let done = ask(group, &mut again, &mut given, run, answering, cx);
    open.extend(again);
    open.extend(given.into_iter().flatten());
    open.sort_unstable();
    done
}

fn ask(
    group: &mut ProcessGroup,
    again: &mut VecDeque<usize>,
    given: &mut [Vec<usize>],
    (run, labels): (RunContext, &[&[u32]]),
    answering: &mut dyn Answering,
    cx: &Context,
) -> Result<()> {
    group.take_over(run.adapter, run.model, cx)?;
    let values: Vec<f32> = labels.iter().flat_map(|label| label.iter().map(|&token| f32::from_bits(token))).collect();
    let lengths: Vec<usize> = labels.iter().map(|label| label.len()).collect();
    let settings = settings_map::write(run.settings);
    for rank in 0..group.len() {
        let (settings, labels) = (settings.clone(), lengths.clone());
        group.send(rank, &Request::Answer { settings, pixels: Pixels::of(run.processor), labels }, &values)?;
    }
    let most = run.settings.per_device_eval_batch_size.unwrap_or(QUESTIONS);
    let (mut left, mut cancelled) = (group.len(), false);
    let (mut is_over, mut is_told) = (false, false);
    while left > 0 {
        // One after the other, so that all have the same number.
        while !is_over && !cancelled {
            let least = (0..given.len()).min_by_key(|&rank| given[rank].len()).unwrap_or(0);
            if given[least].len() >= most {
                break;
            }
            let Some(index) = again.pop_front().or_else(|| answering.next()) else {
                is_over = true;
                break;
            };
            given[least].push(index);
            let sample = group.wire_sample(least, answering.sample(index));
            group.send(least, &Request::Question { index, sample }, &[])?;
        }
        if (is_over || cancelled) && !is_told {
            (0..group.len()).try_for_each(|rank| group.send(rank, &Request::EndOfQuestions, &[]))?;
            is_told = true;
        }
        match group.receive()? {
            None => {}
            Some((rank, Reply::Answered { index, answer }, _)) => {
                given[rank].retain(|given| *given != index);
                answering.hear(index, answer.map(|answer| (answer.tokens, answer.end)))?;
            }
            Some((_, Reply::EndOfAnswers, _)) => left -= 1,
            Some((rank, other, _)) => return Err(group.unexpected(rank, other)),
        }
        if cx.is_cancelled() && !cancelled {
            cancelled = true;
            group.cancel()?;
        }
    }
    if cancelled { Err(Error::Cancelled) } else { Ok(()) }
}
