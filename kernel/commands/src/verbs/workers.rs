//! `workers`: further processes that compute what the session asks.

use std::path::Path;
use std::time::Duration;

use tunebook_engine::Session;
use tunebook_engine::Settings;
use tunebook_engine::workers::Hosts;
use tunebook_engine::workers::OnWorkerLoss;
use tunebook_engine::workers::WorkersError;
use tunebook_engine::workers::WorkersOptions;
use tunebook_quote::quote;

use crate::error::Result;
use crate::given_file;
use crate::lang::localized;
use crate::localized;
use crate::output::Output;
use crate::output::Workers;
use crate::parse::Args;
use crate::verb::CommandContext;
use crate::verb::Complete;
use crate::verb::Takes;
use crate::verb::Verb;
use crate::verb::VerbOption;

pub(crate) static VERB: Verb = Verb {
    name: "workers",
    aliases: &[],
    usage: "workers [N [hosts=A,B:4 | hostfile=FILE] [launcher=mpiexec] [threads=N] | off]",
    help: localized("compute in several processes, also on other machines", "用多个进程计算，也可以在其他机器上"),
    details: localized(
        "Starts N processes with MPI's launcher. `train`, `sweep`, `evaluate` and `predict` share their samples out among \
         them; the session stays the one that it is, with all other commands. A step has N times as many samples \
         (batch × accumulation × world_size, as with N processes of LLaMA-Factory); `set world_size=1` makes it the step \
         of one process, only faster. Each host needs tunebook at the same path and the model at the same path, or in \
         its hub cache; pictures that it does not have come from the session. A worker that is lost costs the step on its \
         way. Without N, `workers` shows them and what the last step took; `workers off` ends them. Any MPI will do: \
         `apt install openmpi-bin`, `dnf install openmpi` and `module load mpi`, `brew install open-mpi`, `pip install \
         mpich`, or the cluster's own, `module load openmpi`; `mpiexec` must be on the PATH. In a Slurm allocation, \
         launcher=srun takes its hosts.",
        "用 MPI 的启动器启动 N 个进程。`train`、`sweep`、`evaluate` 和 `predict` 把样本分给它们；会话还是原来的会话，其他\
         命令不变。每个优化步的样本数变为 N 倍（批处理大小 × 梯度累积 × world_size，与 LLaMA-Factory 用 N 个进程时相同）；\
         `set world_size=1` 则与单进程的步相同，只是更快。每台主机要在相同路径上有 tunebook，模型在相同路径上或在自己的\
         下载缓存里；缺少的图片由会话传过去。丢失一个工作进程只损失当前这一步。不写 N 时，`workers` 显示工作进程和上一步\
         的用时；`workers off` 结束它们。任何 MPI 都可以：`apt install openmpi-bin`、`dnf install openmpi` 加 `module load \
         mpi`、`brew install open-mpi`、`pip install mpich`，或集群自带的 `module load openmpi`；`mpiexec` 要在 PATH 中。在 \
         Slurm 的分配中，launcher=srun 使用其中的主机。",
    ),
    examples: &[
        ("workers 2", localized("two processes on this machine", "在本机上启动两个进程")),
        ("workers 4 hosts=alice:2,bob:2", localized("two on each of two hosts", "两台主机上各两个")),
        ("workers", localized("who works, and what the last step took", "有哪些工作进程，上一步用了多久")),
        ("workers off", localized("alone again", "恢复单进程")),
    ],
    takes: Takes::Words(0, 1),
    options: &[
        VerbOption {
            name: "hosts",
            help: localized("Hosts, each with the number of its workers: A,B:4.", "主机和各自的工作进程数：A,B:4。"),
            repeats: false,
            complete: Complete::Nothing,
        },
        VerbOption {
            name: "hostfile",
            help: localized(
                "File with a host on each line, `A:4` or `A slots=4`.",
                "每行一台主机的文件，写作 `A:4` 或 `A slots=4`。",
            ),
            repeats: false,
            complete: Complete::Files,
        },
        VerbOption {
            name: "launcher",
            help: localized(
                "MPI's launcher, by name or path; by default mpiexec.",
                "MPI 的启动器，名称或路径；默认为 mpiexec。",
            ),
            repeats: false,
            complete: Complete::Words(&["mpiexec", "mpirun", "srun"]),
        },
        VerbOption {
            name: "threads",
            help: localized(
                "Threads of each worker; by default the cores of a host are shared out.",
                "每个工作进程的线程数；默认平分主机的核。",
            ),
            repeats: false,
            complete: Complete::Nothing,
        },
        VerbOption {
            name: "timeout",
            help: localized(
                "Seconds without a sign of life after which a worker counts as lost; by default 30.",
                "多少秒没有动静就算丢失；默认 30。",
            ),
            repeats: false,
            complete: Complete::Nothing,
        },
        VerbOption {
            name: "on_worker_loss",
            help: localized(
                "Whether the others go on when a worker is lost (continue, the default), or all stop (stop).",
                "丢失一个工作进程时，其余的继续（continue，默认）还是停止（stop）。",
            ),
            repeats: false,
            complete: Complete::Words(&["continue", "stop"]),
        },
    ],
    settings: &[],
    complete: |_| Complete::Words(&["off"]),
    run,
};

fn run(session: &mut Session, args: &Args, cx: &CommandContext) -> Result<Output> {
    match args.word(0) {
        None if args.options.is_empty() => {}
        Some("off") if args.options.is_empty() => session.workers_stop()?,
        _ => drop(session.workers_start(options(args, cx)?, &cx.context)?),
    }
    let Settings { per_device_train_batch_size, gradient_accumulation_steps, world_size, .. } = *session.settings();
    let step = [per_device_train_batch_size, gradient_accumulation_steps, world_size];
    Ok(Output::Workers(session.workers().map(|workers| Workers { workers, step })))
}

/// What of a recipe's arguments is about workers, as a line of commands that is empty if nothing is; and the others.
pub(crate) fn in_recipe(arguments: &[String]) -> (String, Vec<String>) {
    let is_ours = |key: &str| VERB.options.iter().any(|option| option.name == key);
    let (mut number, mut options, mut others) = (String::new(), String::new(), Vec::new());
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let (key, value) = match argument.strip_prefix("--") {
            Some(option) => match option.split_once('=') {
                Some((key, value)) => (key, Some(value)),
                None => (option, None),
            },
            None => argument.split_once('=').map_or(("", None), |(key, value)| (key, Some(value))),
        };
        if key != VERB.name && !is_ours(key) {
            others.push(argument.clone());
            continue;
        }
        let value = value.map(str::to_string).or_else(|| arguments.next().cloned()).unwrap_or_default();
        match key == VERB.name {
            true => number = format!(" {value}"),
            false => options += &format!(" {key}=\"{value}\""),
        }
    }
    let is_given = !(number.is_empty() && options.is_empty());
    (if is_given { format!("{}{number}{options}", VERB.name) } else { String::new() }, others)
}

/// The hosts of a file.
fn hosts_of(file: &Path, cx: &CommandContext) -> Result<std::result::Result<Hosts, WorkersError>> {
    let text = given_file::read_to_string(file, cx.context.cancel)?;
    Ok(Hosts::read(&text).map_err(|problem| WorkersError::HostFile { file: file.to_path_buf(), problem }))
}

/// What the line says of them.
fn options(args: &Args, cx: &CommandContext) -> Result<WorkersOptions> {
    let text = |name: &str| args.options(name).next();
    let hosts = match (text("hosts"), text("hostfile")) {
        (None, None) => None,
        (Some(hosts), None) => Some(hosts.parse::<Hosts>().map_err(WorkersError::from)),
        (None, Some(file)) => Some(hosts_of(Path::new(file), cx)?),
        (Some(_), Some(_)) => {
            return Err(
                VERB.usage_error(localized!("give hosts or hostfile, not both", "hosts 和 hostfile 只能写一个"))
            );
        }
    };
    let on_loss = match text("on_worker_loss") {
        None | Some("continue") => OnWorkerLoss::Continue,
        Some("stop") => OnWorkerLoss::Stop,
        Some(other) => {
            let other = quote(other);
            return Err(VERB.usage_error(localized!(
                "on_worker_loss must be continue or stop, not `{other}`",
                "on_worker_loss 应为 continue 或 stop，而不是 `{other}`"
            )));
        }
    };
    let hosts = hosts.transpose().map_err(tunebook_engine::Error::from)?;
    let of_hosts = hosts.as_ref().map(Hosts::slots);
    let workers = args.count(0, &VERB)?.or(of_hosts).filter(|workers| *workers > 0);
    let workers = workers.ok_or_else(|| VERB.usage_error(localized!("how many workers?", "要几个工作进程？")))?;
    let new = WorkersOptions::new(workers);
    let timeout = args.number("timeout", &VERB)?.map_or(new.timeout, |seconds| Duration::from_secs(seconds as u64));
    let (launcher, threads) = (text("launcher").map(str::to_string), args.number("threads", &VERB)?);
    Ok(WorkersOptions { hosts, launcher, threads, timeout, on_loss, lang: cx.lang(), ..new })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recipe_is_told_of_workers_in_both_ways() {
        let split = |line: &str| {
            let words: Vec<_> = line.split(' ').map(str::to_string).collect();
            let (workers, others) = in_recipe(&words);
            (workers, others.join(" "))
        };
        let of = |workers: &str, others: &str| (workers.to_string(), others.to_string());
        assert_eq!(split("a.yaml lr=1"), of("", "a.yaml lr=1"));
        assert_eq!(split("a.yaml workers=2 lr=1 hosts=a,b"), of("workers 2 hosts=\"a,b\"", "a.yaml lr=1"));
        assert_eq!(
            split("--stage sft --workers 4 --launcher=srun --lr 1"),
            of("workers 4 launcher=\"srun\"", "--stage sft --lr 1")
        );
    }
}
