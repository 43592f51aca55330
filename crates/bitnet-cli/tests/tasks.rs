//! Every task from its configuration to its score, and data that is not what it should be.

mod common;

use common::{Place, has_keys, losses, number};
use serde_json::Value;

/// A configuration of a model and a training that take a second, with what the task reads.
fn config(task: &str, data: &str) -> String {
    let transformer = "intermediate_size = 32\nnum_attention_heads = 2\nmax_position_embeddings = 24\n\
                       mlp = \"plain\"\nposition = \"sinusoidal\"\n";
    let hidden = "hidden_size = 16\nnum_hidden_layers = 1\nhidden_act = \"relu\"\ndropout = 0.1\n";
    let pairs = "tie_word_embeddings = true\n";
    let model: &[&str] = match task {
        "translate" | "synthetic" => &[hidden, transformer, pairs],
        "classify" => &[hidden, transformer],
        "vectors" => &[hidden],
        _ => &[],
    };
    let decode = match task {
        "translate" | "synthetic" => "\n[decode]\nbeam = 2\nmax_length = 8\n",
        _ => "",
    };
    format!(
        "task = \"{task}\"\n\n[model]\n{}\n[quant]\nnorm = \"post\"\n{TRAIN}{decode}\n[data]\n{data}\n",
        model.concat()
    )
}

const TRAIN: &str = r#"
[train]
steps = 6
batch_size = 4
eval_interval = 3
checkpoint_interval = 3
log_interval = 2
warmup_steps = 1
learning_rate = 5e-3
"#;

/// Twelve pairs, the last two of them to test, the two before to validate.
const PARALLEL: &str = "source = \"de\"\ntarget = \"en\"\nshuffle = false\nvalidation_examples = 2\ntest_examples = 2\n\
                        level = \"bpe\"\nvocab_size = 270";

fn pairs(place: &Place) {
    let words = ["ein Haus", "zwei Äpfel", "ein Hund", "drei Katzen"];
    let lines = |suffix: &str| -> String {
        (0..12)
            .map(|i| format!("{} {suffix}{i}\n", words[i % 4]))
            .collect()
    };
    place.write("de", lines("d"));
    place.write("en", lines("e"));
    place.write("translate.toml", config("translate", PARALLEL));
}

fn train(place: &Place, file: &str, dir: &str, more: &[&str]) -> Value {
    let args = ["train", file, "--run-dir", dir, "-q", "-o", "json"];
    place.run(&[&args, more].concat()).json()
}

#[test]
fn translation() {
    let place = Place::new();
    pairs(&place);
    for linear in ["float", "ternary"] {
        let set = format!("model.linear={linear}");
        let summary = train(&place, "translate.toml", linear, &["--set", &set]);
        assert!(number(&summary, "val_loss").is_finite());
        let score = place.run(&["eval", linear, "-o", "json"]).json();
        has_keys(
            &score,
            &["bleu", "exact_match", "loss", "perplexity", "bits_per_byte"],
        );
        assert!((0.0..=100.0).contains(&number(&score, "bleu")));
        // The packed model, on the engine, scores as the one that was trained, on Burn's tensors: but for the order of sums.
        let latent = place
            .run(&["eval", linear, "--latent", "-o", "json"])
            .json();
        for (key, value) in latent.as_object().unwrap() {
            let (found, expected) = (number(&score, key), value.as_f64().unwrap());
            let apart = (found - expected).abs();
            assert!(
                apart <= 1e-3 * expected.abs(),
                "{linear} {key}: {found} {expected}"
            );
        }
        let args = ["generate", linear, "--prompt", "ein Haus d3", "-o", "json"];
        has_keys(
            &place.run(&args).json(),
            &["prompt_tokens", "tokens", "text"],
        );
    }
    // What only a language model heeds is refused, and so is a prompt that would be cut.
    let long = "ein Haus ".repeat(100);
    for (more, says) in [
        (
            &["--temperature", "0.5"][..],
            "--temperature is for language models",
        ),
        (&["--max-new-tokens", "5"], "[decode]"),
        (&["--layout", "two-bit"], "--layout is for language models"),
        (&["--dtype", "f16"], "--dtype f16 is for language models"),
        (&["--prompt", &long], "data.max_length"),
        (&["--prompt", ""], "0 tokens"),
    ] {
        let prompt = ["generate", "float", "--prompt", "ein Haus"];
        let prompt = if more[0] == "--prompt" {
            &prompt[..2]
        } else {
            &prompt[..]
        };
        place.fails(&[prompt, more].concat(), &[says]);
    }
    // Hugging Face's own form.
    let tokenizer: Value = serde_json::from_str(&place.read("float/tokenizer.json")).unwrap();
    assert_eq!(tokenizer["model"]["type"], "BPE");
    let layers = place.read("ternary/metrics.jsonl");
    assert!(
        layers.contains("decoder.layers.0.cross_attn.q_proj"),
        "{layers}"
    );
    assert!(!place.read("float/metrics.jsonl").contains("cross_attn"));
}

#[test]
fn a_resumed_run_repeats_what_it_would_have_done() {
    let place = Place::new();
    pairs(&place);
    train(&place, "translate.toml", "whole", &[]);
    train(&place, "translate.toml", "cut", &["--set", "train.steps=3"]);
    let set = ["--set", "train.steps=6"];
    train(
        &place,
        "translate.toml",
        "cut",
        &[&set[..], &["--resume", "auto"]].concat(),
    );
    let tail = |dir: &str| -> Vec<_> {
        let all = losses(&place.read(&format!("{dir}/metrics.jsonl")));
        all.into_iter().filter(|(_, step, _)| *step > 4).collect()
    };
    assert!(tail("whole").len() >= 2);
    // The cut run's schedule ended earlier, so only what the first three steps decide is the same in general; here the
    // learning rate is constant after its warm-up.
    place.write(
        "constant.toml",
        config("translate", PARALLEL)
            .replace("learning_rate", "schedule = \"constant\"\nlearning_rate"),
    );
    train(&place, "constant.toml", "whole-2", &[]);
    train(
        &place,
        "constant.toml",
        "cut-2",
        &["--set", "train.steps=3"],
    );
    train(
        &place,
        "constant.toml",
        "cut-2",
        &[&set[..], &["--resume", "auto"]].concat(),
    );
    assert_eq!(tail("whole-2"), tail("cut-2"));
}

#[test]
fn classification() {
    let place = Place::new();
    let rows: String = (0..20)
        .map(|i| match i % 2 {
            0 => format!("cat,\"it meows, {i}\"\n"),
            _ => format!("dog,it barks {i}\n"),
        })
        .collect();
    place.write("pets.csv", format!("label,text\n{rows}"));
    let data = "path = \"pets.csv\"\nshuffle = false\nvalidation_examples = 4\ntest_examples = 4\nmax_length = 20\nlowercase = true";
    place.write("pets.toml", config("classify", data));
    train(
        &place,
        "pets.toml",
        "run",
        &["--set", "train.token_dropout=0.2"],
    );
    let score = place.run(&["eval", "run", "-o", "json"]).json();
    has_keys(&score, &["accuracy", "macro_f1", "loss"]);
    assert_eq!(place.read("run/labels.json"), "[\"cat\",\"dog\"]");
    place.fails(
        &["generate", "run", "--prompt", "x"],
        &["classify", "bitnet predict", "bitnet eval"],
    );

    place.write("other.csv", "label,text\ncat,a\nbird,b\n");
    let test = "data.test_path=other.csv";
    place.fails(
        &["train", "pets.toml", "--set", test],
        &["other.csv", "line 3", "\"bird\"", "cat, dog"],
    );
    // A class of the test rows alone, in the one file.
    place.write("bird.csv", format!("label,text\n{rows}bird,it sings\n"));
    place.fails(
        &["train", "pets.toml", "--set", "data.path=bird.csv"],
        &["bird.csv", "line 22", "\"bird\"", "cat, dog"],
    );
    place.fails(
        &["train", "pets.toml", "--set", "model.num_labels=3"],
        &["model.num_labels = 3", "has 2"],
    );
    place.write("empty.csv", "");
    place.fails(
        &["train", "pets.toml", "--set", "data.path=empty.csv"],
        &["empty.csv", "is empty"],
    );
    place.write("columns.csv", "label,words\ncat,a\n");
    place.fails(
        &["train", "pets.toml", "--set", "data.path=columns.csv"],
        &[
            "columns.csv",
            "line 1",
            "no column \"text\"",
            "column 1 is \"label\", 2 is \"words\"",
        ],
    );
    place.write("ragged.csv", "label,text\ncat,a\ncat,b,c\n");
    place.fails(
        &["train", "pets.toml", "--set", "data.path=ragged.csv"],
        &["ragged.csv", "line 3", "3 columns"],
    );
    place.write("latin.csv", b"label,text\ncat,a\ncat,\xe4\n");
    place.fails(
        &["train", "pets.toml", "--set", "data.path=latin.csv"],
        &["latin.csv", "line 3", "UTF-8"],
    );
    place.fails(
        &["train", "pets.toml", "--set", "data.test_examples=30"],
        &["pets.csv", "30", "lower"],
    );
}

#[test]
fn vectors_synthetic_and_a_layer() {
    let place = Place::new();
    let rows: String = (0..30)
        .map(|i| format!("{},{},{}\n", i % 7, i % 3, i % 3))
        .collect();
    place.write("v.csv", rows);
    let split = "validation_examples = 5\ntest_examples = 5";
    place.write(
        "v.toml",
        config("vectors", &format!("path = \"v.csv\"\n{split}")),
    );
    train(&place, "v.toml", "v", &[]);
    let score = place.run(&["eval", "v", "-o", "json"]).json();
    has_keys(&score, &["accuracy", "macro_f1"]);
    // Vectors have no bytes.
    assert!(score.get("bits_per_byte").is_none(), "{score}");
    assert!(!place.path("v/tokenizer.json").exists());

    for task in ["copy", "reverse", "sort", "addition"] {
        let data = format!("synthetic = \"{task}\"\nexamples = 40\nmax_symbols = 4\n{split}");
        place.write("s.toml", config("synthetic", &data));
        train(&place, "s.toml", task, &[]);
        let score = place.run(&["eval", task, "-o", "json"]).json();
        has_keys(&score, &["exact_match"]);
        assert!(score.get("bleu").is_none());
    }
    place.fails(
        &[
            "train",
            "s.toml",
            "--set",
            "data.max_symbols=1",
            "--set",
            "data.synthetic=copy",
        ],
        &["26", "longer"],
    );

    let layer = "input_size = 5\nnum_labels = 3";
    let text = config("layer", &format!("examples = 40\n{split}"))
        .replace("[model]", &format!("[model]\n{layer}"));
    place.write("l.toml", text);
    train(&place, "l.toml", "l", &[]);
    assert!(number(&place.run(&["eval", "l", "-o", "json"]).json(), "loss") > 0.0);
    // Any task is compared, by its own score and timings.
    let compared = place
        .run(&["compare", "l.toml", "--run-dir", "cmp", "-q", "-o", "json"])
        .json();
    let twins = compared["twins"].as_array().unwrap();
    for (twin, variant) in twins.iter().zip(compared["variants"].as_array().unwrap()) {
        assert!(twin["val"].get("accuracy").is_none(), "{twin}");
        assert!(number(&twin["inference"], "latency_ms") > 0.0);
        assert!(twin["inference"]["decode_tps"].is_null());
        assert_eq!(
            variant["runs"][0]["metrics"]["loss"],
            variant["runs"][0]["score"]
        );
    }
    let ternary = &compared["variants"][1]["runs"][0];
    assert_eq!(
        ternary["score"], ternary["trained_score"],
        "packed and trained"
    );
    assert_eq!(twins[1]["packed"]["score"], ternary["score"]);
    let report = place.read("cmp/report.html");
    assert!(
        report.contains("Test mean squared error, exported model")
            && report.contains("Answer to one example")
    );
    place.fails(&["bench", "l", "-p", "4"], &["language models", "layer"]);
}

#[test]
fn pairs_that_do_not_correspond() {
    let place = Place::new();
    pairs(&place);
    let with = |file: &str| format!("data.target={file}");
    place.write("short", "a\nb\n");
    place.fails(
        &["train", "translate.toml", "--set", &with("short")],
        &["de, line 3", "short", "line by line"],
    );
    place.write("gap", "a\n\n".repeat(6));
    place.fails(
        &["train", "translate.toml", "--set", &with("gap")],
        &["gap, line 2", "empty"],
    );
    place.write("latin", [b"a\n".repeat(11), b"\xff\n".to_vec()].concat());
    place.fails(
        &["train", "translate.toml", "--set", &with("latin")],
        &["latin", "line 12", "UTF-8"],
    );
    place.fails(
        &["train", "translate.toml", "--set", &with("nowhere")],
        &["nowhere"],
    );
    place.write("half.toml", config("translate", "source = \"de\""));
    place.fails(&["train", "half.toml"], &["data.target", "translate"]);
    place.fails(
        &["train", "translate.toml", "--set", "data.max_length=3"],
        &["data.max_length = 3", "raise"],
    );
    place.fails(
        &["train", "translate.toml", "--set", "data.max_length=24"],
        &["data.max_length", "max_position_embeddings"],
    );
    // What the decoder-only model has no form of.
    place.fails(
        &["train", common::DEBUG, "--set", "model.position=sinusoidal"],
        &["model.position", "lm"],
    );
    place.fails(
        &["train", common::DEBUG, "--set", "model.hidden_act=relu"],
        &["model.hidden_act", "plain"],
    );
}

/// Groups, 4-bit and float activations and signs run through training, export, evaluation and the CPU engine.
#[test]
fn ablations_of_a_language_model() {
    let place = Place::new();
    for (dir, sets) in [
        ("group", &["quant.granularity=group"][..]),
        (
            "groups",
            &["quant.granularity=group-16", "quant.activations=int4"],
        ),
        ("int4", &["quant.activations=int4"]),
        ("none", &["quant.activations=none"]),
        ("sign", &["quant.weights=sign"]),
        ("warm", &["train.lambda_warmup=0.5"]),
        ("qk", &["model.qk_norm=true", "model.head_dim=24"]),
    ] {
        let sets: Vec<&str> = sets.iter().flat_map(|set| ["--set", set]).collect();
        let summary = place.train(dir, &sets);
        let packed = place.run(&["eval", dir, "-o", "json"]).json();
        let latent = place.run(&["eval", dir, "--latent", "-o", "json"]).json();
        assert_eq!(packed, latent, "{dir}");
        assert!((number(&packed, "loss") - number(&summary, "val_loss")).abs() < 1e-6);
        let args = ["generate", dir, "--prompt", "One", "--max-new-tokens", "4"];
        place.run(&args).ok();
        let kernel = [&args[..], &["--kernel", "scalar"]].concat();
        place.run(&kernel).ok();
        let eval = [
            "eval", dir, "--kernel", "scalar", "--head", "f32", "-o", "json",
        ];
        let engine = place.run(&eval).json();
        assert!(
            (number(&engine, "loss") - number(&packed, "loss")).abs() < 1e-2,
            "{dir}"
        );
    }
    // What a layout does not hold is refused, with the reason and the remedy.
    place.fails(
        &["eval", "group", "--layout", "base-three"],
        &["q_proj", "group", "base-three", "take `two-bit`"],
    );
}
