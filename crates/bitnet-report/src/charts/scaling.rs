//! How the score falls with size: the losses with the laws fitted to them, what the laws leave, and the gap between them.

use bitnet_results::scaling::Law;

use super::Figure;
use crate::scaling::{Fitted, Laws};
use crate::svg::{ScatterChart, ScatterGroup, ScatterPoint};

/// Pieces of a line that is curved.
const PIECES: usize = 48;

/// The pictures; none without a law.
pub(crate) fn figures(laws: &Laws) -> Vec<Figure> {
    let fitted: Vec<&Fitted> = laws.curves.iter().filter(|c| c.fit.is_some()).collect();
    if fitted.is_empty() {
        return Vec::new();
    }
    let held = fitted
        .iter()
        .any(|c| c.sizes.iter().any(|size| !size.fitted));
    let note = match held {
        true => " Points named “predicted” were not fitted.",
        false => "",
    };
    let chart = |title: &str, y_label: &str, groups| ScatterChart {
        title: title.to_owned(),
        x_label: "parameters, log scale".to_owned(),
        y_label: y_label.to_owned(),
        log_x: true,
        groups,
    };
    let law = chart(
        "Score and size",
        laws.metric,
        groups(&fitted, |_, loss| loss, |law, n| Some(law.at(n)), laws),
    );
    let residuals = chart(
        "What the laws leave",
        "measured less fitted",
        groups(&fitted, |law, loss| loss - law, |_, _| Some(0.0), laws),
    );
    let mut figures = vec![
        Figure::scatter(
            "scaling.svg",
            &format!(
                "Means over seeds; bars: ± one standard deviation. Lines: a + b · N^−c by least squares.{note}"
            ),
            law,
        ),
        Figure::scatter(
            "scaling-residuals.svg",
            &format!("Bars: ± one standard deviation of the runs.{note}"),
            residuals,
        ),
    ];
    if let Some((base, other)) = laws.pair() {
        let gaps = laws.gaps(base, other).into_iter().filter_map(|gap| {
            let measured = gap.measured?;
            Some(ScatterPoint {
                x: gap.size,
                y: measured.mean,
                error: measured.sd,
                label: String::new(),
            })
        });
        let line = span(laws).map(|n| {
            let (fitted, _) = base.fit.as_ref()?.gap(other.fit.as_ref()?, n);
            Some((n, fitted))
        });
        let group = ScatterGroup {
            name: format!("{} less {}", other.name, base.name),
            colour: 1,
            joined: false,
            points: gaps.collect(),
            line: line.collect::<Option<Vec<_>>>().unwrap_or_default(),
        };
        figures.push(Figure::scatter(
            "scaling-gap.svg",
            "Points: means of the gaps by seed, bars ± one standard deviation. Line: the difference of the two laws.",
            chart("The gap by size", "difference of the losses", vec![group]),
        ));
    }
    figures.into_iter().flatten().collect()
}

/// Sizes from the smallest model to the largest that is trained or predicted.
fn span(laws: &Laws) -> impl Iterator<Item = f64> + use<> {
    let all = laws
        .curves
        .iter()
        .flat_map(|c| c.sizes.iter().map(|s| s.parameters));
    let (low, high) = all.fold((f64::INFINITY, 0f64), |(low, high), n| {
        (low.min(n), high.max(n))
    });
    let high = laws
        .predict
        .iter()
        .fold(high, |high, n| high.max(*n as f64));
    (0..=PIECES).map(move |k| low * (high / low).powf(k as f64 / PIECES as f64))
}

fn groups(
    fitted: &[&Fitted],
    point: impl Fn(f64, f64) -> f64,
    line: impl Fn(&Law, f64) -> Option<f64>,
    laws: &Laws,
) -> Vec<ScatterGroup> {
    let group = |curve: &&Fitted| {
        let law = curve.fit.as_ref()?.law;
        let points = curve.sizes.iter().filter_map(|size| {
            let score = size.score?;
            Some(ScatterPoint {
                x: size.parameters,
                y: point(law.at(size.parameters), score.mean),
                error: score.sd,
                label: match size.fitted {
                    true => String::new(),
                    false => "predicted".to_owned(),
                },
            })
        });
        Some(ScatterGroup {
            name: curve.name.clone(),
            colour: curve.colour,
            joined: false,
            points: points.collect(),
            line: span(laws)
                .filter_map(|n| Some((n, line(&law, n)?)))
                .collect(),
        })
    };
    fitted.iter().filter_map(group).collect()
}
