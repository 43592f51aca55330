//! The computer a result was made on, and the day.

use bitnet_results::Machine;

use crate::setup;

/// The computer.
pub fn this() -> Machine {
    Machine {
        cpu: setup::cpu_model(),
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
