//! `bitnet experiment run --executor slurm` on a real Slurm of two nodes, both on this machine.
#![cfg(target_os = "linux")]

mod common;

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::Place;
use serde_json::Value;
use tempfile::TempDir;

const RUN: &str = r#"
task = "layer"

[model]
input_size = 64
num_labels = 32

[data]
examples = 600
validation_examples = 100
test_examples = 100

[train]
steps = 30000
batch_size = 50
eval_interval = 5000
checkpoint_interval = 1000
"#;

const EXPERIMENT: &str = r#"
title = "A test"
question = "Does it run elsewhere?"
config = "run.toml"
seeds = [0, 1]
learning_rates = [1e-3, 1e-2]

[executor]
retries = 2

[[variants]]
name = "float"
set = ["model.linear=float"]

[[variants]]
name = "ternary"
set = ["model.linear=ternary"]
"#;

const ARGS: [&str; 9] = [
    "experiment",
    "run",
    "all/one",
    "--threads",
    "1",
    "-o",
    "json",
    "--executor",
    "slurm",
];

fn place() -> Place {
    let place = Place::new();
    fs::create_dir_all(place.path("all/one")).unwrap();
    place.write("all/one/run.toml", RUN);
    place.write("all/one/experiment.toml", EXPERIMENT);
    place
}

/// Slurm's programs with a folder, a key and ports of their own. They end with it.
struct Cluster {
    folder: TempDir,
    daemons: Vec<Child>,
}

impl Cluster {
    /// None where Slurm is not installed, which is said.
    fn start() -> Option<Self> {
        let programs = ["munged", "slurmctld", "slurmd", "sbatch", "srun"];
        let missing = programs.iter().find(|program| which(program).is_none());
        if let Some(missing) = missing {
            assert!(
                std::env::var_os("CI").is_none(),
                "{missing} is not installed: slurmctld, slurmd, slurm-client and munge are Debian's packages"
            );
            println!("SKIPPED: {missing} is not installed");
            return None;
        }
        let mut cluster = Self {
            folder: TempDir::new().unwrap(),
            daemons: Vec::new(),
        };
        let path = |name: &str| cluster.folder.path().join(name).display().to_string();
        fs::create_dir(path("state")).unwrap();
        let user = user();
        let host = output_of(Command::new("hostname").arg("-s"));
        let ports = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let [controller, first, second] = ports.map(|port| port.local_addr().unwrap().port());
        let (folder, socket) = (
            cluster.folder.path().display().to_string(),
            path("munge.socket"),
        );
        fs::write(
            path("slurm.conf"),
            format!(
                "ClusterName=test\nSlurmctldHost={host}(127.0.0.1)\nSlurmctldPort={controller}\nSlurmUser={user}\n\
                 SlurmdUser={user}\nAuthType=auth/munge\nAuthInfo=socket={socket}\nStateSaveLocation={folder}/state\n\
                 SlurmdSpoolDir={folder}/spool-%n\nSlurmdPidFile={folder}/slurmd-%n.pid\n\
                 SlurmctldPidFile={folder}/slurmctld.pid\nSlurmdLogFile={folder}/slurmd-%n.log\n\
                 SlurmctldLogFile={folder}/slurmctld.log\nProctrackType=proctrack/linuxproc\nTaskPlugin=task/none\n\
                 SelectType=select/cons_tres\nSelectTypeParameters=CR_CPU\nSchedulerParameters=sched_interval=1,sched_min_interval=0,batch_sched_delay=0,bf_interval=1\n\
                 ReturnToService=2\nSlurmdParameters=config_overrides\nKillWait=5\nMpiDefault=none\n\
                 NodeName=node1 NodeHostname={host} NodeAddr=127.0.0.1 Port={first} CPUs=1\n\
                 NodeName=node2 NodeHostname={host} NodeAddr=127.0.0.1 Port={second} CPUs=1\n\
                 PartitionName=all Nodes=node1,node2 Default=YES MaxTime=INFINITE State=UP\n"
            ),
        )
        .unwrap();
        let key = path("munge.key");
        fs::write(&key, [7; 128]).unwrap();
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        fs::set_permissions(&key, private).unwrap();
        let munge = [
            "--foreground".to_owned(),
            "--force".to_owned(),
            format!("--socket={socket}"),
            format!("--key-file={key}"),
            format!("--pid-file={folder}/munge.pid"),
            format!("--log-file={folder}/munge.log"),
            format!("--seed-file={folder}/munge.seed"),
        ];
        let munge: Vec<&str> = munge.iter().map(String::as_str).collect();
        cluster.daemon("munged", &munge);
        wait("munge does not start", || Path::new(&socket).exists());
        cluster.daemon("slurmctld", &["-D", "-c"]);
        cluster.daemon("slurmd", &["-D", "-N", "node1"]);
        cluster.daemon("slurmd", &["-D", "-N", "node2"]);
        wait("the nodes do not come up", || {
            cluster.ask("sinfo", &["-h", "-o", "%T:%D"]) == "idle:2"
        });
        Some(cluster)
    }

    fn daemon(&mut self, program: &str, args: &[&str]) {
        let mut command = Command::new(which(program).unwrap());
        command
            .args(args)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let daemon = self.with_config(&mut command).spawn().unwrap();
        self.daemons.push(daemon);
    }

    fn with_config<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.env("SLURM_CONF", self.folder.path().join("slurm.conf"))
    }

    /// What one of Slurm's commands says; nothing where it fails.
    fn ask(&self, program: &str, args: &[&str]) -> String {
        output_of(self.with_config(Command::new(program).args(args)))
    }

    fn set_node(&self, node: &str, state: &str) {
        let (node, state) = (format!("NodeName={node}"), format!("State={state}"));
        self.ask("scontrol", &["update", &node, &state, "Reason=test"]);
    }

    /// The tasks that run: `12_3`, and on which node.
    fn running(&self) -> Vec<(String, String)> {
        let list = self.ask("squeue", &["-h", "-t", "RUNNING", "-o", "%F_%K %N"]);
        let lines = list.lines().filter_map(|line| line.split_once(' '));
        lines
            .map(|(task, node)| (task.to_owned(), node.to_owned()))
            .collect()
    }

    /// Starts the experiment; what it says goes to a file.
    fn run(&self, place: &Place, says: &str) -> Child {
        let says = fs::File::create(place.path(says)).unwrap();
        let mut command = place.command(&ARGS);
        command.stdout(Stdio::piped()).stderr(says);
        self.with_config(&mut command).spawn().unwrap()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let user = format!("--user={}", user());
        self.ask(
            "scancel",
            &["--full", "--signal=KILL", "--state=RUNNING", &user],
        );
        // The controller last: it started after munge, which all need.
        for daemon in self.daemons.iter_mut().rev() {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }
}

fn which(program: &str) -> Option<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default();
    // Where users do not look.
    let folders = path.split(':').chain(["/usr/sbin", "/sbin"]);
    folders
        .map(|folder| Path::new(folder).join(program))
        .find(|path| path.is_file())
}

fn user() -> String {
    output_of(Command::new("id").arg("-un"))
}

fn output_of(command: &mut Command) -> String {
    let output = command.stderr(Stdio::null()).output().unwrap();
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[track_caller]
fn wait(otherwise: &str, mut until: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !until() {
        assert!(begun.elapsed() < Duration::from_secs(180), "{otherwise}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Runs with a checkpoint and no result.
fn in_the_middle(place: &Place) -> usize {
    let entries = |path: PathBuf| fs::read_dir(path).into_iter().flatten().flatten();
    let runs = ["float", "ternary"]
        .into_iter()
        .flat_map(|variant| entries(place.path(&format!("runs/experiments/one/{variant}"))));
    let begun = runs.filter(|run| {
        !run.path().join("result.json").exists()
            && entries(run.path().join("checkpoints")).next().is_some()
    });
    begun.count()
}

/// The processes that do a task in a place.
fn tasks(place: &Place) -> Vec<String> {
    let here = fs::canonicalize(place.path("")).unwrap();
    let all = fs::read_dir("/proc").unwrap().flatten();
    let ids = all.filter_map(|entry| entry.file_name().into_string().ok());
    let found = ids.filter(|id| {
        let line = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).into_owned();
        line.starts_with(env!("CARGO_BIN_EXE_bitnet"))
            && line.contains("\0task\0")
            && fs::read_link(format!("/proc/{id}/cwd")).is_ok_and(|folder| folder == here)
    });
    found.collect()
}

/// What a summary says beside times, memory, where it ran, and what was measured to be the fastest way to multiply there.
fn without_times(value: &mut Value) {
    const OF_THE_MACHINE: [&str; 10] = [
        "seconds",
        "teacher_seconds",
        "tokens_per_second",
        "peak_rss_bytes",
        "inference_peak_rss_bytes",
        "energy_joules",
        "latency_ms",
        "engine",
        "speed",
        "x",
    ];
    match value {
        Value::Object(fields) => {
            fields.retain(|key, _| !OF_THE_MACHINE.contains(&key.as_str()));
            fields.values_mut().for_each(without_times);
        }
        Value::Array(values) => values.iter_mut().for_each(without_times),
        _ => {}
    }
}

#[test]
fn a_sweep_ends_complete_whatever_happens_to_nodes_and_jobs() {
    let Some(cluster) = Cluster::start() else {
        return;
    };
    let place = place();
    let kill = |signal: &str, process: &str| {
        Command::new("kill")
            .args([signal, process])
            .stderr(Stdio::null())
            .status()
            .unwrap();
    };
    // The command is killed, and the next one finds its job.
    let mut first = cluster.run(&place, "first.txt");
    wait("nothing runs", || in_the_middle(&place) > 0);
    first.kill().unwrap();
    first.wait().unwrap();
    let child = cluster.run(&place, "says.txt");
    wait("the job is not found", || {
        place.read("says.txt").contains("was submitted before")
    });
    // A node is drained: what runs there ends, and nothing begins.
    cluster.set_node("node1", "DRAIN");
    // A run is told to end, another one is killed; both had saved.
    wait("nothing runs", || {
        in_the_middle(&place) > 0 && !cluster.running().is_empty()
    });
    let (task, _) = &cluster.running()[0];
    cluster.ask("scancel", &["--signal=TERM", task]);
    wait("it does not end", || {
        !cluster.running().iter().any(|(other, _)| other == task)
    });
    let mut killed = Vec::new();
    wait("nothing is left to kill", || {
        killed = cluster.running();
        let tasks = tasks(&place);
        tasks.iter().for_each(|id| kill("-KILL", id));
        !tasks.is_empty()
    });
    wait("they do not end", || {
        !cluster.running().iter().any(|one| killed.contains(one))
    });
    cluster.set_node("node1", "RESUME");
    // A node is lost.
    wait("nothing runs on the second node", || {
        in_the_middle(&place) > 0 && cluster.running().iter().any(|(_, node)| node == "node2")
    });
    cluster.set_node("node2", "DOWN");
    std::thread::sleep(Duration::from_millis(500));
    cluster.set_node("node2", "RESUME");

    let ran = common::Ran::from(child.wait_with_output().unwrap());
    let says = place.read("says.txt");
    assert_eq!(ran.code, Some(0), "{ran:#?}\n{says}");
    println!("{says}");
    for part in [
        "told to save and end",
        "killed by signal 9",
        "its node failed",
        "goes on from step",
        "timing 2 models",
    ] {
        assert!(says.contains(part), "`{part}`: {says}");
    }
    let mut summary: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert!(summary["machine"]["cores"].is_number(), "{summary:#}");
    assert!(
        !place
            .path("runs/experiments/one/slurm/submitted.json")
            .exists()
    );
    assert!(place.read("all/one/report.md").contains("--executor slurm"));

    // The same here, to the digit.
    let local = [&ARGS[..7], &["--jobs", "2", "--run-dir", "local"]].concat();
    let mut local = place.run(&local).json();
    for summary in [&mut summary, &mut local] {
        without_times(summary);
    }
    assert_eq!(summary["variants"], local["variants"]);
    assert_eq!(summary["config"], local["config"]);
    assert_eq!(summary["data"], local["data"]);
}

#[test]
fn a_run_that_fails_by_itself_is_not_tried_again() {
    let Some(cluster) = Cluster::start() else {
        return;
    };
    let place = place();
    let failing = "[executor]\nsetup = [\"echo error: no module of that name >&2; exit 3\"]";
    place.write(
        "all/one/experiment.toml",
        EXPERIMENT.replace("[executor]", failing),
    );
    let ran = common::Ran::from(
        cluster
            .with_config(&mut place.command(&ARGS))
            .output()
            .unwrap(),
    );
    assert_eq!(ran.code, Some(2), "{ran:#?}");
    for part in [
        "error: float/lr-1e-3-seed-0",
        "exit code 3",
        "no module of that name",
        ".log",
    ] {
        assert!(ran.stderr.contains(part), "`{part}`: {ran:#?}");
    }
    assert!(
        !place
            .path("runs/experiments/one/slurm/submitted.json")
            .exists()
    );
    // What Slurm does not take.
    let wrong = EXPERIMENT.replace("retries = 2", "partition = \"gone\"");
    place.write("all/one/experiment.toml", wrong);
    let ran = common::Ran::from(
        cluster
            .with_config(&mut place.command(&ARGS))
            .output()
            .unwrap(),
    );
    assert_eq!(ran.code, Some(2), "{ran:#?}");
    assert!(ran.stderr.contains("invalid partition"), "{ran:#?}");
}
