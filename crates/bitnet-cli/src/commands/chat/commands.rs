//! What a line that begins with `/` asks for.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use bitnet_text::Message;
use serde::{Deserialize, Serialize};

use super::Chat;
use crate::output;

/// Bytes of the largest conversation that is read.
const MOST: u64 = 256 << 20;

pub const HELP: &str = "\
/help          this list
/reset         forget the conversation but the system prompt
/save FILE     write the conversation as JSON
/load FILE     go on with a conversation from a file
/stats         tokens and speed so far
/quit          end (as Ctrl-D)
//text         say \"/text\" to the model
A line that ends with \\ goes on in the next one.";

/// A command of the chat.
#[derive(Debug, PartialEq, Eq)]
pub enum Command {
    Help,
    Reset,
    Save(PathBuf),
    Load(PathBuf),
    Stats,
    Quit,
}

/// A conversation in a file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Saved {
    messages: Vec<Message>,
}

impl Command {
    /// The command of a line; none if it is a message.
    pub fn parse(line: &str) -> Option<anyhow::Result<Self>> {
        let line = line.trim();
        if !line.starts_with('/') || line.starts_with("//") {
            return None;
        }
        let (name, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let rest = rest.trim();
        let file = || match rest {
            "" => bail!("{name} takes the name of a file"),
            rest => Ok(PathBuf::from(rest)),
        };
        Some(match (name, rest) {
            ("/save", _) => file().map(Self::Save),
            ("/load", _) => file().map(Self::Load),
            ("/help", "") => Ok(Self::Help),
            ("/reset", "") => Ok(Self::Reset),
            ("/stats", "") => Ok(Self::Stats),
            ("/quit" | "/exit", "") => Ok(Self::Quit),
            _ => Err(anyhow::anyhow!(
                "{line:?} is no command; /help lists them, and // at the start says it to the model"
            )),
        })
    }
}

impl Chat<'_> {
    pub fn run(&mut self, command: Command) -> anyhow::Result<()> {
        match command {
            Command::Help => output::say(format_args!("{HELP}")),
            Command::Reset => self.conversation.reset(),
            Command::Save(path) => {
                let saved = Saved {
                    messages: self.conversation.messages().to_vec(),
                };
                let json = serde_json::to_string_pretty(&saved)? + "\n";
                bitnet_results::write_atomic(&path, json.as_bytes())
                    .with_context(|| format!("cannot write {}", path.display()))?;
            }
            Command::Load(path) => {
                self.conversation.set_messages(load(&path)?);
                for message in self.conversation.messages() {
                    let text = format!("{}: {}", message.role, message.content);
                    output::say(format_args!("{}", output::harmless(&text)));
                }
            }
            Command::Stats => output::say(format_args!("{}", self.stats())),
            // The loop ends before.
            Command::Quit => {}
        }
        Ok(())
    }

    fn stats(&self) -> String {
        let totals = &self.totals;
        let rate = |tokens: usize, time: Duration| tokens as f64 / time.as_secs_f64().max(1e-9);
        format!(
            "{} answers; {} of {} tokens of context in use\n\
             prompts: {} tokens, {} of them kept from before, {:.1} tokens/s read\n\
             answers: {} tokens, {:.1} tokens/s",
            totals.answers,
            self.cache.tokens().len(),
            self.cache.capacity(),
            totals.prompt_tokens,
            totals.reused_tokens,
            rate(totals.prompt_tokens - totals.reused_tokens, totals.reading),
            totals.new_tokens,
            // The first of each came with its prompt.
            rate(
                totals.new_tokens.saturating_sub(totals.answers),
                totals.writing
            ),
        )
    }
}

fn load(path: &Path) -> anyhow::Result<Vec<Message>> {
    let name = path.display();
    let size = fs::metadata(path)
        .with_context(|| format!("cannot read {name}"))?
        .len();
    if size > MOST {
        bail!(
            "{name}: more than {} MiB; give a conversation that was saved",
            MOST >> 20
        );
    }
    let json = fs::read_to_string(path).with_context(|| format!("cannot read {name}"))?;
    let saved: Saved = serde_json::from_str(&json)
        .with_context(|| format!("{name}: not a conversation that was saved"))?;
    Ok(saved.messages)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_commands_or_messages() {
        let parse = |line| Command::parse(line).map(|found| found.map_err(|e| e.to_string()));
        assert_eq!(parse("hello /help"), None);
        assert_eq!(parse("//help"), None);
        assert_eq!(parse(" /help "), Some(Ok(Command::Help)));
        assert_eq!(
            parse("/save a b.json"),
            Some(Ok(Command::Save("a b.json".into())))
        );
        assert_eq!(parse("/exit"), Some(Ok(Command::Quit)));
        let message = parse("/save").unwrap().unwrap_err();
        assert!(message.contains("name of a file"), "{message}");
        let message = parse("/nonsense").unwrap().unwrap_err();
        assert!(message.contains("/help"), "{message}");
    }
}
