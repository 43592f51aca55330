//! Every key of the schema with every task: it is read, or refused with the tasks that read it. And numbers that make
//! no sense.

use bitnet_config::{Loader, RunConfig, Task, describe, json_schema};
use toml::{Table, Value};

const TASKS: [Task; 6] = [
    Task::Lm,
    Task::Translate,
    Task::Classify,
    Task::Vectors,
    Task::Synthetic,
    Task::Layer,
];

/// What a task needs besides the key in question.
fn least(task: Task) -> &'static str {
    match task {
        Task::Lm | Task::Synthetic => "",
        Task::Translate => "[data]\npath = \"pairs.tsv\"\n",
        Task::Classify | Task::Vectors => "[data]\npath = \"rows.csv\"\n",
        Task::Layer => "[model]\ninput_size = 4\nnum_labels = 2\n",
    }
}

/// Every key with a value that is right for it, as `(key, TOML)`.
fn keys() -> Vec<(String, String)> {
    let mut keys = Vec::new();
    collect(&mut keys, "", &json_schema());
    keys.retain(|key| key != "task");
    keys.into_iter()
        .map(|key| {
            let value = value(&key);
            (key, value)
        })
        .collect()
}

/// The leaves of the schema.
fn collect(keys: &mut Vec<String>, prefix: &str, section: &Table) {
    for (name, property) in section["properties"].as_table().unwrap() {
        let path = match prefix {
            "" => name.clone(),
            prefix => format!("{prefix}.{name}"),
        };
        match property.as_table().unwrap() {
            section if section.contains_key("properties") => collect(keys, &path, section),
            _ => keys.push(path),
        }
    }
}

/// The default of a key, or of the shared key of a twin's, or where there is none something of its kind.
fn value(key: &str) -> String {
    let shared = key.replace(".float.", ".").replace(".ternary.", ".");
    if let Some(default) = describe(&shared).unwrap().default {
        return default;
    }
    let value = match key.rsplit('.').next().unwrap_or_default() {
        name if name.ends_with("path") || name.ends_with("source") || name.ends_with("target") => {
            "\"file.tsv\""
        }
        "init_from" | "distill_from" => "\"run\"",
        "tokenizer" => "\"tokenizer.json\"",
        "chat_template" => "\"chat.jinja\"",
        "rope_scaling" => "{ rope_type = \"linear\", factor = 2.0 }",
        "second_learning_rate" => "0.001",
        "num_decoder_layers" | "num_key_value_heads" => "2",
        "head_dim" => "32",
        "width_multiple" => "0.5",
        name => panic!("{name} has no default and no value here"),
    };
    value.to_owned()
}

fn load(task: Task, sets: &[String]) -> Result<RunConfig, bitnet_config::ConfigError> {
    let text = format!("task = \"{}\"\n{}", task.name(), least(task));
    let mut loader = Loader::new().builtin("test", &text)?;
    for set in sets {
        loader = loader.set(set)?;
    }
    loader.finish()
}

#[test]
fn every_key_is_read_or_refused_by_every_task() {
    let keys = keys();
    assert!(keys.len() > 100, "{}", keys.len());
    let (mut read, mut refused, mut hindered) = (0, 0, 0);
    for (key, value) in &keys {
        let readers: Vec<Task> = TASKS.into_iter().filter(|task| task.reads(key)).collect();
        assert!(!readers.is_empty(), "nobody reads {key}");
        for task in TASKS {
            let mut sets = vec![format!("{key}={value}")];
            if key == "data.validation_path" && task == Task::Lm {
                sets.extend(["data.kind=text".to_owned(), "data.path=text.txt".to_owned()]);
            }
            let result = load(task, &sets);
            let message = result
                .as_ref()
                .err()
                .map(ToString::to_string)
                .unwrap_or_default();
            let unread = message.contains("is not read by task");
            assert_eq!(
                unread,
                !task.reads(key),
                "{key} of {}: {message}",
                task.name()
            );
            match unread {
                true => {
                    refused += 1;
                    for part in ["--set: ", key, task.name()] {
                        assert!(message.contains(part), "{message}");
                    }
                    for reader in &readers {
                        assert!(message.contains(reader.name()), "{message}");
                    }
                }
                false if message.contains("counts only with") => hindered += 1,
                false => read += 1,
            }
            // What is printed is what counts.
            if let Ok(config) = result {
                let printed = config.to_table().unwrap();
                assert!(
                    has(&printed, key) || key == "model.width_multiple",
                    "{key} of {}",
                    task.name()
                );
            }
            let plain = load(task, &[]).unwrap().to_table().unwrap();
            assert!(
                task.reads(key) || !has(&plain, key),
                "{key} of {}",
                task.name()
            );
        }
    }
    println!(
        "{} keys: {read} pairs with a task are read, {refused} refused, {hindered} by other keys",
        keys.len()
    );
    assert!(refused > 100 && hindered > 20, "{refused}, {hindered}");
}

fn has(table: &Table, key: &str) -> bool {
    let mut keys = key.split('.');
    let first = keys.next().and_then(|key| table.get(key));
    keys.fold(first, |value, key| value?.get(key)).is_some()
}

#[test]
fn a_resolved_configuration_may_hold_what_earlier_versions_wrote() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.toml");
    let text = "# seal: run=1\n[data]\nlowercase = true\n[decode]\nbeam = 3\n";
    std::fs::write(&path, text).unwrap();
    Loader::new().file(&path).unwrap().finish().unwrap();
    std::fs::write(&path, text.replace("# seal: run=1\n", "")).unwrap();
    Loader::new().resolved(&path).unwrap().finish().unwrap();
    let error = Loader::new()
        .file(&path)
        .unwrap()
        .finish()
        .unwrap_err()
        .to_string();
    for part in ["config.toml: ", "(line", "task = \"lm\"", "remove it"] {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn numbers_out_of_any_range_are_refused() {
    let mut tried = 0;
    for (key, value) in keys() {
        let Ok(parsed) = value.parse::<Value>() else {
            continue;
        };
        if !(parsed.is_float() || parsed.is_integer()) {
            continue;
        }
        let task = TASKS.into_iter().find(|task| task.reads(&key)).unwrap();
        for wrong in ["-1", "-1.0", "1e30", "nan", "inf", "-inf"] {
            let mut sets = vec![format!("{key}={wrong}")];
            if let Some(section) = key.strip_suffix("second_learning_rate") {
                sets.push(format!("{section}schedule=two-stage"));
            }
            let error = load(task, &sets).err();
            let message = error.map(|error| error.to_string());
            let message = message.unwrap_or_else(|| panic!("{key}={wrong} is taken"));
            assert!(message.contains(&key), "{key}={wrong}: {message}");
            tried += 1;
        }
    }
    assert!(tried > 300, "{tried}");
}

#[test]
fn names_of_other_programs_are_understood() {
    for (name, suggestion) in [
        ("n_layer", "model.num_hidden_layers"),
        ("n_embd", "model.hidden_size"),
        ("block_size", "train.context"),
        ("max_iters", "train.steps"),
        ("num_train_epochs", "train.steps? (in steps, not epochs"),
        ("lr", "train.learning_rate"),
        ("per_device_train_batch_size", "train.batch_size"),
    ] {
        for section in ["", "[train]\n", "[model]\n"] {
            let error = Loader::new().builtin("test", &format!("{section}{name} = 1"));
            let error = error.unwrap_err().to_string();
            assert!(
                error.contains("unknown key") && error.contains(suggestion),
                "{error}"
            );
        }
    }
}

#[test]
fn a_twin_s_own_key_wins_and_it_is_said() {
    let file = "[train]\nlearning_rate = 1e-3\n[train.float]\nlearning_rate = 2e-3\n";
    let load = |sets: &[&str]| {
        let mut loader = Loader::new().builtin("file", file).unwrap();
        for set in sets {
            loader = loader.set(set).unwrap();
        }
        loader.finish_with_notes().unwrap()
    };
    let (config, notes) = load(&["train.learning_rate=5e-3"]);
    assert_eq!(
        config
            .train
            .optim(bitnet_config::LinearKind::Float)
            .learning_rate,
        2e-3
    );
    assert_eq!(
        config
            .train
            .optim(bitnet_config::LinearKind::Ternary)
            .learning_rate,
        5e-3
    );
    let [note] = &notes[..] else {
        panic!("{notes:?}")
    };
    for part in [
        "train.learning_rate of --set",
        "float twin",
        "train.float.learning_rate",
        "line 4",
        "wins",
    ] {
        assert!(note.contains(part), "{note}");
    }
    for quiet in [
        &[][..],
        &["train.float.learning_rate=1e-2"],
        &["train.beta1=0.8"],
    ] {
        assert_eq!(load(quiet).1, Vec::<String>::new());
    }
}
