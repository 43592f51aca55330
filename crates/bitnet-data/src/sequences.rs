//! Token ids for models that read and write whole sequences: four special ids in front of the tokenizer's, and batches
//! padded to one width.

use crate::rng::Rng;
use crate::{DataError, Tokenizer};

/// Fills a row after its sequence.
pub const PAD: u32 = 0;
/// Begins what is written.
pub const BOS: u32 = 1;
/// Ends a sequence.
pub const EOS: u32 = 2;
/// A character that the vocabulary lacks.
pub const UNK: u32 = 3;
/// Number of special ids: the tokenizer's id `t` is `t + SPECIALS` here.
pub const SPECIALS: u32 = 4;

/// A tokenizer with the special ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SequenceVocabulary {
    tokenizer: Tokenizer,
}

impl SequenceVocabulary {
    /// The special ids and those of a tokenizer.
    pub fn new(tokenizer: Tokenizer) -> Self {
        Self { tokenizer }
    }

    /// What cuts the text.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// How many ids there are.
    pub fn size(&self) -> usize {
        self.tokenizer.vocab_size() + SPECIALS as usize
    }

    /// The ids of a text, without begin and end; [`UNK`] for a character that the tokenizer does not know.
    pub fn encode(&self, text: &str) -> Vec<u32> {
        let shift = |ids: Vec<u32>| ids.into_iter().map(|id| id + SPECIALS).collect::<Vec<_>>();
        match self.tokenizer.encode(text) {
            Ok(ids) => shift(ids),
            Err(_) => text
                .chars()
                .flat_map(|character| {
                    let one: Result<_, DataError> =
                        self.tokenizer.encode(character.encode_utf8(&mut [0; 4]));
                    one.map_or(vec![UNK], shift)
                })
                .collect(),
        }
    }

    /// The text of some ids up to the first [`EOS`]; other special ids are left out.
    pub fn decode(&self, ids: &[u32]) -> String {
        let ids: Vec<u32> = ids
            .iter()
            .take_while(|id| **id != EOS)
            .filter_map(|id| id.checked_sub(SPECIALS))
            .collect();
        self.tokenizer.decode(&ids)
    }
}

/// Sequences of different lengths in one rectangle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaddedBatch {
    /// Ids, row-major `[rows, width]`, [`PAD`] after each sequence.
    pub ids: Vec<i32>,
    /// Ids that count in each row.
    pub lengths: Vec<usize>,
    /// Number of sequences.
    pub rows: usize,
    /// Length of the longest, at least 1.
    pub width: usize,
}

/// A sequence, or if it is empty a single [`UNK`]: attention needs something to look at.
pub fn at_least_one(sequence: &[u32]) -> &[u32] {
    match sequence {
        [] => &[UNK],
        sequence => sequence,
    }
}

impl PaddedBatch {
    /// Pads sequences to the longest, of [`at_least_one`] id each.
    pub fn new<S: AsRef<[u32]>>(sequences: &[S]) -> Self {
        let longest = sequences.iter().map(|ids| ids.as_ref().len()).max();
        let (rows, width) = (sequences.len(), longest.unwrap_or(0).max(1));
        let mut ids = vec![PAD as i32; rows * width];
        let mut lengths = Vec::with_capacity(rows);
        for (row, sequence) in ids.chunks_mut(width).zip(sequences) {
            let sequence = at_least_one(sequence.as_ref());
            for (slot, id) in row.iter_mut().zip(sequence) {
                *slot = *id as i32;
            }
            lengths.push(sequence.len());
        }
        Self {
            ids,
            lengths,
            rows,
            width,
        }
    }

    /// Replaces this share of the ids that count by [`UNK`]; which ones depends on the seed and the step alone.
    pub fn drop_tokens(&mut self, share: f64, seed: u64, step: u64) {
        if share <= 0.0 {
            return;
        }
        // A stream of its own beside that of the order of the examples.
        let mut rng = Rng::new(seed, step | 1 << 63);
        let limit = (share * f64::from(1u32 << 30)) as usize;
        for (row, length) in self.ids.chunks_mut(self.width).zip(&self.lengths) {
            for id in &mut row[..*length] {
                if rng.below(1 << 30) < limit {
                    *id = UNK as i32;
                }
            }
        }
    }
}

/// Sources and what is to be written for them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PairBatch {
    /// Sources, each with its end.
    pub source: PaddedBatch,
    /// Targets after the token that begins them: what the decoder reads.
    pub target_inputs: PaddedBatch,
    /// Targets and their ends, `[rows, width]` as `target_inputs`: what it is to write, position by position.
    pub target_outputs: Vec<i32>,
    /// Target tokens that count, ends included.
    pub tokens: usize,
}

impl PairBatch {
    /// Pads pairs of sequences.
    pub fn new<'a>(pairs: impl Iterator<Item = (&'a [u32], &'a [u32])>) -> Self {
        let (mut sources, mut inputs, mut outputs) = (Vec::new(), Vec::new(), Vec::new());
        for (source, target) in pairs {
            sources.push([source, &[EOS]].concat());
            inputs.push([&[BOS], target].concat());
            outputs.push([target, &[EOS]].concat());
        }
        let target_inputs = PaddedBatch::new(&inputs);
        Self {
            source: PaddedBatch::new(&sources),
            tokens: target_inputs.lengths.iter().sum(),
            target_outputs: PaddedBatch::new(&outputs).ids,
            target_inputs,
        }
    }
}

/// Texts and their classes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelledBatch {
    /// The texts.
    pub inputs: PaddedBatch,
    /// The class of each row.
    pub labels: Vec<i32>,
}

impl LabelledBatch {
    /// Pads labelled sequences.
    pub fn new<'a>(examples: impl Iterator<Item = (&'a [u32], usize)>) -> Self {
        let (sequences, labels): (Vec<&[u32]>, Vec<i32>) =
            examples.map(|(ids, label)| (ids, label as i32)).unzip();
        Self {
            inputs: PaddedBatch::new(&sequences),
            labels,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TokenizerKind;

    #[test]
    fn ids_are_shifted_and_unknown_characters_marked() {
        let vocabulary =
            SequenceVocabulary::new(Tokenizer::for_text(TokenizerKind::Char, "abc").unwrap());
        assert_eq!(vocabulary.size(), 7);
        assert_eq!(vocabulary.encode("cäb"), [6, UNK, 5]);
        assert_eq!(vocabulary.decode(&[BOS, 6, PAD, 5, EOS, 4]), "cb");
    }

    #[test]
    fn a_pair_is_shifted_by_one() {
        let batch = PairBatch::new([(&[7u32, 8][..], &[5u32][..]), (&[9], &[5, 6])].into_iter());
        assert_eq!(batch.source.ids, [7, 8, 2, 9, 2, 0]);
        assert_eq!(batch.source.lengths, [3, 2]);
        assert_eq!(batch.target_inputs.ids, [1, 5, 0, 1, 5, 6]);
        assert_eq!(batch.target_outputs, [5, 2, 0, 5, 6, 2]);
        assert_eq!((batch.tokens, batch.target_inputs.width), (5, 3));
    }

    #[test]
    fn labels_follow_their_texts() {
        let batch = LabelledBatch::new([(&[7u32, 8][..], 3), (&[9], 0)].into_iter());
        assert_eq!(batch.inputs.ids, [7, 8, 9, 0]);
        assert_eq!(batch.labels, [3, 0]);
    }

    #[test]
    fn dropped_tokens_are_a_share_and_padding_stays() {
        let rows: Vec<Vec<u32>> = (0..200).map(|i| vec![9; 50 + i % 2]).collect();
        let dropped = |step| {
            let mut batch = PaddedBatch::new(&rows);
            batch.drop_tokens(0.3, 1, step);
            batch.ids
        };
        let ids = dropped(4);
        let count = |id: u32| ids.iter().filter(|x| **x == id as i32).count();
        assert_eq!((count(PAD), count(UNK) + count(9)), (100, 10_100));
        // Five standard deviations of a binomial: 5 · √(10100 · 0.3 · 0.7) = 230.
        assert!(count(UNK).abs_diff(3030) < 230, "{}", count(UNK));
        assert_eq!(dropped(4), ids);
        assert_ne!(dropped(5), ids);
    }

    #[test]
    fn nothing_is_still_a_rectangle() {
        let batch = PaddedBatch::new(&[&[][..], &[4u32, 5]]);
        assert_eq!(
            (batch.ids, batch.lengths),
            (vec![UNK as i32, 0, 4, 5], vec![1, 2])
        );
        assert_eq!(PaddedBatch::new::<Vec<u32>>(&[]).width, 1);
    }
}
