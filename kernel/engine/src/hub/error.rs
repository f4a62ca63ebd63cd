//! Why something does not come from a hub, or go there.

use std::path::PathBuf;

use tunebook_quote::REMEDY;

use super::Names;

/// Why something does not come from a hub, or go there. What was downloaded so far stays in the cache.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    #[error("`{text}` is not the name of a repository on a hub{REMEDY}such a name is OWNER/NAME")]
    NoId { text: String },
    #[error("the user has no home folder for downloads{REMEDY}set {variable} or cache_dir to a folder")]
    NoCache { variable: &'static str },
    #[error(
        "there is no folder {id}, and {} cannot be reached at {} ({problem}){REMEDY}set {} to a host that can be reached, or \
         try hub={}",
        .names.hub, .names.endpoint, .names.endpoint_variable, .names.other
    )]
    Unreachable { names: Box<Names>, id: String, problem: String },
    #[error(
        "{id} is not, or not completely, in {}, and HF_HUB_OFFLINE does not allow downloading it",
        .cache.display()
    )]
    Offline { id: String, cache: PathBuf },
    #[error(
        "there is no folder {id}, and {} has no repository of that name that {} can access{}",
        .names.hub,
        if *.with_token { "your token".to_string() } else { format!("a visitor without a token ({})", .names.token_variable) },
        .nearest.as_ref().map(|name| format!(" (did you mean {name}?)")).unwrap_or_default()
    )]
    NotFound { names: Box<Names>, id: String, with_token: bool, nearest: Option<String> },
    #[error("{id} has no revision `{revision}` on {}{REMEDY}model_revision=main is the latest", .names.hub)]
    NoRevision { names: Box<Names>, id: String, revision: String },
    #[error(
        "{} denies access to {id} ({status}): {} at {page}",
        .names.hub,
        if *.with_token {
            format!("your token ({}) has no permission{REMEDY}request access and accept the licence", .names.token_variable)
        } else {
            format!("a token is required in {}{REMEDY}get one and accept the licence", .names.token_variable)
        }
    )]
    Denied { names: Box<Names>, id: String, status: u16, with_token: bool, page: String },
    #[error("{url} returned {status}{}", if .text.is_empty() { String::new() } else { format!(" ({text})") })]
    Status { url: String, status: u16, text: String },
    #[error("{url} returned an unexpected answer: {problem}")]
    Answer { url: String, problem: String },
    #[error("{url} lists more than {megabytes} MB of file names{REMEDY}no repository on a hub has so many")]
    LongListing { url: String, megabytes: u64 },
    #[error("{url} lists `{file}` with a name, size or hash that is impossible for a file of a repository")]
    Entry { url: String, file: String },
    #[error("{id} has no {missing} ({found} files){REMEDY}a model needs config.json, tokenizer.json and *.safetensors")]
    NoModel { id: String, missing: &'static str, found: usize },
    #[error("{id} has no file that can be read as data{}{REMEDY}supported are json, jsonl, csv and parquet",
        .folder.as_ref().map(|folder| format!(" in {folder}")).unwrap_or_default())]
    NoData { id: String, folder: Option<String> },
    #[error(
        "the download of {file} was interrupted {times} times without any progress ({problem}){REMEDY}the same command \
         continues it"
    )]
    Broken { file: String, times: usize, problem: String },
    #[error(
        "{host} sends {} for {file}, but {} lists {expected} bytes ({times} attempts): one of the two is outdated{REMEDY}set \
         {} to another host, or try hub={}",
        .found.map_or_else(|| format!("more than {expected} bytes"), |found| format!("{found} bytes")),
        .names.endpoint, .names.endpoint_variable, .names.other
    )]
    Size { names: Box<Names>, file: String, host: String, times: usize, expected: u64, found: Option<u64> },
    #[error(
        "{file} from {host} is corrupted: its {algorithm} is {found} instead of {expected}{REMEDY}it was deleted, try again"
    )]
    Checksum { file: String, host: String, algorithm: &'static str, expected: Box<str>, found: Box<str> },
    #[error("`push` uploads to Hugging Face only, not to {hub}{REMEDY}set hub=huggingface, or use {hub}'s own program")]
    NoPush { hub: &'static str },
    #[error("HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE is set, which does not allow uploading{REMEDY}unset it to upload")]
    OfflinePush,
    #[error(
        "{} contains neither an adapter nor a model, as `save` and `export` write them{REMEDY}give the folder with          adapter_config.json and adapter_model.safetensors, or with config.json and all its weights",
        .path.display()
    )]
    NothingToPush { path: PathBuf },
    #[error(
        "adapter `{name}` holds weights of the model itself, which PEFT cannot load{REMEDY}write the whole model with `export          FOLDER`, then `push OWNER/NAME folder=FOLDER`"
    )]
    NoPeftAdapter { name: String },
    #[error("uploading needs a token with write permission, in {} or as huggingface_hub keeps it{REMEDY}get one at {url}", .names.token_variable)]
    NoToken { names: Box<Names>, url: String },
    #[error(
        "{id} is public, or the hub does not say that it is private, so nothing was sent{REMEDY}make it private on the hub, choose          another name, or say private=false"
    )]
    IsPublic { id: String },
    #[error(
        "the hub wants the file to be sent to {href}, which is not as safe as the hub's own address; nothing went there"
    )]
    Href { href: String },
    #[error(
        "{} cannot be reached at {} ({problem}){REMEDY}the same command tries again, and does not send again what has arrived",
        .names.hub, .names.endpoint
    )]
    Away { names: Box<Names>, problem: String },
    #[error(
        "{} does not let you write to {id} ({status}{}){REMEDY}the token in {} needs write permission for it, see {page}",
        .names.hub, if .text.is_empty() { String::new() } else { format!(": {text}") }, .names.token_variable
    )]
    NoWrite { names: Box<Names>, id: String, status: u16, text: String, page: String },
    #[error(
        "{id} was changed by someone else meanwhile{}{REMEDY}the same command tries again, and does not send again what has          arrived", if .text.is_empty() { String::new() } else { format!(" ({text})") }
    )]
    Conflict { id: String, text: String },
    #[error(
        "the hub finds the upload to {id} too large{}{REMEDY}`export … export_size=GB` writes smaller files",
        if .text.is_empty() { String::new() } else { format!(" ({text})") }
    )]
    TooLarge { id: String, text: String },
    #[error(
        "the upload of {file} was interrupted {times} times ({problem}){REMEDY}the same command tries again, and does not send          again what has arrived"
    )]
    UploadBroken { file: String, times: usize, problem: String },
    #[error("{} changes while it is uploaded{REMEDY}wait until it is written, and upload it again", .path.display())]
    Changed { path: PathBuf },
}
