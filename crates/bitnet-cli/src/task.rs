//! From a configuration to its task: one place that knows all of them.

use bitnet_config::{RunConfig, Task as Kind};
use bitnet_data::Tokenizer;
use bitnet_train::{Classify, ClassifyVectors, LanguageModel, LayerRegression, Task, Translate};

use crate::corpus;

/// Something to do with a task, whichever it is.
pub trait Visitor {
    /// What comes of it.
    type Output;

    /// Does it. `config` has the sizes that the data decides.
    fn visit<T: Task>(self, config: &RunConfig, task: &T) -> anyhow::Result<Self::Output>;
}

/// Reads the data of a configuration and hands its task to the visitor. `tokenizer` is that of an earlier run, whose ids the
/// model knows.
pub fn open<V: Visitor>(
    config: &mut RunConfig,
    tokenizer: Option<Tokenizer>,
    visitor: V,
) -> anyhow::Result<V::Output> {
    match config.task {
        Kind::Lm => {
            let corpus = corpus::load(config)?;
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
