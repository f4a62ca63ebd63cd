//! A hub on the loopback device that takes uploads as Hugging Face does, with its storage under another name of this
//! machine, and its mishaps. It answers as the hub in `reference/push.py`, of which the expected requests are.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;
use std::io::Write;
use std::net::TcpListener;
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::thread;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;
use serde_json::json;
use sha1::Sha1;
use sha2::Digest;
use sha2::Sha256;

pub(crate) const ID: &str = "someone/creatures";
pub(crate) const TOKEN: &str = "hf_secret";
const PART: u64 = 20_000;

/// What goes wrong.
#[derive(Clone, Default)]
pub(crate) struct Mishaps {
    /// Large files are wanted in parts.
    pub in_parts: bool,
    /// The first request to a path that contains this gets this status, and what else there is in an answer.
    pub once: Option<(&'static str, &'static str, String)>,
    /// Every request to such a path.
    pub always: Option<(&'static str, &'static str, String)>,
    /// The connection breaks once, after so many bytes of the piece that is sent to a path that contains this.
    pub cut: Option<(&'static str, usize)>,
    /// Nothing is read of a file after so many bytes, until the client goes away.
    pub stall: Option<usize>,
    /// Repositories are public, whatever is asked for.
    pub makes_public: bool,
    /// The host that should hear that a file is there.
    pub verify_at: Option<String>,
    /// The answer to what is asked of files never ends.
    pub endless: bool,
    /// A large file is said to have one part more than it has.
    pub wrong_parts: bool,
}

#[derive(Default)]
struct State {
    is_private: Option<bool>,
    /// Names, and SHA-256 or git's names.
    oids: BTreeMap<String, String>,
    small: BTreeMap<String, Vec<u8>>,
    objects: HashMap<String, Vec<u8>>,
    parts: HashMap<String, BTreeMap<u64, Vec<u8>>>,
    commits: usize,
    seen: Vec<Value>,
    mishaps: Mishaps,
}

pub(crate) struct UploadHub {
    pub endpoint: String,
    state: Arc<Mutex<State>>,
}

struct Server {
    port: u16,
    state: Arc<Mutex<State>>,
}

impl UploadHub {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state: Arc<Mutex<State>> = Arc::default();
        let server = Arc::new(Server { port, state: Arc::clone(&state) });
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let server = Arc::clone(&server);
                // A client that goes away in the middle is no failure of ours.
                thread::spawn(move || drop(server.serve(stream)));
            }
        });
        Self { endpoint: format!("http://127.0.0.1:{port}"), state }
    }

    pub(crate) fn set(&self, mishaps: Mishaps) {
        self.state().mishaps = mishaps;
    }

    /// The requests since the last call.
    pub(crate) fn seen(&self) -> Vec<Value> {
        std::mem::take(&mut self.state().seen)
    }

    /// Of each of them, the method and the path, without the storage's hashes.
    pub(crate) fn asked(&self) -> Vec<String> {
        let path = |path: &str| match path.strip_prefix("/storage/") {
            Some(rest) => {
                format!("/storage{}", rest.split_once('?').map_or(String::new(), |(_, part)| format!("?{part}")))
            }
            None => path.to_string(),
        };
        let seen = self.seen();
        seen.iter()
            .map(|seen| format!("{} {}", seen["method"].as_str().unwrap(), path(seen["path"].as_str().unwrap())))
            .collect()
    }

    pub(crate) fn commits(&self) -> usize {
        self.state().commits
    }

    pub(crate) fn is_private(&self) -> Option<bool> {
        self.state().is_private
    }

    /// The files of the last commit.
    pub(crate) fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let state = self.state();
        let content = |(name, oid): (&String, &String)| {
            let small = state.small.get(name).filter(|small| git_sha1(small) == *oid);
            (name.clone(), small.unwrap_or_else(|| &state.objects[oid]).clone())
        };
        state.oids.iter().map(content).collect()
    }

    /// Writes them to a folder.
    pub(crate) fn write_files(&self, folder: &Path) {
        self.files().iter().for_each(|(name, content)| std::fs::write(folder.join(name), content).unwrap());
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl Server {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn serve(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let mut headers = HashMap::new();
        loop {
            let mut header = String::new();
            reader.read_line(&mut header)?;
            let Some((name, value)) = header.trim_end().split_once(':') else { break };
            headers.insert(name.to_lowercase(), value.trim().to_string());
        }
        let mut words = line.split(' ');
        let (method, path) = (words.next().unwrap().to_string(), words.next().unwrap_or_default().to_string());
        assert!(!headers.contains_key("transfer-encoding"), "a storage wants to know the length");
        let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
        let mishaps = self.state().mishaps.clone();
        if let Some((_, bytes)) = mishaps.cut.filter(|(part, _)| path.contains(part)) {
            self.state().mishaps.cut = None;
            reader.by_ref().take(bytes as u64).read_to_end(&mut Vec::new())?;
            return Ok(());
        }
        if let Some(bytes) = mishaps.stall.filter(|_| method == "PUT") {
            reader.by_ref().take(bytes as u64).read_to_end(&mut Vec::new())?;
            self.see(&method, &path, &headers, &[]);
            thread::sleep(Duration::from_secs(60));
            return Ok(());
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let said = self.see(&method, &path, &headers, &body);
        let is_meant = |mishap: &Option<(&'static str, &'static str, String)>| {
            mishap.clone().filter(|(part, ..)| path.contains(part))
        };
        if let Some((_, status, rest)) = is_meant(&mishaps.always) {
            return reply(&mut stream, status, &rest);
        }
        if let Some((_, status, rest)) = is_meant(&mishaps.once) {
            self.state().mishaps.once = None;
            return reply(&mut stream, status, &rest);
        }
        let of_hub = path.starts_with("/api/") && !path.starts_with("/api/complete/") || path.contains("/info/lfs/");
        if of_hub && headers.get("authorization") != Some(&format!("Bearer {TOKEN}")) {
            return reply(&mut stream, "401 Unauthorized", "\r\n{\"error\": \"Invalid credentials\"}");
        }
        if mishaps.endless && path.contains("/preupload/") {
            let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
            stream.write_all(head.as_bytes())?;
            let chunk = format!("10000\r\n{}\r\n", " ".repeat(1 << 16));
            loop {
                stream.write_all(chunk.as_bytes())?;
            }
        }
        let (status, answer, header) = self.answer(&path, &said, body);
        reply(&mut stream, status, &format!("{header}\r\n{answer}"))
    }

    /// Keeps what was asked, as the fixture has it.
    fn see(&self, method: &str, path: &str, headers: &HashMap<String, String>, body: &[u8]) -> Value {
        let kind = headers.get("content-type").and_then(|kind| kind.split(';').next());
        let lines = || body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let said = match kind {
            Some(kind) if kind.ends_with("ndjson") => {
                lines().map(|line| serde_json::from_slice::<Value>(line).unwrap()).collect()
            }
            Some(kind) if kind.ends_with("json") => serde_json::from_slice(body).unwrap(),
            _ if body.is_empty() => Value::Null,
            _ => json!({"size": body.len(), "sha256": sha256(body)}),
        };
        let host = if headers["host"].starts_with("localhost") { "storage" } else { "hub" };
        let with_token = headers.get("authorization").is_some_and(|token| token.contains(TOKEN));
        self.state().seen.push(json!({
            "method": method, "host": host, "path": path, "content_type": kind, "accept": headers.get("accept"),
            "with_token": with_token, "body": said,
        }));
        said
    }

    fn answer(&self, path: &str, said: &Value, body: Vec<u8>) -> (&'static str, Value, String) {
        let hub = format!("http://127.0.0.1:{}", self.port);
        let mut state = self.state();
        let ok = |answer: Value| ("200 OK", answer, String::new());
        let of_model = path.strip_prefix(&format!("/api/models/{ID}"));
        match (path, of_model) {
            ("/api/repos/create", _) if state.is_private.is_some() => {
                ("409 Conflict", json!({"error": "exists"}), String::new())
            }
            ("/api/repos/create", _) => {
                state.is_private = Some(said["visibility"] == "private" && !state.mishaps.makes_public);
                ok(json!({"url": format!("{hub}/{ID}")}))
            }
            (_, Some("")) => ok(json!({"id": ID, "private": state.is_private})),
            (_, Some(rest)) if rest.starts_with("/branch/") => ok(json!({})),
            (_, Some(rest)) if rest.starts_with("/preupload/") => {
                let mode = |file: &Value| {
                    let name = file["path"].as_str().unwrap();
                    let mode = if name.ends_with(".safetensors") { "lfs" } else { "regular" };
                    json!({"path": name, "uploadMode": mode, "shouldIgnore": false, "oid": state.oids.get(name)})
                };
                ok(json!({"files": said["files"].as_array().unwrap().iter().map(mode).collect::<Vec<_>>()}))
            }
            (_, Some(rest)) if rest.starts_with("/commit/") => {
                for line in said.as_array().unwrap() {
                    let (key, value) = (&line["key"], &line["value"]);
                    let name = value["path"].as_str().unwrap_or_default().to_string();
                    if key == "lfsFile" {
                        state.oids.insert(name, value["oid"].as_str().unwrap().to_string());
                    } else if key == "file" {
                        let content = BASE64_STANDARD.decode(value["content"].as_str().unwrap()).unwrap();
                        state.oids.insert(name.clone(), git_sha1(&content));
                        state.small.insert(name, content);
                    }
                }
                state.commits += 1;
                ok(json!({"commitUrl": format!("{hub}/{ID}/commit/1"), "commitOid": "1".repeat(40), "success": true}))
            }
            _ if path.contains("/info/lfs/objects/batch") => {
                let objects = said["objects"].as_array().unwrap().iter().map(|object| self.object(object, &state));
                ok(json!({"objects": objects.collect::<Vec<_>>()}))
            }
            _ if path.starts_with("/storage/") => {
                let (oid, part) = path["/storage/".len()..].split_once('?').unwrap_or((&path["/storage/".len()..], ""));
                let tag = format!("ETag: \"{}\"\r\n", md5_of_fixture(&sha256(&body)));
                if part.is_empty() {
                    assert_eq!(sha256(&body), oid, "what was announced");
                    state.objects.insert(oid.to_string(), body);
                } else {
                    let number = part.trim_start_matches("part=").parse().unwrap();
                    state.parts.entry(oid.to_string()).or_default().insert(number, body);
                }
                ("200 OK", json!({}), tag)
            }
            _ if path.starts_with("/api/complete/") => {
                let oid = path["/api/complete/".len()..].to_string();
                let parts = state.parts.remove(&oid).unwrap();
                assert_eq!(said["parts"].as_array().unwrap().len(), parts.len());
                let whole = parts.into_values().collect::<Vec<_>>().concat();
                assert_eq!(sha256(&whole), oid);
                state.objects.insert(oid, whole);
                ok(json!({}))
            }
            ("/api/verify", _) => {
                let is_there = state.objects.contains_key(said["oid"].as_str().unwrap());
                (if is_there { "200 OK" } else { "404 Not Found" }, json!({}), String::new())
            }
            _ => ("404 Not Found", json!({"error": "not found"}), String::new()),
        }
    }

    fn object(&self, object: &Value, state: &State) -> Value {
        let (oid, size) = (object["oid"].as_str().unwrap(), object["size"].as_u64().unwrap());
        if state.objects.contains_key(oid) {
            return json!({"oid": oid, "size": size});
        }
        let (hub, storage) =
            (format!("http://127.0.0.1:{}", self.port), format!("http://localhost:{}/storage/{oid}", self.port));
        let upload = if state.mishaps.in_parts {
            let mut header = json!({"chunk_size": PART.to_string()});
            for number in 1..=size.div_ceil(PART) + u64::from(state.mishaps.wrong_parts) {
                header[format!("{number:05}")] = json!(format!("{storage}?part={number}"));
            }
            json!({"href": format!("{hub}/api/complete/{oid}"), "header": header})
        } else {
            json!({"href": storage, "header": {}})
        };
        let verify = format!("{}/api/verify", state.mishaps.verify_at.as_ref().unwrap_or(&hub));
        json!({"oid": oid, "size": size, "actions": {"upload": upload, "verify": {"href": verify}}})
    }
}

/// `rest` is headers, an empty line and the content.
fn reply(out: &mut TcpStream, status: &str, rest: &str) -> std::io::Result<()> {
    let (headers, body) =
        rest.split_once("\r\n{").map_or((rest, String::new()), |(headers, body)| (headers, format!("{{{body}")));
    let headers = if headers.is_empty() { String::new() } else { format!("{}\r\n", headers.trim_end()) };
    let head = format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    out.write_all(head.as_bytes())?;
    out.write_all(body.as_bytes())
}

/// The tag that the hub of the fixture gives to a part, by the hash of the part; another part has its own hash.
fn md5_of_fixture(sha256: &str) -> String {
    let requests: Value =
        serde_json::from_slice(&std::fs::read(crate::fixtures::fixture("push").join("requests.json")).unwrap())
            .unwrap();
    let requests = requests["multipart"].as_array().unwrap().clone();
    let index = requests
        .iter()
        .filter(|request| request["method"] == "PUT")
        .position(|request| request["body"]["sha256"] == sha256);
    let completed = requests.iter().find(|request| request["body"]["parts"].is_array()).unwrap();
    let tag = index.and_then(|index| completed["body"]["parts"][index]["etag"].as_str());
    tag.map_or_else(|| sha256.to_string(), |tag| tag.trim_matches('"').to_string())
}

fn sha256(content: &[u8]) -> String {
    hexadecimal(&Sha256::digest(content))
}

fn git_sha1(content: &[u8]) -> String {
    hexadecimal(&Sha1::digest([format!("blob {}\0", content.len()).as_bytes(), content].concat()))
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
