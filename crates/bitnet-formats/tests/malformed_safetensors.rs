//! safetensors files and indexes that are wrong in one place each: one line that names file and place.

mod common;

use std::fs;

use bitnet_formats::{
    FileBytes,
    hf::HfModel,
    model::TensorSource,
    safetensors::{Checkpoint, Dtype, SafetensorsFile, SafetensorsWriter},
};
use common::{Counting, FOLDERS, Refusals, SLACK, copy, peak_of, refuse_folder, table};
use serde_json::Value;

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

fn safetensors(json: &str, data: usize) -> Vec<u8> {
    let mut bytes = (json.len() as u64).to_le_bytes().to_vec();
    bytes.extend(json.as_bytes());
    bytes.resize(bytes.len() + data, 0);
    bytes
}

fn refuse(refusals: &mut Refusals, case: &str, bytes: Vec<u8>, expected: &str) {
    let file = ("bad.safetensors: ", bytes.len());
    let open = || SafetensorsFile::from_bytes(FileBytes::from_vec("bad.safetensors", bytes));
    refusals.check(case, file, open, expected);
}

#[test]
fn safetensors_headers() {
    let mut refusals = Refusals::default();
    let good = concat!(
        r#"{"a":{"dtype":"F32","shape":[2,4],"data_offsets":[0,32]},"#,
        r#""b":{"dtype":"U8","shape":[],"data_offsets":[32,33]}}"#
    );
    let whole = safetensors(good, 33);
    SafetensorsFile::from_bytes(FileBytes::from_vec("good", whole.clone())).unwrap();
    for len in 0..whole.len() {
        refuse(
            &mut refusals,
            &format!("{len} bytes"),
            whole[..len].to_vec(),
            "",
        );
    }
    refuse(
        &mut refusals,
        "longer",
        [&whole[..], &[0]].concat(),
        "header: the tensors end at 33, but the data of the file at 34",
    );
    for huge in HUGE.into_iter().chain([100_000_001, whole.len() as u64]) {
        let bytes = [&huge.to_le_bytes(), &whole[8..]].concat();
        refuse(
            &mut refusals,
            "length",
            bytes,
            &format!("header: a header of {huge} bytes, expected at most "),
        );
    }
    for [json, expected] in table(include_str!("malformed/safetensors.txt")) {
        refuse(&mut refusals, json, safetensors(json, 32), expected);
    }
    for key in ["a", "__metadata__"] {
        let json = format!("{{\"{key}\":{}", "[".repeat(100_000));
        refuse(&mut refusals, "deep", safetensors(&json, 32), "header: ");
    }
    let mut bytes = safetensors(good, 33);
    bytes[10] = 0xff;
    refuse(&mut refusals, "UTF-8", bytes, "header: ");
    assert!(refusals.0 > 180, "{}", refusals.0);
}

#[test]
fn many_small_entries_take_little_memory() {
    let entry = |n: u32| format!(r#""{n:x}":{{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}"#);
    let entries: Vec<_> = (0..20_000).map(entry).collect();
    let deep = |n: u32| {
        format!(r#""{n:x}":{{"dtype":"U8","shape":[0,0,0,0,0,0,0,0],"data_offsets":[0,0]}}"#)
    };
    let deep: Vec<_> = (0..20_000).map(deep).collect();
    for entries in [entries, deep] {
        let bytes = safetensors(&format!("{{{}}}", entries.join(",")), 0);
        let size = bytes.len();
        let (read, peak) =
            peak_of(|| SafetensorsFile::from_bytes(FileBytes::from_vec("a", bytes)).map(drop));
        read.unwrap();
        assert!(peak <= 2 * size + SLACK, "{peak} bytes for {size}");
    }
}

#[test]
fn indexes() {
    let mut refusals = Refusals::default();
    let golden = || {
        fs::read_to_string(format!(
            "{FOLDERS}/llama-float/model.safetensors.index.json"
        ))
        .unwrap()
    };
    let index = "model.safetensors.index.json";
    let mut with = |case: &str, json: &str, file: &str, expected: &str| {
        let folder = copy("llama-float");
        fs::write(folder.path().join(index), json).unwrap();
        refuse_folder(&mut refusals, case, folder.path(), file, expected);
    };
    let shards = [
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
    ];
    let name = "model.layers.0.mlp.down_proj.weight";
    let of = |json: &str| {
        serde_json::from_str::<Value>(json).unwrap()["weight_map"][name]
            .as_str()
            .unwrap()
            .to_string()
    };
    let right = of(&golden());
    let wrong = shards.iter().find(|shard| **shard != right).unwrap();
    let entry = |shard: &str| format!("\"{name}\": \"{shard}\"");
    let swapped = golden().replace(&entry(&right), &entry(wrong));
    with(
        "wrong file",
        &swapped,
        index,
        &format!("tensor `{name}`: the index says that it is in {wrong}, but it is not"),
    );
    let stale = golden().replace(&format!("{},", entry(&right)), "");
    with(
        "missing entry",
        &stale,
        index,
        "the index has 20 tensors, its files hold 21: the index is stale",
    );
    let twice = golden().replace(
        &entry(&right),
        &format!("{},{}", entry(&right), entry(&right)),
    );
    with(
        "entry twice",
        &twice,
        index,
        "the index has 22 tensors, its files hold 21: the index is stale",
    );
    let absent = golden().replace(
        &entry(&right),
        &format!("{},\"x\":\"{right}\"", entry(&right)),
    );
    with(
        "absent tensor",
        &absent,
        index,
        "tensor `x`: the index says that it is in ",
    );
    for (shard, expected) in [
        (
            "../a.safetensors",
            "expected the name of a .safetensors file beside the index",
        ),
        (
            "/etc/a.safetensors",
            "expected the name of a .safetensors file beside the index",
        ),
        (
            "a/b.safetensors",
            "expected the name of a .safetensors file beside the index",
        ),
        (
            "..",
            "expected the name of a .safetensors file beside the index",
        ),
        (
            "",
            "expected the name of a .safetensors file beside the index",
        ),
        (
            index,
            "expected the name of a .safetensors file beside the index",
        ),
        (
            "model.bin",
            "expected the name of a .safetensors file beside the index",
        ),
    ] {
        with(
            shard,
            &golden().replace(&entry(&right), &entry(shard)),
            index,
            expected,
        );
    }
    with(
        "no such file",
        &golden().replace(&entry(&right), &entry("no.safetensors")),
        "no.safetensors",
        "No such file",
    );
    for (json, expected) in [
        ("", "EOF"),
        ("{}", "missing field `weight_map`"),
        ("[]", "expected an object with `weight_map`"),
        (r#"{"weight_map":[]}"#, "expected an object of tensors"),
        (
            r#"{"weight_map":{"a":1}}"#,
            "invalid type: integer `1`, expected a string",
        ),
        (
            r#"{"weight_map":{}}"#,
            "tensor `model.layers.0.self_attn.q_proj.weight`: is missing",
        ),
        (
            r#"{"weight_map":{},"weight_map":{}}"#,
            "duplicate field `weight_map`",
        ),
    ] {
        with(
            json,
            json,
            if json.contains("{}}") { "" } else { index },
            expected,
        );
    }
    with(
        "deep",
        &format!("{{\"metadata\":{}", "[".repeat(100_000)),
        index,
        "",
    );

    let folder = copy("llama-float");
    fs::copy(
        format!("{FOLDERS}/onebit/model.safetensors"),
        folder.path().join("model.safetensors"),
    )
    .unwrap();
    refuse_folder(
        &mut refusals,
        "both",
        folder.path(),
        "",
        "are both there; remove the one that is out of date",
    );
    let folder = copy("bitnet");
    fs::remove_file(folder.path().join("model.safetensors")).unwrap();
    refuse_folder(
        &mut refusals,
        "none",
        folder.path(),
        "",
        "neither model.safetensors nor model.safetensors.index.json is there",
    );
    let folder = copy("bitnet");
    fs::remove_file(folder.path().join("config.json")).unwrap();
    refuse_folder(
        &mut refusals,
        "no config",
        folder.path(),
        "",
        "config.json is not there; give a folder with",
    );
    assert!(refusals.0 >= 23, "{}", refusals.0);
}

/// A file of another checkpoint beside those of the index is not read, and that is said.
#[test]
fn files_that_the_index_does_not_name() {
    let folder = copy("llama-float");
    let extra = "model-00003-of-00003.safetensors";
    fs::write(folder.path().join(extra), "left over").unwrap();
    fs::write(folder.path().join("consolidated.safetensors"), "another").unwrap();
    let warnings = HfModel::open(folder.path())
        .unwrap()
        .description()
        .warnings
        .clone();
    let expected = format!("{extra} is there, but the index does not name it: it is not read");
    assert_eq!(warnings, [expected]);
}

/// Files that are links to themselves.
#[test]
#[cfg(unix)]
fn links_that_go_round_in_circles() {
    let mut refusals = Refusals::default();
    for file in [
        "model-00001-of-00002.safetensors",
        "model.safetensors.index.json",
        "config.json",
    ] {
        let folder = copy("llama-float");
        let path = folder.path().join(file);
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink(&path, &path).unwrap();
        let error = HfModel::open(folder.path()).map(drop);
        let named = if file.starts_with("model-") { file } else { "" };
        refusals.refused(file, named, error, "");
    }
    assert_eq!(refusals.0, 3);
}

/// A tensor in two files, and an index that names one of them twice, so that the numbers agree.
#[test]
fn a_tensor_in_two_files() {
    let folder = tempfile::tempdir().unwrap();
    for shard in ["1.safetensors", "2.safetensors"] {
        let mut writer = SafetensorsWriter::default();
        writer.tensor("a", Dtype::U8, &[1]);
        let mut out = writer.create(folder.path().join(shard)).unwrap();
        out.bytes(&[1]).unwrap();
        out.finish().unwrap();
    }
    let index = r#"{"weight_map":{"a":"1.safetensors","a":"2.safetensors"}}"#;
    fs::write(folder.path().join("model.safetensors.index.json"), index).unwrap();
    let error = Checkpoint::open(folder.path()).unwrap_err().to_string();
    assert!(
        error.ends_with(
            "tensor `a`: stands in 1.safetensors and in 2.safetensors, expected in one of them"
        ),
        "{error}"
    );
}
