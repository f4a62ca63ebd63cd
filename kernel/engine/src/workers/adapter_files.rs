//! An adapter as one run of bytes: the files of its folder, in which whatever trains lies as a checkpoint has it.

use std::path::Path;

use serde::Deserialize;
use serde::Serialize;
use tunebook_nn::VisionLanguageModel;
use tunebook_nn::adapter::Adapter;

use crate::error::Error;
use crate::error::Result;

/// What precedes the files.
#[derive(Serialize, Deserialize)]
struct Head {
    /// The value in the session: an adapter that began as PiSSA is written with another one.
    lora_alpha: Option<f64>,
    /// Names and lengths.
    files: Vec<(String, usize)>,
}

/// Length of the head's length.
const LENGTH: usize = size_of::<u64>();

/// The bytes of an adapter.
///
/// # Errors
/// The temporary folder cannot be written to.
pub(super) fn pack(adapter: &Adapter, net: &VisionLanguageModel) -> Result<Vec<u8>> {
    let folder = temporary()?;
    let mut files = Vec::new();
    for name in adapter.save(folder.path(), &net.shape, "")? {
        let path = folder.path().join(name);
        let bytes = std::fs::read(&path).map_err(|source| Error::Read { path, source })?;
        files.push((name.to_string(), bytes));
    }
    let head = Head {
        lora_alpha: adapter.config.as_ref().map(|config| config.lora_alpha),
        files: files.iter().map(|(name, bytes)| (name.clone(), bytes.len())).collect(),
    };
    let head = serde_json::to_vec(&head).map_err(|source| json(folder.path(), source))?;
    let mut packed = (head.len() as u64).to_le_bytes().to_vec();
    packed.extend(head);
    files.iter().for_each(|(_, bytes)| packed.extend(bytes));
    Ok(packed)
}

/// The adapter that was packed.
///
/// # Errors
/// It does not belong to the model; the temporary folder cannot be written to.
pub(super) fn unpack(packed: &[u8], net: &VisionLanguageModel) -> Result<Adapter> {
    let folder = temporary()?;
    let damaged = || Error::Read { path: folder.path().to_path_buf(), source: std::io::ErrorKind::InvalidData.into() };
    let (length, rest) = packed.split_first_chunk::<LENGTH>().ok_or_else(damaged)?;
    let (head, mut rest) = rest.split_at_checked(u64::from_le_bytes(*length) as usize).ok_or_else(damaged)?;
    let Head { lora_alpha, files } = serde_json::from_slice(head).map_err(|source| json(folder.path(), source))?;
    for (name, length) in files {
        let (bytes, others) = rest.split_at_checked(length).ok_or_else(damaged)?;
        rest = others;
        let path = folder.path().join(Path::new(&name).file_name().ok_or_else(damaged)?);
        std::fs::write(&path, bytes).map_err(|source| Error::Write { path, source })?;
    }
    let mut adapter = net.load_adapter(folder.path())?;
    if let Some(alpha) = lora_alpha {
        adapter.set_lora_alpha(alpha);
    }
    Ok(adapter)
}

fn temporary() -> Result<tempfile::TempDir> {
    tunebook_files::private_folder("adapter").map_err(|source| Error::Write { path: std::env::temp_dir(), source })
}

fn json(folder: &Path, source: serde_json::Error) -> Error {
    Error::Json { path: folder.to_path_buf(), source }
}
