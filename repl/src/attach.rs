//! `tunebook attach`: a prompt on a kernel that a notebook uses too.

use std::io;
use std::io::BufRead;
use std::io::IsTerminal;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use console::truncate_str;
use rustyline::ExternalPrinter;
use tunebook_commands::cell;
use tunebook_commands::complete::Candidate;
use tunebook_commands::lang::Lang;
use tunebook_commands::lang::localized;
use tunebook_commands::localized;
use tunebook_commands::printable;
use tunebook_jupyter::client::Client;
use tunebook_jupyter::client::End;
use tunebook_jupyter::client::Shown;

use crate::interactive;
use crate::interactive::history_file;
use crate::screen::Screen;

/// Reads cells, from the terminal or a pipe, and runs them in the kernel. A pipe ends at the first error with status 1.
///
/// # Errors
/// There is no kernel, or it is gone.
pub(crate) fn run(connection: Option<&Path>, screen: &Screen) -> io::Result<ExitCode> {
    let connection = connection.filter(|path| *path != Path::new("latest"));
    if !io::stdin().is_terminal() {
        let client = Client::attach(connection, |_| {}).map_err(io::Error::other)?;
        return pipe(&client, screen);
    }
    let others = Others::default();
    let client = Arc::new(Client::attach(connection, others.overhear(screen.lang())).map_err(io::Error::other)?);
    ctrlc::set_handler(client.interrupter()).map_err(io::Error::other)?;
    let completing = Arc::clone(&client);
    let complete = move |line: &str, cursor| {
        let (start, texts) = completing.complete(line, cursor);
        let candidate = |text| Candidate { text, description: String::new() };
        (start, texts.into_iter().map(candidate).collect())
    };
    let mut prompt = interactive::editor(Box::new(complete), screen).map_err(io::Error::other)?;
    let history = history_file();
    if let Some(file) = &history {
        // There is none the first time.
        let _ = prompt.load_history(file);
    }
    others.print_through(prompt.create_external_printer().map_err(io::Error::other)?);
    screen.aside(
        localized("attached; Ctrl-D leaves, and the kernel keeps running", "已连接；Ctrl-D 退出，内核继续运行")
            .in_lang(screen.lang()),
    )?;
    while let Some(code) = interactive::read(&mut prompt, "attached> ", history.as_ref())? {
        if cell::lines(&code).is_empty() {
            continue;
        }
        let mut drawing = Drawing::new(screen);
        let mut ask = |question: &str| {
            // Leaving the question leaves the conversation.
            interactive::read(&mut prompt, question, None).ok().flatten().unwrap_or_default()
        };
        let end = client.execute(&code, &mut |shown| drawing.draw(shown), &mut ask).map_err(io::Error::other)?;
        drawing.end()?;
        if end == End::Leave {
            break;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn pipe(client: &Client, screen: &Screen) -> io::Result<ExitCode> {
    ctrlc::set_handler(client.interrupter()).map_err(io::Error::other)?;
    let text = io::stdin().lock().lines().collect::<io::Result<Vec<_>>>()?.join("\n");
    let mut drawing = Drawing::new(screen);
    let end = client.execute(&text, &mut |shown| drawing.draw(shown), &mut |_| String::new());
    drawing.end()?;
    Ok(if end.map_err(io::Error::other)? == End::Failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// What a cell shows, as it comes.
struct Drawing<'a> {
    screen: &'a Screen,
    /// The state of a display that may still change.
    display: Option<String>,
    result: io::Result<()>,
}

impl<'a> Drawing<'a> {
    fn new(screen: &'a Screen) -> Self {
        Self { screen, display: None, result: Ok(()) }
    }

    fn draw(&mut self, shown: Shown) {
        let result = self.try_draw(shown);
        if self.result.is_ok() {
            self.result = result;
        }
    }

    /// # Errors
    /// Something could not be drawn.
    fn end(mut self) -> io::Result<()> {
        self.leave_display()?;
        self.result
    }

    fn try_draw(&mut self, shown: Shown) -> io::Result<()> {
        if let Shown::Display(text) = shown {
            if self.screen.is_live() {
                let line = truncate_str(&text, self.screen.page().width.saturating_sub(1), "");
                write!(io::stdout(), "\r\x1b[K{}", printable(&line))?;
                io::stdout().flush()?;
            }
            self.display = Some(text);
            return Ok(());
        }
        self.leave_display()?;
        match shown {
            Shown::Text(text) => write!(io::stdout(), "{}", printable(&text))?,
            Shown::Output(text) => self.screen.line(&text)?,
            Shown::Error(lines) => lines.iter().try_for_each(|line| match self.screen.color() {
                true => writeln!(io::stderr(), "{}", printable(line)),
                false => writeln!(io::stderr(), "{}", printable(&console::strip_ansi_codes(line))),
            })?,
            Shown::Clear => self.screen.clear()?,
            Shown::Input(_) | Shown::Display(_) => {}
        }
        io::stdout().flush()
    }

    /// Writes the last state of a display whole.
    fn leave_display(&mut self) -> io::Result<()> {
        let Some(text) = self.display.take() else { return Ok(()) };
        if self.screen.is_live() {
            write!(io::stdout(), "\r\x1b[K")?;
        }
        self.screen.line(&text)
    }
}

/// What other clients run, printed above the line that is being typed.
#[derive(Clone, Default)]
struct Others(Arc<std::sync::Mutex<Option<Box<dyn ExternalPrinter + Send>>>>);

impl Others {
    fn print_through(&self, printer: impl ExternalPrinter + Send + 'static) {
        *self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(Box::new(printer));
    }

    fn overhear(&self, lang: Lang) -> impl FnMut(Shown) + Send + 'static {
        let printer = Arc::clone(&self.0);
        let mut display = None;
        move |shown| {
            // Only the last state of a display is worth a line.
            let text = match shown {
                Shown::Display(text) => {
                    display = Some(text);
                    return;
                }
                Shown::Input(code) => localized!(lang, "[another client] {code}\n", "[另一个客户端] {code}\n"),
                Shown::Text(text) => text,
                Shown::Output(text) => text + "\n",
                Shown::Error(lines) => lines.join("\n") + "\n",
                Shown::Clear => return,
            };
            let text = display.take().map(|display| display + "\n").unwrap_or_default() + &text;
            if let Some(printer) = &mut *printer.lock().unwrap_or_else(std::sync::PoisonError::into_inner) {
                // A terminal that is gone ends the prompt by itself.
                let _ = printer.print(text);
            }
        }
    }
}
