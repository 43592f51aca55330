//! Vectors with labels: a CSV of numbers, one example a row.

use std::path::Path;

use crate::dice::Dice;
use crate::lines::{at, check_split};
use crate::table::csv_error;
use crate::{DataError, file};

/// Labelled vectors of one width.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Vectors {
    /// The file.
    pub name: String,
    /// Numbers of a vector.
    pub width: usize,
    /// All vectors, row-major.
    pub values: Vec<f32>,
    /// The class of each, an index into `label_names`.
    pub labels: Vec<usize>,
    /// The classes.
    pub label_names: Vec<String>,
}

impl Vectors {
    /// Reads a CSV of numbers. The first line is a header if one of its cells other than the label's is no number. The label
    /// column is the one named, by header or by number from 1; without a name the last. Classes are sorted, as numbers if
    /// they are numbers. With `known`, the training data, width and classes must be those.
    pub fn read(
        path: &Path,
        label_column: Option<&str>,
        known: Option<&Vectors>,
    ) -> Result<Self, DataError> {
        let name = path.display().to_string();
        let bytes = file::read(path)?;
        let text = file::utf8(&name, &bytes)?;
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .from_reader(text.as_bytes());
        let mut records = reader.records().peekable();
        let Some(Ok(first)) = records.peek() else {
            return match records.next() {
                Some(Err(error)) => Err(csv_error(path, &error)),
                _ => Err(DataError::Empty { corpus: name }),
            };
        };
        let columns = first.len();
        let numbers = first.iter().filter(|cell| number(cell).is_some()).count();
        let place = match label_column {
            None => columns - 1,
            Some(column) => {
                let named = first.iter().position(|cell| cell == column);
                let numbered = column
                    .parse::<usize>()
                    .ok()
                    .filter(|n| (1..=columns).contains(n));
                numbered.map(|n| n - 1).or(named).ok_or_else(|| {
                    at(path, 1, format!("has no column {column:?} among its {columns}; name it or give its number"))
                })?
            }
        };
        let label_is_number = first.get(place).is_some_and(|cell| number(cell).is_some());
        if numbers < columns - usize::from(!label_is_number) || first.get(place) == label_column {
            records.next();
        }
        let (mut values, mut classes, mut lines) = (Vec::new(), Vec::new(), Vec::new());
        for record in records {
            let record = record.map_err(|error| csv_error(path, &error))?;
            let line = record
                .position()
                .map_or(0, |position| position.line() as usize);
            for (column, cell) in record.iter().enumerate() {
                if column == place {
                    classes.push(cell.trim().to_owned());
                    continue;
                }
                values.push(number(cell).ok_or_else(|| {
                    at(
                        path,
                        line,
                        format!("column {}: {cell:?} is no finite number", column + 1),
                    )
                })?);
            }
            lines.push(line);
        }
        if classes.is_empty() {
            return Err(DataError::Empty { corpus: name });
        }
        let label_names = match known {
            Some(known) => known.label_names.clone(),
            None => sorted(&classes),
        };
        let width = columns - 1;
        if let Some(known) = known
            && known.width != width
        {
            let problem = format!(
                "has {columns} columns, the training data {}",
                known.width + 1
            );
            return Err(at(path, lines[0], problem));
        }
        let labels = classes.iter().zip(&lines).map(|(class, line)| {
            label_names.iter().position(|name| name == class).ok_or_else(|| {
                let names = label_names.join(", ");
                at(path, *line, format!("has the label {class:?}, which the training data has not; it knows {names}"))
            })
        });
        Ok(Self {
            name,
            width,
            labels: labels.collect::<Result<_, _>>()?,
            values,
            label_names,
        })
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
        })
    }

    /// The same examples in an order that depends on the seed alone.
    pub fn shuffled(self, seed: u64) -> Self {
        let order = Dice::new(seed, 0).permutation(self.labels.len());
        let rows = order
            .iter()
            .flat_map(|i| &self.values[i * self.width..][..self.width]);
        Self {
            values: rows.copied().collect(),
            labels: order.iter().map(|i| self.labels[*i]).collect(),
            ..self
        }
    }
}

fn number(cell: &str) -> Option<f32> {
    cell.trim()
        .parse()
        .ok()
        .filter(|value: &f32| value.is_finite())
}

fn sorted(classes: &[String]) -> Vec<String> {
    let mut names = classes.to_vec();
    let as_number = |name: &String| name.parse::<f64>().ok();
    match names.iter().all(|name| as_number(name).is_some()) {
        true => names.sort_by(|a, b| {
            as_number(a)
                .partial_cmp(&as_number(b))
                .unwrap_or(std::cmp::Ordering::Equal)
        }),
        false => names.sort(),
    }
    names.dedup();
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
        Vectors::read(&path, label, None)
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
            ("a,b\n1,2\n", Some("c"), ["v.csv", "line 1", "\"c\""]),
            ("", None, ["v.csv", "empty", ""]),
        ] {
            let message = read(content, label).unwrap_err().to_string();
            for part in parts {
                assert!(message.contains(part), "{content:?}: {message}");
            }
        }
    }
}
