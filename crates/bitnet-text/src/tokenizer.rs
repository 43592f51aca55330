//! Text to token ids and back, with the tokenizer of a run or of any model file.

use std::sync::Arc;

use bitnet_formats::{
    model::SpecialTokens,
    tokenizer::{ByteLevelBpe, SentencePiece, TokenizerFile},
};

use crate::{
    PieceKind, TextDecoder, TextError, hugging_face::HuggingFace, longest::Longest, pieces::Pieces,
    sentencepiece::SentencePieceBpe,
};

/// How a text is cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Encode {
    /// Whether special tokens in the text are tokens; otherwise they are text. Added tokens that are not special always are
    /// tokens.
    pub parse_special: bool,
    /// Whether the model's start (and end) of a text is put around it.
    pub add_special: bool,
}

/// A tokenizer: ids, bytes, and what is put around a text.
///
/// ```
/// use bitnet_text::{Encode, Tokenizer};
/// let tokenizer = Tokenizer::from_run(bitnet_data::Tokenizer::Byte);
/// let ids = tokenizer.encode("aé", Encode::default())?;
/// assert_eq!(ids, [97, 0xc3, 0xa9]);
/// assert_eq!(tokenizer.decode(&ids), "aé");
/// # Ok::<(), bitnet_text::TextError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Tokenizer {
    kind: Arc<Kind>,
    pieces: Arc<Pieces>,
    prefix: Vec<u32>,
    suffix: Vec<u32>,
}

/// A way to cut texts into ids, all of which stand for text.
pub(crate) trait Cut: std::fmt::Debug + Send + Sync {
    /// The ids of a text.
    fn cut(&self, text: &str) -> Result<Vec<u32>, TextError>;
}

#[derive(Debug)]
enum Kind {
    /// Of a program's own.
    #[cfg_attr(not(feature = "runs"), expect(dead_code))]
    Own(Box<dyn Cut>),
    HuggingFace(Box<HuggingFace>),
    SentencePiece(Box<SentencePieceBpe>),
    Longest(Longest),
}

impl Tokenizer {
    /// A `tokenizer.json`. `special` says whether a text starts with a token; where it does not, the file does.
    ///
    /// # Errors
    /// If it is damaged, or of a kind that is not for generating text.
    pub fn from_json(json: &[u8], special: &SpecialTokens) -> Result<Self, TextError> {
        let (library, pieces) = HuggingFace::from_json(json)?;
        let (mut prefix, suffix) = library.around()?;
        match special.bos {
            Some(bos) if special.add_bos == Some(true) && !prefix.contains(&bos) => {
                prefix.insert(0, bos);
            }
            Some(bos) if special.add_bos == Some(false) => prefix.retain(|id| *id != bos),
            _ => {}
        }
        let tokenizer = Self::new(Kind::HuggingFace(Box::new(library)), pieces);
        Ok(Self {
            prefix,
            suffix,
            ..tokenizer
        })
    }

    /// Byte-level BPE of a GGUF file.
    ///
    /// # Errors
    /// If it contradicts itself.
    pub fn from_byte_level(bpe: &ByteLevelBpe, special: &SpecialTokens) -> Result<Self, TextError> {
        let (library, pieces) = HuggingFace::from_byte_level(bpe)?;
        let add_bos = special.add_bos.unwrap_or(bpe.pre.adds_bos());
        let prefix = special.bos.filter(|_| add_bos).into_iter().collect();
        let tokenizer = Self::new(Kind::HuggingFace(Box::new(library)), pieces);
        Ok(Self {
            prefix,
            ..tokenizer
        })
    }

    /// SentencePiece of a GGUF file.
    ///
    /// # Errors
    /// If it is too large.
    pub fn from_sentencepiece(
        file: &SentencePiece,
        special: &SpecialTokens,
    ) -> Result<Self, TextError> {
        let add_bos = special.add_bos.unwrap_or(true);
        let prefix = special.bos.filter(|_| add_bos).into_iter().collect();
        let kind = Kind::SentencePiece(Box::new(SentencePieceBpe::new(file)?));
        let tokenizer = Self::new(kind, SentencePieceBpe::pieces(file));
        Ok(Self {
            prefix,
            ..tokenizer
        })
    }

    /// The tokenizer of a model's files.
    ///
    /// # Errors
    /// If it is damaged, or of a kind that is not for generating text.
    pub fn from_file(file: &TokenizerFile, special: &SpecialTokens) -> Result<Self, TextError> {
        match file {
            TokenizerFile::Json(bytes) => {
                Self::from_json(bytes, special).map_err(|error| match error {
                    TextError::Tokenizer(problem) => {
                        TextError::Tokenizer(format!("{}: {problem}", bytes.path().display()))
                    }
                    error => error,
                })
            }
            TokenizerFile::ByteLevelBpe(bpe) => Self::from_byte_level(bpe, special),
            TokenizerFile::SentencePiece(file) => Self::from_sentencepiece(file, special),
            TokenizerFile::Pieces(pieces) => {
                let kind = Kind::Longest(Longest::new(pieces)?);
                let text = pieces.iter().map(|piece| (piece, PieceKind::Text));
                Ok(Self::new(kind, Pieces::new(text)))
            }
        }
    }

    /// A tokenizer of a program's own, and the bytes of its ids.
    #[cfg(feature = "runs")]
    pub(crate) fn own(cut: impl Cut + 'static, bytes: impl Iterator<Item = Vec<u8>>) -> Self {
        let pieces = Pieces::new(bytes.map(|bytes| (bytes, PieceKind::Text)));
        Self::new(Kind::Own(Box::new(cut)), pieces)
    }

    fn new(kind: Kind, pieces: Pieces) -> Self {
        Self {
            kind: Arc::new(kind),
            pieces: Arc::new(pieces),
            prefix: Vec::new(),
            suffix: Vec::new(),
        }
    }

    /// One more than the largest id that has a token. A model may have more rows: those are never text.
    pub fn vocab_size(&self) -> usize {
        self.pieces.len()
    }

    /// The ids below [`vocab_size`](Self::vocab_size) that have no token.
    pub fn holes(&self) -> impl Iterator<Item = u32> {
        (0..self.vocab_size() as u32).filter(|id| self.kind(*id) == PieceKind::Absent)
    }

    /// The bytes of an id; none if no token has it.
    pub fn piece(&self, id: u32) -> Option<&[u8]> {
        self.pieces.bytes(id)
    }

    /// What an id is.
    pub fn kind(&self, id: u32) -> PieceKind {
        self.pieces.kind(id)
    }

    /// The special tokens' texts and ids.
    pub fn special_tokens(&self) -> impl Iterator<Item = (&str, u32)> {
        self.pieces.special()
    }

    /// The first id that stands for something else to another tokenizer; none if all are the same to both.
    pub fn difference(&self, other: &Tokenizer) -> Option<String> {
        let ids = self.vocab_size().max(other.vocab_size()) as u32;
        let of = |tokenizer: &Tokenizer, id| match tokenizer.kind(id) {
            PieceKind::Absent => None,
            _ => tokenizer.piece(id).map(<[u8]>::to_vec),
        };
        let shown = |piece: Option<Vec<u8>>| match piece {
            Some(piece) => format!("{:?}", String::from_utf8_lossy(&piece)),
            None => "nothing".into(),
        };
        (0..ids).find_map(|id| {
            let (one, two) = (of(self, id), of(other, id));
            (one != two).then(|| format!("id {id} is {} and {}", shown(one), shown(two)))
        })
    }

    /// What is put before every text.
    pub fn prefix(&self) -> &[u32] {
        &self.prefix
    }

    /// The ids of a text.
    ///
    /// # Errors
    /// If the text has a character that a run's tokenizer does not know.
    pub fn encode(&self, text: &str, how: Encode) -> Result<Vec<u32>, TextError> {
        let ids = match &*self.kind {
            Kind::Own(own) => own.cut(text)?,
            Kind::HuggingFace(library) => library.encode(text, how.parse_special)?,
            Kind::SentencePiece(bpe) => bpe.encode(text, how.parse_special),
            Kind::Longest(longest) => longest.encode(text)?,
        };
        if !how.add_special {
            return Ok(ids);
        }
        Ok([&self.prefix, &ids, &self.suffix]
            .map(|ids| &ids[..])
            .concat())
    }

    /// The ids of a text whose special tokens are tokens, but for those that `mark` breaks up; the marks are taken out.
    pub(crate) fn encode_marked(&self, text: &str, mark: char) -> Result<Vec<u32>, TextError> {
        match &*self.kind {
            Kind::Own(own) => own.cut(&text.replace(mark, "")),
            Kind::HuggingFace(library) => library.encode_marked(text, mark),
            Kind::SentencePiece(bpe) => Ok(bpe.encode_marked(text, mark)),
            Kind::Longest(longest) => longest.encode(&text.replace(mark, "")),
        }
    }

    /// The text of some ids, special tokens left out. Broken UTF-8 and ids without a token become U+FFFD.
    pub fn decode(&self, ids: &[u32]) -> String {
        let mut decoder = self.decoder(false);
        let mut text: String = ids.iter().map(|id| decoder.push(*id)).collect();
        text.push_str(&decoder.finish());
        text
    }

    /// A decoder for text that is shown while it is generated.
    pub fn decoder(&self, show_special: bool) -> TextDecoder {
        TextDecoder::new(Arc::clone(&self.pieces), show_special)
    }
}
