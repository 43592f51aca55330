//! The whole configuration file.

use bitnet_models::{ModelConfig, QuantConfig};
use serde::{Deserialize, Serialize};

use crate::{CompareConfig, DataConfig, DecodeConfig, RecipeConfig, Task, TrainConfig};

/// Everything that determines a run. Read it through a [`Loader`](crate::Loader), which rejects unknown keys.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RunConfig {
    /// Name of the run, and of its directory; the loader's default is the file's name without `.toml`.
    pub name: String,
    /// `lm`, `translate`, `classify`, `vectors`, `synthetic` or `layer`.
    pub task: Task,
    /// Shape of the model.
    pub model: ModelConfig,
    /// Quantiser and norm placement.
    pub quant: QuantConfig,
    /// What is trained on.
    pub data: DataConfig,
    /// How long, how much at a time, and with which optimiser.
    pub train: TrainConfig,
    /// What a ternary model does in training beside learning straight through its quantiser.
    pub recipe: RecipeConfig,
    /// How outputs are written when an encoder–decoder is scored.
    pub decode: DecodeConfig,
    /// What a comparison of the twins measures after training.
    pub compare: CompareConfig,
}

impl Default for RunConfig {
    fn default() -> Self {
        Self {
            name: "run".into(),
            task: Task::default(),
            model: ModelConfig::default(),
            quant: QuantConfig::default(),
            data: DataConfig::default(),
            train: TrainConfig::default(),
            recipe: RecipeConfig::default(),
            decode: DecodeConfig::default(),
            compare: CompareConfig::default(),
        }
    }
}
