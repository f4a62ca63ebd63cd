//! One session that works for a long time, and does not grow.

use std::fs;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Write;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

use super::crash::World;
use super::scenario::Act;
use super::tree;
use crate::fixtures::fixture;

/// Until then, memory is still taken that is used again.
const WARM: usize = 10;
/// How much more memory a session may have in the end than when it was warm, in kB.
const GROWTH: u64 = 30 << 10;

/// What a session holds.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Held {
    /// kB.
    resident: u64,
    open: usize,
    threads: usize,
    temporary: usize,
}

/// A round of work, in a folder that is new each time.
fn round(number: usize) -> String {
    let [tiny, train] = ["tiny", "train"].map(|name| fixture(name).display().to_string());
    format!(
        "load {tiny}\nset dataset_dir={train} output_dir=out-{number} cutoff_len=512 batch=2 accum=2 logging_steps=1\n\
         set save_steps=2 save_total_limit=2 max_steps=6 val_size=0.2 max_new_tokens=8 memory=3\ndata creatures\n\
         lora first rank=4\ntrain 3\nevaluate\nchat image={train}/../pictures/icon.png What is this?\nchat And now?\nchat clear\n\
         compare What is this?\nsave saved-{number}\nlora second rank=2\nadapter use first\ntrain 1\nsave\n\
         adapter drop first\nadapter drop second\nresume out-{number}\ntrain\nplot save=plot-{number}.png\nadapter load saved-{number} as old\n\
         export merged-{number}\nadapter drop old\nprint round {number} is done\n"
    )
}

#[test]
#[ignore = "takes 10 minutes, or SOAK_SECONDS: one session that works all the time"]
fn a_session_that_works_for_long_does_not_grow() {
    let seconds = std::env::var("SOAK_SECONDS").map_or(600, |seconds| seconds.parse().unwrap());
    let root = tempfile::tempdir().unwrap();
    let world = World::new(root.path());
    let mut command = world.command(Act::Lines(""));
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let (start, mut held) = (Instant::now(), Vec::new());
    while start.elapsed() < Duration::from_secs(seconds) || held.len() <= WARM {
        let number = held.len() + 1;
        input.write_all(round(number).as_bytes()).unwrap();
        let mark = format!("round {number} is done");
        assert!(lines.any(|line| line.unwrap() == mark), "round {number}: {}", world.output());
        held.push(look(child.id(), &world));
        for name in ["out", "saved", "merged"] {
            fs::remove_dir_all(world.work().join(format!("{name}-{number}"))).unwrap();
        }
        fs::remove_file(world.work().join(format!("plot-{number}.png"))).unwrap();
    }
    let (warm, last) = (held[WARM - 1], held[held.len() - 1]);
    println!("{} rounds in {:?}; after {WARM}: {warm:?}; in the end: {last:?}", held.len(), start.elapsed());
    drop(input);
    assert!(child.wait().unwrap().success());
    assert_eq!((last.open, last.threads, last.temporary), (warm.open, warm.threads, warm.temporary));
    assert!(last.resident <= warm.resident + GROWTH, "it has grown: {held:?}");
    let left: Vec<_> =
        tree::read(&world.work()).into_keys().chain(tree::read(&root.path().join("tmp")).into_keys()).collect();
    assert!(left.is_empty(), "{left:?}");
}

fn look(process: u32, world: &World) -> Held {
    let count = |name: &str| fs::read_dir(format!("/proc/{process}/{name}")).unwrap().count();
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let resident =
        status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse().ok());
    Held {
        resident: resident.unwrap(),
        open: count("fd"),
        threads: count("task"),
        temporary: fs::read_dir(world.root().join("tmp")).unwrap().count(),
    }
}
