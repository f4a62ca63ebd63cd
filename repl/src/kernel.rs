//! `tunebook kernel`: the Jupyter face.

use std::io;
use std::path::PathBuf;

use clap::Args;
use clap::Subcommand;
use tunebook_commands::lang::Lang;
use tunebook_commands::lang::Text;
use tunebook_commands::lang::both;
use tunebook_commands::say;
use tunebook_jupyter::kernelspec;
use tunebook_jupyter::kernelspec::Place;

use crate::interactive::history_file;

#[derive(Subcommand)]
pub enum Command {
    /// Make the kernel known to Jupyter, for this user unless another place is given
    Install(Where),
    /// Take it away again
    Uninstall(Where),
    /// Serve a notebook; Jupyter calls this
    Start {
        #[arg(long, value_name = "FILE")]
        connection_file: PathBuf,
    },
    /// Say where the kernel is installed, and what it runs
    List,
}

#[derive(Args)]
#[group(multiple = false)]
pub struct Where {
    /// For this user
    #[arg(long)]
    user: bool,
    /// In FOLDER/share/jupyter
    #[arg(long, value_name = "FOLDER")]
    prefix: Option<PathBuf>,
    /// In the environment of the python3 that is found first, as in a virtual environment
    #[arg(long)]
    sys_prefix: bool,
}

impl Where {
    fn place(self) -> Place {
        match self.prefix {
            Some(prefix) => Place::Prefix(prefix),
            None if self.sys_prefix => Place::SysPrefix,
            None => Place::User,
        }
    }
}

/// # Errors
/// The kernel cannot serve, or cannot be installed there.
pub fn run(command: Command, lang: Lang) -> io::Result<()> {
    match command {
        Command::Install(place) => {
            let folder = kernelspec::install(&place.place(), &std::env::current_exe()?).map_err(io::Error::other)?;
            let (folder, name) = (folder.display(), kernelspec::NAME);
            let text = say!(
                lang,
                "installed in {folder}; Jupyter offers it as `{name}`",
                "已安装到 {folder}；Jupyter 中名为 `{name}`"
            );
            println!("{text}");
        }
        Command::Uninstall(place) => {
            let folder = kernelspec::uninstall(&place.place()).map_err(io::Error::other)?;
            let folder = folder.display();
            println!("{}", say!(lang, "removed from {folder}", "已从 {folder} 移除"));
        }
        Command::Start { connection_file } => {
            tunebook_jupyter::serve(&connection_file, history_file().as_deref()).map_err(io::Error::other)?;
        }
        Command::List => match kernelspec::list() {
            found if found.is_empty() => {
                const NOWHERE: Text = both(
                    "not installed; `tunebook kernel install` does that",
                    "没有安装；`tunebook kernel install` 可以安装",
                );
                println!("{}", NOWHERE.in_lang(lang));
            }
            found => found.iter().for_each(|(folder, runs)| {
                let folder = folder.display();
                println!("{}", say!(lang, "{folder}  runs {runs}", "{folder}  运行 {runs}"));
            }),
        },
    }
    Ok(())
}
