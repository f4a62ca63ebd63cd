//! Hubs, and hosts on the way to them, that break off, lie, or are after a token.

use serde_json::Value;
use serde_json::json;

use crate::fixtures::fixture;
use crate::hub_user::LOADED;
use crate::hub_user::SHARD;
use crate::hub_user::User;
use crate::hub_user::incomplete;
use crate::loopback_hub::COMMIT;
use crate::loopback_hub::LoopbackHub;
use crate::loopback_hub::Mishaps;
use crate::loopback_hub::Moved;

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
        let host = if file == SHARD && hub == "hub=huggingface" { "localhost" } else { "127.0.0.1" };
        assert!(err.contains(&format!("{file} from {host}:")), "{err}");
        assert!(err.contains(&format!(" is corrupted: its {algorithm} is ")), "{err}");
        let right = if algorithm == "SHA-256" { user.hub.sha256(file) } else { user.hub.git_sha1(file) };
        assert!(err.contains(&format!("instead of {right}")), "{err}");
        assert_eq!(incomplete(&user.home.path().join(folder)), None);
        user.hub.set(Mishaps::default());
        assert!(user.run(&format!("load Qwen/tiny {hub}")).1.contains(LOADED));
    }
}

#[test]
fn a_file_of_another_length_than_listed_is_asked_for_three_times() {
    let name = "config.json";
    let listed = std::fs::metadata(fixture("tiny").join(name)).unwrap().len();
    for (hub, variable) in [("huggingface", "HF_ENDPOINT"), ("modelscope", "MODELSCOPE_ENDPOINT")] {
        for (more, chunked) in [(-1, false), (-1, true), (1, false), (1, true), (-(listed as isize), false)] {
            let user = User::new();
            user.hub.set(Mishaps { other_size: Some((name, more)), chunked, ..Mishaps::default() });
            let (status, _, err) = user.run(&format!("load Qwen/tiny hub={hub}"));
            let host = user.hub.endpoint.strip_prefix("http://").unwrap();
            let found = match (more, chunked) {
                (1, true) => format!("more than {listed}"),
                _ => listed.strict_add_signed(more as i64).to_string(),
            };
            let expected =
                format!("{host} sends {found} bytes for {name}, but http://{host} lists {listed} bytes (3 attempts)");
            assert!(status == 1 && err.contains(&expected), "{err}");
            assert!(err.contains(&format!("set {variable} to another host")), "{err}");
            assert_eq!(user.asked().iter().filter(|asked| *asked == name).count(), 3);
            assert_eq!(incomplete(user.home.path()), None);
        }
    }
}

#[test]
fn a_host_that_never_sends_a_file_to_its_end_is_given_up() {
    let user = User::new();
    let name = "config.json";
    user.hub.set(Mishaps { never_whole: Some((name, 100)), ..Mishaps::default() });
    let (status, _, err) = user.run("load Qwen/tiny");
    assert!(status == 1 && err.contains("config.json was interrupted 5 times without any progress"), "{err}");
    assert_eq!(user.asked().iter().filter(|asked| *asked == name).count(), 5);
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
    let expected = "Hugging Face denies access to Qwen/tiny (401): a token is required in HF_TOKEN";
    assert!(err.contains(expected) && err.contains("/Qwen/tiny"), "{err}");
    let (_, _, err) = user.run_with(&[("HF_TOKEN", "wrong")], "load Qwen/tiny");
    assert!(err.contains("your token (HF_TOKEN) has no permission"), "{err}");
    let (_, _, err) = user.run("load Qwen/tiny hub=modelscope");
    assert!(
        err.contains("ModelScope denies access to Qwen/tiny (401)") && err.contains("MODELSCOPE_API_TOKEN"),
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
        assert!(status == 1 && err.contains("lists more than 128 MB of file names"), "{err}");
    }
}

#[test]
fn what_a_host_says_is_quoted_in_part() {
    let long = format!("\u{1b}]0;title\u{7}{}", "é".repeat(50_000));
    let quoted = format!("\\u{{1b}}]0;title\\u{{7}}{}…", "é".repeat(69));
    let hugging_face = |sha: &str, siblings: Value| json!({"sha": sha, "siblings": siblings}).to_string();
    let model_scope = |files: Value| json!({"Success": true, "Data": {"Files": files}}).to_string();
    let failure = json!({"Success": false, "Message": long, "Data": null}).to_string();
    let node = json!([{"rfilename": long, "size": 1, "blobId": "1"}]);
    let user = User::new();
    for (hub, status, content, quotes) in [
        ("huggingface", "418 I'm a teapot", long.clone(), true),
        ("modelscope", "418 I'm a teapot", long.clone(), true),
        ("huggingface", "200 OK", hugging_face(&long, json!([])), false),
        ("huggingface", "200 OK", hugging_face(COMMIT, json!(long)), false),
        ("huggingface", "200 OK", hugging_face(COMMIT, node), true),
        ("modelscope", "200 OK", failure, true),
        ("modelscope", "200 OK", model_scope(json!([{"Path": long}])), true),
        ("modelscope", "200 OK", long.clone(), false),
    ] {
        user.hub.set(Mishaps { says: Some((status, content)), ..Mishaps::default() });
        for language in ["en", "zh"] {
            let (status, _, err) = user.run(&format!("lang {language}\nload Qwen/tiny hub={hub}"));
            assert!(status == 1 && err.chars().count() < 800 && !err.contains('\u{1b}'), "{hub}: {err}");
            assert_eq!(err.split_whitespace().collect::<String>().contains(&quoted), quotes, "{hub}: {err}");
        }
    }
    for endpoint in [format!("http://{}", "x".repeat(50_000)), format!("http://[{}", "x".repeat(50_000))] {
        user.hub.set(Mishaps {
            moved: Some(Moved { endpoint: endpoint.clone(), files_only: false }),
            ..Mishaps::default()
        });
        for environment in [&[][..], &[("HF_ENDPOINT", endpoint.as_str())]] {
            let (status, _, err) = user.run_with(environment, "load Qwen/tiny");
            assert!(status == 1 && err.chars().count() < 800, "{err}");
        }
    }
    user.hub.set(Mishaps::default());
    let (_, _, err) = user.run(&format!("load Qwen/tiny model_revision={}", "x".repeat(10_000)));
    assert!(err.contains("has no revision `xxx") && err.chars().count() < 800, "{err}");
}

#[test]
#[cfg(unix)]
fn a_cache_in_which_others_write_leads_nowhere() {
    use std::os::unix::fs::symlink;
    let user = User::new();
    let folder = user.home.path().join("hub/models--Qwen--tiny");
    let precious = user.home.path().join("precious");
    std::fs::create_dir_all(folder.join("blobs")).unwrap();
    std::fs::write(&precious, "precious").unwrap();
    symlink(&precious, folder.join(format!("blobs/{}.incomplete", user.hub.sha256(SHARD)))).unwrap();
    let (status, out, err) = user.run("load Qwen/tiny");
    assert!(status == 0 && out.contains(LOADED), "{out}{err}");
    assert_eq!(std::fs::read_to_string(&precious).unwrap(), "precious");
    assert_eq!(incomplete(user.home.path()), None);
    // A branch whose file names no commit, but a folder elsewhere.
    symlink(fixture("tiny"), user.home.path().join("elsewhere")).unwrap();
    assert!(folder.join("snapshots/../../../elsewhere/config.json").is_file());
    std::fs::write(folder.join("refs/main"), "../../../elsewhere").unwrap();
    let (status, _, err) = user.run_with(&[("HF_HUB_OFFLINE", "1")], "load Qwen/tiny");
    assert!(status == 1 && err.contains("is not, or not completely, in"), "{err}");
}
