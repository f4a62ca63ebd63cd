//! Where a library of MPI may lie. There may be several on a machine, and only the one that belongs to the launcher knows
//! of the other ranks. So those in folders beside the launcher come before those that the loader finds by name, and names
//! of the launcher's own family before others.

use std::ffi::OsStr;
use std::path::Path;
use std::path::PathBuf;

/// The libraries' names, most specific first: of the standard ABI of MPI 5, of Open MPI, and of MPICH's ABI, to which Intel
/// MPI and MVAPICH keep too. The name without a version is that of a version to come.
#[cfg(target_os = "macos")]
const NAMES: Names = Names {
    standard: &["libmpi_abi.1.dylib", "libmpi_abi.0.dylib"],
    open_mpi: &["libmpi.40.dylib"],
    mpich: &["libmpi.12.dylib", "libmpich.12.dylib"],
    any: &["libmpi.dylib"],
};
#[cfg(not(target_os = "macos"))]
const NAMES: Names = Names {
    standard: &["libmpi_abi.so.1", "libmpi_abi.so.0"],
    open_mpi: &["libmpi.so.40"],
    mpich: &["libmpi.so.12", "libmpich.so.12"],
    any: &["libmpi.so"],
};

struct Names {
    standard: &'static [&'static str],
    open_mpi: &'static [&'static str],
    mpich: &'static [&'static str],
    any: &'static [&'static str],
}

/// Which launcher started this process, as far as its environment shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StartedBy {
    OpenMpi,
    /// One that speaks PMI: Hydra, or Slurm.
    Pmi,
    /// None, or another one.
    Unknown,
}

impl StartedBy {
    /// `is_set` tells whether an environment variable is set.
    pub(crate) fn of(is_set: impl Fn(&str) -> bool) -> Self {
        match () {
            () if is_set("OMPI_COMM_WORLD_RANK") => Self::OpenMpi,
            () if is_set("PMI_RANK") => Self::Pmi,
            () if is_set("PMIX_RANK") => Self::OpenMpi,
            () => Self::Unknown,
        }
    }

    fn names(self) -> Vec<&'static str> {
        let order = match self {
            Self::OpenMpi => [NAMES.open_mpi, NAMES.standard, NAMES.mpich],
            Self::Pmi => [NAMES.standard, NAMES.mpich, NAMES.open_mpi],
            Self::Unknown => [NAMES.standard, NAMES.open_mpi, NAMES.mpich],
        };
        order.into_iter().flatten().chain(NAMES.any).copied().collect()
    }
}

/// What to try to open, in this order: files that are there, and then names for the loader. `beside` is the launcher, or the
/// folder that it lies in.
pub(crate) fn candidates(beside: Option<&Path>, started_by: StartedBy) -> Vec<PathBuf> {
    let names = started_by.names();
    let folders = beside.map(folders).unwrap_or_default();
    let files =
        folders.iter().flat_map(|folder| names.iter().map(|name| folder.join(name))).filter(|path| path.is_file());
    files.chain(names.iter().map(PathBuf::from)).collect()
}

/// The folders of libraries that belong to a program. An installation of its own, a virtual environment and one of conda
/// have `lib` beside `bin`; some systems say `lib64`, and Intel put the fast one of several libraries a level deeper until
/// 2021.10. A program may be a link into the real installation, which is looked at second.
fn folders(beside: &Path) -> Vec<PathBuf> {
    let real = beside.canonicalize().ok();
    let mut found = Vec::new();
    for place in [Some(beside), real.as_deref()].into_iter().flatten() {
        let folder = if place.is_dir() { Some(place) } else { place.parent() };
        let Some(above) = folder.and_then(Path::parent) else { continue };
        for name in ["lib", "lib64", "lib/release"] {
            let folder = above.join(name);
            if !found.contains(&folder) {
                found.push(folder);
            }
        }
    }
    found
}

/// Whether an environment variable is set to anything.
pub(crate) fn is_set(name: &str) -> bool {
    std::env::var_os(name).is_some_and(|value| value != OsStr::new(""))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn started_by(set: &[&str]) -> StartedBy {
        StartedBy::of(|name| set.contains(&name))
    }

    #[test]
    fn the_environment_says_who_started_this() {
        assert_eq!(started_by(&["PMIX_RANK", "OMPI_COMM_WORLD_RANK"]), StartedBy::OpenMpi);
        assert_eq!(started_by(&["PMIX_RANK"]), StartedBy::OpenMpi);
        assert_eq!(started_by(&["PMI_RANK", "PMI_FD"]), StartedBy::Pmi);
        assert_eq!(started_by(&["PATH"]), StartedBy::Unknown);
    }

    #[test]
    fn what_lies_beside_the_launcher_comes_first() {
        let place = tempfile::tempdir().unwrap();
        let root = place.path().canonicalize().unwrap();
        for folder in ["real/bin", "real/lib", "links"] {
            fs::create_dir_all(root.join(folder)).unwrap();
        }
        let launcher = root.join("real/bin/mpiexec");
        let library = root.join("real/lib").join(NAMES.mpich[0]);
        fs::write(&launcher, "").unwrap();
        fs::write(&library, "").unwrap();
        for beside in [launcher.as_path(), &root.join("real/bin")] {
            let found = candidates(Some(beside), StartedBy::Unknown);
            assert_eq!(found[0], library);
            assert_eq!(found[1], Path::new(NAMES.standard[0]));
        }
        #[cfg(unix)]
        {
            let link = root.join("links/mpiexec");
            std::os::unix::fs::symlink(&launcher, &link).unwrap();
            assert_eq!(candidates(Some(&link), StartedBy::OpenMpi)[0], library);
        }
    }

    #[test]
    fn the_launchers_own_family_comes_first() {
        let first = |by| candidates(None, by)[0].clone();
        assert_eq!(first(StartedBy::OpenMpi), Path::new(NAMES.open_mpi[0]));
        assert_eq!(first(StartedBy::Pmi), Path::new(NAMES.standard[0]));
    }
}
