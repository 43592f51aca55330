//! Texts with labels: CSV, TSV or JSON lines, by the ending of the file's name.

use std::path::Path;

use crate::DataError;
use crate::classes::{check, unknown};
use crate::lines::{at, check_split};
use rows::{delimited, json_lines};

mod rows;

/// Labelled texts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Table {
    /// The file.
    pub name: String,
    /// The texts.
    pub texts: Vec<String>,
    /// The class of each, an index into `label_names`.
    pub labels: Vec<usize>,
    /// The classes.
    pub label_names: Vec<String>,
    /// The line of each in the file.
    lines: Vec<usize>,
}

impl Table {
    /// Reads a file whose name ends in `csv`, `tsv` or `jsonl`.
    ///
    /// Columns are named by the header, or by number from 1 if the file has none: if all names given are numbers. Several
    /// text columns are joined by a space. The classes are sorted by name; with `labels`, those of the training data, no
    /// others may occur.
    pub fn read(
        path: &Path,
        text_columns: &[String],
        label_column: &str,
        labels: Option<&[String]>,
    ) -> Result<Self, DataError> {
        if text_columns.is_empty() {
            return Err(DataError::Zero {
                what: "number of text columns",
            });
        }
        let ending = path.extension().and_then(|ending| ending.to_str());
        let rows = match ending.map(str::to_ascii_lowercase).as_deref() {
            Some("csv") => delimited(path, b',', text_columns, label_column)?,
            Some("tsv") => delimited(path, b'\t', text_columns, label_column)?,
            Some("jsonl") => json_lines(path, text_columns, label_column)?,
            _ => {
                return Err(DataError::Ending {
                    path: path.to_owned(),
                });
            }
        };
        let mut names: Vec<String> = match labels {
            Some(labels) => labels.to_vec(),
            None => rows.iter().map(|row| row.label.clone()).collect(),
        };
        if labels.is_none() {
            names.sort();
            names.dedup();
        }
        let mut table = Self {
            name: path.display().to_string(),
            ..Self::default()
        };
        for row in rows {
            let Some(label) = names.iter().position(|name| *name == row.label) else {
                return Err(at(path, row.line, unknown(&row.label, &names)));
            };
            table.texts.push(row.text);
            table.labels.push(label);
            table.lines.push(row.line);
        }
        table.label_names = names;
        match table.texts.is_empty() {
            true => Err(DataError::Empty { corpus: table.name }),
            false => Ok(table),
        }
    }

    /// Splits the last `count` rows off.
    pub fn split_off_last(&mut self, count: usize) -> Result<Self, DataError> {
        let left = check_split(&self.name, self.texts.len(), count)?;
        Ok(Self {
            name: self.name.clone(),
            texts: self.texts.split_off(left),
            labels: self.labels.split_off(left),
            label_names: self.label_names.clone(),
            lines: self.lines.split_off(left),
        })
    }

    /// Checks that every label here is one that the rows of `train` have.
    pub fn check_labels(&self, train: &Self) -> Result<(), DataError> {
        let rows = self.labels.iter().copied().zip(self.lines.iter().copied());
        check(&self.name, &self.label_names, rows, &train.labels)
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
        Table::read(&path, &texts, label, None)
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
    fn empty_lines_of_json_are_no_rows_and_a_mark_is_no_text() {
        let line = "{\"label\":\"a\",\"text\":\"x\"}";
        let table = read(
            "t.jsonl",
            &format!("{line}\n\n{line}\n \n"),
            &["text"],
            "label",
        )
        .unwrap();
        assert_eq!((table.texts.len(), &table.lines), (2, &vec![1, 3]));
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
                ["t.csv", "line 1", "label, text"],
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
        for name in ["t.csv", "t.tsv", "t.jsonl"] {
            let path = folder.path().join(name);
            fs::write(&path, b"1,a\n2,\xe4\n").unwrap();
            let error = Table::read(&path, &["2".to_owned()], "1", None).unwrap_err();
            let message = error.to_string();
            assert!(
                message.contains(name) && message.contains("line 2"),
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
        let message = Table::read(&path, &texts, "label", Some(&known))
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
