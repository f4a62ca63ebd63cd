//! Several programs that download into one cache, and programs that are killed there.

use std::collections::BTreeMap;
use std::fs;
use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::RngCore;
use rand_chacha::rand_core::SeedableRng;
use serde_json::Value;

use crate::fixtures::fixture;
use crate::hub_user::LOADED;
use crate::hub_user::SHARD;
use crate::hub_user::User;
use crate::hub_user::finish;
use crate::hub_user::incomplete;
use crate::hub_user::wait_for;
use crate::loopback_hub::COMMIT;
use crate::loopback_hub::Mishaps;

const HUBS: [&str; 2] = ["huggingface", "modelscope"];

#[test]
fn locks_are_those_of_the_hubs_own_libraries() {
    let user = User::new();
    for hub in HUBS {
        assert!(user.run(&format!("load Qwen/tiny hub={hub}")).1.contains(LOADED));
        let mut expected: Vec<_> = locks(hub).into_values().collect();
        expected.sort();
        let folder = Path::new(&expected[0]).parent().unwrap();
        let names = cache(&user, hub).join(folder).read_dir().unwrap().map(|entry| entry.unwrap().file_name());
        let mut found: Vec<_> = names.map(|name| folder.join(name).to_str().unwrap().to_string()).collect();
        found.sort();
        assert_eq!(found, expected);
    }
}

#[test]
fn two_programs_fetch_each_file_once() {
    for hub in HUBS {
        let user = User::new();
        let load = format!("load Qwen/tiny hub={hub}");
        let both = [user.start(&[], &load), user.start(&[], &load)];
        for (status, out, err) in both.map(finish) {
            assert!(status == 0 && err.is_empty() && out.contains(LOADED), "{out}{err}");
        }
        let mut counts = BTreeMap::new();
        for asked in user.asked() {
            *counts.entry(asked).or_insert(0) += 1;
        }
        assert_eq!(counts.remove("listing"), Some(2));
        // Hugging Face sends a request for a large file on to its storage.
        let expected = |name: &str| if hub == "huggingface" && name.ends_with(".safetensors") { 2 } else { 1 };
        assert!(counts.len() == 8 && counts.iter().all(|(name, count)| *count == expected(name)), "{counts:?}");
        check(&user, hub);
    }
}

#[test]
#[cfg(unix)]
fn what_is_there_needs_nothing_written() {
    for hub in HUBS {
        let user = User::new();
        let load = format!("load Qwen/tiny hub={hub}");
        assert!(user.run(&load).1.contains(LOADED));
        let before = files(user.home.path());
        assert!(user.run(&load).1.contains(LOADED));
        assert_eq!(files(user.home.path()), before);
    }
}

#[test]
#[cfg(unix)]
fn what_a_killed_program_was_downloading_another_goes_on_with() {
    for hub in HUBS {
        let user = User::new();
        user.hub.set(Mishaps { stall: Some((SHARD, 300_000)), ..Mishaps::default() });
        let load = format!("load Qwen/tiny hub={hub}");
        let mut first = user.start(&[], &load);
        wait_for(|| incomplete(user.home.path()).filter(|(_, size)| *size == 300_000));
        user.hub.seen();
        let second = user.start(&[], &load);
        wait_for(|| user.asked().contains(&"listing".to_string()).then_some(()));
        thread::sleep(Duration::from_millis(500));
        assert_eq!(user.asked(), [""; 0], "it waits");
        user.hub.set(Mishaps::default());
        first.kill().unwrap();
        first.wait().unwrap();
        let (status, out, err) = finish(second);
        assert!(status == 0 && err.is_empty() && out.contains(LOADED), "{out}{err}");
        let lock = cache(&user, hub).join(&locks(hub)[SHARD]);
        let told = format!("another program is downloading {SHARD} (lock: {})", lock.display());
        assert!(out.replace(['\n', ' '], "").contains(&told.replace(' ', "")), "{out}");
        assert_eq!(user.hub.seen().iter().find(|seen| seen.what == SHARD).unwrap().from, Some(300_000));
        check(&user, hub);
    }
}

#[test]
#[cfg(unix)]
fn a_stop_ends_the_wait_for_another_program() {
    for (hub, language, waits) in
        [("huggingface", "en", "another program is downloading"), ("modelscope", "zh", "另一个程序正在下载")]
    {
        let user = User::new();
        let path = cache(&user, hub).join(&locks(hub)["config.json"]);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let lock = File::create(path).unwrap();
        lock.lock().unwrap();
        let child = user.start(&[], &format!("lang {language}\nload Qwen/tiny hub={hub}\nprint after"));
        wait_for(|| user.asked().contains(&"listing".to_string()).then_some(()));
        thread::sleep(Duration::from_secs(1));
        let start = Instant::now();
        assert!(Command::new("kill").arg("-INT").arg(child.id().to_string()).status().unwrap().success());
        let (status, out, err) = finish(child);
        assert!(start.elapsed() < Duration::from_secs(20));
        assert_eq!((status, err.as_str()), (130, ""));
        assert!(out.contains(waits) && !out.contains("after"), "{out}");
    }
}

#[test]
#[ignore = "60 kills take minutes"]
#[cfg(unix)]
fn a_download_that_is_killed_again_and_again_is_whole_in_the_end() {
    use std::os::unix::process::ExitStatusExt;
    let mut random = ChaCha8Rng::seed_from_u64(25);
    let (mut kills, mut resumed) = (0, 0);
    for round in 0..20 {
        let hub = HUBS[round % 2];
        let load = format!("load Qwen/tiny hub={hub}");
        let user = User::new();
        user.hub.set(Mishaps { slow: true, ..Mishaps::default() });
        let mut killed = 0;
        while killed < 3 {
            let mut child = user.start(&[], &load);
            thread::sleep(Duration::from_millis(random.next_u64() % 1500));
            child.kill().unwrap();
            if child.wait().unwrap().signal().is_none() {
                // It was through: what is left to come of a model is soon too little to be met.
                fs::remove_dir_all(cache(&user, hub)).unwrap();
                continue;
            }
            killed += 1;
        }
        kills += killed;
        user.hub.seen();
        let (status, out, err) = finish(user.start(&[], &load));
        assert!(status == 0 && err.is_empty() && out.contains(LOADED), "{out}{err}");
        resumed += usize::from(user.hub.seen().iter().any(|seen| seen.from.is_some()));
        check(&user, hub);
    }
    println!("{kills} kills; {resumed} of 20 downloads went on within a file");
    assert!(kills == 60 && resumed > 0);
}

/// Where each file of the tiny model has its lock below a hub's cache, as the hub's own library says.
fn locks(hub: &str) -> BTreeMap<String, String> {
    let text = fs::read(fixture("hub/locks.json")).unwrap();
    let mut found: Value = serde_json::from_slice(&text).unwrap();
    serde_json::from_value(found[hub].take()).unwrap()
}

/// The files of a cache, and what of them changes when they are written or replaced.
#[cfg(unix)]
fn files(folder: &Path) -> Vec<(std::path::PathBuf, u64, i64)> {
    use std::os::unix::fs::MetadataExt;
    let mut found = Vec::new();
    for entry in folder.read_dir().unwrap() {
        let entry = entry.unwrap();
        let (path, metadata) = (entry.path(), entry.metadata().unwrap());
        if metadata.is_dir() {
            found.extend(files(&path));
        } else if !path.ends_with("script.tune") {
            found.push((path, metadata.ino(), metadata.mtime_nsec()));
        }
    }
    found.sort();
    found
}

fn cache(user: &User, hub: &str) -> std::path::PathBuf {
    user.home.path().join(if hub == "huggingface" { "hub" } else { "ms" })
}

/// Whether all of the model is in the cache, as it should be, and nothing else but locks.
fn check(user: &User, hub: &str) {
    let cache = cache(user, hub);
    let folder = match hub {
        "huggingface" => cache.join("models--Qwen--tiny/snapshots").join(COMMIT),
        _ => cache.join("models/Qwen--tiny/snapshots/master"),
    };
    let names = |folder: &Path| {
        let names = folder.read_dir().unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.collect();
        names.sort();
        names
    };
    let expected = names(&fixture("tiny"));
    assert_eq!(names(&folder), expected);
    for name in &expected {
        assert_eq!(fs::read(folder.join(name)).unwrap(), fs::read(fixture("tiny").join(name)).unwrap(), "{name}");
    }
    if hub == "huggingface" {
        let folder = cache.join("models--Qwen--tiny");
        assert_eq!(names(&folder), ["blobs", "refs", "snapshots"]);
        assert_eq!(names(&folder.join("blobs")).len(), expected.len());
        assert_eq!(names(&folder.join("refs")), ["main"]);
        assert_eq!(names(&cache), [".locks", "models--Qwen--tiny"]);
    } else {
        assert_eq!(names(&cache), [".lock", "models"]);
    }
}
