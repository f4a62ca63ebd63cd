//! Hugging Face: where its library keeps files is `hf-hub`'s knowledge, as are its host and its addresses.
//!
//! Of that crate's own download this does not make use: it neither checks what has come nor can be stopped.

use std::path::Path;
use std::path::PathBuf;

use hf_hub::Cache;
use hf_hub::CacheRepo;
use hf_hub::Repo;
use hf_hub::RepoType;
use hf_hub::api::sync::Api;
use hf_hub::api::sync::ApiBuilder;
use serde_json::Value;

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
use super::request;
use super::request::Client;
use super::request::What;
use crate::error::Error;
use crate::error::Result;
use crate::event::Cancel;

/// The hub that HF_ENDPOINT names, with the cache and the token of `huggingface_hub`.
pub struct HuggingFace {
    api: Api,
    cache: Cache,
    names: Names,
    client: Client,
    is_offline: bool,
}

impl HuggingFace {
    /// Reads HF_ENDPOINT, HF_HUB_CACHE, HF_HOME, HF_TOKEN and HF_HUB_OFFLINE.
    ///
    /// # Errors
    /// There is no folder to keep files in.
    pub fn from_environment(cache: Option<&Path>) -> Result<Self> {
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
            .or_else(|| std::fs::read_to_string(token_file?).ok())
            .map(|token| token.trim().to_string())
            .filter(|token| !token.is_empty());
        let mut builder = ApiBuilder::from_cache(cache.clone()).with_token(None);
        if let Some(endpoint) = environment::first(&["HF_ENDPOINT"]) {
            builder = builder.with_endpoint(endpoint.trim().trim_end_matches('/').to_string());
        }
        let api = builder.build().map_err(|error| Error::Other(error.to_string()))?;
        let names = Names {
            hub: "Hugging Face",
            endpoint: endpoint(&api),
            endpoint_variable: "HF_ENDPOINT",
            token_variable: "HF_TOKEN",
            other: "modelscope",
        };
        let is_offline = environment::is_on("HF_HUB_OFFLINE") || environment::is_on("TRANSFORMERS_OFFLINE");
        let client = Client::new(&names.endpoint, token);
        Ok(Self { api, cache, names, client, is_offline })
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
            (_, "RevisionNotFound") => HubError::NoRevision { names, id, revision: repository.revision.clone() }.into(),
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

    fn file(&self, repository: &Repository, commit: &str, entry: &Value) -> Option<RemoteFile> {
        let path = entry.get("rfilename")?.as_str()?;
        let large = entry.get("lfs").filter(|large| large.is_object());
        let sha256 = large.and_then(|large| large.get("sha256")?.as_str());
        let size = large.and_then(|large| large.get("size")).or_else(|| entry.get("size"))?.as_u64()?;
        let name = sha256.or_else(|| entry.get("blobId")?.as_str())?;
        let checksum = if sha256.is_some() { Checksum::sha256(name) } else { Checksum::git(name) };
        let pinned = Repo::with_revision(repository.id.clone(), repo_type(repository.kind), commit.to_string());
        let encoded: Vec<_> = path.split('/').map(request::encoded).collect();
        Some(RemoteFile {
            path: path.to_string(),
            url: self.api.repo(pinned).url(&encoded.join("/")),
            size,
            checksum,
            blob: below(&self.folder_of(repository).join("blobs"), name)?,
            place: below(&self.cache_of(repository).pointer_path(commit), path)?,
        })
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
        format!("{}/{}", self.names.endpoint, repo(repository).url())
    }

    fn client(&self) -> &Client {
        &self.client
    }

    fn is_offline(&self) -> bool {
        self.is_offline
    }

    fn list(&self, repository: &Repository, cancel: &Cancel) -> Result<Listing> {
        let url = format!("{}/api/{}?blobs=true", self.names.endpoint, repo(repository).api_url());
        let answer = self.client.get(&url, What::Listing, cancel)?;
        let answer = answer.map_err(|error| request::unreachable(&self.names, &repository.id, &error))?;
        if !answer.status().is_success() {
            return Err(self.refused(repository, &url, answer, cancel));
        }
        let info = request::json(&url, answer, &self.names, &repository.id, cancel)?;
        let wrong = |problem: &str| HubError::Answer { url: url.clone(), problem: problem.to_string() };
        let is_commit = |sha: &&str| sha.len() >= 7 && sha.bytes().all(|byte| byte.is_ascii_hexdigit());
        let commit =
            info.get("sha").and_then(Value::as_str).filter(is_commit).ok_or_else(|| wrong("there is no `sha`"))?;
        let entries = info.get("siblings").and_then(Value::as_array).ok_or_else(|| wrong("there are no `siblings`"))?;
        let files = entries.iter().map(|entry| {
            let problem = || wrong(&format!("a file lacks its name, size or hash: {entry}"));
            self.file(repository, commit, entry).ok_or_else(problem)
        });
        let reference = below(&self.folder_of(repository).join("refs"), &repository.revision);
        Ok(Listing {
            folder: self.cache_of(repository).pointer_path(commit),
            files: files.collect::<std::result::Result<_, _>>()?,
            reference: reference.filter(|_| repository.revision != commit).map(|path| (path, commit.to_string())),
        })
    }

    fn cached(&self, repository: &Repository) -> Option<PathBuf> {
        let reference = below(&self.folder_of(repository).join("refs"), &repository.revision)?;
        let commit = std::fs::read_to_string(reference).unwrap_or_else(|_| repository.revision.clone());
        let folder = self.cache_of(repository).pointer_path(commit.trim());
        folder.is_dir().then_some(folder)
    }
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
