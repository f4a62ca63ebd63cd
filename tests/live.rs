//! A training that is talked with while it runs has the bits of one that was left alone, and answers as it is.

use std::path::Path;
use std::sync::Mutex;

use crossbeam_channel::Receiver;
use serde_json::Value;
use tunebook_commands::Host;
use tunebook_commands::JobState;
use tunebook_commands::Lang;
use tunebook_commands::Message;
use tunebook_commands::Output;
use tunebook_engine::Cancel;
use tunebook_engine::Context;
use tunebook_engine::Event;
use tunebook_engine::Session;
use tunebook_engine::report::TrainEnd;

use crate::fixtures::fixture;
use crate::resume::FULL;
use crate::resume::LORA;
use crate::resume::Start;
use crate::resume::files;
use crate::resume::log;
use crate::resume::session;

const ASKED: &str = "What is in the picture?";
/// 30 steps, the loss on what is held out every 10, and a checkpoint after each.
const SETTINGS: [(&str, &str); 8] = [
    ("max_steps", "30"),
    ("val_size", "0.2"),
    ("eval_strategy", "steps"),
    ("eval_steps", "10"),
    ("save_steps", "1"),
    ("lora_dropout", "0.2"),
    ("max_new_tokens", "8"),
    ("do_sample", "false"),
];
const QUESTIONS: usize = 20;

/// What is asked in the middle of a training, in turn; a chat gives its step and its answer.
fn ask(session: &mut Session, number: usize, place: &Path, cx: &Context) -> Option<(usize, String)> {
    let picture = [fixture("pictures/creature_0.png")];
    match number % 5 {
        0 | 1 => {
            session.chat_clear();
            let images = if number.is_multiple_of(2) { &picture[..] } else { &[] };
            return Some((session.step(), session.chat(ASKED, images, cx).unwrap().text));
        }
        2 => drop(session.evaluate(&[], Some(3), None, cx).unwrap()),
        3 => drop(session.compare(ASKED, &picture, &[], cx).unwrap()),
        _ => {
            drop(session.save(&place.join(format!("saved-{number}"))).unwrap());
            drop(session.predict(&[], Some(2), None, &mut |_| {}, cx).unwrap());
        }
    }
    None
}

fn check(start: Start) {
    let place = tempfile::tempdir().unwrap();
    let (alone, asked) = (place.path().join("alone"), place.path().join("asked"));
    let cancel = Cancel::default();
    let quiet = Context { emit: &|_| {}, cancel: &cancel };
    session(&fixture("tiny"), &alone, start, &SETTINGS, &quiet).train(None, &quiet).unwrap();

    let mut session = session(&fixture("tiny"), &asked, start, &SETTINGS, &quiet);
    let mut job = session.begin_training(None, &quiet).unwrap();
    let (seen, answers) = (Mutex::new(0), Mutex::new(Vec::new()));
    {
        let session = Mutex::new(&mut session);
        let emit = |event: Event| {
            let mut session = session.lock().unwrap();
            session.hear(&event);
            if let Event::MicroBatch { step, .. } = event {
                // In the middle of passes, forward and backward, at other layers each time.
                let mut seen = seen.lock().unwrap();
                *seen += 1_usize;
                let mut answers = answers.lock().unwrap();
                if (*seen).is_multiple_of(7) && answers.len() < QUESTIONS && step > answers.len() {
                    let number = answers.len();
                    answers.push(ask(&mut session, number, place.path(), &quiet));
                }
            }
        };
        assert_eq!(job.train(&Context { emit: &emit, cancel: &cancel }).unwrap().end, TrainEnd::Finished);
    }
    session.end_training(job);
    let answers = answers.into_inner().unwrap();
    assert_eq!(answers.len(), QUESTIONS);

    let learned = ["adapter_model.safetensors", "trained_weights.safetensors"];
    assert!(files(&asked, &learned) == files(&alone, &learned), "questions change what is learned");
    let optimizer = |folder: &Path| files(&folder.join("checkpoint-30"), &["optimizer.safetensors"]);
    assert!(optimizer(&asked).len() == 1 && optimizer(&asked) == optimizer(&alone), "questions change the moments");
    assert_eq!(log(&asked), log(&alone));
    assert_eq!(session.step(), 30);

    // Each answer is that of the adapter as it was after the last step.
    let steps: Vec<_> = answers.iter().flatten().map(|(step, _)| *step).collect();
    assert!(steps.len() == 8 && steps.last() > steps.first(), "{steps:?}");
    for (number, (step, answer)) in answers.iter().enumerate().filter_map(|(n, answer)| Some((n, answer.as_ref()?))) {
        let mut session = Session::default();
        session.load(&fixture("tiny"), &quiet).unwrap();
        if *step > 0 {
            session.resume(Some(&asked.join(format!("checkpoint-{step}"))), &|_| false, &quiet).unwrap();
        }
        let mut settings = session.settings().clone();
        for (key, value) in [("max_new_tokens", "8"), ("do_sample", "false")] {
            settings.set(key, value).unwrap();
        }
        session.set(settings);
        assert_eq!(ask(&mut session, number, place.path(), &quiet).unwrap().1, *answer, "after step {step}");
    }
}

#[test]
fn a_lora_is_asked_while_it_trains() {
    check(LORA);
}

#[test]
fn full_tuning_is_asked_while_it_trains() {
    check(FULL);
}

/// A session in which a long training runs.
struct Live {
    host: Host,
    place: tempfile::TempDir,
}

impl Live {
    /// With what has to be done before `train`.
    fn new(lines: &[&str]) -> Self {
        let live = Self { host: Host::start(Lang::En).unwrap(), place: tempfile::tempdir().unwrap() };
        let setting = format!(
            "set dataset_dir={} cutoff_len=512 batch=2 accum=2 epochs=100000 memory=1 logging_steps=1 save_steps=100000 \
             output_dir={} max_new_tokens=4",
            fixture("train").display(),
            live.output().display()
        );
        live.ok(&format!("load {}", fixture("tiny").display()));
        live.ok(&setting);
        live.ok("data creatures");
        live.ok("lora");
        lines.iter().for_each(|line| drop(live.ok(line)));
        live
    }

    fn output(&self) -> std::path::PathBuf {
        self.place.path().join("out")
    }

    /// What a line shows, and the training that it begins to follow.
    fn carry_out(&self, line: &str) -> (Vec<Output>, Option<Receiver<Message>>, Result<(), String>) {
        let (mut outputs, mut job) = (Vec::new(), None);
        for message in self.host.line(line) {
            match message {
                Message::Event(_) | Message::Ask(_) | Message::Call(_) => {}
                Message::Output(output) => outputs.push(output),
                Message::Job(messages) => job = Some(messages),
                Message::Done(result) => return (outputs, job, result.map_err(|error| error.to_string())),
            }
        }
        panic!("no end")
    }

    fn ok(&self, line: &str) -> Vec<Output> {
        let (outputs, _, result) = self.carry_out(line);
        result.unwrap_or_else(|error| panic!("{line}: {error}"));
        outputs
    }

    /// Begins a training in the background, of which nobody else knows.
    fn train(&self, line: &str) -> Receiver<Message> {
        let (outputs, job, result) = self.carry_out(line);
        result.unwrap();
        assert!(matches!(outputs[..], [Output::Started { .. }]), "{outputs:?}");
        job.unwrap()
    }

    fn state(&self) -> JobState {
        match &self.ok("jobs")[..] {
            [Output::Job(Some(report))] => report.state.clone(),
            other => panic!("{other:?}"),
        }
    }
}

/// Hears a job until it has made step `until`; the steps that were told.
fn steps(messages: &Receiver<Message>, until: usize) -> Vec<usize> {
    let mut told = Vec::new();
    for message in messages {
        if let Message::Event(Event::Step(record)) = message {
            told.push(record.step);
            if record.step == until {
                return told;
            }
        }
    }
    panic!("it ended after {told:?}")
}

/// How a job ended.
fn end(messages: &Receiver<Message>) -> TrainEnd {
    let mut end = None;
    for message in messages {
        match message {
            Message::Output(Output::Trained(report)) => end = Some(report.end),
            Message::Done(result) => result.unwrap(),
            _ => {}
        }
    }
    end.unwrap()
}

#[test]
fn what_would_change_a_training_is_refused_with_the_way_out() {
    let live = Live::new(&[]);
    let job = live.train("train &");
    steps(&job, 2);
    let model = format!("load {}", fixture("tiny").display());
    for line in [model.as_str(), "unload", "data creatures", "lora", "freeze", "full", "adapter drop default", "demo"] {
        let error = live.carry_out(line).2.unwrap_err();
        assert!(error.contains("`default` is being trained") && error.contains("`stop` stops it"), "{line}: {error}");
    }
    for line in ["train 5", "train 5 &", "resume", "save"] {
        let error = live.carry_out(line).2.unwrap_err();
        assert!(error.contains("`default` is being trained"), "{line}: {error}");
    }
    // All else is answered, and the training goes on.
    for line in ["status", "show", "plot", "adapter list", "help train", "sample 1", "evaluate creatures", "chat Hello"]
    {
        live.ok(line);
    }
    assert_eq!(live.state(), JobState::Running);
    let saved = live.place.path().join("saved");
    live.ok(&format!("save {}", saved.display()));
    assert!(saved.join("adapter_model.safetensors").is_file() && saved.join("trainer_log.jsonl").is_file());
    live.ok("stop");
    assert_eq!((end(&job), live.state()), (TrainEnd::Interrupted, JobState::Stopped));
    live.ok("train 1");
    live.ok("adapter drop default");
}

#[test]
fn a_setting_counts_from_the_next_step_on() {
    let live = Live::new(&["set lr=1e-3 scheduler=constant warmup_steps=0"]);
    let job = live.train("train 400 &");
    steps(&job, 3);
    live.ok("set lr=5e-4");
    let mut made = 0;
    for message in live.host.call(|session, cx| (cx.show)(Output::Text(session.step().to_string()))) {
        if let Message::Output(Output::Text(step)) = message {
            made = step.parse().unwrap();
        }
    }
    steps(&job, made + 4);
    live.ok("stop");
    let rates: Vec<_> = log(&live.output()).iter().map(|line| line["lr"].as_f64().unwrap()).collect();
    let before = rates.iter().take_while(|rate| **rate == 1e-3).count();
    assert!((3..=made + 1).contains(&before), "{before} steps with the old rate, of {made} made then");
    assert!(rates.len() > made + 2 && rates[before..].iter().all(|rate| *rate == 5e-4), "{rates:?}");

    // One that cannot be followed is told, and ends nothing.
    let job = live.train("train &");
    live.ok("set load_best_model_at_end=true");
    let told = job.iter().find_map(|message| match message {
        Message::Event(Event::Note(note)) => Some(format!("{note:?}")),
        Message::Done(result) => panic!("it has ended: {result:?}"),
        _ => None,
    });
    assert!(told.as_ref().unwrap().contains("ChangesLeftOut"), "{told:?}");
    live.ok("set load_best_model_at_end=false");
    live.ok("stop");
}

/// The bits of `train 6`, `set lr`, `train` are those of a `set` between the same two steps of one training.
#[test]
fn a_change_in_the_middle_is_a_change_between_two_calls() {
    let place = tempfile::tempdir().unwrap();
    let cancel = Cancel::default();
    let quiet = Context { emit: &|_| {}, cancel: &cancel };
    let settings = [("max_steps", "12"), ("lora_dropout", "0.2")];
    let change = |session: &mut Session| {
        let mut settings = session.settings().clone();
        for (key, value) in [("learning_rate", "0.0003"), ("gradient_accumulation_steps", "2"), ("weight_decay", "0")] {
            settings.set(key, value).unwrap();
        }
        session.set(settings);
    };
    let [paused, live] = ["paused", "live"].map(|name| place.path().join(name));
    let mut first = session(&fixture("tiny"), &paused, LORA, &settings, &quiet);
    first.train(Some(6), &quiet).unwrap();
    change(&mut first);
    first.train(None, &quiet).unwrap();

    let mut second = session(&fixture("tiny"), &live, LORA, &settings, &quiet);
    let mut job = second.begin_training(None, &quiet).unwrap();
    let both = Mutex::new((&mut second, false));
    let emit = |event: Event| {
        let (session, is_changed) = &mut *both.lock().unwrap();
        session.hear(&event);
        // In the middle of the step after which it counts.
        if matches!(event, Event::MicroBatch { step: 6, done, .. } if done > 1.2) && !*is_changed {
            *is_changed = true;
            change(session);
            session.pass_on_changes();
        }
    };
    let report = job.train(&Context { emit: &emit, cancel: &cancel }).unwrap();
    assert_eq!((report.steps, report.end), (12, TrainEnd::Finished));
    second.end_training(job);
    let adapter = |folder: &Path| files(folder, &["adapter_model.safetensors"]);
    assert!(adapter(&paused).len() == 1 && adapter(&paused) == adapter(&live));
    assert_eq!(log(&paused), log(&live));
}

#[test]
fn an_interrupt_means_what_is_waited_for() {
    let live = Live::new(&["set max_new_tokens=100000"]);
    let job = live.train("train &");
    steps(&job, 1);
    // A long answer is stopped, the training is not.
    let answer = live.host.line("chat Tell me a long story.");
    assert!(answer.iter().any(|message| matches!(message, Message::Event(Event::Text(_)))));
    live.host.cancel().cancel();
    assert!(answer.iter().any(|message| matches!(message, Message::Done(Ok(())))));
    let made = steps(&job, 3);
    assert!(made.ends_with(&[3]) && live.state() == JobState::Running);
    // Who waits stops it.
    let waiting = live.host.line("wait");
    assert!(waiting.iter().any(|message| matches!(message, Message::Output(Output::Step(_)))));
    live.host.cancel().cancel();
    assert_eq!(end(&waiting), TrainEnd::Interrupted);
    assert_eq!(end(&job), TrainEnd::Interrupted);
    assert_eq!(live.state(), JobState::Stopped);
}

#[test]
fn whoever_comes_late_hears_it_from_the_beginning() {
    let live = Live::new(&[]);
    assert!(matches!(live.ok("watch")[..], [Output::Job(None)]));
    let job = live.train("train &");
    let told = steps(&job, 5);
    let late = live.carry_out("watch").1.unwrap();
    assert_eq!(steps(&late, 5), told);
    // Several at once, and one that is gone.
    let gone = live.carry_out("watch").1.unwrap();
    drop(gone);
    assert_eq!(steps(&job, 8), [6, 7, 8]);
    assert_eq!(steps(&late, 8), [6, 7, 8]);
    live.ok("stop");
    assert_eq!((end(&job), end(&late)), (TrainEnd::Interrupted, TrainEnd::Interrupted));
    // After its end it can still be looked at.
    let after = live.carry_out("watch").1.unwrap();
    assert_eq!(steps(&after, 8), (1..=8).collect::<Vec<_>>());
    assert_eq!(end(&after), TrainEnd::Interrupted);
}

#[test]
fn its_end_is_heard_once_by_who_waits_and_an_error_by_all() {
    let live = Live::new(&[]);
    let job = live.train("train 3 background=true");
    assert_eq!(end(&job), TrainEnd::Paused);
    assert!(matches!(live.ok("wait")[..], [Output::Trained(_)]), "nobody has waited for it");
    assert!(matches!(live.ok("wait")[..], [Output::Job(None)]));
    // The output folder is taken by a file in the middle of the training.
    let job = live.train("train save_steps=1&");
    steps(&job, 5);
    // It may write meanwhile.
    while std::fs::remove_dir_all(live.output()).is_err() {}
    std::fs::write(live.output(), "").unwrap();
    let waited = live.carry_out("wait").2.unwrap_err();
    assert!(waited.contains("cannot write"), "{waited}");
    let told = job.iter().find_map(|message| match message {
        Message::Done(result) => Some(result.unwrap_err().to_string()),
        _ => None,
    });
    assert_eq!(told.as_ref(), Some(&waited));
    // What was trained is still there.
    live.ok("chat Hello");
    live.ok("train 1 output_dir=none");
}

#[test]
fn a_session_that_ends_writes_a_checkpoint_of_what_trains() {
    let live = Live::new(&[]);
    let job = live.train("train &");
    steps(&job, 4);
    live.host.end().iter().for_each(drop);
    assert_eq!(end(&job), TrainEnd::Interrupted);
    let logged: Vec<Value> = log(&live.output());
    let checkpoint = live.output().join(format!("checkpoint-{}", logged.len()));
    assert!(checkpoint.join("optimizer.safetensors").is_file(), "{} steps", logged.len());
}

#[test]
fn scripts_and_their_trainings_go_line_by_line() {
    let live = Live::new(&[]);
    let script = live.place.path().join("a.tune");
    for (line, problem) in [("train 3 &", "leave out the `&`"), ("wait", "at a prompt or in a cell")] {
        std::fs::write(&script, line).unwrap();
        let error = live.carry_out(&format!("run {}", script.display())).2.unwrap_err();
        assert!(error.contains(problem), "{error}");
    }
    for (line, problem) in [("train 3 4", "does not accept `4`"), ("train background=perhaps", "true or false")] {
        assert!(live.carry_out(line).2.unwrap_err().contains(problem));
    }
}
