use std::fs;
use std::io::Write;
use std::path::Path;

use parquet::data_type::{ByteArray, ByteArrayType};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use proptest::prelude::*;

use super::*;

/// Documents of a file, joined from their parts.
fn documents(path: &Path, reading: &Reading) -> Result<Vec<String>, DataError> {
    let (mut found, mut text) = (Vec::new(), Vec::new());
    for source in sources(&[path.to_owned()], None)? {
        let flow = read(&source, reading, &AtomicU64::new(0), &mut |part| {
            text.extend(part.bytes);
            if part.ends {
                found.push(String::from_utf8(std::mem::take(&mut text)).unwrap());
            }
            ControlFlow::Continue(())
        })?;
        assert!(flow.is_continue());
    }
    assert!(text.is_empty(), "a document did not end");
    Ok(found)
}

fn fields(names: &[&str]) -> Reading {
    Reading {
        fields: names.iter().map(|name| (*name).to_owned()).collect(),
        split_at: None,
    }
}

fn write(folder: &tempfile::TempDir, name: &str, content: &[u8]) -> std::path::PathBuf {
    let path = folder.path().join(name);
    fs::write(&path, content).unwrap();
    path
}

fn parquet_file(path: &Path, rows: &[Option<&str>]) {
    let schema = "message schema { REQUIRED INT64 id; OPTIONAL BYTE_ARRAY text (UTF8); }";
    let schema = parquet::schema::parser::parse_message_type(schema).unwrap();
    let file = fs::File::create(path).unwrap();
    let properties = WriterProperties::builder()
        .set_compression(parquet::basic::Compression::SNAPPY)
        .build();
    let mut writer = SerializedFileWriter::new(file, schema.into(), properties.into()).unwrap();
    for rows in rows.chunks(3) {
        let mut group = writer.next_row_group().unwrap();
        let mut ids = group.next_column().unwrap().unwrap();
        let numbers: Vec<i64> = (0..rows.len() as i64).collect();
        ids.typed::<parquet::data_type::Int64Type>()
            .write_batch(&numbers, None, None)
            .unwrap();
        ids.close().unwrap();
        let mut texts = group.next_column().unwrap().unwrap();
        let levels: Vec<i16> = rows.iter().map(|text| i16::from(text.is_some())).collect();
        let values: Vec<ByteArray> = rows.iter().flatten().map(|text| (*text).into()).collect();
        texts
            .typed::<ByteArrayType>()
            .write_batch(&values, Some(&levels), None)
            .unwrap();
        texts.close().unwrap();
        group.close().unwrap();
    }
    writer.close().unwrap();
}

#[test]
fn every_format_gives_its_documents() {
    let folder = tempfile::tempdir().unwrap();
    let lines = "\u{feff}{\"text\":\"one\",\"n\":1}\n\n{\"n\":{\"text\":0},\"text\":\"two\\n\"}\r\n{\"text\":\"\"}\n{\"text\":null}\n{\"text\":3}";
    let expected = ["one", "two\n", "3"];
    let path = write(&folder, "a.jsonl", lines.as_bytes());
    assert_eq!(documents(&path, &Reading::default()).unwrap(), expected);

    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(lines.as_bytes()).unwrap();
    // Two members in one file are one stream.
    let mut bytes = gzip.finish().unwrap();
    let mut more = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    more.write_all(b"\n{\"text\":\"four\"}\n").unwrap();
    bytes.extend(more.finish().unwrap());
    let path = write(&folder, "b.jsonl.gz", &bytes);
    assert_eq!(
        documents(&path, &Reading::default()).unwrap(),
        ["one", "two\n", "3", "four"]
    );

    let bytes = zstd::encode_all(lines.as_bytes(), 1).unwrap();
    let path = write(&folder, "c.ndjson.zst", &bytes);
    assert_eq!(documents(&path, &Reading::default()).unwrap(), expected);

    let path = write(&folder, "d.csv", b"id,text\n1,\"a, b\nc\"\n2,d\n3,\n");
    assert_eq!(
        documents(&path, &Reading::default()).unwrap(),
        ["a, b\nc", "d"]
    );
    assert_eq!(
        documents(&path, &fields(&["id", "text"])).unwrap()[1],
        "2 d"
    );
    let path = write(&folder, "e.tsv", b"1\t\"a\n2\tb\"\n");
    assert_eq!(documents(&path, &fields(&["2"])).unwrap(), ["\"a", "b\""]);

    let path = folder.path().join("f.parquet");
    parquet_file(
        &path,
        &[Some("x"), None, Some("y"), Some("z"), None, None, Some("w")],
    );
    assert_eq!(
        documents(&path, &Reading::default()).unwrap(),
        ["x", "y", "z", "w"]
    );
    let problem = documents(&path, &fields(&["id"])).unwrap_err().to_string();
    assert!(problem.contains("\"id\" that is no text"), "{problem}");
    let problem = documents(&path, &fields(&["tex"])).unwrap_err().to_string();
    assert!(problem.contains("id, text"), "{problem}");

    // All of it, in the order of the names; what is hidden or of another kind is not looked at.
    write(&folder, "g.bin", b"binary");
    write(&folder, ".h.txt", b"hidden");
    fs::create_dir(folder.path().join("sub")).unwrap();
    write(&folder, "sub/i.txt", b"last");
    fs::remove_file(folder.path().join("e.tsv")).unwrap();
    let all = documents(folder.path(), &Reading::default()).unwrap();
    assert_eq!(all.len(), 3 + 4 + 3 + 2 + 4 + 1);
    assert_eq!(all.last().unwrap(), "last");
    let pattern = documents(&folder.path().join("[bc].*"), &Reading::default()).unwrap();
    assert_eq!(pattern.len(), 7);
}

#[test]
fn a_text_is_one_document_or_cut_at_a_separator() {
    let folder = tempfile::tempdir().unwrap();
    let text = "\u{feff}one\ntwo\n<|end|>\nthree\n\n<|end|>\r\n<|end|>four";
    let path = write(&folder, "t.txt", text.as_bytes());
    assert_eq!(
        documents(&path, &Reading::default()).unwrap(),
        [text.trim_start_matches('\u{feff}')]
    );
    let reading = Reading {
        split_at: Some("<|end|>".to_owned()),
        ..Reading::default()
    };
    assert_eq!(
        documents(&path, &reading).unwrap(),
        ["one\ntwo", "three", "four"]
    );
}

#[test]
fn long_documents_arrive_in_parts_and_whole() {
    let folder = tempfile::tempdir().unwrap();
    let words: Vec<String> = (0..400_000).map(|i| format!("wörd{i}")).collect();
    let text = words.join(" ");
    assert!(text.len() > 3 * PART);
    let path = write(&folder, "long.txt", text.as_bytes());
    assert_eq!(
        documents(&path, &Reading::default()).unwrap(),
        [text.as_str()]
    );
    // The separator is found where it lies across two reads.
    let at = PART - 3;
    let cut = (0..)
        .map(|i| at + i)
        .find(|at| text.is_char_boundary(*at))
        .unwrap();
    let (a, b) = text.split_at(cut);
    let path = write(&folder, "two.txt", format!("{a}<|end|>{b}").as_bytes());
    let reading = Reading {
        split_at: Some("<|end|>".to_owned()),
        ..Reading::default()
    };
    assert_eq!(documents(&path, &reading).unwrap(), [a, b]);
    let line = serde_json::json!({"text": text}).to_string();
    let path = write(&folder, "long.jsonl", line.as_bytes());
    assert_eq!(documents(&path, &Reading::default()).unwrap(), [text]);
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    for (name, content, parts) in [
        (
            "a.jsonl",
            &b"{\"text\":\"a\"}\n{\"txt\":1}\n"[..],
            ["line 2", "no field \"text\", but txt"],
        ),
        (
            "b.jsonl",
            b"{\"text\":\"a\"}\nhello\n",
            ["line 2", "no JSON object"],
        ),
        ("c.json", b"[\n{\"text\":\"a\"}]", ["line 1", "one a line"]),
        ("d.jsonl", b"{\"text\":[1]}", ["line 1", "that is no text"]),
        ("e.csv", b"a;text\n1;2\n", ["line 1", "semicolons"]),
        ("f.csv", b"a,b\n1,2\n", ["no column \"text\"", "a, b"]),
        (
            "g.txt.gz",
            b"not compressed",
            ["cannot be decompressed", "copy it again"],
        ),
        (
            "h.jsonl.zst",
            b"not compressed",
            ["cannot be decompressed", "copy it again"],
        ),
        (
            "i.parquet",
            b"PAR1 no PAR1",
            ["cannot be read as Parquet", "i.parquet"],
        ),
        ("j.parquet.gz", b"", ["compressed", "decompress it first"]),
    ] {
        let path = write(&folder, name, content);
        let message = documents(&path, &Reading::default())
            .unwrap_err()
            .to_string();
        for part in parts {
            assert!(
                message.contains(part) && message.contains(name),
                "{message}"
            );
        }
    }
    let missing = sources(&[folder.path().join("none.txt")], None).unwrap_err();
    assert!(missing.to_string().contains("no file"), "{missing}");
    let empty = tempfile::tempdir().unwrap();
    let empty = sources(&[empty.path().to_owned()], None).unwrap_err();
    assert!(empty.to_string().contains("jsonl"), "{empty}");
}

#[test]
fn reading_stops_when_it_is_told_to() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(
        &folder,
        "a.jsonl",
        b"{\"text\":\"a\"}\n{\"text\":\"b\"}\nbroken",
    );
    let source = &sources(&[path], None).unwrap()[0];
    let mut taken = 0;
    let flow = read(source, &Reading::default(), &AtomicU64::new(0), &mut |_| {
        taken += 1;
        ControlFlow::Break(())
    });
    assert!(flow.unwrap().is_break() && taken == 1);
}

proptest! {
    #[test]
    fn any_bytes_are_documents_or_an_error(
        bytes in prop::collection::vec(any::<u8>(), 0..200), kind in 0_usize..7,
    ) {
        let name = ["a.txt", "a.jsonl", "a.csv", "a.tsv", "a.parquet", "a.txt.gz", "a.txt.zst"][kind];
        let folder = tempfile::tempdir().unwrap();
        let path = write(&folder, name, &bytes);
        for source in sources(&[path], None).unwrap() {
            let _ = read(&source, &fields(&["1"]), &AtomicU64::new(0), &mut |_| ControlFlow::Continue(()));
        }
    }
}
