//! `bitnet compare [CONFIG]`: trains both twins, measures them, writes one report.
//!
//! Each twin trains and is measured in a process of its own (this binary again), so that peak memory is the twin's and
//! not the sum of what ran before it. The twins run one after the other: side by side they would slow each other down.

use std::path::Path;
use std::sync::atomic::Ordering;

use anyhow::{Context, bail};
use bitnet_config::{OptimConfig, RunConfig, Task};
use bitnet_data::Corpus;
use bitnet_models::LinearKind;
use bitnet_report::energy::{self, ModelShape};
use bitnet_report::{DataInfo, Summary, Train, TrainPoint, Twin, ValPoint};
use bitnet_train::{Metric, RunDir, TrainSummary};

use super::Outcome;
use crate::args::{CompareArgs, Format};
use crate::{interrupt, machine, output, process, setup};

/// The twins, in the order they train and stand in the report.
const TWINS: [LinearKind; 2] = [LinearKind::Float, LinearKind::Ternary];

pub fn run(args: CompareArgs) -> anyhow::Result<Outcome> {
    let mut config = setup::load_config(args.config.as_deref(), &args.overrides)?;
    if args.overrides.print_config {
        output::piece(&config.to_toml()?)?;
        return Ok(Outcome::Done);
    }
    if config.task != Task::Lm {
        bail!(
            "`bitnet compare` compares language models; for task = \"{}\" use `bitnet experiment run`, with a variant for each \
             twin",
            config.task.name()
        );
    }
    // Everything that can be wrong with the input is found here, before the first step of the first twin.
    bitnet_train::check_training(&config, args.device.backend)?;
    let corpus = setup::load_corpus(&mut config)?;
    for prompt in &config.compare.prompts {
        let tokens = corpus
            .tokenizer
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
    let device = setup::open_device(&args.device)?;
    config
        .model
        .check_device(false, &device.clone().autodiff())?;
    let device_name = setup::device_name(args.device.backend, &device);
    let dir = setup::new_run_dir(args.run_dir.clone(), &config.name);
    if args.overrides.dry_run {
        output::line(&format!(
            "would train a float and a ternary twin for {} steps each on {} ({} training tokens, vocabulary {}), \
             {} on {device_name}, in {}",
            config.train.steps,
            corpus.name,
            corpus.train.len(),
            config.model.vocab_size,
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
    std::fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;

    let interrupted = interrupt::watch_quietly()?;
    let mut twins = Vec::new();
    for kind in TWINS {
        match twin(&config, kind, &dir, &args)? {
            Some(twin) if !interrupted.load(Ordering::Relaxed) => twins.push(twin),
            _ => return Ok(Outcome::Interrupted),
        }
    }

    let report = dir.join("report.html");
    let summary = Summary {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        name: config.name.clone(),
        date: machine::today(),
        command: std::env::args().collect::<Vec<_>>().join(" "),
        backend: args.device.backend.to_string(),
        device: device_name,
        machine: machine::this(),
        seed: Some(config.train.seed),
        data: data(&corpus),
        twins,
        config: config.to_toml()?,
        report: report.display().to_string(),
    };
    summary.save(&dir.join("summary.json"))?;
    bitnet_report::render_all(&summary, &dir)
        .with_context(|| format!("the report in {}", dir.display()))?;
    match args.output.output {
        Format::Json => output::json(&summary)?,
        Format::Md => output::piece(&bitnet_report::main_table(&summary).to_markdown())?,
        Format::Csv => output::piece(&bitnet_report::main_table(&summary).to_csv())?,
        Format::Text => {
            output::line(&bitnet_report::main_table(&summary).to_text())?;
            output::line(&bitnet_report::headline(&summary))?;
            output::line(&format!("\nreport: {}", report.display()))?;
        }
    }
    let disagree = summary
        .twins
        .iter()
        .filter_map(|twin| twin.packed.as_ref())
        .any(|packed| packed.token_match.equal != packed.token_match.compared);
    if disagree {
        eprintln!("error: the packed model does not answer as the trained one: see the report");
        return Ok(Outcome::CheckFailed);
    }
    Ok(Outcome::Done)
}

/// Trains and measures one twin; `None` if it was interrupted.
fn twin(
    config: &RunConfig,
    kind: LinearKind,
    dir: &Path,
    args: &CompareArgs,
) -> anyhow::Result<Option<Twin>> {
    let name = match kind {
        LinearKind::Float => Summary::FLOAT,
        LinearKind::Ternary => Summary::TERNARY,
    };
    let mut config = config.clone();
    config.model.linear = kind;
    let run_dir = dir.join(name);
    let config_path = dir.join(format!("{name}.toml"));
    bitnet_report::write_atomic(&config_path, config.to_toml()?.as_bytes())
        .with_context(|| config_path.display().to_string())?;

    let mut train = process::child(&args.device, args.device.threads)?;
    train
        .arg("train")
        .arg(&config_path)
        .arg("--run-dir")
        .arg(&run_dir);
    train.args(["-o", "json"]);
    if args.output.quiet {
        train.arg("--quiet");
    }
    let Some(trained) = process::answer::<TrainSummary>(train, name)? else {
        return Ok(None);
    };
    if !args.output.quiet {
        eprintln!("{name} measuring");
    }
    let mut measure = process::child(&args.device, args.device.threads)?;
    measure.arg("measure").arg(&run_dir);
    let Some(mut twin) = process::answer::<Twin>(measure, name)? else {
        return Ok(None);
    };
    let (train_curve, val_curve) = curves(&RunDir::open(&run_dir)?)?;
    twin.name = name.to_owned();
    twin.optim = optim_lines(&config.train.optim(kind));
    twin.initial_val_loss = Some(trained.initial_val_loss);
    twin.ms_per_step = Some(1e3 * trained.seconds / trained.steps.max(1) as f64);
    twin.train = Train {
        steps: trained.steps as u64,
        tokens: trained.tokens as u64,
        seconds: trained.seconds,
        tokens_per_second: trained.tokens_per_second,
        peak_rss_bytes: trained.peak_rss_bytes,
    };
    twin.energy = Some(shape(&config).energy(
        match kind {
            LinearKind::Float => energy::LinearKind::Float,
            LinearKind::Ternary => energy::LinearKind::Ternary,
        },
        config.train.context as u64,
    ));
    twin.train_curve = train_curve;
    twin.val_curve = val_curve;
    Ok(Some(twin))
}

/// The curves of a run, from its `metrics.jsonl`.
fn curves(run: &RunDir) -> anyhow::Result<(Vec<TrainPoint>, Vec<ValPoint>)> {
    let path = run.metrics_path();
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let (mut train, mut val) = (Vec::new(), Vec::new());
    for line in text.lines() {
        match serde_json::from_str(line).with_context(|| path.display().to_string())? {
            Metric::Train { step, loss, lr, .. } => train.push(TrainPoint {
                step: step as u64,
                loss,
                lr,
            }),
            Metric::Val {
                step,
                loss,
                seconds,
                ..
            } => val.push(ValPoint {
                step: step as u64,
                seconds,
                loss,
            }),
            Metric::Layers { .. } => {}
        }
    }
    Ok((train, val))
}

fn optim_lines(optim: &OptimConfig) -> Vec<String> {
    let mut lines = vec![
        format!(
            "AdamW, betas {} / {}, eps {:e}",
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
        lines.push(format!(
            "second stage from {} % of the steps, learning rate {second:e}",
            100.0 * optim.stage_fraction
        ));
    }
    lines.push(format!(
        "weight decay {} until {} % of the steps, gradient norm clipped at {}",
        optim.weight_decay,
        100.0 * optim.weight_decay_until,
        optim.grad_clip
    ));
    lines
}

fn shape(config: &RunConfig) -> ModelShape {
    let model = &config.model;
    ModelShape {
        hidden: model.hidden_size as u64,
        intermediate: model.intermediate_size as u64,
        layers: model.num_hidden_layers as u64,
        heads: model.num_attention_heads as u64,
        kv_heads: model.kv_heads() as u64,
        head_dim: model.head_width() as u64,
        vocab: model.vocab_size as u64,
    }
}

fn data(corpus: &Corpus) -> DataInfo {
    DataInfo {
        description: format!("{}, {} level", corpus.name, corpus.tokenizer.kind()),
        train_tokens: corpus.train.len() as u64,
        validation_tokens: corpus.validation.len() as u64,
        vocab: corpus.tokenizer.vocab_size(),
    }
}
