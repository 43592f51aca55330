//! From the finished runs of an experiment to its summary.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, bail};
use bitnet_config::{ExperimentConfig, LinearKind, Task};
use bitnet_report::experiment::{
    CurvePoint, Experiment, GridPoint, LayerTelemetry, LossPoint, Metric as Measure, Run,
    TelemetryPoint, Variant,
};
use bitnet_train::{Evaluation, Metric, RunDir};

use super::plan::{Finished, Job, Plan};
use crate::machine;

impl Plan<'_> {
    /// The summary: grids, chosen rates, and the runs of every seed.
    pub fn summary(
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
            let teacher = self.teacher(settings).map(|(at, _)| at);
            let taught_by = |seed: u64| {
                let runs = tuned.iter().chain(others);
                let mut runs =
                    runs.filter(|(job, _)| Some(job.variant) == teacher && job.seed == seed);
                runs.find(|(job, _)| job.rate == chosen(job.variant))
            };
            let linear = job.config.model.linear;
            variants.push(Variant {
                name: settings.name.clone(),
                label: settings.words().to_owned(),
                group: settings.group.clone(),
                teacher: settings.teacher.clone(),
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
                    .map(|(job, finished)| one_run(job, finished, taught_by(job.seed), task))
                    .collect::<Result<_, _>>()?,
            });
        }
        let data = tuned
            .first()
            .map_or(String::new(), |(_, f)| f.measured.data.clone());
        // What the results mean is written later, and is not what was run.
        let config = ExperimentConfig {
            conclusion: String::new(),
            notes: Vec::new(),
            ..self.config.clone()
        };
        let config = config.to_toml()?;
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
                "{}, {} at a time, threads of each: {}",
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

fn one_run(
    job: &Job,
    finished: &Finished,
    teacher: Option<&(Job, Finished)>,
    task: Task,
) -> anyhow::Result<Run> {
    let teacher = teacher.map(|(_, finished)| &finished.train);
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
        teacher_seconds: teacher.map(|teacher| teacher.seconds),
        tokens_per_second: train.tokens_per_second,
        peak_rss_bytes: train.peak_rss_bytes,
        inference_peak_rss_bytes: measured.peak_rss_bytes,
        latency_ms: Some(measured.latency_ms),
        energy_joules: match (train.energy_joules, teacher) {
            (Some(own), Some(teacher)) => teacher.energy_joules.map(|joules| own + joules),
            (own, _) => own,
        },
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
