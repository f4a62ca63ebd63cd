//! The display of a cell, from its first command to its last.

use std::time::Duration;
use std::time::Instant;

use crossbeam_channel::Receiver;
use serde_json::Value;
use serde_json::json;
use tunebook_commands::CellCall;
use tunebook_commands::Error;
use tunebook_commands::Event;
use tunebook_commands::Lang;
use tunebook_commands::Language;
use tunebook_commands::Localize;
use tunebook_commands::Message;
use tunebook_commands::Output;
use tunebook_commands::colourless;
use tunebook_commands::estimate;
use tunebook_commands::lang::Localized;
use tunebook_commands::lang::localized;
use tunebook_commands::localized;
use tunebook_commands::printable;
use tunebook_commands::written;
use tunebook_engine::report::EvaluateReport;
use tunebook_view::View;
use tunebook_view::bundle;
use uuid::Uuid;

use crate::background::Display;
use crate::iopub::IoPub;
use crate::iopub::Stream;
use crate::progress::ProgressDisplay;
use crate::wire::Origin;

/// How long a cell waits for the beginning of the training that it has begun in the background.
const BEGINNING: Duration = Duration::from_millis(500);

/// The evaluations that an output tells of.
fn evaluations(output: &Output) -> Option<Vec<EvaluateReport>> {
    match output {
        Output::Evaluated(report) => Some(vec![report.clone()]),
        Output::Evaluations(reports) => Some(reports.clone()),
        _ => None,
    }
}

/// The output area of a cell.
pub(crate) struct Page {
    iopub: IoPub,
    origin: Origin,
    count: usize,
    silent: bool,
    language: Language,
    /// The output of the last command: if no other follows, it is the value of the cell.
    pending: Option<Output>,
    /// Evaluations that are shown already, below which nothing is but progress, and the id of their display.
    evaluations: Option<(String, Vec<EvaluateReport>)>,
    progress: ProgressDisplay,
    /// What was said last, as plain text.
    last_text: Option<String>,
    /// It goes on when its cell has ended.
    background: Option<Display>,
}

impl Page {
    pub(crate) fn new(iopub: IoPub, origin: Origin, count: usize, silent: bool, language: Language) -> Self {
        let progress = ProgressDisplay::new(language.clone());
        Self {
            iopub,
            origin,
            count,
            silent,
            language,
            pending: None,
            evaluations: None,
            progress,
            last_text: None,
            background: None,
        }
    }

    /// A second one in the same output area, which goes on when this one is finished.
    pub(crate) fn beside(&self, display: Display) -> Self {
        let (iopub, origin, language) = (self.iopub.clone(), self.origin.clone(), self.language.clone());
        Self { background: Some(display), ..Self::new(iopub, origin, self.count, self.silent, language) }
    }

    /// Draws what a training has told so far, once, or its beginning; whether it is over.
    pub(crate) fn catch_up(&mut self, messages: &Receiver<Message>) -> bool {
        let until = Instant::now() + BEGINNING;
        let mut is_over = false;
        while !is_over {
            let is_begun = self.progress.is_training();
            let next = if is_begun { messages.try_recv().ok() } else { messages.recv_deadline(until).ok() };
            let Some(message) = next else { break };
            match message {
                Message::Event(event) => self.progress.event(&event),
                message => is_over |= self.hear(message),
            }
        }
        self.draw_progress();
        is_over
    }

    /// Shows what a training tells; whether it is over.
    pub(crate) fn hear(&mut self, message: Message) -> bool {
        match message {
            Message::Event(event) => self.event(event),
            Message::Output(output) => drop(self.output(output)),
            Message::Done(result) => {
                self.end(result.err());
                return true;
            }
            Message::Job(_) | Message::Ask(_) | Message::Call(_) => {}
        }
        false
    }

    /// The cell has had its value, so what is left is a display.
    fn end(&mut self, error: Option<Error>) {
        self.settle();
        self.show_pending();
        if let Some(error) = error {
            let error = error.localize_in_session(self.lang());
            self.complain(&localized!(self.lang(), "the training has ended: {error}", "训练已结束：{error}"));
        }
    }

    /// Displays a widget; `instead` is for frontends that cannot draw it.
    pub(crate) fn widget(&mut self, view: &Value, instead: &str) {
        self.show_pending();
        let data = json!({"text/plain": instead, "application/vnd.jupyter.widget-view+json": view});
        self.show("display_data", &data, None);
    }

    pub(crate) fn event(&mut self, event: Event) {
        match event {
            Event::Text(text) if !self.progress.is_comparing() => self.stream(Stream::Stdout, &colourless(&text)),
            Event::Note(note) => self.aside(&note.localize(self.lang())),
            Event::Estimate { steps, time } => self.aside(&estimate(steps, time, self.lang())),
            Event::Advice(advice) => self.aside(&advice.localize(self.lang())),
            event => {
                self.progress.event(&event);
                self.draw_progress();
            }
        }
    }

    /// Shows an output; returns it if it is not for the page.
    pub(crate) fn output(&mut self, output: Output) -> Option<Output> {
        let is_told = matches!(output, Output::Text(_) | Output::Written { .. } | Output::Aside(_) | Output::Stderr(_));
        if !is_told && !matches!(output, Output::Nothing) {
            self.last_text = Some(bundle::line(&output, self.lang())).filter(|text| !text.is_empty());
        }
        let output = self.joined(output);
        match View::of(&output, self.lang()) {
            // The progress display shows every step.
            View::Nothing | View::Log => {}
            View::Stdout(text) => self.stream(Stream::Stdout, &printable(&format!("{text}\n"))),
            View::Stderr(line) => self.complain(line),
            View::Written { text, is_error } => {
                let stream = if is_error { Stream::Stderr } else { Stream::Stdout };
                self.stream(stream, &written(text));
            }
            View::Aside(text) => self.aside(text),
            // The answer itself was streamed.
            View::Answer(pictures) => {
                let said = self.last_text.clone().unwrap_or_default();
                self.stream(Stream::Stdout, "\n");
                self.aside(&said);
                if !pictures.is_empty() {
                    self.display(&output);
                }
            }
            View::Clear => {
                self.pending = None;
                self.send("clear_output", json!({"wait": false}));
            }
            // Consoles do not draw displays anew; for them this is where the end is said.
            View::Trained(report) => {
                self.progress.end(report.clone());
                self.settle();
                self.show_pending();
                self.pending = Some(output);
            }
            View::Series(_) | View::Overlay(_) | View::Picture(_) => self.display(&output),
            View::Quit => {
                const GOES_ON: Localized = localized(
                    "the kernel keeps running; Jupyter's menu shuts it down",
                    "内核继续运行；可用 Jupyter 的菜单关闭",
                );
                self.aside(GOES_ON.in_lang(self.lang()));
                return Some(output);
            }
            View::Conversation | View::Panel => return Some(output),
            // Its text was streamed, too.
            View::DetailedAnswer(_) => {
                self.stream(Stream::Stdout, "\n");
                self.pending = Some(output);
            }
            View::Comparison(_) => {
                self.settle();
                self.show_pending();
                self.pending = Some(output);
            }
            View::Sweep(_) | View::RangeTest(_) => {
                self.progress.report_sweep();
                self.settle();
                self.show_pending();
                self.pending = Some(output);
            }
            View::Report
            | View::Prediction(_)
            | View::Table(_)
            | View::Data(..)
            | View::Predictions(..)
            | View::Sample(_)
            | View::Worst(_)
            | View::Probes(_)
            | View::Media(_) => {
                self.show_pending();
                self.pending = Some(output);
            }
        }
        None
    }

    fn lang(&self) -> Lang {
        self.language.get()
    }

    /// Evaluations that follow one another are one table: those before this one are taken back, and go with it.
    fn joined(&mut self, output: Output) -> Output {
        let Output::Evaluated(report) = output else { return output };
        let before = match (self.pending.as_ref().and_then(evaluations), self.evaluations.take()) {
            (Some(before), _) => {
                self.pending = None;
                before
            }
            (None, Some((id, before))) => {
                let data = json!({"text/plain": "", "text/html": ""});
                self.show("update_display_data", &data, Some(&id));
                before
            }
            (None, None) => Vec::new(),
        };
        match before.is_empty() {
            true => Output::Evaluated(report),
            false => Output::Evaluations(before.into_iter().chain([report]).collect()),
        }
    }

    /// What a Rust cell does with the session.
    pub(crate) fn call(&mut self, call: CellCall) {
        match call {
            CellCall::Ended(trained) if self.progress.is_training() => {
                self.progress.pause(trained);
                self.draw_progress();
            }
            CellCall::TrainsAnew | CellCall::Ended(_) => self.settle(),
        }
    }

    /// Shows what the user should know that is no result. It is a display: frontends draw standard error as a fault, and
    /// break what they draw of a stream in the middle of words.
    pub(crate) fn aside(&mut self, text: &str) {
        self.display(&Output::Aside(text.to_string()));
    }

    /// Shows what went wrong beside the cell.
    pub(crate) fn complain(&mut self, text: &str) {
        self.stream(Stream::Stderr, &printable(&format!("{text}\n")));
    }

    /// Draws the progress of what runs, if it is time to.
    pub(crate) fn draw_progress(&mut self) {
        let Some((first, id, data)) = self.progress.draw() else { return };
        if first {
            self.show_above();
        }
        let kind = if first { "display_data" } else { "update_display_data" };
        self.show(kind, &data, Some(&id));
    }

    /// Ends a command: later progress is drawn in a new display.
    pub(crate) fn settle(&mut self) {
        self.progress.settle();
        self.draw_progress();
        self.progress = ProgressDisplay::new(self.language.clone());
    }

    /// The message of a stopped command. The cell fails with it and has no value.
    pub(crate) fn take_last_text(&mut self) -> Option<String> {
        self.pending = None;
        self.last_text.take()
    }

    /// Shows the value of the cell, and returns it as plain text.
    pub(crate) fn finish(&mut self) -> String {
        let Some(output) = self.pending.take() else { return String::new() };
        let data = bundle::bundle(&output, self.lang());
        let text = bundle::text(&output, self.lang());
        let content = json!({"execution_count": self.count, "data": data, "metadata": {}, "transient": {}});
        self.send("execute_result", content);
        text
    }

    /// Shows what is pending above what goes on; evaluations so that another one can take them back.
    fn show_above(&mut self) {
        match self.pending.as_ref().and_then(evaluations) {
            Some(reports) => {
                self.pending = None;
                let id = Uuid::new_v4().to_string();
                let data = bundle::bundle(&Output::Evaluations(reports.clone()), self.lang());
                self.show("display_data", &data, Some(&id));
                self.evaluations = Some((id, reports));
            }
            None if self.pending.is_some() => self.show_pending(),
            None => {}
        }
    }

    fn show_pending(&mut self) {
        self.evaluations = None;
        if let Some(output) = self.pending.take() {
            self.display(&output);
        }
    }

    fn display(&mut self, output: &Output) {
        self.show_pending();
        self.show("display_data", &bundle::bundle(output, self.lang()), None);
    }

    /// Displays contents by media type, or those of the display of that id anew.
    fn show(&self, kind: &'static str, data: &Value, id: Option<&str>) {
        let transient = id.map_or_else(|| json!({}), |id| json!({"display_id": id}));
        self.send(kind, json!({"data": data, "metadata": {}, "transient": transient}));
    }

    fn stream(&mut self, stream: Stream, text: &str) {
        self.show_pending();
        if !self.silent && !text.is_empty() {
            self.iopub.stream(&self.origin, stream, text);
        }
    }

    fn send(&self, kind: &'static str, content: Value) {
        if !self.silent {
            let origin = match &self.background {
                Some(display) if kind == "update_display_data" => &display.origin(&self.origin),
                _ => &self.origin,
            };
            self.iopub.send(origin, kind, content);
        }
    }
}
