//! `bitnet predict MODEL FILE`: what a trained model makes of new examples, read and answered in batches.

use std::path::Path;

use anyhow::bail;
use bitnet_config::{RunConfig, Task};
use bitnet_data::ExampleFormat;
use bitnet_train::{Location, RunDir, Translator, pair_columns};

use super::Outcome;
use crate::args::PredictArgs;
use crate::classifier::{AskedStream, Classifier, Source, source_column, take};
use crate::location;
use crate::predictions::{Form, Predictions};
use crate::{device, output, run_folder};

/// Examples that are read before they are answered.
const BATCH: usize = 256;

pub fn run(args: PredictArgs) -> anyhow::Result<Outcome> {
    let form = Form::of(args.output.output)?;
    let source = match (&args.input, &args.data) {
        (Some(path), _) | (None, Some(path)) => Source::File(path.clone()),
        (None, None) if !args.text.is_empty() => Source::Texts(args.text.clone()),
        (None, None) => bail!("there is nothing to predict; give a FILE, - for stdin, or --text"),
    };
    let Location::Run(run) = location::open(&args.model)? else {
        bail!(
            "{}: `bitnet predict` asks runs that classify or translate; `bitnet generate` continues text with a model file",
            args.model.display()
        );
    };
    let config = run.config()?;
    let batch = match (args.batch, source.is_typed()) {
        (Some(batch), _) => batch as usize,
        (None, true) => 1,
        (None, false) => BATCH,
    };
    // A file that cannot be read is told before the model is loaded.
    if let Source::File(path) = &source
        && path != Path::new("-")
        && !path.exists()
    {
        bail!("there is no file at {}", path.display());
    }
    let device = device::open(&args.device)?;
    let answers = Predictions::stdout(form);
    if !args.latent {
        run_folder::note_of_export(&run)?;
    }
    match config.task {
        Task::Classify | Task::Vectors => {
            let model = Classifier::open(&run, config.task, args.latent, &device)?;
            let examples = model.examples(source, &args.ask, &config, false)?;
            classify(&model, examples, batch, answers)
        }
        Task::Translate | Task::Synthetic => {
            let sources = sources(source, &args, &config)?;
            let model = Translator::open(&run, args.latent, &device)?;
            translate(&model, sources, batch, answers)
        }
        Task::Lm | Task::Layer => bail!(refusal(&run, &config)),
    }
}

fn refusal(run: &RunDir, config: &RunConfig) -> String {
    let instead = match config.task {
        Task::Lm => "`bitnet generate` continues text, `bitnet embed` makes vectors of it",
        _ => "`bitnet eval` scores it",
    };
    format!(
        "{}: a run with task = \"{}\" neither classifies nor translates; {instead}",
        run.path().display(),
        config.task.name()
    )
}

fn classify(
    model: &Classifier,
    mut examples: AskedStream,
    batch: usize,
    mut answers: Predictions,
) -> anyhow::Result<Outcome> {
    loop {
        let some = take(&mut examples, batch)?;
        if some.is_empty() {
            answers.finish()?;
            return Ok(Outcome::Done);
        }
        let found = model.probabilities(&some)?;
        answers.classes(&some, &found, model.label_names())?;
    }
}

/// Sources to translate: lines, or the column of a table that the run or a flag names.
fn sources(source: Source, args: &PredictArgs, config: &RunConfig) -> anyhow::Result<AskedStream> {
    let format = source.format(&args.ask).unwrap_or(ExampleFormat::Lines);
    let column = source_column(&pair_columns(&config.data), format);
    source.texts(&args.ask, &[column], None, false)
}

fn translate(
    model: &Translator,
    mut sources: AskedStream,
    batch: usize,
    mut answers: Predictions,
) -> anyhow::Result<Outcome> {
    let mut cut = 0;
    loop {
        let some = take(&mut sources, batch)?;
        if some.is_empty() {
            break;
        }
        let texts: Vec<&str> = some.iter().map(|one| one.text.as_str()).collect();
        cut += model.cut(&texts);
        answers.outputs(&some, &model.translate(&texts)?)?;
    }
    if cut > 0 {
        output::say(format_args!(
            "note: {cut} sources are longer than the model reads (data.max_length), and were cut"
        ));
    }
    answers.finish()?;
    Ok(Outcome::Done)
}
