//! `bitnet config`

use anyhow::bail;
use bitnet_config::{Description, describe, json_schema, reference};

use super::Outcome;
use crate::args::ConfigCommand;
use crate::output;

pub fn run(command: ConfigCommand) -> anyhow::Result<Outcome> {
    match command {
        ConfigCommand::Explain { key } => match describe(&key) {
            Ok(found) => output::prose(&text(&found))?,
            Err(Some(nearest)) => bail!("unknown key {key}; did you mean {nearest}?"),
            Err(None) => {
                bail!("unknown key {key}; `bitnet config explain train` lists those of a section")
            }
        },
        ConfigCommand::Schema => output::json(&json_schema())?,
        ConfigCommand::Reference => output::piece(&reference())?,
    }
    Ok(Outcome::Done)
}

fn text(found: &Description) -> String {
    let mut text = format!("{}: {}", found.key, found.kind);
    if let Some(range) = &found.range {
        text += &format!(" {range}");
    }
    if let Some(default) = &found.default {
        text += &format!(", {default} unless it is written");
    }
    if !found.meaning.is_empty() {
        text += &format!("\n{}", found.meaning);
    }
    text += &format!("\nread by task {}", found.tasks);
    for needs in &found.needs {
        text += &format!("\ncounts only {needs}");
    }
    for key in &found.keys {
        let about = describe(key).map(|about| about.meaning).unwrap_or_default();
        text += &format!("\n  {key:<34} {}", first_clause(about));
    }
    text
}

/// A text up to the first mark that ends a clause: one in a name, as in `tokenizer.json`, or in brackets does not.
fn first_clause(text: &str) -> &str {
    let ends = |(at, _): &(usize, &str)| {
        let rest = &text[at + 1..];
        let open = text[..*at].matches('(').count() > text[..*at].matches(')').count();
        !open && (rest.is_empty() || rest.starts_with(char::is_whitespace))
    };
    match text.match_indices(['.', ';', ':']).find(ends) {
        Some((at, _)) => &text[..at],
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clause_ends_at_a_mark_and_not_in_a_name() {
        for (text, first) in [
            (
                "A `tokenizer.json` to take. More",
                "A `tokenizer.json` to take",
            ),
            ("One; two", "One"),
            ("One (a; b); two", "One (a; b)"),
            ("Kinds:\na", "Kinds"),
            ("All of it.", "All of it"),
            ("No end", "No end"),
            ("", ""),
        ] {
            assert_eq!(first_clause(text), first);
        }
    }
}
