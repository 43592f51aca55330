//! Which ids may be chosen.

use std::borrow::Cow;
use std::sync::Arc;

/// The ids that have a token, and may be chosen. A model has rows for others too: at the end of a padded table, and where a
/// tokenizer has holes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vocabulary {
    size: usize,
    holes: Arc<[u32]>,
}

impl Vocabulary {
    /// All ids of a model.
    pub fn all() -> Self {
        Self::new(usize::MAX, [])
    }

    /// Those below `size` but for the holes.
    pub fn new(size: usize, holes: impl IntoIterator<Item = u32>) -> Self {
        let holes = holes.into_iter().filter(|id| (*id as usize) < size);
        Self {
            size,
            holes: holes.collect(),
        }
    }

    /// Whether nothing may be chosen.
    pub fn is_empty(&self) -> bool {
        self.holes.len() >= self.size
    }

    /// The logits of ids up to the last that may be chosen.
    pub fn cut<'a>(&self, logits: &'a [f32]) -> &'a [f32] {
        &logits[..logits.len().min(self.size)]
    }

    /// [`cut`](Self::cut), with negative infinity for those in between that may not be chosen.
    pub fn masked<'a>(&self, logits: &'a [f32]) -> Cow<'a, [f32]> {
        let logits = self.cut(logits);
        if self.holes.is_empty() {
            return Cow::Borrowed(logits);
        }
        let mut masked = logits.to_vec();
        for id in self.holes.iter() {
            if let Some(logit) = masked.get_mut(*id as usize) {
                *logit = f32::NEG_INFINITY;
            }
        }
        Cow::Owned(masked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ids_with_a_token_are_left() {
        let logits = [0.5, 9.0, 1.5, 9.0];
        let masked = |vocabulary: &Vocabulary| vocabulary.masked(&logits).into_owned();
        assert_eq!(masked(&Vocabulary::all()), logits);
        assert_eq!(masked(&Vocabulary::new(3, [])), logits[..3]);
        let holes = Vocabulary::new(3, [1, 3, 7]);
        assert_eq!(masked(&holes), [0.5, f32::NEG_INFINITY, 1.5]);
        // A smaller model than the tokenizer.
        assert_eq!(*holes.masked(&logits[..1]), [0.5]);
        let empty = [Vocabulary::new(0, []), Vocabulary::new(2, [0, 1])];
        assert!(empty.iter().all(Vocabulary::is_empty) && !holes.is_empty());
    }
}
