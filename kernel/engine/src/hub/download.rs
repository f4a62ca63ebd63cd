//! Files that are fetched, checked and put in their places.
//!
//! A file grows as `….incomplete` beside its place, stays there when the download is stopped or breaks off, and is
//! renamed once its size and SHA-256 are right.

use std::fs;
use std::fs::File;
use std::fs::OpenOptions;
use std::fs::TryLockError;
use std::io::Read;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;
use std::time::Instant;

use sha2::Digest;
use sha2::Sha256;
use tunebook_files::replace_file;
use ureq::Agent;
use ureq::http::StatusCode;
use ureq::http::header::ACCEPT_ENCODING;
use ureq::http::header::AUTHORIZATION;
use ureq::http::header::CONTENT_RANGE;
use ureq::http::header::RANGE;

use super::HubError;
use super::RemoteFile;
use super::Repository;
use super::Source;
use super::request;
use super::request::Content;
use crate::error::Error;
use crate::error::Result;
use crate::event::Context;
use crate::event::Event;
use crate::event::Note;

/// How often a connection may break without a byte in between.
const TRIES: usize = 5;
/// The first of the growing pauses between tries.
const PAUSE: Duration = Duration::from_millis(250);
/// How often the progress is told.
const TELL: Duration = Duration::from_millis(100);
/// Files up to this size are hashed to see whether they are still those of the hub; larger ones are known by size.
const SMALL: u64 = 16 << 20;

/// Fetches the files that are not there yet.
///
/// # Errors
/// A file is refused, breaks off too often or is damaged, the disk is full, or a stop is asked for.
pub fn all(files: &[RemoteFile], source: &dyn Source, repository: &Repository, cx: &Context) -> Result<()> {
    let missing: Vec<_> = files.iter().filter(|file| !is_there(file)).collect();
    let total: u64 = missing.iter().map(|file| file.size).sum();
    if total > 0 {
        cx.emit(Event::Note(Note::Download {
            id: repository.id.clone(),
            hub: source.names().hub,
            files: missing.len(),
            size: total,
            cache: source.cache().to_path_buf(),
        }));
    }
    let mut run = Run { agent: request::agent(), source, repository, cx, before: 0, total, told: None };
    for file in missing {
        if let Err(error) = run.fetch(file) {
            if matches!(error, Error::Cancelled) {
                cx.emit(Event::Note(Note::DownloadStopped));
            }
            return Err(error);
        }
        run.before += file.size;
    }
    files.iter().try_for_each(link)
}

/// Writes a small file of our own, as a whole or not at all.
///
/// # Errors
/// The disk refuses.
pub fn write(path: &Path, content: &[u8]) -> Result<()> {
    make_folder(path)?;
    replace_file(path, content).map_err(|source| unwritten(path, source))
}

struct Run<'a> {
    agent: Agent,
    source: &'a dyn Source,
    repository: &'a Repository,
    cx: &'a Context<'a>,
    /// Bytes of the files that are through.
    before: u64,
    total: u64,
    told: Option<Instant>,
}

/// What a try came to, short of a refusal.
enum Outcome {
    Complete,
    Broken(String),
}

impl Run<'_> {
    fn fetch(&mut self, file: &RemoteFile) -> Result<()> {
        let partial = suffixed(&file.blob, ".incomplete");
        make_folder(&partial)?;
        let mut growing = Growing::open(&partial, file)?;
        // Another program may have finished it in between.
        if file.blob.is_file() && is_right(&file.blob, file) {
            return Ok(());
        }
        let mut failures = 0;
        loop {
            let before = growing.length;
            let resumed = before > 0;
            if let Outcome::Broken(problem) = self.fetch_rest(file, &mut growing)? {
                failures = if growing.length > before { 1 } else { failures + 1 };
                if failures >= TRIES {
                    return Err(HubError::Broken { file: file.path.clone(), times: TRIES, problem }.into());
                }
                request::wait(PAUSE * (1 << failures), self.cx.cancel)?;
                continue;
            }
            match growing.check(file) {
                Ok(()) => break,
                // What was there before may have been the beginning of another version.
                Err(_) if resumed => growing.clear()?,
                Err(error) => {
                    growing.clear()?;
                    return Err(error.into());
                }
            }
        }
        // Some systems do not rename what is open.
        drop(growing);
        fs::rename(&partial, &file.blob).map_err(|source| unwritten(&file.blob, source))
    }

    /// One request for all that is missing of a file.
    fn fetch_rest(&mut self, file: &RemoteFile, growing: &mut Growing) -> Result<Outcome> {
        if growing.length > file.size {
            growing.clear()?;
        }
        self.tell(file, growing.length, true);
        if growing.length == file.size {
            return Ok(Outcome::Complete);
        }
        let mut request = self.agent.get(&file.url).header(ACCEPT_ENCODING, "identity");
        if let Some(token) = self.source.token() {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        if growing.length > 0 {
            request = request.header(RANGE, format!("bytes={}-", growing.length));
        }
        let answer = match request::away(self.cx.cancel, move || request.call())? {
            Ok(answer) => answer,
            Err(error) => return Ok(Outcome::Broken(request::plain(&error))),
        };
        let status = answer.status();
        if status == StatusCode::PARTIAL_CONTENT {
            let range = answer.headers().get(CONTENT_RANGE).and_then(|range| range.to_str().ok());
            if !range.is_some_and(|range| range.starts_with(&format!("bytes {}-", growing.length))) {
                growing.clear()?;
                return Ok(Outcome::Broken("it sent another part than it was asked for".to_string()));
            }
        } else if status == StatusCode::RANGE_NOT_SATISFIABLE {
            growing.clear()?;
            return Ok(Outcome::Broken("it has no such part".to_string()));
        } else if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
            return Ok(Outcome::Broken(format!("status {}", status.as_u16())));
        } else if !status.is_success() {
            return Err(self.refusal(file, answer));
        } else if growing.length > 0 {
            // The whole file comes once more.
            growing.clear()?;
        }
        let content = Content::of(answer);
        loop {
            match content.next(self.cx.cancel)? {
                Ok(Some(piece)) => {
                    growing.add(&piece)?;
                    self.tell(file, growing.length, false);
                }
                Ok(None) if growing.length >= file.size => return Ok(Outcome::Complete),
                Ok(None) => return Ok(Outcome::Broken("the connection ended early".to_string())),
                Err(error) => return Ok(Outcome::Broken(error.to_string())),
            }
        }
    }

    fn refusal(&self, file: &RemoteFile, answer: request::Answer) -> Error {
        let status = answer.status().as_u16();
        if !matches!(status, 401 | 403) {
            return request::refusal(self.source.names(), self.repository, &file.url, answer, self.cx.cancel);
        }
        let (names, id) = (Box::new(self.source.names().clone()), self.repository.id.clone());
        let (with_token, page) = (self.source.token().is_some(), self.source.page(self.repository));
        HubError::Denied { names, id, status, with_token, page }.into()
    }

    /// `done` bytes of a file are there.
    fn tell(&mut self, file: &RemoteFile, done: u64, now: bool) {
        if !now && done < file.size && self.told.is_some_and(|told| told.elapsed() < TELL) {
            return;
        }
        self.told = Some(Instant::now());
        let (file, size) = (file.path.clone(), file.size);
        let (all_done, all) = (self.before + done.min(size), self.total);
        self.cx.emit(Event::Download { file, done, size, all_done, all });
    }
}

/// A file that is not all there yet. It belongs to one program at a time.
struct Growing {
    path: PathBuf,
    file: File,
    length: u64,
    hash: Sha256,
}

impl Growing {
    fn open(path: &Path, wanted: &RemoteFile) -> Result<Self> {
        let unreadable = |source| Error::Read { path: path.to_path_buf(), source };
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .read(true)
            .open(path)
            .map_err(|source| unwritten(path, source))?;
        // Where a disk knows no locks, none is held.
        if matches!(file.try_lock(), Err(TryLockError::WouldBlock)) {
            return Err(HubError::Busy { path: path.to_path_buf() }.into());
        }
        let length = file.metadata().map_err(unreadable)?.len();
        let mut hash = Sha256::new();
        if wanted.sha256.is_some() {
            hash_into(&mut hash, &mut file).map_err(unreadable)?;
        }
        Ok(Self { path: path.to_path_buf(), file, length, hash })
    }

    fn add(&mut self, piece: &[u8]) -> Result<()> {
        self.file.write_all(piece).map_err(|source| unwritten(&self.path, source))?;
        self.hash.update(piece);
        self.length += piece.len() as u64;
        Ok(())
    }

    fn clear(&mut self) -> Result<()> {
        self.file.set_len(0).map_err(|source| unwritten(&self.path, source))?;
        (self.length, self.hash) = (0, Sha256::new());
        Ok(())
    }

    fn check(&mut self, wanted: &RemoteFile) -> std::result::Result<(), HubError> {
        let (file, found) = (wanted.path.clone(), hexadecimal(&self.hash.finalize_reset()));
        if self.length != wanted.size {
            return Err(HubError::Size { file, expected: wanted.size, found: self.length });
        }
        match &wanted.sha256 {
            Some(expected) if !expected.eq_ignore_ascii_case(&found) => {
                Err(HubError::Checksum { file, expected: expected.clone(), found })
            }
            _ => Ok(()),
        }
    }
}

/// Whether a file of the cache is that of the hub.
fn is_there(file: &RemoteFile) -> bool {
    let path = if file.place.is_file() { &file.place } else { &file.blob };
    is_right(path, file)
}

fn is_right(path: &Path, file: &RemoteFile) -> bool {
    let has_size = fs::metadata(path).is_ok_and(|found| found.is_file() && found.len() == file.size);
    let has_content = |expected: &str| {
        let mut hash = Sha256::new();
        let read = File::open(path).and_then(|mut file| hash_into(&mut hash, &mut file));
        read.is_ok() && expected.eq_ignore_ascii_case(&hexadecimal(&hash.finalize()))
    };
    has_size && (file.size > SMALL || file.sha256.as_deref().is_none_or(has_content))
}

/// Makes a file found in its place, if that is another one than where its content lies.
fn link(file: &RemoteFile) -> Result<()> {
    if file.place == file.blob || fs::metadata(&file.place).is_ok_and(|found| found.len() == file.size) {
        return Ok(());
    }
    make_folder(&file.place)?;
    let failed = |source| unwritten(&file.place, source);
    if fs::symlink_metadata(&file.place).is_ok() {
        fs::remove_file(&file.place).map_err(failed)?;
    }
    #[cfg(unix)]
    return std::os::unix::fs::symlink(relative(&file.blob, &file.place), &file.place).map_err(failed);
    // Links want rights there that users seldom have; the hub's own library moves files, too.
    #[cfg(not(unix))]
    return fs::rename(&file.blob, &file.place).map_err(failed);
}

/// The path to `to` as seen from the folder of `from`.
#[cfg(unix)]
fn relative(to: &Path, from: &Path) -> PathBuf {
    let (to, from): (Vec<_>, Vec<_>) = (to.components().collect(), from.components().collect());
    let common = to.iter().zip(&from).take_while(|(a, b)| a == b).count();
    let up = (from.len() - common).saturating_sub(1);
    std::iter::repeat_n(Path::new("..").as_os_str(), up)
        .chain(to[common..].iter().map(|part| part.as_os_str()))
        .collect()
}

fn hash_into(hash: &mut Sha256, file: &mut File) -> std::io::Result<()> {
    let mut chunk = vec![0; 1 << 20];
    loop {
        match file.read(&mut chunk)? {
            0 => return Ok(()),
            count => hash.update(&chunk[..count]),
        }
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn suffixed(path: &Path, suffix: &str) -> PathBuf {
    let mut path = path.as_os_str().to_os_string();
    path.push(suffix);
    path.into()
}

fn make_folder(path: &Path) -> Result<()> {
    let folder = path.parent().unwrap_or(path);
    fs::create_dir_all(folder).map_err(|source| unwritten(folder, source))
}

fn unwritten(path: &Path, source: std::io::Error) -> Error {
    Error::Write { path: path.to_path_buf(), source }
}

/// `812.0 MB`, `7.51 GB`, as hubs count.
pub fn decimal_size(bytes: u64) -> String {
    match bytes as f64 / 1e6 {
        small if small < 1e3 => format!("{small:.1} MB"),
        large => format!("{:.2} GB", large / 1e3),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(unix)]
    fn a_link_leads_from_its_folder() {
        let path = |to: &str, from: &str| relative(Path::new(to), Path::new(from)).display().to_string();
        assert_eq!(path("/c/m/blobs/1", "/c/m/snapshots/2/config.json"), "../../blobs/1");
        assert_eq!(path("/c/m/blobs/1", "/c/m/snapshots/2/data/a.json"), "../../../blobs/1");
    }
}
