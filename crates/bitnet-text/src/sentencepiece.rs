//! SentencePiece's BPE as GGUF holds it: of all pairs of neighbours that make a piece, the one with the highest score is
//! joined, the leftmost among equals, until none is left. Characters without a piece become their bytes.
//!
//! Scores belong to pieces, not to pairs, so ranked merges cannot say the same: where one piece can be made of two pairs
//! that overlap (a run of spaces), the leftmost counts. llama.cpp does likewise, and gives the same ids.

use std::{
    cmp::Ordering,
    collections::{BinaryHeap, HashMap},
};

use bitnet_formats::tokenizer::{SentencePiece, TokenKind};

use crate::{
    PieceKind, TextError,
    pieces::Pieces,
    specials::{Part, Special, Specials},
};

/// How a space is written in a piece.
pub(crate) const SPACE: char = '▁';

/// A SentencePiece vocabulary, ready to cut text.
#[derive(Debug)]
pub(crate) struct SentencePieceBpe {
    ids: HashMap<String, u32>,
    scores: Vec<f32>,
    /// Ids of single bytes.
    bytes: [Option<u32>; 256],
    unknown: Option<u32>,
    add_space_prefix: bool,
    /// Found in every text, before it gets its space.
    user_defined: Specials,
    /// Those and the special ones.
    all: Specials,
    /// Found in every text that has its space.
    inner: Specials,
}

/// A pair of neighbours that makes a piece.
#[derive(Clone, Copy, PartialEq)]
struct Pair {
    score: f32,
    left: usize,
    right: usize,
    /// Bytes of both when the pair was found: another number means that one of them has grown.
    len: usize,
}

impl Eq for Pair {}

impl Ord for Pair {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_score = self.score.total_cmp(&other.score);
        by_score.then(other.left.cmp(&self.left))
    }
}

impl PartialOrd for Pair {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// A part of the text: a character, or those that were joined. One that was joined to its left neighbour is empty.
#[derive(Clone, Copy)]
struct Symbol {
    start: usize,
    len: usize,
    before: Option<usize>,
    after: Option<usize>,
}

impl SentencePieceBpe {
    pub(crate) fn new(file: &SentencePiece) -> Result<Self, TextError> {
        let tokens = || file.tokens.iter().zip(0_u32..);
        let mut bytes = [None; 256];
        for ((text, kind), id) in tokens() {
            if *kind == TokenKind::Byte
                && let Some(byte) = byte_of(text)
            {
                bytes[usize::from(byte)] = Some(id);
            }
        }
        let used = tokens().filter(|((_, kind), _)| *kind != TokenKind::Unused);
        let is_inner = |kind: TokenKind, id: u32| {
            kind == TokenKind::UserDefined && (id as usize) < file.own_pieces
        };
        let specials = |kinds: &[TokenKind]| {
            let chosen =
                tokens().filter(|((_, kind), id)| kinds.contains(kind) && !is_inner(*kind, *id));
            Specials::new(chosen.map(|((text, _), id)| (text, Special::plain(id))))
        };
        let inner = tokens().filter(|((_, kind), id)| is_inner(*kind, *id));
        let inner = Specials::new(inner.map(|((text, _), id)| (text, Special::plain(id))))?;
        let unknown = tokens().find(|((_, kind), _)| *kind == TokenKind::Unknown);
        Ok(Self {
            ids: used.map(|((text, _), id)| (text.clone(), id)).collect(),
            scores: file.scores.clone(),
            bytes,
            unknown: unknown.map(|(_, id)| id),
            add_space_prefix: file.add_space_prefix,
            user_defined: specials(&[TokenKind::UserDefined])?,
            all: specials(&[
                TokenKind::UserDefined,
                TokenKind::Control,
                TokenKind::Unknown,
            ])?,
            inner,
        })
    }

    /// The bytes of all ids.
    pub(crate) fn pieces(file: &SentencePiece) -> Pieces {
        Pieces::new(file.tokens.iter().map(|(text, kind)| match kind {
            TokenKind::Byte => match byte_of(text) {
                Some(byte) => (vec![byte], PieceKind::Text),
                None => (text.as_bytes().to_vec(), PieceKind::Text),
            },
            TokenKind::Normal => (spaced(text), PieceKind::Text),
            TokenKind::UserDefined => (text.as_bytes().to_vec(), PieceKind::Text),
            TokenKind::Control | TokenKind::Unknown => {
                (text.as_bytes().to_vec(), PieceKind::Special)
            }
            TokenKind::Unused => (Vec::new(), PieceKind::Absent),
        }))
    }

    pub(crate) fn encode(&self, text: &str, parse_special: bool) -> Vec<u32> {
        let specials = match parse_special {
            true => &self.all,
            false => &self.user_defined,
        };
        self.encode_parts(&specials.split(text), |text| text.to_owned())
    }

    /// The ids of a text in which some special tokens are broken up by `mark`, which is taken out again.
    pub(crate) fn encode_marked(&self, text: &str, mark: char) -> Vec<u32> {
        self.encode_parts(&self.all.split(text), |text| text.replace(mark, ""))
    }

    fn encode_parts(&self, parts: &[Part<'_>], clean: impl Fn(&str) -> String) -> Vec<u32> {
        let mut out = Vec::new();
        let mut after_special = true;
        for part in parts {
            match part {
                Part::Token(id) => {
                    out.push(*id);
                    after_special = true;
                }
                Part::Text(text) => {
                    let prefix = if self.add_space_prefix && after_special {
                        " "
                    } else {
                        ""
                    };
                    let text = format!("{prefix}{}", clean(text));
                    let text = text.replace(' ', SPACE.encode_utf8(&mut [0; 4]));
                    for part in self.inner.split(&text) {
                        match part {
                            Part::Token(id) => out.push(id),
                            Part::Text(text) => self.join(text, &mut out),
                        }
                    }
                    after_special = false;
                }
            }
        }
        out
    }

    fn join(&self, text: &str, out: &mut Vec<u32>) {
        let count = text.chars().count();
        let mut symbols: Vec<Symbol> = text
            .char_indices()
            .enumerate()
            .map(|(index, (start, c))| Symbol {
                start,
                len: c.len_utf8(),
                before: index.checked_sub(1),
                after: (index + 1 < count).then_some(index + 1),
            })
            .collect();
        let pair = |symbols: &[Symbol], left: Option<usize>, right: Option<usize>| {
            let (left, right) = (left?, right?);
            let len = symbols[left].len + symbols[right].len;
            let id = *self.ids.get(&text[symbols[left].start..][..len])?;
            let score = self.scores.get(id as usize).copied()?;
            Some(Pair {
                score,
                left,
                right,
                len,
            })
        };
        let mut queue: BinaryHeap<Pair> = (1..symbols.len())
            .filter_map(|right| pair(&symbols, right.checked_sub(1), Some(right)))
            .collect();
        while let Some(Pair {
            left, right, len, ..
        }) = queue.pop()
        {
            let (l, r) = (symbols[left], symbols[right]);
            if l.len == 0 || r.len == 0 || l.len + r.len != len {
                continue;
            }
            symbols[left].len = len;
            symbols[left].after = r.after;
            symbols[right].len = 0;
            if let Some(after) = r.after {
                symbols[after].before = Some(left);
            }
            queue.extend(pair(&symbols, l.before, Some(left)));
            queue.extend(pair(&symbols, Some(left), r.after));
        }
        for symbol in symbols.iter().filter(|symbol| symbol.len > 0) {
            let piece = &text[symbol.start..][..symbol.len];
            match self.ids.get(piece) {
                Some(id) => out.push(*id),
                None => {
                    let byte = |byte: u8| self.bytes[usize::from(byte)].or(self.unknown);
                    out.extend(piece.bytes().filter_map(byte));
                }
            }
        }
    }
}

/// The byte of `<0x0A>`.
pub(crate) fn byte_of(text: &str) -> Option<u8> {
    let digits = text.strip_prefix("<0x")?.strip_suffix('>')?;
    match digits.len() {
        2 => u8::from_str_radix(digits, 16).ok(),
        _ => None,
    }
}

/// The text of a piece.
pub(crate) fn spaced(piece: &str) -> Vec<u8> {
    piece.replace(SPACE, " ").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bpe(pieces: &[(&str, f32)]) -> (SentencePieceBpe, SentencePiece) {
        let mut tokens = vec![
            ("<unk>".to_owned(), TokenKind::Unknown),
            ("<s>".to_owned(), TokenKind::Control),
            ("<tool>".to_owned(), TokenKind::UserDefined),
        ];
        tokens.extend((0..=255_u8).map(|byte| (format!("<0x{byte:02X}>"), TokenKind::Byte)));
        let mut scores = vec![0.0; tokens.len()];
        for (text, score) in pieces {
            tokens.push((text.to_string(), TokenKind::Normal));
            scores.push(*score);
        }
        let file = SentencePiece {
            tokens,
            scores,
            add_space_prefix: true,
            own_pieces: 0,
        };
        (SentencePieceBpe::new(&file).unwrap(), file)
    }

    fn texts(bpe: &SentencePieceBpe, file: &SentencePiece, text: &str, parse: bool) -> Vec<String> {
        let ids = bpe.encode(text, parse);
        ids.iter()
            .map(|id| file.tokens[*id as usize].0.clone())
            .collect()
    }

    const PIECES: [(&str, f32); 8] = [
        ("▁", -9.0),
        ("a", -9.0),
        ("b", -9.0),
        ("ab", -2.0),
        ("▁a", -1.0),
        ("aa", -3.0),
        ("aaa", -0.5),
        ("b▁", -4.0),
    ];

    #[test]
    fn the_highest_score_is_joined_first_and_the_leftmost_among_equals() {
        let (bpe, file) = bpe(&PIECES);
        let cut = |text| texts(&bpe, &file, text, false);
        // "▁a" comes before "ab".
        assert_eq!(cut("ab"), ["▁a", "b"]);
        assert_eq!(cut("bab"), ["▁", "b", "ab"]);
        // Four left after "▁a": the left two, then three, then one is over.
        assert_eq!(cut("aaaaa"), ["▁a", "aaa", "a"]);
        assert_eq!(cut("b b"), ["▁", "b▁", "b"]);
        assert_eq!(cut(""), Vec::<String>::new());
    }

    #[test]
    fn what_has_no_piece_becomes_bytes() {
        let (bpe, file) = bpe(&PIECES);
        assert_eq!(texts(&bpe, &file, "é", false), ["▁", "<0xC3>", "<0xA9>"]);
        let pieces = SentencePieceBpe::pieces(&file);
        let ids = bpe.encode("é a\n", false);
        let bytes: Vec<u8> = ids
            .iter()
            .flat_map(|id| pieces.bytes(*id).unwrap().to_vec())
            .collect();
        assert_eq!(bytes, " é a\n".as_bytes());
    }

    #[test]
    fn special_tokens_are_found_when_asked_and_added_ones_always() {
        let (bpe, file) = bpe(&PIECES);
        assert_eq!(texts(&bpe, &file, "<s>a", true), ["<s>", "▁a"]);
        assert_eq!(
            texts(&bpe, &file, "a<tool>b", false),
            ["▁a", "<tool>", "▁", "b"]
        );
        let plain = texts(&bpe, &file, "<s>", false);
        assert_eq!(plain, ["▁", "<0x3C>", "<0x73>", "<0x3E>"]);
        let marked = bpe.encode_marked("<s>a<·s>", '·');
        assert_eq!(marked[0], 1);
        assert_eq!(marked[2..], bpe.encode("<s>", false)[1..]);
    }
}
