//! Where examples stand: the file and the line of each.

use crate::Source;

/// A file and a line for each example, in the order of the examples.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Origins {
    files: Vec<String>,
    rows: Vec<(usize, usize)>,
}

impl Origins {
    /// Of no examples yet; the next ones are in the file that [`begin`](Self::begin) names.
    pub(crate) fn begin(&mut self, source: &Source) {
        self.files.push(source.name());
    }

    /// One more example of that file.
    pub(crate) fn push(&mut self, line: usize) {
        self.rows.push((self.files.len().saturating_sub(1), line));
    }

    /// The file and the line, counted from 1, of an example.
    pub(crate) fn of(&self, example: usize) -> (&str, usize) {
        let (file, line) = self.rows[example];
        (&self.files[file], line)
    }

    /// The lines of all examples.
    pub(crate) fn lines(&self) -> Vec<usize> {
        self.rows.iter().map(|(_, line)| *line).collect()
    }

    /// Those of the examples from `left` on, which are taken away.
    pub(crate) fn split_off(&mut self, left: usize) -> Self {
        Self {
            files: self.files.clone(),
            rows: self.rows.split_off(left),
        }
    }

    /// The same in another order.
    pub(crate) fn in_order(self, order: &[usize]) -> Self {
        Self {
            rows: order.iter().map(|example| self.rows[*example]).collect(),
            ..self
        }
    }
}

/// What some sources are called together: the first, and how many there are besides.
pub(crate) fn name(sources: &[Source]) -> String {
    match sources {
        [] => String::new(),
        [one] => one.name(),
        [first, others @ ..] => format!("{} and {} more", first.name(), others.len()),
    }
}
