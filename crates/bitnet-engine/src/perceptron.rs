//! The multi-layer perceptron.

use crate::{
    EngineError, LinearWeights, Options,
    linear::{Inputs, Linear},
    sequence::{Activation, TableWeights, head, threads::Threads},
};
use bitnet_kernels::ActivationQuantizer;

/// Vectors of a job: enough to use decoded weights often.
const ROWS: usize = 128;

/// One hidden layer, `act(W · norm(x))`.
#[derive(Clone, Debug)]
pub struct HiddenWeights {
    /// γ of the norm in front of it.
    pub norm: Option<Vec<f32>>,
    /// The matrix.
    pub proj: LinearWeights,
}

/// What a perceptron is beside its weights.
#[derive(Clone, Copy, Debug)]
pub struct PerceptronShape {
    /// Numbers of a vector.
    pub input_size: usize,
    /// What follows every layer.
    pub activation: Activation,
    /// How ternary layers quantise what they are given.
    pub activations: ActivationQuantizer,
    /// Epsilon of every RMSNorm.
    pub rms_norm_eps: f32,
}

/// Vectors in, one score a class out.
#[derive(Debug)]
pub struct PerceptronEngine {
    model: Model,
    threads: Threads<(Inputs, [Vec<f32>; 2])>,
}

#[derive(Debug)]
struct Model {
    shape: PerceptronShape,
    layers: Vec<(Option<Vec<f32>>, Linear)>,
    /// With its norm.
    head: Linear,
    classes: usize,
}

impl PerceptronEngine {
    /// Repacks a model's weights for the kernel. The head is float, with a norm in front of it.
    ///
    /// # Errors
    ///
    /// If a tensor does not fit those before it, the processor lacks the kernel, or no threads can be started.
    pub fn new(
        shape: PerceptronShape,
        hidden: Vec<HiddenWeights>,
        (norm, classes): (Vec<f32>, &TableWeights),
        options: Options,
    ) -> Result<PerceptronEngine, EngineError> {
        options.kernel.require()?;
        let mut width = shape.input_size;
        let mut layers = Vec::with_capacity(hidden.len());
        for (index, HiddenWeights { norm, proj }) in hidden.into_iter().enumerate() {
            let name = || format!("layers.{index}.proj");
            let dims = [proj.weights.dims()[0], width];
            check(format!("layers.{index}.norm"), norm.as_ref(), width)?;
            check(format!("{}.norm", name()), proj.norm.as_ref(), width)?;
            let linear = Linear::new(&name, proj, dims, shape.activations, &options)?;
            layers.push((norm, linear));
            width = dims[0];
        }
        check("norm".to_owned(), Some(&norm), width)?;
        let dims = [classes.rows, width];
        Ok(PerceptronEngine {
            model: Model {
                shape,
                layers,
                head: head("head", classes, dims, Some(norm), &options)?,
                classes: classes.rows,
            },
            threads: Threads::new(&options)?,
        })
    }

    /// Scores of the classes of each vector: `[vectors, input_size]` to `[vectors, classes]`.
    ///
    /// # Errors
    ///
    /// If the numbers are no whole vectors.
    pub fn logits(&mut self, values: &[f32]) -> Result<Vec<f32>, EngineError> {
        let Self { model, threads } = self;
        let width = model.shape.input_size;
        if !values.len().is_multiple_of(width) {
            return Err(EngineError::Length {
                tensor: "the vectors".to_owned(),
                shape: [values.len() / width + 1, width],
                found: values.len(),
            });
        }
        let jobs: Vec<&[f32]> = values.chunks(ROWS * width).collect();
        let results = threads.map(jobs.len(), |(inputs, buffers), job| {
            model.logits(inputs, buffers, jobs[job])
        });
        Ok(results.concat())
    }

    /// Scores of a vector.
    pub fn classes(&self) -> usize {
        self.model.classes
    }

    /// Bytes of all weights as they are held.
    pub fn weight_bytes(&self) -> usize {
        let layers = self.model.layers.iter();
        layers.map(|(_, layer)| layer.bytes()).sum::<usize>() + self.model.head.bytes()
    }
}

impl Model {
    fn logits(&self, inputs: &mut Inputs, [x, y]: &mut [Vec<f32>; 2], values: &[f32]) -> Vec<f32> {
        let (rows, epsilon) = (
            values.len() / self.shape.input_size,
            self.shape.rms_norm_eps,
        );
        x.clear();
        x.extend_from_slice(values);
        for (norm, layer) in &self.layers {
            let norm = norm.as_deref().map(|gamma| (gamma, epsilon));
            inputs.clear();
            inputs.each_of([layer], x, &(0..rows), (norm, epsilon), |_, input| {
                layer.whole(input, rows, y);
            });
            self.shape.activation.apply(y);
            std::mem::swap(x, y);
        }
        let mut logits = Vec::new();
        inputs.clear();
        inputs.each_of([&self.head], x, &(0..rows), (None, epsilon), |_, input| {
            self.head.whole(input, rows, &mut logits);
        });
        logits
    }
}

fn check(tensor: String, gamma: Option<&Vec<f32>>, width: usize) -> Result<(), EngineError> {
    match gamma {
        Some(gamma) if gamma.len() != width => Err(EngineError::Tensor {
            tensor,
            expected: [1, width],
            found: [1, gamma.len()],
        }),
        _ => Ok(()),
    }
}
