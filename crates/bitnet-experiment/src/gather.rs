//! From the finished runs of an experiment to its summary.

use bitnet_config::{
    ExecutorConfig, ExperimentConfig, LinearKind, OptimConfig, Optimizer, Task, VariantConfig,
};
use bitnet_results::frontier::Frontier;
use bitnet_results::scaling::Scaling;
use bitnet_results::{
    Curves, Experiment, Finished, GridPoint, Linear, Machine, Metric, Run, Speed, StoredAs, Variant,
};
use bitnet_train::RunDir;

use crate::plan::{Complete, Plan};
use crate::{ExperimentError, Job};

/// What a summary says beside its results: where, when and by which command it was made.
pub struct Circumstances {
    /// Name of the experiment.
    pub name: String,
    /// Version of the program.
    pub version: String,
    /// The day.
    pub date: String,
    /// The command line.
    pub command: String,
    /// The computer.
    pub machine: Machine,
    /// Backend, its device, runs at a time.
    pub backend: String,
    /// The configuration, as TOML; that of the experiment where there is none.
    pub config: Option<String>,
}

/// The summary: grids, chosen rates, and the runs of every seed.
pub(crate) fn experiment(
    plan: &Plan,
    all: &Complete,
    of: Circumstances,
) -> Result<Experiment, ExperimentError> {
    let (tuned, others, turns) = (&all.tuned, &all.others, &all.turns);
    let chosen = |variant| all.chosen(variant);
    let task = tuned
        .first()
        .map_or(Task::Lm, |(job, _)| job.run.config.task);
    let metric = metric(task);
    let taught_by = |teacher: Option<usize>, seed: u64| {
        let mut runs = tuned.iter().chain(others);
        let found = runs.find(|(job, _)| {
            Some(job.variant) == teacher && job.seed == seed && job.rate == chosen(job.variant)
        });
        found.map(|(_, finished)| finished)
    };
    let mut speeds = turns.speeds.iter().cloned();
    let (mut variants, mut stored) = (Vec::new(), Vec::new());
    for (index, settings) in plan.config.variants.iter().enumerate() {
        let of_variant = |(job, _): &&(Job, Finished)| job.variant == index;
        let grid: Vec<_> = tuned.iter().filter(of_variant).collect();
        let final_runs = grid
            .iter()
            .copied()
            .filter(|(job, _)| job.rate == chosen(index));
        let final_runs: Vec<_> = final_runs.chain(others.iter().filter(of_variant)).collect();
        let teacher = plan.teacher(settings).map(|(at, _)| at);
        let runs = final_runs
            .iter()
            .map(|(job, finished)| one_run(job, finished, taught_by(teacher, job.seed), &metric))
            .collect::<Result<Vec<Run>, _>>()?;
        // Every variant has a run under the first seed: it was chosen among them.
        let Some((job, finished)) = final_runs.first() else {
            continue;
        };
        let grid = grid
            .into_iter()
            .filter_map(|(job, finished)| grid_point(job, finished));
        // A model that diverged was not timed.
        let speed = match finished.train.diverged {
            true => None,
            false => speeds.next(),
        };
        let of_runs = variant(plan, settings, job, finished, grid.collect(), runs, speed);
        if !finished.train.diverged {
            for (at, format) in settings.formats.iter().enumerate() {
                let found = final_runs
                    .iter()
                    .map(|(job, _)| (job.seed, job.run.stored()));
                let of_format = found.filter_map(|(seed, all)| Some((seed, all?.swap_remove(at))));
                let all = of_format.collect::<Vec<_>>();
                stored.push(in_format(&of_runs, format, &all, &metric, speeds.next()));
            }
        }
        variants.push(of_runs);
    }
    // What the results mean is written later, and is not what was run.
    let config = ExperimentConfig {
        conclusion: String::new(),
        notes: Vec::new(),
        // Nor is where it ran.
        executor: ExecutorConfig::default(),
        ..plan.config.clone()
    };
    let config = match of.config {
        Some(config) => config,
        None => config.to_toml()?,
    };
    let (frontier, scaling) = asked(&plan.config);
    Ok(Experiment {
        version: of.version,
        name: of.name,
        title: plan.config.title.clone(),
        question: plan.config.question.clone(),
        task: task.name().to_owned(),
        date: of.date,
        command: of.command,
        // Where the speeds are from.
        machine: turns.machine.clone().unwrap_or(of.machine),
        backend: of.backend,
        data: tuned
            .iter()
            .find(|(_, finished)| !finished.train.diverged)
            .map_or(String::new(), |(_, f)| f.measured.data.clone()),
        metric,
        variants,
        stored,
        baseline: plan.config.baseline.clone(),
        reference: plan.config.reference.clone(),
        seeds: plan.config.seeds.clone(),
        notes: plan.config.notes.clone(),
        conclusion: plan.config.conclusion.clone(),
        config,
        curves: true,
        scatter: plan.config.scatter,
        frontier,
        scaling,
        waited: turns.waited,
    })
}

/// What a configuration asks of the results: comparisons by cost, and a law of size.
pub fn asked(config: &ExperimentConfig) -> (Option<Frontier>, Option<Scaling>) {
    let frontier = config.frontier.as_ref().map(|asked| Frontier {
        bytes: asked.bytes.clone(),
        compute: asked.compute.clone(),
    });
    let scaling = config.scaling.as_ref().map(|asked| Scaling {
        fit_until: asked.fit_until,
        predict: asked.predict.clone(),
    });
    (frontier, scaling)
}

/// A variant's models in another format: their scores, and what the training of the variant took.
fn in_format(
    variant: &Variant,
    format: &str,
    stored: &[(u64, StoredAs)],
    metric: &Metric,
    speed: Option<Speed>,
) -> Variant {
    let first = stored.first().map(|(_, first)| first);
    let run = |run: &Run| {
        let (_, found) = stored.iter().find(|(seed, _)| *seed == run.seed)?;
        let metrics = found.score.named();
        Some(Run {
            seed: run.seed,
            learning_rate: run.learning_rate,
            score: metrics.get(&metric.key).copied().unwrap_or(f64::NAN),
            metrics,
            steps: run.steps,
            tokens: run.tokens,
            seconds: run.seconds,
            teacher_seconds: run.teacher_seconds,
            tokens_per_second: run.tokens_per_second,
            modelled: found.modelled.clone(),
            engine: Some(found.engine.clone()),
            ..Run::default()
        })
    };
    Variant {
        name: format!("{}-{format}", variant.name),
        label: Some(format!("{}, {format}", variant.words())),
        linear: variant.linear,
        curve: variant.curve.clone(),
        format: Some(format.to_owned()),
        stored_from: Some(variant.name.clone()),
        params: variant.params,
        ternary_weights: variant.ternary_weights,
        packed_bytes: first.map_or(0, |first| first.layer_bytes),
        file_bytes: first.map_or(0, |first| first.file_bytes),
        learning_rate: variant.learning_rate,
        speed,
        runs: variant.runs.iter().filter_map(run).collect(),
        ..Variant::default()
    }
}

fn variant(
    plan: &Plan,
    settings: &VariantConfig,
    job: &Job,
    finished: &Finished,
    grid: Vec<GridPoint>,
    runs: Vec<Run>,
    speed: Option<Speed>,
) -> Variant {
    let (measured, linear) = (&finished.measured, job.run.config.model.linear);
    let optim = job.run.config.train.optim(linear);
    Variant {
        name: settings.name.clone(),
        label: settings.label.clone(),
        group: settings.group.clone(),
        teacher: settings.teacher.clone(),
        baseline: settings.baseline.clone(),
        curve: settings.curve.clone(),
        format: None,
        stored_from: None,
        linear: match linear {
            LinearKind::Float => Linear::Float,
            LinearKind::Ternary => Linear::Ternary,
        },
        settings: plan
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
        grid,
        learning_rate: optim.learning_rate,
        optim: optim_lines(&optim),
        speed,
        runs,
    }
}

fn grid_point(job: &Job, finished: &Finished) -> Option<GridPoint> {
    let val = &finished.train.val;
    Some(GridPoint {
        learning_rate: job.rate?,
        score: match job.run.config.task {
            Task::Classify | Task::Vectors => val.accuracy.unwrap_or(f64::NAN),
            _ => val.loss,
        },
        seed: job.seed,
    })
}

fn one_run(
    job: &Job,
    finished: &Finished,
    teacher: Option<&Finished>,
    metric: &Metric,
) -> Result<Run, ExperimentError> {
    let teacher = teacher.map(|finished| &finished.train);
    let Finished { train, measured } = finished;
    let curves = match (train.steps, RunDir::open(&job.run.dir)) {
        // One whose teacher diverged has taken no step, and has no run.
        (0, Err(_)) => Curves::default(),
        (_, run) => Curves::read(&run?.metrics_path())?,
    };
    let mut metrics = measured.score.named();
    let score = |named: &std::collections::BTreeMap<String, f64>| {
        named.get(&metric.key).copied().unwrap_or(f64::NAN)
    };
    let (exported, trained) = (
        score(&metrics),
        measured.trained.map(|trained| score(&trained.named())),
    );
    metrics.insert("validation_loss".to_owned(), train.val.loss);
    Ok(Run {
        seed: job.seed,
        learning_rate: job
            .run
            .config
            .train
            .optim(job.run.config.model.linear)
            .learning_rate,
        score: exported,
        trained_score: trained,
        val: Some(train.val),
        initial_val_loss: Some(train.initial_val_loss),
        metrics,
        steps: train.steps as u64,
        tokens: train.tokens as u64,
        seconds: train.seconds,
        teacher_seconds: teacher.map(|teacher| teacher.seconds),
        tokens_per_second: train.tokens_per_second,
        peak_rss_bytes: train.peak_rss_bytes,
        inference_peak_rss_bytes: measured.peak_rss_bytes,
        latency_ms: None,
        energy_joules: match (train.energy_joules, teacher) {
            (Some(own), Some(teacher)) => teacher.energy_joules.map(|joules| own + joules),
            (own, _) => own,
        },
        modelled: measured.modelled.clone(),
        engine: measured.engine.clone(),
        text: measured.text.clone(),
        curve: curves.val,
        train_curve: Curves::thinned(&curves.train, 100),
        telemetry: curves.layers,
    })
}

/// The score by which the variants of a task are compared.
pub fn metric(task: Task) -> Metric {
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
    Metric {
        key: key.into(),
        label: label.into(),
        higher_is_better: higher,
        percent,
        unit: unit.into(),
    }
}

fn optim_lines(optim: &OptimConfig) -> Vec<String> {
    let name = match optim.optimizer {
        Optimizer::AdamW => "AdamW",
        Optimizer::Muon => "Muon for the matrices of the layers, momentum 0.95; AdamW for the rest",
    };
    let mut lines = vec![
        format!(
            "{name}, betas {} / {}, eps {:e}",
            optim.beta1, optim.beta2, optim.eps
        ),
        format!(
            "learning rate {:e}, {:?} to {} %, warm-up {} steps",
            optim.learning_rate,
            optim.schedule,
            100.0 * optim.final_lr_fraction,
            optim.warmup_steps
        ),
    ];
    if let Some(second) = optim.second_learning_rate {
        let from = 100.0 * optim.stage_fraction;
        lines.push(format!(
            "second stage from {from} % of the steps, learning rate {second:e}"
        ));
    }
    let until = 100.0 * optim.weight_decay_until;
    lines.push(format!(
        "weight decay {} until {until} % of the steps, gradient norm clipped at {}",
        optim.weight_decay, optim.grad_clip
    ));
    lines
}
