//! What a tokenizer is learned from: all characters, or a sample of bounded size.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::atomic::Ordering;

use super::{Preparation, Watch};
use crate::documents::{self, PART, Part};
use crate::rng::Rng;
use crate::{Compression, DataError, Format, Vocabulary, file};

/// Hands all parts of all files to `take`, until it has enough.
fn each(
    preparation: &Preparation,
    watch: &Watch,
    take: &mut dyn FnMut(Part) -> ControlFlow<()>,
) -> Result<(), DataError> {
    for source in &preparation.sources {
        let read =
            documents::read(
                source,
                &preparation.reading,
                &watch.done,
                &mut |part| match watch.stop.load(Ordering::Relaxed) {
                    true => ControlFlow::Break(()),
                    false => take(part),
                },
            )?;
        watch.check()?;
        if read.is_break() {
            break;
        }
    }
    Ok(())
}

/// The characters of all documents, and of what is put between them.
pub(super) fn characters(
    preparation: &Preparation,
    watch: &Watch,
) -> Result<Vocabulary, DataError> {
    let mut found: BTreeSet<char> = match &preparation.separator {
        Some(text) => text.chars().collect(),
        None => BTreeSet::from(['\n']),
    };
    // Characters below 2^8 are most of a text.
    let mut common = [false; 256];
    let mut failed = None;
    each(
        preparation,
        watch,
        &mut |part| match file::utf8("a document", &part.bytes) {
            Ok(text) => {
                for character in text.chars() {
                    match common.get_mut(character as usize) {
                        Some(seen) => *seen = true,
                        None => drop(found.insert(character)),
                    }
                }
                ControlFlow::Continue(())
            }
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        },
    )?;
    if let Some(error) = failed {
        return Err(error);
    }
    found.extend((0..=255u8).filter(|c| common[*c as usize]).map(char::from));
    Vocabulary::from_sorted(found.into_iter().collect())
}

/// Parts of documents, of `most` bytes together, drawn evenly from all of them.
pub(super) fn texts(
    preparation: &Preparation,
    most: u64,
    watch: &Watch,
) -> Result<Vec<String>, DataError> {
    // What a file holds is not known before it is read; compressed text is about a fourth.
    let expected: u64 = (preparation.sources.iter())
        .map(|source| match (source.compression, source.format) {
            (Compression::None, Format::Parquet) => 3 * source.size,
            (Compression::None, _) => source.size,
            _ => 4 * source.size,
        })
        .sum();
    // A little more than the share, and the sample ends where it is full.
    let share = (1.2 * most as f64 / expected.max(1) as f64).min(1.0);
    let mut rng = Rng::new(preparation.shuffle.unwrap_or(0), SAMPLE);
    let (mut texts, mut bytes) = (Vec::new(), 0);
    each(preparation, watch, &mut |part| {
        for piece in part.bytes.chunks(PIECE) {
            if share < 1.0 && rng.below(PART) as f64 >= share * PART as f64 {
                continue;
            }
            bytes += piece.len() as u64;
            // A piece may begin or end within a character.
            let text = String::from_utf8_lossy(piece);
            texts.push(text.trim_matches(char::REPLACEMENT_CHARACTER).to_owned());
            if bytes >= most {
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    })?;
    Ok(texts)
}

/// Bytes of a document that are drawn together.
const PIECE: usize = 1 << 14;

/// The stream of random numbers that draws the sample.
const SAMPLE: u64 = u64::MAX - 1;
