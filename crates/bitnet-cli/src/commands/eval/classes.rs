//! `bitnet eval` of a run that classifies: accuracy, F1, each class, which are taken for which, and what has to be beaten.

use anyhow::{Context, bail};
use bitnet_config::{RunConfig, Task};
use bitnet_data::scores::Confusion;
use bitnet_data::{NaiveBayes, majority};
use bitnet_report::format;
use bitnet_report::svg::{MatrixChart, Placement};
use bitnet_report::table::{Cell, Section, Table};
use bitnet_results::{Evaluation, write_atomic};
use bitnet_train::{RunDir, labelled_texts, labelled_vectors, of_classes};
use burn::tensor::Device;
use serde::Serialize;

use super::outcome;
use crate::args::{EvalArgs, Format};
use crate::classifier::{Asked, AskedStream, Classifier, Source, take};
use crate::commands::Outcome;
use crate::output;
use crate::predictions::Predictions;

const BATCH: usize = 1024;

/// What is found.
#[derive(Serialize)]
struct Found<'a> {
    #[serde(flatten)]
    evaluation: Evaluation,
    classes: Vec<Class<'a>>,
    /// `[true, predicted]`, in the order of `classes`.
    confusion: Vec<&'a [u64]>,
}

#[derive(Serialize)]
struct Class<'a> {
    label: &'a str,
    precision: f64,
    recall: f64,
    f1: f64,
    examples: u64,
}

/// What a classifier has to beat, learned from the training split.
struct Baselines {
    majority: usize,
    words: Option<NaiveBayes>,
}

pub fn score(
    args: &EvalArgs,
    run: &RunDir,
    config: &RunConfig,
    device: &Device,
) -> anyhow::Result<Outcome> {
    if args.references.is_some() {
        bail!("--references is for runs that translate; labels stand beside their examples");
    }
    if let Some(path) = &args.confusion
        && path.extension().is_none_or(|ending| ending != "svg")
    {
        bail!(
            "--confusion {}: the file's name must end in .svg",
            path.display()
        );
    }
    let model = Classifier::open(run, config.task, args.latent, device)?;
    let names = model.label_names();
    let (examples, baselines) = examples(args, &model, config)?;
    let mut predictions = args
        .predictions
        .as_deref()
        .map(Predictions::file)
        .transpose()?;
    let tally = tally(&model, examples, baselines.as_ref(), &mut predictions)?;
    let Tally {
        loss,
        confusion,
        majority_right,
        words_right,
    } = tally;
    let all = confusion.examples();
    if all == 0 {
        bail!("there are no examples to evaluate on");
    }
    let share = |right: u64| right as f64 / all as f64;
    let evaluation = Evaluation {
        majority_accuracy: baselines.as_ref().map(|_| share(majority_right)),
        naive_bayes_accuracy: (baselines.as_ref())
            .and_then(|baselines| baselines.words.as_ref())
            .map(|_| share(words_right)),
        ..of_classes(loss, &confusion)
    };
    if let Some(predictions) = predictions {
        predictions.finish()?;
    }
    if let Some(path) = &args.confusion {
        let svg = picture(names, &confusion).to_svg(Placement::Standalone);
        write_atomic(path, svg.as_bytes())
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    match args.output.output {
        Format::Json => {
            let class = |index: usize| {
                let score = confusion.class(index);
                Class {
                    label: &names[index],
                    precision: score.precision,
                    recall: score.recall,
                    f1: score.f1,
                    examples: score.examples,
                }
            };
            output::json(&Found {
                evaluation,
                classes: (0..names.len()).map(class).collect(),
                confusion: (0..names.len()).map(|label| confusion.row(label)).collect(),
            })?;
        }
        _ => {
            let most = baselines.map(|baselines| names[baselines.majority].as_str());
            output::prose(&summary(&evaluation, most, &super::ran_on(model.kernel())))?;
            output::table(&class_table(names, &confusion))?;
            output::line("")?;
            output::piece("taken for (rows: the true class, columns: the predicted one)\n")?;
            output::table(&confusion_table(names, &confusion))?;
        }
    }
    Ok(outcome(&evaluation))
}

/// The labelled examples of the file or of the run's test split, and what is learned from the training split, if that
/// is still there.
fn examples(
    args: &EvalArgs,
    model: &Classifier,
    config: &RunConfig,
) -> anyhow::Result<(AskedStream, Option<Baselines>)> {
    let classes = model.label_names().len();
    let (test, baselines) = match config.task {
        Task::Classify => match labelled_texts(&config.data) {
            Ok([train, _, test]) => {
                let texts = train.texts.iter().map(String::as_str);
                let baselines = Baselines {
                    majority: majority(&train.labels, classes),
                    words: Some(NaiveBayes::fit(
                        texts.zip(train.labels.iter().copied()),
                        classes,
                    )),
                };
                let lines = test.lines();
                let names = test.label_names;
                let rows = test.texts.into_iter().zip(test.labels).zip(lines);
                let asked = rows.map(move |((text, label), line)| Asked {
                    line,
                    text,
                    label: Some(names[label].clone()),
                    ..Asked::default()
                });
                (Ok(asked.collect::<Vec<_>>()), Some(baselines))
            }
            Err(error) => (Err(error), None),
        },
        _ => match labelled_vectors(&config.data) {
            Ok([train, _, test]) => {
                let baselines = Baselines {
                    majority: majority(&train.labels, classes),
                    words: None,
                };
                let rows = test.values.chunks(test.width.max(1)).zip(&test.labels);
                let asked = rows.zip(test.lines()).map(|((values, label), line)| Asked {
                    line,
                    values: values.to_vec(),
                    label: Some(test.label_names[*label].clone()),
                    ..Asked::default()
                });
                (Ok(asked.collect()), Some(baselines))
            }
            Err(error) => (Err(error), None),
        },
    };
    let Some(path) = &args.data else {
        let given = args.ask.format.is_some() || !args.ask.columns.is_empty();
        if given || args.ask.label_column.is_some() {
            bail!(
                "--format, --columns and --label-column say how --data is read; give it, or leave them out"
            );
        }
        let test: Vec<Asked> = test?;
        return Ok((Box::new(test.into_iter().map(Ok)), baselines));
    };
    if let Err(error) = &test {
        output::say(format_args!(
            "note: without the data of the training there is nothing to beat: {error}"
        ));
    }
    let source = Source::File(path.clone());
    Ok((model.examples(source, &args.ask, config, true)?, baselines))
}

struct Tally {
    loss: f64,
    confusion: Confusion,
    majority_right: u64,
    words_right: u64,
}

fn tally(
    model: &Classifier,
    mut examples: AskedStream,
    baselines: Option<&Baselines>,
    predictions: &mut Option<Predictions>,
) -> anyhow::Result<Tally> {
    let names = model.label_names();
    let mut tally = Tally {
        loss: 0.0,
        confusion: Confusion::new(names.len()),
        majority_right: 0,
        words_right: 0,
    };
    loop {
        let some = take(&mut examples, BATCH)?;
        if some.is_empty() {
            return Ok(tally);
        }
        let found = model.probabilities(&some)?;
        for (index, example) in some.iter().enumerate() {
            let given = example.label.as_deref().map(str::trim).unwrap_or_default();
            let Some(label) = names.iter().position(|name| name.trim() == given) else {
                bail!(
                    "line {}: {}; the model knows the classes {}",
                    example.line,
                    match given {
                        "" => "has no label to compare with".to_owned(),
                        label => format!("has the label {label:?}"),
                    },
                    names.join(", ")
                );
            };
            tally.loss += found.loss(index, label);
            tally.confusion.add(label, found.likeliest(index));
            if let Some(Baselines { majority, words }) = baselines {
                tally.majority_right += u64::from(*majority == label);
                let guess = words.as_ref().map(|words| words.class(&example.text));
                tally.words_right += u64::from(guess == Some(label));
            }
        }
        if let Some(predictions) = predictions {
            predictions.classes(&some, &found, names)?;
        }
    }
}

fn summary(evaluation: &Evaluation, most: Option<&str>, ran_on: &str) -> String {
    let percent = |share: Option<f64>| format::percent(share.unwrap_or(f64::NAN));
    let mut text = format!(
        "{} examples: accuracy {}, macro-F1 {}, loss {:.4} nats/example{ran_on}\n",
        evaluation.examples.unwrap_or_default(),
        percent(evaluation.accuracy),
        percent(evaluation.macro_f1),
        evaluation.loss
    );
    if let (Some(most), true) = (most, evaluation.majority_accuracy.is_some()) {
        text += &format!(
            "to beat: accuracy {} by always saying {most:?}, the commonest class of the training",
            percent(evaluation.majority_accuracy)
        );
        if evaluation.naive_bayes_accuracy.is_some() {
            text += &format!(
                "; {} by naive Bayes over single words",
                percent(evaluation.naive_bayes_accuracy)
            );
        }
        text.push('\n');
    }
    text
}

fn class_table(names: &[String], confusion: &Confusion) -> Table {
    let row = |(class, name): (usize, &String)| {
        let score = confusion.class(class);
        let percent = |share: f64| Cell::number(format::percent(share), share);
        vec![
            Cell::text(name),
            percent(score.precision),
            percent(score.recall),
            percent(score.f1),
            Cell::number(format::integer(score.examples), score.examples as f64),
        ]
    };
    Table {
        header: ["class", "precision", "recall", "F1", "examples"]
            .map(str::to_owned)
            .into(),
        sections: vec![Section {
            title: String::new(),
            rows: names.iter().enumerate().map(row).collect(),
        }],
    }
}

fn confusion_table(names: &[String], confusion: &Confusion) -> Table {
    let row = |(class, name): (usize, &String)| {
        let counts = confusion.row(class).iter();
        let cell = |count: &u64| Cell::number(count.to_string(), *count as f64);
        std::iter::once(Cell::text(name))
            .chain(counts.map(cell))
            .collect()
    };
    Table {
        header: std::iter::once(String::new())
            .chain(names.iter().cloned())
            .collect(),
        sections: vec![Section {
            title: String::new(),
            rows: names.iter().enumerate().map(row).collect(),
        }],
    }
}

fn picture(names: &[String], confusion: &Confusion) -> MatrixChart {
    MatrixChart {
        title: "Which class is taken for which".into(),
        subtitle: format!(
            "{} examples; rows: the true class, columns: the predicted one",
            confusion.examples()
        ),
        names: names.to_vec(),
        rows: (0..names.len())
            .map(|label| confusion.row(label).to_vec())
            .collect(),
    }
}
