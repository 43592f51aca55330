use std::collections::BTreeSet;

use super::*;
use crate::{Corpus, Format, Prepared, TextFiles, Tokens, sources};

/// Lines of JSON whose texts are these.
fn lines(texts: &[String]) -> String {
    let line = |text: &String| serde_json::json!({"text": text, "other": [1]}).to_string() + "\n";
    texts.iter().map(line).collect()
}

fn preparation(path: &Path, tokenizer: TokenizerSource) -> Preparation {
    Preparation {
        sources: sources(&[path.to_owned()], None).unwrap(),
        reading: Reading::default(),
        tokenizer,
        deduplicate: false,
        shuffle: None,
        separator: None,
        shard_tokens: 1000,
    }
}

fn texts() -> Vec<String> {
    let story = crate::stories::generate(3, 40_000);
    let mut texts: Vec<String> = story.lines().map(str::to_owned).collect();
    texts.retain(|text| !text.trim().is_empty());
    // Every third document comes twice.
    let again: Vec<String> = texts.iter().step_by(3).cloned().collect();
    texts.extend(again);
    texts
}

/// The documents of a folder, read by its index.
fn documents(prepared: &Prepared) -> Vec<Vec<u32>> {
    let (mut found, mut first) = (Vec::new(), 0);
    for shard in &prepared.manifest.shards {
        let ends = std::fs::read(prepared.path.join(&shard.ends_file)).unwrap();
        let mut begin = 0;
        for end in ends.chunks_exact(8) {
            let end = u64::from_le_bytes(end.try_into().unwrap()) as usize;
            found.push(prepared.tokens.to_vec(first + begin..first + end));
            begin = end;
        }
        assert_eq!(begin as u64, shard.tokens);
        first += begin;
    }
    found
}

#[test]
fn a_folder_holds_the_documents_in_order_with_separators() {
    let folder = tempfile::tempdir().unwrap();
    let (path, out) = (folder.path().join("a.jsonl"), folder.path().join("out"));
    let texts = texts();
    std::fs::write(&path, lines(&texts)).unwrap();
    for tokenizer in [
        TokenizerSource::Byte,
        TokenizerSource::Char,
        TokenizerSource::Train {
            vocab_size: 400,
            sample: 20_000,
        },
    ] {
        let watch = Watch::default();
        let manifest = preparation(&path, tokenizer.clone())
            .run(&out, &watch)
            .unwrap();
        let prepared = Prepared::open(&out).unwrap();
        assert_eq!(prepared.manifest, manifest);
        assert!(manifest.shards.len() > 5, "{manifest:?}");
        let end = match prepared.tokenizer.end_of_text() {
            Some(id) => vec![id],
            None => prepared.tokenizer.encode("\n").unwrap(),
        };
        let found = documents(&prepared);
        assert_eq!(found.len(), texts.len());
        for (at, (found, text)) in found.iter().zip(&texts).enumerate() {
            let mut expected = prepared.tokenizer.encode(text).unwrap();
            if at + 1 < texts.len() {
                expected.extend(&end);
            }
            assert_eq!(*found, expected, "{text}");
        }
        assert_eq!(manifest.bytes as usize, texts.concat().len());
        assert_eq!(watch.progress().0, Stage::Shards);
        // The same again is the same bytes.
        let twin = folder.path().join("twin");
        let again = preparation(&path, tokenizer)
            .run(&twin, &Watch::default())
            .unwrap();
        assert_eq!(again.checksum(), manifest.checksum());
        std::fs::remove_dir_all(&twin).unwrap();
        std::fs::remove_dir_all(&out).unwrap();
    }
}

#[test]
fn equal_documents_are_left_out_and_the_rest_shuffled() {
    let folder = tempfile::tempdir().unwrap();
    let (path, out) = (folder.path().join("a.jsonl"), folder.path().join("out"));
    let texts = texts();
    std::fs::write(&path, lines(&texts)).unwrap();
    let mut order = Vec::new();
    for seed in [1, 1, 2] {
        let preparation = Preparation {
            deduplicate: true,
            shuffle: Some(seed),
            separator: Some("|".to_owned()),
            ..preparation(&path, TokenizerSource::Byte)
        };
        let manifest = preparation.run(&out, &Watch::default()).unwrap();
        let prepared = Prepared::open(&out).unwrap();
        let mut found: Vec<String> = documents(&prepared)
            .iter()
            .map(|ids| prepared.tokenizer.decode(ids))
            .collect();
        let last = found.len() - 1;
        for text in &mut found[..last] {
            assert_eq!(text.pop(), Some('|'));
        }
        let distinct: BTreeSet<&String> = texts.iter().collect();
        assert_eq!(found.iter().collect::<BTreeSet<_>>(), distinct);
        assert_eq!(found.len(), distinct.len());
        assert_eq!(manifest.duplicates as usize, texts.len() - distinct.len());
        order.push(found);
        std::fs::remove_dir_all(&out).unwrap();
    }
    assert!(order[0] == order[1] && order[0] != order[2]);
    let sorted = order[0].windows(2).filter(|pair| {
        let place = |text: &String| texts.iter().position(|other| other == text);
        place(&pair[0]) < place(&pair[1])
    });
    let (count, all) = (sorted.count(), order[0].len());
    assert!(
        count * 10 > all * 3 && count * 10 < all * 7,
        "{count} of {all} in order"
    );
}

#[test]
fn a_text_in_parts_has_the_ids_of_the_whole() {
    let folder = tempfile::tempdir().unwrap();
    let (path, out) = (folder.path().join("a.txt"), folder.path().join("out"));
    let text = crate::stories::generate(5, 2_500_000).replace("the", "thé");
    std::fs::write(&path, &text).unwrap();
    let train = TokenizerSource::Train {
        vocab_size: 500,
        sample: 100_000,
    };
    preparation(&path, train)
        .run(&out, &Watch::default())
        .unwrap();
    let prepared = Prepared::open(&out).unwrap();
    let whole: Tokens = prepared.tokenizer.encode(&text).unwrap().into();
    assert!(prepared.tokens == whole);
    let corpus = Corpus::prepared(&prepared, 0.9).unwrap();
    assert_eq!(corpus.train.len(), (whole.len() as f64 * 0.9) as usize);
    let bytes = prepared
        .tokenizer
        .decode(&whole.to_vec(corpus.train.len()..whole.len()))
        .len();
    assert_eq!(corpus.validation_bytes, bytes);
}

#[test]
fn a_corpus_is_read_from_prepared_folders_plain_ones_and_json_lines_alike() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let texts = texts();
    std::fs::write(data.join("a.jsonl"), lines(&texts)).unwrap();
    let out = folder.path().join("out");
    preparation(&data, TokenizerSource::Char)
        .run(&out, &Watch::default())
        .unwrap();
    let read = |path: &Path| {
        TextFiles::at(path)
            .read(crate::TokenizerKind::Char.into(), 0.9)
            .unwrap()
    };
    let prepared = read(&out);
    for path in [data.clone(), data.join("a.jsonl")] {
        let corpus = read(&path);
        assert_eq!(corpus.train, prepared.train);
        assert_eq!(corpus.validation, prepared.validation);
        assert_eq!(corpus.tokenizer, prepared.tokenizer);
    }
    // The split is between two documents.
    let last = prepared.train.len() - 1;
    let end = prepared.train.to_vec(last..last + 1);
    assert_eq!(prepared.tokenizer.decode(&end), "\n");
}

#[test]
fn what_is_not_whole_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (path, out) = (folder.path().join("a.jsonl"), folder.path().join("out"));
    std::fs::write(&path, lines(&texts())).unwrap();
    let preparation = preparation(&path, TokenizerSource::Byte);
    preparation.run(&out, &Watch::default()).unwrap();
    let exists = preparation
        .run(&out, &Watch::default())
        .unwrap_err()
        .to_string();
    assert!(
        exists.contains("exists") && exists.contains("another folder"),
        "{exists}"
    );
    for name in std::fs::read_dir(&out)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
    {
        let file = out.join(&name);
        let whole = std::fs::read(&file).unwrap();
        let mut flipped = whole.clone();
        flipped[whole.len() / 2] ^= 1;
        let damages = [Some(flipped), Some(whole[..whole.len() - 1].to_vec()), None];
        for damage in damages {
            match damage {
                Some(bytes) => std::fs::write(&file, bytes).unwrap(),
                None => std::fs::remove_file(&file).unwrap(),
            }
            let message = Prepared::open(&out).map(drop).unwrap_err().to_string();
            assert!(message.contains(&*name.to_string_lossy()), "{message}");
            assert!(Prepared::is_at(&out));
            std::fs::write(&file, &whole).unwrap();
        }
    }
    Prepared::open(&out).unwrap();
}

#[test]
fn what_fails_or_is_stopped_leaves_nothing_and_what_was_killed_makes_way() {
    let folder = tempfile::tempdir().unwrap();
    let (path, out) = (folder.path().join("a.jsonl"), folder.path().join("out"));
    let entries = || std::fs::read_dir(folder.path()).unwrap().count();
    std::fs::write(&path, lines(&texts()) + "broken\n").unwrap();
    let error = preparation(&path, TokenizerSource::Byte).run(&out, &Watch::default());
    let message = error.unwrap_err().to_string();
    assert!(
        message.contains(&format!("line {}", texts().len() + 1)),
        "{message}"
    );
    assert_eq!(entries(), 1);

    std::fs::write(&path, lines(&texts())).unwrap();
    let watch = Watch::default();
    watch.stop.store(true, Ordering::Relaxed);
    let stopped = preparation(&path, TokenizerSource::Char).run(&out, &watch);
    assert!(matches!(stopped, Err(DataError::Stopped)));
    assert_eq!(entries(), 1);

    let partial = folder.path().join("out.partial");
    std::fs::create_dir(&partial).unwrap();
    std::fs::write(partial.join("shard-99999.tokens"), b"half").unwrap();
    preparation(&path, TokenizerSource::Byte)
        .run(&out, &Watch::default())
        .unwrap();
    assert_eq!(entries(), 2);
    assert!(!out.join("shard-99999.tokens").exists());

    // Two at a time would mix.
    std::fs::create_dir(folder.path().join("busy.partial")).unwrap();
    let lock = std::fs::File::create(folder.path().join("busy.partial/lock")).unwrap();
    lock.try_lock().unwrap();
    let busy = preparation(&path, TokenizerSource::Byte)
        .run(&folder.path().join("busy"), &Watch::default());
    let message = busy.unwrap_err().to_string();
    assert!(message.contains("another process"), "{message}");
    drop(lock);

    let invalid = folder.path().join("b.txt");
    std::fs::write(&invalid, b"one\ntwo\nthr\xffee\n").unwrap();
    let bytes = preparation(&invalid, TokenizerSource::Char).run(&out.join("x"), &Watch::default());
    let message = bytes.unwrap_err().to_string();
    assert!(
        message.contains("UTF-8") && message.contains("line 3"),
        "{message}"
    );
    let mut empty = preparation(&invalid, TokenizerSource::Byte);
    std::fs::write(&invalid, b" \n").unwrap();
    empty.sources[0].format = Format::Text;
    let message = empty
        .run(&out.join("x"), &Watch::default())
        .unwrap_err()
        .to_string();
    assert!(message.contains("b.txt is empty"), "{message}");
}
