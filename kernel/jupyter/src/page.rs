//! What a cell shows, from its first command to its last.

use serde_json::Value;
use serde_json::json;
use tunebook_commands::Event;
use tunebook_commands::Output;

use crate::display;
use crate::iopub::IoPub;
use crate::iopub::Stream;
use crate::progress::Progress;
use crate::wire::Origin;

/// The output area of a cell.
pub(crate) struct Page<'a> {
    iopub: &'a IoPub,
    origin: &'a Origin,
    count: usize,
    silent: bool,
    /// What the last command answered: if no other output follows, it is the value of the cell.
    pending: Option<Output>,
    progress: Progress,
    /// What was said last, as plain text.
    last_text: Option<String>,
}

impl<'a> Page<'a> {
    pub fn new(iopub: &'a IoPub, origin: &'a Origin, count: usize, silent: bool) -> Self {
        let progress = Progress::default();
        Self { iopub, origin, count, silent, pending: None, progress, last_text: None }
    }

    pub fn event(&mut self, event: Event) {
        match event {
            Event::Text(text) => self.stream(Stream::Stdout, &text),
            Event::Note(text) => self.note(&text),
            event => {
                self.progress.event(event);
                self.draw_progress();
            }
        }
    }

    /// Shows an output; one that is none comes back.
    pub fn output(&mut self, output: Output) -> Option<Output> {
        if !matches!(output, Output::Nothing | Output::Text(_)) {
            self.last_text = Some(display::line(&output)).filter(|text| !text.is_empty());
        }
        match output {
            // The progress display shows every step.
            Output::Nothing | Output::Step(_) | Output::Evaluation(_) => {}
            Output::Text(text) => self.stream(Stream::Stdout, &(text + "\n")),
            // The answer itself was streamed.
            Output::Answer(_) => {
                let said = self.last_text.clone().unwrap_or_default();
                self.stream(Stream::Stdout, &format!("\n{said}\n"));
            }
            Output::Clear => {
                self.pending = None;
                self.send("clear_output", json!({"wait": false}));
            }
            // Consoles do not draw displays anew; for them this is where the end is said.
            Output::Trained(report) => {
                self.progress.end(report.clone());
                self.draw_progress();
                self.show_pending();
                self.pending = Some(Output::Trained(report));
            }
            Output::Plot(_) => self.display(&output),
            Output::Quit => {
                self.note("the kernel goes on; Jupyter's menu shuts it down");
                return Some(output);
            }
            Output::Conversation => return Some(output),
            output => {
                self.show_pending();
                self.pending = Some(output);
            }
        }
        None
    }

    /// Says something that is no result.
    pub fn note(&mut self, text: &str) {
        self.stream(Stream::Stderr, &format!("{text}\n"));
    }

    /// Draws the progress of what runs, if it is time to.
    pub fn draw_progress(&mut self) {
        let Some((first, id, data)) = self.progress.draw() else { return };
        if first {
            self.show_pending();
        }
        let kind = if first { "display_data" } else { "update_display_data" };
        self.send(kind, json!({"data": data, "metadata": {}, "transient": {"display_id": id}}));
    }

    /// A command is over: what it draws next is drawn anew.
    pub fn settle(&mut self) {
        self.progress.settle();
        self.draw_progress();
        self.progress = Progress::default();
    }

    /// What a command that was stopped said of it. The cell fails with that, and has no value.
    pub fn take_last_text(&mut self) -> Option<String> {
        self.pending = None;
        self.last_text.take()
    }

    /// Shows the value of the cell, and returns it as plain text.
    pub fn finish(&mut self) -> String {
        let Some(output) = self.pending.take() else { return String::new() };
        let data = display::bundle(&output);
        let text = display::text(&output);
        let content = json!({"execution_count": self.count, "data": data, "metadata": {}, "transient": {}});
        self.send("execute_result", content);
        text
    }

    fn show_pending(&mut self) {
        if let Some(output) = self.pending.take() {
            self.display(&output);
        }
    }

    fn display(&mut self, output: &Output) {
        self.show_pending();
        self.send("display_data", json!({"data": display::bundle(output), "metadata": {}, "transient": {}}));
    }

    fn stream(&mut self, stream: Stream, text: &str) {
        self.show_pending();
        if !self.silent && !text.is_empty() {
            self.iopub.stream(self.origin, stream, text);
        }
    }

    fn send(&self, kind: &'static str, content: Value) {
        if !self.silent {
            self.iopub.send(self.origin, kind, content);
        }
    }
}
