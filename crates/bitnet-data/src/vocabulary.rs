//! The alphabet of a text: a sorted list of characters, in which the place of each is its id.

use std::collections::BTreeSet;

use crate::DataError;

/// The distinct characters of a text in code point order; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vocabulary(Vec<char>);

impl Vocabulary {
    /// The characters; the index of each is its id.
    pub fn chars(&self) -> &[char] {
        &self.0
    }

    /// The alphabet of a text.
    pub(crate) fn of(text: &str) -> Result<Self, DataError> {
        let distinct: BTreeSet<char> = text.chars().collect();
        Self::from_sorted(distinct.into_iter().collect())
    }

    /// Checks a list that was read from a file. The order is checked too: a list in another order gives other ids.
    pub(crate) fn from_sorted(chars: Vec<char>) -> Result<Self, DataError> {
        let problem = match chars.windows(2).find(|pair| pair[0] >= pair[1]) {
            None if chars.is_empty() => "is empty".to_owned(),
            None => return Ok(Self(chars)),
            Some(pair) if pair[0] == pair[1] => format!("has {:?} twice", pair[0]),
            Some(pair) => format!("is not in code point order at {:?}", pair[1]),
        };
        Err(DataError::Vocabulary { problem })
    }

    /// The id of a character.
    pub(crate) fn id(&self, character: char) -> Option<u32> {
        // There are fewer than 2^21 characters, so a rank fits.
        self.0
            .binary_search(&character)
            .ok()
            .map(|rank| rank as u32)
    }

    /// The character of an id.
    pub(crate) fn character(&self, id: u32) -> Option<char> {
        self.0.get(id as usize).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_characters_are_inverse() {
        let vocabulary = Vocabulary::of("hello, wörld\n").unwrap();
        assert_eq!(
            vocabulary.chars().iter().collect::<String>(),
            "\n ,dehlorwö"
        );
        for (id, &character) in vocabulary.chars().iter().enumerate() {
            assert_eq!(vocabulary.id(character), Some(id as u32));
            assert_eq!(vocabulary.character(id as u32), Some(character));
        }
        assert_eq!((vocabulary.id('z'), vocabulary.character(11)), (None, None));
    }

    #[test]
    fn an_empty_text_has_no_vocabulary() {
        assert!(matches!(
            Vocabulary::of(""),
            Err(DataError::Vocabulary { .. })
        ));
    }
}
