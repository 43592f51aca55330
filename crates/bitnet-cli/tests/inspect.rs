//! `bitnet inspect` and `bitnet convert`, on the goldens of bitnet-formats.

mod common;

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
