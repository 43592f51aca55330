//! One path, or several: files, folders and patterns.

use std::fmt;
use std::ops::Deref;
use std::path::PathBuf;

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Where data is: in TOML a path, or a list of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Paths(Vec<PathBuf>);

impl Deref for Paths {
    type Target = [PathBuf];

    fn deref(&self) -> &[PathBuf] {
        &self.0
    }
}

impl<P: Into<PathBuf>> From<P> for Paths {
    fn from(path: P) -> Self {
        Self(vec![path.into()])
    }
}

/// As a configuration has them.
impl fmt::Display for Paths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0[..] {
            [path] => write!(f, "{path:?}"),
            paths => write!(f, "{paths:?}"),
        }
    }
}

impl Serialize for Paths {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0[..] {
            [path] => path.serialize(serializer),
            paths => paths.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Paths {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMany;

        impl<'de> Visitor<'de> for OneOrMany {
            type Value = Paths;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a path, or a list of paths")
            }

            fn visit_str<E>(self, path: &str) -> Result<Paths, E> {
                Ok(path.into())
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Paths, A::Error> {
                let mut paths = Vec::new();
                while let Some(path) = list.next_element()? {
                    paths.push(path);
                }
                Ok(Paths(paths))
            }
        }

        deserializer.deserialize_any(OneOrMany)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_path_is_a_string_and_several_are_a_list() {
        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        struct Data {
            path: Paths,
        }
        for (text, count) in [
            ("path = \"a\"\n", 1),
            ("path = [\"a\", \"b\"]\n", 2),
            ("path = []\n", 0),
        ] {
            let data: Data = toml::from_str(text).unwrap();
            assert_eq!(data.path.len(), count);
            assert_eq!(toml::to_string(&data).unwrap(), text);
            assert_eq!(format!("path = {}\n", data.path), text);
        }
        for wrong in ["path = 3", "path = [\"a\", 3]"] {
            assert!(toml::from_str::<Data>(wrong).is_err(), "{wrong}");
        }
    }
}
