//! Token ids as rectangles: consecutive windows to evaluate on.
//!
//! Random windows estimate a loss with noise and count some tokens twice. These windows count each once, so that the
//! validation loss of one model on one text is one number, and two models are compared on the same predictions.

use crate::batches::{Batch, check_sizes};
use crate::{DataError, Tokens};

/// Cuts a split into consecutive windows that predict every token but the first exactly once.
///
/// Window `i` has the inputs `tokens[i * context..(i + 1) * context]`. Full windows come in batches of `batch_size`
/// rows, the last of them with as many as are left; a shorter window at the end is a batch of its own, with one row and
/// a smaller context. Take the first `n` batches with [`Iterator::take`]. Fewer than two tokens give no batch.
pub fn evaluation_windows(
    tokens: &Tokens,
    context: usize,
    batch_size: usize,
) -> Result<EvaluationWindows<'_>, DataError> {
    check_sizes(batch_size, context)?;
    Ok(EvaluationWindows {
        tokens,
        next: 0,
        context,
        batch_size,
    })
}

/// A text to evaluate on.
#[derive(Debug, Clone, Copy)]
pub struct Evaluated<'a> {
    /// Its ids.
    pub tokens: &'a Tokens,
    /// Its bytes of UTF-8.
    pub bytes: usize,
}

impl Evaluated<'_> {
    /// Bits per byte of text from a mean loss in nats per token.
    ///
    /// ```text
    /// bpb = loss / ln 2 * (tokens / bytes)
    /// ```
    ///
    /// It compares models across tokenizers; at byte level it is the loss in bits.
    pub fn bits_per_byte(&self, nats_per_token: f64) -> f64 {
        let tokens_per_byte = self.tokens.len() as f64 / self.bytes as f64;
        nats_per_token / std::f64::consts::LN_2 * tokens_per_byte
    }
}

/// The batches of [`evaluation_windows`]; its length is known, for progress bars.
#[derive(Debug, Clone)]
pub struct EvaluationWindows<'a> {
    tokens: &'a Tokens,
    /// The first input that is still to come.
    next: usize,
    context: usize,
    batch_size: usize,
}

impl EvaluationWindows<'_> {
    /// Predictions that are still to come.
    fn left(&self) -> usize {
        self.tokens.len().saturating_sub(self.next + 1)
    }
}

impl Iterator for EvaluationWindows<'_> {
    type Item = Batch;

    fn next(&mut self) -> Option<Batch> {
        let predictions = self.left();
        let (rows, context) = match predictions / self.context {
            0 if predictions == 0 => return None,
            0 => (1, predictions),
            full => (full.min(self.batch_size), self.context),
        };
        let starts = (0..rows).map(|row| self.next + row * context);
        let batch = Batch::gather(self.tokens, starts, context);
        self.next += rows * context;
        Some(batch)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let predictions = self.left();
        let full = (predictions / self.context).div_ceil(self.batch_size);
        let left = full + usize::from(!predictions.is_multiple_of(self.context));
        (left, Some(left))
    }
}

impl ExactSizeIterator for EvaluationWindows<'_> {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn count_up(length: usize) -> Tokens {
        (0..length as u32).collect::<Vec<u32>>().into()
    }

    #[test]
    fn the_last_window_is_shorter_and_alone() {
        let tokens = count_up(12);
        let shapes: Vec<_> = evaluation_windows(&tokens, 3, 2)
            .unwrap()
            .map(|batch| (batch.batch_size, batch.context))
            .collect();
        assert_eq!(shapes, [(2, 3), (1, 3), (1, 2)]);
        assert_eq!(
            evaluation_windows(&tokens, 3, 2).unwrap().take(1).count(),
            1
        );
    }

    #[test]
    fn sizes_of_zero_are_refused() {
        assert!(matches!(
            evaluation_windows(&count_up(2), 0, 1),
            Err(DataError::Zero { what: "context" })
        ));
        assert!(matches!(
            evaluation_windows(&count_up(2), 1, 0),
            Err(DataError::Zero { what: "batch size" })
        ));
    }

    proptest! {
        #[test]
        fn evaluation_predicts_every_token_but_the_first_once(
            length in 0_usize..300, context in 1_usize..40, batch_size in 1_usize..6,
        ) {
            let tokens = count_up(length);
            let windows = evaluation_windows(&tokens, context, batch_size).unwrap();
            let announced = windows.len();
            let batches: Vec<Batch> = windows.collect();
            prop_assert_eq!(announced, batches.len());
            let targets: Vec<i32> = batches.iter().flat_map(|batch| batch.targets.clone()).collect();
            let inputs: Vec<i32> = batches.iter().flat_map(|batch| batch.inputs.clone()).collect();
            prop_assert_eq!(targets, (1..length.max(1) as i32).collect::<Vec<_>>());
            prop_assert_eq!(inputs, (0..length.saturating_sub(1) as i32).collect::<Vec<_>>());
            for batch in batches {
                prop_assert_eq!(batch.inputs.len(), batch.batch_size * batch.context);
            }
        }
    }
}
