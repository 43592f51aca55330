//! One quantity of every twin as a row: formatted, compared, the better value marked.

use crate::format;
use crate::summary::{Summary, Twin};
use crate::table::{Cell, Section};

/// Which of two values is the better one.
#[derive(Clone, Copy)]
pub(super) enum Better {
    Lower,
    Higher,
    Neither,
}

/// What the last column says about a pair of values.
#[derive(Clone, Copy)]
pub(super) enum Versus {
    /// Ternary over float.
    Ratio,
    /// Ternary minus float, with so many decimals.
    Difference(usize),
    /// Nothing: the quantity has no meaningful comparison.
    Nothing,
}

/// Turns one quantity of every twin into a row.
pub(super) struct Rows<'a> {
    summary: &'a Summary,
    pub section: Section,
}

impl<'a> Rows<'a> {
    pub fn new(summary: &'a Summary, title: &str) -> Self {
        Self {
            summary,
            section: Section {
                title: title.to_owned(),
                rows: Vec::new(),
            },
        }
    }

    /// Adds a row unless no twin has the quantity.
    pub fn row(
        mut self,
        label: &str,
        of: impl Fn(&Twin) -> Option<f64>,
        text: impl Fn(f64) -> String,
        versus: Versus,
        better: Better,
    ) -> Self {
        let values: Vec<Option<f64>> = self.summary.twins.iter().map(&of).collect();
        if values.iter().all(Option::is_none) {
            return self;
        }
        let pair = self
            .summary
            .pair()
            .and_then(|(float, ternary)| Some((of(float)?, of(ternary)?)));
        let best = pair.and_then(|pair| winner(pair, &text, better));
        let mut row = vec![Cell::text(label)];
        for (twin, value) in self.summary.twins.iter().zip(values) {
            let mut cell =
                value.map_or_else(|| Cell::text(format::NONE), |v| Cell::number(text(v), v));
            cell.best = best == Some(twin.name.as_str());
            row.push(cell);
        }
        if self.summary.pair().is_some() {
            row.push(pair.map_or_else(|| Cell::text(""), |pair| compared(pair, versus)));
        }
        self.section.rows.push(row);
        self
    }
}

fn compared((float, ternary): (f64, f64), versus: Versus) -> Cell {
    let (text, value) = match versus {
        Versus::Nothing => return Cell::text(""),
        Versus::Ratio => (format::ratio(ternary / float), ternary / float),
        Versus::Difference(decimals) => {
            (format::signed(ternary - float, decimals), ternary - float)
        }
    };
    if value.is_finite() {
        Cell::number(text, value)
    } else {
        Cell::text(format::NONE)
    }
}

/// The name of the better twin; nobody wins by less than what is shown.
fn winner(
    (float, ternary): (f64, f64),
    text: impl Fn(f64) -> String,
    better: Better,
) -> Option<&'static str> {
    let float_wins = match better {
        Better::Lower => float < ternary,
        Better::Higher => float > ternary,
        Better::Neither => return None,
    };
    if !float.is_finite() || !ternary.is_finite() || text(float) == text(ternary) {
        return None;
    }
    Some(if float_wins {
        Summary::FLOAT
    } else {
        Summary::TERNARY
    })
}
