//! The tasks: which data, which model, which loss, which score.

mod classify;
mod distill;
mod fine_tune;
mod language_model;
mod layer;
mod probabilities;
mod translate;
mod vectors;
mod writing;

pub use classify::{Classify, label_column, labelled_texts};
pub use fine_tune::{FineTune, TuningData};
pub use language_model::LanguageModel;
pub use layer::LayerRegression;
pub use probabilities::{ClassProbabilities, of_classes};
pub use translate::{Translate, sentence_pairs};
pub use vectors::{ClassifyVectors, labelled_vectors};

pub(crate) use classify::text_probabilities;
pub(crate) use translate::score_pairs;
pub(crate) use vectors::vector_probabilities;
pub(crate) use writing::translate;

use std::path::Path;

use bitnet_config::{DataConfig, Level};
use bitnet_data::TokenizerKind;
use burn::tensor::{DType, Device, Int, Tensor, TensorData};

/// How text is cut that no model has a tokenizer for.
pub fn tokenizer_kind(data: &DataConfig) -> TokenizerKind {
    match data.level {
        // Refused where there is no such model (`RunConfig::validate`).
        Level::Model => TokenizerKind::Byte,
        Level::Char => TokenizerKind::Char,
        Level::Byte => TokenizerKind::Byte,
        Level::Bpe => TokenizerKind::Bpe {
            vocab_size: data.vocab_size,
        },
    }
}

/// A path that the configuration was checked to have.
pub(crate) fn given(path: &Option<std::path::PathBuf>) -> &Path {
    path.as_deref().unwrap_or(Path::new(""))
}

/// A size that the data decides: fills it in where the configuration leaves it open with 0.
pub(crate) fn from_data(
    key: &str,
    size: &mut usize,
    found: usize,
) -> Result<(), bitnet_config::ConfigError> {
    if *size != 0 && *size != found {
        return Err(bitnet_config::ConfigError::Invalid {
            key: key.to_owned(),
            value: size.to_string(),
            problem: format!(
                "does not fit the data, which has {found}; set that, or 0 to take it from the data"
            ),
        });
    }
    *size = found;
    Ok(())
}

/// Fills in `model.vocab_size` where the configuration leaves it open with 0; a larger one than the ids need is padding.
pub(crate) fn vocabulary(size: &mut usize, ids: usize) -> Result<(), bitnet_config::ConfigError> {
    if *size != 0 && *size < ids {
        return Err(bitnet_config::ConfigError::Invalid {
            key: "model.vocab_size".to_owned(),
            value: size.to_string(),
            problem: format!("is too small: the data has {ids} ids; leave it out to take that"),
        });
    }
    *size = (*size).max(ids);
    Ok(())
}

/// The chosen rows of `width` values each, `[examples, width]`, on a device.
pub(crate) fn rows(values: &[f32], width: usize, examples: &[usize], device: &Device) -> Tensor<2> {
    let chosen: Vec<f32> = examples
        .iter()
        .flat_map(|i| &values[i * width..][..width])
        .copied()
        .collect();
    Tensor::from_data(TensorData::new(chosen, [examples.len(), width]), device)
}

/// Classes `[b]` on a device.
pub(crate) fn labels(labels: &[i32], device: &Device) -> Tensor<1, Int> {
    let data = TensorData::new(labels.to_vec(), [labels.len()]);
    Tensor::from_data(data, (device, DType::I32))
}
