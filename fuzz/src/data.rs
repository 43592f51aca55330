//! A byte that names a format, a byte that names a tokenizer, and a file of documents: read, cut into tokens, read back.

use crate::Target;
use bitnet_data::{Reading, TextFiles, TokenizerKind};

const NAMES: [&str; 9] = [
    "a.jsonl",
    "a.csv",
    "a.tsv",
    "a.parquet",
    "a.txt.gz",
    "a.jsonl.zst",
    "a.json",
    "a.txt",
    "a.csv.gz",
];

/// The target.
pub const TARGET: Target = Target {
    name: "data",
    run,
    seeds,
};

fn seeds() -> Vec<Vec<u8>> {
    let lines = "{\"text\":\"one two\",\"n\":1}\n{\"text\":\"three\"}\n";
    let gzip = [
        31, 139, 8, 0, 0, 0, 0, 0, 0, 3, 203, 207, 75, 85, 40, 41, 207, 87, 40, 201, 40, 74, 77, 5,
        0, 215, 211, 37, 120, 13, 0, 0, 0,
    ];
    vec![
        [&[0, 0], lines.as_bytes()].concat(),
        b"\x01\x01id,text\n1,\"a, b\"\n2,c\n".to_vec(),
        b"\x02\x02text\tid\nab ab ab\t1\n".to_vec(),
        [&[4, 0], &gzip[..]].concat(),
        [&[6, 1], "[{\"text\": \"a\"}, {\"text\": \"é\"}]".as_bytes()].concat(),
        [&[7, 2], "one two\n\nthree\r\n".as_bytes()].concat(),
    ]
}

fn run(data: &[u8]) {
    let [format, kind, content @ ..] = data else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder
        .path()
        .join(NAMES[usize::from(*format) % NAMES.len()]);
    std::fs::write(&path, content).unwrap();
    let kind = match kind % 3 {
        0 => TokenizerKind::Byte,
        1 => TokenizerKind::Char,
        _ => TokenizerKind::Bpe { vocab_size: 260 },
    };
    for fields in [["text"], ["1"]] {
        let reading = Reading {
            fields: fields.map(String::from).into(),
            split_at: None,
        };
        let files = TextFiles {
            reading,
            ..TextFiles::at(&path)
        };
        let Ok(corpus) = files.read(kind.into(), 0.5) else {
            continue;
        };
        let ids = corpus.train.to_vec(0..corpus.train.len());
        assert!(
            ids.iter()
                .all(|id| (*id as usize) < corpus.tokenizer.vocab_size())
        );
    }
}
