//! GGUF files that are wrong in one place each: one line that names the place, no panic, no large allocation.

mod common;
#[path = "malformed/raw_gguf.rs"]
mod raw_gguf;

use bitnet_formats::{Error, FileBytes, gguf::GgufFile};
use common::{Counting, Refusals, SLACK, peak_of};
use raw_gguf::{Raw, key, string, tensor};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/goldens/metadata.gguf");
/// Lengths that overflow when something is added to them or multiplied by them.
const HUGE: [u64; 6] = [
    1 << 32,
    1 << 62,
    (1 << 63) - 1,
    1 << 63,
    u64::MAX - 7,
    u64::MAX,
];

fn open(bytes: Vec<u8>) -> Result<GgufFile, Error> {
    GgufFile::from_bytes(FileBytes::from_vec("bad.gguf", bytes))
}

fn refuse(refusals: &mut Refusals, case: &str, bytes: Vec<u8>, expected: &str) {
    let file = ("bad.gguf: ", bytes.len());
    refusals.check(case, file, || open(bytes), expected);
}

fn keys(keys: Vec<Vec<u8>>) -> Vec<u8> {
    Raw {
        keys,
        ..Raw::default()
    }
    .bytes()
}

fn tensors(tensors: Vec<Vec<u8>>) -> Vec<u8> {
    Raw {
        tensors,
        ..Raw::default()
    }
    .bytes()
}

#[test]
fn the_file_that_the_cases_spoil_is_right() {
    let file = open(Raw::default().bytes()).unwrap();
    assert_eq!(file.tensor("a").unwrap().to_f32().unwrap(), [0.0; 64]);
    // Two versions, and an alignment of its own.
    open(
        Raw {
            version: 2,
            ..Raw::default()
        }
        .bytes(),
    )
    .unwrap();
    open(keys(vec![key(
        "general.alignment",
        4,
        &8_u32.to_le_bytes(),
    )]))
    .unwrap();
}

#[test]
fn files_cut_anywhere() {
    let whole = std::fs::read(GOLDEN).unwrap();
    let mut refusals = Refusals::default();
    // The last tensor, b, ends 48 bytes after its start, which is a multiple of 32; the rest is padding.
    let needed = whole.len() - 16;
    for len in 0..needed {
        refuse(
            &mut refusals,
            &format!("{len} bytes"),
            whole[..len].to_vec(),
            "",
        );
    }
    open(whole[..needed].to_vec()).unwrap();
    assert!(refusals.0 > 700);
}

#[test]
fn headers() {
    let mut refusals = Refusals::default();
    for magic in [
        b"GGML",
        b"FUGG",
        b"PK\x03\x04",
        b"{\"a\"",
        b"\0\0\0\0",
        b"gguf",
    ] {
        let bytes = Raw {
            magic,
            ..Raw::default()
        }
        .bytes();
        refuse(&mut refusals, "magic", bytes, "header: starts with [");
    }
    for (version, expected) in [
        (0, "header: version 0, expected 2 or 3"),
        (1, "header: version 1 has 32-bit lengths; convert"),
        (4, "header: version 4, expected 2 or 3"),
        (u32::MAX, "header: version 4294967295, expected 2 or 3"),
        (
            3_u32.swap_bytes(),
            "header: the file is big-endian; convert",
        ),
    ] {
        refuse(
            &mut refusals,
            "version",
            Raw {
                version,
                ..Raw::default()
            }
            .bytes(),
            expected,
        );
    }
    for huge in HUGE.into_iter().chain([100]) {
        for counts in [[huge, 1], [1, huge], [huge, huge]] {
            let bytes = Raw {
                counts: Some(counts),
                ..Raw::default()
            }
            .bytes();
            let expected = format!("header: {} keys and {} tensors need ", counts[1], counts[0]);
            refuse(&mut refusals, "counts", bytes, &expected);
        }
    }
    // One key or tensor more than there is reads what follows.
    for counts in [[1, 2], [2, 1]] {
        refuse(
            &mut refusals,
            "one more",
            Raw {
                counts: Some(counts),
                ..Raw::default()
            }
            .bytes(),
            "",
        );
    }
    assert_eq!(refusals.0, 34);
}

#[test]
fn metadata() {
    let mut refusals = Refusals::default();
    for huge in HUGE.into_iter().chain([1 << 20]) {
        let length = huge.to_le_bytes();
        let expected =
            format!("header: key 0 of 1: {huge} bytes are needed at offset 32, the file has ");
        refuse(
            &mut refusals,
            "name",
            keys(vec![length.to_vec()]),
            "header: ",
        );
        refuse(
            &mut refusals,
            "name",
            keys(vec![[&length[..], &[b'a'; 99]].concat()]),
            &expected,
        );
        let expected = format!("key `k`: {huge} bytes are needed at offset 45, the file has ");
        refuse(
            &mut refusals,
            "string",
            keys(vec![key("k", 8, &length)]),
            &expected,
        );
        for items in 0..=12_u32 {
            let value = [&items.to_le_bytes()[..], &length].concat();
            refuse(
                &mut refusals,
                "array",
                keys(vec![key("k", 9, &value)]),
                "key `k`: ",
            );
        }
    }
    for ty in [13, 14, 255, 1 << 31, u32::MAX] {
        let expected =
            format!("key `k`: value type {ty} at offset 33 is unknown, expected 0 to 12");
        refuse(
            &mut refusals,
            "type",
            keys(vec![key("k", ty, &[0; 16])]),
            &expected,
        );
        let value = [&ty.to_le_bytes()[..], &1_u64.to_le_bytes()].concat();
        let expected = format!("key `k`: value type {ty} at offset 37 is unknown");
        refuse(
            &mut refusals,
            "items",
            keys(vec![key("k", 9, &value)]),
            &expected,
        );
    }
    for flag in [2, 255] {
        let expected = format!("key `k`: the flag at offset 37 is {flag}, expected 0 or 1");
        refuse(
            &mut refusals,
            "flag",
            keys(vec![key("k", 7, &[flag])]),
            &expected,
        );
    }
    let mut nested = [8_u32.to_le_bytes().to_vec(), 0_u64.to_le_bytes().to_vec()].concat();
    for _ in 0..4 {
        nested = [&9_u32.to_le_bytes()[..], &1_u64.to_le_bytes(), &nested].concat();
    }
    let expected = "key `k`: arrays are nested deeper than 4";
    refuse(
        &mut refusals,
        "nested",
        keys(vec![key("k", 9, &nested)]),
        expected,
    );
    refuse(
        &mut refusals,
        "UTF-8",
        keys(vec![key("k", 8, &string(b"\xff\xfe"))]),
        "key `k`: the text at offset 45 is not UTF-8",
    );
    let name = [&string(b"\xff\xfe")[..], &[0; 16]].concat();
    refuse(
        &mut refusals,
        "UTF-8",
        keys(vec![name]),
        "header: key 0 of 1: the text at offset 32 is not UTF-8",
    );
    for name in [String::new(), "n".repeat(65_536)] {
        let expected = format!(
            "header: key 0 of 1: the name at offset 24 has {} bytes, expected 1 to 65535",
            name.len()
        );
        refuse(
            &mut refusals,
            "name",
            keys(vec![key(&name, 0, &[1])]),
            &expected,
        );
    }
    let twice = vec![key("b", 0, &[1]), key("a", 0, &[1]), key("b", 0, &[2])];
    refuse(
        &mut refusals,
        "twice",
        keys(twice),
        "key `b`: stands twice, expected once",
    );
    for (ty, value) in [
        (4, vec![0; 4]),
        (4, 3_u32.to_le_bytes().to_vec()),
        (4, vec![0xff; 4]),
        (10, 32_u64.to_le_bytes().to_vec()),
        (8, string(b"32")),
        (5, 32_i32.to_le_bytes().to_vec()),
    ] {
        let expected = "key `general.alignment`: ";
        refuse(
            &mut refusals,
            "alignment",
            keys(vec![key("general.alignment", ty, &value)]),
            expected,
        );
    }
    // A name with control characters and of any length stays on its line.
    let name = format!("a\n\u{1b}[2J{}", "x".repeat(2000));
    refuse(
        &mut refusals,
        "long name",
        keys(vec![key(&name, 13, &[0; 8])]),
        "key `a\\n\\u{1b}[2J",
    );
    assert!(refusals.0 > 130, "{}", refusals.0);
}

#[test]
fn tensor_entries() {
    let mut refusals = Refusals::default();
    for rank in [0, 5, 6, 255, 1 << 31, u32::MAX] {
        let mut entry = string(b"a");
        entry.extend(rank.to_le_bytes());
        entry.extend([1; 64]);
        let expected = format!("tensor `a`: {rank} dimensions, expected 1 to 4");
        refuse(&mut refusals, "rank", tensors(vec![entry]), &expected);
    }
    for dims in [
        &[0_u64][..],
        &[32, 0],
        &[1 << 32, 1 << 32],
        &[u64::MAX, 2],
        &[1 << 63, 2, 1, 1],
    ] {
        let expected =
            format!("tensor `a`: dimensions {dims:?}, expected a product from 1 to 2^64 - 1");
        refuse(
            &mut refusals,
            "dims",
            tensors(vec![tensor("a", dims, 0, 0)]),
            &expected,
        );
    }
    for huge in HUGE {
        refuse(
            &mut refusals,
            "size",
            tensors(vec![tensor("a", &[huge], 0, 0)]),
            "tensor `a`: ",
        );
        refuse(
            &mut refusals,
            "size",
            tensors(vec![tensor("a", &[32, huge >> 5], 1, 0)]),
            "tensor `a`: ",
        );
        let aligned = huge & !31;
        let expected = format!(
            "tensor `a`: 256 bytes from {aligned} on, but the data of the file ends at 256"
        );
        refuse(
            &mut refusals,
            "offset",
            tensors(vec![tensor("a", &[64], 0, aligned)]),
            &expected,
        );
    }
    for offset in [1, 4, 16, 31, 33] {
        let expected = format!("tensor `a`: starts at {offset}, expected a multiple of 32");
        refuse(
            &mut refusals,
            "alignment",
            tensors(vec![tensor("a", &[2], 0, offset)]),
            &expected,
        );
    }
    for (cols, ty, block) in [
        (31, 8, 32),
        (88, 35, 256),
        (688, 34, 256),
        (344, 36, 128),
        (100, 14, 256),
        (60, 143, 128),
    ] {
        let entry = tensor("a", &[cols, 2], ty, 0);
        let expected = format!("tensor `a`: 2 rows of {cols} as ");
        refuse(&mut refusals, "blocks", tensors(vec![entry]), &expected);
        let entry = tensor("a", &[cols, 2], ty, 0);
        refuse(
            &mut refusals,
            "blocks",
            tensors(vec![entry]),
            &format!("whole blocks of {block}"),
        );
    }
    let overlap = vec![
        tensor("a", &[32], 0, 32),
        tensor("b", &[32], 0, 0),
        tensor("c", &[8], 0, 160),
    ];
    let expected = "tensor `b`: 128 bytes from 0 on overlap the next tensor, which starts at 32";
    refuse(&mut refusals, "overlap", tensors(overlap), expected);
    let same = vec![tensor("a", &[8], 0, 0), tensor("b", &[8], 0, 0)];
    refuse(
        &mut refusals,
        "overlap",
        tensors(same),
        "overlap the next tensor, which starts at 0",
    );
    let twice = vec![
        tensor("a", &[8], 0, 0),
        tensor("b", &[8], 0, 32),
        tensor("a", &[8], 0, 64),
    ];
    refuse(
        &mut refusals,
        "twice",
        tensors(twice),
        "tensor `a`: stands twice, expected once",
    );
    let past = vec![tensor("a", &[64], 0, 0), tensor("b", &[8], 0, 256)];
    refuse(
        &mut refusals,
        "past",
        tensors(past),
        "tensor `b`: 32 bytes from 256 on, but the data of the file ends at 256",
    );
    for len in HUGE {
        refuse(
            &mut refusals,
            "name",
            tensors(vec![len.to_le_bytes().to_vec(), vec![b'a'; 40]]),
            "header: ",
        );
    }
    refuse(
        &mut refusals,
        "name",
        tensors(vec![tensor("", &[8], 0, 0)]),
        "header: tensor 0 of 1: the name at offset ",
    );
    assert!(refusals.0 > 55, "{}", refusals.0);
}

#[test]
fn types_that_are_not_read() {
    let mut refusals = Refusals::default();
    for id in (0..=50).chain([100, 141, 144, 1 << 31, u32::MAX]) {
        if [0, 1, 2, 3, 8, 14, 30, 34, 35, 36, 42].contains(&id) {
            continue;
        }
        let expected = format!("tensor `a`: type {id} (");
        refuse(
            &mut refusals,
            "type",
            tensors(vec![tensor("a", &[256], id, 0)]),
            &expected,
        );
    }
    let tl1 = tensors(vec![tensor("a", &[256], 38, 0)]);
    refuse(
        &mut refusals,
        "TL1",
        tl1,
        "its layout depends on the kernel it was made for: take the I2_S file",
    );
    // 256 weights of type 42 are 72 or 68 bytes with their padding 96: neither 128 nor 64.
    for next in [64, 128] {
        let entries = vec![tensor("a", &[256], 42, 0), tensor("b", &[8], 0, next)];
        let expected = format!(
            "tensor `a`: type 42 with 1 rows of 256 in {next} bytes, expected the size of groups"
        );
        refuse(&mut refusals, "42", tensors(entries), &expected);
    }
    // 1024 weights: 288 bytes in groups of 64 and 272 (288 with padding); 2048: 576 and 544.
    let both = vec![tensor("a", &[2048], 42, 0), tensor("b", &[2048], 42, 576)];
    let raw = Raw {
        tensors: both,
        data: 576 + 544,
        ..Raw::default()
    };
    refuse(
        &mut refusals,
        "42",
        raw.bytes(),
        "type 42 has groups of 64 here and of 128 in another tensor",
    );
    assert!(refusals.0 > 45, "{}", refusals.0);
}

/// Files made of as many small parts as fit: what is kept of each is less than twice its size.
#[test]
fn many_small_parts_take_little_memory() {
    let count = 20_000_u32;
    let name = |n: u32| char::from_u32(0x4e00 + n).unwrap().to_string();
    let many_keys = keys((0..count).map(|n| key(&name(n), 0, &[0])).collect());
    let entry = |n: u32| tensor(&name(n), &[1], 0, 32 * u64::from(n));
    let raw = Raw {
        tensors: (0..count).map(entry).collect(),
        data: 32 * count as usize,
        ..Raw::default()
    };
    // Its data is 32 bytes a tensor; without it the entries are refused, after they were read.
    let entries_only = Raw { data: 0, ..raw };
    for (case, bytes, is_ok) in [
        ("keys", many_keys, true),
        ("tensors", entries_only.bytes(), false),
    ] {
        let size = bytes.len();
        let (read, peak) = peak_of(|| open(bytes).map(drop));
        assert_eq!(read.is_ok(), is_ok, "{case}: {read:?}");
        assert!(peak <= 2 * size + SLACK, "{case}: {peak} bytes for {size}");
    }
}
