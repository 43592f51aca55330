//! A byte that names a file of a prepared folder, and that file: the folder is whole, or refused.

use crate::Target;
use bitnet_data::prepare::{Preparation, TokenizerSource, Watch};
use bitnet_data::{Corpus, Prepared, Reading, sources};
use std::sync::LazyLock;
use tempfile::TempDir;

const NAMES: [&str; 4] = [
    "prepared.json",
    "tokenizer.json",
    "shard-00000.tokens",
    "shard-00000.ends",
];

static WHOLE: LazyLock<TempDir> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("a.jsonl");
    std::fs::write(
        &text,
        "{\"text\":\"one two\"}\n{\"text\":\"three\"}\n".repeat(9),
    )
    .unwrap();
    let preparation = Preparation {
        sources: sources(&[text], None).unwrap(),
        reading: Reading::default(),
        tokenizer: TokenizerSource::Char,
        deduplicate: false,
        shuffle: None,
        separator: None,
        shard_tokens: 1000,
    };
    preparation
        .run(&folder.path().join("whole"), &Watch::default())
        .unwrap();
    folder
});

/// The target.
pub const TARGET: Target = Target {
    name: "prepared",
    run,
    seeds,
};

fn seeds() -> Vec<Vec<u8>> {
    let whole = WHOLE.path().join("whole");
    let read = |(first, name)| {
        [
            vec![first],
            std::fs::read(whole.join(name)).expect("a file"),
        ]
        .concat()
    };
    (0..).zip(NAMES).map(read).collect()
}

fn run(data: &[u8]) {
    let [name, content @ ..] = data else { return };
    let (folder, whole) = (tempfile::tempdir().unwrap(), WHOLE.path().join("whole"));
    for name in NAMES {
        std::fs::copy(whole.join(name), folder.path().join(name)).unwrap();
    }
    let name = NAMES[usize::from(*name) % NAMES.len()];
    std::fs::write(folder.path().join(name), content).unwrap();
    let Ok(prepared) = Prepared::open(folder.path()) else {
        return;
    };
    let _ = Corpus::prepared(&prepared, 0.5);
}
