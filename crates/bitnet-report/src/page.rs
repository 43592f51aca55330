//! The document of an experiment, from its summary alone.
//!
//! It answers in the order of a reader's patience: the sentence, the question and what it means, the main table, the
//! pictures, the fairness of the comparison (rates, seeds, equal time, equal bytes), and how to do it again. A
//! comparison, which is an experiment of two variants and one seed, has its variants side by side and what they wrote.

use bitnet_results::{Experiment, Sample};

use crate::charts::{self, Group};
use crate::document::{Block, Document, Section, Written};
use crate::headline::{headline, tiles};
use crate::notes;
use crate::scaling::Laws;
use crate::table::Table;
use crate::tables;

/// The document, and its pictures.
pub(crate) fn document(experiment: &Experiment) -> (Document, Vec<Group>) {
    let groups = charts::groups(experiment);
    let compares = experiment.twins().is_some();
    let mut sections = Sections(Vec::new());
    if !experiment.question.is_empty() {
        sections.add(
            "",
            [Block::paragraph(format!(
                "Question: {}",
                experiment.question
            ))],
        );
    }
    sections.add("What it means", Block::authored(&experiment.conclusion));
    let (title, reading) = match compares {
        true => (
            "Side by side",
            "Bold: the better of the two. Sizes in decimal units.".to_owned(),
        ),
        false => ("Results", notes::reading(experiment)),
    };
    sections.add(
        title,
        [
            Block::table(tables::main_table(experiment)),
            Block::note(reading),
        ],
    );
    if !compares {
        sections.table("Further metrics", "", tables::metrics_table(experiment));
    }
    for group in &groups {
        let more = match group.title {
            charts::COSTS => costs(experiment),
            charts::SIZES => laws(experiment),
            _ => Vec::new(),
        };
        let figures = Block::figures(&group.figures);
        sections.add(group.title, std::iter::once(figures).chain(more));
    }
    if !compares {
        let equal_time = format!(
            "The loss of each variant, as trained, at the moment the fastest one was done: read off the mean curve over seeds, \
             between its points in a straight line. The learning-rate schedules were made for each variant’s own end, so a \
             slower one is cut off before its rate has decayed.{}",
            notes::in_part(experiment)
        );
        sections.table(
            "After equal time",
            &equal_time,
            tables::equal_time_table(experiment),
        );
        sections.table("By bytes", "", tables::equal_bytes_table(experiment));
    }
    if let Some(table) = tables::grid_table(experiment) {
        let intro =
            Block::paragraph("Scores on validation by learning rate; bold: the rate chosen.");
        let notes = Block::List {
            items: tables::grid_notes(experiment),
            authored: false,
        };
        sections.add("Learning rates", [intro, Block::table(table), notes]);
    }
    sections.add("Energy", energy(experiment));
    sections.add("Samples", samples(experiment));
    if !compares {
        sections.add("Every run", [Block::table(tables::seeds_table(experiment))]);
    }
    let exactness = notes::exactness(experiment)
        .into_iter()
        .map(Block::paragraph);
    sections.add("Is the exported model the trained one?", exactness);
    let limits = Block::List {
        items: notes::limits(experiment),
        authored: false,
    };
    let notes = Block::List {
        items: experiment.notes.clone(),
        authored: true,
    };
    sections.add("What these numbers do not say", [limits, notes]);
    sections.add("How to reproduce it", reproduce(experiment));

    let kicker = [
        format!("bitnet {}", experiment.version),
        experiment.date.clone(),
        experiment.machine.cpu.clone(),
    ];
    let kicker: Vec<String> = kicker
        .into_iter()
        .filter(|part| !part.trim().is_empty())
        .collect();
    let document = Document {
        title: experiment.heading().to_owned(),
        kicker: kicker.join(" · "),
        headline: headline(experiment),
        tiles: tiles(experiment),
        sections: sections.0,
    };
    (document, groups)
}

struct Sections(Vec<Section>);

impl Sections {
    /// A section, unless it is empty.
    fn add(&mut self, title: &str, blocks: impl IntoIterator<Item = Block>) {
        let empty = |block: &Block| matches!(block, Block::List { items, .. } if items.is_empty());
        let blocks: Vec<Block> = blocks.into_iter().filter(|block| !empty(block)).collect();
        if !blocks.is_empty() {
            let title = title.to_owned();
            self.0.push(Section { title, blocks });
        }
    }

    /// A section of a table, unless there is none, and what introduces it.
    fn table(&mut self, title: &str, intro: &str, table: Option<Table>) {
        let Some(table) = table else { return };
        let intro = (!intro.is_empty()).then(|| Block::paragraph(intro));
        self.add(title, intro.into_iter().chain([Block::table(table)]));
    }
}

/// What stands under the pictures of a frontier.
fn costs(experiment: &Experiment) -> Vec<Block> {
    let sentences = Block::List {
        items: tables::frontier_sentences(experiment),
        authored: false,
    };
    let mut blocks = vec![sentences];
    if let Some(table) = tables::frontier_table(experiment) {
        blocks.push(Block::table(table));
        blocks.push(Block::note(
            "Between two sizes a curve is a straight line over the logarithm of what is paid, seed by seed; beyond its ends it \
             says nothing. How far a curve is behind the best one is paired by seed, its 95 % interval by Student’s t.",
        ));
    }
    if let Some(table) = tables::formats_table(experiment) {
        blocks.push(Block::table(table));
        blocks.push(Block::note(
            "Formats are stored from the trained model by rounding, and scored as the CPU engine runs the file. The change is \
             to the program’s own export of the same run.",
        ));
    }
    blocks
}

/// What stands under the pictures of a law of size.
fn laws(experiment: &Experiment) -> Vec<Block> {
    let Some(laws) = Laws::of(experiment) else {
        return Vec::new();
    };
    let note = "L(N) = a + b · N^−c over all parameters N, by least squares of the means. In brackets the middle 95 % of 1,000 fits \
                to seeds drawn anew at each size. TriLM’s laws (arXiv 2407.12327) are of other text, in nats per token of about \
                four characters: exponents and shares compare with these, floors and factors do not.";
    let tables = [
        tables::laws_table(&laws),
        tables::predictions_table(&laws),
        tables::gaps_table(&laws),
    ];
    let blocks = tables.into_iter().flatten().map(Block::table);
    blocks.chain([Block::note(note)]).collect()
}

fn energy(experiment: &Experiment) -> Vec<Block> {
    let assumptions = notes::energy_assumptions(experiment);
    let table = tables::energy_table(experiment);
    if experiment.twins().is_none() {
        return table.map(Block::table).into_iter().collect();
    }
    let mut blocks: Vec<Block> = assumptions.into_iter().map(Block::paragraph).collect();
    blocks.extend(table.map(|table| Block::Details {
        summary: "All widths and processes",
        table: Some(table),
        language: "",
        text: String::new(),
    }));
    blocks
}

/// For each prompt, what every variant's first run wrote.
fn samples(experiment: &Experiment) -> Vec<Block> {
    let colours = charts::colours(&experiment.variants);
    let of_variant = |at: usize| -> &[Sample] {
        let run = experiment.variants[at].runs.first();
        run.and_then(|run| run.text.as_ref())
            .map_or(&[], |text| &text.samples)
    };
    let mut prompts: Vec<&str> = Vec::new();
    for sample in (0..experiment.variants.len()).flat_map(of_variant) {
        if !prompts.contains(&sample.prompt.as_str()) {
            prompts.push(&sample.prompt);
        }
    }
    let block = |prompt: &str| {
        let written = experiment
            .variants
            .iter()
            .enumerate()
            .flat_map(|(at, variant)| {
                let matching = of_variant(at)
                    .iter()
                    .filter(|sample| sample.prompt == prompt);
                let colour = colours[at];
                matching.map(move |sample| Written {
                    name: variant.name.clone(),
                    colour,
                    text: sample.text.clone(),
                })
            });
        Block::Samples {
            prompt: prompt.to_owned(),
            written: written.collect(),
        }
    };
    let note = Block::note("The prompt is bold on the page; the rest is what each model wrote.");
    let blocks: Vec<Block> = prompts.into_iter().map(block).collect();
    (!blocks.is_empty())
        .then_some(note)
        .into_iter()
        .chain(blocks)
        .collect()
}

fn reproduce(experiment: &Experiment) -> Vec<Block> {
    let code = |language, text: String| Block::Code { language, text };
    let mut blocks = Vec::new();
    if !experiment.command.is_empty() {
        blocks.push(code("sh", experiment.command.clone()));
    }
    let facts = notes::circumstances(experiment);
    blocks.push(Block::Facts { facts });
    let settings = experiment
        .variants
        .iter()
        .filter(|v| !v.settings.is_empty());
    let settings: Vec<String> = settings
        .map(|v| format!("{}: {}", v.name, v.settings.join(" ")))
        .collect();
    if !settings.is_empty() {
        blocks.push(Block::paragraph("What makes each variant:"));
        blocks.push(code("text", settings.join("\n")));
    }
    if !experiment.config.is_empty() {
        blocks.push(Block::Details {
            summary: "Configuration",
            table: None,
            language: "toml",
            text: experiment.config.clone(),
        });
    }
    blocks
}
