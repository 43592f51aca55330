//! `report.html`: one file that needs nothing else, no script, no font, no network.

use crate::charts::{self, Figure};
use crate::escape;
use crate::markdown::title;
use crate::notes::{self, Written};
use crate::story;
use crate::summary::Summary;
use crate::svg::{self, Placement};
use crate::tables::{energy_table, main_table};

/// The page's own rules; chart colours come from [`svg::class_rules`], so that they are defined once.
const STYLE: &str = include_str!("page.css");

/// Renders the report as a self-contained page with inlined style and charts.
///
/// It follows the reader's light or dark preference, reads on a phone, and prints.
pub fn render_html(summary: &Summary) -> String {
    let name = escape::html(&title(summary));
    let mut out = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{name}</title>\n<style>\n{}{STYLE}</style>\n</head>\n\
         <body>\n<main>\n<header>\n<p class=\"kicker\">{}</p>\n<h1>{name}</h1>\n<p class=\"lead\">{}</p>\n</header>\n",
        svg::class_rules(),
        escape::html(&kicker(summary)),
        escape::html(&story::headline(summary)),
    );
    tiles(&mut out, summary);

    out.push_str("<section>\n<h2>Side by side</h2>\n");
    out.push_str(&main_table(summary).to_html());
    out.push_str("<p class=\"note\">Bold: the better of the two. Losses in nats per token; sizes in decimal units.</p>\n</section>\n");

    figures(&mut out, "Learning", charts::learning(summary));
    let resources = [charts::memory(summary), charts::speed(summary)];
    figures(
        &mut out,
        "Memory and speed",
        resources.into_iter().flatten().collect(),
    );

    section(
        &mut out,
        "Is the exported model the trained one?",
        &notes::exactness(summary),
    );
    if let Some(figure) = charts::energy(summary) {
        out.push_str("<section>\n<h2>Energy, modelled</h2>\n");
        figure_grid(&mut out, &[figure], true);
        paragraphs(&mut out, &notes::energy_assumptions(summary));
        let table = energy_table(summary).to_html();
        out.push_str(&format!(
            "<details><summary>All widths and processes</summary>\n{table}</details>\n</section>\n"
        ));
    }
    samples(&mut out, summary);

    let caveats = notes::caveats(summary);
    out.push_str("<section>\n<h2>What these numbers do not say</h2>\n<ul>\n");
    caveats
        .iter()
        .for_each(|note| out.push_str(&format!("<li>{}</li>\n", escape::html(note))));
    out.push_str("</ul>\n</section>\n");

    run(&mut out, summary);
    out.push_str("</main>\n</body>\n</html>\n");
    out
}

fn kicker(summary: &Summary) -> String {
    let version = if summary.version.is_empty() {
        String::new()
    } else {
        format!("bitnet {}", summary.version)
    };
    let parts = [version, summary.date.clone(), summary.machine.cpu.clone()];
    parts
        .into_iter()
        .filter(|p| !p.is_empty())
        .collect::<Vec<_>>()
        .join(" · ")
}

fn tiles(out: &mut String, summary: &Summary) {
    let tiles = story::tiles(summary);
    if tiles.is_empty() {
        return;
    }
    out.push_str("<dl class=\"tiles\">\n");
    for tile in tiles {
        let (value, detail) = (escape::html(&tile.value), escape::html(&tile.detail));
        out.push_str(&format!(
            "<div><dt>{}</dt><dd><b>{value}</b><span>{detail}</span></dd></div>\n",
            tile.label
        ));
    }
    out.push_str("</dl>\n<p class=\"note\">Ternary against float.</p>\n");
}

fn figures(out: &mut String, title: &str, figures: Vec<Figure>) {
    if figures.is_empty() {
        return;
    }
    out.push_str(&format!("<section>\n<h2>{title}</h2>\n"));
    figure_grid(out, &figures, false);
    out.push_str("</section>\n");
}

fn figure_grid(out: &mut String, figures: &[Figure], single: bool) {
    out.push_str(if single {
        "<div class=\"figures single\">\n"
    } else {
        "<div class=\"figures\">\n"
    });
    for figure in figures {
        out.push_str(&format!(
            "<figure>\n{}</figure>\n",
            figure.svg(Placement::Inline)
        ));
    }
    out.push_str("</div>\n");
}

fn section(out: &mut String, title: &str, sentences: &[String]) {
    if sentences.is_empty() {
        return;
    }
    out.push_str(&format!("<section>\n<h2>{title}</h2>\n"));
    paragraphs(out, sentences);
    out.push_str("</section>\n");
}

fn paragraphs(out: &mut String, sentences: &[String]) {
    sentences
        .iter()
        .for_each(|sentence| out.push_str(&format!("<p>{}</p>\n", escape::html(sentence))));
}

fn samples(out: &mut String, summary: &Summary) {
    let samples = notes::samples(summary);
    if samples.is_empty() {
        return;
    }
    out.push_str("<section>\n<h2>Samples</h2>\n<p class=\"note\">The prompt is bold; the rest is what each model wrote.</p>\n");
    for (prompt, written) in samples {
        out.push_str("<div class=\"samples\">\n");
        for Written { index, twin, text } in written {
            let (name, colour) = (escape::html(&twin.name), charts::colour(twin, index));
            let (prompt, text) = (escape::html(prompt), escape::html(text));
            // A newline right after <pre> would be swallowed; the <b> keeps the prompt's own.
            out.push_str(&format!("<figure><figcaption class=\"c-text{colour}\">{name}</figcaption><pre><b>{prompt}</b>{text}</pre></figure>\n"));
        }
        out.push_str("</div>\n");
    }
    out.push_str("</section>\n");
}

fn run(out: &mut String, summary: &Summary) {
    out.push_str("<section>\n<h2>How it was run</h2>\n");
    if !summary.command.is_empty() {
        out.push_str(&format!(
            "<pre class=\"command\">{}</pre>\n",
            escape::html(&summary.command)
        ));
    }
    out.push_str("<dl class=\"facts\">\n");
    for (label, text) in notes::circumstances(summary) {
        out.push_str(&format!(
            "<dt>{}</dt><dd>{}</dd>\n",
            escape::html(&label),
            escape::html(&text)
        ));
    }
    out.push_str("</dl>\n");
    if !summary.config.is_empty() {
        let config = escape::html(&summary.config);
        out.push_str(&format!(
            "<details><summary>Resolved configuration</summary>\n<pre>{config}</pre>\n</details>\n"
        ));
    }
    out.push_str("</section>\n");
}
