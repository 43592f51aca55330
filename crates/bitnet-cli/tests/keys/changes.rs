//! Another value for every key, or where its effect is looked at.

/// For each key another value, in TOML, with what it needs besides. `OTHER` is a file of other data.
pub const CHANGES: &[(&str, &[&str])] = &[
    ("model.linear", &["model.linear=float"]),
    ("model.vocab_size", &["model.vocab_size=300"]),
    ("model.hidden_size", &["model.hidden_size=24"]),
    ("model.intermediate_size", &["model.intermediate_size=48"]),
    ("model.num_hidden_layers", &["model.num_hidden_layers=1"]),
    ("model.num_decoder_layers", &["model.num_decoder_layers=1"]),
    ("model.width_multiple", &["model.width_multiple=2.0"]),
    (
        "model.num_attention_heads",
        &["model.num_attention_heads=4"],
    ),
    (
        "model.num_key_value_heads",
        &["model.num_key_value_heads=1"],
    ),
    ("model.head_dim", &["model.head_dim=4"]),
    ("model.qk_norm", &["model.qk_norm=true"]),
    ("model.rope_theta", &["model.rope_theta=10.0"]),
    (
        "model.rope_scaling",
        &["model.rope_scaling={ rope_type = \"linear\", factor = 2.0 }"],
    ),
    ("model.position", &["model.position=sinusoidal"]),
    ("model.mlp", &["model.mlp=plain"]),
    ("model.hidden_act", &["model.hidden_act=relu2"]),
    ("model.dropout", &["model.dropout=0.5"]),
    (
        "model.tie_word_embeddings",
        &["model.tie_word_embeddings=true"],
    ),
    ("model.rms_norm_eps", &["model.rms_norm_eps=1.0"]),
    ("model.initializer_range", &["model.initializer_range=0.2"]),
    ("quant.weights", &["quant.weights=sign"]),
    ("quant.granularity", &["quant.granularity=row"]),
    ("quant.activations", &["quant.activations=int4"]),
    ("quant.learned_scale", &["quant.learned_scale=true"]),
    ("recipe.trust", &["recipe.trust=0.1"]),
    ("recipe.pull", &["recipe.pull=5.0"]),
    (
        "recipe.pull_from",
        &["recipe.pull=5.0", "recipe.pull_from=0.0"],
    ),
    ("recipe.residual", &["recipe.residual=0.5"]),
    ("recipe.temperature", &["recipe.temperature=0.5"]),
    (
        "recipe.temperature_until",
        &["recipe.temperature=0.5", "recipe.temperature_until=0.3"],
    ),
    ("recipe.float_until", &["recipe.float_until=0.5"]),
    ("train.late_accumulate", &["train.late_accumulate=2"]),
    (
        "train.late_from",
        &["train.late_accumulate=2", "train.late_from=0.3"],
    ),
    ("train.optimizer", &["train.optimizer=muon"]),
    (
        "train.distill_start",
        &["train.distill_from=teacher", "train.distill_start=0.6"],
    ),
    ("quant.norm", &["quant.norm=inside"]),
    ("data.kind", &["data.kind=text", "data.path=text.txt"]),
    ("data.path", &["data.path=OTHER"]),
    ("data.validation_path", &["data.validation_path=OTHER"]),
    ("data.test_path", &["data.test_path=OTHER"]),
    ("data.source", &["data.source=de", "data.target=en"]),
    ("data.target", &["data.source=de", "data.target=de"]),
    (
        "data.validation_source",
        &["data.validation_source=de", "data.validation_target=en"],
    ),
    (
        "data.validation_target",
        &["data.validation_source=de", "data.validation_target=de"],
    ),
    (
        "data.test_source",
        &["data.test_source=de", "data.test_target=en"],
    ),
    (
        "data.test_target",
        &["data.test_source=de", "data.test_target=de"],
    ),
    (
        "data.source_column",
        &["data.source_column=2", "data.target_column=2"],
    ),
    (
        "data.target_column",
        &["data.source_column=1", "data.target_column=1"],
    ),
    ("data.text_columns", &["data.text_columns=[\"other\"]"]),
    ("data.label_column", &["data.label_column=1"]),
    ("data.level", &["data.level=byte"]),
    ("data.tokenizer", &["data.tokenizer=tokenizer.json"]),
    ("data.lowercase", &["data.lowercase=true"]),
    (
        "data.vocab_size",
        &["data.level=bpe", "data.vocab_size=270"],
    ),
    ("data.max_length", &["data.max_length=12"]),
    ("data.train_fraction", &["data.train_fraction=0.8"]),
    ("data.validation_examples", &["data.validation_examples=6"]),
    ("data.test_examples", &["data.test_examples=6"]),
    ("data.shuffle", &["data.shuffle=false"]),
    ("data.characters", &["data.characters=4000"]),
    ("data.synthetic", &["data.synthetic=copy"]),
    ("data.examples", &["data.examples=50"]),
    ("data.min_symbols", &["data.min_symbols=4"]),
    ("data.max_symbols", &["data.max_symbols=6"]),
    ("data.noise", &["data.noise=1.0"]),
    ("data.seed", &["data.seed=5"]),
    ("train.steps", &["train.steps=5"]),
    ("train.batch_size", &["train.batch_size=3"]),
    ("train.accumulate", &["train.accumulate=2"]),
    ("train.context", &["train.context=12"]),
    ("train.seed", &["train.seed=5"]),
    ("train.eval_interval", &["train.eval_interval=3"]),
    ("train.eval_batches", &["train.eval_batches=2"]),
    ("train.sample_tokens", &["train.sample_tokens=3"]),
    (
        "train.checkpoint_interval",
        &["train.checkpoint_interval=2"],
    ),
    ("train.log_interval", &["train.log_interval=2"]),
    ("train.lambda_warmup", &["train.lambda_warmup=0.9"]),
    ("train.label_smoothing", &["train.label_smoothing=0.3"]),
    ("train.token_dropout", &["train.token_dropout=0.5"]),
    ("train.distill_from", &["train.distill_from=teacher"]),
    (
        "train.distill_weight",
        &["train.distill_from=teacher", "train.distill_weight=0.9"],
    ),
    (
        "train.distill_temperature",
        &[
            "train.distill_from=teacher",
            "train.distill_temperature=3.0",
        ],
    ),
    ("train.learning_rate", &["train.learning_rate=3e-2"]),
    ("train.schedule", &["train.schedule=linear"]),
    ("train.final_lr_fraction", &["train.final_lr_fraction=0.9"]),
    (
        "train.second_learning_rate",
        &[
            "train.schedule=two-stage",
            "train.second_learning_rate=2e-3",
        ],
    ),
    (
        "train.stage_fraction",
        &[
            "train.schedule=two-stage",
            "train.second_learning_rate=2e-3",
            "train.stage_fraction=0.9",
        ],
    ),
    ("train.warmup_steps", &["train.warmup_steps=3"]),
    ("train.weight_decay", &["train.weight_decay=5.0"]),
    (
        "train.weight_decay_until",
        &["train.weight_decay=5.0", "train.weight_decay_until=0.3"],
    ),
    ("train.beta1", &["train.beta1=0.3"]),
    ("train.beta2", &["train.beta2=0.3"]),
    ("train.eps", &["train.eps=0.1"]),
    ("train.grad_clip", &["train.grad_clip=0.01"]),
    ("decode.beam", &["decode.beam=5"]),
    (
        "decode.length_penalty",
        &["decode.beam=5", "decode.length_penalty=9.0"],
    ),
    ("decode.max_length", &["decode.max_length=3"]),
];

/// Keys whose effect is elsewhere than in what is looked at here, and where; a task before a key is the only one.
pub const ELSEWHERE: &[(&str, &str)] = &[
    (
        "name",
        "names the folder of a run without --run-dir, and reports",
    ),
    ("task", "is what all of this is about"),
    ("model.num_labels", "is what the data has, or refused"),
    ("model.input_size", "is what the data has, or refused"),
    ("model.max_position_embeddings", "bounds the other lengths"),
    (
        "data.chat_template",
        "is of models that start from another one (tuning.rs)",
    ),
    (
        "train.init_from",
        "is of models that start from another one (tuning.rs)",
    ),
    (
        "train.loss_rows",
        "changes memory, and not the loss (steps.rs)",
    ),
    (
        "train.checkpoint_activations",
        "changes memory, and not the loss (steps.rs)",
    ),
    (
        "synthetic: decode.length_penalty",
        "decides among outputs that end, and these are cut (it changes those of translate)",
    ),
    (
        "train.stop_after",
        "ends runs of more evaluations (runs.rs)",
    ),
    ("train.checkpoint_minutes", "counts minutes (faults.rs)"),
    (
        "train.keep_checkpoints",
        "removes checkpoints of longer runs (runs.rs)",
    ),
    ("train.precision", "needs Intel AMX"),
    ("train.backward_pieces", "needs Intel AMX"),
    (
        "decode.batch_size",
        "changes memory, and not what is written",
    ),
    (
        "compare.prompts",
        "is what `bitnet compare` does after training",
    ),
    (
        "compare.sample_tokens",
        "is what `bitnet compare` does after training",
    ),
    (
        "compare.temperature",
        "is what `bitnet compare` does after training",
    ),
    (
        "compare.agreement_tokens",
        "is what `bitnet compare` does after training",
    ),
    (
        "compare.prefill_tokens",
        "is what `bitnet compare` does after training",
    ),
    (
        "compare.decode_tokens",
        "is what `bitnet compare` does after training",
    ),
    (
        "compare.repetitions",
        "is what `bitnet compare` does after training",
    ),
    (
        "compare.probes",
        "is what `bitnet compare` does after training",
    ),
    ("lm: model.mlp", "has one value"),
    ("lm: model.position", "has one value"),
    (
        "lm: data.validation_examples",
        "counts conversations (tuning.rs)",
    ),
];
