//! The answers to one question, which are made together and told one after the other.

use std::collections::VecDeque;
use std::time::Duration;
use std::time::Instant;

use tunebook_data::DecodeStream;
use tunebook_data::ImageRef;

use crate::boxes;
use crate::conversation::RunContext;
use crate::error::Result;
use crate::event::Context;
use crate::event::Event;
use crate::generate::Generated;
use crate::generate::Generator;
use crate::generate::Request;
use crate::generate::Requests;
use crate::prefix::Prefix;
use crate::report::AnswerEnd;
use crate::report::ChatReport;
use crate::report::ComparedAnswer;
use crate::token_scores::TokenTexts;

/// The answers so far. The pieces of the first one that has not ended are told as they come; the others wait their turn.
pub(crate) struct Answers<'a> {
    requests: VecDeque<Request<'a>>,
    list: Vec<Growing<'a>>,
    /// The one that is being told.
    telling: usize,
    start: Instant,
    cx: &'a Context<'a>,
}

/// What is told of an answer beside its text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Details {
    /// How many of the likeliest tokens, for each of its tokens; 0 for none.
    pub alternatives: usize,
    /// Whether to compute what it rests on in its pictures, which takes a backward pass.
    pub regions: bool,
}

struct Growing<'a> {
    /// By which it is announced; none announces nothing.
    name: Option<String>,
    /// The pictures of the conversation.
    images: Vec<ImageRef>,
    pieces: DecodeStream<'a>,
    texts: TokenTexts<'a>,
    report: ChatReport,
    has_ended: bool,
}

impl<'a> Answers<'a> {
    /// To a question that was asked at `start`.
    pub(crate) fn new(start: Instant, cx: &'a Context<'a>) -> Self {
        Self { requests: VecDeque::new(), list: Vec::new(), telling: 0, start, cx }
    }

    /// How many there are to be.
    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    /// One more answer, to a request with these pictures whose id is the number of those before it.
    pub(crate) fn ask(
        &mut self,
        name: Option<String>,
        request: Request<'a>,
        images: Vec<ImageRef>,
        run: RunContext<'a>,
    ) {
        let report = ChatReport {
            text: String::new(),
            pictures: Vec::new(),
            end: AnswerEnd::Interrupted,
            prompt_tokens: request.prompt.input_ids.len(),
            cached_tokens: 0,
            new_tokens: 0,
            drafted_tokens: 0,
            accepted_tokens: 0,
            tokens: Vec::new(),
            token_ids: Vec::new(),
            regions: Vec::new(),
            first_token: None,
            elapsed: Duration::ZERO,
        };
        let tokenizer = &run.model.tokenizer;
        let (pieces, texts) = (tokenizer.decode_stream(true), TokenTexts::new(tokenizer));
        self.list.push(Growing { name, images, pieces, texts, report, has_ended: false });
        self.requests.push_back(request);
    }

    /// Generates them, as far as they come before a stop.
    ///
    /// # Errors
    /// As [`Generator::run`].
    pub(crate) fn generate(mut self, prefix: &mut Prefix, run: RunContext<'a>) -> Result<Vec<ComparedAnswer>> {
        self.announce();
        let cx = self.cx;
        Generator::new(run).run(prefix, &mut self, &|| cx.is_cancelled())?;
        let own = boxes::own_scale(run.model.net.family);
        let answer = |Growing { name, images, mut report, .. }: Growing| {
            // Some marks of boxes are special tokens, which the text is without.
            let marked = run.model.tokenizer.decode(&report.token_ids, false)?;
            report.pictures = boxes::pictures([&marked, ""], &images, run.processor, own);
            Ok(ComparedAnswer { name: name.unwrap_or_default(), report })
        };
        self.list.into_iter().map(answer).collect()
    }

    /// Begins to tell an answer with what is there of it.
    fn announce(&self) {
        let Some(Growing { name, report, .. }) = self.list.get(self.telling) else { return };
        if let Some(name) = name {
            self.cx.emit(Event::Answering(name.clone()));
        }
        if !report.text.is_empty() {
            self.cx.emit(Event::Text(report.text.clone()));
        }
    }
}

impl<'a> Requests<'a> for Answers<'a> {
    fn next(&mut self) -> Result<Option<Request<'a>>> {
        Ok(self.requests.pop_front())
    }

    fn hear(&mut self, id: usize, generated: Generated) -> Result<()> {
        let Growing { pieces, texts, report, has_ended, .. } = &mut self.list[id];
        report.elapsed = self.start.elapsed();
        match generated {
            Generated::Begin { .. } => {}
            Generated::Score(token, score) => {
                let scored = texts.scored(report.tokens.len(), token, &score)?;
                report.tokens.push(scored);
            }
            Generated::Token(token) => {
                let piece = pieces.push(token)?;
                report.text.push_str(&piece);
                report.token_ids.push(token);
                report.new_tokens += 1;
                report.first_token.get_or_insert(report.elapsed);
                if id == self.telling && !piece.is_empty() {
                    self.cx.emit(Event::Text(piece));
                }
            }
            Generated::End(answer) => {
                (report.end, report.cached_tokens, *has_ended) = (answer.end, answer.cached_tokens, true);
                (report.drafted_tokens, report.accepted_tokens) = (answer.drafted_tokens, answer.accepted_tokens);
                while self.list.get(self.telling).is_some_and(|answer| answer.has_ended) {
                    self.telling += 1;
                    self.announce();
                }
            }
        }
        Ok(())
    }
}
