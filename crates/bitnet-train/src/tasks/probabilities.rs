//! The probabilities of classes, as a model gives them to some examples.

use bitnet_data::scores::Confusion;
use bitnet_results::Evaluation;
use burn::tensor::Tensor;

use crate::TrainError;

/// `ln softmax` of the logits of some examples.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClassProbabilities {
    classes: usize,
    /// Row-major, `[examples, classes]`.
    logs: Vec<f32>,
}

impl ClassProbabilities {
    /// Room for the rows of some examples.
    pub(crate) fn new(examples: usize, classes: usize) -> Self {
        Self {
            classes,
            logs: vec![0.0; examples * classes],
        }
    }

    /// Takes the logits `[b, classes]` of the examples with these numbers.
    ///
    /// # Errors
    /// If they cannot be read from the device.
    pub(crate) fn put(&mut self, examples: &[usize], logits: Tensor<2>) -> Result<(), TrainError> {
        let data = logits
            .try_into_data()
            .map_err(|error| TrainError::Device(error.to_string()))?;
        let logits: Vec<f32> = data.iter::<f32>().collect();
        self.put_floats(examples, &logits);
        Ok(())
    }

    /// As [`put`](Self::put), of logits that are read.
    pub(crate) fn put_floats(&mut self, examples: &[usize], logits: &[f32]) {
        for (example, row) in examples.iter().zip(logits.chunks(self.classes)) {
            let top = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let sum: f64 = row.iter().map(|y| f64::from(y - top).exp()).sum();
            let rest = sum.ln();
            let logs = &mut self.logs[example * self.classes..][..self.classes];
            for (log, y) in logs.iter_mut().zip(row) {
                *log = (f64::from(y - top) - rest) as f32;
            }
        }
    }

    /// The number of classes.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// The probability of each class for one example.
    pub fn of(&self, example: usize) -> impl Iterator<Item = f64> + '_ {
        self.row(example).iter().map(|log| f64::from(*log).exp())
    }

    /// The likeliest class of an example; the first of several.
    pub fn likeliest(&self, example: usize) -> usize {
        let row = self.row(example);
        let mut best = 0;
        for (class, log) in row.iter().enumerate() {
            if *log > row[best] {
                best = class;
            }
        }
        best
    }

    /// The cross-entropy of an example whose class is known, nats.
    pub fn loss(&self, example: usize, label: usize) -> f64 {
        -f64::from(self.row(example)[label])
    }

    fn row(&self, example: usize) -> &[f32] {
        &self.logs[example * self.classes..][..self.classes]
    }

    /// Loss, accuracy and macro-F1 of the examples whose classes are known, `(example, class)` of each.
    pub(crate) fn evaluation(&self, labels: impl Iterator<Item = (usize, usize)>) -> Evaluation {
        let (mut loss, mut confusion) = (0.0, Confusion::new(self.classes));
        for (example, label) in labels {
            loss += self.loss(example, label);
            confusion.add(label, self.likeliest(example));
        }
        of_classes(loss, &confusion)
    }
}

/// The evaluation of some examples by their summed loss and their confusion.
pub fn of_classes(loss: f64, confusion: &Confusion) -> Evaluation {
    let examples = confusion.examples() as usize;
    Evaluation {
        examples: Some(examples),
        loss: loss / examples.max(1) as f64,
        accuracy: Some(confusion.accuracy()),
        macro_f1: Some(confusion.macro_f1()),
        ..Evaluation::default()
    }
}
