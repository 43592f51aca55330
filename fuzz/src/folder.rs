//! A checkpoint folder in which one JSON file is arbitrary. The first byte of the input names the file.

use crate::{Target, files, goldens};
use std::{fs, sync::OnceLock};

use bitnet_formats::{ModelFile, hf::HfModel, inspect::Report};
use tempfile::TempDir;

const FILES: [&str; 5] = [
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "generation_config.json",
    "model.safetensors.index.json",
];

/// Folders that are whole, one for each file that is replaced.
fn folders() -> &'static [TempDir] {
    static FOLDERS: OnceLock<Vec<TempDir>> = OnceLock::new();
    FOLDERS.get_or_init(|| {
        let folder = |name: &&str| {
            let model = if name.ends_with("index.json") {
                "llama-float"
            } else {
                "bitnet"
            };
            let folder = TempDir::new().expect("a temporary folder");
            for file in
                fs::read_dir(goldens("bitnet-formats").join("hf").join(model)).expect("the goldens")
            {
                let file = file.expect("a golden");
                fs::copy(file.path(), folder.path().join(file.file_name())).expect("a copy");
            }
            folder
        };
        FILES.iter().map(folder).collect()
    })
}

/// The target.
pub const TARGET: Target = Target {
    name: "folder",
    run,
    seeds,
};

fn seeds() -> Vec<Vec<u8>> {
    let goldens = goldens("bitnet-formats");
    let named = (0..).zip(FILES);
    let inputs = named.flat_map(|(first, name)| {
        let contents = files(&goldens, &format!("/{name}"));
        contents
            .into_iter()
            .map(move |content| [vec![first], content].concat())
    });
    inputs.collect()
}

fn run(data: &[u8]) {
    let Some((first, data)) = data.split_first() else {
        return;
    };
    let index = usize::from(*first) % FILES.len();
    let folder = folders()[index].path();
    fs::write(folder.join(FILES[index]), data).expect("a file");
    if let Ok(model) = HfModel::open(folder) {
        let _ = Report::read(&ModelFile::HuggingFace(model));
    }
}
