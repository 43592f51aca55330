//! JSON files of a model's folder, read into what is used of them.

use std::{fmt, marker::PhantomData, path::Path};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, IntoDeserializer, SeqAccess, Visitor},
};

use crate::{
    Error, FileBytes,
    error::{Fault, Place},
};

/// Reads a file of at most `limit` bytes; `None` if it is not there.
pub(crate) fn read<T: DeserializeOwned>(path: &Path, limit: usize) -> Result<Option<T>, Error> {
    if !path.exists() {
        return Ok(None);
    }
    let bytes = FileBytes::open(path)?;
    if bytes.len() > limit {
        let problem = format!("{} bytes, expected at most {limit}", bytes.len());
        return Err(Fault::malformed(Place::File, problem).within(path));
    }
    let read = serde_json::from_slice(&bytes);
    read.map_err(|error| Fault::malformed(Place::File, error).within(path))
        .map(Some)
}

/// A list of at most `N` items, or one item in its place, or `null`: no file makes it long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Few<T, const N: usize>(pub Vec<T>);

impl<T, const N: usize> Default for Few<T, N> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>, const N: usize> Deserialize<'de> for Few<T, N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FewVisitor(PhantomData))
    }
}

struct FewVisitor<T, const N: usize>(PhantomData<T>);

impl<'de, T: Deserialize<'de>, const N: usize> Visitor<'de> for FewVisitor<T, N> {
    type Value = Few<T, N>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "one item, a list of at most {N}, or null")
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Self::Value, E> {
        Ok(Few::default())
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Self::Value, E> {
        let item = T::deserialize(value.into_deserializer())?;
        Ok(Few(vec![item]))
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Self::Value, E> {
        let item = T::deserialize(value.into_deserializer())?;
        Ok(Few(vec![item]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            if items.len() == N {
                return Err(serde::de::Error::invalid_length(N + 1, &self));
            }
            items.push(item);
        }
        Ok(Few(items))
    }
}
