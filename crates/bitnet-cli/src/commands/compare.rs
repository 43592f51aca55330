//! `bitnet compare [CONFIG]`: an experiment of two variants, float and ternary, and one seed, of any task.
//!
//! Each trains and is measured in a process of its own, one after the other: side by side they would slow each other
//! down. Speeds are then measured in turns.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use anyhow::{Context, bail};
use bitnet_config::{ExperimentConfig, RunConfig, Task as Kind, VariantConfig};
use bitnet_experiment::{Circumstances, Plan, Threads};
use bitnet_models::LinearKind;
use bitnet_report::tables::main_table;
use bitnet_report::{headline, render};
use bitnet_results::{Comparison, save_json};
use bitnet_train::{FolderLock, Task};
use burn::tensor::Device;
use serde::Serialize;

use super::Outcome;
use crate::args::{CompareArgs, Format};
use crate::estimate::Estimate;
use crate::worker::Processes;
use crate::{command_line, configuration, device, interrupt, machine, output, run_folder, task};

pub fn run(args: CompareArgs) -> anyhow::Result<Outcome> {
    let mut config = configuration::load(args.config.as_deref(), &args.overrides, None)?;
    if args.overrides.print_config {
        configuration::print(&config, args.output.output)?;
        return Ok(Outcome::Done);
    }
    // Everything that can be wrong with the input is found here, before the first step of the first model.
    bitnet_train::check_training(&config, args.device.backend)?;
    device::set_threads(args.device.threads)?;
    let device = device::open(&args.device)?;
    let data = task::open(&mut config, None, Check)?;
    config
        .model
        .check_device(false, &device.clone().autodiff())?;
    let device_name = device::name(args.device.backend, &device);
    let (dir, goes_on) = folder(&args, &config)?;
    if args.overrides.dry_run {
        return dry_run(&args, &config, &dir, &device, &data, &device_name);
    }
    if goes_on && !args.output.quiet {
        output::say(format_args!(
            "{} is not finished: going on with it",
            dir.display()
        ));
    }
    let shared = config.clone();
    let plan = Plan {
        config: variants(&config),
        configure: Box::new(move |variant, _, _, _| Ok(twin(&shared, &variant.name))),
        runs: dir.clone(),
        flat: true,
    };
    let interrupted = interrupt::watch_quietly()?;
    let worker = Processes {
        device: &args.device,
        threads: args.device.threads,
        quiet: args.output.quiet,
        quiet_training: args.output.quiet,
        jobs: 1,
        begun: Mutex::default(),
        time_steps: true,
    };
    let circumstances = Circumstances {
        name: config.name.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        date: machine::today(),
        command: std::env::args().collect::<Vec<_>>().join(" "),
        machine: machine::this(),
        backend: format!("{}, {device_name}", args.device.backend),
        config: Some(config.to_toml()?),
    };
    let threads = Threads {
        worker: &worker,
        jobs: 1,
        interrupted,
    };
    let Some(experiment) = plan.execute(&threads, circumstances)? else {
        if !args.output.quiet {
            output::say(format_args!(
                "interrupted; to go on: {}",
                command_line::again(&dir)
            ));
        }
        return Ok(Outcome::Interrupted);
    };
    let report = dir.join("report.html");
    let comparison = Comparison::of(&experiment, report.display().to_string());
    save_json(&comparison, &dir.join("summary.json"))?;
    render(&experiment, &dir).with_context(|| format!("the report in {}", dir.display()))?;
    match args.output.output {
        Format::Json => output::json(&comparison)?,
        Format::Md => output::piece(&main_table(&experiment).to_markdown())?,
        Format::Csv => output::piece(&main_table(&experiment).to_csv())?,
        Format::Text => {
            output::table(&main_table(&experiment))?;
            output::line("")?;
            output::prose(&headline(&experiment))?;
            output::line(&format!("\nreport: {}", report.display()))?;
        }
    }
    let mut matches = experiment
        .variants
        .iter()
        .filter_map(|v| v.runs.first()?.text.as_ref()?.token_match);
    if matches.any(|found| found.equal != found.compared) {
        output::say("error: the packed model does not answer as the trained one: see the report");
        return Ok(Outcome::CheckFailed);
    }
    Ok(Outcome::Done)
}

const FLOAT: &str = "float";
const TERNARY: &str = "ternary";

/// Tells what would be done and what it would take.
fn dry_run(
    args: &CompareArgs,
    config: &RunConfig,
    dir: &Path,
    device: &Device,
    data: &str,
    device_name: &str,
) -> anyhow::Result<Outcome> {
    let estimates = [FLOAT, TERNARY]
        .into_iter()
        .map(|name| task::open(&mut twin(config, name), None, Measure(device)))
        .collect::<anyhow::Result<Vec<Estimate>>>()?;
    match args.output.output {
        Format::Text => {
            output::prose(&format!(
                "would train a float and a ternary model for {} steps each on {data}, {} on {device_name}, in {}",
                config.train.steps,
                args.device.backend,
                dir.display()
            ))?;
            for estimate in &estimates {
                output::prose(&estimate.text())?;
            }
        }
        Format::Json => output::json(&DryRun {
            run_dir: dir.display().to_string(),
            twins: estimates,
        })?,
        Format::Md | Format::Csv => bail!("--dry-run writes text or json"),
    }
    Ok(Outcome::Done)
}

/// What `--dry-run` finds.
#[derive(Serialize)]
struct DryRun {
    run_dir: String,
    twins: Vec<Estimate>,
}

/// Measures what the training of a twin takes.
struct Measure<'a>(&'a Device);

impl task::Visitor for Measure<'_> {
    type Output = Estimate;

    fn visit<T: Task>(self, config: &RunConfig, task: &T) -> anyhow::Result<Estimate> {
        Ok(Estimate::measure(config, task, self.0)?)
    }
}

/// The settings of one twin.
fn twin(shared: &RunConfig, name: &str) -> RunConfig {
    let mut config = shared.clone();
    config.model.linear = match name {
        FLOAT => LinearKind::Float,
        _ => LinearKind::Ternary,
    };
    config
}

/// The folder of the comparison, and whether it holds a part of this one already: the one asked for, or the newest of
/// `runs/NAME`, `runs/NAME-2`, … that was stopped and had the same settings, or else the first free one.
fn folder(args: &CompareArgs, config: &RunConfig) -> anyhow::Result<(PathBuf, bool)> {
    // Every run's settings stand beside its folder from its first moment on.
    let began = twin(config, FLOAT).to_toml()?;
    let ours = |dir: &Path| {
        std::fs::read_to_string(dir.join(FLOAT).with_extension("toml"))
            .is_ok_and(|known| known == began)
    };
    if let Some(dir) = &args.run_dir {
        return Ok((dir.clone(), ours(dir) && !dir.join(LAST).exists()));
    }
    let stopped = run_folder::existing(&config.name)
        .into_iter()
        .rev()
        .find(|dir| ours(dir) && !dir.join(LAST).exists() && FolderLock::take(dir).is_ok());
    Ok(match stopped {
        Some(dir) => (dir, true),
        None => (run_folder::fresh(None, &config.name), false),
    })
}

/// The last file that a comparison writes.
const LAST: &str = "report.html";

/// The experiment that a comparison is.
fn variants(config: &RunConfig) -> ExperimentConfig {
    let variant = |name: &str| VariantConfig {
        name: name.to_owned(),
        ..VariantConfig::default()
    };
    ExperimentConfig {
        title: format!("Float and ternary: {}", config.name),
        seeds: vec![config.train.seed],
        baseline: Some(FLOAT.to_owned()),
        variants: vec![variant(FLOAT), variant(TERNARY)],
        ..ExperimentConfig::default()
    }
}

/// Checks what is measured of the finished models, and says what is learned from.
struct Check;

impl task::Visitor for Check {
    type Output = String;

    fn visit<T: Task>(self, config: &RunConfig, task: &T) -> anyhow::Result<String> {
        let prompts = config
            .compare
            .prompts
            .iter()
            .filter(|_| config.task == Kind::Lm && config.train.init_from.is_none());
        for prompt in prompts {
            let tokenizer = task
                .tokenizer()
                .context("compare.prompts needs a tokenizer")?;
            let tokens = tokenizer
                .encode(prompt)
                .context("compare.prompts cannot be encoded")?;
            if tokens.is_empty() {
                bail!("compare.prompts holds an empty prompt; remove it");
            }
            let (tokens, context) = (tokens.len(), config.model.max_position_embeddings);
            if tokens > context {
                bail!(
                    "a prompt of compare.prompts has {tokens} tokens, the model's context holds {context} \
                     (model.max_position_embeddings); shorten it"
                );
            }
        }
        Ok(task.description())
    }
}
