//! What a board shows of runs, read while others write them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use bitnet_config::{Loader, RunConfig, Task};
use bitnet_report::{BoardRun, Status};
use bitnet_results::{Curves, TrainSummary};
use bitnet_train::FolderLock;

/// How deep runs are looked for in a folder: an experiment has `variant/rate/seed`.
const DEPTH: usize = 4;

/// Most runs on a page.
const MOST: usize = 200;

/// The runs that paths name, in the order given and then of their names. What cannot be read is none.
pub fn runs(paths: &[PathBuf]) -> Vec<BoardRun> {
    let mut found = Vec::new();
    for path in paths {
        folders(path, DEPTH, &mut found);
    }
    found.truncate(MOST);
    let shared = shared_parents(&found);
    found
        .iter()
        .filter_map(|path| run(path, name(path, shared)))
        .collect()
}

fn folders(path: &Path, depth: usize, found: &mut Vec<PathBuf>) {
    if path.join("config.toml").is_file() {
        found.push(path.to_owned());
        return;
    }
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    let mut inner: Vec<PathBuf> = (entries.map(|entry| entry.path()))
        .filter(|path| path.is_dir() && depth > 0)
        .collect();
    inner.sort();
    for path in inner {
        folders(&path, depth - 1, found);
    }
}

/// How many of the first parts all paths share, the last part aside.
fn shared_parents(paths: &[PathBuf]) -> usize {
    let Some((first, rest)) = paths.split_first() else {
        return 0;
    };
    let parents = first.components().count().saturating_sub(1);
    (0..parents)
        .take_while(|at| {
            rest.iter()
                .all(|path| path.components().nth(*at) == first.components().nth(*at))
        })
        .count()
}

fn name(path: &Path, shared: usize) -> String {
    let own: PathBuf = path.components().skip(shared).collect();
    own.display().to_string()
}

fn run(path: &Path, name: String) -> Option<BoardRun> {
    let text = fs::read_to_string(path.join("config.toml")).ok()?;
    let settings: toml::Table = text.parse().ok()?;
    let config = Loader::new()
        .file(path.join("config.toml"))
        .and_then(Loader::finish);
    let config = config.unwrap_or_default();
    let curves = Curves::read_growing(&path.join("metrics.jsonl")).unwrap_or_default();
    let summary = fs::read(path.join("summary.json")).ok();
    let summary: Option<TrainSummary> = summary.and_then(|json| serde_json::from_slice(&json).ok());
    let mut flat = BTreeMap::new();
    flatten("", &settings, &mut flat);
    Some(BoardRun {
        name,
        status: status(path, &config, summary.as_ref(), &curves),
        steps: config.train.steps as u64,
        tokens_per_step: match config.task {
            Task::Lm => (config.train.step_sequences() * config.train.context) as f64,
            _ => summary
                .as_ref()
                .map_or(config.train.step_sequences() as f64, |summary| {
                    summary.tokens as f64 / summary.steps.max(1) as f64
                }),
        },
        peak_bytes: summary.and_then(|summary| summary.peak_rss_bytes),
        curves,
        settings: flat,
    })
}

fn status(
    path: &Path,
    config: &RunConfig,
    summary: Option<&TrainSummary>,
    curves: &Curves,
) -> Status {
    let step = curves.train.last().map_or(0, |point| point.step as usize);
    match summary {
        _ if FolderLock::is_held(path) => Status::Training,
        Some(summary) if summary.diverged => Status::Diverged,
        Some(summary) if summary.stopped_early => Status::StoppedEarly,
        _ if step >= config.train.steps => Status::Finished,
        _ => Status::Stopped,
    }
}

fn flatten(prefix: &str, table: &toml::Table, flat: &mut BTreeMap<String, String>) {
    for (key, value) in table {
        let path = match prefix {
            "" => key.clone(),
            prefix => format!("{prefix}.{key}"),
        };
        match value {
            toml::Value::Table(section) => flatten(&path, section, flat),
            value => drop(flat.insert(path, value.to_string())),
        }
    }
}
