//! Answers to the questions that a session sends one after the other.

use std::collections::HashMap;
use std::sync::mpsc::TryRecvError;

use super::worker::Worker;
use crate::conversation::RunContext;
use crate::drafts::NGrams;
use crate::error::Error;
use crate::error::Result;
use crate::event::Context;
use crate::generate::Answer;
use crate::generate::Choice;
use crate::generate::Generated;
use crate::generate::Generator;
use crate::generate::Requests;
use crate::predict::prompt;
use crate::prefix::Prefix;
use crate::report::AnswerEnd;
use crate::workers::settings_map;
use crate::workers::wire::Pixels;
use crate::workers::wire::Reply;
use crate::workers::wire::Request;
use crate::workers::wire::SettingsMap;
use crate::workers::wire::WireAnswer;

impl Worker {
    /// Answers the questions that follow.
    pub(super) fn answers(
        &mut self,
        settings: SettingsMap,
        pixels: Pixels,
        labels: Vec<usize>,
        values: &[f32],
    ) -> Result<()> {
        let settings = settings_map::read(&settings)?;
        let processor = self.processor(pixels)?;
        let mut rest: &[u32] = bytemuck::cast_slice(values);
        let mut grams = NGrams::default();
        for length in labels {
            let (label, others) = rest.split_at(length);
            grams.add(label, 0);
            rest = others;
        }
        let (model, adapter) = (self.model.take().ok_or(Error::NoModel)?, self.adapter.take());
        let cancel = self.cancel.clone();
        let run = RunContext {
            model: &model,
            adapter: adapter.as_ref(),
            processor: &processor,
            settings: &settings,
            labels: Some(&grams),
        };
        let mut questions = Questions { worker: self, run, open: HashMap::new(), ended: false };
        let made = Generator::new(run).run(&mut Prefix::default(), &mut questions, &|| cancel.is_cancelled());
        // What the session has sent meanwhile belongs to what was cancelled.
        while made.is_ok() && !questions.ended {
            match questions.worker.inbox.next() {
                None | Some((Request::EndOfQuestions, _)) => break,
                Some(_) => {}
            }
        }
        (self.model, self.adapter) = (Some(model), adapter);
        made
    }
}

/// The questions of a session, and what is to be told of their answers.
struct Questions<'w, 'r> {
    worker: &'w mut Worker,
    run: RunContext<'r>,
    /// The tokens of the answers on their way.
    open: HashMap<usize, Vec<u32>>,
    /// No more are coming.
    ended: bool,
}

impl<'r> Requests<'r> for Questions<'_, 'r> {
    fn next(&mut self) -> Result<Option<crate::generate::Request<'r>>> {
        while !self.ended {
            let next = match self.open.is_empty() {
                true => self.worker.inbox.next().ok_or(TryRecvError::Disconnected),
                false => self.worker.inbox.try_next(),
            };
            let (index, sample) = match next {
                Ok((Request::Question { index, sample }, _)) => (index, sample),
                Ok((Request::EndOfQuestions, _)) | Err(TryRecvError::Disconnected) => {
                    self.ended = true;
                    break;
                }
                Ok((Request::Cancel, _)) => return Err(Error::Cancelled),
                Ok(_) => continue,
                Err(TryRecvError::Empty) => break,
            };
            let samples = self.worker.encoded(vec![sample], index)?;
            let Some(sample) = samples.into_iter().next() else { continue };
            let cx = Context { emit: &|_| {}, cancel: &self.worker.cancel };
            match prompt(&sample, self.run, &mut self.worker.features, &cx) {
                Err(Error::BadSample(_)) => {
                    self.worker.session.send(&Reply::Answered { index, answer: None }, &[])?;
                }
                prompt => {
                    let (prompt, RunContext { model, adapter, settings, .. }) = (prompt?, self.run);
                    let choice = Choice::new(settings, &model.generation, settings.seed.wrapping_add(index as u64));
                    self.open.insert(index, Vec::new());
                    return Ok(Some(crate::generate::Request { id: index, prompt, choice, adapter, alternatives: 0 }));
                }
            }
        }
        Ok(None)
    }

    fn hear(&mut self, id: usize, generated: Generated) -> Result<()> {
        match generated {
            Generated::Token(token) => self.open.entry(id).or_default().push(token),
            Generated::Begin { .. } | Generated::Score(..) => {}
            Generated::End(Answer { end, .. }) => {
                let tokens = self.open.remove(&id).unwrap_or_default();
                if end != AnswerEnd::Interrupted {
                    let answer = Some(WireAnswer { tokens, end });
                    self.worker.session.send(&Reply::Answered { index: id, answer }, &[])?;
                }
            }
        }
        Ok(())
    }
}
