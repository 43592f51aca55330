//! What a key means: the doc comment of its field.

/// Keys and their meanings, made by the build script.
static MEANINGS: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/meanings.rs"));

/// What the key with this dotted path means, in the words of the schema's documentation; `None` of an unknown one.
///
/// ```
/// assert_eq!(bitnet_config::meaning("train.steps"), Some("Optimiser steps."));
/// ```
pub fn meaning(key: &str) -> Option<&'static str> {
    let known = MEANINGS.iter().find(|(name, _)| *name == key)?;
    Some(known.1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::KEYS;

    #[test]
    fn every_key_has_a_meaning() {
        for key in KEYS.keys() {
            // What is inside of one key is told by it.
            if key.starts_with("model.rope_scaling.") {
                continue;
            }
            let meaning = meaning(key).unwrap_or_else(|| panic!("{key} has no meaning"));
            assert!(meaning.ends_with('.'), "{key}: {meaning}");
        }
        assert_eq!(meaning("train.lr"), None);
    }
}
