//! Facts about the numbers from 0 to 20: sums, differences and comparisons.

use crate::rng::Rng;

/// The largest number; no operand and no result exceeds it.
pub(super) const LARGEST: usize = 20;

/// Two numbers and their sum or difference, every one of the 462 cases equally likely.
pub(super) struct Equation {
    /// "7 + 5 ="
    pub(super) left: String,
    pub(super) result: usize,
}

impl Equation {
    pub(super) fn draw(rng: &mut Rng) -> Self {
        let (small, large) = ordered_pair(rng);
        match rng.one_in(2) {
            // small <= large, so that large - small and small + (large - small) both stay in range.
            true => Self {
                left: format!("{small} + {} =", large - small),
                result: large,
            },
            false => Self {
                left: format!("{large} - {small} ="),
                result: large - small,
            },
        }
    }
}

/// One line without its end: "7 + 5 = 12.", "12 - 5 = 7.", "9 is more than 4." or "4 is less than 9."
///
/// Three in four are equations; comparisons are rarer since they leave less to learn.
pub(super) fn fact(rng: &mut Rng) -> String {
    if !rng.one_in(4) {
        let Equation { left, result } = Equation::draw(rng);
        return format!("{left} {result}.");
    }
    loop {
        let (small, large) = ordered_pair(rng);
        if small < large {
            return match rng.one_in(2) {
                true => format!("{large} is more than {small}."),
                false => format!("{small} is less than {large}."),
            };
        }
    }
}

/// Two numbers with `small <= large`, each of the 231 pairs equally likely.
fn ordered_pair(rng: &mut Rng) -> (usize, usize) {
    loop {
        let (small, large) = (rng.below(LARGEST + 1), rng.below(LARGEST + 1));
        if small <= large {
            return (small, large);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// Checks one line and returns false if it is not a fact at all.
    fn is_true(line: &str) -> bool {
        let number = |word: &str| {
            word.parse::<i32>()
                .ok()
                .filter(|n| (0..=LARGEST as i32).contains(n))
                .unwrap()
        };
        let words: Vec<&str> = line.strip_suffix('.').unwrap().split(' ').collect();
        match words[..] {
            [a, "+", b, "=", c] => number(a) + number(b) == number(c),
            [a, "-", b, "=", c] => number(a) - number(b) == number(c),
            [a, "is", "more", "than", b] => number(a) > number(b),
            [a, "is", "less", "than", b] => number(a) < number(b),
            _ => false,
        }
    }

    #[test]
    fn every_line_of_the_corpus_that_starts_with_a_digit_is_true() {
        let text = crate::stories::generate(5, 200_000);
        let facts: Vec<&str> = text
            .lines()
            .filter(|line| line.starts_with(|c: char| c.is_ascii_digit()))
            .collect();
        assert!(facts.len() > 2000);
        for fact in facts {
            assert!(is_true(fact), "{fact}");
        }
    }

    #[test]
    fn there_are_as_many_facts_as_documented() {
        let mut rng = Rng::new(0, 0);
        let facts: HashSet<String> = (0..40_000).map(|_| fact(&mut rng)).collect();
        assert_eq!(facts.len(), 231 + 231 + 210 + 210);
    }
}
