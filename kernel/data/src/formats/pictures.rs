//! Where the images of a record are: in files, or in the record itself.

use std::path::{Path, PathBuf};

use data_url::{DataUrl, forgiving_base64};
use percent_encoding::percent_decode_str;
use serde_json::Value;
use tunebook_quote::quote_end;

use super::Fault;
use super::fields::wrong_type;
use crate::picture_store::PictureStore;
use crate::{SkipReason, ValueType};

/// No picture's base64 is shorter.
const SHORTEST_BASE64: usize = 64;

/// Where pictures are looked for, and where those go that lie in the data file itself.
#[derive(Clone, Copy)]
pub(crate) struct Places<'a> {
    pub(crate) media_dir: &'a Path,
    pub(crate) data_file: &'a Path,
    pub(crate) store: PictureStore<'a>,
}

impl Places<'_> {
    /// The file of a picture that stands under `key`: a path, a `file://` address, a data URL, base64, or an object that
    /// holds one of these.
    pub(super) fn picture(&self, value: &Value, key: &str) -> Result<PathBuf, Fault> {
        match value {
            Value::String(text) => self.named(text),
            Value::Object(object) => {
                let keys = ["bytes", "path", "image", "image_url", "url", "base64"];
                let inner = keys.iter().find_map(|key| object.get(*key).filter(|value| !value.is_null()));
                self.picture(inner.ok_or_else(|| wrong_type(key, ValueType::Paths))?, key)
            }
            _ => Err(wrong_type(key, ValueType::Paths).into()),
        }
    }

    fn named(&self, text: &str) -> Result<PathBuf, Fault> {
        if text.starts_with("data:") {
            let bytes = DataUrl::process(text).ok().and_then(|url| Some(url.decode_to_vec().ok()?.0));
            return self.inside(bytes.ok_or_else(|| SkipReason::BadBase64 { picture: tunebook_quote::quote(text) })?);
        }
        let path = text.strip_prefix("file://").unwrap_or(text);
        if is_remote(path) {
            return Err(SkipReason::RemotePicture { url: quote_end(path) }.into());
        }
        let decoded = percent_decode_str(path).decode_utf8_lossy();
        let is_url = path.len() < text.len();
        let found = self.find(path).or_else(|| self.find(&decoded).filter(|_| is_url));
        match (found, bare_base64(path)) {
            (Some(found), _) => Ok(found),
            (None, Some(bytes)) => self.inside(bytes),
            (None, None) => Err(self.missing(path).into()),
        }
    }

    /// LLaMA-Factory looks in `media_dir`, and then where the path itself says; beside the data file comes last. Windows
    /// writes `\` between folders.
    fn find(&self, path: &str) -> Option<PathBuf> {
        let beside = self.data_file.parent().unwrap_or(Path::new(""));
        let places = |path: &str| [self.media_dir.join(path), PathBuf::from(path), beside.join(path)];
        let find = |path: &str| places(path).into_iter().find(|path| path.is_file());
        find(path).or_else(|| path.contains('\\').then(|| find(&path.replace('\\', "/")))?)
    }

    fn inside(&self, bytes: Vec<u8>) -> Result<PathBuf, Fault> {
        self.store.write(&bytes, self.data_file).map_err(Fault::Stop)
    }

    fn missing(&self, path: &str) -> SkipReason {
        let picture = quote_end(path);
        if cfg!(unix) && is_windows_drive(path) {
            return SkipReason::WindowsDrive { picture };
        }
        let beside = self.data_file.parent().filter(|folder| *folder != self.media_dir);
        SkipReason::MissingPicture { picture, media_dir: self.media_dir.to_owned(), beside: beside.map(Path::to_owned) }
    }
}

/// Whether a text begins as an address does: `https://`, `s3://`.
fn is_remote(text: &str) -> bool {
    let scheme = text.split_once("://").map_or("", |(scheme, _)| scheme);
    !scheme.is_empty() && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
}

/// `D:\data\a.png`
fn is_windows_drive(path: &str) -> bool {
    matches!(path.as_bytes(), [drive, b':', b'\\' | b'/', ..] if drive.is_ascii_alphabetic())
}

/// The bytes of a picture whose base64 the text is.
fn bare_base64(text: &str) -> Option<Vec<u8>> {
    let bytes = (text.len() >= SHORTEST_BASE64).then(|| forgiving_base64::decode_to_vec(text.as_bytes()).ok())??;
    image::guess_format(&bytes).is_ok().then_some(bytes)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use base64::prelude::{BASE64_STANDARD, Engine};
    use serde_json::json;

    use super::*;
    use crate::fixtures;

    /// A folder with pictures under `media/` and beside the data file `set/data.json`.
    struct Folder(tempfile::TempDir);

    impl Folder {
        fn new(files: &[&str]) -> Self {
            let folder = Self(tempfile::tempdir().unwrap());
            for file in files {
                let path = folder.path(file);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::copy(fixtures::path("pictures/icon.png"), path).unwrap();
            }
            folder
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        fn picture(&self, value: Value) -> Result<PathBuf, SkipReason> {
            let (media_dir, data_file, folder) = (self.path("media"), self.path("set/data.json"), self.path("store"));
            let store = PictureStore { folder: &folder };
            let places = Places { media_dir: &media_dir, data_file: &data_file, store };
            places.picture(&value, "images").map_err(|fault| match fault {
                Fault::Skip(reason) => reason,
                Fault::Stop(error) => panic!("{error}"),
            })
        }
    }

    #[test]
    fn a_picture_is_in_media_dir_or_beside_the_data_file() {
        let folder = Folder::new(&["media/a.png", "set/a.png", "set/images/b.png"]);
        assert_eq!(folder.picture(json!("a.png")), Ok(folder.path("media/a.png")));
        assert_eq!(folder.picture(json!("images/b.png")), Ok(folder.path("set/images/b.png")));
        let absolute = folder.path("set/a.png");
        assert_eq!(folder.picture(json!(absolute)), Ok(absolute));
        let message = folder.picture(json!("c.png")).unwrap_err().to_string();
        let [media, set] = ["media", "set"].map(|name| folder.path(name).display().to_string());
        assert!(message.contains("image c.png") && message.contains(&media) && message.contains(&set), "{message}");
    }

    #[test]
    fn a_path_of_windows_is_found_or_explained() {
        let folder = Folder::new(&["media/images/a.png", "set/more/b.png"]);
        assert_eq!(folder.picture(json!("images\\a.png")), Ok(folder.path("media/images/a.png")));
        assert_eq!(folder.picture(json!(".\\images\\a.png")), Ok(folder.path("media/./images/a.png")));
        assert_eq!(folder.picture(json!("more\\b.png")), Ok(folder.path("set/more/b.png")));
        if cfg!(unix) {
            let picture = "D:\\data\\images\\a.png".to_owned();
            assert_eq!(folder.picture(json!(picture)), Err(SkipReason::WindowsDrive { picture }));
        }
    }

    #[test]
    fn an_address_of_a_file_is_its_path() {
        let folder = Folder::new(&["media/a.png", "media/a b.png", "media/100%.png"]);
        assert_eq!(folder.picture(json!("file://a.png")), Ok(folder.path("media/a.png")));
        let absolute = folder.path("media/a.png");
        assert_eq!(folder.picture(json!(format!("file://{}", absolute.display()))), Ok(absolute));
        assert_eq!(folder.picture(json!("file://a%20b.png")), Ok(folder.path("media/a b.png")));
        assert_eq!(folder.picture(json!("file://100%.png")), Ok(folder.path("media/100%.png")));
        for url in ["https://example.com/a.png", "http://example.com/a.png", "s3://bucket/a.png"] {
            assert_eq!(folder.picture(json!(url)), Err(SkipReason::RemotePicture { url: url.to_owned() }));
        }
    }

    #[test]
    fn a_picture_in_the_record_becomes_a_file() {
        let folder = Folder::new(&["media/a.png"]);
        let bytes = fs::read(fixtures::path("pictures/wide.png")).unwrap();
        let base64 = BASE64_STANDARD.encode(&bytes);
        let url = format!("data:image/png;base64,{base64}");
        for value in [
            json!(url),
            json!(base64),
            json!({"url": url}),
            json!({"image_url": {"url": url}}),
            json!({"bytes": base64, "path": null}),
        ] {
            let path = folder.picture(value).unwrap();
            assert!(path.starts_with(folder.path("store")) && path.extension().is_some_and(|end| end == "png"));
            assert_eq!(fs::read(path).unwrap(), bytes);
        }
        assert_eq!(fs::read_dir(folder.path("store")).unwrap().count(), 1);
        assert_eq!(folder.picture(json!({"bytes": null, "path": "a.png"})), Ok(folder.path("media/a.png")));
        assert_eq!(folder.picture(json!({"image": "a.png"})), Ok(folder.path("media/a.png")));

        let broken = folder.picture(json!(format!("data:image/png;base64,*{base64}"))).unwrap_err();
        let SkipReason::BadBase64 { picture } = broken else { panic!("{broken:?}") };
        assert_eq!(picture.chars().count(), tunebook_quote::MOST);
        // Text that is no picture is a path, however long it is.
        let message = folder.picture(json!("x".repeat(1_000_000))).unwrap_err().to_string();
        assert!(message.len() < 1000, "{message}");
        assert_eq!(folder.picture(json!(7)), Err(wrong_type("images", ValueType::Paths)));
    }
}
