//! Counts what a reader allocates, and checks that it refuses a file as it should.
#![allow(dead_code, reason = "each test uses its part")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    fs,
    path::Path,
};

use bitnet_formats::{Error, hf::HfModel};
use tempfile::TempDir;

/// The system's allocator, which counts the bytes of each thread.
pub struct Counting;

thread_local! {
    static LIVE: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

fn count(bytes: isize) {
    // A thread that ends has no counters any more.
    let _ = LIVE.try_with(|live| {
        live.set(live.get() + bytes);
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(live.get())));
    });
}

// SAFETY: every call goes to `System` with the same arguments; the counters are `Cell`s of the calling thread that
// allocate nothing.
unsafe impl GlobalAlloc for Counting {
    /// # Safety
    ///
    /// As `System`'s.
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's promises are those that `System` asks for.
        unsafe { System.alloc(layout) }
    }

    /// # Safety
    ///
    /// As `System`'s.
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the caller's promises are those that `System` asks for.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// What `work` returns, and the most bytes that it had allocated at a time beyond what was there before.
pub fn peak_of<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = LIVE.get();
    PEAK.set(before);
    let result = work();
    (result, (PEAK.get() - before) as usize)
}

/// Paths, messages and small maps, whatever the file.
pub const SLACK: usize = 64 << 10;

/// How many files were refused as expected.
#[derive(Default)]
pub struct Refusals(pub usize);

impl Refusals {
    /// The reader must fail as in [`Refusals::refused`], without allocating more than twice `size` bytes.
    pub fn check<T>(
        &mut self,
        case: &str,
        (file, size): (&str, usize),
        read: impl FnOnce() -> Result<T, Error>,
        expected: &str,
    ) {
        let (result, peak) = peak_of(|| read().map(drop));
        assert!(
            peak <= 2 * size + SLACK,
            "{case}: {peak} bytes for a file of {size}"
        );
        self.refused(case, file, result, expected);
    }

    /// The result must be an error of one line that names `file` and holds `expected`.
    pub fn refused<T>(&mut self, case: &str, file: &str, result: Result<T, Error>, expected: &str) {
        let error = result.map(drop).expect_err(case).to_string();
        assert!(
            error.contains(file),
            "{case}: {error:?} does not name {file}"
        );
        assert!(
            error.contains(expected),
            "{case}: {error:?}, expected {expected:?}"
        );
        assert!(
            !error.contains('\n') && error.chars().count() < 600,
            "{case}: {error}"
        );
        self.0 += 1;
    }
}

/// The rows of a text with `N` fields between `|`, without comments.
pub fn table<const N: usize>(text: &str) -> impl Iterator<Item = [&str; N]> {
    let rows = text
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty());
    rows.map(|line| {
        let mut fields = line.splitn(N, '|').map(str::trim);
        std::array::from_fn(|_| fields.next().unwrap_or_else(|| panic!("{line}")))
    })
}

/// The folders that transformers wrote.
pub const FOLDERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/goldens/hf");

/// A copy of a golden folder that can be spoilt.
pub fn copy(name: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for file in fs::read_dir(Path::new(FOLDERS).join(name)).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), folder.path().join(file.file_name())).unwrap();
    }
    folder
}

fn size(folder: &Path) -> usize {
    let sizes = fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().metadata().unwrap().len());
    sizes.sum::<u64>() as usize
}

/// Opening the folder must fail as in [`Refusals::check`].
pub fn refuse_folder(
    refusals: &mut Refusals,
    case: &str,
    folder: &Path,
    file: &str,
    expected: &str,
) {
    let named = (file, size(folder));
    refusals.check(case, named, || HfModel::open(folder), expected);
}
