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
pub use translate::{Translate, pair_columns, sentence_pairs};
pub use vectors::{ClassifyVectors, labelled_vectors};

pub(crate) use classify::text_probabilities;
pub(crate) use translate::score_pairs;
pub(crate) use vectors::vector_probabilities;
pub(crate) use writing::translate;

use std::path::PathBuf;

use bitnet_config::{DataConfig, Level, Paths, RunConfig};
use bitnet_data::{Cut, Reading, SplitText, TextFiles, Tokenizer, TokenizerKind};
use burn::tensor::{DType, Device, Int, Tensor, TensorData};

use crate::TrainError;

/// What looks wrong with a text for these settings: windows that hold several documents, whose parts know nothing of each
/// other.
pub(crate) fn short_documents(config: &RunConfig, text: &SplitText) -> Option<String> {
    let (context, length) = (config.train.context, text.document_length());
    (text.documents > 1 && length < context / 2).then(|| {
        format!(
            "a context of {context} tokens, where a document has {length} on average: a window holds several, which \
             tell nothing of each other; lower train.context"
        )
    })
}

/// How text is cut: by `known`, the tokenizer of an earlier run, by that of `data.tokenizer`, or by one that the text makes.
///
/// # Errors
/// If the file cannot be used.
pub fn cut(data: &DataConfig, known: Option<Tokenizer>) -> Result<Cut, TrainError> {
    Ok(match (known, &data.tokenizer) {
        (Some(tokenizer), _) => Cut::Given(tokenizer),
        (None, Some(path)) => Cut::Given(Tokenizer::read(path)?),
        (None, None) => Cut::Learned(match data.level {
            // Refused where there is no such model or file (`RunConfig::validate`).
            Level::Model | Level::File => TokenizerKind::Byte,
            Level::Char => TokenizerKind::Char,
            Level::Byte => TokenizerKind::Byte,
            Level::Bpe => TokenizerKind::Bpe {
                vocab_size: data.vocab_size,
            },
        }),
    })
}

/// The tokenizer of many texts, as [`cut`] says.
pub(crate) fn tokenizer(
    data: &DataConfig,
    known: Option<Tokenizer>,
    texts: &[&str],
) -> Result<Tokenizer, TrainError> {
    Ok(match cut(data, known)? {
        Cut::Given(tokenizer) => tokenizer,
        Cut::Learned(kind) => Tokenizer::for_texts(kind, texts)?,
    })
}

/// Files of text, read as `[data]` says, whose tokens are not kept.
pub fn text_files(data: &DataConfig, paths: &[PathBuf]) -> TextFiles {
    TextFiles {
        paths: paths.to_vec(),
        reading: Reading {
            fields: data.text_columns.clone(),
            split_at: None,
        },
        cache: None,
    }
}

/// Checks that `data.text_columns` of a language model names fields of its files, unless it is as it was.
///
/// # Errors
/// If they have none.
pub fn check_fields(data: &DataConfig) -> Result<(), TrainError> {
    let paths = [given(&data.path), given(&data.validation_path)].concat();
    Ok(text_files(data, &paths).check_fields()?)
}

/// Paths that the configuration was checked to have.
pub(crate) fn given(paths: &Option<Paths>) -> &[PathBuf] {
    paths.as_deref().unwrap_or_default()
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
