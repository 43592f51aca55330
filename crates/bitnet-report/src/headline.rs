//! The sentence an experiment is remembered by: what ternary weights cost, or gain, against float ones.
//!
//! An experiment may have many variants of either kind. The float side is the baseline where that is float, otherwise the
//! best float variant; the ternary side is the best ternary variant *of the same size*, and with a teacher only where the
//! float one had a teacher; or any, where there is no such variant. The names are always given, so that nobody takes one
//! pair for another.

mod twins;

pub(crate) use twins::{Tile, tiles};

use crate::numbers::{self, Style};
use crate::winner::{ranking, winner};
use bitnet_results::statistics::{Spread, gap};
use bitnet_results::{Experiment, Linear, Variant};

/// The float and the ternary variant an experiment is summed up by.
pub(crate) struct Pick<'a> {
    pub float: Option<(&'a Variant, Spread)>,
    pub ternary: Option<(&'a Variant, Spread)>,
}

impl<'a> Pick<'a> {
    pub fn of(experiment: &'a Experiment) -> Self {
        let ranked = ranking(experiment);
        let kind = |linear: Linear| {
            let of_kind = ranked.iter().filter(|(v, _)| v.linear == linear);
            of_kind.copied().collect::<Vec<_>>()
        };
        let (floats, ternaries) = (kind(Linear::Float), kind(Linear::Ternary));
        let baseline = experiment.baseline.as_deref();
        let float = floats
            .iter()
            .find(|(v, _)| Some(v.name.as_str()) == baseline)
            .or(floats.first())
            .copied();
        let comparable = |v: &Variant| {
            float.is_some_and(|(f, _)| {
                v.params.abs_diff(f.params) <= f.params / 50
                    && v.teacher.is_none() == f.teacher.is_none()
            })
        };
        let ternary = ternaries
            .iter()
            .find(|(v, _)| comparable(v))
            .or(ternaries.first())
            .copied();
        Self { float, ternary }
    }

    /// Ternary minus float, paired by seed.
    pub fn gap(&self) -> Option<Spread> {
        gap(self.ternary?.0, self.float?.0)
    }

    /// The larger of the two scores: what the digits of the gap go by.
    pub fn size(&self) -> f64 {
        let size = |side: Option<(&Variant, Spread)>| side.map_or(0.0, |(_, s)| s.mean.abs());
        size(self.float).max(size(self.ternary))
    }
}

/// What `say` says of each group, one after the other, after the group's name.
pub(crate) fn of_groups(experiment: &Experiment, say: impl Fn(&Experiment) -> String) -> String {
    let groups = experiment.groups();
    let said = groups.iter().map(|(name, group)| match name {
        None => say(group),
        Some(name) => {
            let mut letters = name.chars();
            let first = letters.next().map(char::to_uppercase).into_iter().flatten();
            format!(
                "{}{}: {}",
                String::from_iter(first),
                letters.as_str(),
                say(group)
            )
        }
    });
    said.collect::<Vec<_>>().join(" ")
}

/// One or two sentences: the ternary variant against the float one where there are both, and the [`winner`].
///
/// Groups have theirs one after the other.
pub fn headline(experiment: &Experiment) -> String {
    if let Some((float, ternary)) = experiment.twins() {
        return twins::sentence(experiment, float, ternary);
    }
    if experiment.is_grouped() {
        return of_groups(experiment, headline);
    }
    let winner = winner(experiment);
    let pick = Pick::of(experiment);
    // With two variants the winner's sentence says the same.
    if experiment.variants.len() <= 2 {
        return winner;
    }
    let (Some((float, float_score)), Some((ternary, ternary_score)), Some(gap)) =
        (pick.float, pick.ternary, pick.gap())
    else {
        return winner;
    };
    let style = Style::of(&experiment.metric);
    let how_sure = match gap.interval() {
        Some(_) => format!(
            ", paired by seed, 95 % interval {}",
            style.interval(&gap, pick.size(), true)
        ),
        None => format!("; {}", numbers::seeds(gap.n)),
    };
    format!(
        "Ternary ({}) reaches {} against {} in float ({}): {}{}{how_sure}. {winner}",
        ternary.words(),
        style.spread(&ternary_score),
        style.spread(&float_score),
        float.words(),
        style.gap(&gap, pick.size(), true),
        numbers::gap_unit(&experiment.metric),
    )
}
