//! Training that starts from another model: files of others, runs, chats, teachers; and files as runs.

mod common;

use std::fs;
use std::path::Path;

use common::{Place, number};
use serde_json::Value;

const TEXT: &str =
    "The cat sat on the mat. The dog ran to the cat. A cat is no dog, and a mat is no hat.\n";

/// What is tuned, from `source`.
const TUNE: &str = r#"
[data]
kind = "text"
path = "text.txt"

[train]
init_from = "source"
steps = 6
batch_size = 2
context = 16
warmup_steps = 1
learning_rate = 1e-3
lambda_warmup = 0.5
eval_interval = 3
checkpoint_interval = 3
"#;

/// A template as ChatML, short enough for a tiny model; `;` ends a turn.
const TEMPLATE: &str = "{% for m in messages %}{{ m.role[:1] }}:{{ m.content }};{% endfor %}\
                        {% if add_generation_prompt %}a:{% endif %}";

const CHATS: &str = r#"{"messages": [{"role": "user", "content": "cat"}, {"role": "assistant", "content": "mat"}]}
{"messages": [{"role": "user", "content": "dog"}, {"role": "assistant", "content": "hat"}]}
{"messages": [{"role": "user", "content": "the"}, {"role": "assistant", "content": "cat"}]}
"#;

/// A place with a text, a configuration, and `source`: a float model in transformers' format, with BPE.
fn place() -> Place {
    let place = Place::new();
    place.write("text.txt", TEXT.repeat(20));
    place.write("tune.toml", TUNE);
    let small = [
        "--set",
        "model.linear=float",
        "--set",
        "data.level=bpe",
        "--set",
        "data.vocab_size=300",
        "--set",
        "model.hidden_size=64",
        "--set",
        "model.intermediate_size=128",
        "--set",
        "train.steps=2",
    ];
    place.train("float", &small);
    place
        .run(&["convert", "float", "source", "--to", "hf"])
        .ok();
    place
}

fn tune(place: &Place, dir: &str, more: &[&str]) -> Value {
    let args = ["train", "tune.toml", "--run-dir", dir, "-q", "-o", "json"];
    place.run(&[&args, more].concat()).json()
}

fn loss(place: &Place, args: &[&str]) -> f64 {
    let args = [&["eval"], args, &["-o", "json"]].concat();
    number(&place.run(&args).json(), "loss")
}

/// A folder of the goldens of bitnet-formats, with a tokenizer where it has none.
fn golden(place: &Place, name: &str, to: &str) {
    let goldens = Path::new(env!("CARGO_MANIFEST_DIR")).join("../bitnet-formats/tests/goldens/hf");
    fs::create_dir(place.path(to)).unwrap();
    for folder in ["bitnet", name] {
        for file in fs::read_dir(goldens.join(folder)).unwrap() {
            let path = file.unwrap().path();
            let own = path.file_name().unwrap().to_string_lossy().into_owned();
            if folder == name || own.starts_with("tokenizer") {
                fs::copy(&path, place.path(to).join(own)).unwrap();
            }
        }
    }
}

#[test]
fn a_float_model_becomes_ternary_and_goes_back_out() {
    let place = place();
    let summary = tune(&place, "tuned", &[]);
    assert_eq!(number(&summary, "steps"), 6.0);
    let config = place.read("tuned/config.toml");
    for line in [
        "linear = \"ternary\"",
        "hidden_size = 64",
        "level = \"model\"",
        "init_from = \"source\"",
    ] {
        assert!(config.contains(line), "{line}: {config}");
    }
    // It has the tokenizer of what it started from, and runs as any run does.
    let ids = |model: &str| place.run(&["tokenize", model, "The cat"]).ok().stdout;
    assert_eq!(ids("tuned"), ids("source"));
    place
        .run(&[
            "generate",
            "tuned",
            "--prompt",
            "The cat",
            "--max-new-tokens",
            "4",
        ])
        .ok();
    let held_back = loss(&place, &["tuned"]);
    assert!((held_back - number(&summary, "val_loss")).abs() < 1e-3);
    assert!(loss(&place, &["tuned", "--data", "text.txt"]).is_finite());
    let shown = place.run(&["inspect", "tuned"]).ok().stdout;
    assert!(shown.contains("a run") && shown.contains("-1 "), "{shown}");
    for (format, folder) in [("hf", "out"), ("gguf-q2_0", "out.gguf")] {
        let args = ["convert", "tuned", folder, "--to", format, "--verify"];
        place.run(&args).ok();
        assert_eq!(ids(folder), ids("source"), "{format}");
    }
    // What it learned goes on from there.
    let again = [
        "--set",
        "train.init_from=tuned",
        "--set",
        "train.lambda_warmup=0",
    ];
    let again = tune(&place, "again", &again);
    let (before, after) = (
        number(&again, "initial_val_loss"),
        number(&summary, "val_loss"),
    );
    assert!((before - after).abs() < 1e-4, "{before} {after}");
    assert_eq!(ids("again"), ids("source"));
}

#[test]
fn a_tuned_run_goes_on_to_the_same_bytes_without_its_source() {
    let place = place();
    tune(&place, "tuned", &[]);
    let weights = |step: &str| {
        fs::read(place.path(&format!("tuned/checkpoints/step-{step}/model.bpk"))).unwrap()
    };
    let (whole, half) = (weights("00000006"), weights("00000003"));
    assert_ne!(whole, half);
    let state: Value =
        serde_json::from_str(&place.read("tuned/checkpoints/step-00000006/state.json")).unwrap();
    assert_eq!(state["origin"].as_str().unwrap().len(), 64);
    fs::remove_dir_all(place.path("tuned/checkpoints/step-00000006")).unwrap();
    fs::rename(place.path("source"), place.path("gone")).unwrap();
    tune(&place, "tuned", &["--resume", "auto"]);
    assert_eq!(weights("00000006"), whole);
    // Its tokenizer is sealed as its weights are.
    let path = place.path("tuned/origin/tokenizer.json");
    let json = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("{json}\n")).unwrap();
    place.fails(
        &["generate", "tuned", "--prompt", "The"],
        &["tuned/origin", "checksum"],
    );
}

#[test]
fn the_model_decides_its_sizes_and_its_tokenizer() {
    let place = place();
    let fails = |set: &str, says: &[&str]| {
        let args = ["train", "tune.toml", "--run-dir", "new", "--set", set];
        place.fails(&args, says);
        assert!(!place.path("new").exists(), "{set}");
    };
    fails(
        "model.hidden_size=128",
        &[
            "model.hidden_size = 128",
            "train.init_from has, 64",
            "leave it out",
        ],
    );
    fails("model.qk_norm=true", &["model.qk_norm", "leave it out"]);
    fails("model.num_decoder_layers=2", &["model.num_decoder_layers"]);
    fails("quant.norm=sub", &["quant.norm", "leave it out"]);
    fails("data.level=char", &["data.level", "tokenizer is that of"]);
    fails(
        "train.init_from=nowhere",
        &["nowhere", "nothing of that name"],
    );
    fails("task=classify", &["not read by task = \"classify\""]);
    fails("data.kind=chat", &["no chat template"]);
    place.fails(
        &["train", common::DEBUG, "--set", "data.level=model"],
        &["data.level", "train.init_from", "missing"],
    );
    // What agrees may be said.
    tune(&place, "new", &["--set", "model.hidden_size=64"]);
}

#[test]
fn answers_of_chats_are_learned() {
    let place = place();
    place.write("chats.jsonl", CHATS.repeat(4));
    place.write("chat.jinja", TEMPLATE);
    let chat = [
        "--set",
        "data.kind=chat",
        "--set",
        "data.path=chats.jsonl",
        "--set",
        "data.validation_examples=3",
    ];
    let given = ["--set", "data.chat_template=chat.jinja"];
    let summary = tune(&place, "given", &[&chat[..], &given].concat());
    let kept = place.read("given/origin/chat_template.jinja");
    assert_eq!(kept, TEMPLATE);
    assert!((loss(&place, &["given"]) - number(&summary, "val_loss")).abs() < 1e-3);
    let ask = [
        "generate",
        "given",
        "--prompt",
        "cat",
        "--chat",
        "--max-new-tokens",
        "3",
    ];
    place.run(&ask).ok();
    // The model's own does the same.
    fs::copy(
        place.path("chat.jinja"),
        place.path("source/chat_template.jinja"),
    )
    .unwrap();
    let own = tune(&place, "own", &chat);
    assert_eq!(own["val_loss"], summary["val_loss"]);
    // Resumed, it sees the same conversations.
    let weights = |dir: &str| {
        fs::read(place.path(&format!("{dir}/checkpoints/step-00000006/model.bpk"))).unwrap()
    };
    let whole = weights("own");
    fs::remove_dir_all(place.path("own/checkpoints/step-00000006")).unwrap();
    tune(&place, "own", &[&chat[..], &["--resume", "auto"]].concat());
    assert_eq!(weights("own"), whole);
    place.write("chats.jsonl", "{\"messages\": [{\"role\": \"user\"}]}\n");
    let args = [&["train", "tune.toml", "--run-dir", "new"], &chat[..]].concat();
    place.fails(&args, &["chats.jsonl, line 1", "messages"]);
}

#[test]
fn files_teach_who_has_their_tokenizer() {
    let place = place();
    let taught = |dir: &str, teacher: &str, weight: &str| {
        let weight = format!("train.distill_weight={weight}");
        let teacher = format!("train.distill_from={teacher}");
        let from = ["--set", &teacher, "--set", &weight];
        number(&tune(&place, dir, &from), "val_loss")
    };
    let plain = number(&tune(&place, "plain", &[]), "val_loss");
    assert_eq!(taught("silent", "source", "0"), plain);
    let file = taught("taught", "source", "1");
    assert_ne!(file, plain);
    // The file teaches from the engine and the run that it was made of from tensors: sums in another order, which move a
    // code of the ternary learner here and there; without a teacher it is half a nat away.
    let run = taught("by run", "float", "1");
    assert!((file - run).abs() < 1e-2, "{file} and {run}, {plain} alone");
    golden(&place, "llama-float", "other");
    place.fails(
        &[
            "train",
            "tune.toml",
            "--run-dir",
            "new",
            "--set",
            "train.distill_from=other",
        ],
        &["train.distill_from = other", "other tokens", "id "],
    );
}

/// Masters, codes, floats and groups: as a run they give their own logits, and can be trained.
#[test]
fn files_become_runs() {
    let place = Place::new();
    place.write("text.txt", "ABCABACABCBACC".repeat(40));
    for (name, ternary, codes) in [
        ("bitnet", true, true),
        ("bitnet-online", true, false),
        ("llama-float", false, false),
        ("llama-bitlinear", true, true),
    ] {
        golden(&place, name, name);
        let run = format!("{name}-run");
        let args = [
            "convert", name, &run, "--to", "run", "--verify", "-o", "json",
        ];
        let found = place.run(&args).json();
        let (error, range) = (
            number(&found, "max_abs_logit_error"),
            number(&found, "logit_range"),
        );
        assert!(error <= 1e-4 * range, "{name}: {error:e} of {range}");
        assert_eq!(place.path(&format!("{run}/packed.bpk")).exists(), ternary);
        let score = |model: &str, more: &[&str]| {
            let args = [&[model, "--data", "text.txt", "--context", "16"], more].concat();
            loss(&place, &args)
        };
        let exact = ["--head", "f32", "--kv-cache", "f32"];
        let (file, packed) = (score(name, &exact), score(&run, &[]));
        assert!((file - packed).abs() < 1e-3, "{name}: {file} {packed}");
        // The latent weights are quantised to the same codes; scales may be off by a rounding.
        let latent = score(&run, &["--latent"]);
        assert!((latent - packed).abs() < 2e-2, "{name}: {latent} {packed}");
        let tuned = format!("{name}-tuned");
        let tune = [
            "train",
            "tune.toml",
            "--run-dir",
            &tuned,
            "--set",
            &format!("train.init_from={name}"),
        ];
        place.write("tune.toml", TUNE);
        let said = place.run(&tune).ok().stderr;
        assert_eq!(said.contains("the file has codes"), codes, "{name}: {said}");
        place.fails(
            &["convert", name, &run, "--to", "run"],
            &["holds a run already"],
        );
        place.fails(
            &["convert", &run, "x", "--to", "run"],
            &["it is a run already"],
        );
    }
}

#[test]
fn what_names_no_model_is_said_so() {
    let place = Place::new();
    for command in ["eval", "inspect", "tokenize"] {
        let args = match command {
            "tokenize" => vec![command, "nowhere", "x"],
            _ => vec![command, "nowhere"],
        };
        place.fails(&args, &["nowhere", "a run's folder, a .gguf file"]);
    }
    place.fails(
        &["inspect", "hf://only"],
        &["hf://only", "expected hf://org/name"],
    );
}
