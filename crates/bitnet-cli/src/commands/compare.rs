//! `bitnet compare [CONFIG]`: an experiment of two variants, float and ternary, and one seed, of any task.
//!
//! Each trains and is measured in a process of its own, one after the other: side by side they would slow each other
//! down. Speeds are then measured in turns.

use anyhow::{Context, bail};
use bitnet_config::{ExperimentConfig, RunConfig, Task as Kind, VariantConfig};
use bitnet_experiment::{Circumstances, Plan};
use bitnet_models::LinearKind;
use bitnet_report::tables::main_table;
use bitnet_report::{headline, render};
use bitnet_results::{Comparison, save_json};
use bitnet_train::Task;

use super::Outcome;
use crate::args::{CompareArgs, Format};
use crate::worker::Processes;
use crate::{configuration, device, interrupt, machine, output, run_folder, task};

pub fn run(args: CompareArgs) -> anyhow::Result<Outcome> {
    let mut config = configuration::load(args.config.as_deref(), &args.overrides)?;
    if args.overrides.print_config {
        output::piece(&config.to_toml()?)?;
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
    let dir = run_folder::fresh(args.run_dir.clone(), &config.name);
    if args.overrides.dry_run {
        output::line(&format!(
            "would train a float and a ternary model for {} steps each on {data}, {} on {device_name}, in {}",
            config.train.steps,
            args.device.backend,
            dir.display()
        ))?;
        return Ok(Outcome::Done);
    }
    if dir.join("summary.json").exists() || dir.join("float").exists() {
        bail!(
            "{} holds a comparison already; choose another --run-dir or remove it",
            dir.display()
        );
    }
    let shared = config.clone();
    let plan = Plan {
        config: variants(&config),
        configure: Box::new(move |variant, _, _, _| {
            let mut config = shared.clone();
            config.model.linear = match variant.name.as_str() {
                FLOAT => LinearKind::Float,
                _ => LinearKind::Ternary,
            };
            Ok(config)
        }),
        runs: dir.clone(),
        flat: true,
        jobs: 1,
        interrupted: interrupt::watch_quietly()?,
    };
    let worker = Processes {
        device: &args.device,
        threads: args.device.threads,
        quiet: args.output.quiet,
        quiet_training: args.output.quiet,
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
    let Some(experiment) = plan.execute(&worker, circumstances)? else {
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
            output::line(&main_table(&experiment).to_text())?;
            output::line(&headline(&experiment))?;
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
            .filter(|_| config.task == Kind::Lm);
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
