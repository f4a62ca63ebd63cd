//! The dozen functions of MPI that are called, for handles of either type.

use std::ffi::c_char;
use std::ffi::c_int;
use std::ffi::c_void;

use libloading::Library;

use crate::abi::Constants;
use crate::abi::text;
use crate::error::CallError;

/// All ranks together. Each of them calls the same of these functions, with as many values.
pub(crate) trait World {
    /// This process's place, and how many there are.
    fn rank_and_size(&self) -> Result<(usize, usize), CallError>;

    /// Rank 0's values, to all. At most `i32::MAX` of them, as below.
    fn broadcast(&self, values: &mut [f32]) -> Result<(), CallError>;

    /// The sums over all ranks, which rank 0 gets; elsewhere the values stay.
    fn reduce(&self, values: &mut [f32], rank: usize) -> Result<(), CallError>;

    /// All ranks' values one after the other, which rank 0 gets; elsewhere `all` may be empty.
    fn gather(&self, values: &[f32], all: &mut [f32]) -> Result<(), CallError>;

    /// The end. No other function is called after it.
    fn finalize(&self) -> Result<(), CallError>;
}

/// The functions of one library, with handles of type `H`.
pub(crate) struct Calls<H> {
    constants: Constants<H>,
    init_thread: unsafe extern "C" fn(*mut c_int, *mut *mut *mut c_char, c_int, *mut c_int) -> c_int,
    set_errhandler: unsafe extern "C" fn(H, H) -> c_int,
    rank: unsafe extern "C" fn(H, *mut c_int) -> c_int,
    size: unsafe extern "C" fn(H, *mut c_int) -> c_int,
    broadcast: unsafe extern "C" fn(*mut c_void, c_int, H, c_int, H) -> c_int,
    reduce: unsafe extern "C" fn(*const c_void, *mut c_void, c_int, H, H, c_int, H) -> c_int,
    gather: unsafe extern "C" fn(*const c_void, c_int, H, *mut c_void, c_int, H, c_int, H) -> c_int,
    error_string: unsafe extern "C" fn(c_int, *mut c_char, *mut c_int) -> c_int,
    finalize: unsafe extern "C" fn() -> c_int,
}

impl<H: Copy> Calls<H> {
    /// Those of `library`, which stays in memory. The error is the name of a function that it lacks.
    ///
    /// # Safety
    /// `library` is one of MPI, and `constants` are those of its interface.
    pub(crate) unsafe fn of(library: &'static Library, constants: Constants<H>) -> Result<Self, &'static str> {
        /// # Safety
        /// If there is such a function, it is of type `F`.
        unsafe fn function<F: Copy>(library: &'static Library, name: &'static str) -> Result<F, &'static str> {
            // SAFETY: as the caller says.
            unsafe { library.get::<F>(name) }.map(|found| *found).map_err(|_| name)
        }
        // SAFETY: these are the types that the standard gives these functions, and `H` is the library's type of handles.
        unsafe {
            Ok(Self {
                constants,
                init_thread: function(library, "MPI_Init_thread")?,
                set_errhandler: function(library, "MPI_Comm_set_errhandler")?,
                rank: function(library, "MPI_Comm_rank")?,
                size: function(library, "MPI_Comm_size")?,
                broadcast: function(library, "MPI_Bcast")?,
                reduce: function(library, "MPI_Reduce")?,
                gather: function(library, "MPI_Gather")?,
                error_string: function(library, "MPI_Error_string")?,
                finalize: function(library, "MPI_Finalize")?,
            })
        }
    }

    /// Joins the other ranks, on the thread that makes all further calls. From now on a function that fails returns instead
    /// of ending the process, as far as the implementation can.
    pub(crate) fn init(&self) -> Result<(), CallError> {
        let mut granted = -1;
        // SAFETY: both pointers to arguments may be null. Less than the asked-for level is granted by a library that does not
        // know threads; it then is used as it wants to be, since only this thread calls it.
        let code = unsafe {
            (self.init_thread)(std::ptr::null_mut(), std::ptr::null_mut(), self.constants.funneled, &raw mut granted)
        };
        self.checked("MPI_Init_thread", code)?;
        // SAFETY: MPI is initialized.
        let code = unsafe { (self.set_errhandler)(self.constants.world, self.constants.errors_return) };
        self.checked("MPI_Comm_set_errhandler", code)
    }

    fn checked(&self, call: &'static str, code: c_int) -> Result<(), CallError> {
        if code == 0 {
            return Ok(());
        }
        // 1024 is the longest of all interfaces.
        let text = text(1024, |buffer, length| {
            // SAFETY: it may be called at any time, and fits.
            unsafe { (self.error_string)(code, buffer, length) };
        });
        Err(CallError { call, code, text: text.split_whitespace().collect::<Vec<_>>().join(" ") })
    }
}

impl<H: Copy> World for Calls<H> {
    fn rank_and_size(&self) -> Result<(usize, usize), CallError> {
        let (mut rank, mut size) = (0, 0);
        // SAFETY: MPI is initialized; each writes an integer.
        self.checked("MPI_Comm_rank", unsafe { (self.rank)(self.constants.world, &raw mut rank) })?;
        // SAFETY: as above.
        self.checked("MPI_Comm_size", unsafe { (self.size)(self.constants.world, &raw mut size) })?;
        Ok((rank.unsigned_abs() as usize, size.unsigned_abs() as usize))
    }

    fn broadcast(&self, values: &mut [f32]) -> Result<(), CallError> {
        let Constants { world, float, .. } = self.constants;
        // SAFETY: so many values are read or written, at rank 0 or elsewhere.
        let code = unsafe { (self.broadcast)(values.as_mut_ptr().cast(), count(values), float, 0, world) };
        self.checked("MPI_Bcast", code)
    }

    fn reduce(&self, values: &mut [f32], rank: usize) -> Result<(), CallError> {
        let Constants { world, float, sum, in_place, .. } = self.constants;
        let (number, values) = (count(values), values.as_mut_ptr().cast::<c_void>());
        let (from, to) = if rank == 0 { (in_place, values) } else { (values.cast_const(), std::ptr::null_mut()) };
        // SAFETY: so many values are read, and written at rank 0, the only one at which `to` counts.
        self.checked("MPI_Reduce", unsafe { (self.reduce)(from, to, number, float, sum, 0, world) })
    }

    fn gather(&self, values: &[f32], all: &mut [f32]) -> Result<(), CallError> {
        let Constants { world, float, .. } = self.constants;
        let (from, to) = (values.as_ptr().cast(), all.as_mut_ptr().cast());
        let number = count(values);
        // SAFETY: `to` counts at rank 0 only, where it has room for so many values of each rank.
        self.checked("MPI_Gather", unsafe { (self.gather)(from, number, float, to, number, float, 0, world) })
    }

    fn finalize(&self) -> Result<(), CallError> {
        // SAFETY: MPI is initialized.
        self.checked("MPI_Finalize", unsafe { (self.finalize)() })
    }
}

/// How many values, as MPI counts.
fn count(values: &[f32]) -> c_int {
    c_int::try_from(values.len()).expect("buffers are cut into pieces")
}
