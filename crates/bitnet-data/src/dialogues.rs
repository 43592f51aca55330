//! Conversations as token ids, of which a model learns to write the answers alone.
//!
//! A step sees some conversations, padded to the longest; which ones is a function of the seed and the step
//! ([`EpochSampler`](crate::EpochSampler)). A causal model needs no mask of attention for padding that stands at the end.

use crate::DataError;

/// A conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dialogue {
    /// All of it.
    pub ids: Vec<u32>,
    /// Which of the ids are answers: these are learned, the others are only read.
    pub answers: Vec<bool>,
}

impl Dialogue {
    /// Ids that are learned. Nothing predicts the first one.
    pub fn learned(&self) -> usize {
        self.answers.iter().skip(1).filter(|own| **own).count()
    }

    /// Cuts what does not fit into `context` inputs and the token that follows them.
    fn cut(mut self, context: usize) -> Self {
        self.ids.truncate(context.saturating_add(1));
        self.answers.truncate(context.saturating_add(1));
        self
    }
}

/// Conversations to train on, and to validate on.
#[derive(Clone, Debug)]
pub struct Dialogues {
    /// The file; it opens error messages.
    pub name: String,
    /// Those that are trained on.
    pub train: Vec<Dialogue>,
    /// Those that are held back.
    pub validation: Vec<Dialogue>,
    /// Conversations that were cut to fit.
    pub cut: usize,
    /// Conversations whose answers begin beyond the context, and are left out.
    pub left_out: usize,
}

impl Dialogues {
    /// Holds back the conversations of `validation`, or without it the last `held_back`; cuts all to `context` inputs.
    ///
    /// # Errors
    /// If one of the splits has nothing to learn.
    pub fn new(
        name: impl Into<String>,
        mut train: Vec<Dialogue>,
        validation: Option<Vec<Dialogue>>,
        held_back: usize,
        context: usize,
    ) -> Result<Self, DataError> {
        let name = name.into();
        let validation = match validation {
            Some(validation) => validation,
            None if train.len() > held_back => train.split_off(train.len() - held_back),
            None => {
                return Err(DataError::TooFew {
                    name,
                    have: train.len(),
                    count: held_back,
                });
            }
        };
        let (mut cut, mut left_out) = (0, 0);
        let mut fit = |dialogues: Vec<Dialogue>| -> Vec<Dialogue> {
            let fitted = dialogues.into_iter().map(|dialogue| {
                cut += usize::from(dialogue.ids.len() > context.saturating_add(1));
                dialogue.cut(context)
            });
            let (kept, empty): (Vec<_>, Vec<_>) =
                fitted.partition(|dialogue| dialogue.learned() > 0);
            left_out += empty.len();
            kept
        };
        let (train, validation) = (fit(train), fit(validation));
        if train.is_empty() || validation.is_empty() {
            return Err(DataError::NoAnswers { name, context });
        }
        Ok(Self {
            name,
            train,
            validation,
            cut,
            left_out,
        })
    }
}

/// Some conversations in one rectangle.
#[derive(Clone, Debug, PartialEq)]
pub struct DialogueBatch {
    /// Ids, row-major `[rows, width]`; what follows a conversation is its last id again, and counts nothing.
    pub inputs: Vec<i32>,
    /// The id after each input.
    pub targets: Vec<i32>,
    /// 1 where the target is an answer, else 0.
    pub weights: Vec<f32>,
    /// Conversations.
    pub rows: usize,
    /// Inputs of the longest.
    pub width: usize,
}

impl DialogueBatch {
    /// Puts conversations side by side.
    pub fn new<'a>(dialogues: impl Iterator<Item = &'a Dialogue> + Clone) -> Self {
        let inputs_of = |dialogue: &Dialogue| dialogue.ids.len().saturating_sub(1);
        let width = dialogues.clone().map(inputs_of).max().unwrap_or(0).max(1);
        let mut batch = Self {
            inputs: Vec::new(),
            targets: Vec::new(),
            weights: Vec::new(),
            rows: 0,
            width,
        };
        for Dialogue { ids, answers } in dialogues {
            let last = ids.len().saturating_sub(1);
            for at in 0..width {
                let id = |at: usize| ids.get(at.min(last)).map_or(0, |id| *id as i32);
                batch.inputs.push(id(at));
                batch.targets.push(id(at + 1));
                let learned = answers.get(at + 1).copied().unwrap_or(false);
                batch.weights.push(f32::from(u8::from(learned)));
            }
            batch.rows += 1;
        }
        batch
    }

    /// Targets that count.
    pub fn learned(&self) -> usize {
        self.weights.iter().filter(|weight| **weight > 0.0).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dialogue(ids: &[u32], answers: &[u8]) -> Dialogue {
        Dialogue {
            ids: ids.to_vec(),
            answers: answers.iter().map(|own| *own == 1).collect(),
        }
    }

    #[test]
    fn only_answers_count_and_padding_does_not() {
        let [long, short] = [
            dialogue(&[5, 6, 7, 8], &[0, 0, 1, 1]),
            dialogue(&[9, 3], &[0, 1]),
        ];
        let batch = DialogueBatch::new([&long, &short].into_iter());
        assert_eq!((batch.rows, batch.width, batch.learned()), (2, 3, 3));
        assert_eq!(batch.inputs, [5, 6, 7, 9, 3, 3]);
        assert_eq!(batch.targets, [6, 7, 8, 3, 3, 3]);
        assert_eq!(batch.weights, [0.0, 1.0, 1.0, 1.0, 0.0, 0.0]);
    }

    #[test]
    fn the_last_are_held_back_and_what_is_too_long_is_cut_or_left_out() {
        let all = vec![
            dialogue(&[1, 2, 3], &[0, 1, 1]),
            dialogue(&[1, 2, 3, 4, 5], &[0, 1, 0, 0, 1]),
            dialogue(&[1, 2, 3, 4], &[0, 0, 0, 1]),
            dialogue(&[1, 2], &[0, 1]),
        ];
        let split = Dialogues::new("chats", all.clone(), None, 1, 2).unwrap();
        let expected = [
            dialogue(&[1, 2, 3], &[0, 1, 1]),
            dialogue(&[1, 2, 3], &[0, 1, 0]),
        ];
        assert_eq!(split.train, expected);
        assert_eq!(split.validation, all[3..]);
        assert_eq!((split.cut, split.left_out), (2, 1));

        let given = Dialogues::new("chats", all.clone(), Some(all.clone()), 1, 9).unwrap();
        assert_eq!((given.train.len(), given.validation.len()), (4, 4));

        let error = Dialogues::new("chats", all.clone(), None, 4, 9).unwrap_err();
        assert!(error.to_string().contains("4 of them"), "{error}");
        let error = Dialogues::new("chats", all[2..].to_vec(), None, 1, 2).unwrap_err();
        assert!(error.to_string().contains("first 2 tokens"), "{error}");
    }
}
