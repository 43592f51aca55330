//! TensorBoard's event files: TFRecords of `Event` messages, written by hand since scalars need five fields.
//!
//! ```text
//! record   length u64 · masked CRC-32C of it · message · masked CRC-32C of it      little-endian
//! Event    1: wall_time double   2: step int64   3: file_version string   5: summary
//! Summary  1: value { 1: tag string   2: simple_value float   8: tensor   9: metadata }
//! ```

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// An event file that grows.
pub struct EventFile {
    file: File,
}

impl EventFile {
    /// A new file in a folder, named as TensorBoard expects.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn create(folder: &Path) -> std::io::Result<Self> {
        let now = seconds();
        let name = format!(
            "events.out.tfevents.{:.0}.bitnet.{}",
            now,
            std::process::id()
        );
        let path = folder.join(name);
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        let mut events = Self { file };
        let mut event = wall_time(now);
        string(&mut event, 3, b"brain.Event:2");
        events.record(&event)?;
        Ok(events)
    }

    /// Adds a number at a step.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn scalar(&mut self, tag: &str, step: usize, value: f64) -> std::io::Result<()> {
        let mut one = Vec::new();
        string(&mut one, 1, tag.as_bytes());
        key(&mut one, 2, FIXED_32);
        one.extend((value as f32).to_le_bytes());
        self.summary(step, &one)
    }

    /// Adds a text at a step.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn text(&mut self, tag: &str, step: usize, text: &str) -> std::io::Result<()> {
        // A tensor of one string, and the plugin that shows it.
        let mut tensor = Vec::new();
        key(&mut tensor, 1, VARINT);
        varint(&mut tensor, STRING);
        string(&mut tensor, 8, text.as_bytes());
        let mut plugin = Vec::new();
        string(&mut plugin, 1, b"text");
        let mut metadata = Vec::new();
        string(&mut metadata, 1, &plugin);
        let mut one = Vec::new();
        string(&mut one, 1, tag.as_bytes());
        string(&mut one, 8, &tensor);
        string(&mut one, 9, &metadata);
        self.summary(step, &one)
    }

    fn summary(&mut self, step: usize, value: &[u8]) -> std::io::Result<()> {
        let mut summary = Vec::new();
        string(&mut summary, 1, value);
        let mut event = wall_time(seconds());
        key(&mut event, 2, VARINT);
        varint(&mut event, step as u64);
        string(&mut event, 5, &summary);
        self.record(&event)
    }

    fn record(&mut self, message: &[u8]) -> std::io::Result<()> {
        let length = (message.len() as u64).to_le_bytes();
        let mut record = length.to_vec();
        record.extend(masked(crc32c(&length)).to_le_bytes());
        record.extend(message);
        record.extend(masked(crc32c(message)).to_le_bytes());
        // At once, so that a reader never meets half a record for long.
        self.file.write_all(&record)
    }
}

/// Wire types of protocol buffers.
const VARINT: u64 = 0;
const FIXED_64: u64 = 1;
const LENGTH: u64 = 2;
const FIXED_32: u64 = 5;

/// `DT_STRING`.
const STRING: u64 = 7;

fn seconds() -> f64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0.0, |now| now.as_secs_f64())
}

fn wall_time(seconds: f64) -> Vec<u8> {
    let mut event = Vec::new();
    key(&mut event, 1, FIXED_64);
    event.extend(seconds.to_le_bytes());
    event
}

fn key(message: &mut Vec<u8>, field: u64, wire: u64) {
    varint(message, field << 3 | wire);
}

fn varint(message: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        message.push(value as u8 | 0x80);
        value >>= 7;
    }
    message.push(value as u8);
}

/// A string, bytes or a message.
fn string(message: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    key(message, field, LENGTH);
    varint(message, bytes.len() as u64);
    message.extend(bytes);
}

/// CRC-32 by Castagnoli's polynomial, bit by bit: records are short.
fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = !0u32;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = crc >> 1 ^ (0x82f6_3b78 & (crc & 1).wrapping_neg());
        }
    }
    !crc
}

/// As records hold it, so that a checksum of checksums is none.
fn masked(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_castagnoli_s() {
        // RFC 3720, appendix B.4.
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
    }

    #[test]
    fn a_number_is_an_event_of_these_bytes() {
        let mut message = Vec::new();
        varint(&mut message, 300);
        assert_eq!(message, [0xac, 0x02]);
        let folder = tempfile::tempdir().unwrap();
        let mut file = EventFile::create(folder.path()).unwrap();
        file.scalar("loss", 3, 1.5).unwrap();
        let name = std::fs::read_dir(folder.path())
            .unwrap()
            .next()
            .unwrap()
            .unwrap();
        let bytes = std::fs::read(name.path()).unwrap();
        // The first record: 9 bytes of time, and 15 of the version with its key and length.
        assert_eq!(bytes[..8], 24u64.to_le_bytes());
        let second = &bytes[8 + 4 + 24 + 4..];
        let event = &second[12..second.len() - 4];
        assert_eq!(second[..8], (event.len() as u64).to_le_bytes());
        let summary = [
            0x10, 3, 0x2a, 13, 0x0a, 11, 0x0a, 4, b'l', b'o', b's', b's', 0x15, 0, 0, 0xc0, 0x3f,
        ];
        assert_eq!(event[9..], summary);
        assert_eq!(
            second[second.len() - 4..],
            masked(crc32c(event)).to_le_bytes()
        );
    }
}
