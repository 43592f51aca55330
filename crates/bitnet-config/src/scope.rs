//! Which task reads which key. What a task does not read is refused: a setting that changes nothing would be believed to.

use crate::Task;

use Task::{Classify, Layer, Lm, Synthetic, Translate, Vectors};

/// Every task.
pub(crate) const TASKS: [Task; 6] = [Lm, Translate, Classify, Vectors, Synthetic, Layer];

/// Transformers.
const TRANSFORMERS: &[Task] = &[Lm, Translate, Classify, Synthetic];
/// Encoder–decoders.
const PAIRS: &[Task] = &[Translate, Synthetic];

/// Keys that not every task reads, or whole sections, and the tasks that do.
const SCOPES: &[(&str, &[Task])] = &[
    ("model.vocab_size", TRANSFORMERS),
    ("model.num_labels", &[Classify, Vectors, Layer]),
    ("model.input_size", &[Vectors, Layer]),
    (
        "model.hidden_size",
        &[Lm, Translate, Classify, Vectors, Synthetic],
    ),
    ("model.intermediate_size", TRANSFORMERS),
    (
        "model.num_hidden_layers",
        &[Lm, Translate, Classify, Vectors, Synthetic],
    ),
    ("model.num_decoder_layers", PAIRS),
    (
        "model.width_multiple",
        &[Lm, Translate, Classify, Vectors, Synthetic],
    ),
    ("model.num_attention_heads", TRANSFORMERS),
    ("model.num_key_value_heads", TRANSFORMERS),
    ("model.head_dim", TRANSFORMERS),
    ("model.qk_norm", TRANSFORMERS),
    ("model.max_position_embeddings", TRANSFORMERS),
    ("model.rope_theta", TRANSFORMERS),
    ("model.rope_scaling", TRANSFORMERS),
    ("model.position", TRANSFORMERS),
    ("model.mlp", TRANSFORMERS),
    (
        "model.hidden_act",
        &[Lm, Translate, Classify, Vectors, Synthetic],
    ),
    (
        "model.dropout",
        &[Lm, Translate, Classify, Vectors, Synthetic],
    ),
    ("model.tie_word_embeddings", &[Lm, Translate, Synthetic]),
    ("data.kind", &[Lm]),
    ("data.path", &[Lm, Translate, Classify, Vectors]),
    ("data.validation_path", &[Lm, Translate, Classify, Vectors]),
    ("data.test_path", &[Translate, Classify, Vectors]),
    ("data.source", &[Translate]),
    ("data.target", &[Translate]),
    ("data.validation_source", &[Translate]),
    ("data.validation_target", &[Translate]),
    ("data.test_source", &[Translate]),
    ("data.test_target", &[Translate]),
    ("data.source_column", &[Translate]),
    ("data.target_column", &[Translate]),
    ("data.text_columns", &[Lm, Classify]),
    ("data.label_column", &[Classify, Vectors]),
    ("data.level", TRANSFORMERS),
    ("data.tokenizer", &[Lm, Translate, Classify]),
    ("data.chat_template", &[Lm]),
    ("data.lowercase", &[Classify]),
    ("data.vocab_size", TRANSFORMERS),
    ("data.max_length", &[Translate, Classify, Synthetic]),
    ("data.train_fraction", &[Lm]),
    (
        "data.test_examples",
        &[Translate, Classify, Vectors, Synthetic, Layer],
    ),
    ("data.characters", &[Lm]),
    ("data.synthetic", &[Synthetic]),
    ("data.examples", &[Synthetic, Layer]),
    ("data.min_symbols", &[Synthetic]),
    ("data.max_symbols", &[Synthetic]),
    ("data.noise", &[Layer]),
    ("data.shuffle", &[Translate, Classify]),
    ("train.context", &[Lm]),
    ("train.loss_rows", &[Lm]),
    ("train.checkpoint_activations", &[Lm]),
    ("train.sample_tokens", &[Lm]),
    ("train.label_smoothing", PAIRS),
    ("train.token_dropout", &[Classify]),
    ("train.init_from", &[Lm]),
    ("train.distill_from", &[Lm]),
    ("train.distill_start", &[Lm]),
    ("train.distill_weight", &[Lm]),
    ("train.distill_temperature", &[Lm]),
    ("decode", PAIRS),
    ("compare.prompts", &[Lm]),
    ("compare.sample_tokens", &[Lm]),
    ("compare.agreement_tokens", &[Lm]),
    ("compare.temperature", &[Lm]),
    ("compare.prefill_tokens", &[Lm]),
    ("compare.decode_tokens", &[Lm]),
    ("compare.probes", &[Lm]),
];

/// The tasks that read a key, by its dotted path.
pub(crate) fn readers(key: &str) -> &'static [Task] {
    let inside = |scope: &str| {
        key.strip_prefix(scope)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    let known = SCOPES.iter().find(|(scope, _)| inside(scope));
    known.map_or(&TASKS, |(_, tasks)| tasks)
}

impl Task {
    /// Whether a run of this task reads a key, such as `data.lowercase`.
    pub fn reads(self, key: &str) -> bool {
        readers(key).contains(&self)
    }
}

/// The names of tasks in a sentence: `lm`, `lm and classify`, `lm, classify and layer`.
pub(crate) fn names(tasks: &[Task]) -> String {
    let names: Vec<&str> = tasks.iter().map(|task| task.name()).collect();
    match names.split_last() {
        Some((last, [])) => (*last).to_owned(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::KEYS;

    #[test]
    fn every_scope_is_a_key_and_leaves_somebody_out() {
        for (scope, tasks) in SCOPES {
            assert!(KEYS.contains_key(*scope), "{scope}");
            assert!(!tasks.is_empty() && tasks.len() < TASKS.len(), "{scope}");
        }
    }
}
