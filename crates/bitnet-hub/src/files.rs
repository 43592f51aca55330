//! Which files of a repository a model is.

use crate::{HubError, Name};

/// Files beside the weights that are taken where they are there.
const BESIDE: [&str; 9] = [
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "chat_template.jinja",
    // How an embedding model pools.
    "modules.json",
    "1_Pooling/config.json",
];

/// The weights in one file.
pub(crate) const SINGLE: &str = "model.safetensors";

/// Which files hold the weights, if they are several.
pub(crate) const INDEX: &str = "model.safetensors.index.json";

/// What is to be had of a repository.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// One GGUF file.
    Gguf(String),
    /// A folder of transformers: these files, of which the index names more.
    Folder(Vec<String>),
}

/// Chooses among the files of a repository.
pub(crate) fn choose(name: &Name, all: &[String]) -> Result<Wanted, HubError> {
    let has = |file: &str| all.iter().any(|other| other == file);
    if let Some(file) = &name.file {
        return match has(file) {
            true => Ok(Wanted::Gguf(file.clone())),
            false => Err(HubError::NoFile {
                name: name.to_string(),
                there: list(all),
            }),
        };
    }
    let weights = match (has(SINGLE), has(INDEX)) {
        (true, _) => Some(SINGLE),
        (false, true) => Some(INDEX),
        (false, false) => None,
    };
    if let Some(weights) = weights.filter(|_| has("config.json")) {
        let beside = BESIDE.into_iter().filter(|file| has(file));
        let files = beside.chain([weights]).map(String::from);
        return Ok(Wanted::Folder(files.collect()));
    }
    let gguf: Vec<String> = gguf(all).cloned().collect();
    match &gguf[..] {
        [one] => Ok(Wanted::Gguf(one.clone())),
        [] => Err(HubError::NoModel(name.to_string())),
        _ => Err(HubError::Several {
            name: name.to_string(),
            there: list(all),
        }),
    }
}

/// The shards that an index names.
pub(crate) fn shards(index: &[u8]) -> Option<Vec<String>> {
    let index: serde_json::Value = serde_json::from_slice(index).ok()?;
    let names = index.get("weight_map")?.as_object()?.values();
    let mut names: Vec<String> = names
        .map(|name| name.as_str().map(String::from))
        .collect::<Option<_>>()?;
    names.sort();
    names.dedup();
    // In the folder itself, so that no index writes elsewhere.
    let is_plain = |name: &String| !name.contains(['/', '\\']) && name.ends_with(".safetensors");
    names.iter().all(is_plain).then_some(names)
}

fn gguf(all: &[String]) -> impl Iterator<Item = &String> {
    all.iter().filter(|file| file.ends_with(".gguf"))
}

fn list(all: &[String]) -> String {
    let names: Vec<&str> = gguf(all).map(String::as_str).collect();
    match names.is_empty() {
        true => "none".into(),
        false => names.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn chosen(name: &str, all: &[&str]) -> Result<Wanted, HubError> {
        let name = Name::parse(Path::new(name)).unwrap().unwrap();
        let all: Vec<String> = all.iter().map(|file| file.to_string()).collect();
        choose(&name, &all)
    }

    #[test]
    fn a_model_is_its_files_and_no_others() {
        let folder = |files: &[&str]| Wanted::Folder(files.iter().map(|f| f.to_string()).collect());
        let all = [
            "README.md",
            "config.json",
            "model.safetensors",
            "pytorch_model.bin",
            "tokenizer.json",
            "x.gguf",
            "1_Pooling/config.json",
            "2_Dense/config.json",
        ];
        let expected = folder(&[
            "config.json",
            "tokenizer.json",
            "1_Pooling/config.json",
            "model.safetensors",
        ]);
        assert_eq!(chosen("hf://a/b", &all).unwrap(), expected);
        let all = ["config.json", "model-00001-of-00002.safetensors", INDEX];
        assert_eq!(
            chosen("hf://a/b", &all).unwrap(),
            folder(&["config.json", INDEX])
        );
        let one = Wanted::Gguf("x.gguf".into());
        assert_eq!(chosen("hf://a/b", &["config.json", "x.gguf"]).unwrap(), one);
        assert_eq!(
            chosen("hf://a/b/x.gguf", &["x.gguf", "y.gguf"]).unwrap(),
            one
        );
    }

    #[test]
    fn what_cannot_be_chosen_is_listed() {
        for (name, all, says) in [
            (
                "hf://a/b",
                &["x.gguf", "y.gguf"][..],
                "x.gguf, y.gguf; name one of them, as in hf://a/b/",
            ),
            ("hf://a/b/z.gguf", &["x.gguf"], "has no such file"),
            ("hf://a/b", &["README.md"], "neither"),
        ] {
            let error = chosen(name, all).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn an_index_names_files_of_its_folder() {
        let index = br#"{"weight_map": {"a": "1.safetensors", "b": "2.safetensors", "c": "1.safetensors"}}"#;
        assert_eq!(shards(index).unwrap(), ["1.safetensors", "2.safetensors"]);
        for index in [
            &br#"{"weight_map": {"a": "../1.safetensors"}}"#[..],
            br#"{"weight_map": {"a": 1}}"#,
            b"{}",
            b"",
        ] {
            assert_eq!(shards(index), None);
        }
    }
}
