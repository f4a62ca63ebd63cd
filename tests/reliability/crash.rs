//! Dying at a system call, and going on.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use rand::SeedableRng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;

use super::scenario::Act;
use super::scenario::LOAD;
use super::scenario::Next;
use super::scenario::RESUME;
use super::scenario::SCENARIOS;
use super::scenario::Scenario;
use super::traced;
use super::traced::Traced;
use super::tree;
use super::tree::Tree;
use crate::binary::tunebook;
use crate::fixtures::fixture;

/// Where checkpoints may be: in the folder of the training, and where an earlier one is set aside.
const PLACES: [&str; 3] = ["out", "out/earlier", "out/.earlier"];

/// A place with everything that the program writes to.
pub(super) struct World {
    root: PathBuf,
}

impl World {
    pub(super) fn new(root: &Path) -> Self {
        ["work", "home", "tmp"].iter().for_each(|name| fs::create_dir_all(root.join(name)).unwrap());
        Self { root: root.canonicalize().unwrap() }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// The folder that the program works in.
    pub(super) fn work(&self) -> PathBuf {
        self.root.join("work")
    }

    pub(super) fn command(&self, act: Act) -> Command {
        let named = |text: &str| {
            let [tiny, train] = ["tiny", "train"].map(|name| fixture(name).display().to_string());
            text.replace("TINY", &tiny).replace("TRAIN", &train)
        };
        let mut command = tunebook();
        command.current_dir(self.work()).env("HOME", self.root.join("home")).env("TMPDIR", self.root.join("tmp"));
        for name in ["XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"] {
            command.env_remove(name);
        }
        let (input, output) = (self.root.join("input"), self.root.join("output"));
        let lines = match act {
            Act::Lines(lines) => named(lines),
            Act::Recipe(arguments) => {
                command.arg("train");
                for (key, value) in arguments.iter().filter_map(|argument| argument.split_once('=')) {
                    command.args([format!("--{key}"), named(value)]);
                }
                String::new()
            }
        };
        fs::write(&input, lines).unwrap();
        let output = fs::File::create(output).unwrap();
        command.stdin(fs::File::open(input).unwrap()).stdout(Stdio::from(output.try_clone().unwrap())).stderr(output);
        command
    }

    /// What the program has written to standard output and error.
    pub(super) fn output(&self) -> String {
        fs::read_to_string(self.root.join("output")).unwrap_or_default()
    }

    /// Does something undisturbed.
    fn act(&self, act: Act) -> Result<(), String> {
        let status = self.command(act).status().unwrap();
        if status.success() { Ok(()) } else { Err(format!("{status}: {}", self.output())) }
    }

    /// The same up to the `kill_at`th call, and notes which checkpoints there were at any time.
    fn traced(&self, act: Act, kill_at: Option<usize>) -> (Traced, Checkpoints) {
        let mut seen = Checkpoints::default();
        let traced = traced::run(self.command(act), &self.work(), kill_at, &mut || seen.look(&self.work()));
        seen.look(&self.work());
        (traced, seen)
    }
}

/// The checkpoints that have been seen: their steps, by what was learned in them.
#[derive(Default)]
pub(super) struct Checkpoints {
    steps: BTreeMap<[u8; 32], usize>,
    /// What is known of a folder's file.
    hashes: BTreeMap<u64, [u8; 32]>,
}

impl Checkpoints {
    pub(super) fn look(&mut self, work: &Path) {
        use std::os::unix::fs::MetadataExt;
        for (step, folder) in checkpoints(work) {
            let files = ["adapter_model.safetensors", "trained_weights.safetensors"].map(|name| folder.join(name));
            let Some((file, metadata)) = files.iter().find_map(|file| Some((file, fs::metadata(file).ok()?))) else {
                continue;
            };
            let hash = *self.hashes.entry(metadata.ino()).or_insert_with(|| tree::hash(file));
            self.steps.insert(hash, step);
        }
    }

    /// The newest of those that `of` takes.
    fn newest(&self, of: impl Fn(&[u8; 32]) -> bool) -> Option<usize> {
        self.steps.iter().filter(|(hash, _)| of(hash)).map(|(_, step)| *step).max()
    }
}

/// The checkpoints that lie somewhere in a working folder, with their steps.
fn checkpoints(work: &Path) -> Vec<(usize, PathBuf)> {
    let entries = PLACES.iter().flat_map(|place| fs::read_dir(work.join(place)).into_iter().flatten().flatten());
    let step = |entry: &fs::DirEntry| entry.file_name().to_str()?.strip_prefix("checkpoint-")?.parse().ok();
    entries.filter_map(|entry| Some((step(&entry)?, entry.path()))).collect()
}

/// A scenario whose undisturbed run is known.
pub(super) struct Prepared {
    pub scenario: &'static Scenario,
    /// How the folder was before.
    template: PathBuf,
    /// How it is afterwards.
    expected: Tree,
    /// Whole checkpoints that there were at any time.
    whole: Vec<Tree>,
    /// What was learned in checkpoints from before, where they are another training's.
    old: Checkpoints,
    /// The calls that change something.
    pub calls: Vec<&'static str>,
}

impl Prepared {
    pub(super) fn new(scenario: &'static Scenario, root: &Path) -> Self {
        let world = World::new(root);
        scenario.before.iter().for_each(|act| world.act(*act).unwrap());
        let template = world.root.join("template");
        tree::copy(&world.work(), &template);
        let mut old = Checkpoints::default();
        if !scenario.continues {
            old.look(&world.work());
        }
        let mut whole = BTreeMap::new();
        let mut gather = || {
            for (_, folder) in checkpoints(&world.work()) {
                let tree = tree::read(&folder);
                whole.insert(format!("{tree:?}"), tree);
            }
        };
        let traced = traced::run(world.command(scenario.killed), &world.work(), None, &mut gather);
        gather();
        for (name, tree) in &whole {
            assert!(tree.len() >= 4 && tree.contains_key("training_state.json"), "{}: {name}", scenario.name);
        }
        assert_eq!(traced.exit_code, Some(0), "{}: {}", scenario.name, world.output());
        let expected = tree::read(&world.work());
        let hidden: Vec<_> = expected.keys().filter(|name| name.starts_with('.') || name.contains("/.")).collect();
        assert!(hidden.is_empty(), "{}: {hidden:?}", scenario.name);
        Self { scenario, template, expected, whole: whole.into_values().collect(), old, calls: traced.calls }
    }

    /// Kills the program at its `kill_at`th call, does what a user does next, and gives what is wrong then; none if the
    /// program has ended before.
    pub(super) fn kill(&self, kill_at: usize, world: &World) -> Option<Vec<String>> {
        self.begin(world);
        let (traced, seen) = world.traced(self.scenario.killed, Some(kill_at));
        if traced.exit_code.is_some() { None } else { Some(self.afterwards(&seen, world)) }
    }

    /// Has the world be as it is before the program is killed.
    pub(super) fn begin(&self, world: &World) {
        fs::remove_dir_all(world.work()).unwrap();
        tree::copy(&self.template, &world.work());
    }

    /// Does what a user does after the program was killed, and gives what is wrong before and then; `seen` are the
    /// checkpoints that there were.
    pub(super) fn afterwards(&self, seen: &Checkpoints, world: &World) -> Vec<String> {
        let mut faults = self.lost(seen, &world.work());
        if let Err(error) = self.next(world) {
            faults.push(error);
        }
        faults.extend(tree::differences(&tree::read(&world.work()), &self.expected));
        faults.extend(tree::read(&world.root.join("tmp")).into_keys().map(|name| format!("left over: tmp/{name}")));
        faults
    }

    /// What has been lost of what was complete, and what is there and not complete.
    fn lost(&self, seen: &Checkpoints, work: &Path) -> Vec<String> {
        let mut faults = Vec::new();
        for (step, folder) in checkpoints(work) {
            if !self.whole.contains(&tree::read(&folder)) {
                faults.push(format!("torn: checkpoint-{step}"));
            }
        }
        let mut there = Checkpoints::default();
        there.look(work);
        let is_old = |hash: &[u8; 32]| self.old.steps.contains_key(hash);
        for (whose, before, now) in [
            ("earlier", seen.newest(is_old), there.newest(is_old)),
            ("this", seen.newest(|hash| !is_old(hash)), there.newest(|hash| !is_old(hash))),
        ] {
            if now < before {
                faults.push(format!("lost: checkpoint {before:?} of {whose} training, {now:?} is there"));
            }
        }
        faults
    }

    fn load(&self, world: &World) -> Result<(), String> {
        const FILES: [&str; 2] = ["saved/adapter_config.json", "saved/adapter_model.safetensors"];
        world.act(LOAD)?;
        let there = FILES.map(|name| Some(tree::hash(&world.work().join(name))));
        let earlier = FILES.map(|name| Some(tree::hash(&self.template.join(name))));
        let new = FILES.map(|name| self.expected[name]);
        if [earlier, new].contains(&there) { Ok(()) } else { Err("mixed: saved".to_string()) }
    }

    fn next(&self, world: &World) -> Result<(), String> {
        let Scenario { killed, next, .. } = *self.scenario;
        let of_this_run = {
            let mut there = Checkpoints::default();
            there.look(&world.work());
            there.newest(|hash| !self.old.steps.contains_key(hash)).is_some()
        };
        match (next, killed) {
            (Next::Resume, _) if of_this_run => world.act(RESUME),
            (Next::Resume, Act::Lines(lines)) if !lines.contains("overwrite_output_dir") => {
                let again = lines.replace("max_steps", "overwrite_output_dir=true max_steps");
                world.act(Act::Lines(again.leak()))
            }
            (Next::Recipe, Act::Recipe(arguments)) if !of_this_run => {
                world.act(Act::Recipe([arguments, &["overwrite_output_dir=true"]].concat().leak()))
            }
            (Next::LoadFirst, _) => self.load(world).and_then(|()| world.act(killed)),
            (Next::UnlessThere(folder), _) if world.work().join(folder).exists() => Ok(()),
            _ => world.act(killed),
        }
    }
}

/// What a campaign has come to.
#[derive(Default)]
struct Counts {
    points: usize,
    /// The program had ended before.
    ended: usize,
    faults: Vec<String>,
}

/// Kills the program at each of `points`, a scenario and the number of a call, in several processes at once.
fn campaign(prepared: &[Prepared], points: &[(usize, usize)], root: &Path) -> Counts {
    let (next, counts) = (AtomicUsize::new(0), Mutex::new(Counts::default()));
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for worker in 0..workers {
            let (next, counts) = (&next, &counts);
            scope.spawn(move || {
                let world = World::new(&root.join(format!("worker-{worker}")));
                while let Some((scenario, at)) = points.get(next.fetch_add(1, Ordering::SeqCst)) {
                    let prepared = &prepared[*scenario];
                    let found = prepared.kill(*at, &world);
                    let mut counts = counts.lock().unwrap();
                    counts.points += 1;
                    if counts.points.is_multiple_of(100) {
                        println!("{} points of {}", counts.points, points.len());
                    }
                    match found {
                        None => counts.ended += 1,
                        Some(faults) if faults.is_empty() => {}
                        Some(faults) => {
                            let (name, call) = (prepared.scenario.name, prepared.calls[at - 1]);
                            println!("{name}, call {at} ({call}): {}", faults.join("; "));
                            counts.faults.push(format!("{name}, call {at} ({call}): {}", faults.join("; ")));
                        }
                    }
                }
            });
        }
    });
    counts.into_inner().unwrap()
}

fn prepare(root: &Path) -> Vec<Prepared> {
    let folder = |scenario: &Scenario| root.join(scenario.name);
    let prepare = |scenario| {
        fs::create_dir_all(folder(scenario)).unwrap();
        Prepared::new(scenario, &folder(scenario))
    };
    SCENARIOS.iter().map(prepare).collect()
}

/// Every call of every scenario, but of writes that follow one another only the first, the last and two of every eight:
/// between them, a file that has no name of its own yet grows by a tensor.
fn points(prepared: &[Prepared]) -> Vec<(usize, usize)> {
    let mut points = Vec::new();
    for (index, Prepared { calls, .. }) in prepared.iter().enumerate() {
        let is_write = |at: usize| calls.get(at) == Some(&"write");
        let mut row = 0;
        for at in 0..calls.len() {
            row = if is_write(at) { row + 1 } else { 0 };
            if row % 8 <= 1 || !is_write(at + 1) {
                points.push((index, at + 1));
            }
        }
    }
    points
}

#[test]
fn nothing_is_lost_at_some_of_the_calls_that_change_the_disk() {
    let root = tempfile::tempdir().unwrap();
    let prepared = prepare(root.path());
    let all = points(&prepared);
    let mut random = ChaCha8Rng::seed_from_u64(25);
    let points: Vec<_> = all.choose_multiple(&mut random, 25).copied().collect();
    let counts = campaign(&prepared, &points, root.path());
    assert!(counts.faults.is_empty(), "{}", counts.faults.join("\n"));
    assert!(counts.ended <= 1, "{} of {} were not killed", counts.ended, counts.points);
}

#[test]
#[ignore = "takes 20 minutes: every call that changes the disk"]
fn nothing_is_lost_at_any_call_that_changes_the_disk() {
    let root = tempfile::tempdir().unwrap();
    let prepared = prepare(root.path());
    for Prepared { scenario, calls, .. } in &prepared {
        let mut kinds = BTreeMap::new();
        calls.iter().for_each(|call| *kinds.entry(call).or_insert(0) += 1);
        println!("{}: {} calls {kinds:?}", scenario.name, calls.len());
    }
    let counts = campaign(&prepared, &points(&prepared), root.path());
    println!("{} points, {} had ended before, {} with a fault", counts.points, counts.ended, counts.faults.len());
    assert!(counts.faults.is_empty(), "{}", counts.faults.join("\n"));
}
