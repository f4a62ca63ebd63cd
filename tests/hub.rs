//! Models out of hubs, as a user meets them: the binary against a hub on the loopback device.

use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use tempfile::TempDir;
use tunebook_engine::Cancel;
use tunebook_engine::Context;
use tunebook_engine::Settings;
use tunebook_engine::hub::Part;
use tunebook_engine::hub::dataset;
use tunebook_engine::settings::Hub;

use crate::binary::tunebook;
use crate::fixtures::fixture;
use crate::loopback_hub::COMMIT;
use crate::loopback_hub::LoopbackHub;
use crate::loopback_hub::Mishaps;
use crate::loopback_hub::Moved;

const SHARD: &str = "model-00002-of-00002.safetensors";
const LOADED: &str = "414,288 parameters";

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
    assert!(out.contains("Qwen/tiny is taken from the cache") && out.contains(LOADED), "{out}");
    user.hub.set(Mishaps { out_of_order: true, ..Mishaps::default() });
    let (status, out, _) = user.run(load);
    assert!(status == 0 && out.contains("cannot be reached (status 503)") && out.contains(LOADED), "{out}");
}

#[test]
fn a_broken_connection_is_taken_up_where_it_broke() {
    let user = User::new();
    user.hub.set(Mishaps { cut: Some((SHARD, 100_000)), ..Mishaps::default() });
    let (status, out, err) = user.run("load Qwen/tiny");
    assert_eq!((status, err.as_str()), (0, ""));
    assert!(out.contains(LOADED), "{out}");
    let parts: Vec<_> = user.hub.seen().into_iter().filter(|seen| seen.what == SHARD).map(|seen| seen.from).collect();
    // Each request is sent on to the storage.
    assert_eq!(parts, [None, None, Some(100_000), Some(100_000)]);
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
        assert!(out.contains("stay") && !out.contains("after"), "{out}");
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
fn a_damaged_file_is_named_and_never_used() {
    let config = "config.json";
    // What is not stored with LFS has but the name that git gives it.
    for (hub, file, algorithm, folder) in [
        ("hub=huggingface", SHARD, "SHA-256", "hub"),
        ("hub=huggingface", config, "git SHA-1", "hub"),
        ("hub=modelscope", SHARD, "SHA-256", "ms"),
        ("hub=modelscope", config, "SHA-256", "ms"),
    ] {
        let user = User::new();
        user.hub.set(Mishaps { damage: Some(file), ..Mishaps::default() });
        let (status, _, err) = user.run(&format!("load Qwen/tiny {hub}"));
        assert_eq!(status, 1);
        assert!(err.contains(&format!("{file} is damaged: its {algorithm} is ")), "{err}");
        let right = if algorithm == "SHA-256" { user.hub.sha256(file) } else { user.hub.git_sha1(file) };
        assert!(err.contains(&format!("instead of {right}")), "{err}");
        assert_eq!(incomplete(&user.home.path().join(folder)), None);
        user.hub.set(Mishaps::default());
        assert!(user.run(&format!("load Qwen/tiny {hub}")).1.contains(LOADED));
    }
}

#[test]
fn a_beginning_of_another_version_is_thrown_away() {
    let user = User::new();
    let blobs = user.home.path().join("hub/models--Qwen--tiny/blobs");
    std::fs::create_dir_all(&blobs).unwrap();
    std::fs::write(blobs.join(format!("{}.incomplete", user.hub.sha256(SHARD))), vec![7; 1000]).unwrap();
    let (status, out, err) = user.run("load Qwen/tiny");
    assert!(status == 0 && out.contains(LOADED), "{out}{err}");
}

#[test]
fn a_token_is_asked_for_and_kept_from_other_hosts() {
    let user = User::new();
    user.hub.set(Mishaps { token: Some("hf_secret"), ..Mishaps::default() });
    let (status, _, err) = user.run("load Qwen/tiny");
    assert_eq!(status, 1);
    let expected = "Hugging Face does not give out Qwen/tiny (401): it wants a token, which goes into HF_TOKEN";
    assert!(err.contains(expected) && err.contains("/Qwen/tiny"), "{err}");
    let (_, _, err) = user.run_with(&[("HF_TOKEN", "wrong")], "load Qwen/tiny");
    assert!(err.contains("your token (HF_TOKEN) lacks the right"), "{err}");
    let (_, _, err) = user.run("load Qwen/tiny hub=modelscope");
    assert!(
        err.contains("ModelScope does not give out Qwen/tiny (401)") && err.contains("MODELSCOPE_API_TOKEN"),
        "{err}"
    );
    user.hub.seen();

    std::fs::write(user.home.path().join("token"), "hf_secret\n").unwrap();
    let (status, out, err) = user.run("load Qwen/tiny");
    assert!(status == 0 && out.contains(LOADED) && !out.contains("secret"), "{out}{err}");
    for seen in user.hub.seen() {
        let is_hub = seen.host.starts_with("127.0.0.1");
        assert_eq!(seen.token.as_deref(), is_hub.then_some("hf_secret"), "{seen:?}");
    }
}

#[test]
fn another_port_gets_no_token() {
    let tokens = [("HF_TOKEN", "secret"), ("MODELSCOPE_API_TOKEN", "secret")];
    let port = |hub: &LoopbackHub| hub.endpoint.rsplit_once(':').unwrap().1.to_string();
    for setting in ["hub=huggingface", "hub=modelscope"] {
        for files_only in [true, false] {
            let other = LoopbackHub::serve(&fixture("tiny"), "Qwen/tiny");
            // The same address, another name for it, and what looks like the first host and is a user's name.
            for host in ["127.0.0.1", "localhost", "127.0.0.1@localhost"] {
                let user = User::new();
                let endpoint = format!("http://{host}:{}", port(&other));
                user.hub.set(Mishaps { moved: Some(Moved { endpoint, files_only }), ..Mishaps::default() });
                let (status, out, err) = user.run_with(&tokens, &format!("load Qwen/tiny {setting}"));
                assert!(status == 0 && out.contains(LOADED), "{out}{err}");
                assert!(user.hub.seen().iter().all(|seen| seen.token.as_deref() == Some("secret")));
                let seen = other.seen();
                assert!(!seen.is_empty() && seen.iter().all(|seen| seen.token.is_none()), "{host} {setting}: {seen:?}");
            }
        }
    }
    // The same host, scheme and port keep it: that is how the hub gives out a private repository's small files.
    let user = User::new();
    user.hub.set(Mishaps { token: Some("secret"), sent_on: true, ..Mishaps::default() });
    let (status, out, err) = user.run_with(&tokens, "load Qwen/tiny");
    assert!(status == 0 && out.contains(LOADED), "{out}{err}");
}

#[test]
fn what_is_sent_in_circles_or_nowhere_is_no_answer() {
    let user = User::new();
    for (endpoint, problem) in [
        (user.hub.endpoint.clone(), "too many redirects"),
        ("file://localhost".to_string(), "bad uri"),
        ("http://[".to_string(), "bad uri: http://[/"),
    ] {
        user.hub.set(Mishaps { moved: Some(Moved { endpoint, files_only: false }), ..Mishaps::default() });
        let (status, _, err) = user.run("load Qwen/tiny");
        assert!(status == 1 && err.contains("Hugging Face cannot be reached") && err.contains(problem), "{err}");
    }
}

#[test]
fn a_listing_may_be_long_and_come_in_pages() {
    // 16 MB in one answer; and more files than such an answer has.
    for crowd in [49_000, 60_000] {
        for setting in ["hub=huggingface", "hub=modelscope"] {
            let user = User::new();
            user.hub.set(Mishaps { crowd, ..Mishaps::default() });
            let (status, out, err) = user.run(&format!("load Qwen/tiny {setting}"));
            assert!(status == 0 && out.contains(LOADED), "{crowd} {setting}: {out}{err}");
        }
    }
    let user = User::new();
    user.hub.set(Mishaps { endless: true, ..Mishaps::default() });
    for setting in ["hub=huggingface", "hub=modelscope"] {
        let (status, _, err) = user.run(&format!("load Qwen/tiny {setting}"));
        assert!(status == 1 && err.contains("lists more than 128 MB of names"), "{err}");
    }
}

#[test]
fn what_is_not_there_is_named() {
    let user = User::new();
    let error = |script: &str| user.run(script).2;
    let found = error("load Qwen/Qwen2.5-VL-3B-Instruc");
    assert!(
        found.contains("there is no folder Qwen/Qwen2.5-VL-3B-Instruc, and Hugging Face has nothing of"),
        "{found}"
    );
    assert!(found.contains("(did you mean Qwen/Qwen2.5-VL-3B-Instruct?)"), "{found}");
    let found = error("load qwen/qwen2.5-vl-7b hub=modelscope");
    assert!(
        found.contains("ModelScope has nothing of") && found.contains("mean Qwen/Qwen2.5-VL-7B-Instruct?"),
        "{found}"
    );
    let found = error("load Qwen/tiny model_revision=other");
    assert!(found.contains("Qwen/tiny has no revision `other` on Hugging Face"), "{found}");
    let away = user.run_with(&[("HF_ENDPOINT", "http://127.0.0.1:1/")], "load Qwen/tiny").2;
    assert!(away.contains("Hugging Face cannot be reached at http://127.0.0.1:1 ("), "{away}");
    assert!(away.contains("set HF_ENDPOINT to a host that can be, or try hub=modelscope"), "{away}");
    let offline = user.run_with(&[("HF_HUB_OFFLINE", "1")], "load Qwen/tiny").2;
    assert!(offline.contains("Qwen/tiny is not (or not all) in ") && offline.contains("HF_HUB_OFFLINE"), "{offline}");
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
    assert!(status == 1 && err.contains("nobody/nothing, and Hugging Face has nothing of that name"), "{err}");
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
    assert!(error.to_string().contains("`nowhere` is no name of a hub's repository"));
}

/// Somebody with a home of their own and a hub on the loopback device.
struct User {
    hub: LoopbackHub,
    home: TempDir,
}

impl User {
    fn new() -> Self {
        Self { hub: LoopbackHub::serve(&fixture("tiny"), "Qwen/tiny"), home: tempfile::tempdir().unwrap() }
    }

    /// Pipes a script into the binary: its status and what it wrote.
    fn run(&self, script: &str) -> (i32, String, String) {
        self.run_with(&[], script)
    }

    fn run_with(&self, environment: &[(&str, &str)], script: &str) -> (i32, String, String) {
        finish(self.start(environment, script))
    }

    fn start(&self, environment: &[(&str, &str)], script: &str) -> Child {
        let file = self.home.path().join("script.tune");
        std::fs::write(&file, script).unwrap();
        let mut command = tunebook();
        command.args(["run", "script.tune"]);
        self.at_home(command).envs(environment.iter().copied()).spawn().unwrap()
    }

    /// A program that this user starts, with nothing of our own environment that concerns hubs.
    fn at_home(&self, mut command: Command) -> Command {
        let foreign =
            ["HF_", "HUGGING", "MODELSCOPE_", "USE_MODELSCOPE", "TRANSFORMERS_", "HTTP", "http", "ALL_", "all_"];
        for (name, _) in std::env::vars().filter(|(name, _)| foreign.iter().any(|prefix| name.starts_with(prefix))) {
            command.env_remove(name);
        }
        command
            .env("HF_ENDPOINT", &self.hub.endpoint)
            .env("HF_HOME", self.home.path())
            .env("MODELSCOPE_ENDPOINT", &self.hub.endpoint)
            .env("MODELSCOPE_CACHE", self.home.path().join("ms"))
            .current_dir(self.home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// What the hub was asked for since the last look.
    fn asked(&self) -> Vec<String> {
        self.hub.seen().into_iter().map(|seen| seen.what).collect()
    }
}

fn finish(child: Child) -> (i32, String, String) {
    let output = child.wait_with_output().unwrap();
    // Long lines are broken between words.
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().replace("\n  ", " ");
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// The file below a folder that is not all there yet, and its size.
fn incomplete(folder: &Path) -> Option<(PathBuf, u64)> {
    std::fs::read_dir(folder).ok()?.flatten().find_map(|entry| match entry.path() {
        path if path.is_dir() => incomplete(&path),
        path if path.extension().is_some_and(|end| end == "incomplete") => Some((path, entry.metadata().ok()?.len())),
        _ => None,
    })
}

fn wait_for<T>(look: impl Fn() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < Duration::from_secs(60), "it never came");
        thread::sleep(Duration::from_millis(20));
    }
}
