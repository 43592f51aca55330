//! The tensors of a folder: one safetensors file, or several with an index.

use std::{
    fmt,
    path::{Component, Path, PathBuf},
};

use serde::{
    Deserializer,
    de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, Visitor},
};

use super::file::{SafeTensor, SafetensorsFile};
use crate::{
    Error, FileBytes,
    error::{Fault, Place},
};

/// The file of a checkpoint that is one file.
pub const SINGLE_FILE: &str = "model.safetensors";
/// The index of a checkpoint of several files.
pub const INDEX_FILE: &str = "model.safetensors.index.json";
/// The most files of a checkpoint; each is mapped.
const MAX_SHARDS: usize = 1024;

/// The tensors of a folder.
#[derive(Debug)]
pub struct Checkpoint {
    /// The index, the file, or the folder: what errors about the whole name.
    path: PathBuf,
    shards: Vec<(String, SafetensorsFile)>,
    /// Files beside them that the index does not name.
    unnamed: Vec<String>,
}

impl Checkpoint {
    /// Opens the files of a folder, or one file.
    ///
    /// # Errors
    ///
    /// If there is none, one cannot be read, or the index and the files disagree: every tensor must be in the file that
    /// the index names, and in no other.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        if path.is_file() {
            return Self::single(path.into());
        }
        let (single, index) = (path.join(SINGLE_FILE), path.join(INDEX_FILE));
        match (single.is_file(), index.is_file()) {
            (true, false) => Self::single(single),
            (false, true) => Self::indexed(index),
            (true, true) => Err(Fault::unsupported(
                Place::File,
                format!("{SINGLE_FILE} and {INDEX_FILE} are both there"),
                "remove the one that is out of date",
            )
            .within(path)),
            (false, false) => Err(Fault::unsupported(
                Place::File,
                format!("neither {SINGLE_FILE} nor {INDEX_FILE} is there"),
                "give a folder with safetensors (files .bin run code when they are read: convert them with transformers)",
            )
            .within(path)),
        }
    }

    fn single(path: PathBuf) -> Result<Self, Error> {
        let shards = vec![(SINGLE_FILE.into(), SafetensorsFile::open(&path)?)];
        Ok(Self {
            path,
            shards,
            unnamed: Vec::new(),
        })
    }

    fn indexed(path: PathBuf) -> Result<Self, Error> {
        let json = FileBytes::open(&path)?;
        let mut shards: Vec<(String, SafetensorsFile)> = Vec::new();
        let folder = path.parent().unwrap_or(Path::new("."));
        let mut entries = 0;
        read_index(&json, &mut |tensor, shard| {
            entries += 1;
            let known = shards.iter().position(|(name, _)| name == shard);
            let index = match known {
                Some(index) => index,
                None => {
                    check_name(tensor, shard, shards.len()).map_err(|fault| fault.within(&path))?;
                    shards.push((shard.into(), SafetensorsFile::open(folder.join(shard))?));
                    shards.len() - 1
                }
            };
            if shards[index].1.tensor(tensor).is_some() {
                return Ok(());
            }
            let problem = format!("the index says that it is in {shard}, but it is not");
            Err(Fault::tensor(tensor, problem).within(&path))
        })?;
        let found: usize = shards.iter().map(|(_, file)| file.tensors().len()).sum();
        if entries != found {
            let problem = format!(
                "the index has {entries} tensors, its files hold {found}: the index is stale"
            );
            return Err(Fault::malformed(Place::File, problem).within(&path));
        }
        let mut checkpoint = Self {
            path,
            shards,
            unnamed: Vec::new(),
        };
        checkpoint.check_unique()?;
        checkpoint.unnamed = checkpoint.unnamed_beside();
        Ok(checkpoint)
    }

    /// With as many entries as tensors, an entry that stands twice and a tensor that is in two files would make up for each
    /// other.
    fn check_unique(&self) -> Result<(), Error> {
        for (index, (shard, file)) in self.shards.iter().enumerate() {
            for tensor in file.tensors() {
                let rest = &self.shards[index + 1..];
                if let Some((other, _)) =
                    rest.iter().find(|(_, f)| f.tensor(tensor.name()).is_some())
                {
                    let problem =
                        format!("stands in {shard} and in {other}, expected in one of them");
                    return Err(Fault::tensor(tensor.name(), problem).within(&self.path));
                }
            }
        }
        Ok(())
    }

    /// Files that are called as transformers calls those of a checkpoint, and that the index does not name.
    fn unnamed_beside(&self) -> Vec<String> {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        let is_shard = |name: &String| {
            let number = name.strip_prefix("model-");
            let number = number.and_then(|name| name.strip_suffix(".safetensors"));
            number.is_some_and(|number| number.contains("-of-"))
        };
        let named = |name: &String| self.shards.iter().any(|(shard, _)| shard == name);
        let mut unnamed: Vec<String> = names
            .filter(|name| is_shard(name) && !named(name))
            .take(MAX_SHARDS)
            .collect();
        unnamed.sort();
        unnamed
    }

    /// Files beside those of the index that it does not name: left over, or the index is that of another checkpoint.
    pub fn unnamed(&self) -> &[String] {
        &self.unnamed
    }

    /// The index, or the one file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The number of files.
    pub fn files(&self) -> usize {
        self.shards.len()
    }

    /// A tensor by its name.
    pub fn tensor(&self, name: &str) -> Option<SafeTensor<'_>> {
        self.shards.iter().find_map(|(_, file)| file.tensor(name))
    }

    /// All tensors, file after file, by name within each.
    pub fn tensors(&self) -> impl Iterator<Item = SafeTensor<'_>> {
        self.shards.iter().flat_map(|(_, file)| file.tensors())
    }
}

/// A shard is a file beside the index: no folder, no way out of the folder.
fn check_name(tensor: &str, shard: &str, shards: usize) -> Result<(), Fault> {
    let mut parts = Path::new(shard).components();
    let is_plain = matches!(
        (parts.next(), parts.next()),
        (Some(Component::Normal(_)), None)
    );
    if !is_plain || !shard.ends_with(".safetensors") {
        let problem =
            format!("is in {shard:?}, expected the name of a .safetensors file beside the index");
        return Err(Fault::tensor(tensor, problem));
    }
    if shards == MAX_SHARDS {
        let problem = format!("more than {MAX_SHARDS} files");
        return Err(Fault::malformed(Place::Key("weight_map".into()), problem));
    }
    Ok(())
}

type OnEntry<'f> = &'f mut dyn FnMut(&str, &str) -> Result<(), Error>;

/// Calls `on_entry` with each tensor and file of `weight_map`, keeping nothing.
fn read_index(json: &FileBytes, on_entry: OnEntry<'_>) -> Result<(), Error> {
    let mut refused = None;
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let seed = IndexSeed {
        on_entry,
        refused: &mut refused,
    };
    let read = seed
        .deserialize(&mut deserializer)
        .and_then(|()| deserializer.end());
    match (refused, read) {
        (Some(error), _) => Err(error),
        (None, Err(error)) => Err(Fault::malformed(Place::File, error).within(json.path())),
        (None, Ok(())) => Ok(()),
    }
}

struct IndexSeed<'s, 'f> {
    on_entry: OnEntry<'f>,
    /// What `on_entry` answered, which serde's own error cannot hold.
    refused: &'s mut Option<Error>,
}

impl<'de> DeserializeSeed<'de> for IndexSeed<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for IndexSeed<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with `weight_map`")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        let mut found = false;
        while let Some(key) = map.next_key::<String>()? {
            if key != "weight_map" {
                map.next_value::<IgnoredAny>()?;
            } else if found {
                return Err(A::Error::duplicate_field("weight_map"));
            } else {
                found = true;
                map.next_value_seed(Entries(&mut self))?;
            }
        }
        if found {
            Ok(())
        } else {
            Err(A::Error::missing_field("weight_map"))
        }
    }
}

struct Entries<'e, 's, 'f>(&'e mut IndexSeed<'s, 'f>);

impl<'de> DeserializeSeed<'de> for Entries<'_, '_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Entries<'_, '_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of tensors and the names of their files")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some((tensor, shard)) = map.next_entry::<String, String>()? {
            if let Err(error) = (self.0.on_entry)(&tensor, &shard) {
                *self.0.refused = Some(error);
                return Err(A::Error::custom("refused"));
            }
        }
        Ok(())
    }
}
