//! How glibc hands out memory.

/// Lets freed memory be used again at once. By default, glibc maps blocks over 32 MiB afresh each time, and gives back
/// to the system what other threads than the first have freed, so that the buffers of each layer, gone and needed
/// again, are cleared and mapped page by page by the kernel: 3 % of a training step. Of what is free at the end of the
/// heap, more than a gigabyte is given back still, as when a model is unloaded.
pub fn reuse_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        // SAFETY: `mallopt` sets a parameter of the allocator; no thread runs yet that might allocate beside it.
        unsafe {
            libc::mallopt(libc::M_ARENA_MAX, 1);
            libc::mallopt(libc::M_MMAP_THRESHOLD, i32::MAX);
            libc::mallopt(libc::M_TRIM_THRESHOLD, 1 << 30);
        }
    }
}
