//! Texts with labels: CSV, TSV or JSON lines, by the endings of the files' names, or a folder of texts for each class.

use std::path::PathBuf;

use crate::classes::{check, unknown};
use crate::documents::{tables, texts_by_folder};
use crate::lines::{at, check_split};
use crate::origins::{self, Origins};
use crate::rng::Rng;
use crate::{Columns, DataError, Example, Examples, Source, Words, file};

/// Labelled texts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Table {
    /// The file, or the first of them.
    pub name: String,
    /// The texts.
    pub texts: Vec<String>,
    /// The class of each, an index into `label_names`.
    pub labels: Vec<usize>,
    /// The classes.
    pub label_names: Vec<String>,
    origins: Origins,
}

impl Table {
    /// Reads files, folders and patterns of files whose names end in `csv`, `tsv` or `jsonl` (`.gz` and `.zst` too). In a
    /// folder that holds nothing but folders of texts, each text is an example and the name of its folder its class.
    ///
    /// Columns are named by the header, or by number from 1 if the file has none: if all names given are numbers. Several
    /// text columns are joined by a space. The classes are sorted by name; with `labels`, those of the training data, no
    /// others may occur.
    pub fn read(
        paths: &[PathBuf],
        text_columns: &[String],
        label_column: &str,
        labels: Option<&[String]>,
    ) -> Result<Self, DataError> {
        let columns = Columns {
            texts: text_columns.to_vec(),
            label: Some(label_column.to_owned()),
            label_needed: true,
            words: Words::TextAndLabel,
        };
        let (mut files, mut rows) = (Vec::<Source>::new(), Vec::<(usize, Example)>::new());
        for path in paths {
            let texts = texts_by_folder(path)?;
            if !texts.is_empty() {
                for (source, label) in texts {
                    rows.push((files.len(), whole(&source, label)?));
                    files.push(source);
                }
                continue;
            }
            for source in tables(std::slice::from_ref(path))? {
                for row in Examples::open(&source, columns.clone())? {
                    rows.push((files.len(), row?));
                }
                files.push(source);
            }
        }
        let mut names: Vec<String> = match labels {
            Some(labels) => labels.to_vec(),
            None => (rows.iter())
                .filter_map(|(_, row)| row.label.clone())
                .collect(),
        };
        if labels.is_none() {
            names.sort();
            names.dedup();
        }
        let mut table = Self {
            name: origins::name(&files),
            ..Self::default()
        };
        let mut begun = 0;
        for (file, row) in rows {
            for source in &files[begun..=file] {
                table.origins.begin(source);
            }
            begun = file + 1;
            let label = row.label.unwrap_or_default();
            let Some(label) = names.iter().position(|name| *name == label) else {
                return Err(at(&files[file].path, row.line, unknown(&label, &names)));
            };
            table.texts.push(row.text);
            table.labels.push(label);
            table.origins.push(row.line);
        }
        table.label_names = names;
        match table.texts.is_empty() {
            true => Err(DataError::Empty { corpus: table.name }),
            false => Ok(table),
        }
    }

    /// The line of each in the file, counted from 1.
    pub fn lines(&self) -> Vec<usize> {
        self.origins.lines()
    }

    /// Splits the last `count` rows off.
    pub fn split_off_last(&mut self, count: usize) -> Result<Self, DataError> {
        let left = check_split(&self.name, self.texts.len(), count)?;
        Ok(Self {
            name: self.name.clone(),
            texts: self.texts.split_off(left),
            labels: self.labels.split_off(left),
            label_names: self.label_names.clone(),
            origins: self.origins.split_off(left),
        })
    }

    /// The same rows in an order that depends on the seed alone.
    pub fn shuffled(mut self, seed: u64) -> Self {
        let order = Rng::new(seed, 0).permutation(self.labels.len());
        let mut texts: Vec<String> = std::mem::take(&mut self.texts);
        Self {
            texts: (order.iter())
                .map(|i| std::mem::take(&mut texts[*i]))
                .collect(),
            labels: order.iter().map(|i| self.labels[*i]).collect(),
            origins: self.origins.in_order(&order),
            ..self
        }
    }

    /// Checks that every label here is one that the rows of `train` have.
    pub fn check_labels(&self, train: &Self) -> Result<(), DataError> {
        check(
            &self.origins,
            &self.label_names,
            &self.labels,
            &train.labels,
        )
    }
}

/// A file that is one example.
fn whole(source: &Source, label: String) -> Result<Example, DataError> {
    let bytes = source.bytes()?;
    let text = file::utf8(&source.name(), file::without_mark(&bytes))?;
    match text.trim().is_empty() {
        true => Err(DataError::Empty {
            corpus: source.name(),
        }),
        false => Ok(Example {
            line: 1,
            text: text.to_owned(),
            label: Some(label),
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn read(name: &str, content: &str, texts: &[&str], label: &str) -> Result<Table, DataError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        let texts: Vec<String> = texts.iter().map(|name| (*name).to_owned()).collect();
        Table::read(&[path], &texts, label, None)
    }

    #[test]
    fn all_three_formats_give_the_same_table() {
        let csv = read(
            "t.csv",
            "label,title,body\nb,one,\"x, y\"\na,two,z\n",
            &["title", "body"],
            "label",
        )
        .unwrap();
        assert_eq!(csv.texts, ["one x, y", "two z"]);
        assert_eq!(
            (csv.labels.clone(), csv.label_names.clone()),
            (vec![1, 0], vec!["a".to_owned(), "b".to_owned()])
        );
        let numbered = read("t.csv", "b,one,\"x, y\"\na,two,z\n", &["2", "3"], "1").unwrap();
        let tsv = read(
            "t.tsv",
            "label\ttitle\tbody\nb\tone\tx, y\na\ttwo\tz\n",
            &["title", "body"],
            "label",
        )
        .unwrap();
        let jsonl = "{\"label\":\"b\",\"title\":\"one\",\"body\":\"x, y\"}\n{\"label\":\"a\",\"title\":\"two\",\"body\":\"z\"}";
        let json = read("t.jsonl", jsonl, &["title", "body"], "label").unwrap();
        for other in [numbered, tsv, json] {
            assert_eq!((&other.texts, &other.labels), (&csv.texts, &csv.labels));
        }
    }

    #[test]
    fn folders_patterns_and_lists_are_one_table() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir_all(at("tables")).unwrap();
        fs::write(at("tables/a.csv"), "label,text\nx,one\n").unwrap();
        fs::write(
            at("tables/b.jsonl"),
            "\n{\"label\": \"y\", \"text\": \"two\"}\n",
        )
        .unwrap();
        fs::write(at("tables/README.md"), "what this is").unwrap();
        let read = |paths: &[PathBuf]| Table::read(paths, &["text".to_owned()], "label", None);
        for paths in [
            vec![at("tables")],
            vec![at("tables/*")],
            vec![at("tables/a.csv"), at("tables/b.jsonl")],
        ] {
            let table = read(&paths).unwrap();
            assert_eq!(
                (table.texts.as_slice(), table.lines()),
                (&["one".to_owned(), "two".to_owned()][..], vec![2, 2])
            );
            let [first, second] = [0, 1].map(|row| table.origins.of(row).0.to_owned());
            assert!(
                first.ends_with("a.csv") && second.ends_with("b.jsonl"),
                "{first} {second}"
            );
            assert!(table.name.ends_with("a.csv and 1 more"), "{}", table.name);
        }
        let known = ["x".to_owned()];
        let error = Table::read(&[at("tables")], &["text".to_owned()], "label", Some(&known));
        let message = error.unwrap_err().to_string();
        assert!(
            message.contains("b.jsonl, line 2: has the label \"y\""),
            "{message}"
        );

        for (name, text) in [
            ("pos/1.txt", "good"),
            ("pos/2.txt", "fine"),
            ("neg/1.txt", "bad"),
        ] {
            fs::create_dir_all(at("reviews").join(name).parent().unwrap()).unwrap();
            fs::write(at("reviews").join(name), text).unwrap();
        }
        let table = read(&[at("reviews")]).unwrap();
        assert_eq!(table.texts, ["bad", "good", "fine"]);
        assert_eq!(
            (table.label_names, table.labels),
            (vec!["neg".into(), "pos".into()], vec![0, 1, 1])
        );
        fs::write(at("reviews/pos/3.txt"), " ").unwrap();
        let message = read(&[at("reviews")]).unwrap_err().to_string();
        assert!(message.contains("3.txt is empty"), "{message}");
        fs::write(at("reviews/note.txt"), "which").unwrap();
        let message = read(&[at("reviews")]).unwrap_err().to_string();
        assert!(
            message.contains("reviews has no file that ends in csv"),
            "{message}"
        );
    }

    #[test]
    fn empty_lines_of_json_are_no_rows_and_a_mark_is_no_text() {
        let line = "{\"label\":\"a\",\"text\":\"x\"}";
        let table = read(
            "t.jsonl",
            &format!("{line}\n\n{line}\n \n"),
            &["text"],
            "label",
        )
        .unwrap();
        assert_eq!((table.texts.len(), table.lines()), (2, vec![1, 3]));
        let error = read("t.jsonl", "\n \n", &["text"], "label").unwrap_err();
        assert!(error.to_string().contains("empty"), "{error}");
        let table = read("t.csv", "\u{feff}x,a\n", &["1"], "2").unwrap();
        assert_eq!(table.texts, ["x"]);
    }

    #[test]
    fn what_is_wrong_is_named_with_file_and_line() {
        for (name, content, texts, label, parts) in [
            (
                "t.csv",
                "label,text\na,b\na,b,c\n",
                ["text"],
                "label",
                ["t.csv", "line 3", "3 columns"],
            ),
            (
                "t.csv",
                "label,text\na,b\n",
                ["body"],
                "label",
                ["t.csv", "line 1", "column 1 is \"label\", 2 is \"text\""],
            ),
            (
                "t.csv",
                "label;text\na;b\n",
                ["text"],
                "label",
                ["line 1", "semicolons", "save it with commas"],
            ),
            (
                "t.csv",
                "a;b\n",
                ["2"],
                "1",
                ["line 1", "semicolons", "save it with commas"],
            ),
            (
                "t.tsv",
                "label\ttext\na\t\"one\ntwo\"\n",
                ["text"],
                "label",
                ["line 3", "neither line feed", "as CSV"],
            ),
            ("t.csv", "a,\n", ["2"], "1", ["t.csv", "line 1", "no text"]),
            (
                "t.csv",
                "a,b\n",
                ["3"],
                "1",
                ["t.csv", "line 1", "column 3"],
            ),
            (
                "t.csv",
                "label,text\n,b\n",
                ["text"],
                "label",
                ["t.csv", "line 2", "no label"],
            ),
            (
                "t.jsonl",
                "{\"text\":\"a\"}\n",
                ["text"],
                "label",
                ["t.jsonl", "line 1", "no field"],
            ),
            (
                "t.jsonl",
                "{\"label\":1,\"text\":\"a\"}\nx\n",
                ["text"],
                "label",
                ["t.jsonl", "line 2", "no JSON"],
            ),
            ("t.txt", "a\n", ["text"], "label", ["t.txt", "csv", "jsonl"]),
            (
                "t.csv",
                "label,text\n",
                ["text"],
                "label",
                ["t.csv", "empty", ""],
            ),
        ] {
            let message = read(name, content, &texts, label).unwrap_err().to_string();
            for part in parts {
                assert!(message.contains(part), "{content:?}: {message}");
            }
        }
    }

    #[test]
    fn only_commas_come_with_quotation_marks() {
        let tsv = read("t.tsv", "1\t\"a\" b\n2\t\"c\n", &["2"], "1").unwrap();
        assert_eq!(tsv.texts, ["\"a\" b", "\"c"]);
        let csv = read("t.csv", "1,\"a\nb\"\n2,\"\"\"c\"\"\"\n", &["2"], "1").unwrap();
        assert_eq!(csv.texts, ["a\nb", "\"c\""]);
        let later = read("t.csv", "1,\"a\nb\"\n2,\n", &["2"], "1").unwrap_err();
        assert!(later.to_string().contains("line 3"), "{later}");
    }

    #[test]
    fn a_json_field_is_text_or_a_number() {
        let lines = "{\"y\":10,\"x\":1.5}\r\n{\"y\":\"9\",\"x\":\"a\"}\r\n";
        let table = read("t.jsonl", lines, &["x"], "y").unwrap();
        assert_eq!(
            (table.texts, table.labels),
            (vec!["1.5".to_owned(), "a".to_owned()], vec![0, 1])
        );
        let list = read("t.jsonl", "{\"y\":1,\"x\":[\"a\"]}", &["x"], "y").unwrap_err();
        assert!(
            list.to_string()
                .contains("line 1: has a field \"x\" that is no text"),
            "{list}"
        );
    }

    #[test]
    fn bytes_that_are_no_text_are_found() {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in [
            ("t.csv", &b"1,a\n2,\xe4\n"[..]),
            ("t.tsv", b"1\ta\n2\t\xe4\n"),
            ("t.jsonl", b"{\"1\": 0, \"2\": \"a\"}\n\xe4\n"),
        ] {
            let path = folder.path().join(name);
            fs::write(&path, content).unwrap();
            let error = Table::read(&[path], &["2".to_owned()], "1", None).unwrap_err();
            let message = error.to_string();
            assert!(
                message.contains(name) && message.contains("line 2: is not UTF-8"),
                "{message}"
            );
        }
    }

    #[test]
    fn a_text_needs_a_column() {
        let message = read("t.csv", "1,a\n", &[], "1").unwrap_err().to_string();
        assert!(message.contains("number of text columns is 0"), "{message}");
    }

    #[test]
    fn a_shuffle_keeps_rows_together() {
        let text: String = (0..40).map(|i| format!("{},text {i}\n", i % 4)).collect();
        let plain = read("t.csv", &text, &["2"], "1").unwrap();
        let shuffled = plain.clone().shuffled(7);
        assert_ne!(shuffled.texts, plain.texts);
        assert_eq!(shuffled, plain.clone().shuffled(7));
        for ((text, label), line) in shuffled
            .texts
            .iter()
            .zip(&shuffled.labels)
            .zip(shuffled.lines())
        {
            assert_eq!(
                (text, label),
                (&plain.texts[line - 1], &plain.labels[line - 1])
            );
        }
    }

    #[test]
    fn the_last_rows_are_split_off() {
        let mut table = read("t.csv", "a,x\nb,y\na,z\n", &["2"], "1").unwrap();
        let last = table.split_off_last(1).unwrap();
        assert_eq!((last.texts, last.labels), (vec!["z".to_owned()], vec![0]));
        assert_eq!(
            (table.labels.len(), last.label_names),
            (2, table.label_names.clone())
        );
        assert!(matches!(
            table.split_off_last(2),
            Err(DataError::TooFew {
                have: 2,
                count: 2,
                ..
            })
        ));
    }

    #[test]
    fn a_label_that_training_has_not_seen_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.csv");
        fs::write(&path, "label,text\na,x\nc,y\n").unwrap();
        let known = ["a".to_owned(), "b".to_owned()];
        let texts = ["text".to_owned()];
        let message = Table::read(&[path], &texts, "label", Some(&known))
            .unwrap_err()
            .to_string();
        assert!(
            message.contains("line 3") && message.contains("\"c\"") && message.contains("a, b"),
            "{message}"
        );
    }

    #[test]
    fn a_label_that_only_a_test_row_has_is_refused() {
        let mut train = read("t.csv", "a,x\nb,y\na,z\nc,w\n", &["2"], "1").unwrap();
        let mut test = train.split_off_last(2).unwrap();
        let message = test.check_labels(&train).unwrap_err().to_string();
        for part in ["t.csv, line 4", "\"c\"", "knows a, b"] {
            assert!(message.contains(part), "{message}");
        }
        assert_eq!(test.split_off_last(1).unwrap().labels, [2]);
        test.check_labels(&train).unwrap();
    }
}
