//! Who is let in, and where a picture may come from.

use std::io::Read;
use std::io::Write;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use serde_json::Value;
use serde_json::json;

use super::answerer::ECHO;
use super::client::Client;
use super::echo;
use super::echo_with;
use super::options;
use super::say;
use crate::Options;
use crate::StartError;
use crate::tests::answerer::Echo;

fn keyed() -> Options {
    Options { api_key: Some("sk-right".into()), ..options() }
}

#[test]
fn only_who_has_the_key_may_ask() {
    let (_echo, client) = echo_with(keyed(), |_| {});
    assert_eq!(client.answer(&say(ECHO, "x")), "You said: x");
    for key in [None, Some("sk-wrong"), Some("sk-righ"), Some("sk-right2"), Some("SK-RIGHT"), Some("")] {
        let other = Client { key: key.map(String::from), ..client.clone() };
        let refused = other.ask(&say(ECHO, "x"));
        assert_eq!(refused.error(), (401, "invalid_api_key".into(), String::new()), "{key:?}");
        assert_eq!(refused.headers["www-authenticate"], "Bearer");
        for path in ["/v1/models", "/v1/models/echo", "/metrics", "/nowhere"] {
            assert_eq!(other.get(path).status, 401, "{key:?} {path}");
        }
        assert_eq!(other.get("/health").status, 200);
    }
    let basic = "GET /v1/models HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Basic sk-right\r\n\r\n";
    assert_eq!(client.exchange(basic.as_bytes()).status, 401);
    // Behind a proxy it has another name.
    let named =
        "GET /v1/models HTTP/1.1\r\nHost: me.example\r\nConnection: close\r\nAuthorization: bearer  sk-right \r\n\r\n";
    assert_eq!(client.exchange(named.as_bytes()).status, 200);
}

#[test]
fn without_a_key_only_this_machine_may_ask() {
    let refused = Echo::start(Options { host: [0, 0, 0, 0].into(), ..options() });
    assert!(matches!(refused.err(), Some(StartError::OpenWithoutKey { .. })));
    for key in ["", "with space", "schlüssel", "line\nfeed"] {
        let refused = Echo::start(Options { api_key: Some(key.into()), ..options() });
        assert!(matches!(refused.err(), Some(StartError::BadKey)), "{key:?}");
    }
    let open = Echo::start(Options { host: [0, 0, 0, 0].into(), ..keyed() }).unwrap();
    assert!(open.server().address().ip().is_unspecified());
    let taken = Echo::start(Options { port: open.server().address().port(), host: [0, 0, 0, 0].into(), ..keyed() });
    assert!(matches!(taken.err(), Some(StartError::Bind { .. })));
}

#[test]
fn a_page_whose_name_leads_here_may_not_ask() {
    let (_echo, client) = echo();
    let status = |head: &str| client.exchange(format!("{head}\r\nConnection: close\r\n\r\n").as_bytes()).status;
    assert_eq!(status("GET /v1/models HTTP/1.1\r\nHost: localhost:1"), 200);
    assert_eq!(status("GET /v1/models HTTP/1.1\r\nHost: evil.example"), 403);
    assert_eq!(status("GET /v1/models HTTP/1.1\r\nHost: localhost\r\nHost: evil.example"), 403);
    assert_eq!(status("GET http://evil.example/v1/models HTTP/1.1\r\nHost: localhost"), 403);
    assert_eq!(status("GET /v1/models HTTP/1.1\r\nHost: "), 403);
    assert_eq!(status("GET /v1/models HTTP/1.1"), 403);
}

#[test]
fn a_page_of_another_origin_is_not_told_that_it_may_ask() {
    let (_echo, client) = echo();
    let body = say(ECHO, "x").to_string();
    let send = |kind: &str| {
        let head =
            "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil.example\r\nConnection: close";
        client.exchange(format!("{head}\r\n{kind}Content-Length: {}\r\n\r\n{body}", body.len()).as_bytes())
    };
    // What a page may send without asking first.
    for kind in ["", "Content-Type: text/plain\r\n", "Content-Type: application/x-www-form-urlencoded\r\n"] {
        assert_eq!(send(kind).status, 415, "{kind}");
    }
    let json = send("Content-Type: Application/JSON; charset=utf-8\r\n");
    assert_eq!(json.status, 200);
    let ask = "OPTIONS /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil.example\r\nConnection: close\r\n\
               Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: content-type\r\n\r\n";
    let asked = client.exchange(ask.as_bytes());
    assert_eq!(asked.status, 405);
    for response in [json, asked] {
        assert!(!response.headers.keys().any(|name| name.starts_with("access-control")), "{response:?}");
    }
}

/// A web server that gives the same answer to each request, and the paths that it was asked for.
fn web(answer: impl Fn(&str) -> Vec<u8> + Send + 'static) -> (u16, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (port, asked) = (listener.local_addr().unwrap().port(), Arc::new(Mutex::new(Vec::new())));
    let seen = Arc::clone(&asked);
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut head = [0; 4096];
            let length = stream.read(&mut head).unwrap_or(0);
            let head = String::from_utf8_lossy(&head[..length]).into_owned();
            let path = head.split(' ').nth(1).unwrap_or_default().to_string();
            let answer = answer(&path);
            seen.lock().unwrap().push(path);
            // The server need not read it to the end.
            drop(stream.write_all(&answer));
        }
    });
    (port, asked)
}

fn ok(body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

fn shown(url: &str) -> Value {
    let content = json!([{"type": "text", "text": "x"}, {"type": "image_url", "image_url": {"url": url}}]);
    json!({"model": ECHO, "messages": [{"role": "user", "content": content}], "temperature": 0})
}

#[test]
fn pictures_are_fetched_if_that_is_allowed() {
    let png = b"\x89PNG\r\n\x1a\nxyz";
    let (port, asked) = web(move |path| match path {
        "/moved" => {
            b"HTTP/1.1 302 Found\r\nLocation: /a.png\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_vec()
        }
        _ => ok(png),
    });
    let (_echo, client) = echo_with(Options { allow_urls: true, ..options() }, |_| {});
    assert_eq!(client.answer(&shown(&format!("http://127.0.0.1:{port}/a.png"))), "[11 B] You said: x");
    assert_eq!(client.answer(&shown(&format!("http://127.0.0.1:{port}/moved"))), "[11 B] You said: x");
    assert_eq!(*asked.lock().unwrap(), ["/a.png", "/moved", "/a.png"]);
    let (_echo, client) = super::echo();
    let refused = client.ask(&shown(&format!("http://127.0.0.1:{port}/no.png")));
    assert_eq!(refused.error().2, "messages[0].content[1].image_url.url");
    assert_eq!(asked.lock().unwrap().len(), 3);
}

#[test]
fn a_picture_is_not_fetched_from_where_only_this_machine_reaches() {
    // 127.0.0.2 stands for what is not public, and 127.0.0.1 for what is.
    let secret = TcpListener::bind("127.0.0.2:0");
    // Systems other than Linux have one loopback address.
    let Ok(secret) = secret else { return };
    secret.set_nonblocking(true).unwrap();
    let address = secret.local_addr().unwrap();
    let (port, asked) = web(move |_| {
        let head = format!(
            "HTTP/1.1 302 Found\r\nLocation: http://{address}/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
        head.into_bytes()
    });
    let (_echo, client) = echo_with(Options { allow_urls: true, ..options() }, |_| {});
    for url in [
        format!("http://{address}/a.png"),
        format!("http://127.0.0.1:{port}/moved"),
        format!("http://2130706434:{}/", address.port()),
        format!("http://0x7f.2:{}/", address.port()),
        format!("http://me@127.0.0.2:{}/", address.port()),
        format!("http://[::ffff:127.0.0.2]:{}/", address.port()),
        format!("https://{address}/"),
    ] {
        let refused = client.ask(&shown(&url));
        assert_eq!(refused.error(), (400, String::new(), "messages[0].content[1].image_url.url".into()), "{url}");
    }
    assert_eq!(*asked.lock().unwrap(), ["/moved"]);
    assert!(secret.accept().is_err(), "it was asked");
}

#[test]
fn a_picture_that_is_large_or_slow_or_not_there_is_an_error() {
    let (port, _) = web(|path| match path {
        "/none" => b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_vec(),
        "/loop" => b"HTTP/1.1 302 Found\r\nLocation: /loop\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_vec(),
        "/file" => {
            b"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                .to_vec()
        }
        "/empty" => ok(b""),
        "/large" => ok(&vec![0; (20 << 20) + 1]),
        "/cut" => b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\nabc".to_vec(),
        "/slow" => {
            thread::sleep(Duration::from_secs(2));
            ok(b"x")
        }
        _ => b"no HTTP\r\n\r\n".to_vec(),
    });
    let allowed = || Options { allow_urls: true, ..options() };
    let (_echo, patient) = echo_with(allowed(), |_| {});
    let (_other, hasty) = echo_with(allowed(), |limits| limits.fetch = Duration::from_millis(500));
    for (path, said) in [
        ("/none", "status 404"),
        ("/loop", "redirects"),
        ("/file", ""),
        ("/empty", "empty"),
        ("/large", "larger than 20 MB"),
        ("/cut", ""),
        ("/slow", "too long"),
        ("/other", ""),
    ] {
        let client = if path == "/slow" { &hasty } else { &patient };
        let refused = client.ask(&shown(&format!("http://127.0.0.1:{port}{path}")));
        assert_eq!(refused.error().2, "messages[0].content[1].image_url.url", "{path}");
        assert!(refused.text().contains(said), "{path}: {}", refused.text());
    }
}
