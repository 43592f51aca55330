//! `experiment.toml`: many runs of one configuration, and what is asked of them.
//!
//! ```toml
//! title = "Tiny Shakespeare, character by character"
//! question = "What do ternary weights cost at equal parameters and equal steps?"
//! config = "run.toml"            # beside this file
//! seeds = [0, 1, 2]
//! learning_rates = [1e-3, 2e-3, 4e-3]
//!
//! [[variants]]
//! name = "float"
//! set = ["model.linear=float"]
//!
//! [[variants]]
//! name = "ternary"
//! set = ["model.linear=ternary"]
//! learning_rates = [2e-3, 4e-3, 8e-3]
//! ```
//!
//! Every variant is trained with each of its learning rates under the first seed. The rate with the best validation
//! result is kept, and the other seeds are trained with it. All variants try the same number of rates: a comparison in
//! which one side was tuned harder measures the tuning.
//!
//! A variant with `teacher = "float"` is distilled from the run of that variant under the same seed, which is trained first;
//! the report counts the teacher's time and energy with its own.
//!
//! A recipe that changes both twins is compared with its own float twin (`baseline = "float-muon"` of a variant). With
//! `reference = "ternary"` the report says of each recipe by how much it changes the gap of that variant, with Holm's
//! correction for the number of recipes.
//!
//! A variant with `formats = ["f16", "q8_0", "q4_0"]` is stored in these after its training, by rounding (`bitnet convert`),
//! and each file is measured and timed like a model of its own. With `[frontier]` the report draws loss against bytes, time
//! to decode, arithmetic of training and modelled energy, a line for each `curve` (or kind of weights) and format, and says
//! which is best at the sizes named there. With `[scaling]` it fits a law of size to each curve, without the variants above
//! `fit_until`, which it predicts: writing that down before they are trained makes it a prediction.
//!
//! Variants that learn different tasks have a `group` each; only those of one group are compared, with its first float one.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::document::{Document, Part, Place};
use crate::ranges::MOST_RATE;
use crate::{ConfigError, ExecutorConfig, Loader, Origin, RunConfig};

/// The experiment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ExperimentConfig {
    /// Heading of the report.
    pub title: String,
    /// What is asked, one sentence.
    pub question: String,
    /// What the results mean, in words; written when they are known.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub conclusion: String,
    /// Limits and negative results, a paragraph each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// Configuration of a run that all variants begin with; a relative path starts at this file's folder.
    pub config: PathBuf,
    /// Settings of all variants, as in `--set`.
    pub set: Vec<String>,
    /// Seeds, the first for the learning rates.
    pub seeds: Vec<u64>,
    /// Learning rates of every variant that has none of its own; none keeps that of the configuration.
    pub learning_rates: Vec<f64>,
    /// The variant that the others are compared with, seed by seed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub baseline: Option<String>,
    /// The variant whose gap to its baseline those of the others are compared with, seed by seed and corrected for their
    /// number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// Whether the report draws scores against parameters and bytes.
    pub scatter: bool,
    /// Where what variants cost is compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frontier: Option<FrontierConfig>,
    /// What a law of size is fitted to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scaling: Option<ScalingConfig>,
    /// What a scheduler is to give each run.
    #[serde(skip_serializing_if = "is_default")]
    pub executor: ExecutorConfig,
    /// What is compared.
    pub variants: Vec<VariantConfig>,
    /// Where the settings stand that a message is about: `set.0`, `variants.2.name`.
    #[serde(skip)]
    pub places: BTreeMap<String, Place>,
}

/// Where what variants cost is compared.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FrontierConfig {
    /// Bytes of a file.
    pub bytes: Vec<u64>,
    /// Floating-point operations of a training: 6 for each parameter and token.
    pub compute: Vec<f64>,
}

/// What a law of size is fitted to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ScalingConfig {
    /// The most parameters of a variant that is fitted; larger ones are predicted. None fits all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fit_until: Option<u64>,
    /// Parameters of models that are predicted and not trained.
    pub predict: Vec<u64>,
}

fn is_default(executor: &ExecutorConfig) -> bool {
    *executor == ExecutorConfig::default()
}

/// One of the things compared.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct VariantConfig {
    /// Names the folder of its runs.
    pub name: String,
    /// What tables and pictures call it, where the name is not enough.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// What makes it different, as in `--set`.
    pub set: Vec<String>,
    /// Variants are compared within their group, such as one of several tasks; none where all are of one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Its own learning rates.
    pub learning_rates: Vec<f64>,
    /// Its own seeds, fewer than the experiment's, of a model that is too large for all of them; the first is that for its
    /// learning rates.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub seeds: Vec<u64>,
    /// The curve that it is a point of, where models of several sizes are compared; none is that of its kind of weights.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub curve: Option<String>,
    /// Formats of GGUF that its models are stored in and measured as: `f16`, `q8_0`, `q4_0`, `q2_0`, as in `bitnet convert`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub formats: Vec<String>,
    /// The variant whose run under the same seed teaches this one (`train.distill_from`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub teacher: Option<String>,
    /// The variant that it is compared with instead of the experiment's baseline: of a recipe for both twins the float one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub baseline: Option<String>,
}

impl ExperimentConfig {
    /// Reads `experiment.toml` in a folder, or a file.
    ///
    /// # Errors
    /// If it cannot be read, is not TOML of this form, or makes no sense.
    pub fn load(path: &Path) -> Result<(Self, PathBuf), ConfigError> {
        let file = match path.is_dir() {
            true => path.join("experiment.toml"),
            false => path.to_owned(),
        };
        let text = std::fs::read_to_string(&file).map_err(|source| ConfigError::Read {
            path: file.clone(),
            source,
        })?;
        let config = Self::parse(Origin::File(file.clone()), &text)?;
        let folder = file.parent().map(Path::to_owned).unwrap_or_default();
        Ok((config, folder))
    }

    /// Reads the text of such a file.
    ///
    /// # Errors
    /// If it is not TOML of this form, or makes no sense.
    pub fn parse(origin: Origin, text: &str) -> Result<Self, ConfigError> {
        let (mut config, document): (Self, _) = Document::parse(origin, text)?;
        config.places = document.places(Part::Value);
        config
            .validate()
            .map_err(|(at, error)| match config.places.get(&at) {
                Some(place) => ConfigError::Placed {
                    place: place.clone(),
                    error,
                },
                None => *error,
            })?;
        Ok(config)
    }

    /// The experiment as TOML.
    ///
    /// # Errors
    /// The path of the configuration is not valid Unicode.
    pub fn to_toml(&self) -> Result<String, ConfigError> {
        toml::to_string(self).map_err(ConfigError::Serialize)
    }

    /// The learning rates of a variant; none keeps that of the configuration.
    pub fn learning_rates(&self, variant: &VariantConfig) -> Vec<f64> {
        match variant.learning_rates.is_empty() {
            true => self.learning_rates.clone(),
            false => variant.learning_rates.clone(),
        }
    }

    /// The seeds of a variant.
    pub fn seeds<'a>(&'a self, variant: &'a VariantConfig) -> &'a [u64] {
        match variant.seeds.is_empty() {
            true => &self.seeds,
            false => &variant.seeds,
        }
    }

    /// The configuration of one run: the base, the environment, then the settings of all, of the variant, and
    /// `overrides` (the
    /// command line).
    /// `teacher` is the folder of the run that it learns from.
    ///
    /// # Errors
    /// If the base cannot be read, or a setting is wrong.
    pub fn run(
        &self,
        folder: &Path,
        variant: &VariantConfig,
        seed: u64,
        learning_rate: Option<f64>,
        teacher: Option<&Path>,
        overrides: &[String],
    ) -> Result<RunConfig, ConfigError> {
        let load = || {
            let mut loader = Loader::new()
                .file(folder.join(&self.config))?
                .env(std::env::vars_os())?;
            for (index, assignment) in self.set.iter().enumerate() {
                let place = self.places.get(&format!("set.{index}"));
                loader = loader.set_quoted(assignment, place)?;
            }
            loader = loader.shared();
            let number = self.variants.iter().position(|known| known == variant);
            for (index, assignment) in variant.set.iter().enumerate() {
                let place = number
                    .and_then(|number| self.places.get(&format!("variants.{number}.set.{index}")));
                loader = loader.set_quoted(assignment, place)?;
            }
            for assignment in overrides {
                loader = loader.set(assignment)?;
            }
            if let Some(run) = teacher {
                loader = loader.set(&format!(
                    "train.distill_from={:?}",
                    run.display().to_string()
                ))?;
            } else if variant.teacher.is_some() {
                // What is said of a teacher that is not there yet.
                loader = loader.shared();
            }
            loader
                .set(&format!("train.seed={seed}"))?
                .set(&format!("name={:?}", variant.name))
        };
        if let Some(origin) = load()?.init_from() {
            return Err(load()?.blame(ConfigError::Invalid {
                key: "train.init_from".into(),
                value: format!("{origin:?}"),
                problem: "is for `bitnet train` and `bitnet compare`: an experiment draws its weights from seeds".into(),
            }));
        }
        let config = load()?.finish()?;
        let Some(rate) = learning_rate else {
            return Ok(config);
        };
        let twin = match config.model.linear {
            crate::LinearKind::Float => "float",
            crate::LinearKind::Ternary => "ternary",
        };
        load()?
            .set(&format!("train.{twin}.learning_rate={rate:e}"))?
            .finish()
    }

    /// The first mistake, and where its setting stands.
    fn validate(&self) -> Result<(), (String, Box<ConfigError>)> {
        let missing = |key: &str, reason: &str| {
            let error = ConfigError::Missing {
                key: key.into(),
                reason: reason.into(),
            };
            (key.to_owned(), Box::new(error))
        };
        let invalid = |key: &str, value: String, problem: &str| {
            let error = ConfigError::Invalid {
                key: key.into(),
                value,
                problem: problem.into(),
            };
            (key.to_owned(), Box::new(error))
        };
        // Of one of the variants.
        let within = |number: usize, key: &str, value: String, problem: &str| {
            let (_, error) = invalid(&format!("variants.{key}"), value, problem);
            let own = format!("variants.{number}.{key}");
            match self.places.contains_key(&own) {
                true => (own, error),
                false => (format!("variants.{number}"), error),
            }
        };
        if self.config.as_os_str().is_empty() {
            return Err(missing("config", "every run begins with it; name the file"));
        }
        if self.variants.is_empty() {
            return Err(missing("variants", "at least one [[variants]] is needed"));
        }
        let distinct: BTreeSet<u64> = self.seeds.iter().copied().collect();
        if self.seeds.is_empty() || distinct.len() < self.seeds.len() {
            let seeds = format!("{:?}", self.seeds);
            return Err(invalid(
                "seeds",
                seeds,
                "must be at least one, all different",
            ));
        }
        let mut names = BTreeSet::new();
        let rates = self.learning_rates(&self.variants[0]).len();
        for (number, variant) in self.variants.iter().enumerate() {
            let name = &variant.name;
            let usable = !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\']);
            if !usable || !names.insert(name) {
                let problem = "cannot name a folder, or is there twice; every variant needs a name of its own";
                return Err(within(number, "name", format!("{name:?}"), problem));
            }
            let own = self.learning_rates(variant);
            if own.len() != rates {
                let problem = "are not as many as those of the other variants; give all the same number to try";
                return Err(within(
                    number,
                    "learning_rates",
                    format!("{own:?} of {name}"),
                    problem,
                ));
            }
            let twice = |(i, rate): (usize, &f64)| own[..i].contains(rate);
            if own.iter().enumerate().any(twice) {
                let problem = "must all be different";
                return Err(within(
                    number,
                    "learning_rates",
                    format!("{own:?} of {name}"),
                    problem,
                ));
            }
            if own.iter().any(|rate| !(*rate > 0.0 && *rate <= MOST_RATE)) {
                let problem = "must be above 0 and at most 10";
                return Err(within(
                    number,
                    "learning_rates",
                    format!("{own:?} of {name}"),
                    problem,
                ));
            }
        }
        for (number, variant) in self.variants.iter().enumerate() {
            let own: BTreeSet<u64> = variant.seeds.iter().copied().collect();
            if own.len() < variant.seeds.len() || !own.is_subset(&distinct) {
                let problem = "must be seeds of the experiment, all different";
                let value = format!("{:?} of {}", variant.seeds, variant.name);
                return Err(within(number, "seeds", value, problem));
            }
            let Some(name) = &variant.teacher else {
                continue;
            };
            let teacher = self.variants.iter().find(|v| v.name == *name);
            let Some(teacher) = teacher.filter(|teacher| teacher.teacher.is_none()) else {
                let problem = "is not the name of a variant without a teacher of its own";
                let value = format!("{name:?} of {}", variant.name);
                return Err(within(number, "teacher", value, problem));
            };
            let taught = self.seeds(variant).iter();
            if let Some(seed) = taught
                .into_iter()
                .find(|seed| !self.seeds(teacher).contains(seed))
            {
                let problem = "are not all seeds of its teacher, whose run under the same seed it learns from";
                return Err(within(
                    number,
                    "seeds",
                    format!("{seed} of {}", variant.name),
                    problem,
                ));
            }
        }
        let beyond = |values: &[f64]| values.iter().any(|x| !(*x > 0.0 && x.is_finite()));
        if let Some(frontier) = &self.frontier {
            let bytes: Vec<f64> = frontier.bytes.iter().map(|bytes| *bytes as f64).collect();
            let sizes = [
                ("frontier.bytes", bytes),
                ("frontier.compute", frontier.compute.clone()),
            ];
            for (key, values) in sizes {
                if beyond(&values) {
                    return Err(invalid(key, format!("{values:?}"), "must be above 0"));
                }
            }
        }
        if let Some(scaling) = &self.scaling
            && scaling.predict.contains(&0)
        {
            let value = format!("{:?}", scaling.predict);
            return Err(invalid("scaling.predict", value, "must be above 0"));
        }
        let own = self.variants.iter().filter_map(|v| v.baseline.as_ref());
        let own = own.map(|name| ("variants.baseline", name));
        let shared = [("baseline", &self.baseline), ("reference", &self.reference)];
        let shared = shared
            .into_iter()
            .filter_map(|(key, name)| Some((key, name.as_ref()?)));
        for (key, name) in shared.chain(own) {
            if !names.contains(name) {
                let problem = "is not the name of a variant";
                return Err(invalid(key, format!("{name:?}"), problem));
            }
        }
        self.executor.validate()
    }
}
