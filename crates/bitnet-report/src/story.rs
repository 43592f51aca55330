//! What the numbers say, in words. Every sentence is computed, its direction included: ternary may win or lose.

use crate::format;
use crate::summary::{Summary, Twin};

/// A number worth showing large.
pub(crate) struct Tile {
    pub label: &'static str,
    pub value: String,
    pub detail: String,
}

/// The result in one sentence: loss, bytes, decoding speed and training time of the ternary twin against the float one.
///
/// ```
/// use bitnet_report::{Summary, Twin, Val, headline};
/// let twin = |name: &str, loss| Twin { name: name.into(), val: Val { loss, ..Val::default() }, ..Twin::default() };
/// let summary = Summary { twins: vec![twin("float", 1.7012), twin("ternary", 1.7438)], ..Summary::default() };
/// assert_eq!(headline(&summary), "The ternary twin’s validation loss is 1.744 against 1.701 (+0.043 nats, +2.5 %).");
/// ```
pub fn headline(summary: &Summary) -> String {
    let Some((float, ternary)) = summary.pair() else {
        return match summary.twins.as_slice() {
            [] => "This summary holds no model.".to_owned(),
            twins => {
                let names: Vec<&str> = twins.iter().map(|t| t.name.as_str()).collect();
                format!(
                    "This summary holds no float and ternary pair; it describes {}.",
                    names.join(", ")
                )
            }
        };
    };
    let mut clauses = vec![loss_clause(float.score(), ternary.score())];
    if let Some(r) = weight_ratio(ternary) {
        clauses.push(match r {
            r if r <= 0.52 => format!("its packed weights take {} of their f32 bytes", fraction(r)),
            r => format!(
                "its packed weights take {} their f32 bytes",
                format::ratio(r)
            ),
        });
    }
    if let Some(r) = decode_ratio(float, ternary) {
        clauses.push(match r {
            r if even(r) => "it decodes as fast".to_owned(),
            r if r > 1.0 => format!("it decodes {} as fast", format::ratio(r)),
            r => format!("it decodes more slowly, at {} the speed", format::ratio(r)),
        });
    }
    if let Some(r) = quotient(ternary.train.seconds, float.train.seconds) {
        clauses.push(match r {
            r if even(r) => "training took as long".to_owned(),
            r => format!("training took {} as long", format::ratio(r)),
        });
    }
    let last = clauses.pop().unwrap_or_default();
    match clauses.len() {
        0 => format!("{last}."),
        1 => format!("{}, and {last}.", clauses.concat()),
        _ => format!("{}, and {last}.", clauses.join(", ")),
    }
}

fn loss_clause(float: f64, ternary: f64) -> String {
    let difference = ternary - float;
    match (float.is_finite(), ternary.is_finite()) {
        (true, true) if difference.abs() < 5e-4 => {
            format!(
                "The ternary twin’s validation loss equals the float twin’s, {} nats",
                format::fixed(ternary, 3)
            )
        }
        (true, true) => {
            let relative = if float == 0.0 {
                String::new()
            } else {
                format!(", {} %", format::signed(100.0 * difference / float, 1))
            };
            let (t, f, d) = (
                format::fixed(ternary, 3),
                format::fixed(float, 3),
                format::signed(difference, 3),
            );
            format!("The ternary twin’s validation loss is {t} against {f} ({d} nats{relative})")
        }
        (true, false) => format!(
            "The ternary twin diverged, the float twin’s validation loss is {}",
            format::fixed(float, 3)
        ),
        (false, true) => format!(
            "The float twin diverged, the ternary twin’s validation loss is {}",
            format::fixed(ternary, 3)
        ),
        (false, false) => "Both twins diverged".to_owned(),
    }
}

/// Packed bytes over the f32 bytes of the same weights.
fn weight_ratio(ternary: &Twin) -> Option<f64> {
    quotient(
        ternary.packed.as_ref()?.weight_bytes as f64,
        ternary.float_bytes.f32 as f64,
    )
}

fn decode_ratio(float: &Twin, ternary: &Twin) -> Option<f64> {
    quotient(
        ternary.inference.as_ref()?.decode_tps,
        float.inference.as_ref()?.decode_tps,
    )
}

/// A ratio of two positive numbers.
fn quotient(a: f64, b: f64) -> Option<f64> {
    (a > 0.0 && b > 0.0 && (a / b).is_finite()).then(|| a / b)
}

/// Whether a ratio of timings is one as far as two digits show.
fn even(ratio: f64) -> bool {
    (0.995..1.005).contains(&ratio)
}

/// `1/15`, `1/7.6`.
fn fraction(ratio: f64) -> String {
    let inverse = 1.0 / ratio;
    let decimals = usize::from(inverse < 9.95 && (inverse - inverse.round()).abs() >= 0.05);
    format!("1/{}", format::fixed(inverse, decimals))
}

/// The headline's numbers, one by one.
pub(crate) fn tiles(summary: &Summary) -> Vec<Tile> {
    let Some((float, ternary)) = summary.pair() else {
        return Vec::new();
    };
    let mut tiles = Vec::new();
    let (f, t) = (float.score(), ternary.score());
    let value = if f.is_finite() && t.is_finite() {
        format!("{} nats", format::signed(t - f, 3))
    } else {
        format::NONE.to_owned()
    };
    tiles.push(Tile {
        label: "Validation loss",
        value,
        detail: format!("{} vs {}", format::fixed(t, 3), format::fixed(f, 3)),
    });
    if let (Some(r), Some(packed)) = (weight_ratio(ternary), &ternary.packed) {
        let value = if r <= 0.52 {
            fraction(r)
        } else {
            format::ratio(r)
        };
        let detail = format!(
            "{} vs {} in f32",
            format::bytes(packed.weight_bytes),
            format::bytes(ternary.float_bytes.f32)
        );
        tiles.push(Tile {
            label: "Packed weights",
            value,
            detail,
        });
    }
    if let (Some(r), Some(f), Some(t)) = (
        decode_ratio(float, ternary),
        &float.inference,
        &ternary.inference,
    ) {
        let detail = format!(
            "{} vs {}",
            format::rate(t.decode_tps),
            format::rate(f.decode_tps)
        );
        tiles.push(Tile {
            label: "Decoding speed",
            value: format::ratio(r),
            detail,
        });
    }
    if let Some(r) = quotient(ternary.train.seconds, float.train.seconds) {
        let detail = format!(
            "{} vs {}",
            format::seconds(ternary.train.seconds),
            format::seconds(float.train.seconds)
        );
        tiles.push(Tile {
            label: "Training time",
            value: format::ratio(r),
            detail,
        });
    }
    tiles
}
