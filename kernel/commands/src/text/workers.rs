//! What `workers` says, as plain text.

use tunebook_engine::report::StepTimes;
use tunebook_engine::report::WorkerReport;
use tunebook_engine::report::WorkersReport;

use super::table::draw_table;
use crate::lang::Lang;
use crate::lang::localized;
use crate::localized;
use crate::output::Table;
use crate::output::Workers;
use crate::page::Page;

/// Who works, and what the last step took.
pub(super) fn workers(report: Option<&Workers>, page: Page) -> String {
    let lang = page.lang;
    let Some(Workers { workers: WorkersReport { asked, workers, library, times }, step }) = report else {
        return localized("no workers: this process computes alone", "没有工作进程：由本进程单独计算")
            .in_lang(lang)
            .to_string();
    };
    let count = workers.len();
    if workers.is_empty() {
        return localized!(
            lang,
            "of {asked} workers none is running; `workers {asked}` starts them",
            "{asked} 个工作进程都没有在运行；`workers {asked}` 启动它们"
        );
    }
    let missing = match asked - count {
        0 => String::new(),
        lost => localized!(lang, ", {lost} lost", "，丢失 {lost} 个"),
    };
    let title = match count {
        1 => localized!(lang, "1 worker{missing} ({library})", "1 个工作进程{missing}（{library}）"),
        _ => localized!(lang, "{count} workers{missing} ({library})", "{count} 个工作进程{missing}（{library}）"),
    };
    let headers = match lang {
        Lang::En => vec!["rank", "host", "process", "threads", "last share"],
        Lang::Zh => vec!["rank", "主机", "进程号", "线程数", "上一步用时"],
    };
    let row = |worker: &WorkerReport| {
        let took = worker.seconds.map_or_else(String::new, |seconds| format!("{seconds:.2} s"));
        let numbers = [worker.process as usize, worker.threads].map(|number| number.to_string());
        let [process, threads] = numbers;
        vec![worker.rank.to_string(), worker.host.clone(), process, threads, took]
    };
    let samples: usize = step.iter().product();
    let [batch, accumulation, world_size] = step;
    let size = localized!(
        lang,
        "an optimizer step has {samples} samples: batch {batch} × accumulation {accumulation} × world_size {world_size}",
        "每个优化步 {samples} 个样本：批处理大小 {batch} × 梯度累积 {accumulation} × world_size {world_size}"
    );
    let times = times.map(|times| took(times, lang));
    let note = [size].into_iter().chain(times).collect::<Vec<_>>().join("\n");
    draw_table(&Table { title, headers, rows: workers.iter().map(row).collect(), note }, page)
}

/// Where the time of the last step went.
fn took(StepTimes { parameters, computing, gradients, bytes }: StepTimes, lang: Lang) -> String {
    let share = 100.0 * (parameters + gradients) / (parameters + computing + gradients);
    let [parameters, computing, gradients] = [parameters, computing, gradients].map(|seconds| seconds * 1000.0);
    let megabytes = bytes as f64 / 1e6;
    localized!(
        lang,
        "the last step: {computing:.0} ms computing; {parameters:.0} ms to broadcast parameters and {gradients:.0} ms to sum \
         gradients ({megabytes:.1} MB each), {share:.1} % of the step",
        "上一步：计算 {computing:.0} 毫秒；广播参数 {parameters:.0} 毫秒，累加梯度 {gradients:.0} 毫秒（各 {megabytes:.1} \
         MB），占这一步的 {share:.1}%"
    )
}
