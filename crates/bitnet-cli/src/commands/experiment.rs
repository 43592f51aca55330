//! `bitnet experiment run DIR`, `plan DIR`, `manifest DIR` and `render [DIR]`.

mod manifest;
mod plan;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use anyhow::{Context, bail};
use bitnet_config::ExperimentConfig;
use bitnet_experiment::{
    Circumstances, Executor, ExperimentError, Job, Plan, Threads, Work, asked,
};
use bitnet_report::tables::main_table;
use bitnet_report::{INDEX_TITLE, render, render_index};
use bitnet_results::Experiment;
use bitnet_train::TrainError;
use serde::Serialize;

use super::Outcome;
use super::measure::formats;
use crate::args::{
    DeviceArgs, ExecutorKind, ExperimentArgs, ExperimentCommand, Format, RenderArgs, TaskArgs,
    WhichArgs,
};
use crate::process::Killed;
use crate::slurm::Slurm;
use crate::worker::Processes;
use crate::{command_line, interrupt, machine, output};

pub fn run(command: ExperimentCommand) -> anyhow::Result<Outcome> {
    match command {
        ExperimentCommand::Run(args) => execute(args),
        ExperimentCommand::Plan(args) => plan(&args),
        ExperimentCommand::Manifest(args) => manifest::run(&args),
        ExperimentCommand::Render(args) => render_all(&args),
        ExperimentCommand::Task(args) => task(&args),
    }
}

/// The experiment that is meant, and all that is known before the first step of its first run.
struct Chosen<'a> {
    name: String,
    folder: PathBuf,
    plan: Plan<'a>,
}

impl Chosen<'_> {
    fn load(which: &WhichArgs) -> anyhow::Result<Self> {
        let (config, folder) = ExperimentConfig::load(&which.experiment)?;
        let name = name_of(&folder)?;
        let (shared, base, overrides) = (config.clone(), folder.clone(), which.set.clone());
        let plan = Plan {
            configure: Box::new(move |variant, seed, rate, teacher| {
                shared.run(&base, variant, seed, rate, teacher, &overrides)
            }),
            config,
            runs: which
                .run_dir
                .clone()
                .unwrap_or_else(|| Path::new("runs/experiments").join(&name)),
            flat: false,
        };
        Ok(Self { name, folder, plan })
    }

    /// The runs that are certain, which are checked.
    fn first_jobs(&self, which: &WhichArgs) -> anyhow::Result<Vec<Job>> {
        let all = self.plan.first_jobs()?;
        for job in &all {
            let variant = &self.plan.config.variants[job.variant].name;
            let (config, backend) = (&job.run.config, which.device.backend);
            bitnet_train::check_training(config, backend)
                .map_err(anyhow::Error::from)
                .and_then(|()| formats::check(&job.run.formats, config, backend))
                .with_context(|| format!("variant \"{variant}\""))?;
        }
        Ok(all)
    }
}

fn execute(args: ExperimentArgs) -> anyhow::Result<Outcome> {
    let which = &args.which;
    let chosen = Chosen::load(which)?;
    let all = chosen.first_jobs(which)?;
    if let Some(file) = args.out.as_ref().filter(|out| out.is_file()) {
        bail!("--out {} is a file; give a folder", file.display());
    }
    if args.executor == ExecutorKind::Slurm && args.jobs > 1 {
        bail!(
            "--jobs is for runs on this machine; on a scheduler executor.at_once in experiment.toml limits them"
        );
    }
    let Chosen { name, folder, plan } = chosen;
    if args.dry_run {
        return dry_run(&args, &plan, &all);
    }
    let interrupted = interrupt::watch_quietly()?;
    let settings = plan.config.executor.clone();
    let (jobs, device) = (args.jobs as usize, &which.device);
    let worker = worker(
        device,
        threads_of(device.threads) / jobs,
        jobs,
        args.output.quiet,
    );
    let threads = Threads {
        worker: &worker,
        jobs,
        interrupted,
    };
    let slurm = Slurm {
        settings: &settings,
        name: &name,
        runs: &plan.runs,
        device,
        quiet: args.output.quiet,
        interrupted,
    };
    let (executor, how, place): (&dyn Executor, _, _) = match (args.executor, jobs) {
        (ExecutorKind::Slurm, _) => (
            &slurm,
            " --executor slurm".to_owned(),
            "a job of Slurm each".to_owned(),
        ),
        (ExecutorKind::Local, jobs) => (
            &threads,
            match jobs {
                1 => String::new(),
                jobs => format!(" --jobs {jobs}"),
            },
            format!("{jobs} at a time, threads of each: {}", worker.threads),
        ),
    };
    let circumstances = Circumstances {
        name: name.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        date: machine::today(),
        command: format!("bitnet experiment run {}{how}", folder.display()),
        machine: machine::this(),
        backend: format!("{}, {place}", device.backend),
        config: None,
    };
    let Some(experiment) = plan.execute(executor, circumstances)? else {
        if !args.output.quiet {
            output::say(format_args!(
                "interrupted; to go on: {}",
                command_line::again(&plan.runs)
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

/// What would run, and how long.
fn plan(args: &ExperimentArgs) -> anyhow::Result<Outcome> {
    let which = &args.which;
    let chosen = Chosen::load(which)?;
    let all = chosen.first_jobs(which)?;
    if args.dry_run {
        return dry_run(args, &chosen.plan, &all);
    }
    interrupt::watch_quietly()?;
    let jobs = args.jobs as usize;
    let each = (threads_of(which.device.threads) / jobs).max(1);
    let how = (&which.device, each, jobs);
    plan::print(&chosen.plan, &all, how, &args.output)
}

/// Processes of this machine that train and measure.
fn worker(device: &DeviceArgs, threads: usize, jobs: usize, quiet: bool) -> Processes<'_> {
    Processes {
        device,
        threads: threads.max(1),
        quiet,
        quiet_training: true,
        jobs,
        begun: Mutex::default(),
        time_steps: false,
    }
}

/// All that this process may use, where nobody says how many.
fn threads_of(asked: usize) -> usize {
    match asked {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    }
}

/// One part of the work of a scheduler.
fn task(args: &TaskArgs) -> anyhow::Result<Outcome> {
    interrupt::watch_quietly()?;
    let worker = worker(&args.device, threads_of(args.device.threads), 1, false);
    match Work::do_part(&args.work, args.index, &worker) {
        Ok(Some(())) => Ok(Outcome::Done),
        Ok(None) => Ok(Outcome::Interrupted),
        // It goes on from its checkpoint, as one that was told to end: also where it still runs on a node that was lost.
        Err(error) if kept_from_it(&error) => {
            output::say(format_args!("{error}"));
            Ok(Outcome::Interrupted)
        }
        Err(error) => Err(error.into()),
    }
}

/// Whether a run was kept from going on by others.
fn kept_from_it(error: &ExperimentError) -> bool {
    let ExperimentError::Worker(cause) = error else {
        return false;
    };
    let mut cause: Option<&(dyn Error + 'static)> = Some(cause.as_ref());
    while let Some(error) = cause {
        if error.is::<Killed>() || matches!(error.downcast_ref(), Some(TrainError::InUse(_))) {
            return true;
        }
        cause = error.source();
    }
    false
}

fn dry_run(args: &ExperimentArgs, plan: &Plan, all: &[Job]) -> anyhow::Result<Outcome> {
    let others = |variant| plan.config.seeds(variant).len() - 1;
    let rest: usize = plan.config.variants.iter().map(others).sum();
    if args.output.output == Format::Json {
        let dirs = all.iter().map(|job| job.run.dir.display().to_string());
        output::json(&DryRun {
            runs: dirs.collect(),
            further: rest,
        })?;
        return Ok(Outcome::Done);
    }
    for job in all {
        output::line(&job.run.dir.display().to_string())?;
    }
    output::line(&format!(
        "would train {} runs for the learning rates and {rest} for the other seeds",
        all.len()
    ))?;
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
            (experiment.frontier, experiment.scaling) = asked(&config);
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
    let overview = folder.join("overview.md");
    let overview = match overview.exists() {
        true => {
            std::fs::read_to_string(&overview).with_context(|| overview.display().to_string())?
        }
        false => String::new(),
    };
    render_index(&experiments, &overview, &index).with_context(|| index.display().to_string())?;
    output::line(&index.display().to_string())?;
    Ok(Outcome::Done)
}
