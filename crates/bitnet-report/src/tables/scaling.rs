//! The laws of size, what they predict, and the gap between them.

use bitnet_results::scaling::{Fit, Law, TRILM};

use super::{none, spread_cell, table};
use crate::format;
use crate::numbers::Style;
use crate::scaling::Laws;
use crate::table::{Cell, Table};

/// A row for each law: its three numbers with their intervals, and those of TriLM.
pub(crate) fn laws_table(laws: &Laws) -> Option<Table> {
    let header = ["law of", "fitted to", "a", "b", "c", "largest residual"];
    let own = laws.curves.iter().filter_map(|curve| {
        let fit = curve.fit.as_ref()?;
        let fitted = || curve.sizes.iter().filter(|size| size.fitted);
        let residual = fitted()
            .filter_map(|size| Some((size.score?.mean - fit.law.at(size.parameters)).abs()));
        let sizes = fitted().map(|size| format::count(size.parameters as u64));
        let sizes: Vec<String> = sizes.collect();
        let largest = residual.fold(0.0, f64::max);
        Some(vec![
            Cell::text(&*curve.name),
            Cell::text(sizes.join(", ")),
            number(fit, |law| law.floor, 3),
            number(fit, |law| law.factor, 1),
            number(fit, |law| law.exponent, 3),
            Cell::number(format::fixed(largest, 4), largest),
        ])
    });
    let own: Vec<Vec<Cell>> = own.collect();
    let published = TRILM.iter().map(|(kind, law)| {
        let Law {
            floor,
            factor,
            exponent,
        } = *law;
        vec![
            Cell::text(format!("TriLM, {kind}")),
            Cell::text("99M to 3.9B"),
            Cell::number(format::fixed(floor, 2), floor),
            Cell::number(format::fixed(factor, 0), factor),
            Cell::number(format::fixed(exponent, 2), exponent),
            none(),
        ]
    });
    (!own.is_empty()).then(|| {
        let rows = own.into_iter().chain(published).collect();
        table(header.map(str::to_owned).into(), rows)
    })
}

/// `1.234 (1.200 to 1.250)`.
fn number(fit: &Fit, of: impl Fn(&Law) -> f64, decimals: usize) -> Cell {
    let value = of(&fit.law);
    Cell::number(
        with_interval(value, fit.interval(of), decimals, false),
        value,
    )
}

fn with_interval(value: f64, interval: Option<(f64, f64)>, decimals: usize, sign: bool) -> String {
    let write = |x| match sign {
        true => format::signed(x, decimals),
        false => format::fixed(x, decimals),
    };
    match interval {
        Some((low, high)) => format!("{} ({} to {})", write(value), write(low), write(high)),
        None => write(value),
    }
}

/// What the laws predict of sizes that they have not seen, and what was measured of them.
pub(crate) fn predictions_table(laws: &Laws) -> Option<Table> {
    let style = Style::percent(false);
    let header = [
        "size",
        "law of",
        "predicted",
        "measured",
        "measured less predicted",
    ];
    let mut rows = Vec::new();
    for curve in &laws.curves {
        let Some(fit) = &curve.fit else { continue };
        let trained = curve.sizes.iter().filter(|size| !size.fitted);
        let trained = trained.map(|size| (size.parameters, size.score));
        let planned = laws.predict.iter().map(|size| (*size as f64, None));
        for (size, score) in trained.chain(planned) {
            let predicted = fit.law.at(size);
            let interval = fit.interval(|law| law.at(size));
            let off = score.map(|score| score.mean - predicted);
            rows.push(vec![
                Cell::number(format::count(size as u64), size),
                Cell::text(&*curve.name),
                Cell::number(with_interval(predicted, interval, 3, false), predicted),
                score.map_or_else(|| Cell::text("not trained"), |s| spread_cell(&style, &s)),
                off.map_or_else(none, |off| Cell::number(format::signed(off, 4), off)),
            ]);
        }
    }
    rows.sort_by(|a, b| {
        a[0].value
            .partial_cmp(&b[0].value)
            .unwrap_or(std::cmp::Ordering::Equal)
    });
    (!rows.is_empty()).then(|| table(header.map(str::to_owned).into(), rows))
}

/// The gap by size: measured, by the two laws, and as a share of the loss beside TriLM's.
pub(crate) fn gaps_table(laws: &Laws) -> Option<Table> {
    let (base, other) = laws.pair()?;
    let style = Style::percent(false);
    let header = [
        "size",
        "gap, measured",
        "95 % interval",
        "gap of the laws",
        "share of the float loss",
    ];
    let share = |gap: f64, base: f64| Cell::number(format::percent(gap / base), gap / base);
    let mut rows: Vec<Vec<Cell>> = (laws.gaps(base, other).into_iter())
        .map(|gap| {
            let size = gap.base.unwrap_or(0.0);
            let measured = gap.measured.map_or_else(
                || [none(), none()],
                |measured| {
                    [
                        Cell::number(style.gap(&measured, size, true), measured.mean),
                        Cell::text(style.interval(&measured, size, true)),
                    ]
                },
            );
            let mut row = vec![Cell::number(format::count(gap.size as u64), gap.size)];
            row.extend(measured);
            row.push(gap.fitted.map_or_else(none, |(fitted, interval)| {
                Cell::number(with_interval(fitted, interval, 3, true), fitted)
            }));
            row.push(match (gap.fitted, gap.base) {
                (Some((fitted, _)), Some(base)) => share(fitted, base),
                _ => none(),
            });
            row
        })
        .collect();
    let [(_, float), (_, ternary)] = TRILM;
    for size in [99e6, 3.9e9] {
        let (loss, gap) = (float.at(size), ternary.at(size) - float.at(size));
        rows.push(vec![
            Cell::text(format!("{}, TriLM", format::count(size as u64))),
            none(),
            none(),
            Cell::number(format::signed(gap, 3), gap),
            share(gap, loss),
        ]);
    }
    (rows.len() > 2).then(|| table(header.map(str::to_owned).into(), rows))
}
