//! The runs of an experiment: which there are, and in which order what is missing gets done.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bitnet_config::{ConfigError, ExperimentConfig, RunConfig, Task, VariantConfig};
use bitnet_results::{Evaluation, Experiment, Finished, Turns, load_json, save_json};
use bitnet_train::FolderLock;
use serde::{Deserialize, Serialize};

use crate::gather::{self, Circumstances};
use crate::{ExperimentError, Job, Worker};

/// The configuration of one run: of a variant, under a seed, with a learning rate of the grid, taught by the run in a
/// folder.
pub type Configure<'a> = dyn Fn(&VariantConfig, u64, Option<f64>, Option<&std::path::Path>) -> Result<RunConfig, ConfigError>
    + Sync
    + 'a;

/// What the runs of an experiment share.
pub struct Plan<'a> {
    /// Variants, seeds, rates.
    pub config: ExperimentConfig,
    /// From a variant to the configuration of its run.
    pub configure: Box<Configure<'a>>,
    /// Folder of all runs.
    pub runs: PathBuf,
    /// Whether a variant's only run has the variant's folder to itself, instead of a folder for rate and seed in it.
    pub flat: bool,
    /// Runs at a time.
    pub jobs: usize,
    /// Becomes true when nothing new should begin.
    pub interrupted: &'a AtomicBool,
}

/// Finished runs.
pub(crate) type Done = Vec<(Job, Finished)>;

impl Plan<'_> {
    /// Every run that is certain before the first one is done: each rate under the first seed. Checks all configurations.
    ///
    /// # Errors
    /// If a configuration is wrong, or variants have different tasks.
    pub fn first_jobs(&self) -> Result<Vec<Job>, ExperimentError> {
        let all = self.jobs_of(|_, variant| self.tries(variant), |_| None)?;
        if let [first, others @ ..] = &all[..]
            && let Some(other) = others
                .iter()
                .find(|job| job.config.task != first.config.task)
        {
            let name = |job: &Job| self.config.variants[job.variant].name.clone();
            return Err(ExperimentError::Tasks {
                first: name(first),
                first_task: first.config.task.name(),
                other: name(other),
                other_task: other.config.task.name(),
            });
        }
        Ok(all)
    }

    /// Does what is missing and gathers the summary; `None` if it was interrupted.
    ///
    /// # Errors
    /// If a run fails, or a folder is in the way.
    pub fn execute(
        &self,
        worker: &dyn Worker,
        of: Circumstances,
    ) -> Result<Option<Experiment>, ExperimentError> {
        std::fs::create_dir_all(&self.runs).map_err(ExperimentError::io(&self.runs))?;
        // A second experiment in the same folder would train the same runs.
        let _lock = FolderLock::take(&self.runs)?;
        let (mut tuned, mut others) = (Done::new(), Done::new());
        let mut best = Best::new();
        // Those that learn from the runs of others come after them.
        for taught in [false, true] {
            let now = |variant: &VariantConfig| self.teacher(variant).is_some() == taught;
            let wanted = |_: usize, variant: &VariantConfig| {
                if now(variant) {
                    self.tries(variant)
                } else {
                    Vec::new()
                }
            };
            let jobs = self.jobs_of(wanted, |teacher| chosen(&best, teacher))?;
            let Some(tuning) = self.finish(jobs, worker)? else {
                return Ok(None);
            };
            choose(&mut best, &tuning);
            let wanted = |index: usize, variant: &VariantConfig| match now(variant) {
                true => self.rest(chosen(&best, index)),
                false => Vec::new(),
            };
            let jobs = self.jobs_of(wanted, |teacher| chosen(&best, teacher))?;
            let Some(rest) = self.finish(jobs, worker)? else {
                return Ok(None);
            };
            tuned.extend(tuning);
            others.extend(rest);
        }
        let chosen = |index: usize| chosen(&best, index);
        let first = |index: usize| {
            tuned
                .iter()
                .find(|(job, _)| job.variant == index && job.rate == chosen(index))
                .filter(|(_, finished)| !finished.train.diverged)
        };
        let runs =
            (0..self.config.variants.len()).filter_map(|index| Some(first(index)?.0.dir.clone()));
        let Some(turns) = self.turns(runs.collect(), worker)? else {
            return Ok(None);
        };
        gather::experiment(self, &tuned, &others, chosen, turns, of).map(Some)
    }

    /// The runs of all variants: `wanted` gives the seeds and learning rates of one, `rate` the learning rate that was
    /// chosen for a teacher.
    fn jobs_of(
        &self,
        wanted: impl Fn(usize, &VariantConfig) -> Vec<(u64, Option<f64>)>,
        rate: impl Fn(usize) -> Option<f64>,
    ) -> Result<Vec<Job>, ExperimentError> {
        let mut jobs = Vec::new();
        for (index, variant) in self.config.variants.iter().enumerate() {
            let teacher = self.teacher(variant);
            for (seed, own) in wanted(index, variant) {
                let teacher = teacher.map(|(at, teacher)| self.dir(teacher, seed, rate(at)));
                let config = (self.configure)(variant, seed, own, teacher.as_deref());
                jobs.push(Job {
                    variant: index,
                    seed,
                    rate: own,
                    config: config.map_err(|source| ExperimentError::Variant {
                        name: variant.name.clone(),
                        source: Box::new(source),
                    })?,
                    dir: self.dir(variant, seed, own),
                });
            }
        }
        Ok(jobs)
    }

    /// What a variant's learning rate is chosen from: each of the grid under the first seed.
    fn tries(&self, variant: &VariantConfig) -> Vec<(u64, Option<f64>)> {
        let first = self.config.seeds[0];
        match self.config.learning_rates(variant) {
            rates if rates.is_empty() => vec![(first, None)],
            rates => rates.into_iter().map(|rate| (first, Some(rate))).collect(),
        }
    }

    /// The other seeds, under the learning rate that was chosen.
    fn rest(&self, rate: Option<f64>) -> Vec<(u64, Option<f64>)> {
        let seeds = self.config.seeds.iter().skip(1);
        seeds.map(|seed| (*seed, rate)).collect()
    }

    /// The variant that teaches another one, and its index.
    pub(crate) fn teacher(&self, variant: &VariantConfig) -> Option<(usize, &VariantConfig)> {
        let name = variant.teacher.as_ref()?;
        self.config
            .variants
            .iter()
            .enumerate()
            .find(|(_, teacher)| teacher.name == *name)
    }

    /// The folder of a run.
    fn dir(&self, variant: &VariantConfig, seed: u64, rate: Option<f64>) -> PathBuf {
        let folder = self.runs.join(&variant.name);
        match rate {
            None if self.flat => folder,
            None => folder.join(format!("seed-{seed}")),
            Some(rate) => folder.join(format!("lr-{rate:e}-seed-{seed}")),
        }
    }

    /// Runs what has no result yet, some at a time, in order. None if it was interrupted.
    fn finish(&self, jobs: Vec<Job>, worker: &dyn Worker) -> Result<Option<Done>, ExperimentError> {
        type Slot = Mutex<Option<Result<Option<Finished>, ExperimentError>>>;
        let next = AtomicUsize::new(0);
        let results: Vec<Slot> = jobs.iter().map(|_| Mutex::new(None)).collect();
        let work = || {
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(job) = jobs.get(index) else { break };
                if self.interrupted.load(Ordering::Relaxed) {
                    break;
                }
                let name = job
                    .dir
                    .strip_prefix(&self.runs)
                    .unwrap_or(&job.dir)
                    .display()
                    .to_string();
                let result = job.finish(&name, (index, jobs.len()), worker);
                if result.is_err() {
                    // The others finish what they began; nothing new begins.
                    next.store(jobs.len(), Ordering::Relaxed);
                }
                if let Ok(mut slot) = results[index].lock() {
                    *slot = Some(result);
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..self.jobs {
                scope.spawn(work);
            }
        });
        let mut finished = Vec::new();
        let mut complete = true;
        for (job, result) in jobs.into_iter().zip(results) {
            match result.into_inner().ok().flatten().transpose()?.flatten() {
                Some(result) => finished.push((job, result)),
                None => complete = false,
            }
        }
        Ok(complete.then_some(finished))
    }

    /// The speeds of these runs in turns, from before where the same ones were timed; `None` if it was interrupted.
    fn turns(
        &self,
        runs: Vec<PathBuf>,
        worker: &dyn Worker,
    ) -> Result<Option<Turns>, ExperimentError> {
        let path = self.runs.join("turns.json");
        if let Ok(known) = load_json::<Timed>(&path)
            && known.runs == runs
        {
            return Ok(Some(known.turns));
        }
        if self.interrupted.load(Ordering::Relaxed) {
            return Ok(None);
        }
        if runs.is_empty() {
            return Ok(Some(Turns::default()));
        }
        let Some(turns) = worker.turns(&runs).map_err(ExperimentError::Worker)? else {
            return Ok(None);
        };
        let timed = Timed { runs, turns };
        save_json(&timed, &path)?;
        Ok(Some(timed.turns))
    }
}

/// `turns.json`.
#[derive(Serialize, Deserialize)]
struct Timed {
    runs: Vec<PathBuf>,
    turns: Turns,
}

/// The best result of each variant so far, and its learning rate.
type Best = BTreeMap<usize, (f64, Option<f64>)>;

fn choose(best: &mut Best, tuned: &Done) {
    for (job, finished) in tuned {
        let value = selection(job.config.task, &finished.train.val);
        if best.get(&job.variant).is_none_or(|(top, _)| value > *top) {
            best.insert(job.variant, (value, job.rate));
        }
    }
}

fn chosen(best: &Best, variant: usize) -> Option<f64> {
    best.get(&variant).and_then(|(_, rate)| *rate)
}

/// What a learning rate is chosen by, greater is better: accuracy where that is the task's own score, else the loss.
fn selection(task: Task, val: &Evaluation) -> f64 {
    let value = match task {
        Task::Classify | Task::Vectors => val.accuracy.unwrap_or(f64::NAN),
        _ => -val.loss,
    };
    if value.is_nan() {
        f64::NEG_INFINITY
    } else {
        value
    }
}
