//! The ranks' common world.

use std::path::Path;

use libloading::Library;

use crate::abi;
use crate::abi::Abi;
use crate::abi::Constants;
use crate::calls::Calls;
use crate::calls::World;
use crate::error::CallError;
use crate::error::OpenError;
use crate::search;
use crate::search::StartedBy;

/// As many values go in one message, 64 MiB: enough for the network to be busy, and little beside what trains, since an
/// implementation may hold copies of a message. It also keeps counts within an `int`.
const PIECE: usize = 1 << 24;

/// At most so many values of all ranks together are at rank 0 to be added in order, 64 MiB, and of a rank so many.
const GATHERED: usize = 1 << 24;
const GATHERED_OF_ONE: usize = 1 << 20;

/// MPI in this process, which is one of several ranks. All ranks call the same functions in the same order, with buffers of
/// the same length. It stays on the thread that opened it.
pub struct Mpi {
    /// Not to be sent elsewhere: only one thread may call MPI.
    world: Box<dyn World>,
    rank: usize,
    size: usize,
    version: String,
}

impl Mpi {
    /// Opens the library of MPI that belongs to the launcher and joins the other ranks, which is done once in a process.
    /// `beside` is the launcher, or the folder that it lies in, and `ranks` how many ranks it started.
    ///
    /// The library stays in memory: threads of its own may outlive its last call, and crash if it is unloaded.
    ///
    /// # Errors
    /// There is no such library; it is not usable; or it is not the one of the launcher.
    pub fn open(beside: Option<&Path>, ranks: usize) -> Result<Self, OpenError> {
        let (name, library) = load(beside)?;
        // SAFETY: `load` looks for MPI's libraries by MPI's names.
        let version = unsafe { abi::version(library) };
        let not_together = || OpenError::NotTogether { library: name.clone(), version: version.clone(), ranks };
        // SAFETY: as above.
        let abi = unsafe { Abi::of(library, &version) };
        let unknown = || OpenError::UnknownKind { library: name.clone(), version: version.clone() };
        let abi = abi.ok_or_else(unknown)?;
        // MPICH 5 ends the process when it meets Open MPI's launcher. Slurm may speak PMIx with either.
        if search::is_set("OMPI_COMM_WORLD_RANK") && abi != Abi::OpenMpi && !version.starts_with("Open MPI") {
            return Err(not_together());
        }
        // SAFETY: the library has this interface.
        let world = unsafe { start(library, abi, &name)? };
        let init = |error| OpenError::Init { library: name.clone(), error };
        let (rank, size) = world.rank_and_size().map_err(init)?;
        if size != ranks {
            // Of a launcher that it does not know, a library makes each process rank 0 of 1. What it says at its end is of no
            // interest.
            drop(world.finalize());
            return Err(not_together());
        }
        Ok(Self { world, rank, size, version })
    }

    /// Which of the ranks this process is, from 0.
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// How many ranks there are.
    pub fn size(&self) -> usize {
        self.size
    }

    /// The implementation's name and version, in a line.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Gives all ranks the values of rank 0.
    ///
    /// # Errors
    /// The implementation reports one. The values are then unspecified, as they are after an error of the functions below.
    pub fn broadcast(&self, values: &mut [f32]) -> Result<(), CallError> {
        values.chunks_mut(PIECE).try_for_each(|piece| self.world.broadcast(piece))
    }

    /// Adds up the values of all ranks, element by element, in an order that the implementation chooses. Rank 0 gets the
    /// sums; elsewhere the values are unspecified afterwards.
    ///
    /// # Errors
    /// The implementation reports one.
    pub fn sum(&self, values: &mut [f32]) -> Result<(), CallError> {
        values.chunks_mut(PIECE).try_for_each(|piece| self.world.reduce(piece, self.rank))
    }

    /// The same in the order of ranks, one f32 addition after the other: ((rank 0 + rank 1) + rank 2) + …, so that the bits
    /// are the same with every implementation and network. All values go to rank 0, where they take up to 64 MiB at a time.
    ///
    /// # Errors
    /// The implementation reports one.
    pub fn sum_in_order(&self, values: &mut [f32]) -> Result<(), CallError> {
        let piece = (GATHERED / self.size).clamp(1, GATHERED_OF_ONE).min(values.len().max(1));
        let mut all = vec![0.0; if self.rank == 0 { piece * self.size } else { 0 }];
        for values in values.chunks_mut(piece) {
            self.world.gather(values, &mut all)?;
            // All that is gathered begins with rank 0's own values, and elsewhere there is nothing.
            for other in all.chunks_exact(values.len()).take(self.size).skip(1) {
                values.iter_mut().zip(other).for_each(|(sum, value)| *sum += value);
            }
        }
        Ok(())
    }

    /// Leaves, once all ranks do. A process that ends without it looks to the launcher like one that failed.
    ///
    /// # Errors
    /// The implementation reports one.
    pub fn finalize(self) -> Result<(), CallError> {
        self.world.finalize()
    }
}

/// The first library that can be loaded, with its name. Its symbols are visible to the plugins that it loads.
fn load(beside: Option<&Path>) -> Result<(String, &'static Library), OpenError> {
    let mut refused = None;
    for path in search::candidates(beside, StartedBy::of(search::is_set)) {
        let name = path.display().to_string();
        match open(&path) {
            Ok(library) => return Ok((name, Box::leak(Box::new(library)))),
            // A loader that does not find what it was asked for names it; else it names what that needs.
            Err(error) if path.is_absolute() || !error.contains(&name) => {
                refused.get_or_insert(OpenError::CannotLoad { library: name, reason: error });
            }
            Err(_) => {}
        }
    }
    Err(refused.unwrap_or(OpenError::NotFound))
}

#[cfg(unix)]
fn open(path: &Path) -> Result<Library, String> {
    use libloading::os::unix;
    // SAFETY: what a library of MPI runs when it is loaded is as trustworthy as what its launcher runs.
    unsafe { unix::Library::open(Some(path), unix::RTLD_NOW | unix::RTLD_GLOBAL) }.map(Library::from).map_err(reason)
}

#[cfg(not(unix))]
fn open(path: &Path) -> Result<Library, String> {
    // SAFETY: what a library of MPI runs when it is loaded is as trustworthy as what its launcher runs.
    unsafe { Library::new(path) }.map_err(reason)
}

/// What the loader itself said.
fn reason(error: libloading::Error) -> String {
    std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string)
}

/// Finds the functions of the library, and joins the other ranks.
///
/// # Safety
/// The library is one of MPI, with this interface.
unsafe fn start(library: &'static Library, abi: Abi, name: &str) -> Result<Box<dyn World>, OpenError> {
    /// # Safety
    /// The library is one of MPI, and these are the constants of its interface.
    unsafe fn join<H: Copy + 'static>(
        library: &'static Library,
        constants: Constants<H>,
        name: &str,
    ) -> Result<Box<dyn World>, OpenError> {
        // SAFETY: as the caller says.
        let calls = unsafe { Calls::of(library, constants) }
            .map_err(|function| OpenError::Incomplete { library: name.to_owned(), function })?;
        calls.init().map_err(|error| OpenError::Init { library: name.to_owned(), error })?;
        Ok(Box::new(calls))
    }
    // SAFETY: as the caller says, and each interface with its own constants.
    unsafe {
        match abi {
            Abi::Standard => join(library, Constants::standard(), name),
            Abi::Mpich => join(library, Constants::mpich(), name),
            Abi::OpenMpi => {
                let incomplete = |function| OpenError::Incomplete { library: name.to_owned(), function };
                join(library, Constants::open_mpi(library).map_err(incomplete)?, name)
            }
        }
    }
}
