//! Running cells: one after another, on a thread of their own.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use crossbeam_channel::Receiver;
use crossbeam_channel::RecvTimeoutError;
use crossbeam_channel::Sender;
use crossbeam_channel::unbounded;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;
use tunebook_commands::Error as CommandError;
use tunebook_commands::Lang;
use tunebook_commands::Message;
use tunebook_commands::Output;
use tunebook_commands::cell;
use tunebook_commands::colourless;
use tunebook_commands::lang::Localized;
use tunebook_commands::lang::localized;
use tunebook_commands::script::Line;
use tunebook_view::bundle;

use crate::kernel::Kernel;
use crate::kernel::Replies;
use crate::kernel::refusal;
use crate::outcome::Failure;
use crate::page::Page;
use crate::request;
use crate::stdin::Stdin;
use crate::wire::Incoming;
use crate::wire::Origin;

/// Interval at which a running command is polled: progress is drawn, an interrupt is passed on.
const POLL: Duration = Duration::from_millis(100);
/// How long the reply of a failed cell is held back, so that cells that were sent together with it are stopped too. A
/// client that waits for the reply before it sends the next cell is not affected.
const BEHIND: Duration = Duration::from_millis(50);
/// How much of what a program writes may wait to be sent, in bytes.
const MOST_UNSENT: usize = 1 << 20;
/// The prompt of a conversation, and what ends it.
const PROMPT: Localized = localized("you: ", "你：");
const ENDS: [&str; 3] = ["", "/exit", "/quit"];

/// Hands cells to the thread that runs them.
pub(crate) struct Executor(Sender<Incoming>);

impl Executor {
    /// # Errors
    /// The system gives no thread.
    pub(crate) fn start(kernel: Arc<Kernel>, replies: Replies, stdin: Stdin) -> std::io::Result<Self> {
        let (sender, received) = unbounded();
        let cells = Cells { kernel, replies, stdin, received, waiting: VecDeque::new(), count: 0 };
        thread::Builder::new().name("cells".to_string()).spawn(move || cells.run())?;
        Ok(Self(sender))
    }

    /// Queues a cell.
    pub(crate) fn submit(&self, message: Incoming) {
        // The thread lives as long as the process.
        let _ = self.0.send(message);
    }
}

struct Cells {
    kernel: Arc<Kernel>,
    replies: Replies,
    stdin: Stdin,
    received: Receiver<Incoming>,
    /// Received, and still to be run.
    waiting: VecDeque<Incoming>,
    /// The number of the last cell that has one.
    count: usize,
}

impl Cells {
    fn run(mut self) {
        while let Some(message) = self.waiting.pop_front().or_else(|| self.received.recv().ok()) {
            let request = message.read();
            let origin = message.origin;
            self.kernel.iopub.busy(&origin);
            let behind = match request {
                Ok(request) => self.execute(&request, &origin),
                Err(problem) => {
                    self.replies.send(&origin, "execute_reply", self.with_count(refusal(&problem)));
                    Vec::new()
                }
            };
            self.kernel.background.set_cell(None);
            self.kernel.iopub.idle(&origin);
            for message in behind {
                self.kernel.iopub.busy(&message.origin);
                // Without a count, which is for cells that have run.
                self.replies.send(&message.origin, "execute_reply", json!({"status": "aborted"}));
                self.kernel.iopub.idle(&message.origin);
            }
        }
    }

    /// Runs a cell and replies; returns the queued cells that are not to be run.
    fn execute(&mut self, request: &request::Execute, origin: &Origin) -> Vec<Incoming> {
        let counts = request.store_history && !request.silent;
        self.count += usize::from(counts);
        self.kernel.forget_interrupt();
        self.kernel.background.set_cell(Some(origin.clone()));
        if !request.silent {
            let input = json!({"code": request.code, "execution_count": self.count});
            self.kernel.iopub.send(origin, "execute_input", input);
        }
        let mut page = Page::new(
            self.kernel.iopub.clone(),
            origin.clone(),
            self.count,
            request.silent,
            self.kernel.host.language().clone(),
        );
        let result = self.cell(request, origin, &mut page);
        let result_text = page.finish();
        if counts && !request.code.trim().is_empty() {
            self.kernel.history().add(self.count, &request.code, result_text);
        }
        match result {
            Ok(payload) => {
                let expressions = self.expressions(request);
                let reply = json!({"status": "ok", "payload": payload, "user_expressions": expressions});
                self.replies.send(origin, "execute_reply", self.with_count(reply));
                Vec::new()
            }
            Err(failure) => {
                if !request.silent {
                    self.kernel.iopub.send(origin, "error", failure.content());
                }
                let behind = if request.stop_on_error { self.sent_behind(origin) } else { Vec::new() };
                let mut reply = failure.content();
                reply["status"] = json!("error");
                reply["user_expressions"] = json!({});
                self.replies.send(origin, "execute_reply", self.with_count(reply));
                behind
            }
        }
    }

    /// Runs the commands of a cell until one fails; returns the text for a pager.
    fn cell(&self, request: &request::Execute, origin: &Origin, page: &mut Page) -> Result<Vec<Value>, Failure> {
        let mut answers = Vec::new();
        let mut payload = Vec::new();
        for line in cell::lines(&request.code) {
            if self.kernel.is_interrupted() {
                return Err(Failure::interrupted(&line, None, self.lang()));
            }
            if let Some(topic) = cell::question(&line.text) {
                let answer = self.texts(&format!("help {topic}"));
                answers.push(answer.map_err(|error| Failure::new(&line, &error, self.lang()))?);
                continue;
            }
            match self.command(&line, request.allow_stdin, origin, page)? {
                Some(Output::Quit) => {
                    payload.push(json!({"source": "ask_exit", "keepkernel": false}));
                    break;
                }
                Some(Output::Panel) => self.panel(origin, page),
                Some(Output::Conversation) if request.allow_stdin => self.conversation(&line, origin, page)?,
                Some(Output::Conversation) => {
                    const TALK: Localized = localized(
                        "to chat, write `chat TEXT`, or a cell that begins with %%chat",
                        "要对话，请写 `chat TEXT`，或以 %%chat 开头的单元格",
                    );
                    page.aside(TALK.in_lang(self.lang()))
                }
                _ => {}
            }
        }
        if !answers.is_empty() {
            // JupyterLab opens no more than one.
            let text = answers.join("\n\n\n");
            payload.insert(0, json!({"source": "page", "data": {"text/plain": text}, "start": 0}));
        }
        Ok(payload)
    }

    /// Runs one command and shows what comes of it; what is not to be shown comes back.
    fn command(&self, line: &Line, may_ask: bool, origin: &Origin, page: &mut Page) -> Result<Option<Output>, Failure> {
        let messages = self.kernel.rust.carry_out(&line.text);
        let (mut last, mut job, mut has_trained, mut unsent) = (None, None, false, 0);
        loop {
            match messages.recv_timeout(POLL) {
                Ok(Message::Event(event)) => page.event(event),
                Ok(Message::Output(output)) => {
                    if let Output::Written { text, .. } = &output {
                        unsent += text.len();
                    }
                    has_trained |= matches!(output, Output::Trained(_));
                    last = page.output(output).or(last);
                    // A program that writes faster than clients read waits for them.
                    if unsent > MOST_UNSENT {
                        self.kernel.iopub.flush_unless(|| self.kernel.is_interrupted());
                        unsent = 0;
                    }
                }
                Ok(Message::Job(messages)) => job = Some(messages),
                Ok(Message::Call(call)) => page.call(call),
                Ok(Message::Ask(question)) => {
                    // A client that cannot be asked is at the end of its input.
                    let ask =
                        || self.stdin.ask(origin, &colourless(&question.prompt), question.is_secret, &self.kernel);
                    if let Some(answer) = may_ask.then(ask).flatten() {
                        let _ = question.answer.send(answer);
                    }
                }
                Ok(Message::Done(result)) => {
                    page.settle();
                    if has_trained {
                        self.kernel.background.settle();
                    }
                    // It begins when this command is done.
                    job.into_iter().for_each(|messages| self.follow(messages, page));
                    return match result {
                        Err(error) => Err(Failure::new(line, &error, self.lang())),
                        Ok(()) if self.kernel.is_interrupted() => {
                            Err(Failure::interrupted(line, page.take_last_text(), self.lang()))
                        }
                        Ok(()) => Ok(last),
                    };
                }
                Err(RecvTimeoutError::Timeout) => {
                    page.draw_progress();
                    // An interrupt that came just before the command began was forgotten by it.
                    if self.kernel.is_interrupted() {
                        self.kernel.host.cancel().cancel();
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return Err(Failure::lost(line, self.lang())),
            }
        }
    }

    /// Goes on drawing a training in the display of this cell, whatever cells come next.
    fn follow(&self, messages: Receiver<Message>, page: &Page) {
        let mut page = page.beside(self.kernel.background.begin_display());
        // What was told before is drawn while the cell runs: nbclient takes no display of a later time.
        if page.catch_up(&messages) {
            return;
        }
        // Without a thread the training goes on unseen; `watch` asks for another one.
        let _ = thread::Builder::new().name("display".to_string()).spawn(move || {
            let mut is_over = false;
            while !is_over {
                match messages.recv_timeout(POLL) {
                    Ok(message) => is_over = page.hear(message),
                    Err(RecvTimeoutError::Timeout) => page.draw_progress(),
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            }
        });
    }

    /// Opens a panel in the cell.
    fn panel(&self, origin: &Origin, page: &mut Page) {
        const INSTEAD: Localized = localized(
            "The panel is drawn by anywidget: `pip install anywidget` beside Jupyter, and reload the page. Without it, \
             `tunebook panel` opens it in a browser.",
            "面板由 anywidget 绘制：请在 Jupyter 所在的环境中 `pip install anywidget`，然后刷新页面。没有它也可以用 \
             `tunebook panel` 在浏览器中打开。",
        );
        match self.kernel.widgets.open_panel(&self.kernel, origin) {
            Ok(view) => page.widget(&view, INSTEAD.in_lang(self.lang())),
            Err(error) => page.complain(&error.to_string()),
        }
    }

    /// Asks for messages until the user ends it.
    fn conversation(&self, line: &Line, origin: &Origin, page: &mut Page) -> Result<(), Failure> {
        loop {
            let Some(text) = self.stdin.ask(origin, PROMPT.in_lang(self.lang()), false, &self.kernel) else {
                return Err(Failure::interrupted(line, None, self.lang()));
            };
            if ENDS.contains(&text.trim()) {
                return Ok(());
            }
            for line in cell::lines(&format!("%%chat\n{text}")) {
                self.command(&line, true, origin, page)?;
            }
        }
    }

    /// The outputs of a line as plain text.
    fn texts(&self, line: &str) -> Result<String, CommandError> {
        let mut texts = Vec::new();
        for message in self.kernel.host.line(line) {
            match message {
                Message::Output(output) => texts.push(bundle::text(&output, self.lang())),
                Message::Done(result) => result?,
                Message::Event(_) | Message::Job(_) | Message::Ask(_) | Message::Call(_) => {}
            }
        }
        Ok(texts.join("\n"))
    }

    /// An expression is a line whose outputs are its value.
    fn expressions(&self, request: &request::Execute) -> Value {
        let value = |line: &String| match self.texts(line) {
            Ok(text) => json!({"status": "ok", "data": {"text/plain": text}, "metadata": {}}),
            Err(error) => {
                let mut content = Failure::new(&Line { number: 1, text: line.clone() }, &error, self.lang()).content();
                content["status"] = json!("error");
                content
            }
        };
        let expressions = request.user_expressions.iter().flatten();
        Value::Object(expressions.map(|(name, line)| (name.clone(), value(line))).collect::<Map<_, _>>())
    }

    /// Takes the cells of the same client out of the line, with those that are just coming in.
    fn sent_behind(&mut self, origin: &Origin) -> Vec<Incoming> {
        let until = Instant::now() + BEHIND;
        while let Ok(message) = self.received.recv_deadline(until) {
            self.waiting.push_back(message);
        }
        let waiting = std::mem::take(&mut self.waiting).into_iter();
        let (behind, others): (Vec<_>, Vec<_>) = waiting.partition(|m| m.origin.session() == origin.session());
        self.waiting = others.into();
        behind
    }

    fn lang(&self) -> Lang {
        self.kernel.host.language().get()
    }

    fn with_count(&self, mut reply: Value) -> Value {
        reply["execution_count"] = json!(self.count);
        reply
    }
}
