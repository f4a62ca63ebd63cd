//! What a hub is asked for an upload, by its programming interface.

use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;
use tunebook_quote::quote;
use ureq::http::StatusCode;
use url::Url;

use super::Plan;
use super::upload::Prepared;
use crate::error::Error;
use crate::error::Result;
use crate::event::Cancel;
use crate::hub::HubError;
use crate::hub::Source;
use crate::hub::hugging_face::HuggingFace;
use crate::hub::pages;
use crate::hub::request;
use crate::hub::request::Answer;
use crate::hub::request::Client;
use crate::hub::request::MediaType;
use crate::hub::request::What;

/// How often a hub may be out of order before one gives up.
pub(super) const TRIES: usize = 5;
/// The first of the growing pauses between tries.
const PAUSE: Duration = Duration::from_millis(250);
/// Bytes of an answer: a thousand parts of a large file have an address of some kilobytes each.
const MOST: u64 = 16 << 20;
/// What addresses begin with at a mirror that passes on what the hub says.
const REAL: &str = "https://huggingface.co/";

/// A repository that is written to.
pub(super) struct Api<'a> {
    hub: &'a HuggingFace,
    plan: &'a Plan,
    pub cancel: &'a Cancel,
}

/// What the hub does with a file.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Mode {
    pub path: String,
    /// `regular` or `lfs`.
    pub upload_mode: String,
    #[serde(default)]
    pub should_ignore: bool,
    /// What it has under that name: git's name of the blob, or LFS's SHA-256.
    pub oid: Option<String>,
}

/// What LFS says of an object.
#[derive(Deserialize)]
pub(super) struct Object {
    pub oid: String,
    /// None where it has the object.
    pub actions: Option<Actions>,
    error: Option<Problem>,
}

#[derive(Deserialize)]
struct Problem {
    message: String,
}

#[derive(Deserialize)]
pub(super) struct Actions {
    pub upload: Option<Action>,
    pub verify: Option<Action>,
}

#[derive(Deserialize)]
pub(super) struct Action {
    pub href: String,
    /// `chunk_size` and the addresses of parts by their numbers, where the object is to come in parts.
    #[serde(default)]
    pub header: Option<Map<String, Value>>,
}

impl<'a> Api<'a> {
    pub(super) fn new(hub: &'a HuggingFace, plan: &'a Plan, cancel: &'a Cancel) -> Self {
        Self { hub, plan, cancel }
    }

    pub(super) fn client(&self) -> &Client {
        self.hub.client()
    }

    /// Makes the repository, unless it is there.
    pub(super) fn create(&self) -> Result<()> {
        let (owner, name) = self.plan.id.split_once('/').unwrap_or_default();
        let visibility = if self.plan.is_private { "private" } else { "public" };
        let body = json!({"name": name, "organization": owner, "visibility": visibility});
        self.make(&self.url("repos/create"), &body)
    }

    /// Makes the branch, unless it is there.
    pub(super) fn create_branch(&self) -> Result<()> {
        self.make(&self.of_model("branch"), &json!({}))
    }

    /// Whether only its owner sees what is there: the hub may have made or had another one than was asked for.
    ///
    /// # Errors
    /// It is public, or the hub does not say.
    pub(super) fn check_private(&self) -> Result<()> {
        let url = self.url(&format!("models/{}", self.plan.id));
        let answer = self.ask(|| self.client().get(&url, What::Listing, self.cancel))?;
        let found: Value = self.parsed(&url, answer)?;
        match found.get("private").and_then(Value::as_bool) {
            Some(true) => Ok(()),
            _ => Err(HubError::IsPublic { id: self.plan.id.clone() }.into()),
        }
    }

    /// How each of these files is to be sent: its name, its first bytes and its size.
    pub(super) fn modes(&self, files: &[Value]) -> Result<Vec<Mode>> {
        #[derive(Deserialize)]
        struct Modes {
            files: Vec<Mode>,
        }
        let found: Modes = self.post(&self.of_model("preupload"), MediaType::Json, &json!({"files": files}))?;
        Ok(found.files)
    }

    /// Where LFS wants these objects, given as SHA-256 and size.
    pub(super) fn objects(&self, objects: &[Value]) -> Result<Vec<Object>> {
        #[derive(Deserialize)]
        struct Batch {
            objects: Vec<Object>,
        }
        let url = format!("{}/{}.git/info/lfs/objects/batch", self.hub.endpoint(), self.plan.id);
        let body = json!({
            "operation": "upload",
            "transfers": ["basic", "multipart"],
            "objects": objects,
            "hash_algo": "sha256",
            "ref": {"name": self.plan.revision},
        });
        let found: Batch = self.post(&url, MediaType::Lfs, &body)?;
        match found.objects.iter().find_map(|object| object.error.as_ref()) {
            Some(problem) => Err(HubError::Answer { url: quote(&url), problem: quote(&problem.message) }.into()),
            None => Ok(found.objects),
        }
    }

    /// Tells that an object has come, to where LFS wants to hear it.
    pub(super) fn tell(&self, href: &str, kind: MediaType, body: &Value) -> Result<()> {
        let url = self.allowed(href)?;
        self.successful(&url, kind, body).map(drop)
    }

    /// Names all files, which makes them a new version of the branch. It is asked once: an answer that was lost may have been
    /// to a commit that was made.
    pub(super) fn commit(&self, files: &[&Prepared]) -> Result<()> {
        let header = json!({"key": "header", "value": {"summary": self.plan.message, "description": ""}});
        let lines = [header].into_iter().chain(files.iter().map(|file| file.line()));
        let body: Vec<u8> = lines.flat_map(|line| format!("{line}\n").into_bytes()).collect();
        let url = self.of_model("commit");
        match self.client().post(&url, MediaType::JsonLines, body, self.cancel)? {
            Ok(answer) if answer.status().is_success() => Ok(()),
            Ok(answer) => Err(self.refused(&url, answer)),
            Err(error) => Err(self.away(request::plain(&error))),
        }
    }

    /// An address that the hub has named, if what is sent there travels as safely as to the hub.
    pub(super) fn allowed(&self, href: &str) -> Result<String> {
        let endpoint = self.hub.endpoint();
        let href = href.strip_prefix(REAL).map_or_else(|| href.to_string(), |path| format!("{endpoint}/{path}"));
        let is_plain = endpoint.starts_with("http://");
        match Url::parse(&href) {
            Ok(url) if url.scheme() == "https" || url.scheme() == "http" && is_plain => Ok(href),
            _ => Err(HubError::Href { href: quote(&href) }.into()),
        }
    }

    /// A hub that is away.
    pub(super) fn away(&self, problem: String) -> Error {
        HubError::Away { names: Box::new(self.hub.names().clone()), problem }.into()
    }

    /// An answer to what can be asked again, as soon as there is one from a hub that is in order.
    pub(super) fn ask(&self, ask: impl Fn() -> Result<std::result::Result<Answer, ureq::Error>>) -> Result<Answer> {
        let mut times = 0;
        loop {
            let problem = match ask()? {
                Ok(answer) if !is_out_of_order(answer.status()) => return Ok(answer),
                Ok(answer) => format!("status {}", answer.status().as_u16()),
                Err(error) => request::plain(&error),
            };
            times += 1;
            if times == TRIES {
                return Err(self.away(problem));
            }
            request::wait(PAUSE * (1 << times), self.cancel)?;
        }
    }

    /// Why a hub or its storage does not take something.
    pub(super) fn refused(&self, url: &str, answer: Answer) -> Error {
        let status = answer.status().as_u16();
        let said =
            answer.headers().get("x-error-message").map(|text| String::from_utf8_lossy(text.as_bytes()).into_owned());
        let text = said.unwrap_or_else(|| problem(&request::beginning(answer, self.cancel)));
        let (text, id, names) = (quote(&text), self.plan.id.clone(), Box::new(self.hub.names().clone()));
        match status {
            401 | 403 => HubError::NoWrite { names, id, status, text, page: super::settings_page(self.hub) },
            409 | 412 => HubError::Conflict { id, text },
            413 => HubError::TooLarge { id, text },
            _ => HubError::Status { url: quote(url), status, text },
        }
        .into()
    }

    fn url(&self, path: &str) -> String {
        format!("{}/api/{path}", self.hub.endpoint())
    }

    /// What is asked of the branch.
    fn of_model(&self, what: &str) -> String {
        self.url(&format!("models/{}/{what}/{}", self.plan.id, request::encoded(&self.plan.revision)))
    }

    /// Has the hub make something that may be there.
    fn make(&self, url: &str, body: &Value) -> Result<()> {
        let answer =
            self.ask(|| self.client().post(url, MediaType::Json, body.to_string().into_bytes(), self.cancel))?;
        match answer.status() {
            status if status.is_success() || status == StatusCode::CONFLICT => Ok(()),
            _ => Err(self.refused(url, answer)),
        }
    }

    fn successful(&self, url: &str, kind: MediaType, body: &Value) -> Result<Answer> {
        let answer = self.ask(|| self.client().post(url, kind, body.to_string().into_bytes(), self.cancel))?;
        if answer.status().is_success() { Ok(answer) } else { Err(self.refused(url, answer)) }
    }

    fn post<T: DeserializeOwned>(&self, url: &str, kind: MediaType, body: &Value) -> Result<T> {
        let answer = self.successful(url, kind, body)?;
        self.parsed(url, answer)
    }

    fn parsed<T: DeserializeOwned>(&self, url: &str, answer: Answer) -> Result<T> {
        if !answer.status().is_success() {
            return Err(self.refused(url, answer));
        }
        let content = request::read(answer, MOST, self.cancel)?.map_err(|error| match error {
            ureq::Error::BodyExceedsLimit(_) => {
                let problem = format!("it has more than {} MB", MOST >> 20);
                HubError::Answer { url: quote(url), problem }.into()
            }
            error => self.away(request::plain(&error)),
        })?;
        Ok(pages::parsed(url, &content)?)
    }
}

/// Whether the same may be answered otherwise in a moment.
pub(super) fn is_out_of_order(status: StatusCode) -> bool {
    status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS
}

/// What an answer says that is wrong: the hub's `error`, or else its first line.
fn problem(body: &[u8]) -> String {
    let json: Option<Value> = serde_json::from_slice(body).ok();
    match json.as_ref().and_then(|json| json.get("error")?.as_str()) {
        Some(error) => error.to_string(),
        None => String::from_utf8_lossy(body).lines().next().unwrap_or_default().to_string(),
    }
}
