//! Which files the images of a message are.

use std::path::PathBuf;

use tunebook_engine::Session;

use tunebook_quote::quote_end;

use crate::error::Error;
use crate::error::Result;
use crate::parse;
use crate::parse::Args;

/// The files that `image=` names. A file that does not exist may be one of a dataset, named as in the dataset: it is
/// looked up in `media_dir`, or else `dataset_dir`. `\` counts as `/`, as in paths from Windows.
///
/// # Errors
/// A name is empty, or the address of a picture on the web.
pub(crate) fn pictures(session: &Session, args: &Args) -> Result<Vec<PathBuf>> {
    let settings = session.settings();
    let folder = settings.media_dir.as_deref().unwrap_or(&settings.dataset_dir);
    let find = |name: &str| {
        let name = name.strip_prefix("file://").unwrap_or(name);
        match name {
            "" => return Err(Error::NoPicture),
            _ if name.contains("://") => return Err(Error::RemotePicture { url: quote_end(name) }),
            _ => {}
        }
        let places = |name: &str| [parse::path(name), folder.join(parse::path(name))];
        let mut found = [places(name), places(&name.replace('\\', "/"))].into_iter().flatten();
        Ok(found.find(|path| path.exists()).unwrap_or_else(|| parse::path(name)))
    };
    args.options("image").map(find).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::verbs::VERBS;

    #[test]
    fn a_picture_of_the_data_sets_is_found_by_its_name_there() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.png"), "").unwrap();
        let mut session = Session::default();
        let mut settings = session.settings().clone();
        settings.dataset_dir = folder.path().to_path_buf();
        session.set(settings);
        let (_, args) = parse::parse("chat image=a.png image=Cargo.toml image=b.png Hi", VERBS).unwrap().unwrap();
        assert_eq!(
            pictures(&session, &args).unwrap(),
            [&folder.path().join("a.png"), Path::new("Cargo.toml"), Path::new("b.png")]
        );
        let (_, args) = parse::parse(r"chat image=src\lib.rs image=src\gone.rs Hi", VERBS).unwrap().unwrap();
        assert_eq!(pictures(&session, &args).unwrap(), [Path::new("src/lib.rs"), Path::new(r"src\gone.rs")]);
    }

    #[test]
    fn a_picture_that_is_no_file_is_refused() {
        let problem = |line| {
            let (_, args) = parse::parse(line, VERBS).unwrap().unwrap();
            pictures(&Session::default(), &args).unwrap_err().to_string()
        };
        let remote = problem("chat image=https://a.org/cat.png Hi");
        assert!(remote.contains("download https://a.org/cat.png first"), "{remote}");
        assert!(problem("chat image= Hi").contains("image=FILE"));
    }
}
