//! What happens to a training when the world around it fails: kills and signals at random moments, a full disk, a folder
//! that cannot be written, data that is gone, an error stream that nobody reads. Whatever it was, the run goes on to the
//! same bytes as one that was left alone.
//!
//! `FAULTS=40 cargo test --profile quick --workspace --test faults -- --ignored` does so many kills and half as many
//! signals.
#![cfg(unix)]

mod common;

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{DEBUG, Place, Ran, untimed};

/// A run whose checkpoints, evaluations and lines of the log fall on different steps.
const SETTINGS: [&str; 5] = [
    "train.checkpoint_interval=17",
    "train.eval_interval=40",
    "train.log_interval=7",
    "train.eval_batches=1",
    "train.schedule=constant",
];
const STEPS: usize = 200;

/// The arguments of a training of so many steps; a run with a checkpoint goes on.
fn training(place: &Place, dir: &str, steps: usize) -> Vec<String> {
    let mut args = vec![
        "train".to_owned(),
        DEBUG.into(),
        "--run-dir".into(),
        dir.into(),
    ];
    for set in SETTINGS {
        args.extend(["--set".into(), set.into()]);
    }
    args.extend(["--set".into(), format!("train.steps={steps}"), "-q".into()]);
    if !checkpoints(place, dir).is_empty() {
        args.extend(["--resume".into(), "auto".into()]);
    }
    args
}

fn command(place: &Place, dir: &str, steps: usize) -> Command {
    let args = training(place, dir, steps);
    place.command(&args.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Names of the checkpoints of a run.
fn checkpoints(place: &Place, dir: &str) -> Vec<String> {
    let entries = fs::read_dir(place.path(dir).join("checkpoints"));
    let entries = entries.into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .map(|entry| entry.file_name().into_string().unwrap())
        .filter(|name| name.starts_with("step-"))
        .collect();
    names.sort();
    names
}

/// Trains to the end.
#[track_caller]
fn finish(place: &Place, dir: &str, steps: usize) {
    Ran::from(command(place, dir, steps).output().unwrap()).ok();
}

/// What a finished run leaves, without times: weights, moments, the exported model and the metrics.
#[track_caller]
fn outcome(place: &Place, dir: &str) -> (Vec<Vec<u8>>, Vec<serde_json::Value>) {
    let newest = checkpoints(place, dir).pop().unwrap();
    let checkpoint = place.path(dir).join("checkpoints").join(newest);
    let files = [
        checkpoint.join("model.bpk"),
        checkpoint.join("optimizer.bpk"),
        place.path(dir).join("packed.bpk"),
    ];
    let metrics = fs::read_to_string(place.path(dir).join("metrics.jsonl")).unwrap();
    (
        files.map(|path| fs::read(path).unwrap()).into(),
        untimed(&metrics),
    )
}

#[track_caller]
fn assert_same(place: &Place, dir: &str, whole: &str, what: &str) {
    let (found, expected) = (outcome(place, dir), outcome(place, whole));
    for (index, name) in ["model.bpk", "optimizer.bpk", "packed.bpk"]
        .iter()
        .enumerate()
    {
        assert!(
            found.0[index] == expected.0[index],
            "{what}: another {name}"
        );
    }
    assert_eq!(found.1, expected.1, "{what}");
}

/// Numbers from 0 to 1 that are the same every time.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> f64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) as f64 / (1u64 << 31) as f64
    }
}

/// Trains with a signal after a random part of `whole`, again and again until `signals` were sent or the run has ended;
/// how many were.
fn disturb(
    place: &Place,
    dir: &str,
    steps: usize,
    signal: &str,
    signals: usize,
    whole: Duration,
    rng: &mut Rng,
) -> usize {
    for sent in 0..signals {
        let mut child = command(place, dir, steps)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        std::thread::sleep(whole.mul_f64(rng.next()));
        if let Some(status) = child.try_wait().unwrap() {
            assert_eq!(status.code(), Some(0), "{:?}", child.wait_with_output());
            return sent;
        }
        send(child.id(), signal);
        let ran = child.wait_with_output().unwrap();
        let stderr = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert!(
            !stderr.contains("error") && !stderr.contains("panicked"),
            "{stderr}"
        );
        if signal != "KILL" {
            // 0 where it had just ended, none where it did not listen yet.
            assert!(matches!(ran.status.code(), Some(0 | 130) | None), "{ran:?}");
        }
        // What is there can be used.
        if !checkpoints(place, dir).is_empty() {
            place.run(&["eval", dir]).ok();
        }
    }
    signals
}

fn send(process: u32, signal: &str) {
    // One that has just ended takes none.
    let _ = Command::new("kill")
        .args([&format!("-{signal}"), &process.to_string()])
        .stderr(Stdio::null())
        .status();
}

/// Runs that are disturbed, and then extended and disturbed again, end as one that was left alone.
fn disturbed_runs_end_alike(kills: usize, signals: usize) {
    let place = Place::new();
    let begun = Instant::now();
    finish(&place, "whole", STEPS);
    let whole = begun.elapsed();
    finish(&place, "longer", STEPS);
    finish(&place, "longer", STEPS + 60);
    let mut rng = Rng(fs::metadata(place.path("whole")).unwrap().len() ^ 0x9e37_79b9);
    for (signal, count) in [
        ("KILL", kills),
        ("TERM", signals),
        ("INT", signals),
        ("HUP", signals),
    ] {
        let mut left = count;
        let mut runs = 0;
        while left > 0 {
            let dir = format!("{signal}-{runs}");
            runs += 1;
            // At most a third of them on one run: later ones come nearer to its end.
            let some = left.min(count.div_ceil(3));
            let sent = disturb(&place, &dir, STEPS, signal, some, whole, &mut rng);
            finish(&place, &dir, STEPS);
            assert_same(&place, &dir, "whole", &dir);
            left -= sent.max(1).min(left);
            if left == 0 {
                break;
            }
            left -= disturb(&place, &dir, STEPS + 60, signal, 1, whole, &mut rng);
            finish(&place, &dir, STEPS + 60);
            assert_same(&place, &dir, "longer", &format!("{dir}, extended"));
        }
    }
}

#[test]
fn kills_and_signals_lose_nothing() {
    disturbed_runs_end_alike(4, 2);
}

#[test]
#[ignore = "minutes; FAULTS is the number of kills"]
fn many_kills_and_signals_lose_nothing() {
    let count = std::env::var("FAULTS")
        .ok()
        .and_then(|count| count.parse().ok());
    let kills: usize = count.unwrap_or(40);
    disturbed_runs_end_alike(kills, kills / 2);
}

/// With nothing logged, evaluated or saved on the way, a signal falls between everything.
#[test]
fn a_signal_before_the_first_line_is_no_loss() {
    let place = Place::new();
    let sets = ["log", "eval", "checkpoint"].map(|what| format!("train.{what}_interval=0"));
    let args = |dir: &str, resume: bool| {
        let mut args = vec![
            "train",
            DEBUG,
            "--run-dir",
            dir,
            "-q",
            "--set",
            "train.steps=1000",
        ];
        args.extend(sets.iter().flat_map(|set| ["--set", set]));
        if resume {
            args.extend(["--resume", "auto"]);
        }
        place.command(&args)
    };
    // A hangup that the environment ignores, as under nohup, stays ignored: nothing to see then.
    let signals: Vec<&str> = match hangup_is_ignored() {
        true => {
            eprintln!("SKIPPED: SIGHUP is ignored here");
            vec!["TERM", "INT"]
        }
        false => vec!["TERM", "HUP", "INT"],
    };
    for &signal in &signals {
        let child = args(signal, false).stderr(Stdio::piped()).spawn().unwrap();
        let metrics = place.path(signal).join("metrics.jsonl");
        wait_for(|| metrics.exists());
        std::thread::sleep(Duration::from_millis(100));
        send(child.id(), signal);
        let ran = Ran::from(child.wait_with_output().unwrap());
        assert_eq!(ran.code, Some(130), "{ran:#?}");
        assert_eq!(checkpoints(&place, signal).len(), 1);
        Ran::from(args(signal, true).output().unwrap()).ok();
    }
    Ran::from(args("whole", false).output().unwrap()).ok();
    for &signal in &signals {
        assert_same(&place, signal, "whole", signal);
    }
}

/// Whether this process, and with it what it starts, ignores SIGHUP, signal 1.
fn hangup_is_ignored() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask & 1 == 1)
}

#[track_caller]
fn wait_for(happens: impl Fn() -> bool) {
    let begun = Instant::now();
    while !happens() {
        assert!(
            begun.elapsed() < Duration::from_secs(120),
            "it does not happen"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// `nohup` has SIGHUP ignored, so that a training outlives its terminal.
#[test]
fn an_ignored_hangup_stays_ignored() {
    let place = Place::new();
    let args = training(&place, "run", 1000);
    let binary = env!("CARGO_BIN_EXE_bitnet");
    let mut shell = Command::new("sh");
    shell
        .args(["-c", "trap '' HUP; exec \"$@\"", "sh", binary])
        .args(&args);
    let child = shell.current_dir(place.path("")).spawn().unwrap();
    wait_for(|| checkpoints(&place, "run").len() == 2);
    send(child.id(), "HUP");
    let ran = Ran::from(child.wait_with_output().unwrap());
    ran.ok();
    assert_eq!(checkpoints(&place, "run").pop().unwrap(), "step-00001000");
}

#[test]
fn nobody_has_to_read_what_is_said() {
    let place = Place::new();
    let loud = |dir: &str| {
        let mut command = command(&place, dir, 40);
        // All that is said is said.
        let args: Vec<_> = command.get_args().map(|arg| arg.to_owned()).collect();
        command = place.command(&[]);
        command.args(args.into_iter().filter(|arg| arg != "-q"));
        command
    };
    let full = fs::File::options().write(true).open("/dev/full");
    let (reader, closed) = std::io::pipe().unwrap();
    drop(reader);
    let closed = Stdio::from(closed);
    let streams = [
        ("closed", Some(closed)),
        ("full", full.ok().map(Stdio::from)),
    ];
    for (dir, stream) in streams {
        let Some(stream) = stream else {
            let _ = writeln!(std::io::stderr(), "SKIPPED: no /dev/full here");
            continue;
        };
        let output = loud(dir).stderr(stream).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{dir}");
        assert_eq!(checkpoints(&place, dir).pop().unwrap(), "step-00000040");
    }
}

/// Every write beyond so many bytes of a file fails, as on a disk that is full there.
#[test]
fn a_write_that_fails_costs_at_most_the_newest_checkpoint() {
    let place = Place::new();
    finish(&place, "whole", STEPS);
    let model = place.path("whole/checkpoints/step-00000200/optimizer.bpk");
    let most = fs::metadata(model).unwrap().len();
    let limits = [1, 2, 3, 8, 20, 60, 100, 150, 200, most / 512];
    let mut failed = 0;
    for (index, blocks) in limits.into_iter().enumerate() {
        let dir = format!("full-{index}");
        // Every other one has a checkpoint already.
        if index % 2 == 1 {
            finish(&place, &dir, 100);
        }
        let args = training(&place, &dir, STEPS);
        let mut shell = Command::new("sh");
        let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$@\"");
        shell
            .args(["-c", &script, "sh", env!("CARGO_BIN_EXE_bitnet")])
            .args(&args);
        let ran = Ran::from(shell.current_dir(place.path("")).output().unwrap());
        assert!(!ran.stderr.contains("panicked"), "{ran:#?}");
        if ran.code != Some(0) {
            failed += 1;
            assert_eq!(ran.code, Some(2), "{ran:#?}");
            assert!(
                ran.stderr.contains("cannot") && ran.stderr.contains(&dir),
                "{ran:#?}"
            );
            let left = place.snapshot();
            let torn: Vec<_> = left
                .keys()
                .filter(|path| path.to_string_lossy().contains("partial"))
                .collect();
            assert!(torn.is_empty(), "{torn:?}");
        }
        if index % 2 == 1 {
            assert!(
                checkpoints(&place, &dir).len() >= 2,
                "{blocks}: a checkpoint was lost"
            );
        }
        finish(&place, &dir, STEPS);
        if index % 2 == 0 {
            assert_same(&place, &dir, "whole", &format!("{blocks} blocks"));
        }
    }
    assert!(failed >= 7, "only {failed} failed");
}

/// A file system of its own, where this process may mount one.
struct Mount<'a>(&'a Path);

impl Mount<'_> {
    fn options(&self, options: &str) -> bool {
        let mut mount = Command::new("mount");
        mount
            .args(["-t", "tmpfs", "-o", options, "tmpfs"])
            .arg(self.0);
        mount
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    }
}

impl Drop for Mount<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount")
            .arg("-l")
            .arg(self.0)
            .stderr(Stdio::null())
            .status();
    }
}

#[test]
fn a_full_disk_and_a_read_only_one_are_said_and_lose_nothing() {
    let place = Place::new();
    fs::create_dir(place.path("disk")).unwrap();
    let folder = place.path("disk");
    let disk = Mount(&folder);
    if !disk.options("size=40k") {
        let _ = writeln!(
            std::io::stderr(),
            "SKIPPED: no file system can be mounted here"
        );
        return;
    }
    finish(&place, "whole", STEPS);
    let run = "disk/run";
    // Each time a little more fits, and each time something else does not.
    for size in [40, 100, 200, 300, 380, 460, 540, 620, 700, 780] {
        assert!(disk.options(&format!("remount,size={size}k")));
        let before = checkpoints(&place, run).len();
        let ran = Ran::from(command(&place, run, STEPS).output().unwrap());
        assert!(!ran.stderr.contains("panicked"), "{ran:#?}");
        assert!(matches!(ran.code, Some(0 | 2)), "{ran:#?}");
        if ran.code == Some(2) {
            assert!(ran.stderr.contains("No space left"), "{size} k: {ran:#?}");
        }
        assert!(checkpoints(&place, run).len() >= before.min(1), "{size} k");
    }
    assert!(disk.options("remount,size=10m"));
    finish(&place, run, STEPS);
    assert_same(&place, run, "whole", "after a full disk");
    assert!(disk.options("remount,ro,size=10m"));
    for (dir, steps) in [(run, STEPS + 10), ("disk/new", STEPS)] {
        let ran = Ran::from(command(&place, dir, steps).output().unwrap());
        assert_eq!(ran.code, Some(2), "{ran:#?}");
        assert!(ran.stderr.contains("Read-only"), "{ran:#?}");
    }
    place.run(&["eval", run]).ok();
    assert_same(&place, run, "whole", "on a read-only disk");
}

#[test]
fn data_that_is_gone_is_named_and_the_run_waits_for_it() {
    let place = Place::new();
    let text = "the cat sat on the mat, and the dog did not. ".repeat(200);
    let args = |dir: &str| {
        let mut args = training(&place, dir, 60);
        for set in ["data.kind=text", "data.path=a.txt"] {
            args.extend(["--set".to_owned(), set.to_owned()]);
        }
        place.command(&args.iter().map(String::as_str).collect::<Vec<_>>())
    };
    place.write("a.txt", &text);
    Ran::from(args("whole").output().unwrap()).ok();
    Ran::from(
        args("run")
            .args(["--set", "train.steps=20"])
            .output()
            .unwrap(),
    )
    .ok();
    fs::remove_file(place.path("a.txt")).unwrap();
    place.command_fails(&mut args("run"), &["a.txt", "check the path"]);
    // Other words of the same letters.
    place.write("a.txt", text.replace("cat sat", "sat cat"));
    place.command_fails(
        &mut args("run"),
        &["the data is not what it was trained on", "restore it"],
    );
    place.write("a.txt", &text);
    Ran::from(args("run").output().unwrap()).ok();
    let weights = |dir: &str| outcome(&place, dir).0;
    assert!(weights("run") == weights("whole"));
}
