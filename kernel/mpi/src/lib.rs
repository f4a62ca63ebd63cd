//! MPI without building against it: one program works with any implementation, or with none. [`Launcher`] starts a program
//! as so many ranks, and each of these opens with [`Mpi`] the library that belongs to what started it. This crate knows
//! buffers of f32 and no tensors.
//!
//! A rank that waits inside MPI keeps a core busy, in every implementation. Whoever has to wait for long waits elsewhere, and
//! calls these functions when all ranks are about to.

mod abi;
mod calls;
mod error;
mod hosts;
mod launch;
mod launcher;
mod mpi;
mod nccl;
mod search;

pub use error::CallError;
pub use error::OpenError;
pub use hosts::Host;
pub use hosts::Hosts;
pub use hosts::HostsError;
pub use hosts::LineError;
pub use launch::Launch;
pub use launch::LaunchError;
pub use launcher::FindError;
pub use launcher::Kind;
pub use launcher::Launcher;
pub use mpi::Mpi;
pub use nccl::Nccl;
pub use nccl::NcclError;
pub use nccl::NcclId;
pub use nccl::NcclLibrary;
