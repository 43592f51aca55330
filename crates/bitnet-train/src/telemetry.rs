//! The health of ternary layers while they train: how many codes are 0, how many change from step to step, and the scale.
//!
//! Read off the packed form of each layer whenever the model is evaluated. `flips` is the share of a layer's codes that
//! differ from those at the last reading, divided by the steps between; a code that flips and flips back is not seen.
//! Gaussian latent weights have `zeros ≈ 0.31` under absmean: `P(|w| < mean|w| / 2)`.

use bitnet_models::{Network, Projection, TernaryWord};
use bitnet_results::{LayerHealth, NamedLayer};

use burn::tensor::{DType, TensorData};

use crate::TrainError;
use crate::pack::{NotFinite, Packed, Packing};

const STEP: &str = "codes.step";

/// Remembers the codes of the last reading.
#[derive(Default)]
pub(crate) struct Telemetry {
    last: Option<(usize, Vec<Vec<u32>>)>,
}

impl Telemetry {
    /// Adds the codes of the last reading to what is to be written.
    ///
    /// # Errors
    /// None; codes are whole numbers.
    pub fn pack(&self, packing: &mut Packing) -> Result<(), NotFinite> {
        let Some((step, layers)) = self.last.as_ref().filter(|(_, layers)| !layers.is_empty())
        else {
            return Ok(());
        };
        packing.number(STEP, *step as u64);
        for (index, words) in layers.iter().enumerate() {
            let data = TensorData::new(words.clone(), [words.len()]);
            packing.tensor(format!("codes.{index:05}"), data)?;
        }
        Ok(())
    }

    /// Takes them out of a file, if it has them.
    pub fn load(file: &mut Packed) -> Self {
        let Some(step) = file.number(STEP) else {
            return Self::default();
        };
        let layers = (0..).map_while(|index| {
            let data = file.take(&format!("codes.{index:05}"), DType::U32, None)?;
            data.try_to_vec::<u32>().ok()
        });
        Self {
            last: Some((step as usize, layers.collect())),
        }
    }

    /// The layers of a model after `step` steps; none of a float model.
    pub fn read(
        &mut self,
        model: &impl Network,
        step: usize,
    ) -> Result<Vec<NamedLayer>, TrainError> {
        let (mut layers, mut codes) = (Vec::new(), Vec::new());
        for (layer, projection) in model.projections() {
            let Projection::Packed(packed) = projection.pack() else {
                continue;
            };
            let failed = |error: &dyn std::fmt::Display| TrainError::Device(error.to_string());
            let words = packed.words.val().try_into_data().map_err(|e| failed(&e))?;
            let words = words.try_to_vec::<u32>().map_err(|e| failed(&e))?;
            let scales = packed
                .scales
                .val()
                .try_into_data()
                .map_err(|e| failed(&e))?;
            let scales = scales.try_to_vec::<f32>().map_err(|e| failed(&e))?;
            let weights = projection.weights().max(1);
            // Padding is stored as a zero weight.
            let padding = TernaryWord::WEIGHTS * words.len() - weights;
            let zeros: usize = words.iter().map(|word| TernaryWord(*word).zeros()).sum();
            let before = self.last.as_ref().and_then(|(at, all)| {
                let steps = step.checked_sub(*at).filter(|steps| *steps > 0)?;
                Some((steps, all.get(codes.len())?))
            });
            let flips = before.map(|(steps, before)| {
                let flips = |(a, b): (&u32, &u32)| TernaryWord(*a).flips(TernaryWord(*b));
                let flips: usize = words.iter().zip(before).map(flips).sum();
                flips as f64 / weights as f64 / steps as f64
            });
            let units = scales.iter().map(|s| 1.0 / f64::from(*s)).sum::<f64>();
            let health = LayerHealth {
                zeros: (zeros - padding) as f64 / weights as f64,
                flips,
                scale: units / scales.len().max(1) as f64,
            };
            layers.push(NamedLayer { layer, health });
            codes.push(words);
        }
        self.last = Some((step, codes));
        Ok(layers)
    }
}
