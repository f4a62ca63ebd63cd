//! Hugging Face: `hf-hub` (0.5) provides the host, the addresses and the layout of the cache.
//!
//! Its own download is not used, because it neither checks what has arrived nor can be stopped. Its version 1 would
//! bring 185 crates.

use std::fs;
use std::path::Path;
use std::path::PathBuf;

use hf_hub::Cache;
use hf_hub::CacheRepo;
use hf_hub::Repo;
use hf_hub::RepoType;
use hf_hub::api::sync::Api;
use hf_hub::api::sync::ApiBuilder;
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

/// As many files as this are not all in the list that comes with a repository, or may not be; pages have them all.
const MANY: usize = 50_000;

/// The hub that HF_ENDPOINT names, with the cache and the token of `huggingface_hub`.
pub(super) struct HuggingFace {
    api: Api,
    cache: Cache,
    /// The host, as addresses begin with it.
    endpoint: String,
    names: Names,
    client: Client,
    is_offline: bool,
}

impl HuggingFace {
    /// Reads HF_ENDPOINT, HF_HUB_CACHE, HF_HOME, HF_TOKEN and HF_HUB_OFFLINE.
    ///
    /// # Errors
    /// There is no folder to keep files in.
    pub(super) fn from_environment(cache: Option<&Path>) -> Result<Self> {
        let home = || match (environment::first(&["HF_HOME"]), environment::first(&["XDG_CACHE_HOME"])) {
            (Some(home), _) => Some(PathBuf::from(home)),
            (None, Some(caches)) => Some(Path::new(&caches).join("huggingface")),
            (None, None) => environment::cache("huggingface"),
        };
        let named = environment::first(&["HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"]).map(PathBuf::from);
        let folder = cache.map(Path::to_path_buf).or(named).or_else(|| Some(home()?.join("hub")));
        // Links are made relative to one another.
        let folder = folder.and_then(|folder| std::path::absolute(folder).ok());
        let cache = Cache::new(folder.ok_or(HubError::NoCache { variable: "HF_HOME" })?);
        let token_file =
            environment::first(&["HF_TOKEN_PATH"]).map(PathBuf::from).or_else(|| Some(home()?.join("token")));
        let token = environment::first(&["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"])
            .or_else(|| fs::read_to_string(token_file?).ok())
            .map(|token| token.trim().to_string())
            .filter(|token| !token.is_empty());
        let mut builder = ApiBuilder::from_cache(cache.clone()).with_token(None);
        if let Some(endpoint) = environment::first(&["HF_ENDPOINT"]) {
            builder = builder.with_endpoint(endpoint.trim().trim_end_matches('/').to_string());
        }
        let api = builder.build().map_err(|error| Error::Other(error.to_string()))?;
        let endpoint = endpoint(&api);
        let names = Names {
            hub: "Hugging Face",
            endpoint: quote(&endpoint),
            endpoint_variable: "HF_ENDPOINT",
            token_variable: "HF_TOKEN",
            other: "modelscope",
        };
        let is_offline = environment::is_on("HF_HUB_OFFLINE") || environment::is_on("TRANSFORMERS_OFFLINE");
        let client = Client::new(&endpoint, token);
        Ok(Self { api, cache, endpoint, names, client, is_offline })
    }

    /// The host, as addresses begin with it.
    pub(super) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    fn cache_of(&self, repository: &Repository) -> CacheRepo {
        self.cache.repo(repo(repository))
    }

    fn folder_of(&self, repository: &Repository) -> PathBuf {
        self.cache.path().join(repo(repository).folder_name())
    }

    fn refused(&self, repository: &Repository, url: &str, answer: request::Answer, cancel: &Cancel) -> Error {
        let status = answer.status().as_u16();
        let code = answer.headers().get("x-error-code").and_then(|code| code.to_str().ok()).unwrap_or_default();
        let (names, id, with_token) = (Box::new(self.names.clone()), repository.id.clone(), self.client.has_token());
        match (status, code) {
            (_, "RevisionNotFound") => HubError::NoRevision { names, id, revision: quote(&repository.revision) }.into(),
            (401 | 403, "GatedRepo") | (403, _) => {
                HubError::Denied { names, id, status, with_token, page: self.page(repository) }.into()
            }
            // Without a token it does not tell what is private from what is not there.
            (401 | 404, _) => {
                let nearest = nearest_model(&id);
                HubError::NotFound { names, id, with_token, nearest }.into()
            }
            _ => request::refusal(&self.names, repository, url, answer, cancel),
        }
    }

    /// The files of a commit, page by page.
    fn tree(&self, repository: &Repository, commit: &str, pages: &mut Pages, cancel: &Cancel) -> Result<Vec<Entry>> {
        let kind = if repository.kind == Kind::Model { "models" } else { "datasets" };
        let mut url = format!("{}/api/{kind}/{}/tree/{commit}?recursive=true", self.endpoint, repository.id);
        let mut entries = Vec::new();
        loop {
            let answer = pages.ask(&url)?;
            if !answer.status().is_success() {
                return Err(self.refused(repository, &url, answer, cancel));
            }
            let next = request::next_page(&answer, &url);
            let nodes: Vec<Node> = pages::parsed(&url, &pages.read(&url, answer)?)?;
            entries.extend(nodes.into_iter().filter(|node| node.kind != "directory").map(Entry::from));
            let Some(next) = next else { return Ok(entries) };
            url = next;
        }
    }

    fn file(&self, repository: &Repository, commit: &str, entry: &Entry) -> Option<RemoteFile> {
        let (name, checksum, size) = match &entry.large {
            Some((sha256, size)) => (sha256, Some(Checksum::sha256(sha256)?), *size),
            None => {
                let name = entry.blob.as_ref()?;
                (name, Checksum::git(name), entry.size?)
            }
        };
        let pinned = Repo::with_revision(repository.id.clone(), repo_type(repository.kind), commit.to_string());
        let encoded: Vec<_> = entry.path.split('/').map(request::encoded).collect();
        Some(RemoteFile {
            path: entry.path.clone(),
            url: self.api.repo(pinned).url(&encoded.join("/")),
            size,
            checksum,
            blob: below(&self.folder_of(repository).join("blobs"), name)?,
            place: below(&self.cache_of(repository).pointer_path(commit), &entry.path)?,
            lock: below(&self.cache.path().join(".locks"), &format!("{}/{name}.lock", repo(repository).folder_name()))?,
        })
    }
}

/// What `/api/models/ID/revision/NAME?blobs=true` says.
#[derive(Deserialize)]
struct Info {
    sha: String,
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sibling {
    rfilename: String,
    size: Option<u64>,
    blob_id: Option<String>,
    lfs: Option<SiblingLfs>,
}

#[derive(Deserialize)]
struct SiblingLfs {
    sha256: String,
    size: u64,
}

/// What `/api/models/ID/tree/COMMIT` says of a file or folder.
#[derive(Deserialize)]
struct Node {
    #[serde(rename = "type")]
    kind: String,
    path: String,
    size: Option<u64>,
    oid: Option<String>,
    lfs: Option<NodeLfs>,
}

#[derive(Deserialize)]
struct NodeLfs {
    oid: String,
    size: u64,
}

/// A file, from either.
struct Entry {
    path: String,
    size: Option<u64>,
    /// The name that git gives to the file, or to what stands for it where it is a large one.
    blob: Option<String>,
    /// SHA-256 and size of the content that LFS keeps.
    large: Option<(String, u64)>,
}

impl From<Sibling> for Entry {
    fn from(sibling: Sibling) -> Self {
        let large = sibling.lfs.map(|lfs| (lfs.sha256, lfs.size));
        Self { path: sibling.rfilename, size: sibling.size, blob: sibling.blob_id, large }
    }
}

impl From<Node> for Entry {
    fn from(node: Node) -> Self {
        Self { path: node.path, size: node.size, blob: node.oid, large: node.lfs.map(|lfs| (lfs.oid, lfs.size)) }
    }
}

impl Source for HuggingFace {
    fn names(&self) -> &Names {
        &self.names
    }

    fn cache(&self) -> &Path {
        self.cache.path()
    }

    fn page(&self, repository: &Repository) -> String {
        quote(&format!("{}/{}", self.endpoint, repo(repository).url()))
    }

    fn client(&self) -> &Client {
        &self.client
    }

    fn is_offline(&self) -> bool {
        self.is_offline
    }

    fn list(&self, repository: &Repository, cancel: &Cancel) -> Result<Listing> {
        let url = format!("{}/api/{}?blobs=true", self.endpoint, repo(repository).api_url());
        let mut pages = Pages::new(&self.client, &self.names, &repository.id, cancel);
        let answer = pages.ask(&url)?;
        if !answer.status().is_success() {
            return Err(self.refused(repository, &url, answer, cancel));
        }
        let Info { sha: commit, siblings } = pages::parsed(&url, &pages.read(&url, answer)?)?;
        if !is_commit(&commit) {
            return Err(HubError::Answer { url: quote(&url), problem: "`sha` is not a commit".to_string() }.into());
        }
        let entries = match siblings.len() < MANY {
            true => siblings.into_iter().map(Entry::from).collect(),
            false => self.tree(repository, &commit, &mut pages, cancel)?,
        };
        let files = entries.iter().map(|entry| {
            let wrong = || HubError::Entry { url: quote(&url), file: quote(&entry.path) };
            self.file(repository, &commit, entry).ok_or_else(wrong)
        });
        let reference = below(&self.folder_of(repository).join("refs"), &repository.revision);
        Ok(Listing {
            folder: self.cache_of(repository).pointer_path(&commit),
            files: files.collect::<std::result::Result<_, _>>()?,
            reference: reference.filter(|_| repository.revision != commit).map(|path| (path, commit)),
        })
    }

    fn cached(&self, repository: &Repository) -> Option<PathBuf> {
        let reference = below(&self.folder_of(repository).join("refs"), &repository.revision)?;
        // Nothing but a commit, which leads to no other folder.
        let is_small = fs::metadata(&reference).is_ok_and(|found| found.is_file() && found.len() < 100);
        let commit = if is_small { fs::read_to_string(reference).ok()? } else { repository.revision.clone() };
        let commit = Some(commit.trim()).filter(|commit| is_commit(commit))?;
        let folder = self.cache_of(repository).pointer_path(commit);
        folder.is_dir().then_some(folder)
    }
}

fn is_commit(text: &str) -> bool {
    (7..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn repo(repository: &Repository) -> Repo {
    Repo::with_revision(repository.id.clone(), repo_type(repository.kind), repository.revision.clone())
}

fn repo_type(kind: Kind) -> RepoType {
    match kind {
        Kind::Model => RepoType::Model,
        Kind::Dataset => RepoType::Dataset,
    }
}

/// The host, as the crate puts it in front of every address.
fn endpoint(api: &Api) -> String {
    let url = api.model("x".to_string()).url("");
    url.strip_suffix("/x/resolve/main/").unwrap_or(&url).to_string()
}
