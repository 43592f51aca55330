//! The pictures of an experiment's report.
//!
//! Learning curves are means over seeds with the single seeds pale behind them: where the pale lines of two variants
//! mingle, so do the variants. Error bars are plus and minus one sample standard deviation. A picture without anything
//! to show is left out.

mod curves;
mod frontier;
mod resources;
mod scaling;
mod scores;
mod sizes;
mod telemetry;

pub(crate) use frontier::colours as curve_colours;

use crate::scaling::Laws;
use crate::svg::{BarChart, DotChart, LineChart, Placement, ScatterChart};
use bitnet_results::{Experiment, Linear, Variant};

/// A picture: the name of its file, its text alternative, and a sentence under it.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// File name, ending in `.svg`.
    pub file: &'static str,
    /// What it shows, for those who do not see it.
    pub alt: String,
    /// How to read it; may be empty.
    pub caption: String,
    chart: Chart,
}

#[derive(Clone, Debug, PartialEq)]
enum Chart {
    Bars(BarChart),
    Dots(DotChart),
    Lines(LineChart),
    Scatter(ScatterChart),
}

impl Figure {
    /// The picture.
    pub fn svg(&self, placement: Placement) -> String {
        match &self.chart {
            Chart::Bars(chart) => chart.to_svg(placement),
            Chart::Dots(chart) => chart.to_svg(placement),
            Chart::Lines(chart) => chart.to_svg(placement),
            Chart::Scatter(chart) => chart.to_svg(placement),
        }
    }

    fn bars(file: &'static str, chart: BarChart) -> Self {
        Self {
            file,
            alt: format!("{}, {}", chart.title, chart.subtitle),
            caption: String::new(),
            chart: Chart::Bars(chart),
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

/// Heading of the pictures of a frontier.
pub(crate) const COSTS: &str = "What a score costs";
/// Heading of the pictures of a law of size.
pub(crate) const SIZES: &str = "Score by size";

/// Pictures under a common heading.
pub struct Group {
    /// The heading.
    pub title: &'static str,
    /// The pictures.
    pub figures: Vec<Figure>,
}

/// Every picture of the report, in its order: the scores of many variants, curves where [`Experiment::curves`] asks for
/// them, score against size where [`Experiment::scatter`] does, memory and speed, and what the ternary codes did where
/// that was recorded. Groups without a picture are left out.
pub fn groups(experiment: &Experiment) -> Vec<Group> {
    let mut learning = Vec::new();
    if experiment.curves {
        learning.extend(curves::by_step(experiment));
        learning.extend(curves::by_time(experiment));
        learning.extend(curves::score(experiment));
    }
    if experiment.twins().is_some() {
        learning.extend(curves::training(experiment));
        learning.extend(curves::learning_rate(experiment));
    }
    let mut scores: Vec<Figure> = scores::by_variant(experiment).into_iter().collect();
    if experiment.scatter {
        scores.extend(sizes::by_parameters(experiment));
        scores.extend(sizes::by_bytes(experiment));
    }
    let frontier = frontier::figures(experiment);
    let laws = Laws::of(experiment).map_or_else(Vec::new, |laws| scaling::figures(&laws));
    let resources = [
        resources::memory(experiment),
        resources::speed(experiment),
        resources::energy(experiment),
    ];
    let codes = [telemetry::zeros(experiment), telemetry::flips(experiment)];
    let groups = [
        (COSTS, frontier),
        (SIZES, laws),
        ("Scores", scores),
        ("Learning", learning),
        (
            "Memory, speed and energy",
            resources.into_iter().flatten().collect(),
        ),
        (
            "Ternary weights while training",
            codes.into_iter().flatten().collect(),
        ),
    ];
    let groups = groups
        .into_iter()
        .map(|(title, figures)| Group { title, figures });
    groups.filter(|group| !group.figures.is_empty()).collect()
}

/// The pictures of all [`groups`].
pub fn figures(experiment: &Experiment) -> Vec<Figure> {
    groups(experiment)
        .into_iter()
        .flat_map(|group| group.figures)
        .collect()
}

/// One colour per variant: the first float and the first ternary one keep the colours they have everywhere.
pub(crate) fn colours(variants: &[Variant]) -> Vec<usize> {
    let first = |kind: Linear| variants.iter().position(|v| v.linear == kind);
    let (float, ternary) = (first(Linear::Float), first(Linear::Ternary));
    let mut others = (2..7).cycle();
    let colour = |i: usize| match Some(i) {
        i if i == float => 0,
        i if i == ternary => 1,
        _ => others.next().unwrap_or(2),
    };
    (0..variants.len()).map(colour).collect()
}
