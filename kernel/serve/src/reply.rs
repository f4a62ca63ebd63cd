//! The answer to one request, as whoever answers gives it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Instant;

use tokio::sync::mpsc::UnboundedSender;

use crate::metrics::Metrics;
use crate::stop::Found;
use crate::stop::StopFinder;

/// Takes the answer to one request. Nothing here waits for the client: what it has not read yet is kept, up to a limit.
///
/// The order is [`begin`](Self::begin), then for each token of each choice [`count`](Self::count), [`token`](Self::token)
/// where log-probabilities are asked for, and [`piece`](Self::piece) with what text it completes, and [`end`](Self::end)
/// once for each choice. A reply that is dropped before all choices have ended tells the client of an internal error.
#[derive(Debug)]
pub struct Reply {
    events: UnboundedSender<Event>,
    progress: Mutex<Progress>,
    /// Bytes of events that the client has not been sent.
    unread: Arc<AtomicUsize>,
    most_unread: usize,
    arrived: Instant,
    metrics: Arc<Metrics>,
    /// Whether it counts among the requests that are being answered.
    pub(crate) running: bool,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The model has gone since the request came: 404.
    UnknownModel,
    /// No model is loaded any more: 503.
    NoModel,
    /// What is asked for makes no sense to this model: 400. `param` is the field at fault, such as `messages`.
    Invalid { message: String, param: Option<String> },
    /// The prompt is longer than the model can read: 400.
    TooLong { prompt_tokens: usize, most: usize },
    /// It could not be answered: 500.
    Failed { message: String },
}

/// Why a choice has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The model has said all.
    Stop,
    /// It has as many tokens as were asked for, or as fit.
    Length,
    /// Somebody stopped the answer. The client hears of an error, lest it takes a half answer for a whole one.
    Interrupted,
}

/// A generated token and its log-probability.
#[derive(Clone, Debug, PartialEq)]
pub struct Scored {
    pub token: String,
    /// The token's bytes, which may be a part of a character only.
    pub bytes: Vec<u8>,
    /// Natural logarithm.
    pub logprob: f64,
    /// The likeliest tokens, the likeliest first: token, bytes and log-probability.
    pub top: Vec<(String, Vec<u8>, f64)>,
}

/// What the client's side of a reply hears. The channel closes when the reply is dropped.
#[derive(Debug)]
pub(crate) enum Event {
    Begun { prompt_tokens: usize, cached_tokens: usize },
    Text { choice: usize, text: String, scored: Vec<Scored> },
    Ended { choice: usize, reason: Ended, tokens: usize },
    Refused(Refusal),
}

#[derive(Debug)]
struct Progress {
    choices: Vec<Choice>,
    spoken: bool,
}

#[derive(Debug)]
struct Choice {
    finder: StopFinder,
    tokens: usize,
    ended: bool,
    /// Bytes of text that went on to the client.
    sent: usize,
    /// Bytes of all tokens so far.
    scored: usize,
    /// Tokens whose text has not gone on, with the byte of the text at which they begin.
    unsent: VecDeque<(usize, Scored)>,
}

impl Reply {
    pub(crate) fn new(
        events: UnboundedSender<Event>,
        choices: usize,
        stops: &[String],
        unread: Arc<AtomicUsize>,
        most_unread: usize,
        metrics: Arc<Metrics>,
    ) -> Self {
        let choice = || Choice {
            finder: StopFinder::new(stops.to_vec()),
            tokens: 0,
            ended: false,
            sent: 0,
            scored: 0,
            unsent: VecDeque::new(),
        };
        let progress = Progress { choices: (0..choices).map(|_| choice()).collect(), spoken: false };
        Self {
            events,
            progress: Mutex::new(progress),
            unread,
            most_unread,
            arrived: Instant::now(),
            metrics,
            running: false,
        }
    }

    /// There is no answer, or no more of it.
    pub fn refuse(self, refusal: Refusal) {
        self.send(Event::Refused(refusal));
    }

    /// The prompt is read: how many tokens it has, and how many of them were known from earlier ones.
    pub fn begin(&self, prompt_tokens: usize, cached_tokens: usize) {
        self.metrics.prompt_tokens.inc_by(prompt_tokens as u64);
        self.send(Event::Begun { prompt_tokens, cached_tokens });
    }

    /// A token was generated, whether it has a text or ends the answer.
    pub fn count(&self, choice: usize) {
        if let Some(choice) = self.progress().open(choice) {
            choice.tokens += 1;
            self.metrics.generation_tokens.inc();
        }
    }

    /// The log-probability of a token, before the piece that has its text. It goes to the client with that text; behind a
    /// stop string it does not.
    pub fn token(&self, choice: usize, scored: Scored) {
        if let Some(choice) = self.progress().open(choice) {
            let begins = choice.scored;
            choice.scored += scored.bytes.len();
            choice.unsent.push_back((begins, scored));
        }
    }

    /// Text of a choice, whole characters that follow the last ones.
    pub fn piece(&self, choice: usize, text: &str) {
        let mut progress = self.progress();
        if !progress.spoken {
            progress.spoken = true;
            self.metrics.time_to_first_token.observe(self.arrived.elapsed().as_secs_f64());
        }
        let Some(found) = progress.open(choice) else { return };
        let (text, stopped) = match found.finder.push(text) {
            Found::Text(text) => (text, false),
            Found::Stop(text) => (text, true),
        };
        self.send_text(choice, found, text, false);
        if stopped {
            found.unsent.clear();
            self.send_end(choice, found, Ended::Stop);
        }
        if self.unread.load(Ordering::Relaxed) > self.most_unread {
            progress.choices.iter_mut().for_each(|choice| choice.ended = true);
            let message = "The client reads its answer too slowly.".to_string();
            self.send(Event::Refused(Refusal::Failed { message }));
        }
    }

    /// A choice has ended. It is no mistake to end one that a stop string has ended.
    pub fn end(&self, choice: usize, reason: Ended) {
        let mut progress = self.progress();
        if let Some(found) = progress.open(choice) {
            let rest = found.finder.finish();
            self.send_text(choice, found, rest, true);
            self.send_end(choice, found, reason);
        }
    }

    /// Whether anybody waits for more of a choice. Not so once a stop string was found, or the client is gone, or has too much
    /// of its answer yet to read.
    pub fn is_wanted(&self, choice: usize) -> bool {
        !self.is_forsaken() && self.progress().open(choice).is_some()
    }

    /// Whether the client is gone.
    pub(crate) fn is_forsaken(&self) -> bool {
        self.events.is_closed()
    }

    fn send_text(&self, number: usize, choice: &mut Choice, text: String, all: bool) {
        choice.sent += text.len();
        let ready = choice.unsent.iter().take_while(|(begins, _)| all || *begins < choice.sent).count();
        let scored: Vec<_> = choice.unsent.drain(..ready).map(|(_, scored)| scored).collect();
        if !text.is_empty() || !scored.is_empty() {
            self.send(Event::Text { choice: number, text, scored });
        }
    }

    fn send_end(&self, number: usize, choice: &mut Choice, reason: Ended) {
        choice.ended = true;
        self.send(Event::Ended { choice: number, reason, tokens: choice.tokens });
    }

    /// A client that is gone is no failure: [`is_wanted`](Self::is_wanted) tells.
    fn send(&self, event: Event) {
        self.unread.fetch_add(event.size(), Ordering::Relaxed);
        drop(self.events.send(event));
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if self.running {
            self.metrics.running.dec();
            self.metrics.duration.observe(self.arrived.elapsed().as_secs_f64());
        }
    }
}

impl Progress {
    /// A choice that has not ended.
    fn open(&mut self, choice: usize) -> Option<&mut Choice> {
        self.choices.get_mut(choice).filter(|choice| !choice.ended)
    }
}

impl Event {
    /// About the bytes that it takes until it is sent.
    pub(crate) fn size(&self) -> usize {
        match self {
            Self::Text { text, scored, .. } => text.len() + scored.iter().map(Scored::size).sum::<usize>() + 64,
            Self::Begun { .. } | Self::Ended { .. } | Self::Refused(_) => 64,
        }
    }
}

impl Scored {
    fn size(&self) -> usize {
        let top = self.top.iter().map(|(token, bytes, _)| token.len() + bytes.len() + 64);
        self.token.len() + self.bytes.len() + top.sum::<usize>() + 96
    }
}
