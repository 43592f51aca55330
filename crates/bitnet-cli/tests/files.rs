//! Model files of others in every command that runs a model.

mod common;

use std::fs;

use common::{Place, number};

/// A model that transformers or the gguf package wrote.
fn golden(name: &str) -> String {
    let manifest = env!("CARGO_MANIFEST_DIR");
    format!("{manifest}/../bitnet-formats/tests/goldens/{name}")
}

/// A run as a file has the same loss, and generates the same text.
#[test]
fn a_run_and_its_file_are_one_model() {
    let place = Place::new();
    let wide = ["model.hidden_size=64", "model.intermediate_size=128"];
    let wide = wide.map(|value| ["--set", value]).concat();
    place.train("r", &wide);
    place.write("text.txt", "abc abc abc\n".repeat(40));
    let text = place.read("r/tokenizer.json");
    // The characters of the built-in stories.
    assert!(text.contains("abc"), "{text}");
    for format in ["hf", "gguf-f16", "gguf-q2_0"] {
        place.run(&["convert", "r", format, "--to", format]).ok();
        let loss = |model: &str| {
            let args = [
                "eval",
                model,
                "--data",
                "text.txt",
                "--context",
                "32",
                "-o",
                "json",
            ];
            let head = ["--head", "f32", "--kv-cache", "f32"];
            number(&place.run(&[&args[..], &head].concat()).json(), "loss")
        };
        let (run, file) = (loss("r"), loss(format));
        // 16-bit scales are rounded by 2^-11, and logits of a loss of a few nats with them.
        assert!((run - file).abs() < 1e-2, "{format}: {run} and {file}");
        for backend in ["flex", "ndarray"] {
            let generate = |model: &str| {
                let args = ["generate", model, "--prompt", "abc", "--temperature", "0"];
                let more = ["--max-new-tokens", "8", "--backend", backend];
                place.run(&[&args[..], &more].concat()).ok().stdout
            };
            assert_eq!(generate("r"), generate(format), "{format} on {backend}");
        }
        let args = [
            "eval",
            format,
            "--data",
            "text.txt",
            "--context",
            "32",
            "-o",
            "json",
        ];
        let tensors = place
            .run(&[&args[..], &["--backend", "ndarray"]].concat())
            .json();
        // The same windows; sums in another order may move an activation by a code.
        assert!(
            (number(&tensors, "loss") - file).abs() < 1e-2,
            "{format}: {tensors}"
        );
    }
}

#[test]
fn files_are_measured_and_scored() {
    let place = Place::new();
    let model = golden("hf/bitnet");
    let bench = place
        .run(&[
            "bench", &model, "-p", "4", "-n", "2", "-r", "1", "-o", "json",
        ])
        .json();
    assert!(number(&bench[0], "avg_ts") > 0.0, "{bench}");
    let logits = place
        .run(&["logits", &model, "--tokens", "0,5,10", "-o", "json"])
        .json();
    assert_eq!(logits["shape"], serde_json::json!([3, 48]));
    place.fails(&["logits", &model, "--tokens", "48"], &["token 48", "48"]);
    place.fails(&["eval", &model], &["--data is missing"]);
    place.fails(
        &["bench", &model, "--backend", "ndarray", "--head", "f32"],
        &["--head is for the flex backend, not for ndarray"],
    );
}

/// The vector of a text is what the model's files say, unless a flag says otherwise, and what they say is shown.
#[test]
fn files_say_how_lines_become_vectors() {
    let place = Place::new();
    for (name, mode) in [
        ("plain", None),
        ("mean", Some("mean")),
        ("last", Some("lasttoken")),
        ("cls", Some("cls")),
    ] {
        fs::create_dir_all(place.path(name).join("1_Pooling")).unwrap();
        for file in fs::read_dir(golden("hf/bitnet")).unwrap() {
            let file = file.unwrap();
            fs::copy(file.path(), place.path(name).join(file.file_name())).unwrap();
        }
        if let Some(mode) = mode {
            let config = format!("{{\"pooling_mode\": \"{mode}\"}}");
            place.write(&format!("{name}/1_Pooling/config.json"), config);
        }
    }
    place.write("lines.txt", "t1 t2 t3\nt4 t5\n");
    let embed = |model: &str, more: &[&str]| {
        let args = [&["embed", model, "lines.txt"], more].concat();
        place.run(&args).ok().stdout
    };
    let (last, mean) = (embed("plain", &[]), embed("plain", &["--pooling", "mean"]));
    assert_ne!(last, mean);
    assert_eq!(embed("last", &[]), last);
    assert_eq!(embed("mean", &[]), mean);
    assert_eq!(embed("mean", &["--pooling", "last"]), last);
    assert_eq!(embed("cls", &["--pooling", "mean"]), mean);
    place.fails(
        &["embed", "cls", "lines.txt"],
        &["by cls, which is not done here", "--pooling"],
    );
    let text = place.run(&["inspect", "mean"]).ok().stdout;
    let shown = format!(
        "{:<23} mean of all tokens\n{:<23}   from 1_Pooling/config.json, mean\n",
        "pooling", ""
    );
    assert!(text.contains(&shown), "{text}");
}

#[test]
fn lines_become_vectors() {
    let place = Place::new();
    place.train("r", &["--set", "train.steps=1"]);
    place.write("lines.txt", "abc\n\nabc abc\n");
    place.write("lines.jsonl", "{\"t\":\"abc\"}\n{\"t\":\"abc abc\"}\n");
    let plain = place.run(&["embed", "r", "lines.txt"]).ok().stdout;
    let vectors: Vec<Vec<f64>> = plain
        .lines()
        .map(|line| {
            let value: serde_json::Value = serde_json::from_str(line).unwrap();
            let embedding = value["embedding"].as_array().unwrap();
            embedding.iter().map(|x| x.as_f64().unwrap()).collect()
        })
        .collect();
    assert_eq!(vectors.len(), 2);
    for vector in &vectors {
        let squares: f64 = vector.iter().map(|x| x * x).sum();
        // A float of each element, rounded by 2^-24 of it.
        assert!((squares - 1.0).abs() < 1e-6, "{squares}");
    }
    let fields = place
        .run(&["embed", "r", "lines.jsonl", "--field", "t"])
        .ok()
        .stdout;
    assert_eq!(fields, plain);
    place
        .run(&["embed", "r", "lines.txt", "--npy", "v.npy"])
        .ok();
    let npy = std::fs::read(place.path("v.npy")).unwrap();
    let width = vectors[0].len();
    assert_eq!(
        npy.len() % 64,
        2 * width * 4 % 64,
        "the data start at a multiple of 64"
    );
    let first = f32::from_le_bytes(npy[npy.len() - 8 * width..][..4].try_into().unwrap());
    assert_eq!(first, vectors[0][0] as f32);
    assert!(npy.starts_with(b"\x93NUMPY\x01\x00"));
    place.fails(
        &["embed", "r", "lines.jsonl", "--field", "x"],
        &["line 1", "`x`"],
    );
}
