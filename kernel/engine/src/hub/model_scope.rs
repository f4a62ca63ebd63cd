//! ModelScope, as its own library asks it: `/api/v1/models/ID/repo/files` lists, `/api/v1/models/ID/repo` gives.

use std::path::Path;
use std::path::PathBuf;

use serde::Deserialize;
use tunebook_quote::quote;

use super::HubError;
use super::Kind;
use super::Listing;
use super::Names;
use super::RemoteFile;
use super::Repository;
use super::Source;
use super::below;
use super::checksum;
use super::checksum::Checksum;
use super::environment;
use super::nearest_model;
use super::pages;
use super::pages::Pages;
use super::request;
use super::request::Client;
use crate::error::Error;
use crate::error::Result;
use crate::event::Cancel;

const ENDPOINT: &str = "https://modelscope.cn";
/// Entries in an answer about a data set, which comes in pages.
const PAGE: usize = 200;

/// The hub that MODELSCOPE_ENDPOINT names, with the cache of the `modelscope` library.
pub(super) struct ModelScope {
    cache: PathBuf,
    /// The host, as addresses begin with it.
    endpoint: String,
    names: Names,
    client: Client,
}

impl ModelScope {
    /// Reads MODELSCOPE_ENDPOINT (or the older MODELSCOPE_DOMAIN), MODELSCOPE_CACHE and MODELSCOPE_API_TOKEN.
    ///
    /// # Errors
    /// There is no folder to keep files in.
    pub(super) fn from_environment(cache: Option<&Path>) -> Result<Self> {
        let named = || environment::first(&["MODELSCOPE_CACHE"]).map(PathBuf::from);
        let folder = cache.map(Path::to_path_buf).or_else(named).or_else(|| environment::cache("modelscope"));
        let endpoint = environment::first(&["MODELSCOPE_ENDPOINT", "MODELSCOPE_DOMAIN"]);
        let endpoint = endpoint.map_or_else(|| ENDPOINT.to_string(), |endpoint| with_scheme(endpoint.trim()));
        let endpoint = endpoint.trim_end_matches('/').to_string();
        let names = Names {
            hub: "ModelScope",
            endpoint: quote(&endpoint),
            endpoint_variable: "MODELSCOPE_ENDPOINT",
            token_variable: "MODELSCOPE_API_TOKEN",
            other: "huggingface",
        };
        let cache = folder.ok_or(HubError::NoCache { variable: "MODELSCOPE_CACHE" })?;
        let token = environment::first(&["MODELSCOPE_API_TOKEN"]).map(|token| token.trim().to_string());
        let client = Client::new(&endpoint, token);
        Ok(Self { cache, endpoint, names, client })
    }

    /// A folder that an older library made, or the one that today's would make.
    fn folder(&self, repository: &Repository) -> PathBuf {
        let kind = segment(repository.kind);
        let older = repository.id.split_once('/').map(|(owner, name)| Path::new(owner).join(name.replace('.', "___")));
        let is_filled = |path: &PathBuf| path.read_dir().is_ok_and(|mut entries| entries.next().is_some());
        let older = older.and_then(|path| {
            [self.cache.join(kind).join(&path), self.cache.join("hub").join(kind).join(&path)]
                .into_iter()
                .find(is_filled)
        });
        let name = repository.id.replace('/', "--");
        older.unwrap_or_else(|| self.cache.join(kind).join(name).join("snapshots").join(revision(repository)))
    }

    fn address(&self, repository: &Repository) -> String {
        format!("{}/api/v1/{}/{}/repo", self.endpoint, segment(repository.kind), repository.id)
    }

    /// The entries of one answer.
    fn entries(&self, repository: &Repository, page: usize, pages: &mut Pages, cancel: &Cancel) -> Result<Vec<Entry>> {
        let (suffix, paging) = match repository.kind {
            Kind::Model => ("files", String::new()),
            Kind::Dataset => ("tree", format!("&PageNumber={page}&PageSize={PAGE}")),
        };
        let revision = request::encoded(revision(repository));
        let url = format!("{}/{suffix}?Revision={revision}&Recursive=True{paging}", self.address(repository));
        let answer = pages.ask(&url)?;
        if !answer.status().is_success() {
            return Err(self.refused(repository, &url, answer, cancel));
        }
        let content = pages.read(&url, answer)?;
        let files = match pages::parsed::<Reply<Files>>(&url, &content) {
            Ok(reply) => Ok(reply.data.files),
            Err(error) => pages::parsed::<Reply<Vec<Entry>>>(&url, &content).map(|reply| reply.data).map_err(|_| error),
        };
        files.map_err(|error| match pages::parsed::<Failure>(&url, &content) {
            Ok(Failure { success: false, message }) => {
                HubError::Answer { url: quote(&url), problem: quote(&message) }.into()
            }
            _ => error.into(),
        })
    }

    fn refused(&self, repository: &Repository, url: &str, answer: request::Answer, cancel: &Cancel) -> Error {
        let (names, id, with_token) = (Box::new(self.names.clone()), repository.id.clone(), self.client.has_token());
        match answer.status().as_u16() {
            status @ (401 | 403) => {
                HubError::Denied { names, id, status, with_token, page: self.page(repository) }.into()
            }
            404 if repository.revision != "main" => {
                HubError::NoRevision { names, id, revision: quote(&repository.revision) }.into()
            }
            404 => {
                let nearest = nearest_model(&id);
                HubError::NotFound { names, id, with_token, nearest }.into()
            }
            _ => request::refusal(&self.names, repository, url, answer, cancel),
        }
    }

    fn file(&self, repository: &Repository, folder: &Path, entry: &Entry) -> Option<RemoteFile> {
        let (revision, file) = (request::encoded(revision(repository)), request::encoded(&entry.path));
        let place = below(folder, &entry.path)?;
        Some(RemoteFile {
            path: entry.path.clone(),
            url: format!("{}?Revision={revision}&FilePath={file}", self.address(repository)),
            size: entry.size?,
            checksum: entry.sha256.as_deref().and_then(Checksum::sha256),
            blob: place.clone(),
            place,
            lock: self.cache.join(".lock").join(lock_name(repository, &entry.path)),
        })
    }
}

/// An answer: `{"Code": 200, "Message": "success", "Data": {"Files": [..]}}`, or `"Data": [..]`.
#[derive(Deserialize)]
struct Reply<T> {
    #[serde(rename = "Data")]
    data: T,
}

#[derive(Deserialize)]
struct Files {
    #[serde(rename = "Files")]
    files: Vec<Entry>,
}

/// An answer that has no data says why.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Failure {
    #[serde(default)]
    success: bool,
    message: String,
}

/// A file or a folder.
#[derive(Deserialize, PartialEq)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    path: String,
    r#type: Option<String>,
    size: Option<u64>,
    sha256: Option<String>,
}

impl Source for ModelScope {
    fn names(&self) -> &Names {
        &self.names
    }

    fn cache(&self) -> &Path {
        &self.cache
    }

    fn page(&self, repository: &Repository) -> String {
        quote(&format!("{}/{}/{}", self.endpoint, segment(repository.kind), repository.id))
    }

    fn client(&self) -> &Client {
        &self.client
    }

    /// Its library knows no such switch.
    fn is_offline(&self) -> bool {
        false
    }

    fn list(&self, repository: &Repository, cancel: &Cancel) -> Result<Listing> {
        let mut pages = Pages::new(&self.client, &self.names, &repository.id, cancel);
        let mut entries = self.entries(repository, 1, &mut pages, cancel)?;
        let mut page = 1;
        while repository.kind == Kind::Dataset && entries.len() == page * PAGE {
            page += 1;
            let more = self.entries(repository, page, &mut pages, cancel)?;
            // A host that knows no pages gives the first one again.
            if more.first() == entries.first() {
                break;
            }
            entries.extend(more);
        }
        let folder = self.folder(repository);
        let is_file = |entry: &&Entry| entry.r#type.as_deref() != Some("tree");
        let files = entries.iter().filter(is_file).map(|entry| {
            let wrong = || HubError::Entry { url: quote(&self.address(repository)), file: quote(&entry.path) };
            self.file(repository, &folder, entry).ok_or_else(wrong)
        });
        Ok(Listing { files: files.collect::<std::result::Result<_, _>>()?, folder, reference: None })
    }

    fn cached(&self, repository: &Repository) -> Option<PathBuf> {
        Some(self.folder(repository)).filter(|folder| folder.is_dir())
    }
}

fn segment(kind: Kind) -> &'static str {
    match kind {
        Kind::Model => "models",
        Kind::Dataset => "datasets",
    }
}

/// What `modelscope` locks while it fetches a file, under a name that is short whatever the file is called.
fn lock_name(repository: &Repository, path: &str) -> String {
    let kind = if repository.kind == Kind::Model { "model" } else { "dataset" };
    let key = ["modelscope-hub-download-lock-v2", "file", kind, &repository.id, path].join("\0");
    format!("file_{}.lock", checksum::sha256(key.as_bytes()))
}

/// Its first branch has another name; LLaMA-Factory translates it, too.
fn revision(repository: &Repository) -> &str {
    if repository.revision == "main" { "master" } else { &repository.revision }
}

fn with_scheme(endpoint: &str) -> String {
    if endpoint.contains("://") { endpoint.to_string() } else { format!("https://{endpoint}") }
}
