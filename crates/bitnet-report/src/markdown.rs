//! `report.md`: the report for a repository page or a terminal pager; charts are files beside it.

use crate::charts::{self, Figure};
use crate::escape;
use crate::notes::{self, Written};
use crate::story;
use crate::summary::Summary;
use crate::tables::{energy_table, main_table};

/// Renders the report as GitHub-flavoured Markdown that refers to the SVG files by name.
pub fn render_markdown(summary: &Summary) -> String {
    let mut out = format!(
        "# {}\n\n**{}**\n",
        escape::markdown(&title(summary)),
        escape::markdown(&story::headline(summary))
    );
    out.push_str(&format!("\n{}", main_table(summary).to_markdown()));
    out.push_str(
        "\nBold: the better of the two. Losses in nats per token; sizes in decimal units.\n",
    );

    let learning = charts::learning(summary);
    if !learning.is_empty() {
        out.push_str("\n## Learning\n\n");
        learning
            .iter()
            .for_each(|figure| out.push_str(&image(figure)));
    }
    let resources: Vec<Figure> = [charts::memory(summary), charts::speed(summary)]
        .into_iter()
        .flatten()
        .collect();
    if !resources.is_empty() {
        out.push_str("\n## Memory and speed\n\n");
        resources
            .iter()
            .for_each(|figure| out.push_str(&image(figure)));
    }
    section(
        &mut out,
        "Is the exported model the trained one?",
        &notes::exactness(summary),
        false,
    );
    if let Some(figure) = charts::energy(summary) {
        section(
            &mut out,
            "Energy, modelled",
            &notes::energy_assumptions(summary),
            false,
        );
        out.push_str(&format!(
            "\n{}\n{}",
            image(&figure),
            energy_table(summary).to_markdown()
        ));
    }
    samples(&mut out, summary);
    section(
        &mut out,
        "What these numbers do not say",
        &notes::caveats(summary),
        true,
    );
    run(&mut out, summary);
    out
}

/// The report's title, for the page and the browser's tab.
pub(crate) fn title(summary: &Summary) -> String {
    if summary.name.is_empty() {
        "Float and ternary twins".to_owned()
    } else {
        format!("Float and ternary twins: {}", summary.name)
    }
}

fn image(figure: &Figure) -> String {
    format!("![{}]({})\n", escape::markdown(&figure.alt), figure.file)
}

fn section(out: &mut String, title: &str, sentences: &[String], list: bool) {
    if sentences.is_empty() {
        return;
    }
    out.push_str(&format!("\n## {title}\n\n"));
    let text: Vec<String> = sentences.iter().map(|s| escape::markdown(s)).collect();
    if list {
        text.iter()
            .for_each(|sentence| out.push_str(&format!("- {sentence}\n")));
    } else {
        out.push_str(&format!("{}\n", text.join("\n\n")));
    }
}

fn samples(out: &mut String, summary: &Summary) {
    let samples = notes::samples(summary);
    if samples.is_empty() {
        return;
    }
    out.push_str("\n## Samples\n");
    for (prompt, written) in samples {
        out.push_str(&format!("\nPrompt:\n\n{}", escape::fenced("text", prompt)));
        for Written { twin, text, .. } in written {
            out.push_str(&format!(
                "\n{}:\n\n{}",
                escape::markdown(&twin.name),
                escape::fenced("text", text)
            ));
        }
    }
}

fn run(out: &mut String, summary: &Summary) {
    out.push_str("\n## How it was run\n\n");
    for (label, text) in notes::circumstances(summary) {
        out.push_str(&format!(
            "- {}: {}\n",
            escape::markdown(&label),
            escape::markdown(&text)
        ));
    }
    if !summary.command.is_empty() {
        out.push_str(&format!("\n{}", escape::fenced("sh", &summary.command)));
    }
    if !summary.config.is_empty() {
        let config = escape::fenced("toml", &summary.config);
        out.push_str(&format!(
            "\n<details><summary>Resolved configuration</summary>\n\n{config}\n</details>\n"
        ));
    }
}
