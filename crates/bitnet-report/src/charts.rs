//! Which charts a report has, and what is in them.

mod learning;

pub(crate) use learning::learning;

use crate::energy::{Energy, FloatWidth, MODELLED, Process};
use crate::format;
use crate::summary::{Summary, Twin};
use crate::svg::{Bar, BarChart, BarGroup, BarScale, LineChart, Placement};

/// A chart with the name of its file and its text alternative.
pub(crate) struct Figure {
    pub file: &'static str,
    pub alt: String,
    chart: Chart,
}

enum Chart {
    Lines(LineChart),
    Bars(BarChart),
}

impl Figure {
    pub fn svg(&self, placement: Placement) -> String {
        match &self.chart {
            Chart::Lines(chart) => chart.to_svg(placement),
            Chart::Bars(chart) => chart.to_svg(placement),
        }
    }

    fn lines(file: &'static str, chart: LineChart) -> Self {
        Self {
            file,
            alt: format!("{}, {}", chart.title, chart.x_label),
            chart: Chart::Lines(chart),
        }
    }

    fn bars(file: &'static str, chart: BarChart) -> Option<Self> {
        let figure = Self {
            file,
            alt: format!("{}, {}", chart.title, chart.subtitle),
            chart: Chart::Bars(chart.clone()),
        };
        chart
            .groups
            .iter()
            .any(|g| !g.bars.is_empty())
            .then_some(figure)
    }
}

/// What memory the models take, at rest and running.
pub(crate) fn memory(summary: &Summary) -> Option<Figure> {
    let mut weights = Vec::new();
    for (i, twin) in summary.twins.iter().enumerate() {
        let bar = |name: String, bytes: u64| {
            bar(name, colour(twin, i), bytes as f64, format::bytes(bytes))
        };
        match &twin.packed {
            Some(packed) => weights.push(bar(twin.name.clone(), packed.weight_bytes)),
            None if twin.float_bytes.f32 > 0 => {
                weights.push(bar(format!("{} f32", twin.name), twin.float_bytes.f32));
                weights.push(bar(format!("{} f16", twin.name), twin.float_bytes.f16));
            }
            None => {}
        }
    }
    let sized = |of: fn(&Twin) -> Option<u64>| {
        move |twin: &Twin| of(twin).map(|bytes| (bytes as f64, format::bytes(bytes)))
    };
    let groups = [
        BarGroup {
            label: "Weights of the linear layers".to_owned(),
            bars: weights,
        },
        group(summary, "Model file", sized(Twin::exported_bytes)),
        group(
            summary,
            "Peak memory, inference",
            sized(|t| t.inference.as_ref()?.peak_rss_bytes),
        ),
        group(
            summary,
            "Peak memory, training",
            sized(|t| t.train.peak_rss_bytes),
        ),
    ];
    Figure::bars(
        "memory.svg",
        bar_chart(
            "Memory",
            "each group on its own scale; shorter is better",
            BarScale::PerGroup,
            groups,
        ),
    )
}

/// Tokens per second, reading, writing and learning.
pub(crate) fn speed(summary: &Summary) -> Option<Figure> {
    let rated = |of: fn(&Twin) -> Option<f64>| {
        move |twin: &Twin| {
            of(twin)
                .filter(|r| r.is_finite())
                .map(|r| (r, format::rate(r)))
        }
    };
    let groups = [
        group(
            summary,
            "Decode (writing)",
            rated(|t| Some(t.inference.as_ref()?.decode_tps)),
        ),
        group(
            summary,
            "Prefill (reading)",
            rated(|t| Some(t.inference.as_ref()?.prefill_tps)),
        ),
        group(
            summary,
            "Training",
            rated(|t| Some(t.train.tokens_per_second)),
        ),
    ];
    Figure::bars(
        "speed.svg",
        bar_chart(
            "Speed",
            "each group on its own scale; longer is better",
            BarScale::PerGroup,
            groups,
        ),
    )
}

/// Modelled energy per token, FP16 at 7 nm: the pair the papers quote.
pub(crate) fn energy(summary: &Summary) -> Option<Figure> {
    let estimate = |energy: &Energy| energy.estimate(FloatWidth::Fp16, Process::Nm7).copied();
    let linear = |twin: &Twin| {
        twin.energy
            .as_ref()
            .and_then(estimate)
            .map(|e| (e.linear_pj, format::picojoules(e.linear_pj)))
    };
    let model = |twin: &Twin| {
        twin.energy
            .as_ref()
            .and_then(estimate)
            .map(|e| (e.model_pj, format::picojoules(e.model_pj)))
    };
    let groups = [
        group(summary, "Arithmetic of the linear layers", linear),
        group(
            summary,
            "Whole model: with output head and attention in float",
            model,
        ),
    ];
    let subtitle = format!("{MODELLED}: FP16 and INT8 at 7 nm; shorter is better");
    Figure::bars(
        "energy.svg",
        bar_chart("Energy per token", &subtitle, BarScale::Shared, groups),
    )
}

/// Every chart of the report, in its order.
pub(crate) fn all(summary: &Summary) -> Vec<Figure> {
    let bars = [memory(summary), speed(summary), energy(summary)];
    learning(summary)
        .into_iter()
        .chain(bars.into_iter().flatten())
        .collect()
}

/// The colour of a twin: fixed for the two everyone compares.
pub(crate) fn colour(twin: &Twin, index: usize) -> usize {
    match twin.name.as_str() {
        Summary::FLOAT => 0,
        Summary::TERNARY => 1,
        _ => 2 + index % 2,
    }
}

fn bar_chart<const N: usize>(
    title: &str,
    subtitle: &str,
    scale: BarScale,
    groups: [BarGroup; N],
) -> BarChart {
    let groups = groups.into_iter().filter(|g| !g.bars.is_empty()).collect();
    BarChart {
        title: title.to_owned(),
        subtitle: subtitle.to_owned(),
        scale,
        groups,
    }
}

fn group(summary: &Summary, label: &str, of: impl Fn(&Twin) -> Option<(f64, String)>) -> BarGroup {
    let bars = summary.twins.iter().enumerate().filter_map(|(i, twin)| {
        let (value, text) = of(twin)?;
        Some(bar(twin.name.clone(), colour(twin, i), value, text))
    });
    BarGroup {
        label: label.to_owned(),
        bars: bars.collect(),
    }
}

fn bar(name: String, colour: usize, value: f64, text: String) -> Bar {
    Bar {
        name,
        colour,
        value,
        text,
    }
}
