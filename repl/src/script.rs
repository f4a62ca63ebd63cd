//! Commands from a pipe or a file.

use std::io;
use std::io::BufRead;
use std::thread;
use std::time::Duration;

use tunebook_commands::Error;
use tunebook_commands::Host;
use tunebook_commands::script;
use tunebook_rust_cells::RustCells;

use crate::panel::Page;
use crate::screen::End;
use crate::screen::Screen;

/// Carries out the lines of `input` as they come; ends at the first error, which is said to be in `file`. What trains in
/// the background at the end is waited for; a server goes on until it is stopped.
///
/// # Errors
/// The input cannot be read, standard output not be written.
pub(crate) fn run(
    input: impl BufRead,
    file: &str,
    host: &Host,
    rust: &RustCells,
    page: &Page,
    screen: &Screen,
) -> io::Result<End> {
    let mut pending = String::new();
    let mut first = 1;
    let mut input = input.split(b'\n');
    loop {
        let line = input.next().transpose()?;
        let is_last = line.is_none();
        let number = first + pending.lines().count();
        if let Some(line) = line {
            match script::text(line, file, number) {
                Ok(line) => pending.push_str(line.strip_suffix('\r').unwrap_or(&line)),
                Err(error) => return Ok(End::Failed(error)),
            }
            if !script::is_complete(&pending) {
                pending.push('\n');
                continue;
            }
        }
        for line in script::lines(&pending) {
            let located = |error| Error::InScript {
                file: file.to_string(),
                line: first + line.number - 1,
                error: Box::new(error),
            };
            match screen.follow(rust.carry_out(&line.text))? {
                End::Done => {}
                End::Panel => page.show(0, screen)?,
                End::Conversation => return Ok(End::Failed(located(Error::NobodyToTalk))),
                End::Failed(error) => return Ok(End::Failed(located(error))),
                End::Quit => return Ok(End::Quit),
            }
            if host.cancel().is_cancelled() {
                return Ok(End::Done);
            }
        }
        if is_last {
            let ended = match host.jobs().has_news() {
                true => screen.follow(host.line("wait"))?,
                false => End::Done,
            };
            serve(host, page);
            return Ok(ended);
        }
        pending.clear();
        first = number + 1;
    }
}

/// Returns when nobody is answered any more over HTTP, or at Ctrl-C.
pub(crate) fn serve(host: &Host, page: &Page) {
    while (host.is_serving() || page.is_served()) && !host.cancel().is_cancelled() {
        thread::sleep(Duration::from_millis(100));
    }
}
