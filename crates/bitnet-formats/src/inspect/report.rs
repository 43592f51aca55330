//! A model: its conventions with their evidence, and all of its tensors.

use bitnet_kernels::Granularity;
use serde::Serialize;

use super::TensorReport;
use crate::{
    Error, ModelFile, ScaleDirection,
    model::{
        Activation, ActivationFormat, Finding, ModelDescription, Rope, RopeScaling, TokenizerKind,
        WeightFormat,
    },
};

/// What a model's files hold. Serialised, it is what `bitnet inspect -o json` prints.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// The container.
    pub format: String,
    /// The block of the model.
    pub arch: Convention,
    /// Weights of all tensors.
    pub params: u64,
    /// Bytes of all tensors in the file.
    pub bytes: u64,
    /// Sizes by their names.
    pub shape: Vec<(&'static str, usize)>,
    /// What the matrices of the projections hold.
    pub quantizer: Convention,
    /// Whether scales multiply or divide.
    pub scale_convention: Convention,
    /// What projections do to their input.
    pub activations: Convention,
    /// Position embedding.
    pub rope: Convention,
    /// The gate's function.
    pub activation: Convention,
    /// Where is normalised.
    pub norms: Convention,
    /// Whether the head is the embedding.
    pub tied_head: Convention,
    /// What text becomes token ids with.
    pub tokenizer: Convention,
    /// How a text's hidden states become its vector.
    pub pooling: Convention,
    /// Ids that end an answer.
    pub eos: Vec<u32>,
    /// Whether there is a template for chats.
    pub chat_template: bool,
    /// The tensors, by role.
    pub tensors: Vec<TensorReport>,
    /// What is odd, that of each tensor with its name in front.
    pub warnings: Vec<String>,
}

/// A convention in words, and what it was read from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Convention {
    /// The convention.
    pub value: String,
    /// The key, name or count that says so.
    pub evidence: String,
}

impl Convention {
    fn new<T>(finding: &Finding<T>, words: impl Fn(&T) -> String) -> Self {
        Self {
            value: words(&finding.value),
            evidence: finding.evidence.clone(),
        }
    }
}

impl Report {
    /// Reads every tensor of a model.
    ///
    /// # Errors
    ///
    /// If a tensor's content is not what its type demands.
    pub fn read(model: &ModelFile) -> Result<Self, Error> {
        let source = model.source();
        let tensors: Result<Vec<_>, _> = source
            .tensors()
            .iter()
            .map(|entry| TensorReport::read(source, entry))
            .collect();
        let tensors = tensors?;
        let description = source.description();
        let mut warnings = description.warnings.clone();
        warnings.extend(tensors.iter().flat_map(|tensor| {
            let of = |warning: &String| format!("{}: {warning}", tensor.name);
            tensor.warnings.iter().map(of).collect::<Vec<_>>()
        }));
        let elements = |tensor: &TensorReport| tensor.shape.iter().product::<usize>() as u64;
        Ok(Self {
            format: model.format(),
            params: tensors.iter().map(elements).sum(),
            bytes: tensors.iter().map(|tensor| tensor.bytes).sum(),
            arch: Convention::new(&description.family, ToString::to_string),
            shape: shape(description),
            quantizer: Convention::new(&description.weights, quantizer),
            scale_convention: Convention::new(&description.weights, scale_convention),
            activations: Convention::new(&description.activations, |format| {
                let words = match format {
                    ActivationFormat::Int8 => "int8 by absmax of each token",
                    ActivationFormat::Float => "floats",
                    ActivationFormat::Unknown => "unknown",
                };
                words.into()
            }),
            rope: Convention::new(&description.rope, rope),
            activation: Convention::new(&description.activation, |activation| match activation {
                Activation::Relu2 => "relu2".into(),
                Activation::Silu => "silu".into(),
            }),
            norms: Convention::new(&description.norms, |norms| {
                let parts = [
                    (true, "of the block"),
                    (norms.sub_norms, "before o and down"),
                    (norms.query_key_norms, "of each head's query and key"),
                    (norms.projection_norms, "of every projection's input"),
                ];
                let parts: Vec<_> = parts
                    .iter()
                    .filter(|part| part.0)
                    .map(|part| part.1)
                    .collect();
                // Files hold it in 32 bits, whose shortest name is the one that was meant.
                format!("{}, eps {:e}", parts.join(", "), norms.eps as f32)
            }),
            tied_head: Convention::new(&description.tied_head, |tied| {
                if *tied { "the embedding" } else { "its own" }.into()
            }),
            tokenizer: Convention::new(&description.tokenizer, tokenizer),
            pooling: Convention::new(&description.pooling, ToString::to_string),
            eos: description.special_tokens.eos.clone(),
            chat_template: description.chat_template.is_some(),
            tensors,
            warnings,
        })
    }

    /// The conventions by name, in the order in which they are shown.
    pub fn conventions(&self) -> [(&'static str, &Convention); 10] {
        [
            ("architecture", &self.arch),
            ("weights", &self.quantizer),
            ("scales", &self.scale_convention),
            ("activations", &self.activations),
            ("gate", &self.activation),
            ("norms", &self.norms),
            ("RoPE", &self.rope),
            ("head", &self.tied_head),
            ("tokenizer", &self.tokenizer),
            ("pooling", &self.pooling),
        ]
    }
}

fn shape(description: &ModelDescription) -> Vec<(&'static str, usize)> {
    let shape = &description.shape;
    vec![
        ("vocab_size", shape.vocab_size),
        ("hidden_size", shape.hidden_size),
        ("intermediate_size", shape.intermediate_size),
        ("num_hidden_layers", shape.num_hidden_layers),
        ("num_attention_heads", shape.num_attention_heads),
        ("num_key_value_heads", shape.num_key_value_heads),
        ("head_dim", shape.head_dim),
        ("max_position_embeddings", shape.max_position_embeddings),
    ]
}

fn quantizer(format: &WeightFormat) -> String {
    match format {
        WeightFormat::Float => "floats".into(),
        WeightFormat::OnlineAbsMean => {
            "master weights, absmean of each matrix when they run".into()
        }
        WeightFormat::Codes { .. } => "ternary codes, one scale a matrix".into(),
        WeightFormat::Blocks => "ternary blocks".into(),
        WeightFormat::TernaryValues { granularity } => {
            format!(
                "floats that are ternary, one scale for each {}",
                granularity_words(*granularity)
            )
        }
    }
}

fn granularity_words(granularity: Granularity) -> String {
    match granularity {
        Granularity::Tensor => "matrix".into(),
        Granularity::Row => "row".into(),
        Granularity::Group(n) => format!("{n} columns of a row"),
    }
}

fn scale_convention(format: &WeightFormat) -> String {
    match format {
        WeightFormat::Codes {
            direction: ScaleDirection::Divide,
        } => "divide".into(),
        WeightFormat::Codes { .. } | WeightFormat::Blocks => "multiply".into(),
        WeightFormat::Float | WeightFormat::OnlineAbsMean | WeightFormat::TernaryValues { .. } => {
            "none stored".into()
        }
    }
}

fn rope(rope: &Rope) -> String {
    let order = if rope.interleaved_in_file {
        "interleaved"
    } else {
        "rotate-half"
    };
    let scaling = match &rope.scaling {
        None => String::new(),
        Some(RopeScaling::Linear { factor }) => format!(", linear by {factor}"),
        Some(RopeScaling::Llama3 { factor, .. }) => format!(", Llama 3.1's by {factor}"),
        Some(RopeScaling::Yarn { factor, .. }) => format!(", YaRN by {factor}"),
        Some(RopeScaling::Factors { factors }) => {
            format!(", {} factors of their own", factors.len())
        }
    };
    format!("{order}, theta {}{scaling}", rope.theta)
}

fn tokenizer(kind: &TokenizerKind) -> String {
    match kind {
        TokenizerKind::HuggingFace(model) => format!("tokenizer.json ({model})"),
        TokenizerKind::SentencePiece => "sentencepiece file".into(),
        TokenizerKind::GgufBpe { pre } => format!("byte-level BPE, cut as {pre}"),
        TokenizerKind::GgufSentencePiece => "SentencePiece in the file".into(),
        TokenizerKind::GgufOther(name) => format!("{name} in the file"),
        TokenizerKind::Missing => "none".into(),
    }
}
