//! Byte-level byte-pair encoding (Sennrich et al. 2016; GPT-2), trained and run by Hugging Face's `tokenizers`.
//!
//! Text is cut into words with their leading space, words into bytes, and the pairs of neighbours that occur most often are
//! joined until the vocabulary is full. Every text can be encoded, and every id stands for bytes, which need not be whole
//! characters. GPT-2 writes a byte as a visible character; [`Bpe`] keeps for each id the bytes themselves.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, LazyLock};

use tokenizers::decoders::DecoderWrapper;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::models::{ModelWrapper, TrainerWrapper};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{AddedToken, PostProcessorWrapper};

use crate::DataError;
use crate::word_cache::{self, WordCache};

/// Ids of the single bytes; the smallest vocabulary.
const BYTES: usize = 256;

/// A byte-pair encoding.
#[derive(Debug, Clone)]
pub struct Bpe {
    tokenizer: Arc<tokenizers::Tokenizer>,
    /// What the file puts around a text, for other programs: here nothing is, and the library believes what it says.
    frame: Option<PostProcessorWrapper>,
    pieces: Arc<Vec<Vec<u8>>>,
    /// Ids of words that were met, if the tokenizer looks at words one by one.
    words: Option<Arc<WordCache>>,
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
        Self::train_with(texts, vocab_size, &[])
    }

    /// [`train`](Self::train) with special tokens, which come first and stand in no text.
    pub fn train_with(
        texts: &[&str],
        vocab_size: usize,
        special: &[&str],
    ) -> Result<Self, DataError> {
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
                .special_tokens(
                    (special.iter())
                        .map(|text| AddedToken::from(*text, true))
                        .collect(),
                )
                .build(),
        );
        let pieces = texts.iter().flat_map(|text| bounded(text));
        tokenizer.train(&mut trainer, pieces).map_err(failed)?;
        Self::new(tokenizer)
    }

    /// Reads a `tokenizer.json` of Hugging Face's form. It must be byte-level, as GPT-2's: of another kind the bytes of
    /// an id are not known.
    pub fn from_json(json: &str) -> Result<Self, DataError> {
        let tokenizer = json
            .parse::<tokenizers::Tokenizer>()
            .map_err(|error| DataError::Bpe {
                problem: format!("{error}; copy the file again from where it was made"),
            })?;
        Self::new(tokenizer)
    }

    /// Checks a tokenizer, and switches off what is for other uses of such a file: cutting a text short, and filling it up.
    fn new(mut tokenizer: tokenizers::Tokenizer) -> Result<Self, DataError> {
        let cut = tokenizer.with_truncation(None).map(drop);
        tokenizer.with_padding(None);
        let failed = |problem: String| Err(DataError::Bpe { problem });
        let byte_level = matches!(tokenizer.get_decoder(), Some(DecoderWrapper::ByteLevel(_)));
        if !byte_level || !matches!(tokenizer.get_model(), ModelWrapper::BPE(_)) {
            return failed(
                "it is not byte-level: use one with a BPE model and a ByteLevel decoder".into(),
            );
        }
        if let Err(error) = cut {
            return failed(error.to_string());
        }
        if let ModelWrapper::BPE(model) = tokenizer.get_model()
            && model.dropout.is_some_and(|share| share > 0.0)
        {
            return failed(
                "its model.dropout cuts a text otherwise every time: set it to null in the file"
                    .into(),
            );
        }
        let normalizer = serde_json::to_string(&tokenizer.get_normalizer()).unwrap_or_default();
        if let Some(kind) = ["Replace", "Prepend"]
            .into_iter()
            .find(|kind| normalizer.contains(&format!("\"{kind}\"")))
        {
            return failed(format!(
                "its normalizer changes the text ({kind}), so that its bytes are others: use a file without"
            ));
        }
        let frame = tokenizer.get_post_processor().cloned();
        tokenizer.with_post_processor(None::<PostProcessorWrapper>);
        let added = tokenizer.get_added_tokens_decoder();
        let mut pieces = vec![None; tokenizer.get_vocab_size(true)];
        for (piece, id) in tokenizer.get_vocab(true) {
            // An added token stands for itself, any other is written in GPT-2's characters.
            let decoded = match added.contains_key(&id) {
                true => Some(piece.as_bytes().to_vec()),
                false => byte_level_bytes(&piece),
            };
            let Some(decoded) = decoded else {
                return failed(format!(
                    "piece {piece:?} is not byte-level; take another file"
                ));
            };
            let count = pieces.len();
            match pieces.get_mut(id as usize) {
                Some(slot @ None) => *slot = Some(decoded),
                Some(_) => return failed(format!("two pieces have id {id}; copy the file again")),
                None => {
                    return failed(format!(
                        "its ids have a gap: {id} is taken, {count} pieces exist; copy the file again"
                    ));
                }
            }
        }
        // As many distinct ids as places, all of them within: no place is left.
        let pieces = pieces.into_iter().flatten().collect();
        let words = word_cache::applies(&tokenizer).then(Arc::default);
        Ok(Self {
            tokenizer: Arc::new(tokenizer),
            frame,
            pieces: Arc::new(pieces),
            words,
        })
    }

    /// How many ids there are.
    pub fn vocab_size(&self) -> usize {
        self.pieces.len()
    }

    /// The ids of a text.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, DataError> {
        match &self.words {
            Some(words) => words.encode(text, |word| self.encode_whole(word)),
            None => self.encode_whole(text),
        }
    }

    /// The ids of a text as the library makes them, at once.
    pub(crate) fn encode_whole(&self, text: &str) -> Result<Vec<u32>, DataError> {
        let encoding = self
            .tokenizer
            .encode_fast(text, false)
            .map_err(|error| DataError::Bpe {
                problem: error.to_string(),
            })?;
        Ok(encoding.get_ids().to_vec())
    }

    /// Whether words are looked up.
    #[cfg(test)]
    pub(crate) fn remembers_words(&self) -> bool {
        self.words.is_some()
    }

    /// The id of a special token by its text.
    pub fn special(&self, text: &str) -> Option<u32> {
        let id = self.tokenizer.token_to_id(text)?;
        let added = self.tokenizer.get_added_tokens_decoder();
        added.get(&id).filter(|token| token.special).map(|_| id)
    }

    /// The bytes of an id; none outside the vocabulary.
    pub fn piece(&self, id: u32) -> Option<&[u8]> {
        self.pieces.get(id as usize).map(Vec::as_slice)
    }

    /// The `tokenizer.json`.
    pub fn to_json(&self) -> String {
        let mut tokenizer = tokenizers::Tokenizer::clone(&self.tokenizer);
        tokenizer.with_post_processor(self.frame.clone());
        // Writing what was built or read here does not fail.
        tokenizer.to_string(false).unwrap_or_default()
    }
}

/// The bytes that a piece in GPT-2's characters stands for; none if a character is not one of them.
fn byte_level_bytes(piece: &str) -> Option<Vec<u8>> {
    static BYTES: LazyLock<HashMap<char, u8>> = LazyLock::new(bytes_of_characters);
    piece.chars().map(|c| BYTES.get(&c).copied()).collect()
}

/// Longest stretch without white space that pieces are learned from, in bytes. The time of training grows with the square
/// of a word's length, and what occurs once at that length is no piece.
const LONGEST: usize = 512;

/// Bytes of text whose words are counted at once: the library takes a hundred bytes of memory for each of them.
const PIECE: usize = 1 << 16;

/// A text in parts that together have its words: it is cut before a space after a visible character once there are
/// [`PIECE`] bytes, and within words of more than [`LONGEST`].
fn bounded(text: &str) -> impl Iterator<Item = &str> {
    let bytes = text.as_bytes();
    let (mut begin, mut word, mut characters) = (0, 0, text.char_indices());
    std::iter::from_fn(move || {
        for (at, character) in characters.by_ref() {
            let full = at - begin >= PIECE && character == ' ' && bytes[at - 1].is_ascii_graphic();
            let long = !character.is_whitespace() && at - word >= LONGEST;
            if character.is_whitespace() {
                word = at + character.len_utf8();
            } else if long {
                word = at;
            }
            if full || long {
                let part = &text[begin..at];
                begin = at;
                return Some(part);
            }
        }
        let rest = &text[begin..];
        begin = text.len();
        (!rest.is_empty()).then_some(rest)
    })
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
    use tokenizers::{OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer};

    use super::*;
    use crate::Tokenizer;

    fn small() -> Bpe {
        static ONCE: LazyLock<Bpe> = LazyLock::new(train);
        ONCE.clone()
    }

    fn train() -> Bpe {
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
        assert_eq!(train().to_json(), train().to_json());
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

    #[test]
    fn a_tokenizer_is_recognised_by_its_model() {
        let tokenizer = Tokenizer::Bpe(small());
        let again = Tokenizer::from_json(&tokenizer.to_json()).unwrap();
        assert_eq!(again, tokenizer);
        let ids = again.encode("the über-cat").unwrap();
        assert_eq!(again.decode(&ids), "the über-cat");
        assert_eq!(again.byte_length(&ids), "the über-cat".len());
        assert_eq!(again.decode(&[again.vocab_size() as u32]), "\u{fffd}");
    }

    #[test]
    fn an_added_token_stands_for_itself() {
        let mut json: serde_json::Value = serde_json::from_str(&small().to_json()).unwrap();
        let id = small().vocab_size();
        json["added_tokens"] = serde_json::json!([{
            "id": id, "content": "<é >", "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true
        }]);
        let bpe = Bpe::from_json(&json.to_string()).unwrap();
        assert_eq!(bpe.piece(id as u32), Some("<é >".as_bytes()));
        assert_eq!(bpe.vocab_size(), id + 1);
    }

    #[test]
    fn a_text_in_parts_has_the_same_words() {
        let text = crate::stories::generate(2, 3 * PIECE).replace(". ", ".  \u{a0}");
        let parts: Vec<&str> = bounded(&text).collect();
        assert!(parts.len() > 2 && parts.iter().all(|part| part.len() < PIECE + 64));
        assert_eq!(parts.concat(), text);
        let ends = parts[1..]
            .iter()
            .all(|part| part.starts_with(' ') && !part[1..].starts_with(' '));
        assert!(ends);
        let byte_level = ByteLevel::new(false, true, true);
        let words = |text: &str| {
            let mut cut = PreTokenizedString::from(text);
            byte_level.pre_tokenize(&mut cut).unwrap();
            let words = cut.get_splits(OffsetReferential::Original, OffsetType::Byte);
            words
                .into_iter()
                .map(|word| word.0.to_owned())
                .collect::<Vec<_>>()
        };
        let of_parts: Vec<String> = parts.iter().flat_map(|part| words(part)).collect();
        assert_eq!(of_parts, words(&text));
    }

    #[test]
    fn a_word_of_any_length_is_learned_from_in_time() {
        let parts: Vec<&str> = bounded("ab cd").collect();
        assert_eq!(parts, ["ab cd"]);
        let long = "aböc".repeat(1000);
        let parts: Vec<&str> = bounded(&long).collect();
        assert!(parts.iter().all(|part| part.len() <= LONGEST + 4));
        assert_eq!(parts.concat(), long);
        // 200 kB without a space took 22 s.
        let mut state = 1u64;
        let letters = (0..200_000).map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            char::from(b'a' + (state >> 60) as u8)
        });
        let line: String = letters.collect();
        let begin = std::time::Instant::now();
        let bpe = Bpe::train(&[&line], 1000).unwrap();
        assert_eq!(bpe.vocab_size(), 1000);
        assert_eq!(decode(&bpe, &bpe.encode(&line).unwrap()), line.as_bytes());
        assert!(begin.elapsed().as_secs() < 20, "{:?}", begin.elapsed());
    }

    #[test]
    fn what_a_file_may_switch_on_is_off_or_refused() {
        let mut file: serde_json::Value = serde_json::from_str(&small().to_json()).unwrap();
        file["truncation"] = serde_json::json!({
            "direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 5
        });
        file["padding"] = serde_json::json!({
            "strategy": {"Fixed": 2_000_000_000}, "direction": "Right", "pad_to_multiple_of": null,
            "pad_id": 0, "pad_type_id": 0, "pad_token": "!"
        });
        let bpe = Bpe::from_json(&file.to_string()).unwrap();
        let text = "the cat sat on the mat";
        assert_eq!(decode(&bpe, &bpe.encode(text).unwrap()), text.as_bytes());
        assert_eq!(bpe, small());
        // What is put around a text by other programs, of which the library believes that it is there.
        file["post_processor"] = serde_json::json!({
            "type": "TemplateProcessing", "special_tokens": {},
            "single": [{"SpecialToken": {"id": "<none>", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
            "pair": []
        });
        let bpe = Bpe::from_json(&file.to_string()).unwrap();
        assert_eq!(bpe.encode(text).unwrap(), small().encode(text).unwrap());
        assert!(bpe.to_json().contains("<none>"));
        file["model"]["dropout"] = 0.5.into();
        let dropout = Bpe::from_json(&file.to_string()).unwrap_err().to_string();
        assert!(
            dropout.contains("dropout") && dropout.contains("null"),
            "{dropout}"
        );
        file["model"]["dropout"] = serde_json::Value::Null;
        file["normalizer"] = serde_json::json!({
            "type": "Sequence", "normalizers": [
                {"type": "NFC"}, {"type": "Replace", "pattern": {"String": "."}, "content": ". . ."}
            ]
        });
        let replaces = Bpe::from_json(&file.to_string()).unwrap_err().to_string();
        assert!(replaces.contains("Replace"), "{replaces}");
    }

    #[test]
    fn a_file_whose_bytes_are_unknown_is_refused() {
        let file: serde_json::Value = serde_json::from_str(&small().to_json()).unwrap();
        let changed = |change: fn(&mut serde_json::Value)| {
            let mut file = file.clone();
            change(&mut file);
            Bpe::from_json(&file.to_string()).unwrap_err().to_string()
        };
        let decoder = changed(|file| file["decoder"] = serde_json::Value::Null);
        assert!(decoder.contains("not byte-level"), "{decoder}");
        let words = changed(|file| {
            file["model"] =
                serde_json::json!({"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"});
        });
        assert!(words.contains("not byte-level"), "{words}");
        let gap = changed(|file| file["model"]["vocab"]["zz"] = 9999.into());
        assert!(gap.contains("9999"), "{gap}");
        let twice = changed(|file| file["model"]["vocab"]["zz"] = 0.into());
        assert!(twice.contains("id 0"), "{twice}");
        let foreign = changed(|file| {
            let id = file["model"]["vocab"].as_object().map_or(0, |v| v.len());
            file["model"]["vocab"]["語"] = id.into();
        });
        assert!(foreign.contains("語"), "{foreign}");
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
