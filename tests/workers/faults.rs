//! What may happen to workers: each costs a step at most, and none of them is left behind.

use std::path::Path;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Mutex;
use std::time::Duration;

use candle_core::Device;
use nix::sys::signal::Signal;
use nix::sys::signal::kill;
use nix::unistd::Pid;
use tunebook_engine::Cancel;
use tunebook_engine::Context;
use tunebook_engine::Error;
use tunebook_engine::Event;
use tunebook_engine::Note;
use tunebook_engine::Session;
use tunebook_engine::workers::LossReason;
use tunebook_engine::workers::OnWorkerLoss;
use tunebook_engine::workers::WorkersError;
use tunebook_engine::workers::WorkersOptions;

use super::Trained;
use super::all_end;
use super::alone;
use super::asked;
use super::copy_all;
use super::lives;
use super::options;
use super::own_pictures;
use super::processes;
use super::quiet;
use super::session;
use super::start;
use super::with_launcher;
use crate::binary::tunebook;
use crate::fixtures::fixture;
use crate::mpi::implementations;
use crate::resume::LORA;

/// A training of 8 steps, in the third of which `at` is called; the notes of lost workers.
fn disturbed(
    options: WorkersOptions,
    at: &(dyn Fn(&[u32]) + Sync),
) -> (Session, Result<(), Error>, Vec<(LossReason, usize)>) {
    let cancel = Cancel::default();
    let mut session = quiet(|cx| {
        let mut session = session(&fixture("train"), LORA, &[], cx);
        start(&mut session, options, cx);
        session
    });
    let workers = processes(&session);
    let (notes, done) = (Mutex::new(Vec::new()), Mutex::new(false));
    let emit = |event| match event {
        Event::MicroBatch { step: 3, .. } if !std::mem::replace(&mut *done.lock().unwrap(), true) => at(&workers),
        Event::Note(Note::WorkerLost { loss, left }) => notes.lock().unwrap().push((loss.why, left)),
        _ => {}
    };
    let trained = session.train(Some(8), &Context { emit: &emit, cancel: &cancel }).map(drop);
    let notes = notes.into_inner().unwrap();
    // With one, all of them are started anew.
    if !notes.is_empty() {
        all_end(&workers);
    }
    (session, trained, notes)
}

fn hurt(process: u32, signal: Signal) {
    kill(Pid::from_raw(process as i32), signal).unwrap();
}

/// The parents of a process, from the nearest on.
fn parent(process: u32) -> u32 {
    let status = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    status.rsplit_once(") ").unwrap().1.split(' ').nth(1).unwrap().parse().unwrap()
}

/// The launcher, and what it has started to start a worker.
fn launchers(worker: u32) -> Vec<u32> {
    let parents = std::iter::successors(Some(parent(worker)), |process| Some(parent(*process)));
    parents.take_while(|process| *process != std::process::id()).collect()
}

#[test]
fn over_mpi_a_killed_worker_costs_a_step() {
    let (trained, _) = alone(LORA, &[], 8);
    for implementation in implementations() {
        println!("{}", implementation.name);
        let kill = |workers: &[u32]| hurt(workers[1], Signal::SIGKILL);
        let (mut session, ended, notes) = disturbed(with_launcher(3, &implementation.launcher), &kill);
        ended.unwrap();
        assert_eq!(notes, [(LossReason::Signal(9), 2)]);
        Trained::of(&mut session).is_near(&trained, 1e-5);
        assert_eq!(processes(&session).len(), 2);
        // And another one, between two steps.
        let left = processes(&session);
        hurt(left[0], Signal::SIGKILL);
        quiet(|cx| session.train(Some(1), cx)).unwrap();
        assert_eq!(processes(&session).len(), 1);
        // All of them again.
        quiet(|cx| start(&mut session, with_launcher(3, &implementation.launcher), cx));
        quiet(|cx| session.train(Some(1), cx)).unwrap();
        let workers = processes(&session);
        assert_eq!(workers.len(), 3);
        drop(session);
        all_end(&workers);
    }
}

#[test]
fn over_mpi_a_killed_launcher_costs_a_step() {
    let (trained, _) = alone(LORA, &[], 8);
    for implementation in implementations() {
        println!("{}", implementation.name);
        let kill = |workers: &[u32]| {
            let launchers = launchers(workers[0]);
            assert!(!launchers.is_empty());
            launchers.into_iter().rev().for_each(|launcher| hurt(launcher, Signal::SIGKILL));
        };
        let (mut session, ended, notes) = disturbed(with_launcher(2, &implementation.launcher), &kill);
        ended.unwrap();
        // Some workers end with it, and some do not mind.
        assert!(notes.is_empty() || notes == [(LossReason::Signal(9), 2)], "{notes:?}");
        Trained::of(&mut session).is_near(&trained, 1e-5);
        let workers = processes(&session);
        drop(session);
        all_end(&workers);
    }
}

#[test]
fn over_mpi_a_stopped_worker_is_not_waited_for() {
    let (trained, _) = alone(LORA, &[], 8);
    let patient = WorkersOptions { timeout: Duration::from_secs(6), ..options(2) };
    let (mut session, ended, notes) = disturbed(patient, &|workers| hurt(workers[1], Signal::SIGSTOP));
    ended.unwrap();
    assert_eq!(notes, [(LossReason::Silent(6), 1)]);
    Trained::of(&mut session).is_near(&trained, 1e-5);
}

#[test]
fn over_mpi_a_training_may_stop_with_its_worker() {
    let (trained, _) = alone(LORA, &[], 8);
    let strict = WorkersOptions { on_loss: OnWorkerLoss::Stop, ..options(2) };
    let (mut session, ended, notes) = disturbed(strict, &|workers| hurt(workers[0], Signal::SIGKILL));
    let lost = match ended {
        Err(Error::Workers(error)) => matches!(*error, WorkersError::Lost(_)),
        _ => false,
    };
    assert!(lost && notes.is_empty() && session.step() == 2);
    // Alone, from the last step on.
    quiet(|cx| session.train(Some(6), cx)).unwrap();
    Trained::of(&mut session).is_near(&trained, 1e-5);
}

/// A worker for which a folder is empty, as on a host that does not have it.
fn without(folder: &Path, place: &Path) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let script = place.join("worker.sh");
    let (folder, program) = (folder.display(), PathBuf::from(tunebook().get_program()));
    let text = format!(
        "#!/bin/sh\nexec unshare --user --map-root-user --mount sh -c 'mount -t tmpfs none \"{folder}\" && exec \"{}\" \"$@\"' sh \"$@\"\n",
        program.display()
    );
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    script
}

#[test]
fn over_mpi_a_worker_without_the_pictures_gets_them() {
    let data = own_pictures();
    let place = tempfile::tempdir().unwrap();
    let settings = [("media_dir", data.path().join("pictures").to_str().unwrap().to_string())];
    let settings: Vec<_> = settings.iter().map(|(key, value)| (*key, value.as_str())).collect();
    let (trained, asked_alone) = alone(LORA, &[], 8);
    quiet(|cx| {
        let mut session = session(data.path(), LORA, &settings, cx);
        let program = Some(without(&data.path().join("pictures"), place.path()));
        // One, since what lies in a namespace of its own shares no memory with others.
        start(&mut session, WorkersOptions { program, ..options(1) }, cx);
        session.train(Some(8), cx).unwrap();
        assert_eq!(asked(&mut session, cx).0, asked_alone.0);
        Trained::of(&mut session).is_near(&trained, 1e-5);
    });
}

#[test]
fn over_mpi_a_worker_with_another_model_is_refused() {
    let place = tempfile::tempdir().unwrap();
    let model = place.path().join("model");
    copy_all(&fixture("tiny"), &model);
    quiet(|cx| {
        let mut session = Session::default();
        session.load(&model, cx).unwrap();
        let program = Some(without(&model, place.path()));
        let error = session.workers_start(WorkersOptions { program, ..options(2) }, cx).unwrap_err();
        let message = error.to_string();
        assert!(message.contains("worker on ") && message.contains("config.json"), "{message}");
        assert!(session.workers().is_none() && session.settings().world_size == 1);
        // The session goes on, and so do workers that have it.
        session.workers_start(options(2), cx).unwrap();
        // Other weights in a file of the same name.
        let file = model.join("model-00001-of-00002.safetensors");
        let mut other = candle_core::safetensors::load(&file, &Device::Cpu).unwrap();
        for tensor in other.values_mut() {
            *tensor = tensor.affine(1.5, 0.0).unwrap();
        }
        let beside = place.path().join("other.safetensors");
        candle_core::safetensors::save(&other, &beside).unwrap();
        std::fs::rename(&beside, file).unwrap();
        let error = session.workers_start(options(2), cx).unwrap_err();
        assert!(
            matches!(&error, Error::Workers(error) if matches!(**error, WorkersError::OtherModel { .. })),
            "{error}"
        );
    });
}

#[test]
fn over_mpi_a_second_group_takes_the_place_of_the_first() {
    quiet(|cx| {
        let mut session = session(&fixture("train"), LORA, &[], cx);
        start(&mut session, options(2), cx);
        let first = processes(&session);
        start(&mut session, options(1), cx);
        all_end(&first);
        assert_eq!(processes(&session).len(), 1);
        session.train(Some(1), cx).unwrap();
        // Another model: they load it when they are needed.
        session.load(&fixture("tiny"), cx).unwrap();
        session.data(&["creatures".to_string()], cx).unwrap();
        session.lora(None, cx).unwrap();
        session.train(Some(1), cx).unwrap();
        assert_eq!(processes(&session).len(), 1);
    });
}

#[test]
fn over_mpi_a_stranger_is_not_let_in() {
    use std::io::Read;
    use std::io::Write;
    use std::net::TcpStream;
    quiet(|cx| {
        let place = tempfile::tempdir().unwrap();
        // A worker that first has a stranger connect, who knows the address and not the token.
        let seen = place.path().join("seen");
        let script = place.path().join("worker.sh");
        let program = PathBuf::from(tunebook().get_program());
        let text = format!(
            "#!/bin/sh\necho \"$TUNEBOOK_SESSION\" > {0}.tmp && mv {0}.tmp {0}\nuntil [ -f {0}.go ]; do sleep 0.05; done\nexec {1} \"$@\"\n",
            seen.display(),
            program.display()
        );
        std::fs::write(&script, text).unwrap();
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
        let watched = seen.clone();
        let stranger = std::thread::spawn(move || {
            while !watched.exists() {
                std::thread::sleep(Duration::from_millis(20));
            }
            let invitation: serde_json::Value = serde_json::from_slice(&std::fs::read(&watched).unwrap()).unwrap();
            let address = invitation["addresses"][0].as_str().unwrap().to_string();
            assert!(address.starts_with("127.0.0.1:"), "{address}");
            let hello =
                r#"{"Hello":{"token":"guessed","protocol":1,"version":"0.1.0","host":"x","process":1,"cores":1}}"#;
            let frames = [hello.as_bytes().to_vec(), b"GET / HTTP/1.1".to_vec(), vec![b'x'; 5000]];
            for text in frames {
                let mut stream = TcpStream::connect(&address).unwrap();
                stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
                let mut frame = (text.len() as u32).to_le_bytes().to_vec();
                frame.extend(0u64.to_le_bytes());
                frame.extend(text);
                _ = stream.write_all(&frame);
                let mut answer = Vec::new();
                _ = stream.read_to_end(&mut answer);
                assert!(answer.is_empty(), "nothing is told to a stranger");
            }
            // And one who says nothing at all.
            let silent = TcpStream::connect(&address).unwrap();
            std::fs::write(format!("{}.go", watched.display()), "").unwrap();
            silent
        });
        let mut session = session(&fixture("train"), LORA, &[], cx);
        start(&mut session, WorkersOptions { program: Some(script), ..options(2) }, cx);
        drop(stranger.join().unwrap());
        session.train(Some(1), cx).unwrap();
    });
}

/// The numbers of the workers' processes in what the program has printed.
fn printed_processes(text: &str) -> Vec<u32> {
    let rows = text.lines().filter_map(|line| {
        let words: Vec<_> = line.split_whitespace().collect();
        (words.len() >= 4 && words[0].parse::<usize>().is_ok()).then(|| words[2].parse().ok()).flatten()
    });
    rows.collect()
}

#[test]
fn over_mpi_no_worker_survives_its_session() {
    use std::io::BufRead;
    use std::io::Write;
    for implementation in implementations() {
        println!("{}", implementation.name);
        let mut child = tunebook().stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        writeln!(stdin, "load {}", fixture("tiny").display()).unwrap();
        writeln!(stdin, "workers 2 threads=1 launcher={}\nprint ready", implementation.launcher.display()).unwrap();
        stdin.flush().unwrap();
        let mut text = String::new();
        for line in std::io::BufReader::new(child.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            if line == "ready" {
                break;
            }
            text += &(line + "\n");
        }
        let workers = printed_processes(&text);
        assert!(workers.len() == 2 && workers.iter().all(|worker| lives(*worker)), "{text}");
        hurt(child.id(), Signal::SIGKILL);
        child.wait().unwrap();
        all_end(&workers);
    }
}
