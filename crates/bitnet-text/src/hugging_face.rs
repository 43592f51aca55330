//! `tokenizer.json`, and byte-level BPE of GGUF, run by Hugging Face's `tokenizers`.

use std::sync::OnceLock;

use ahash::AHashMap;
use bitnet_formats::tokenizer::{ByteLevelBpe, TokenKind, byte_level_bytes};
use serde::Deserialize;
use tokenizers::{
    AddedToken, NormalizerWrapper, PreTokenizerWrapper, Tokenizer as Library, models::bpe::BPE,
    normalizers::NFC,
};

use crate::{
    PieceKind, TextError,
    pieces::Pieces,
    sentencepiece::{byte_of, spaced},
    specials::{Part, Special, Specials},
    stop,
};

/// Largest id that is believed: no vocabulary is near it.
const MAX_ID: u32 = 1 << 24;

/// A tokenizer of the library.
#[derive(Debug)]
pub(crate) struct HuggingFace {
    library: Library,
    /// The same, to which special tokens are text. Only a text that has one needs it.
    plain: OnceLock<Library>,
    specials: Specials,
}

/// What a `tokenizer.json` says of how ids become text.
#[derive(Deserialize)]
struct Shape {
    model: ModelShape,
    decoder: Option<Component>,
    pre_tokenizer: Option<Component>,
    normalizer: Option<Component>,
}

#[derive(Deserialize)]
struct ModelShape {
    #[serde(default)]
    byte_fallback: bool,
}

/// A part, and the parts that it is made of.
#[derive(Deserialize)]
struct Component {
    r#type: String,
    #[serde(default, alias = "pretokenizers", alias = "normalizers")]
    decoders: Vec<Component>,
}

impl Component {
    fn has(&self, kind: &str) -> bool {
        self.r#type == kind || self.decoders.iter().any(|part| part.has(kind))
    }
}

/// How a token's text stands for bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Writing {
    /// GPT-2's characters.
    ByteLevel,
    /// A space as `▁`, and if `bytes` a byte as `<0x0A>`.
    Spaced { bytes: bool },
}

fn damaged(problem: impl std::fmt::Display) -> TextError {
    TextError::Tokenizer(format!(
        "{problem}; copy the file again from where it was made"
    ))
}

impl HuggingFace {
    /// Reads a `tokenizer.json`.
    pub(crate) fn from_json(json: &[u8]) -> Result<(Self, Pieces), TextError> {
        // All of it: the library panics where a decoder is no JSON, and a shape does not look at what it has no need of.
        let whole: serde_json::Value = serde_json::from_slice(json).map_err(damaged)?;
        let shape = Shape::deserialize(&whole).map_err(damaged)?;
        drop(whole);
        let has =
            |part: &Option<Component>, kind: &str| part.as_ref().is_some_and(|part| part.has(kind));
        if has(&shape.normalizer, "Precompiled") {
            return Err(TextError::Tokenizer(
                "its normalizer is a compiled table (Precompiled), which models that generate text do not have; take \
                 another model"
                    .into(),
            ));
        }
        let byte_level = has(&shape.decoder, "ByteLevel")
            || shape.decoder.is_none() && has(&shape.pre_tokenizer, "ByteLevel");
        let writing = match &shape.decoder {
            _ if byte_level => Writing::ByteLevel,
            Some(decoder) if decoder.has("WordPiece") || decoder.has("CTC") => {
                return Err(TextError::Tokenizer(format!(
                    "its decoder is {}, of models that do not generate text; take another model",
                    decoder.r#type
                )));
            }
            _ => Writing::Spaced {
                bytes: shape.model.byte_fallback,
            },
        };
        let mut library = Library::from_bytes(json).map_err(damaged)?;
        // Training batches have these; a prompt is neither cut nor filled.
        library.with_padding(None);
        library.with_truncation(None).map_err(damaged)?;
        check_frame(&library)?;
        let pieces = pieces(&library, writing)?;
        Ok((Self::new(library)?, pieces))
    }

    /// Takes the tokenizer of a GGUF file.
    pub(crate) fn from_byte_level(bpe: &ByteLevelBpe) -> Result<(Self, Pieces), TextError> {
        let ids = || bpe.tokens.iter().zip(0_u32..);
        let kind = |text: &str, kind: TokenKind| match kind {
            // Some files say that a mark for the end is a word.
            TokenKind::Normal if stop::ENDS.contains(&text) => TokenKind::Control,
            kind => kind,
        };
        let used = ids().filter(|((_, kind), _)| *kind != TokenKind::Unused);
        let vocab: AHashMap<String, u32> = used.map(|((text, _), id)| (text.clone(), id)).collect();
        let model = BPE::builder()
            .vocab_and_merges(vocab, bpe.merges.clone())
            .ignore_merges(bpe.pre.ignores_merges())
            .build()
            .map_err(damaged)?;
        let mut library = Library::new(model);
        let cut: PreTokenizerWrapper =
            serde_json::from_value(bpe.pre.to_json()).map_err(damaged)?;
        library.with_pre_tokenizer(Some(cut));
        if bpe.pre.is_normalised() {
            library.with_normalizer(Some(NormalizerWrapper::NFC(NFC)));
        }
        let mut added = Vec::new();
        for ((text, its), _) in ids() {
            let special = match kind(text, *its) {
                TokenKind::Control => true,
                TokenKind::UserDefined => false,
                _ => continue,
            };
            added.push(AddedToken::from(text.clone(), special).normalized(false));
        }
        library.add_tokens(&added);
        let pieces = Pieces::new(bpe.tokens.iter().map(|(text, its)| match kind(text, *its) {
            TokenKind::Unused => (Vec::new(), PieceKind::Absent),
            TokenKind::Control => (text.as_bytes().to_vec(), PieceKind::Special),
            TokenKind::UserDefined => (text.as_bytes().to_vec(), PieceKind::Text),
            _ => (Writing::ByteLevel.bytes(text), PieceKind::Text),
        }));
        Ok((Self::new(library)?, pieces))
    }

    fn new(library: Library) -> Result<Self, TextError> {
        let added = library.get_added_tokens_decoder();
        let special = added.iter().filter(|(_, token)| token.special);
        let specials = Specials::new(special.map(|(id, token)| {
            let special = Special {
                id: *id,
                lstrip: token.lstrip,
                rstrip: token.rstrip,
            };
            (token.content.as_bytes().to_vec(), special)
        }))?;
        Ok(Self {
            library,
            plain: OnceLock::new(),
            specials,
        })
    }

    /// What the file puts before and after every text.
    pub(crate) fn around(&self) -> Result<(Vec<u32>, Vec<u32>), TextError> {
        let bare = ids(&self.library, "a", false)?;
        let whole = ids(&self.library, "a", true)?;
        let start = whole
            .windows(bare.len().max(1))
            .position(|window| window == bare);
        Ok(match start {
            Some(start) => (
                whole[..start].to_vec(),
                whole[start + bare.len()..].to_vec(),
            ),
            None => (Vec::new(), Vec::new()),
        })
    }

    pub(crate) fn encode(&self, text: &str, parse_special: bool) -> Result<Vec<u32>, TextError> {
        if parse_special || !self.specials.is_in(text) {
            return ids(&self.library, text, false);
        }
        let plain = self.plain.get_or_init(|| {
            let mut plain = self.library.clone();
            plain.set_encode_special_tokens(true);
            plain
        });
        ids(plain, text, false)
    }

    /// The ids of a text in which some special tokens are broken up by `mark`, which is taken out again.
    pub(crate) fn encode_marked(&self, text: &str, mark: char) -> Result<Vec<u32>, TextError> {
        let mut out = Vec::new();
        for part in self.specials.split(text) {
            match part {
                Part::Token(id) => out.push(id),
                Part::Text(text) => out.extend(self.encode(&text.replace(mark, ""), false)?),
            }
        }
        Ok(out)
    }
}

fn ids(library: &Library, text: &str, add_special: bool) -> Result<Vec<u32>, TextError> {
    let encoding = library.encode_fast(text, add_special);
    let encoding = encoding.map_err(|error| TextError::Encode(error.to_string()))?;
    Ok(encoding.get_ids().to_vec())
}

/// What a file puts around a text is believed by the library: a template that names what the file does not have.
fn check_frame(library: &Library) -> Result<(), TextError> {
    let processor = serde_json::to_value(library.get_post_processor()).map_err(damaged)?;
    let mut left = vec![&processor];
    while let Some(part) = left.pop() {
        left.extend(part["processors"].as_array().into_iter().flatten());
        if part["type"] != "TemplateProcessing" {
            continue;
        }
        for piece in part["single"].as_array().into_iter().flatten() {
            let Some(name) = piece["SpecialToken"]["id"].as_str() else {
                match piece["Sequence"]["id"].as_str() {
                    Some("A") => continue,
                    _ => {
                        return Err(damaged(
                            "its post_processor puts a second text into a single one",
                        ));
                    }
                }
            };
            let ids = part["special_tokens"][name]["ids"].as_array();
            let is_known = |id: &serde_json::Value| {
                let id = id.as_u64().and_then(|id| u32::try_from(id).ok());
                id.is_some_and(|id| library.id_to_token(id).is_some())
            };
            if !ids.is_some_and(|ids| ids.iter().all(is_known)) {
                return Err(damaged(format!(
                    "its post_processor puts {name:?} around a text, which it does not have"
                )));
            }
        }
    }
    Ok(())
}

fn pieces(library: &Library, writing: Writing) -> Result<Pieces, TextError> {
    let vocab = library.get_vocab(true);
    let added = library.get_added_tokens_decoder();
    let last = vocab.values().copied().max().unwrap_or(0);
    if last > MAX_ID {
        return Err(damaged(format!(
            "it has the id {last}, expected at most {MAX_ID}"
        )));
    }
    let mut pieces = vec![(Vec::new(), PieceKind::Absent); last as usize + 1];
    for (text, id) in vocab {
        pieces[id as usize] = match added.get(&id) {
            Some(token) if token.special => (text.into_bytes(), PieceKind::Special),
            Some(_) => (text.into_bytes(), PieceKind::Text),
            None => (writing.bytes(&text), PieceKind::Text),
        };
    }
    Ok(Pieces::new(pieces))
}

impl Writing {
    fn bytes(self, text: &str) -> Vec<u8> {
        match self {
            // As the library: a piece with another character stands for itself.
            Self::ByteLevel => byte_level_bytes(text).unwrap_or_else(|| text.as_bytes().to_vec()),
            Self::Spaced { bytes } => match byte_of(text).filter(|_| bytes) {
                Some(byte) => vec![byte],
                None => spaced(text),
            },
        }
    }
}
