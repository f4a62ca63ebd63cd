//! A hub on the loopback device: the listings and downloads of Hugging Face and of ModelScope, and their mishaps.

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
use std::thread;
use std::time::Duration;

use serde_json::Value;
use serde_json::json;
use sha1::Sha1;
use sha2::Digest;
use sha2::Sha256;

pub(crate) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// What goes wrong.
#[derive(Clone, Default)]
pub(crate) struct Mishaps {
    /// Only who has this token is let in.
    pub token: Option<&'static str>,
    /// The connection breaks once, after so many bytes of this file.
    pub cut: Option<(&'static str, usize)>,
    /// Every connection breaks after so many bytes of this file, and it always begins at the first one.
    pub never_whole: Option<(&'static str, usize)>,
    /// This file has so many bytes more or, if negative, fewer than are listed.
    pub other_size: Option<(&'static str, isize)>,
    /// Answers do not say how long they are.
    pub chunked: bool,
    /// Nothing more comes of this file after so many bytes.
    pub stall: Option<(&'static str, usize)>,
    /// So many more files with long names are listed.
    pub crowd: usize,
    /// The status and content of every answer.
    pub says: Option<(&'static str, String)>,
    /// Files come at some 3 MB/s.
    pub slow: bool,
    /// The listing never ends.
    pub endless: bool,
    /// Where all requests, or all but those for listings, are sent on to, instead of being answered.
    pub moved: Option<Moved>,
    /// Small files are sent on to another path of the same host, as on Hugging Face.
    pub sent_on: bool,
    /// One bit of this file is wrong.
    pub damage: Option<&'static str>,
    /// It cannot say which files there are.
    pub out_of_order: bool,
}

/// Another host, and whether only files have moved there.
#[derive(Clone)]
pub(crate) struct Moved {
    pub endpoint: String,
    pub files_only: bool,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// The file it asked for; `listing` if none.
    pub what: String,
    /// The first byte it asked for.
    pub from: Option<usize>,
    /// The host it was addressed to.
    pub host: String,
    pub token: Option<String>,
}

pub(crate) struct LoopbackHub {
    pub endpoint: String,
    shared: Arc<Shared>,
}

struct Shared {
    port: u16,
    id: &'static str,
    files: Vec<(String, Vec<u8>)>,
    mishaps: Mutex<Mishaps>,
    seen: Mutex<Vec<Seen>>,
}

impl LoopbackHub {
    /// Serves a folder, and some files that nobody needs, as the repository `id`, until the tests end.
    pub(crate) fn serve(folder: &Path, id: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let read =
            |entry: std::fs::DirEntry| (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap());
        let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| read(entry.unwrap())).collect();
        for name in ["README.md", "pytorch_model.bin", "consolidated.safetensors", "onnx/model.json"] {
            files.push((name.to_string(), b"nobody needs this".to_vec()));
        }
        let (mishaps, seen) = (Mutex::default(), Mutex::default());
        let shared = Arc::new(Shared { port, id, files, mishaps, seen });
        let server = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let server = Arc::clone(&server);
                // A client that goes away in the middle is no failure of ours.
                thread::spawn(move || drop(server.answer(stream)));
            }
        });
        Self { endpoint: format!("http://127.0.0.1:{port}"), shared }
    }

    pub(crate) fn set(&self, mishaps: Mishaps) {
        *self.shared.mishaps.lock().unwrap() = mishaps;
    }

    /// The requests since the last call.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.shared.seen.lock().unwrap())
    }

    /// The SHA-256 of a file.
    pub(crate) fn sha256(&self, name: &str) -> String {
        sha256(self.shared.content(name).unwrap())
    }

    /// What git calls a file.
    pub(crate) fn git_sha1(&self, name: &str) -> String {
        git_sha1(self.shared.content(name).unwrap())
    }
}

impl Shared {
    fn content(&self, name: &str) -> Option<&[u8]> {
        self.files.iter().find(|(file, _)| file == name).map(|(_, content)| &content[..])
    }

    fn answer(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut lines = BufReader::new(stream.try_clone()?).lines();
        let first = lines.next().unwrap_or(Ok(String::new()))?;
        let mut headers = HashMap::new();
        for line in lines {
            let line = line?;
            let Some((name, value)) = line.split_once(':') else { break };
            headers.insert(name.to_lowercase(), value.trim().to_string());
        }
        let target = first.split(' ').nth(1).unwrap_or_default();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let parameter = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
        let id = self.id;
        // The same repository is a model and a data set.
        let of_kind = |before: &str, after: &str| {
            ["models", "datasets"].map(|kind| format!("{before}/{kind}/{id}{after}")).contains(&path.to_string())
        };
        let files = ["", "/datasets"].map(|kind| format!("{kind}/{id}/resolve/{COMMIT}/"));
        let file = files
            .iter()
            .chain([&format!("/storage/{id}/"), &format!("/api/resolve-cache/{id}/")])
            .find_map(|prefix| path.strip_prefix(prefix.as_str()))
            .or_else(|| parameter("FilePath").filter(|_| of_kind("/api/v1", "/repo")));
        let from = headers.get("range").and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
        let token = headers.get("authorization").and_then(|value| value.strip_prefix("Bearer ")).map(str::to_string);
        self.seen.lock().unwrap().push(Seen {
            what: file.unwrap_or("listing").to_string(),
            from,
            host: headers.get("host").cloned().unwrap_or_default(),
            token: token.clone(),
        });
        let mishaps = self.mishaps.lock().unwrap().clone();
        let is_storage = path.starts_with("/storage/");
        if !is_storage && mishaps.token.is_some_and(|needed| token.as_deref() != Some(needed)) {
            return reply(&mut stream, "401 Unauthorized", "X-Error-Code: GatedRepo\r\n", b"Access is restricted.");
        }
        if let Some((status, content)) = &mishaps.says {
            return reply(&mut stream, status, "", content.as_bytes());
        }
        if let Some(moved) = mishaps.moved.as_ref().filter(|moved| file.is_some() || !moved.files_only) {
            return reply(&mut stream, "302 Found", &format!("Location: {}{target}\r\n", moved.endpoint), b"");
        }
        if mishaps.out_of_order && file.is_none() {
            return reply(&mut stream, "503 Service Unavailable", "", b"");
        }
        if mishaps.endless && file.is_none() {
            return endless(&mut stream);
        }
        if of_kind("/api", "/revision/main") && parameter("blobs") == Some("true") {
            let listing = self.hugging_face_listing(mishaps.crowd);
            return reply(&mut stream, "200 OK", "", listing.to_string().as_bytes());
        }
        if of_kind("/api", &format!("/tree/{COMMIT}")) && parameter("recursive") == Some("true") {
            let page = parameter("cursor").map_or(0, |cursor| cursor.parse().unwrap());
            let (nodes, next) = self.hugging_face_tree(mishaps.crowd, page);
            let link = format!("Link: <{path}?recursive=true&cursor={}>; rel=\"next\"\r\n", page + 1);
            let link = if next { link } else { String::new() };
            return reply(&mut stream, "200 OK", &link, nodes.to_string().as_bytes());
        }
        if path.starts_with(&format!("/api/models/{id}/revision/")) {
            return reply(&mut stream, "404 Not Found", "X-Error-Code: RevisionNotFound\r\n", b"{}");
        }
        let is_listed = of_kind("/api/v1", "/repo/files") || of_kind("/api/v1", "/repo/tree");
        if is_listed && parameter("Revision") == Some("master") {
            let listing = self.model_scope_listing(mishaps.crowd);
            return reply(&mut stream, "200 OK", "", listing.to_string().as_bytes());
        }
        let Some((name, content)) = file.and_then(|name| Some((name, self.content(name)?))) else {
            return reply(&mut stream, "404 Not Found", "X-Error-Code: RepoNotFound\r\n", b"{}");
        };
        // Large files lie on another host, as they do on the real hub.
        if path.contains("/resolve/") && name.ends_with(".safetensors") {
            let location = format!("Location: http://localhost:{}/storage/{id}/{name}\r\n", self.port);
            return reply(&mut stream, "302 Found", &location, b"");
        }
        if path.contains("/resolve/") && mishaps.sent_on {
            let location = format!("Location: /api/resolve-cache/{id}/{name}\r\n");
            return reply(&mut stream, "307 Temporary Redirect", &location, b"");
        }
        // ModelScope sends parts, too, but does not say so by the status.
        let part = if path.starts_with("/api/v1/") { "200 OK" } else { "206 Partial Content" };
        self.send(&mut stream, (name, content), (from.unwrap_or(0), part), &mishaps)
    }

    fn send(
        &self,
        out: &mut TcpStream,
        (name, all): (&str, &[u8]),
        (from, part): (usize, &str),
        mishaps: &Mishaps,
    ) -> std::io::Result<()> {
        let mut all = all.to_vec();
        if let Some((_, more)) = mishaps.other_size.filter(|(file, _)| *file == name) {
            all.resize(all.len().strict_add_signed(more), b' ');
        }
        let length = all.len();
        let never_whole = mishaps.never_whole.filter(|(file, _)| *file == name);
        let from = if never_whole.is_some() { 0 } else { from };
        if from >= length && from > 0 {
            return reply(out, "416 Range Not Satisfiable", &format!("Content-Range: bytes */{length}\r\n"), b"");
        }
        let mut content = all.split_off(from);
        if let (Some(last), true) = (content.last_mut(), mishaps.damage == Some(name)) {
            *last ^= 1;
        }
        let status = if from > 0 { part } else { "200 OK" };
        let range = format!("Content-Range: bytes {from}-{}/{length}\r\n", length.saturating_sub(1));
        let range = if from > 0 { range } else { String::new() };
        if mishaps.chunked {
            let head = format!("HTTP/1.1 {status}\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n");
            let chunk = [format!("{:x}\r\n", content.len()).as_bytes(), &content, b"\r\n0\r\n\r\n"].concat();
            return out.write_all(&[head.as_bytes(), &chunk].concat());
        }
        let head =
            format!("HTTP/1.1 {status}\r\n{range}Content-Length: {}\r\nConnection: close\r\n\r\n", content.len());
        out.write_all(head.as_bytes())?;
        match (mishaps.cut, mishaps.stall) {
            (Some((file, bytes)), _) if file == name => {
                self.mishaps.lock().unwrap().cut = None;
                out.write_all(&content[..bytes])
            }
            (_, Some((file, bytes))) if file == name => {
                out.write_all(&content[..bytes])?;
                // Until the client goes away.
                out.set_read_timeout(Some(Duration::from_secs(60)))?;
                out.read(&mut [0]).map(drop)
            }
            _ if mishaps.slow => content.chunks(1 << 16).try_for_each(|piece| {
                thread::sleep(Duration::from_millis(20));
                out.write_all(piece)
            }),
            _ => out.write_all(&content[..never_whole.map_or(content.len(), |(_, bytes)| bytes)]),
        }
    }

    /// What comes with a repository: no more than 50,000 files, and first those that nobody needs.
    fn hugging_face_listing(&self, crowd: usize) -> Value {
        let extra = (0..crowd).map(|i| json!({"rfilename": crowded(i), "size": 1, "blobId": git_sha1(b"1")}));
        let sibling = |(name, content): &(String, Vec<u8>)| {
            let size = content.len();
            match name.ends_with(".safetensors") {
                // The blob is LFS's pointer to the content.
                true => json!({"rfilename": name, "size": size, "blobId": git_sha1(b"pointer"),
                    "lfs": {"sha256": sha256(content), "size": size, "pointerSize": 134}}),
                false => json!({"rfilename": name, "size": size, "blobId": git_sha1(content)}),
            }
        };
        let siblings = extra.chain(self.files.iter().map(sibling)).take(50_000);
        json!({"sha": COMMIT, "siblings": siblings.collect::<Vec<_>>()})
    }

    /// A page of all files and folders, and whether another one follows.
    fn hugging_face_tree(&self, crowd: usize, page: usize) -> (Value, bool) {
        const PAGE: usize = 20_000;
        let folder = json!({"type": "directory", "path": "onnx", "size": 0, "oid": git_sha1(b"tree")});
        let extra = (0..crowd).map(|i| json!({"type": "file", "path": crowded(i), "size": 1, "oid": git_sha1(b"1")}));
        let node = |(name, content): &(String, Vec<u8>)| {
            let size = content.len();
            match name.ends_with(".safetensors") {
                true => json!({"type": "file", "path": name, "size": size, "oid": git_sha1(b"pointer"),
                    "lfs": {"oid": sha256(content), "size": size, "pointerSize": 134}}),
                false => json!({"type": "file", "path": name, "size": size, "oid": git_sha1(content)}),
            }
        };
        let nodes: Vec<_> = extra.chain([folder]).chain(self.files.iter().map(node)).collect();
        let is_last = (page + 1) * PAGE >= nodes.len();
        (nodes.into_iter().skip(page * PAGE).take(PAGE).collect(), !is_last)
    }

    fn model_scope_listing(&self, crowd: usize) -> Value {
        let extra = (0..crowd).map(|i| json!({"Path": crowded(i), "Type": "blob", "Size": 1}));
        let file = |(name, content): &(String, Vec<u8>)| json!({"Name": name, "Path": name, "Type": "blob", "Size": content.len(), "Sha256": sha256(content)});
        let folder = json!({"Name": "onnx", "Path": "onnx", "Type": "tree", "Size": 0});
        let files: Vec<_> = extra.chain(self.files.iter().map(file)).chain([folder]).collect();
        json!({"Code": 200, "Success": true, "Message": "success", "Data": {"Files": files}})
    }
}

/// A file of many.
fn crowded(number: usize) -> String {
    format!("{}/{number}.bin", "x".repeat(200))
}

/// Answers until the client goes away.
fn endless(out: &mut TcpStream) -> std::io::Result<()> {
    out.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n")?;
    let chunk = format!("10000\r\n{}\r\n", " ".repeat(1 << 16));
    loop {
        out.write_all(chunk.as_bytes())?;
    }
}

fn reply(out: &mut TcpStream, status: &str, headers: &str, body: &[u8]) -> std::io::Result<()> {
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n");
    out.write_all(head.as_bytes())?;
    out.write_all(body)
}

fn sha256(content: &[u8]) -> String {
    hexadecimal(&Sha256::digest(content))
}

/// What git calls a file of this content.
fn git_sha1(content: &[u8]) -> String {
    hexadecimal(&Sha1::digest([format!("blob {}\0", content.len()).as_bytes(), content].concat()))
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
