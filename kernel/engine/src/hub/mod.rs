//! Models and datasets from Hugging Face and ModelScope.
//!
//! What is downloaded lies where the hubs' own Python libraries keep it, so that neither downloads what the other has.
//! Each hub says which files there are, where they come from and where they belong ([`Listing`]); fetching, checking
//! and continuing an interrupted download are the same for both ([`download`]).
//!
//! A file is fetched under the lock that the hub's own library takes for it, and checked against the hash in the
//! listing: SHA-256, or git's name of the blob. What a hub sends is limited: 128 MB of listing, as many bytes of a file
//! as are listed, and 80 characters in an error.

mod checksum;
mod download;
mod environment;
mod error;
mod hugging_face;
mod lock;
mod model_scope;
mod pages;
mod partial;
pub mod push;
mod request;
mod selection;

use std::collections::HashSet;
use std::path::Component;
use std::path::Path;
use std::path::PathBuf;

use tunebook_quote::quote;

pub use download::decimal_size;
pub use error::HubError;

use crate::error::Error;
use crate::error::Result;
use crate::event::Cancel;
use crate::event::Context;
use crate::event::Event;
use crate::event::Note;
use crate::nearest::nearest;
use crate::settings::Hub;
use crate::settings::Settings;
use checksum::Checksum;
use hugging_face::HuggingFace;
use model_scope::ModelScope;
use request::Client;
pub(crate) use request::away;

/// The models that `load` is made for, to suggest the closest name and for completion.
/// Both hubs have them under these names.
pub const KNOWN_MODELS: &[&str] = &[
    "Qwen/Qwen2-VL-2B-Instruct",
    "Qwen/Qwen2-VL-7B-Instruct",
    "Qwen/Qwen2-VL-72B-Instruct",
    "Qwen/Qwen2.5-VL-3B-Instruct",
    "Qwen/Qwen2.5-VL-7B-Instruct",
    "Qwen/Qwen2.5-VL-32B-Instruct",
    "Qwen/Qwen2.5-VL-72B-Instruct",
    "Qwen/Qwen3-VL-2B-Instruct",
    "Qwen/Qwen3-VL-2B-Thinking",
    "Qwen/Qwen3-VL-4B-Instruct",
    "Qwen/Qwen3-VL-4B-Thinking",
    "Qwen/Qwen3-VL-8B-Instruct",
    "Qwen/Qwen3-VL-8B-Thinking",
    "Qwen/Qwen3-VL-32B-Instruct",
    "Qwen/Qwen3-VL-32B-Thinking",
];

/// The folder of the model `name`: an existing folder of that name, or else a model of the hub, whose files are
/// downloaded unless they are in the cache. `settings` determine hub, revision and cache.
///
/// # Errors
/// There is neither such a folder nor such a model; the hub cannot be reached, refuses access or breaks off; a file is
/// not what the hub's listing says; the download is stopped. What has arrived is kept for the next attempt.
pub fn model(name: &Path, settings: &Settings, cx: &Context) -> Result<PathBuf> {
    if name.is_dir() {
        return Ok(name.to_path_buf());
    }
    if name.is_file() {
        let path = name.to_path_buf();
        let is_gguf = name.extension().is_some_and(|extension| extension == "gguf");
        return Err(if is_gguf { tunebook_nn::Error::Gguf { path }.into() } else { Error::File { path } });
    }
    let id = repository_id(name).ok_or_else(|| Error::NoFolder { path: name.to_path_buf() })?;
    let hub = chosen(settings);
    let repository = Repository { kind: Kind::Model, id, revision: settings.model_revision.clone() };
    let (folder, _) = snapshot(hub, &repository, settings.cache_dir.as_deref(), &selection::model, cx)?;
    Ok(folder)
}

/// The hub of the settings, or else of the environment.
pub fn chosen(settings: &Settings) -> Hub {
    settings.hub.unwrap_or_else(environment::hub)
}

/// Which files of a dataset to download.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    /// Only files below this folder.
    pub folder: Option<&'a str>,
    /// Only files of this name, or in a folder of this name, if there are any.
    pub subset: Option<&'a str>,
    /// The same, such as `train`.
    pub split: Option<&'a str>,
}

/// The files of the dataset `id` (`hf_hub_url` or `ms_hub_url` in dataset_info.json) in supported formats, downloaded
/// unless they are in the cache. The revision is the default branch; `settings` determine the cache.
///
/// # Errors
/// As for [`model`], or there are no such files.
pub fn dataset(hub: Hub, id: &str, part: Part, settings: &Settings, cx: &Context) -> Result<Vec<PathBuf>> {
    let id = repository_id(Path::new(id)).ok_or_else(|| HubError::NoId { text: quote(id) })?;
    let repository = Repository { kind: Kind::Dataset, id, revision: "main".to_string() };
    let select = |repository: &Repository, paths| selection::dataset(repository, paths, part);
    let (folder, paths) = snapshot(hub, &repository, settings.cache_dir.as_deref(), &select, cx)?;
    Ok(paths.iter().map(|path| folder.join(path)).collect())
}

/// A repository and its revision.
struct Repository {
    kind: Kind,
    /// `owner/name`, checked to be short and plain enough to be shown as it is.
    id: String,
    /// A branch, a tag or a commit.
    revision: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Model,
    Dataset,
}

/// The listing of a repository.
struct Listing {
    /// The folder that holds its files once they are downloaded.
    folder: PathBuf,
    files: Vec<RemoteFile>,
    /// A file that records the commit of the branch, written when the download is complete, and its content.
    reference: Option<(PathBuf, String)>,
}

/// A file of a repository.
#[derive(Clone, Debug)]
struct RemoteFile {
    /// Within the repository, with `/`.
    path: String,
    url: String,
    size: u64,
    /// Checksum of the content, if the hub knows it.
    checksum: Option<Checksum>,
    /// Where the content is stored.
    blob: PathBuf,
    /// The path under which it is found: the same, or a link to it.
    place: PathBuf,
    /// The lock that is held while it is fetched, as in the hub's own library.
    lock: PathBuf,
}

/// A hub.
trait Source {
    fn names(&self) -> &Names;

    /// Where files are kept.
    fn cache(&self) -> &Path;

    /// The web page of a repository, with its licence and the way to get access.
    fn page(&self, repository: &Repository) -> String;

    /// The HTTP client.
    fn client(&self) -> &Client;

    /// Whether the network must not be used.
    fn is_offline(&self) -> bool;

    fn list(&self, repository: &Repository, cancel: &Cancel) -> Result<Listing>;

    /// The folder of an earlier download.
    fn cached(&self, repository: &Repository) -> Option<PathBuf>;
}

/// The names of a hub in messages and in the environment.
#[derive(Clone, Debug)]
pub struct Names {
    pub hub: &'static str,
    /// The host in use, to be shown.
    pub endpoint: String,
    /// The environment variable that names another host.
    pub endpoint_variable: &'static str,
    /// The environment variable that holds a token.
    pub token_variable: &'static str,
    /// The value of `hub` that means the other hub.
    pub other: &'static str,
}

/// Selects the needed paths of a repository.
type Select<'a> = dyn Fn(&Repository, Vec<String>) -> Result<Vec<String>> + 'a;

/// The folder of a repository, and the needed files below it.
fn snapshot(
    hub: Hub,
    repository: &Repository,
    cache: Option<&Path>,
    select: &Select,
    cx: &Context,
) -> Result<(PathBuf, Vec<String>)> {
    let source: Box<dyn Source> = match hub {
        Hub::Huggingface => Box::new(HuggingFace::from_environment(cache)?),
        Hub::Modelscope => Box::new(ModelScope::from_environment(cache)?),
    };
    let cached = || {
        let folder = source.cached(repository)?;
        let paths = select(repository, selection::paths(&folder)).ok()?;
        let is_whole = repository.kind == Kind::Dataset || selection::is_whole_model(&folder);
        is_whole.then_some((folder, paths))
    };
    if source.is_offline() {
        let missing = || HubError::Offline { id: repository.id.clone(), cache: source.cache().to_path_buf() };
        return cached().ok_or_else(|| missing().into());
    }
    let Listing { folder, mut files, reference } = match source.list(repository, cx.cancel) {
        Ok(listing) => listing,
        Err(Error::Hub(HubError::Unreachable { names, id, problem })) => {
            let Some(found) = cached() else { return Err(HubError::Unreachable { names, id, problem }.into()) };
            cx.emit(Event::Note(Note::FromCache { id, hub: names.hub, problem }));
            return Ok(found);
        }
        Err(error) => return Err(error),
    };
    let paths = select(repository, files.iter().map(|file| file.path.clone()).collect())?;
    let mut needed: HashSet<_> = paths.iter().collect();
    files.retain(|file| needed.remove(&file.path));
    // What is wrong with a small file shows before the large ones have come.
    files.sort_by_key(|file| file.size);
    download::all(&files, source.as_ref(), repository, cx)?;
    if let Some((path, commit)) = reference {
        download::write(&path, commit.as_bytes())?;
    }
    Ok((folder, paths))
}

/// Hugging Face's own limit.
const ID_LENGTH: usize = 96;

/// `owner/name`, if that is what a name is: two parts of letters, digits, `-`, `_` and `.`, as the hubs have them, and no
/// longer than theirs.
fn repository_id(name: &Path) -> Option<String> {
    let parts: Vec<_> = name.components().collect();
    let [Component::Normal(owner), Component::Normal(name)] = parts[..] else { return None };
    let (owner, name) = (owner.to_str()?, name.to_str()?);
    let is_part = |part: &str| {
        let is_inside = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        part.chars().all(is_inside) && !part.starts_with(['-', '.']) && !part.ends_with(['-', '.'])
    };
    let is_short = owner.len() + 1 + name.len() <= ID_LENGTH;
    (is_short && is_part(owner) && is_part(name)).then(|| format!("{owner}/{name}"))
}

/// The known model whose name is closest to one that does not exist.
fn nearest_model(id: &str) -> Option<String> {
    let known: Vec<_> =
        KNOWN_MODELS.iter().filter(|name| **name != id).map(|name| (name.to_lowercase(), name)).collect();
    let found = nearest(id, known.iter().map(|(lower, _)| lower.as_str()))?;
    known.iter().find(|(lower, _)| *lower == found).map(|(_, name)| name.to_string())
}

/// Names may have 255 bytes on most disks, and paths 4,096, of which a cache needs some.
const PATH_LENGTH: usize = 2048;

/// A path of a repository below a folder of ours; `None` if it would lead out of it, or if no disk could have it.
fn below(folder: &Path, path: &str) -> Option<PathBuf> {
    let parts: Vec<_> = path.split('/').collect();
    let is_plain =
        |part: &&str| !matches!(*part, "" | "." | "..") && !part.contains(['\\', ':', '\0']) && part.len() < 256;
    (path.len() < PATH_LENGTH && parts.iter().all(is_plain))
        .then(|| parts.iter().fold(folder.to_path_buf(), |path, part| path.join(part)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_two_plain_parts() {
        let id = |name: &str| repository_id(Path::new(name));
        assert_eq!(id("Qwen/Qwen2.5-VL-3B-Instruct").as_deref(), Some("Qwen/Qwen2.5-VL-3B-Instruct"));
        for path in ["nowhere", "a/b/c", "/a/b", "./a", "../a", "a/..", "~/a", "a/b c", "-a/b", "a/.b", "", "ä/b"] {
            assert_eq!(id(path), None, "{path}");
        }
        let long = |length| format!("a/{}", "b".repeat(length));
        assert_eq!((id(&long(94)), id(&long(95))), (Some(long(94)), None));
    }

    #[test]
    fn no_file_leads_out_of_its_folder() {
        let folder = Path::new("cache");
        assert_eq!(below(folder, "a/b.json"), Some(folder.join("a").join("b.json")));
        assert_eq!(below(folder, &"a".repeat(256)), None);
        assert_eq!(below(folder, &vec!["a"; 2000].join("/")), None);
        for path in ["../a", "a/../../b", "/etc/passwd", "", "a//b", "a\\..\\b", "c:/a", "."] {
            assert_eq!(below(folder, path), None, "{path}");
        }
    }
}
