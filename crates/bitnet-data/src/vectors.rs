//! Vectors with labels: tables of numbers, one example a row.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use csv::StringRecord;

use crate::DataError;
use crate::classes::{check, unknown};
use crate::documents::tables;
use crate::lines::{at, check_split};
use crate::origins::{self, Origins};
use crate::rng::Rng;

mod stream;

pub use stream::{VectorExample, VectorExamples};

/// Labelled vectors of one width.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Vectors {
    /// The file, or the first of them.
    pub name: String,
    /// Numbers of a vector.
    pub width: usize,
    /// All vectors, row-major.
    pub values: Vec<f32>,
    /// The class of each, an index into `label_names`.
    pub labels: Vec<usize>,
    /// The classes.
    pub label_names: Vec<String>,
    origins: Origins,
}

impl Vectors {
    /// Reads files, folders and patterns of files of numbers: CSV, TSV or JSON lines (`.gz` and `.zst` too); a file
    /// whose name
    /// tells nothing is CSV. The label column is the one named, by number from 1 or by header; without a name the last, in
    /// JSON lines the field `label`.
    ///
    /// The first line of a table is a header if the label column is named in it, or if one of its cells is no number. A
    /// label
    /// may be a word: in its column that tells a header only if the line below has a number there. Of a JSON object all
    /// fields but the label are numbers or lists of them, in the order of their names. Classes are sorted, as numbers if
    /// they
    /// are numbers. With `known`, the training data, width and classes must be those.
    pub fn read(
        paths: &[PathBuf],
        label_column: Option<&str>,
        known: Option<&Vectors>,
    ) -> Result<Self, DataError> {
        let sources = tables(paths)?;
        let name = origins::name(&sources);
        let mut width = known.map(|known| known.width);
        let (mut values, mut classes, mut origins) = (Vec::new(), Vec::new(), Origins::default());
        for source in &sources {
            origins.begin(source);
            for example in VectorExamples::open(source, label_column)? {
                let VectorExample {
                    line,
                    values: row,
                    label,
                } = example?;
                let Some(label) = label else {
                    let problem = "has no label; give it one, or take the row out";
                    return Err(at(&source.path, line, problem));
                };
                let width = *width.get_or_insert(row.len());
                if row.len() != width {
                    let problem = format!(
                        "has {} numbers and a label, the {} {width}",
                        row.len(),
                        match known {
                            Some(_) => "training data",
                            None => "rows before it",
                        }
                    );
                    return Err(at(&source.path, line, problem));
                }
                values.extend(row);
                classes.push(label);
                origins.push(line);
            }
        }
        if classes.is_empty() {
            return Err(DataError::Empty { corpus: name });
        }
        let label_names = match known {
            Some(known) => known.label_names.clone(),
            None => sorted(&classes),
        };
        let labels = classes.iter().enumerate().map(|(row, class)| {
            let place = label_names.iter().position(|name| name == class);
            place.ok_or_else(|| {
                let (file, line) = origins.of(row);
                at(Path::new(file), line, unknown(class, &label_names))
            })
        });
        Ok(Self {
            name,
            width: width.unwrap_or_default(),
            labels: labels.collect::<Result<_, _>>()?,
            values,
            label_names,
            origins,
        })
    }

    /// The line of each in the file, counted from 1.
    pub fn lines(&self) -> Vec<usize> {
        self.origins.lines()
    }

    /// Splits the last `count` vectors off.
    pub fn split_off_last(&mut self, count: usize) -> Result<Self, DataError> {
        let left = check_split(&self.name, self.labels.len(), count)?;
        Ok(Self {
            name: self.name.clone(),
            width: self.width,
            values: self.values.split_off(left * self.width),
            labels: self.labels.split_off(left),
            label_names: self.label_names.clone(),
            origins: self.origins.split_off(left),
        })
    }

    /// Checks that every label here is one that the examples of `train` have.
    pub fn check_labels(&self, train: &Self) -> Result<(), DataError> {
        check(
            &self.origins,
            &self.label_names,
            &self.labels,
            &train.labels,
        )
    }

    /// The same examples in an order that depends on the seed alone.
    pub fn shuffled(self, seed: u64) -> Self {
        let order = Rng::new(seed, 0).permutation(self.labels.len());
        let rows = order
            .iter()
            .flat_map(|i| &self.values[i * self.width..][..self.width]);
        Self {
            values: rows.copied().collect(),
            labels: order.iter().map(|i| self.labels[*i]).collect(),
            origins: self.origins.in_order(&order),
            ..self
        }
    }
}

/// The numbers of a row and, where one of its columns holds a label, that label.
fn row(
    path: &Path,
    line: usize,
    record: &StringRecord,
    label: Option<usize>,
) -> Result<(Vec<f32>, Option<String>), DataError> {
    let (mut values, mut class) = (Vec::with_capacity(record.len()), None);
    for (column, cell) in record.iter().map(str::trim).enumerate() {
        match number(cell) {
            _ if Some(column) == label => class = Some(cell.to_owned()),
            Some(value) => values.push(value),
            None => {
                let problem = format!(
                    "column {}: {cell:?} is no finite number; correct it, or take the row out",
                    column + 1
                );
                return Err(at(path, line, problem));
            }
        }
    }
    Ok((values, class))
}

/// The place of the label column, and whether it was found by its name.
fn label_place(
    path: &Path,
    first: &StringRecord,
    label: Option<&str>,
) -> Result<(usize, bool), DataError> {
    let columns = first.len();
    let Some(label) = label else {
        return Ok((columns - 1, false));
    };
    if let Some(number) = label.parse().ok().filter(|n| (1..=columns).contains(n)) {
        return Ok((number - 1, false));
    }
    let named = first.iter().position(|cell| cell.trim() == label);
    named.map(|place| (place, true)).ok_or_else(|| {
        at(
            path,
            1,
            format!("has no column {label:?} among its {columns}; name it or give its number"),
        )
    })
}

/// Whether the first row names the columns. `inf` and `nan` are numbers here, and a label that is missing is no name: as
/// data they are reported, not skipped.
fn is_header(first: &StringRecord, second: Option<&StringRecord>, label: usize) -> bool {
    let is_number = |cell: &str| cell.trim().parse::<f32>().is_ok();
    let below = second.and_then(|row| row.get(label)).is_some_and(is_number);
    first.iter().enumerate().any(|(column, cell)| {
        !is_number(cell) && (column != label || (below && !cell.trim().is_empty()))
    })
}

fn number(cell: &str) -> Option<f32> {
    cell.parse().ok().filter(|value: &f32| value.is_finite())
}

/// The distinct classes: as numbers if all are numbers, where equal ones (`1`, `1.0`) are in the order of their text.
fn sorted(classes: &[String]) -> Vec<String> {
    let distinct: BTreeSet<&String> = classes.iter().collect();
    let mut names: Vec<String> = distinct.into_iter().cloned().collect();
    let numbers: Option<Vec<f64>> = names.iter().map(|name| name.parse().ok()).collect();
    if let Some(numbers) = numbers {
        let mut order: Vec<(f64, String)> = numbers.into_iter().zip(names).collect();
        order.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        names = order.into_iter().map(|(_, name)| name).collect();
    }
    names
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn read(content: &str, label: Option<&str>) -> Result<Vectors, DataError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("v.csv");
        fs::write(&path, content).unwrap();
        Vectors::read(&[path], label, None)
    }

    #[test]
    fn the_label_is_the_last_column_or_the_one_named() {
        let last = read("1,2,10\n3,4.5,9\n", None).unwrap();
        assert_eq!(
            (last.width, &last.values[..]),
            (2, &[1.0, 2.0, 3.0, 4.5][..])
        );
        assert_eq!(
            (last.labels, last.label_names),
            (vec![1, 0], vec!["9".to_owned(), "10".to_owned()])
        );
        let named = read("kind,a,b\ncat,1,2\ndog,3,4\n", Some("kind")).unwrap();
        assert_eq!(
            (named.values, named.labels),
            (vec![1.0, 2.0, 3.0, 4.0], vec![0, 1])
        );
        let numbered = read("cat,1,2\ndog,3,4\n", Some("1")).unwrap();
        assert_eq!(numbered.labels, [0, 1]);
        let words = read("1,2,cat\n3,4,dog\n", None).unwrap();
        assert_eq!(words.labels, [0, 1]);
    }

    #[test]
    fn a_first_row_of_numbers_is_data_whatever_its_label() {
        let labels = |content: &str, label| {
            let vectors = read(content, label).unwrap();
            assert_eq!(vectors.values.len(), vectors.width * vectors.labels.len());
            vectors.labels
        };
        // The label of the first row is also the number of its column.
        assert_eq!(labels("1,5,6\n0,7,8\n", Some("1")), [1, 0]);
        assert_eq!(labels("5,6,3\n7,8,1\n", Some("3")), [1, 0]);
        assert_eq!(labels("\u{feff}1,2,0\n3,4,1\n", None), [0, 1]);
        // Numbered columns and a label's name: a header, since labels are numbers.
        assert_eq!(labels("0,1,label\n5,6,0\n7,8,1\n", None), [0, 1]);
        assert_eq!(labels("0,1,label\n5,6,a\n7,8,b\n", Some("label")), [0, 1]);
    }

    #[test]
    fn classes_are_distinct_and_in_order() {
        let names = |content: &str| read(content, None).unwrap().label_names;
        assert_eq!(names("1,1\n1,1.0\n1,1\n1,0\n"), ["0", "1", "1.0"]);
        assert_eq!(names("1,nan\n1,2\n1,nan\n1,10\n"), ["2", "10", "nan"]);
        assert_eq!(names("1,b\n1,a\n1,2\n"), ["2", "a", "b"]);
    }

    #[test]
    fn a_shuffle_keeps_rows_together() {
        let text: String = (0..50)
            .map(|i| format!("{i},{},{}\n", 2 * i, i % 5))
            .collect();
        let vectors = read(&text, None).unwrap().shuffled(3);
        assert_ne!(vectors.values[0], 0.0);
        for (row, label) in vectors.values.chunks(2).zip(&vectors.labels) {
            assert_eq!((row[1], row[0] as usize % 5), (2.0 * row[0], *label));
        }
        let mut rest = vectors.clone();
        let last = rest.split_off_last(10).unwrap();
        assert_eq!((rest.labels.len(), last.values.len()), (40, 20));
    }

    #[test]
    fn what_is_wrong_is_named_with_file_and_line() {
        for (content, label, parts) in [
            ("1,2,0\n1,2\n", None, ["v.csv", "line 2", "2 columns"]),
            ("1,2,0\n1,x,0\n", None, ["v.csv", "line 2", "column 2"]),
            ("1,2,0\n1,inf,0\n", None, ["v.csv", "line 2", "finite"]),
            ("inf,2,0\n1,2,0\n", None, ["v.csv", "line 1", "finite"]),
            ("1,2,0\n1,2,\n", None, ["v.csv", "line 2", "no label"]),
            ("1,2,\n1,2,0\n", None, ["v.csv", "line 1", "no label"]),
            ("5\n6\n", None, ["v.csv", "line 1", "one column"]),
            ("5;6\n", None, ["line 1", "semicolons", "commas"]),
            ("a,b\n1,2\n", Some("c"), ["v.csv", "line 1", "\"c\""]),
            ("", None, ["v.csv", "empty", ""]),
        ] {
            let message = read(content, label).unwrap_err().to_string();
            for part in parts {
                assert!(message.contains(part), "{content:?}: {message}");
            }
        }
    }

    #[test]
    fn a_label_that_only_a_test_row_has_is_refused_wherever_the_shuffle_put_it() {
        let file = "1,0\n2,0\n3,9\n4,0\n5,1\n6,1\n7,1\n";
        let mut refused = 0;
        for seed in 0..32 {
            let mut train = read(file, None).unwrap().shuffled(seed);
            let test = train.split_off_last(2).unwrap();
            let nine = test.label_names.iter().position(|name| name == "9");
            match test.labels.contains(&nine.unwrap()) {
                false => test.check_labels(&train).unwrap(),
                true => {
                    let message = test.check_labels(&train).unwrap_err().to_string();
                    assert!(message.contains("v.csv, line 3"), "{message}");
                    refused += 1;
                }
            }
        }
        assert!((1..32).contains(&refused), "{refused}");
    }
}
