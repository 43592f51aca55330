//! Evaluating and generating: the same again, and the same from the packed and the latent weights.

mod common;

use common::{Place, has_keys, number};
use serde_json::Value;

#[test]
fn evaluation_repeats_the_summary() {
    let place = Place::new();
    for linear in ["ternary", "float"] {
        let set = format!("model.linear=\"{linear}\"");
        let summary = place.train(linear, &["--set", &set]);
        for more in [&[][..], &["--latent"]] {
            let eval = place.run_unchanged(&[&["eval", linear, "-q", "-o", "json"], more].concat());
            assert_eq!(eval.stderr, "");
            let eval = eval.json();
            has_keys(
                &eval,
                &["tokens", "loss", "perplexity", "bits_per_byte", "accuracy"],
            );
            let (loss, expected) = (number(&eval, "loss"), number(&summary, "val_loss"));
            assert!(
                (loss - expected).abs() < 1e-9,
                "{linear} {more:?}: {loss} and {expected}"
            );
            assert_eq!(number(&eval, "perplexity"), loss.exp());
            let bits = loss / std::f64::consts::LN_2;
            assert!(
                (number(&eval, "bits_per_byte") - bits).abs() < 1e-9,
                "{eval:#}"
            );
        }
    }
    let text = "One morning Tom found a red key by the well. ".repeat(5);
    place.write("other.txt", &text);
    let eval = place
        .run(&["eval", "ternary", "--data", "other.txt", "-o", "json"])
        .json();
    assert_eq!(number(&eval, "tokens"), (text.len() - 1) as f64);
    let loss = number(&eval, "loss");
    assert!((1.0..5.0).contains(&loss), "{eval:#}");
}

#[test]
fn generation_is_repeatable_and_packed_writes_as_latent_does() {
    let place = Place::new();
    place.train("run", &[]);
    let generate = |more: &[&str]| {
        let base = ["generate", "run", "--prompt", "One"];
        place.run_unchanged(&[&base, more].concat()).ok()
    };
    let json = |more: &[&str]| -> Value {
        serde_json::from_str(&generate(&[more, &["-o", "json"]].concat()).stdout).unwrap()
    };
    let short = json(&["--seed", "3", "--max-new-tokens", "40"]);
    assert_eq!(short["text"].as_str().unwrap().chars().count(), 40);
    assert_eq!(number(&short, "tokens"), 40.0);
    // The context holds 64 tokens, the prompt has 3, and the last token written is never read.
    let first = json(&["--seed", "3"]);
    has_keys(
        &first,
        &["prompt_tokens", "tokens", "text", "ttft_ms", "tpot_ms"],
    );
    assert_eq!(
        (number(&first, "prompt_tokens"), number(&first, "tokens")),
        (3.0, 62.0)
    );
    let text = first["text"].as_str().unwrap();
    assert!(text.starts_with(short["text"].as_str().unwrap()));
    assert_eq!(json(&["--seed", "3"])["text"], text);
    assert_eq!(json(&["--seed", "3", "--threads", "1"])["text"], text);
    assert_ne!(json(&["--seed", "4"])["text"], text);

    let streamed = generate(&["--seed", "3", "-q"]);
    assert_eq!(streamed.stdout, format!("One{text}\n"));
    assert_eq!(streamed.stderr, "");

    let greedy = ["--temperature", "0"];
    let packed = json(&greedy);
    assert_eq!(
        json(&["--temperature", "0", "--latent"])["text"],
        packed["text"]
    );
    assert_eq!(json(&["--top-k", "1"])["text"], packed["text"]);
    assert_eq!(
        json(&["--temperature", "0", "--seed", "9"])["text"],
        packed["text"]
    );

    let stop: String = text.chars().skip(20).take(2).collect();
    let before = &text[..text.find(&stop).unwrap()];
    assert_eq!(json(&["--seed", "3", "--stop", &stop])["text"], before);
    let streamed = generate(&["--seed", "3", "--stop", &stop]);
    assert_eq!(streamed.stdout, format!("One{before}\n"));
    assert_eq!(
        json(&["--seed", "3", "--stop", "never written"])["text"],
        text
    );
    assert_eq!(json(&["--max-new-tokens", "0"])["text"], "");
}
