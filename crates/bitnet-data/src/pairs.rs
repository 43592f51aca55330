//! Sentence pairs: two files that correspond line by line, or one with a tab between the two.

use std::path::Path;

use crate::DataError;
use crate::lines::{at, check_split, no_quotes, read};
use crate::rng::Rng;

/// Sources and their targets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pairs {
    /// Where they are from.
    pub name: String,
    /// What is read.
    pub source: Vec<String>,
    /// What is to be written.
    pub target: Vec<String>,
}

impl Pairs {
    /// Reads two files of one sentence a line.
    pub fn read_parallel(source: &Path, target: &Path) -> Result<Self, DataError> {
        let (from, to) = (read(source)?, read(target)?);
        if from.len() != to.len() {
            let (few, many) = (from.len().min(to.len()), from.len().max(to.len()));
            let (short, long) = match from.len() == few {
                true => (source, target),
                false => (target, source),
            };
            let problem = format!(
                "has no partner: this file has {many} lines and {} has {few}; the two must correspond line by line",
                short.display()
            );
            return Err(at(long, few + 1, problem));
        }
        for (path, lines) in [(source, &from), (target, &to)] {
            if let Some(index) = lines.iter().position(|line| line.trim().is_empty()) {
                return Err(empty(path, index + 1));
            }
        }
        Ok(Self {
            name: format!("{} and {}", source.display(), target.display()),
            source: from,
            target: to,
        })
    }

    /// Reads a file of two columns with a tab between them.
    pub fn read_tsv(path: &Path) -> Result<Self, DataError> {
        let mut pairs = Self {
            name: path.display().to_string(),
            ..Self::default()
        };
        for (line, number) in read(path)?.iter().zip(1..) {
            let columns: Vec<&str> = line.split('\t').collect();
            let [source, target] = columns[..] else {
                let problem = format!(
                    "has {} columns; a source and a target with one tab between them are needed{}",
                    columns.len(),
                    no_quotes(path)
                );
                return Err(at(path, number, problem));
            };
            if source.trim().is_empty() || target.trim().is_empty() {
                return Err(empty(path, number));
            }
            pairs.source.push(source.to_owned());
            pairs.target.push(target.to_owned());
        }
        Ok(pairs)
    }

    /// Number of pairs.
    pub fn len(&self) -> usize {
        self.source.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.source.is_empty()
    }

    /// Splits the last `count` pairs off.
    pub fn take_last(&mut self, count: usize) -> Result<Self, DataError> {
        let left = check_split(&self.name, self.len(), count)?;
        Ok(Self {
            name: self.name.clone(),
            source: self.source.split_off(left),
            target: self.target.split_off(left),
        })
    }

    /// The same pairs in an order that depends on the seed alone.
    pub fn shuffled(mut self, seed: u64) -> Self {
        let order = Rng::new(seed, 0).permutation(self.len());
        let pick = |side: &mut Vec<String>| -> Vec<String> {
            let pick = |i: &usize| std::mem::take(&mut side[*i]);
            order.iter().map(pick).collect()
        };
        Self {
            source: pick(&mut self.source),
            target: pick(&mut self.target),
            name: self.name,
        }
    }

    /// Keeps the pairs whose place in `keep` is true.
    pub fn retain(&mut self, keep: &[bool]) {
        for side in [&mut self.source, &mut self.target] {
            let mut keep = keep.iter();
            side.retain(|_| keep.next().copied().unwrap_or(false));
        }
    }
}

fn empty(path: &Path, line: usize) -> DataError {
    at(
        path,
        line,
        "is empty; give it a sentence, or take the pair out",
    )
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::*;

    fn file(folder: &tempfile::TempDir, name: &str, content: &[u8]) -> PathBuf {
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        path
    }

    #[test]
    fn lines_correspond() {
        let folder = tempfile::tempdir().unwrap();
        let de = file(&folder, "a.de", "ein Haus\r\nein Öl\n".as_bytes());
        let en = file(&folder, "a.en", b"a house\nan oil");
        let mut pairs = Pairs::read_parallel(&de, &en).unwrap();
        assert_eq!(pairs.source, ["ein Haus", "ein Öl"]);
        assert_eq!(pairs.target, ["a house", "an oil"]);
        let last = pairs.take_last(1).unwrap();
        assert_eq!((pairs.len(), last.target), (1, vec!["an oil".to_owned()]));
        let message = pairs.take_last(1).unwrap_err().to_string();
        assert!(message.contains("1 example"), "{message}");

        let text: String = (0..30).map(|i| format!("s{i}\tt{i}\n")).collect();
        let many = Pairs::read_tsv(&file(&folder, "many.tsv", text.as_bytes())).unwrap();
        let shuffled = many.clone().shuffled(1);
        assert_ne!(shuffled, many);
        for (source, target) in shuffled.source.iter().zip(&shuffled.target) {
            assert_eq!(source[1..], target[1..]);
        }

        let tsv = file(&folder, "a.tsv", b"x y\tz\nu\tv\n");
        let mut pairs = Pairs::read_tsv(&tsv).unwrap();
        assert_eq!(pairs.target, ["z", "v"]);
        pairs.retain(&[false, true]);
        assert_eq!(pairs.source, ["u"]);
    }

    #[test]
    fn what_is_wrong_is_named_with_file_and_line() {
        let folder = tempfile::tempdir().unwrap();
        let two = file(&folder, "two", b"a\nb\n");
        let three = file(&folder, "three", b"a\nb\nc\n");
        let gap = file(&folder, "gap", b"a\n \n");
        let latin = file(&folder, "latin", b"a\nb\xe4h\n");
        let parallel =
            |a: &PathBuf, b: &PathBuf| Pairs::read_parallel(a, b).unwrap_err().to_string();
        for (message, parts) in [
            (
                parallel(&two, &three),
                ["three, line 3", "has 3 lines", "two has 2"],
            ),
            (
                parallel(&three, &two),
                ["three, line 3", "has 3 lines", "two has 2"],
            ),
            (parallel(&two, &gap), ["gap", "line 2", "is empty"]),
            (parallel(&two, &latin), ["latin", "line 2", "UTF-8"]),
        ] {
            for part in parts {
                assert!(message.contains(part), "{message}");
            }
        }
        let columns = file(&folder, "columns", b"a\tb\na\tb\tc\n");
        let message = Pairs::read_tsv(&columns).unwrap_err().to_string();
        assert!(
            message.contains("line 2") && message.contains("3 columns"),
            "{message}"
        );
        let half = file(&folder, "half", b"a\t\n");
        let message = Pairs::read_tsv(&half).unwrap_err().to_string();
        assert!(
            message.contains("line 1") && message.contains("empty"),
            "{message}"
        );
    }
}
