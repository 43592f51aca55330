//! `bitnet train CONFIG`

use anyhow::bail;
use bitnet_config::RunConfig;
use bitnet_models::{LinearKind, Transformer};
use bitnet_train::{Checkpoint, RunDir, TrainSummary, Training, export};
use burn::module::Module;

use super::Outcome;
use crate::args::{Format, TrainArgs};
use crate::progress::Display;
use crate::{interrupt, output, setup};

pub fn run(args: TrainArgs) -> anyhow::Result<Outcome> {
    crate::allocator::keep_freed_memory();
    if matches!(args.output.output, Format::Md | Format::Csv) {
        bail!("`bitnet train` writes text or json");
    }
    let mut config = setup::load_config(Some(&args.config), &args.overrides)?;
    if args.overrides.print_config {
        output::piece(&config.to_toml()?)?;
        return Ok(Outcome::Done);
    }
    let corpus = setup::load_corpus(&mut config)?;
    let device = setup::open_device(&args.device)?;
    config
        .model
        .check_device(false, &device.clone().autodiff())?;
    if args.overrides.dry_run {
        let path = setup::new_run_dir(args.run_dir, &config.name);
        let model = Transformer::new(&config.model, &config.quant, config.train.seed, &device)?;
        output::line(&format!(
            "would train {} parameters for {} steps of {} tokens on {} ({} training tokens, vocabulary {}) in {}",
            model.num_params(),
            config.train.steps,
            config.train.batch_size * config.train.context,
            corpus.name,
            corpus.train.len(),
            config.model.vocab_size,
            path.display()
        ))?;
        return Ok(Outcome::Done);
    }
    let (run, resume) = match (&args.resume, args.run_dir) {
        (Some(from), Some(path)) => {
            let run = RunDir::open(path)?;
            check_same(&run, &config)?;
            let checkpoint = match from.as_str() {
                "auto" => Checkpoint::latest(&run)?,
                path => Checkpoint::at(path),
            };
            (run, Some(checkpoint))
        }
        (_, asked) => {
            let path = setup::new_run_dir(asked, &config.name);
            (RunDir::create(path, &config, &corpus.tokenizer)?, None)
        }
    };
    let label = match config.model.linear {
        LinearKind::Float => "float",
        LinearKind::Ternary => "ternary",
    };
    let mut display = Display::new(label, config.train.steps, args.output.quiet, &run);
    let training = Training {
        config: &config,
        corpus: &corpus,
        run: &run,
        device: &device,
        resume,
        interrupt: interrupt::watch()?,
    };
    // On a thread of the pool itself: a step is hundreds of short parallel loops, and handing each one over from outside
    // the pool costs two switches of threads.
    let trained = rayon::scope(|_| training.run(&mut display))?;
    drop(display);
    if !trained.summary.interrupted {
        export(&run, &trained.model)?;
    }
    match args.output.output {
        Format::Json => output::json(&trained.summary)?,
        _ => output::line(&text(&trained.summary))?,
    }
    Ok(if trained.summary.interrupted {
        Outcome::Interrupted
    } else {
        Outcome::Done
    })
}

/// A resumed run must go on as it began; only its length and intervals may change.
fn check_same(run: &RunDir, config: &RunConfig) -> anyhow::Result<()> {
    let mut before = run.config()?;
    before.train.steps = config.train.steps;
    before.train.eval_interval = config.train.eval_interval;
    before.train.eval_batches = config.train.eval_batches;
    before.train.checkpoint_interval = config.train.checkpoint_interval;
    before.train.log_interval = config.train.log_interval;
    before.compare = config.compare.clone();
    before.name.clone_from(&config.name);
    let (old, new) = (before.to_toml()?, config.to_toml()?);
    let differing = old
        .lines()
        .zip(new.lines())
        .find(|(old, new)| old != new)
        .map(|(old, new)| format!("it was begun with `{old}`, now `{new}`"));
    match differing {
        Some(problem) => bail!(
            "{}: cannot resume: {problem}; use the run's own config.toml",
            run.path().display()
        ),
        None if old != new => bail!(
            "{}: cannot resume with another configuration; use the run's own config.toml",
            run.path().display()
        ),
        None => Ok(()),
    }
}

fn text(summary: &TrainSummary) -> String {
    let memory = summary
        .peak_rss_bytes
        .map_or("not measured".to_owned(), bitnet_report::format::bytes);
    format!(
        "{}: {} steps, {} tokens in {:.1} s ({:.0} tokens/s), peak memory {memory}\n\
         train loss {:.4}, validation loss {:.4} (from {:.4}), perplexity {:.3}, accuracy {:.3}",
        summary.run_dir,
        summary.steps,
        summary.tokens,
        summary.seconds,
        summary.tokens_per_second,
        summary.train_loss,
        summary.val_loss,
        summary.initial_val_loss,
        summary.val.perplexity,
        summary.val.accuracy
    )
}
