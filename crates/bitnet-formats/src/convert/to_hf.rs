//! A model as a folder of transformers.

mod text;

pub use text::write_text;

use std::{
    fs,
    path::{Path, PathBuf},
};

use half::{bf16, f16};
use serde_json::{Value, json};

use super::{Converted, check_ternary, is_projection, read};
use crate::{
    Error, ModelFile, ScaleDirection,
    error::{Fault, Place},
    hf::{decimal, end_tokens, pack_rows},
    model::{
        Activation, ActivationFormat, Family, ModelDescription, Names, RopeScaling, Tensor,
        TensorSource, WeightFormat,
    },
    safetensors::{Dtype, SINGLE_FILE, SafetensorsWriter},
};

/// How projections are stored.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Projections {
    /// u8 and a `weight_scale`.
    Packed,
    /// -1, 0, 1 as BF16 and a `weight_scale`.
    Codes,
    /// Floats.
    Floats,
}

pub(super) fn write(model: &ModelFile, packed: bool, path: &Path) -> Result<Converted, Error> {
    let source = model.source();
    let description = source.description();
    check(description, path)?;
    if packed {
        check_ternary(source, path)?;
    }
    let form = match (packed, description.weights.value) {
        (true, _) => Projections::Packed,
        (false, WeightFormat::OnlineAbsMean | WeightFormat::Float) => Projections::Floats,
        // Codes whose inputs are int8: floats alone would say neither.
        (false, _) if description.activations.value == ActivationFormat::Int8 => Projections::Codes,
        (false, _) => Projections::Floats,
    };
    let parent = path.parent().filter(|parent| *parent != Path::new(""));
    let folder = tempfile::Builder::new()
        .prefix(".convert")
        .tempdir_in(parent.unwrap_or(Path::new(".")));
    let folder = folder.map_err(Error::write(path))?;
    let whole = one_type(source, form, path)?;
    let mut converted = tensors(
        source,
        (form, whole),
        &folder.path().join(SINGLE_FILE),
        path,
    )?;

    let mut config = config(description, form);
    if whole == Some(Dtype::F32) {
        config["torch_dtype"] = "float32".into();
    }
    text::write_json(&folder.path().join("config.json"), &config)?;
    converted
        .warnings
        .extend(text::write(model, folder.path())?);
    if form == Projections::Packed && description.activations.value != ActivationFormat::Int8 {
        let warning = "the classes of packed codes quantise inputs to int8; the files do not say that this model does";
        converted.warnings.push(warning.into());
    }
    let files = fs::read_dir(folder.path()).map_err(Error::read(path))?;
    converted.bytes = files
        .flatten()
        .filter_map(|file| file.metadata().ok().filter(fs::Metadata::is_file))
        .map(|file| file.len())
        .sum();
    publish(folder, path)?;
    Ok(converted)
}

/// Gives the folder its name, with the permissions of a common one.
fn publish(folder: tempfile::TempDir, path: &Path) -> Result<(), Error> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(folder.path(), mode).map_err(Error::write(path))?;
    }
    let temporary: PathBuf = folder.keep();
    fs::rename(&temporary, path).map_err(Error::write(path))
}

/// Whether `weight_scale`s multiply or divide: as the model's own do, so that their bits stay. Only the class whose scales
/// multiply takes codes that are not packed.
fn direction(description: &ModelDescription, form: Projections) -> ScaleDirection {
    match description.weights.value {
        WeightFormat::Codes { direction } if form == Projections::Packed => direction,
        WeightFormat::OnlineAbsMean => ScaleDirection::Divide,
        _ => ScaleDirection::Multiply,
    }
}

/// The type of all tensors where codes are written as floats: transformers multiplies them by what the other tensors made,
/// and asks for one type of both. The smallest that holds every scale and every other tensor.
fn one_type(
    source: &dyn TensorSource,
    form: Projections,
    path: &Path,
) -> Result<Option<Dtype>, Error> {
    if form != Projections::Codes {
        return Ok(None);
    }
    for entry in source.tensors() {
        let values = match read(source, entry.role, path)? {
            Tensor::Ternary(ternary) if is_projection(entry.role) => {
                let turned = ternary.direction() != ScaleDirection::Multiply;
                let scale = ternary.single_scale().unwrap_or(1.0);
                vec![if turned { 1.0 / scale } else { scale }]
            }
            tensor => tensor.to_f32(),
        };
        if exact_type(&values) != Dtype::Bf16 {
            return Ok(Some(Dtype::F32));
        }
    }
    Ok(Some(Dtype::Bf16))
}

/// Writes the safetensors file; `path` is what errors name.
fn tensors(
    source: &dyn TensorSource,
    (form, whole): (Projections, Option<Dtype>),
    file: &Path,
    path: &Path,
) -> Result<Converted, Error> {
    let has_codes = |role| form != Projections::Floats && is_projection(role);
    let mut writer = SafetensorsWriter::default();
    let mut count = 0;
    let type_of = |values: &[f32]| whole.unwrap_or_else(|| exact_type(values));
    for entry in source.tensors() {
        let name = entry.role.name(Names::HuggingFace);
        count += 1;
        if !has_codes(entry.role) {
            // The type that holds it exactly is known when it was read: floats are read twice.
            let values = source.read(entry.role)?.to_f32();
            writer.tensor(&name, type_of(&values), &entry.shape);
            continue;
        }
        let [rows, cols] = [entry.shape[0], entry.shape[1]];
        if form == Projections::Codes {
            writer.tensor(&name, type_of(&[]), &entry.shape);
        } else if rows.is_multiple_of(4) {
            writer.tensor(&name, Dtype::U8, &[rows / 4, cols]);
        } else {
            let problem = format!("{rows} rows, expected a multiple of 4 for four codes a byte");
            return Err(Fault::tensor(&name, problem).within(path));
        }
        writer.tensor(&format!("{name}_scale"), whole.unwrap_or(Dtype::F32), &[1]);
        count += 1;
    }
    let mut out = writer.create(file)?;
    for entry in source.tensors() {
        if has_codes(entry.role) {
            let name = entry.role.name(Names::HuggingFace);
            let fault = |problem: &str| Fault::tensor(&name, problem).within(path);
            let Tensor::Ternary(ternary) = read(source, entry.role, path)? else {
                return Err(fault("floats, where other projections are ternary"));
            };
            let Some(scale) = ternary.single_scale() else {
                return Err(fault(
                    "several scales, expected one: choose hf, or a GGUF type with groups",
                ));
            };
            let turned = ternary.direction() != direction(source.description(), form);
            let scale = if turned { 1.0 / scale } else { scale };
            let codes = || {
                ternary
                    .codes()
                    .into_iter()
                    .map(f32::from)
                    .collect::<Vec<_>>()
            };
            out.bytes(&match form {
                Projections::Packed => pack_rows(&ternary),
                Projections::Codes | Projections::Floats => encode(&codes(), type_of(&[])),
            })?;
            out.bytes(&encode(&[scale], whole.unwrap_or(Dtype::F32)))?;
        } else {
            let values = source.read(entry.role)?.to_f32();
            out.bytes(&encode(&values, type_of(&values)))?;
        }
    }
    out.finish()?;
    Ok(Converted {
        tensors: count,
        ..Converted::default()
    })
}

/// The smallest type that holds all values exactly.
fn exact_type(values: &[f32]) -> Dtype {
    let same = |v: f32, other: f32| v.to_bits() == other.to_bits();
    if values.iter().all(|v| same(*v, bf16::from_f32(*v).to_f32())) {
        Dtype::Bf16
    } else if values.iter().all(|v| same(*v, f16::from_f32(*v).to_f32())) {
        Dtype::F16
    } else {
        Dtype::F32
    }
}

fn encode(values: &[f32], dtype: Dtype) -> Vec<u8> {
    match dtype {
        Dtype::Bf16 => values
            .iter()
            .flat_map(|v| bf16::from_f32(*v).to_le_bytes())
            .collect(),
        Dtype::F16 => values
            .iter()
            .flat_map(|v| f16::from_f32(*v).to_le_bytes())
            .collect(),
        _ => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
    }
}

/// `config.json`. 1bitLLM's block is BitNet's with SiLU, whose class is in transformers.
fn config(description: &ModelDescription, form: Projections) -> Value {
    let (class, model_type) = match description.family.value {
        Family::BitNet | Family::OneBitLlm => ("BitNetForCausalLM", "bitnet"),
        Family::Llama => ("LlamaForCausalLM", "llama"),
        Family::Qwen3 => ("Qwen3ForCausalLM", "qwen3"),
    };
    let activation = match description.activation.value {
        Activation::Relu2 => "relu2",
        Activation::Silu => "silu",
    };
    let (shape, tokens) = (&description.shape, &description.special_tokens);
    let mut config = json!({
        "architectures": [class],
        "model_type": model_type,
        "vocab_size": shape.vocab_size,
        "hidden_size": shape.hidden_size,
        "intermediate_size": shape.intermediate_size,
        "num_hidden_layers": shape.num_hidden_layers,
        "num_attention_heads": shape.num_attention_heads,
        "num_key_value_heads": shape.num_key_value_heads,
        "head_dim": shape.head_dim,
        "max_position_embeddings": shape.max_position_embeddings,
        "hidden_act": activation,
        "rms_norm_eps": decimal(description.norms.value.eps),
        "rope_theta": decimal(description.rope.value.theta),
        "rope_scaling": description.rope.value.scaling.as_ref().map(rope_scaling),
        "tie_word_embeddings": description.tied_head.value,
        "attention_bias": false,
        "bos_token_id": tokens.bos,
        "eos_token_id": end_tokens(tokens),
        "pad_token_id": tokens.pad,
        "torch_dtype": "bfloat16",
    });
    let mode = match (form, description.weights.value) {
        (Projections::Floats, WeightFormat::OnlineAbsMean) => "online",
        (Projections::Floats, _) => return config,
        (Projections::Packed | Projections::Codes, _) => "offline",
    };
    let multiplies = mode == "online" || direction(description, form) == ScaleDirection::Multiply;
    config["quantization_config"] = json!({
        "quant_method": "bitnet",
        "linear_class": if multiplies { "autobitlinear" } else { "bitlinear" },
        "quantization_mode": mode,
    });
    config
}

fn rope_scaling(scaling: &RopeScaling) -> Value {
    match scaling {
        RopeScaling::Linear { factor } => json!({"rope_type": "linear", "factor": factor}),
        RopeScaling::Llama3 {
            factor,
            low_freq_factor,
            high_freq_factor,
            original_max_position_embeddings,
        } => json!({
            "rope_type": "llama3",
            "factor": factor,
            "low_freq_factor": low_freq_factor,
            "high_freq_factor": high_freq_factor,
            "original_max_position_embeddings": original_max_position_embeddings,
        }),
        RopeScaling::Yarn {
            factor,
            original_max_position_embeddings,
            attention_factor,
            beta_fast,
            beta_slow,
        } => {
            let mut yarn = json!({
                "rope_type": "yarn",
                "factor": factor,
                "original_max_position_embeddings": original_max_position_embeddings,
                "beta_fast": beta_fast,
                "beta_slow": beta_slow,
            });
            if let Some(attention_factor) = attention_factor {
                yarn["attention_factor"] = json!(attention_factor);
            }
            yarn
        }
        // Refused before: see `check`.
        RopeScaling::Factors { .. } => Value::Null,
    }
}

/// Refuses what `config.json` has no words for.
fn check(description: &ModelDescription, path: &Path) -> Result<(), Error> {
    let fault = |key: &str, reason: &str| {
        let place = Place::Key(key.into());
        Err(Fault::unsupported(place, reason, "choose a GGUF format").within(path))
    };
    if matches!(
        description.rope.value.scaling,
        Some(RopeScaling::Factors { .. })
    ) {
        return fault(
            "rope_scaling",
            "RoPE has a factor for each frequency, of which config.json knows no form",
        );
    }
    if description.norms.value.projection_norms {
        return fault(
            "use_rms_norm",
            "projections have norms of their own, whose names classes do not agree on",
        );
    }
    Ok(())
}
