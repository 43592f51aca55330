//! GGUF files that are right, of models that are not: one line that names the key or tensor.

mod common;

use bitnet_formats::{
    Error, FileBytes,
    gguf::{Array, GgufFile, GgufModel, GgufWriter, Value, ValueType},
    model::TensorSource,
};
use common::{Counting, Refusals, table};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/goldens/gguf/qwen3.gguf");

/// The golden of Qwen3 with one key replaced, removed or added, or one tensor renamed or left out.
fn changed(
    key: Option<(&str, Option<Value<'_>>)>,
    tensor: Option<(&str, Option<&str>)>,
) -> Result<GgufModel, Error> {
    let file = GgufFile::open(GOLDEN).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bad.gguf");
    let mut writer = GgufWriter::default();
    for (name, value) in file.metadata() {
        if key.as_ref().is_none_or(|(changed, _)| *changed != name) {
            writer.key(name, &value);
        }
    }
    if let Some((name, Some(value))) = &key {
        writer.key(name, value);
    }
    let new_name = |name: &str| match tensor {
        Some((changed, to)) if changed == name => to.map(String::from),
        _ => Some(name.into()),
    };
    let tensors: Vec<_> = file
        .tensors()
        .filter_map(|t| Some((new_name(t.name())?, t)))
        .collect();
    for (name, tensor) in &tensors {
        writer.tensor(name, &tensor.shape(), tensor.tensor_type());
    }
    let mut out = writer.create(&path).unwrap();
    for (_, tensor) in &tensors {
        out.bytes(tensor.bytes()).unwrap();
    }
    out.finish().unwrap();
    GgufModel::open(&path)
}

#[test]
fn metadata_and_tensors_that_contradict_each_other() {
    changed(None, None).unwrap();
    let mut refusals = Refusals::default();
    for [name, ty, value, expected] in table(include_str!("malformed/gguf_keys.txt")) {
        let number = || value.parse().unwrap();
        let new = match ty {
            "-" => None,
            "str" => Some(Value::from(value)),
            "u32" => Some(Value::U32(value.parse().unwrap())),
            "i32" => Some(Value::I32(value.parse().unwrap())),
            "f32" => Some(Value::F32(value.parse().unwrap())),
            "list" => {
                let items = (0..number()).map(|_: u32| Value::from("t"));
                Some(Value::Array(Array::from_values(ValueType::String, items)))
            }
            other => panic!("{other}"),
        };
        let case = format!("{name} {value}");
        refusals.refused(
            &case,
            "bad.gguf: ",
            changed(Some((name, new)), None),
            expected,
        );
    }
    for [name, to, expected] in table(include_str!("malformed/gguf_tensors.txt")) {
        let to = Some(to).filter(|to| !to.is_empty());
        let case = format!("{name} {to:?}");
        refusals.refused(
            &case,
            "bad.gguf: ",
            changed(None, Some((name, to))),
            expected,
        );
    }
    assert_eq!(refusals.0, 57);
}

/// A file may be whole and a tensor's content wrong: that shows when the tensor is read.
#[test]
fn scales_that_are_nan() {
    let whole = std::fs::read(GOLDEN).unwrap();
    let file = GgufFile::open(GOLDEN).unwrap();
    let name = "blk.0.ffn_up.weight";
    let before = file.tensors().take_while(|tensor| tensor.name() != name);
    let padded = |bytes: &[u8]| bytes.len().next_multiple_of(32);
    let offset: usize = before.map(|tensor| padded(tensor.bytes())).sum();
    let data: usize = file.tensors().map(|tensor| padded(tensor.bytes())).sum();
    let mut bytes = whole;
    let start = bytes.len() - data + offset;
    bytes[start..][..2].copy_from_slice(&[0, 0x7e]);
    let file = GgufFile::from_bytes(FileBytes::from_vec("bad.gguf", bytes)).unwrap();
    let model = GgufModel::from_file(file).unwrap();
    let entry = model
        .tensors()
        .iter()
        .find(|entry| entry.name == name)
        .unwrap();
    let error = model.read(entry.role).unwrap_err().to_string();
    assert_eq!(
        error,
        format!(
            "bad.gguf: tensor `{name}`: scale 0 is NaN, expected a finite number that is not 0"
        )
    );
}
