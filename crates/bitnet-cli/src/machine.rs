//! The computer a result was made on, and the day.

use bitnet_results::Machine;

/// The computer.
pub fn this() -> Machine {
    Machine {
        cpu: cpu(),
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        os: std::env::consts::OS.to_owned(),
        kernel: std::fs::read_to_string("/proc/sys/kernel/osrelease")
            .map(|release| release.trim().to_owned())
            .unwrap_or_default(),
    }
}

/// Today's date in UTC, as `2026-01-31`.
pub fn today() -> String {
    time::OffsetDateTime::now_utc().date().to_string()
}

/// The processor's name, as far as the system tells.
pub fn cpu() -> String {
    std::fs::read_to_string("/proc/cpuinfo")
        .ok()
        .and_then(|text| {
            let line = text.lines().find(|line| line.starts_with("model name"))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        })
        .unwrap_or_else(|| std::env::consts::ARCH.to_owned())
}
