//! The backends compute the same, and `doctor` says which there are.

mod common;

#[cfg(feature = "ndarray")]
use std::collections::BTreeMap;
use std::io::Write as _;

#[cfg(feature = "ndarray")]
use burn_pack::Reader;
use common::{DEBUG, Place, has_keys, losses};
use serde_json::Value;

fn doctor() -> Value {
    Place::new().run_unchanged(&["doctor", "-o", "json"]).json()
}

/// What `doctor` says of a backend.
fn backend(name: &str) -> Value {
    let report = doctor();
    let backends = report["backends"].as_array().unwrap();
    backends
        .iter()
        .find(|backend| backend["name"] == name)
        .unwrap()
        .clone()
}

fn devices(backend: &Value) -> usize {
    backend["devices"].as_array().unwrap().len()
}

/// The first WGPU adapter, as `doctor` shows it. A user's machine may have none; the project's own checks may not go
/// without.
#[cfg(feature = "wgpu")]
fn adapter() -> Option<Value> {
    let wgpu = backend("wgpu");
    if devices(&wgpu) == 0 {
        assert!(
            std::env::var("CI").as_deref() != Ok("true"),
            "no WGPU adapter, but CI=true: install one (Mesa's lavapipe will do)"
        );
        // Not `println`, which the test harness hides when the test passes.
        let _ = writeln!(std::io::stderr(), "SKIPPED: no WGPU adapter");
        return None;
    }
    Some(wgpu["devices"][0].clone())
}

/// Trains on a backend and on flex, into folders of their names, and compares every logged loss, of training and of
/// validation.
fn agrees_with_flex(name: &str, settings: &[&str], bound: f64) -> Place {
    let place = Place::new();
    let curve = |backend: &str| {
        place.train(backend, &[&["--backend", backend], settings].concat());
        losses(&place.read(&format!("{backend}/metrics.jsonl")))
    };
    let (flex, other) = (curve("flex"), curve(name));
    assert!(flex.len() >= 4, "{flex:?}");
    assert_eq!(flex.len(), other.len());
    for ((kind, step, expected), (other_kind, other_step, loss)) in flex.iter().zip(&other) {
        assert_eq!((kind, step), (other_kind, other_step));
        assert!(
            (loss - expected).abs() < bound,
            "{kind} loss of step {step}: {loss} on {name}, {expected} on flex"
        );
    }
    place
}

/// The bytes of every parameter of a run's last checkpoint by name; the ids are random.
#[cfg(feature = "ndarray")]
fn parameters(place: &Place, run: &str) -> BTreeMap<String, Vec<u8>> {
    let checkpoints = std::fs::read_dir(place.path(run).join("checkpoints")).unwrap();
    let last = checkpoints.map(|entry| entry.unwrap().path()).max();
    let record = Reader::from_file(last.unwrap().join("model.bpk")).unwrap();
    let names = record.tensor_names().into_iter();
    names
        .map(|name| (name.to_owned(), record.tensor_data(name).unwrap()))
        .collect()
}

#[test]
#[cfg(feature = "ndarray")]
fn ndarray_trains_as_flex_does() {
    for linear in ["ternary", "float"] {
        let set = format!("model.linear={linear}");
        // The weights are the same bits. The mean of a loss is Burn's, which sums in another order: four units in the last
        // place of a loss between 4 and 8.
        let place = agrees_with_flex("ndarray", &["--set", &set], 4.0 * 2f64.powi(-21));
        let (flex, other) = (parameters(&place, "flex"), parameters(&place, "ndarray"));
        assert!(flex.len() > 10 && flex == other, "{linear}: other weights");
    }
}

/// Fewer steps of a smaller model: a software adapter compiles shaders for minutes, and each shape has its own.
#[test]
#[cfg(feature = "wgpu")]
fn wgpu_trains_as_flex_does() {
    if adapter().is_none() {
        return;
    }
    agrees_with_flex(
        "wgpu",
        &[
            "--set",
            "train.steps=3",
            "--set",
            "train.log_interval=1",
            "--set",
            "model.num_hidden_layers=1",
            "--set",
            "data.characters=2000",
        ],
        1e-3,
    );
}

/// A model that Flex has trained, on the adapter in 16 bits.
#[test]
#[cfg(feature = "wgpu")]
fn wgpu_runs_in_half_precision() {
    if adapter().is_none() {
        return;
    }
    let place = Place::new();
    place.train("run", &["--set", "data.characters=3000"]);
    let on_gpu = ["--backend", "wgpu", "-o", "json"];
    let loss = |dtype: &str| {
        let eval = ["eval", "run", "--dtype", dtype];
        place.run(&[&eval[..], &on_gpu].concat()).json()["loss"]
            .as_f64()
            .unwrap()
    };
    let (full, half) = (loss("f32"), loss("f16"));
    assert!(full != half && (full - half).abs() < 0.01, "{full} {half}");
    let generate = ["generate", "run", "--prompt", "One", "--dtype", "f16"];
    let few = ["--max-new-tokens", "5"];
    let written = place.run(&[&generate[..], &few, &on_gpu].concat()).json();
    assert_eq!(written["tokens"], 5);
}

/// Where the adapter has no 16-bit floats, as through OpenGL, they are refused before anything runs.
#[test]
#[cfg(feature = "wgpu")]
fn f16_is_refused_where_the_adapter_has_none() {
    let Some(adapter) = adapter() else { return };
    if adapter["limits"]["f16"] == true {
        let _ = writeln!(std::io::stderr(), "SKIPPED: the WGPU adapter has f16");
        return;
    }
    let place = Place::new();
    place.train("run", &["--set", "data.characters=3000"]);
    place.fails(
        &["eval", "run", "--backend", "wgpu", "--dtype", "f16"],
        &["no 16-bit floats", "run the model in f32"],
    );
}

/// What the first adapter binds at once bounds a model, and `doctor` says how much that is.
#[test]
#[cfg(feature = "wgpu")]
fn a_matrix_beyond_the_adapter_is_refused() {
    let Some(adapter) = adapter() else { return };
    let limits = &adapter["limits"];
    has_keys(limits, &["binding_bytes", "shared_bytes", "units_per_cube"]);
    let limit = limits["binding_bytes"].as_u64().unwrap();
    let rows = limit / (4 * 32) + 1;
    let set = format!("model.intermediate_size={rows}");
    let place = Place::new();
    // A ternary layer of so many columns is refused on every backend.
    let float = ["--set", "model.linear=float"];
    let args = [&["--backend", "wgpu", "--set", &set][..], &float].concat();
    place.fails(
        &[&["train", DEBUG, "--run-dir", "run"], &args[..]].concat(),
        &["mlp.gate_proj", "binds at most", "--backend flex"],
    );
    place.fails(
        &["train", DEBUG, "--backend", "wgpu", "--device", "99"],
        &["no device 99", "bitnet doctor"],
    );
}

#[test]
fn doctor_lists_every_backend() {
    let report = doctor();
    has_keys(&report, &["version", "cpu", "backends"]);
    has_keys(&report["cpu"], &["features", "kernel"]);
    assert!(!report["cpu"]["kernel"].as_str().unwrap().is_empty());
    let backends = report["backends"].as_array().unwrap();
    let names: Vec<_> = backends
        .iter()
        .map(|b| b["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["flex", "ndarray", "wgpu", "cuda"]);
    let compiled: Vec<_> = backends
        .iter()
        .map(|b| b["compiled"].as_bool().unwrap())
        .collect();
    let expected = [
        cfg!(feature = "flex"),
        cfg!(feature = "ndarray"),
        cfg!(feature = "wgpu"),
        cfg!(feature = "cuda"),
    ];
    assert_eq!(compiled, expected);
    for (backend, compiled) in backends.iter().zip(compiled) {
        if !compiled {
            assert_eq!(devices(backend), 0);
            assert!(
                backend["note"].as_str().unwrap().contains("--features"),
                "{backend:#}"
            );
        } else if ["flex", "ndarray"].contains(&backend["name"].as_str().unwrap()) {
            assert_eq!(devices(backend), 1);
        }
    }

    let text = Place::new().run_unchanged(&["doctor"]).ok().stdout;
    for name in names {
        assert!(
            text.lines().any(|line| line.starts_with(name)),
            "{name} is not in:\n{text}"
        );
    }
    assert!(text.contains(report["cpu"]["kernel"].as_str().unwrap()));
    Place::new().fails(&["doctor", "-o", "md"], &["text or json"]);
}
