//! Lines of a terminal or of a pipe.

use std::io::{self, BufRead, Read};

use anyhow::{Context, bail};

use super::editor::Editor;

/// Bytes of the longest line.
const MOST: u64 = 64 << 20;

/// Where lines come from.
pub enum Input {
    /// A terminal with editing and a history.
    Editor(Editor),
    /// Anything else.
    Pipe,
}

/// What came.
pub enum Line {
    Text(String),
    /// Ctrl-C, which clears the line.
    Interrupted,
    /// Ctrl-D, or the end of the pipe.
    End,
}

impl Input {
    pub fn new(interactive: bool) -> anyhow::Result<Self> {
        match interactive {
            true => Editor::new().map(Self::Editor),
            false => Ok(Self::Pipe),
        }
    }

    /// The next line; one that ends with a backslash goes on in the one after it.
    pub fn line(&mut self) -> anyhow::Result<Line> {
        let mut whole = String::new();
        loop {
            let prompt = if whole.is_empty() { "> " } else { ". " };
            let line = match self.read(prompt)? {
                Line::Text(line) => line,
                Line::End if !whole.is_empty() => return Ok(Line::Text(whole)),
                other => return Ok(other),
            };
            match line.strip_suffix('\\') {
                Some(line) => {
                    whole.push_str(line);
                    whole.push('\n');
                }
                None => return Ok(Line::Text(whole + &line)),
            }
        }
    }

    fn read(&mut self, prompt: &str) -> anyhow::Result<Line> {
        if let Self::Editor(editor) = self {
            return editor.read(prompt);
        }
        let mut bytes = Vec::new();
        let stdin = io::stdin().lock();
        let read = stdin.take(MOST).read_until(b'\n', &mut bytes);
        read.context("cannot read stdin")?;
        if bytes.is_empty() {
            return Ok(Line::End);
        }
        if bytes.len() as u64 == MOST {
            bail!(
                "stdin: a line of {} MiB or more; give a shorter one",
                MOST >> 20
            );
        }
        if bytes.ends_with(b"\n") {
            bytes.pop();
        }
        if bytes.ends_with(b"\r") {
            bytes.pop();
        }
        let line = String::from_utf8(bytes).context("stdin: a line is not UTF-8")?;
        Ok(Line::Text(line))
    }
}
