//! Special tokens in a text: found at their leftmost place, the longest of several.

use aho_corasick::{AhoCorasick, MatchKind};

use crate::TextError;

/// A token that is found in text before the text is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Special {
    pub(crate) id: u32,
    /// White space before it is taken with it.
    pub(crate) lstrip: bool,
    /// White space after it is taken with it.
    pub(crate) rstrip: bool,
}

impl Special {
    pub(crate) fn plain(id: u32) -> Self {
        Self {
            id,
            lstrip: false,
            rstrip: false,
        }
    }
}

/// Finds special tokens.
#[derive(Debug)]
pub(crate) struct Specials {
    finder: AhoCorasick,
    tokens: Vec<Special>,
}

/// A part of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part<'a> {
    Text(&'a str),
    Token(u32),
}

impl Specials {
    pub(crate) fn new<T: AsRef<[u8]>>(
        tokens: impl IntoIterator<Item = (T, Special)>,
    ) -> Result<Self, TextError> {
        let tokens = tokens.into_iter();
        let (texts, tokens): (Vec<T>, Vec<Special>) =
            tokens.filter(|(text, _)| !text.as_ref().is_empty()).unzip();
        let finder = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .build(texts)
            .map_err(|error| TextError::Tokenizer(error.to_string()))?;
        Ok(Self { finder, tokens })
    }

    /// Whether there is one in the text.
    pub(crate) fn is_in(&self, text: &str) -> bool {
        self.finder.is_match(text)
    }

    /// Whether the text starts with one.
    pub(crate) fn starts(&self, text: &str) -> bool {
        let first = self.finder.find(text);
        first.is_some_and(|found| found.start() == 0)
    }

    /// Puts `mark` into every one that is in the text, after its first character, so that it is one no more.
    pub(crate) fn break_up(&self, text: &str, mark: char) -> String {
        let mut out = String::with_capacity(text.len());
        let mut at = 0;
        for found in self.finder.find_iter(text) {
            out.push_str(&text[at..found.start()]);
            let token = &text[found.start()..found.end()];
            let mut chars = token.chars();
            out.extend(chars.next());
            out.push(mark);
            out.push_str(chars.as_str());
            at = found.end();
        }
        out.push_str(&text[at..]);
        out
    }

    /// The text between them, none of it empty, and they.
    pub(crate) fn split<'a>(&self, text: &'a str) -> Vec<Part<'a>> {
        let mut parts = Vec::new();
        let mut at = 0;
        for found in self.finder.find_iter(text) {
            let special = self.tokens[found.pattern()];
            let before = &text[at..found.start().max(at)];
            let before = if special.lstrip {
                before.trim_end()
            } else {
                before
            };
            if !before.is_empty() {
                parts.push(Part::Text(before));
            }
            parts.push(Part::Token(special.id));
            let rest = &text[found.end()..];
            let space = match special.rstrip {
                true => rest.len() - rest.trim_start().len(),
                false => 0,
            };
            at = found.end() + space;
        }
        if at < text.len() {
            parts.push(Part::Text(&text[at..]));
        }
        parts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn specials() -> Specials {
        let strip = Special {
            id: 9,
            lstrip: true,
            rstrip: true,
        };
        Specials::new([
            ("<a>", Special::plain(1)),
            ("<a><b>", Special::plain(2)),
            ("<strip>", strip),
            ("", Special::plain(3)),
        ])
        .unwrap()
    }

    #[test]
    fn the_longest_at_the_leftmost_place_is_taken() {
        use Part::{Text, Token};
        let specials = specials();
        assert_eq!(
            specials.split("x<a><b>y<a>"),
            [Text("x"), Token(2), Text("y"), Token(1)]
        );
        assert_eq!(
            specials.split(" u <strip>  v "),
            [Text(" u"), Token(9), Text("v ")]
        );
        assert_eq!(specials.split("<strip> <a>"), [Token(9), Token(1)]);
        assert_eq!(specials.split(""), []);
    }

    #[test]
    fn what_is_broken_up_is_found_no_more() {
        let specials = specials();
        let broken = specials.break_up("x<a><b> é<a>", '·');
        assert_eq!(broken, "x<·a><b> é<·a>");
        assert!(!specials.is_in(&broken) && specials.is_in("é<a>"));
    }
}
