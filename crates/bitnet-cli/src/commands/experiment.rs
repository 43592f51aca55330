//! `bitnet experiment run DIR`, `plan DIR` and `render [DIR]`.

mod plan;

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use anyhow::{Context, bail};
use bitnet_config::ExperimentConfig;
use bitnet_experiment::{Circumstances, Plan};
use bitnet_report::tables::main_table;
use bitnet_report::{INDEX_TITLE, render, render_index};
use bitnet_results::Experiment;
use serde::Serialize;

use super::Outcome;
use crate::args::{ExperimentArgs, ExperimentCommand, Format, RenderArgs};
use crate::worker::Processes;
use crate::{command_line, interrupt, machine, output};

pub fn run(command: ExperimentCommand) -> anyhow::Result<Outcome> {
    match command {
        ExperimentCommand::Run(args) => execute(args, false),
        ExperimentCommand::Plan(args) => execute(args, true),
        ExperimentCommand::Render(args) => render_all(&args),
    }
}

fn execute(args: ExperimentArgs, only_plan: bool) -> anyhow::Result<Outcome> {
    let (config, folder) = ExperimentConfig::load(&args.experiment)?;
    let name = name_of(&folder)?;
    let (shared, base, overrides) = (config.clone(), folder.clone(), args.set.clone());
    let plan = Plan {
        configure: Box::new(move |variant, seed, rate, teacher| {
            shared.run(&base, variant, seed, rate, teacher, &overrides)
        }),
        config,
        runs: args
            .run_dir
            .clone()
            .unwrap_or_else(|| Path::new("runs/experiments").join(&name)),
        flat: false,
        jobs: args.jobs as usize,
        interrupted: interrupt::watch_quietly()?,
    };
    let all = plan.first_jobs()?;
    // Before the first step of the first run.
    for job in &all {
        bitnet_train::check_training(&job.config, args.device.backend)
            .with_context(|| format!("variant \"{}\"", plan.config.variants[job.variant].name))?;
    }
    if let Some(file) = args.out.as_ref().filter(|out| out.is_file()) {
        bail!("--out {} is a file; give a folder", file.display());
    }
    if args.dry_run {
        let rest = plan.config.variants.len() * (plan.config.seeds.len() - 1);
        if args.output.output == Format::Json {
            let dirs = all.iter().map(|job| job.dir.display().to_string());
            output::json(&DryRun {
                runs: dirs.collect(),
                further: rest,
            })?;
            return Ok(Outcome::Done);
        }
        for job in &all {
            output::line(&job.dir.display().to_string())?;
        }
        output::line(&format!(
            "would train {} runs for the learning rates and {rest} for the other seeds",
            all.len()
        ))?;
        return Ok(Outcome::Done);
    }
    let threads = match args.device.threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    };
    if only_plan {
        let each = (threads / plan.jobs).max(1);
        return plan::print(&plan, &all, (&args.device, each), &args.output);
    }
    let worker = Processes {
        device: &args.device,
        threads: (threads / plan.jobs).max(1),
        quiet: args.output.quiet,
        quiet_training: true,
        jobs: plan.jobs,
        begun: Mutex::default(),
        time_steps: false,
    };
    let jobs = match plan.jobs {
        1 => String::new(),
        jobs => format!(" --jobs {jobs}"),
    };
    let circumstances = Circumstances {
        name,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        date: machine::today(),
        command: format!("bitnet experiment run {}{jobs}", folder.display()),
        machine: machine::this(),
        backend: format!(
            "{}, {} at a time, threads of each: {}",
            args.device.backend, plan.jobs, worker.threads
        ),
        config: None,
    };
    let runs = plan.runs.clone();
    let Some(experiment) = plan.execute(&worker, circumstances)? else {
        if !args.output.quiet {
            output::say(format_args!(
                "interrupted; to go on: {}",
                command_line::again(&runs)
            ));
        }
        return Ok(Outcome::Interrupted);
    };
    let out = args.out.clone().unwrap_or(folder);
    std::fs::create_dir_all(&out).with_context(|| out.display().to_string())?;
    experiment.save(&out.join("summary.json"))?;
    render(&experiment, &out).with_context(|| format!("the report in {}", out.display()))?;
    match args.output.output {
        Format::Json => output::json(&experiment)?,
        Format::Md => output::piece(&main_table(&experiment).to_markdown())?,
        Format::Csv => output::piece(&main_table(&experiment).to_csv())?,
        Format::Text => {
            output::table(&main_table(&experiment))?;
            output::line(&format!("\nreport: {}", out.join("report.html").display()))?;
        }
    }
    Ok(Outcome::Done)
}

/// What `--dry-run` finds.
#[derive(Serialize)]
struct DryRun {
    /// Folders of the runs for the learning rates.
    runs: Vec<String>,
    /// Runs under the other seeds, whose learning rates these decide.
    further: usize,
}

fn name_of(folder: &Path) -> anyhow::Result<String> {
    let folder = std::fs::canonicalize(folder).with_context(|| folder.display().to_string())?;
    let name = folder.file_name().and_then(|name| name.to_str());
    Ok(name.unwrap_or("experiment").to_owned())
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
                    variant.label.clone_from(&own.label);
                    variant.group.clone_from(&own.group);
                }
            }
            experiment.save(&path)?;
        }
        render(&experiment, dir).with_context(|| dir.display().to_string())?;
        output::line(&dir.join("report.html").display().to_string())?;
        experiments.push(experiment);
    }
    render_index(&experiments, &index).with_context(|| index.display().to_string())?;
    output::line(&index.display().to_string())?;
    Ok(Outcome::Done)
}
