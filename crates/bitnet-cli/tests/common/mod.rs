//! What the tests share: running the binary in a folder of its own, and looking at what it left there.
#![allow(dead_code)] // Each test binary uses a part.

pub mod experiment;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

/// The smallest config.
pub const DEBUG: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../configs/train/debug.toml"
);

/// What a run of the binary gave.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    /// Ended with 0.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!(self.code, Some(0), "{self:#?}");
        self
    }

    /// Ended with 0 and one JSON document on stdout.
    #[track_caller]
    pub fn json(self) -> Value {
        let ran = self.ok();
        serde_json::from_str(&ran.stdout).unwrap_or_else(|e| panic!("no JSON ({e}): {ran:#?}"))
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).expect("stdout is UTF-8"),
            stderr: String::from_utf8(output.stderr).expect("stderr is UTF-8"),
        }
    }
}

/// An empty folder in which the binary runs.
pub struct Place(TempDir);

impl Place {
    pub fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.path(name), bytes).unwrap();
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    /// The binary with these arguments, none of our settings in its environment.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bitnet"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("BITNET_") {
                command.env_remove(name);
            }
        }
        command
            .args(args)
            .current_dir(self.0.path())
            // Drivers complain of that (see `quiet_drivers` in main.rs).
            .env_remove("XDG_RUNTIME_DIR")
            // Not the one of whoever runs the tests.
            .env(
                "BITNET_CACHE",
                concat!(env!("CARGO_TARGET_TMPDIR"), "/cache"),
            );
        command
    }

    pub fn run(&self, args: &[&str]) -> Ran {
        self.command(args).output().unwrap().into()
    }

    /// Trains the debug config into `dir`; the summary.
    #[track_caller]
    pub fn train(&self, dir: &str, more: &[&str]) -> Value {
        let args = ["train", DEBUG, "--run-dir", dir, "-q", "-o", "json"];
        self.run(&[&args, more].concat()).json()
    }

    /// Every folder (`None`) and file (its bytes) here.
    pub fn snapshot(&self) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
        let mut found = BTreeMap::new();
        let mut folders = vec![self.0.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path.clone());
                    found.insert(path, None);
                } else {
                    found.insert(path.clone(), Some(fs::read(&path).unwrap()));
                }
            }
        }
        found
    }

    /// Runs, and checks that nothing here was made or changed.
    #[track_caller]
    pub fn run_unchanged(&self, args: &[&str]) -> Ran {
        self.unchanged(&mut self.command(args))
    }

    /// The same for a prepared command.
    #[track_caller]
    pub fn unchanged(&self, command: &mut Command) -> Ran {
        let before = self.snapshot();
        let ran = Ran::from(command.output().unwrap());
        let after = self.snapshot();
        let touched: Vec<&Path> = after
            .iter()
            .filter(|(path, bytes)| before.get(*path) != Some(*bytes))
            .chain(before.iter().filter(|(path, _)| !after.contains_key(*path)))
            .map(|(path, _)| path.as_path())
            .collect();
        assert!(
            touched.is_empty(),
            "{command:?} touched {touched:#?}\n{ran:#?}"
        );
        ran
    }

    /// Runs what must fail: code 2, one `error:` line with all of `says`, nothing on stdout, nothing changed.
    #[track_caller]
    pub fn fails(&self, args: &[&str], says: &[&str]) {
        self.command_fails(&mut self.command(args), says);
    }

    /// The same for a prepared command.
    #[track_caller]
    pub fn command_fails(&self, command: &mut Command, says: &[&str]) {
        let ran = self.unchanged(command);
        assert_eq!(ran.code, Some(2), "{command:?}: {ran:#?}");
        assert_eq!(ran.stdout, "", "{command:?}: {ran:#?}");
        assert!(!ran.stderr.contains("panicked"), "{command:?}: {ran:#?}");
        let errors: Vec<&str> = ran
            .stderr
            .lines()
            .filter(|l| l.starts_with("error:"))
            .collect();
        let [error] = errors[..] else {
            panic!("{command:?}: not exactly one error line: {ran:#?}");
        };
        for part in says {
            assert!(
                error.contains(part),
                "{command:?}: `{part}` is not in: {error}"
            );
        }
    }
}

/// Whether `value` has all of `keys`.
#[track_caller]
pub fn has_keys(value: &Value, keys: &[&str]) {
    for key in keys {
        assert!(value.get(key).is_some(), "`{key}` is missing in {value:#}");
    }
}

/// A number of a JSON object.
#[track_caller]
pub fn number(value: &Value, key: &str) -> f64 {
    value[key]
        .as_f64()
        .unwrap_or_else(|| panic!("`{key}` is no number in {value:#}"))
}

/// The lines of a run's `metrics.jsonl`, without the times.
pub fn untimed(text: &str) -> Vec<Value> {
    let lines = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let untimed = lines.map(|mut line| {
        line.as_object_mut().unwrap().remove("seconds");
        line
    });
    untimed.collect()
}

/// `(kind, step, loss)` of every line of a run's `metrics.jsonl` that has a loss.
pub fn losses(text: &str) -> Vec<(String, u64, f64)> {
    text.lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|line| line.get("loss").is_some())
        .map(|line| {
            (
                line["kind"].as_str().unwrap().to_owned(),
                line["step"].as_u64().unwrap(),
                line["loss"].as_f64().unwrap(),
            )
        })
        .collect()
}
