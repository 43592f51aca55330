//! The exact text of every error in reading: files, keys, types.

use std::error::Error as _;
use std::fs;

use bitnet_config::{ConfigError, Loader, RunConfig};

/// The message's first line for settings given by `--set`.
#[track_caller]
fn rejects(assignments: &[&str], message: &str) {
    let result = assignments
        .iter()
        .try_fold(Loader::new(), |loader, assignment| loader.set(assignment))
        .and_then(Loader::finish);
    assert_eq!(first_line(&result.unwrap_err()), message);
}

/// The message's first line for a built-in text named `x`.
#[track_caller]
fn rejects_text(text: &str, message: &str) {
    let error = Loader::new().builtin("x", text).unwrap_err();
    assert_eq!(first_line(&error), message);
}

/// What is said; the lines below it show where.
fn first_line(error: &ConfigError) -> String {
    error.to_string().lines().next().unwrap().to_owned()
}

#[test]
fn unreadable_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("absent.toml");
    let error = Loader::new().file(&path).unwrap_err();
    assert_eq!(error.to_string(), format!("cannot read {}", path.display()));
    assert!(
        error
            .source()
            .unwrap()
            .to_string()
            .starts_with("No such file")
    );
}

#[test]
fn errors_in_a_file_name_it_and_the_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.toml");
    fs::write(&path, "# é\n\n[train]\nsteps = 3\nleraning_rate = 1\n").unwrap();
    let error = Loader::new().file(&path).unwrap_err();
    let expected = format!(
        "{}: unknown key train.leraning_rate (line 5); did you mean train.learning_rate?\n    \
         5 | leraning_rate = 1\n      | ^^^^^^^^^^^^^",
        path.display()
    );
    assert_eq!(error.to_string(), expected);
}

#[test]
fn not_toml() {
    rejects_text(
        "[train]\nsteps = = 3",
        "built-in x: extra `=`, expected nothing (line 2)",
    );
    rejects_text("a = 1\na = 2", "built-in x: duplicate key (line 2)");
}

#[test]
fn a_path_of_windows_in_double_quotes() {
    for path in ["C:\\data\\x.txt", "C:\\Users\\x.txt", "C:\\new\\x.txt\\"] {
        let text = format!("name = \"a\"\n[data]\npath = \"{path}\"");
        let error = Loader::new().builtin("x", &text).unwrap_err().to_string();
        assert!(
            error.contains("(line 3)") && error.contains("single quotes"),
            "{error}"
        );
    }
    let single = Loader::new().builtin("x", "[data]\nkind = \"text\"\npath = 'C:\\data\\x.txt'");
    let config = single.unwrap().finish().unwrap();
    assert_eq!(config.data.path, Some("C:\\data\\x.txt".into()));
}

#[test]
fn a_byte_order_mark_is_skipped() {
    let marked = Loader::new().builtin("x", "\u{feff}[train]\nsteps = 3");
    assert_eq!(marked.unwrap().finish().unwrap().train.steps, 3);
}

#[test]
fn unknown_keys() {
    rejects_text(
        "[tarin]\nsteps = 1\nseed = 2",
        "built-in x: unknown key tarin (line 1); did you mean train?",
    );
    rejects_text(
        "[train.float]\nmomentum = 0.9",
        "built-in x: unknown key train.float.momentum (line 2)",
    );
    rejects_text("[zzz]", "built-in x: unknown key zzz (line 1)");
    rejects(
        &["tarin.steps=3"],
        "--set: unknown key tarin.steps; did you mean train.steps?",
    );
    rejects(
        &["train.hidden_size=3"],
        "--set: unknown key train.hidden_size; did you mean model.hidden_size?",
    );
}

#[test]
fn unknown_environment() {
    let error = Loader::new()
        .env([("BITNET_TRAIN__STESP", "3")])
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "BITNET_TRAIN__STESP: unknown key train.stesp; did you mean BITNET_TRAIN__STEPS?"
    );
    let error = Loader::new().env([("BITNET___STEPS", "3")]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "BITNET___STEPS: unknown key steps; did you mean BITNET_TRAIN__STEPS?"
    );
}

#[cfg(unix)]
#[test]
fn environment_that_is_not_unicode() {
    use std::ffi::{OsStr, OsString};
    use std::os::unix::ffi::OsStrExt;
    let bad = OsStr::from_bytes(b"\xff");
    let error = Loader::new()
        .env([(OsString::from("BITNET_DATA__PATH"), bad)])
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "BITNET_DATA__PATH: the value of this environment variable is not valid Unicode"
    );
    assert!(
        Loader::new()
            .env([(bad, bad), (OsStr::new("PATH"), bad)])
            .is_ok()
    );
}

#[test]
fn wrong_types() {
    for (assignment, message) in [
        (
            "train.steps=ten",
            "--set: train.steps = \"ten\": expected a whole number, 0 or more",
        ),
        (
            "train.steps=-1",
            "--set: train.steps = -1: expected a whole number, 0 or more",
        ),
        (
            "train.steps=1.5",
            "--set: train.steps = 1.5: expected a whole number, 0 or more",
        ),
        (
            "train.steps=",
            "--set: train.steps = \"\": expected a whole number, 0 or more",
        ),
        (
            "train.seed=-1",
            "--set: train.seed = -1: expected a whole number from 0 to 9223372036854775807",
        ),
        (
            "train.beta1=high",
            "--set: train.beta1 = \"high\": expected a number",
        ),
        (
            "train.float.eps=[]",
            "--set: train.float.eps = []: expected a number",
        ),
        (
            "train.second_learning_rate=x",
            "--set: train.second_learning_rate = \"x\": expected a number",
        ),
        (
            "model.tie_word_embeddings=1",
            "--set: model.tie_word_embeddings = 1: expected true or false",
        ),
        (
            "compare.prompts=hello",
            "--set: compare.prompts = \"hello\": expected a list",
        ),
        ("train=3", "--set: train = 3: expected a section, [train]"),
        (
            "train.steps.x=3",
            "--set: train.steps = { x = 3 }: expected a whole number, 0 or more",
        ),
        (
            "data.kind=txt",
            "--set: data.kind = \"txt\": expected one of `stories`, `text`, `chat`",
        ),
        (
            "train.schedule=cosin",
            "--set: train.schedule = \"cosin\": expected one of `cosine`, `linear`, `two-stage`, `constant`",
        ),
    ] {
        rejects(&[assignment], message);
    }
    rejects_text(
        "[data]\n\npath = 3",
        "built-in x: data.path = 3 (line 3): expected a path, or a list of paths",
    );
    rejects_text(
        "[data]\nlevel = 3",
        "built-in x: data.level = 3 (line 2): expected a string",
    );
    let error = Loader::new()
        .env([("BITNET_TRAIN__STEPS", "x")])
        .unwrap_err();
    // It is one value, which the line names.
    assert_eq!(
        error.to_string(),
        "BITNET_TRAIN__STEPS: train.steps = \"x\": expected a whole number, 0 or more"
    );
}

#[test]
fn malformed_assignments() {
    for text in [
        "train.steps",
        "=3",
        ".steps=3",
        "train..steps=3",
        " = 3",
        "",
    ] {
        let message = format!("--set {text}: expected section.key=value, such as train.steps=100");
        rejects(&[text], &message);
    }
}

#[cfg(unix)]
#[test]
fn a_path_that_toml_cannot_hold() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let mut config = RunConfig::default();
    config.data.path = Some(std::path::PathBuf::from(OsStr::from_bytes(b"\xff")).into());
    let error = config.to_toml().unwrap_err();
    assert!(matches!(error, ConfigError::Serialize(_)));
    assert_eq!(error.to_string(), "cannot write the configuration as TOML");
}
