//! Byte-level byte-pair encoding (Sennrich et al. 2016; GPT-2), trained and run by Hugging Face's `tokenizers`.
//!
//! Text is cut into words with their leading space, words into bytes, and the pairs of neighbours that occur most often are
//! joined until the vocabulary is full. Every text can be encoded, and every id stands for bytes, which need not be whole
//! characters. GPT-2 writes a byte as a visible character; [`Bpe`] keeps for each id the bytes themselves.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tokenizers::models::TrainerWrapper;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;

use crate::DataError;

/// Ids of the single bytes; the smallest vocabulary.
const BYTES: usize = 256;

/// A byte-pair encoding.
#[derive(Debug, Clone)]
pub struct Bpe {
    tokenizer: Arc<tokenizers::Tokenizer>,
    pieces: Arc<Vec<Vec<u8>>>,
}

impl PartialEq for Bpe {
    fn eq(&self, other: &Self) -> bool {
        self.to_json() == other.to_json()
    }
}

impl Eq for Bpe {}

impl Bpe {
    /// Learns `vocab_size` pieces from texts; the same texts give the same pieces. There are fewer if the texts hold fewer.
    pub fn train(texts: &[&str], vocab_size: usize) -> Result<Self, DataError> {
        if vocab_size <= BYTES {
            return Err(DataError::BpeVocabulary { vocab_size });
        }
        let failed = |error: tokenizers::Error| DataError::Bpe {
            problem: error.to_string(),
        };
        let byte_level = ByteLevel::new(false, true, true);
        let mut tokenizer = tokenizers::Tokenizer::new(BPE::default());
        tokenizer
            .with_pre_tokenizer(Some(byte_level))
            .with_decoder(Some(byte_level));
        let alphabet: HashSet<char> = ByteLevel::alphabet().into_iter().collect();
        let mut trainer = TrainerWrapper::BpeTrainer(
            BpeTrainer::builder()
                .show_progress(false)
                .vocab_size(vocab_size)
                .initial_alphabet(alphabet)
                .build(),
        );
        tokenizer
            .train(&mut trainer, texts.iter().copied())
            .map_err(failed)?;
        Self::new(tokenizer)
    }

    /// Reads a `tokenizer.json` of Hugging Face's form.
    pub fn from_json(json: &str) -> Result<Self, DataError> {
        let tokenizer = json
            .parse::<tokenizers::Tokenizer>()
            .map_err(|error| DataError::Bpe {
                problem: error.to_string(),
            })?;
        Self::new(tokenizer)
    }

    fn new(tokenizer: tokenizers::Tokenizer) -> Result<Self, DataError> {
        let bytes = bytes_of_characters();
        let mut pieces = vec![Vec::new(); tokenizer.get_vocab_size(true)];
        for (piece, id) in tokenizer.get_vocab(true) {
            let Some(slot) = pieces.get_mut(id as usize) else {
                return Err(DataError::Bpe {
                    problem: format!(
                        "its ids have a gap: {id} is taken, {} pieces exist",
                        pieces.len()
                    ),
                });
            };
            // What is not written in GPT-2's characters (an added token) stands for itself.
            let decoded: Option<Vec<u8>> = piece.chars().map(|c| bytes.get(&c).copied()).collect();
            *slot = decoded.unwrap_or_else(|| piece.into_bytes());
        }
        Ok(Self {
            tokenizer: Arc::new(tokenizer),
            pieces: Arc::new(pieces),
        })
    }

    /// How many ids there are.
    pub fn vocab_size(&self) -> usize {
        self.pieces.len()
    }

    /// The ids of a text.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, DataError> {
        let encoding = self
            .tokenizer
            .encode_fast(text, false)
            .map_err(|error| DataError::Bpe {
                problem: error.to_string(),
            })?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The bytes of an id; none outside the vocabulary.
    pub fn piece(&self, id: u32) -> Option<&[u8]> {
        self.pieces.get(id as usize).map(Vec::as_slice)
    }

    /// The `tokenizer.json`.
    pub fn to_json(&self) -> String {
        // Writing what was built or read here does not fail.
        self.tokenizer.to_string(false).unwrap_or_default()
    }
}

/// GPT-2's table: printable Latin-1 characters stand for their own byte, the others for 256, 257, … in order.
fn bytes_of_characters() -> HashMap<char, u8> {
    let printable = |byte: u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    let mut shifted = 256u32;
    (0..=255u8)
        .map(|byte| {
            let character = match printable(byte) {
                true => char::from(byte),
                false => {
                    shifted += 1;
                    char::from_u32(shifted - 1).unwrap_or(char::REPLACEMENT_CHARACTER)
                }
            };
            (character, byte)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn small() -> Bpe {
        let texts = [
            "the cat sat on the mat",
            "the dog sat on the log",
            "über öde Äcker",
        ];
        Bpe::train(&texts, 290).unwrap()
    }

    fn decode(bpe: &Bpe, ids: &[u32]) -> Vec<u8> {
        ids.iter()
            .flat_map(|id| bpe.piece(*id).unwrap().to_vec())
            .collect()
    }

    #[test]
    fn the_same_texts_give_the_same_pieces() {
        assert_eq!(small(), small());
        // The texts hold no more pairs that are worth a piece.
        assert!((257..=290).contains(&small().vocab_size()));
        let again = Bpe::from_json(&small().to_json()).unwrap();
        assert_eq!(again, small());
    }

    #[test]
    fn frequent_words_become_one_piece() {
        let bpe = small();
        let ids = bpe.encode("the the").unwrap();
        assert_eq!(ids.len(), 2);
        assert_eq!(bpe.piece(ids[1]), Some(&b" the"[..]));
        assert_eq!(bpe.piece(290), None);
    }

    #[test]
    fn a_vocabulary_without_room_for_pieces_is_refused() {
        let message = Bpe::train(&["a"], 256).unwrap_err().to_string();
        assert!(
            message.contains("256") && message.contains("raise"),
            "{message}"
        );
        let message = Bpe::from_json("{\"model\": 1}").unwrap_err().to_string();
        assert!(message.contains("tokenizer"), "{message}");
    }

    proptest! {
        #[test]
        fn any_text_round_trips(text in ".*") {
            let bpe = small();
            let ids = bpe.encode(&text).unwrap();
            prop_assert_eq!(decode(&bpe, &ids), text.as_bytes());
        }
    }
}
