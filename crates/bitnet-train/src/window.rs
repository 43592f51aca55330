//! The mean loss of the batches since it was last reported.

use burn::tensor::{DType, Device, Shape, Tensor};

use crate::TrainError;
use crate::evaluate::read;
use crate::pack::{NotFinite, Packed, Packing};

/// The sum stays on the device until it is asked for.
#[derive(Default)]
pub(crate) struct MeanLoss {
    sum: Option<Tensor<1>>,
    steps: usize,
}

const SUM: &str = "losses.sum";
const STEPS: &str = "losses.steps";

impl MeanLoss {
    /// Adds the loss of a batch, `[1]`.
    pub fn add(&mut self, loss: Tensor<1>) {
        self.steps += 1;
        self.sum = Some(match self.sum.take() {
            Some(sum) => sum + loss,
            None => loss,
        });
    }

    /// The mean; none of no batch.
    ///
    /// # Errors
    /// If the device fails.
    pub fn mean(&self) -> Result<Option<f64>, TrainError> {
        let sum = self.sum.clone().map(read).transpose()?;
        Ok(sum.map(|sum| sum / self.steps as f64))
    }

    /// Begins again.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Adds the sum to what is to be written.
    ///
    /// # Errors
    /// If it is not finite.
    pub fn pack(&self, packing: &mut Packing) -> Result<(), NotFinite> {
        if let Some(sum) = &self.sum {
            packing.tensor(SUM.to_owned(), sum.clone().into_data())?;
            packing.number(STEPS, self.steps as u64);
        }
        Ok(())
    }

    /// Takes the sum out of a file, if it has one.
    pub fn load(file: &mut Packed, device: &Device) -> Self {
        let sum = file.take(SUM, DType::F32, Some(&Shape::new([1])));
        match (sum, file.number(STEPS)) {
            (Some(sum), Some(steps)) => Self {
                sum: Some(Tensor::from_data(sum, (device, DType::F32))),
                steps: steps as usize,
            },
            _ => Self::default(),
        }
    }
}
