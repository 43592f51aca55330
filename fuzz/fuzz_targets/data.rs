//! A byte that names a format, a byte that names a tokenizer, and a file of documents: read, cut into tokens, read back.

#![no_main]

use bitnet_data::{Corpus, Reading, TokenizerKind};
use libfuzzer_sys::fuzz_target;

const NAMES: [&str; 9] = [
    "a.jsonl", "a.csv", "a.tsv", "a.parquet", "a.txt.gz", "a.jsonl.zst", "a.json", "a.txt", "a.csv.gz",
];

fuzz_target!(|data: &[u8]| {
    let [format, kind, content @ ..] = data else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(NAMES[usize::from(*format) % NAMES.len()]);
    std::fs::write(&path, content).unwrap();
    let kind = match kind % 3 {
        0 => TokenizerKind::Byte,
        1 => TokenizerKind::Char,
        _ => TokenizerKind::Bpe { vocab_size: 260 },
    };
    for fields in [["text"], ["1"]] {
        let reading = Reading { fields: fields.map(String::from).into(), split_at: None };
        let Ok(corpus) = Corpus::read(&path, kind, 0.5, &reading) else { continue };
        let ids = corpus.train.to_vec(0..corpus.train.len());
        assert!(ids.iter().all(|id| (*id as usize) < corpus.tokenizer.vocab_size()));
    }
});
