//! Writing results to stdout, and everything else to stderr.

use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};

use anyhow::Context;
use bitnet_report::table::{Table, folded};
use serde::Serialize;

/// Writes a line to stdout.
///
/// # Errors
/// If it cannot be written; see [`is_broken_pipe`].
pub fn line(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()?;
    Ok(())
}

/// Writes a piece of text to stdout at once.
///
/// # Errors
/// If it cannot be written; see [`is_broken_pipe`].
pub fn piece(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}

/// Writes a table to stdout, folded to the width of the terminal where there is one.
///
/// # Errors
/// If it cannot be written; see [`is_broken_pipe`].
pub fn table(table: &Table) -> anyhow::Result<()> {
    piece(&table.to_text_within(columns()))
}

/// Writes lines for people to stdout, folded like a table, and a newline after them.
///
/// # Errors
/// If it cannot be written; see [`is_broken_pipe`].
pub fn prose(text: &str) -> anyhow::Result<()> {
    line(&folded(text, columns()))
}

/// The width of the terminal that stdout is; without bound elsewhere.
pub fn columns() -> usize {
    let size = io::stdout()
        .is_terminal()
        .then(|| ratatui::crossterm::terminal::size().ok())
        .flatten();
    let columns = size.map(|(columns, _)| usize::from(columns));
    columns.filter(|columns| *columns > 0).unwrap_or(usize::MAX)
}

/// Text of a model as it may be shown: on a terminal without control characters, which would be commands to it.
pub fn harmless(text: &str) -> Cow<'_, str> {
    match io::stdout().is_terminal() {
        true => without_commands(text),
        false => text.into(),
    }
}

fn without_commands(text: &str) -> Cow<'_, str> {
    let is_command = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
    match text.contains(is_command) {
        true => text.replace(is_command, "\u{fffd}").into(),
        false => text.into(),
    }
}

/// Writes a line to stderr, without the control characters of what it quotes. Nobody may be there to read it (a closed
/// pipe, a full disk): the work goes on without.
pub fn say(text: impl std::fmt::Display) {
    let text = text.to_string();
    let _ = writeln!(io::stderr().lock(), "{}", without_commands(&text));
}

/// Writes a value as one JSON document.
///
/// # Errors
/// If it cannot be written; see [`is_broken_pipe`].
pub fn json(value: &impl Serialize) -> anyhow::Result<()> {
    line(&serde_json::to_string_pretty(value).context("the result is no JSON")?)
}

/// Whether the reader of our output has gone, which is its right (`bitnet … | head`).
pub fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}
