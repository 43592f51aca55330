//! Checkpoint folders that are wrong in one place each: one line that names file and place, no large allocation.

mod common;

use std::fs;

use bitnet_formats::{
    hf::HfModel,
    model::TensorSource,
    safetensors::{Dtype, SafetensorsFile, SafetensorsWriter},
};
use common::{Counting, FOLDERS, Refusals, copy, refuse_folder, table};
use serde_json::{Value, json};
use tempfile::TempDir;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Numbers that overflow when something is added to them or multiplied by them.
const HUGE: [u64; 6] = [
    1 << 32,
    1 << 62,
    (1 << 63) - 1,
    1 << 63,
    u64::MAX - 7,
    u64::MAX,
];

/// Sets `key` or `parent.key` of a configuration; `None` removes it.
fn set(config: &mut Value, key: &str, value: Option<Value>) {
    let (object, key) = match key.split_once('.') {
        Some((parent, key)) => (&mut config[parent], key),
        None => (config, key),
    };
    match value {
        Some(value) => object[key] = value,
        None => {
            object.as_object_mut().unwrap().remove(key);
        }
    }
}

#[test]
fn configurations() {
    let mut refusals = Refusals::default();
    let mut with = |model: &str, key: &str, value: Option<Value>, expected: &str| {
        let folder = copy(model);
        let path = folder.path().join("config.json");
        let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        set(&mut config, key, value.clone());
        fs::write(&path, config.to_string()).unwrap();
        let case = format!("{model} {key} {value:?}");
        refuse_folder(&mut refusals, &case, folder.path(), "", expected);
    };
    for key in "vocab_size hidden_size intermediate_size num_hidden_layers num_attention_heads \
                max_position_embeddings rms_norm_eps hidden_act"
        .split_whitespace()
    {
        with(
            "onebit",
            key,
            None,
            &format!("config.json: key `{key}`: is missing"),
        );
        with(
            "onebit",
            key,
            Some(Value::Null),
            &format!("config.json: key `{key}`: is missing"),
        );
        with(
            "onebit",
            key,
            Some(json!([1])),
            "config.json: the file: invalid type: sequence",
        );
    }
    let sizes = "vocab_size hidden_size intermediate_size num_hidden_layers num_attention_heads num_key_value_heads \
                 head_dim max_position_embeddings";
    for key in sizes.split_whitespace() {
        for value in [json!(0), json!(-1), json!(1.5), json!("32"), json!(1e30)] {
            with("llama-bitlinear", key, Some(value), "config.json: ");
        }
        for huge in HUGE {
            with("llama-bitlinear", key, Some(json!(huge)), "config.json: ");
        }
    }
    for [model, key, value, expected] in table(include_str!("malformed/config.txt")) {
        let value = serde_json::from_str(value).unwrap();
        with(model, key, Some(value), expected);
    }
    assert!(refusals.0 > 150, "{}", refusals.0);
}

#[test]
fn families_that_are_refused_with_their_reason() {
    let mut refusals = Refusals::default();
    for (class, model_type, expected) in [
        (
            "Gemma3ForCausalLM",
            "gemma3_text",
            "Gemma 3: GELU, embeddings times the root of their width",
        ),
        (
            "MiniCPMForCausalLM",
            "minicpm",
            "MiniCPM: scaled embeddings, residuals and logits; use its GGUF",
        ),
        (
            "MistralForCausalLM",
            "mistral",
            "the class \"MistralForCausalLM\" of model_type \"mistral\" is unknown; known are BitNet",
        ),
        ("", "", "the class \"\" of model_type \"\" is unknown"),
    ] {
        let folder = copy("onebit");
        let path = folder.path().join("config.json");
        let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        set(&mut config, "architectures", Some(json!([class])));
        set(&mut config, "model_type", Some(json!(model_type)));
        fs::write(&path, config.to_string()).unwrap();
        refuse_folder(&mut refusals, class, folder.path(), "config.json", expected);
    }
}

#[test]
fn json_files() {
    let mut refusals = Refusals::default();
    let deep = |key: &str| format!("{{\"{key}\":{}", "[".repeat(100_000));
    for file in [
        "config.json",
        "generation_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
    ] {
        let whole = fs::read(format!("{FOLDERS}/bitnet/{file}")).unwrap();
        let cut = whole[..whole.len() / 2].to_vec();
        let binary = vec![0xff; 99];
        let bom = [&b"\xef\xbb\xbf"[..], &whole].concat();
        let twice = [&whole[..], &whole].concat();
        for bytes in [
            vec![],
            cut,
            binary,
            bom,
            twice,
            deep("rope_scaling").into(),
            deep("model").into(),
            b"3".to_vec(),
        ] {
            let folder = copy("bitnet");
            fs::write(folder.path().join(file), bytes).unwrap();
            refuse_folder(
                &mut refusals,
                file,
                folder.path(),
                &format!("{file}: the file: "),
                "",
            );
        }
    }
    // A key twice, of which readers take the first or the last.
    for (file, json, key) in [
        (
            "config.json",
            r#"{"hidden_size":32,"hidden_size":64}"#,
            "hidden_size",
        ),
        (
            "generation_config.json",
            r#"{"top_k":1,"top_k":2}"#,
            "top_k",
        ),
        (
            "tokenizer_config.json",
            r#"{"eos_token":"a","eos_token":"b"}"#,
            "eos_token",
        ),
        (
            "tokenizer.json",
            r#"{"model":{"vocab":{}},"model":{"vocab":{}}}"#,
            "model",
        ),
    ] {
        let folder = copy("bitnet");
        fs::write(folder.path().join(file), json).unwrap();
        let expected = format!("duplicate field `{key}`");
        refuse_folder(
            &mut refusals,
            json,
            folder.path(),
            &format!("{file}: "),
            &expected,
        );
    }
    for (json, expected) in [
        (
            r#"{"model":{"vocab":{"a":48}}}"#,
            "tokenizer.json: key `vocab`: id 48, but the embedding has 48 rows",
        ),
        (
            r#"{"model":{"vocab":{"a":18446744073709551615}}}"#,
            "id 18446744073709551615, but",
        ),
        (
            r#"{"model":{"vocab":{"a":1}},"added_tokens":[{"id":48}]}"#,
            "id 48, but the embedding has 48 rows",
        ),
        (
            r#"{"model":{"vocab":{"a":-1}}}"#,
            "invalid value: integer `-1`",
        ),
        (r#"{"model":{"vocab":{"a":"b"}}}"#, "invalid type: string"),
        (
            r#"{"model":{"vocab":3}}"#,
            "expected an object of token ids, or a list of tokens",
        ),
        (r#"{"added_tokens":[]}"#, "missing field `model`"),
        (
            r#"{"model":{"vocab":{}},"added_tokens":[{"content":"a"}]}"#,
            "missing field `id`",
        ),
    ] {
        let folder = copy("bitnet");
        fs::write(folder.path().join("tokenizer.json"), json).unwrap();
        refuse_folder(
            &mut refusals,
            json,
            folder.path(),
            "tokenizer.json: ",
            expected,
        );
    }
    let mut pieces = vec![json!(["a", -1.5]); 49];
    let unigram =
        |pieces: &[Value]| json!({"model": {"type": "Unigram", "vocab": pieces}}).to_string();
    let folder = copy("bitnet");
    let path = folder.path().join("tokenizer.json");
    fs::write(&path, unigram(&pieces)).unwrap();
    refuse_folder(
        &mut refusals,
        "pieces",
        folder.path(),
        "tokenizer.json",
        "id 48, but the embedding has 48 rows",
    );
    pieces.pop();
    fs::write(&path, unigram(&pieces)).unwrap();
    HfModel::open(folder.path()).unwrap();
    assert!(refusals.0 > 40, "{}", refusals.0);
}

/// A golden whose tensors are changed: name, type, shape and bytes; `None` leaves one out.
type Changed = Option<(String, Dtype, Vec<usize>, Vec<u8>)>;

fn change(model: &str, change: impl Fn(&str, Changed) -> Changed) -> TempDir {
    let folder = copy(model);
    let file = SafetensorsFile::open(format!("{FOLDERS}/{model}/model.safetensors")).unwrap();
    let tensors = file.tensors().filter_map(|tensor| {
        let name = tensor.name();
        let same = (
            name.to_string(),
            tensor.dtype(),
            tensor.shape(),
            tensor.bytes().to_vec(),
        );
        change(name, Some(same))
    });
    let tensors: Vec<_> = tensors.collect();
    let mut writer = SafetensorsWriter::default();
    for (name, dtype, shape, _) in &tensors {
        writer.tensor(name, *dtype, shape);
    }
    let mut out = writer
        .create(folder.path().join("model.safetensors"))
        .unwrap();
    for (.., bytes) in &tensors {
        out.bytes(bytes).unwrap();
    }
    out.finish().unwrap();
    folder
}

/// [`change`] of one tensor.
fn change_one(model: &str, tensor: &str, to: impl Fn(Changed) -> Changed) -> TempDir {
    change(
        model,
        |name, same| if name == tensor { to(same) } else { same },
    )
}

#[test]
fn tensors_that_do_not_fit_the_model() {
    let mut refusals = Refusals::default();
    let mut check = |folder: TempDir, expected: &str| {
        refuse_folder(
            &mut refusals,
            expected,
            folder.path(),
            "model.safetensors: ",
            expected,
        );
    };
    HfModel::open(change("bitnet", |_, same| same).path()).unwrap();
    let down = "model.layers.1.mlp.down_proj.weight";
    let missing = |name: &str| change_one("bitnet", name, |_| None);
    check(
        missing(down),
        "tensor `model.layers.1.mlp.down_proj.weight`: is missing, expected from",
    );
    check(
        missing("model.norm.weight"),
        "tensor `model.norm.weight`: is missing",
    );
    check(
        missing("model.layers.1.mlp.ffn_sub_norm.weight"),
        "ffn_sub_norm.weight`: is missing",
    );
    check(
        missing("model.layers.0.self_attn.attn_sub_norm.weight"),
        "ffn_sub_norm.weight`: is there, but",
    );
    let no_scale = missing("model.layers.1.mlp.down_proj.weight_scale");
    check(
        no_scale,
        "tensor `model.layers.1.mlp.down_proj.weight`: has no weight_scale, but other projections have one",
    );
    let rename = |name: &str, to: &'static str| {
        change_one("bitnet", name, |same| {
            same.map(|(_, dtype, shape, bytes)| (to.into(), dtype, shape, bytes))
        })
    };
    check(
        rename("model.norm.weight", "model.norm.bias"),
        "tensor `model.norm.bias`: biases are not supported",
    );
    check(
        rename("model.norm.weight", "model.layers.0.x.weight"),
        "the name is unknown, and with it",
    );
    check(
        rename("model.norm.weight", "model.layers.2.input_layernorm.weight"),
        "",
    );
    check(rename("model.norm.weight", "norm.weight_scale"), "");
    check(
        rename("model.norm.weight", "layers.0.input_layernorm.weight"),
        "has the same place in the model, expected one of them",
    );
    let retype = |model: &str, name: &str, dtype: Dtype, shape: &'static [usize]| {
        change_one(model, name, |same| {
            let (name, ..) = same?;
            let bytes = vec![0; shape.iter().product::<usize>() * dtype.bytes() as usize];
            Some((name, dtype, shape.into(), bytes))
        })
    };
    check(
        retype("bitnet", down, Dtype::U8, &[8, 49]),
        "shape [8, 49], expected [8, 48]",
    );
    check(
        retype("bitnet", down, Dtype::U8, &[32, 48]),
        "shape [32, 48], expected [8, 48]",
    );
    check(
        retype("bitnet", down, Dtype::I8, &[8, 48]),
        "the type I8 is not expected here",
    );
    check(
        retype("bitnet", "model.norm.weight", Dtype::U8, &[32]),
        "the type U8 is not expected here; save it as F32",
    );
    check(
        retype("bitnet", "model.norm.weight", Dtype::F64, &[32]),
        "the type F64 is not expected here",
    );
    check(
        retype("bitnet", "model.norm.weight", Dtype::F32, &[31]),
        "shape [31], expected [32]",
    );
    check(
        retype("bitnet", "model.norm.weight", Dtype::F32, &[1, 32]),
        "shape [1, 32], expected [32]",
    );
    check(
        retype("bitnet", "model.embed_tokens.weight", Dtype::U8, &[12, 32]),
        "the type U8 is not expected here",
    );
    assert!(refusals.0 >= 18, "{}", refusals.0);
}

/// A folder may be whole and a tensor's content wrong: that shows when the tensor is read.
#[test]
fn contents_that_are_no_codes_or_scales() {
    let mut refusals = Refusals::default();
    let name = "model.layers.1.mlp.down_proj.weight";
    let scale = "model.layers.1.mlp.down_proj.weight_scale";
    let mut check = |folder: TempDir, expected: &str| {
        let model = HfModel::open(folder.path()).unwrap();
        let entry = model
            .tensors()
            .iter()
            .find(|entry| entry.name == name)
            .unwrap();
        refusals.refused(
            expected,
            "model.safetensors: tensor `",
            model.read(entry.role),
            expected,
        );
    };
    let replace = |model: &str, name: &str, dtype: Dtype, bytes: Vec<u8>| {
        let shape = vec![bytes.len() / dtype.bytes() as usize];
        change_one(model, name, |same| {
            let (name, _, old, _) = same?;
            let shape = if shape.len() == old.len() {
                shape.clone()
            } else {
                old
            };
            Some((name, dtype, shape, bytes.clone()))
        })
    };
    let bytes = |values: &[f32]| {
        values
            .iter()
            .flat_map(|v| v.to_le_bytes())
            .collect::<Vec<_>>()
    };
    for (value, expected) in [
        (
            f32::NAN,
            "scale 0 is NaN, expected a finite number that is not 0",
        ),
        (f32::INFINITY, "scale 0 is inf"),
        (f32::NEG_INFINITY, "scale 0 is -inf"),
    ] {
        for model in ["bitnet", "bitnet-unpacked", "llama-bitlinear"] {
            check(replace(model, scale, Dtype::F32, bytes(&[value])), expected);
        }
    }
    check(
        replace("llama-bitlinear", scale, Dtype::F32, bytes(&[0.0])),
        "scale 0 is 0, expected",
    );
    check(
        replace("llama-bitlinear", scale, Dtype::F32, bytes(&[1.0, 1.0])),
        "2 elements, expected 1",
    );
    check(
        replace("bitnet", scale, Dtype::F32, vec![]),
        "0 elements, expected 1",
    );
    check(
        replace("bitnet", scale, Dtype::I32, vec![1, 0, 0, 0]),
        "I32 where floats are expected",
    );
    let mut codes = vec![0b01_01_01_01; 8 * 48];
    codes[48 + 5] = 0b01_11_01_01;
    check(
        replace("bitnet", name, Dtype::U8, codes),
        "row 17, column 5 holds the code 2, expected -1, 0 or 1",
    );
    let mut floats = vec![1.0; 32 * 48];
    floats[48 + 5] = 0.5;
    check(
        replace("bitnet-unpacked", name, Dtype::F32, bytes(&floats)),
        "0.5 at row 1, column 5, expected -1, 0 or 1 beside a weight_scale",
    );
    floats[48 + 5] = f32::NAN;
    check(
        replace("bitnet-unpacked", name, Dtype::F32, bytes(&floats)),
        "NaN at row 1, column 5",
    );
    assert!(refusals.0 == 16, "{}", refusals.0);
}
