//! Commands from a pipe.

use std::io;
use std::io::BufRead;

use tunebook_commands::Error;
use tunebook_commands::Host;
use tunebook_commands::script;
use tunebook_rust_cells::RustCells;

use crate::screen::End;
use crate::screen::Screen;

/// Carries out the lines of standard input as they come; ends at the first error.
///
/// # Errors
/// Standard input or output fails.
pub fn run(host: &Host, rust: &RustCells, screen: &Screen) -> io::Result<End> {
    let mut pending = String::new();
    let mut first = 1;
    let mut input = io::stdin().lock().lines();
    loop {
        let line = input.next().transpose()?;
        let is_last = line.is_none();
        let number = first + pending.lines().count();
        if let Some(line) = line {
            pending.push_str(&line);
            if !script::is_complete(&pending) {
                pending.push('\n');
                continue;
            }
        }
        for line in script::lines(&pending) {
            let located = |error| Error::InScript {
                file: "stdin".to_string(),
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
