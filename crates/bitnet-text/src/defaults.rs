//! How the authors of a model sample from it: `generation_config.json`, or the keys `general.sampling.…` of GGUF.

use bitnet_formats::{
    ModelFile,
    hf::{GenerationConfig, HfText},
};

/// Sampling settings that a model's files suggest. What is absent they do not say.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct GenerationDefaults {
    /// Logits are divided by it; 0 is greedy.
    pub temperature: Option<f32>,
    /// Only the `k` likeliest tokens.
    pub top_k: Option<usize>,
    /// Only the likeliest tokens that reach this probability together.
    pub top_p: Option<f32>,
    /// Only tokens at least so many times as likely as the likeliest.
    pub min_p: Option<f32>,
    /// Logits of tokens in the text are divided by it.
    pub repetition_penalty: Option<f32>,
}

/// Sampling settings of which none is left open; what is off has the value that samplers take for it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GenerationSettings {
    /// Logits are divided by it; 0 is greedy.
    pub temperature: f32,
    /// Only the `k` likeliest tokens; 0 is off.
    pub top_k: usize,
    /// Only the likeliest tokens that reach this probability together; 1 is off.
    pub top_p: f32,
    /// Only tokens at least so many times as likely as the likeliest; 0 is off.
    pub min_p: f32,
    /// Logits of tokens in the text are divided by it; 1 is off.
    pub repetition_penalty: f32,
}

impl GenerationDefaults {
    /// What a user asks for, then what the model's files suggest, then a temperature of 0.8 and everything else off.
    pub fn or(self, model: Self) -> GenerationSettings {
        GenerationSettings {
            temperature: self.temperature.or(model.temperature).unwrap_or(0.8),
            top_k: self.top_k.or(model.top_k).unwrap_or(0),
            top_p: self.top_p.or(model.top_p).unwrap_or(1.0),
            min_p: self.min_p.or(model.min_p).unwrap_or(0.0),
            repetition_penalty: self
                .repetition_penalty
                .or(model.repetition_penalty)
                .unwrap_or(1.0),
        }
    }

    pub(crate) fn of(model: &ModelFile) -> Self {
        let found = match model {
            ModelFile::HuggingFace(model) => return Self::of_folder(model.text()),
            ModelFile::Memory(_) => Self::default(),
            ModelFile::Gguf(model) => Self::from_config(&GenerationConfig::of_gguf(model.file())),
        };
        found.within_range()
    }

    pub(crate) fn of_folder(text: &HfText) -> Self {
        Self::from_config(text.generation_config()).within_range()
    }

    fn from_config(config: &GenerationConfig) -> Self {
        let float = |value: Option<f64>| value.map(|value| value as f32);
        Self {
            // Without sampling the highest logit counts, whatever the temperature beside it.
            temperature: match config.do_sample {
                Some(false) => Some(0.0),
                _ => float(config.temperature),
            },
            top_k: config.top_k.and_then(|k| usize::try_from(k).ok()),
            top_p: float(config.top_p),
            min_p: float(config.min_p),
            repetition_penalty: float(config.repetition_penalty),
        }
    }

    /// A suggestion that no sampler takes is none.
    fn within_range(self) -> Self {
        let positive = |value: &f32| value.is_finite() && *value > 0.0;
        Self {
            temperature: self.temperature.filter(|t| t.is_finite() && *t >= 0.0),
            top_k: self.top_k,
            top_p: self.top_p.filter(|p| positive(p) && *p <= 1.0),
            min_p: self.min_p.filter(|p| (0.0..=1.0).contains(p)),
            repetition_penalty: self.repetition_penalty.filter(positive),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_comes_before_what_is_suggested_and_that_before_ours() {
        let asked = GenerationDefaults {
            temperature: Some(0.0),
            top_p: Some(0.5),
            ..GenerationDefaults::default()
        };
        let suggested = GenerationDefaults {
            temperature: Some(1.5),
            top_k: Some(7),
            top_p: Some(0.9),
            ..GenerationDefaults::default()
        };
        let expected = GenerationSettings {
            temperature: 0.0,
            top_k: 7,
            top_p: 0.5,
            min_p: 0.0,
            repetition_penalty: 1.0,
        };
        assert_eq!(asked.or(suggested), expected);
        let nothing = GenerationDefaults::default();
        assert_eq!(nothing.or(nothing).temperature, 0.8);
    }

    #[test]
    fn a_configuration_is_taken_as_far_as_it_makes_sense() {
        let config = GenerationConfig {
            temperature: Some(0.6),
            top_p: Some(0.0),
            top_k: Some(20),
            repetition_penalty: Some(f64::NAN),
            ..GenerationConfig::default()
        };
        let found = GenerationDefaults::from_config(&config).within_range();
        let expected = GenerationDefaults {
            temperature: Some(0.6),
            top_k: Some(20),
            ..GenerationDefaults::default()
        };
        assert_eq!(found, expected);
        let greedy = GenerationConfig {
            do_sample: Some(false),
            ..config
        };
        let temperature = GenerationDefaults::from_config(&greedy).temperature;
        assert_eq!(temperature, Some(0.0));
    }
}
