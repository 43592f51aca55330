//! Names that other programs have for the same settings: nanoGPT's, Hugging Face's, and what else people try.

/// The key here for a name elsewhere, and what is different about it.
const NAMES: &[(&[&str], &str, &str)] = &[
    (
        &["n_layer", "n_layers", "num_layers", "nlayers", "depth"],
        "model.num_hidden_layers",
        "",
    ),
    (
        &["n_head", "n_heads", "num_heads", "nhead"],
        "model.num_attention_heads",
        "",
    ),
    (
        &["n_kv_head", "n_kv_heads", "num_kv_heads"],
        "model.num_key_value_heads",
        "",
    ),
    (
        &[
            "n_embd",
            "d_model",
            "hidden_dim",
            "embed_dim",
            "dim",
            "width",
        ],
        "model.hidden_size",
        "",
    ),
    (
        &["d_ff", "ffn_dim", "n_inner", "ffn_hidden_size", "mlp_dim"],
        "model.intermediate_size",
        "",
    ),
    (
        &[
            "n_positions",
            "n_ctx",
            "max_seq_len",
            "max_seq_length",
            "max_sequence_length",
        ],
        "model.max_position_embeddings",
        "",
    ),
    (
        &[
            "block_size",
            "seq_len",
            "seq_length",
            "sequence_length",
            "context_length",
            "context_size",
        ],
        "train.context",
        "model.max_position_embeddings is the most that a model takes",
    ),
    (
        &["activation", "activation_function", "act"],
        "model.hidden_act",
        "",
    ),
    (
        &["tie_embeddings", "weight_tying"],
        "model.tie_word_embeddings",
        "",
    ),
    (
        &[
            "drop",
            "resid_pdrop",
            "attn_pdrop",
            "embd_pdrop",
            "hidden_dropout_prob",
            "dropout_rate",
        ],
        "model.dropout",
        "",
    ),
    (
        &[
            "max_iters",
            "max_steps",
            "iterations",
            "iters",
            "num_steps",
            "total_steps",
        ],
        "train.steps",
        "",
    ),
    (
        &["num_train_epochs", "num_epochs", "n_epochs", "epochs"],
        "train.steps",
        "in steps, not epochs: an epoch of examples has examples / train.batch_size of them",
    ),
    (
        &["per_device_train_batch_size", "train_batch_size", "bs"],
        "train.batch_size",
        "",
    ),
    (&["lr", "max_lr"], "train.learning_rate", ""),
    (
        &["min_lr"],
        "train.final_lr_fraction",
        "as a fraction of the peak",
    ),
    (
        &["warmup_iters", "warmup", "num_warmup_steps"],
        "train.warmup_steps",
        "",
    ),
    (&["warmup_ratio"], "train.warmup_steps", "in steps"),
    (
        &["lr_decay_iters", "lr_decay_steps"],
        "train.steps",
        "the schedule ends with the run",
    ),
    (
        &["lr_scheduler_type", "lr_scheduler", "scheduler"],
        "train.schedule",
        "",
    ),
    (&["adam_beta1"], "train.beta1", ""),
    (&["adam_beta2"], "train.beta2", ""),
    (&["adam_epsilon", "epsilon"], "train.eps", ""),
    (
        &["max_grad_norm", "clip_grad_norm", "gradient_clipping"],
        "train.grad_clip",
        "",
    ),
    (&["wd"], "train.weight_decay", ""),
    (&["label_smoothing_factor"], "train.label_smoothing", ""),
    (&["logging_steps"], "train.log_interval", ""),
    (&["eval_steps"], "train.eval_interval", ""),
    (&["eval_iters"], "train.eval_batches", ""),
    (&["save_steps"], "train.checkpoint_interval", ""),
    (&["save_total_limit"], "train.keep_checkpoints", ""),
    (&["num_beams", "beam_size"], "decode.beam", ""),
    (
        &[
            "dataset",
            "train_file",
            "input_file",
            "file",
            "corpus",
            "data_dir",
        ],
        "data.path",
        "",
    ),
    (
        &["validation_file", "valid_file", "eval_file"],
        "data.validation_path",
        "",
    ),
    (&["test_file"], "data.test_path", ""),
    (
        &["tokenizer_name", "tokenizer_file", "tokenizer_path"],
        "data.tokenizer",
        "",
    ),
    (
        &["text_column", "text_field"],
        "data.text_columns",
        "a list",
    ),
    (
        &["val_split", "val_fraction", "train_split"],
        "data.train_fraction",
        "the share that is trained on",
    ),
    (
        &["quantizer", "weight_bits", "quantization"],
        "quant.weights",
        "",
    ),
    (&["activation_bits"], "quant.activations", ""),
];

/// The key that another program's name stands for, and a remark, which may be empty.
pub(crate) fn known_as(name: &str) -> Option<(&'static str, &'static str)> {
    let found = NAMES.iter().find(|(names, ..)| names.contains(&name))?;
    Some((found.1, found.2))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::KEYS;

    #[test]
    fn every_suggestion_is_a_key_and_no_name_is_one_or_stands_twice() {
        let mut seen = std::collections::BTreeSet::new();
        for (names, key, _) in NAMES {
            assert!(KEYS.contains_key(*key), "{key}");
            for name in *names {
                assert!(seen.insert(*name), "{name} stands twice");
                let own = KEYS
                    .keys()
                    .find(|key| key.rsplit('.').next() == Some(*name));
                assert_eq!(own, None, "{name} is a key here");
            }
        }
    }
}
