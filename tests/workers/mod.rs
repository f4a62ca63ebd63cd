//! Workers: with any MPI, and whatever happens to them, a training is the one of a single process.

mod faults;

use std::collections::HashMap;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;
use std::time::Instant;

use candle_core::DType;
use candle_core::Device;
use candle_core::Tensor;
use tunebook_engine::Cancel;
use tunebook_engine::Context;
use tunebook_engine::Error;
use tunebook_engine::Event;
use tunebook_engine::Session;
use tunebook_engine::workers::WorkersOptions;

use crate::binary::tunebook;
use crate::fixtures::fixture;
use crate::mpi::implementations;
use crate::resume::FREEZE;
use crate::resume::FULL;
use crate::resume::LORA;
use crate::resume::Start;

/// 9 samples to train on and 3 held out; a step of 4 micro-batches.
const COMMON: [(&str, &str); 9] = [
    ("cutoff_len", "512"),
    ("max_samples", "12"),
    ("val_size", "0.25"),
    ("per_device_train_batch_size", "1"),
    ("gradient_accumulation_steps", "4"),
    ("learning_rate", "0.0002"),
    ("num_train_epochs", "30"),
    ("eval_steps", "5"),
    ("lora_rank", "4"),
];

fn session(data: &Path, start: Start, settings: &[(&str, &str)], cx: &Context) -> Session {
    let mut session = Session::default();
    let mut chosen = session.settings().clone();
    chosen.set("dataset_dir", data.to_str().unwrap()).unwrap();
    COMMON.iter().chain(settings).for_each(|(key, value)| chosen.set(key, value).unwrap());
    session.set(chosen);
    session.load(&fixture("tiny"), cx).unwrap();
    session.data(&["creatures".to_string()], cx).unwrap();
    start(&mut session, cx);
    session
}

fn set(session: &mut Session, key: &str, value: &str) {
    let mut settings = session.settings().clone();
    settings.set(key, value).unwrap();
    session.set(settings);
}

/// Workers of the binary that is tested, with an MPI that is there.
fn options(workers: usize) -> WorkersOptions {
    let launcher = &implementations()[0].launcher;
    with_launcher(workers, launcher)
}

fn with_launcher(workers: usize, launcher: &Path) -> WorkersOptions {
    WorkersOptions {
        launcher: Some(launcher.to_str().unwrap().to_string()),
        program: Some(tunebook().get_program().into()),
        threads: Some(1),
        ..WorkersOptions::new(workers)
    }
}

/// Starts workers whose step is that of one process.
fn start(session: &mut Session, options: WorkersOptions, cx: &Context) {
    session.workers_start(options, cx).unwrap();
    set(session, "world_size", "1");
}

fn processes(session: &Session) -> Vec<u32> {
    session.workers().unwrap().workers.iter().map(|worker| worker.process).collect()
}

/// Whether a process is there, and does not only wait for its parent to notice that it has ended.
fn lives(process: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    status.rsplit_once(") ").is_some_and(|(_, state)| !state.starts_with(['Z', 'X']))
}

/// Waits until all of them have ended.
fn all_end(processes: &[u32]) {
    let start = Instant::now();
    while processes.iter().any(|process| lives(*process)) {
        assert!(start.elapsed() < Duration::from_secs(20), "of {processes:?} some live");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn quiet<T>(run: impl FnOnce(&Context) -> T) -> T {
    run(&Context { emit: &|_| {}, cancel: &Cancel::default() })
}

/// What a training has come to.
struct Trained {
    steps: Vec<(f64, f64)>,
    evaluations: Vec<f64>,
    learned: Vec<Tensor>,
}

impl Trained {
    fn of(session: &mut Session) -> Self {
        let folder = tempfile::tempdir().unwrap();
        session.save(folder.path()).unwrap();
        let names = ["adapter_model.safetensors", "trained_weights.safetensors"];
        let file = names.iter().map(|name| folder.path().join(name)).find(|path| path.exists()).unwrap();
        let tensors: HashMap<_, _> = candle_core::safetensors::load(file, &Device::Cpu).unwrap();
        let mut names: Vec<_> = tensors.keys().collect();
        names.sort();
        Self {
            steps: session.history().iter().map(|record| (record.loss(), record.grad_norm)).collect(),
            evaluations: session.evaluations().iter().map(|record| record.loss).collect(),
            learned: names.iter().map(|name| tensors[*name].clone()).collect(),
        }
    }

    /// Losses, norms relative to their size, and what was learned, within `most`.
    fn is_near(&self, other: &Self, most: f64) {
        assert_eq!(self.steps.len(), other.steps.len());
        let near = |a: f64, b: f64| (a - b).abs() <= most * b.abs().max(1.0);
        for (step, (a, b)) in self.steps.iter().zip(&other.steps).enumerate() {
            assert!(near(a.0, b.0) && near(a.1, b.1), "step {}: {a:?} and {b:?}", step + 1);
        }
        assert_eq!(self.evaluations.len(), other.evaluations.len());
        let evaluations = self.evaluations.iter().zip(&other.evaluations);
        evaluations.for_each(|(a, b)| assert!(near(*a, *b), "{a} and {b}"));
        for (a, b) in self.learned.iter().zip(&other.learned) {
            let difference = (a.to_dtype(DType::F32).unwrap() - b.to_dtype(DType::F32).unwrap()).unwrap();
            let difference = difference.abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
            assert!(f64::from(difference) <= most, "{difference}");
        }
    }

    fn bits(&self) -> (Vec<[u64; 2]>, Vec<Vec<u32>>) {
        let numbers = self.steps.iter().map(|(loss, norm)| [loss.to_bits(), norm.to_bits()]).collect();
        let values = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let learned = self.learned.iter().map(|tensor| values(tensor).into_iter().map(f32::to_bits).collect());
        (numbers, learned.collect())
    }
}

/// Answers of `predict`, and the loss of `evaluate`.
fn asked(session: &mut Session, cx: &Context) -> (Vec<String>, f64) {
    set(session, "max_new_tokens", "16");
    let mut answers = Vec::new();
    let report = session.predict(&[], None, None, &mut |prediction| answers.push(prediction.predict.clone()), cx);
    assert_eq!(report.unwrap().done, 3);
    (answers, session.evaluate(&[], None, None, cx).unwrap().loss)
}

/// The training of one process, and what it answers.
fn alone(start: Start, settings: &[(&str, &str)], steps: usize) -> (Trained, (Vec<String>, f64)) {
    quiet(|cx| {
        let mut session = session(&fixture("train"), start, settings, cx);
        session.train(Some(steps), cx).unwrap();
        let asked = asked(&mut session, cx);
        (Trained::of(&mut session), asked)
    })
}

#[test]
fn over_each_mpi_two_workers_are_one_process() {
    let (trained, asked_alone) = alone(LORA, &[], 12);
    for implementation in implementations() {
        println!("{}", implementation.name);
        quiet(|cx| {
            let mut session = session(&fixture("train"), LORA, &[], cx);
            let report = session.workers_start(with_launcher(2, &implementation.launcher), cx).unwrap();
            assert_eq!(report.workers.iter().map(|worker| worker.threads).collect::<Vec<_>>(), [1, 1]);
            assert_eq!(session.settings().world_size, 2);
            // Two micro-batches of each make a step.
            set(&mut session, "gradient_accumulation_steps", "2");
            let report = session.train(Some(12), cx).unwrap();
            assert_eq!(report.total_steps, 90);
            let (answers, loss) = asked(&mut session, cx);
            assert_eq!(answers, asked_alone.0);
            assert!((loss - asked_alone.1).abs() < 1e-5, "{loss} {}", asked_alone.1);
            Trained::of(&mut session).is_near(&trained, 1e-5);
            let workers = processes(&session);
            drop(session);
            all_end(&workers);
        });
    }
}

/// A name, what trains, and settings.
type Case<'a> = (&'a str, Start, &'a [(&'a str, &'a str)]);

#[test]
fn over_mpi_whatever_trains_is_what_one_process_trains() {
    let noise = [("lora_dropout", "0.2"), ("neftune_noise_alpha", "5"), ("use_dora", "true")];
    let cases: [Case; 6] = [
        ("DoRA with dropout and NEFTune", LORA, &noise),
        ("PiSSA", LORA, &[("pissa_init", "true"), ("lora_alpha", "4")]),
        ("the vision tower too", LORA, &[("freeze_vision_tower", "false")]),
        ("head and embedding", LORA, &[("additional_target", "lm_head,embed_tokens")]),
        ("freeze", FREEZE, &[("learning_rate", "0.00002")]),
        ("full, packed", FULL, &[("learning_rate", "0.00002"), ("packing", "true")]),
    ];
    quiet(|cx| {
        for (name, what, settings) in cases {
            println!("{name}");
            let (trained, asked_alone) = alone(what, settings, 6);
            let mut session = session(&fixture("train"), what, settings, cx);
            start(&mut session, options(3), cx);
            session.train(Some(4), cx).unwrap();
            // They are not there for good.
            session.workers_stop().unwrap();
            session.train(Some(1), cx).unwrap();
            start(&mut session, options(2), cx);
            session.train(Some(1), cx).unwrap();
            assert_eq!(asked(&mut session, cx).0, asked_alone.0, "{name}");
            Trained::of(&mut session).is_near(&trained, 1e-5);
        }
    });
}

#[test]
fn over_mpi_the_same_number_of_workers_gives_the_same_bits() {
    let bits = |launcher: &Path| {
        quiet(|cx| {
            let mut session = session(&fixture("train"), LORA, &[("full_determinism", "true")], cx);
            start(&mut session, with_launcher(3, launcher), cx);
            session.train(Some(4), cx).unwrap();
            // What was undone is done again.
            session.undo(Some(2), cx).unwrap();
            session.train(Some(2), cx).unwrap();
            Trained::of(&mut session).bits()
        })
    };
    let all: Vec<_> = implementations().iter().map(|implementation| bits(&implementation.launcher)).collect();
    assert!(all.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn over_mpi_a_step_has_the_samples_of_all_processes() {
    quiet(|cx| {
        let mut session = session(&fixture("train"), LORA, &[("gradient_accumulation_steps", "1")], cx);
        session.workers_start(options(3), cx).unwrap();
        let report = session.train(None, cx).unwrap();
        assert_eq!((report.steps, session.history()[2].epoch), (90, 1.0));
        session.workers_stop().unwrap();
        assert_eq!(session.settings().world_size, 1);
    });
}

#[test]
fn over_mpi_a_stop_leaves_the_step_undone() {
    let (trained, _) = alone(LORA, &[], 6);
    let mut session = quiet(|cx| {
        let mut session = session(&fixture("train"), LORA, &[], cx);
        start(&mut session, options(2), cx);
        session
    });
    let workers = processes(&session);
    let cancel = Cancel::default();
    let emit = |event| {
        if matches!(event, Event::MicroBatch { step: 3, .. }) {
            cancel.cancel();
        }
    };
    let report = session.train(Some(6), &Context { emit: &emit, cancel: &cancel }).unwrap();
    assert_eq!((report.step, session.step()), (2, 2));
    quiet(|cx| session.train(Some(4), cx)).unwrap();
    Trained::of(&mut session).is_near(&trained, 1e-5);
    assert_eq!(processes(&session), workers, "they are the same still");
    // Evaluations and predictions are left as well.
    quiet(|cx| {
        cancel.reset();
        let emit = |event| {
            if matches!(event, Event::Progress { done: 0, .. } | Event::Predicting { done: 0, .. }) {
                cancel.cancel();
            }
        };
        let stopping = Context { emit: &emit, cancel: &cancel };
        assert!(matches!(session.evaluate(&[], None, None, &stopping), Err(Error::Cancelled)));
        cancel.reset();
        assert!(matches!(session.predict(&[], None, None, &mut |_| {}, &stopping), Err(Error::Cancelled)));
        assert_eq!(asked(&mut session, cx).0.len(), 3);
    });
    assert_eq!(processes(&session), workers, "they are the same still");
}

/// The data of the fixtures with pictures of its own.
fn own_pictures() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    copy_all(&fixture("train"), folder.path());
    copy_all(&fixture("pictures"), &folder.path().join("pictures"));
    folder
}

fn copy_all(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let there = to.join(path.file_name().unwrap());
        match path.is_dir() {
            true => copy_all(&path, &there),
            false => _ = std::fs::copy(&path, there).unwrap(),
        }
    }
}

#[test]
fn over_mpi_a_sample_that_nobody_can_read_is_left_out() {
    let left_out = |workers: usize| {
        let data = own_pictures();
        let pictures = data.path().join("pictures");
        let settings = [("media_dir", pictures.to_str().unwrap().to_string())];
        let settings: Vec<_> = settings.iter().map(|(key, value)| (*key, value.as_str())).collect();
        quiet(|cx| {
            let mut session = session(data.path(), LORA, &settings, cx);
            if workers > 0 {
                start(&mut session, options(workers), cx);
            }
            std::fs::write(pictures.join("creature_2.png"), "no picture").unwrap();
            session.train(Some(6), cx).unwrap();
            let report = session.evaluate(&[], None, None, cx);
            let mut predicted = Vec::new();
            drop(session.predict(&[], None, None, &mut |prediction| predicted.push(prediction.index), cx));
            let skipped = session.skipped().iter().map(|skipped| skipped.origin.index).collect::<Vec<_>>();
            (Trained::of(&mut session), skipped, report.map(|report| report.done).ok(), predicted)
        })
    };
    let (one, two) = (left_out(0), left_out(2));
    assert!(!one.1.is_empty());
    assert_eq!((&one.1, one.2, &one.3), (&two.1, two.2, &two.3));
    two.0.is_near(&one.0, 1e-5);
}

#[test]
fn no_mpi_is_linked() {
    let output = std::process::Command::new("ldd").arg(tunebook().get_program()).output().unwrap();
    let libraries = String::from_utf8(output.stdout).unwrap();
    assert!(libraries.contains("libc.so") && !libraries.contains("mpi"), "{libraries}");
}

#[test]
fn mpi_that_is_not_there_is_asked_for() {
    quiet(|cx| {
        let mut session = Session::default();
        let named = |launcher: &str| WorkersOptions { launcher: Some(launcher.to_string()), ..options(2) };
        let error = session.workers_start(named("no-such-launcher"), cx).unwrap_err().to_string();
        assert!(error.contains("no-such-launcher") && error.contains("help workers"), "{error}");
        let error = session.workers_start(named("false"), cx).unwrap_err().to_string();
        assert!(error.contains("0 of 2"), "{error}");
        let program = Some(PathBuf::from("/no/such/tunebook"));
        let error = session.workers_start(WorkersOptions { program, ..options(2) }, cx).unwrap_err().to_string();
        assert!(error.contains("/no/such/tunebook"), "{error}");
    });
}

#[test]
fn over_mpi_a_recipe_is_trained_by_workers() {
    let place = tempfile::tempdir().unwrap();
    let recipe = place.path().join("recipe.yaml");
    let text = format!(
        "model_name_or_path: {}\nstage: sft\ndo_train: true\nfinetuning_type: lora\nlora_rank: 4\ndataset: creatures\n\
         dataset_dir: {}\ntemplate: qwen2_vl\ncutoff_len: 512\nmax_samples: 12\nper_device_train_batch_size: 1\n\
         gradient_accumulation_steps: 2\nlearning_rate: 2.0e-4\nnum_train_epochs: 2.0\nlogging_steps: 1\n\
         save_strategy: 'no'\nlr_scheduler_type: cosine\n",
        fixture("tiny").display(),
        fixture("train").display()
    );
    std::fs::write(&recipe, text).unwrap();
    let losses = |name: &str, arguments: &[&str], path: &Path| {
        let output = place.path().join(name);
        let path = format!("{}:{}", path.display(), std::env::var("PATH").unwrap());
        let mut command = tunebook();
        command.arg("train").arg(&recipe).arg(format!("output_dir={}", output.display())).args(arguments);
        let run = command.env("PATH", path).output().unwrap();
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        let log = std::fs::read_to_string(output.join("trainer_log.jsonl")).unwrap();
        let line = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["loss"].as_f64();
        log.lines().filter_map(line).collect::<Vec<_>>()
    };
    let one = losses("one", &["gradient_accumulation_steps=4"], Path::new("/nowhere"));
    assert_eq!(one.len(), 6);
    for implementation in implementations().iter().take(2) {
        // Nothing but the folder of `mpiexec` on the PATH.
        let folder = implementation.launcher.parent().unwrap();
        let two = losses(implementation.name, &["workers=2", "threads=1"], folder);
        assert_eq!(two.len(), 6);
        assert!(one.iter().zip(&two).all(|(one, two)| (one - two).abs() < 1e-4), "{one:?} {two:?}");
    }
}

#[test]
fn over_mpi_a_sweep_is_what_one_process_finds() {
    use tunebook_commands::Host;
    use tunebook_commands::Lang;
    use tunebook_commands::Message;
    use tunebook_commands::Output;
    let host = Host::start(Lang::En).unwrap();
    let run = |line: &str| {
        let mut last = None;
        for message in host.line(line) {
            match message {
                Message::Output(output) => last = Some(output),
                Message::Done(result) => result.unwrap_or_else(|error| panic!("{line}: {error}")),
                _ => {}
            }
        }
        last
    };
    run(&format!("load {}", fixture("tiny").display()));
    run(&format!(
        "set dataset_dir={} epochs=30 batch=1 accum=3 cutoff_len=512 max_samples=12 val_size=0.25",
        fixture("train").display()
    ));
    run("data creatures");
    run("lora");
    let curves = |output: Option<Output>| match output {
        Some(Output::Sweep(report)) => report.trials.iter().map(|trial| trial.eval_loss.unwrap()).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    let one = curves(run("sweep learning_rate=1e-4,1e-3 steps=3"));
    run("adapter use default");
    host.call(|session, cx| session.workers_start(options(2), &cx.context).map(drop).unwrap()).iter().for_each(drop);
    run("set world_size=1");
    let two = curves(run("sweep learning_rate=1e-4,1e-3 steps=3"));
    assert!(one.iter().zip(&two).all(|(one, two)| (one - two).abs() < 1e-4), "{one:?} {two:?}");
    // In the background, others are answered in between, and workers are not changed under a training.
    run("train 4 &");
    run("status");
    run("chat max_new_tokens=2 Hello");
    assert!(matches!(run("workers"), Some(Output::Workers(Some(report))) if report.workers.workers.len() == 2));
    let refused = host.line("workers off").iter().any(|message| matches!(message, Message::Done(Err(_))));
    run("wait");
    assert!(refused);
}
