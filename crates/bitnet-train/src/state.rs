//! `state.json`: where a run stood.

use serde::{Deserialize, Serialize};

/// Where a run stood.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Steps done.
    pub step: usize,
    /// Tokens trained on.
    #[serde(default)]
    pub tokens: usize,
    /// Seconds spent on them, without evaluation.
    pub seconds: f64,
    /// Validation loss before the first step.
    pub initial_val_loss: Option<f64>,
    /// Peak resident memory of all processes that trained the run so far.
    #[serde(default)]
    pub peak_rss_bytes: Option<u64>,
    /// Training loss as last reported; none before the first report.
    pub train_loss: Option<f64>,
    /// Validation loss at this very step, if it was evaluated.
    #[serde(default)]
    pub val_loss: Option<f64>,
    /// Whether an evaluation at this very step is still to be made: it was interrupted, or is that after the last step.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub evaluation_due: bool,
    /// The lowest validation loss of all evaluations after the first step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub best_val_loss: Option<f64>,
    /// The step of that evaluation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub best_step: Option<usize>,
    /// Evaluations since.
    #[serde(default)]
    pub evaluations_since_best: usize,
    /// Which run this is of: the word that its `config.toml` has too.
    #[serde(default)]
    pub run: String,
    /// Checksum of the run's `config.toml` at the time.
    #[serde(default)]
    pub config: String,
    /// Checksum of the data.
    #[serde(default)]
    pub data: String,
    /// Checksum of the weights that training started from, if it did not draw them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// Checksums of the files beside it; older versions wrote none.
    #[serde(default)]
    pub files: Option<Files>,
}

/// Checksums of a checkpoint's files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Files {
    /// Of `model.bpk`.
    pub model: String,
    /// Of `optimizer.bpk`.
    pub optimizer: String,
}

/// What the file begins with where it has a checksum: BLAKE3 of everything after the first comma.
const BEGIN: &str = "{\"checksum\":\"";

impl State {
    /// The file's content.
    pub(crate) fn to_json(&self) -> Result<String, serde_json::Error> {
        let json = serde_json::to_string(self)?;
        let rest = &json[1..];
        Ok(format!("{BEGIN}{}\",{rest}", blake3::hash(rest.as_bytes())))
    }

    /// Reads the file's content.
    pub(crate) fn from_json(bytes: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
        let sealed = (text.strip_prefix(BEGIN)).and_then(|text| text.split_once("\","));
        if let Some((checksum, rest)) = sealed
            && *blake3::hash(rest.as_bytes()).to_hex() != *checksum
        {
            return Err("its checksum is another".to_owned());
        }
        let state: Self = serde_json::from_str(text).map_err(|error| error.to_string())?;
        match sealed {
            None if state.files.is_some() => Err("its checksum is missing".to_owned()),
            _ => Ok(state),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> State {
        State {
            step: 12,
            seconds: 0.1,
            initial_val_loss: Some(4.125),
            run: "ab".into(),
            files: Some(Files {
                model: "m".into(),
                optimizer: "o".into(),
            }),
            ..State::default()
        }
    }

    #[test]
    fn no_byte_of_it_can_change_unnoticed() {
        let json = state().to_json().unwrap();
        assert_eq!(State::from_json(json.as_bytes()).unwrap(), state());
        for at in 0..json.len() {
            for flip in [1u8, 4, 32] {
                let mut bytes = json.clone().into_bytes();
                bytes[at] ^= flip;
                if let Ok(read) = State::from_json(&bytes) {
                    assert_eq!(read, state(), "byte {at}");
                }
            }
            assert!(State::from_json(&json.as_bytes()[..at]).is_err());
        }
    }

    #[test]
    fn older_files_have_no_checksum_and_nulls() {
        let text = r#"{"step":4,"seconds":1.5,"initial_val_loss":4.0,"train_loss":null}"#;
        let state = State::from_json(text.as_bytes()).unwrap();
        assert_eq!((state.step, state.train_loss, state.files), (4, None, None));
    }
}
