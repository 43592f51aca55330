//! The text that a configuration names.

use std::path::Path;

use anyhow::{Context, bail};
use bitnet_config::{DataConfig, DataKind, RunConfig};
use bitnet_data::{Corpus, SplitText};
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

/// All of a corpus to train on, and a file of its own to validate.
fn with_validation(corpus: Corpus, path: &Path) -> anyhow::Result<Corpus> {
    let held_back = Corpus::read_to_evaluate(path, corpus.tokenizer.clone())?.text;
    let Corpus { text, tokenizer } = corpus;
    let text = SplitText {
        name: format!("{}, validated on {}", text.name, held_back.name),
        train: [text.train, text.validation].concat(),
        ..held_back
    };
    Ok(Corpus { text, tokenizer })
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
                .context("data.path is missing; set it to the text file")?;
            let corpus = Corpus::read(path, kind, data.train_fraction)?;
            match &data.validation_path {
                Some(path) => with_validation(corpus, path)?,
                None => corpus,
            }
        }
        DataKind::Chat => bail!("data.kind = \"chat\" is for models that start from another one"),
    })
}
