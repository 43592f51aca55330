//! A folder that has only `tokenizer.model`, beside SentencePiece's own library.

use std::{fs, path::Path};

use bitnet_formats::{ModelFile, Target, convert, hf::HfText, tokenizer::TokenizerFile};
use bitnet_text::{Encode, TextModel, Tokenizer};
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    text: String,
    ids: Vec<u32>,
    decoded: String,
}

fn goldens() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/goldens"))
}

/// A folder with the golden's tokenizer and a configuration of so many ids.
fn folder(vocab_size: usize) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let model = goldens().join("spm/tokenizer.model");
    fs::copy(model, folder.path().join("tokenizer.model")).unwrap();
    let config =
        format!("{{\"vocab_size\": {vocab_size}, \"bos_token_id\": 1, \"eos_token_id\": 2}}");
    fs::write(folder.path().join("config.json"), config).unwrap();
    folder
}

fn check(tokenizer: &Tokenizer) {
    let golden = fs::read(goldens().join("spm.json")).unwrap();
    let golden: Vec<Golden> = serde_json::from_slice(&golden).unwrap();
    assert!(golden.len() > 20);
    for Golden { text, ids, decoded } in golden {
        let found = tokenizer.encode(&text, Encode::default()).unwrap();
        assert_eq!(found, ids, "{text:?}");
        // The library takes the space off that it put before the text.
        let back = tokenizer.decode(&ids);
        assert_eq!(back.strip_prefix(' ').unwrap_or(&back), decoded, "{text:?}");
    }
}

#[test]
fn ids_are_those_of_the_library() {
    let folder = folder(420);
    let text = TextModel::from_folder(&HfText::open(folder.path()).unwrap()).unwrap();
    check(&text.tokenizer);
    assert_eq!(text.tokenizer.prefix(), [1]);
    assert_eq!(text.eos, [2]);
    let special = Encode {
        parse_special: true,
        add_special: true,
    };
    let ids = text.tokenizer.encode("a</s>", special).unwrap();
    assert_eq!((ids[0], ids.last()), (1, Some(&2)));
}

#[test]
fn added_tokens_follow_the_pieces() {
    let folder = folder(422);
    let config = r#"{"add_bos_token": false, "added_tokens_decoder": {
        "0": {"content": "<unk>", "special": true},
        "420": {"content": "<|end|>", "special": true},
        "421": {"content": "<think>", "special": false}}}"#;
    fs::write(folder.path().join("tokenizer_config.json"), config).unwrap();
    let text = TextModel::from_folder(&HfText::open(folder.path()).unwrap()).unwrap();
    check(&text.tokenizer);
    assert!(text.tokenizer.prefix().is_empty());
    let ids = text.tokenizer.encode("<think>", Encode::default()).unwrap();
    assert_eq!(ids, [421]);
    let parsed = Encode {
        parse_special: true,
        add_special: false,
    };
    assert_eq!(text.tokenizer.encode("<|end|>", parsed).unwrap(), [420]);
    assert!(
        text.tokenizer
            .encode("<|end|>", Encode::default())
            .unwrap()
            .len()
            > 1
    );

    let holes = r#"{"added_tokens_decoder": {"421": {"content": "<think>"}}}"#;
    fs::write(folder.path().join("tokenizer_config.json"), holes).unwrap();
    let text = HfText::open(folder.path()).unwrap();
    let error = TokenizerFile::of_folder(&text).unwrap_err().to_string();
    assert!(error.contains("the id 421, expected 420"), "{error}");
}

#[test]
fn pieces_without_a_row_are_refused() {
    let folder = folder(400);
    let error = HfText::open(folder.path()).unwrap_err().to_string();
    assert!(error.contains("tokenizer.model"), "{error}");
    assert!(
        error.contains("id 419") && error.contains("400 rows"),
        "{error}"
    );
}

/// The pieces go into GGUF, and come back out of it as the same file.
#[test]
fn pieces_go_through_gguf() {
    let place = tempfile::tempdir().unwrap();
    let gguf = goldens().join("cut/sentencepiece.gguf");
    let before = TextModel::from_model_file(&ModelFile::open(&gguf).unwrap()).unwrap();
    let folder = place.path().join("folder");
    let converted = convert(&ModelFile::open(&gguf).unwrap(), Target::Hf, &folder).unwrap();
    assert!(converted.warnings.is_empty(), "{:?}", converted.warnings);
    let text = TextModel::from_folder(&HfText::open(&folder).unwrap()).unwrap();
    assert_eq!(text.tokenizer.difference(&before.tokenizer), None);
    let back = place.path().join("back.gguf");
    let target = Target::Gguf(bitnet_formats::TensorType::F16);
    let converted = convert(&ModelFile::open(&folder).unwrap(), target, &back).unwrap();
    assert!(converted.warnings.is_empty(), "{:?}", converted.warnings);
    let after = TextModel::from_model_file(&ModelFile::open(&back).unwrap()).unwrap();
    assert_eq!(after.tokenizer.difference(&before.tokenizer), None);
    for line in ["a  b", "Hello you", "é🙂"] {
        let ids = |text: &TextModel| text.tokenizer.encode(line, Encode::default()).unwrap();
        assert_eq!(ids(&after), ids(&before), "{line}");
        assert_eq!(ids(&text), ids(&before), "{line}");
    }
}
