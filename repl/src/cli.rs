//! The command line: what it takes, and its help in two languages.

use std::path::PathBuf;

use clap::Arg;
use clap::ArgAction;
use clap::Args;
use clap::CommandFactory;
use clap::FromArgMatches;
use clap::Parser;
use clap::Subcommand;
use clap::ValueHint;
use clap_complete::Shell;
use tunebook_commands::lang::Lang;
use tunebook_commands::lang::Localized;
use tunebook_commands::lang::localized;

use crate::kernel;

#[derive(Parser)]
#[command(name = "tunebook", version, about = here(ABOUT), long_about = here(LONG_ABOUT))]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub command: Option<Command>,
}

const ABOUT: Localized = localized("Fine-tune vision-language models step by step", "逐步微调视觉语言模型");
const LONG_ABOUT: Localized = localized(
    "Fine-tune vision-language models step by step.\n\nWithout a command, it opens a prompt, or runs the commands from \
     a pipe and exits with status 1 at the first error.",
    "逐步微调视觉语言模型。\n\n不写命令时打开提示符，或执行管道中的命令，遇到第一个错误即以状态 1 退出。",
);

#[derive(Subcommand)]
pub(crate) enum Command {
    #[command(about = here(localized("Run the commands in a file", "执行文件中的命令")))]
    Run {
        #[arg(help = here(localized("A file with one command per line", "每行一条命令的文件")))]
        file: PathBuf,
    },
    #[command(about = here(localized(
        "Train, evaluate and predict according to a LLaMA-Factory recipe",
        "按 LLaMA-Factory 的训练配方训练、评估和预测",
    )))]
    Train(Recipe),
    #[command(about = here(localized(
        "Merge the adapter of a LLaMA-Factory recipe into its model and write it to export_dir",
        "把 LLaMA-Factory 训练配方中的适配器合并到模型，写到 export_dir",
    )))]
    Export(Recipe),
    #[command(about = here(localized(
        "Open a prompt on a running kernel and share its session with the notebook",
        "连接正在运行的内核，打开提示符，与笔记本共用一个会话",
    )))]
    Attach {
        #[arg(help = here(localized(
            "The kernel's connection file; by default, or with `latest`, the kernel that was started last",
            "内核的连接文件；不写或写 `latest` 则是最后启动的内核",
        )))]
        connection: Option<PathBuf>,
    },
    #[command(about = here(localized(
        "Open the panel, a web page that drives a session of its own",
        "打开网页面板，操作一个新的会话",
    )))]
    Panel {
        #[arg(long, default_value_t = 0, hide_default_value = true, help = here(localized(
            "Port on this machine; by default any that is free",
            "本机端口；默认任意一个空闲端口",
        )))]
        port: u16,
    },
    #[command(subcommand, about = here(localized("Manage the kernel for Jupyter notebooks", "管理 Jupyter 笔记本的内核")))]
    Kernel(kernel::Command),
    #[command(hide = true, about = here(localized(
        "Compute for the session that started this process (`workers N` does so)",
        "为启动本进程的会话计算（由 `workers N` 启动）",
    )))]
    Worker,
    #[command(about = here(localized(
        "Write the script by which a shell completes the command line",
        "输出补全命令行的 shell 脚本",
    )))]
    Completions {
        #[arg(hide_possible_values = true, help = here(localized(
            "bash, zsh, fish, powershell or elvish",
            "bash、zsh、fish、powershell 或 elvish",
        )))]
        shell: Shell,
    },
    #[command(about = here(localized("Write the manual page; `man -l -` shows it", "输出手册页；`man -l -` 显示它")))]
    Man,
    #[command(about = here(localized(
        "Show versions, CPU, memory and devices, for a report of a problem",
        "显示版本、CPU、内存和设备，供报告问题时使用",
    )))]
    Env,
    #[command(about = here(localized("Show the version of tunebook", "显示 tunebook 的版本")))]
    Version,
}

#[derive(Args)]
pub(crate) struct Recipe {
    #[arg(
        value_name = "RECIPE | --KEY VALUE",
        value_hint = ValueHint::FilePath,
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true,
        help = here(localized(
            "A YAML file and values that override it, such as learning_rate=1e-4; or, without a file, the arguments of \
             `llamafactory-cli` as its web page shows them",
            "YAML 文件，以及覆盖其中内容的值，如 learning_rate=1e-4；也可以不写文件，直接写 LLaMA-Factory 网页显示的 \
             `llamafactory-cli` 的参数",
        ))
    )]
    pub arguments: Vec<String>,
}

impl Cli {
    /// What the process was called with. Help, a version and mistakes end it, as clap does.
    pub(crate) fn read() -> Self {
        let matches = Self::localized_command().get_matches();
        Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
    }

    /// What it may be called with, in the language of the environment.
    pub(crate) fn localized_command() -> clap::Command {
        in_language(Self::command(), Lang::from_environment())
    }
}

/// The text in the language of the environment, which no command can have changed yet.
pub(crate) fn here(text: Localized) -> &'static str {
    text.in_lang(Lang::from_environment())
}

/// clap's own words in this language, for the command and all below it.
fn in_language(command: clap::Command, lang: Lang) -> clap::Command {
    const HELP: Localized = localized("Print help", "显示帮助");
    const VERSION: Localized = localized("Print version", "显示版本");
    const TEMPLATE: Localized = localized(
        "{before-help}{about-with-newline}\nUsage: {usage}\n\n{all-args}{after-help}",
        "{before-help}{about-with-newline}\n用法：{usage}\n\n{all-args}{after-help}",
    );
    let has_version = command.get_version().is_some();
    let help =
        Arg::new("help").short('h').long("help").action(ArgAction::Help).help(HELP.in_lang(lang)).display_order(99);
    let version = Arg::new("version")
        .short('V')
        .long("version")
        .action(ArgAction::Version)
        .help(VERSION.in_lang(lang))
        .display_order(99);
    let options = localized("Options", "选项").in_lang(lang);
    let mut order = 0;
    let mut command = command
        .help_template(TEMPLATE.in_lang(lang))
        .subcommand_help_heading(localized("Commands", "命令").in_lang(lang))
        .subcommand_value_name(localized("COMMAND", "命令").in_lang(lang))
        .mut_args(|arg| {
            let heading = if arg.is_positional() { localized("Arguments", "参数").in_lang(lang) } else { options };
            order += 1;
            // Under a heading of its own an argument would be sorted by its name.
            arg.help_heading(heading).display_order(order)
        })
        .disable_help_flag(true)
        .disable_help_subcommand(true)
        .disable_version_flag(true)
        .arg(help.help_heading(options));
    if has_version {
        command = command.arg(version.help_heading(options));
    }
    command.mut_subcommands(|command| in_language(command, lang))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_help_is_in_the_language() {
        fn walk(command: &mut clap::Command, check: &mut impl FnMut(&str)) {
            check(&command.render_long_help().to_string());
            command.get_subcommands_mut().for_each(|command| walk(command, check));
        }
        let mut count = 0;
        walk(&mut in_language(Cli::command(), Lang::Zh), &mut |help| {
            count += 1;
            assert!(help.contains("用法：") && help.contains("显示帮助") && help.contains("选项:"), "{help}");
            for word in ["Usage", "Options", "Arguments", "Commands", "Print"] {
                assert!(!help.contains(word), "{help}");
            }
        });
        assert!(count > 8, "{count}");
        in_language(Cli::command(), Lang::En).debug_assert();
    }
}
