//! Examples of a random linear map, with noise: `y = W* x + σ ε` with `x, ε ~ N(0, 1)` and `W* ~ N(0, 1/inputs)`.

use crate::DataError;
use crate::lines::check_split;
use crate::rng::Rng;

/// Inputs and outputs of a map.
#[derive(Debug, Clone, PartialEq)]
pub struct Regression {
    /// Numbers of an input.
    pub inputs: usize,
    /// Numbers of an output.
    pub outputs: usize,
    /// All inputs, row-major.
    pub x: Vec<f32>,
    /// All outputs, row-major.
    pub y: Vec<f32>,
}

impl Regression {
    /// Makes `examples` of one map; the seed decides the map, the inputs and the noise.
    pub fn linear_teacher(
        inputs: usize,
        outputs: usize,
        examples: usize,
        noise: f64,
        seed: u64,
    ) -> Self {
        let normals = |stream: u64, count: usize| -> Vec<f64> {
            let mut rng = Rng::new(seed, stream);
            (0..count).map(|_| rng.normal()).collect()
        };
        let teacher = normals(0, outputs * inputs);
        let x = normals(1, examples * inputs);
        let noises = normals(2, examples * outputs);
        let scale = 1.0 / (inputs.max(1) as f64).sqrt();
        let y = (0..examples * outputs).map(|i| {
            let (example, output) = (i / outputs, i % outputs);
            let x = &x[example * inputs..][..inputs];
            let row = &teacher[output * inputs..][..inputs];
            let sum: f64 = x.iter().zip(row).map(|(x, w)| x * w).sum();
            (scale * sum + noise * noises[i]) as f32
        });
        Self {
            inputs,
            outputs,
            y: y.collect(),
            x: x.into_iter().map(|v| v as f32).collect(),
        }
    }

    /// Number of examples.
    pub fn len(&self) -> usize {
        self.y.len() / self.outputs.max(1)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.y.is_empty()
    }

    /// Splits the last `count` examples off.
    pub fn split_off_last(&mut self, count: usize) -> Result<Self, DataError> {
        let left = check_split("the regression", self.len(), count)?;
        Ok(Self {
            inputs: self.inputs,
            outputs: self.outputs,
            x: self.x.split_off(left * self.inputs),
            y: self.y.split_off(left * self.outputs),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_have_variance_one_and_the_noise() {
        let data = Regression::linear_teacher(64, 32, 500, 0.5, 3);
        assert_eq!((data.len(), data.x.len()), (500, 500 * 64));
        let mean_square =
            |v: &[f32]| v.iter().map(|v| f64::from(v * v)).sum::<f64>() / v.len() as f64;
        // 32,000 inputs: the mean square has standard deviation √(2/32000) = 0.008. The outputs share 2,048 weights, whose
        // sum of squares has relative standard deviation √(2/2048) = 0.03.
        assert!((mean_square(&data.x) - 1.0).abs() < 0.04);
        assert!((mean_square(&data.y) - 1.25).abs() < 0.15);
        assert_eq!(data, Regression::linear_teacher(64, 32, 500, 0.5, 3));
    }

    #[test]
    fn the_noise_does_not_change_the_map() {
        let quiet = Regression::linear_teacher(4, 2, 10, 0.0, 1);
        let noisy = Regression::linear_teacher(4, 2, 10, 1.0, 1);
        assert_eq!(quiet.x, noisy.x);
        assert_ne!(quiet.y, noisy.y);
        let mut rest = quiet;
        assert_eq!(rest.split_off_last(3).unwrap().len(), 3);
        assert_eq!(rest.len(), 7);
    }
}
