//! Two processes and one folder.
#![cfg(unix)]

mod common;

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{DEBUG, Place, Ran};

#[test]
fn a_second_process_keeps_out() {
    let place = Place::new();
    place.train("run", &[]);
    let resume = |steps: &'static str| {
        let args = [
            "train",
            DEBUG,
            "--run-dir",
            "run",
            "--resume",
            "auto",
            "-q",
            "--set",
            steps,
        ];
        place.command(&args)
    };
    let mut first = resume("train.steps=1000000")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    while !place.path("run/checkpoints/step-00000060").exists() {
        assert!(
            begun.elapsed() < Duration::from_secs(120),
            "it does not begin"
        );
        std::thread::sleep(Duration::from_millis(1));
    }
    for steps in ["train.steps=2000000", "train.steps=100"] {
        let ran = Ran::from(resume(steps).output().unwrap());
        assert_eq!(ran.code, Some(2), "{ran:#?}");
        assert!(ran.stderr.contains("run is in use"), "{ran:#?}");
    }
    assert!(first.try_wait().unwrap().is_none(), "the first goes on");
    let told = Command::new("kill")
        .args(["-TERM", &first.id().to_string()])
        .status();
    assert!(told.unwrap().success());
    assert_eq!(first.wait().unwrap().code(), Some(130));
    // Many at once get a folder each.
    let many: Vec<_> = (0..8)
        .map(|_| {
            let args = ["train", DEBUG, "-q", "--set", "train.steps=2"];
            place
                .command(&args)
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    for child in many {
        Ran::from(child.wait_with_output().unwrap()).ok();
    }
    assert_eq!(fs::read_dir(place.path("runs")).unwrap().count(), 8);
}
