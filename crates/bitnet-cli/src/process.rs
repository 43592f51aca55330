//! Runs `bitnet` in a child process, so that peak memory is that of one run.

use std::error::Error;
use std::fmt;
use std::io::Read;
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, bail};
use serde::de::DeserializeOwned;

use crate::args::DeviceArgs;
use crate::interrupt;

/// Exit code of a training whose loss is no number any more; what was done is on stdout.
pub const DIVERGED: u8 = 3;

/// A child that ended by a signal.
#[derive(Debug)]
pub struct Killed(String);

impl fmt::Display for Killed {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "the process of {} was killed (out of memory?)", self.0)
    }
}

impl Error for Killed {}

/// The children that run.
static CHILDREN: Mutex<Vec<u32>> = Mutex::new(Vec::new());

/// The command that starts this program again. Settings travel in the config file, not in the environment.
pub fn child(device: &DeviceArgs, threads: usize) -> anyhow::Result<Command> {
    let mut command =
        Command::new(std::env::current_exe().context("the path of this binary is unknown")?);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("BITNET_") {
            command.env_remove(name);
        }
    }
    command
        .env(CHILD, "1")
        .env("BITNET_BACKEND", device.backend.name())
        .env("BITNET_DEVICE", device.device.to_string())
        .env("BITNET_THREADS", threads.to_string());
    Ok(command)
}

/// Tells a child that its stdin is open as long as its parent lives.
const CHILD: &str = "BITNET_CHILD";

/// In a child: watches for the end of the parent, which may be killed without a word, and then saves and ends as for a
/// signal.
pub fn end_with_parent() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    std::thread::spawn(|| {
        let mut byte = [0];
        while std::io::stdin().read(&mut byte).is_ok_and(|read| read > 0) {}
        interrupt::request();
    });
}

/// Runs a child and reads its JSON answer; its progress goes to our stderr. `None` if it was interrupted.
pub fn answer<T: DeserializeOwned>(mut command: Command, name: &str) -> anyhow::Result<Option<T>> {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit());
    let output =
        run(&mut command).with_context(|| format!("the process of {name} does not start"))?;
    match output.status.code() {
        Some(0) => {}
        Some(code) if code == i32::from(DIVERGED) => {}
        Some(130) => return Ok(None),
        // Told to end before it listened for that.
        _ if interrupt::requested() => return Ok(None),
        Some(code) => bail!("{name} failed with exit code {code}; its message is above"),
        None => return Err(Killed(name.to_owned()).into()),
    }
    let answer = serde_json::from_slice(&output.stdout)
        .with_context(|| format!("the answer of {name} is not understood"))?;
    Ok(Some(answer))
}

/// Runs a child to its end; meanwhile it can be interrupted from here.
fn run(command: &mut Command) -> std::io::Result<Output> {
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(command, 0);
    let mut child = {
        // Under the lock, so that no signal falls between the start and the list.
        let mut children = children();
        let child = command.spawn()?;
        children.push(child.id());
        child
    };
    let id = child.id();
    if interrupt::requested() {
        interrupt_children();
    }
    // `wait_with_output` would close it.
    let stdin = child.stdin.take();
    let output = child.wait_with_output();
    drop(stdin);
    children().retain(|known| *known != id);
    output
}

/// Asks every child to save and end.
pub fn interrupt_children() {
    #[cfg(unix)]
    for id in children().iter() {
        use nix::sys::signal::{Signal, kill};
        let id = nix::unistd::Pid::from_raw(*id as i32);
        // One that has just ended needs no signal.
        let _ = kill(id, Signal::SIGTERM);
    }
}

fn children() -> std::sync::MutexGuard<'static, Vec<u32>> {
    CHILDREN.lock().unwrap_or_else(PoisonError::into_inner)
}
