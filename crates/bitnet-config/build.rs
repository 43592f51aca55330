//! Makes a table of what every key means from the doc comments of the structs: one place says it.

use std::fmt::Write;
use std::path::Path;
use std::{env, fs};

/// Source, what begins the list of fields, the sections that have them.
const STRUCTS: [(&str, &str, &[&str]); 9] = [
    ("src/run.rs", "pub struct RunConfig {", &[""]),
    (
        "../bitnet-models/src/config.rs",
        "pub struct ModelConfig {",
        &["model."],
    ),
    (
        "../bitnet-models/src/config.rs",
        "pub struct QuantConfig {",
        &["quant."],
    ),
    ("src/data.rs", "pub struct DataConfig {", &["data."]),
    ("src/train.rs", "pub struct TrainConfig {", &["train."]),
    (
        "src/optim.rs",
        "optimiser_keys! {",
        &["train.", "train.float.", "train.ternary."],
    ),
    ("src/recipe.rs", "pub struct RecipeConfig {", &["recipe."]),
    ("src/decode.rs", "pub struct DecodeConfig {", &["decode."]),
    (
        "src/compare.rs",
        "pub struct CompareConfig {",
        &["compare."],
    ),
];

fn main() {
    let mut table = String::from("&[\n");
    for (file, begin, sections) in STRUCTS {
        println!("cargo::rerun-if-changed={file}");
        let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{file}: {error}"));
        let (_, fields) = text
            .split_once(begin)
            .unwrap_or_else(|| panic!("{file} has no `{begin}`"));
        let (fields, _) = fields
            .split_once("\n}")
            .unwrap_or_else(|| panic!("{file}: `{begin}` does not end"));
        for (name, meaning) in documented(fields) {
            for section in sections {
                let _ = writeln!(
                    table,
                    "    ({:?}, {meaning:?}),",
                    format!("{section}{name}")
                );
            }
        }
    }
    table.push_str("]\n");
    let out = env::var("OUT_DIR").unwrap_or_default();
    let out = Path::new(&out).join("meanings.rs");
    fs::write(&out, table).unwrap_or_else(|error| panic!("{}: {error}", out.display()));
}

/// The names of fields and the text of the doc comments above them.
fn documented(fields: &str) -> Vec<(String, String)> {
    let (mut found, mut meaning) = (Vec::new(), String::new());
    for line in fields.lines().map(str::trim) {
        if let Some(text) = line.strip_prefix("///") {
            meaning.push_str(text);
        } else if let Some((name, _)) = line.split_once(':')
            && !line.starts_with(['#', '/'])
        {
            let name = name.trim_start_matches("pub ").to_owned();
            found.push((name, meaning.trim().to_owned()));
            meaning.clear();
        }
    }
    found
}
