//! From the metadata of a GGUF file to a description, each convention with its evidence.

use super::{file::GgufFile, value::Value};
use crate::{
    error::{Fault, Place},
    model::{
        Activation, ActivationFormat, Family, Finding, ModelShape, Norms, Pooling, Rope,
        RopeScaling, SpecialTokens, TokenizerKind,
    },
};

/// The metadata of one architecture: `general.…`, `{arch}.…`, `tokenizer.…`.
#[derive(Clone, Copy)]
pub(super) struct Metadata<'a> {
    file: &'a GgufFile,
    arch: &'static str,
}

/// The key that says how texts become vectors, without its architecture.
pub(crate) const POOLING_TYPE: &str = "pooling_type";

/// The tokens that end an answer, as keys call them.
pub(crate) const END_TOKENS: [&str; 3] = ["eos", "eot", "eom"];

/// The architectures that are read, with the block that each stands for.
const ARCHITECTURES: [(&str, Family, Activation); 5] = [
    ("bitnet-b1.58", Family::BitNet, Activation::Relu2),
    ("bitnet-25", Family::BitNet, Activation::Relu2),
    ("bitnet", Family::OneBitLlm, Activation::Silu),
    ("llama", Family::Llama, Activation::Silu),
    ("qwen3", Family::Qwen3, Activation::Silu),
];

fn refuse(key: &str, reason: impl std::fmt::Display, remedy: &str) -> Fault {
    Fault::unsupported(Place::Key(key.into()), reason, remedy)
}

impl<'a> Metadata<'a> {
    /// Reads the architecture and refuses what changes how the tensors are to be read.
    pub(super) fn new(
        file: &'a GgufFile,
    ) -> Result<(Self, Finding<Family>, Finding<Activation>), Fault> {
        let key = "general.architecture";
        let Some(Value::String(name)) = file.get(key) else {
            return Err(Fault::key(
                key,
                "is missing, expected the name of an architecture",
            ));
        };
        let known = ARCHITECTURES.iter().find(|(arch, ..)| *arch == name);
        let Some((arch, family, activation)) = known else {
            let reason = format!("the architecture {name:?} is unknown");
            return Err(refuse(
                key,
                reason,
                "known are bitnet, bitnet-b1.58, bitnet-25, llama and qwen3",
            ));
        };
        let metadata = Self { file, arch };
        metadata.check_switches()?;
        let evidence = format!("{key} {arch}");
        Ok((
            metadata,
            Finding::new(*family, evidence.clone()),
            Finding::new(
                *activation,
                format!("{evidence}: no key names the activation"),
            ),
        ))
    }

    fn check_switches(&self) -> Result<(), Fault> {
        if let Some((key, _)) = self
            .file
            .metadata()
            .find(|(key, _)| key.starts_with("prism.hadamard."))
        {
            let reason = "weights are in a rotated basis, which their inputs must be turned into";
            return Err(refuse(
                key,
                reason,
                "use the program that wrote the file, or a file without rotation",
            ));
        }
        if self
            .file
            .get("split.count")
            .and_then(|v| v.as_u64())
            .is_some_and(|n| n > 1)
        {
            let reason = "the model is split over several files";
            return Err(refuse(
                "split.count",
                reason,
                "join them with `llama-gguf-split --merge`",
            ));
        }
        for key in [
            "expert_count",
            "attention.sliding_window",
            "attention.clamp_kqv",
        ] {
            let key = self.key(key);
            let value = self.file.get(&key);
            let value = value.and_then(|v| v.as_u64().map(|n| n as f64).or(v.as_f64()));
            if value.is_some_and(|n| n != 0.0) {
                let reason = format!("{} is not supported", value.unwrap_or_default());
                return Err(refuse(&key, reason, "use llama.cpp for this model"));
            }
        }
        Ok(())
    }

    pub(super) fn key(&self, rest: &str) -> String {
        format!("{}.{rest}", self.arch)
    }

    /// A size; `None` if the key is absent.
    fn size(&self, rest: &str) -> Result<Option<usize>, Fault> {
        let key = self.key(rest);
        match self.file.get(&key) {
            None => Ok(None),
            Some(Value::Array(_)) => {
                let reason = "a list: the layers differ from each other";
                Err(refuse(&key, reason, "use llama.cpp for this model"))
            }
            Some(value) => {
                let size = value.as_u64().and_then(|n| usize::try_from(n).ok());
                let expected = || Fault::key(&key, format!("{value:?}, expected a size"));
                size.map(Some).ok_or_else(expected)
            }
        }
    }

    fn needed_size(&self, rest: &str) -> Result<usize, Fault> {
        let missing = || Fault::key(&self.key(rest), "is missing");
        self.size(rest)?.ok_or_else(missing)
    }

    fn float(&self, rest: &str) -> Result<Option<f64>, Fault> {
        let key = self.key(rest);
        let Some(value) = self.file.get(&key) else {
            return Ok(None);
        };
        match value.as_f64().filter(|v| v.is_finite() && *v > 0.0) {
            Some(value) => Ok(Some(value)),
            None => Err(Fault::key(
                &key,
                format!("{value:?}, expected a positive number"),
            )),
        }
    }

    pub(super) fn shape(&self) -> Result<ModelShape, Fault> {
        let name = "token_embd.weight";
        let embedding = self.file.tensor(name).map(|tensor| tensor.shape());
        let Some([vocab_size, hidden]) = embedding.as_deref() else {
            return Err(Fault::tensor(name, "is missing, expected a matrix"));
        };
        let hidden_size = self.needed_size("embedding_length")?;
        if hidden_size != *hidden {
            let problem = format!("{hidden_size}, but the embedding has {hidden} columns");
            return Err(Fault::key(&self.key("embedding_length"), problem));
        }
        if let Some(size) = self.size("vocab_size")?
            && size != *vocab_size
        {
            let problem = format!("{size}, but the embedding has {vocab_size} rows");
            return Err(Fault::key(&self.key("vocab_size"), problem));
        }
        let heads = self.needed_size("attention.head_count")?;
        let head_dim = match self.size("attention.key_length")? {
            Some(head_dim) => head_dim,
            None if heads > 0 && hidden_size.is_multiple_of(heads) => hidden_size / heads,
            None => {
                let problem =
                    format!("is missing, and {hidden_size} is not a multiple of {heads} heads");
                return Err(Fault::key(&self.key("attention.key_length"), problem));
            }
        };
        for key in ["attention.value_length", "rope.dimension_count"] {
            if let Some(size) = self.size(key)?
                && size != head_dim
            {
                let reason = format!("{size} where a head's size is {head_dim}");
                return Err(refuse(
                    &self.key(key),
                    reason,
                    "use llama.cpp for this model",
                ));
            }
        }
        let shape = ModelShape {
            vocab_size: *vocab_size,
            hidden_size,
            intermediate_size: self.needed_size("feed_forward_length")?,
            num_hidden_layers: self.needed_size("block_count")?,
            num_attention_heads: heads,
            num_key_value_heads: self.size("attention.head_count_kv")?.unwrap_or(heads),
            head_dim,
            max_position_embeddings: self.needed_size("context_length")?,
        };
        shape.check().map_err(Fault::header)?;
        Ok(shape)
    }

    pub(super) fn norms(&self, has: impl Fn(&str) -> bool) -> Result<Finding<Norms>, Fault> {
        let key = "attention.layer_norm_rms_epsilon";
        let missing = || Fault::key(&self.key(key), "is missing");
        let norms = Norms {
            eps: self.float(key)?.ok_or_else(missing)?,
            sub_norms: has("attn_sub_norm"),
            query_key_norms: has("attn_q_norm"),
            projection_norms: has("attn_q_norm_in"),
        };
        let evidence = format!("{}, and the names of the tensors", self.key(key));
        Ok(Finding::new(norms, evidence))
    }

    pub(super) fn rope(&self, shape: &ModelShape) -> Result<Finding<Rope>, Fault> {
        let (theta, mut evidence) = match self.float("rope.freq_base")? {
            Some(theta) => (theta, format!("{} {theta}", self.key("rope.freq_base"))),
            None => (
                10_000.0,
                "no rope.freq_base: 10000, what llama.cpp takes".into(),
            ),
        };
        let interleaved_in_file = self.arch == "llama";
        let order = if interleaved_in_file {
            "interleaved q and k"
        } else {
            "rotate-half"
        };
        evidence += &format!("; {order}, as all files of the architecture {}", self.arch);
        let rope = Rope {
            theta,
            scaling: self.rope_scaling(shape)?,
            interleaved_in_file,
        };
        Ok(Finding::new(rope, evidence))
    }

    fn rope_scaling(&self, shape: &ModelShape) -> Result<Option<RopeScaling>, Fault> {
        if let Some(tensor) = self.file.tensor("rope_freqs.weight") {
            let shape = [shape.head_dim / 2];
            let is_float = tensor.tensor_type() == crate::TensorType::F32;
            if tensor.shape() != shape || !is_float {
                let problem = format!(
                    "{:?} {}, expected {shape:?} F32",
                    tensor.shape(),
                    tensor.tensor_type()
                );
                return Err(Fault::tensor(tensor.name(), problem));
            }
            // F32 decodes whatever it holds.
            return Ok(tensor
                .to_f32()
                .ok()
                .map(|factors| RopeScaling::Factors { factors }));
        }
        let key = "rope.scaling.type";
        let value = self.file.get(&self.key(key));
        let kind = value.as_ref().and_then(|v| v.as_str()).unwrap_or("none");
        let factor = self
            .float("rope.scaling.factor")?
            .or(self.float("rope.scale_linear")?);
        let missing = || Fault::key(&self.key("rope.scaling.factor"), "is missing");
        Ok(match kind {
            "none" if factor.is_none_or(|f| f == 1.0) => None,
            "none" | "linear" => Some(RopeScaling::Linear {
                factor: factor.ok_or_else(missing)?,
            }),
            "yarn" => Some(RopeScaling::Yarn {
                factor: factor.ok_or_else(missing)?,
                original_max_position_embeddings: self
                    .size("rope.scaling.original_context_length")?
                    .unwrap_or(shape.max_position_embeddings),
                attention_factor: self.float("rope.scaling.attn_factor")?,
                beta_fast: self.float("rope.scaling.yarn_beta_fast")?.unwrap_or(32.0),
                beta_slow: self.float("rope.scaling.yarn_beta_slow")?.unwrap_or(1.0),
            }),
            other => {
                let reason = format!("the type {other:?} is not supported");
                return Err(refuse(&self.key(key), reason, "none, linear and yarn are"));
            }
        })
    }

    pub(super) fn activations(&self, family: Family, ternary: bool) -> Finding<ActivationFormat> {
        match family {
            Family::BitNet | Family::OneBitLlm => {
                let evidence = format!("architecture {}: absmax of each token", self.arch);
                Finding::new(ActivationFormat::Int8, evidence)
            }
            Family::Llama | Family::Qwen3 if ternary => Finding::new(
                ActivationFormat::Unknown,
                "no key says what happens to activations",
            ),
            Family::Llama | Family::Qwen3 => {
                Finding::new(ActivationFormat::Float, "no ternary tensors")
            }
        }
    }

    /// The tokenizer's kind, and its number of tokens compared with the embedding's rows.
    pub(super) fn tokenizer(&self, vocab_size: usize) -> Result<Finding<TokenizerKind>, Fault> {
        let key = "tokenizer.ggml.tokens";
        let tokens = self.file.get(key);
        let tokens = tokens
            .as_ref()
            .and_then(|v| v.as_array())
            .map(|list| list.len());
        if tokens.is_some_and(|n| n > vocab_size as u64) {
            let problem = format!(
                "{} tokens, but the embedding has {vocab_size} rows",
                tokens.unwrap_or(0)
            );
            return Err(Fault::key(key, problem));
        }
        let model = self.file.get("tokenizer.ggml.model");
        let Some((model, tokens)) = model.as_ref().and_then(|v| v.as_str()).zip(tokens) else {
            let evidence = "no tokenizer.ggml.model or no tokens";
            return Ok(Finding::new(TokenizerKind::Missing, evidence));
        };
        let evidence = format!("tokenizer.ggml.model {model}, {tokens} tokens");
        Ok(match model {
            "gpt2" => {
                let pre = self.file.get("tokenizer.ggml.pre");
                let (pre, said) = match pre.as_ref().and_then(|v| v.as_str()) {
                    Some(pre) => (pre.to_string(), format!("tokenizer.ggml.pre {pre}")),
                    // The published 2B-4T file has none; its vocabulary is Llama 3's.
                    None if self.arch.starts_with("bitnet-") => (
                        "llama-bpe".into(),
                        "no tokenizer.ggml.pre: llama-bpe, the vocabulary of BitNet 2B-4T".into(),
                    ),
                    None => (
                        "default".into(),
                        "no tokenizer.ggml.pre: default, what llama.cpp takes".into(),
                    ),
                };
                Finding::new(
                    TokenizerKind::GgufBpe { pre },
                    format!("{evidence}, {said}"),
                )
            }
            "llama" => Finding::new(TokenizerKind::GgufSentencePiece, evidence),
            other => Finding::new(TokenizerKind::GgufOther(other.into()), evidence),
        })
    }

    pub(super) fn special_tokens(&self) -> SpecialTokens {
        let id = |name: &str| {
            let value = self.file.get(&format!("tokenizer.ggml.{name}_token_id"));
            value
                .and_then(|v| v.as_u64())
                .and_then(|id| u32::try_from(id).ok())
        };
        let mut eos = Vec::new();
        for id in END_TOKENS.into_iter().filter_map(id) {
            if !eos.contains(&id) {
                eos.push(id);
            }
        }
        let add_bos = self.file.get("tokenizer.ggml.add_bos_token");
        SpecialTokens {
            bos: id("bos"),
            eos,
            pad: id("padding"),
            add_bos: add_bos.and_then(|v| v.as_bool()),
        }
    }

    /// How a text's hidden states become its vector: a number of llama.cpp's.
    pub(super) fn pooling(&self) -> Result<Finding<Pooling>, Fault> {
        let key = self.key(POOLING_TYPE);
        let Some(value) = self.file.get(&key) else {
            return Ok(Finding::new(Pooling::Unsaid, format!("no {key}")));
        };
        let expected = || Fault::key(&key, format!("{value:?}, expected a number"));
        let kind = value.as_u64().ok_or_else(expected)?;
        let pooling = match kind {
            0 => Pooling::Other("none, a vector for each token".into()),
            1 => Pooling::Mean,
            2 => Pooling::Other("cls, the first token".into()),
            3 => Pooling::Last,
            4 => Pooling::Other("rank, a score of two texts".into()),
            other => Pooling::Other(format!("{other}, which is unknown")),
        };
        Ok(Finding::new(pooling, format!("{key} {kind}")))
    }

    pub(super) fn chat_template(&self) -> Option<String> {
        let value = self.file.get("tokenizer.chat_template");
        value.as_ref().and_then(|v| v.as_str()).map(String::from)
    }
}
