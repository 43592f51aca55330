//! The pictures of an experiment's report.
//!
//! Learning curves are means over seeds with the single seeds pale behind them: where the pale lines of two variants
//! mingle, so do the variants. Error bars are plus and minus one sample standard deviation. A picture without anything
//! to show is left out.

mod curves;
mod scores;
mod sizes;
mod telemetry;

use super::summary::{Experiment, Variant};
use crate::svg::{DotChart, LineChart, Placement, ScatterChart};

/// A picture: the name of its file, its text alternative, and a sentence under it.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// File name, ending in `.svg`.
    pub file: &'static str,
    /// What it shows, for those who do not see it.
    pub alt: String,
    /// How to read it.
    pub caption: String,
    chart: Chart,
}

#[derive(Clone, Debug, PartialEq)]
enum Chart {
    Dots(DotChart),
    Lines(LineChart),
    Scatter(ScatterChart),
}

impl Figure {
    /// The picture.
    pub fn svg(&self, placement: Placement) -> String {
        match &self.chart {
            Chart::Dots(chart) => chart.to_svg(placement),
            Chart::Lines(chart) => chart.to_svg(placement),
            Chart::Scatter(chart) => chart.to_svg(placement),
        }
    }

    fn dots(file: &'static str, caption: &str, chart: DotChart) -> Option<Self> {
        let any = chart.rows.iter().any(|row| row.mean.is_finite());
        any.then(|| Self {
            file,
            alt: chart.title.clone(),
            caption: caption.to_owned(),
            chart: Chart::Dots(chart),
        })
    }

    fn lines(file: &'static str, caption: &str, chart: LineChart) -> Option<Self> {
        let finite = |(x, y): &(f64, f64)| x.is_finite() && y.is_finite();
        let any = chart.series.iter().any(|s| s.points.iter().any(finite));
        any.then(|| Self {
            file,
            alt: format!("{}, by {}", chart.title, chart.x_label),
            caption: caption.to_owned(),
            chart: Chart::Lines(chart),
        })
    }

    fn scatter(file: &'static str, caption: &str, chart: ScatterChart) -> Option<Self> {
        let any = chart.groups.iter().any(|group| !group.points.is_empty());
        any.then(|| Self {
            file,
            alt: format!("{}, {}", chart.title, chart.x_label),
            caption: caption.to_owned(),
            chart: Chart::Scatter(chart),
        })
    }
}

/// Every picture of the report, in its order: the scores of many variants, curves where [`Experiment::curves`] asks for them, score against size where
/// [`Experiment::scatter`] does, and what the ternary codes did where that was recorded.
pub fn figures(experiment: &Experiment) -> Vec<Figure> {
    let mut figures = Vec::new();
    figures.extend(scores::by_variant(experiment));
    if experiment.curves {
        figures.extend(curves::by_step(experiment));
        figures.extend(curves::by_time(experiment));
        figures.extend(curves::score(experiment));
    }
    if experiment.scatter {
        figures.extend(sizes::by_parameters(experiment));
        figures.extend(sizes::by_bytes(experiment));
    }
    figures.extend(telemetry::zeros(experiment));
    figures.extend(telemetry::flips(experiment));
    figures
}

/// One colour per variant: the first float and the first ternary one keep the colours they have everywhere.
fn colours(variants: &[Variant]) -> Vec<usize> {
    let first = |kind: &str| variants.iter().position(|v| v.linear == kind);
    let (float, ternary) = (first(Variant::FLOAT), first(Variant::TERNARY));
    let mut others = (2..7).cycle();
    let colour = |i: usize| match Some(i) {
        i if i == float => 0,
        i if i == ternary => 1,
        _ => others.next().unwrap_or(2),
    };
    (0..variants.len()).map(colour).collect()
}
