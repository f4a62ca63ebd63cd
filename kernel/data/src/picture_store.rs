//! Images inside data files (bytes in Parquet, data URLs and base64 in JSON), written out as files.
//!
//! They go to the user's cache folder under the hash of their content, so the rest of the program knows paths only. The
//! folder (`tunebook/pictures`) may be deleted at any time between sessions.

use std::path::{Path, PathBuf};

use sha1::{Digest, Sha1};
use tunebook_files::write_whole;

use crate::DatasetError;

/// The folder that images inside data files are written to. A file's name is the hash of its content, so the same image
/// is one file, whichever dataset it comes from.
#[derive(Clone, Copy)]
pub(crate) struct PictureStore<'a> {
    pub(crate) folder: &'a Path,
}

impl PictureStore<'_> {
    /// Writes an image of the data file `from`, unless it is there already.
    ///
    /// # Errors
    /// The folder cannot be written to.
    pub(crate) fn write(&self, bytes: &[u8], from: &Path) -> Result<PathBuf, DatasetError> {
        let extension = image::guess_format(bytes).ok().and_then(|format| format.extensions_str().first());
        let name: String = Sha1::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        let path = self.folder.join(name).with_extension(extension.unwrap_or(&"bin"));
        let write = || {
            if path.metadata().is_ok_and(|file| file.len() == bytes.len() as u64) {
                return Ok(());
            }
            std::fs::create_dir_all(self.folder)?;
            write_whole(&path, bytes)
        };
        write().map_err(|source| DatasetError::Picture { path: path.clone(), file: from.to_owned(), source })?;
        Ok(path)
    }
}
