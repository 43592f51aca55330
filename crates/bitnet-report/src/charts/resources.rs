//! Bars: what memory the variants take, how fast they are, and the modelled energy of a token.

use bitnet_results::energy::{self, FloatWidth, LINEAR_LAYERS, MODELLED, Process, WHOLE_MODEL};
use bitnet_results::statistics::median;
use bitnet_results::{Experiment, Run, Speed, Variant};

use super::{Figure, colours};
use crate::format;
use crate::numbers::milliseconds;
use crate::svg::{Bar, BarChart, BarGroup, BarScale};

/// More variants make a wall of bars.
const MOST: usize = 6;

/// What memory the models take, at rest and running.
pub(crate) fn memory(experiment: &Experiment) -> Option<Figure> {
    let sized = |bytes: u64| (bytes > 0).then(|| (bytes as f64, format::bytes(bytes)));
    let most = |v: &Variant, of: fn(&Run) -> Option<u64>| v.runs.iter().filter_map(of).max();
    let groups = [
        group(experiment, "Weights of the linear layers", |v| {
            sized(v.packed_bytes)
        }),
        group(experiment, "Model file", |v| sized(v.file_bytes)),
        group(experiment, "Peak memory, inference", |v| {
            sized(most(v, |r| r.inference_peak_rss_bytes)?)
        }),
        group(experiment, "Peak memory, training", |v| {
            sized(most(v, |r| r.peak_rss_bytes)?)
        }),
    ];
    let subtitle = "each group on its own scale; shorter is better";
    chart(
        experiment,
        "memory.svg",
        "Memory",
        subtitle,
        BarScale::PerGroup,
        groups.into(),
    )
}

/// Speeds that were measured in turns.
pub(crate) fn speed(experiment: &Experiment) -> Option<Figure> {
    let timed = |of: fn(&Speed) -> &Vec<f64>, write: fn(f64) -> String| {
        move |v: &Variant| {
            let value = median(of(v.speed.as_ref()?));
            value.is_finite().then(|| (value, write(value)))
        }
    };
    let groups = [
        group(
            experiment,
            "Decode (writing), longer is better",
            timed(|s| &s.decode_tps, format::rate),
        ),
        group(
            experiment,
            "Prefill (reading), longer is better",
            timed(|s| &s.prefill_tps, format::rate),
        ),
        group(
            experiment,
            "Answer to one example, shorter is better",
            timed(|s| &s.latency_ms, milliseconds),
        ),
        group(
            experiment,
            "Training step, shorter is better",
            timed(|s| &s.step_ms, milliseconds),
        ),
    ];
    let subtitle = "medians over turns; each group on its own scale";
    chart(
        experiment,
        "speed.svg",
        "Speed",
        subtitle,
        BarScale::PerGroup,
        groups.into(),
    )
}

/// Modelled energy per token, FP16 at 7 nm: the pair the papers quote. Only of models that were counted as a whole.
pub(crate) fn energy(experiment: &Experiment) -> Option<Figure> {
    let [linear, whole] = [LINEAR_LAYERS, WHOLE_MODEL]
        .map(|part| energy::label(part, FloatWidth::Fp16, Process::Nm7));
    let of = |key: &str, v: &Variant| {
        let pj = *v.runs.first()?.modelled.get(key)?;
        Some((pj, format::picojoules(pj)))
    };
    let model = group(
        experiment,
        "Whole model: with output head and attention in float",
        |v| of(&whole, v),
    );
    if model.bars.is_empty() {
        return None;
    }
    let layers = group(experiment, "Arithmetic of the linear layers", |v| {
        of(&linear, v)
    });
    let subtitle = format!("{MODELLED}: FP16 and INT8 at 7 nm; shorter is better");
    chart(
        experiment,
        "energy.svg",
        "Energy per token",
        &subtitle,
        BarScale::Shared,
        vec![layers, model],
    )
}

fn chart(
    experiment: &Experiment,
    file: &'static str,
    title: &str,
    subtitle: &str,
    scale: BarScale,
    mut groups: Vec<BarGroup>,
) -> Option<Figure> {
    groups.retain(|group| !group.bars.is_empty());
    let fits = experiment.variants.len() <= MOST && !groups.is_empty();
    fits.then(|| {
        Figure::bars(
            file,
            BarChart {
                title: title.to_owned(),
                subtitle: subtitle.to_owned(),
                scale,
                groups,
            },
        )
    })
}

fn group(
    experiment: &Experiment,
    label: &str,
    of: impl Fn(&Variant) -> Option<(f64, String)>,
) -> BarGroup {
    let bars = experiment
        .variants
        .iter()
        .zip(colours(&experiment.variants));
    let bars = bars.filter_map(|(variant, colour)| {
        let (value, text) = of(variant)?;
        let name = variant.name.clone();
        Some(Bar {
            name,
            colour,
            value,
            text,
        })
    });
    BarGroup {
        label: label.to_owned(),
        bars: bars.collect(),
    }
}
