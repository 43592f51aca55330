//! This binary again, as a child: a run of its own has a peak memory of its own.

use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use serde::de::DeserializeOwned;

use crate::args::DeviceArgs;

/// This binary again. The settings travel in the config file, not in the environment.
pub fn child(device: &DeviceArgs, threads: usize) -> anyhow::Result<Command> {
    let mut command =
        Command::new(std::env::current_exe().context("the path of this binary is unknown")?);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("BITNET_") {
            command.env_remove(name);
        }
    }
    command
        .env("BITNET_BACKEND", device.backend.name())
        .env("BITNET_DEVICE", device.device.to_string())
        .env("BITNET_THREADS", threads.to_string());
    Ok(command)
}

/// Runs a child and reads its JSON answer; its progress goes to our stderr. `None` if it was interrupted.
pub fn answer<T: DeserializeOwned>(mut command: Command, name: &str) -> anyhow::Result<Option<T>> {
    let output = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("the process of {name} does not start"))?;
    match output.status.code() {
        Some(0) => {}
        Some(130) => return Ok(None),
        Some(code) => bail!("{name} failed with exit code {code}; its message is above"),
        None => bail!("the process of {name} was killed (out of memory?)"),
    }
    let answer = serde_json::from_slice(&output.stdout)
        .with_context(|| format!("the answer of {name} is not understood"))?;
    Ok(Some(answer))
}
