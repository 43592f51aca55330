//! A comparison as `bitnet compare` answers it: its experiment, and the two models in keys that programs rely on.

use serde::Serialize;

use crate::energy::MODELLED;
use crate::evaluation::Evaluation;
use crate::experiment::Experiment;
use crate::measured::TokenMatch;
use crate::run::Run;
use crate::statistics::median;
use crate::variant::{Linear, Variant};

/// `summary.json` of a comparison: loads as an [`Experiment`], of which `twins` is a view.
#[derive(Debug, Serialize)]
pub struct Comparison<'a> {
    /// The float and the ternary model.
    pub twins: Vec<Twin<'a>>,
    /// Path of the report.
    pub report: String,
    /// Everything that was found.
    #[serde(flatten)]
    pub experiment: &'a Experiment,
}

/// One model of a comparison.
#[derive(Debug, Serialize)]
pub struct Twin<'a> {
    /// The variant's name.
    pub name: &'a str,
    /// Trainable parameters.
    pub params: u64,
    /// Of those, the ones that are ternary in the exported model.
    pub ternary_weights: u64,
    /// Validation loss before the first step.
    pub initial_val_loss: Option<f64>,
    /// What training took.
    pub train: Train,
    /// Quality on the validation split, as trained.
    pub val: Option<Evaluation>,
    /// The exported ternary model; `None` for a float one.
    pub packed: Option<Packed>,
    /// Inference with the exported model.
    pub inference: Inference,
    /// Modelled and measured energy.
    pub energy: Energy<'a>,
}

/// What training took.
#[derive(Debug, Serialize)]
pub struct Train {
    /// Optimiser steps.
    pub steps: u64,
    /// Tokens, or examples, seen.
    pub tokens: u64,
    /// Seconds, evaluation excluded.
    pub seconds: f64,
    /// Throughput.
    pub tokens_per_second: f64,
    /// High-water mark of resident memory.
    pub peak_rss_bytes: Option<u64>,
    /// Milliseconds of a step, the median over turns.
    pub step_ms: Option<f64>,
}

/// A ternary model after its export.
#[derive(Debug, Serialize)]
pub struct Packed {
    /// Loss of the exported model: of a language model on the validation split, of others on the test split.
    pub val_loss: Option<f64>,
    /// Its score by the comparison's metric.
    pub score: f64,
    /// Bytes of the packed weights and their scales.
    pub weight_bytes: u64,
    /// Bytes of the exported file.
    pub file_bytes: u64,
    /// Whether it picks the same tokens as the model it was packed from; of language models.
    pub token_match: Option<TokenMatch>,
}

/// Inference with an exported model; speeds are medians over turns, and `None` where the task has none.
#[derive(Debug, Serialize)]
pub struct Inference {
    /// Tokens per second while reading a prompt.
    pub prefill_tps: Option<f64>,
    /// Tokens per second while writing.
    pub decode_tps: Option<f64>,
    /// Milliseconds for the answer to one example.
    pub latency_ms: Option<f64>,
    /// High-water mark of resident memory.
    pub peak_rss_bytes: Option<u64>,
}

/// Energy: what was modelled and what was measured, never in one number.
#[derive(Debug, Serialize)]
pub struct Energy<'a> {
    /// [`MODELLED`].
    pub method: &'static str,
    /// Picojoules for a token or example, by what was modelled.
    pub picojoules: &'a std::collections::BTreeMap<String, f64>,
    /// Joules of training, from a meter.
    pub training_joules: Option<f64>,
}

impl<'a> Comparison<'a> {
    /// Of an experiment with one run of each variant; variants without one are left out of the view.
    pub fn of(experiment: &'a Experiment, report: String) -> Self {
        let twin = |variant: &'a Variant| Some(Twin::of(variant, variant.runs.first()?));
        Self {
            twins: experiment.variants.iter().filter_map(twin).collect(),
            report,
            experiment,
        }
    }
}

impl<'a> Twin<'a> {
    fn of(variant: &'a Variant, run: &'a Run) -> Self {
        let speed = variant.speed.clone().unwrap_or_default();
        let middle = |turns: &[f64]| Some(median(turns)).filter(|middle| middle.is_finite());
        let packed = || Packed {
            val_loss: run.metrics.get("loss").copied(),
            score: run.score,
            weight_bytes: variant.packed_bytes,
            file_bytes: variant.file_bytes,
            token_match: run.text.as_ref().and_then(|text| text.token_match),
        };
        Self {
            name: &variant.name,
            params: variant.params,
            ternary_weights: variant.ternary_weights,
            initial_val_loss: run.initial_val_loss,
            train: Train {
                steps: run.steps,
                tokens: run.tokens,
                seconds: run.seconds,
                tokens_per_second: run.tokens_per_second,
                peak_rss_bytes: run.peak_rss_bytes,
                step_ms: middle(&speed.step_ms),
            },
            val: run.val,
            packed: (variant.linear == Linear::Ternary).then(packed),
            inference: Inference {
                prefill_tps: middle(&speed.prefill_tps),
                decode_tps: middle(&speed.decode_tps),
                latency_ms: middle(&speed.latency_ms),
                peak_rss_bytes: run.inference_peak_rss_bytes,
            },
            energy: Energy {
                method: MODELLED,
                picojoules: &run.modelled,
                training_joules: run.energy_joules,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measured::{Speed, TextMeasures};

    #[test]
    fn the_contract_keys_are_there_and_it_loads_as_an_experiment() {
        let run = Run {
            score: 1.5,
            steps: 20,
            val: Some(Evaluation {
                loss: 1.25,
                perplexity: Some(3.5),
                accuracy: Some(0.5),
                ..Evaluation::default()
            }),
            metrics: [("loss".to_owned(), 1.5)].into(),
            text: Some(TextMeasures {
                token_match: Some(TokenMatch {
                    compared: 8,
                    equal: 7,
                }),
                ..TextMeasures::default()
            }),
            ..Run::default()
        };
        let variant = |name: &str, linear| Variant {
            name: name.into(),
            linear,
            packed_bytes: 200,
            file_bytes: 1400,
            speed: Some(Speed {
                decode_tps: vec![1.0, 3.0, 2.0],
                ..Speed::default()
            }),
            runs: vec![run.clone()],
            ..Variant::default()
        };
        let experiment = Experiment {
            variants: vec![
                variant("float", Linear::Float),
                variant("ternary", Linear::Ternary),
            ],
            ..Experiment::default()
        };
        let json =
            serde_json::to_value(Comparison::of(&experiment, "a/report.html".into())).unwrap();
        let keys = "name params train.steps train.tokens train.seconds train.tokens_per_second train.peak_rss_bytes \
                    val.loss val.perplexity val.accuracy packed inference.prefill_tps inference.decode_tps \
                    inference.peak_rss_bytes energy.method";
        for twin in json["twins"].as_array().unwrap() {
            for key in keys.split_whitespace() {
                let pointer = format!("/{}", key.replace('.', "/"));
                assert!(twin.pointer(&pointer).is_some(), "{key} in {twin}");
            }
        }
        let [float, ternary] = &json["twins"].as_array().unwrap()[..] else {
            panic!("{json}")
        };
        assert!(float["packed"].is_null());
        assert_eq!(ternary["packed"]["val_loss"], 1.5);
        assert_eq!(ternary["packed"]["weight_bytes"], 200);
        assert_eq!(ternary["packed"]["file_bytes"], 1400);
        assert_eq!(ternary["packed"]["token_match"]["equal"], 7);
        assert_eq!(ternary["val"]["loss"], 1.25);
        assert_eq!(ternary["inference"]["decode_tps"], 2.0);
        assert!(ternary["inference"]["prefill_tps"].is_null());
        assert_eq!(json["report"], "a/report.html");
        assert_eq!(
            serde_json::from_value::<Experiment>(json).unwrap(),
            experiment
        );
    }
}
