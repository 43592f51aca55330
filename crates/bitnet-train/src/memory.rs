//! Peak memory of this process.

/// Peak resident set size in bytes, as Linux counts it (`VmHWM`); `None` on other systems. Memory of a discrete GPU is
/// not part of it.
pub fn peak_rss_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
}
