//! Sentence pairs: files that correspond line by line, or tables of both.

use std::path::{Path, PathBuf};

use crate::documents::tables;
use crate::lines::{at, check_split, no_quotes, read};
use crate::rng::Rng;
use crate::{Columns, DataError, ExampleFormat, Examples, Source, Words, origins, sources};

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

/// Columns or fields of a table of pairs: names of the header, or numbers from 1 if there is none. An empty one is `source`
/// or `target`; where both are empty, a TSV has no header and two columns.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PairColumns {
    /// That of the source.
    pub source: String,
    /// That of the target.
    pub target: String,
}

impl Pairs {
    /// Reads files of one sentence a line, and as many of their translations, in their order.
    pub fn read_parallel(from: &[PathBuf], to: &[PathBuf]) -> Result<Self, DataError> {
        let (from, to) = (sources(from, None)?, sources(to, None)?);
        if from.len() != to.len() {
            let (many, few) = match from.len() > to.len() {
                true => (&from, &to),
                false => (&to, &from),
            };
            return Err(DataError::File {
                path: many[few.len()].path.clone(),
                problem: format!(
                    "has no partner: {} files of sources and {} of targets were found, which must correspond one by one",
                    from.len(),
                    to.len()
                ),
            });
        }
        let mut pairs = Self {
            name: format!("{} and {}", origins::name(&from), origins::name(&to)),
            ..Self::default()
        };
        for (from, to) in from.iter().zip(&to) {
            pairs.extend_parallel(from, to)?;
        }
        Ok(pairs)
    }

    fn extend_parallel(&mut self, source: &Source, target: &Source) -> Result<(), DataError> {
        let (from, to) = (read(source)?, read(target)?);
        let (source, target) = (&source.path, &target.path);
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
        self.source.extend(from);
        self.target.extend(to);
        Ok(())
    }

    /// Reads files, folders and patterns of files of pairs: TSV, CSV or JSON lines (`.gz` and `.zst` too); a file whose name
    /// tells nothing is TSV.
    pub fn read(paths: &[PathBuf], columns: &PairColumns) -> Result<Self, DataError> {
        let found = tables(paths)?;
        let mut pairs = Self {
            name: origins::name(&found),
            ..Self::default()
        };
        let named = |name: &str, otherwise: &str| match name {
            "" => otherwise.to_owned(),
            name => name.to_owned(),
        };
        let bare = columns.source.is_empty() && columns.target.is_empty();
        for source in &found {
            let format = source.table_format(Some(ExampleFormat::Tsv))?;
            if bare && format == ExampleFormat::Tsv {
                pairs.extend_tsv(source)?;
                continue;
            }
            let columns = Columns {
                texts: vec![named(&columns.source, "source")],
                label: Some(named(&columns.target, "target")),
                label_needed: true,
                words: Words::SourceAndTarget,
            };
            for example in Examples::read(source.reader()?, &source.path, format, columns)? {
                let example = example?;
                // A line break would end a hypothesis.
                let line = |text: String| text.replace(['\r', '\n'], " ");
                pairs.source.push(line(example.text));
                pairs.target.push(line(example.label.unwrap_or_default()));
            }
        }
        match pairs.is_empty() {
            true => Err(DataError::Empty { corpus: pairs.name }),
            false => Ok(pairs),
        }
    }

    /// Two columns with a tab between them.
    fn extend_tsv(&mut self, source: &Source) -> Result<(), DataError> {
        let path = &source.path;
        for (line, number) in read(source)?.iter().zip(1..) {
            let columns: Vec<&str> = line.split('\t').collect();
            let [source, target] = columns[..] else {
                let problem = format!(
                    "has {} columns; a source and a target with one tab between them are needed, or data.source_column and \
                     data.target_column, which say where they are{}",
                    columns.len(),
                    no_quotes(path)
                );
                return Err(at(path, number, problem));
            };
            if source.trim().is_empty() || target.trim().is_empty() {
                return Err(empty(path, number));
            }
            self.source.push(source.to_owned());
            self.target.push(target.to_owned());
        }
        Ok(())
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

    fn tsv(path: PathBuf) -> Result<Pairs, DataError> {
        Pairs::read(&[path], &PairColumns::default())
    }

    #[test]
    fn lines_correspond() {
        let folder = tempfile::tempdir().unwrap();
        let de = file(&folder, "a.de", "ein Haus\r\nein Öl\n".as_bytes());
        let en = file(&folder, "a.en", b"a house\nan oil");
        let mut pairs = Pairs::read_parallel(&[de], &[en]).unwrap();
        assert_eq!(pairs.source, ["ein Haus", "ein Öl"]);
        assert_eq!(pairs.target, ["a house", "an oil"]);
        let last = pairs.take_last(1).unwrap();
        assert_eq!((pairs.len(), last.target), (1, vec!["an oil".to_owned()]));
        let message = pairs.take_last(1).unwrap_err().to_string();
        assert!(message.contains("1 example"), "{message}");

        let text: String = (0..30).map(|i| format!("s{i}\tt{i}\n")).collect();
        let many = tsv(file(&folder, "many.tsv", text.as_bytes())).unwrap();
        let shuffled = many.clone().shuffled(1);
        assert_ne!(shuffled, many);
        for (source, target) in shuffled.source.iter().zip(&shuffled.target) {
            assert_eq!(source[1..], target[1..]);
        }

        let two = file(&folder, "a.tsv", b"x y\tz\nu\tv\n");
        let mut pairs = tsv(two).unwrap();
        assert_eq!(pairs.target, ["z", "v"]);
        pairs.retain(&[false, true]);
        assert_eq!(pairs.source, ["u"]);
    }

    #[test]
    fn tables_of_pairs_have_named_columns() {
        let folder = tempfile::tempdir().unwrap();
        let named = |source: &str, target: &str| PairColumns {
            source: source.to_owned(),
            target: target.to_owned(),
        };
        let read = |name: &str, content: &str, columns: &PairColumns| {
            let pairs = Pairs::read(&[file(&folder, name, content.as_bytes())], columns);
            pairs.map(|pairs| (pairs.source.join("|"), pairs.target.join("|")))
        };
        let expected = ("a b".to_owned(), "c".to_owned());
        let json = "{\"source\": \"a\\nb\", \"target\": \"c\", \"id\": 1}\n";
        assert_eq!(read("a.jsonl", json, &named("", "")).unwrap(), expected);
        for (name, content, columns) in [
            ("a.csv", "id,target,source\n1,c,\"a\nb\"\n", named("", "")),
            ("a.csv", "c,a b\n", named("2", "1")),
            ("a.tsv", "de\ten\tid\na b\tc\t1\n", named("de", "en")),
            ("a.tsv", "1\tc\ta b\n", named("3", "2")),
            (
                "a.jsonl",
                "{\"de\": \"a b\", \"target\": \"c\"}",
                named("de", ""),
            ),
        ] {
            assert_eq!(
                read(name, content, &columns).unwrap(),
                expected,
                "{content}"
            );
        }
        for (name, content, part) in [
            ("b.csv", "x,y\n", "no column \"target\"; column 1 is \"x\""),
            (
                "b.csv",
                "x,y\n",
                "data.source_column = \"1\" and data.target_column = \"2\"",
            ),
            ("b.csv", "source,target\nx,\n", "line 2: has no target"),
            ("b.csv", "source,target\n", "b.csv is empty"),
            ("b.parquet", "", "is Parquet"),
        ] {
            let message = read(name, content, &named("", "")).unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        }
    }

    #[test]
    fn several_files_correspond_one_by_one() {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in [
            ("1.de", "a\n"),
            ("2.de", "b\n"),
            ("1.en", "c\n"),
            ("2.en", "d\n"),
        ] {
            file(&folder, name, content.as_bytes());
        }
        let pattern = |pattern: &str| [folder.path().join(pattern)];
        let pairs = Pairs::read_parallel(&pattern("*.de"), &pattern("*.en")).unwrap();
        assert_eq!(
            (pairs.source.concat(), pairs.target.concat()),
            ("ab".into(), "cd".into())
        );
        let error = Pairs::read_parallel(&pattern("*.de"), &pattern("1.en")).unwrap_err();
        let message = error.to_string();
        assert!(
            message.contains("2.de has no partner: 2 files of sources and 1 of targets"),
            "{message}"
        );
    }

    #[test]
    fn what_is_wrong_is_named_with_file_and_line() {
        let folder = tempfile::tempdir().unwrap();
        let two = file(&folder, "two", b"a\nb\n");
        let three = file(&folder, "three", b"a\nb\nc\n");
        let gap = file(&folder, "gap", b"a\n \n");
        let latin = file(&folder, "latin", b"a\nb\xe4h\n");
        let parallel = |a: &PathBuf, b: &PathBuf| {
            {
                let (a, b) = (a.clone(), b.clone());
                Pairs::read_parallel(&[a], &[b]).unwrap_err()
            }
            .to_string()
        };
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
        let message = tsv(columns).unwrap_err().to_string();
        assert!(
            message.contains("line 2") && message.contains("3 columns"),
            "{message}"
        );
        let half = file(&folder, "half", b"a\t\n");
        let message = tsv(half).unwrap_err().to_string();
        assert!(
            message.contains("line 1") && message.contains("empty"),
            "{message}"
        );
    }
}
