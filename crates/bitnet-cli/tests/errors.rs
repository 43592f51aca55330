//! Wrong input ends with code 2 and one line that says what is wrong and what to do; nothing is written.

mod common;

use std::fs;

use common::{DEBUG, Place};

/// `train` on a text file.
fn on_text<'a>(path: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut args = vec!["train", DEBUG, "--set", "data.kind=\"text\"", "--set", path];
    args.extend(more);
    args
}

#[test]
fn unknown_keys_name_the_nearest_one() {
    let place = Place::new();
    place.write("bad.toml", "[train]\nstepz = 3\n");
    let file = [
        "bad.toml",
        "train.stepz",
        "line 2",
        "did you mean train.steps?",
    ];
    place.fails(&["train", "bad.toml"], &file);
    place.fails(&["compare", "bad.toml"], &file);
    place.fails(
        &["train", DEBUG, "--set", "train.stepz=3"],
        &["--set", "train.stepz", "did you mean train.steps?"],
    );
    place.command_fails(
        place
            .command(&["train", DEBUG])
            .env("BITNET_TRAIN__STEPZ", "3"),
        &["BITNET_TRAIN__STEPZ", "did you mean BITNET_TRAIN__STEPS?"],
    );
}

#[test]
fn wrong_values_are_named() {
    let place = Place::new();
    for (set, says) in [
        ("train.steps", "expected section.key=value"),
        ("train.steps=-1", "whole number"),
        ("train.steps=\"x\"", "train.steps"),
        ("train.steps=0", "at least 1"),
        ("train.context=65", "model.max_position_embeddings = 64"),
        ("data.kind=\"text\"", "data.path"),
    ] {
        place.fails(&["train", DEBUG, "--set", set], &[says]);
    }
    place.fails(&["train", "no.toml"], &["no.toml"]);
    place.fails(&["compare", "no.toml"], &["no.toml"]);
}

/// Prompts are looked at before the twins are trained.
#[test]
fn prompts_that_no_model_reads() {
    let place = Place::new();
    let long = format!("compare.prompts=[\"{}\"]", "a".repeat(65));
    place.fails(
        &["compare", DEBUG, "--set", &long],
        &["compare.prompts", "65 tokens", "context holds 64"],
    );
    place.fails(
        &["compare", DEBUG, "--set", "compare.prompts=[\"\"]"],
        &["compare.prompts", "empty"],
    );
}

/// What no machine holds is refused before anything is allocated: a failed allocation would end the process on the spot.
#[test]
fn sizes_beyond_the_machine() {
    let place = Place::new();
    let memory = &["GB of memory", "this machine has", "smaller"][..];
    let width = &["exceeds 1048576", "ternary layer", "smaller"][..];
    for (set, says) in [
        ("model.hidden_size=2000000000", width),
        ("model.intermediate_size=9000000000000", width),
        ("model.num_hidden_layers=1000000000000", memory),
        ("model.max_position_embeddings=1000000000000", memory),
        ("train.batch_size=1000000000000", memory),
    ] {
        place.fails(&["train", DEBUG, "--set", set], says);
        place.fails(&["train", DEBUG, "--dry-run", "--set", set], says);
        place.fails(&["compare", DEBUG, "--set", set], says);
    }
    let layers = "model.num_hidden_layers=1000000000000";
    let words = "model.vocab_size=1000000000000000";
    let positions = "model.max_position_embeddings=1000000000000";
    for (set, linear) in [
        (layers, "ternary"),
        (layers, "float"),
        (words, "ternary"),
        (positions, "ternary"),
    ] {
        let shape = ["bench", "--arch", DEBUG, "--linear", linear];
        let shape = [&shape[..], &["--set", "model.vocab_size=64", "--set", set]].concat();
        place.fails(&shape, &["a model of", "GB of memory"]);
    }
    place.write(
        "layer.toml",
        "task = \"layer\"\n[model]\ninput_size = 1000000000000\nnum_labels = 4\n",
    );
    place.fails(&["train", "layer.toml"], &["model.input_size", "1048576"]);
    let float = ["train", "layer.toml", "--set", "model.linear=float"];
    place.fails(&float, &["GB of memory"]);
}

#[test]
fn texts_that_cannot_be_learned_from() {
    let place = Place::new();
    for (path, says) in [("[x", "is no pattern"), ("-", "standard input")] {
        let path = format!("data.path={path}");
        let args = ["train", DEBUG, "--set", "data.kind=text", "--set", &path];
        place.fails(&args, &[says]);
        let told = place.run(&args).stderr;
        assert!(!told.contains("text_columns"), "{told}");
    }
    place.write("empty.txt", "");
    place.write("tiny.txt", "hi");
    place.write("short.txt", "hello world ".repeat(10));
    place.write("bytes.txt", b"hello \xff\xfe world ".repeat(300));
    place.fails(
        &on_text("data.path=\"no.txt\"", &[]),
        &["error: there is no file at no.txt: check the path"],
    );
    place.fails(
        &on_text("data.path=\"empty.txt\"", &[]),
        &["empty.txt is empty", "give a text"],
    );
    place.fails(
        &on_text("data.path=\"tiny.txt\"", &[]),
        &["tiny.txt", "use a longer text"],
    );
    place.fails(
        &on_text("data.path=\"short.txt\"", &[]),
        &["short.txt", "context 32", "a smaller context"],
    );
    let bytes = "data.path=\"bytes.txt\"";
    place.fails(
        &on_text(bytes, &[]),
        &["bytes.txt is not UTF-8", "byte offset 6", "byte tokenizer"],
    );
    place
        .run(&on_text(
            bytes,
            &["--set", "data.level=\"byte\"", "--run-dir", "run"],
        ))
        .ok();
    assert!(place.path("run/packed.bpk").exists());
}

#[test]
fn devices_that_are_not_there() {
    let place = Place::new();
    place.fails(
        &["train", DEBUG, "--backend", "abacus"],
        &["abacus", "flex, ndarray, wgpu and cuda"],
    );
    if !cfg!(feature = "cuda") {
        for command in ["train", "compare"] {
            place.fails(
                &[command, DEBUG, "--backend", "cuda"],
                &["cuda", "--features cuda"],
            );
        }
    }
    place.fails(
        &["train", DEBUG, "--device", "99"],
        &["flex", "no device 99", "bitnet doctor"],
    );
    place.fails(
        &["compare", DEBUG, "--device", "99"],
        &["no device 99", "bitnet doctor"],
    );
    place.fails(
        &["train", DEBUG, "--backend", "wgpu", "--device", "99"],
        &["wgpu"],
    );
    for (devices, says) in [
        ("0,0", &["--devices names 0 twice"][..]),
        ("0,1", &["flex", "no device 1", "bitnet doctor"]),
        ("0,one", &["one", "--devices"]),
    ] {
        place.fails(&["train", DEBUG, "--devices", devices], says);
    }
    place.fails(
        &["train", DEBUG, "--device", "1", "--devices", "0,1"],
        &["--devices several"],
    );
    place.fails(
        &["train", DEBUG, "--devices", "0", "--find-rate"],
        &["--find-rate"],
    );
    place.run(&["train", DEBUG, "--devices", "0"]).ok();
}

#[test]
fn folders_that_are_no_run() {
    let place = Place::new();
    fs::create_dir(place.path("folder")).unwrap();
    for (path, says) in [
        ("folder", "neither config.toml"),
        ("nowhere", "there is nothing of that name"),
    ] {
        place.fails(&["eval", path], &[path, says]);
        place.fails(&["generate", path, "--prompt", "a"], &[path, says]);
        place.fails(
            &["train", DEBUG, "--run-dir", path, "--resume", "auto"],
            &[path],
        );
    }
}

#[test]
fn questions_a_run_cannot_answer() {
    let place = Place::new();
    place.train("run", &[]);
    place.write("empty.txt", "");
    place.write("bytes.txt", b"One \xff morning");
    place.write("other.txt", "One morning in Zürich");
    let generate = |prompt: &str, more: &[&str], says: &[&str]| {
        place.fails(
            &[&["generate", "run", "--prompt", prompt], more].concat(),
            says,
        );
    };
    generate("", &[], &["prompt is empty"]);
    generate("Zürich", &[], &["'ü'", "byte tokenizer"]);
    generate(
        &"a".repeat(65),
        &[],
        &["65 tokens", "64", "shorten the prompt"],
    );
    generate(
        "One",
        &["--top-p", "0"],
        &["top_p = 0", "above 0, at most 1"],
    );
    generate("One", &["--min-p", "2"], &["min_p = 2", "0 to 1"]);
    generate("One", &["--temperature", "nan"], &["temperature"]);
    generate(
        "One",
        &["--repetition-penalty", "0"],
        &["repetition_penalty = 0"],
    );
    generate("One", &["--device", "99"], &["no device 99"]);
    for format in ["md", "csv"] {
        generate("One", &["-o", format], &["text or json"]);
        place.fails(&["eval", "run", "-o", format], &["text or json"]);
        place.fails(
            &["train", DEBUG, "--run-dir", "new", "-o", format],
            &["text or json"],
        );
    }
    place.fails(&["eval", "run", "--data", "no.txt"], &["no.txt"]);
    place.fails(&["eval", "run", "--data", "empty.txt"], &["empty.txt"]);
    place.fails(
        &["eval", "run", "--data", "bytes.txt"],
        &["bytes.txt", "UTF-8"],
    );
    place.fails(&["eval", "run", "--data", "other.txt"], &["'ü'"]);
    place.fails(
        &["eval", "run", "--context", "65"],
        &["--context 65", "1 to 64"],
    );
    place.fails(
        &["eval", "run", "--context", "0"],
        &["--context 0", "1 to 64"],
    );
    place.fails(&["eval", "run", "--device", "99"], &["no device 99"]);
}

#[test]
fn every_help_tells_the_exit_codes() {
    let place = Place::new();
    for command in [&[][..], &["train"], &["compare"], &["experiment", "run"]] {
        for help in ["-h", "--help"] {
            let ran = place.run(&[command, &[help]].concat()).ok();
            assert!(ran.stdout.contains("\nExit codes: 0 done;"), "{ran:#?}");
        }
    }
}

#[test]
fn flags_that_would_do_nothing_are_refused() {
    let place = Place::new();
    place.train("run", &["--set", "train.steps=2"]);
    for flags in [["--linear", "float"], ["--set", "model.hidden_size=64"]] {
        place.fails(
            &[&["bench", "run", "-p", "4", "-n", "0"], &flags[..]].concat(),
            &["--linear and --set are for a shape", "--arch"],
        );
    }
    place.fails(
        &["eval", "run", "--latent", "--head", "f32"],
        &["--latent runs on Burn's tensors", "leave out --head"],
    );
    place.fails(
        &["eval", "run", "--latent", "--kv-cache", "f32"],
        &["--latent runs on Burn's tensors", "leave out --kv-cache"],
    );
    place.fails(
        &["eval", "run", "--kv-cache", "f16"],
        &["unknown format `f16`: expected `f32`, `bf16` or `int8`"],
    );
    for half in [
        &["eval", "run", "--dtype", "f16"][..],
        &["generate", "run", "--prompt", "One", "--dtype", "f16"],
    ] {
        place.fails(half, &["--dtype f16 on flex", "f16 is for GPUs"]);
    }
    place.fails(
        &[
            "generate", "run", "--prompt", "One", "--latent", "--kernel", "scalar",
        ],
        &["--latent runs on Burn's tensors", "leave out --kernel"],
    );
    // A length beyond any context is one: the text ends where the context does.
    place
        .run(&[
            "generate",
            "run",
            "--prompt",
            "One",
            "--max-new-tokens",
            "18446744073709551615",
        ])
        .ok();
}

#[test]
fn a_loss_that_is_no_number_is_no_result() {
    let place = Place::new();
    // The decay is larger than the weights: they grow until the sixth and last step has no loss.
    let ran = place.run(&[
        "train",
        DEBUG,
        "--run-dir",
        "run",
        "--set",
        "train.steps=6",
        "--set",
        "train.learning_rate=10",
        "--set",
        "train.weight_decay=100",
        "--set",
        "train.warmup_steps=0",
        "--set",
        "train.schedule=constant",
        "--set",
        "train.checkpoint_interval=1",
        "-o",
        "json",
    ]);
    assert_eq!(ran.code, Some(3), "{}", ran.stderr);
    let summary: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(
        (&summary["diverged"], summary["val_loss"].is_null()),
        (&true.into(), true)
    );
    assert!(
        ran.stderr.contains("lower train.learning_rate"),
        "{}",
        ran.stderr
    );
    assert!(!place.path("run/packed.bpk").exists());
    // Weights that are finite but give no number are not left as the newest: a lower rate goes on from before.
    let checkpoint = |name: &str| place.path("run/checkpoints").join(name).exists();
    assert!(checkpoint("step-00000005") || checkpoint("aside-step-00000005"));
    assert!(!checkpoint("step-00000006"));
}
