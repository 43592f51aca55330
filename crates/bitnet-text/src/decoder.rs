//! Token ids to text while they are generated, without ever showing half a character.

use std::sync::Arc;

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

/// Turns a stream of bytes into a stream of valid text, whatever the cuts.
#[derive(Debug, Clone, Default)]
struct Utf8Stream {
    pending: Vec<u8>,
}

impl Utf8Stream {
    /// Takes some bytes and returns the text that is now certain.
    fn push(&mut self, bytes: &[u8]) -> String {
        self.pending.extend_from_slice(bytes);
        self.certain()
    }

    /// The end of the stream: what was held back, as U+FFFD.
    fn finish(self) -> String {
        String::from_utf8_lossy(&self.pending).into_owned()
    }

    fn certain(&mut self) -> String {
        let held_back = incomplete_suffix(&self.pending);
        let rest = self.pending.split_off(self.pending.len() - held_back);
        let certain = std::mem::replace(&mut self.pending, rest);
        String::from_utf8_lossy(&certain).into_owned()
    }
}

/// How many bytes at the end are a correct beginning of a character; 0 to 3.
fn incomplete_suffix(bytes: &[u8]) -> usize {
    let last = bytes.utf8_chunks().last();
    let tail = last.map_or(&[][..], |chunk| chunk.invalid());
    match std::str::from_utf8(tail) {
        Err(error) if error.error_len().is_none() => tail.len(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What is told after each piece, and at the end.
    fn told<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<String> {
        let mut stream = Utf8Stream::default();
        let mut told: Vec<String> = pieces.into_iter().map(|piece| stream.push(piece)).collect();
        told.push(stream.finish());
        told
    }

    fn bytes(bytes: &[u8]) -> Vec<String> {
        told(bytes.chunks(1))
    }

    #[test]
    fn a_character_appears_with_its_last_byte() {
        let expected = ["a", "", "", "€", "", "", "", "𝄞", ""];
        assert_eq!(bytes("a€𝄞".as_bytes()), expected);
    }

    #[test]
    fn a_sequence_that_breaks_off_is_shown_as_soon_as_it_is_certain() {
        assert_eq!(bytes(&[0xe2, 0x82, 0x61]), ["", "", "\u{fffd}a", ""]);
        assert_eq!(bytes(&[0xff, 0xe2]), ["\u{fffd}", "", "\u{fffd}"]);
    }

    proptest! {
        #[test]
        fn any_pieces_are_told_as_if_at_once(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..5), 0..40)) {
            let joined = told(pieces.iter().map(|piece| &piece[..])).concat();
            let bytes = pieces.concat();
            prop_assert_eq!(joined, String::from_utf8_lossy(&bytes));
        }

        #[test]
        fn nearly_valid_utf8_is_told_as_if_at_once(text in "[aö€𝄞]{1,12}", cut in 0_usize..48) {
            let mut text = text.into_bytes();
            text.remove(cut % text.len());
            prop_assert_eq!(bytes(&text).concat(), String::from_utf8_lossy(&text));
        }
    }
}
