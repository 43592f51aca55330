//! `bitnet inspect` and `bitnet convert`, on the goldens of bitnet-formats.

mod common;

use std::fs;

use common::{Place, has_keys};

/// A model that transformers or the gguf package wrote.
fn golden(name: &str) -> String {
    let manifest = env!("CARGO_MANIFEST_DIR");
    format!("{manifest}/../bitnet-formats/tests/goldens/{name}")
}

#[test]
fn conventions_are_shown_with_their_evidence() {
    let place = Place::new();
    let text = place.run(&["inspect", &golden("hf/bitnet")]).ok().stdout;
    let evidence = |name: &str, value: &str, from: &str| {
        format!("{name:<23} {value}\n{:<23}   from {from}", "")
    };
    for line in [
        evidence("scales", "multiply", "linear_class autobitlinear"),
        evidence("gate", "relu2", "hidden_act relu2\n"),
        format!("{:<23} BitNet\n", "architecture"),
        format!("{:<23} the embedding\n", "head"),
        format!("{:<23} [2, 7]\n", "end tokens"),
    ] {
        assert!(text.contains(&line), "{line:?} in {text}");
    }
    assert!(
        text.contains("model.layers.1.mlp.down_proj.weight"),
        "{text}"
    );
    let json = place
        .run(&["inspect", &golden("gguf/bitnet-b1.58.gguf"), "-o", "json"])
        .json();
    let keys =
        "format arch params quantizer scale_convention rope activation norms tensors warnings";
    has_keys(&json, &keys.split(' ').collect::<Vec<_>>());
    assert_eq!(json["activation"]["value"], "relu2");
    // 1e-5 in 32 bits, as GGUF holds it.
    let norms = json["norms"]["value"].as_str().unwrap();
    assert!(norms.ends_with(", eps 1e-5"), "{norms}");
    assert!(
        json["warnings"][0]
            .as_str()
            .unwrap()
            .contains("7 tensors are I2_S")
    );
    let counts = &json["tensors"][2]["codes"]["counts"];
    let total: u64 = counts
        .as_array()
        .unwrap()
        .iter()
        .map(|n| n.as_u64().unwrap())
        .sum();
    assert_eq!(total, 128 * 128);
}

#[test]
fn a_model_goes_to_another_format_and_back() {
    let place = Place::new();
    let convert = |from: &str, to: &str, format: &str| {
        let args = ["convert", from, to, "--to", format, "-o", "json"];
        place.run(&args).json()
    };
    has_keys(
        &convert(&golden("gguf/bitnet.gguf"), "hf", "hf-packed"),
        &["tensors", "bytes"],
    );
    convert("hf", "back.gguf", "gguf-tq1_0");
    let codes = |model: &str| {
        let report = place.run(&["inspect", model, "-o", "json"]).json();
        let tensors = report["tensors"].as_array().unwrap().iter();
        tensors
            .map(|tensor| tensor["codes"].clone())
            .collect::<Vec<_>>()
    };
    let counts = |model: &str| {
        codes(model)
            .iter()
            .map(|c| c["counts"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(counts(&golden("gguf/bitnet.gguf")), counts("back.gguf"));
}

/// A copy of a golden folder, to be spoilt.
fn spoilt(place: &Place, name: &str, copy: &str) {
    fs::create_dir(place.path(copy)).unwrap();
    for file in fs::read_dir(golden(&format!("hf/{name}"))).unwrap() {
        let file = file.unwrap();
        let to = place.path(copy).join(file.file_name());
        fs::copy(file.path(), to).unwrap();
    }
}

/// Every kind of damage to a model's files as whoever runs the program meets it: exit code 2, one line that names file and
/// place, nothing written. Each kind in all its forms, and what a reader may allocate, is in the tests `malformed_…` of
/// bitnet-formats.
#[test]
fn every_kind_of_damage_is_one_line() {
    let place = Place::new();
    let gguf = fs::read(golden("gguf/qwen3.gguf")).unwrap();
    let mut long = gguf.clone();
    long[8..16].copy_from_slice(&(u64::MAX / 2).to_le_bytes());
    let mut files = vec![
        (
            "magic.gguf",
            [b"GGML", &gguf[4..]].concat(),
            "header: starts with",
        ),
        ("long.gguf", long, "header: "),
        (
            "empty.gguf",
            Vec::new(),
            "header: 4 bytes are needed at offset 0",
        ),
    ];
    for (name, share) in [("keys.gguf", 8), ("infos.gguf", 3), ("data.gguf", 2)] {
        files.push((name, gguf[..gguf.len() / share].to_vec(), ""));
    }
    for (name, bytes, says) in files {
        place.write(name, bytes);
        for command in [
            &["inspect", name][..],
            &["convert", name, "new", "--to", "hf"],
        ] {
            place.fails(command, &[&format!("{name}: "), says]);
        }
    }

    let replace = |bytes: &[u8], from: &str, to: &str| {
        let text = std::str::from_utf8(bytes).unwrap();
        assert!(text.contains(from), "{from} in {text}");
        text.replacen(from, to, 1).into_bytes()
    };
    let tensors = |bytes: &[u8], change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = bytes.to_vec();
        change(&mut bytes);
        bytes
    };
    let whole = |file: &str, name: &str| fs::read(golden(&format!("hf/{name}/{file}"))).unwrap();
    let weights = || whole("model.safetensors", "bitnet");
    let header = |bytes: &[u8]| 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let cases: Vec<(&str, &str, Vec<u8>, &str)> = vec![
        (
            "bitnet",
            "config.json",
            b"{".to_vec(),
            "config.json: the file: EOF",
        ),
        (
            "bitnet",
            "config.json",
            "[".repeat(100_000).into(),
            "config.json: ",
        ),
        (
            "bitnet",
            "config.json",
            replace(
                &whole("config.json", "bitnet"),
                "\"hidden_size\": 32",
                "\"hidden_size\": 64",
            ),
            "",
        ),
        (
            "bitnet",
            "model.safetensors",
            weights()[..weights().len() / 2].to_vec(),
            "model.safetensors: ",
        ),
        (
            "bitnet",
            "model.safetensors",
            tensors(&weights(), &|bytes| {
                bytes[..8].copy_from_slice(&(1u64 << 63).to_le_bytes())
            }),
            "a header of 9223372036854775808 bytes",
        ),
        (
            "bitnet",
            "model.safetensors",
            // Every float of the file is NaN, and every code one that there is not.
            tensors(&weights(), &|bytes| {
                let start = header(bytes);
                bytes[start..].fill(0xff);
            }),
            "model.safetensors: tensor `",
        ),
        (
            "llama-float",
            "model.safetensors.index.json",
            replace(
                &whole("model.safetensors.index.json", "llama-float"),
                "\"model.norm.weight\"",
                "\"model.norm.absent\"",
            ),
            "tensor `model.norm.absent`: the index says that it is in",
        ),
        (
            "bitnet",
            "tokenizer.json",
            br#"{"model":{"vocab":{"a":48}}}"#.to_vec(),
            "id 48, but the embedding has 48 rows",
        ),
    ];
    for (number, (model, file, bytes, says)) in cases.into_iter().enumerate() {
        let name = format!("folder{number}");
        spoilt(&place, model, &name);
        place.write(&format!("{name}/{file}"), bytes);
        place.fails(&["inspect", &name], &[&name, says]);
    }

    // Two that a model has to be used for: a template that does not end, and a hole among the ids.
    spoilt(&place, "bitnet", "loops");
    let endless =
        "{% for a in range(100000) %}{% for b in range(100000) %}x{% endfor %}{% endfor %}";
    place.write("loops/chat_template.jinja", endless);
    place.fails(
        &["generate", "loops", "--prompt", "t1", "--chat"],
        &["chat template"],
    );
    spoilt(&place, "bitnet", "hole");
    place.write(
        "hole/tokenizer.json",
        br#"{"model":{"type":"BPE","vocab":{"a":0,"b":47},"merges":[]}}"#,
    );
    let args = [
        "generate",
        "hole",
        "--prompt",
        "ab",
        "--max-new-tokens",
        "8",
    ];
    let written = place.run(&args).ok().stdout;
    // An id that stands for nothing is shown as one.
    let known = |c: char| "ab\u{fffd}\n".contains(c);
    assert!(written.chars().all(known), "{written:?}");
}

#[test]
fn what_is_wrong_is_one_line_and_leaves_nothing() {
    let place = Place::new();
    place.write("bad.gguf", b"GGUF\x03\0\0\0");
    place.fails(
        &["inspect", "bad.gguf"],
        &["bad.gguf: header: 8 bytes are needed at offset 8"],
    );
    place.fails(&["inspect", "absent"], &["absent", "nothing of that name"]);
    let bitnet = golden("hf/bitnet");
    place.fails(
        &["convert", &bitnet, "new.gguf", "--to", "gguf-tq2_0"],
        &[
            "new.gguf: tensor `",
            "rows of 32 weights are not whole blocks of 256 (TQ2_0)",
        ],
    );
    place.fails(
        &["convert", &bitnet, "new", "--to", "gguf-q4"],
        &["unknown format `gguf-q4`: choose hf"],
    );
}
