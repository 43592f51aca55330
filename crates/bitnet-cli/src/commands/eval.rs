//! `bitnet eval MODEL --data FILE`

use anyhow::bail;
use bitnet_config::{RunConfig, Task as Kind};
use bitnet_data::{Corpus, Evaluated, SplitText, Tokens};
use bitnet_kernels::Kernel;
use bitnet_load::Checkpoint;
use bitnet_models::Transformer;
use bitnet_results::Evaluation;
use bitnet_text::TextModel;
use bitnet_train::{
    Interrupt, Location, RunDir, Task, evaluate, evaluate_engine, load_exported, load_latent,
};
use burn::tensor::Device;

use super::Outcome;
use crate::args::{EvalArgs, Format};
use crate::location;
use crate::{corpus, device, engine, output, prompt, run_folder, task};

mod classes;
mod outputs;

pub fn run(args: EvalArgs) -> anyhow::Result<Outcome> {
    if matches!(args.output.output, Format::Md | Format::Csv) {
        bail!("`bitnet eval` writes text or json");
    }
    let run = match location::open(&args.model)? {
        Location::Run(run) => run,
        Location::File(checkpoint) => return score_file(&args, *checkpoint),
    };
    engine::refuse_activations(&args.engine)?;
    let mut config = run.config()?;
    let device = device::open(&args.device)?;
    if config.task != Kind::Lm {
        return score_task(&args, &run, &mut config, &device);
    }
    refuse_example_flags(&args)?;
    if config.train.init_from.is_some() && args.data.is_none() {
        return score_tuned(&args, &run, &mut config, &device);
    }
    // The whole of a file is evaluated; of the run's own text, its validation split.
    let (name, tokens, bytes) = match &args.data {
        Some(path) if run.origin()?.is_some() => {
            let text = prompt::read_file(path)?;
            let tokens = run.text()?.encode_prompt(&text, false)?;
            (path.display().to_string(), tokens.into(), text.len())
        }
        Some(path) if path.as_os_str() == "-" => {
            let text = prompt::read_file(path)?;
            let corpus = Corpus::from_bytes_with("stdin", text.as_bytes(), run.tokenizer()?, 0.5)?;
            of_corpus(corpus.to_evaluate())
        }
        Some(path) => of_corpus(
            corpus::files(&config.data, std::slice::from_ref(path))
                .to_evaluate(run.tokenizer()?)?,
        ),
        None => {
            let corpus = corpus::load(&mut config, Some(run.tokenizer()?))?;
            if corpus.tokenizer != run.tokenizer()? {
                bail!(
                    "{}: the text has other characters than when the model was trained on it; give the original with \
                     --data",
                    corpus.name
                );
            }
            of_corpus(corpus)
        }
    };
    let context = args.context.unwrap_or(config.train.context);
    if context == 0 || context > config.model.max_position_embeddings {
        bail!(
            "--context {context} is out of range: the model takes 1 to {}",
            config.model.max_position_embeddings
        );
    }
    if tokens.len() < 2 {
        bail!(
            "{name}: {} tokens are too few to evaluate on; at least 2 are needed",
            tokens.len()
        );
    }
    let evaluated = Evaluated {
        tokens: &tokens,
        bytes,
    };
    engine::refuse_latent(args.latent, &args.engine)?;
    let model: Transformer = if args.latent {
        load_latent(&run, &device)?
    } else {
        run_folder::note_of_export(&run)?;
        load_exported(&run, &device)?
    };
    let model = device::with_dtype(model, args.activations, args.device.backend, &device)?;
    let evaluation = if engine::asked_for(args.device.backend, &args.engine)? {
        let options = engine::options(&args.engine, args.device.threads)?;
        evaluate_engine(&mut model.engine(options)?, evaluated, context)?
    } else {
        evaluate(&model, evaluated, context, 0, &device, Interrupt::NEVER)?
    };
    show(&args, &evaluation)
}

/// The validation split of a text: its name, ids and bytes.
fn of_corpus(corpus: Corpus) -> (String, Tokens, usize) {
    let SplitText {
        name,
        validation,
        validation_bytes,
        ..
    } = corpus.text;
    (name, validation, validation_bytes)
}

/// Scores a run that started from another model on the data that was held back.
fn score_tuned(
    args: &EvalArgs,
    run: &RunDir,
    config: &mut RunConfig,
    device: &Device,
) -> anyhow::Result<Outcome> {
    if args.context.is_some() || engine::asked_for(args.device.backend, &args.engine)? {
        bail!("--context and the engine's flags are for a text of your own: give one with --data");
    }
    device::refuse_dtype(
        args.activations,
        "is for a text of your own: give one with --data",
    )?;
    let score = Score {
        run,
        device,
        latent: args.latent,
    };
    show(args, &task::open(config, Some(run), score)?)
}

/// Prints the score of a language model.
fn show(args: &EvalArgs, evaluation: &Evaluation) -> anyhow::Result<Outcome> {
    match args.output.output {
        Format::Json => output::json(evaluation)?,
        _ => output::prose(&text(evaluation))?,
    }
    Ok(outcome(evaluation))
}

/// A text has no examples.
fn refuse_example_flags(args: &EvalArgs) -> anyhow::Result<()> {
    match args.example_flag() {
        Some(flag) => {
            bail!(
                "{flag} is for runs that classify or translate; a language model is scored on a text"
            )
        }
        None => Ok(()),
    }
}

/// A loss that is no number is no result.
fn outcome(evaluation: &Evaluation) -> Outcome {
    if evaluation.loss.is_finite() {
        return Outcome::Done;
    }
    output::say(format_args!(
        "error: the loss is {}: the model computes what is no number; take another checkpoint, or train again",
        evaluation.loss
    ));
    Outcome::CheckFailed
}

/// Tokens of a window for model files, which do not say in what windows they were trained: most contexts are longer, and a
/// longer window takes longer.
const FILE_CONTEXT: usize = 512;

/// Scores a model file on a text.
fn score_file(args: &EvalArgs, checkpoint: Checkpoint) -> anyhow::Result<Outcome> {
    refuse_example_flags(args)?;
    let Some(path) = &args.data else {
        bail!("--data is missing: a model file has no text of its own to be scored on");
    };
    if args.latent {
        bail!("--latent is for runs; a model file has the weights that it has");
    }
    let text = prompt::read_file(path)?;
    let tokens = TextModel::from_model_file(checkpoint.file())?.encode_prompt(&text, false)?;
    if tokens.len() < 2 {
        bail!(
            "{}: {} tokens are too few to evaluate on; at least 2 are needed",
            path.display(),
            tokens.len()
        );
    }
    let positions = checkpoint.shape().max_position_embeddings;
    let context = args.context.unwrap_or(FILE_CONTEXT.min(positions));
    if context == 0 || context > positions {
        bail!("--context {context} is out of range: the model takes 1 to {positions}");
    }
    let device = device::open(&args.device)?;
    let checkpoint = location::with_activations(checkpoint, &args.engine);
    let tokens = Tokens::from(tokens);
    let evaluated = Evaluated {
        tokens: &tokens,
        bytes: text.len(),
    };
    let backend = args.device.backend;
    let evaluation = match location::on_engine(backend, &args.engine)? {
        true => {
            device::refuse_dtype(args.activations, "is for GPUs; the CPU computes in f32")?;
            let mut engine = location::engine(&checkpoint, &args.engine, args.device.threads)?;
            evaluate_engine(&mut engine, evaluated, context)?
        }
        false => {
            let model = location::transformer(&checkpoint, &device)?;
            let model = device::with_dtype(model, args.activations, backend, &device)?;
            evaluate(&model, evaluated, context, 0, &device, Interrupt::NEVER)?
        }
    };
    show(args, &evaluation)
}

/// Scores a run of another task on a file, or on its test split.
fn score_task(
    args: &EvalArgs,
    run: &RunDir,
    config: &mut RunConfig,
    device: &Device,
) -> anyhow::Result<Outcome> {
    if args.context.is_some() {
        bail!(
            "--context is for language models; a run with task = \"{}\" reads whole examples",
            config.task.name()
        );
    }
    if engine::asked_for(args.device.backend, &args.engine)? {
        bail!(
            "--kernel, --strategy, --layout, --head and --kv-cache are for language models; leave them out"
        );
    }
    device::refuse_dtype(args.activations, "is for language models; leave it out")?;
    if !args.latent {
        run_folder::note_of_export(run)?;
    }
    match config.task {
        Kind::Classify | Kind::Vectors => classes::score(args, run, config, device),
        Kind::Translate | Kind::Synthetic => outputs::score(args, run, config, device),
        Kind::Lm | Kind::Layer => {
            if let Some(flag) = args.data.as_ref().map(|_| "--data").or(args.example_flag()) {
                bail!(
                    "{flag} is for runs that classify or translate; this one (task = \"{}\") is scored on its test split",
                    config.task.name()
                );
            }
            let latent = args.latent;
            let score = Score {
                run,
                device,
                latent,
            };
            let evaluation = task::open(config, Some(run), score)?;
            match args.output.output {
                Format::Json => output::json(&evaluation)?,
                _ => output::line(&format!(
                    "{} examples: mean squared error {:.6}",
                    evaluation.examples.unwrap_or_default(),
                    evaluation.loss
                ))?,
            }
            Ok(outcome(&evaluation))
        }
    }
}

/// What computed, in words, if it was the CPU engine.
fn ran_on(kernel: Option<Kernel>) -> String {
    kernel.map_or(String::new(), |kernel| {
        format!(" (on the CPU engine, {kernel})")
    })
}

struct Score<'a> {
    run: &'a RunDir,
    device: &'a Device,
    latent: bool,
}

impl task::Visitor for Score<'_> {
    type Output = Evaluation;

    fn visit<T: Task>(self, _config: &RunConfig, task: &T) -> anyhow::Result<Evaluation> {
        let model: T::Model = match self.latent {
            true => load_latent(self.run, self.device)?,
            false => load_exported(self.run, self.device)?,
        };
        Ok(task.score(&model, self.device)?)
    }
}

fn text(evaluation: &Evaluation) -> String {
    let none = f64::NAN;
    // Answers of conversations have no text of their own.
    let bits = evaluation.bits_per_byte;
    let bits = bits.map_or(String::new(), |bits| format!(", {bits:.4} bits/byte"));
    format!(
        "{} tokens: loss {:.4} nats/token, perplexity {:.3}{bits}, accuracy {:.4}",
        evaluation.tokens,
        evaluation.loss,
        evaluation.perplexity.unwrap_or(none),
        evaluation.accuracy.unwrap_or(none)
    )
}
