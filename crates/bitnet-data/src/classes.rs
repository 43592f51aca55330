//! Labels that no training example has: a model cannot learn to give them, so they are refused wherever they are met.

use crate::DataError;

/// What is wrong with a row whose label is not among the classes of the training data.
pub(crate) fn unknown(label: &str, classes: &[String]) -> String {
    format!(
        "has the label {label:?}, which the training data has not; it knows {}",
        classes.join(", ")
    )
}

/// A split of a file: its labels as indices into `names`, and the line of each.
pub(crate) struct Labels<'a> {
    pub file: &'a str,
    pub names: &'a [String],
    pub labels: &'a [usize],
    pub lines: &'a [usize],
}

impl Labels<'_> {
    /// Checks that each of these labels is one of `trained`, which are indices into the same names.
    pub fn check(&self, trained: &[usize]) -> Result<(), DataError> {
        let mut known = vec![false; self.names.len()];
        for label in trained {
            known[*label] = true;
        }
        let mut rows = self.labels.iter().zip(self.lines);
        match rows.find(|(label, _)| !known[**label]) {
            None => Ok(()),
            Some((label, line)) => {
                let classes = self.names.iter().zip(&known);
                let classes: Vec<String> = classes
                    .filter(|(_, known)| **known)
                    .map(|(name, _)| name.clone())
                    .collect();
                Err(DataError::Line {
                    file: self.file.to_owned(),
                    line: *line,
                    problem: unknown(&self.names[*label], &classes),
                })
            }
        }
    }
}
