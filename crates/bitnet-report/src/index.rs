//! The front page of a folder of experiments: one row and one paragraph each.

use std::io;
use std::path::Path;

use bitnet_results::statistics::Spread;
use bitnet_results::{Experiment, Linear, Variant, write_atomic};
use minijinja::context;
use minijinja::value::Serde;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;

use crate::charts;
use crate::document::paragraphs;
use crate::format::NONE;
use crate::headline::Pick;
use crate::numbers::{self, Style};
use crate::tables::frontier_sentences;
use crate::templates;
use crate::winner::winner;

/// How an index begins.
pub const INDEX_TITLE: &str = "# Experiments";

const INTRO: &str = "Each experiment asks one question, trains its variants with several seeds where time allowed, and reports \
the score of the model as exported; whether learning rates were searched for or given stands in each report. The numbers \
below are means over seeds ± one sample standard deviation, and the gap is ternary minus float, paired by seed. `bitnet \
experiment run experiments/NAME`, from the root of the repository, makes one again; the head of its run.toml says where \
the data is from.";

const NOISE: &str = "A word on noise. Training the same model twice with different seeds gives different scores, and a gap \
smaller than that difference says nothing. With the few seeds a small computer can afford, the spread itself is known \
only roughly; where the 95 % interval of a gap includes 0 the variants are called not separable, which does not mean that \
they are equal. Where one seed was run, no spread is known and the gap may be luck. Many comparisons are made here, and \
at 95 % about one in twenty would look real without being so. Where an experiment has several variants of a kind, the \
row names the ones compared: the baseline where it is float, otherwise the best float variant, against the best ternary \
variant of its size, with a teacher only where the float one had a teacher.";

/// Writes the index of `experiments` to `path`; reports are linked as `<name>/report.md`. What a person wrote of all of
/// them, as Markdown, stands before it. The folder is created if missing.
///
/// # Errors
///
/// The first error of the file system.
pub fn render_index(experiments: &[Experiment], overview: &str, path: &Path) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    write_atomic(path, index_markdown(experiments, overview).as_bytes())
}

/// A row of the index.
#[derive(Serialize)]
struct Row {
    title: String,
    question: String,
    metric: String,
    float: String,
    ternary: String,
    gap: String,
    verdict: &'static str,
    link: String,
}

/// A section of the index.
#[derive(Serialize)]
struct Entry {
    title: String,
    question: String,
    conclusion: Vec<String>,
    /// The answers of a frontier.
    answers: Vec<String>,
    /// Text and address of the picture that answers best, of a frontier or a law.
    picture: Option<(String, String)>,
    winner: String,
    link: String,
}

/// The index as GitHub-flavoured Markdown.
pub fn index_markdown(experiments: &[Experiment], overview: &str) -> String {
    let row = |experiment: &Experiment| {
        let pick = Pick::of(experiment);
        Row {
            title: experiment.heading().to_owned(),
            question: experiment.question.clone(),
            metric: metric(experiment),
            float: side(experiment, Linear::Float, pick.float),
            ternary: side(experiment, Linear::Ternary, pick.ternary),
            gap: gap(experiment, &pick),
            verdict: verdict(&pick, experiment),
            link: link(&experiment.name),
        }
    };
    let rows: Vec<Row> = experiments
        .iter()
        .flat_map(Experiment::groups)
        .map(|(_, group)| row(&group))
        .collect();
    let entries = experiments.iter().map(|experiment| Entry {
        title: experiment.heading().to_owned(),
        question: experiment.question.trim().to_owned(),
        conclusion: paragraphs(&experiment.conclusion)
            .map(str::to_owned)
            .collect(),
        answers: frontier_sentences(experiment),
        picture: picture(experiment),
        winner: winner(experiment),
        link: link(&experiment.name),
    });
    let entries: Vec<Entry> = entries.collect();
    templates::index(
        context! { title => INDEX_TITLE, overview => overview.trim(), intro => INTRO, noise => NOISE, rows => Serde(rows), experiments => Serde(entries) },
    )
}

/// The first picture of a frontier, or of laws of size.
fn picture(experiment: &Experiment) -> Option<(String, String)> {
    let mut groups = charts::groups(experiment).into_iter();
    let group = groups.find(|group| [charts::COSTS, charts::SIZES].contains(&group.title))?;
    let first = group.figures.into_iter().next()?;
    let folder = link(&experiment.name).replace("report.md", "");
    Some((first.alt, folder + first.file))
}

/// The metric with its direction, without which a gap has no meaning.
fn metric(experiment: &Experiment) -> String {
    let arrow = if experiment.metric.higher_is_better {
        "↑"
    } else {
        "↓"
    };
    format!("{} {arrow}", experiment.metric.words())
}

/// A score, with the variant's name where the experiment has more than one of the kind.
fn side(experiment: &Experiment, kind: Linear, picked: Option<(&Variant, Spread)>) -> String {
    let Some((variant, score)) = picked else {
        return NONE.to_owned();
    };
    let text = Style::of(&experiment.metric).spread(&score);
    let of_kind = experiment.variants.iter().filter(|v| v.linear == kind);
    if of_kind.count() > 1 {
        format!("{text} ({})", variant.name)
    } else {
        text
    }
}

fn gap(experiment: &Experiment, pick: &Pick) -> String {
    let Some(gap) = pick.gap() else {
        return NONE.to_owned();
    };
    let points = if experiment.metric.percent { " pp" } else { "" };
    let text = Style::of(&experiment.metric).gap(&gap, pick.size(), true);
    match gap.n {
        1 => format!("{text}{points} ({})", numbers::seeds(1)),
        _ => format!("{text}{points}"),
    }
}

/// In a few words, what the gap says.
fn verdict(pick: &Pick, experiment: &Experiment) -> &'static str {
    let Some(gap) = pick.gap() else {
        return "report";
    };
    let ternary_ahead = experiment.metric.lead(gap.mean, 0.0) > 0.0;
    match (gap.excludes_zero(), ternary_ahead) {
        (None, _) => "one seed, open",
        (Some(false), _) => "not separable",
        (Some(true), true) => "ternary is better",
        (Some(true), false) => "float is better",
    }
}

/// The report's address: everything but plain characters is encoded.
fn link(name: &str) -> String {
    const PLAIN: AsciiSet = NON_ALPHANUMERIC
        .remove(b'-')
        .remove(b'_')
        .remove(b'.')
        .remove(b'/');
    format!("{}/report.md", utf8_percent_encode(name, &PLAIN))
}
