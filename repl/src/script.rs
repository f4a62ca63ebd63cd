//! Commands from a pipe or a file.

use std::io;
use std::io::BufRead;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tunebook_commands::Error;
use tunebook_commands::Host;
use tunebook_commands::script;
use tunebook_rust_cells::RustCells;

use crate::panel::Page;
use crate::screen::End;
use crate::screen::Screen;

/// Carries out a file or a pipe, which errors are said to be in.
pub(crate) struct Script<'a> {
    pub host: &'a Host,
    pub rust: &'a Arc<RustCells>,
    pub page: &'a Page,
    pub screen: &'a Screen,
}

impl Script<'_> {
    /// Carries out the lines of a pipe as they come; ends at the first error. What trains in the background at the end is
    /// waited for; a server goes on until it is stopped.
    ///
    /// # Errors
    /// The input cannot be read, standard output not be written.
    pub(crate) fn run(&self, file: &str, input: impl BufRead) -> io::Result<End> {
        let mut pending = String::new();
        let mut first = 1;
        for line in input.split(b'\n') {
            let number = first + pending.lines().count();
            match script::text(line?, file, number) {
                Ok(line) => pending.push_str(line.strip_suffix('\r').unwrap_or(&line)),
                Err(error) => return Ok(End::Failed(error)),
            }
            if !script::is_complete(&pending) {
                pending.push('\n');
                continue;
            }
            if let Some(end) = self.carry_out(file, &pending, first)? {
                return Ok(end);
            }
            pending.clear();
            first = number + 1;
        }
        self.finish(file, &pending, first)
    }

    /// The same for a text that is all there.
    ///
    /// # Errors
    /// Standard output cannot be written.
    pub(crate) fn run_whole(&self, file: &str, text: Vec<u8>) -> io::Result<End> {
        match script::text(text, file, 1) {
            Ok(text) => self.finish(file, &text, 1),
            Err(error) => Ok(End::Failed(error)),
        }
    }

    fn finish(&self, file: &str, text: &str, first: usize) -> io::Result<End> {
        if let Some(end) = self.carry_out(file, text, first)? {
            return Ok(end);
        }
        let ended = match self.host.jobs().has_news() {
            true => self.screen.follow(self.host.line("wait"))?,
            false => End::Done,
        };
        serve(self.host, self.page);
        Ok(ended)
    }

    /// Carries out the commands of a text that begins with line `first`; gives the end of the script if it has come.
    fn carry_out(&self, file: &str, text: &str, first: usize) -> io::Result<Option<End>> {
        for line in script::lines(text) {
            let located = |error: Error| Error::InScript {
                file: file.to_string(),
                line: first + error.place(&line).0.number - 1,
                error: Box::new(error),
            };
            match self.screen.follow(self.rust.carry_out(&line.text))? {
                End::Done => {}
                End::Panel => self.page.show(0, self.screen)?,
                End::Conversation => return Ok(Some(End::Failed(located(Error::NobodyToTalk)))),
                End::Failed(error) => return Ok(Some(End::Failed(located(error)))),
                End::Quit => return Ok(Some(End::Quit)),
            }
            if self.host.cancel().is_cancelled() {
                return Ok(Some(End::Done));
            }
        }
        Ok(None)
    }
}

/// Returns when nobody is answered any more over HTTP, or at Ctrl-C.
pub(crate) fn serve(host: &Host, page: &Page) {
    while (host.is_serving() || page.is_served()) && !host.cancel().is_cancelled() {
        thread::sleep(Duration::from_millis(100));
    }
}
