//! Dying at any moment, and going on: by the clock instead of by what the program does.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use nix::sys::signal;
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use rand::Rng;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde_json::json;

use super::crash::Checkpoints;
use super::crash::Prepared;
use super::crash::World;
use super::scenario::Act;
use super::scenario::SCENARIOS;
use super::tree;
use crate::binary::rust_homes;

/// How often it is looked which checkpoints there are.
const LOOK: Duration = Duration::from_micros(500);
const KERNEL: usize = 60;
/// How long a kernel may take to answer.
const PATIENCE: Duration = Duration::from_secs(60);
const RUST: usize = 40;
/// How often each scenario is killed in a pipe: 140 times in all.
const PIPE: [(&str, usize); 7] = [
    ("train", 20),
    ("rotate, same step", 20),
    ("resume", 20),
    ("overwrite", 20),
    ("save over another", 20),
    ("export", 20),
    ("recipe, full", 20),
];

#[test]
#[ignore = "takes 5 minutes: 140 kills at random times"]
fn nothing_is_lost_in_a_pipe_at_random_times() {
    let root = tempfile::tempdir().unwrap();
    let mut random = ChaCha8Rng::seed_from_u64(2025);
    let mut faults = Vec::new();
    for (name, count) in PIPE {
        let prepared = prepare(name, root.path());
        let start = |world: &World| vec![world.command(prepared.scenario.killed).spawn().unwrap()];
        faults.extend(kills(&prepared, "pipe", count, root.path(), &mut random, &start, &|_| {}));
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
#[ignore = "takes half a minute and more: 60 kills at random times"]
fn nothing_is_lost_in_a_kernel_at_random_times() {
    let root = tempfile::tempdir().unwrap();
    let prepared = prepare("rotate, same step", root.path());
    let start = |world: &World| {
        let (kernel, connection) = kernel(world);
        vec![world.command(prepared.scenario.killed).arg("attach").arg(connection).spawn().unwrap(), kernel]
    };
    // The next kernel deletes the folder in which the killed one had its sockets.
    let next = |world: &World| {
        let (mut kernel, _) = kernel(world);
        signal::kill(Pid::from_raw(kernel.id() as i32), Signal::SIGTERM).unwrap();
        kernel.wait().unwrap();
    };
    let mut random = ChaCha8Rng::seed_from_u64(60);
    let faults = kills(&prepared, "kernel", KERNEL, root.path(), &mut random, &start, &next);
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
#[ignore = "takes 20 minutes: 40 kills while Rust is at work"]
fn nothing_is_left_of_rust_cells_at_random_times() {
    let root = tempfile::tempdir().unwrap();
    let faults = rust_cells(RUST, root.path(), &mut ChaCha8Rng::seed_from_u64(40));
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

fn prepare(name: &str, root: &Path) -> Prepared {
    let scenario = SCENARIOS.iter().find(|scenario| scenario.name == name).unwrap();
    let folder = root.join(name);
    fs::create_dir_all(&folder).unwrap();
    Prepared::new(scenario, &folder)
}

/// Kills what `start` starts `count` times, each time at a moment of a run that nobody disturbs, and gives what is wrong
/// afterwards, when `next` has been done. The run is over when the first of the processes is.
fn kills(
    prepared: &Prepared,
    face: &str,
    count: usize,
    root: &Path,
    random: &mut ChaCha8Rng,
    start: &dyn Fn(&World) -> Vec<Child>,
    next: &dyn Fn(&World),
) -> Vec<String> {
    let world = World::new(&root.join("worker"));
    prepared.begin(&world);
    let mut running = start(&world);
    let begin = Instant::now();
    assert!(running[0].wait().unwrap().success(), "{}", world.output());
    let whole = begin.elapsed();
    kill(running);
    let (mut ended, mut faults) = (0, Vec::new());
    for number in 0..count {
        let moment = whole.mul_f64(random.random::<f64>());
        prepared.begin(&world);
        let mut seen = Checkpoints::default();
        running = start(&world);
        let begin = Instant::now();
        while begin.elapsed() < moment {
            seen.look(&world.work());
            thread::sleep(LOOK);
        }
        ended += usize::from(running[0].try_wait().unwrap().is_some());
        kill(running);
        next(&world);
        let name = prepared.scenario.name;
        let found = prepared.afterwards(&seen, &world);
        faults.extend(found.into_iter().map(|fault| format!("{name} in a {face}, kill {number}: {fault}")));
    }
    println!("{} in a {face}: {count} kills, {ended} had ended before, faults {faults:?}", prepared.scenario.name);
    faults
}

/// Kills processes, the last one first: a client ends with its kernel.
fn kill(running: Vec<Child>) {
    for mut child in running.into_iter().rev() {
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

/// A kernel that answers, and its connection file.
fn kernel(world: &World) -> (Child, PathBuf) {
    let listeners: Vec<_> = (0..5).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let ports: Vec<_> = listeners.iter().map(|listener| listener.local_addr().unwrap().port()).collect();
    // The kernel is to have them.
    drop(listeners);
    let names = ["shell_port", "iopub_port", "stdin_port", "control_port", "hb_port"];
    let mut connection =
        json!({"transport": "tcp", "ip": "127.0.0.1", "key": "a-key", "signature_scheme": "hmac-sha256"});
    names.iter().zip(ports).for_each(|(name, port)| connection[name] = json!(port));
    let file = world.root().join("connection.json");
    fs::write(&file, connection.to_string()).unwrap();
    let command = |arguments: &[&str]| {
        let mut command = world.command(Act::Lines(""));
        command.args(arguments).arg(&file);
        command
    };
    let kernel = command(&["kernel", "start", "--connection-file"]).spawn().unwrap();
    let begin = Instant::now();
    while !command(&["attach"]).status().unwrap().success() {
        assert!(begin.elapsed() < PATIENCE, "the kernel does not answer: {}", world.output());
        thread::sleep(Duration::from_millis(50));
    }
    (kernel, file)
}

/// Kills sessions while their Rust starts, compiles and runs; the next session works, and after it nothing is left.
fn rust_cells(count: usize, root: &Path, random: &mut ChaCha8Rng) -> Vec<String> {
    const LINES: Act =
        Act::Lines("load TINY\ndata creatures dataset_dir=TRAIN\nlora\nrust session().train(2)?.step\nrust 20 + 22\n");
    let world = World::new(&root.join("rust"));
    let command = || {
        let mut command = world.command(LINES);
        command.envs(rust_homes()).env("CARGO_NET_OFFLINE", "true");
        command
    };
    let start = Instant::now();
    assert!(command().spawn().unwrap().wait().unwrap().success(), "{}", world.output());
    let whole = start.elapsed();
    let left = || -> Vec<_> {
        let cache = tree::read(&world.root().join("home/.cache/tunebook")).into_keys();
        let hidden = cache.filter(|name| name.starts_with('.'));
        // rust-analyzer copies a Cargo.lock into a folder of its own, whose name does not tell whose it is.
        let is_ours = |name: &String| !name.contains('/') && !name.starts_with("rust-analyzer");
        tree::read(&world.root().join("tmp")).into_keys().filter(is_ours).chain(hidden).collect()
    };
    assert!(left().is_empty(), "{:?}", left());
    let (mut with_leftovers, mut faults) = (0, Vec::new());
    for number in 0..count {
        let mut child = command().spawn().unwrap();
        thread::sleep(whole.mul_f64(random.random::<f64>()));
        // What it has started goes on for a while.
        child.kill().unwrap();
        child.wait().unwrap();
        with_leftovers += usize::from(!left().is_empty());
        let status = command().spawn().unwrap().wait().unwrap();
        let output = world.output();
        if !status.success() || !output.contains("42") {
            faults.push(format!("Rust cells, kill {number}: {status}: {output}"));
        }
        faults.extend(left().into_iter().map(|name| format!("Rust cells, kill {number}: left over: {name}")));
    }
    println!("Rust cells: {count} kills, {with_leftovers} left something for a while, faults {}", faults.len());
    faults
}
