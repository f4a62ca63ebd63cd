//! `tunebook man`: the manual page, of the command line and of the commands at the prompt.
//!
//! `clap_mangen` writes what a page begins with. Of subcommands it makes a page each; here they are sections of one, which
//! is all that one redirects into a file.

use std::io;
use std::io::Write;

use clap_mangen::Man;
use clap_mangen::roff::Inline;
use clap_mangen::roff::Roff;
use clap_mangen::roff::bold;
use clap_mangen::roff::italic;
use clap_mangen::roff::roman;
use tunebook_commands::lang::localized;
use tunebook_commands::verbs;

use crate::cli::Cli;
use crate::cli::here;

/// Writes the page to the standard output.
///
/// # Errors
/// Nobody reads it to its end.
pub(crate) fn write() -> io::Result<()> {
    io::stdout().write_all(&page()?)
}

/// In roff, for section 1.
fn page() -> io::Result<Vec<u8>> {
    let mut page = Vec::new();
    let mut command = Cli::localized_command();
    command.build();
    let man = Man::new(command.clone());
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    let mut rest = Roff::new();
    rest.control("SH", [here(localized("COMMAND LINE", "命令行"))]);
    command.get_subcommands().for_each(|command| of_command(command, "tunebook", &mut rest));
    rest.control("SH", [here(localized("COMMANDS AT THE PROMPT", "提示符中的命令"))]);
    for verb in verbs() {
        entry(&mut rest, [bold(verb.usage)], here(verb.help));
    }
    rest.text([roman(here(localized(
        "At the prompt, `help COMMAND` explains one, and `help settings` lists the settings.",
        "在提示符中，`help 命令` 说明一条命令，`help settings` 列出设置。",
    )))]);
    rest.to_writer(&mut page)?;
    Ok(page)
}

/// A subcommand with its arguments, or those below it.
fn of_command(command: &clap::Command, above: &str, page: &mut Roff) {
    let name = format!("{above} {}", command.get_name());
    let mut below = command.get_subcommands().peekable();
    if command.is_hide_set() || below.peek().is_some() {
        return below.for_each(|command| of_command(command, &name, page));
    }
    // What says how to get help is the same for all.
    let is_own = |arg: &&clap::Arg| !matches!(arg.get_id().as_str(), "help" | "version") && !arg.is_hide_set();
    let args: Vec<_> = command.get_arguments().filter(is_own).collect();
    let header = args.iter().flat_map(|arg| match arg.is_positional() || arg.is_required_set() {
        true => [roman(" "), italic(arg.to_string())],
        false => [roman(" "), italic(format!("[{arg}]"))],
    });
    let header: Vec<_> = [bold(name)].into_iter().chain(header).collect();
    entry(page, header, &command.get_about().map(ToString::to_string).unwrap_or_default());
    page.control("RS", []);
    for arg in args.iter().filter(|arg| arg.get_help().is_some()) {
        entry(page, [italic(arg.to_string())], &arg.get_help().map(ToString::to_string).unwrap_or_default());
    }
    page.control("RE", []);
}

/// What is explained, and below it the explanation.
fn entry(page: &mut Roff, header: impl Into<Vec<Inline>>, text: &str) {
    page.control("TP", []);
    page.text(header);
    page.text([roman(text)]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_every_command() {
        let page = String::from_utf8(page().unwrap()).unwrap();
        for command in Cli::localized_command().get_subcommands().filter(|command| !command.is_hide_set()) {
            assert!(page.contains(&format!("tunebook {}", command.get_name())), "{}", command.get_name());
        }
        for verb in verbs() {
            assert!(page.contains(&format!("\\fB{}", verb.name)), "{}", verb.name);
        }
        assert!(!page.contains("tunebook worker"), "it is no user's");
    }
}
