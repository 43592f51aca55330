//! The runs of an experiment: which there are, and in which order what is missing gets done.

use std::collections::BTreeMap;
use std::path::PathBuf;

use bitnet_config::{ConfigError, ExperimentConfig, RunConfig, Task, VariantConfig};
use bitnet_results::{Evaluation, Experiment, Finished, Turns};
use bitnet_train::FolderLock;

use crate::gather::{self, Circumstances};
use crate::job::{PlannedRun, stored_file};
use crate::work::{Executor, Piece, Timing, Work};
use crate::{ExperimentError, Job};

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
                .find(|job| job.run.config.task != first.run.config.task)
        {
            let name = |job: &Job| self.config.variants[job.variant].name.clone();
            return Err(ExperimentError::Tasks {
                first: name(first),
                first_task: first.run.config.task.name(),
                other: name(other),
                other_task: other.run.config.task.name(),
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
        executor: &dyn Executor,
        of: Circumstances,
    ) -> Result<Option<Experiment>, ExperimentError> {
        std::fs::create_dir_all(&self.runs).map_err(ExperimentError::io(&self.runs))?;
        // A second experiment in the same folder would train the same runs.
        let _lock = FolderLock::take(&self.runs)?;
        loop {
            let work = match self.state()? {
                State::Missing(work) => work,
                State::Complete(all) => return gather::experiment(self, &all, of).map(Some),
            };
            work.prepare()?;
            if executor
                .execute(&work)
                .map_err(ExperimentError::Worker)?
                .is_none()
            {
                return Ok(None);
            }
            if let Some(path) = work.missing() {
                return Err(ExperimentError::Unfinished(path));
            }
        }
    }

    /// What is to be done next, written down for those who do it; `None` where nothing is missing but the report. What
    /// comes after it depends on its results.
    ///
    /// # Errors
    /// If a folder is in the way or cannot be written.
    pub fn next(&self) -> Result<Option<Work>, ExperimentError> {
        match self.state()? {
            State::Complete(_) => Ok(None),
            State::Missing(work) => work.prepare().map(|()| Some(work)),
        }
    }

    /// What the folders hold, or the first part of the work that has no result.
    fn state(&self) -> Result<State, ExperimentError> {
        let mut all = Complete::default();
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
            let jobs = self.jobs_of(wanted, |teacher| all.chosen(teacher))?;
            let tuning = match known(jobs)? {
                Known::All(done) => done,
                Known::Missing(work) => return Ok(State::Missing(work)),
            };
            choose(&mut all.best, &tuning);
            let wanted = |index: usize, variant: &VariantConfig| match now(variant) {
                true => self.rest(variant, all.chosen(index)),
                false => Vec::new(),
            };
            let jobs = self.jobs_of(wanted, |teacher| all.chosen(teacher))?;
            match known(jobs)? {
                Known::All(done) => all.others.extend(done),
                Known::Missing(work) => return Ok(State::Missing(work)),
            }
            all.tuned.extend(tuning);
        }
        let first = |index: usize| {
            all.tuned
                .iter()
                .find(|(job, _)| job.variant == index && job.rate == all.chosen(index))
                .filter(|(_, finished)| !finished.train.diverged)
        };
        // Each with its formats behind it.
        let firsts = (0..self.config.variants.len()).filter_map(|index| Some(&first(index)?.0.run));
        let firsts: Vec<PathBuf> = firsts
            .flat_map(|run| {
                let stored = (run.formats.iter()).map(|format| stored_file(&run.dir, format));
                std::iter::once(run.dir.clone()).chain(stored)
            })
            .collect();
        if !firsts.is_empty() {
            let speeds = Timing {
                runs: firsts,
                file: self.runs.join("turns.json"),
            };
            match speeds.known() {
                Some(turns) => all.turns = turns,
                None => return Ok(State::Missing(Work::Turns(speeds))),
            }
        }
        Ok(State::Complete(all))
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
                let dir = self.dir(variant, seed, own);
                let name = dir.strip_prefix(&self.runs).unwrap_or(&dir);
                let run = PlannedRun {
                    name: name.display().to_string(),
                    config: config.map_err(|source| ExperimentError::Variant {
                        name: variant.name.clone(),
                        source: Box::new(source),
                    })?,
                    dir,
                    formats: variant.formats.clone(),
                };
                jobs.push(Job {
                    variant: index,
                    seed,
                    rate: own,
                    run,
                });
            }
        }
        Ok(jobs)
    }

    /// What a variant's learning rate is chosen from: each of the grid under the first seed.
    fn tries(&self, variant: &VariantConfig) -> Vec<(u64, Option<f64>)> {
        let first = self.config.seeds(variant)[0];
        match self.config.learning_rates(variant) {
            rates if rates.is_empty() => vec![(first, None)],
            rates => rates.into_iter().map(|rate| (first, Some(rate))).collect(),
        }
    }

    /// The other seeds, under the learning rate that was chosen.
    fn rest(&self, variant: &VariantConfig, rate: Option<f64>) -> Vec<(u64, Option<f64>)> {
        let seeds = self.config.seeds(variant).iter().skip(1);
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
}

/// How far an experiment is.
enum State {
    /// This has no result, and what comes after it may depend on it.
    Missing(Work),
    /// Everything is there.
    Complete(Complete),
}

/// All results.
#[derive(Default)]
pub(crate) struct Complete {
    /// The runs that the learning rates were chosen from.
    pub tuned: Done,
    /// Those under the other seeds.
    pub others: Done,
    /// What was chosen.
    best: Best,
    /// The speeds.
    pub turns: Turns,
}

impl Complete {
    /// The learning rate that was chosen for a variant.
    pub fn chosen(&self, variant: usize) -> Option<f64> {
        self.best.get(&variant).and_then(|(_, rate)| *rate)
    }
}

enum Known {
    All(Done),
    Missing(Work),
}

/// The results of these runs, or those of them that have none.
fn known(jobs: Vec<Job>) -> Result<Known, ExperimentError> {
    let (mut done, mut missing) = (Done::new(), Vec::new());
    let of = jobs.len();
    for (index, job) in jobs.into_iter().enumerate() {
        match job.run.known()? {
            Some(finished) if job.run.is_finished() => done.push((job, finished)),
            _ => missing.push(Piece {
                place: (index, of),
                run: job.run,
            }),
        }
    }
    Ok(match missing.is_empty() {
        true => Known::All(done),
        false => Known::Missing(Work::Runs(missing)),
    })
}

/// The best result of each variant so far, and its learning rate.
type Best = BTreeMap<usize, (f64, Option<f64>)>;

fn choose(best: &mut Best, tuned: &Done) {
    for (job, finished) in tuned {
        let value = selection(job.run.config.task, &finished.train.val);
        if best.get(&job.variant).is_none_or(|(top, _)| value > *top) {
            best.insert(job.variant, (value, job.rate));
        }
    }
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
