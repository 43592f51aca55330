//! A run written as the formats of other programs, and read back.

mod common;

use common::{Place, number};

/// Rows of whole blocks of every type.
const WIDE: [&str; 6] = [
    "--set",
    "model.hidden_size=256",
    "--set",
    "model.intermediate_size=256",
    "--set",
    "train.steps=2",
];

fn convert(place: &Place, to: &str, format: &str) -> serde_json::Value {
    let args = ["convert", "r", to, "--to", format, "--verify", "-o", "json"];
    place.run(&args).json()
}

#[test]
fn a_ternary_run_is_the_same_model_in_every_format() {
    let place = Place::new();
    place.train("r", &WIDE);
    for format in [
        "hf",
        "hf-packed",
        "gguf-i2_s",
        "gguf-tq1_0",
        "gguf-tq2_0",
        "gguf-q2_0",
        "gguf-f16",
    ] {
        let converted = convert(&place, format, format);
        let (error, range) = (
            number(&converted, "max_abs_logit_error"),
            number(&converted, "logit_range"),
        );
        // Scales in 32 bits: a reciprocal of a reciprocal is off by an ulp, and so the activations; in 16 bits they are
        // rounded by 2^-11, which int8 codes may magnify.
        let bound = match format {
            "gguf-i2_s" | "hf" | "hf-packed" => 2e-3,
            _ => 1e-2,
        };
        assert!(error <= bound * range, "{format}: {error:e} of {range}");
        // What the files hold is what a user would see of them.
        let shown = place.run(&["inspect", format]).ok().stdout;
        assert!(shown.contains("Llama"), "{format}: {shown}");
    }
}

#[test]
fn a_float_run_goes_out_too() {
    let place = Place::new();
    place.train(
        "r",
        &["--set", "model.linear=float", "--set", "train.steps=2"],
    );
    for format in ["hf", "gguf-f16"] {
        convert(&place, format, format);
    }
    place.fails(
        &["convert", "r", "x", "--to", "gguf-q2_0"],
        &["the model's weights are floats", "train it to ternary"],
    );
}

#[test]
fn what_does_not_fit_is_refused_before_anything_is_written() {
    let place = Place::new();
    place.train("r", &["--set", "train.steps=2"]);
    for (format, says) in [
        ("gguf-tq2_0", "whole blocks of 256"),
        ("gguf-q3", "unknown format `gguf-q3`"),
    ] {
        let args = ["convert", "r", "x", "--to", format];
        let ran = place.run_unchanged(&args);
        assert_eq!(ran.code, Some(2), "{ran:#?}");
        assert!(ran.stderr.contains(says), "{ran:#?}");
    }
    let inside = ["--set", "quant.norm=inside", "--set", "train.steps=2"];
    place.train("inside", &inside);
    place.fails(
        &["convert", "inside", "x", "--to", "hf"],
        &["no format of other programs", "quant.norm = \"inside\""],
    );
}
