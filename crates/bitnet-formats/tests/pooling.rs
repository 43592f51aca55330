//! How a model's files say that texts become vectors, and that it goes with the model.

mod common;

use std::{fs, path::Path};

use bitnet_formats::{
    ModelFile, convert,
    gguf::{GgufFile, GgufModel, GgufWriter, Value},
    model::{Pooling, TensorSource},
};
use common::{Counting, Refusals, copy, refuse_folder};
use serde_json::json;
use tempfile::TempDir;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A golden folder with these files beside its tensors.
fn with(files: &[(&str, serde_json::Value)]) -> TempDir {
    let folder = copy("bitnet");
    for (name, json) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, json.to_string()).unwrap();
    }
    folder
}

fn said(folder: &Path) -> (Pooling, String) {
    let model = ModelFile::open(folder).unwrap();
    let pooling = model.source().description().pooling.clone();
    (pooling.value, pooling.evidence)
}

fn other(words: &str) -> Pooling {
    Pooling::Other(words.into())
}

const FILE: &str = "1_Pooling/config.json";

#[test]
fn folders_say_it_beside_their_tensors() {
    for (config, expected, evidence) in [
        (
            json!({"pooling_mode_lasttoken": true, "pooling_mode_mean_tokens": false, "include_prompt": true}),
            Pooling::Last,
            "1_Pooling/config.json, lasttoken",
        ),
        (
            json!({"pooling_mode_mean_tokens": true}),
            Pooling::Mean,
            "1_Pooling/config.json, mean",
        ),
        (
            json!({"pooling_mode": "lasttoken"}),
            Pooling::Last,
            "1_Pooling/config.json, lasttoken",
        ),
        (json!({"pooling_mode": ["mean"]}), Pooling::Mean, "mean"),
        (json!({"pooling_mode_cls_token": true}), other("cls"), FILE),
        (
            json!({"pooling_mode_mean_tokens": true, "pooling_mode_max_tokens": true}),
            other("mean and max"),
            FILE,
        ),
        (
            json!({"pooling_mode": "weightedmean"}),
            other("weightedmean"),
            FILE,
        ),
        (json!({}), Pooling::Unsaid, "without a mode"),
    ] {
        let (pooling, from) = said(with(&[(FILE, config.clone())]).path());
        assert_eq!(pooling, expected, "{config}");
        assert!(from.contains(evidence), "{config}: {from}");
    }
    let (pooling, from) = said(with(&[]).path());
    assert_eq!(
        (pooling, &from[..]),
        (Pooling::Unsaid, "no 1_Pooling/config.json")
    );
}

#[test]
fn modules_say_where_and_what_else() {
    let module = |class: &str, path: &str| json!({"type": format!("sentence_transformers.models.{class}"), "path": path});
    let transformer = || module("Transformer", "");
    let mean = || {
        (
            "vectors/config.json",
            json!({"pooling_mode_mean_tokens": true}),
        )
    };
    for (modules, expected) in [
        (
            json!([
                transformer(),
                module("Pooling", "vectors"),
                module("Normalize", "2_Normalize")
            ]),
            Pooling::Mean,
        ),
        (
            json!([
                transformer(),
                module("Pooling", "vectors"),
                module("Dense", "2_Dense")
            ]),
            other("another part of the model, Dense, makes the vector"),
        ),
        (json!([transformer()]), Pooling::Unsaid),
        // The file that it names is not there.
        (json!([module("Pooling", "absent")]), Pooling::Unsaid),
    ] {
        let folder = with(&[("modules.json", modules.clone()), mean()]);
        assert_eq!(said(folder.path()).0, expected, "{modules}");
    }
    let mut refusals = Refusals::default();
    for (file, json, expected) in [
        (
            "modules.json",
            json!([module("Pooling", "../x")]),
            "key `path`: \"../x\", expected a folder of the model's",
        ),
        (
            "modules.json",
            json!([module("Pooling", "/etc")]),
            "key `path`: \"/etc\", expected a folder",
        ),
        (
            "modules.json",
            json!([{"path": ""}]),
            "missing field `type`",
        ),
        (
            "modules.json",
            json!({"type": "Pooling"}),
            "expected one item, a list of at most 64, or null",
        ),
        (
            FILE,
            json!({"pooling_mode_lasttoken": 1}),
            "invalid type: integer `1`, expected a boolean",
        ),
        (FILE, json!(3), "invalid type: integer `3`"),
    ] {
        let folder = with(&[(file, json)]);
        refuse_folder(
            &mut refusals,
            expected,
            folder.path(),
            &format!("{file}: "),
            expected,
        );
    }
    // A name of any length, and with any characters, stays on its line.
    let long = json!({"pooling_mode": format!("a\n{}", "x".repeat(2000))});
    let Pooling::Other(words) = said(with(&[(FILE, long)]).path()).0 else {
        panic!("a name that nobody knows")
    };
    assert!(words.starts_with("a\\nx") && words.len() < 100, "{words}");
}

/// The golden of Qwen3 with a key more.
fn gguf(key: Option<Value<'_>>) -> Result<(Pooling, String), bitnet_formats::Error> {
    const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/goldens/gguf/qwen3.gguf");
    let file = GgufFile::open(GOLDEN).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pooled.gguf");
    let mut writer = GgufWriter::default();
    for (name, value) in file.metadata() {
        writer.key(name, &value);
    }
    if let Some(value) = key {
        writer.key("qwen3.pooling_type", &value);
    }
    for tensor in file.tensors() {
        writer.tensor(tensor.name(), &tensor.shape(), tensor.tensor_type());
    }
    let mut out = writer.create(&path).unwrap();
    for tensor in file.tensors() {
        out.bytes(tensor.bytes()).unwrap();
    }
    out.finish().unwrap();
    let pooling = GgufModel::open(&path)?.description().pooling.clone();
    Ok((pooling.value, pooling.evidence))
}

#[test]
fn a_gguf_file_says_it_by_number() {
    for (number, expected) in [
        (0, other("none, a vector for each token")),
        (1, Pooling::Mean),
        (2, other("cls, the first token")),
        (3, Pooling::Last),
        (4, other("rank, a score of two texts")),
        (9, other("9, which is unknown")),
    ] {
        let (pooling, from) = gguf(Some(Value::U32(number))).unwrap();
        assert_eq!(pooling, expected);
        assert_eq!(from, format!("qwen3.pooling_type {number}"));
    }
    let unsaid = (Pooling::Unsaid, "no qwen3.pooling_type".to_owned());
    assert_eq!(gguf(None).unwrap(), unsaid);
    for value in [Value::I32(-1), Value::from("last")] {
        let error = gguf(Some(value)).unwrap_err().to_string();
        assert!(
            error.contains("pooled.gguf: key `qwen3.pooling_type`: ")
                && error.ends_with("expected a number"),
            "{error}"
        );
    }
}

#[test]
fn it_goes_with_the_model_and_what_does_not_is_told() {
    let place = tempfile::tempdir().unwrap();
    for (mode, expected) in [("lasttoken", Pooling::Last), ("mean", Pooling::Mean)] {
        let source = with(&[(FILE, json!({"pooling_mode": mode}))]);
        let mut model = ModelFile::open(source.path()).unwrap();
        for target in ["gguf-f16", "hf", "hf"] {
            let path = place
                .path()
                .join(format!("{mode} {target} {:?}", model.format().len()));
            let warnings = convert(&model, target.parse().unwrap(), &path)
                .unwrap()
                .warnings;
            assert!(
                !warnings.iter().any(|w| w.contains("pooling")),
                "{warnings:?}"
            );
            model = ModelFile::open(&path).unwrap();
            assert_eq!(
                model.source().description().pooling.value,
                expected,
                "{target}"
            );
        }
    }
    let source = with(&[(FILE, json!({"pooling_mode": "cls"}))]);
    let model = ModelFile::open(source.path()).unwrap();
    for target in ["gguf-f16", "hf"] {
        let path = place.path().join(target);
        let warnings = convert(&model, target.parse().unwrap(), &path)
            .unwrap()
            .warnings;
        assert!(
            warnings.contains(&"the pooling is not written: cls".to_owned()),
            "{warnings:?}"
        );
    }
}
