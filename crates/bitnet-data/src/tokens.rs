//! Token ids of a split: in memory, or mapped from the shards of a prepared folder, so that any amount of text takes the
//! same memory.

use std::fs::File;
use std::hash::{Hash, Hasher};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use memmap2::Mmap;

/// How an id is written in a shard, little-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TokenWidth {
    /// Two bytes: vocabularies of up to 65,536 ids.
    U16,
    /// Four bytes.
    U32,
}

impl TokenWidth {
    /// The narrowest for a vocabulary.
    pub fn of(vocab_size: usize) -> Self {
        match vocab_size <= 1 << 16 {
            true => Self::U16,
            false => Self::U32,
        }
    }

    /// Bytes of an id.
    pub fn bytes(self) -> usize {
        match self {
            Self::U16 => 2,
            Self::U32 => 4,
        }
    }

    /// Appends ids as a shard holds them.
    pub(crate) fn write(self, tokens: &[u32], bytes: &mut Vec<u8>) {
        match self {
            Self::U16 => bytes.extend(tokens.iter().flat_map(|id| (*id as u16).to_le_bytes())),
            Self::U32 => bytes.extend(tokens.iter().flat_map(|id| id.to_le_bytes())),
        }
    }

    /// The ids in bytes of a shard.
    fn read(self, bytes: &[u8]) -> impl Iterator<Item = u32> {
        bytes.chunks_exact(self.bytes()).map(move |id| match self {
            Self::U16 => u32::from(u16::from_le_bytes([id[0], id[1]])),
            Self::U32 => u32::from_le_bytes([id[0], id[1], id[2], id[3]]),
        })
    }
}

/// A sequence of token ids that is cheap to clone and to cut.
#[derive(Debug, Clone)]
pub struct Tokens {
    store: Arc<Store>,
    range: Range<usize>,
}

#[derive(Debug)]
enum Store {
    Memory(Vec<u32>),
    Mapped(Mapped),
}

#[derive(Debug)]
struct Mapped {
    width: TokenWidth,
    shards: Vec<Map>,
    /// Where each shard ends in the sequence.
    ends: Vec<usize>,
    /// Bytes read since pages were last given back.
    read: AtomicUsize,
}

/// A file that is read in place.
#[derive(Debug)]
pub(crate) struct Map(Option<Mmap>);

/// Bytes that are read before their pages are given back. Pages of a file that stay mapped count as memory of the process,
/// though the system may take them at any time.
pub(crate) const KEPT: usize = 64 << 20;

/// Bytes that a look at a place maps, about: the system maps what it has in memory around it, so that windows here and there
/// would soon have all of a file counted.
pub(crate) const AROUND: usize = 1 << 20;

/// Ids that are looked at together where all are read in order.
const BLOCK: usize = 1 << 16;

impl Map {
    /// Maps a file, which must not be changed or cut while it is mapped; replacing it by a rename is harmless.
    pub(crate) fn open(path: &Path) -> std::io::Result<Self> {
        let file = File::open(path)?;
        if file.metadata()?.len() == 0 {
            return Ok(Self(None));
        }
        // SAFETY: the mapping is read-only, and its bytes do not change as long as nobody writes to the file or cuts it:
        // the documented condition of this function, which no program can enforce. No index is kept that a changed byte
        // could push out of bounds.
        let map = unsafe { Mmap::map(&file) }?;
        Ok(Self(Some(map)))
    }

    /// All of it.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.0.as_deref().unwrap_or_default()
    }

    /// Gives its pages back; they are read again when they are looked at again.
    pub(crate) fn release(&self) {
        #[cfg(unix)]
        if let Some(map) = &self.0 {
            // SAFETY: the mapping is of a file and read-only: its pages hold what the file holds, and are read from it
            // again. The call may fail, which changes nothing.
            let _ = unsafe { map.unchecked_advise(memmap2::UncheckedAdvice::DontNeed) };
        }
    }
}

impl Mapped {
    /// Hands the ids of a range to `take`, shard by shard.
    fn visit(&self, range: Range<usize>, mut take: impl FnMut(&[u8])) {
        let mut at = range.start;
        while at < range.end {
            let shard = self.ends.partition_point(|end| *end <= at);
            let first = shard.checked_sub(1).map_or(0, |before| self.ends[before]);
            let until = self.ends[shard].min(range.end);
            let bytes = |token: usize| (token - first) * self.width.bytes();
            take(&self.shards[shard].bytes()[bytes(at)..bytes(until)]);
            at = until;
        }
        let read = (range.len() * self.width.bytes()).max(AROUND);
        if self.read.fetch_add(read, Ordering::Relaxed) + read > KEPT {
            self.read.store(0, Ordering::Relaxed);
            self.shards.iter().for_each(Map::release);
        }
    }
}

impl Tokens {
    /// The ids of mapped shards, one after the other.
    pub(crate) fn mapped(width: TokenWidth, shards: Vec<Map>) -> Self {
        let mut total = 0;
        let ends: Vec<usize> = (shards.iter())
            .map(|shard| {
                total += shard.bytes().len() / width.bytes();
                total
            })
            .collect();
        Self {
            store: Arc::new(Store::Mapped(Mapped {
                width,
                shards,
                ends,
                read: AtomicUsize::new(0),
            })),
            range: 0..total,
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.range.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.range.is_empty()
    }

    /// A part.
    ///
    /// # Panics
    /// If it is not within.
    pub fn slice(&self, range: Range<usize>) -> Self {
        assert!(range.start <= range.end && range.end <= self.len());
        let start = self.range.start;
        Self {
            store: Arc::clone(&self.store),
            range: start + range.start..start + range.end,
        }
    }

    /// All of these and then all of those; in place if they follow each other.
    pub fn joined(&self, next: &Self) -> Self {
        if Arc::ptr_eq(&self.store, &next.store) && self.range.end == next.range.start {
            return Self {
                store: Arc::clone(&self.store),
                range: self.range.start..next.range.end,
            };
        }
        let mut ids = self.to_vec(0..self.len());
        ids.extend(next.to_vec(0..next.len()));
        ids.into()
    }

    /// The first `count`, and the rest.
    pub fn split_at(&self, count: usize) -> (Self, Self) {
        (self.slice(0..count), self.slice(count..self.len()))
    }

    /// Appends a part to ids for a device.
    ///
    /// # Panics
    /// If it is not within.
    pub(crate) fn append_to(&self, range: Range<usize>, ids: &mut Vec<i32>) {
        let Range { start, end } = self.slice(range).range;
        match &*self.store {
            Store::Memory(all) => ids.extend(all[start..end].iter().map(|id| *id as i32)),
            Store::Mapped(mapped) => mapped.visit(start..end, |bytes| {
                ids.extend(mapped.width.read(bytes).map(|id| id as i32));
            }),
        }
    }

    /// A part in memory.
    ///
    /// # Panics
    /// If it is not within.
    pub fn to_vec(&self, range: Range<usize>) -> Vec<u32> {
        let Range { start, end } = self.slice(range).range;
        match &*self.store {
            Store::Memory(all) => all[start..end].to_vec(),
            Store::Mapped(mapped) => {
                let mut ids = Vec::with_capacity(end - start);
                mapped.visit(start..end, |bytes| ids.extend(mapped.width.read(bytes)));
                ids
            }
        }
    }

    /// All in order, a block at a time.
    pub fn blocks(&self) -> impl Iterator<Item = Vec<u32>> {
        let starts = (0..self.len()).step_by(BLOCK);
        starts.map(|start| self.to_vec(start..self.len().min(start + BLOCK)))
    }
}

impl From<Vec<u32>> for Tokens {
    fn from(ids: Vec<u32>) -> Self {
        let range = 0..ids.len();
        Self {
            store: Arc::new(Store::Memory(ids)),
            range,
        }
    }
}

impl PartialEq for Tokens {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.blocks().eq(other.blocks())
    }
}

impl Eq for Tokens {}

impl Hash for Tokens {
    /// As a vector of the ids is hashed.
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.len().hash(state);
        self.blocks().for_each(|ids| u32::hash_slice(&ids, state));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn mapped(shards: &[Vec<u32>], width: TokenWidth) -> Tokens {
        let folder = tempfile::tempdir().unwrap();
        let maps = shards.iter().enumerate().map(|(i, ids)| {
            let (path, mut bytes) = (folder.path().join(i.to_string()), Vec::new());
            width.write(ids, &mut bytes);
            std::fs::write(&path, bytes).unwrap();
            Map::open(&path).unwrap()
        });
        Tokens::mapped(width, maps.collect())
    }

    proptest! {
        #[test]
        fn mapped_shards_are_the_ids_in_memory(
            shards in prop::collection::vec(prop::collection::vec(0_u32..70_000, 0..40), 0..6),
            cut in (0_usize..240, 0_usize..240), wide in any::<bool>(),
        ) {
            let (width, most) = match wide {
                true => (TokenWidth::U32, u32::MAX),
                false => (TokenWidth::U16, 1 << 16),
            };
            let shards: Vec<Vec<u32>> = (shards.iter())
                .map(|ids| ids.iter().map(|id| id % most).collect())
                .collect();
            let memory = Tokens::from(shards.concat());
            let mapped = mapped(&shards, width);
            prop_assert_eq!(&mapped, &memory);
            let start = cut.0.min(memory.len());
            let end = cut.1.clamp(start, memory.len());
            prop_assert_eq!(mapped.to_vec(start..end), memory.to_vec(start..end));
            let (mut found, mut expected) = (Vec::new(), Vec::new());
            mapped.slice(start..end).append_to(0..end - start, &mut found);
            memory.append_to(start..end, &mut expected);
            prop_assert_eq!(found, expected);
            let (first, rest) = mapped.split_at(start);
            prop_assert_eq!(&first.joined(&rest), &memory);
            prop_assert_eq!(&rest.joined(&first), &memory.slice(start..memory.len()).joined(&memory.slice(0..start)));
        }
    }

    #[test]
    fn a_vocabulary_takes_the_narrowest_width() {
        assert_eq!(TokenWidth::of(65_536), TokenWidth::U16);
        assert_eq!(TokenWidth::of(65_537), TokenWidth::U32);
    }

    /// What a system has mapped of files, in bytes.
    #[cfg(target_os = "linux")]
    fn mapped_bytes() -> usize {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("RssFile:"));
        let kib = line.unwrap().split_whitespace().next().unwrap();
        kib.parse::<usize>().unwrap() << 10
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn windows_here_and_there_do_not_fill_the_memory() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(320 << 20).unwrap();
        let shards = vec![Map::open(file.path()).unwrap()];
        let tokens = Tokens::mapped(TokenWidth::U16, shards);
        let before = mapped_bytes();
        // All of it is in the memory of the system then.
        for begin in (0..tokens.len()).step_by(BLOCK) {
            assert_eq!(tokens.to_vec(begin..begin + BLOCK), [0; BLOCK]);
        }
        for i in 0..2000 {
            let begin = i * 7_919_003 % (tokens.len() - 100);
            assert_eq!(tokens.to_vec(begin..begin + 100), [0; 100]);
            let more = mapped_bytes().saturating_sub(before);
            assert!(more < 160 << 20, "{more} bytes after {i} windows");
        }
    }

    #[test]
    fn pages_given_back_are_read_again() {
        let ids: Vec<u32> = (0..9000).collect();
        let tokens = mapped(std::slice::from_ref(&ids), TokenWidth::U16);
        for _ in 0..2 * KEPT / (2 * ids.len()) {
            assert_eq!(tokens.to_vec(8990..9000), ids[8990..]);
        }
        let Store::Mapped(map) = &*tokens.store else {
            panic!("it is mapped");
        };
        map.shards[0].release();
        assert_eq!(tokens.to_vec(0..9000), ids);
    }
}
