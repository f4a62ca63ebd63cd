//! Uploading an adapter or a model to Hugging Face.
//!
//! The requests are those of `huggingface_hub` with Xet turned off (`hf-hub` has none): the repository is made, the hub says
//! of each file whether it belongs into git itself or into LFS, what LFS has not yet is sent to where it says, and one
//! commit names all files. Before that commit nobody sees anything of it. An upload that broke off goes on with the next
//! one: LFS is not sent what it has.
//!
//! What is sent leaves the user's machine. So a [`Plan`] is told first, and sent only if the user says so; it has no files
//! but those that `save` and `export` write (see [`folder`]); the token goes to the hub's own host alone; and a repository
//! that turns out to be public is refused, unless the user said that it may be.

mod api;
mod folder;
mod upload;

use std::path::Path;
use std::path::PathBuf;

use serde::Serialize;
use tunebook_quote::quote;

use super::HubError;
use super::Source;
use super::chosen;
use super::hugging_face::HuggingFace;
use super::repository_id;
use crate::error::Error;
use crate::error::Result;
use crate::event::Context;
use crate::event::Event;
use crate::event::Note;
use crate::serialize;
use crate::settings::Hub;
use crate::settings::Settings;
use api::Api;
use upload::Uploads;

/// What is to go where.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// `OWNER/NAME` on the hub.
    pub id: &'a str,
    /// Whether only its owner may see it.
    pub is_private: bool,
    /// A branch, which is made where there is none.
    pub revision: &'a str,
    /// The first line of the commit's message.
    pub message: &'a str,
}

/// A file that is to be sent.
#[derive(Clone, Debug, Serialize)]
pub struct LocalFile {
    pub name: String,
    #[serde(skip)]
    path: PathBuf,
    /// Bytes.
    pub size: u64,
}

/// What would be sent where.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    pub id: String,
    pub hub: &'static str,
    /// The host.
    pub endpoint: String,
    pub is_private: bool,
    pub revision: String,
    pub message: String,
    /// By name.
    pub files: Vec<LocalFile>,
    /// The names of what lies beside them and is not sent.
    pub left_out: Vec<String>,
    /// The folder that an adapter names as its base model, if it names none of a hub.
    pub local_base: Option<String>,
    /// Whether there is a token, without which nothing can be sent.
    pub has_token: bool,
}

impl Plan {
    /// Bytes of all files.
    pub fn size(&self) -> u64 {
        self.files.iter().map(|file| file.size).sum()
    }
}

/// What was sent.
#[derive(Clone, Debug, Serialize)]
pub struct Sent {
    /// The repository's page.
    pub url: String,
    /// Files that the commit names: all but those that the hub has just so.
    pub files: usize,
    /// Bytes that went over the network for them.
    pub bytes: u64,
}

/// What is sent.
#[derive(Clone, Debug, Serialize)]
pub enum Subject {
    Folder(#[serde(serialize_with = "serialize::path")] PathBuf),
    /// An adapter of the session, as `save` writes it.
    Adapter(String),
}

/// What is to be sent, and once it was, what became of it.
#[derive(Clone, Debug, Serialize)]
pub struct PushReport {
    pub subject: Subject,
    pub plan: Plan,
    pub sent: Option<Sent>,
}

/// What sending `folder` would send. Nobody is asked for it.
///
/// # Errors
/// The name is none of a repository, the hub is one that takes no uploads, the folder holds neither an adapter nor a model,
/// or cannot be read.
pub fn plan(request: &Request, folder: &Path, settings: &Settings) -> Result<Plan> {
    let id = repository_id(Path::new(request.id)).ok_or_else(|| HubError::NoId { text: quote(request.id) })?;
    if chosen(settings) == Hub::Modelscope {
        return Err(HubError::NoPush { hub: "ModelScope" }.into());
    }
    let hub = HuggingFace::from_environment(settings.cache_dir.as_deref())?;
    if hub.is_offline() {
        return Err(HubError::OfflinePush.into());
    }
    let (files, left_out) = folder::files(folder)?;
    Ok(Plan {
        id,
        hub: hub.names().hub,
        endpoint: hub.names().endpoint.clone(),
        is_private: request.is_private,
        revision: request.revision.to_string(),
        message: request.message.to_string(),
        local_base: folder::local_base(&files),
        files,
        left_out,
        has_token: hub.client().has_token(),
    })
}

/// Sends what a plan names.
///
/// # Errors
/// There is no token; the hub cannot be reached, refuses, breaks off or answers what is none; the repository is public and
/// should not be; a file changes meanwhile; a stop is asked for. Nothing is committed then, and the next attempt need not
/// send again what has arrived.
pub fn send(plan: &Plan, settings: &Settings, cx: &Context) -> Result<Sent> {
    let hub = HuggingFace::from_environment(settings.cache_dir.as_deref())?;
    if !hub.client().has_token() {
        return Err(HubError::NoToken { names: Box::new(hub.names().clone()), url: settings_page(&hub) }.into());
    }
    let api = Api::new(&hub, plan, cx.cancel);
    let sent = commit(&api, plan, cx);
    if matches!(sent, Err(Error::Cancelled)) {
        cx.emit(Event::Note(Note::UploadStopped));
    }
    let (files, bytes) = sent?;
    Ok(Sent { url: quote(&format!("{}/{}", hub.endpoint(), plan.id)), files, bytes })
}

/// All requests, in order: the files that were committed, and the bytes that were sent.
fn commit(api: &Api, plan: &Plan, cx: &Context) -> Result<(usize, u64)> {
    api.create()?;
    if plan.is_private {
        api.check_private()?;
    }
    if plan.revision != "main" {
        api.create_branch()?;
    }
    let mut uploads = Uploads::new(api, cx);
    let files = uploads.ask(&plan.files)?;
    uploads.send_large(&files)?;
    let changed: Vec<_> = files.iter().filter(|file| !file.is_known).collect();
    if !changed.is_empty() {
        api.commit(&changed)?;
    }
    Ok((changed.len(), uploads.sent()))
}

/// Where a user gets a token.
fn settings_page(hub: &HuggingFace) -> String {
    quote(&format!("{}/settings/tokens", hub.endpoint()))
}
