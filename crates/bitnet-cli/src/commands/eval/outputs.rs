//! `bitnet eval` of a run that translates: BLEU, whole outputs that are right, and the loss of the targets.

use anyhow::bail;
use bitnet_config::{RunConfig, Task};
use bitnet_data::{ExampleFormat, Pairs};
use bitnet_results::Evaluation;
use bitnet_train::{RunDir, Translator, pair_columns, sentence_pairs};
use burn::tensor::Device;

use super::outcome;
use crate::args::{EvalArgs, Format};
use crate::classifier::{Asked, Source, source_column, target_column};
use crate::commands::Outcome;
use crate::output;
use crate::predictions::Predictions;

pub fn score(
    args: &EvalArgs,
    run: &RunDir,
    config: &RunConfig,
    device: &Device,
) -> anyhow::Result<Outcome> {
    if args.confusion.is_some() {
        bail!("--confusion is for runs that classify; this one writes texts");
    }
    let predictions = args.predictions.as_deref().map(Predictions::file);
    let predictions = predictions.transpose()?;
    let pairs = pairs(args, config)?;
    if pairs.is_empty() {
        bail!("{}: there are no pairs to evaluate on", pairs.name);
    }
    let model = Translator::open(run, args.latent, device)?;
    let (evaluation, outputs) = model.evaluate(&pairs)?;
    if let Some(mut predictions) = predictions {
        let rows = pairs.source.iter().zip(&pairs.target).enumerate();
        let sources: Vec<Asked> = rows
            .map(|(index, (source, target))| Asked {
                line: index + 1,
                text: source.clone(),
                label: Some(target.clone()),
                ..Asked::default()
            })
            .collect();
        predictions.outputs(&sources, &outputs)?;
        predictions.finish()?;
    }
    match args.output.output {
        Format::Json => output::json(&evaluation)?,
        _ => output::prose(&(text(config.task, &evaluation) + &super::ran_on(model.kernel())))?,
    }
    Ok(outcome(&evaluation))
}

/// The pairs of the file, or of the run's test split.
fn pairs(args: &EvalArgs, config: &RunConfig) -> anyhow::Result<Pairs> {
    let Some(path) = &args.data else {
        let [_, _, test] = sentence_pairs(config)?;
        return Ok(test);
    };
    if let Some(references) = &args.references {
        return Ok(Pairs::read_parallel(
            std::slice::from_ref(path),
            std::slice::from_ref(references),
        )?);
    }
    let ask = &args.ask;
    let source = Source::File(path.clone());
    let columns = pair_columns(&config.data);
    match (
        source.format(ask),
        ask.columns.is_empty(),
        &ask.label_column,
    ) {
        (Some(ExampleFormat::Lines) | None, ..) => bail!(
            "{}: where are the targets? Give them as --references FILE, line by line, or a .tsv with a tab between source \
             and target; of another .csv, .tsv or .jsonl name the columns: --columns SOURCE --label-column TARGET",
            path.display()
        ),
        (Some(_), true, None) if ask.format.is_none() => {
            Ok(Pairs::read(std::slice::from_ref(path), &columns)?)
        }
        (Some(format), _, target) => {
            let mut pairs = Pairs {
                name: path.display().to_string(),
                ..Pairs::default()
            };
            let target = target
                .clone()
                .unwrap_or_else(|| target_column(&columns, format));
            let named = [source_column(&columns, format)];
            for example in source.texts(ask, &named, Some(&target), true)? {
                let example = example?;
                pairs.source.push(example.text);
                pairs.target.push(example.label.unwrap_or_default());
            }
            Ok(pairs)
        }
    }
}

fn text(task: Task, evaluation: &Evaluation) -> String {
    let percent = |share: f64| format!("{:.2} %", 100.0 * share);
    let mut text = format!("{} examples", evaluation.examples.unwrap_or_default());
    let mut begin = ": ";
    for (name, value) in [
        ("BLEU", evaluation.bleu.map(|bleu| format!("{bleu:.2}"))),
        ("exact match", evaluation.exact_match.map(percent)),
    ] {
        if let Some(value) = value {
            text += &format!("{begin}{name} {value}");
            begin = ", ";
        }
    }
    let perplexity = match (task, evaluation.perplexity) {
        (Task::Translate, Some(perplexity)) => format!(", perplexity {perplexity:.2}"),
        _ => String::new(),
    };
    text + &format!(
        "\n{} target tokens, each after the right ones: loss {:.4} nats/token{perplexity}, {} right",
        evaluation.tokens,
        evaluation.loss,
        percent(evaluation.accuracy.unwrap_or(f64::NAN))
    )
}
