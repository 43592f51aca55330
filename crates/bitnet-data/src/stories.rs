//! A small language with something to learn in it: short stories and sums, generated from a seed.
//!
//! A text for trying out models should need no download, be different for every seed and the same on every machine,
//! be easy enough for minutes of training, and reward more than letter statistics. This one has
//!
//! - spelling and punctuation;
//! - agreement: a pronoun is that of the person it stands for;
//! - memory: things are found, given, lost, hidden and found again, and the question at the end of a story has exactly
//!   one answer, which follows from what happened;
//! - a little arithmetic, true without exception, with numbers from 0 to 20.
//!
//! ```text
//! One morning Tom found a red key by the well. He handed the red key to Dan.
//! Dan laughed. He walked to the market. Dan hid it there.
//! Zoe found it at the market. Who has the red key? Zoe.
//! 7 + 5 = 12.
//! 9 is more than 4.
//! ```
//!
//! Each line is one item: a story, then two to four facts, then the next story. The median story has
//! about 190 characters and nine in ten have fewer than 256, so a context of 256 holds most questions with their story.
//!
//! # Can it be memorised?
//!
//! The facts can: there are 882 of them. The stories cannot. The plainest plot alone, in which one thing is found and
//! then handed on twice, counts 8 times of day x 24 heroes x 192 things x 12 places x 23 x 22 other people, each in
//! three wordings of either gift: more than 2 x 10^9 stories before pronouns, moods and the second thing are counted. A
//! corpus of one million characters holds about 4000 stories, so training and validation share the grammar and not the
//! stories.

mod arithmetic;
mod narrator;
mod plot;
mod probes;
#[cfg(test)]
mod replay;
mod words;

pub use probes::{Probe, ProbeKind, probes};

use crate::rng::Rng;
use plot::Story;

/// Streams of one seed: what the corpus draws is independent of what the probes draw.
const CORPUS_STREAM: u64 = 0;
const PROBE_STREAM: u64 = 1;

/// At least `characters` characters of stories and facts, cut at the end of a line.
///
/// The text is plain ASCII and depends on `seed` only: a longer text of the same seed begins with the shorter one.
pub fn generate(seed: u64, characters: usize) -> String {
    let mut rng = Rng::new(seed, CORPUS_STREAM);
    let mut text = String::new();
    let mut hero = None;
    let mut facts_due = 0;
    while text.len() < characters {
        if facts_due == 0 {
            let story = Story::tell(&mut rng, hero);
            text.push_str(&story.full_text());
            hero = Some(story.hero);
            facts_due = 2 + rng.below(3);
        } else {
            text.push_str(&arithmetic::fact(&mut rng));
            facts_due -= 1;
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, HashSet};

    use super::*;

    /// FNV-1a, 64 bits.
    fn hash(text: &str) -> u64 {
        text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
        })
    }

    #[test]
    fn the_text_of_seed_0_is_pinned() {
        let text = generate(0, 10_000);
        let first: Vec<&str> = text.lines().take(4).collect();
        assert_eq!(
            first,
            [
                "One day Otto found a blue hat in the garden. Otto lost it by the lake. Finn found the blue hat by the \
             lake. He was happy. Now Finn has the blue hat. Who has the blue hat? Finn.",
                "8 is less than 20.",
                "6 - 5 = 1.",
                "16 is more than 0.",
            ]
        );
        assert_eq!(hash(&text), 9_686_507_435_767_284_011);
    }

    #[test]
    fn the_text_is_ascii_with_a_small_vocabulary_and_ends_with_an_item() {
        let text = generate(3, 300_000);
        let vocabulary: BTreeSet<char> = text.chars().collect();
        assert!(text.is_ascii());
        assert!(vocabulary.len() <= 70, "{}", vocabulary.len());
        assert!(text.len() >= 300_000 && text.len() < 300_600);
        assert!(text.ends_with(".\n"));
        assert!(text.lines().all(|line| line.ends_with('.')));
    }

    #[test]
    fn a_longer_text_begins_with_the_shorter_one_and_seeds_differ() {
        let short = generate(9, 1000);
        assert!(generate(9, 5000).starts_with(&short));
        assert!(!generate(10, 5000).starts_with(&short));
        assert_eq!(generate(9, 0), "");
    }

    #[test]
    fn no_story_is_told_twice_in_a_million_characters() {
        let text = generate(1, 1_000_000);
        let stories: Vec<&str> = text.lines().filter(|line| line.contains('?')).collect();
        assert!(
            (4000..7000).contains(&stories.len()),
            "{} stories",
            stories.len()
        );
        assert_eq!(stories.iter().collect::<HashSet<_>>().len(), stories.len());
    }

    #[test]
    fn the_documented_number_of_plain_stories_is_right() {
        let things = words::ADJECTIVES.len() * words::NOUNS.len();
        let people = words::PEOPLE.len();
        let gifts = words::GIVING.len().pow(2);
        let plain = words::TIMES.len()
            * people
            * things
            * words::PLACES.len()
            * (people - 1)
            * (people - 2)
            * gifts;
        assert_eq!(
            (words::TIMES.len(), people, things, words::PLACES.len()),
            (8, 24, 192, 12)
        );
        assert!(plain > 2_000_000_000, "{plain}");
    }
}
