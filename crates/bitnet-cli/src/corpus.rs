//! The text that a configuration names.

use std::path::PathBuf;

use anyhow::{Context, bail};
use bitnet_config::{DataConfig, DataKind, RunConfig};
use bitnet_data::{Corpus, Cut, DataError, TextFiles, Tokenizer};
use bitnet_train::{TrainError, check_fields, cut, text_files};

/// Reads or generates the text and fills in the size of its vocabulary. `known` is the tokenizer of an earlier run.
pub fn load(config: &mut RunConfig, known: Option<Tokenizer>) -> anyhow::Result<Corpus> {
    let corpus = corpus(&config.data, known)?;
    let vocab = corpus.tokenizer.vocab_size();
    let asked = config.model.vocab_size;
    if asked != 0 && asked < vocab {
        bail!(
            "model.vocab_size = {asked} is too small: {} has {vocab} tokens; leave it out to take that",
            corpus.name
        );
    }
    if asked == 0 {
        config.model.vocab_size = vocab;
    }
    corpus.check_context(config.train.context)?;
    Ok(corpus)
}

fn corpus(data: &DataConfig, known: Option<Tokenizer>) -> anyhow::Result<Corpus> {
    // The characters of a text tell whether it is still the same; pieces take long to learn again.
    let known = known.filter(|tokenizer| matches!(tokenizer, Tokenizer::Bpe(_)));
    let cut = cut(data, known)?;
    Ok(match (data.kind, cut) {
        (DataKind::Stories, Cut::Learned(kind)) => {
            Corpus::stories(data.seed, data.characters, kind, data.train_fraction)?
        }
        (DataKind::Stories, Cut::Given(tokenizer)) => {
            let text = bitnet_data::stories::generate(data.seed, data.characters);
            let name = "the built-in stories";
            Corpus::from_bytes_with(name, text.as_bytes(), tokenizer, data.train_fraction)?
        }
        (DataKind::Text, cut) => {
            let paths = data.path.as_ref().context(
                "data.path is missing; set it to a text file, a folder, or what `bitnet data prepare` made",
            )?;
            check_fields(data).map_err(|error| match error {
                // Unless nobody set it: then it is no fault of the fields.
                TrainError::Data(DataError::File { .. })
                    if data.text_columns != DataConfig::default().text_columns =>
                {
                    anyhow::Error::new(error).context("data.text_columns counts for nothing")
                }
                error => error.into(),
            })?;
            let corpus = files(data, paths).read(cut, data.train_fraction)?;
            match &data.validation_path {
                Some(paths) => {
                    let tokenizer = corpus.tokenizer.clone();
                    corpus.with_validation(files(data, paths).to_evaluate(tokenizer)?)
                }
                None => corpus,
            }
        }
        (DataKind::Chat, _) => {
            bail!("data.kind = \"chat\" is for models that start from another one")
        }
    })
}

/// Files of text, whose tokens are kept.
pub fn files(data: &DataConfig, paths: &[PathBuf]) -> TextFiles {
    TextFiles {
        cache: cache().map(|folder| folder.join("tokens")),
        ..text_files(data, paths)
    }
}

/// The folder for what can be made again: `BITNET_CACHE`, or `bitnet` where this system keeps such things.
fn cache() -> Option<PathBuf> {
    let of = |name: &str| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    of("BITNET_CACHE").or_else(|| {
        let folder = of("XDG_CACHE_HOME").or_else(|| match cfg!(windows) {
            true => of("LOCALAPPDATA"),
            false => Some(of("HOME")?.join(".cache")),
        });
        folder.map(|folder| folder.join("bitnet"))
    })
}
