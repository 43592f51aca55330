//! In which order the files of a run reach the disk, as `strace` sees it: nothing has its name before it is there, and
//! nothing older goes before that.
#![cfg(target_os = "linux")]

mod common;

use std::process::Command;

use common::{DEBUG, Place};

/// System calls in their order.
struct Trace(Vec<String>);

impl Trace {
    /// The first call from number `from` on that has all of these in it, one after the other.
    #[track_caller]
    fn after(&self, from: usize, parts: &[&str]) -> usize {
        let is_meant = |call: &String| {
            let rest = parts.iter().try_fold(call.as_str(), |rest, part| {
                rest.split_once(part).map(|(_, rest)| rest)
            });
            rest.is_some()
        };
        let found = self.0[from..].iter().position(is_meant);
        let Some(found) = found else {
            panic!("no {parts:?} from call {from} on in {:#?}", self.0)
        };
        from + found
    }

    /// A file is written beside its place, synced, renamed, and then its folder is synced.
    #[track_caller]
    fn file(&self, from: usize, folder: &str, name: &str) -> usize {
        let written = self.after(from, &["fsync(", &format!("{folder}/"), name, ".tmp>"]);
        let named = self.after(
            written,
            &["rename", ".tmp\"", &format!("{folder}/{name}\"")],
        );
        self.after(named, &["fsync(", &format!("{folder}>")])
    }
}

#[test]
fn nothing_has_its_name_before_it_is_on_the_disk() {
    let place = Place::new();
    let mut strace = Command::new("strace");
    let calls =
        "trace=fsync,fdatasync,mkdir,mkdirat,rename,renameat,renameat2,unlink,unlinkat,rmdir";
    strace.args([
        "-f",
        "-y",
        "-qq",
        "-e",
        calls,
        "-o",
        "trace",
        env!("CARGO_BIN_EXE_bitnet"),
    ]);
    strace.args(["train", DEBUG, "--run-dir", "run", "-q"]);
    for set in [
        "steps=16",
        "checkpoint_interval=8",
        "keep_checkpoints=1",
        "eval_interval=0",
    ] {
        strace.args(["--set", &format!("train.{set}")]);
    }
    let traced = strace.current_dir(place.path("")).output();
    if !traced.is_ok_and(|traced| traced.status.success()) {
        eprintln!("SKIPPED: no process can be traced here");
        return;
    }
    let trace = Trace(place.read("trace").lines().map(str::to_owned).collect());
    for file in [
        "tokenizer.json",
        "config.toml",
        "summary.json",
        "packed.bpk",
    ] {
        trace.file(0, "run", file);
    }
    let made = trace.after(0, &["mkdir", "run/checkpoints\""]);
    let parent = place.path("").canonicalize().unwrap();
    let parent = format!("{}>", parent.display());
    let parent = trace.after(made, &["fsync(", &parent]);
    let mut from = trace.after(parent, &["fsync(", "/run>"]);
    for step in ["step-00000008", "step-00000016"] {
        let partial = format!("checkpoints/partial-{step}");
        let files = ["model.bpk", "optimizer.bpk", "state.json"];
        let whole = files.map(|file| trace.file(from, &partial, file));
        let metrics = trace.after(from, &["fsync(", "metrics.jsonl>"]);
        let named = trace.after(
            from,
            &[
                "rename",
                &format!("{partial}\""),
                &format!("checkpoints/{step}\""),
            ],
        );
        let last = whole.into_iter().max().unwrap().max(metrics);
        assert!(last < named, "{last}, {named}: {:#?}", trace.0);
        from = trace.after(named, &["fsync(", "/checkpoints>"]);
    }
    let removed = trace.after(0, &["unlink", "step-00000008"]);
    assert!(from < removed, "{from}, {removed}: {:#?}", trace.0);
}
