//! The model: 64 → 128 → 128 → 10, ternary inside. As in BitNet, what touches the data and the answers stays float.

use bitnet_nn::{BitLinear, BitLinearConfig, PackedBitLinear};
use burn::module::Module;
use burn::nn::{Linear, LinearConfig, loss::CrossEntropyLossConfig};
use burn::tensor::{Device, Tensor, activation::relu};
use burn_train::{ClassificationOutput, InferenceStep, TrainOutput, TrainStep};

use crate::data::{CLASSES, DigitBatch, PIXELS};

const WIDTH: usize = 128;

/// The classifier that trains. In any other Burn app, `hidden` would be a `Linear`.
#[derive(Module, Debug)]
pub struct Classifier {
    input: Linear,
    pub hidden: BitLinear,
    head: Linear,
}

/// The classifier that ships: the same, with 2 bits per hidden weight.
#[derive(Module, Debug)]
pub struct PackedClassifier {
    input: Linear,
    pub hidden: PackedBitLinear,
    head: Linear,
}

impl Classifier {
    /// An untrained classifier.
    pub fn new(device: &Device) -> Self {
        Self {
            input: LinearConfig::new(PIXELS, WIDTH).init(device),
            hidden: BitLinearConfig::new(WIDTH, WIDTH).init(device),
            head: LinearConfig::new(WIDTH, CLASSES).init(device),
        }
    }

    /// Images `[batch, PIXELS]` → logits `[batch, CLASSES]`.
    pub fn forward(&self, images: Tensor<2>) -> Tensor<2> {
        let x = relu(self.input.forward(images));
        let x = relu(self.hidden.forward(x));
        self.head.forward(x)
    }

    /// Quantises the hidden layer once and for all.
    pub fn pack(&self) -> PackedClassifier {
        PackedClassifier {
            input: self.input.clone(),
            hidden: self.hidden.pack(),
            head: self.head.clone(),
        }
    }
}

impl PackedClassifier {
    /// Gives the very numbers of [`Classifier::forward`].
    pub fn forward(&self, images: Tensor<2>) -> Tensor<2> {
        let x = relu(self.input.forward(images));
        let x = relu(self.hidden.forward(x));
        self.head.forward(x)
    }
}

impl InferenceStep for Classifier {
    type Input = DigitBatch;
    type Output = ClassificationOutput;
    fn step(&self, DigitBatch { images, labels }: DigitBatch) -> ClassificationOutput {
        let logits = self.forward(images);
        let loss = CrossEntropyLossConfig::new().init(&logits.device());
        ClassificationOutput::new(loss.forward(logits.clone(), labels.clone()), logits, labels)
    }
}

impl TrainStep for Classifier {
    type Input = DigitBatch;
    type Output = ClassificationOutput;
    fn step(&self, batch: DigitBatch) -> TrainOutput<ClassificationOutput> {
        let output = InferenceStep::step(self, batch);
        TrainOutput::new(self, output.loss.backward(), output)
    }
}
