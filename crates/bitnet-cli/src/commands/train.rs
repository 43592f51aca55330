//! `bitnet train CONFIG`

use std::path::Path;

use anyhow::bail;
use bitnet_config::{RunConfig, Task as Kind};
use bitnet_models::LinearKind;
use bitnet_results::TrainSummary;
use bitnet_train::{
    Backend, Checkpoint, RunDir, Task, TrainError, Trained, Training, check_same, export,
};
use serde::Serialize;

use super::Outcome;
use crate::args::{Format, TrainArgs};
use crate::estimate::Estimate;
use crate::progress::Display;
use crate::{configuration, device, interrupt, output, run_folder, task};

pub fn run(args: TrainArgs) -> anyhow::Result<Outcome> {
    crate::allocator::keep_freed_memory();
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
        let device = device::open(&args.device)?;
        config
            .model
            .check_device(false, &device.clone().autodiff())?;
        task.prepare(&device)?;
        if args.overrides.dry_run {
            let path = run_folder::fresh(args.run_dir, &config.name);
            let estimate = Estimate::measure(config, task, &device)?;
            match args.output.output {
                Format::Json => output::json(&DryRun {
                    run_dir: path.display().to_string(),
                    estimate,
                })?,
                _ => output::line(&format!(
                    "would train on {} in {}\n{}",
                    task.description(),
                    path.display(),
                    estimate.text()
                ))?,
            }
            return Ok(Outcome::Done);
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
        let mut display = Display::new(label, config.train.steps, args.output.quiet, &run);
        let training = Training {
            config,
            task,
            run: &run,
            device: &device,
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
            _ => output::line(&text(config, &summary))?,
        }
        Ok(outcome)
    }
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
    let part = match config.train.eval_batches {
        0 => String::new(),
        batches => format!(" on the first {batches} batches"),
    };
    format!(
        "{}: {} steps, {} {unit} in {:.1} s ({:.0} {unit}/s), peak memory {memory}\n\
         train loss {:.4}, validation loss {:.4} on the whole split{quality}; before training {:.4}{part}",
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
