//! An answerer without a model: it says what it was told, two letters a token, one token of every request at a time as a
//! batch of sequences goes through a model.

use std::sync::Arc;
use std::sync::Condvar;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::thread;
use std::thread::JoinHandle;
use std::time::Duration;
use std::time::Instant;

use tunebook_serve::Answerer;
use tunebook_serve::Asked;
use tunebook_serve::Ended;
use tunebook_serve::Gauge;
use tunebook_serve::Inbox;
use tunebook_serve::Options;
use tunebook_serve::Part;
use tunebook_serve::Refusal;
use tunebook_serve::Role;
use tunebook_serve::Scored;
use tunebook_serve::Server;
use tunebook_serve::StartError;

/// Answers at once.
pub(crate) const ECHO: &str = "echo";
/// One token every 20 ms.
pub(crate) const SLOW: &str = "echo/slow";
/// Goes on until it is stopped.
pub(crate) const ENDLESS: &str = "echo/endless";
/// Takes a request and says nothing.
pub(crate) const SILENT: &str = "echo/silent";
/// Refuses.
pub(crate) const FAILING: &str = "echo/failing";
/// Forgets its reply in the middle.
pub(crate) const DROPPING: &str = "echo/dropping";
/// Is interrupted in the middle.
pub(crate) const INTERRUPTED: &str = "echo/interrupted";

/// All of them.
#[allow(dead_code)]
pub(crate) const ALL: [&str; 7] = [ECHO, SLOW, ENDLESS, SILENT, FAILING, DROPPING, INTERRUPTED];

/// Most letters of a prompt.
pub(crate) const LONGEST: usize = 100_000;

/// A server and the thread that answers, until it is dropped.
pub(crate) struct Echo {
    server: Option<Server>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

pub(crate) struct Shared {
    models: Vec<String>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    woken: bool,
    ending: bool,
    /// Whether requests stay in the inbox.
    asleep: bool,
    /// How many requests are being answered.
    running: usize,
    /// How many were taken from the inbox.
    taken: usize,
}

impl Answerer for Shared {
    fn wake(&self) {
        self.state().woken = true;
        self.changed.notify_all();
    }

    fn models(&self) -> Vec<String> {
        self.models.clone()
    }

    fn gauges(&self) -> Vec<Gauge> {
        vec![Gauge { name: "echo_models", help: "Models that are none", value: self.models.len() as f64 }]
    }
}

impl Echo {
    /// Serves those models that give whole answers.
    pub(crate) fn start(options: Options) -> Result<Self, StartError> {
        Self::start_by(&[ECHO, SLOW], |answerer| Server::start(options, answerer))
    }

    pub(crate) fn start_by(
        models: &[&str],
        start: impl FnOnce(Arc<dyn Answerer>) -> Result<Server, StartError>,
    ) -> Result<Self, StartError> {
        let models = models.iter().map(|model| model.to_string()).collect();
        let shared = Arc::new(Shared { models, state: Mutex::default(), changed: Condvar::new() });
        let answerer: Arc<dyn Answerer> = Arc::clone(&shared) as _;
        let server = start(answerer)?;
        let (inbox, answering) = (server.inbox(), Arc::clone(&shared));
        let thread = thread::spawn(move || answering.answer(&inbox));
        Ok(Self { server: Some(server), shared, thread: Some(thread) })
    }

    pub(crate) fn server(&self) -> &Server {
        self.server.as_ref().expect("it is there until it is dropped")
    }
}

/// What tests look at and change.
#[allow(dead_code)]
impl Echo {
    pub(crate) fn stop_server(&mut self) {
        self.server.take().expect("it is there").stop();
    }

    /// Leaves requests in the inbox, or takes them again.
    pub(crate) fn sleep(&self, asleep: bool) {
        self.shared.state().asleep = asleep;
        self.shared.wake();
    }

    pub(crate) fn running(&self) -> usize {
        self.shared.state().running
    }

    pub(crate) fn taken(&self) -> usize {
        self.shared.state().taken
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        drop(self.server.take());
        self.shared.state().ending = true;
        self.shared.wake();
        drop(self.thread.take().map(JoinHandle::join));
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, inbox: &Inbox) {
        let mut sequences: Vec<Sequence> = Vec::new();
        loop {
            let mut state = self.state();
            state.running = sequences.len();
            if sequences.is_empty() && !state.woken && !state.ending {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            state.woken = false;
            let (ending, asleep) = (state.ending, state.asleep);
            drop(state);
            if ending {
                return;
            }
            while !asleep && let Some(asked) = inbox.next() {
                sequences.extend(Sequence::new(asked));
                let mut state = self.state();
                (state.running, state.taken) = (sequences.len(), state.taken + 1);
            }
            // So that one step is not faster than a client can hear of it.
            thread::sleep(Duration::from_micros(100));
            sequences.retain_mut(Sequence::step);
        }
    }
}

/// A request that is being answered.
struct Sequence {
    asked: Asked,
    /// The tokens of each choice.
    choices: Vec<Vec<String>>,
    token: usize,
    due: Instant,
}

impl Sequence {
    /// None if it is refused.
    fn new(asked: Asked) -> Option<Self> {
        let prompt: usize = texts(&asked).map(|text| text.chars().count()).sum();
        if asked.model == FAILING {
            asked.reply.refuse(Refusal::Failed { message: "It failed.".into() });
            return None;
        }
        if prompt > LONGEST {
            asked.reply.refuse(Refusal::TooLong { prompt_tokens: prompt / 2, most: LONGEST / 2 });
            return None;
        }
        if asked.messages.iter().any(|message| message.parts.iter().any(is_no_picture)) {
            let (message, param) = ("This is no picture.".into(), Some("messages".into()));
            asked.reply.refuse(Refusal::Invalid { message, param });
            return None;
        }
        if asked.model != SILENT {
            let pictures = asked.messages.iter().flat_map(|message| &message.parts).filter_map(picture).count();
            asked.reply.begin(prompt.div_ceil(2) + pictures, 0);
        }
        let choices = (0..asked.options.n).map(|choice| tokens(&answer(&asked, choice))).collect();
        Some(Self { asked, choices, token: 0, due: Instant::now() })
    }

    /// One token of each choice: whether it goes on.
    fn step(&mut self) -> bool {
        let (model, reply) = (self.asked.model.as_str(), &self.asked.reply);
        let wanted: Vec<_> = (0..self.choices.len()).filter(|choice| reply.is_wanted(*choice)).collect();
        if wanted.is_empty() || (model == DROPPING && self.token == 3) {
            return false;
        }
        if model == SILENT || Instant::now() < self.due {
            return true;
        }
        self.due = Instant::now() + Duration::from_millis(if model == SLOW { 20 } else { 0 });
        let most = self.asked.options.max_tokens.unwrap_or(usize::MAX);
        for &choice in &wanted {
            let tokens = &self.choices[choice];
            if model == INTERRUPTED && self.token == 3 {
                reply.end(choice, Ended::Interrupted);
                continue;
            }
            let Some(token) = tokens.get(if model == ENDLESS { self.token % tokens.len() } else { self.token }) else {
                // The token that ends an answer has no text.
                reply.count(choice);
                reply.end(choice, Ended::Stop);
                continue;
            };
            reply.count(choice);
            if let Some(top) = self.asked.options.top_logprobs {
                reply.token(choice, scored(token, top));
            }
            reply.piece(choice, token);
            if self.token + 1 == most {
                reply.end(choice, Ended::Length);
            }
        }
        self.token += 1;
        true
    }
}

fn is_no_picture(part: &Part) -> bool {
    matches!(part, Part::Image(file) if !file.starts_with(b"\x89PNG") && !file.starts_with(b"\xff\xd8"))
}

fn texts(asked: &Asked) -> impl Iterator<Item = &str> {
    asked.messages.iter().flat_map(|message| &message.parts).filter_map(|part| match part {
        Part::Text(text) => Some(text.as_str()),
        Part::Image(_) => None,
    })
}

/// What it says: how many pictures and tools there are, what the user said last and, unless the temperature is 0, a word by
/// chance.
fn answer(asked: &Asked, choice: usize) -> String {
    let last = asked.messages.iter().rfind(|message| message.role == Role::User);
    let said: String = last.iter().flat_map(|message| &message.parts).filter_map(text).collect();
    let pictures: Vec<_> = asked
        .messages
        .iter()
        .flat_map(|message| &message.parts)
        .filter_map(picture)
        .map(|size| size.to_string())
        .collect();
    let chance = match asked.options.temperature {
        Some(0.0) => String::new(),
        _ => format!("{} ", word(asked.options.seed, choice)),
    };
    let pictures = if pictures.is_empty() { String::new() } else { format!("[{} B] ", pictures.join(", ")) };
    let tools = if asked.tools.is_empty() { String::new() } else { format!("[{} tools] ", asked.tools.len()) };
    format!("{chance}{pictures}{tools}You said: {said}")
}

fn text(part: &Part) -> Option<&str> {
    match part {
        Part::Text(text) => Some(text),
        Part::Image(_) => None,
    }
}

fn picture(part: &Part) -> Option<usize> {
    match part {
        Part::Text(_) => None,
        Part::Image(file) => Some(file.len()),
    }
}

/// Eight letters that follow from the seed and the choice or, without a seed, from the time.
fn word(seed: Option<u64>, choice: usize) -> String {
    let time = || std::time::UNIX_EPOCH.elapsed().map_or(0, |elapsed| elapsed.as_nanos() as u64);
    let mut state = seed.unwrap_or_else(time).wrapping_add(choice as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let letter = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(b'a' + (state >> 32) as u8 % 26)
    };
    (0..8).map(letter).collect()
}

/// Two letters each.
fn tokens(text: &str) -> Vec<String> {
    let letters: Vec<_> = text.chars().collect();
    letters.chunks(2).map(|pair| pair.iter().collect()).collect()
}

fn scored(token: &str, top: usize) -> Scored {
    let likely = |rank: usize| {
        let token = if rank == 0 { token.to_string() } else { format!("#{rank}") };
        (token.clone(), token.into_bytes(), -0.5 - rank as f64)
    };
    let bytes = token.as_bytes().to_vec();
    Scored { token: token.into(), bytes, logprob: -0.5, top: (0..top).map(likely).collect() }
}
