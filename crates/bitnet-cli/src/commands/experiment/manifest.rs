//! `bitnet experiment manifest DIR`: what is missing as an indexed job of Kubernetes, whose pods do one part each.
//!
//! The parts are those of `Work`, in a file among the runs; a pod finds its own by the index that Kubernetes gives it. What
//! comes after them depends on their results, so the command is given again when the job is done, until it says that nothing
//! is missing.

use std::path::Path;

use anyhow::{Context, bail};
use bitnet_config::ExecutorConfig;
use bitnet_experiment::Work;
use serde_json::{Value, json};

use super::Chosen;
use crate::args::{DeviceArgs, WhichArgs};
use crate::commands::Outcome;
use crate::output;

pub fn run(args: &WhichArgs) -> anyhow::Result<Outcome> {
    let chosen = Chosen::load(args)?;
    chosen.first_jobs(args)?;
    let settings = &chosen.plan.config.executor;
    let (Some(image), Some(volume)) = (&settings.image, &settings.volume) else {
        bail!(
            "executor.image and executor.volume in experiment.toml name the container with the program and the claim of \
             the volume that holds this folder; give both"
        );
    };
    let Some(work) = chosen.plan.next()? else {
        bail!(
            "nothing is missing: `bitnet experiment run {}` writes the report",
            args.experiment.display()
        );
    };
    let here = std::env::current_dir().context("the current folder")?;
    let pods = Pods {
        settings,
        image,
        volume,
        device: &args.device,
        here: &here,
    };
    let folder = chosen.plan.runs.join("kubernetes");
    std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let file = folder.join("work.json");
    work.save(&file)?;
    output::json(&pods.job(&job_name(&chosen.name, &work), &work, &file))?;
    Ok(Outcome::Done)
}

/// What Kubernetes takes as a name: lower-case letters, digits and dashes, with room for the pod's own end. Each round of an
/// experiment has its own, as jobs that are done keep theirs.
fn job_name(experiment: &str, work: &Work) -> String {
    let plain = |c: char| match c.to_ascii_lowercase() {
        c if c.is_ascii_alphanumeric() => c,
        _ => '-',
    };
    let name: String = experiment.chars().map(plain).take(30).collect();
    let what = match work {
        Work::Runs(runs) => format!("runs-{}-{:08x}", runs.len(), fingerprint(work)),
        Work::Turns(_) => "turns".to_owned(),
    };
    format!("bitnet-{}-{what}", name.trim_matches('-'))
}

/// Of the names of the parts (FNV-1a, which is the same in every version of the program).
fn fingerprint(work: &Work) -> u32 {
    let names = (0..work.parts()).flat_map(|part| work.name(part).bytes().chain([0]));
    names.fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}

/// What the pods of a job have in common.
struct Pods<'a> {
    settings: &'a ExecutorConfig,
    image: &'a str,
    volume: &'a str,
    device: &'a DeviceArgs,
    here: &'a Path,
}

impl Pods<'_> {
    fn job(&self, name: &str, work: &Work, file: &Path) -> Value {
        let parts = work.parts();
        let at_once = match self.settings.at_once {
            0 => parts,
            most => most.min(parts),
        };
        let mut pod = json!({
            // A pod that failed is replaced by one elsewhere, which goes on from the checkpoint.
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": self.settings.grace,
            "containers": [self.container(file)],
            "volumes": [{"name": "work", "persistentVolumeClaim": {"claimName": self.volume}}],
        });
        if let Some(seconds) = self.settings.seconds() {
            pod["activeDeadlineSeconds"] = json!(seconds);
        }
        json!({
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": name, "labels": {"app.kubernetes.io/name": "bitnet"}},
            "spec": {
                "completionMode": "Indexed",
                "completions": parts,
                "parallelism": at_once,
                "backoffLimitPerIndex": self.settings.retries,
                "maxFailedIndexes": parts,
                "podFailurePolicy": {"rules": [
                    // Lost nodes and preemptions do not count.
                    {
                        "action": "Ignore",
                        "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
                    },
                    // A mistake in the input stays one.
                    {
                        "action": "FailIndex",
                        "onExitCodes": {"containerName": "run", "operator": "In", "values": [2]},
                    },
                ]},
                "template": {"metadata": {"labels": {"app.kubernetes.io/name": "bitnet"}}, "spec": pod},
            },
        })
    }

    fn container(&self, file: &Path) -> Value {
        let settings = self.settings;
        let threads = match self.device.threads {
            0 => settings.cpus,
            threads => threads,
        };
        let file = file.display().to_string();
        let (backend, device) = (self.device.backend.name(), self.device.device.to_string());
        let threads = threads.to_string();
        // The index comes in the environment: JOB_COMPLETION_INDEX.
        let args = [
            "experiment",
            "task",
            &file,
            "--backend",
            backend,
            "--device",
            &device,
        ];
        let mut args = args.to_vec();
        args.extend(["--threads", &threads]);
        let mut resources = serde_json::Map::new();
        if settings.cpus > 0 {
            resources.insert("cpu".to_owned(), json!(settings.cpus.to_string()));
        }
        if let Some((number, unit)) = settings.memory_parts() {
            resources.insert("memory".to_owned(), json!(format!("{number}{unit}i")));
        }
        if settings.gpus > 0 {
            resources.insert(
                "nvidia.com/gpu".to_owned(),
                json!(settings.gpus.to_string()),
            );
        }
        json!({
            "name": "run",
            "image": self.image,
            "command": ["bitnet"],
            "args": args,
            "workingDir": self.here,
            "volumeMounts": [{"name": "work", "mountPath": self.here}],
            "resources": {"requests": resources, "limits": resources},
        })
    }
}
