//! What a folder of transformers is written with besides its tensors' values: ends of an answer, types.

use std::{fs, path::Path};

use bitnet_formats::{
    ModelFile, convert,
    safetensors::{Dtype, SafetensorsFile},
};
use serde_json::json;

const GOLDENS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/goldens");

fn to(model: &ModelFile, target: &str, path: &Path) -> ModelFile {
    convert(model, target.parse().unwrap(), path).unwrap();
    ModelFile::open(path).unwrap()
}

/// What ends an answer: one id, several, or none, through every container. A `generation_config.json` that says nothing of
/// it is told, since whoever finds one asks no other file.
#[test]
fn all_ends_of_an_answer_stay() {
    let place = tempfile::tempdir().unwrap();
    let json_of = |path: &Path| -> serde_json::Value {
        serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
    };
    for (case, (generation, config, expected)) in [
        (
            json!({"top_k": 5, "eos_token_id": [2, 7]}),
            json!(3),
            json!([2, 7]),
        ),
        (
            json!({"top_k": 5, "eos_token_id": [7, 2, 3]}),
            json!(3),
            json!([7, 2, 3]),
        ),
        (json!({"top_k": 5, "x": [1]}), json!([2, 7]), json!([2, 7])),
        (
            json!({"top_k": 5, "eos_token_id": null}),
            json!(7),
            json!(7),
        ),
        (json!({"top_k": 5}), json!(null), json!(null)),
    ]
    .into_iter()
    .enumerate()
    {
        let path = |name: &str| place.path().join(format!("{case}-{name}"));
        let folder = path("source");
        fs::create_dir(&folder).unwrap();
        for file in fs::read_dir(format!("{GOLDENS}/hf/bitnet")).unwrap() {
            let file = file.unwrap();
            fs::copy(file.path(), folder.join(file.file_name())).unwrap();
        }
        let mut whole = json_of(&folder.join("config.json"));
        whole["eos_token_id"] = config.clone();
        fs::write(folder.join("config.json"), whole.to_string()).unwrap();
        fs::write(
            folder.join("generation_config.json"),
            generation.to_string(),
        )
        .unwrap();
        let source = ModelFile::open(&folder).unwrap();
        to(&source, "hf", &path("hf"));
        to(
            &to(&source, "gguf-f16", &path("a.gguf")),
            "hf",
            &path("back"),
        );
        for new in [path("hf"), path("back")] {
            let written = json_of(&new.join("generation_config.json"));
            let ends = written
                .get("eos_token_id")
                .unwrap_or(&serde_json::Value::Null);
            assert_eq!(ends, &expected, "{written}");
            assert_eq!(json_of(&new.join("config.json"))["eos_token_id"], expected);
            assert_eq!(written["top_k"], 5);
        }
        // What nobody here knows stays.
        assert_eq!(
            json_of(&path("hf").join("generation_config.json")).get("x"),
            generation.get("x")
        );
    }
}

/// Codes as floats have the type of the scales and of every other tensor, since transformers multiplies by them as they are.
#[test]
fn codes_as_floats_have_one_type() {
    let place = tempfile::tempdir().unwrap();
    for source in ["hf/bitnet", "gguf/bitnet.gguf"] {
        let path = place.path().join(source.replace('/', "-"));
        to(
            &ModelFile::open(format!("{GOLDENS}/{source}")).unwrap(),
            "hf",
            &path,
        );
        let file = SafetensorsFile::open(path.join("model.safetensors")).unwrap();
        let mut types: Vec<Dtype> = file.tensors().map(|tensor| tensor.dtype()).collect();
        types.dedup();
        let [one] = types[..] else {
            panic!("{source}: {types:?}")
        };
        let config = fs::read_to_string(path.join("config.json")).unwrap();
        let config: serde_json::Value = serde_json::from_str(&config).unwrap();
        let named = if one == Dtype::F32 {
            "float32"
        } else {
            "bfloat16"
        };
        assert_eq!(config["torch_dtype"], named, "{source}");
    }
}
