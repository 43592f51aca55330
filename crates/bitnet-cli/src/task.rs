//! From a configuration to its task: one place that knows all of them.

use std::path::Path;

use anyhow::Context;
use bitnet_config::{RunConfig, Task as Kind};
use bitnet_train::{
    Classify, ClassifyVectors, FineTune, LanguageModel, LayerRegression, Location, RunDir, Task,
    Translate, TuningData,
};

use crate::{corpus, location};

/// Something to do with a task, whichever it is.
pub trait Visitor {
    /// What comes of it.
    type Output;

    /// Does it. `config` has the sizes that the data decides.
    fn visit<T: Task>(self, config: &RunConfig, task: &T) -> anyhow::Result<Self::Output>;
}

/// Reads the data of a configuration and hands its task to the visitor. `run` is an earlier one, whose tokenizer the model
/// knows and whose weights it has.
pub fn open<V: Visitor>(
    config: &mut RunConfig,
    run: Option<&RunDir>,
    visitor: V,
) -> anyhow::Result<V::Output> {
    let tokenizer = match run {
        Some(run) => run.known_tokenizer()?,
        None => None,
    };
    match config.task {
        Kind::Lm if config.train.init_from.is_some() => fine_tune(config, run, visitor),
        Kind::Lm => {
            let corpus = corpus::load(config, tokenizer)?;
            visitor.visit(config, &LanguageModel::new(config, &corpus)?)
        }
        Kind::Translate | Kind::Synthetic => {
            let task = Translate::new(config, tokenizer)?;
            visitor.visit(config, &task)
        }
        Kind::Classify => {
            let task = Classify::new(config, tokenizer)?;
            visitor.visit(config, &task)
        }
        Kind::Vectors => {
            let task = ClassifyVectors::new(config)?;
            visitor.visit(config, &task)
        }
        Kind::Layer => visitor.visit(config, &LayerRegression::new(config)?),
    }
}

/// The task of a model that starts from another one. An earlier run has all that it needs of that one.
fn fine_tune<V: Visitor>(
    config: &RunConfig,
    run: Option<&RunDir>,
    visitor: V,
) -> anyhow::Result<V::Output> {
    let path = config.train.init_from.as_deref().unwrap_or(Path::new(""));
    let (origin, text) = match run {
        Some(run) => (None, run.text()?),
        None => {
            let origin = location::open(path)?;
            let text = origin.text()?;
            (Some(origin), text)
        }
    };
    let tokenizer = match (run, &origin) {
        (Some(run), _) | (None, Some(Location::Run(run))) if run.origin()?.is_none() => {
            Some(run.tokenizer()?)
        }
        _ => None,
    };
    let text = match &config.data.chat_template {
        Some(path) => {
            let source = std::fs::read_to_string(path);
            let source = source.with_context(|| format!("data.chat_template = {path:?}"))?;
            text.with_template(Some(source))
        }
        None => text,
    };
    if let Some(origin) = &origin {
        location::tell_of_training(origin);
    }
    let data = TuningData::read(config, &text)?;
    let task = FineTune::new(config, &text, tokenizer, &data, origin.as_ref())?;
    visitor.visit(config, &task)
}
