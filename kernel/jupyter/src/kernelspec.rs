//! Telling Jupyter that there is a kernel: a folder with `kernel.json` and logos, and beside it an extension of JupyterLab
//! that colours its cells (`lab`).
//!
//! Both lie in `wheel/data` as `pip install tunebook` copies them, where the kernel's command is that of the Python package,
//! `python3 -m tunebook`: Jupyter puts its own interpreter in the place of `python3`, so that the kernel is found in an
//! environment whose programs are not on the PATH. `tunebook kernel install` writes the same files with a command that
//! names the executable, under any name and with variables of its environment, as `python -m ipykernel install` does.

use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;
use tunebook_commands::PYTHON;
use tunebook_quote::quote;

use crate::error::Error;
use crate::error::Result;

/// The kernel's name in Jupyter, where it is given no other.
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
/// How every specification of ours goes on.
const START: [&str; 4] = ["kernel", "start", "--connection-file", "{connection_file}"];
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

/// What a kernel is called, and what it finds in its environment.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// By which notebooks name it.
    pub name: String,
    /// By which Jupyter offers it; the name, unless that is [`NAME`].
    pub display_name: Option<String>,
    pub env: Vec<(String, String)>,
}

impl Default for Kernel {
    fn default() -> Self {
        Self { name: NAME.to_string(), display_name: None, env: Vec::new() }
    }
}

/// A kernel of ours that is installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installed {
    pub folder: PathBuf,
    pub display_name: String,
    /// The program that it runs.
    pub program: String,
}

impl Place {
    /// `…/kernels/NAME`
    ///
    /// # Errors
    /// It can be no name, or the place is not known.
    fn folder(&self, name: &str) -> Result<PathBuf> {
        // As `_is_valid_kernel_name` of jupyter_client, which writes it in small letters; a name of dots is a way elsewhere.
        let is_sign = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if !name.chars().all(is_sign) || name.chars().all(|c| c == '.') {
            return Err(Error::KernelName(quote(name)));
        }
        Ok(self.kernels()?.join(name.to_ascii_lowercase()))
    }

    fn kernels(&self) -> Result<PathBuf> {
        Ok(self.data()?.join("kernels"))
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
/// The place is not known, has another kernel of that name, or cannot be written; or the name can be none.
pub fn install(place: &Place, kernel: &Kernel, executable: &Path) -> Result<PathBuf> {
    let folder = place.folder(&kernel.name)?;
    if folder.join("kernel.json").exists() && installed(&folder).is_none() {
        return Err(Error::AnotherKernel(folder));
    }
    write_all(&place.extension()?, &EXTENSION)?;
    write_all(&folder, &LOGOS)?;
    // Last, since it is what makes the folder a kernel.
    write_all(&folder, &[("kernel.json", format!("{:#}\n", spec(kernel, executable)).as_bytes())])?;
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
/// It is not there, is not ours, or cannot be removed.
pub fn uninstall(place: &Place, name: &str) -> Result<PathBuf> {
    let folder = place.folder(name)?;
    if installed(&folder).is_none() {
        return Err(Error::NotInstalled(folder));
    }
    let remove =
        |folder: &Path| std::fs::remove_dir_all(folder).map_err(|source| Error::Write { path: folder.into(), source });
    remove(&folder)?;
    let extension = place.extension()?;
    // Other kernels of ours need it still. That of an earlier version is not there.
    if in_folder(&place.kernels()?).is_empty() && extension.exists() {
        remove(&extension)?;
    }
    Ok(folder)
}

/// All kernels of ours that are installed, under whatever name.
pub fn list() -> Vec<Installed> {
    let others = jupyter_zmq_client::data_dirs().into_iter().map(|data| data.join("kernels"));
    let places = [Place::User, Place::SysPrefix].into_iter().filter_map(|place| place.kernels().ok()).chain(others);
    let mut found: Vec<Installed> = Vec::new();
    for kernel in places.flat_map(|kernels| in_folder(&kernels)) {
        if !found.contains(&kernel) {
            found.push(kernel);
        }
    }
    found
}

/// The kernels of ours in a folder `kernels`, by their names.
fn in_folder(kernels: &Path) -> Vec<Installed> {
    let entries = std::fs::read_dir(kernels).into_iter().flatten().flatten();
    let mut found: Vec<_> = entries.filter_map(|entry| installed(&entry.path())).collect();
    found.sort_by(|one, other| one.folder.cmp(&other.folder));
    found
}

/// What is installed in a folder, if it is ours.
fn installed(folder: &Path) -> Option<Installed> {
    let spec: Value = serde_json::from_slice(&std::fs::read(folder.join("kernel.json")).ok()?).ok()?;
    let words: Vec<_> = spec["argv"].as_array()?.iter().filter_map(Value::as_str).collect();
    let program = words.strip_suffix(&START)?.join(" ");
    let display_name = spec["display_name"].as_str().unwrap_or_default().to_string();
    Some(Installed { folder: folder.to_path_buf(), display_name, program })
}

/// The specification of a kernel that `executable kernel start` runs.
fn spec(kernel: &Kernel, executable: &Path) -> Value {
    // The tests know that it can be read.
    let mut spec: Value = serde_json::from_slice(SPEC).unwrap_or_default();
    if let Some(command) = spec["argv"].as_array_mut() {
        command.splice(..PACKAGE, [executable.to_string_lossy().into()]);
    }
    let other_name = Some(&kernel.name).filter(|name| *name != NAME);
    if let Some(name) = kernel.display_name.as_ref().or(other_name) {
        spec["display_name"] = name.as_str().into();
    }
    if !kernel.env.is_empty() {
        spec["env"] = kernel.env.iter().map(|(key, value)| (key.clone(), Value::from(value.as_str()))).collect();
    }
    spec
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
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_installed_can_be_uninstalled() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::Prefix(folder.path().to_path_buf());
        let path = install(&place, &Kernel::default(), Path::new("/opt/tune book")).unwrap();
        assert_eq!(path, folder.path().join("share/jupyter/kernels/tunebook"));
        let spec = read(&path);
        let command = ["/opt/tune book", "kernel", "start", "--connection-file", "{connection_file}"];
        assert_eq!(spec["argv"], json!(command));
        assert_eq!(spec["language"], crate::info::LANGUAGE);
        assert_eq!(spec["interrupt_mode"], "message");
        assert_eq!((&spec["display_name"], &spec["env"]), (&json!("tunebook"), &Value::Null));
        let logo = image::load_from_memory(&std::fs::read(path.join("logo-64x64.png")).unwrap()).unwrap();
        assert_eq!((logo.width(), logo.height()), (64, 64));
        let package = folder.path().join("share/jupyter/labextensions/tunebook/package.json");
        let package: Value = serde_json::from_slice(&std::fs::read(package).unwrap()).unwrap();
        assert_eq!(package["version"], env!("CARGO_PKG_VERSION"));
        uninstall(&place, NAME).unwrap();
        let left = ["kernels", "labextensions"].map(|name| folder.path().join("share/jupyter").join(name));
        assert!(left.iter().all(|folder| folder.read_dir().unwrap().next().is_none()));
        assert!(matches!(uninstall(&place, NAME), Err(Error::NotInstalled(_))));
    }

    #[test]
    fn kernels_have_names_and_an_environment_of_their_own() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::Prefix(folder.path().to_path_buf());
        let pair = |key: &str, value: &str| (key.to_string(), value.to_string());
        let env = vec![pair("HF_HOME", "/data/hf"), pair("A", "x=y z")];
        let kernel = |name: &str| Kernel { name: name.to_string(), ..Kernel::default() };
        let one = Kernel { display_name: Some("tunebook (GPU 1)".to_string()), env, ..kernel("Tune-1.b_c") };
        let path = install(&place, &one, Path::new("/opt/tunebook")).unwrap();
        assert_eq!(path.file_name().unwrap(), "tune-1.b_c");
        let spec = read(&path);
        assert_eq!(spec["display_name"], "tunebook (GPU 1)");
        assert_eq!(spec["env"], json!({"HF_HOME": "/data/hf", "A": "x=y z"}));
        let second = install(&place, &kernel("second"), Path::new("/opt/tunebook")).unwrap();
        assert_eq!(read(&second)["display_name"], "second");
        // Another's is not ours.
        let python = folder.path().join("share/jupyter/kernels/python3");
        std::fs::create_dir(&python).unwrap();
        std::fs::write(python.join("kernel.json"), r#"{"argv": ["python", "-m", "ipykernel_launcher"]}"#).unwrap();
        assert!(matches!(install(&place, &kernel("python3"), Path::new("x")), Err(Error::AnotherKernel(_))));
        assert!(matches!(uninstall(&place, "python3"), Err(Error::NotInstalled(_))));
        let found = in_folder(&place.kernels().unwrap());
        assert_eq!(
            found.iter().map(|found| found.display_name.as_str()).collect::<Vec<_>>(),
            ["second", "tunebook (GPU 1)"]
        );
        assert_eq!((&found[1].folder, found[1].program.as_str()), (&path, "/opt/tunebook"));
        // The colours stay as long as there is one.
        let extension = place.extension().unwrap();
        uninstall(&place, "TUNE-1.b_c").unwrap();
        assert!(extension.exists());
        uninstall(&place, "second").unwrap();
        assert!(!extension.exists() && python.exists());
        for name in ["", ".", "..", "a/b", "a b", "é", "a\n"] {
            assert!(matches!(install(&place, &kernel(name), Path::new("x")), Err(Error::KernelName(_))), "{name}");
            assert!(matches!(uninstall(&place, name), Err(Error::KernelName(_))), "{name}");
        }
    }

    #[test]
    fn the_package_runs_its_module() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("kernel.json"), SPEC).unwrap();
        assert_eq!(installed(folder.path()).unwrap().program, "python3 -m tunebook");
    }

    fn read(folder: &Path) -> Value {
        serde_json::from_slice(&std::fs::read(folder.join("kernel.json")).unwrap()).unwrap()
    }
}
