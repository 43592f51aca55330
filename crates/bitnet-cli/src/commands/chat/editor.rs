//! Lines with editing and a history that outlives the chat.

use std::path::PathBuf;

use anyhow::Context;
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{Config, Editor as Library};

use super::input::Line;

/// Lines that are remembered.
const HISTORY: usize = 1000;

pub struct Editor {
    library: Box<Library<(), FileHistory>>,
    history: Option<PathBuf>,
}

impl Editor {
    pub fn new() -> anyhow::Result<Self> {
        let config = Config::builder()
            .max_history_size(HISTORY)?
            .auto_add_history(true)
            .build();
        let mut library = Box::new(Library::with_config(config)?);
        let history = history_file();
        if let Some(path) = &history {
            // There is none before the first chat.
            let _ = library.load_history(path);
        }
        Ok(Self { library, history })
    }

    pub fn read(&mut self, prompt: &str) -> anyhow::Result<Line> {
        match self.library.readline(prompt) {
            Ok(line) => {
                if let Some(path) = &self.history {
                    // A chat goes on without its history.
                    let _ = self.library.append_history(path);
                }
                Ok(Line::Text(line))
            }
            Err(ReadlineError::Interrupted) => Ok(Line::Interrupted),
            Err(ReadlineError::Eof) => Ok(Line::End),
            Err(error) => Err(error).context("cannot read from the terminal"),
        }
    }
}

/// `$XDG_STATE_HOME/bitnet/chat_history`, or below `~/.local/state`. None where there is no home.
fn history_file() -> Option<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let state = variable("XDG_STATE_HOME").map(PathBuf::from);
    let state = state.or_else(|| Some(PathBuf::from(variable("HOME")?).join(".local/state")))?;
    let folder = state.join("bitnet");
    std::fs::create_dir_all(&folder).ok()?;
    Some(folder.join("chat_history"))
}
