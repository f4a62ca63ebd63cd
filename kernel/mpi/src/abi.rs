//! The binary interfaces of MPI. Functions have the same names in all of them; what differs is what a communicator, a type or
//! an operation is, and the values of constants.

use std::ffi::CStr;
use std::ffi::c_char;
use std::ffi::c_int;
use std::ffi::c_void;

use libloading::Library;

/// A handle that is a pointer.
pub(crate) type Pointer = *mut c_void;

/// A binary interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Abi {
    /// That of MPI 5: handles are pointers of fixed values.
    Standard,
    /// That of Open MPI: handles are addresses of the library's own objects.
    OpenMpi,
    /// That which MPICH, Intel MPI and MVAPICH have in common: handles are integers.
    Mpich,
}

impl Abi {
    /// Which one `library` has. Its file's name does not tell: MPICH's own interface and the standard one come as libraries
    /// of many names. Both of MPICH 5 have `MPI_Abi_get_version` too, but only one says that it has the standard ABI.
    ///
    /// # Safety
    /// `library` is a library of MPI, if it has functions with the names of MPI's.
    pub(crate) unsafe fn of(library: &Library, version: &str) -> Option<Self> {
        type Version = unsafe extern "C" fn(*mut c_int, *mut c_int) -> c_int;
        let (mut major, mut minor) = (-1, -1);
        // SAFETY: the caller says that a function of this name is MPI's.
        if let Ok(get_version) = unsafe { library.get::<Version>("MPI_Abi_get_version") } {
            // SAFETY: it may be called before MPI is initialized, and writes two integers.
            let code = unsafe { get_version(&raw mut major, &raw mut minor) };
            if code == 0 && major == 1 {
                return Some(Self::Standard);
            }
        }
        // SAFETY: only its address is asked for.
        if unsafe { library.get::<Pointer>("ompi_mpi_comm_world") }.is_ok() {
            return Some(Self::OpenMpi);
        }
        ["MPICH", "Intel(R) MPI", "MVAPICH"].iter().any(|name| version.contains(name)).then_some(Self::Mpich)
    }
}

/// The first line of what `MPI_Get_library_version` says; empty if there is no such function.
///
/// # Safety
/// As [`Abi::of`].
pub(crate) unsafe fn version(library: &Library) -> String {
    type Version = unsafe extern "C" fn(*mut c_char, *mut c_int) -> c_int;
    // SAFETY: the caller says that a function of this name is MPI's.
    let Ok(get_version) = (unsafe { library.get::<Version>("MPI_Get_library_version") }) else { return String::new() };
    // 8192 is the longest of all interfaces.
    let text = text(8192, |buffer, length| {
        // SAFETY: it may be called before MPI is initialized, and fits.
        unsafe { get_version(buffer, length) };
    });
    text.lines().next().unwrap_or_default().trim().to_owned()
}

/// What `write` writes into a buffer of so many bytes, as MPI gives texts back: with a zero at its end.
pub(crate) fn text(longest: usize, write: impl FnOnce(*mut c_char, *mut c_int)) -> String {
    let mut buffer = vec![0_u8; longest + 1];
    let mut length = 0;
    write(buffer.as_mut_ptr().cast(), &raw mut length);
    CStr::from_bytes_until_nul(&buffer).map(|text| text.to_string_lossy().into_owned()).unwrap_or_default()
}

/// The values of an interface whose handles are of type `H`.
#[derive(Clone, Copy)]
pub(crate) struct Constants<H> {
    /// `MPI_COMM_WORLD`
    pub(crate) world: H,
    /// `MPI_FLOAT`
    pub(crate) float: H,
    /// `MPI_SUM`
    pub(crate) sum: H,
    /// `MPI_ERRORS_RETURN`
    pub(crate) errors_return: H,
    /// `MPI_IN_PLACE`
    pub(crate) in_place: *const c_void,
    /// `MPI_THREAD_FUNNELED`
    pub(crate) funneled: c_int,
}

impl Constants<Pointer> {
    pub(crate) fn standard() -> Self {
        let handle = std::ptr::without_provenance_mut;
        Self {
            world: handle(0x101),
            float: handle(0x210),
            sum: handle(0x21),
            errors_return: handle(0x143),
            in_place: handle(1),
            funneled: 1024,
        }
    }

    /// The error is the name of an object that the library lacks.
    pub(crate) fn open_mpi(library: &'static Library) -> Result<Self, &'static str> {
        let address = |name: &'static str| {
            // SAFETY: only their addresses are asked for, and the library stays in memory.
            unsafe { library.get::<Pointer>(name).ok().and_then(|found| found.try_as_raw_ptr()) }.ok_or(name)
        };
        Ok(Self {
            world: address("ompi_mpi_comm_world")?,
            float: address("ompi_mpi_float")?,
            sum: address("ompi_mpi_op_sum")?,
            errors_return: address("ompi_mpi_errors_return")?,
            in_place: std::ptr::without_provenance(1),
            funneled: 1,
        })
    }
}

impl Constants<c_int> {
    pub(crate) fn mpich() -> Self {
        Self {
            world: 0x4400_0000,
            float: 0x4c00_040a,
            sum: 0x5800_0003,
            errors_return: 0x5400_0001,
            in_place: std::ptr::without_provenance(usize::MAX),
            funneled: 1,
        }
    }
}
