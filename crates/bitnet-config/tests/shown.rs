//! Every message shows the line that is to blame, with a caret below what is meant.

use std::fs;
use std::path::Path;

use bitnet_config::{ConfigError, ExperimentConfig, Loader, Origin};

/// Looks for the caret below a part of a line.
#[track_caller]
fn points(error: &ConfigError, says: &str, line: Option<usize>, part: &str) {
    let message = error.to_string();
    let lines: Vec<&str> = message.lines().collect();
    let [said, shown, carets] = lines[..] else {
        panic!("{message}");
    };
    assert!(carets.ends_with('^'), "{message}");
    assert!(said.contains(says), "{message}");
    let number = shown.split('|').next().unwrap().trim().parse().ok();
    assert_eq!(number, line, "{message}");
    assert_eq!(line.is_some(), said.contains("(line "), "{message}");
    let at = carets.chars().position(|c| c == '^').unwrap();
    let below: String = shown
        .chars()
        .skip(at)
        .take(carets.matches('^').count())
        .collect();
    assert_eq!(below, part, "{message}");
}

fn text(text: &str) -> ConfigError {
    let read = Loader::new().builtin("x", text).and_then(Loader::finish);
    read.unwrap_err()
}

#[test]
fn in_a_file() {
    let long = format!("# {}\n[train]\nsteps = 0", "x".repeat(300));
    for (written, says, line, part) in [
        // What is no TOML.
        ("[train]\nsteps = = 3", "extra `=`", 2, "="),
        ("a = 1\na = 2", "duplicate key", 2, "a"),
        // Unknown keys and sections.
        (
            "[train]\nstesp = 3",
            "did you mean train.steps?",
            2,
            "stesp",
        ),
        (
            "\n[tarin]\nsteps = 1",
            "did you mean train.steps?",
            2,
            "tarin",
        ),
        (
            "train = { stesp = 3 }",
            "did you mean train.steps?",
            1,
            "stesp",
        ),
        ("train.stesp = 3", "did you mean train.steps?", 1, "stesp"),
        // Types and choices.
        ("[train]\n\tsteps = \"ten\"", "a whole number", 2, "\"ten\""),
        ("[compare]\nprompts = \"a\"", "expected a list", 2, "\"a\""),
        ("train = 3", "expected a section", 1, "3"),
        (
            "[train]\nschedule = \"cosin\" # é",
            "expected one of `cosine`",
            2,
            "\"cosin\"",
        ),
        // Ranges.
        (long.as_str(), "train.steps = 0 must be at least 1", 3, "0"),
        (
            "[train.float]\nbeta1 = 1.5",
            "train.float.beta1 = 1.5 must",
            2,
            "1.5",
        ),
        (
            "[model]\nhidden_size = 0",
            "model.hidden_size must be at least 1",
            2,
            "0",
        ),
        (
            "[model]\nwidth_multiple = -1.0",
            "must be above 0",
            2,
            "-1.0",
        ),
        // Two that do not go together: the one that was written, of those the first that the message names.
        (
            "[train]\ncontext = 512",
            "exceeds model.max_position_embeddings",
            2,
            "512",
        ),
        (
            "[data]\nkind = \"text\"",
            "data.path is missing",
            2,
            "\"text\"",
        ),
        (
            "[train]\nschedule = \"two-stage\"",
            "train.second_learning_rate is missing",
            2,
            "\"two-stage\"",
        ),
        (
            "[data]\nkind = \"text\"\npath = \"a\"\nvalidation_path = \"b\"\ntrain_fraction = 0.5",
            "counts only without data.validation_path",
            5,
            "0.5",
        ),
        (
            "[model]\nhidden_size = 60\nhead_dim = 3",
            "set model.head_dim",
            3,
            "3",
        ),
        // What the task does not read.
        ("[data]\nlowercase = true", "only by classify", 2, "true"),
        (
            "task = \"classify\"\n[train]\ncontext = 3",
            "only by lm",
            3,
            "3",
        ),
    ] {
        points(&text(written), says, Some(line), part);
    }
}

#[test]
fn of_an_assignment() {
    for (assignment, says, part) in [
        ("train.stesp=3", "did you mean train.steps?", "train.stesp"),
        ("tarin.steps=3", "did you mean train.steps?", "tarin"),
        ("train.steps = ten", "a whole number", "ten"),
        ("train.steps=0", "must be at least 1", "0"),
        ("data.lowercase=true", "only by classify", "true"),
        // Where it is missing.
        ("train.steps=", "a whole number", ""),
    ] {
        let loader = Loader::new().set("train.seed=1").unwrap().set(assignment);
        let error = loader.and_then(Loader::finish).unwrap_err();
        points(&error, says, None, part);
    }
}

/// A value of the file that a later layer replaces is not to blame.
#[test]
fn the_last_layer_is_shown() {
    let loader = Loader::new().builtin("x", "[train]\nsteps = 5").unwrap();
    let loader = loader.set("train.steps=0").unwrap();
    points(
        &loader.finish().unwrap_err(),
        "--set: train.steps",
        None,
        "0",
    );
    let loader = Loader::new().builtin("x", "[train]\nsteps = 0").unwrap();
    let loader = loader.env([("BITNET_TRAIN__SEED", "3")]).unwrap();
    points(
        &loader.finish().unwrap_err(),
        "built-in x: train.steps",
        Some(2),
        "0",
    );
}

/// The configuration in a run's folder holds keys that its task does not read, and is shown all the same.
#[test]
fn in_a_runs_own_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.toml");
    fs::write(&path, "[data]\nlowercase = true\n[train]\nsteps = 0\n").unwrap();
    let error = Loader::new().resolved(&path).unwrap().finish().unwrap_err();
    points(&error, "config.toml: train.steps", Some(4), "0");
}

fn experiment(text: &str) -> ConfigError {
    ExperimentConfig::parse(Origin::Builtin("x".into()), text).unwrap_err()
}

#[test]
fn in_an_experiment() {
    let float = "[[variants]]\nname = \"float\"";
    for (written, says, line, part) in [
        ("title = 'x' y", "unexpected", 1, "y"),
        (
            "titel = \"x\"",
            "unknown key titel (line 1); did you mean title?",
            1,
            "titel",
        ),
        ("title = 3", "title = 3 (line 1): expected a string", 1, "3"),
        ("seeds = 3", "seeds = 3 (line 1): expected a list", 1, "3"),
        (
            "config = \"a\"\nseeds = [0, \"x\"]",
            "seeds = \"x\"",
            2,
            "\"x\"",
        ),
        (
            "config = \"a\"\n[[variants]]\nname = \"a\"\nlerning_rates = [1.0]",
            "unknown key variants.lerning_rates (line 4); did you mean learning_rates?",
            4,
            "lerning_rates",
        ),
        (
            "config = \"a\"\nseeds = [0, 0]\nvariants = [{}]",
            "all different",
            2,
            "[0, 0]",
        ),
        (
            &format!("config = \"a\"\nseeds = [0]\n{float}\n{float}"),
            "a name of its own",
            6,
            "\"float\"",
        ),
        (
            &format!("config = \"a\"\nseeds = [0]\n{float}\nlearning_rates = [-1.0]"),
            "above 0 and at most 10",
            5,
            "[-1.0]",
        ),
        (
            &format!("config = \"a\"\nseeds = [0]\n{float}\nteacher = \"x\""),
            "is not the name of a variant without",
            5,
            "\"x\"",
        ),
        (
            &format!("config = \"a\"\nseeds = [0]\nbaseline = \"x\"\n{float}"),
            "is not the name of a variant",
            3,
            "\"x\"",
        ),
    ] {
        points(&experiment(written), says, Some(line), part);
    }
}

/// The settings of an experiment are quoted in its file, and shown there.
#[test]
fn in_the_settings_of_an_experiment() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("run.toml"), "[train]\nsteps = 4").unwrap();
    let run = |text: &str| {
        let path = folder.path().join("experiment.toml");
        fs::write(&path, text).unwrap();
        let (experiment, folder): (_, _) = ExperimentConfig::load(&path).unwrap();
        let variant = experiment.variants.last().unwrap();
        experiment
            .run(&folder, variant, 0, None, None, &[])
            .unwrap_err()
    };
    let head = "config = \"run.toml\"\nseeds = [0]\n";
    for (written, says, line, part) in [
        (
            "set = [\"train.stesp=3\"]\nvariants = [{name = \"a\"}]",
            "did you mean train.steps?",
            3,
            "\"train.stesp=3\"",
        ),
        (
            "set = [\"train.seed=3\", \"x\"]\nvariants = [{name = \"a\"}]",
            "expected section.key=value",
            3,
            "\"x\"",
        ),
        (
            "[[variants]]\nname = \"a\"\n[[variants]]\nname = \"b\"\nset = [\n  \"train.steps=0\",\n]",
            "train.steps = 0 must be at least 1",
            8,
            "\"train.steps=0\"",
        ),
    ] {
        let error = run(&format!("{head}{written}"));
        assert!(error.to_string().contains("experiment.toml: "), "{error}");
        points(&error, says, Some(line), part);
    }
    // The base of its runs has lines of its own.
    fs::write(folder.path().join("run.toml"), "[train]\nstesp = 4").unwrap();
    let error = run(&format!("{head}variants = [{{name = \"a\"}}]"));
    assert!(
        error.to_string().starts_with(&shown(folder.path())),
        "{error}"
    );
    points(&error, "did you mean train.steps?", Some(2), "stesp");
}

fn shown(folder: &Path) -> String {
    folder.join("run.toml").display().to_string()
}

/// What a file says is no command to the terminal, and no further line of the message.
#[test]
fn control_characters_are_escaped() {
    for written in [
        "\"a\\nb\\u001b[2J\" = 1",
        "[train]\n\"st\\u0007\" = 1",
        "[train]\nschedule = \"\\n\\u001b\"",
        "name = \"a/\\u001b\\n\"",
        "[data]\npath = \"\\u001b\"",
    ] {
        let message = text(written).to_string();
        assert_eq!(message.lines().count(), 3, "{message:?}");
        assert!(!message.contains(['\u{1b}', '\u{7}']), "{message:?}");
    }
    for assignment in [
        "a\u{1b}",
        "train.steps=\u{1b}",
        "\u{1b}\n=3",
        "name=\u{1b}/",
    ] {
        let set = Loader::new().set(assignment).and_then(Loader::finish);
        let message = set.unwrap_err().to_string();
        assert!(!message.contains('\u{1b}'), "{message:?}");
    }
}
