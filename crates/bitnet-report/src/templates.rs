//! The templates of reports: one document, two forms.
//!
//! Whatever a template prints is escaped for its form, Markdown by [`escape::markdown`] and HTML by [`escape::html`],
//! unless it was marked as safe by one of the filters here: `authored` (text with code between backticks), `fenced` (a
//! block of code).

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, State, Value, context};

use crate::document::Document;
use crate::escape;
use crate::svg;
use crate::table::Table;

const MARKDOWN: &str = "markdown";

/// The style sheet of pages, besides the colours.
pub const STYLE: &str = include_str!("../templates/page.css");

/// `report.html`: one file that needs nothing else, no script, no font, no network. It follows the reader's light or dark
/// preference, reads on a phone, and prints.
pub fn page(document: &Document) -> String {
    let style = svg::class_rules() + STYLE;
    render(
        "page.html",
        context! { document => Serde(document), style => Value::from_safe_string(style) },
    )
}

/// `report.md`: for a repository page or a terminal pager; pictures are files beside it.
pub fn markdown(document: &Document) -> String {
    render("report.md", context! { document => Serde(document) })
}

/// A table in Markdown.
pub fn markdown_table(table: &Table) -> String {
    render("table.md", context! { table => Serde(table) })
}

/// A table in HTML, as pages include it.
#[cfg(test)]
pub fn html_table(table: &Table) -> String {
    render("table.html", context! { table => Serde(table) })
}

/// The index of a folder of experiments.
pub fn index(context: Value) -> String {
    render("index.md", context)
}

/// The page of runs, or what of it changes.
pub fn board(name: &str, context: Value) -> String {
    render(name, context)
}

fn render(name: &str, context: Value) -> String {
    let rendered = environment()
        .get_template(name)
        .and_then(|template| template.render(context));
    match rendered {
        Ok(text) => text.trim_end().to_owned() + "\n",
        // The templates are part of the program, and the tests render all of them.
        Err(error) => unreachable!("{name}: {error:#}"),
    }
}

fn environment() -> Environment<'static> {
    let mut env = Environment::new();
    env.set_auto_escape_callback(|name| match name.ends_with(".html") {
        true => AutoEscape::Html,
        false => AutoEscape::Custom(MARKDOWN.into()),
    });
    env.set_formatter(|out, state, value| {
        let text = value.to_string();
        let text = match value.is_safe() {
            true => text,
            false => escaped(state, &text),
        };
        out.write_str(&text).map_err(minijinja::Error::from)
    });
    env.add_filter("authored", |state: &State, text: &str| {
        let pieces = text.split('`').collect::<Vec<_>>();
        // An odd backtick opens nothing.
        if pieces.len().is_multiple_of(2) {
            return Value::from_safe_string(escaped(state, text));
        }
        let pieces =
            pieces
                .iter()
                .enumerate()
                .map(|(i, piece)| match (i % 2, state.auto_escape()) {
                    (0, _) => escaped(state, piece),
                    (_, AutoEscape::Html) => format!("<code>{}</code>", escape::html(piece)),
                    _ => format!("`{}`", escape::single_line(piece)),
                });
        Value::from_safe_string(pieces.collect())
    });
    env.add_filter("fenced", |text: &str, language: &str| {
        Value::from_safe_string(escape::fenced(language, text))
    });
    let syntax = SyntaxConfig::builder().keep_trailing_newline(true).build();
    env.set_syntax(syntax.unwrap_or_default());
    for (name, source) in [
        ("page.html", include_str!("../templates/page.html.j2")),
        ("report.md", include_str!("../templates/report.md.j2")),
        ("table.html", include_str!("../templates/table.html.j2")),
        ("table.md", include_str!("../templates/table.md.j2")),
        ("index.md", include_str!("../templates/index.md.j2")),
        ("board.html", include_str!("../templates/board.html.j2")),
        (
            "board_part.html",
            include_str!("../templates/board_part.html.j2"),
        ),
    ] {
        if let Err(error) = env.add_template(name, source) {
            unreachable!("{name}: {error:#}");
        }
    }
    env
}

fn escaped(state: &State, text: &str) -> String {
    match state.auto_escape() {
        AutoEscape::Html => escape::html(text),
        _ => escape::markdown(text),
    }
}
