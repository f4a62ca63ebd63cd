//! Trainings with different settings from one point: each has the bits of a training of its own, and the best is turned on.

use std::path::Path;

use tunebook_commands::Host;
use tunebook_commands::Lang;
use tunebook_commands::Message;
use tunebook_commands::Output;
use tunebook_commands::sweep::RangeReport;
use tunebook_commands::sweep::SweepBy;
use tunebook_commands::sweep::SweepReport;
use tunebook_engine::Event;
use tunebook_engine::Session;

use crate::fixtures::fixture;

/// A host on the tiny model: 9 samples to train on, an epoch of 3 steps.
fn host(folder: &Path) -> Host {
    let host = Host::start(Lang::En).unwrap();
    for line in [
        format!("load {}", fixture("tiny").display()),
        format!("set dataset_dir={} output_dir={} epochs=30", fixture("train").display(), folder.join("out").display()),
        "set batch=1 accum=3 cutoff_len=512 max_samples=12 val_size=0.25 lora_dropout=0.1".to_string(),
        "data creatures".to_string(),
        "lora".to_string(),
    ] {
        run(&host, &line).unwrap_or_else(|error| panic!("{line}: {error}"));
    }
    host
}

/// What a line answers last.
fn run(host: &Host, line: &str) -> Result<Option<Output>, String> {
    let mut last = None;
    for message in host.line(line) {
        match message {
            Message::Output(output) => last = Some(output),
            Message::Done(result) => return result.map(|()| last).map_err(|error| error.to_string()),
            _ => {}
        }
    }
    panic!("{line}: no end");
}

fn sweep(host: &Host, line: &str) -> SweepReport {
    match run(host, line).unwrap() {
        Some(Output::Sweep(report)) => *report,
        other => panic!("{line}: {other:?}"),
    }
}

fn ask<T: Send + 'static>(host: &Host, question: impl FnOnce(&mut Session) -> T + Send + 'static) -> T {
    let (sender, receiver) = crossbeam_channel::bounded(1);
    host.call(move |session, _| sender.send(question(session)).unwrap()).iter().for_each(drop);
    receiver.recv().unwrap()
}

fn names(host: &Host) -> Vec<String> {
    ask(host, |session| session.adapters().into_iter().map(|adapter| adapter.name).collect())
}

fn points(host: &Host, adapter: &'static str) -> Vec<(f64, f64)> {
    ask(host, move |session| {
        session.history_of(adapter).unwrap().iter().map(|record| (record.step as f64, record.loss())).collect()
    })
}

#[test]
fn each_training_is_one_of_its_own_and_the_best_goes_on() {
    let place = tempfile::tempdir().unwrap();
    let host = host(place.path());
    run(&host, "train 3").unwrap();
    let report = sweep(&host, "sweep learning_rate=1e-5,1e-3,5e-3 steps=6");
    assert_eq!((report.by, report.planned, report.trials.len()), (SweepBy::EvalLoss, 3, 3));
    let origin = report.origin.as_ref().unwrap();
    assert_eq!((origin.adapter.as_str(), origin.step), ("default", 3));
    let lowest = report.trials.iter().map(|trial| trial.eval_loss.unwrap()).fold(f64::INFINITY, f64::min);
    let best = report.best().unwrap();
    assert!(best.eval_loss == Some(lowest) && best.adapter != "lr-1e-5", "{report:?}");

    // The best is on, its rate is set, and the others are gone.
    assert_eq!(names(&host), ["default", best.adapter.as_str()]);
    let (active, rate) = ask(&host, |session| {
        let active = session.adapters().into_iter().find(|adapter| adapter.active).unwrap();
        (active.name, session.settings().learning_rate)
    });
    let (_, value) = best.settings.iter().next().unwrap();
    assert_eq!((active, rate), (best.adapter.clone(), value.parse().unwrap()));
    assert!(!place.path().join("out").join(&best.adapter).exists(), "trials leave the disk alone");

    // As `branch` and `train` make it.
    for (trial, curve) in report.trials.iter().zip(&report.curves.curves) {
        run(&host, "adapter use default").unwrap();
        run(&host, "branch alone").unwrap();
        run(&host, &format!("train 6 {} output_dir=none", trial.settings)).unwrap();
        let alone = points(&host, "alone");
        assert_eq!(curve.points, alone[3..], "{}", trial.settings);
        let Some(Output::Evaluated(evaluated)) = run(&host, "evaluate").unwrap() else { panic!() };
        assert_eq!(trial.eval_loss, Some(evaluated.loss));
        run(&host, "adapter drop alone").unwrap();
    }
}

#[test]
fn what_shapes_an_adapter_is_tried_with_new_ones() {
    let place = tempfile::tempdir().unwrap();
    let host = host(place.path());
    let report = sweep(&host, "sweep lr=1e-3,2e-3 rank=2,4 steps=2 by=loss keep=true");
    assert!(report.origin.is_none() && report.by == SweepBy::Loss && report.is_kept);
    let made = ["lr-1e-3-rank-2", "lr-1e-3-rank-4", "lr-2e-3-rank-2", "lr-2e-3-rank-4"];
    assert_eq!(names(&host)[1..], made);
    run(&host, "set lr=2e-3 rank=4").unwrap();
    run(&host, "lora alone").unwrap();
    run(&host, "train 2 output_dir=none").unwrap();
    assert_eq!(points(&host, "alone"), report.curves.curves[3].points);
    // The names are taken now.
    let again = sweep(&host, "sweep lr=1e-3 rank=2 steps=1");
    assert_eq!(again.trials[0].adapter, "lr-1e-3-rank-2-2");
}

#[test]
fn what_diverges_is_told_and_a_stop_keeps_what_is_done() {
    let place = tempfile::tempdir().unwrap();
    let host = host(place.path());
    let report = sweep(&host, "sweep learning_rate=100,1e-3 weight_decay=1 steps=24 by=loss");
    // Each step makes the weights a hundred times as large.
    assert!(report.trials[0].problem.is_some() && report.best().unwrap().adapter == "lr-1e-3-weight_decay-1");

    run(&host, "adapter use default").unwrap();
    let mut stopped = None;
    for message in host.line("sweep learning_rate=1e-4,1e-3,1e-2 steps=4") {
        match message {
            Message::Event(Event::Trial { number: 2, .. }) => host.cancel().cancel(),
            Message::Output(Output::Sweep(report)) => stopped = Some(report),
            _ => {}
        }
    }
    let stopped = stopped.unwrap();
    assert_eq!((stopped.planned, stopped.best().unwrap().adapter.as_str()), (3, "lr-1e-4"));
    let (steps, last) = (stopped.trials[0].steps, stopped.trials.last().unwrap());
    assert!(steps == 4 && stopped.trials.len() == 2 && last.steps < 4 && last.problem.is_some(), "{stopped:?}");
    assert!(!names(&host).contains(&"lr-1e-3".to_string()));
}

#[test]
fn a_range_test_names_a_rate_and_leaves_everything_as_it_was() {
    let place = tempfile::tempdir().unwrap();
    let host = host(place.path());
    run(&host, "train 2").unwrap();
    let before = ask(&host, |session| (session.settings().clone(), session.tensors(None).unwrap().len()));
    let report: RangeReport = match run(&host, "sweep learning_rate=1e-6..1 steps=60").unwrap() {
        Some(Output::RangeTest(report)) => *report,
        other => panic!("{other:?}"),
    };
    let steepest = report.steepest.unwrap();
    assert!((1e-5..1e-1).contains(&steepest) && report.lowest.unwrap() >= steepest, "{report:?}");
    let rates: Vec<_> = report.curve.curves[0].points.iter().map(|(rate, _)| *rate).collect();
    assert!(report.steps == rates.len() && rates[0] == 1e-6 && rates.is_sorted());
    assert!(names(&host) == ["default"] && ask(&host, |session| session.step()) == 2);
    assert_eq!(ask(&host, |session| (session.settings().clone(), session.tensors(None).unwrap().len())), before);
    // The rates are those that were followed: as a training whose rate is set before each step.
    run(&host, "branch alone").unwrap();
    run(&host, "set lr_scheduler_type=constant output_dir=none val_size=0").unwrap();
    for rate in &rates[..5] {
        run(&host, &format!("train 1 learning_rate={rate}")).unwrap();
    }
    let losses: Vec<_> = report.curve.curves[0].points[..5].iter().map(|(_, loss)| *loss).collect();
    assert_eq!(points(&host, "alone")[2..].iter().map(|(_, loss)| *loss).collect::<Vec<_>>(), losses);
}

#[test]
fn what_cannot_be_tried_is_refused_and_changes_nothing() {
    let place = tempfile::tempdir().unwrap();
    let host = host(place.path());
    for (line, problem) in [
        ("sweep", "no setting is given"),
        ("sweep learning_rate=1e-4,much", "`much`"),
        ("sweep learning_rate=1e-2..1e-4", "not a range"),
        ("sweep learning_rate=1e-6..1e-2 rank=4", "for the learning rate alone"),
        ("sweep rank=4..8", "for the learning rate alone"),
        ("sweep lr=1e-4 by=bleu", "loss or eval_loss"),
        ("sweep lr=1e-4 steps=0", "at least 1"),
        ("sweep lr=1e-4 lr=1e-3", "given twice"),
        ("sweep val_size=0.1,0.2", "does not accept `val_size`"),
    ] {
        let error = run(&host, line).unwrap_err();
        assert!(error.contains(problem), "{line}: {error}");
    }
    assert_eq!(names(&host), ["default"]);
}
