//! `bitnet train CONFIG`

use std::path::Path;

use anyhow::{Context, bail};
use bitnet_config::{RunConfig, Task as Kind};
use bitnet_models::LinearKind;
use bitnet_results::TrainSummary;
use bitnet_train::{
    Backend, Checkpoint, RateSearch, RunDir, Task, TrainError, Trained, Training, check_devices,
    check_same, export, find_rate,
};
use burn::tensor::Device;
use serde::Serialize;

use super::Outcome;
use crate::args::{Format, TrainArgs};
use crate::estimate::Estimate;
use crate::progress::{Display, How};
use crate::{allocator, configuration, device, interrupt, output, run_folder, task};

pub fn run(args: TrainArgs) -> anyhow::Result<Outcome> {
    allocator::keep_freed_memory();
    if matches!(args.output.output, Format::Md | Format::Csv) {
        bail!("`bitnet train` writes text or json");
    }
    let run = match (&args.resume, &args.run_dir) {
        (Some(_), Some(path)) => Some(RunDir::open(path)?),
        _ => None,
    };
    let mut config = configuration::load(Some(&args.config), &args.overrides, run.as_ref())?;
    if args.overrides.print_config {
        configuration::print(&config, args.output.output)?;
        return Ok(Outcome::Done);
    }
    if let Some(strategy) = args.strategy {
        if !matches!(args.device.backend, Backend::Flex | Backend::NdArray) {
            bail!(
                "--strategy is for the CPU backends, and {} is none: leave it out",
                args.device.backend
            );
        }
        strategy.train_by()?;
    }
    // Before the data, which is cut into tokens on all threads.
    device::set_threads(args.device.threads)?;
    bitnet_train::check_training(&config, args.device.backend)?;
    task::open(&mut config, run.as_ref(), Train(args))
}

/// What `--dry-run` finds.
#[derive(Serialize)]
struct DryRun {
    run_dir: String,
    #[serde(flatten)]
    estimate: Estimate,
}

/// Trains whatever the task is.
struct Train(TrainArgs);

impl task::Visitor for Train {
    type Output = Outcome;

    fn visit<T: Task>(self, config: &RunConfig, task: &T) -> anyhow::Result<Outcome> {
        let Train(args) = self;
        let (device, others) = device::open_all(&args.device, &args.devices)?;
        check_devices(config, 1 + others.len())?;
        for device in std::iter::once(&device).chain(&others) {
            let device = device.clone().autodiff();
            config.model.check_device(false, &device)?;
        }
        allocator::forget_peak();
        task.prepare(&device)?;
        if args.overrides.dry_run {
            let path = run_folder::fresh(args.run_dir, &config.name);
            let estimate = Estimate::measure(config, task, &device)?;
            if !others.is_empty() {
                output::say("note: times are those of the first device alone");
            }
            match args.output.output {
                Format::Json => output::json(&DryRun {
                    run_dir: path.display().to_string(),
                    estimate,
                })?,
                _ => output::prose(&format!(
                    "would train on {} in {}\n{}",
                    task.description(),
                    path.display(),
                    estimate.text()
                ))?,
            }
            return Ok(Outcome::Done);
        }
        if let Some(steps) = args.find_rate {
            return rates(config, task, &device, steps as usize, args.output.output);
        }
        let (run, resume) = match (&args.resume, args.run_dir) {
            (Some(from), Some(path)) => {
                let run = RunDir::open_to_train(path)?;
                check_same(&run, config)?;
                run.check_data(task.tokenizer(), task.label_names())?;
                let resume = match from.as_str() {
                    "auto" => Checkpoint::newest_first(&run)?,
                    path if !Path::new(path).join("state.json").is_file() => bail!(
                        "--resume {path:?} is no checkpoint; give `auto`, or a folder RUN/checkpoints/step-…"
                    ),
                    path => vec![Checkpoint::at(path)],
                };
                (run, resume)
            }
            (_, asked) => {
                let path = run_folder::reserve(asked, &config.name)?;
                let (tokenizer, largest) = (task.tokenizer(), task.largest_feature());
                let (labels, origin) = (task.label_names(), task.origin());
                let run = RunDir::create(path, config, tokenizer, labels, largest, origin)?;
                (run, Vec::new())
            }
        };
        let label = match config.model.linear {
            LinearKind::Float => "float",
            LinearKind::Ternary => "ternary",
        };
        let how = How {
            quiet: args.output.quiet,
            lines: args.no_tui,
            tensorboard: args.tensorboard,
        };
        let mut display = Display::new(label, how, &run)
            .with_context(|| format!("cannot write to {}", run.path().display()))?;
        let training = Training {
            config,
            task,
            run: &run,
            device: &device,
            others: &others,
            resume,
            interrupt: interrupt::watch()?,
        };
        // On a thread of the pool itself: a step is hundreds of short parallel loops, and handing each one over from
        // outside the pool costs two switches of threads.
        let trained = rayon::scope(|_| training.run(&mut display));
        drop(display);
        let (summary, outcome) = match trained {
            Ok(Trained { summary, .. }) if summary.interrupted => (summary, Outcome::Interrupted),
            Ok(Trained { summary, model }) => {
                export(&run, &model, summary.steps)?;
                (summary, Outcome::Done)
            }
            Err(TrainError::Diverged { ref summary, .. }) => {
                if let Err(error) = &trained {
                    output::say(format_args!("error: {error}"));
                }
                ((**summary).clone(), Outcome::Diverged)
            }
            Err(error) => return Err(error.into()),
        };
        match (args.output.output, outcome) {
            (Format::Json, _) => output::json(&summary)?,
            (_, Outcome::Diverged) => {}
            (_, Outcome::Interrupted) => output::line(&format!(
                "{dir}: interrupted after {} of {} steps, saved; `bitnet train {dir}/config.toml --run-dir {dir} --resume \
                 auto` goes on",
                summary.steps,
                config.train.steps,
                dir = summary.run_dir
            ))?,
            _ => output::prose(&text(config, &summary))?,
        }
        Ok(outcome)
    }
}

/// Finds a learning rate and shows how the loss went with it.
fn rates<T: Task>(
    config: &RunConfig,
    task: &T,
    device: &Device,
    steps: usize,
    format: Format,
) -> anyhow::Result<Outcome> {
    let interrupt = interrupt::watch()?;
    let search = rayon::scope(|_| find_rate(config, task, device, steps, interrupt))?;
    match format {
        Format::Json => output::json(&search)?,
        _ => output::line(&rates_text(config, &search))?,
    }
    Ok(match interrupt.load(std::sync::atomic::Ordering::Relaxed) {
        true => Outcome::Interrupted,
        false => Outcome::Done,
    })
}

/// Rows of the table of rates.
const RATES: usize = 30;

fn rates_text(config: &RunConfig, search: &RateSearch) -> String {
    let finite = || search.points.iter().map(|point| point.smoothed);
    let low = finite().fold(f64::INFINITY, f64::min);
    let high = finite().fold(f64::NEG_INFINITY, f64::max);
    let mut text = format!("{:>9}  {:>8}\n", "rate", "loss");
    let every = search.points.len().div_ceil(RATES).max(1);
    for point in search.points.iter().step_by(every) {
        let share = (point.smoothed - low) / (high - low).max(f64::MIN_POSITIVE);
        let bar = "█".repeat((share * 50.0).round() as usize);
        text += &format!("{:>9.2e}  {:>8.4}  {bar}\n", point.rate, point.smoothed);
    }
    let Some((lowest, suggested)) = search.lowest.zip(search.suggested) else {
        return text + "the loss was no number at the smallest rate";
    };
    let fastest = search.steepest.map_or(String::new(), |rate| {
        format!(", fell fastest at {rate:.1e}")
    });
    let own = match config.model.linear {
        LinearKind::Float => "float",
        LinearKind::Ternary => "ternary",
    };
    text + &format!(
        "the loss (a running mean) was lowest at {lowest:.1e}{fastest}; try a third of the former as the peak of a schedule:\n\
         --set train.{own}.learning_rate={suggested:.1e}"
    )
}

fn text(config: &RunConfig, summary: &TrainSummary) -> String {
    let memory = summary
        .peak_rss_bytes
        .map_or("not measured".to_owned(), bitnet_report::format::bytes);
    let unit = match config.task {
        Kind::Vectors | Kind::Layer => "examples",
        _ => "tokens",
    };
    let measure = |name: &str, value: Option<f64>| {
        value.map_or(String::new(), |v| format!(", {name} {v:.3}"))
    };
    let quality =
        measure("perplexity", summary.val.perplexity) + &measure("accuracy", summary.val.accuracy);
    let early = match (
        summary.stopped_early,
        summary.best_val_loss,
        summary.best_step,
    ) {
        (true, Some(loss), Some(step)) => format!(
            "\nstopped early; lowest validation loss {loss:.4} at step {step} (`bitnet eval {}@best`)",
            summary.run_dir
        ),
        _ => String::new(),
    };
    let part = match config.train.eval_batches {
        0 => String::new(),
        batches => format!(" on the first {batches} batches"),
    };
    format!(
        "{}: {} steps, {} {unit} in {:.1} s ({:.0} {unit}/s), peak memory {memory}\n\
         train loss {:.4}, validation loss {:.4} on the whole split{quality}; before training {:.4}{part}{early}",
        summary.run_dir,
        summary.steps,
        summary.tokens,
        summary.seconds,
        summary.tokens_per_second,
        summary.train_loss,
        summary.val_loss,
        summary.initial_val_loss
    )
}
