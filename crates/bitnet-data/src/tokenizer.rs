//! Text to token ids and back: two tokenizers that need no training, and one that learns its pieces.
//!
//! *Byte* has 256 ids and reads anything. *Char* has one id per distinct character of the text, in code point order,
//! as in nanoGPT: the vocabulary is taken from the whole text, so that the validation split has no unknown character.
//! *Bpe* has the bytes and the pieces that a text has most often: see [`Bpe`]. Each id of each stands for certain bytes, so
//! that the loss per token converts to bits per byte exactly.
//!
//! On disk a tokenizer is one JSON object: `{"kind":"byte"}` or `{"kind":"char","chars":"\n .?ABC"}`, where the
//! position of a character in `chars` is its id. A byte-pair encoding is Hugging Face's `tokenizer.json`, known by its key
//! `model`.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Bpe, DataError, Vocabulary, file};

/// Which tokenizer to use, before a text has been seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TokenizerKind {
    /// One id per byte value.
    Byte,
    /// One id per distinct character of the corpus.
    Char,
    /// One id per piece of a byte-pair encoding with so many pieces.
    Bpe {
        /// How many ids there are at most.
        vocab_size: usize,
    },
}

impl fmt::Display for TokenizerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Byte => "byte",
            Self::Char => "char",
            Self::Bpe { .. } => "bpe",
        })
    }
}

impl FromStr for TokenizerKind {
    type Err = DataError;

    fn from_str(text: &str) -> Result<Self, DataError> {
        match text {
            "byte" => Ok(Self::Byte),
            "char" => Ok(Self::Char),
            kind => Err(DataError::TokenizerKind {
                kind: kind.to_owned(),
            }),
        }
    }
}

/// What the special token that ends a text is called.
const ENDS: [&str; 6] = [
    "<|endoftext|>",
    "<|end_of_text|>",
    "</s>",
    "<eos>",
    "<|eos|>",
    "[EOS]",
];

/// Bytes of the character that stands for what is none.
const REPLACEMENT_BYTES: usize = char::REPLACEMENT_CHARACTER.len_utf8();

/// A reversible map between text and token ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tokenizer {
    /// The id is the byte: 256 ids, no unknown input.
    Byte,
    /// The id is the rank of the character in a vocabulary.
    Char(Vocabulary),
    /// The id is a piece of a byte-pair encoding.
    Bpe(Bpe),
}

/// The JSON form, before validation.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenizerFile {
    kind: String,
    chars: Option<String>,
}

impl Tokenizer {
    /// The tokenizer of the given kind for a text; an empty text has no character vocabulary.
    pub fn for_text(kind: TokenizerKind, text: &str) -> Result<Self, DataError> {
        match kind {
            TokenizerKind::Byte => Ok(Self::Byte),
            TokenizerKind::Char => Vocabulary::of(text).map(Self::Char),
            TokenizerKind::Bpe { vocab_size } => Bpe::train(&[text], vocab_size).map(Self::Bpe),
        }
    }

    /// The tokenizer of the given kind for many texts.
    pub fn for_texts(kind: TokenizerKind, texts: &[&str]) -> Result<Self, DataError> {
        match kind {
            TokenizerKind::Bpe { vocab_size } => Bpe::train(texts, vocab_size).map(Self::Bpe),
            _ => Self::for_text(kind, &texts.concat()),
        }
    }

    /// Which of the tokenizers this is.
    pub fn kind(&self) -> TokenizerKind {
        match self {
            Self::Byte => TokenizerKind::Byte,
            Self::Char(_) => TokenizerKind::Char,
            Self::Bpe(bpe) => TokenizerKind::Bpe {
                vocab_size: bpe.vocab_size(),
            },
        }
    }

    /// How many ids there are; every id is below it.
    pub fn vocab_size(&self) -> usize {
        match self {
            Self::Byte => 256,
            Self::Char(vocabulary) => vocabulary.chars().len(),
            Self::Bpe(bpe) => bpe.vocab_size(),
        }
    }

    /// The ids of a text: one per byte, per character or per piece.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, DataError> {
        let vocabulary = match self {
            Self::Byte => return Ok(text.bytes().map(u32::from).collect()),
            Self::Bpe(bpe) => return bpe.encode(text),
            Self::Char(vocabulary) => vocabulary,
        };
        let id = |(position, character)| {
            let size = vocabulary.chars().len();
            vocabulary.id(character).ok_or(DataError::UnknownCharacter {
                character,
                position,
                vocabulary: size,
            })
        };
        text.chars().enumerate().map(id).collect()
    }

    /// The text of some ids. Broken UTF-8 and ids outside the vocabulary become U+FFFD.
    pub fn decode(&self, tokens: &[u32]) -> String {
        String::from_utf8_lossy(&self.decode_bytes(tokens)).into_owned()
    }

    /// The bytes of some ids, exactly. An id outside the vocabulary becomes the UTF-8 form of U+FFFD.
    pub fn decode_bytes(&self, tokens: &[u32]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(tokens.len());
        for &token in tokens {
            self.push_bytes(token, &mut bytes);
        }
        bytes
    }

    /// How many bytes of UTF-8 some ids stand for: the denominator of bits per byte.
    pub fn byte_length(&self, tokens: &[u32]) -> usize {
        match self {
            Self::Byte => tokens.len(),
            Self::Char(_) => tokens
                .iter()
                .map(|&token| self.character(token).len_utf8())
                .sum(),
            // What ends a text is no part of it.
            Self::Bpe(bpe) => {
                let end = self.end_of_text();
                let text = tokens.iter().filter(|id| Some(**id) != end);
                text.map(|id| bpe.piece(*id).map_or(REPLACEMENT_BYTES, <[u8]>::len))
                    .sum()
            }
        }
    }

    /// The id that ends a text, if the tokenizer has one.
    pub fn end_of_text(&self) -> Option<u32> {
        let Self::Bpe(bpe) = self else {
            return None;
        };
        ENDS.into_iter().find_map(|text| bpe.special(text))
    }

    /// The JSON form: one line, or of a byte-pair encoding Hugging Face's `tokenizer.json`.
    pub fn to_json(&self) -> String {
        match self {
            Self::Byte => r#"{"kind":"byte"}"#.to_owned(),
            Self::Char(vocabulary) => {
                let chars = serde_json::Value::String(vocabulary.chars().iter().collect());
                format!(r#"{{"kind":"char","chars":{chars}}}"#)
            }
            Self::Bpe(bpe) => bpe.to_json(),
        }
    }

    /// Reads a file of the JSON form.
    ///
    /// # Errors
    /// If it cannot be read, or is not what it should be; the message names the file.
    pub fn read(path: &Path) -> Result<Self, DataError> {
        Self::from_json(&file::read_text(path)?).map_err(|error| DataError::File {
            path: path.to_owned(),
            problem: format!("cannot be used: {error}"),
        })
    }

    /// Reads the JSON form back, and checks it.
    pub fn from_json(json: &str) -> Result<Self, DataError> {
        let value: serde_json::Value = serde_json::from_str(json)?;
        if value.get("model").is_some() {
            return Bpe::from_json(json).map(Self::Bpe);
        }
        let file = TokenizerFile::deserialize(value)?;
        let vocabulary = |problem: &str| {
            Err(DataError::Vocabulary {
                problem: problem.to_owned(),
            })
        };
        match (file.kind.parse()?, file.chars) {
            (TokenizerKind::Bpe { .. }, _) => vocabulary("has no place in a BPE tokenizer"),
            (TokenizerKind::Byte, None) => Ok(Self::Byte),
            (TokenizerKind::Byte, Some(_)) => vocabulary("has no place in a byte tokenizer"),
            (TokenizerKind::Char, None) => vocabulary("is missing"),
            (TokenizerKind::Char, Some(chars)) => {
                Vocabulary::from_sorted(chars.chars().collect()).map(Self::Char)
            }
        }
    }

    /// Appends the bytes of one id.
    pub(crate) fn push_bytes(&self, token: u32, bytes: &mut Vec<u8>) {
        match (self, u8::try_from(token)) {
            (Self::Byte, Ok(byte)) => bytes.push(byte),
            (Self::Bpe(bpe), _) if let Some(piece) = bpe.piece(token) => {
                bytes.extend_from_slice(piece);
            }
            _ => bytes.extend_from_slice(self.character(token).encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }

    /// The character of one id; U+FFFD where the id is not one character.
    fn character(&self, token: u32) -> char {
        let character = match self {
            Self::Byte | Self::Bpe(_) => None,
            Self::Char(vocabulary) => vocabulary.character(token),
        };
        character.unwrap_or(char::REPLACEMENT_CHARACTER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chars(text: &str) -> Tokenizer {
        Tokenizer::for_text(TokenizerKind::Char, text).unwrap()
    }

    #[test]
    fn char_ids_are_ranks_in_code_point_order() {
        let tokenizer = chars("hello, wörld\n");
        assert_eq!(tokenizer.vocab_size(), 11);
        assert_eq!(tokenizer.encode("\n ,ö").unwrap(), [0, 1, 2, 10]);
        assert_eq!(tokenizer.decode(&[10, 2]), "ö,");
        assert_eq!(tokenizer.byte_length(&[10, 2]), 3);
    }

    #[test]
    fn byte_ids_are_bytes() {
        assert_eq!(Tokenizer::Byte.encode("aö").unwrap(), [97, 0xc3, 0xb6]);
        assert_eq!(Tokenizer::Byte.vocab_size(), 256);
        assert_eq!(Tokenizer::Byte.decode_bytes(&[255, 0]), [255, 0]);
        assert_eq!(Tokenizer::Byte.decode(&[97, 0xc3]), "a\u{fffd}");
        assert_eq!(Tokenizer::Byte.byte_length(&[97, 0xc3]), 2);
    }

    #[test]
    fn an_id_outside_the_vocabulary_is_shown_not_fatal() {
        assert_eq!(Tokenizer::Byte.decode(&[97, 256]), "a\u{fffd}");
        assert_eq!(chars("ab").decode(&[0, 2]), "a\u{fffd}");
    }

    #[test]
    fn an_unknown_character_is_named_with_its_place_and_the_remedy() {
        let message = chars("ab").encode("aöz").unwrap_err().to_string();
        for part in ["'ö'", "position 1", "2 characters", "byte tokenizer"] {
            assert!(message.contains(part), "{message}");
        }
    }

    #[test]
    fn json_round_trips() {
        for tokenizer in [Tokenizer::Byte, chars("\"\\ \n\u{1}aö\u{301}𝄞")] {
            assert_eq!(
                Tokenizer::from_json(&tokenizer.to_json()).unwrap(),
                tokenizer
            );
        }
        assert_eq!(chars("ba").to_json(), r#"{"kind":"char","chars":"ab"}"#);
    }

    #[test]
    fn damaged_json_is_refused_by_name() {
        let cases = [
            ("{", "not valid JSON"),
            (r#"{"chars":"ab"}"#, "not valid JSON"),
            (
                r#"{"kind":"char","chars":"ab","merges":[]}"#,
                "not valid JSON",
            ),
            (r#"{"kind":"bpe"}"#, "unknown tokenizer kind \"bpe\""),
            (r#"{"kind":"char"}"#, "is missing"),
            (r#"{"kind":"char","chars":""}"#, "is empty"),
            (r#"{"kind":"char","chars":"aab"}"#, "has 'a' twice"),
            (r#"{"kind":"char","chars":"ba"}"#, "order at 'a'"),
            (
                r#"{"kind":"byte","chars":"ab"}"#,
                "no place in a byte tokenizer",
            ),
        ];
        for (json, expected) in cases {
            let message = Tokenizer::from_json(json).unwrap_err().to_string();
            assert!(message.contains(expected), "{json}: {message}");
        }
    }
}
