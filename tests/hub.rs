//! Models out of hubs, as a user meets them: the binary against a hub on the loopback device.

use std::path::Path;
use std::process::Command;
use std::time::Duration;
use std::time::Instant;

use tunebook_engine::Cancel;
use tunebook_engine::Context;
use tunebook_engine::Settings;
use tunebook_engine::hub::Part;
use tunebook_engine::hub::dataset;
use tunebook_engine::settings::Hub;

use crate::fixtures::fixture;
use crate::hub_user::LOADED;
use crate::hub_user::SHARD;
use crate::hub_user::User;
use crate::hub_user::finish;
use crate::hub_user::incomplete;
use crate::hub_user::wait_for;
use crate::loopback_hub::COMMIT;
use crate::loopback_hub::LoopbackHub;
use crate::loopback_hub::Mishaps;

#[test]
fn hugging_face_is_downloaded_once_and_lies_where_its_library_looks() {
    let user = User::new();
    let load = "load Qwen/tiny\nstatus";
    let (status, out, err) = user.run(load);
    assert_eq!((status, err.as_str()), (0, ""));
    assert!(out.contains("Qwen/tiny from Hugging Face: 8 files, 1.7 MB, to "), "{out}");
    assert!(out.contains(LOADED) && out.contains("model     Qwen/tiny, "), "{out}");
    let folder = user.home.path().join("hub/models--Qwen--tiny");
    assert_eq!(std::fs::read_to_string(folder.join("refs/main")).unwrap(), COMMIT);
    let snapshot = folder.join("snapshots").join(COMMIT);
    let mut names: Vec<_> =
        snapshot.read_dir().unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    let mut expected: Vec<_> = fixture("tiny").read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect();
    expected.sort();
    assert_eq!(names, expected.iter().map(|name| name.to_str().unwrap()).collect::<Vec<_>>());
    assert_eq!(std::fs::read(snapshot.join(SHARD)).unwrap(), std::fs::read(fixture("tiny").join(SHARD)).unwrap());
    let blob = format!("../../blobs/{}", user.hub.sha256(SHARD));
    #[cfg(unix)]
    assert_eq!(std::fs::read_link(snapshot.join(SHARD)).unwrap(), Path::new(&blob));
    assert_eq!(std::fs::read_dir(folder.join("blobs")).unwrap().count(), 8, "nothing is left over");
    user.hub.seen();

    // The second time it only looks whether there is something new.
    assert!(user.run(load).1.contains(LOADED));
    assert_eq!(user.asked(), ["listing"]);
    // Told to be offline, it does not even do that.
    let (status, out, _) = user.run_with(&[("HF_HUB_OFFLINE", "1")], load);
    assert!(status == 0 && out.contains(LOADED));
    assert_eq!(user.asked(), [""; 0]);
    // A hub that is away is no reason not to work.
    let (status, out, _) = user.run_with(&[("HF_ENDPOINT", "http://127.0.0.1:1")], load);
    assert!(status == 0 && out.contains("Hugging Face cannot be reached ("), "{out}");
    assert!(out.contains("using Qwen/tiny from the cache") && out.contains(LOADED), "{out}");
    user.hub.set(Mishaps { out_of_order: true, ..Mishaps::default() });
    let (status, out, _) = user.run(load);
    assert!(status == 0 && out.contains("cannot be reached (status 503)") && out.contains(LOADED), "{out}");
}

#[test]
#[cfg(unix)]
fn an_interrupted_download_goes_on_with_the_next_load() {
    for (hub, setting) in [("hub/models--Qwen--tiny/blobs", ""), ("ms/models/Qwen--tiny/snapshots", "hub=modelscope")] {
        let user = User::new();
        user.hub.set(Mishaps { stall: Some((SHARD, 300_000)), ..Mishaps::default() });
        let load = format!("load Qwen/tiny {setting}\nprint after");
        let child = user.start(&[], &load);
        let partial = wait_for(|| incomplete(&user.home.path().join(hub)).filter(|(_, size)| *size == 300_000)).0;
        let start = Instant::now();
        assert!(Command::new("kill").arg("-INT").arg(child.id().to_string()).status().unwrap().success());
        let (status, out, err) = finish(child);
        assert!(start.elapsed() < Duration::from_secs(20), "a stop does not wait for the network");
        assert_eq!((status, err.as_str()), (130, ""));
        assert!(out.contains("is kept") && !out.contains("after"), "{out}");
        assert_eq!(std::fs::metadata(&partial).unwrap().len(), 300_000);

        user.hub.set(Mishaps::default());
        user.hub.seen();
        let (status, out, _) = user.run(&load);
        assert!(status == 0 && out.contains(LOADED), "{out}");
        let part = user.hub.seen().into_iter().find(|seen| seen.what == SHARD).unwrap();
        assert_eq!(part.from, Some(300_000));
        assert!(!partial.exists());
    }
}

#[test]
fn what_is_not_there_is_named() {
    let user = User::new();
    let error = |script: &str| user.run(script).2;
    let found = error("load Qwen/Qwen2.5-VL-3B-Instruc");
    assert!(
        found.contains("there is no folder Qwen/Qwen2.5-VL-3B-Instruc, and Hugging Face has no repository of"),
        "{found}"
    );
    assert!(found.contains("(did you mean Qwen/Qwen2.5-VL-3B-Instruct?)"), "{found}");
    let found = error("load qwen/qwen2.5-vl-7b hub=modelscope");
    assert!(
        found.contains("ModelScope has no repository of") && found.contains("mean Qwen/Qwen2.5-VL-7B-Instruct?"),
        "{found}"
    );
    let found = error("load Qwen/tiny model_revision=other");
    assert!(found.contains("Qwen/tiny has no revision `other` on Hugging Face"), "{found}");
    let away = user.run_with(&[("HF_ENDPOINT", "http://127.0.0.1:1/")], "load Qwen/tiny").2;
    assert!(away.contains("Hugging Face cannot be reached at http://127.0.0.1:1 ("), "{away}");
    assert!(away.contains("set HF_ENDPOINT to a host that can be reached, or try hub=modelscope"), "{away}");
    let offline = user.run_with(&[("HF_HUB_OFFLINE", "1")], "load Qwen/tiny").2;
    assert!(
        offline.contains("Qwen/tiny is not, or not completely, in ") && offline.contains("HF_HUB_OFFLINE"),
        "{offline}"
    );
}

#[test]
fn a_folder_of_that_name_comes_first() {
    let user = User::new();
    let place = user.home.path().join("Qwen");
    std::fs::create_dir(&place).unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink(fixture("tiny"), place.join("tiny")).unwrap();
    let (_, out, _) = user.run("load Qwen/tiny");
    assert!(out.contains(LOADED), "{out}");
    assert_eq!(user.asked(), [""; 0]);
}

#[test]
fn model_scope_is_asked_when_it_is_meant() {
    let user = User::new();
    user.hub.set(Mishaps { cut: Some((SHARD, 100_000)), ..Mishaps::default() });
    let (status, out, err) = user.run_with(&[("USE_MODELSCOPE_HUB", "1")], "load Qwen/tiny");
    assert_eq!((status, err.as_str()), (0, ""));
    assert!(out.contains("Qwen/tiny from ModelScope: 8 files") && out.contains(LOADED), "{out}");
    let parts: Vec<_> = user.hub.seen().into_iter().filter(|seen| seen.what == SHARD).map(|seen| seen.from).collect();
    assert_eq!(parts, [None, Some(100_000)]);
    let folder = user.home.path().join("ms/models/Qwen--tiny/snapshots/master");
    assert_eq!(std::fs::read(folder.join(SHARD)).unwrap(), std::fs::read(fixture("tiny").join(SHARD)).unwrap());
    assert_eq!(folder.read_dir().unwrap().count(), 8);
    assert!(user.run("load Qwen/tiny hub=modelscope").1.contains(LOADED));
    assert_eq!(user.asked(), ["listing"]);

    // What an older library has downloaded is found, too.
    let user = User::new();
    let older = user.home.path().join("ms/hub/models/Qwen");
    std::fs::create_dir_all(&older).unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink(fixture("tiny"), older.join("tiny")).unwrap();
    assert!(user.run("load Qwen/tiny hub=modelscope").1.contains(LOADED));
    assert_eq!(user.asked(), ["listing"]);
}

#[test]
fn downloads_are_kept_where_a_user_wants_them() {
    let user = User::new();
    let elsewhere = user.home.path().join("elsewhere");
    let (_, out, _) = user.run(&format!("load Qwen/tiny cache_dir={}", elsewhere.display()));
    assert!(out.contains(LOADED), "{out}");
    assert!(elsewhere.join("models--Qwen--tiny/refs/main").is_file());
    assert!(!user.home.path().join("hub").exists());
    let other = user.home.path().join("other");
    user.run_with(&[("HF_HUB_CACHE", other.to_str().unwrap())], "load Qwen/tiny");
    assert!(other.join("models--Qwen--tiny/refs/main").is_file());
}

#[test]
#[cfg(unix)]
fn a_data_set_of_a_hub_is_chosen_by_its_name_and_part() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, count: usize| {
        let lines: Vec<_> = (0..count).map(|i| format!(r#"{{"instruction": "{i}?", "output": "{i}!"}}"#)).collect();
        std::fs::write(folder.path().join(name), lines.join("\n")).unwrap();
    };
    write("train.jsonl", 20);
    write("test.jsonl", 3);
    write("small-train.jsonl", 2);
    let hub = LoopbackHub::serve(folder.path(), "someone/questions");
    let user = User { hub, home: tempfile::tempdir().unwrap() };
    std::os::unix::fs::symlink(fixture("tiny"), user.home.path().join("tiny")).unwrap();
    std::fs::create_dir(user.home.path().join("data")).unwrap();
    let info = r#"{"questions": {"hf_hub_url": "someone/questions"},
                   "held_out": {"hf_hub_url": "someone/questions", "split": "test"},
                   "of_model_scope": {"ms_hub_url": "someone/questions", "split": "test"},
                   "of_both": {"hf_hub_url": "nobody/nothing", "ms_hub_url": "someone/questions", "split": "test"},
                   "gone": {"hf_hub_url": "nobody/nothing"}}"#;
    std::fs::write(user.home.path().join("data/dataset_info.json"), info).unwrap();

    // It breaks off, and goes on from there.
    user.hub.set(Mishaps { cut: Some(("train.jsonl", 100)), ..Mishaps::default() });
    let (status, out, err) = user.run("load tiny\ndata questions");
    assert_eq!((status, err.as_str()), (0, ""));
    assert!(
        out.contains("someone/questions from Hugging Face: 1 file, ") && out.contains("20 samples to train on"),
        "{out}"
    );
    let seen: Vec<_> = user.hub.seen().into_iter().map(|seen| (seen.what, seen.from)).collect();
    let file = |from| ("train.jsonl".to_string(), from);
    assert_eq!(seen, [("listing".to_string(), None), file(None), file(Some(100))]);

    let (_, out, _) = user.run("load tiny\ndata questions,held_out\nevaluate held_out");
    assert!(out.contains("questions, held_out: 23 samples to train on") && out.contains("held_out with base"), "{out}");
    assert_eq!(user.asked(), ["listing", "listing", "test.jsonl", "listing"]);
    let (status, out, _) = user.run_with(&[("HF_HUB_OFFLINE", "1")], "load tiny\ndata questions");
    assert!(status == 0 && out.contains("20 samples") && user.asked().is_empty(), "{out}");

    for choice in ["data of_model_scope", "set hub=modelscope\ndata of_both"] {
        let (_, out, err) = user.run(&format!("load tiny\n{choice}"));
        assert!(out.contains("3 samples to train on"), "{out}{err}");
    }
    let (status, _, err) = user.run("load tiny\ndata gone");
    assert!(status == 1 && err.contains("nobody/nothing, and Hugging Face has no repository of that name"), "{err}");
}

#[test]
fn a_data_set_is_downloaded_like_a_model() {
    // With 187 more these are a page's 200, which a host that knows no pages gives again and again.
    for (hub, crowd) in [("huggingface", 0), ("modelscope", 0), ("modelscope", 187)] {
        let user = User::new();
        user.hub.set(Mishaps { crowd, ..Mishaps::default() });
        let download = || {
            // The hubs are told by the environment, which a process has but once.
            let mut command = Command::new(std::env::current_exe().unwrap());
            command.args(["--exact", "hub::downloads_a_data_set", "--ignored", "--nocapture"]).env("HUB", hub);
            let (status, out, err) = finish(user.at_home(command).spawn().unwrap());
            assert_eq!(status, 0, "{out}{err}");
            let mut asked = user.asked();
            asked.dedup();
            asked
        };
        assert_eq!(download(), ["listing", "tokenizer_config.json", "tokenizer.json"]);
        assert_eq!(download(), ["listing"]);
        let found = incomplete(user.home.path());
        assert!(found.is_none(), "{found:?}");
    }
}

#[test]
#[ignore = "a_data_set_is_downloaded_like_a_model runs it"]
fn downloads_a_data_set() {
    let hub = if std::env::var("HUB").unwrap() == "modelscope" { Hub::Modelscope } else { Hub::Huggingface };
    let cancel = Cancel::default();
    let cx = Context { emit: &|_| {}, cancel: &cancel };
    let part = |split| Part { folder: None, subset: None, split };
    let files = dataset(hub, "Qwen/tiny", part(Some("tokenizer")), &Settings::default(), &cx).unwrap();
    let names: Vec<_> = files.iter().map(|file| file.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!(names, ["tokenizer.json", "tokenizer_config.json"]);
    for (file, name) in files.iter().zip(names) {
        assert_eq!(std::fs::read(file).unwrap(), std::fs::read(fixture("tiny").join(name)).unwrap());
    }
    let error = dataset(hub, "nowhere", part(None), &Settings::default(), &cx).unwrap_err();
    assert!(error.to_string().contains("`nowhere` is not the name of a repository on a hub"));
}
