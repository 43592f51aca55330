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
        let width = |column: usize| {
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
        let widths: Vec<usize> = (0..self.header.len()).map(width).collect();

        let mut out = String::new();
        push_line(&mut out, "", &header, &widths);
        let mut lines = lines.iter();
        for section in &self.sections {
            if !section.title.is_empty() {
                out.push_str(&escape::single_line(&section.title));
                out.push('\n');
            }
            for line in lines.by_ref().take(section.rows.len()) {
                push_line(&mut out, indent, line, &widths);
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
