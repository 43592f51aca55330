//! The configuration of a run: a text, whose lines are also settings of the command line.

use std::fs;
use std::path::Path;

use bitnet_config::Loader;

use crate::Target;
use crate::experiment::readable;

/// The target.
pub const TARGET: Target = Target {
    name: "config",
    run,
    seeds,
};

fn seeds() -> Vec<Vec<u8>> {
    let configs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs");
    let mut seeds = crate::files(&configs, ".toml");
    seeds.push(b"train.steps=3\nmodel.linear = float\ndata.path=../x.txt".to_vec());
    seeds
}

fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    match Loader::new()
        .builtin("text", &text)
        .and_then(Loader::finish)
    {
        Ok(config) => {
            let printed = config.to_toml().expect("what was read can be written");
            let again = Loader::new()
                .builtin("text", &printed)
                .and_then(Loader::finish);
            match again {
                Ok(again) => assert_eq!(again, config, "{printed}"),
                Err(error) => panic!("{error}\n{printed}"),
            }
        }
        Err(error) => readable(&error),
    }
    for line in text.lines().take(4) {
        if let Err(error) = Loader::new().set(line).and_then(Loader::finish) {
            readable(&error);
        }
    }
    // As the file in a run's folder.
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("config.toml");
    fs::write(&path, data).expect("a file");
    let _ = Loader::new().resolved(&path).and_then(Loader::finish);
}
