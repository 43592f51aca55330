//! What stands around the numbers, in words: how to read them, exactness, limits, circumstances.

use bitnet_results::energy::MODELLED;
use bitnet_results::{Experiment, Run};

use crate::document::Fact;
use crate::format;
use crate::numbers::{self, Style};
use crate::tables;
use crate::winner::unranked;

/// How to read the main table.
pub(crate) fn reading(experiment: &Experiment) -> String {
    let runs = experiment.variants.iter().map(|v| v.runs.len());
    let (fewest, most) = (runs.clone().min().unwrap_or(0), runs.max().unwrap_or(0));
    let spread = match (fewest, most) {
        (_, 0) => "No runs.".to_owned(),
        (_, 1) => "One seed: no spread known.".to_owned(),
        (a, b) if a == b => format!(
            "Scores are means over {b} seeds ± one sample standard deviation, of the model as exported."
        ),
        (a, b) => format!(
            "Scores are means over {a} to {b} seeds ± one sample standard deviation, of the model as exported; where \
             there is no ±, one seed: no spread known."
        ),
    };
    let gap = match experiment.baseline() {
        _ if experiment.is_grouped() => {
            " Groups do not compare: gaps are differences to the float variant of the same group with the same seed; their \
             95 % interval is by Student’s t."
                .to_owned()
        }
        Some(baseline) if most > 1 => format!(
            " Gaps are differences to {} with the same seed; their 95 % interval is by Student’s t.",
            baseline.words()
        ),
        Some(baseline) => format!(
            " Gaps are differences to {} with the same seed.",
            baseline.words()
        ),
        None => String::new(),
    };
    let changes = match experiment.changes().iter().any(Option::is_some) {
        true => {
            " The change of a gap is that from the reference’s, seed by seed; p is of a paired t test, after Holm’s \
             correction for all of the column."
        }
        false => "",
    };
    format!(
        "{spread}{gap}{changes} Bold: the best mean. Times and speeds are means over runs, memory is the most of any run."
    )
}

/// The part of the validation split that the curves read, where that is not all of it, and of all runs the same.
pub(crate) fn curve_part(experiment: &Experiment) -> Option<String> {
    let mut runs = experiment.variants.iter().flat_map(|v| &v.runs);
    let first = runs.find_map(Run::curve_part)?;
    let same = |run: &Run| run.curve_part().is_none_or(|part| part == first);
    Some(if runs.all(same) {
        first
    } else {
        "a part of the split".to_owned()
    })
}

/// That curves are of a part of the split, where they are: their losses are not those of the tables.
pub(crate) fn in_part(experiment: &Experiment) -> String {
    match curve_part(experiment) {
        Some(part) => format!(
            " Evaluations on the way read {part} of the validation split: these losses compare with each other, not with \
             those of the whole split in the tables."
        ),
        None => String::new(),
    }
}

/// Whether the exported models are the trained ones.
pub(crate) fn exactness(experiment: &Experiment) -> Vec<String> {
    let mut sentences = vec![exported(experiment)];
    for variant in &experiment.variants {
        let matches = variant
            .runs
            .iter()
            .filter_map(|run| run.text.as_ref()?.token_match);
        let (compared, equal) = matches.fold((0, 0), |(c, e), m| (c + m.compared, e + m.equal));
        if compared > 0 {
            let name = variant.words();
            let [e, c, differ] = [equal, compared, compared - equal].map(format::integer);
            sentences.push(match equal == compared {
                true => format!(
                    "{name}: packed, it picks the same token as the fake-quantised model it was trained as at all {c} positions \
                     compared."
                ),
                false => format!(
                    "{name}: packed, it picks the same token as the fake-quantised model it was trained as at {e} of {c} \
                     positions ({differ} differ)."
                ),
            });
        }
    }
    sentences
}

/// Whether the exported model is the trained one.
fn exported(experiment: &Experiment) -> String {
    let runs = experiment.variants.iter().flat_map(|v| &v.runs);
    let differences = runs.filter_map(|run| Some((run.score - run.trained_score?).abs()));
    let finite: Vec<f64> = differences.filter(|d| d.is_finite()).collect();
    if finite.is_empty() {
        return "The score as trained was not recorded.".to_owned();
    }
    let most = finite.iter().copied().fold(0.0, f64::max);
    let unit = numbers::gap_unit(&experiment.metric);
    let digits = Style::of(&experiment.metric).difference(most, 1.0);
    format!(
        "The exported model’s score differs from that as trained by at most {}{unit}, over {}.",
        digits.trim_start_matches('+'),
        match finite.len() {
            1 => "one run".to_owned(),
            runs => format!("{runs} runs"),
        }
    )
}

/// What the energy numbers rest on; nothing where nothing was modelled.
pub(crate) fn energy_assumptions(experiment: &Experiment) -> Vec<String> {
    let runs = || experiment.variants.iter().flat_map(|v| &v.runs);
    if runs().all(|run| run.modelled.is_empty()) {
        return Vec::new();
    }
    let metered = runs().any(|run| run.energy_joules.is_some());
    vec![
        format!(
            "The energy of the arithmetic is {MODELLED}: operations for one token or example, times published picojoules per \
             operation (Horowitz 2014 for 45 nm, the BitNet papers for 7 nm)."
        ),
        "A float weight costs a multiplication and an addition; a ternary weight costs one 8-bit addition, plus one float \
         multiplication per input and per output for the scales."
            .to_owned(),
        "The linear layers alone are what the papers quote. A whole model adds the output head and attention, which stay \
         float in both. Norms, softmax and moving the weights through memory are left out of both, and no CPU spends energy \
         this way: it is what hardware made for it could save."
            .to_owned(),
        match metered {
            true => "Measured joules come from the processor’s own meter and include everything the machine did meanwhile.".to_owned(),
            false => "Nothing was measured: there was no energy meter it could read.".to_owned(),
        },
    ]
}

/// Limits that follow from the numbers.
pub(crate) fn limits(experiment: &Experiment) -> Vec<String> {
    let mut limits = unranked(experiment);
    let runs = experiment.variants.iter().map(|v| v.runs.len());
    match runs.max().unwrap_or(0) {
        0 => {}
        1 => limits.push(
            "One seed: no spread known. A gap of the size that another seed would have made looks the same as a real one."
                .to_owned(),
        ),
        n if n <= 5 => limits.push(format!(
            "{} give a rough idea of the spread; the standard deviation itself is uncertain.",
            numbers::seeds(n)
        )),
        _ => {}
    }
    if experiment.variants.len() > 2 {
        limits.push(
            "The intervals are not corrected for the number of variants: the best of many is partly the luckiest."
                .to_owned(),
        );
    }
    for variant in &experiment.variants {
        let Some(teacher) = &variant.teacher else {
            continue;
        };
        limits.push(format!(
            "{} learned from a trained {} too: its training time counts both trainings, its steps and its speed only its own.",
            variant.words(),
            teacher
        ));
    }
    if tables::grid_table(experiment).is_some() {
        limits.push(
            "Learning rates were chosen on the validation split under the first seed, one run each.".to_owned(),
        );
    }
    limits.push(
        "Times, speeds and memory are of this machine and this backend; latent weights, gradients and optimiser are float for all variants."
            .to_owned(),
    );
    limits.extend(of_comparison(experiment));
    limits
}

/// Limits of speeds in turns, and of comparisons.
fn of_comparison(experiment: &Experiment) -> Vec<String> {
    let mut limits = Vec::new();
    let speeds = || experiment.variants.iter().filter_map(|v| v.speed.as_ref());
    let turns = speeds()
        .map(|s| s.decode_tps.len().max(s.latency_ms.len()))
        .max()
        .unwrap_or(0);
    if turns > 0 {
        let waited = match experiment.waited {
            Some(waited) => format!(
                " Meanwhile the process’s threads waited {} of the time for a core that something else had.",
                format::percent(waited)
            ),
            None => String::new(),
        };
        limits.push(format!(
            "Speeds were measured in {turns} turns, one model after the other in each, by one process; ± is half the range from the \
             slowest to the fastest turn. A ratio is the median over turns. Its interval leaves out as many of the lowest and of the \
             highest ratios as keeps it a 95 % interval of the median (order statistics); where it is wide, or there are fewer than \
             6 turns, the ratio is open.{waited}"
        ));
    }
    let text = experiment
        .variants
        .iter()
        .find_map(|v| v.runs.first()?.text.as_ref()?.engine.as_ref());
    if let Some(engine) = text {
        limits.push(format!(
            "Speed, samples and probe questions are those of the CPU engine ({engine}), which runs all variants without a tensor \
             library; its loss is in the table, so what a narrower head costs shows."
        ));
    }
    let examples = experiment
        .variants
        .iter()
        .find_map(|v| v.runs.first()?.engine.as_ref());
    if let Some(kernel) = examples {
        limits.push(format!(
            "The exported models were scored and timed on the CPU engine ({kernel}), and as they were trained on Burn’s tensors, \
             whose sums have another order."
        ));
    }
    let Some((_, ternary)) = experiment.twins() else {
        return limits;
    };
    limits.push(
        "Both saw the same data in the same order and were scored by the same code, but each has its own learning rate: one shared \
         rate cripples one of them. Neither rate is claimed to be the best possible."
            .to_owned(),
    );
    if ternary.params > 0 {
        let share = ternary.ternary_weights as f64 / ternary.params as f64;
        limits.push(format!(
            "{} of the {} model’s parameters are ternary; embeddings, norms and output head stay float. Savings apply to that \
             share, and a model of another size or vocabulary has another one.",
            format::percent(share),
            ternary.name
        ));
    }
    limits
}

/// How it was run, as name and text; what is not known is left out.
pub(crate) fn circumstances(experiment: &Experiment) -> Vec<Fact> {
    let machine = &experiment.machine;
    let cores = match machine.cores {
        0 => String::new(),
        1 => "1 core".to_owned(),
        n => format!("{n} cores"),
    };
    let computer = [&machine.cpu, &cores, &machine.os, &machine.kernel];
    let computer: Vec<&str> = computer
        .into_iter()
        .map(String::as_str)
        .filter(|part| !part.is_empty())
        .collect();
    let seeds: Vec<String> = experiment.seeds.iter().map(u64::to_string).collect();
    let fact = |name: &str, text: String| Fact {
        name: name.to_owned(),
        text,
    };
    let mut facts = vec![
        fact("Task", experiment.task.clone()),
        fact("Data", experiment.data.clone()),
        fact("Seeds", seeds.join(", ")),
        fact("Backend", experiment.backend.clone()),
        fact("Machine", computer.join(", ")),
        fact("Date", experiment.date.clone()),
        fact("Version", experiment.version.clone()),
    ];
    if experiment.twins().is_some() {
        let optim = experiment.variants.iter();
        facts.extend(optim.map(|v| fact(&format!("Optimiser, {}", v.name), v.optim.join("; "))));
    }
    facts.retain(|fact| !fact.text.is_empty());
    facts
}
