//! How much of a training is evaluation.

use bitnet_config::TrainConfig;

/// Batches of an evaluation between two steps; `whole` are those of the validation split, where they can be counted.
pub(crate) fn one_evaluation(train: &TrainConfig, whole: Option<usize>) -> usize {
    match (train.eval_batches, whole) {
        (0, whole) => whole.unwrap_or(0),
        (some, whole) => some.min(whole.unwrap_or(some)),
    }
}

/// Batches of all evaluations that are left of a training after so many steps: the first before its first step, those
/// between the steps, one more and the whole split at its end.
pub fn scored_batches(train: &TrainConfig, step: usize, whole: Option<usize>) -> usize {
    let one = one_evaluation(train, whole);
    let until = |step: usize| step.checked_div(train.eval_interval).unwrap_or(0);
    let between = until(train.steps.saturating_sub(1)).saturating_sub(until(step));
    let first = usize::from(step == 0);
    let last = usize::from(train.eval_batches > 0);
    one * (first + between + last) + whole.unwrap_or(train.eval_batches)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_evaluation_of_a_training_is_counted() {
        let mut train = TrainConfig {
            steps: 100,
            eval_interval: 20,
            eval_batches: 4,
            ..TrainConfig::default()
        };
        // Before the first step, at 20, 40, 60 and 80, at 100, and the whole split.
        assert_eq!(scored_batches(&train, 0, Some(30)), 4 * 6 + 30);
        // No more than there are.
        assert_eq!(scored_batches(&train, 0, Some(3)), 3 * 6 + 3);
        // What is left after some.
        assert_eq!(scored_batches(&train, 1, Some(30)), 4 * 5 + 30);
        assert_eq!(scored_batches(&train, 20, Some(30)), 4 * 4 + 30);
        assert_eq!(scored_batches(&train, 79, Some(30)), 4 * 2 + 30);
        assert_eq!(scored_batches(&train, 100, Some(30)), 4 + 30);
        // All are of the whole split, the last once.
        train.eval_batches = 0;
        assert_eq!(scored_batches(&train, 0, Some(30)), 30 * 6);
        train.eval_interval = 0;
        assert_eq!(scored_batches(&train, 0, Some(30)), 30 * 2);
        assert_eq!(scored_batches(&train, 99, Some(30)), 30);
    }
}
