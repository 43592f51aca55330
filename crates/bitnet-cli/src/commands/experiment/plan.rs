//! The runs of an experiment: which there are, and how what is missing gets done.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use anyhow::{Context, bail};
use bitnet_config::{ExperimentConfig, RunConfig, VariantConfig};
use bitnet_train::{Checkpoint, RunDir, TrainSummary};
use serde::{Deserialize, Serialize};

use crate::args::ExperimentArgs;
use crate::commands::score::Measured;
use crate::process;

/// `result.json`: everything about one finished run.
#[derive(Serialize, Deserialize)]
pub struct Finished {
    pub train: TrainSummary,
    pub measured: Measured,
}

/// One run of the plan.
pub struct Job {
    /// Index of its variant.
    pub variant: usize,
    pub seed: u64,
    /// Of the grid; none keeps the configuration's.
    pub rate: Option<f64>,
    pub config: RunConfig,
    pub dir: PathBuf,
}

/// What the runs of an experiment share.
pub struct Plan<'a> {
    pub args: &'a ExperimentArgs,
    pub config: ExperimentConfig,
    pub folder: PathBuf,
    pub runs: PathBuf,
    pub interrupted: &'a AtomicBool,
}

impl Plan<'_> {
    /// The runs of all variants: `wanted` gives the seeds and learning rates of one, `rate` the learning rate that was chosen
    /// for a teacher.
    pub fn jobs(
        &self,
        wanted: impl Fn(usize, &VariantConfig) -> Vec<(u64, Option<f64>)>,
        rate: impl Fn(usize) -> Option<f64>,
    ) -> anyhow::Result<Vec<Job>> {
        let mut jobs = Vec::new();
        for (index, variant) in self.config.variants.iter().enumerate() {
            let teacher = self.teacher(variant);
            for (seed, own) in wanted(index, variant) {
                let teacher = teacher.map(|(at, teacher)| self.dir(teacher, seed, rate(at)));
                let teacher = teacher.as_deref();
                let overrides = &self.args.set;
                let config = self
                    .config
                    .run(&self.folder, variant, seed, own, teacher, overrides)
                    .with_context(|| format!("variant {}", variant.name))?;
                jobs.push(Job {
                    variant: index,
                    seed,
                    rate: own,
                    config,
                    dir: self.dir(variant, seed, own),
                });
            }
        }
        Ok(jobs)
    }

    /// What a variant's learning rate is chosen from: each of the grid under the first seed.
    pub fn tries(&self, variant: &VariantConfig) -> Vec<(u64, Option<f64>)> {
        let first = self.config.seeds[0];
        match self.config.learning_rates(variant) {
            rates if rates.is_empty() => vec![(first, None)],
            rates => rates.into_iter().map(|rate| (first, Some(rate))).collect(),
        }
    }

    /// The other seeds, under the learning rate that was chosen.
    pub fn rest(&self, rate: Option<f64>) -> Vec<(u64, Option<f64>)> {
        let seeds = self.config.seeds.iter().skip(1);
        seeds.map(|seed| (*seed, rate)).collect()
    }

    /// The variant that teaches another one, and its index.
    pub fn teacher(&self, variant: &VariantConfig) -> Option<(usize, &VariantConfig)> {
        let mut all = self.config.variants.iter().enumerate();
        all.find(|(_, teacher)| teacher.name == variant.teacher)
    }

    /// The folder of a run.
    fn dir(&self, variant: &VariantConfig, seed: u64, rate: Option<f64>) -> PathBuf {
        let folder = match rate {
            Some(rate) => format!("lr-{rate:e}-seed-{seed}"),
            None => format!("seed-{seed}"),
        };
        self.runs.join(&variant.name).join(folder)
    }

    /// Runs what has no result yet, some at a time, in order. None if it was interrupted.
    pub fn execute(&self, jobs: Vec<Job>) -> anyhow::Result<Option<Vec<(Job, Finished)>>> {
        let next = AtomicUsize::new(0);
        let results: Vec<Mutex<Option<anyhow::Result<Option<Finished>>>>> =
            jobs.iter().map(|_| Mutex::new(None)).collect();
        std::thread::scope(|scope| {
            for _ in 0..self.args.jobs {
                scope.spawn(|| {
                    loop {
                        let index = next.fetch_add(1, Ordering::Relaxed);
                        let Some(job) = jobs.get(index) else { break };
                        if self.interrupted.load(Ordering::Relaxed) {
                            break;
                        }
                        let result = self.one(job, index, jobs.len());
                        if result.is_err() {
                            // The others finish what they began; nothing new begins.
                            next.store(jobs.len(), Ordering::Relaxed);
                        }
                        if let Ok(mut slot) = results[index].lock() {
                            *slot = Some(result);
                        }
                    }
                });
            }
        });
        let mut finished = Vec::new();
        let mut complete = true;
        for (job, result) in jobs.into_iter().zip(results) {
            match result.into_inner().ok().flatten() {
                Some(result) => match result? {
                    Some(result) => finished.push((job, result)),
                    None => complete = false,
                },
                None => complete = false,
            }
        }
        Ok(complete.then_some(finished))
    }

    fn one(&self, job: &Job, index: usize, of: usize) -> anyhow::Result<Option<Finished>> {
        let result = job.dir.join("result.json");
        if let Some(finished) = known(job, &result)? {
            return Ok(Some(finished));
        }
        let label = job
            .dir
            .strip_prefix(&self.runs)
            .unwrap_or(&job.dir)
            .display()
            .to_string();
        if !self.args.output.quiet {
            eprintln!("[{}/{of}] {label}", index + 1);
        }
        let parent = job.dir.parent().unwrap_or(&self.runs);
        std::fs::create_dir_all(parent).with_context(|| parent.display().to_string())?;
        let mut file = job.dir.clone().into_os_string();
        file.push(".toml");
        let file = PathBuf::from(file);
        bitnet_report::write_atomic(&file, job.config.to_toml()?.as_bytes())
            .with_context(|| file.display().to_string())?;
        let threads = self.threads();
        let mut train = process::child(&self.args.device, threads)?;
        train.arg("train").arg(&file).arg("--run-dir").arg(&job.dir);
        train.args(["-o", "json", "--quiet"]);
        if job.dir.join("config.toml").exists() {
            let run = RunDir::open(&job.dir)?;
            match Checkpoint::latest(&run) {
                Ok(_) => drop(train.args(["--resume", "auto"])),
                // Stopped before its first checkpoint: begins again.
                Err(_) => std::fs::remove_dir_all(&job.dir)
                    .with_context(|| job.dir.display().to_string())?,
            }
        }
        let Some(train) = process::answer::<TrainSummary>(train, &label)? else {
            return Ok(None);
        };
        let mut score = process::child(&self.args.device, threads)?;
        score.arg("score").arg(&job.dir);
        let Some(measured) = process::answer::<Measured>(score, &label)? else {
            return Ok(None);
        };
        let finished = Finished { train, measured };
        let json = serde_json::to_vec_pretty(&finished).context("the result is no JSON")?;
        bitnet_report::write_atomic(&result, &json)
            .with_context(|| result.display().to_string())?;
        Ok(Some(finished))
    }

    /// Threads of one run: its share of all.
    pub fn threads(&self) -> usize {
        let all = match self.args.device.threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        };
        (all / self.args.jobs as usize).max(1)
    }
}

/// A result of the same configuration, if there is one.
fn known(job: &Job, result: &Path) -> anyhow::Result<Option<Finished>> {
    if !result.exists() {
        if job.dir.join("config.toml").exists() && !same(job)? {
            bail!(
                "{} holds a run of another configuration; remove it, or give another --run-dir",
                job.dir.display()
            );
        }
        return Ok(None);
    }
    if !same(job)? {
        bail!(
            "{} holds the result of another configuration; remove it, or give another --run-dir",
            job.dir.display()
        );
    }
    let json = std::fs::read(result).with_context(|| result.display().to_string())?;
    serde_json::from_slice(&json)
        .with_context(|| format!("{} is damaged; remove it", result.display()))
        .map(Some)
}

/// Whether a run's folder was made from the configuration of the job: what it was started with is beside it.
fn same(job: &Job) -> anyhow::Result<bool> {
    let mut file = job.dir.clone().into_os_string();
    file.push(".toml");
    let before = std::fs::read_to_string(PathBuf::from(file)).unwrap_or_default();
    Ok(before == job.config.to_toml()?)
}
