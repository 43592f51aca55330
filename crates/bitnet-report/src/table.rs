//! A table that knows its numbers, shown as terminal text, Markdown or CSV, and in the templates of a page.
//!
//! A [`Cell`] holds the text people read (`1.23 MB`) and, where there is one, the number behind it, so that CSV gets
//! `1230000` while everything else gets the text.

use serde::Serialize;

use crate::{escape, templates};

/// One cell: text, and the number behind it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Cell {
    /// What people read.
    pub text: String,
    /// What programs read (CSV); the text where there is none.
    pub value: Option<f64>,
    /// Whether this is the better value of its row.
    pub best: bool,
}

impl Cell {
    /// A cell of plain text.
    pub fn text(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            value: None,
            best: false,
        }
    }

    /// A formatted number.
    pub fn number(text: impl Into<String>, value: f64) -> Self {
        Self {
            text: text.into(),
            value: Some(value),
            best: false,
        }
    }
}

/// A titled group of rows; the first cell of a row is its label.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Section {
    /// Heading of the group; may be empty.
    pub title: String,
    /// The rows, each as long as the header.
    pub rows: Vec<Vec<Cell>>,
}

/// Header and sections. The first column is left-aligned, the others right-aligned.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Table {
    /// Column headings.
    pub header: Vec<String>,
    /// Groups of rows.
    pub sections: Vec<Section>,
}

impl Table {
    /// Aligned plain text for a terminal, without colour or control characters; ends with a newline.
    ///
    /// ```
    /// use bitnet_report::table::{Cell, Section, Table};
    /// let table = Table {
    ///     header: vec!["".into(), "float".into(), "ternary".into()],
    ///     sections: vec![Section {
    ///         title: "Size".into(),
    ///         rows: vec![vec![Cell::text("file"), Cell::number("1.23 MB", 1.23e6), Cell::number("98 kB", 98e3)]],
    ///     }],
    /// };
    /// assert_eq!(table.to_text(), "          float  ternary\nSize\n  file  1.23 MB    98 kB\n");
    /// ```
    pub fn to_text(&self) -> String {
        self.to_text_within(usize::MAX)
    }

    /// [`to_text`](Self::to_text) in lines of at most `width` characters, as far as its words are that short: the first
    /// column is folded, and where the others leave it no room, every row becomes a list of its cells.
    ///
    /// ```
    /// use bitnet_report::table::{Cell, Section, Table};
    /// let row = vec![Cell::text("peak memory of training"), Cell::number("97 MB", 97e6)];
    /// let table = Table {
    ///     header: vec!["".into(), "ternary".into()],
    ///     sections: vec![Section { title: String::new(), rows: vec![row] }],
    /// };
    /// assert_eq!(table.to_text_within(26), "                   ternary\npeak memory of\ntraining             97 MB\n");
    /// assert_eq!(table.to_text_within(20), "peak memory of\ntraining\n  ternary  97 MB\n");
    /// ```
    pub fn to_text_within(&self, width: usize) -> String {
        let indent = if self.sections.iter().any(|s| !s.title.is_empty()) {
            "  "
        } else {
            ""
        };
        let lines: Vec<Vec<String>> = self
            .rows()
            .map(|row| row.iter().map(plain).collect())
            .collect();
        let header: Vec<String> = self.header.iter().map(|h| escape::single_line(h)).collect();
        let widest = |column: usize| {
            let indent = if column == 0 { indent.len() } else { 0 };
            let cells = lines
                .iter()
                .filter_map(|line| line.get(column))
                .map(|cell| cell.chars().count() + indent);
            cells
                .chain(header.get(column).map(|h| h.chars().count()))
                .max()
                .unwrap_or(0)
        };
        let mut widths: Vec<usize> = (0..self.header.len()).map(widest).collect();
        let others: usize = widths.iter().skip(1).map(|other| other + 2).sum();
        let room = width.saturating_sub(others);
        let wide = widths.first().is_some_and(|first| *first > room);
        if wide && room < NARROWEST + indent.len() {
            return self.to_list(width, &header, &lines);
        }
        if let Some(first) = widths.first_mut() {
            *first = (*first).min(room);
        }
        let mut out = String::new();
        push_line(&mut out, "", &header, &widths);
        let mut lines = lines.into_iter();
        for section in &self.sections {
            push_folded(&mut out, &escape::single_line(&section.title), "", width);
            for mut line in lines.by_ref().take(section.rows.len()) {
                if wide && let Some(label) = line.first_mut() {
                    // The last line of the label has the numbers beside it.
                    let mut folded = fold(label, room.saturating_sub(indent.len()));
                    *label = folded.pop().unwrap_or_default();
                    for begin in folded {
                        out.push_str(&format!("{indent}{begin}\n"));
                    }
                }
                push_line(&mut out, indent, &line, &widths);
            }
        }
        out
    }

    /// Every row as its label and a line for each other cell.
    fn to_list(&self, width: usize, header: &[String], lines: &[Vec<String>]) -> String {
        let mut out = String::new();
        let mut lines = lines.iter();
        let longest = |texts: &[String]| {
            let lengths = texts.iter().skip(1).map(|text| text.chars().count());
            lengths.max().unwrap_or(0)
        };
        let values = lines.clone().map(|line| longest(line)).max().unwrap_or(0);
        // Names give way to values, down to a third of the width; then values are folded too.
        let room = width.saturating_sub(4);
        let widest = longest(header).min(room.saturating_sub(values).max(room / 3));
        for section in &self.sections {
            push_folded(&mut out, &escape::single_line(&section.title), "", width);
            for line in lines.by_ref().take(section.rows.len()) {
                push_folded(&mut out, line.first().map_or("", String::as_str), "", width);
                for (name, cell) in header
                    .iter()
                    .zip(line)
                    .skip(1)
                    .filter(|(_, cell)| !cell.is_empty())
                {
                    let mut name = fold(name, widest);
                    let last = name.pop().unwrap_or_default();
                    for begin in name {
                        out.push_str(&format!("  {begin}\n"));
                    }
                    let mut cell = fold(cell, room.saturating_sub(widest)).into_iter();
                    let first = cell.next().unwrap_or_default();
                    out.push_str(&format!("  {last:<widest$}  {first}\n"));
                    for rest in cell {
                        out.push_str(&format!("  {:<widest$}  {rest}\n", ""));
                    }
                }
            }
        }
        out
    }

    /// A GitHub-flavoured Markdown table; sections become a row of their own, better values are bold.
    pub fn to_markdown(&self) -> String {
        templates::markdown_table(self)
    }

    /// CSV: raw numbers, and the section as the first column.
    pub fn to_csv(&self) -> String {
        let mut writer = csv::WriterBuilder::new()
            .flexible(true)
            .from_writer(Vec::new());
        let header = std::iter::once("section").chain(self.header.iter().map(String::as_str));
        // Writing to memory does not fail.
        let _ = writer.write_record(header);
        for section in &self.sections {
            for row in &section.rows {
                let cell = |cell: &Cell| {
                    cell.value
                        .map_or_else(|| cell.text.clone(), |v| v.to_string())
                };
                let _ = writer.write_record(
                    std::iter::once(section.title.clone()).chain(row.iter().map(cell)),
                );
            }
        }
        writer
            .into_inner()
            .ok()
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .unwrap_or_default()
    }

    fn rows(&self) -> impl Iterator<Item = &Vec<Cell>> {
        self.sections.iter().flat_map(|section| &section.rows)
    }
}

/// The least room for the first column; with less, a row becomes a list.
const NARROWEST: usize = 16;

/// A text in lines of at most `width` characters, as far as its words are that short.
fn fold(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let last = lines.last().map_or(0, |line| line.chars().count());
        match lines.last_mut() {
            Some(line) if last == 0 => line.push_str(word),
            Some(line) if last + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// Lines of at most `width` characters, as far as their words are that short. What is folded goes on under the second column
/// of its line, if it has one: two spaces or more, not far from the left.
///
/// ```
/// use bitnet_report::table::folded;
///
/// assert_eq!(folded("kernel  avx2: the fastest one here\n", 20), "kernel  avx2: the\n        fastest one\n        here\n");
/// assert_eq!(folded("one two three", 8), "one two\nthree");
/// ```
pub fn folded(text: &str, width: usize) -> String {
    let lines = text.split('\n').map(|line| {
        if line.chars().count() <= width {
            return line.to_owned();
        }
        let begin = line.len() - line.trim_start().len();
        let column = line[begin..].find("  ").map_or(begin, |gap| {
            let gap = begin + gap;
            line.len() - line[gap..].trim_start().len()
        });
        let hang = if column <= width / 2 { column } else { begin };
        let (label, body) = line.split_at(hang);
        let room = width.saturating_sub(label.chars().count());
        fold(body, room)
            .iter()
            .enumerate()
            .map(|(index, part)| match index {
                0 => format!("{label}{part}"),
                _ => format!("{:1$}{part}", "", label.chars().count()),
            })
            .collect::<Vec<_>>()
            .join("\n")
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn push_folded(out: &mut String, text: &str, indent: &str, width: usize) {
    if text.is_empty() {
        return;
    }
    for line in fold(text, width.saturating_sub(indent.len())) {
        out.push_str(&format!("{indent}{line}\n"));
    }
}

fn plain(cell: &Cell) -> String {
    escape::single_line(&cell.text)
}

/// Columns two spaces apart, without trailing space.
fn push_line(out: &mut String, indent: &str, cells: &[String], widths: &[usize]) {
    let mut line = String::from(indent);
    for (column, (cell, &width)) in cells.iter().zip(widths).enumerate() {
        if column == 0 {
            let width = width.saturating_sub(indent.len());
            line.push_str(&format!("{cell:<width$}"));
        } else {
            line.push_str(&format!("  {cell:>width$}"));
        }
    }
    out.push_str(line.trim_end());
    out.push('\n');
}

#[cfg(test)]
mod tests;
