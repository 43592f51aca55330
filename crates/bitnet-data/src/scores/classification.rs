//! Scores of predicted classes, and of outputs that are either right or wrong.

/// Share of predictions that are right; 0 of nothing.
///
/// # Panics
/// If the lengths differ.
pub fn accuracy(predicted: &[usize], labels: &[usize]) -> f64 {
    assert_eq!(predicted.len(), labels.len(), "predictions and labels");
    let right = predicted.iter().zip(labels).filter(|(a, b)| a == b).count();
    right as f64 / labels.len().max(1) as f64
}

/// The mean over the classes of `F1 = 2 TP / (2 TP + FP + FN)`: every class counts the same, however rare.
///
/// As scikit-learn's `f1_score(average="macro", zero_division=0)`: classes that occur neither in the labels nor in the
/// predictions are left out, and a class that is never right has F1 0. The score of nothing is 0.
///
/// A number that is not below `classes` is no class: it has no F1 of its own, but the class it is mistaken for loses.
///
/// # Panics
/// If the lengths differ.
pub fn macro_f1(predicted: &[usize], labels: &[usize], classes: usize) -> f64 {
    assert_eq!(predicted.len(), labels.len(), "predictions and labels");
    let (mut right, mut guessed, mut true_count) =
        (vec![0; classes], vec![0; classes], vec![0; classes]);
    let count = |counts: &mut Vec<usize>, class: usize| {
        if let Some(count) = counts.get_mut(class) {
            *count += 1;
        }
    };
    for (&guess, &label) in predicted.iter().zip(labels) {
        count(&mut guessed, guess);
        count(&mut true_count, label);
        if guess == label {
            count(&mut right, label);
        }
    }
    let scores: Vec<f64> = (0..classes)
        .filter(|class| guessed[*class] + true_count[*class] > 0)
        .map(|class| 2.0 * right[class] as f64 / (guessed[class] + true_count[class]) as f64)
        .collect();
    scores.iter().sum::<f64>() / scores.len().max(1) as f64
}

/// Share of outputs that equal their reference in every character; 0 of nothing.
///
/// # Panics
/// If the lengths differ.
pub fn exact_match<H: AsRef<str>, R: AsRef<str>>(outputs: &[H], references: &[R]) -> f64 {
    assert_eq!(outputs.len(), references.len(), "outputs and references");
    let pairs = outputs.iter().zip(references);
    let right = pairs.filter(|(a, b)| a.as_ref() == b.as_ref()).count();
    right as f64 / references.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn macro_f1_is_that_of_scikit_learn() {
        // sklearn.metrics.f1_score(labels, predicted, average="macro"), version 1.9.
        let f1 = |predicted: &[usize], labels: &[usize]| macro_f1(predicted, labels, 4);
        assert!((f1(&[0, 1, 2, 2, 1], &[0, 1, 1, 2, 2]) - 2.0 / 3.0).abs() < 1e-12);
        assert!((f1(&[0, 0, 0], &[0, 1, 1]) - 0.25).abs() < 1e-12);
        assert_eq!(f1(&[3, 3], &[3, 3]), 1.0);
        assert_eq!(f1(&[], &[]), 0.0);
        // With labels=[0, 1]: 4 and more are no classes.
        assert!((f1(&[0, 9, 1, 1], &[0, 0, 1, usize::MAX]) - 2.0 / 3.0).abs() < 1e-12);
    }

    #[test]
    fn shares_of_right_answers() {
        assert_eq!(accuracy(&[1, 2, 3], &[1, 0, 3]), 2.0 / 3.0);
        assert_eq!(accuracy(&[], &[]), 0.0);
        assert_eq!(exact_match(&["a", "b "], &["a", "b"]), 0.5);
    }
}
