//! What the files of a folder say of text: all of them but the tensors.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use super::{config::HfConfig, generation::GenerationConfig, pooling, tokenizer::TokenizerFiles};
use crate::{
    Error,
    error::{Fault, Place},
    json,
    model::{Finding, Pooling, SpecialTokens, TokenizerKind},
};

/// Bytes of the largest configuration that is read.
const MAX_CONFIG: usize = 16 << 20;

/// The tokenizer's files, the chat template and the ids with a meaning of a folder, which may be without tensors.
#[derive(Clone, Debug)]
pub struct HfText {
    folder: PathBuf,
    tokenizer: Finding<TokenizerKind>,
    special_tokens: SpecialTokens,
    special_texts: BTreeMap<String, String>,
    chat_template: Option<String>,
    generation: GenerationConfig,
    pooling: Finding<Pooling>,
}

impl HfText {
    /// Opens a folder with `config.json`.
    ///
    /// # Errors
    ///
    /// If a file is damaged, or the tokenizer has ids beyond `vocab_size` of the configuration.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self, Error> {
        let folder = folder.as_ref();
        let config = config(folder)?;
        let (text, files) = Self::read(folder, &config)?;
        if let Some(vocab_size) = config.vocab_size {
            files.check_ids(folder, vocab_size)?;
        }
        Ok(text)
    }

    /// Reads what stands beside a configuration.
    pub(super) fn read(folder: &Path, config: &HfConfig) -> Result<(Self, TokenizerFiles), Error> {
        let generation = folder.join("generation_config.json");
        let generation: GenerationConfig = json::read(&generation, MAX_CONFIG)?.unwrap_or_default();
        let files = TokenizerFiles::read(folder)?;
        let eos = match generation.eos_token_id.0.is_empty() {
            true => &config.eos_token_id,
            false => &generation.eos_token_id,
        };
        let pad = generation.pad_token_id.or(config.pad_token_id);
        let text = Self {
            folder: folder.to_owned(),
            tokenizer: files.kind.clone(),
            special_tokens: SpecialTokens {
                bos: generation.bos_token_id.or(config.bos_token_id),
                eos: eos.0.clone(),
                pad: pad.and_then(|id| id.try_into().ok()),
                add_bos: files.add_bos,
            },
            special_texts: files.special.clone(),
            chat_template: files.chat_template.clone(),
            generation,
            pooling: pooling::read(folder)?,
        };
        Ok((text, files))
    }

    /// Where the files are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What text becomes token ids with.
    pub fn tokenizer(&self) -> &Finding<TokenizerKind> {
        &self.tokenizer
    }

    /// Ids with a meaning.
    pub fn special_tokens(&self) -> &SpecialTokens {
        &self.special_tokens
    }

    /// The special tokens of `tokenizer_config.json`, as templates call them: `bos_token`, `eos_token`, ….
    pub fn special_texts(&self) -> &BTreeMap<String, String> {
        &self.special_texts
    }

    /// The template of a chat, in Jinja.
    pub fn chat_template(&self) -> Option<&str> {
        self.chat_template.as_deref()
    }

    /// `generation_config.json`; all keys absent if there is none.
    pub fn generation_config(&self) -> &GenerationConfig {
        &self.generation
    }

    /// How a text's hidden states become its vector.
    pub fn pooling(&self) -> &Finding<Pooling> {
        &self.pooling
    }
}

/// `config.json` of a folder.
pub(super) fn config(folder: &Path) -> Result<HfConfig, Error> {
    json::read(&folder.join("config.json"), MAX_CONFIG)?.ok_or_else(|| {
        let remedy = "give a folder with config.json, safetensors and tokenizer.json";
        Fault::unsupported(Place::File, "config.json is not there", remedy).within(folder)
    })
}
