//! Tasks whose right answer is known: copying, reversing and sorting letters, adding numbers.
//!
//! What cannot be solved by looking at one place shows whether attention works: reversing needs a position, sorting
//! needs the whole source, adding carries from one digit to the next.

use std::collections::HashSet;
use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use crate::rng::Rng;
use crate::{DataError, Pairs};

/// What is asked of the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SyntheticTask {
    /// Its letters.
    Copy,
    /// Its letters, last first.
    Reverse,
    /// Its letters in alphabetical order.
    Sort,
    /// The sum of the two decimal numbers in it: `12+9` → `21`.
    Addition,
}

impl SyntheticTask {
    /// A source of letters, or of two numbers; a length is drawn for the letters, and for each of the numbers.
    fn source(self, lengths: &RangeInclusive<usize>, rng: &mut Rng) -> String {
        let (shortest, longest) = (*lengths.start(), *lengths.end());
        let length = |rng: &mut Rng| shortest + rng.below((longest - shortest).saturating_add(1));
        match self {
            SyntheticTask::Addition => {
                let mut number = || number(length(rng), rng);
                format!("{}+{}", number(), number())
            }
            _ => (0..length(rng))
                .map(|_| char::from(b'a' + rng.below(26) as u8))
                .collect(),
        }
    }

    /// The right answer.
    pub fn answer(self, source: &str) -> String {
        match self {
            SyntheticTask::Copy => source.to_owned(),
            SyntheticTask::Reverse => source.chars().rev().collect(),
            SyntheticTask::Sort => {
                let mut letters: Vec<char> = source.chars().collect();
                letters.sort_unstable();
                letters.into_iter().collect()
            }
            SyntheticTask::Addition => {
                let (left, right) = source.split_once('+').unwrap_or((source, ""));
                add(left, right)
            }
        }
    }

    fn name(self) -> &'static str {
        match self {
            SyntheticTask::Copy => "copying",
            SyntheticTask::Reverse => "reversing",
            SyntheticTask::Sort => "sorting",
            SyntheticTask::Addition => "adding",
        }
    }
}

/// Training, validation and test pairs of the given sizes. A source occurs once in all of them together, so that none of the
/// test is known from training. A length is uniform in the range: that of the letters, or that of each number in digits.
pub fn splits(
    task: SyntheticTask,
    sizes: [usize; 3],
    lengths: RangeInclusive<usize>,
    seed: u64,
) -> Result<[Pairs; 3], DataError> {
    let wanted = sizes
        .iter()
        .fold(0, |sum: usize, size| sum.saturating_add(*size));
    let (shortest, longest) = (*lengths.start(), *lengths.end());
    if shortest == 0 {
        return Err(DataError::Zero {
            what: "shortest length",
        });
    }
    let name = format!("{} of length {shortest} to {longest}", task.name());
    let mut rng = Rng::new(seed, 0);
    let (mut seen, mut sources) = (HashSet::new(), Vec::new());
    // Where fewer than one draw in a hundred is new, the space is all but exhausted.
    let mut draws = wanted.saturating_mul(100);
    while sources.len() < wanted {
        if draws == 0 || longest < shortest {
            let have = sources.len();
            return Err(DataError::FewSources { name, have, wanted });
        }
        draws -= 1;
        let source = task.source(&lengths, &mut rng);
        if seen.insert(source.clone()) {
            sources.push(source);
        }
    }
    let mut sources = sources.into_iter();
    Ok(sizes.map(|size| {
        let source: Vec<String> = sources.by_ref().take(size).collect();
        Pairs {
            name: name.clone(),
            target: source.iter().map(|source| task.answer(source)).collect(),
            source,
        }
    }))
}

/// A number of exactly `digits` digits; a single digit may be 0.
fn number(digits: usize, rng: &mut Rng) -> String {
    let digit =
        |least: usize, rng: &mut Rng| char::from(b'0' + (least + rng.below(10 - least)) as u8);
    let first = digit(usize::from(digits > 1), rng);
    let rest: String = (1..digits).map(|_| digit(0, rng)).collect();
    format!("{first}{rest}")
}

/// The sum of two decimal numbers of any length.
fn add(left: &str, right: &str) -> String {
    let digits = |text: &str| {
        text.bytes()
            .rev()
            .map(|byte| byte.wrapping_sub(b'0') % 10)
            .collect::<Vec<_>>()
    };
    let (left, right) = (digits(left), digits(right));
    let (mut sum, mut carry) = (Vec::new(), 0);
    for place in 0..left.len().max(right.len()) {
        let at = |number: &[u8]| number.get(place).copied().unwrap_or(0);
        let total = at(&left) + at(&right) + carry;
        sum.push(char::from(b'0' + total % 10));
        carry = total / 10;
    }
    if carry > 0 {
        sum.push('1');
    }
    sum.into_iter().rev().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_right() {
        assert_eq!(SyntheticTask::Copy.answer("hello"), "hello");
        assert_eq!(SyntheticTask::Reverse.answer("abc"), "cba");
        assert_eq!(SyntheticTask::Sort.answer("hello"), "ehllo");
        for (source, sum) in [
            ("0+0", "0"),
            ("999+1", "1000"),
            ("12+9", "21"),
            ("5+99", "104"),
        ] {
            assert_eq!(SyntheticTask::Addition.answer(source), sum);
        }
    }

    #[test]
    fn no_source_occurs_twice_and_a_seed_repeats() {
        let make = |seed| splits(SyntheticTask::Sort, [300, 50, 50], 2..=6, seed).unwrap();
        let all = make(7);
        let sources: HashSet<&String> = all.iter().flat_map(|pairs| &pairs.source).collect();
        assert_eq!(sources.len(), 400);
        assert_eq!(
            all.iter().map(Pairs::len).collect::<Vec<_>>(),
            [300, 50, 50]
        );
        assert!(sources.iter().all(|source| (2..=6).contains(&source.len())));
        assert_eq!(make(7), all);
        assert_ne!(make(8), all);
    }

    #[test]
    fn a_space_that_is_too_small_is_an_error() {
        let error = splits(SyntheticTask::Copy, [30, 1, 1], 1..=1, 0).unwrap_err();
        assert!(error.to_string().contains("26"), "{error}");
        let error = splits(SyntheticTask::Copy, [1, 1, 1], 0..=3, 0).unwrap_err();
        assert!(
            error.to_string().contains("shortest length is 0"),
            "{error}"
        );
        let (shortest, longest) = (3, 2);
        assert!(splits(SyntheticTask::Copy, [1, 1, 1], shortest..=longest, 0).is_err());
    }

    #[test]
    fn sums_have_numbers_of_the_asked_length() {
        let [pairs, ..] = splits(SyntheticTask::Addition, [100, 1, 1], 2..=3, 0).unwrap();
        for (source, target) in pairs.source.iter().zip(&pairs.target) {
            let numbers: Vec<u32> = source.split('+').map(|n| n.parse().unwrap()).collect();
            assert!(numbers.iter().all(|n| (10..1000).contains(n)), "{source}");
            assert_eq!(numbers.iter().sum::<u32>().to_string(), *target);
        }
        // The two lengths are drawn apart: all four combinations of two and three digits occur.
        let shapes: HashSet<(usize, usize)> = (pairs.source.iter())
            .filter_map(|source| source.split_once('+'))
            .map(|(left, right)| (left.len(), right.len()))
            .collect();
        assert_eq!(shapes.len(), 4);
    }
}
