//! `tunebook kernel`: the Jupyter face.

use std::io;
use std::path::PathBuf;

use clap::Args;
use clap::Subcommand;
use tunebook_commands::lang::Lang;
use tunebook_commands::lang::Localized;
use tunebook_commands::lang::localized;
use tunebook_commands::localized;
use tunebook_jupyter::kernelspec;
use tunebook_jupyter::kernelspec::Installed;
use tunebook_jupyter::kernelspec::Kernel;
use tunebook_jupyter::kernelspec::Place;

use crate::cli::here;
use crate::interactive::history_file;

#[derive(Subcommand)]
pub(crate) enum Command {
    #[command(about = here(localized("Install the kernel for Jupyter, by default for this user", "把内核安装到 Jupyter，默\
                                                                                             认只为当前用户")))]
    Install {
        #[command(flatten)]
        place: Where,
        #[command(flatten)]
        name: Name,
        #[arg(long, value_name = "TEXT", help = here(localized(
            "What Jupyter calls it where one chooses a kernel; by default the name",
            "在 Jupyter 选择内核处显示的名称；默认与 --name 相同",
        )))]
        display_name: Option<String>,
        #[arg(long, value_name = "KEY=VALUE", num_args = 1.., value_parser = pair, help = here(localized(
            "Variables that the kernel finds in its environment",
            "内核环境中的变量",
        )))]
        env: Vec<(String, String)>,
    },
    #[command(about = here(localized("Remove the kernel from Jupyter", "从 Jupyter 移除内核")))]
    Uninstall {
        #[command(flatten)]
        place: Where,
        #[command(flatten)]
        name: Name,
    },
    #[command(about = here(localized("Serve a notebook; called by Jupyter", "为笔记本服务；由 Jupyter 调用")))]
    Start {
        #[arg(long, value_name = "FILE")]
        connection_file: PathBuf,
    },
    #[command(about = here(localized("Show where the kernel is installed, and what it runs", "显示内核装在哪里、运行什么")))]
    List,
}

#[derive(Args)]
#[group(multiple = false)]
pub(crate) struct Where {
    #[arg(long, help = here(localized("For this user", "只为当前用户")))]
    user: bool,
    #[arg(long, value_name = "FOLDER", help = here(localized("Into FOLDER/share/jupyter", "装到 FOLDER/share/jupyter")))]
    prefix: Option<PathBuf>,
    #[arg(long, help = here(localized("Into the environment of the first python3 on the PATH, such as a virtual \
                                  environment", "装到 PATH 中第一个 python3 的环境，例如虚拟环境")))]
    sys_prefix: bool,
}

#[derive(Args)]
pub(crate) struct Name {
    #[arg(long, default_value = kernelspec::NAME, hide_default_value = true, help = here(localized(
        "Its name in notebooks, by default tunebook; kernels of several names stand side by side",
        "它在笔记本中的名称，默认 tunebook；不同名称的内核可以并存",
    )))]
    name: String,
}

/// A variable and its value.
fn pair(text: &str) -> Result<(String, String), &'static str> {
    const PAIR: Localized = localized("write KEY=VALUE", "请写 KEY=VALUE");
    let (key, value) = text.split_once('=').filter(|(key, _)| !key.is_empty()).ok_or_else(|| here(PAIR))?;
    Ok((key.to_string(), value.to_string()))
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
pub(crate) fn run(command: Command, lang: Lang) -> io::Result<()> {
    match command {
        Command::Install { place, name: Name { name }, display_name, env } => {
            let kernel = Kernel { name, display_name, env };
            let executable = std::env::current_exe()?;
            let folder = kernelspec::install(&place.place(), &kernel, &executable).map_err(io::Error::other)?;
            let Kernel { name, display_name, .. } = kernel;
            let (folder, name) = (folder.display(), display_name.unwrap_or(name));
            let text = localized!(
                lang,
                "installed in {folder}; Jupyter offers it as `{name}`",
                "已安装到 {folder}；Jupyter 中名为 `{name}`"
            );
            println!("{text}");
        }
        Command::Uninstall { place, name: Name { name } } => {
            let folder = kernelspec::uninstall(&place.place(), &name).map_err(io::Error::other)?;
            let folder = folder.display();
            println!("{}", localized!(lang, "removed from {folder}", "已从 {folder} 移除"));
        }
        Command::Start { connection_file } => {
            tunebook_jupyter::serve(&connection_file, history_file().as_deref()).map_err(io::Error::other)?;
        }
        Command::List => match kernelspec::list() {
            found if found.is_empty() => {
                const NOWHERE: Localized = localized(
                    "not installed; install it with `tunebook kernel install`",
                    "没有安装；请用 `tunebook kernel install` 安装",
                );
                println!("{}", NOWHERE.in_lang(lang));
            }
            found => found.iter().for_each(|Installed { folder, display_name, program }| {
                let folder = folder.display();
                println!(
                    "{}",
                    localized!(
                        lang,
                        "{display_name}: {folder}  runs {program}",
                        "{display_name}：{folder}  运行 {program}"
                    )
                );
            }),
        },
    }
    Ok(())
}
