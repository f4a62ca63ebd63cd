//! Commands typed at a prompt.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use rustyline::ColorMode;
use rustyline::CompletionType;
use rustyline::Config;
use rustyline::Editor;
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use tunebook_commands::Host;
use tunebook_commands::complete;
use tunebook_commands::complete::Candidate;
use tunebook_commands::lang::Localized;
use tunebook_commands::lang::localized;
use tunebook_commands::localized;
use tunebook_commands::script;
use tunebook_commands::text;
use tunebook_commands::version;
use tunebook_engine::recovery;
use tunebook_rust_cells::Completion;
use tunebook_rust_cells::RustCells;

use crate::helper::Complete;
use crate::helper::Helper;
use crate::panel::Page;
use crate::screen::End;
use crate::screen::Screen;

const HISTORY: usize = 10_000;

/// Reads lines with history and completion.
pub(crate) type Prompt = Editor<Helper, FileHistory>;

/// Reads and carries out lines until the user leaves.
///
/// # Errors
/// The terminal cannot be read or written.
pub(crate) fn run(host: &Arc<Host>, rust: &Arc<RustCells>, page: &Page, screen: &Screen) -> io::Result<End> {
    let (completing, of_rust) = (Arc::clone(host), Arc::clone(rust));
    let complete = move |line: &str, cursor| match of_rust.complete(line, cursor) {
        Some(found) => {
            let candidate = |found: Completion| Candidate { text: found.text, description: found.description };
            (found.start, found.candidates.into_iter().map(candidate).collect())
        }
        None => complete::complete(line, cursor, &completing.snapshot()),
    };
    let mut prompt = editor(Box::new(complete), screen).map_err(io::Error::other)?;
    let history = history_file();
    if let Some(file) = &history {
        // There is none the first time.
        let _ = prompt.load_history(file);
    }
    screen.background().print_through(prompt.create_external_printer().map_err(io::Error::other)?);
    let version = version();
    screen.aside(&localized!(
        screen.lang(),
        "{version}; `help` lists the commands, Ctrl-D leaves",
        "{version}；`help` 列出所有命令，Ctrl-D 退出"
    ))?;
    if let Some(checkpoint) = recovery::checkpoints().first() {
        screen.aside(&text::recovered(checkpoint, screen.lang()))?;
    }
    let mut is_leaving = false;
    loop {
        let text = read_beside(&mut prompt, "tunebook> ", history.as_ref(), screen)?;
        let Some(text) = text else {
            if may_leave(host, screen, &mut is_leaving)? {
                return Ok(End::Quit);
            }
            continue;
        };
        for line in script::lines(&text) {
            match screen.follow(rust.carry_out(&line.text))? {
                End::Done => is_leaving = false,
                End::Panel => page.show(0, screen)?,
                End::Conversation => converse(host, screen, &mut prompt, history.as_ref())?,
                End::Quit if may_leave(host, screen, &mut is_leaving)? => return Ok(End::Quit),
                End::Quit => {}
                End::Failed(error) => {
                    screen.error(&error)?;
                    break;
                }
            }
            // Of several pasted lines, those behind the one that was stopped are not meant any more.
            if host.cancel().is_cancelled() {
                break;
            }
        }
    }
}

/// Whether the user may leave now. While a training runs, asking twice in a row stops it.
fn may_leave(host: &Host, screen: &Screen, is_leaving: &mut bool) -> io::Result<bool> {
    const RUNS: Localized = localized(
        "a training is running; `wait` waits for its end, and leaving once more stops it",
        "正在训练；`wait` 等训练结束，再次退出会停止训练",
    );
    if !host.jobs().is_running() || std::mem::replace(is_leaving, true) {
        return Ok(true);
    }
    screen.aside(RUNS.in_lang(screen.lang()))?;
    Ok(false)
}

/// The next entry, with the training in the background above it.
fn read_beside(
    prompt: &mut Prompt,
    mark: &str,
    history: Option<&PathBuf>,
    screen: &Screen,
) -> io::Result<Option<String>> {
    if let Some(line) = screen.background().begin_prompt() {
        screen.line(&line)?;
    }
    let entry = read(prompt, mark, history);
    screen.background().end_prompt();
    entry
}

/// A conversation: every line is a message, or what else may follow `chat`.
fn converse(host: &Host, screen: &Screen, prompt: &mut Prompt, history: Option<&PathBuf>) -> io::Result<()> {
    const HELP: Localized = localized(
        "each line is a message; `image=FILE` before it adds an image, /clear clears the conversation, /exit or Ctrl-D \
         leaves",
        "每行一条消息；前面写 `image=FILE` 可带图片，/clear 清空对话，/exit 或 Ctrl-D 退出",
    );
    screen.aside(HELP.in_lang(screen.lang()))?;
    if let Some(helper) = prompt.helper_mut() {
        helper.prefix = "chat ";
    }
    while let Some(text) = read_beside(prompt, localized("you> ", "你> ").in_lang(screen.lang()), history, screen)? {
        let line = match text.trim() {
            "" => continue,
            "/exit" | "/quit" => break,
            "/clear" => "clear",
            line => line,
        };
        if let End::Failed(error) = screen.follow(host.line(&format!("chat {line}")))? {
            screen.error(&error)?;
        }
    }
    if let Some(helper) = prompt.helper_mut() {
        helper.prefix = "";
    }
    Ok(())
}

/// The next entry; `None` when the user leaves. Ctrl-C gives the line up.
///
/// # Errors
/// The terminal cannot be read.
pub(crate) fn read(prompt: &mut Prompt, mark: &str, history: Option<&PathBuf>) -> io::Result<Option<String>> {
    loop {
        match prompt.readline(mark) {
            Ok(text) => {
                if let Some(file) = history {
                    // Sessions side by side share the file. One that cannot be written costs only the history.
                    let _ = prompt.append_history(file);
                }
                return Ok(Some(text));
            }
            Err(ReadlineError::Interrupted) => {}
            Err(ReadlineError::Eof) => return Ok(None),
            Err(error) => return Err(io::Error::other(error)),
        }
    }
}

/// A prompt in our manner.
///
/// # Errors
/// There is no terminal.
pub(crate) fn editor(complete: Complete, screen: &Screen) -> rustyline::Result<Prompt> {
    let config = Config::builder()
        .max_history_size(HISTORY)?
        .history_ignore_dups(true)?
        .history_ignore_space(true)
        .auto_add_history(true)
        .completion_type(CompletionType::List)
        .completion_show_all_if_ambiguous(true)
        .color_mode(if screen.color() { ColorMode::Enabled } else { ColorMode::Disabled })
        .build();
    let mut prompt = Editor::with_config(config)?;
    prompt.set_helper(Some(Helper::new(complete, screen.color())));
    Ok(prompt)
}

/// What was typed, here and in notebooks.
pub(crate) fn history_file() -> Option<PathBuf> {
    let folder = dirs::data_dir()?.join("tunebook");
    std::fs::create_dir_all(&folder).ok()?;
    Some(folder.join("history.txt"))
}
