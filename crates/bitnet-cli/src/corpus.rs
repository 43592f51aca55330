//! The text that a configuration names.

use anyhow::{Context, bail};
use bitnet_config::{DataConfig, DataKind, RunConfig};
use bitnet_data::{Corpus, Reading};
use bitnet_train::tokenizer_kind;

/// Reads or generates the text and fills in the size of its vocabulary.
pub fn load(config: &mut RunConfig) -> anyhow::Result<Corpus> {
    let corpus = corpus(&config.data)?;
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

fn corpus(data: &DataConfig) -> anyhow::Result<Corpus> {
    let kind = tokenizer_kind(data);
    Ok(match data.kind {
        DataKind::Stories => {
            Corpus::stories(data.seed, data.characters, kind, data.train_fraction)?
        }
        DataKind::Text => {
            let path = data
                .path
                .as_ref()
                .context("data.path is missing; set it to a text file, a folder, or what `bitnet data prepare` made")?;
            let reading = Reading {
                fields: data.text_columns.clone(),
                split_at: None,
            };
            let corpus = Corpus::read(path, kind, data.train_fraction, &reading)?;
            match &data.validation_path {
                Some(path) => {
                    let tokenizer = corpus.tokenizer.clone();
                    corpus.with_validation(Corpus::read_to_evaluate(path, tokenizer)?)
                }
                None => corpus,
            }
        }
        DataKind::Chat => bail!("data.kind = \"chat\" is for models that start from another one"),
    })
}
