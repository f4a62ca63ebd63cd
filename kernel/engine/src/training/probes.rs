//! The probes of a training: before its first step and after every `probe_steps`, the adapter answers them all together,
//! each time taking the likeliest tokens.
//!
//! Nothing of the training changes by it: weights are read where they lie, and no random number is drawn.

use std::collections::VecDeque;
use std::time::Instant;

use tunebook_data::DecodeStream;

use super::Run;
use super::TrainInputs;
use crate::conversation::Conversation;
use crate::conversation::Question;
use crate::conversation::RunContext;
use crate::error::Error;
use crate::error::Result;
use crate::event::Context;
use crate::event::Event;
use crate::event::Note;
use crate::generate::Answer;
use crate::generate::Choice;
use crate::generate::Generated;
use crate::generate::Generator;
use crate::generate::Request;
use crate::generate::Requests;
use crate::pictures::Features;
use crate::predict::PROGRESS;
use crate::prefix::Prefix;
use crate::probes::Probe;
use crate::probes::ProbeAnswer;
use crate::probes::ProbeRecord;
use crate::report::AnswerEnd;
use crate::settings::Settings;
use crate::system_prompt;

impl Run {
    pub fn probe_records(&self) -> &[ProbeRecord] {
        &self.state.run.probes
    }

    /// Answers the probes, if they are due and have not been answered yet. A picture that cannot be read any more leaves
    /// its probe out, which is announced. Says whether it came to its end: a stop only delays it.
    pub(super) fn answer_probes(
        &mut self,
        inputs: &TrainInputs,
        features: &mut Features,
        total_steps: usize,
        cx: &Context,
    ) -> Result<bool> {
        let (list, step) = (&inputs.probes, self.step());
        let is_due = step.is_multiple_of(inputs.settings.probe_steps) || step >= total_steps;
        let is_answered = self.state.run.probes.last().is_some_and(|last| last.step == step && last.is_of(list));
        if list.is_empty() || !is_due || is_answered {
            return Ok(true);
        }
        let start = Instant::now();
        let settings = Settings { do_sample: Some(false), ..inputs.settings.clone() };
        let asked = match ask(inputs, &settings, features, cx) {
            Err(Error::Cancelled) => return Ok(false),
            asked => asked?,
        };
        let mut answers = Vec::with_capacity(asked.len());
        for Growing { number, probe, text, new_tokens, end, .. } in asked {
            if end.is_none_or(|end| end == AnswerEnd::Interrupted) {
                return Ok(false);
            }
            answers.push(ProbeAnswer {
                number,
                probe: probe.clone(),
                text,
                before: self.last_answer(probe),
                new_tokens,
            });
        }
        let record = ProbeRecord { step, total_steps, seconds: start.elapsed().as_secs_f64(), answers };
        cx.emit(Event::Probed(record.clone()));
        self.state.run.add_probes(record);
        self.output.as_ref().map_or(Ok(()), |output| output.probes(&self.state.run.probes))?;
        Ok(true)
    }

    /// What was answered to a probe before the step that the training stands at.
    fn last_answer(&self, probe: &Probe) -> Option<String> {
        let earlier = self.state.run.probes.iter().rev().filter(|record| record.step < self.step());
        let mut answers = earlier.flat_map(|record| &record.answers);
        answers.find(|answer| answer.probe == *probe).map(|answer| answer.text.clone())
    }
}

impl ProbeRecord {
    /// The probes that were answered.
    pub(crate) fn probes(&self) -> Vec<Probe> {
        self.answers.iter().map(|answer| answer.probe.clone()).collect()
    }

    fn is_of(&self, list: &[Probe]) -> bool {
        self.answers.iter().map(|answer| &answer.probe).eq(list)
    }
}

/// An answer on its way.
struct Growing<'a> {
    number: usize,
    probe: &'a Probe,
    pieces: DecodeStream<'a>,
    text: String,
    new_tokens: usize,
    /// How it ended.
    end: Option<AnswerEnd>,
}

/// Asks the probes whose pictures can be read.
fn ask<'a>(
    inputs: &'a TrainInputs,
    settings: &Settings,
    features: &mut Features,
    cx: &Context,
) -> Result<Vec<Growing<'a>>> {
    let TrainInputs { model, adapter, processor, data, probes, .. } = inputs;
    let template = settings.template.unwrap_or(model.template);
    let system = system_prompt::in_use(settings, template, Some(&data.report)).text;
    let run = RunContext { model, adapter: Some(adapter), processor, settings, labels: Some(data.labels()) };
    let stop = || cx.is_cancelled();
    let mut answering =
        Answering { requests: VecDeque::new(), answers: Vec::new(), settings, cx, told: Instant::now() };
    for (number, probe) in (1..).zip(probes) {
        let question = Question { system: &system, text: &probe.question, images: &probe.images };
        match Conversation::default().prompt_for(question, run, features, &stop) {
            Err(Error::Cancelled) => return Err(Error::Cancelled),
            Err(error) => {
                let (question, problem) = (probe.question.clone(), error.to_string());
                cx.emit(Event::Note(Note::ProbeLeftOut { question, problem }));
            }
            Ok((prompt, _)) => {
                let choice = Choice::new(settings, &model.generation, settings.seed);
                let request =
                    Request { id: answering.answers.len(), prompt, choice, adapter: Some(adapter), alternatives: 0 };
                answering.requests.push_back(request);
                let pieces = model.tokenizer.decode_stream(true);
                let (text, new_tokens, end) = (String::new(), 0, None);
                answering.answers.push(Growing { number, probe, pieces, text, new_tokens, end });
            }
        }
    }
    Generator::new(run).run(&mut Prefix::default(), &mut answering, &stop)?;
    Ok(answering.answers)
}

/// The answers on their way.
struct Answering<'a, 's> {
    requests: VecDeque<Request<'a>>,
    answers: Vec<Growing<'a>>,
    settings: &'s Settings,
    cx: &'s Context<'s>,
    /// When the progress was told last.
    told: Instant,
}

impl<'a> Requests<'a> for Answering<'a, '_> {
    fn next(&mut self) -> Result<Option<Request<'a>>> {
        Ok(self.requests.pop_front())
    }

    fn hear(&mut self, id: usize, generated: Generated) -> Result<()> {
        let answer = &mut self.answers[id];
        match generated {
            Generated::Token(token) => {
                answer.text.push_str(&answer.pieces.push(token)?);
                answer.new_tokens += 1;
            }
            Generated::Begin { .. } | Generated::Score(..) => {}
            Generated::End(Answer { end, .. }) => answer.end = Some(end),
        }
        if self.told.elapsed() >= PROGRESS {
            self.told = Instant::now();
            let total = self.answers.len();
            let done = self.answers.iter().filter(|answer| answer.end.is_some()).count();
            let longest = self.settings.max_new_tokens as f64;
            let part = |answer: &Growing| match answer.end {
                Some(_) => 1.0,
                None => answer.new_tokens as f64 / longest,
            };
            let part = self.answers.iter().map(part).sum::<f64>() / total.max(1) as f64;
            self.cx.emit(Event::Predicting { done, total, part });
        }
        Ok(())
    }
}
