//! Token ids to text, one at a time, without ever printing half a character.
//!
//! At byte level a character of up to four bytes arrives in as many tokens. The decoder holds back bytes that could
//! still become a character and releases them when it is complete, or as U+FFFD when it can no longer be.
//! Whatever the cuts, the pieces joined equal [`Tokenizer::decode`] of all ids.

use crate::Tokenizer;

/// Turns a stream of token ids into a stream of valid text.
///
/// ```
/// use bitnet_data::Tokenizer;
/// let mut decoder = Tokenizer::Byte.decoder();
/// assert_eq!(decoder.push(0xc3), "");
/// assert_eq!(decoder.push(0xb6), "ö");
/// assert_eq!(decoder.finish(), "");
/// ```
#[derive(Debug, Clone)]
pub struct Decoder {
    tokenizer: Tokenizer,
    stream: Utf8Stream,
}

impl Decoder {
    pub(crate) fn new(tokenizer: Tokenizer) -> Self {
        Self {
            tokenizer,
            stream: Utf8Stream::default(),
        }
    }

    /// Takes one id and returns the text that is now certain; often one character, sometimes none.
    pub fn push(&mut self, token: u32) -> String {
        self.tokenizer.push_bytes(token, &mut self.stream.pending);
        self.stream.certain()
    }

    /// The end of the stream: what was held back, as U+FFFD since it cannot be completed any more.
    pub fn finish(self) -> String {
        self.stream.finish()
    }
}

/// Turns a stream of bytes into a stream of valid text, whatever the cuts.
#[derive(Debug, Clone, Default)]
pub struct Utf8Stream {
    pending: Vec<u8>,
}

impl Utf8Stream {
    /// Takes some bytes and returns the text that is now certain.
    pub fn push(&mut self, bytes: &[u8]) -> String {
        self.pending.extend_from_slice(bytes);
        self.certain()
    }

    /// The end of the stream: what was held back, as U+FFFD.
    pub fn finish(self) -> String {
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

    fn pieces(tokenizer: &Tokenizer, tokens: &[u32]) -> Vec<String> {
        let mut decoder = tokenizer.decoder();
        let mut pieces: Vec<String> = tokens.iter().map(|&token| decoder.push(token)).collect();
        pieces.push(decoder.finish());
        pieces
    }

    #[test]
    fn a_character_appears_with_its_last_byte() {
        let tokens = Tokenizer::Byte.encode("a€𝄞").unwrap();
        assert_eq!(
            pieces(&Tokenizer::Byte, &tokens),
            ["a", "", "", "€", "", "", "", "𝄞", ""]
        );
    }

    #[test]
    fn a_sequence_that_breaks_off_is_shown_as_soon_as_it_is_certain() {
        assert_eq!(
            pieces(&Tokenizer::Byte, &[0xe2, 0x82, 0x61]),
            ["", "", "\u{fffd}a", ""]
        );
        assert_eq!(
            pieces(&Tokenizer::Byte, &[0xff, 0xe2]),
            ["\u{fffd}", "", "\u{fffd}"]
        );
    }

    proptest! {
        #[test]
        fn text_round_trips(text in ".*") {
            let tokens = Tokenizer::Byte.encode(&text).unwrap();
            prop_assert_eq!(pieces(&Tokenizer::Byte, &tokens).concat(), text);
        }

        #[test]
        fn any_bytes_decode_as_if_at_once(tokens in prop::collection::vec(0_u32..258, 0..40)) {
            let joined = pieces(&Tokenizer::Byte, &tokens).concat();
            prop_assert_eq!(joined, Tokenizer::Byte.decode(&tokens));
        }

        #[test]
        fn nearly_valid_utf8_decodes_as_if_at_once(text in "[aö€𝄞]{1,12}", cut in 0_usize..48) {
            let mut tokens = Tokenizer::Byte.encode(&text).unwrap();
            tokens.remove(cut % tokens.len());
            let joined = pieces(&Tokenizer::Byte, &tokens).concat();
            prop_assert_eq!(joined, Tokenizer::Byte.decode(&tokens));
        }
    }
}
