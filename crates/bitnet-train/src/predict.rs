//! A trained run that is asked about new examples: its model, its tokenizer and the names of its classes, without the data
//! that it was trained on.

use std::borrow::Cow;

use bitnet_config::RunConfig;
use bitnet_data::{Pairs, SequenceVocabulary};
use bitnet_models::engine::Kernel;
use bitnet_models::{Classifier, EncoderDecoder, Perceptron};
use bitnet_results::Evaluation;
use burn::tensor::Device;

use crate::answering::{Answering, OnEngine};
use crate::tasks::{
    ClassProbabilities, ClassifyVectors, score_pairs, text_probabilities, translate,
    vector_probabilities,
};
use crate::{Interrupt, RunDir, TrainError, load_exported, load_latent};

/// The exported model on the engine where it runs there, or the latent one on Burn's tensors.
fn load<M: OnEngine>(
    run: &RunDir,
    latent: bool,
    device: &Device,
) -> Result<Answering<'static, M>, TrainError> {
    match latent {
        true => Ok(Answering::Tensors(Cow::Owned(load_latent(run, device)?))),
        false => {
            let model = Cow::Owned(load_exported(run, device)?);
            Answering::new(model, &run.config()?, device)
        }
    }
}

/// Tells the class of texts.
pub struct TextClassifier {
    model: Answering<'static, Classifier>,
    vocabulary: SequenceVocabulary,
    config: RunConfig,
    label_names: Vec<String>,
    device: Device,
}

impl TextClassifier {
    /// The kernel of the CPU engine, if it answers and not Burn's tensors.
    pub fn kernel(&self) -> Option<Kernel> {
        self.model.kernel()
    }

    /// The model of a run whose task is `classify`: the exported one, or with `latent` the trained one.
    ///
    /// # Errors
    /// If the run has no model, or a file is damaged.
    pub fn open(run: &RunDir, latent: bool, device: &Device) -> Result<Self, TrainError> {
        Ok(Self {
            model: load(run, latent, device)?,
            vocabulary: SequenceVocabulary::new(run.tokenizer()?),
            config: run.config()?,
            label_names: run.label_names()?,
            device: device.clone(),
        })
    }

    /// The names of the classes.
    pub fn label_names(&self) -> &[String] {
        &self.label_names
    }

    /// The probabilities of the classes of each text, which is cut and lowered as in training.
    ///
    /// # Errors
    /// If the device fails.
    pub fn probabilities(&self, texts: &[&str]) -> Result<ClassProbabilities, TrainError> {
        let data = &self.config.data;
        let ids: Vec<Vec<u32>> = (texts.iter())
            .map(|text| {
                let mut ids = match data.lowercase {
                    true => self.vocabulary.encode(&text.to_lowercase()),
                    false => self.vocabulary.encode(text),
                };
                ids.truncate(data.max_length);
                ids
            })
            .collect();
        let ids: Vec<&[u32]> = ids.iter().map(Vec::as_slice).collect();
        let classes = self.label_names.len();
        let batch = self.config.train.batch_size;
        let device = &self.device;
        text_probabilities(&self.model, &ids, classes, batch, device, Interrupt::NEVER)
    }
}

/// Tells the class of vectors.
pub struct VectorClassifier {
    model: Answering<'static, Perceptron>,
    config: RunConfig,
    label_names: Vec<String>,
    largest: f32,
    device: Device,
}

impl VectorClassifier {
    /// The kernel of the CPU engine, if it answers and not Burn's tensors.
    pub fn kernel(&self) -> Option<Kernel> {
        self.model.kernel()
    }

    /// The model of a run whose task is `vectors`. A run of a version that did not write `features.json` is told the largest
    /// magnitude by its training data.
    ///
    /// # Errors
    /// As [`TextClassifier::open`].
    pub fn open(run: &RunDir, latent: bool, device: &Device) -> Result<Self, TrainError> {
        let mut config = run.config()?;
        let largest = match run.largest_feature()? {
            Some(largest) => largest,
            None => ClassifyVectors::new(&mut config)?.largest(),
        };
        Ok(Self {
            model: load(run, latent, device)?,
            config,
            label_names: run.label_names()?,
            largest,
            device: device.clone(),
        })
    }

    /// The names of the classes.
    pub fn label_names(&self) -> &[String] {
        &self.label_names
    }

    /// How many numbers a vector has.
    pub fn width(&self) -> usize {
        self.config.model.input_size
    }

    /// The probabilities of the classes of each vector; all of them row-major in `values`, as the file has them.
    ///
    /// # Errors
    /// If the device fails.
    pub fn probabilities(&self, values: &[f32]) -> Result<ClassProbabilities, TrainError> {
        let values: Vec<f32> = values.iter().map(|value| value / self.largest).collect();
        let (width, classes) = (self.width(), self.label_names.len());
        let batch = self.config.train.batch_size;
        let (device, never) = (&self.device, Interrupt::NEVER);
        vector_probabilities(&self.model, &values, width, classes, batch, device, never)
    }
}

/// Writes the target of sources: translates.
pub struct Translator {
    model: Answering<'static, EncoderDecoder>,
    vocabulary: SequenceVocabulary,
    config: RunConfig,
    device: Device,
}

impl Translator {
    /// The kernel of the CPU engine, if it answers and not Burn's tensors.
    pub fn kernel(&self) -> Option<Kernel> {
        self.model.kernel()
    }

    /// The model of a run whose task is `translate` or `synthetic`.
    ///
    /// # Errors
    /// As [`TextClassifier::open`].
    pub fn open(run: &RunDir, latent: bool, device: &Device) -> Result<Self, TrainError> {
        Ok(Self {
            model: load(run, latent, device)?,
            vocabulary: SequenceVocabulary::new(run.tokenizer()?),
            config: run.config()?,
            device: device.clone(),
        })
    }

    /// The best output for each source, by beam search as `[decode]` says; longer sources are cut at `data.max_length`.
    ///
    /// # Errors
    /// If the device fails.
    pub fn translate(&self, sources: &[&str]) -> Result<Vec<String>, TrainError> {
        let Self {
            model,
            vocabulary,
            config,
            device,
        } = self;
        translate(model, vocabulary, config, sources, device)
    }

    /// Loss, BLEU and exact match on pairs, and what is written for each source.
    ///
    /// # Errors
    /// If the device fails.
    pub fn evaluate(&self, pairs: &Pairs) -> Result<(Evaluation, Vec<String>), TrainError> {
        let Self {
            model,
            vocabulary,
            config,
            device,
        } = self;
        score_pairs(model, vocabulary, config, pairs, device)
    }

    /// How many of the sources are longer than the model reads, and are cut.
    pub fn cut(&self, sources: &[&str]) -> usize {
        let most = self.config.data.max_length - 1;
        let long = |text: &&&str| self.vocabulary.encode(text).len() > most;
        sources.iter().filter(long).count()
    }
}
