//! Plain text, in parts.

use std::io::Read;
use std::ops::ControlFlow;
use std::sync::atomic::AtomicU64;

use super::{PART, Part, Place, Source, Take, cut};
use crate::{DataError, file};

/// The documents of a text file: the whole, or what stands between `split_at`.
pub(super) fn read(
    source: &Source,
    split_at: Option<&str>,
    count: &AtomicU64,
    take: Take<'_>,
) -> Result<ControlFlow<()>, DataError> {
    let mut reader = source.open(count)?;
    let mut documents = Documents {
        split_at: split_at.unwrap_or_default().as_bytes(),
        buffer: Vec::new(),
        done: 0,
        place: Place::default(),
        begins: true,
        take,
    };
    let mut first = true;
    loop {
        let more = (&mut reader).take(PART as u64);
        let read = { more }
            .read_to_end(&mut documents.buffer)
            .map_err(|error| source.unreadable(error))?;
        if std::mem::take(&mut first) {
            documents.done = documents.buffer.len() - file::without_mark(&documents.buffer).len();
        }
        let flow = match read {
            0 => documents.finish(),
            _ => documents.go_on(),
        };
        if flow.is_break() || read == 0 {
            return Ok(flow);
        }
    }
}

/// Documents in the making.
struct Documents<'a> {
    split_at: &'a [u8],
    buffer: Vec<u8>,
    /// How much of the buffer has been handed over.
    done: usize,
    /// Where the rest stands in the file.
    place: Place,
    /// Whether the next part begins a document.
    begins: bool,
    take: Take<'a>,
}

impl Documents<'_> {
    /// Hands over what is certain.
    fn go_on(&mut self) -> ControlFlow<()> {
        while let Some(found) = find(&self.buffer[self.done..], self.split_at) {
            self.hand_over(found, true)?;
            self.pass(self.split_at.len());
        }
        // A separator may have begun.
        let kept = self.split_at.len().saturating_sub(1);
        let rest = &self.buffer[self.done..];
        let certain = rest.len().saturating_sub(kept);
        if certain >= PART
            && let Some(cut) = cut::place(&rest[..certain])
        {
            self.hand_over(cut, false)?;
        }
        self.buffer.drain(..std::mem::take(&mut self.done));
        ControlFlow::Continue(())
    }

    /// Hands over the rest.
    fn finish(&mut self) -> ControlFlow<()> {
        self.go_on()?;
        self.hand_over(self.buffer.len(), true)
    }

    fn hand_over(&mut self, count: usize, ends: bool) -> ControlFlow<()> {
        let mut bytes = &self.buffer[self.done..][..count];
        if !self.split_at.is_empty() {
            // Line breaks beside a separator belong to it.
            let line_break = |byte: &&u8| matches!(byte, b'\n' | b'\r');
            if self.begins {
                bytes = &bytes[bytes.iter().take_while(line_break).count()..];
            }
            if ends {
                let breaks = bytes.iter().rev().take_while(line_break).count();
                bytes = &bytes[..bytes.len() - breaks];
            }
        }
        let part = Part {
            bytes: bytes.to_vec(),
            place: self.place,
            ends,
        };
        let nothing = self.begins && ends && bytes.trim_ascii().is_empty();
        self.pass(count);
        self.begins = ends;
        match nothing {
            true => ControlFlow::Continue(()),
            false => (self.take)(part),
        }
    }

    fn pass(&mut self, count: usize) {
        self.place.pass(&self.buffer[self.done..][..count]);
        self.done += count;
    }
}

/// Where `needle` is; nowhere if it is empty.
fn find(text: &[u8], needle: &[u8]) -> Option<usize> {
    let first = *needle.first()?;
    let starts = text.iter().enumerate();
    starts
        .filter(|(_, byte)| **byte == first)
        .map(|(at, _)| at)
        .find(|at| text[*at..].starts_with(needle))
}
