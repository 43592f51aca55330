//! What each id stands for: its bytes, and whether they are text.

/// What an id is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PieceKind {
    /// Text, of whole characters or not.
    Text,
    /// A mark that is no part of a text, as the end of a turn.
    Special,
    /// No token has this id.
    Absent,
}

/// The bytes of all ids, in one piece of memory.
#[derive(Debug)]
pub(crate) struct Pieces {
    bytes: Vec<u8>,
    /// Where each id's bytes end.
    ends: Vec<u32>,
    kinds: Vec<PieceKind>,
}

impl Pieces {
    /// Collects the pieces by id. Absent ones at the end are left out.
    pub(crate) fn new<B: AsRef<[u8]>>(pieces: impl IntoIterator<Item = (B, PieceKind)>) -> Self {
        let mut all = Self {
            bytes: Vec::new(),
            ends: Vec::new(),
            kinds: Vec::new(),
        };
        for (bytes, kind) in pieces {
            all.bytes.extend_from_slice(bytes.as_ref());
            all.ends
                .push(u32::try_from(all.bytes.len()).unwrap_or(u32::MAX));
            all.kinds.push(kind);
        }
        let present = |kind: &PieceKind| *kind != PieceKind::Absent;
        let len = all
            .kinds
            .iter()
            .rposition(present)
            .map_or(0, |last| last + 1);
        all.ends.truncate(len);
        all.kinds.truncate(len);
        all
    }

    /// One more than the largest id that has a token.
    pub(crate) fn len(&self) -> usize {
        self.kinds.len()
    }

    pub(crate) fn kind(&self, id: u32) -> PieceKind {
        let kind = self.kinds.get(id as usize);
        kind.copied().unwrap_or(PieceKind::Absent)
    }

    /// The bytes of an id; none if no token has it.
    pub(crate) fn bytes(&self, id: u32) -> Option<&[u8]> {
        if self.kind(id) == PieceKind::Absent {
            return None;
        }
        let index = id as usize;
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        self.bytes.get(start as usize..self.ends[index] as usize)
    }

    /// The special tokens' texts and ids.
    pub(crate) fn special(&self) -> impl Iterator<Item = (&str, u32)> {
        let ids = (0..self.len() as u32).filter(|id| self.kind(*id) == PieceKind::Special);
        ids.filter_map(|id| Some((str::from_utf8(self.bytes(id)?).ok()?, id)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_their_bytes_and_holes_have_none() {
        let pieces = Pieces::new([
            ("ab", PieceKind::Text),
            ("hole", PieceKind::Absent),
            ("<end>", PieceKind::Special),
            ("beyond", PieceKind::Absent),
        ]);
        assert_eq!(pieces.len(), 3);
        assert_eq!(pieces.bytes(0), Some(&b"ab"[..]));
        assert_eq!(pieces.bytes(1), None);
        assert_eq!(pieces.bytes(2), Some(&b"<end>"[..]));
        assert_eq!((pieces.bytes(3), pieces.kind(3)), (None, PieceKind::Absent));
        assert_eq!(pieces.special().collect::<Vec<_>>(), [("<end>", 2)]);
    }
}
