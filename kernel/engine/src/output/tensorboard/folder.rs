//! Where a run lies and what its files are called: as transformers has it, in `runs/Nov30_08-51-45_HOST` of the output
//! folder, or in the folder that `TENSORBOARD_LOGGING_DIR` names.

use std::fs;
use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::time::SystemTime;

use super::event;
use super::event::BEGINNING;
use super::event::Seen;
use super::record;
use super::seconds;
use crate::settings::Settings;

const VARIABLE: &str = "TENSORBOARD_LOGGING_DIR";
const RUNS: &str = "runs";
/// How the names of event files begin, and those of ours end.
const BEGINS: &str = "events.out.tfevents.";
const ENDS: &str = ".tunebook";

/// The run of a training that is written to `output`. One that was resumed goes on in the latest run there.
pub(super) fn of(output: &Path, settings: &Settings, is_resumed: bool) -> PathBuf {
    match std::env::var_os(VARIABLE).filter(|folder| !folder.is_empty()) {
        Some(folder) => named(Path::new(&folder), output, settings),
        None => {
            let runs = output.join(RUNS);
            let latest = || latest(&runs).filter(|_| is_resumed);
            latest().unwrap_or_else(|| runs.join(new_name()))
        }
    }
}

/// A folder that the user has named. A branch, whose output folder lies in that of the training it came from, has one of its
/// own in it.
fn named(folder: &Path, output: &Path, settings: &Settings) -> PathBuf {
    let home = folder.strip_prefix("~").ok().and_then(|rest| Some(dirs::home_dir()?.join(rest)));
    let folder = home.unwrap_or_else(|| folder.to_path_buf());
    match settings.output_dir.as_ref().and_then(|main| output.strip_prefix(main).ok()) {
        Some(branch) if !branch.as_os_str().is_empty() => folder.join(branch),
        _ => folder,
    }
}

fn new_name() -> String {
    format!("{}_{}", chrono::Local::now().format("%b%d_%H-%M-%S"), tunebook_files::host())
}

/// The run in which the latest of our files lies.
fn latest(runs: &Path) -> Option<PathBuf> {
    let runs = fs::read_dir(runs).ok()?.flatten().map(|entry| entry.path());
    let dated = runs.filter_map(|run| Some((files(&run).last()?.0, run)));
    dated.max().map(|(_, run)| run)
}

/// Our files of a run, from the earliest on, with the seconds in their names.
fn files(run: &Path) -> Vec<(u64, PathBuf)> {
    let entries = fs::read_dir(run).into_iter().flatten().flatten();
    let mut files: Vec<_> = entries
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let (seconds, _) = name.strip_prefix(BEGINS)?.strip_suffix(ENDS)?.split_once('.')?;
            Some((seconds.parse().ok()?, entry.path()))
        })
        .collect();
    files.sort();
    files
}

/// The last step of which something is told; none of a run without files of ours.
///
/// # Errors
/// A file cannot be read.
pub(super) fn last_step(run: &Path) -> io::Result<Option<usize>> {
    let files = files(run);
    let mut last: Option<usize> = None;
    for (_, path) in &files {
        let Ok(mut file) = tunebook_files::open(path) else { continue };
        record::beginnings(&mut file, BEGINNING, &mut |beginning| match event::seen(beginning) {
            Some(Seen::Values { step }) => last = last.max(Some(step)),
            Some(Seen::Start { step }) => last = last.min(step.checked_sub(1)),
            None => {}
        })?;
    }
    Ok(last)
}

/// A file whose name comes after all that are there: TensorBoard reads them in the order of their names.
pub(super) fn new_file(run: &Path, now: SystemTime) -> PathBuf {
    let behind = files(run).last().map_or(0, |(seconds, _)| seconds + 1);
    let seconds = (seconds(now) as u64).max(behind);
    let (host, process) = (tunebook_files::host(), std::process::id());
    run.join(format!("{BEGINS}{seconds:010}.{host}.{process}{ENDS}"))
}
