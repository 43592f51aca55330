//! The text of an answer while its tokens come.

use crate::{StopStrings, TextDecoder, TextModel};

/// Tokens to text: whole characters only, and nothing of a stop string. The pieces joined are the answer's text, however
/// it is cut.
#[derive(Clone, Debug)]
pub struct AnswerText {
    decoder: TextDecoder,
    stops: StopStrings,
    decoded: Extent,
}

/// A length of text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// In bytes of UTF-8.
    pub bytes: usize,
    /// In characters.
    pub characters: usize,
}

impl AnswerText {
    /// An answer that ends before one of `stops`. `show_special` tells whether special tokens are text.
    pub fn new(model: &TextModel, stops: Vec<String>, show_special: bool) -> Self {
        Self {
            decoder: model.tokenizer.decoder(show_special),
            stops: StopStrings::new(stops),
            decoded: Extent::default(),
        }
    }

    /// Takes a token and returns the text that is now certain.
    pub fn push(&mut self, token: u32) -> String {
        let piece = self.decoder.push(token);
        self.count(&piece);
        self.stops.push(&piece)
    }

    /// The end: what was held back. Half a character becomes U+FFFD.
    pub fn finish(&mut self) -> String {
        let rest = self.decoder.clone().finish();
        self.count(&rest);
        self.stops.finish(&rest)
    }

    /// Whether a stop string came.
    pub fn stopped(&self) -> bool {
        self.stops.stopped()
    }

    /// All that was returned.
    pub fn text(&self) -> &str {
        self.stops.text()
    }

    /// The text that the tokens so far make, that held back and that after a stop string included.
    pub fn decoded(&self) -> Extent {
        self.decoded
    }

    fn count(&mut self, text: &str) {
        self.decoded.bytes += text.len();
        self.decoded.characters += text.chars().count();
    }
}
