//! A report before it has a form: sections of blocks, which the templates turn into a page or into Markdown.

use serde::Serialize;

use crate::charts::Figure;
use crate::headline::Tile;
use crate::svg::Placement;
use crate::table::Table;

/// A report.
#[derive(Serialize)]
pub(crate) struct Document {
    pub title: String,
    /// The line above the title.
    pub kicker: String,
    pub headline: String,
    pub tiles: Vec<Tile>,
    pub sections: Vec<Section>,
}

/// Blocks under a heading, which may be empty.
#[derive(Serialize)]
pub(crate) struct Section {
    pub title: String,
    pub blocks: Vec<Block>,
}

/// A piece of a report. Text is as it was given; the templates escape it.
#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub(crate) enum Block {
    Paragraph {
        text: String,
        /// Small print.
        note: bool,
    },
    /// A paragraph that an author wrote, with code between backticks.
    Authored {
        text: String,
    },
    List {
        items: Vec<String>,
        /// Whether an author wrote them.
        authored: bool,
    },
    Table {
        table: Table,
    },
    Figures {
        figures: Vec<Picture>,
    },
    /// What each variant wrote after a prompt.
    Samples {
        prompt: String,
        written: Vec<Written>,
    },
    Code {
        language: &'static str,
        text: String,
    },
    Facts {
        facts: Vec<Fact>,
    },
    /// A table or a text that is folded away.
    Details {
        summary: &'static str,
        table: Option<Table>,
        language: &'static str,
        text: String,
    },
}

/// A chart, drawn and as a file beside the report.
#[derive(Serialize)]
pub(crate) struct Picture {
    file: &'static str,
    alt: String,
    caption: String,
    svg: String,
}

/// What one variant wrote.
#[derive(Serialize)]
pub(crate) struct Written {
    pub name: String,
    /// Index of its colour.
    pub colour: usize,
    pub text: String,
}

/// A circumstance of a run.
#[derive(Serialize)]
pub(crate) struct Fact {
    pub name: String,
    pub text: String,
}

impl Block {
    pub fn paragraph(text: impl Into<String>) -> Self {
        let text = text.into();
        Self::Paragraph { text, note: false }
    }

    pub fn note(text: impl Into<String>) -> Self {
        let text = text.into();
        Self::Paragraph { text, note: true }
    }

    /// What an author wrote, paragraphs separated by empty lines.
    pub fn authored(text: &str) -> Vec<Self> {
        paragraphs(text)
            .map(|text| Self::Authored {
                text: text.to_owned(),
            })
            .collect()
    }

    pub fn table(table: Table) -> Self {
        Self::Table { table }
    }

    pub fn figures(figures: &[Figure]) -> Self {
        let picture = |figure: &Figure| Picture {
            file: figure.file,
            alt: figure.alt.clone(),
            caption: figure.caption.clone(),
            svg: figure.svg(Placement::Inline),
        };
        let figures = figures.iter().map(picture).collect();
        Self::Figures { figures }
    }
}

/// The paragraphs of a text.
pub(crate) fn paragraphs(text: &str) -> impl Iterator<Item = &str> {
    text.split("\n\n")
        .map(str::trim)
        .filter(|paragraph| !paragraph.is_empty())
}
