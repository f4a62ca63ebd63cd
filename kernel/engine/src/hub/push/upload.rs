//! The files of an upload: what the hub wants of each, and the bytes of the large ones.

use std::collections::HashMap;
use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::io::Read;
use std::io::Seek;
use std::io::SeekFrom;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;
use serde_json::json;
use tunebook_quote::quote;
use tunebook_quote::quote_end;
use ureq::http::header::ETAG;

use super::LocalFile;
use super::api::Action;
use super::api::Api;
use super::api::Mode;
use super::api::TRIES;
use super::api::is_out_of_order;
use crate::error::Error;
use crate::error::Result;
use crate::event::Cancel;
use crate::event::Context;
use crate::event::Event;
use crate::event::Task;
use crate::hub::HubError;
use crate::hub::checksum;
use crate::hub::checksum::Checksum;
use crate::hub::request;
use crate::hub::request::Answer;
use crate::hub::request::MediaType;

/// Files of one question, as the hub's own library asks.
const AT_ONCE: usize = 256;
/// By which a hub tells text from other bytes.
const SAMPLE: u64 = 512;
/// Bytes that may go into a commit itself, where the hub wants 10 MB in LFS.
const IN_GIT: u64 = 100 << 20;
/// The first of the growing pauses between tries.
const PAUSE: Duration = Duration::from_millis(250);

/// A file as the commit names it.
pub(super) struct Prepared {
    file: LocalFile,
    content: Content,
    /// The hub has it just so.
    pub is_known: bool,
}

enum Content {
    /// Stored in git itself.
    Bytes(Vec<u8>),
    /// Stored in LFS, under its SHA-256.
    Large(String),
}

impl Prepared {
    /// The line of the commit.
    pub(super) fn line(&self) -> Value {
        let LocalFile { name, size, .. } = &self.file;
        match &self.content {
            Content::Bytes(bytes) => {
                let value = json!({"content": BASE64_STANDARD.encode(bytes), "path": name, "encoding": "base64"});
                json!({"key": "file", "value": value})
            }
            Content::Large(sha256) => {
                json!({"key": "lfsFile", "value": {"path": name, "algo": "sha256", "oid": sha256, "size": size}})
            }
        }
    }
}

/// The files on their way.
pub(super) struct Uploads<'a> {
    api: &'a Api<'a>,
    cx: &'a Context<'a>,
    /// Bytes of large files that are through, and of all that go to the storage.
    done: u64,
    total: u64,
    /// Bytes of the files in the commit.
    small: u64,
}

impl<'a> Uploads<'a> {
    pub(super) fn new(api: &'a Api<'a>, cx: &'a Context<'a>) -> Self {
        Self { api, cx, done: 0, total: 0, small: 0 }
    }

    /// Bytes that were sent.
    pub(super) fn sent(&self) -> u64 {
        self.done + self.small
    }

    /// What the hub wants of each file, and what it has; files that it ignores are not among them.
    pub(super) fn ask(&mut self, files: &[LocalFile]) -> Result<Vec<Prepared>> {
        let mut modes = HashMap::new();
        for files in files.chunks(AT_ONCE) {
            let asked: Vec<_> = files.iter().map(question).collect::<Result<_>>()?;
            modes.extend(self.api.modes(&asked)?.into_iter().map(|mode| (mode.path.clone(), mode)));
        }
        let (mut hashed, all) = (0, files.iter().map(|file| file.size).sum::<u64>());
        let mut prepared = Vec::new();
        for file in files {
            let Some(mode) = modes.get(&file.name) else {
                let problem = format!("it says nothing of {}", quote_end(&file.name));
                return Err(HubError::Answer { url: "preupload".to_string(), problem }.into());
            };
            if !mode.should_ignore {
                prepared.push(self.prepare(file, mode, &mut hashed, all)?);
            }
        }
        Ok(prepared)
    }

    fn prepare(&mut self, file: &LocalFile, mode: &Mode, hashed: &mut u64, all: u64) -> Result<Prepared> {
        let has = |checksum: Option<Checksum>, content: &[u8]| {
            checksum.is_some_and(|checksum| {
                let mut hasher = checksum.hasher(file.size);
                hasher.update(content);
                checksum.check(hasher).is_ok()
            })
        };
        // A storage takes no empty object.
        if mode.upload_mode == "lfs" && file.size > 0 {
            let tell = |count: usize| {
                *hashed += count as u64;
                self.cx.emit(Event::Progress { task: Task::Hashing, done: *hashed as usize, total: all as usize });
            };
            let hash = open(file).and_then(|mut bytes| {
                checksum::sha256_of(&mut bytes, tell, self.cx.cancel).map_err(|source| unread(file, source))
            })?;
            let sha256 = hash.ok_or(Error::Cancelled)?;
            let is_known = mode.oid.as_ref().is_some_and(|oid| oid.eq_ignore_ascii_case(&sha256));
            return Ok(Prepared { file: file.clone(), content: Content::Large(sha256), is_known });
        }
        self.small += file.size;
        if self.small > IN_GIT {
            let problem = format!("it wants {} in git itself", quote_end(&file.name));
            return Err(HubError::Answer { url: "preupload".to_string(), problem }.into());
        }
        let mut bytes = Vec::new();
        open(file)?.take(file.size + 1).read_to_end(&mut bytes).map_err(|source| unread(file, source))?;
        if bytes.len() as u64 != file.size {
            return Err(changed(file));
        }
        let is_known = has(mode.oid.as_deref().and_then(Checksum::git), &bytes);
        if is_known {
            self.small -= file.size;
        }
        Ok(Prepared { file: file.clone(), content: Content::Bytes(bytes), is_known })
    }

    /// Sends what LFS has not.
    pub(super) fn send_large(&mut self, files: &[Prepared]) -> Result<()> {
        let mut seen = HashSet::new();
        let large: Vec<_> = files
            .iter()
            .filter_map(|file| match &file.content {
                // Two files may be the same.
                Content::Large(sha256) if seen.insert(sha256) => Some((sha256, &file.file)),
                _ => None,
            })
            .collect();
        let mut wanted = Vec::new();
        for files in large.chunks(AT_ONCE) {
            let asked: Vec<_> = files.iter().map(|(oid, file)| json!({"oid": oid, "size": file.size})).collect();
            let mut objects: HashMap<_, _> =
                self.api.objects(&asked)?.into_iter().map(|object| (object.oid.clone(), object)).collect();
            for (sha256, file) in files {
                let Some(object) = objects.remove(*sha256) else {
                    let problem = format!("it says nothing of {}", quote_end(&file.name));
                    return Err(HubError::Answer { url: "objects/batch".to_string(), problem }.into());
                };
                wanted.extend(object.actions.map(|actions| (*sha256, *file, actions)));
            }
        }
        self.total = wanted.iter().map(|(_, file, _)| file.size).sum();
        for (sha256, file, actions) in wanted {
            if let Some(upload) = &actions.upload {
                self.send(sha256, file, upload)?;
            }
            if let Some(verify) = &actions.verify {
                self.api.tell(&verify.href, MediaType::Json, &json!({"oid": sha256, "size": file.size}))?;
            }
        }
        Ok(())
    }

    /// Sends an object, in one piece or in parts.
    fn send(&mut self, sha256: &str, file: &LocalFile, action: &Action) -> Result<()> {
        let Some((size, urls)) = parts(action, file.size)? else {
            return self.piece(file, &action.href, 0, file.size).map(drop);
        };
        let mut parts = Vec::new();
        for (index, url) in urls.iter().enumerate() {
            let from = index as u64 * size;
            let answer = self.piece(file, url, from, size.min(file.size - from))?;
            let etag = answer.headers().get(ETAG).and_then(|etag| etag.to_str().ok()).filter(|etag| !etag.is_empty());
            let Some(etag) = etag else {
                return Err(HubError::Answer { url: quote(url), problem: "there is no ETag".to_string() }.into());
            };
            parts.push(json!({"partNumber": index + 1, "etag": etag}));
        }
        self.api.tell(&action.href, MediaType::LfsParts, &json!({"oid": sha256, "parts": parts}))
    }

    /// Sends `length` bytes of a file from `from` on, again if the connection breaks. What went before is not sent again.
    fn piece(&mut self, file: &LocalFile, href: &str, from: u64, length: u64) -> Result<Answer> {
        let url = self.api.allowed(href)?;
        let mut times = 0;
        loop {
            if open(file)?.metadata().map_err(|source| unread(file, source))?.len() != file.size {
                return Err(changed(file));
            }
            let problem = match self.once(file, &url, from, length)? {
                Ok(answer) if answer.status().is_success() => {
                    self.done += length;
                    self.tell(0);
                    return Ok(answer);
                }
                Ok(answer) if !is_out_of_order(answer.status()) => return Err(self.api.refused(&url, answer)),
                Ok(answer) => format!("status {}", answer.status().as_u16()),
                Err(error) => request::plain(&error),
            };
            times += 1;
            if times == TRIES {
                return Err(HubError::UploadBroken { file: quote_end(&file.name), times, problem }.into());
            }
            request::wait(PAUSE * (1 << times), self.cx.cancel)?;
        }
    }

    fn once(
        &self,
        file: &LocalFile,
        url: &str,
        from: u64,
        length: u64,
    ) -> Result<std::result::Result<Answer, ureq::Error>> {
        let mut bytes = open(file)?;
        bytes.seek(SeekFrom::Start(from)).map_err(|source| unread(file, source))?;
        let (sent, stop) = (Arc::new(AtomicU64::new(0)), Stop(Cancel::default()));
        let piece = Piece { bytes: bytes.take(length), sent: Arc::clone(&sent), stop: stop.0.clone() };
        let (client, url) = (self.api.client().clone(), url.to_string());
        let tell = || self.tell(sent.load(Ordering::Relaxed));
        request::away_telling(self.cx.cancel, tell, move || client.put(&url, piece, length))
    }

    /// So many bytes of the piece on its way are through.
    fn tell(&self, of_piece: u64) {
        let (done, total) = ((self.done + of_piece) as usize, self.total as usize);
        self.cx.emit(Event::Progress { task: Task::Sending, done, total });
    }
}

/// What the hub is asked of a file.
fn question(file: &LocalFile) -> Result<Value> {
    let mut sample = Vec::new();
    open(file)?.take(SAMPLE).read_to_end(&mut sample).map_err(|source| unread(file, source))?;
    Ok(json!({"path": file.name, "sample": BASE64_STANDARD.encode(sample), "size": file.size}))
}

/// The size of the parts in which an object of `size` bytes is wanted, and their addresses in order; none if in one piece.
///
/// # Errors
/// They are not the parts of such an object.
fn parts(action: &Action, size: u64) -> Result<Option<(u64, Vec<String>)>> {
    let Some(header) = &action.header else { return Ok(None) };
    let Some(part) = header.get("chunk_size") else { return Ok(None) };
    let part = part.as_u64().or_else(|| part.as_str()?.parse().ok()).unwrap_or_default();
    let numbered =
        header.iter().filter_map(|(number, url)| Some((number.parse::<u64>().ok()?, url.as_str()?.to_string())));
    let mut urls: Vec<_> = numbered.collect();
    urls.sort();
    if part == 0 || size.div_ceil(part) != urls.len() as u64 {
        let problem = format!("{} parts of {part} bytes are not {size} bytes", urls.len());
        return Err(HubError::Answer { url: quote(&action.href), problem }.into());
    }
    Ok(Some((part, urls.into_iter().map(|(_, url)| url).collect())))
}

/// A part of a file, read by the thread that sends it.
struct Piece {
    bytes: io::Take<File>,
    sent: Arc<AtomicU64>,
    stop: Cancel,
}

impl Read for Piece {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.stop.is_cancelled() {
            return Err(io::Error::other("stopped"));
        }
        let count = self.bytes.read(buffer)?;
        self.sent.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

/// Nobody waits for a piece any more once this is dropped, and it is not sent to its end.
struct Stop(Cancel);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

fn open(file: &LocalFile) -> Result<File> {
    File::open(&file.path).map_err(|source| unread(file, source))
}

fn unread(file: &LocalFile, source: io::Error) -> Error {
    Error::Read { path: file.path.clone(), source }
}

fn changed(file: &LocalFile) -> Error {
    HubError::Changed { path: file.path.clone() }.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_those_of_the_object() {
        let action = |header: Value| Action { href: "http://hub/x".to_string(), header: header.as_object().cloned() };
        let of = |header: Value, size| parts(&action(header), size).map_err(|error| error.to_string());
        assert_eq!(of(json!({}), 5), Ok(None));
        let urls: Vec<_> = ["a", "b", "c"].map(str::to_string).into();
        let header = json!({"chunk_size": "4", "00003": "c", "1": "a", "00002": "b", "x-amz": "y"});
        assert_eq!(of(header.clone(), 10), Ok(Some((4, urls))));
        for (header, size) in [(header, 13), (json!({"chunk_size": 0}), 0), (json!({"chunk_size": "x", "1": "a"}), 1)] {
            assert!(of(header, size).unwrap_err().contains("parts of"), "{size}");
        }
    }
}
