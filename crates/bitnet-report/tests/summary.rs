//! `summary.json` as a contract: its keys, and what comes back after a round trip.

mod common;

use bitnet_report::{Summary, SummaryError};
use common::made_up;

#[test]
fn the_contract_keys_are_there() {
    let json = serde_json::to_value(made_up()).expect("plain data");
    let keys = "name params train.steps train.tokens train.seconds train.tokens_per_second train.peak_rss_bytes \
                val.loss val.perplexity val.accuracy packed inference.prefill_tps inference.decode_tps \
                inference.peak_rss_bytes energy.method";
    for twin in json["twins"].as_array().expect("a list") {
        for key in keys.split_whitespace() {
            let pointer = format!("/{}", key.replace('.', "/"));
            assert!(twin.pointer(&pointer).is_some(), "{key}");
        }
    }
    assert!(json["report"].is_string());
    assert!(json["twins"][0]["packed"].is_null());
    let packed = &json["twins"][1]["packed"];
    for key in ["val_loss", "weight_bytes", "file_bytes"] {
        assert!(packed[key].is_number(), "{key}");
    }
    assert_eq!(
        packed["token_match"],
        serde_json::json!({"compared": 4096, "equal": 4094})
    );
}

#[test]
fn a_round_trip_changes_nothing() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join("summary.json");
    let summary = made_up();
    summary.save(&path).expect("it is writable");
    assert_eq!(Summary::load(&path).expect("just written"), summary);
}

#[test]
fn a_diverged_loss_survives_as_nan() {
    let mut summary = made_up();
    summary.twins[1].val.loss = f64::NAN;
    summary.twins[1].train_curve[3].loss = f64::INFINITY;
    let json = serde_json::to_string(&summary).expect("plain data");
    let again: Summary = serde_json::from_str(&json).expect("null stands for NaN");
    assert!(again.twins[1].val.loss.is_nan() && again.twins[1].train_curve[3].loss.is_nan());
}

#[test]
fn older_and_newer_summaries_load() {
    let json = r#"{"twins": [{"name": "float", "params": 1, "val": {"loss": 1, "perplexity": 2.7, "accuracy": 0},
                   "packed": null, "some_new_key": {}}], "another": 1}"#;
    let summary: Summary =
        serde_json::from_str(json).expect("missing keys have defaults, unknown ones are skipped");
    assert_eq!(summary.twins[0].params, 1);
}

#[test]
fn errors_name_the_file() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join("summary.json");
    let missing = Summary::load(&path).expect_err("there is no file");
    assert!(
        matches!(missing, SummaryError::Read { .. })
            && missing.to_string().contains("summary.json")
    );
    std::fs::write(&path, "{\"twins\": 3}").expect("it is writable");
    let wrong = Summary::load(&path).expect_err("not a list");
    assert!(
        matches!(wrong, SummaryError::Parse { .. }) && wrong.to_string().contains("summary.json")
    );
}
