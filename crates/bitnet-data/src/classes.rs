//! Labels that no training example has: a model cannot learn to give them, so they are refused wherever they are met.

use crate::DataError;
use crate::origins::Origins;

/// What is wrong with a row whose label is not among the classes of the training data.
pub(crate) fn unknown(label: &str, classes: &[String]) -> String {
    format!(
        "has the label {label:?}, which the training data has not; it knows {}",
        classes.join(", ")
    )
}

/// Checks that the labels of rows are among the `trained` ones; all are indices into `names`.
pub(crate) fn check(
    origins: &Origins,
    names: &[String],
    labels: &[usize],
    trained: &[usize],
) -> Result<(), DataError> {
    let mut known = vec![false; names.len()];
    for label in trained {
        known[*label] = true;
    }
    let Some(row) = labels.iter().position(|label| !known[*label]) else {
        return Ok(());
    };
    let classes = names.iter().zip(known).filter(|(_, known)| *known);
    let classes: Vec<String> = classes.map(|(name, _)| name.clone()).collect();
    let (file, line) = origins.of(row);
    Err(DataError::Line {
        file: file.to_owned(),
        line,
        problem: unknown(&names[labels[row]], &classes),
    })
}
