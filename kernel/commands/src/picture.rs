//! Which files the pictures of a message are.

use std::path::PathBuf;

use tunebook_engine::Session;

use crate::parse;
use crate::parse::Args;

/// The pictures that `image=` names. One that is not where the program runs may be one of the data sets, as their files
/// name it: in `media_dir`, or else `dataset_dir`.
pub fn pictures(session: &Session, args: &Args) -> Vec<PathBuf> {
    let settings = session.settings();
    let folder = settings.media_dir.as_deref().unwrap_or(&settings.dataset_dir);
    let find = |name: &str| {
        let path = parse::path(name);
        match path.exists() {
            true => path,
            false => Some(folder.join(&path)).filter(|path| path.exists()).unwrap_or(path),
        }
    };
    args.options("image").map(find).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_picture_of_the_data_sets_is_found_by_its_name_there() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.png"), "").unwrap();
        let mut session = Session::default();
        let mut settings = session.settings().clone();
        settings.dataset_dir = folder.path().to_path_buf();
        session.set(settings);
        let (_, args) = parse::parse("chat image=a.png image=Cargo.toml image=b.png Hi").unwrap().unwrap();
        assert_eq!(
            pictures(&session, &args),
            [&folder.path().join("a.png"), Path::new("Cargo.toml"), Path::new("b.png")]
        );
    }
}
