//! A model as a GGUF file.

use std::{fmt, path::Path};

use bitnet_kernels::float::rope_frequencies;

use super::{Converted, check_ternary, is_projection, read};
use crate::{
    Error, ModelFile, TensorType,
    error::{Fault, Place},
    gguf::{END_TOKENS, GgufStream, GgufWriter, POOLING_TYPE, Value},
    hf::{HfText, SAMPLING},
    model::{
        Activation, Family, LayerRole, MemoryModel, ModelDescription, Names, Pieces, Pooling,
        Projection, Role, RopeScaling, Tensor, TensorEntry, TensorSource, interleaved_row,
    },
    tokenizer::{ByteLevelBpe, TokenizerFile, pieces, write_special},
};

pub(super) fn write(model: &ModelFile, ty: TensorType, path: &Path) -> Result<Converted, Error> {
    let source = model.source();
    let description = source.description();
    if ty.is_ternary() {
        check_ternary(source, path)?;
    }
    let arch = architecture(description).map_err(|fault| fault.within(path))?;
    let mut writer = GgufWriter::default();
    metadata(&mut writer, arch, description).map_err(|fault| fault.within(path))?;
    let mut warnings = tokenizer(&mut writer, model)?;
    let ends = description.special_tokens.eos.len();
    if ends > END_TOKENS.len() {
        let most = END_TOKENS.len();
        warnings.push(format!(
            "{ends} tokens end an answer, of which GGUF's keys name {most}"
        ));
    }
    warnings.extend(pooling(&mut writer, arch, &description.pooling.value));

    let factors = rope_factors(description);
    for entry in source.tensors() {
        let ty = type_of(entry, ty);
        writer.tensor(&entry.role.name(Names::Gguf), &entry.shape, ty);
    }
    if let Some(factors) = &factors {
        writer.tensor("rope_freqs.weight", &[factors.len()], TensorType::F32);
    }
    let mut out = writer.create(path)?;
    for entry in source.tensors() {
        let tensor = read(source, entry.role, path)?;
        let is_turned = arch == "llama" && is_query_or_key(entry.role);
        let head_dim = is_turned.then_some(description.shape.head_dim);
        write_tensor(&mut out, tensor, type_of(entry, ty), head_dim)?;
    }
    if let Some(factors) = &factors {
        out.floats(factors)?;
    }
    out.finish()?;
    if ty == TensorType::I2S {
        warnings.push("I2_S is read by microsoft/BitNet's builds for x86, not by llama.cpp".into());
    }
    Ok(Converted {
        tensors: source.tensors().len() + usize::from(factors.is_some()),
        bytes: path.metadata().map_err(Error::read(path))?.len(),
        warnings,
    })
}

/// The architecture whose readers run this block with this activation.
fn architecture(description: &ModelDescription) -> Result<&'static str, Fault> {
    let (family, activation) = (description.family.value, description.activation.value);
    let norms = description.norms.value;
    match (family, activation, norms.sub_norms) {
        (Family::BitNet, Activation::Relu2, true) => Ok("bitnet-b1.58"),
        (Family::BitNet | Family::OneBitLlm, Activation::Silu, true) => Ok("bitnet"),
        (Family::Llama, Activation::Silu, false) if !norms.query_key_norms => Ok("llama"),
        (Family::Qwen3, Activation::Silu, false) if norms.query_key_norms => Ok("qwen3"),
        _ => {
            let reason =
                format!("no architecture of GGUF is {family} with {activation:?} and these norms");
            Err(Fault::unsupported(Place::File, reason, "choose hf"))
        }
    }
}

fn metadata(
    writer: &mut GgufWriter,
    arch: &str,
    description: &ModelDescription,
) -> Result<(), Fault> {
    writer.key("general.architecture", &arch.into());
    let shape = &description.shape;
    let sizes = [
        ("vocab_size", shape.vocab_size),
        ("context_length", shape.max_position_embeddings),
        ("embedding_length", shape.hidden_size),
        ("block_count", shape.num_hidden_layers),
        ("feed_forward_length", shape.intermediate_size),
        ("rope.dimension_count", shape.head_dim),
        ("attention.head_count", shape.num_attention_heads),
        ("attention.head_count_kv", shape.num_key_value_heads),
        ("attention.key_length", shape.head_dim),
        ("attention.value_length", shape.head_dim),
    ];
    for (key, size) in sizes {
        // Sizes are below 2^31, see `ModelShape::check`.
        writer.key(&format!("{arch}.{key}"), &Value::U32(size as u32));
    }
    let mut float = |key: &str, value: f64| {
        writer.key(&format!("{arch}.{key}"), &Value::F32(value as f32));
    };
    float(
        "attention.layer_norm_rms_epsilon",
        description.norms.value.eps,
    );
    float("rope.freq_base", description.rope.value.theta);
    match &description.rope.value.scaling {
        // The last two are tensors.
        None | Some(RopeScaling::Llama3 { .. } | RopeScaling::Factors { .. }) => {}
        Some(RopeScaling::Linear { factor }) => {
            float("rope.scaling.factor", *factor);
            writer.key(&format!("{arch}.rope.scaling.type"), &"linear".into());
        }
        Some(RopeScaling::Yarn {
            factor,
            original_max_position_embeddings,
            attention_factor,
            beta_fast,
            beta_slow,
        }) => {
            if attention_factor.is_some() {
                let reason = "YaRN with an attention_factor of its own";
                let place = Place::Key("rope_scaling.attention_factor".into());
                return Err(Fault::unsupported(place, reason, "choose hf"));
            }
            float("rope.scaling.factor", *factor);
            float("rope.scaling.yarn_beta_fast", *beta_fast);
            float("rope.scaling.yarn_beta_slow", *beta_slow);
            writer.key(&format!("{arch}.rope.scaling.type"), &"yarn".into());
            let original = u32::try_from(*original_max_position_embeddings);
            let original =
                original.map_err(|error| Fault::key("original_max_position_embeddings", error))?;
            let key = format!("{arch}.rope.scaling.original_context_length");
            writer.key(&key, &Value::U32(original));
        }
    }
    Ok(())
}

/// How texts become vectors, as llama.cpp numbers it. Says what its keys have no number for.
fn pooling(writer: &mut GgufWriter, arch: &str, pooling: &Pooling) -> Option<String> {
    let number = match pooling {
        Pooling::Mean => 1,
        Pooling::Last => 3,
        Pooling::Unsaid => return None,
        Pooling::Other(words) => return Some(format!("the pooling is not written: {words}")),
    };
    writer.key(&format!("{arch}.{POOLING_TYPE}"), &Value::U32(number));
    None
}

/// A GGUF file's own tokenizer is copied, a `tokenizer.json` becomes keys; and how the model's authors sample from it. Says
/// what is missing otherwise.
fn tokenizer(writer: &mut GgufWriter, model: &ModelFile) -> Result<Vec<String>, Error> {
    match model {
        ModelFile::HuggingFace(hf) => text_of(writer, hf.text(), hf.description()),
        ModelFile::Gguf(model) => {
            let keys = model.file().metadata();
            let kept = |key: &str| key.starts_with("tokenizer.") || key.starts_with(SAMPLING);
            for (key, value) in keys.filter(|(key, _)| kept(key)) {
                writer.key(key, &value);
            }
            Ok(Vec::new())
        }
        ModelFile::Memory(model) => pieces_of(writer, model),
    }
}

/// The keys of what a folder has.
fn text_of(
    writer: &mut GgufWriter,
    text: &HfText,
    description: &ModelDescription,
) -> Result<Vec<String>, Error> {
    text.generation_config().write_gguf(writer);
    if let Some(template) = &description.chat_template {
        writer.key("tokenizer.chat_template", &template.as_str().into());
    }
    let special = &description.special_tokens;
    // Ids have their meaning without it, too.
    let mut without = |reason: &dyn fmt::Display| {
        write_special(special, writer);
        Ok(vec![format!("the tokenizer is not written: {reason}")])
    };
    let json = match TokenizerFile::of_folder(text) {
        Ok(TokenizerFile::Json(json)) => json,
        Ok(TokenizerFile::SentencePiece(pieces)) => {
            pieces.write_gguf(special, writer);
            return Ok(Vec::new());
        }
        Ok(_) => return Ok(Vec::new()),
        Err(error) => return without(&error),
    };
    match ByteLevelBpe::from_json(&json, description.shape.vocab_size) {
        Ok(bpe) => {
            bpe.write_gguf(special, writer);
            Ok(Vec::new())
        }
        Err(reason) => without(&reason),
    }
}

/// The keys of what a model in memory has.
fn pieces_of(writer: &mut GgufWriter, model: &MemoryModel) -> Result<Vec<String>, Error> {
    let description = model.description();
    let json = match model.pieces() {
        None => return Ok(vec!["the tokenizer is not written: there is none".into()]),
        Some(Pieces::Bytes(pieces)) => {
            pieces::write_gguf(pieces, writer);
            return Ok(Vec::new());
        }
        Some(Pieces::Files(text)) => return text_of(writer, text, description),
        Some(Pieces::Json(json)) => json,
    };
    match ByteLevelBpe::from_json(json.as_bytes(), description.shape.vocab_size) {
        Ok(bpe) => {
            bpe.write_gguf(&description.special_tokens, writer);
            let warning = "no token ends a text: llama.cpp takes the one with id 11 for it";
            let ends = !description.special_tokens.eos.is_empty();
            Ok((!ends).then(|| warning.into()).into_iter().collect())
        }
        Err(reason) => Ok(vec![format!("the tokenizer is not written: {reason}")]),
    }
}

fn is_query_or_key(role: Role) -> bool {
    let turned = [Projection::Query, Projection::Key].map(LayerRole::Projection);
    matches!(role, Role::Layer(_, role) if turned.contains(&role))
}

/// Norms are F32, the embedding and the head F16; in a file of F32 all is.
fn type_of(entry: &TensorEntry, ty: TensorType) -> TensorType {
    if entry.shape.len() == 1 || ty == TensorType::F32 {
        TensorType::F32
    } else if is_projection(entry.role) {
        ty
    } else {
        TensorType::F16
    }
}

/// Writes a tensor, with its rows in pairs where a head's size is given.
fn write_tensor(
    out: &mut GgufStream<'_>,
    tensor: Tensor,
    ty: TensorType,
    head_dim: Option<usize>,
) -> Result<(), Error> {
    let tensor = match head_dim {
        Some(head_dim) => with_pairs(tensor, head_dim),
        None => tensor,
    };
    match &tensor {
        Tensor::Ternary(ternary) if ty.is_ternary() => out.ternary(ternary),
        Tensor::Ternary(ternary) => out.floats(&ternary.to_f32()),
        Tensor::Float { values, .. } => out.floats(values),
    }
}

/// The rows of each head from halves to pairs, see `rope_rows`.
fn with_pairs(tensor: Tensor, head_dim: usize) -> Tensor {
    let count = match &tensor {
        Tensor::Ternary(ternary) => ternary.rows(),
        Tensor::Float { shape, .. } => shape[0],
    };
    // Row `interleaved_row(i)` of the file is row `i`.
    let mut rows = vec![0; count];
    for row in 0..count {
        rows[interleaved_row(row, head_dim)] = row;
    }
    match tensor {
        Tensor::Ternary(ternary) => Tensor::Ternary(ternary.select_rows(&rows)),
        Tensor::Float { shape, values } => {
            let cols = shape[1];
            let of = |row: &usize| values[row * cols..][..cols].iter().copied();
            let values = rows.iter().flat_map(of).collect();
            Tensor::Float { shape, values }
        }
    }
}

/// What each frequency is divided by, where that is written as a tensor: a file's own factors, and Llama 3.1's scaling.
fn rope_factors(description: &ModelDescription) -> Option<Vec<f32>> {
    let rope = &description.rope.value;
    match &rope.scaling {
        Some(RopeScaling::Factors { factors }) => Some(factors.clone()),
        Some(RopeScaling::Llama3 { .. }) => {
            let of = |scaling| rope_frequencies(rope.theta, description.shape.head_dim, scaling).0;
            let pairs = of(None).into_iter().zip(of(rope.scaling.as_ref()));
            Some(
                pairs
                    .map(|(plain, scaled)| (plain / scaled) as f32)
                    .collect(),
            )
        }
        _ => None,
    }
}
