//! Stacks the layers: defaults, file, environment, `--set`, flags.

use std::ffi::OsStr;
use std::path::Path;

use toml::{Table, Value};

use crate::document::Place;
use crate::layer::{Layer, merge, nest};
use crate::scope::{names, readers};
use crate::{ConfigError, Level, MlpKind, Origin, RunConfig, Task};

/// What tells the configuration in the folder of a run. What an earlier version wrote there holds all keys, also those that
/// its task does not read.
const SEAL: &str = "# seal:";

/// What an environment variable for a setting begins with.
const PREFIX: &str = "BITNET_";

/// Collects the layers of a configuration, lowest first; each call puts its settings over those before it.
#[derive(Clone, Debug, Default)]
pub struct Loader {
    table: Table,
    name: Option<String>,
    /// Where each key was written last, in the order of the layers.
    places: Vec<(String, Place)>,
    /// The same of a run's own configuration, whose keys the task need not read.
    resolved: Vec<(String, Place)>,
    /// Keys of what several runs share.
    shared: Vec<String>,
}

impl Loader {
    /// Only the defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a TOML file; the run is named after it unless it says otherwise.
    ///
    /// # Errors
    /// The file cannot be read, is not TOML, or holds an unknown key or a value of the wrong type.
    pub fn file(mut self, path: impl AsRef<Path>) -> Result<Self, ConfigError> {
        let (text, layer) = self.read(path.as_ref())?;
        match text.lines().take(8).any(|line| line.starts_with(SEAL)) {
            true => self.add_resolved(layer),
            false => self.add(layer),
        }
    }

    /// Adds the configuration in the folder of a run, which may hold keys that its task does not read: earlier versions
    /// wrote all.
    ///
    /// # Errors
    /// As [`file`](Self::file).
    pub fn resolved(mut self, path: impl AsRef<Path>) -> Result<Self, ConfigError> {
        let (_, layer) = self.read(path.as_ref())?;
        self.add_resolved(layer)
    }

    /// Adds a TOML text that is built into the program, such as [`QUICKSTART`](crate::QUICKSTART).
    ///
    /// # Errors
    /// The text is not TOML, or holds an unknown key or a value of the wrong type.
    pub fn builtin(mut self, name: &str, text: &str) -> Result<Self, ConfigError> {
        self.name = Some(name.to_owned());
        self.add(Layer::parse(Origin::Builtin(name.to_owned()), text)?)
    }

    /// Adds the environment, as `std::env::vars_os()` gives it: `BITNET_TRAIN__STEPS=10` sets `train.steps`.
    ///
    /// Variables without `BITNET_` or without a double underscore are ignored: the latter are flags.
    ///
    /// # Errors
    /// A variable names an unknown key, or its value has the wrong type or is not Unicode.
    pub fn env<K, V>(
        mut self,
        variables: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Self, ConfigError>
    where
        K: AsRef<OsStr>,
        V: AsRef<OsStr>,
    {
        let mut settings = Vec::new();
        for (name, value) in variables {
            let Some(name) = name.as_ref().to_str() else {
                continue;
            };
            let Some(path) = name.strip_prefix(PREFIX).filter(|path| path.contains("__")) else {
                continue;
            };
            let Some(value) = value.as_ref().to_str() else {
                return Err(ConfigError::Encoding(name.to_owned()));
            };
            settings.push((path.to_lowercase(), name.to_owned(), value.to_owned()));
        }
        // The environment has no order of its own; a fixed one makes the first error the same every time.
        settings.sort();
        for (path, name, value) in settings {
            let path: Vec<&str> = path.split("__").collect();
            self = self.add(Layer::single(Origin::Env(name), &path, value.trim()))?;
        }
        Ok(self)
    }

    /// Adds one `section.key=value`. The value is TOML; what is not TOML is taken as a string, so that
    /// `data.path=../x.txt` needs no quotes.
    ///
    /// # Errors
    /// There is no `=`, a part of the key is empty, the key is unknown, or the value has the wrong type.
    pub fn set(self, assignment: &str) -> Result<Self, ConfigError> {
        self.add(Layer::assignment(Origin::Set, assignment)?)
    }

    /// [`set`](Self::set) of what is quoted in another text.
    pub(crate) fn set_quoted(
        self,
        assignment: &str,
        place: Option<&Place>,
    ) -> Result<Self, ConfigError> {
        let Some(place) = place else {
            return self.set(assignment);
        };
        let layer = Layer::assignment(place.origin.clone(), assignment);
        let layer = layer.map_err(|error| placed(place, error))?;
        self.add(layer.shown_at(place))
    }

    /// Says that the layers so far are those of several runs: a key of theirs may count for nothing in this one.
    #[must_use]
    pub fn shared(mut self) -> Self {
        self.shared = self.places.iter().map(|(key, _)| key.clone()).collect();
        self
    }

    /// Merges the layers over the defaults and checks the result.
    ///
    /// # Errors
    /// See [`RunConfig::validate`].
    pub fn finish(self) -> Result<RunConfig, ConfigError> {
        self.finish_with_notes().map(|(config, _)| config)
    }

    /// [`finish`](Self::finish), and what is to be said of settings that another one hides: a key of `[train]` that was set
    /// after a twin's own, and keys that a later layer switched off.
    ///
    /// # Errors
    /// As [`finish`](Self::finish).
    pub fn finish_with_notes(mut self) -> Result<(RunConfig, Vec<String>), ConfigError> {
        let written = self.config()?;
        for (key, place) in &self.places {
            if !written.task.reads(key) {
                return Err(ConfigError::Unread {
                    place: place.clone(),
                    key: key.clone(),
                    task: written.task.name(),
                    readers: names(readers(key)),
                });
            }
        }
        let mut notes = self.hidden();
        let mut refused = None;
        for (key, condition) in written.hindered() {
            let at = self.places.iter().position(|(known, _)| known == key);
            let Some(at) = at.filter(|_| !self.shared.iter().any(|shared| shared == key)) else {
                self.take(key);
                continue;
            };
            let place = &self.places[at].1;
            let later = self.places[at..].iter().any(|(by, other)| {
                condition.deciders.contains(&by.as_str()) && other.origin != place.origin
            });
            let needs = condition.needs;
            if later {
                notes.push(format!(
                    "{key} of {}{} counts only {needs}",
                    place.origin,
                    place.on_line()
                ));
                self.take(key);
            } else if refused.is_none() {
                let value = self.written(key).map(Value::to_string).unwrap_or_default();
                refused = Some(ConfigError::Invalid {
                    key: key.to_owned(),
                    value,
                    problem: format!("counts only {needs}; change that, or leave it out"),
                });
            }
        }
        let mut config = self.config()?;
        widen(&mut config).map_err(|error| self.blame(error))?;
        self.fit(&mut config);
        config.validate().map_err(|error| self.blame(error))?;
        match refused {
            Some(error) => Err(self.blame(error)),
            None => Ok((config, notes)),
        }
    }

    /// What the layers say, unchecked.
    fn config(&self) -> Result<RunConfig, ConfigError> {
        let mut config: RunConfig = Value::Table(self.table.clone())
            .try_into()
            .map_err(ConfigError::Schema)?;
        if let (Some(name), false) = (self.name.clone(), self.wrote("name")) {
            config.name = name;
        }
        let says_level = self.places.iter().any(|(key, _)| key == "data.level");
        if config.data.tokenizer.is_some() && !says_level {
            config.data.level = Level::File;
        }
        Ok(config)
    }

    /// A file's text and its settings; the run is named after it.
    fn read(&mut self, path: &Path) -> Result<(String, Layer), ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
            path: path.to_owned(),
            source,
        })?;
        self.name = path
            .file_stem()
            .map(|stem| stem.to_string_lossy().into_owned());
        let layer = Layer::parse(Origin::File(path.to_owned()), &text)?;
        Ok((text, layer))
    }

    /// Adds settings of which those that the task does not read count for nothing.
    fn add_resolved(mut self, layer: Layer) -> Result<Self, ConfigError> {
        let (mut table, places) = layer.check()?;
        self.resolved.extend(places);
        let task = table
            .get("task")
            .and_then(Value::as_str)
            .unwrap_or_default();
        if matches!(task, "translate" | "classify")
            && let Some(Value::Table(data)) = table.get_mut("data")
        {
            // Versions without the key did not shuffle.
            data.entry("shuffle").or_insert(Value::Boolean(false));
        }
        merge(&mut self.table, table);
        Ok(self)
    }

    fn add(mut self, layer: Layer) -> Result<Self, ConfigError> {
        let (table, places) = layer.check()?;
        merge(&mut self.table, table);
        for (key, place) in places {
            self.places.retain(|(known, _)| *known != key);
            self.shared.retain(|known| *known != key);
            self.places.push((key, place));
        }
        Ok(self)
    }

    /// Keys of `[train]` that were set in a later layer than a twin's own, which wins all the same.
    fn hidden(&self) -> Vec<String> {
        let mut notes = Vec::new();
        for (at, (key, place)) in self.places.iter().enumerate() {
            let Some(name) = key
                .strip_prefix("train.")
                .filter(|name| !name.contains('.'))
            else {
                continue;
            };
            for twin in ["float", "ternary"] {
                let own = format!("train.{twin}.{name}");
                let earlier = self.places[..at].iter().find(|(key, _)| *key == own);
                let Some((_, owner)) = earlier.filter(|(_, owner)| owner.origin != place.origin)
                else {
                    continue;
                };
                notes.push(format!(
                    "{key} of {} changes nothing for the {twin} twin, whose {own} of {}{} wins; set that instead",
                    place.origin,
                    owner.origin,
                    owner.on_line()
                ));
            }
        }
        notes
    }

    /// An error with the place of the setting that is to blame: of the keys that it names, the first that was written.
    pub(crate) fn blame(&self, error: ConfigError) -> ConfigError {
        let message = error.to_string();
        let is_key = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
        let named = message.split(|c| !is_key(c));
        let mut named = named.map(|word| word.trim_end_matches('.'));
        let known = |word: &str| {
            let places = self.places.iter().chain(&self.resolved);
            places.into_iter().find(|(key, _)| key == word)
        };
        match named.find_map(known) {
            Some((_, place)) => placed(place, error),
            None => error,
        }
    }

    /// What the layers say of a key.
    pub(crate) fn written(&self, path: &str) -> Option<&Value> {
        let mut keys = path.split('.');
        let first = keys.next().and_then(|key| self.table.get(key));
        keys.fold(first, |value, key| value?.get(key))
    }

    /// Sets a key over all layers.
    pub(crate) fn put(&mut self, path: &str, value: Value) {
        let path: Vec<&str> = path.split('.').collect();
        merge(&mut self.table, nest(&path, value));
    }

    /// Takes a key out of all layers.
    fn take(&mut self, path: &str) {
        let mut table = &mut self.table;
        let mut keys = path.split('.').peekable();
        while let Some(key) = keys.next() {
            if keys.peek().is_none() {
                table.remove(key);
                return;
            }
            match table.get_mut(key) {
                Some(Value::Table(inner)) => table = inner,
                _ => return,
            }
        }
    }

    fn wrote(&self, path: &str) -> bool {
        self.written(path).is_some()
    }

    /// Shrinks the defaults that depend on what was written (see the crate's documentation).
    fn fit(&self, config: &mut RunConfig) {
        if matches!(config.task, Task::Vectors | Task::Layer) {
            // A perceptron is plain and has no heads; the shape of a Transformer is not to be asked for.
            let model = &mut config.model;
            model.mlp = MlpKind::Plain;
            (model.num_attention_heads, model.head_dim) = (1, Some(2));
        }
        let longest = config.model.max_position_embeddings.max(1);
        let (train, compare) = (&mut config.train, &mut config.compare);
        let (data, decode) = (&mut config.data, &mut config.decode);
        for (key, value, limit) in [
            ("train.context", &mut train.context, longest),
            // A target begins with one token more.
            ("data.max_length", &mut data.max_length, longest - 1),
            ("decode.max_length", &mut decode.max_length, longest),
            (
                "train.warmup_steps",
                &mut train.shared.warmup_steps,
                train.steps / 10,
            ),
            (
                "compare.sample_tokens",
                &mut compare.sample_tokens,
                longest / 2,
            ),
            (
                "compare.prefill_tokens",
                &mut compare.prefill_tokens,
                longest / 2,
            ),
            (
                "compare.decode_tokens",
                &mut compare.decode_tokens,
                longest / 4,
            ),
        ] {
            if !self.wrote(key) {
                *value = limit.min(*value);
            }
        }
    }
}

fn placed(place: &Place, error: ConfigError) -> ConfigError {
    ConfigError::Placed {
        place: place.clone(),
        error: Box::new(error),
    }
}

/// Applies `model.width_multiple`, and takes it out: what is resolved says the widths themselves.
fn widen(config: &mut RunConfig) -> Result<(), ConfigError> {
    let model = &mut config.model;
    let Some(multiple) = model.width_multiple.take() else {
        return Ok(());
    };
    if !(multiple > 0.0 && multiple <= 1024.0) {
        return Err(ConfigError::Invalid {
            key: "model.width_multiple".into(),
            value: multiple.to_string(),
            problem: "must be above 0, and at most 1024".into(),
        });
    }
    let unit = 2 * model.num_attention_heads.max(1);
    for width in [&mut model.hidden_size, &mut model.intermediate_size] {
        let units = (*width as f64 * multiple / unit as f64).round() as usize;
        *width = unit * units.max(1);
    }
    Ok(())
}

/// The environment variable of a key.
pub(crate) fn env_name(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', "__").to_uppercase())
}
