//! Telling Jupyter that there is a kernel: a folder with `kernel.json` and logos, and beside it an extension of JupyterLab
//! that colours its cells (`lab`).
//!
//! Both lie in `wheel/data` as `pip install tunebook` copies them, where the kernel's command is that of the Python package,
//! `python3 -m tunebook`: Jupyter puts its own interpreter in the place of `python3`, so that the kernel is found in an
//! environment whose programs are not on the PATH. `tunebook kernel install` writes the same files with a command that
//! names the executable.

use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;
use tunebook_commands::PYTHON;

use crate::error::Error;
use crate::error::Result;

/// The kernel's name in Jupyter.
pub const NAME: &str = "tunebook";

/// A file below `share/jupyter`.
macro_rules! file {
    ($name:literal) => {
        include_bytes!(concat!("../wheel/data/share/jupyter/", $name))
    };
}

const SPEC: &[u8] = file!("kernels/tunebook/kernel.json");
/// How `SPEC` starts the program: an interpreter, and the package as a module.
const PACKAGE: usize = ["python3", "-m", "tunebook"].len();
const LOGOS: [(&str, &[u8]); 3] = [
    ("logo-svg.svg", file!("kernels/tunebook/logo-svg.svg")),
    ("logo-32x32.png", file!("kernels/tunebook/logo-32x32.png")),
    ("logo-64x64.png", file!("kernels/tunebook/logo-64x64.png")),
];
/// The extension's files.
const EXTENSION: [(&str, &[u8]); 2] = [
    ("static/remoteEntry.js", file!("labextensions/tunebook/static/remoteEntry.js")),
    ("package.json", file!("labextensions/tunebook/package.json")),
];

/// Where a kernel is installed.
#[derive(Clone, Debug)]
pub enum Place {
    /// For this user.
    User,
    /// In `PREFIX/share/jupyter`.
    Prefix(PathBuf),
    /// In the environment of the Python that is found first.
    SysPrefix,
}

impl Place {
    /// `…/kernels/tunebook`
    fn folder(&self) -> Result<PathBuf> {
        Ok(self.data()?.join("kernels").join(NAME))
    }

    /// `…/labextensions/tunebook`
    fn extension(&self) -> Result<PathBuf> {
        Ok(self.data()?.join("labextensions").join(NAME))
    }

    /// Where Jupyter looks for such folders.
    fn data(&self) -> Result<PathBuf> {
        Ok(match self {
            Self::User => match std::env::var_os("JUPYTER_DATA_DIR") {
                Some(folder) => PathBuf::from(folder),
                None => jupyter_zmq_client::user_data_dir().map_err(|_| Error::NoHome)?,
            },
            Self::Prefix(prefix) => prefix.join("share/jupyter"),
            Self::SysPrefix => sys_prefix()?.join("share/jupyter"),
        })
    }
}

/// Installs the kernel that `executable kernel start` runs; says where.
///
/// # Errors
/// The place is not known or cannot be written.
pub fn install(place: &Place, executable: &Path) -> Result<PathBuf> {
    let folder = place.folder()?;
    write_all(&place.extension()?, &EXTENSION)?;
    write_all(&folder, &LOGOS)?;
    // Last, since it is what makes the folder a kernel.
    write_all(&folder, &[("kernel.json", format!("{:#}\n", spec(executable)).as_bytes())])?;
    Ok(folder)
}

/// Writes files into a folder, which is made.
fn write_all(folder: &Path, files: &[(&str, &[u8])]) -> Result<()> {
    for (name, contents) in files {
        let path = folder.join(name);
        let made = path.parent().map_or(Ok(()), std::fs::create_dir_all);
        made.and_then(|()| std::fs::write(&path, contents)).map_err(|source| Error::Write { path, source })?;
    }
    Ok(())
}

/// Removes it; says from where.
///
/// # Errors
/// It is not there, or cannot be removed.
pub fn uninstall(place: &Place) -> Result<PathBuf> {
    let folder = place.folder()?;
    if !folder.join("kernel.json").exists() {
        return Err(Error::NotInstalled(folder));
    }
    let remove =
        |folder: &Path| std::fs::remove_dir_all(folder).map_err(|source| Error::Write { path: folder.into(), source });
    remove(&folder)?;
    let extension = place.extension()?;
    // That of an earlier version is not there.
    if extension.exists() {
        remove(&extension)?;
    }
    Ok(folder)
}

/// Where the kernel is installed, with the program that each place runs.
pub fn list() -> Vec<(PathBuf, String)> {
    let user = Place::User.folder().ok();
    let others = jupyter_zmq_client::data_dirs().into_iter().map(|data| data.join("kernels").join(NAME));
    let mut found: Vec<(PathBuf, String)> = Vec::new();
    for folder in user.into_iter().chain(Place::SysPrefix.folder().ok()).chain(others) {
        let Ok(text) = std::fs::read(folder.join("kernel.json")) else { continue };
        let spec: Value = serde_json::from_slice(&text).unwrap_or_default();
        if !found.iter().any(|(known, _)| *known == folder) {
            found.push((folder, program(&spec)));
        }
    }
    found
}

/// The specification of the kernel that `executable kernel start` runs.
fn spec(executable: &Path) -> Value {
    // The tests know that it can be read.
    let mut spec: Value = serde_json::from_slice(SPEC).unwrap_or_default();
    if let Some(command) = spec["argv"].as_array_mut() {
        command.splice(..PACKAGE, [executable.to_string_lossy().into()]);
    }
    spec
}

/// What a specification starts, without the arguments `kernel start …`.
fn program(spec: &Value) -> String {
    let words = spec["argv"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let words: Vec<_> = words.take_while(|word| *word != "kernel").collect();
    if words.is_empty() { "?".to_string() } else { words.join(" ") }
}

fn sys_prefix() -> Result<PathBuf> {
    let failed = |problem: String| Error::NoSysPrefix { python: PYTHON, problem };
    let output = Command::new(PYTHON).args(["-c", "import sys; print(sys.prefix)"]).output();
    let output = output.map_err(|error| failed(error.to_string()))?;
    let prefix = String::from_utf8_lossy(&output.stdout).trim().to_string();
    if prefix.is_empty() { Err(failed("no answer".to_string())) } else { Ok(PathBuf::from(prefix)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_installed_can_be_uninstalled() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::Prefix(folder.path().to_path_buf());
        let installed = install(&place, Path::new("/opt/tune book")).unwrap();
        assert_eq!(installed, folder.path().join("share/jupyter/kernels/tunebook"));
        let spec: Value = serde_json::from_slice(&std::fs::read(installed.join("kernel.json")).unwrap()).unwrap();
        let command = ["/opt/tune book", "kernel", "start", "--connection-file", "{connection_file}"];
        assert_eq!(spec["argv"], serde_json::json!(command));
        assert_eq!(spec["language"], crate::info::LANGUAGE);
        assert_eq!(spec["interrupt_mode"], "message");
        assert_eq!(program(&spec), "/opt/tune book");
        assert_eq!(program(&serde_json::from_slice(SPEC).unwrap()), "python3 -m tunebook");
        let logo = image::load_from_memory(&std::fs::read(installed.join("logo-64x64.png")).unwrap()).unwrap();
        assert_eq!((logo.width(), logo.height()), (64, 64));
        let package = folder.path().join("share/jupyter/labextensions/tunebook/package.json");
        let package: Value = serde_json::from_slice(&std::fs::read(package).unwrap()).unwrap();
        assert_eq!(package["version"], env!("CARGO_PKG_VERSION"));
        uninstall(&place).unwrap();
        let left = ["kernels", "labextensions"].map(|name| folder.path().join("share/jupyter").join(name));
        assert!(left.iter().all(|folder| folder.read_dir().unwrap().next().is_none()));
        assert!(matches!(uninstall(&place), Err(Error::NotInstalled(_))));
    }
}
