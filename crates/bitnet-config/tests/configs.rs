//! Every file under `configs/` loads, is valid, and survives being printed.

use std::fs;
use std::path::{Path, PathBuf};

use bitnet_config::{
    ExperimentConfig, HiddenAct, LinearKind, Loader, NormPlacement, QUICKSTART, RunConfig,
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs")
}

fn load(file: &str) -> RunConfig {
    Loader::new()
        .file(root().join(file))
        .unwrap()
        .finish()
        .unwrap()
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, files)
        } else {
            files.push(path)
        }
    }
}

#[test]
fn every_file_loads_and_round_trips() {
    let mut files = Vec::new();
    walk(&root(), &mut files);
    assert!(files.len() >= 8, "{files:?}");
    for file in files {
        let config = Loader::new()
            .file(&file)
            .and_then(Loader::finish)
            .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        assert_eq!(file.file_stem().unwrap().to_str().unwrap(), config.name);
        let printed = config.to_toml().unwrap();
        let again = Loader::new()
            .builtin("printed", &printed)
            .unwrap()
            .finish()
            .unwrap();
        assert_eq!(again, config, "{printed}");
        assert!(
            fs::read_to_string(&file).unwrap().starts_with("# "),
            "{} has no header",
            file.display()
        );
    }
}

#[test]
fn the_quick_start_is_built_in() {
    let built_in = Loader::new()
        .builtin("quickstart", QUICKSTART)
        .unwrap()
        .finish()
        .unwrap();
    assert_eq!(built_in, load("compare/quickstart.toml"));
}

#[test]
fn files_others_rely_on_have_the_promised_shape() {
    let cpu = load("compare/shakespeare-cpu.toml");
    let m = &cpu.model;
    assert_eq!(
        (m.num_hidden_layers, m.num_attention_heads, m.hidden_size),
        (4, 4, 128)
    );
    assert_eq!(
        (cpu.train.context, cpu.train.batch_size, cpu.train.steps),
        (64, 12, 2000)
    );
    assert_eq!(cpu.train.optim(LinearKind::Float).learning_rate, 2e-3);
    assert_eq!(cpu.train.optim(LinearKind::Ternary).learning_rate, 3e-3);

    let big = load("train/shakespeare-10m.toml");
    let m = &big.model;
    assert_eq!(
        (m.num_hidden_layers, m.num_attention_heads, m.hidden_size),
        (6, 6, 384)
    );
    assert_eq!((big.train.context, big.train.batch_size), (256, 8));

    let paper = load("arch/2b-4t.toml");
    assert_eq!((paper.model.kv_heads(), paper.model.head_width()), (5, 128));
    assert_eq!(
        (paper.model.hidden_act, paper.quant.norm),
        (HiddenAct::Relu2, NormPlacement::Sub)
    );
}

#[test]
fn a_shorter_run_takes_one_key() {
    for file in ["train/shakespeare-10m.toml", "train/debug.toml"] {
        let loader = Loader::new().file(root().join(file)).unwrap();
        let config = loader.set("train.steps=3").unwrap().finish().unwrap();
        assert_eq!(config.train.steps, 3, "{file}");
    }
}

#[test]
fn every_experiment_s_runs_can_be_configured() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../experiments");
    let mut seen = 0;
    for entry in fs::read_dir(&root).unwrap() {
        let path = entry.unwrap().path();
        if !path.is_dir() {
            continue;
        }
        let (experiment, folder) =
            ExperimentConfig::load(&path).unwrap_or_else(|error| panic!("{error}"));
        assert!(!experiment.title.is_empty() && experiment.question.ends_with('?'));
        for variant in &experiment.variants {
            let rates = experiment.learning_rates(variant);
            let rates = rates.into_iter().map(Some).chain([None]);
            for rate in rates {
                let run = experiment.run(&folder, variant, 7, rate, None, &[]);
                let run = run.unwrap_or_else(|error| panic!("{}: {error}", variant.name));
                assert_eq!((run.train.seed, &run.name), (7, &variant.name));
                let optim = run.train.optim(run.model.linear);
                assert!(rate.is_none_or(|rate| optim.learning_rate == rate));
            }
        }
        seen += 1;
    }
    assert!(seen >= 8, "{seen} experiments");
}
