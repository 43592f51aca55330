//! `bitnet experiment run DIR` and `bitnet experiment render [DIR]`.
//!
//! An experiment is a list of runs. Each is a `bitnet train` and a `bitnet score` in processes of their own, in a folder that
//! says what it was (`config.toml`) and what came of it (`result.json`). A folder with the same configuration and a result is
//! not run again; one without a result goes on from its last checkpoint. So an interrupted experiment continues, and a new
//! variant costs only its own runs.

mod plan;
mod summary;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use bitnet_config::{ExperimentConfig, Task, VariantConfig};
use bitnet_report::experiment::{
    Experiment, INDEX_TITLE, render, render_index, tables::main_table,
};
use bitnet_train::Evaluation;

use self::plan::{Finished, Job, Plan};
use super::Outcome;
use crate::args::{ExperimentArgs, ExperimentCommand, Format, RenderArgs};
use crate::{interrupt, output};

pub fn run(command: ExperimentCommand) -> anyhow::Result<Outcome> {
    match command {
        ExperimentCommand::Run(args) => execute(args),
        ExperimentCommand::Render(args) => render_all(&args),
    }
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
        interrupted: interrupt::watch_quietly()?,
        config,
    };
    // Every configuration is checked before the first run begins.
    let all = plan.jobs(|_, variant| plan.tries(variant), |_| None)?;
    if let [first, others @ ..] = &all[..]
        && let Some(other) = others
            .iter()
            .find(|job| job.config.task != first.config.task)
    {
        let task = |job: &Job| job.config.task.name();
        bail!(
            "variants {} and {} have the tasks {} and {}, whose scores do not compare; give all the same task",
            plan.config.variants[first.variant].name,
            plan.config.variants[other.variant].name,
            task(first),
            task(other)
        );
    }
    if let Some(file) = args.out.as_ref().filter(|out| out.is_file()) {
        bail!("--out {} is a file; give a folder", file.display());
    }
    if args.dry_run {
        let rest = plan.config.variants.len() * (plan.config.seeds.len() - 1);
        for job in &all {
            output::line(&job.dir.display().to_string())?;
        }
        output::line(&format!(
            "would train {} runs for the learning rates and {rest} for the other seeds",
            all.len()
        ))?;
        return Ok(Outcome::Done);
    }
    let (mut tuned, mut others) = (Vec::new(), Vec::new());
    let mut best = BTreeMap::new();
    // Those that learn from the runs of others come after them.
    for taught in [false, true] {
        let now = |variant: &VariantConfig| plan.teacher(variant).is_some() == taught;
        let tuning = plan.jobs(
            |_, variant| match now(variant) {
                true => plan.tries(variant),
                false => Vec::new(),
            },
            |teacher| chosen(&best, teacher),
        )?;
        let Some(tuning) = plan.execute(tuning)? else {
            return Ok(Outcome::Interrupted);
        };
        choose(&mut best, &tuning);
        let rest = plan.jobs(
            |index, variant| match now(variant) {
                true => plan.rest(chosen(&best, index)),
                false => Vec::new(),
            },
            |teacher| chosen(&best, teacher),
        )?;
        let Some(rest) = plan.execute(rest)? else {
            return Ok(Outcome::Interrupted);
        };
        tuned.extend(tuning);
        others.extend(rest);
    }
    let chosen = |index: usize| chosen(&best, index);
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

/// The best result of each variant so far, and its learning rate.
type Best = BTreeMap<usize, (f64, Option<f64>)>;

fn choose(best: &mut Best, tuned: &[(Job, Finished)]) {
    for (job, finished) in tuned {
        let value = selection(job.config.task, &finished.train.val);
        let better = best.get(&job.variant).is_none_or(|(top, _)| value > *top);
        if better {
            best.insert(job.variant, (value, job.rate));
        }
    }
}

fn chosen(best: &Best, variant: usize) -> Option<f64> {
    best.get(&variant).and_then(|(_, rate)| *rate)
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

fn render_all(args: &RenderArgs) -> anyhow::Result<Outcome> {
    let folder = &args.folder;
    let entries = std::fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let mut summaries: Vec<PathBuf> = entries
        .flatten()
        // A folder with a `config.toml` is a run, whose summary is another.
        .filter(|entry| !entry.path().join("config.toml").exists())
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
    let index = folder.join("README.md");
    let foreign = |text: String| !text.starts_with(INDEX_TITLE);
    if std::fs::read_to_string(&index).is_ok_and(foreign) {
        bail!(
            "{} was not written by this command, which would replace it; move it",
            index.display()
        );
    }
    // All are read before anything is written.
    let mut loaded = Vec::new();
    for path in summaries {
        let experiment = Experiment::load(&path)?;
        if experiment.variants.is_empty() {
            bail!(
                "{}: no experiment's summary, it has no variants; remove it, or run the experiment again",
                path.display()
            );
        }
        loaded.push((path, experiment));
    }
    let mut experiments = Vec::new();
    for (path, mut experiment) in loaded {
        let dir = path.parent().unwrap_or(folder);
        // What the results mean is written after they are known: taken from the configuration as it is now.
        if let Ok((config, _)) = ExperimentConfig::load(dir) {
            experiment.title = config.title;
            experiment.question = config.question;
            experiment.conclusion = config.conclusion;
            experiment.notes = config.notes;
            for variant in &mut experiment.variants {
                if let Some(own) = config.variants.iter().find(|v| v.name == variant.name) {
                    own.words().clone_into(&mut variant.label);
                    variant.group.clone_from(&own.group);
                }
            }
            experiment.save(&path)?;
        }
        render(&experiment, dir).with_context(|| dir.display().to_string())?;
        output::line(&dir.join("report.md").display().to_string())?;
        experiments.push(experiment);
    }
    render_index(&experiments, &index).with_context(|| index.display().to_string())?;
    output::line(&index.display().to_string())?;
    Ok(Outcome::Done)
}
