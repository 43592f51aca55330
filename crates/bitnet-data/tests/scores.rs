//! BLEU against sacrebleu: `golden/bleu.json` is made by `golden/bleu.py`.

use bitnet_data::scores::bleu;
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    hypotheses: Vec<String>,
    references: Vec<String>,
    score: f64,
    precisions: [f64; 4],
    brevity_penalty: f64,
    hypothesis_length: usize,
    reference_length: usize,
}

#[test]
fn bleu_is_sacrebleu_s() {
    let golden: Vec<Golden> = serde_json::from_str(include_str!("golden/bleu.json")).unwrap();
    assert!(golden.len() >= 20);
    for case in golden {
        let ours = bleu(&case.hypotheses, &case.references);
        let what = format!("{:?}: {ours:?}", case.hypotheses);
        assert_eq!(ours.hypothesis_length, case.hypothesis_length, "{what}");
        assert_eq!(ours.reference_length, case.reference_length, "{what}");
        assert!(
            (ours.brevity_penalty - case.brevity_penalty).abs() < 1e-12,
            "{what}"
        );
        for (ours, theirs) in ours.precisions.iter().zip(case.precisions) {
            assert!((ours - theirs).abs() < 1e-9, "{what} {theirs}");
        }
        assert!(
            (ours.score - case.score).abs() < 1e-9,
            "{what} {}",
            case.score
        );
    }
}

#[test]
fn no_output_scores_nothing() {
    assert_eq!(bleu::<&str, &str>(&[], &[]).score, 0.0);
}
