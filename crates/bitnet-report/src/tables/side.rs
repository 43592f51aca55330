//! Variants side by side: one quantity a row, formatted, compared, the better value marked.

use bitnet_results::statistics::median;
use bitnet_results::{Experiment, Run, Speed, TextMeasures, Variant};

use super::{label, none, positive, unit};
use crate::format;
use crate::numbers::{self, Style};
use crate::speeds::{self, Compared};
use crate::table::{Cell, Section, Table};

/// Which of two values is the better one.
#[derive(Clone, Copy)]
enum Better {
    Lower,
    Higher,
    Neither,
}

/// What the last column says about a pair of values.
#[derive(Clone, Copy)]
enum Versus {
    /// Ternary over float.
    Ratio,
    /// Ternary minus float, with so many decimals.
    Difference(usize),
    /// Nothing: the quantity has no meaningful comparison.
    Nothing,
}

/// Quality, size, speed and training of every variant's first run, with the ratio between float and ternary.
///
/// Rows that nobody has a value for are left out; the better value of a row is marked unless both read the same. Of
/// timings a ratio is given only where they were taken in turns, and as an interval.
pub fn side_by_side(experiment: &Experiment) -> Table {
    let sections = [
        quality(experiment),
        size(experiment),
        inference(experiment),
        training(experiment),
        modelled(experiment),
    ];
    let names = experiment.variants.iter().map(|v| label(v).text);
    let versus = experiment.twins().map(|_| "ternary vs float".to_owned());
    Table {
        header: std::iter::once(String::new())
            .chain(names)
            .chain(versus)
            .collect(),
        sections: sections
            .into_iter()
            .filter(|s| !s.rows.is_empty())
            .collect(),
    }
}

fn quality(experiment: &Experiment) -> Section {
    use Better::{Higher, Lower, Neither};
    use Versus::{Difference, Nothing, Ratio};
    let metric = &experiment.metric;
    let style = Style::of(metric);
    let better = if metric.higher_is_better {
        Higher
    } else {
        Lower
    };
    let score = |v: f64| style.single(v);
    let versus = if metric.percent {
        Versus::Nothing
    } else {
        Difference(4)
    };
    let fixed = |v| format::fixed(v, 4);
    let nats = |what: &str| match metric.unit.as_str() {
        "nats per token" => format!("{what}, nats/token"),
        _ => what.to_owned(),
    };
    // A language model is scored on the validation split; the curves may have read a part of it.
    let is_text = experiment.task == "lm";
    let name = match is_text {
        true => nats(&format!("{}, whole split", metric.words())),
        false => metric.words().to_owned(),
    };
    let mut rows = Rows::new(experiment, "Quality");
    rows.run(
        &format!("{name}, exported model"),
        |r| Some(r.score),
        score,
        versus,
        better,
    );
    rows.run(
        &format!("{name}, as trained"),
        |r| r.trained_score.or(Some(r.score)),
        score,
        versus,
        better,
    );
    rows.text(
        &format!("{name}, as the CPU engine runs it"),
        |t| t.engine_loss,
        fixed,
        Difference(4),
        Lower,
    );
    if !is_text {
        let label = "Validation loss, whole split";
        rows.run(label, |r| Some(r.val?.loss), fixed, Difference(4), Lower);
    }
    let part = crate::notes::curve_part(experiment);
    let before = match &part {
        Some(part) => nats(&format!("Validation loss before training, {part}")),
        None => nats("Validation loss before training"),
    };
    rows.run(
        &before,
        |r| r.initial_val_loss,
        fixed,
        Difference(4),
        Neither,
    );
    for key in [
        "bits_per_byte",
        "perplexity",
        "bleu",
        "macro_f1",
        "exact_match",
        "accuracy",
    ] {
        if key == metric.key {
            continue;
        }
        let (higher, share) = (
            !matches!(key, "bits_per_byte" | "perplexity"),
            super::detail::is_share(key),
        );
        let write = move |v: f64| match (share, key) {
            (true, _) => format::percent(v),
            (_, "bits_per_byte") => format::fixed(v, 4),
            _ => format::fixed(v, 3),
        };
        let title = match (key, experiment.task.as_str()) {
            ("accuracy", "lm" | "translate" | "synthetic") => "next token right".to_owned(),
            _ => super::detail::words(key),
        };
        let better = if higher { Higher } else { Lower };
        rows.run(
            &title,
            move |r| r.metrics.get(key).copied(),
            write,
            Ratio,
            better,
        );
    }
    for key in ["majority_accuracy", "naive_bayes_accuracy"] {
        rows.run(
            &format!("To beat: {}", super::detail::words(key)),
            move |r| r.metrics.get(key).copied(),
            format::percent,
            Nothing,
            Neither,
        );
    }
    let probes = |t: &TextMeasures| {
        t.probes
            .filter(|p| p.asked > 0)
            .map(|p| p.right as f64 / p.asked as f64)
    };
    rows.text(
        "Probe questions right",
        probes,
        format::percent,
        Ratio,
        Higher,
    );
    rows.section
}

fn size(experiment: &Experiment) -> Section {
    use Better::{Lower, Neither};
    use Versus::{Nothing, Ratio};
    let counted = |n: u64| (n > 0).then_some(n as f64);
    let bytes = |v: f64| format::bytes(v as u64);
    let count = |v: f64| format::count(v as u64);
    let mut rows = Rows::new(experiment, "Size");
    rows.variant("Parameters", |v| counted(v.params), count, Ratio, Neither);
    rows.variant(
        "… of which ternary",
        |v| Some(v.ternary_weights as f64),
        count,
        Nothing,
        Neither,
    );
    let bits = |v: &Variant| counted(v.ternary_weights).map(|n| 8.0 * v.packed_bytes as f64 / n);
    rows.variant(
        "Bits per ternary weight",
        bits,
        |v| format::fixed(v, 2),
        Nothing,
        Neither,
    );
    rows.variant(
        "Linear-layer weights (float: f32)",
        |v| counted(v.packed_bytes),
        bytes,
        Ratio,
        Lower,
    );
    let half = |v: &Variant| {
        counted(if v.ternary_weights > 0 {
            v.packed_bytes
        } else {
            v.packed_bytes / 2
        })
    };
    rows.variant(
        "Linear-layer weights (float: f16)",
        half,
        bytes,
        Ratio,
        Lower,
    );
    rows.variant("Model file", |v| counted(v.file_bytes), bytes, Ratio, Lower);
    rows.section
}

fn inference(experiment: &Experiment) -> Section {
    use Better::{Higher, Lower};
    let mut rows = Rows::new(experiment, "Inference");
    rows.turns("Prefill", |s| &s.prefill_tps, format::rate, Higher);
    rows.turns("Decode", |s| &s.decode_tps, format::rate, Higher);
    rows.turns(
        "Answer to one example",
        |s| &s.latency_ms,
        numbers::milliseconds,
        Lower,
    );
    let memory = |r: &Run| r.inference_peak_rss_bytes.map(|n| n as f64);
    rows.run(
        "Peak memory",
        memory,
        |v| format::bytes(v as u64),
        Versus::Ratio,
        Lower,
    );
    rows.section
}

fn training(experiment: &Experiment) -> Section {
    use Better::{Lower, Neither};
    use Versus::{Nothing, Ratio};
    let count = |v: f64| format::count(v as u64);
    let unit = unit(experiment);
    let seen = if unit == "tok" {
        "Tokens seen"
    } else {
        "Examples seen"
    };
    let mut rows = Rows::new(experiment, "Training");
    rows.variant(
        "Learning rate",
        |v| positive(v.learning_rate),
        numbers::rate,
        Nothing,
        Neither,
    );
    rows.run(
        "Steps",
        |r| Some(r.steps as f64),
        |v| format::integer(v as u64),
        Nothing,
        Neither,
    );
    rows.run(seen, |r| Some(r.tokens as f64), count, Nothing, Neither);
    rows.turns(
        "Time of a step",
        |s| &s.step_ms,
        numbers::milliseconds,
        Lower,
    );
    rows.run(
        "Time, whole training",
        |r| positive(r.total_seconds()),
        format::seconds,
        Nothing,
        Neither,
    );
    rows.run(
        "Throughput, whole training",
        |r| positive(r.tokens_per_second),
        |v| format::rate_of(unit, v),
        Nothing,
        Neither,
    );
    rows.run(
        "Peak memory",
        |r| r.peak_rss_bytes.map(|n| n as f64),
        |v| format::bytes(v as u64),
        Ratio,
        Lower,
    );
    rows.run(
        "Energy, measured",
        |r| r.energy_joules,
        |j| format::picojoules(j * 1e12),
        Ratio,
        Lower,
    );
    rows.section
}

/// The pair that the papers quote; the other widths and processes are in [`super::energy_table`].
fn modelled(experiment: &Experiment) -> Section {
    use bitnet_results::energy::{
        FloatWidth, LINEAR_LAYERS, MODELLED, Process, WHOLE_MODEL, label,
    };
    let mut rows = Rows::new(
        experiment,
        &format!("Energy for a token or example, {MODELLED}"),
    );
    for part in [LINEAR_LAYERS, WHOLE_MODEL] {
        let key = label(part, FloatWidth::Fp16, Process::Nm7);
        let of = |r: &Run| r.modelled.get(&key).copied();
        rows.run(&key, of, format::picojoules, Versus::Ratio, Better::Lower);
    }
    rows.section
}

/// Turns one quantity of every variant into a row.
struct Rows<'a> {
    experiment: &'a Experiment,
    section: Section,
}

impl<'a> Rows<'a> {
    fn new(experiment: &'a Experiment, title: &str) -> Self {
        let section = Section {
            title: title.to_owned(),
            rows: Vec::new(),
        };
        Self {
            experiment,
            section,
        }
    }

    /// Adds a row of what the variants are.
    fn variant(
        &mut self,
        label: &str,
        of: impl Fn(&Variant) -> Option<f64>,
        write: impl Fn(f64) -> String,
        versus: Versus,
        better: Better,
    ) {
        let cell = |value: f64| Cell::number(write(value), value);
        let pair = self
            .experiment
            .twins()
            .and_then(|(f, t)| Some((of(f)?, of(t)?)));
        let last = pair.map_or_else(|| Cell::text(""), |pair| against(pair, versus));
        let best = pair.and_then(|(f, t)| {
            let told_apart = f.is_finite() && t.is_finite() && write(f) != write(t);
            better.of(f, t).filter(|_| told_apart)
        });
        let values: Vec<Option<f64>> = self.experiment.variants.iter().map(&of).collect();
        self.push(
            label,
            values.into_iter().map(|v| v.map(cell)).collect(),
            last,
            best,
        );
    }

    /// Adds a row of what the first run of each variant found.
    fn run(
        &mut self,
        label: &str,
        of: impl Fn(&Run) -> Option<f64>,
        write: impl Fn(f64) -> String,
        versus: Versus,
        better: Better,
    ) {
        self.variant(label, |v| of(v.runs.first()?), write, versus, better);
    }

    /// Adds a row of what was measured of language models.
    fn text(
        &mut self,
        label: &str,
        of: impl Fn(&TextMeasures) -> Option<f64>,
        write: impl Fn(f64) -> String,
        versus: Versus,
        better: Better,
    ) {
        self.run(label, |r| of(r.text.as_ref()?), write, versus, better);
    }

    /// Adds a row of timings: the median over turns, half the range between the slowest and the fastest, and the
    /// interval of the ratio.
    fn turns(
        &mut self,
        label: &str,
        of: fn(&Speed) -> &Vec<f64>,
        write: fn(f64) -> String,
        better: Better,
    ) {
        let cells = self.experiment.variants.iter().map(|variant| {
            let turns = of(variant.speed.as_ref()?);
            let (low, high) = turns.iter().fold((f64::INFINITY, 0f64), |(low, high), t| {
                (low.min(*t), high.max(*t))
            });
            let middle = median(turns);
            let half = format::percent((high - low) / 2.0 / middle);
            let text = format!("{} ± {half}", write(middle));
            (!turns.is_empty()).then(|| Cell::number(text, middle))
        });
        let cells = cells.collect();
        let outcome = self
            .experiment
            .twins()
            .and_then(|pair| speeds::compared(self.experiment, pair, of));
        let (last, best) = match outcome {
            None => (Cell::text(""), None),
            Some(Compared::Known(ratio, interval)) => {
                let text = format!(
                    "{} ({})",
                    format::ratio(ratio.median),
                    speeds::range(interval)
                );
                (
                    Cell::number(text, ratio.median),
                    better.of(1.0, ratio.median),
                )
            }
            Some(Compared::Alike(interval)) => (
                Cell::text(format!("even ({})", speeds::range(interval))),
                None,
            ),
            Some(Compared::Open) => (Cell::text("open"), None),
            Some(Compared::Busy) => (Cell::text("machine busy"), None),
        };
        self.push(label, cells, last, best);
    }

    /// `best` says whether the ternary variant is the better one.
    fn push(&mut self, label: &str, cells: Vec<Option<Cell>>, last: Cell, best: Option<bool>) {
        if cells.iter().all(Option::is_none) {
            return;
        }
        let twins = self.experiment.twins();
        let winner = twins
            .zip(best)
            .map(|((float, ternary), best)| if best { &ternary.name } else { &float.name });
        let mut row = vec![Cell::text(capitalised(label))];
        for (variant, cell) in self.experiment.variants.iter().zip(cells) {
            let mut cell = cell.unwrap_or_else(none);
            cell.best = winner == Some(&variant.name);
            row.push(cell);
        }
        row.extend(twins.map(|_| last));
        self.section.rows.push(row);
    }
}

impl Better {
    /// Whether the ternary value is better; `None` where neither is.
    fn of(self, float: f64, ternary: f64) -> Option<bool> {
        match self {
            Better::Lower => Some(ternary < float),
            Better::Higher => Some(ternary > float),
            Better::Neither => None,
        }
    }
}

/// With its first letter in upper case.
fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(char::to_uppercase).into_iter().flatten();
    String::from_iter(first) + letters.as_str()
}

fn against((float, ternary): (f64, f64), versus: Versus) -> Cell {
    let (text, value) = match versus {
        Versus::Nothing => return Cell::text(""),
        Versus::Ratio => (format::ratio(ternary / float), ternary / float),
        Versus::Difference(decimals) => {
            (format::signed(ternary - float, decimals), ternary - float)
        }
    };
    match value.is_finite() {
        true => Cell::number(text, value),
        false => none(),
    }
}
