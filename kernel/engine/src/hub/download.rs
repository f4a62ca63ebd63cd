//! Files that are fetched, checked and put in their places.
//!
//! A file grows beside its place ([`Partial`]), stays there when the download is stopped or breaks off, and is renamed
//! once its size and checksum are right.

use std::fs;
use std::fs::File;
use std::path::Path;
use std::time::Duration;
use std::time::Instant;

use tunebook_files::replace_file;
use tunebook_quote::quote;
use tunebook_quote::quote_end;
use ureq::http::StatusCode;
use ureq::http::header::CONTENT_RANGE;
use ureq::http::header::TRANSFER_ENCODING;

use super::HubError;
use super::RemoteFile;
use super::Repository;
use super::Source;
use super::checksum::Checksum;
use super::lock::Lock;
use super::partial::Partial;
use super::request;
use super::request::Answer;
use super::request::Content;
use super::request::What;
use crate::error::Error;
use crate::error::Result;
use crate::event::Cancel;
use crate::event::Context;
use crate::event::Event;
use crate::event::Note;

/// How often a connection may break without getting any further.
const TRIES: usize = 5;
/// How often a host may send another number of bytes than the listing says, or others than those of its hash.
const WRONG_TRIES: usize = 3;
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
pub(super) fn all(files: &[RemoteFile], source: &dyn Source, repository: &Repository, cx: &Context) -> Result<()> {
    let unplaced = files.iter().filter(|file| !is_right(&file.place, file, cx.cancel));
    let (missing, unlinked): (Vec<_>, Vec<_>) = unplaced.partition(|file| !is_right(&file.blob, file, cx.cancel));
    cx.check_cancelled()?;
    // A listing may say anything of a size.
    let total = missing.iter().fold(0_u64, |total, file| total.saturating_add(file.size));
    if total > 0 {
        cx.emit(Event::Note(Note::Download {
            id: repository.id.clone(),
            hub: source.names().hub,
            files: missing.len(),
            size: total,
            cache: source.cache().to_path_buf(),
        }));
    }
    let host = source.names().endpoint.clone();
    let mut run = Run { source, repository, cx, before: 0, total, told: None, host };
    let fetched = missing.into_iter().chain(unlinked).try_for_each(|file| run.fetch(file));
    if matches!(fetched, Err(Error::Cancelled)) {
        cx.emit(Event::Note(Note::DownloadStopped));
    }
    fetched
}

/// Writes a small file of our own, as a whole or not at all. One that says the same is left, in a cache that may be only
/// to read.
///
/// # Errors
/// The disk refuses.
pub(super) fn write(path: &Path, content: &[u8]) -> Result<()> {
    if path.is_file() && fs::read(path).is_ok_and(|there| there == content) {
        return Ok(());
    }
    make_folder(path)?;
    if let Some(folder) = path.parent() {
        tunebook_files::sweep(folder);
    }
    replace_file(path, content).map_err(|source| unwritten(path, source))
}

struct Run<'a> {
    source: &'a dyn Source,
    repository: &'a Repository,
    cx: &'a Context<'a>,
    /// Bytes of the files that are through.
    before: u64,
    total: u64,
    told: Option<Instant>,
    /// The host that the last answer came from, to be named where its content is wrong.
    host: String,
}

/// What a request came to, short of a refusal.
enum Outcome {
    /// There are as many bytes as the listing says.
    Complete,
    /// The host has another number of bytes, or more than it says itself.
    OtherSize(Option<u64>),
    Broken(String),
}

impl Run<'_> {
    /// Sees to it that a file is in its place.
    fn fetch(&mut self, file: &RemoteFile) -> Result<()> {
        let waits = || Note::DownloadWaits { file: quote_end(&file.path), lock: file.lock.clone() };
        let _lock = Lock::wait(&file.lock, self.cx, || self.cx.emit(Event::Note(waits())))?;
        // Another program may have fetched it in between.
        if !is_right(&file.blob, file, self.cx.cancel) {
            self.download(file)?;
        }
        self.before = self.before.saturating_add(file.size);
        link(file, self.cx.cancel)
    }

    fn download(&mut self, file: &RemoteFile) -> Result<()> {
        let mut partial = Partial::open(file, self.cx.cancel)?;
        let (mut most, mut broken, mut wrong) = (partial.length(), 0, 0);
        loop {
            let is_whole_answer = partial.length() == 0;
            let outcome = self.fetch_rest(file, &mut partial)?;
            if let Outcome::Broken(problem) = outcome {
                // A host that breaks off earlier each time gets nowhere either.
                broken = if partial.length() > most { 1 } else { broken + 1 };
                most = most.max(partial.length());
                if broken >= TRIES {
                    return Err(HubError::Broken { file: quote_end(&file.path), times: TRIES, problem }.into());
                }
                request::wait(PAUSE * (1 << broken), self.cx.cancel)?;
                continue;
            }
            let error = match outcome {
                Outcome::OtherSize(found) => self.other_size(file, found),
                _ => match partial.check() {
                    Ok(()) => return partial.finish(),
                    Err(found) => self.other_content(file, found),
                },
            };
            wrong += 1;
            // What was there before may have been the beginning of another version.
            if wrong == WRONG_TRIES || matches!(error, HubError::Checksum { .. }) && is_whole_answer {
                partial.discard()?;
                return Err(error.into());
            }
            partial.clear()?;
            request::wait(PAUSE, self.cx.cancel)?;
        }
    }

    /// One request for all that is missing of a file.
    fn fetch_rest(&mut self, file: &RemoteFile, partial: &mut Partial) -> Result<Outcome> {
        self.tell(file, partial.length(), true);
        if partial.length() == file.size {
            return Ok(Outcome::Complete);
        }
        let what = What::File { from: partial.length() };
        let answer = match self.source.client().get(&file.url, what, self.cx.cancel)? {
            Ok(answer) => answer,
            Err(error) => return Ok(Outcome::Broken(request::plain(&error))),
        };
        self.host = request::host(&answer);
        let (status, announced) = (answer.status(), request::announced(&answer));
        if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
            return Ok(Outcome::Broken(format!("status {}", status.as_u16())));
        } else if !status.is_success() && status != StatusCode::RANGE_NOT_SATISFIABLE {
            return Err(self.refusal(file, answer));
        } else if let Some(found) = announced.filter(|found| *found != file.size) {
            return Ok(Outcome::OtherSize(Some(found)));
        } else if status == StatusCode::RANGE_NOT_SATISFIABLE {
            return Ok(Outcome::OtherSize(Some(partial.length())));
        }
        // The status does not tell: ModelScope sends parts with 200.
        let range = answer.headers().get(CONTENT_RANGE).and_then(|range| range.to_str().ok());
        let goes_on = range.is_some_and(|range| range.starts_with(&format!("bytes {}-", partial.length())));
        if !goes_on && partial.length() > 0 {
            partial.clear()?;
        }
        if !goes_on && (range.is_some() || status == StatusCode::PARTIAL_CONTENT) {
            return Ok(Outcome::Broken("the server sent another part of the file than requested".to_string()));
        }
        self.receive(answer, file, partial)
    }

    /// Adds what an answer holds.
    fn receive(&mut self, answer: Answer, file: &RemoteFile, partial: &mut Partial) -> Result<Outcome> {
        // Otherwise the end of a connection is the end of the file, or an early one.
        let tells_its_end = answer.headers().contains_key(TRANSFER_ENCODING);
        let content = Content::of(answer);
        loop {
            match content.next(self.cx.cancel)? {
                Ok(Some(piece)) if partial.length() + piece.len() as u64 > file.size => {
                    return Ok(Outcome::OtherSize(None));
                }
                Ok(Some(piece)) => {
                    partial.add(&piece)?;
                    self.tell(file, partial.length(), false);
                }
                Ok(None) if partial.length() == file.size => return Ok(Outcome::Complete),
                Ok(None) if tells_its_end => return Ok(Outcome::OtherSize(Some(partial.length()))),
                Ok(None) => return Ok(Outcome::Broken("the connection ended early".to_string())),
                Err(error) => return Ok(Outcome::Broken(quote(&error.to_string()))),
            }
        }
    }

    fn other_size(&self, file: &RemoteFile, found: Option<u64>) -> HubError {
        let (names, host) = (Box::new(self.source.names().clone()), self.host.clone());
        HubError::Size { names, file: quote_end(&file.path), host, times: WRONG_TRIES, expected: file.size, found }
    }

    fn other_content(&self, file: &RemoteFile, found: String) -> HubError {
        let (algorithm, expected) =
            file.checksum.as_ref().map(|checksum| (checksum.algorithm(), checksum.text())).unwrap_or_default();
        let (file, host) = (quote_end(&file.path), self.host.clone());
        HubError::Checksum { file, host, algorithm, expected: expected.into(), found: found.into() }
    }

    fn refusal(&self, file: &RemoteFile, answer: request::Answer) -> Error {
        let status = answer.status().as_u16();
        if !matches!(status, 401 | 403) {
            return request::refusal(self.source.names(), self.repository, &file.url, answer, self.cx.cancel);
        }
        let (names, id) = (Box::new(self.source.names().clone()), self.repository.id.clone());
        let (with_token, page) = (self.source.client().has_token(), self.source.page(self.repository));
        HubError::Denied { names, id, status, with_token, page }.into()
    }

    /// `done` bytes of a file are there.
    fn tell(&mut self, file: &RemoteFile, done: u64, now: bool) {
        if !now && done < file.size && self.told.is_some_and(|told| told.elapsed() < TELL) {
            return;
        }
        self.told = Some(Instant::now());
        let (file, size) = (quote_end(&file.path), file.size);
        let (all_done, all) = (self.before.saturating_add(done.min(size)), self.total);
        self.cx.emit(Event::Download { file, done, size, all_done, all });
    }
}

/// Whether a file of the cache is that of the hub.
fn is_right(path: &Path, file: &RemoteFile, cancel: &Cancel) -> bool {
    let has_size = fs::metadata(path).is_ok_and(|found| found.is_file() && found.len() == file.size);
    let has_content = |checksum: &Checksum| {
        let mut hasher = checksum.hasher(file.size);
        let read = File::open(path).and_then(|mut file| hasher.read(&mut file, cancel));
        matches!(read, Ok(true)) && checksum.check(hasher).is_ok()
    };
    has_size && (file.size > SMALL || file.checksum.as_ref().is_none_or(has_content))
}

/// Makes a file found in its place, if that is another one than where its content lies.
fn link(file: &RemoteFile, cancel: &Cancel) -> Result<()> {
    if file.place == file.blob || is_right(&file.place, file, cancel) {
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
    return tunebook_files::rename(&file.blob, &file.place).map_err(failed);
}

/// The path to `to` as seen from the folder of `from`.
#[cfg(unix)]
fn relative(to: &Path, from: &Path) -> std::path::PathBuf {
    let (to, from): (Vec<_>, Vec<_>) = (to.components().collect(), from.components().collect());
    let common = to.iter().zip(&from).take_while(|(a, b)| a == b).count();
    let up = (from.len() - common).saturating_sub(1);
    std::iter::repeat_n(Path::new("..").as_os_str(), up)
        .chain(to[common..].iter().map(|part| part.as_os_str()))
        .collect()
}

/// Makes the folder that a file is in.
///
/// # Errors
/// The disk refuses.
pub(super) fn make_folder(path: &Path) -> Result<()> {
    let folder = path.parent().unwrap_or(path);
    fs::create_dir_all(folder).map_err(|source| unwritten(folder, source))
}

pub(super) fn unwritten(path: &Path, source: std::io::Error) -> Error {
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
