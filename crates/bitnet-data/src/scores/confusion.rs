//! Which classes are taken for which.

/// How often each true class was given each predicted one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confusion {
    classes: usize,
    /// `[true, predicted]`, row-major.
    counts: Vec<u64>,
}

/// Precision, recall and their harmonic mean, of one class; 0 where nothing is there to divide by.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ClassScore {
    /// `TP / (TP + FP)`: of the examples that were given this class, the share that has it.
    pub precision: f64,
    /// `TP / (TP + FN)`: of the examples that have this class, the share that was given it.
    pub recall: f64,
    /// `2 TP / (2 TP + FP + FN)`.
    pub f1: f64,
    /// Examples that have this class.
    pub examples: u64,
}

impl Confusion {
    /// Of nothing yet.
    pub fn new(classes: usize) -> Self {
        Self {
            classes,
            counts: vec![0; classes * classes],
        }
    }

    /// Counts predictions and the true classes beside them.
    ///
    /// # Panics
    /// If the lengths differ, or a class is not below the number of classes.
    pub fn of(predicted: &[usize], labels: &[usize], classes: usize) -> Self {
        assert_eq!(predicted.len(), labels.len(), "predictions and labels");
        let mut confusion = Self::new(classes);
        for (predicted, label) in predicted.iter().zip(labels) {
            confusion.add(*label, *predicted);
        }
        confusion
    }

    /// Counts one example.
    ///
    /// # Panics
    /// If a class is not below the number of classes.
    pub fn add(&mut self, label: usize, predicted: usize) {
        assert!(label.max(predicted) < self.classes, "class");
        self.counts[label * self.classes + predicted] += 1;
    }

    /// The number of classes.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Examples counted.
    pub fn examples(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// How often each class was predicted for one that is truly `label`.
    pub fn row(&self, label: usize) -> &[u64] {
        &self.counts[label * self.classes..][..self.classes]
    }

    /// The share of examples on the diagonal; 0 of nothing.
    pub fn accuracy(&self) -> f64 {
        let right: u64 = (0..self.classes).map(|class| self.row(class)[class]).sum();
        right as f64 / self.examples().max(1) as f64
    }

    /// The scores of one class.
    pub fn class(&self, class: usize) -> ClassScore {
        let right = self.row(class)[class];
        let examples: u64 = self.row(class).iter().sum();
        let given: u64 = (0..self.classes).map(|label| self.row(label)[class]).sum();
        let share = |of: u64, all: u64| of as f64 / all.max(1) as f64;
        ClassScore {
            precision: share(right, given),
            recall: share(right, examples),
            f1: share(2 * right, given + examples),
            examples,
        }
    }

    /// The mean of F1 over the classes that occur in the labels or the predictions, as [`macro_f1`](super::macro_f1).
    pub fn macro_f1(&self) -> f64 {
        let (mut sum, mut occurring) = (0.0, 0usize);
        for class in 0..self.classes {
            let given: u64 = (0..self.classes).map(|label| self.row(label)[class]).sum();
            let score = self.class(class);
            if given + score.examples > 0 {
                sum += score.f1;
                occurring += 1;
            }
        }
        sum / occurring.max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scores;

    #[test]
    fn precision_recall_and_f1_of_each_class() {
        // By hand, as sklearn.metrics.precision_recall_fscore_support(zero_division=0) counts; class 3 never occurs.
        let confusion = Confusion::of(&[0, 1, 2, 2, 1, 2], &[0, 1, 1, 2, 2, 1], 4);
        let one = confusion.class(1);
        assert_eq!(
            (one.precision, one.recall, one.examples),
            (0.5, 1.0 / 3.0, 3)
        );
        assert!((one.f1 - 0.4).abs() < 1e-12);
        assert_eq!(confusion.class(3), ClassScore::default());
        assert_eq!(confusion.row(1), [0, 1, 2, 0]);
        assert_eq!(confusion.accuracy(), 0.5);
        let (predicted, labels) = ([0, 1, 2, 2, 1, 2], [0, 1, 1, 2, 2, 1]);
        assert!((confusion.macro_f1() - scores::macro_f1(&predicted, &labels, 4)).abs() < 1e-12);
        assert_eq!(Confusion::new(2).macro_f1(), 0.0);
    }
}
