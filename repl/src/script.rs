//! Commands from a pipe.

use std::io;
use std::io::BufRead;

use tunebook_commands::Error;
use tunebook_commands::Host;
use tunebook_commands::script;
use tunebook_rust_cells::RustCells;

use crate::screen::End;
use crate::screen::Screen;

/// What standard input is called in errors.
const FILE: &str = "stdin";

/// Carries out the lines of standard input as they come; ends at the first error.
///
/// # Errors
/// Standard input or output fails.
pub(crate) fn run(host: &Host, rust: &RustCells, screen: &Screen) -> io::Result<End> {
    let mut pending = String::new();
    let mut first = 1;
    let mut input = io::stdin().lock().split(b'\n');
    loop {
        let line = input.next().transpose()?;
        let is_last = line.is_none();
        let number = first + pending.lines().count();
        if let Some(line) = line {
            match script::text(line, FILE, number) {
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
                file: FILE.to_string(),
                line: first + line.number - 1,
                error: Box::new(error),
            };
            match screen.follow(rust.carry_out(&line.text))? {
                End::Done => {}
                End::Conversation => return Ok(End::Failed(located(Error::NobodyToTalk))),
                End::Failed(error) => return Ok(End::Failed(located(error))),
                End::Quit => return Ok(End::Quit),
            }
            if host.cancel().is_cancelled() {
                return Ok(End::Done);
            }
        }
        if is_last {
            return Ok(End::Done);
        }
        pending.clear();
        first = number + 1;
    }
}
