//! Inputs of every sort, changed at random: none may end the process, hang, take much memory, or reach the screen raw.
//!
//! A case is known by its number and the seed. The long campaign takes `MUTATION_SEED`, `MUTATION_FIRST` (the first
//! case), `MUTATION_COUNT` (10,000 unless given) and `MUTATION_SORT` (a name of [`SORTS`]) from the environment; so one
//! case can be tried again. The folder of a case that is a fault stays.

mod adapter_files;
mod bytes;
mod calls;
mod child;
mod connection;
mod data_files;
mod dice;
mod hub_answers;
mod json;
mod model_files;
mod picture_files;
mod safetensors;
mod typed;
mod verdict;

use std::collections::BTreeMap;
use std::fs;
use std::iter::repeat_n;
use std::ops::Range;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::thread;

use dice::Dice;
use verdict::Verdict;

use crate::fixtures::fixture;

/// Makes an input in a folder, hands it to the program and judges what becomes of it.
type Attempt = fn(&mut Dice, &Path) -> Verdict;

/// The sorts of input, by the parser that meets them, and how often they are tried.
const SORTS: [(&str, usize, Attempt); 19] = [
    ("config", 3, model_files::config),
    ("preprocessor", 2, model_files::preprocessor),
    ("generation", 1, model_files::generation),
    ("tokenizer", 2, model_files::tokenizer),
    ("index", 1, model_files::index),
    ("weights", 2, model_files::weights),
    ("pickle", 1, model_files::pickle),
    ("dataset_info", 2, data_files::dataset_info),
    ("records", 5, data_files::records),
    ("pictures", 4, picture_files::pictures),
    ("commands", 4, typed::commands),
    ("recipe", 3, typed::recipe),
    ("command_line", 2, typed::command_line),
    ("adapter", 2, adapter_files::adapter),
    ("checkpoint", 3, adapter_files::checkpoint),
    ("connection_file", 1, connection::file),
    ("messages", 1, connection::messages),
    ("frames", 1, calls::frames),
    ("hub", 2, hub_answers::answers),
];

#[test]
fn some_inputs_changed_at_random() {
    campaign(1, 0..200, "");
}

/// A quarter of an hour on two cores.
#[test]
#[ignore = "the long campaign, by hand"]
fn many_inputs_changed_at_random() {
    let number = |name, default| std::env::var(name).map_or(default, |text| text.parse::<u64>().unwrap());
    let first = number("MUTATION_FIRST", 0);
    let sort = std::env::var("MUTATION_SORT").unwrap_or_default();
    campaign(number("MUTATION_SEED", 25), first..first + number("MUTATION_COUNT", 10_000), &sort);
}

/// Tries cases on two threads, prints how they ended, and fails if one was a fault.
fn campaign(seed: u64, cases: Range<u64>, sort: &str) {
    let is_meant = |name: &str| sort.is_empty() || name == sort;
    let turns = SORTS.iter().filter(|(name, ..)| is_meant(name));
    let turns: Vec<_> = turns.flat_map(|(name, times, attempt)| repeat_n((*name, *attempt), *times)).collect();
    let (next, tally) = (AtomicU64::new(cases.start), Mutex::new(BTreeMap::<&str, [usize; 3]>::new()));
    let faults = Mutex::new(Vec::new());
    let work = || {
        while let case = next.fetch_add(1, Ordering::SeqCst)
            && case < cases.end
        {
            let (name, attempt) = turns[usize::try_from(case).unwrap() % turns.len()];
            let (verdict, folder) = tried(attempt, seed, case);
            tally.lock().unwrap().entry(name).or_default()[verdict.index()] += 1;
            if let Verdict::Fault(problem) = verdict {
                let fault = format!("{name}, case {case} of seed {seed}, in {}: {problem}", folder.keep().display());
                println!("{fault}");
                faults.lock().unwrap().push(fault);
            }
        }
    };
    thread::scope(|scope| (0..2).for_each(|_| drop(scope.spawn(work))));
    for (name, [taken, refused, faults]) in tally.into_inner().unwrap() {
        println!("{name:16} {taken:5} carried out, {refused:5} refused, {faults:3} faults");
    }
    let faults = faults.into_inner().unwrap();
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

/// One case, in a folder of its own.
fn tried(attempt: Attempt, seed: u64, case: u64) -> (Verdict, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    provide(folder.path());
    (attempt(&mut Dice::new(seed, case), folder.path()), folder)
}

/// What scripts name without a slash: copies, since a changed script may write to any of them.
fn provide(folder: &Path) {
    let copy = |from: &str, to: &str| {
        fs::create_dir(folder.join(to)).unwrap();
        for entry in fs::read_dir(fixture(from)).unwrap().map(|entry| entry.unwrap()) {
            if entry.path().is_file() {
                fs::copy(entry.path(), folder.join(to).join(entry.file_name())).unwrap();
            }
        }
    };
    copy("tiny", "tiny");
    copy("train", "train");
    copy("pictures", "pictures");
    copy("train/adapter_zero", "train_adapter_zero");
}
