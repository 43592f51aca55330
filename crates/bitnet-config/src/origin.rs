//! What the model of `train.init_from` decides: its sizes, its norms, and of a ternary one how it quantises.

use bitnet_models::{ModelConfig, QuantConfig};
use toml::{Table, Value};

use crate::{ConfigError, Loader};

/// Keys of `[model]` that are about the training, not about the model that it starts from.
const FREE: [&str; 3] = ["linear", "dropout", "initializer_range"];

/// The settings that a model brings.
#[derive(Clone, Debug, PartialEq)]
pub struct Decided {
    /// Its sizes. What it is made of, ternary or float layers, is not decided: either becomes the other.
    pub model: ModelConfig,
    /// Where its norms stand, and how it quantises.
    pub quant: QuantConfig,
    /// The keys of `[quant]` that it decides besides `norm`.
    pub scheme: &'static [&'static str],
}

impl Loader {
    /// The model to start from, as far as the layers so far say.
    pub fn init_from(&self) -> Option<&str> {
        self.written("train.init_from")?.as_str()
    }

    /// Puts in what that model decides.
    ///
    /// # Errors
    /// If a layer says otherwise.
    pub fn decided(mut self, decided: &Decided) -> Result<Self, ConfigError> {
        let Decided {
            model,
            quant,
            scheme,
        } = decided;
        let model = Table::try_from(model).map_err(ConfigError::Serialize)?;
        let quant = Table::try_from(quant).map_err(ConfigError::Serialize)?;
        let written = |section: &str| -> Vec<String> {
            let table = self.written(section).and_then(Value::as_table);
            table
                .into_iter()
                .flat_map(|table| table.keys().cloned())
                .collect()
        };
        let mut keys: Vec<(String, Option<Value>)> = Vec::new();
        for key in written("model") {
            if !model.contains_key(&key) {
                keys.push((format!("model.{key}"), None));
            }
        }
        for (key, value) in model {
            if !FREE.contains(&key.as_str()) {
                keys.push((format!("model.{key}"), Some(value)));
            }
        }
        for (key, value) in quant {
            if key == "norm" || scheme.contains(&key.as_str()) {
                keys.push((format!("quant.{key}"), Some(value)));
            }
        }
        for (key, value) in &keys {
            match self.written(key) {
                Some(said) if value.as_ref().is_none_or(|value| !same(said, value)) => {
                    return Err(self.blame(ConfigError::Invalid {
                        key: key.clone(),
                        value: said.to_string(),
                        problem: match value {
                            Some(value) => format!(
                                "is not what the model of train.init_from has, {value}; leave it out"
                            ),
                            None => {
                                "is nothing that the model of train.init_from has; leave it out"
                                    .into()
                            }
                        },
                    }));
                }
                _ => {}
            }
        }
        for (key, value) in keys {
            if let Some(value) = value {
                self.put(&key, value);
            }
        }
        if self.written("data.level").is_none() {
            self.put("data.level", Value::String("model".into()));
        }
        Ok(self)
    }
}

/// Whether two values are one, where a whole number may stand for a float.
fn same(said: &Value, value: &Value) -> bool {
    match (said, value) {
        (Value::Integer(said), Value::Float(value)) => *said as f64 == *value,
        _ => said == value,
    }
}
