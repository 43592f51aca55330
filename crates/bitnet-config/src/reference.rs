//! A page with every key: what `describe` says of each, as Markdown.

use crate::schema::KEYS;
use crate::scope::TASKS;
use crate::{Description, Task, describe};

/// Columns of a line.
const WIDTH: usize = 120;

const HEAD: &str = "\
# Configuration

<!-- `bitnet config reference` writes this page from the source; a test compares them. -->

Every key of a configuration, by section. A key that a task does not read is refused; where no tasks are named, all read it.
A key that has no effect because of another key is refused too. If the other key is from a later layer (`--set` over a
file), the key is kept and a note says so.
What a default depends on is said with it: lengths and the warm-up shrink to fit `model.max_position_embeddings` and
`train.steps` unless they are written. `bitnet config explain KEY` says the same in a terminal, `bitnet config schema` to an
editor; `--print-config` shows what is in force.
";

const TWINS: &str = "\
Each twin may have a value of its own for the keys of the optimiser, in `[train.float]` and `[train.ternary]`, which wins over
the one in `[train]`:";

/// The page, in Markdown.
pub fn reference() -> String {
    let top: Vec<&String> = KEYS.keys().filter(|key| !key.contains('.')).collect();
    let (sections, plain): (Vec<&String>, Vec<&String>) =
        top.into_iter().partition(|key| KEYS[*key].is_table());
    let mut page = format!("{HEAD}\n");
    plain.iter().for_each(|key| entry(&mut page, key));
    for section in sections {
        page += &format!("\n## `[{section}]`\n\n");
        let Ok(about) = describe(section) else {
            continue;
        };
        wrapped(&mut page, about.meaning, "");
        page.push('\n');
        for key in &about.keys {
            // A twin's keys are those of the section; what is inside of one key is told by it.
            match key.as_str() {
                "train.float" | "train.ternary" => {}
                key => entry(&mut page, key),
            }
        }
        if section == "train" {
            let own = describe("train.float")
                .map(|twin| twin.keys)
                .unwrap_or_default();
            let names: Vec<String> = (own.iter())
                .filter_map(|key| key.rsplit('.').next())
                .map(|name| format!("`{name}`"))
                .collect();
            page.push('\n');
            wrapped(
                &mut page,
                &format!("{} {}.", TWINS.replace('\n', " "), names.join(", ")),
                "",
            );
        }
    }
    page
}

/// An item of the list.
fn entry(page: &mut String, key: &str) {
    let Ok(found) = describe(key) else {
        return;
    };
    let Description {
        meaning,
        kind,
        range,
        default,
        ..
    } = &found;
    let mut text = format!("- `{key}`: {kind}");
    if let Some(range) = range {
        text += &format!(" ({range})");
    }
    text += &match default.as_deref() {
        Some("\"\"") => ", empty".to_owned(),
        Some(default) => format!(", `{default}`"),
        None => ", not set".to_owned(),
    };
    text += &format!(". {meaning}");
    let readers: Vec<&str> = (TASKS.into_iter())
        .filter(|task| task.reads(key))
        .map(Task::name)
        .collect();
    if readers.len() < TASKS.len() {
        text += &format!(" Read by `{}`.", readers.join("`, `"));
    }
    for needs in &found.needs {
        text += &format!(" Counts only {needs}.");
    }
    wrapped(page, &text, "  ");
}

/// Adds a paragraph, wrapped between words, later lines with `indent` before them.
fn wrapped(page: &mut String, text: &str, indent: &str) {
    let mut column = 0;
    for word in text.split_whitespace() {
        let width = word.chars().count();
        if column > 0 && column + 1 + width > WIDTH {
            page.push('\n');
            page.push_str(indent);
            column = indent.len();
        } else if column > 0 {
            page.push(' ');
            column += 1;
        }
        page.push_str(word);
        column += width;
    }
    page.push('\n');
}
