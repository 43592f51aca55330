//! `tokenizer.model`: SentencePiece's file, a protocol buffer (`sentencepiece_model.proto`), read and written.
//!
//! Of its fields those count that say how text is cut: the pieces with scores and types, the kind of the model, and what is
//! done to text before. BPE over text that stays as it is can be read; others are refused by name.

use super::{NoForm, SentencePiece, TokenKind, no_form};

/// Pieces of the largest vocabulary that is believed.
const MAX_PIECES: usize = 1 << 24;

/// `ModelType` of the trainer.
const BPE: u64 = 2;

/// The fields of a message, in their order.
struct Message<'a>(&'a [u8]);

/// A field's value, by its wire type.
enum Field<'a> {
    Varint(u64),
    Fixed32(u32),
    Bytes(&'a [u8]),
    /// 64 bits, of which nothing here is.
    Other,
}

impl<'a> Message<'a> {
    fn varint(&mut self) -> Result<u64, NoForm> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        no_form("a number has more than 64 bits")
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], NoForm> {
        match self.0.split_at_checked(count) {
            Some((taken, rest)) => {
                self.0 = rest;
                Ok(taken)
            }
            None => no_form("the file ends in the middle of a field"),
        }
    }

    /// The next field and its number.
    fn next(&mut self) -> Result<Option<(u64, Field<'a>)>, NoForm> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let key = self.varint()?;
        let field = match key & 7 {
            0 => Field::Varint(self.varint()?),
            1 => {
                self.take(8)?;
                Field::Other
            }
            2 => {
                let count = usize::try_from(self.varint()?);
                Field::Bytes(self.take(count.unwrap_or(usize::MAX))?)
            }
            5 => {
                let bytes = self.take(4)?;
                Field::Fixed32(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
            }
            other => return no_form(format!("a field has the wire type {other}")),
        };
        Ok(Some((key >> 3, field)))
    }
}

impl SentencePiece {
    /// Reads a file.
    pub(crate) fn from_protobuf(bytes: &[u8]) -> Result<Self, NoForm> {
        let (mut tokens, mut scores) = (Vec::new(), Vec::new());
        // What the proto says of fields that are not there.
        let (mut kind, mut prefix, mut squeezes, mut table) = (1, true, true, false);
        let mut message = Message(bytes);
        while let Some((number, field)) = message.next()? {
            match (number, field) {
                (1, Field::Bytes(piece)) => {
                    let (text, score, kind) = self::piece(piece)?;
                    if tokens.len() == MAX_PIECES {
                        return no_form(format!("more than {MAX_PIECES} pieces"));
                    }
                    tokens.push((text, kind));
                    scores.push(score);
                }
                (2, Field::Bytes(trainer)) => {
                    let mut trainer = Message(trainer);
                    while let Some((number, field)) = trainer.next()? {
                        if let (3, Field::Varint(value)) = (number, field) {
                            kind = value;
                        }
                    }
                }
                (3, Field::Bytes(normalizer)) => {
                    let mut normalizer = Message(normalizer);
                    while let Some((number, field)) = normalizer.next()? {
                        match (number, field) {
                            (2, Field::Bytes(map)) => table = !map.is_empty(),
                            (3, Field::Varint(value)) => prefix = value != 0,
                            (4, Field::Varint(value)) => squeezes = value != 0,
                            _ => {}
                        }
                    }
                }
                _ => {}
            }
        }
        if tokens.is_empty() {
            return no_form("there are no pieces in it");
        }
        if kind != BPE {
            let name = ["unigram", "bpe", "word", "char"];
            let name = (kind as usize).checked_sub(1).and_then(|at| name.get(at));
            let name = name.unwrap_or(&"unknown");
            return no_form(format!("its kind is {name}, not bpe"));
        }
        if table || squeezes {
            let what = if table {
                "replaces characters by a table"
            } else {
                "removes white space"
            };
            return no_form(format!("its normalizer {what}, which is not done here"));
        }
        Ok(Self {
            own_pieces: tokens.len(),
            tokens,
            scores,
            add_space_prefix: prefix,
        })
    }

    /// The file of the same pieces.
    pub(crate) fn to_protobuf(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for ((text, kind), score) in self.tokens.iter().zip(&self.scores) {
            let mut piece = Vec::new();
            bytes(&mut piece, 1, text.as_bytes());
            piece.push(2 << 3 | 5);
            piece.extend(score.to_le_bytes());
            number(&mut piece, 3, *kind as u64);
            bytes(&mut out, 1, &piece);
        }
        let mut trainer = Vec::new();
        number(&mut trainer, 3, BPE);
        let has_bytes = self.tokens.iter().any(|(_, kind)| *kind == TokenKind::Byte);
        number(&mut trainer, 35, u64::from(has_bytes));
        bytes(&mut out, 2, &trainer);
        let mut normalizer = Vec::new();
        bytes(&mut normalizer, 1, b"identity");
        number(&mut normalizer, 3, u64::from(self.add_space_prefix));
        number(&mut normalizer, 4, 0);
        bytes(&mut out, 3, &normalizer);
        out
    }
}

/// A piece's text, score and kind.
fn piece(bytes: &[u8]) -> Result<(String, f32, TokenKind), NoForm> {
    let (mut text, mut score, mut kind) = (String::new(), 0.0, TokenKind::Normal);
    let mut message = Message(bytes);
    while let Some((number, field)) = message.next()? {
        match (number, field) {
            (1, Field::Bytes(bytes)) => match str::from_utf8(bytes) {
                Ok(piece) => text = piece.into(),
                Err(_) => return no_form("a piece is not UTF-8"),
            },
            (2, Field::Fixed32(bits)) => score = f32::from_bits(bits),
            (3, Field::Varint(value)) => {
                kind = match value {
                    2 => TokenKind::Unknown,
                    3 => TokenKind::Control,
                    4 => TokenKind::UserDefined,
                    5 => TokenKind::Unused,
                    6 => TokenKind::Byte,
                    _ => TokenKind::Normal,
                }
            }
            _ => {}
        }
    }
    match score.is_finite() {
        true => Ok((text, score, kind)),
        false => no_form(format!("the score of the piece {text:?} is {score}")),
    }
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn number(out: &mut Vec<u8>, field: u64, value: u64) {
    varint(out, field << 3);
    varint(out, value);
}

fn bytes(out: &mut Vec<u8>, field: u64, value: &[u8]) {
    varint(out, field << 3 | 2);
    varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model() -> SentencePiece {
        let token = |text: &str, kind| (text.to_string(), kind);
        SentencePiece {
            tokens: vec![
                token("<unk>", TokenKind::Unknown),
                token("</s>", TokenKind::Control),
                token("<0x0A>", TokenKind::Byte),
                token("<tool>", TokenKind::UserDefined),
                token("▁a", TokenKind::Normal),
                token("old", TokenKind::Unused),
            ],
            scores: vec![0.0, 0.0, 0.0, 0.0, -1.5, -2.0],
            add_space_prefix: false,
            own_pieces: 6,
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let model = model();
        assert_eq!(
            SentencePiece::from_protobuf(&model.to_protobuf()).unwrap(),
            model
        );
    }

    #[test]
    fn what_is_cut_off_or_of_another_kind_is_refused() {
        let model = model();
        let whole = model.to_protobuf();
        let ends: Vec<usize> = {
            // Between fields a shorter file is one with fewer of them: then it lacks the kind.
            let mut message = Message(&whole);
            let mut ends = vec![0];
            while message.next().unwrap().is_some() {
                ends.push(whole.len() - message.0.len());
            }
            ends
        };
        for end in 0..whole.len() {
            match SentencePiece::from_protobuf(&whole[..end]) {
                Ok(read) => assert!(ends.contains(&end), "{end}: {read:?}"),
                Err(error) => assert!(!error.0.is_empty()),
            }
        }
        let refused = |extra: &[u8]| {
            let bytes = [&whole[..], extra].concat();
            SentencePiece::from_protobuf(&bytes).unwrap_err().0
        };
        let mut unigram = Vec::new();
        bytes(&mut unigram, 2, &[3 << 3, 1]);
        assert!(refused(&unigram).contains("unigram"));
        let mut table = Vec::new();
        bytes(&mut table, 3, &[2 << 3 | 2, 1, 7]);
        assert!(refused(&table).contains("table"));
        let mut squeezes = Vec::new();
        bytes(&mut squeezes, 3, &[4 << 3, 1]);
        assert!(refused(&squeezes).contains("white space"));
        assert!(refused(&[7]).contains("wire type"));
        assert!(refused(&[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff]).contains("ends"));
        assert!(refused(&[0xff; 11]).contains("64 bits"));
        assert!(
            SentencePiece::from_protobuf(b"")
                .unwrap_err()
                .0
                .contains("no pieces")
        );
    }
}
