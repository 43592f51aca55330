//! The longest token at each place, and no merging: GGUF's `rwkv`, as runs are written whose tokens are characters or bytes.

use aho_corasick::{AhoCorasick, MatchKind};

use crate::TextError;

/// A vocabulary of byte strings.
#[derive(Debug)]
pub(crate) struct Longest {
    finder: AhoCorasick,
    /// Ids of the strings that the finder knows: those that are not empty.
    ids: Vec<u32>,
}

impl Longest {
    pub(crate) fn new(pieces: &[Vec<u8>]) -> Result<Self, TextError> {
        let known = pieces
            .iter()
            .zip(0_u32..)
            .filter(|(piece, _)| !piece.is_empty());
        let (texts, ids): (Vec<_>, Vec<_>) = known.unzip();
        let finder = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .build(texts)
            .map_err(|error| TextError::Tokenizer(error.to_string()))?;
        Ok(Self { finder, ids })
    }

    pub(crate) fn encode(&self, text: &str) -> Result<Vec<u32>, TextError> {
        let mut ids = Vec::new();
        let mut at = 0;
        for found in self.finder.find_iter(text.as_bytes()) {
            if found.start() > at {
                return Err(unknown(text, at));
            }
            ids.push(self.ids[found.pattern()]);
            at = found.end();
        }
        match at == text.len() {
            true => Ok(ids),
            false => Err(unknown(text, at)),
        }
    }
}

fn unknown(text: &str, at: usize) -> TextError {
    let at = text.floor_char_boundary(at);
    let character = text[at..].chars().next().unwrap_or_default();
    TextError::Encode(format!(
        "character {character:?} at byte {at} has no token in this model; leave it out"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_token_is_taken_and_what_has_none_is_named() {
        let pieces = ["", "a", "ab", "abc", "é", "\n"].map(|piece| piece.as_bytes().to_vec());
        let longest = Longest::new(&pieces).unwrap();
        assert_eq!(longest.encode("abaabcé\n").unwrap(), [2, 1, 3, 4, 5]);
        assert!(longest.encode("").unwrap().is_empty());
        for (text, expected) in [
            ("aöa", "'ö' at byte 1"),
            ("ac", "'c' at byte 1"),
            ("bé", "'b' at byte 0"),
        ] {
            let message = longest.encode(text).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
        let half = Longest::new(&[vec![0xc3]]).unwrap();
        assert!(
            half.encode("é")
                .unwrap_err()
                .to_string()
                .contains("'é' at byte 0")
        );
    }
}
