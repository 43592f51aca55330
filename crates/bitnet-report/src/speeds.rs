//! When a ratio of two variants' speeds is told. Speeds are compared by [`Ratio`]s over turns; where the turns do not agree,
//! or other programs kept the processor busy meanwhile, headlines, tiles and tables say that and give no number.

use bitnet_results::statistics::{Ratio, Verdict};
use bitnet_results::{Experiment, Speed, Variant};

use crate::format;

/// Share of the time that threads waited for a core, above which speeds are not compared. An idle machine shows below 1 %.
const BUSY: f64 = 0.05;

/// What two series of timings, taken in turns, say about each other.
#[derive(Clone, Copy)]
pub(crate) enum Compared {
    /// The ratio is known as well as its interval says.
    Known(Ratio, (f64, f64)),
    /// The turns disagree about who is faster; the interval is narrow.
    Alike((f64, f64)),
    /// The interval is wide, or there are too few turns for one.
    Open,
    /// The machine was not idle.
    Busy,
}

/// The ratio of the ternary over the float variant in `of`; `None` where it was not measured of both.
pub(crate) fn compared(
    experiment: &Experiment,
    (float, ternary): (&Variant, &Variant),
    of: fn(&Speed) -> &Vec<f64>,
) -> Option<Compared> {
    let ratio = Ratio::of(of(ternary.speed.as_ref()?), of(float.speed.as_ref()?))?;
    if experiment.waited.is_some_and(|waited| waited > BUSY) {
        return Some(Compared::Busy);
    }
    Some(match (ratio.verdict(), ratio.interval) {
        (Verdict::Differs, Some(interval)) => Compared::Known(ratio, interval),
        (Verdict::Alike, Some(interval)) => Compared::Alike(interval),
        _ => Compared::Open,
    })
}

/// `2.10× to 2.31×`.
pub(crate) fn range((low, high): (f64, f64)) -> String {
    format!("{} to {}", format::ratio(low), format::ratio(high))
}
