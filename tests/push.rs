//! Uploads to a hub, as a user meets them: the binary against a hub on the loopback device.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;
use std::time::Instant;

use serde_json::Value;

use crate::fixtures::fixture;
use crate::hub_user::LOADED;
use crate::hub_user::SHARD;
use crate::hub_user::User;
use crate::hub_user::finish;
use crate::hub_user::wait_for;
use crate::loopback_hub::LoopbackHub;
use crate::upload_hub::ID;
use crate::upload_hub::Mishaps;
use crate::upload_hub::TOKEN;
use crate::upload_hub::UploadHub;

/// Somebody with a token, and a hub to upload to.
struct Uploader {
    user: User,
    hub: UploadHub,
}

impl Uploader {
    fn new() -> Self {
        Self { user: User::new(), hub: UploadHub::start() }
    }

    fn environment(&self) -> [(&str, &str); 2] {
        [("HF_ENDPOINT", &self.hub.endpoint), ("HF_TOKEN", TOKEN)]
    }

    fn run(&self, script: &str) -> (i32, String, String) {
        let said = self.user.run_with(&self.environment(), script);
        assert!(!said.1.contains(TOKEN) && !said.2.contains(TOKEN), "{}{}", said.1, said.2);
        said
    }

    /// The error of a line that fails, on one line.
    fn error(&self, script: &str) -> String {
        let (status, out, err) = self.run(script);
        assert_eq!(status, 1, "{out}{err}");
        err
    }
}

fn adapter() -> PathBuf {
    fixture("train").join("adapter_nonzero")
}

/// A line that uploads an adapter of a fixture.
fn push(more: &str) -> String {
    format!("push {ID} folder={} message=Upload {more}", adapter().display())
}

#[test]
fn the_requests_are_those_of_huggingface_hub() {
    let expected: Value =
        serde_json::from_slice(&std::fs::read(fixture("push").join("requests.json")).unwrap()).unwrap();
    let is_of_both = |request: &Value| {
        // We look whether the repository is private, and they where the newest commit is.
        request["method"] != "GET"
    };
    let of = |requests: &[Value]| requests.iter().filter(|request| is_of_both(request)).cloned().collect::<Vec<_>>();
    for (way, in_parts) in [("basic", false), ("multipart", true)] {
        let uploader = Uploader::new();
        uploader.hub.set(Mishaps { in_parts, ..Mishaps::default() });
        let (status, out, err) = uploader.run(&push("yes=true"));
        assert_eq!((status, err.as_str()), (0, ""));
        assert!(out.contains(&format!("2 files committed to {}/{ID}, private; ", uploader.hub.endpoint)), "{out}");
        let seen = uploader.hub.seen();
        for (found, expected) in of(&seen).iter().zip(of(expected[way].as_array().unwrap())) {
            assert_eq!(*found, expected, "{way}");
        }
        assert_eq!(of(&seen).len(), of(expected[way].as_array().unwrap()).len());
        for (name, content) in uploader.hub.files() {
            assert_eq!(content, std::fs::read(adapter().join(name)).unwrap());
        }

        // The second time there is nothing to send.
        let (status, out, _) = uploader.run(&push("yes=true"));
        assert!(status == 0 && out.contains("has all of it already; nothing was sent"), "{out}");
        assert_eq!(of(&uploader.hub.seen()), of(expected["again"].as_array().unwrap()));
        assert_eq!(uploader.hub.commits(), 1);
    }
}

#[test]
fn nothing_is_sent_before_one_says_yes() {
    let uploader = Uploader::new();
    for (more, who) in
        [("", "private: only you"), ("yes=false", "private: only you"), ("private=false", "public: everybody")]
    {
        let (status, out, err) = uploader.run(&push(more));
        assert_eq!((status, err.as_str()), (0, ""));
        assert!(out.contains(who) && out.contains("2 files, 114.6 kB:"), "{out}");
        assert!(out.contains("adapter_model.safetensors  113.4 kB"), "{out}");
        assert!(out.contains("names the base model tiny, a folder of this machine"), "{out}");
        assert!(out.contains("Nothing has been sent. The same line with yes=true sends it."), "{out}");
        assert!(!out.contains("there is no token"), "{out}");
    }
    let (_, out, _) = uploader.user.run_with(&[("HF_ENDPOINT", &uploader.hub.endpoint)], &push(""));
    assert!(out.contains("there is no token yet (HF_TOKEN)"), "{out}");
    assert_eq!(uploader.hub.asked(), [""; 0]);
}

#[test]
fn what_was_pushed_is_loaded_with_the_same_bytes() {
    let uploader = Uploader::new();
    uploader.hub.set(Mishaps { in_parts: true, ..Mishaps::default() });
    let (status, _, err) =
        uploader.run(&format!("push {ID} folder={} yes=true revision=first", fixture("tiny").display()));
    assert_eq!((status, err.as_str()), (0, ""));
    assert!(uploader.hub.asked().contains(&format!("POST /api/models/{ID}/branch/first")));
    let folder = tempfile::tempdir().unwrap();
    uploader.hub.write_files(folder.path());
    let user = User { hub: LoopbackHub::serve(folder.path(), ID), home: tempfile::tempdir().unwrap() };
    let (_, out, _) = user.run(&format!("load {ID}"));
    assert!(out.contains(LOADED), "{out}");
    let snapshots = user.home.path().join("hub/models--someone--creatures/snapshots");
    let snapshot = snapshots.read_dir().unwrap().next().unwrap().unwrap().path();
    assert_eq!(std::fs::read(snapshot.join(SHARD)).unwrap(), std::fs::read(fixture("tiny").join(SHARD)).unwrap());
}

#[test]
fn an_adapter_of_the_session_is_pushed_as_save_writes_it() {
    let uploader = Uploader::new();
    let load = format!("load {}\nadapter load {} as kept\nlora other", fixture("tiny").display(), adapter().display());
    let (status, out, err) = uploader.run(&format!("{load}\nsave saved\npush {ID}\npush {ID} adapter=kept yes=true"));
    assert_eq!((status, err.as_str()), (0, ""));
    assert!(out.contains("adapter other to someone/creatures on Hugging Face"), "{out}");
    let files = uploader.hub.files();
    let kept = std::fs::read(adapter().join("adapter_model.safetensors")).unwrap();
    let tensors = |bytes: &[u8]| {
        let tensors = safetensors::SafeTensors::deserialize(bytes).unwrap();
        let mut tensors: Vec<_> =
            tensors.tensors().into_iter().map(|(name, view)| (name, view.data().to_vec())).collect();
        tensors.sort();
        tensors
    };
    assert_eq!(tensors(&files["adapter_model.safetensors"]), tensors(&kept));
    assert!(files.contains_key("adapter_config.json"));
    // What `freeze` trains is no adapter for others.
    let error = uploader.error(&format!("load {}\nfreeze part\npush {ID}", fixture("tiny").display()));
    assert!(error.contains("holds weights of the model itself, which PEFT cannot load"), "{error}");
}

#[test]
fn what_is_not_allowed_is_named_and_nothing_is_committed() {
    let uploader = Uploader::new();
    let says =
        |part, status, rest: &str| Mishaps { always: Some((part, status, rest.to_string())), ..Mishaps::default() };
    let none = Mishaps::default;
    for (mishaps, expected) in [
        (
            says("/create", "401 Unauthorized", "\r\n{\"error\": \"Invalid token\"}"),
            "write to someone/creatures (401: Invalid token)",
        ),
        (
            says("/create", "403 Forbidden", "X-Error-Message: no rights here\r\n"),
            "write to someone/creatures (403: no rights here)",
        ),
        (says("/commit/", "409 Conflict", ""), "was changed by someone else meanwhile"),
        (says("/commit/", "412 Precondition Failed", "\r\n{\"error\": \"moved on\"}"), "meanwhile (moved on)"),
        (says("/storage/", "413 Payload Too Large", ""), "too large"),
        (says("/storage/", "403 Forbidden", ""), "write to someone/creatures (403)"),
        (says("/commit/", "500 Internal Server Error", ""), "/commit/main returned 500"),
        (says("/preupload/", "200 OK", "\r\n{\"files\": []}"), "it says nothing of adapter_config.json"),
        (says("/preupload/", "200 OK", "\r\n{\"files\": 3}"), "unexpected answer"),
        (says("/batch", "200 OK", "\r\n{\"objects\": []}"), "it says nothing of adapter_model.safetensors"),
        (Mishaps { endless: true, ..none() }, "it has more than 16 MB"),
        (Mishaps { makes_public: true, ..none() }, "someone/creatures is public"),
        (Mishaps { in_parts: true, wrong_parts: true, ..none() }, "7 parts of 20000 bytes are not 113384 bytes"),
    ] {
        let uploader = Uploader::new();
        uploader.hub.set(mishaps);
        let start = Instant::now();
        let error = uploader.error(&push("yes=true"));
        assert!(error.contains(expected), "{expected}: {error}");
        assert!(start.elapsed() < Duration::from_secs(60), "{expected}");
        assert_eq!(uploader.hub.commits(), 0, "{expected}");
    }
    let with = |variables: &[(&str, &str)], line: &str| {
        let variables = [&[("HF_ENDPOINT", uploader.hub.endpoint.as_str())], variables].concat();
        uploader.user.run_with(&variables, line).2
    };
    assert!(with(&[], &push("yes=true")).contains("uploading needs a token with write permission, in HF_TOKEN"));
    let token = ("HF_TOKEN", TOKEN);
    assert!(with(&[token, ("HF_HUB_OFFLINE", "1")], &push("yes=true")).contains("does not allow uploading"));
    assert!(with(&[token], &format!("set hub=modelscope\n{}", push("yes=true"))).contains("not to ModelScope"));
    assert!(with(&[token], "push someone/creatures folder=. yes=true").contains("neither an adapter nor a model"));
    assert!(with(&[token], "push creatures folder=.").contains("is not the name of a repository"));
    assert!(with(&[token], "push a/b folder=. adapter=c").contains("not both"));
    assert!(with(&[token], "push a/b").contains("no adapter is active"));
    assert_eq!(uploader.hub.asked(), [""; 0]);
}

#[test]
fn a_repository_that_others_see_wants_to_be_meant() {
    let uploader = Uploader::new();
    let (status, out, _) = uploader.run(&push("private=false yes=true"));
    assert!(status == 0 && !out.contains("private"), "{out}");
    assert_eq!(uploader.hub.is_private(), Some(false));
    uploader.hub.seen();
    let error = uploader.error(&push("yes=true"));
    assert!(error.contains("is public") && error.contains("private=false"), "{error}");
    // Not even the names of the files went there.
    assert_eq!(uploader.hub.asked(), ["POST /api/repos/create", "GET /api/models/someone/creatures"]);
}

#[test]
fn an_upload_survives_what_breaks_in_between() {
    // The connection breaks in the middle of a file, of a part, and a hub has no time.
    let busy = |part| Mishaps { once: Some((part, "503 Service Unavailable", String::new())), ..Mishaps::default() };
    for (mishaps, twice) in [
        (Mishaps { cut: Some(("/storage/", 50_000)), ..Mishaps::default() }, None),
        (Mishaps { cut: Some(("part=3", 5_000)), in_parts: true, ..Mishaps::default() }, None),
        (busy("/create"), Some("POST /api/repos/create")),
        (busy("/batch"), Some("POST /someone/creatures.git/info/lfs/objects/batch")),
        (Mishaps { in_parts: true, ..busy("part=2") }, Some("PUT /storage?part=2")),
    ] {
        let uploader = Uploader::new();
        uploader.hub.set(mishaps);
        let (status, _, err) = uploader.run(&push("yes=true"));
        assert_eq!((status, err.as_str()), (0, ""));
        let asked = uploader.hub.asked();
        for request in &asked {
            let times = asked.iter().filter(|other| *other == request).count();
            // What went through is not sent again.
            assert_eq!(times, if twice == Some(request) { 2 } else { 1 }, "{request}: {asked:?}");
        }
        assert_eq!(uploader.hub.files().len(), 2);
    }
}

#[test]
fn an_upload_goes_on_with_the_next_one() {
    let uploader = Uploader::new();
    let push = format!("push {ID} folder={} yes=true", fixture("tiny").display());
    let shard = std::fs::read(fixture("tiny").join(SHARD)).unwrap();
    // The second of two large files does not get through.
    let hash = User::new().hub.sha256(SHARD);
    let path: &'static str = Box::leak(format!("/storage/{hash}").into_boxed_str());
    uploader
        .hub
        .set(Mishaps { always: Some((path, "500 Internal Server Error", String::new())), ..Mishaps::default() });
    let error = uploader.error(&push);
    assert!(error.contains(&format!("the upload of {SHARD} was interrupted 5 times (status 500)")), "{error}");
    assert_eq!(uploader.hub.commits(), 0);
    uploader.hub.set(Mishaps::default());
    uploader.hub.seen();
    let (status, out, _) = uploader.run(&push);
    assert_eq!(status, 0, "{out}");
    let puts: Vec<_> = uploader.hub.seen().into_iter().filter(|seen| seen["method"] == "PUT").collect();
    assert_eq!(puts.iter().map(|seen| seen["body"]["size"].as_u64()).collect::<Vec<_>>(), [Some(shard.len() as u64)]);
    assert_eq!(uploader.hub.files()[SHARD], shard);
}

#[test]
#[cfg(unix)]
fn a_stop_in_the_middle_of_a_file_commits_nothing() {
    let uploader = Uploader::new();
    uploader.hub.set(Mishaps { stall: Some(10_000), ..Mishaps::default() });
    let child = uploader.user.start(&uploader.environment(), &format!("{}\nprint after", push("yes=true")));
    wait_for(|| uploader.hub.asked().iter().any(|asked| asked == "PUT /storage").then_some(()));
    let start = Instant::now();
    assert!(Command::new("kill").arg("-INT").arg(child.id().to_string()).status().unwrap().success());
    let (status, out, err) = finish(child);
    assert!(start.elapsed() < Duration::from_secs(20), "a stop does not wait for the network");
    assert_eq!((status, err.as_str()), (130, ""));
    assert!(out.contains("stopped; nothing was committed") && !out.contains("after"), "{out}");
    assert_eq!(uploader.hub.commits(), 0);
}

#[test]
fn the_token_goes_to_the_hub_alone() {
    let elsewhere = UploadHub::start();
    let uploader = Uploader::new();
    // Another port of the same machine hears that a file is there, but not whose it is.
    uploader.hub.set(Mishaps { verify_at: Some(elsewhere.endpoint.clone()), ..Mishaps::default() });
    let error = uploader.error(&push("yes=true"));
    assert!(error.contains("(401"), "{error}");
    let heard = elsewhere.seen();
    assert!(heard.len() == 1 && heard.iter().all(|seen| seen["with_token"] == false), "{heard:?}");
    assert_eq!(uploader.hub.commits(), 0);
    // What is posted is not sent on to another host.
    for path in ["/create", "/commit/"] {
        let uploader = Uploader::new();
        let location = format!("Location: {}{path}\r\n", elsewhere.endpoint);
        uploader.hub.set(Mishaps { always: Some((path, "307 Temporary Redirect", location)), ..Mishaps::default() });
        let error = uploader.error(&push("yes=true"));
        assert!(error.contains("returned 307"), "{error}");
        assert_eq!(elsewhere.asked(), [""; 0]);
    }
}
