//! The tokenizers of runs, which need no files of other programs.

use crate::{TextError, TextModel, Tokenizer, tokenizer::Cut};

impl Cut for bitnet_data::Tokenizer {
    fn cut(&self, text: &str) -> Result<Vec<u32>, TextError> {
        self.encode(text)
            .map_err(|error| TextError::Run(error.into()))
    }
}

impl Tokenizer {
    /// The tokenizer of a run.
    pub fn from_run(tokenizer: bitnet_data::Tokenizer) -> Self {
        let bytes: Vec<Vec<u8>> = (0..tokenizer.vocab_size() as u32)
            .map(|id| tokenizer.decode_bytes(&[id]))
            .collect();
        Self::own(tokenizer, bytes.into_iter())
    }
}

impl TextModel {
    /// Of a run: its models were trained on plain text, and end nowhere.
    pub fn from_run(tokenizer: bitnet_data::Tokenizer) -> Self {
        Self::plain(Tokenizer::from_run(tokenizer))
    }
}
