//! `bitnet eval MODEL --data FILE`

use anyhow::bail;
use bitnet_data::Corpus;
use bitnet_train::{Evaluation, RunDir, evaluate, evaluate_engine, load_exported, load_latent};

use super::Outcome;
use crate::args::{EvalArgs, Format};
use crate::{output, setup};

pub fn run(args: EvalArgs) -> anyhow::Result<Outcome> {
    if matches!(args.output.output, Format::Md | Format::Csv) {
        bail!("`bitnet eval` writes text or json");
    }
    let run = RunDir::open(&args.model)?;
    let mut config = run.config()?;
    let device = setup::open_device(&args.device)?;
    // The whole of a file is evaluated; of the run's own text, its validation split.
    let corpus = match &args.data {
        Some(path) => Corpus::read_to_evaluate(path, run.tokenizer()?)?,
        None => {
            let corpus = setup::load_corpus(&mut config)?;
            if corpus.tokenizer != run.tokenizer()? {
                bail!(
                    "{}: the text has other characters than when the model was trained on it; give the original with \
                     --data",
                    corpus.name
                );
            }
            corpus
        }
    };
    let context = args.context.unwrap_or(config.train.context);
    if context == 0 || context > config.model.max_position_embeddings {
        bail!(
            "--context {context} is out of range: the model takes 1 to {}",
            config.model.max_position_embeddings
        );
    }
    if corpus.validation.len() < 2 {
        bail!(
            "{}: {} tokens are too few to evaluate on; at least 2 are needed",
            corpus.name,
            corpus.validation.len()
        );
    }
    let model = if args.latent {
        load_latent(&run, &device)?
    } else {
        load_exported(&run, &device)?
    };
    let evaluation = if setup::asks_for_engine(args.device.backend, &args.engine)? {
        let options = setup::engine_options(&args.engine, args.device.threads);
        evaluate_engine(&mut model.engine(options)?, &corpus, context)?
    } else {
        evaluate(&model, &corpus, context, 0, &device)?
    };
    match args.output.output {
        Format::Json => output::json(&evaluation)?,
        _ => output::line(&text(&evaluation))?,
    }
    Ok(Outcome::Done)
}

fn text(evaluation: &Evaluation) -> String {
    format!(
        "{} tokens: loss {:.4} nats/token, perplexity {:.3}, {:.4} bits/byte, accuracy {:.4}",
        evaluation.tokens,
        evaluation.loss,
        evaluation.perplexity,
        evaluation.bits_per_byte,
        evaluation.accuracy
    )
}
