//! Token ids to text while they are generated, without ever showing half a character.

use std::sync::Arc;

use bitnet_data::Utf8Stream;

use crate::{PieceKind, pieces::Pieces};

/// Turns a stream of ids into a stream of text. The pieces joined are the text of all ids, whatever the cuts.
#[derive(Clone, Debug)]
pub struct TextDecoder {
    pieces: Arc<Pieces>,
    stream: Utf8Stream,
    show_special: bool,
}

impl TextDecoder {
    pub(crate) fn new(pieces: Arc<Pieces>, show_special: bool) -> Self {
        Self {
            pieces,
            stream: Utf8Stream::default(),
            show_special,
        }
    }

    /// Takes one id and returns the text that is now certain. An id without a token is U+FFFD.
    pub fn push(&mut self, token: u32) -> String {
        let bytes = match self.pieces.kind(token) {
            PieceKind::Special if !self.show_special => b"",
            PieceKind::Absent => "\u{fffd}".as_bytes(),
            _ => self.pieces.bytes(token).unwrap_or_default(),
        };
        self.stream.push(bytes)
    }

    /// The end of the stream: what was held back, as U+FFFD since it cannot be completed any more.
    pub fn finish(self) -> String {
        self.stream.finish()
    }
}
