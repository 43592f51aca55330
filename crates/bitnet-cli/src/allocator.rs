//! How the system's allocator treats the tensors of a training step.
//!
//! A step makes and drops the same hundreds of tensors as the one before. By default glibc maps each large one anew and
//! gives it back at once, so that every step touches fresh pages that the system has to clear: a twentieth of the time of
//! a 10 M model. Kept, they cost a few percent more memory.

/// Keeps freed memory in the process. Elsewhere than on Linux with glibc, nothing.
pub fn keep_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        /// The largest threshold that glibc takes on 64-bit systems.
        const MAPPED_FROM: i32 = 32 << 20;
        const KEPT: i32 = 1 << 30;
        // SAFETY: `mallopt` sets parameters of the allocator and touches no memory of ours; no other thread runs yet. What
        // it answers is of no consequence: without it, allocation is slower.
        unsafe {
            libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED_FROM);
            libc::mallopt(libc::M_TRIM_THRESHOLD, KEPT);
        }
    }
}

/// Forgets the memory that reading the data took: what is free goes back to the system, and the peak is counted from here
/// on, so that it is that of the training. Elsewhere than on Linux with glibc, and where the system forbids it, nothing.
pub fn forget_peak() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        // SAFETY: `malloc_trim` gives free pages back under the allocator's own locks; whether it did is of no consequence.
        unsafe {
            libc::malloc_trim(0);
        }
        // 5 sets the peak resident size to the current one (proc_pid_clear_refs(5)).
        let _ = std::fs::write("/proc/self/clear_refs", "5");
    }
}
