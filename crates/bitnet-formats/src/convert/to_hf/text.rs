//! What a folder of transformers says of text, written: the tokenizer, the template, how to sample, what a vector is.

use std::{fs, path::Path};

use serde_json::{Map, Value, json};

use super::{Projections, config};
use crate::{
    Error, ModelFile,
    atomic_file::AtomicFile,
    error::{Fault, Place},
    hf::{GenerationConfig, HfText, MODULES, POOLING, end_tokens},
    model::{ModelDescription, Pieces, Pooling, TensorSource, TokenizerKind},
    tokenizer::{ByteLevelBpe, SentencePiece, pieces},
};

/// Files that are copied as they are from another folder of transformers.
const COPIED: [&str; 7] = [
    "tokenizer.json",
    "tokenizer.model",
    "added_tokens.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "config_sentence_transformers.json",
];

/// How the model's authors sample, and what ends a text.
const GENERATION: &str = "generation_config.json";

/// Writes all that a folder says of a model but its tensors: `config.json`, the tokenizer's files, the chat template. The
/// folder is made. Says what is missing.
///
/// # Errors
///
/// If a file cannot be read or written.
pub fn write_text(model: &ModelFile, folder: &Path) -> Result<Vec<String>, Error> {
    fs::create_dir_all(folder).map_err(Error::write(folder))?;
    match model {
        ModelFile::HuggingFace(model) => {
            copy(model.text().folder(), folder, &["config.json"])?;
        }
        ModelFile::Gguf(_) | ModelFile::Memory(_) => {
            let config = config(model.source().description(), Projections::Floats);
            write_json(&folder.join("config.json"), &config)?;
        }
    }
    write(model, folder)
}

/// Writes all but `config.json` into a folder that is there.
pub(super) fn write(model: &ModelFile, folder: &Path) -> Result<Vec<String>, Error> {
    let mut warnings = tokenizer(model, folder)?;
    warnings.extend(pooling(model.source().description(), folder)?);
    Ok(warnings)
}

/// Copies those of some files that are there.
fn copy(from: &Path, to: &Path, names: &[&str]) -> Result<(), Error> {
    for name in names {
        let file = from.join(name);
        if file.is_file() {
            let bytes = fs::read(&file).map_err(Error::read(&file))?;
            write_file(&to.join(name), &bytes)?;
        }
    }
    Ok(())
}

/// Copies what another folder says of text. A `generation_config.json` that names no end of a text, which readers ask for
/// it alone, is told the configuration's.
fn text_of(text: &HfText, folder: &Path) -> Result<(), Error> {
    copy(text.folder(), folder, &COPIED)?;
    let file = text.folder().join(GENERATION);
    if !file.is_file() {
        return Ok(());
    }
    let bytes = fs::read(&file).map_err(Error::read(&file))?;
    let ends = end_tokens(text.special_tokens());
    if ends.is_null() || !text.generation_config().eos_token_id.0.is_empty() {
        return write_file(&folder.join(GENERATION), &bytes);
    }
    let fault = |error| Fault::malformed(Place::File, error).within(&file);
    let mut config: Map<String, Value> = serde_json::from_slice(&bytes).map_err(fault)?;
    config.insert("eos_token_id".into(), ends);
    write_json(&folder.join(GENERATION), &config.into())
}

/// Writes what sentence-transformers reads of how texts become vectors. Says what is missing.
fn pooling(description: &ModelDescription, folder: &Path) -> Result<Option<String>, Error> {
    let mode = match &description.pooling.value {
        Pooling::Last => "lasttoken",
        Pooling::Mean => "mean_tokens",
        Pooling::Unsaid => return Ok(None),
        Pooling::Other(words) => return Ok(Some(format!("the pooling is not written: {words}"))),
    };
    let parts = [
        ("", "Transformer"),
        ("1_Pooling", "Pooling"),
        ("2_Normalize", "Normalize"),
    ];
    let parts = parts.iter().enumerate().map(|(index, (path, class))| {
        json!({
            "idx": index,
            "name": index.to_string(),
            "path": path,
            "type": format!("sentence_transformers.models.{class}"),
        })
    });
    write_json(&folder.join(MODULES), &parts.collect::<Vec<_>>().into())?;
    let file = folder.join(POOLING);
    let place = file.parent().unwrap_or(folder);
    fs::create_dir_all(place).map_err(Error::write(place))?;
    // With no mode named, readers take the mean.
    let mut config = json!({
        "word_embedding_dimension": description.shape.hidden_size,
        "pooling_mode_mean_tokens": false,
    });
    config[format!("pooling_mode_{mode}")] = true.into();
    write_json(&file, &config)?;
    Ok(None)
}

/// Another folder's files are copied; a GGUF file's keys become `tokenizer.json`. Says what is missing.
fn tokenizer(model: &ModelFile, folder: &Path) -> Result<Vec<String>, Error> {
    match model {
        ModelFile::HuggingFace(model) => {
            text_of(model.text(), folder)?;
            Ok(Vec::new())
        }
        ModelFile::Memory(model) => {
            let json = match model.pieces() {
                None => return Ok(vec!["the tokenizer is not written: there is none".into()]),
                Some(Pieces::Files(text)) => {
                    text_of(text, folder)?;
                    return Ok(Vec::new());
                }
                Some(Pieces::Json(json)) => serde_json::from_str(json).map_err(|e| e.to_string()),
                Some(Pieces::Bytes(pieces)) => pieces::to_json(pieces).map_err(|e| e.to_string()),
            };
            match json {
                Ok(json) => {
                    write_json(&folder.join("tokenizer.json"), &json)?;
                    let class = json!({"tokenizer_class": "PreTrainedTokenizerFast"});
                    write_json(&folder.join("tokenizer_config.json"), &class)?;
                    Ok(Vec::new())
                }
                Err(reason) => Ok(vec![format!("the tokenizer is not written: {reason}")]),
            }
        }
        ModelFile::Gguf(model) => {
            let description = model.description();
            let special = &description.special_tokens;
            if let Some(config) = GenerationConfig::of_gguf(model.file()).to_json(special) {
                write_json(&folder.join(GENERATION), &config)?;
            }
            if let Some(template) = &description.chat_template {
                write_file(&folder.join("chat_template.jinja"), template.as_bytes())?;
            }
            let kind = &description.tokenizer.value;
            if *kind == TokenizerKind::GgufOther("rwkv".into()) {
                let pieces = pieces::from_gguf(model.file());
                return match pieces.and_then(|pieces| pieces::to_json(&pieces)) {
                    Ok(json) => {
                        write_json(&folder.join("tokenizer.json"), &json)?;
                        Ok(Vec::new())
                    }
                    Err(reason) => Ok(vec![format!("the tokenizer is not written: {reason}")]),
                };
            }
            if *kind == TokenizerKind::GgufSentencePiece {
                return match SentencePiece::from_gguf(model.file()) {
                    Ok(pieces) => {
                        write_file(&folder.join("tokenizer.model"), &pieces.to_protobuf())?;
                        let config = pieces.config(special);
                        write_json(&folder.join("tokenizer_config.json"), &config)?;
                        Ok(Vec::new())
                    }
                    Err(reason) => Ok(vec![format!("the tokenizer is not written: {reason}")]),
                };
            }
            match ByteLevelBpe::from_gguf(model.file(), kind) {
                Ok(bpe) => {
                    write_json(&folder.join("tokenizer.json"), &bpe.to_json(special))?;
                    write_json(&folder.join("tokenizer_config.json"), &bpe.config(special))?;
                    Ok(Vec::new())
                }
                Err(reason) => Ok(vec![format!("the tokenizer is not written: {reason}")]),
            }
        }
    }
}

pub(super) fn write_json(path: &Path, value: &Value) -> Result<(), Error> {
    let text =
        serde_json::to_vec_pretty(value).map_err(|error| Error::write(path)(error.into()))?;
    write_file(path, &text)
}

fn write_file(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let mut out = AtomicFile::create(path.into())?;
    out.write(bytes)?;
    out.finish()
}
