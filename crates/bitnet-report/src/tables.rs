//! The report's tables: the float twin, the ternary twin, and the ratio between them.

mod rows;

use rows::{Better, Rows, Versus};

use crate::energy::{EnergyEstimate, FloatWidth, Process};
use crate::format;
use crate::summary::{Summary, Twin};
use crate::table::Table;

fn header(summary: &Summary) -> Vec<String> {
    let twins = summary.twins.iter().map(|twin| twin.name.clone());
    let versus = summary.pair().map(|_| "ternary vs float".to_owned());
    std::iter::once(String::new())
        .chain(twins)
        .chain(versus)
        .collect()
}

fn counted(n: u64) -> Option<f64> {
    (n > 0).then_some(n as f64)
}

fn bytes(value: f64) -> String {
    format::bytes(value as u64)
}

fn count(value: f64) -> String {
    format::count(value as u64)
}

/// The main table: quality, size, speed and training of every twin, with the ratio between float and ternary.
///
/// Rows nobody has a value for are left out; the better value of a row is marked unless both read the same.
pub fn main_table(summary: &Summary) -> Table {
    use Better::{Higher, Lower, Neither};
    use Versus::{Difference, Nothing, Ratio};
    let nats = |v| format::fixed(v, 4);
    let quality = Rows::new(summary, "Quality on the validation split")
        .row(
            "Loss of the exported model, nats/token",
            |t| Some(t.score()),
            nats,
            Difference(4),
            Lower,
        )
        .row(
            "Loss in training form, nats/token",
            |t| Some(t.val.loss),
            nats,
            Difference(4),
            Lower,
        )
        .row(
            "Loss as the CPU engine runs it, nats/token",
            |t| t.inference.as_ref().and_then(|i| i.val_loss),
            nats,
            Difference(4),
            Lower,
        )
        .row(
            "Loss before training, nats/token",
            |t| t.initial_val_loss,
            nats,
            Difference(4),
            Neither,
        )
        .row(
            "Bits per byte",
            |t| t.bits_per_byte,
            |v| format::fixed(v, 4),
            Difference(4),
            Lower,
        )
        .row(
            "Perplexity",
            |t| Some(t.val.perplexity),
            |v| format::fixed(v, 3),
            Ratio,
            Lower,
        )
        .row(
            "Next token right",
            |t| Some(t.val.accuracy),
            format::percent,
            Ratio,
            Higher,
        )
        .row(
            "Probe questions right",
            |t| {
                t.probes
                    .filter(|p| p.asked > 0)
                    .map(|p| p.right as f64 / p.asked as f64)
            },
            format::percent,
            Ratio,
            Higher,
        );
    let size = Rows::new(summary, "Size")
        .row("Parameters", |t| counted(t.params), count, Ratio, Neither)
        .row(
            "of which ternary",
            |t| Some(t.ternary_weights as f64),
            count,
            Nothing,
            Neither,
        )
        .row(
            "Bits per ternary weight",
            |t| t.bits_per_ternary_weight,
            |v| format::fixed(v, 2),
            Nothing,
            Neither,
        )
        .row(
            "Linear-layer weights (float: f32)",
            |t| weights(t, t.float_bytes.f32),
            bytes,
            Ratio,
            Lower,
        )
        .row(
            "Linear-layer weights (float: f16)",
            |t| weights(t, t.float_bytes.f16),
            bytes,
            Ratio,
            Lower,
        )
        .row(
            "Model file",
            |t| t.exported_bytes().map(|n| n as f64),
            bytes,
            Ratio,
            Lower,
        );
    let inference = Rows::new(summary, "Inference")
        .row(
            "Prefill",
            |t| t.inference.as_ref().map(|i| i.prefill_tps),
            format::rate,
            Ratio,
            Higher,
        )
        .row(
            "Decode",
            |t| t.inference.as_ref().map(|i| i.decode_tps),
            format::rate,
            Ratio,
            Higher,
        )
        .row(
            "Peak memory",
            |t| Some(t.inference.as_ref()?.peak_rss_bytes? as f64),
            bytes,
            Ratio,
            Lower,
        );
    let training = Rows::new(summary, "Training")
        .row(
            "Steps",
            |t| Some(t.train.steps as f64),
            |v| format::integer(v as u64),
            Nothing,
            Neither,
        )
        .row(
            "Tokens seen",
            |t| Some(t.train.tokens as f64),
            count,
            Nothing,
            Neither,
        )
        .row(
            "Time",
            |t| Some(t.train.seconds),
            format::seconds,
            Ratio,
            Lower,
        )
        .row(
            "Time per step",
            |t| t.ms_per_step,
            |v| format::seconds(v / 1e3),
            Ratio,
            Lower,
        )
        .row(
            "Throughput",
            |t| Some(t.train.tokens_per_second),
            format::rate,
            Ratio,
            Higher,
        )
        .row(
            "Peak memory",
            |t| t.train.peak_rss_bytes.map(|n| n as f64),
            bytes,
            Ratio,
            Lower,
        );
    let sections = [quality, size, inference, training].map(|rows| rows.section);
    Table {
        header: header(summary),
        sections: sections
            .into_iter()
            .filter(|s| !s.rows.is_empty())
            .collect(),
    }
}

/// Packed bytes where the twin is packed, else what its weights take in float.
fn weights(twin: &Twin, float: u64) -> Option<f64> {
    counted(
        twin.packed
            .as_ref()
            .map_or(float, |packed| packed.weight_bytes),
    )
}

/// Modelled energy per token for every float width and process, and measured joules where there is a meter.
pub fn energy_table(summary: &Summary) -> Table {
    let section = |title: &str, of: fn(&EnergyEstimate) -> f64| {
        let mut rows = Rows::new(summary, title);
        for process in Process::ALL {
            for width in FloatWidth::ALL {
                let label = format!("{}, {}", width.name(), process.name());
                let value = |t: &Twin| t.energy.as_ref()?.estimate(width, process).map(of);
                rows = rows.row(
                    &label,
                    value,
                    format::picojoules,
                    Versus::Ratio,
                    Better::Lower,
                );
            }
        }
        rows.section
    };
    let measured = Rows::new(summary, "Measured by a meter").row(
        "Per generated token",
        |t| t.energy.as_ref()?.measured_joules_per_token,
        |joules| format::picojoules(joules * 1e12),
        Versus::Ratio,
        Better::Lower,
    );
    let sections = [
        section("Modelled: arithmetic of the linear layers", |e| e.linear_pj),
        section("Modelled: whole model", |e| e.model_pj),
        measured.section,
    ];
    Table {
        header: header(summary),
        sections: sections
            .into_iter()
            .filter(|s| !s.rows.is_empty())
            .collect(),
    }
}
