//! `bitnet experiment run DIR` and `bitnet experiment render [DIR]`.
//!
//! An experiment is a list of runs. Each is a `bitnet train` and a `bitnet score` in processes of their own, in a folder that
//! says what it was (`config.toml`) and what came of it (`result.json`). A folder with the same configuration and a result is
//! not run again; one without a result goes on from its last checkpoint. So an interrupted experiment continues, and a new
//! variant costs only its own runs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use anyhow::{Context, bail};
use bitnet_config::{ExperimentConfig, LinearKind, RunConfig, Task, VariantConfig};
use bitnet_report::experiment::{
    CurvePoint, Experiment, GridPoint, LayerTelemetry, LossPoint, Metric as Measure, Run,
    TelemetryPoint, Variant, render, render_index, tables::main_table,
};
use bitnet_train::{Evaluation, Metric, RunDir, TrainSummary};
use serde::{Deserialize, Serialize};

use super::Outcome;
use super::score::Measured;
use crate::args::{ExperimentArgs, ExperimentCommand, Format, RenderArgs};
use crate::{interrupt, machine, output, process};

pub fn run(command: ExperimentCommand) -> anyhow::Result<Outcome> {
    match command {
        ExperimentCommand::Run(args) => execute(args),
        ExperimentCommand::Render(args) => render_all(&args),
    }
}

/// `result.json`: everything about one finished run.
#[derive(Serialize, Deserialize)]
struct Finished {
    train: TrainSummary,
    measured: Measured,
}

/// One run of the plan.
struct Job {
    /// Index of its variant.
    variant: usize,
    seed: u64,
    /// Of the grid; none keeps the configuration's.
    rate: Option<f64>,
    config: RunConfig,
    dir: PathBuf,
}

/// What the runs of an experiment share.
struct Plan<'a> {
    args: &'a ExperimentArgs,
    config: ExperimentConfig,
    folder: PathBuf,
    runs: PathBuf,
    interrupted: &'a AtomicBool,
}

fn execute(args: ExperimentArgs) -> anyhow::Result<Outcome> {
    let (config, folder) = ExperimentConfig::load(&args.experiment)?;
    let name = name_of(&folder)?;
    let runs = args
        .run_dir
        .clone()
        .unwrap_or_else(|| Path::new("runs/experiments").join(&name));
    let plan = Plan {
        args: &args,
        folder,
        runs,
        interrupted: interrupt::watch()?,
        config,
    };
    let first = plan.config.seeds[0];
    // Every configuration is checked before the first run begins.
    let tuning = plan.jobs(|variant| {
        let rates = plan.config.learning_rates(variant);
        let tried = rates.into_iter().map(|rate| (first, Some(rate)));
        let tried: Vec<_> = tried.collect();
        if tried.is_empty() {
            vec![(first, None)]
        } else {
            tried
        }
    })?;
    if args.dry_run {
        let rest = plan.config.variants.len() * (plan.config.seeds.len() - 1);
        for job in &tuning {
            output::line(&job.dir.display().to_string())?;
        }
        output::line(&format!(
            "would train {} runs for the learning rates and {rest} for the other seeds",
            tuning.len()
        ))?;
        return Ok(Outcome::Done);
    }
    let Some(tuned) = plan.execute(tuning)? else {
        return Ok(Outcome::Interrupted);
    };
    let mut best: BTreeMap<usize, (f64, Option<f64>)> = BTreeMap::new();
    for (job, finished) in &tuned {
        let value = selection(job.config.task, &finished.train.val);
        let better = best.get(&job.variant).is_none_or(|(top, _)| value > *top);
        if better {
            best.insert(job.variant, (value, job.rate));
        }
    }
    let chosen = |index: usize| best.get(&index).and_then(|(_, rate)| *rate);
    let mut index = 0;
    let rest = plan.jobs(|_| {
        let rate = chosen(index);
        index += 1;
        plan.config.seeds[1..]
            .iter()
            .map(|seed| (*seed, rate))
            .collect()
    })?;
    let Some(others) = plan.execute(rest)? else {
        return Ok(Outcome::Interrupted);
    };
    let experiment = plan.summary(&name, &tuned, &others, chosen)?;
    let out = args.out.clone().unwrap_or_else(|| plan.folder.clone());
    std::fs::create_dir_all(&out).with_context(|| out.display().to_string())?;
    experiment.save(&out.join("summary.json"))?;
    render(&experiment, &out).with_context(|| format!("the report in {}", out.display()))?;
    match args.output.output {
        Format::Json => output::json(&experiment)?,
        Format::Md => output::piece(&main_table(&experiment).to_markdown())?,
        Format::Csv => output::piece(&main_table(&experiment).to_csv())?,
        Format::Text => {
            output::piece(&main_table(&experiment).to_text())?;
            output::line(&format!("\nreport: {}", out.join("report.md").display()))?;
        }
    }
    Ok(Outcome::Done)
}

fn name_of(folder: &Path) -> anyhow::Result<String> {
    let folder = std::fs::canonicalize(folder).with_context(|| folder.display().to_string())?;
    let name = folder.file_name().and_then(|name| name.to_str());
    Ok(name.unwrap_or("experiment").to_owned())
}

/// What a learning rate is chosen by, greater is better: accuracy where that is the task's own score, else the loss.
fn selection(task: Task, val: &Evaluation) -> f64 {
    let value = match task {
        Task::Classify | Task::Vectors => val.accuracy,
        _ => -val.loss,
    };
    if value.is_nan() {
        f64::NEG_INFINITY
    } else {
        value
    }
}

impl Plan<'_> {
    /// The runs of all variants: `wanted` gives the seeds and learning rates of one.
    fn jobs(
        &self,
        mut wanted: impl FnMut(&VariantConfig) -> Vec<(u64, Option<f64>)>,
    ) -> anyhow::Result<Vec<Job>> {
        let mut jobs = Vec::new();
        for (variant, settings) in self.config.variants.iter().enumerate() {
            for (seed, rate) in wanted(settings) {
                let overrides = &self.args.set;
                let config = self
                    .config
                    .run(&self.folder, settings, seed, rate, overrides)
                    .with_context(|| format!("variant {}", settings.name))?;
                let folder = match rate {
                    Some(rate) => format!("lr-{rate:e}-seed-{seed}"),
                    None => format!("seed-{seed}"),
                };
                jobs.push(Job {
                    variant,
                    seed,
                    rate,
                    config,
                    dir: self.runs.join(&settings.name).join(folder),
                });
            }
        }
        Ok(jobs)
    }

    /// Runs what has no result yet, some at a time, in order. None if it was interrupted.
    fn execute(&self, jobs: Vec<Job>) -> anyhow::Result<Option<Vec<(Job, Finished)>>> {
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
            match bitnet_train::Checkpoint::latest(&run) {
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
    fn threads(&self) -> usize {
        let all = match self.args.device.threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        };
        (all / self.args.jobs as usize).max(1)
    }

    fn summary(
        &self,
        name: &str,
        tuned: &[(Job, Finished)],
        others: &[(Job, Finished)],
        chosen: impl Fn(usize) -> Option<f64>,
    ) -> anyhow::Result<Experiment> {
        let task = tuned.first().map_or(Task::Lm, |(job, _)| job.config.task);
        let measure = measure(task);
        let mut variants = Vec::new();
        for (index, settings) in self.config.variants.iter().enumerate() {
            let of = |all: &'_ [(Job, Finished)]| -> Vec<usize> {
                (0..all.len())
                    .filter(|i| all[*i].0.variant == index)
                    .collect()
            };
            let grid = of(tuned).into_iter().map(|i| &tuned[i]);
            let final_runs = grid
                .clone()
                .filter(|(job, _)| job.rate == chosen(index))
                .chain(of(others).into_iter().map(|i| &others[i]));
            let final_runs: Vec<&(Job, Finished)> = final_runs.collect();
            let Some((job, finished)) = final_runs.first() else {
                bail!("variant {} has no run", settings.name);
            };
            let measured = &finished.measured;
            let linear = job.config.model.linear;
            variants.push(Variant {
                name: settings.name.clone(),
                label: match settings.label.is_empty() {
                    true => settings.name.clone(),
                    false => settings.label.clone(),
                },
                linear: match linear {
                    LinearKind::Float => "float".into(),
                    LinearKind::Ternary => "ternary".into(),
                },
                settings: self
                    .config
                    .set
                    .iter()
                    .chain(&settings.set)
                    .cloned()
                    .collect(),
                params: measured.params,
                ternary_weights: measured.ternary_weights,
                packed_bytes: measured.packed_bytes,
                file_bytes: measured.file_bytes,
                grid: grid
                    .filter_map(|(job, finished)| {
                        let val = &finished.train.val;
                        Some(GridPoint {
                            learning_rate: job.rate?,
                            score: match task {
                                Task::Classify | Task::Vectors => val.accuracy,
                                _ => val.loss,
                            },
                            seed: job.seed,
                        })
                    })
                    .collect(),
                learning_rate: job.config.train.optim(linear).learning_rate,
                runs: final_runs
                    .iter()
                    .map(|(job, finished)| one_run(job, finished, task))
                    .collect::<Result<_, _>>()?,
            });
        }
        let data = tuned
            .first()
            .map_or(String::new(), |(_, f)| f.measured.data.clone());
        let config = toml_of(&self.config)?;
        Ok(Experiment {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            name: name.to_owned(),
            title: self.config.title.clone(),
            question: self.config.question.clone(),
            task: task.name().to_owned(),
            date: machine::today(),
            command: format!(
                "bitnet experiment run {}{}",
                self.folder.display(),
                match self.args.jobs {
                    1 => String::new(),
                    jobs => format!(" --jobs {jobs}"),
                }
            ),
            machine: machine::this(),
            backend: format!(
                "{}, {} at a time with {} threads each",
                self.args.device.backend,
                self.args.jobs,
                self.threads()
            ),
            data,
            metric: measure,
            variants,
            baseline: Some(self.config.baseline.clone()).filter(|name| !name.is_empty()),
            seeds: self.config.seeds.clone(),
            notes: self.config.notes.clone(),
            conclusion: self.config.conclusion.clone(),
            config,
            curves: true,
            scatter: self.config.scatter,
        })
    }
}

fn toml_of(config: &ExperimentConfig) -> anyhow::Result<String> {
    config.to_toml().context("the experiment is no TOML")
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

fn one_run(job: &Job, finished: &Finished, task: Task) -> anyhow::Result<Run> {
    let (train, measured) = (&finished.train, &finished.measured);
    let score = measured.score;
    let mut metrics = BTreeMap::from([("loss".to_owned(), score.loss)]);
    let text = matches!(task, Task::Lm | Task::Translate | Task::Synthetic);
    for (key, value) in [
        ("perplexity", text.then_some(score.perplexity)),
        ("bits_per_byte", text.then_some(score.bits_per_byte)),
        ("accuracy", (task != Task::Layer).then_some(score.accuracy)),
        ("macro_f1", score.macro_f1),
        ("bleu", score.bleu),
        ("exact_match", score.exact_match),
        ("validation_loss", Some(train.val.loss)),
    ] {
        metrics.extend(value.map(|value| (key.to_owned(), value)));
    }
    let mut run = Run {
        seed: job.seed,
        learning_rate: job
            .config
            .train
            .optim(job.config.model.linear)
            .learning_rate,
        score: result(task, &score),
        trained_score: measured.trained.map(|trained| result(task, &trained)),
        metrics,
        steps: train.steps as u64,
        tokens: train.tokens as u64,
        seconds: train.seconds,
        tokens_per_second: train.tokens_per_second,
        peak_rss_bytes: train.peak_rss_bytes,
        inference_peak_rss_bytes: measured.peak_rss_bytes,
        latency_ms: Some(measured.latency_ms),
        energy_joules: train.energy_joules,
        modelled: measured.modelled.clone(),
        ..Run::default()
    };
    curves(&job.dir, &mut run)?;
    Ok(run)
}

/// The score of a task.
fn result(task: Task, evaluation: &Evaluation) -> f64 {
    let none = f64::NAN;
    match task {
        Task::Lm | Task::Layer => evaluation.loss,
        Task::Translate => evaluation.bleu.unwrap_or(none),
        Task::Classify | Task::Vectors => evaluation.accuracy,
        Task::Synthetic => evaluation.exact_match.unwrap_or(none),
    }
}

fn measure(task: Task) -> Measure {
    let (key, label, unit, higher, percent) = match task {
        Task::Lm => ("loss", "validation loss", "nats per token", false, false),
        Task::Translate => ("bleu", "BLEU on the test set", "", true, false),
        Task::Classify | Task::Vectors => ("accuracy", "test accuracy", "%", true, true),
        Task::Synthetic => (
            "exact_match",
            "exact match on the test set",
            "%",
            true,
            true,
        ),
        Task::Layer => ("loss", "test mean squared error", "", false, false),
    };
    Measure {
        key: key.into(),
        label: label.into(),
        higher_is_better: higher,
        percent,
        unit: unit.into(),
    }
}

fn curves(dir: &Path, run: &mut Run) -> anyhow::Result<()> {
    let path = RunDir::open(dir)?.metrics_path();
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let mut layers: Vec<LayerTelemetry> = Vec::new();
    for line in text.lines() {
        match serde_json::from_str(line).with_context(|| path.display().to_string())? {
            Metric::Train { step, loss, .. } => run.train_curve.push(LossPoint {
                step: step as u64,
                loss,
            }),
            Metric::Val {
                step,
                loss,
                accuracy,
                seconds,
            } => run.curve.push(CurvePoint {
                step: step as u64,
                seconds,
                loss,
                score: Some(accuracy),
            }),
            Metric::Layers { step, layers: now } => {
                for health in now {
                    let point = TelemetryPoint {
                        step: step as u64,
                        zeros: health.zeros,
                        flips: health.flips.unwrap_or(f64::NAN),
                        scale: health.scale,
                    };
                    match layers.iter_mut().find(|layer| layer.layer == health.layer) {
                        Some(layer) => layer.points.push(point),
                        None => layers.push(LayerTelemetry {
                            layer: health.layer,
                            points: vec![point],
                        }),
                    }
                }
            }
        }
    }
    // The training curve of a long run: about a hundred points, each the mean of its neighbours.
    let every = run.train_curve.len().div_ceil(100).max(1);
    run.train_curve = run
        .train_curve
        .chunks(every)
        .map(|points| LossPoint {
            step: points[points.len() - 1].step,
            loss: points.iter().map(|point| point.loss).sum::<f64>() / points.len() as f64,
        })
        .collect();
    run.telemetry = layers;
    Ok(())
}

fn render_all(args: &RenderArgs) -> anyhow::Result<Outcome> {
    let folder = &args.folder;
    let entries = std::fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let mut summaries: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path().join("summary.json"))
        .filter(|path| path.is_file())
        .collect();
    summaries.sort();
    if summaries.is_empty() {
        bail!(
            "{} holds no experiment with a summary.json; run one first (`bitnet experiment run`)",
            folder.display()
        );
    }
    let mut experiments = Vec::new();
    for path in summaries {
        let mut experiment = Experiment::load(&path)?;
        let dir = path.parent().unwrap_or(folder);
        // What the results mean is written after they are known: taken from the configuration as it is now.
        if let Ok((config, _)) = ExperimentConfig::load(dir) {
            experiment.title = config.title;
            experiment.question = config.question;
            experiment.conclusion = config.conclusion;
            experiment.notes = config.notes;
            experiment.save(&path)?;
        }
        render(&experiment, dir).with_context(|| dir.display().to_string())?;
        output::line(&dir.join("report.md").display().to_string())?;
        experiments.push(experiment);
    }
    let index = folder.join("README.md");
    render_index(&experiments, &index).with_context(|| index.display().to_string())?;
    output::line(&index.display().to_string())?;
    Ok(Outcome::Done)
}
