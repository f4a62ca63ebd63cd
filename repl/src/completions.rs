//! `tunebook completions`: the script by which a shell completes the command line.

use std::io;
use std::io::Write;

use clap_complete::Shell;

use crate::cli::Cli;

/// Writes the script of `shell` to the standard output.
///
/// # Errors
/// Nobody reads it to its end.
pub(crate) fn write(shell: Shell) -> io::Result<()> {
    io::stdout().write_all(&script(shell))
}

fn script(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut visible(&Cli::localized_command()), "tunebook", &mut script);
    script
}

/// The command line without what its help hides, which some of the generators do not, and with the names of the shells,
/// which its help lists in words.
fn visible(command: &clap::Command) -> clap::Command {
    let below = command.get_subcommands().filter(|command| !command.is_hide_set());
    let below = below.cloned().map(|command| command.mut_args(|arg| arg.hide_possible_values(false)));
    clap::Command::new("tunebook")
        .version(env!("CARGO_PKG_VERSION"))
        .disable_version_flag(true)
        .disable_help_flag(true)
        .disable_help_subcommand(true)
        .args(command.get_arguments())
        .subcommands(below)
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;

    #[test]
    fn every_shell_knows_every_subcommand() {
        let command = Cli::localized_command();
        for shell in Shell::value_variants() {
            let script = String::from_utf8(script(*shell)).unwrap();
            assert!(!script.contains("worker"), "{shell}");
            for name in
                command.get_subcommands().filter(|command| !command.is_hide_set()).map(|command| command.get_name())
            {
                assert!(script.contains(name), "{shell}: {name}");
            }
        }
    }
}
