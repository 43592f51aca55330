//! Why an answer ended, and the texts before which it ends.

use serde::Serialize;

/// Texts of tokens that end an answer in the models that have them, whether their files say so or not.
pub(crate) const ENDS: [&str; 14] = [
    "<|eot_id|>",
    "<|eom_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "<|end_of_turn|>",
    "<end_of_turn>",
    "<end_of_utterance>",
    "</s>",
    "<EOT>",
    "_<EOT>",
    "[EOS]",
    "<｜end▁of▁sentence｜>",
];

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum StopReason {
    /// The model wrote a token that ends a text or a turn.
    Eos,
    /// A stop string came.
    Stop,
    /// As many tokens as were asked for.
    Length,
    /// The context is full.
    Context,
}

impl StopReason {
    /// The reason as a part of a sentence: "it stopped at …".
    pub fn describe(self) -> &'static str {
        match self {
            Self::Eos => "the end token",
            Self::Stop => "a stop string",
            Self::Length => "the limit of new tokens",
            Self::Context => "the end of the context",
        }
    }
}

/// Text up to the first stop string. What could be the beginning of one is held back until it is decided.
#[derive(Clone, Debug)]
pub struct StopStrings {
    stops: Vec<String>,
    held: String,
    all: String,
    stopped: bool,
}

impl StopStrings {
    /// Empty ones are ignored.
    pub fn new(stops: Vec<String>) -> Self {
        Self {
            stops: stops.into_iter().filter(|stop| !stop.is_empty()).collect(),
            held: String::new(),
            all: String::new(),
            stopped: false,
        }
    }

    /// Adds text and returns what may be shown.
    pub fn push(&mut self, piece: &str) -> String {
        if self.stopped {
            return String::new();
        }
        self.held.push_str(piece);
        let stop = self.stops.iter().filter_map(|s| self.held.find(s)).min();
        let shown = match stop {
            Some(at) => {
                self.stopped = true;
                at
            }
            None => self.held.len() - self.pending(),
        };
        let rest = self.held.split_off(shown);
        let out = std::mem::replace(&mut self.held, rest);
        self.all.push_str(&out);
        out
    }

    /// The end of the text: nothing is held back any more.
    pub fn finish(&mut self, piece: &str) -> String {
        let mut out = self.push(piece);
        if !self.stopped {
            let held = std::mem::take(&mut self.held);
            self.all.push_str(&held);
            out.push_str(&held);
        }
        out
    }

    /// Whether a stop string came.
    pub fn stopped(&self) -> bool {
        self.stopped
    }

    /// All that was shown.
    pub fn text(&self) -> &str {
        &self.all
    }

    /// Length of the longest end of the held text that begins a stop string.
    fn pending(&self) -> usize {
        self.held
            .char_indices()
            .map(|(at, _)| &self.held[at..])
            .find(|end| self.stops.iter().any(|stop| stop.starts_with(end)))
            .map_or(0, str::len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(stops: &[&str], pieces: &[&str]) -> (Vec<String>, String) {
        let mut text = StopStrings::new(stops.iter().map(|s| s.to_string()).collect());
        let mut shown: Vec<String> = pieces.iter().map(|piece| text.push(piece)).collect();
        shown.push(text.finish(""));
        (shown, text.all)
    }

    #[test]
    fn a_stop_string_split_over_pieces_is_never_shown() {
        let (shown, all) = run(&["END"], &["abc E", "N", "D more"]);
        assert_eq!(shown, ["abc ", "", "", ""]);
        assert_eq!(all, "abc ");
    }

    #[test]
    fn what_only_looked_like_a_stop_is_shown_late() {
        let (shown, all) = run(&["END"], &["E", "Nx", "EN"]);
        assert_eq!(shown, ["", "ENx", "", "EN"]);
        assert_eq!(all, "ENxEN");
    }

    #[test]
    fn without_stops_everything_is_shown_at_once() {
        let (shown, _) = run(&[""], &["é", "a"]);
        assert_eq!(shown, ["é", "a", ""]);
    }
}
