//! Where a text can be cut without a token more or less: before a space, or before a line break after a letter.
//!
//! Tokenizers that cut at words first ("pre-tokenizers") take a space to the word that follows it, so that no token holds
//! a visible character and then a space. Those that take a line break to the character before it do so after punctuation.

/// The last such place, if there is one after the first byte.
pub(crate) fn place(text: &[u8]) -> Option<usize> {
    // The last byte is left alone: what follows it is not known.
    let inner = 1..text.len().saturating_sub(1);
    let last = |allowed: &dyn Fn(usize) -> bool| inner.clone().rev().find(|at| allowed(*at));
    let visible = |at: usize| !text[at].is_ascii_whitespace();
    last(&|at| text[at] == b' ' && text[at - 1].is_ascii_graphic() && visible(at + 1))
        .or_else(|| last(&|at| text[at] == b'\n' && text[at - 1].is_ascii_alphanumeric()))
        .or_else(|| last(&|at| is_boundary(text[at])))
}

/// Whether a character of UTF-8 begins with a byte, or a byte of something else may.
fn is_boundary(byte: u8) -> bool {
    byte & 0xc0 != 0x80
}

/// Words with what is before and after them: a text cut before every single space that follows a visible character.
pub(crate) fn words(text: &str) -> impl Iterator<Item = &str> {
    let bytes = text.as_bytes();
    let mut begin = 0;
    std::iter::from_fn(move || {
        if begin == bytes.len() {
            return None;
        }
        let mut at = begin + 1;
        while at < bytes.len() && !(bytes[at] == b' ' && bytes[at - 1].is_ascii_graphic()) {
            at += 1;
        }
        let word = &text[begin..at];
        begin = at;
        Some(word)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_cut_is_before_a_space_or_a_line_break_after_a_letter() {
        assert_eq!(place(b"one two, three"), Some(8));
        assert_eq!(place(b"one two,  "), Some(3));
        assert_eq!(place(b"one\ntwo.\nx"), Some(3));
        assert_eq!(place("öäü".as_bytes()), Some(4));
        assert_eq!(place(b"a"), None);
        assert_eq!(place(b""), None);
        assert_eq!(place(&[0x80; 9]), None);
    }

    proptest! {
        #[test]
        fn words_are_the_text(text in "[a ö.\n\t]{0,40}") {
            prop_assert_eq!(words(&text).collect::<String>(), text);
        }
    }
}
