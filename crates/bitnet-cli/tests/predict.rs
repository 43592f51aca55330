//! A trained model asked about new examples, and scored on any file.

mod common;

use std::io::Write;
use std::process::Stdio;

use common::{Place, Ran, has_keys, number};
use serde_json::Value;

const TRAIN: &str =
    "\n[train]\nsteps = 30\nbatch_size = 8\nwarmup_steps = 2\nlearning_rate = 2e-2\n";

fn trained_classifier() -> Place {
    let place = Place::new();
    let rows: String = (0..60)
        .map(|i| match i % 3 {
            0 => format!("cat,\"it meows, {i}\"\n"),
            1 => format!("dog,it barks {i}\n"),
            _ => format!("cat,it purrs {i}\n"),
        })
        .collect();
    place.write("pets.csv", format!("label,text\n{rows}"));
    let model = "task = \"classify\"\n[model]\nhidden_size = 16\nintermediate_size = 32\nnum_hidden_layers = 1\n\
                 num_attention_heads = 2\nmax_position_embeddings = 24\n[data]\npath = \"pets.csv\"\nshuffle = false\nmax_length = 20\n\
                 validation_examples = 9\ntest_examples = 9\n";
    place.write("pets.toml", model.to_owned() + TRAIN);
    place
        .run(&["train", "pets.toml", "--run-dir", "run", "-q"])
        .ok();
    place
}

fn lines(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Runs with a text on stdin.
fn with_stdin(place: &Place, args: &[&str], text: &str) -> Ran {
    let mut child = place
        .command(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    child.wait_with_output().unwrap().into()
}

#[test]
fn a_classifier_answers_for_flags_files_and_streams() {
    let place = trained_classifier();
    let text = place
        .run(&[
            "predict",
            "run",
            "--text",
            "it barks 7",
            "--text",
            "it meows",
        ])
        .ok();
    assert_eq!(text.stdout.lines().count(), 2, "{text:#?}");
    assert!(text.stdout.contains("%  it barks 7"), "{text:#?}");

    // The same answers from every form of the same examples, also in batches of another size.
    let examples = ["it barks 7", "it meows, 3", "it purrs"];
    let json = examples
        .map(|text| format!("{{\"text\": \"{text}\", \"other\": 1}}\n"))
        .concat();
    place.write("a.jsonl", json);
    place.write(
        "a.csv",
        "id,text\n1,it barks 7\n2,\"it meows, 3\"\n3,it purrs\n",
    );
    let typed = examples.join("\n");
    let flags: Vec<&str> = examples.iter().flat_map(|text| ["--text", text]).collect();
    let expected = place
        .run(&[&["predict", "run", "-o", "json"], &flags[..]].concat())
        .ok();
    let expected = lines(&expected.stdout);
    assert_eq!(expected.len(), 3);
    for answer in &expected {
        has_keys(
            answer,
            &["line", "text", "predicted", "probability", "probabilities"],
        );
        let sum = number(&answer["probabilities"], "cat") + number(&answer["probabilities"], "dog");
        assert!((sum - 1.0).abs() < 1e-5, "{answer}");
        let predicted = answer["predicted"].as_str().unwrap();
        assert_eq!(answer["probabilities"][predicted], answer["probability"]);
        assert!(number(answer, "probability") >= 0.5, "{answer}");
    }
    assert_eq!(
        (&expected[0]["predicted"], &expected[1]["predicted"]),
        (&"dog".into(), &"cat".into())
    );
    let close = |ran: Ran| {
        for (found, expected) in lines(&ran.ok().stdout).iter().zip(&expected) {
            assert_eq!(
                (&found["text"], &found["predicted"]),
                (&expected["text"], &expected["predicted"])
            );
            assert!((number(found, "probability") - number(expected, "probability")).abs() < 1e-4);
        }
    };
    close(place.run(&["predict", "run", "a.jsonl", "-o", "json"]));
    close(place.run(&[
        "predict", "run", "--data", "a.csv", "--batch", "1", "-o", "json",
    ]));
    close(with_stdin(
        &place,
        &["predict", "run", "-", "-o", "json"],
        &typed,
    ));
    close(with_stdin(
        &place,
        &["predict", "run", "--latent", "-", "-o", "json"],
        &typed,
    ));

    // A table, whose texts come back whole.
    let csv = place.run(&["predict", "run", "a.csv", "-o", "csv"]).ok();
    let table: Vec<&str> = csv.stdout.lines().collect();
    assert_eq!(table[0], "line,text,label,predicted,probability,cat,dog");
    assert!(table[2].starts_with("3,\"it meows, 3\",,cat,"), "{csv:#?}");

    // A stream that is longer than a batch is answered line by line.
    let many: String = (0..1000).map(|i| format!("it barks {i}\n")).collect();
    let ran = with_stdin(&place, &["predict", "run", "-", "-o", "json"], &many).ok();
    assert_eq!(lines(&ran.stdout).last().unwrap()["line"], 1000);
}

#[test]
fn what_cannot_be_asked_is_said() {
    let place = trained_classifier();
    place.write("words.csv", "id,words\n1,a\n");
    place.write("empty.csv", "");
    for (args, says) in [
        (&["predict", "run"][..], &["--text"][..]),
        (&["predict", "run", "nowhere.csv"], &["nowhere.csv"]),
        (
            &["predict", "run", "words.csv"],
            &["words.csv, line 1", "\"text\"", "2 is \"words\""],
        ),
        (&["predict", "run", "empty.csv"], &["empty"]),
        (&["predict", "run", "--text", " "], &["--text is empty"]),
        (
            &["predict", "run", "--text", "x", "-o", "md"],
            &["text, json", "csv"],
        ),
        (
            &["eval", "run", "--data", "words.csv"],
            &["words.csv", "\"label\""],
        ),
        (
            &["eval", "run", "--predictions", "p.txt"],
            &[".csv or .jsonl"],
        ),
        (&["eval", "run", "--confusion", "c.png"], &[".svg"]),
        (
            &["eval", "run", "--references", "x", "--data", "pets.csv"],
            &["translate"],
        ),
        (
            &["eval", "run", "--context", "4"],
            &["--context", "language models"],
        ),
        (&["eval", "run", "--columns", "a"], &["--data"]),
    ] {
        place.fails(args, says);
    }
    place
        .run(&["predict", "run", "words.csv", "--columns", "words"])
        .ok();
    place.write("birds.csv", "label,text\ncat,it meows\nbird,it sings\n");
    place.fails(
        &[
            "eval",
            "run",
            "--data",
            "birds.csv",
            "--predictions",
            "p.csv",
        ],
        &["line 3", "\"bird\"", "cat, dog"],
    );
    place.write("bare.csv", "text\nit meows\n");
    place.fails(
        &["eval", "run", "--data", "bare.csv"],
        &["bare.csv", "\"label\""],
    );
    place.train("lm", &[]);
    place.fails(
        &["predict", "lm", "--text", "x"],
        &["lm", "bitnet generate"],
    );
    place.fails(
        &["eval", "lm", "--predictions", "p.csv"],
        &["--predictions", "language model"],
    );
}

#[test]
fn a_classifier_is_scored_on_any_file_beside_what_it_has_to_beat() {
    let place = trained_classifier();
    let test = place.run(&["eval", "run", "-o", "json"]).json();
    has_keys(
        &test,
        &[
            "examples",
            "accuracy",
            "macro_f1",
            "loss",
            "classes",
            "confusion",
        ],
    );
    // Two of three rows are cats; every word tells its class.
    assert_eq!(number(&test, "examples"), 9.0);
    assert!(
        (number(&test, "majority_accuracy") - 2.0 / 3.0).abs() < 1e-9,
        "{test}"
    );
    assert_eq!(number(&test, "naive_bayes_accuracy"), 1.0);
    assert!(
        test.get("perplexity").is_none() && test.get("tokens").is_none(),
        "{test}"
    );
    let confusion = &test["confusion"];
    let sum: u64 = (0..2)
        .flat_map(|i| (0..2).map(move |j| (i, j)))
        .map(|(i, j)| confusion[i][j].as_u64().unwrap())
        .sum();
    assert_eq!(sum, 9);

    // The same nine rows as a file of their own.
    let rows = place.read("pets.csv");
    let last: Vec<&str> = rows.lines().skip(52).collect();
    place.write("last.csv", format!("label,text\n{}\n", last.join("\n")));
    let args = [
        "eval",
        "run",
        "--data",
        "last.csv",
        "--predictions",
        "p.csv",
        "--confusion",
        "c.svg",
    ];
    let file = place.run(&[&args[..], &["-o", "json"]].concat()).json();
    for key in [
        "accuracy",
        "macro_f1",
        "majority_accuracy",
        "naive_bayes_accuracy",
    ] {
        assert_eq!(file[key], test[key], "{key}");
    }
    assert!((number(&file, "loss") - number(&test, "loss")).abs() < 1e-5);
    let predictions = place.read("p.csv");
    assert_eq!(predictions.lines().count(), 10, "{predictions}");
    assert!(
        predictions.lines().nth(1).unwrap().contains(",cat,cat,"),
        "{predictions}"
    );
    assert!(
        place
            .read("c.svg")
            .contains("Which class is taken for which")
    );

    let text = place.run(&["eval", "run"]).ok().stdout;
    for part in [
        "9 examples: accuracy",
        "to beat: accuracy",
        "by always saying \"cat\"",
        "naive Bayes",
        "precision",
        "taken for",
    ] {
        assert!(text.contains(part), "{text}");
    }
    // Without the training data the file is scored all the same.
    std::fs::remove_file(place.path("pets.csv")).unwrap();
    let ran = place.run(&["eval", "run", "--data", "last.csv", "-o", "json"]);
    assert!(
        ran.stderr
            .contains("note: without the data of the training"),
        "{ran:#?}"
    );
    let bare = ran.json();
    assert_eq!(bare["accuracy"], test["accuracy"]);
    assert!(bare.get("majority_accuracy").is_none(), "{bare}");
}

#[test]
fn vectors_are_classified_without_their_training_data() {
    let place = Place::new();
    let rows: String = (0..60)
        .map(|i| format!("{},{},{}\n", 10 * (i % 7), i % 3, i % 3))
        .collect();
    place.write("v.csv", rows);
    let config = "task = \"vectors\"\n[model]\nhidden_size = 16\nnum_hidden_layers = 1\n[data]\npath = \"v.csv\"\n\
                  validation_examples = 5\ntest_examples = 10\n";
    place.write("v.toml", config.to_owned() + TRAIN);
    place
        .run(&["train", "v.toml", "--run-dir", "run", "-q"])
        .ok();
    let test = place
        .run(&["eval", "run", "--predictions", "p.jsonl", "-o", "json"])
        .json();
    assert!(test.get("majority_accuracy").is_some() && test.get("naive_bayes_accuracy").is_none());
    assert_eq!(lines(&place.read("p.jsonl")).len(), 10);
    place.write("new.csv", "0,1\n60,2\n");
    place.write("labelled.csv", "0,1,1\n60,2,2\n");
    let ask = |place: &Place, file: &str| {
        lines(
            &place
                .run(&["predict", "run", file, "-o", "json"])
                .ok()
                .stdout,
        )
    };
    let before = ask(&place, "new.csv");
    std::fs::remove_file(place.path("v.csv")).unwrap();
    let after = ask(&place, "new.csv");
    assert_eq!(before, after);
    let labelled = ask(&place, "labelled.csv");
    assert_eq!(labelled[1]["label"], "2");
    assert_eq!(labelled[1]["probability"], after[1]["probability"]);
    let text = with_stdin(&place, &["predict", "run", "-"], "0,1\n").ok();
    assert!(text.stdout.contains("line 1"), "{text:#?}");
    place.write("wide.csv", "0,1,2,3\n");
    place.fails(
        &["predict", "run", "wide.csv"],
        &["wide.csv, line 1", "4 columns", "2 numbers"],
    );
}

#[test]
fn a_translator_writes_hypotheses_and_is_scored_on_them() {
    let place = Place::new();
    let words = ["ein Haus", "zwei Hunde", "ein Hund", "drei Katzen"];
    let pairs: String = (0..24)
        .map(|i| format!("{} d{i}\t{} e{i}\n", words[i % 4], words[(i + 1) % 4]))
        .collect();
    place.write("pairs.tsv", &pairs);
    let config = "task = \"translate\"\n[model]\nhidden_size = 16\nintermediate_size = 32\nnum_hidden_layers = 1\n\
                  num_attention_heads = 2\nmax_position_embeddings = 24\n[data]\npath = \"pairs.tsv\"\nshuffle = false\nvalidation_examples = 2\n\
                  test_examples = 4\n[decode]\nbeam = 2\nmax_length = 8\n";
    place.write("t.toml", config.to_owned() + TRAIN);
    place
        .run(&["train", "t.toml", "--run-dir", "run", "-q"])
        .ok();
    let sources: String = pairs
        .lines()
        .map(|line| line.split('\t').next().unwrap().to_owned() + "\n")
        .collect();
    let plain = with_stdin(&place, &["predict", "run", "-"], &sources).ok();
    assert_eq!(plain.stdout.lines().count(), 24);
    let json = lines(
        &place
            .run(&["predict", "run", "pairs.tsv", "-o", "json"])
            .ok()
            .stdout,
    );
    for (line, answer) in plain.stdout.lines().zip(&json) {
        assert_eq!(answer["hypothesis"], line);
    }
    let one = place
        .run(&["generate", "run", "--prompt", "ein Haus d0"])
        .ok();
    assert_eq!(
        one.stdout.trim_end_matches('\n'),
        plain.stdout.lines().next().unwrap()
    );
    // The test split is the last four pairs.
    let last: Vec<&str> = pairs.lines().skip(20).collect();
    place.write("last.tsv", last.join("\n"));
    let test = place.run(&["eval", "run", "-o", "json"]).json();
    let file = place
        .run(&[
            "eval",
            "run",
            "--data",
            "last.tsv",
            "--predictions",
            "h.jsonl",
            "-o",
            "json",
        ])
        .json();
    assert_eq!(test, file);
    assert_eq!(number(&test, "examples"), 4.0);
    let hypotheses = lines(&place.read("h.jsonl"));
    has_keys(&hypotheses[0], &["source", "hypothesis", "reference"]);
    let column = |at: usize| -> String {
        last.iter()
            .map(|line| line.split('\t').nth(at).unwrap().to_owned() + "\n")
            .collect()
    };
    place.write("src", column(0));
    place.write("ref", column(1));
    let two = place
        .run(&[
            "eval",
            "run",
            "--data",
            "src",
            "--references",
            "ref",
            "-o",
            "json",
        ])
        .json();
    assert_eq!(test, two);
    place.fails(
        &["eval", "run", "--data", "src"],
        &["--references", "--columns"],
    );
    place.fails(&["eval", "run", "--confusion", "x.svg"], &["--confusion"]);
}

#[test]
fn a_checkpoint_is_a_model_and_a_comparison_names_its_twins() {
    let place = Place::new();
    place.train("whole", &["--set", "train.keep_checkpoints=9"]);
    for command in [
        &["eval"][..],
        &["generate", "--prompt", "One", "--max-new-tokens", "3"],
        &["logits", "--tokens", "1,2"],
    ] {
        let at = |folder: &str| {
            let args = [&[command[0], folder], &command[1..], &["-o", "json"]].concat();
            let mut answer = place.run(&args).json();
            if let Some(object) = answer.as_object_mut() {
                object.retain(|key, _| !key.ends_with("_ms"));
            }
            answer
        };
        let first = at("whole/checkpoints/step-00000010");
        assert_ne!(first, at("whole/checkpoints/step-00000020"), "{command:?}");
        assert_eq!(
            at("whole"),
            at("whole/checkpoints/step-00000020/"),
            "{command:?}"
        );
    }
    std::fs::create_dir(place.path("my")).unwrap();
    place.train("my/float", &["--set", "model.linear=float"]);
    place.train("my/ternary", &[]);
    place.fails(
        &["generate", "my", "--prompt", "One"],
        &["my: it holds several models", "my/float", "my/ternary"],
    );
}
