//! The header of a safetensors file, read twice: to count the tensors, then to keep them in one allocation.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use crate::error::{Fault, Place};

/// The most bytes of a header, as in the crate `safetensors`.
const MAX_HEADER: u64 = 100_000_000;
/// The most dimensions of a tensor that are read.
const MAX_RANK: usize = 8;
/// The key of the header that is no tensor.
const METADATA: &str = "__metadata__";

/// The type of a tensor's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[allow(missing_docs, reason = "the names are the format's own")]
#[allow(non_camel_case_types, reason = "the names are the format's own")]
#[serde(rename_all = "UPPERCASE")]
pub enum Dtype {
    Bool,
    U8,
    I8,
    F8_E5M2,
    F8_E4M3,
    U16,
    I16,
    F16,
    Bf16,
    U32,
    I32,
    F32,
    U64,
    I64,
    F64,
}

impl Dtype {
    /// Bytes of an element.
    pub fn bytes(self) -> u64 {
        match self {
            Self::Bool | Self::U8 | Self::I8 | Self::F8_E5M2 | Self::F8_E4M3 => 1,
            Self::U16 | Self::I16 | Self::F16 | Self::Bf16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::U64 | Self::I64 | Self::F64 => 8,
        }
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{self:?}").to_uppercase())
    }
}

/// A tensor's entry.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) name: Box<str>,
    pub(super) shape: Box<[u64]>,
    pub(super) dtype: Dtype,
    /// From the start of the data.
    pub(super) start: u64,
    pub(super) end: u64,
}

/// Reads and checks a header. Returns the entries, sorted by name, and where the data starts.
pub(super) fn read(bytes: &[u8]) -> Result<(Vec<Entry>, usize), Fault> {
    let Some((len, rest)) = bytes.split_first_chunk::<8>() else {
        let problem = format!("{} bytes, expected at least 8", bytes.len());
        return Err(Fault::header(problem));
    };
    let len = u64::from_le_bytes(*len);
    if len > MAX_HEADER || len > rest.len() as u64 {
        let problem = format!(
            "a header of {len} bytes, expected at most {} (the rest of the file) and {MAX_HEADER}",
            rest.len()
        );
        return Err(Fault::header(problem));
    }
    let (json, data) = rest.split_at(len as usize);
    let mut count = Count(0);
    parse(json, &mut count)?;
    let mut entries = Entries(Vec::with_capacity(count.0));
    parse(json, &mut entries)?;
    let mut entries = entries.0;
    check_places(&mut entries, data.len() as u64)?;
    entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    if let Some(pair) = entries.windows(2).find(|pair| pair[0].name == pair[1].name) {
        return Err(Fault::tensor(&pair[0].name, "stands twice, expected once"));
    }
    Ok((entries, 8 + json.len()))
}

/// Every byte of the data belongs to one tensor, whose size is that of its shape.
fn check_places(entries: &mut [Entry], data: u64) -> Result<(), Fault> {
    entries.sort_unstable_by_key(|entry| (entry.start, entry.end));
    let mut at = 0;
    for entry in &*entries {
        let Entry {
            start, end, dtype, ..
        } = *entry;
        let elements = entry
            .shape
            .iter()
            .try_fold(1_u64, |n, dim| n.checked_mul(*dim));
        let expected = elements.and_then(|n| n.checked_mul(dtype.bytes()));
        let problem = if end.checked_sub(start) != expected || expected.is_none() {
            format!(
                "data_offsets [{start}, {end}], expected a difference of {} for {dtype} {:?}",
                expected.map_or("less than 2^64".into(), |n| n.to_string()),
                entry.shape
            )
        } else if end > data {
            format!("data_offsets [{start}, {end}], but the data of the file ends at {data}")
        } else if start != at {
            format!(
                "data_offsets [{start}, {end}], expected to start at {at}, where the tensor before ends"
            )
        } else {
            at = end;
            continue;
        };
        return Err(Fault::tensor(&entry.name, problem));
    }
    if at == data {
        Ok(())
    } else {
        Err(Fault::header(format!(
            "the tensors end at {at}, but the data of the file at {data}"
        )))
    }
}

/// What is done with the tensors of a header.
trait Sink {
    fn add(&mut self, name: Cow<'_, str>, value: RawEntry);
}

struct Count(usize);
struct Entries(Vec<Entry>);

impl Sink for Count {
    fn add(&mut self, _: Cow<'_, str>, _: RawEntry) {
        self.0 += 1;
    }
}

impl Sink for Entries {
    fn add(&mut self, name: Cow<'_, str>, value: RawEntry) {
        self.0.push(Entry {
            name: name.into(),
            shape: value.shape.dims[..value.shape.rank].into(),
            dtype: value.dtype,
            start: value.data_offsets[0],
            end: value.data_offsets[1],
        });
    }
}

fn parse(json: &[u8], sink: &mut dyn Sink) -> Result<(), Fault> {
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    HeaderSeed(sink)
        .deserialize(&mut deserializer)
        .and_then(|()| deserializer.end())
        .map_err(Fault::header)
}

struct HeaderSeed<'s>(&'s mut dyn Sink);

impl<'de> DeserializeSeed<'de> for HeaderSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for HeaderSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(Name(name)) = map.next_key()? {
            if name == METADATA {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            let value = map.next_value();
            let place = || Place::Tensor(name.to_string());
            let value = value.map_err(|error| A::Error::custom(format!("{}: {error}", place())))?;
            self.0.add(name, value);
        }
        Ok(())
    }
}

/// A key, borrowed unless it holds escapes.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawEntry {
    dtype: Dtype,
    shape: Dims,
    data_offsets: [u64; 2],
}

/// A shape on the stack, so that a long list in a file allocates nothing.
struct Dims {
    dims: [u64; MAX_RANK],
    rank: usize,
}

impl<'de> Deserialize<'de> for Dims {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct DimsVisitor;
        impl<'de> Visitor<'de> for DimsVisitor {
            type Value = Dims;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a list of at most {MAX_RANK} dimensions")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Dims, A::Error> {
                let (mut dims, mut rank) = ([0; MAX_RANK], 0);
                while let Some(dim) = list.next_element()? {
                    let place = dims.get_mut(rank);
                    *place.ok_or_else(|| A::Error::invalid_length(rank + 1, &self))? = dim;
                    rank += 1;
                }
                Ok(Dims { dims, rank })
            }
        }
        deserializer.deserialize_seq(DimsVisitor)
    }
}
