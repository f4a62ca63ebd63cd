//! NCCL, which sums among GPUs, opened at run time as MPI is. MPI brings the ranks together; NCCL then needs nothing of it.

use std::ffi::CStr;
use std::ffi::c_char;
use std::ffi::c_int;
use std::ffi::c_void;

use libloading::Library;
use thiserror::Error;

/// A function of NCCL did not succeed.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{call}: {text}")]
pub struct NcclError {
    /// The function's name.
    pub call: &'static str,
    /// What `ncclGetErrorString` says of it.
    pub text: String,
}

/// What the ranks find each other by: rank 0 makes one and gives it to the others.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct NcclId(pub [u8; 128]);

/// As `ncclDataType_t` and `ncclRedOp_t` have them.
const FLOAT32: c_int = 7;
const SUM: c_int = 0;

type Comm = *mut c_void;

/// The library.
#[derive(Clone, Copy)]
pub struct NcclLibrary(&'static Library);

impl NcclLibrary {
    /// Opens `libnccl.so.2`; none where there is none. It stays in memory.
    pub fn open() -> Option<Self> {
        // SAFETY: opening NCCL's library runs its initializers, and nothing else.
        let open = |name| unsafe { Library::new(name) }.ok();
        let library = ["libnccl.so.2", "libnccl.so"].into_iter().find_map(open)?;
        Some(Self(Box::leak(Box::new(library))))
    }

    /// Makes what ranks find each other by.
    ///
    /// # Errors
    /// NCCL finds no network.
    pub fn new_id(self) -> Result<NcclId, NcclError> {
        type GetUniqueId = unsafe extern "C" fn(*mut NcclId) -> c_int;
        const CALL: &str = "ncclGetUniqueId";
        let mut id = NcclId([0; 128]);
        // SAFETY: the function of this name has this type, and writes 128 bytes.
        let code = unsafe { self.function::<GetUniqueId>(CALL)?(&raw mut id) };
        self.check(CALL, code)?;
        Ok(id)
    }

    /// Joins `ranks` ranks as the one of this number, on this thread's device. All ranks do so at once.
    ///
    /// # Errors
    /// NCCL reports one.
    pub fn join(self, rank: usize, ranks: usize, id: NcclId) -> Result<Nccl, NcclError> {
        type CommInitRank = unsafe extern "C" fn(*mut Comm, c_int, NcclId, c_int) -> c_int;
        const CALL: &str = "ncclCommInitRank";
        let mut comm = std::ptr::null_mut();
        // SAFETY: the function of this name has this type, and writes a pointer.
        let code = unsafe { self.function::<CommInitRank>(CALL)?(&raw mut comm, ranks as c_int, id, rank as c_int) };
        self.check(CALL, code)?;
        Ok(Nccl { library: self, comm })
    }

    /// A function of the library.
    ///
    /// # Safety
    /// It has this type.
    unsafe fn function<T: Copy>(self, name: &'static str) -> Result<T, NcclError> {
        // SAFETY: the caller says so.
        let function = unsafe { self.0.get::<T>(name) };
        function.map(|function| *function).map_err(|error| NcclError { call: name, text: error.to_string() })
    }

    fn check(self, call: &'static str, code: c_int) -> Result<(), NcclError> {
        type GetErrorString = unsafe extern "C" fn(c_int) -> *const c_char;
        if code == 0 {
            return Ok(());
        }
        // SAFETY: the function of this name has this type, and gives a constant text.
        let text = unsafe {
            let text = self.function::<GetErrorString>("ncclGetErrorString")?(code);
            if text.is_null() { String::new() } else { CStr::from_ptr(text).to_string_lossy().into_owned() }
        };
        Err(NcclError { call, text })
    }
}

/// This process as one of several ranks with a GPU each.
pub struct Nccl {
    library: NcclLibrary,
    comm: Comm,
}

impl Nccl {
    /// Adds up `count` f32 of all ranks, element by element, at rank 0; elsewhere they stay as they are. All ranks call it.
    ///
    /// # Errors
    /// NCCL reports one.
    ///
    /// # Safety
    /// `values` is the address of so many f32 on the device with which this rank has joined, which nobody else uses until
    /// `stream`, a stream of CUDA's on it, has done all that was given to it.
    pub unsafe fn sum(&self, values: u64, count: usize, stream: *mut c_void) -> Result<(), NcclError> {
        type Reduce = unsafe extern "C" fn(u64, u64, usize, c_int, c_int, c_int, Comm, *mut c_void) -> c_int;
        const CALL: &str = "ncclReduce";
        // SAFETY: the function of this name has this type; the caller says that the values are there.
        let code = unsafe {
            self.library.function::<Reduce>(CALL)?(values, values, count, FLOAT32, SUM, 0, self.comm, stream)
        };
        self.library.check(CALL, code)
    }
}

impl Drop for Nccl {
    fn drop(&mut self) {
        type CommAbort = unsafe extern "C" fn(Comm) -> c_int;
        // SAFETY: the function of this name has this type, and the communicator is not used any more.
        if let Ok(abort) = unsafe { self.library.function::<CommAbort>("ncclCommAbort") } {
            // SAFETY: as above.
            unsafe { abort(self.comm) };
        }
    }
}
