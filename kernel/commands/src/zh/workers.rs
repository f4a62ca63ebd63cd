//! Workers that cannot be used.

use tunebook_engine::workers::Loss;
use tunebook_engine::workers::LossReason;
use tunebook_engine::workers::WorkersError;
use tunebook_mpi::CallError;
use tunebook_mpi::FindError;
use tunebook_mpi::HostsError;
use tunebook_mpi::LaunchError;
use tunebook_mpi::LineError;
use tunebook_mpi::NcclError;
use tunebook_mpi::OpenError;
use tunebook_quote::REMEDY_ZH;

use super::Chinese;
use super::io;

impl Chinese for WorkersError {
    fn zh(&self) -> String {
        match self {
            Self::NotHere => "多进程训练需要 Linux 或 macOS 上的 MPI；在此系统上由一个进程使用全部核心训练".to_string(),
            Self::NoLauncher(error) => {
                format!("{}{REMEDY_ZH}请安装 MPI（见 `help workers`），或用 launcher= 指定启动器", error.zh())
            }
            Self::Launch(LaunchError { launcher }) => {
                format!("{launcher} 不是 Open MPI、MPICH、Intel MPI 或 Slurm 的启动器，无法告诉它在哪些主机上启动")
            }
            Self::Hosts(error) => format!("hosts：{}", error.zh()),
            Self::HostFile { file, problem: LineError { line, error } } => {
                format!("{} 第 {line} 行：{}", file.display(), error.zh())
            }
            Self::NoMpi(error) => format!("无法使用 MPI：{}{REMEDY_ZH}如何安装见 `help workers`", error.zh()),
            Self::Call(CallError { call, code, text }) => format!("MPI：{call}：{text}（错误 {code}）"),
            Self::Nccl(NcclError { call, text }) => format!("NCCL：{call}：{text}"),
            Self::NoNccl => {
                format!("没有 libnccl.so.2，而 rank 0 的主机上有{REMEDY_ZH}请在所有主机上安装 NCCL")
            }
            Self::Start { program, source } => format!("无法启动 {}：{}", program.display(), io(source)),
            Self::Listen(source) => format!("无法监听工作进程的连接：{}", io(source)),
            Self::LauncherEnded { program, status, joined, workers, output } => format!(
                "{program} 已结束（{status}），但工作进程还没有到齐：{workers} 个中到了 {joined} 个{}",
                said(output)
            ),
            Self::NotAllJoined { joined, workers, seconds, addresses, output } => format!(
                "{seconds} 秒后工作进程仍未到齐：{workers} 个中到了 {joined} 个{}{REMEDY_ZH}请检查能否连到各主机，以及它们能否\
                 连到本机 {addresses}",
                said(output)
            ),
            Self::Refused { host, problem } => format!("{host} 上的工作进程：{problem}"),
            Self::OtherVersion { host, theirs, ours } => {
                format!("{host} 上的工作进程是 tunebook {theirs}，会话是 {ours}{REMEDY_ZH}请在所有主机上安装同一版本")
            }
            Self::OtherModel { host } => {
                format!("{host} 上的模型权重与会话的不同{REMEDY_ZH}请把会话的模型文件夹复制到那里的相同路径")
            }
            Self::CannotRead { host } => format!("{host} 上的工作进程读不了一张会话能读的图片"),
            Self::Lost(loss) => format!(
                "{}{REMEDY_ZH}`workers N` 重新启动工作进程；`train` 从上一步继续，没有工作进程也可以",
                loss.zh()
            ),
            Self::LostAgain { times, last } => {
                format!("连续 {times} 次丢失工作进程，没有完成一步；最后一次：{}", last.zh())
            }
            Self::Busy => "工作进程正忙：有训练在使用它们".to_string(),
            Self::ByHand => "tunebook worker 由 `workers N` 启动，不能手动启动".to_string(),
            Self::NoSession { addresses } => format!("无法连接到会话 {addresses}"),
        }
    }
}

impl Chinese for Loss {
    fn zh(&self) -> String {
        let who = match &self.worker {
            Some((rank, host)) => format!("{host} 上的工作进程 {rank} "),
            None => "工作进程的启动器".to_string(),
        };
        match self.why {
            LossReason::Signal(9) => format!("{who}被强制结束（信号 9），内存耗尽时系统会这样做"),
            LossReason::Signal(signal) => format!("{who}被信号 {signal} 结束"),
            LossReason::Connection => format!("{who}的连接断开了"),
            LossReason::Silent(seconds) => format!("{who}已有 {seconds} 秒没有动静"),
        }
    }
}

impl Chinese for FindError {
    fn zh(&self) -> String {
        match self {
            Self::None => "PATH 中既没有 mpiexec 也没有 mpirun".to_string(),
            Self::Named(name) => format!("{name} 不是程序的路径，PATH 中也没有这个程序"),
        }
    }
}

impl Chinese for OpenError {
    fn zh(&self) -> String {
        match self {
            Self::NotFound => "找不到 MPI 的库".to_string(),
            Self::CannotLoad { library, reason } => format!("无法加载 {library}：{reason}"),
            Self::UnknownKind { library, version } => format!("{library} 是未知的 MPI：{version}"),
            Self::Incomplete { library, function } => format!("{library} 中没有 {function}"),
            Self::Init { library, error: CallError { call, code, text } } => {
                format!("{library} 无法启动：{call}：{text}（错误 {code}）")
            }
            Self::NotTogether { library, version, ranks } => {
                format!("{library}（{version}）看不到全部 {ranks} 个 rank：它不是启动器所属的 MPI")
            }
        }
    }
}

impl Chinese for HostsError {
    fn zh(&self) -> String {
        match self {
            Self::Empty => "没有写主机".to_string(),
            Self::Name(name) => format!("{name:?} 不是主机名"),
            Self::Ipv6(address) => format!("{address} 是 IPv6 地址；MPI 的启动器只接受主机名"),
            Self::Slots(number) => format!("{number:?} 不是进程数"),
            Self::Word(word) => format!("{word:?} 既不是 `slots=` 也不是 `max_slots=`"),
        }
    }
}

/// What the launcher said last.
fn said(output: &[String]) -> String {
    if output.is_empty() { String::new() } else { format!("。它的输出：\n  {}", output.join("\n  ")) }
}
