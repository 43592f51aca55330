//! An experiment's report, written from its summary alone.
//!
//! The report answers in the order of a reader's patience: the sentence, the question and what it means, the main table,
//! the pictures, the fairness of the comparison (rates, seeds, equal time, equal bytes), and how to do it again.

use std::io;
use std::path::Path;

use super::headline::headline;
use super::numbers::{self, Style};
use super::plots::{Figure, figures};
use super::run::Run;
use super::summary::Experiment;
use super::tables;
use super::winner::unranked;
use crate::escape;
use crate::svg::Placement;
use crate::table::Table;
use crate::write::write_atomic;

/// Writes `report.md` and the pictures it shows into `dir`, which is created if missing; each file appears whole or not
/// at all, the pictures first.
///
/// # Errors
///
/// The first error of the file system; files already written stay.
pub fn render(experiment: &Experiment, dir: &Path) -> io::Result<()> {
    std::fs::create_dir_all(dir)?;
    let figures = figures(experiment);
    for figure in &figures {
        let svg = figure.svg(Placement::Standalone);
        write_atomic(&dir.join(figure.file), svg.as_bytes())?;
    }
    let report = document(experiment, &figures);
    write_atomic(&dir.join("report.md"), report.as_bytes())
}

/// The report as GitHub-flavoured Markdown that refers to its pictures by name.
pub fn report_markdown(experiment: &Experiment) -> String {
    document(experiment, &figures(experiment))
}

fn document(experiment: &Experiment, figures: &[Figure]) -> String {
    let mut out = Page(format!("# {}\n", escape::markdown(experiment.heading())));
    out.bold(&headline(experiment));
    if !experiment.question.is_empty() {
        out.paragraph(&format!("Question: {}", experiment.question));
    }
    if !experiment.conclusion.is_empty() {
        out.heading("What it means");
        out.prose(&experiment.conclusion);
    }

    out.heading("Results");
    out.table(Some(tables::main_table(experiment)));
    out.paragraph(&reading(experiment));
    if let Some(table) = tables::metrics_table(experiment) {
        out.heading("Further metrics");
        out.table(Some(table));
    }
    if !figures.is_empty() {
        out.heading("Pictures");
        for figure in figures {
            let alt = escape::markdown(&figure.alt);
            out.0.push_str(&format!("\n![{alt}]({})\n", figure.file));
            out.paragraph(&figure.caption);
        }
    }
    if let Some(table) = tables::equal_time_table(experiment) {
        out.heading("After equal time");
        out.paragraph(&format!(
            "The loss of each variant, as trained, at the moment the fastest one was done: read off the mean curve \
             over seeds, between its points in a straight line. The learning-rate schedules were made for each \
             variant’s own end, so a slower one is cut off before its rate has decayed.{}",
            in_part(experiment)
        ));
        out.table(Some(table));
    }
    if let Some(table) = tables::equal_bytes_table(experiment) {
        out.heading("By bytes");
        out.table(Some(table));
    }
    if let Some(table) = tables::grid_table(experiment) {
        out.heading("Learning rates");
        out.paragraph("Scores on validation by learning rate; bold: the rate chosen.");
        out.table(Some(table));
        out.list(&tables::grid_notes(experiment));
    }
    if let Some(table) = tables::energy_table(experiment) {
        out.heading("Energy");
        out.table(Some(table));
    }
    out.heading("Every run");
    out.table(Some(tables::seeds_table(experiment)));
    out.paragraph(&exported(experiment));
    out.heading("What these numbers do not say");
    out.list(&limits(experiment));
    out.notes(&experiment.notes);
    reproduce(&mut out, experiment);
    out.0
}

/// How to read the main table.
fn reading(experiment: &Experiment) -> String {
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
    format!(
        "{spread}{gap} Bold: the best mean. Times and speeds are means over runs, memory is the most of any run."
    )
}

/// That curves are of a part of the split, where they are: their losses are not those of the tables.
pub(super) fn in_part(experiment: &Experiment) -> &'static str {
    let mut runs = experiment.variants.iter().flat_map(|v| &v.runs);
    match runs.any(Run::was_followed_in_part) {
        true => {
            " Evaluations on the way read the first part of the validation split: these losses compare with each \
             other, not with those of the whole split."
        }
        false => "",
    }
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

/// Limits that follow from the numbers.
fn limits(experiment: &Experiment) -> Vec<String> {
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
    for variant in experiment.variants.iter().filter(|v| !v.teacher.is_empty()) {
        limits.push(format!(
            "{} learned from a trained {} too: its training time counts both trainings, its steps and its speed only its own.",
            variant.words(),
            variant.teacher
        ));
    }
    if tables::grid_table(experiment).is_some() {
        limits.push(
            "Learning rates were chosen on the validation split under the first seed, one run each.".to_owned(),
        );
    }
    limits.push(
        "Times, speeds and memory are of this machine and this backend; latent weights, gradients and optimiser are float for both twins."
            .to_owned(),
    );
    limits
}

fn reproduce(out: &mut Page, experiment: &Experiment) {
    out.heading("How to reproduce it");
    if !experiment.command.is_empty() {
        out.block("sh", &experiment.command);
    }
    let machine = &experiment.machine;
    let cores = match machine.cores {
        0 => String::new(),
        n => format!("{n} cores"),
    };
    let computer = [&machine.cpu, &cores, &machine.os, &machine.kernel];
    let computer: Vec<&str> = computer
        .into_iter()
        .map(String::as_str)
        .filter(|part| !part.is_empty())
        .collect();
    let seeds: Vec<String> = experiment.seeds.iter().map(u64::to_string).collect();
    let facts = [
        ("Task", experiment.task.clone()),
        ("Data", experiment.data.clone()),
        ("Seeds", seeds.join(", ")),
        ("Backend", experiment.backend.clone()),
        ("Machine", computer.join(", ")),
        ("Date", experiment.date.clone()),
        ("Version", experiment.version.clone()),
    ];
    let facts = facts.iter().filter(|(_, text)| !text.is_empty());
    let facts: Vec<String> = facts
        .map(|(name, text)| format!("{name}: {text}"))
        .collect();
    out.list(&facts);
    let with_settings = |v: &&super::Variant| !v.settings.is_empty();
    let settings = experiment.variants.iter().filter(with_settings);
    let settings: Vec<String> = settings
        .map(|v| format!("{}: {}", v.name, v.settings.join(" ")))
        .collect();
    if !settings.is_empty() {
        out.paragraph("What makes each variant:");
        out.block("text", &settings.join("\n"));
    }
    if !experiment.config.is_empty() {
        let config = escape::fenced("toml", &experiment.config);
        out.0.push_str(&format!(
            "\n<details><summary>Configuration</summary>\n\n{config}\n</details>\n"
        ));
    }
}

/// Markdown under construction; text from outside is escaped on its way in.
pub(super) struct Page(pub String);

impl Page {
    pub fn heading(&mut self, title: &str) {
        self.0
            .push_str(&format!("\n## {}\n", escape::markdown(title)));
    }

    pub fn paragraph(&mut self, text: &str) {
        self.0.push_str(&format!("\n{}\n", escape::markdown(text)));
    }

    fn bold(&mut self, text: &str) {
        self.0
            .push_str(&format!("\n**{}**\n", escape::markdown(text)));
    }

    /// What an author wrote, with code between backticks: paragraphs separated by empty lines.
    pub fn prose(&mut self, text: &str) {
        let paragraphs = text.split("\n\n").map(str::trim);
        for paragraph in paragraphs.filter(|p| !p.is_empty()) {
            self.0
                .push_str(&format!("\n{}\n", escape::authored(paragraph)));
        }
    }

    pub fn list(&mut self, items: &[String]) {
        self.items(items, escape::markdown);
    }

    /// A list that an author wrote, with code between backticks.
    pub fn notes(&mut self, items: &[String]) {
        self.items(items, escape::authored);
    }

    fn items(&mut self, items: &[String], escaped: impl Fn(&str) -> String) {
        for (i, item) in items.iter().enumerate() {
            let gap = if i == 0 && !self.0.ends_with("- \n") {
                "\n"
            } else {
                ""
            };
            self.0
                .push_str(&format!("{gap}- {}\n", escaped(item.trim())));
        }
    }

    pub fn table(&mut self, table: Option<Table>) {
        if let Some(table) = table {
            self.0.push_str(&format!("\n{}", table.to_markdown()));
        }
    }

    fn block(&mut self, language: &str, text: &str) {
        self.0
            .push_str(&format!("\n{}", escape::fenced(language, text)));
    }
}
