//! The exact text of every error about a value that is out of range or disagrees with another.

use bitnet_config::{Loader, RunConfig};

/// The message for settings given by `--set`, which show the one that is to blame.
#[track_caller]
fn rejects(assignments: &[&str], message: &str) {
    let result = assignments
        .iter()
        .try_fold(Loader::new(), |loader, assignment| loader.set(assignment))
        .and_then(Loader::finish);
    let error = result.unwrap_err().to_string();
    let lines: Vec<&str> = error.lines().collect();
    assert_eq!(
        lines[0].strip_prefix("--set: ").unwrap_or(lines[0]),
        message
    );
    assert_eq!(lines.len(), 3, "{error}");
    let shown = |assignment: &&str| lines[1].ends_with(assignment);
    assert!(
        assignments.iter().any(shown) && lines[2].contains('^'),
        "{error}"
    );
}

#[test]
fn single_values_out_of_range() {
    for (assignment, message) in [
        (
            "name=",
            "name = \"\" cannot name a directory; choose a name without slashes",
        ),
        (
            "name=../x",
            "name = \"../x\" cannot name a directory; choose a name without slashes",
        ),
        ("train.steps=0", "train.steps = 0 must be at least 1"),
        (
            "train.batch_size=0",
            "train.batch_size = 0 must be at least 1",
        ),
        ("train.context=0", "train.context = 0 must be at least 1"),
        (
            "train.checkpoint_minutes=-1",
            "train.checkpoint_minutes = -1 must be between 0 and 525600",
        ),
        (
            "train.keep_checkpoints=0",
            "train.keep_checkpoints = 0 must be at least 1",
        ),
        (
            "model.intermediate_size=1048592",
            "model.intermediate_size = 1048592 exceeds 1048576, which is what a ternary layer sums over; make it smaller",
        ),
        (
            "train.learning_rate=-1",
            "train.learning_rate = -1 must be above 0 and at most 10",
        ),
        (
            "train.learning_rate=nan",
            "train.learning_rate = NaN must be above 0 and at most 10",
        ),
        (
            "train.ternary.learning_rate=inf",
            "train.ternary.learning_rate = inf must be above 0 and at most 10",
        ),
        ("train.eps=0", "train.eps = 0 must be above 0 and at most 1"),
        (
            "train.float.weight_decay=-0.1",
            "train.float.weight_decay = -0.1 must be between 0 and 100",
        ),
        (
            "train.grad_clip=nan",
            "train.grad_clip = NaN must be between 0 and 1000000",
        ),
        (
            "train.backward_pieces=4",
            "train.backward_pieces = 4 must be between 1 and 3",
        ),
        (
            "train.final_lr_fraction=1.5",
            "train.final_lr_fraction = 1.5 must be between 0 and 1",
        ),
        (
            "train.stage_fraction=-1",
            "train.stage_fraction = -1 must be between 0 and 1",
        ),
        (
            "train.weight_decay_until=nan",
            "train.weight_decay_until = NaN must be between 0 and 1",
        ),
        (
            "train.beta1=1",
            "train.beta1 = 1 must be at least 0 and below 1",
        ),
        (
            "train.beta2=-0.5",
            "train.beta2 = -0.5 must be at least 0 and below 1",
        ),
        (
            "data.train_fraction=1",
            "data.train_fraction = 1 must be above 0 and below 1, so that both splits hold text",
        ),
        (
            "compare.temperature=-1",
            "compare.temperature = -1 must be between 0 and 100",
        ),
        (
            "compare.repetitions=0",
            "compare.repetitions = 0 must be at least 1",
        ),
        (
            "compare.agreement_tokens=0",
            "compare.agreement_tokens = 0 must be at least 1",
        ),
        (
            "compare.prefill_tokens=0",
            "compare.prefill_tokens = 0 must be at least 1",
        ),
        (
            "compare.decode_tokens=0",
            "compare.decode_tokens = 0 must be at least 1",
        ),
        (
            "model.hidden_size=0",
            "model.hidden_size must be at least 1",
        ),
        (
            "model.head_dim=3",
            "the head width must be even for rotary embedding, got 3; set model.head_dim",
        ),
    ] {
        rejects(&[assignment], message);
    }
}

#[test]
fn values_that_disagree() {
    rejects(
        &["task=synthetic", "decode.beam=1000000007"],
        "decode.beam = 1000000007 must be between 1 and 1024",
    );
    rejects(
        &["train.context=512"],
        "train.context = 512 exceeds model.max_position_embeddings = 256; raise that or lower train.context",
    );
    rejects(
        &["train.float.schedule=two-stage"],
        "train.second_learning_rate is missing: train.float.schedule = \"two-stage\" needs it; \
         set it, or choose \"cosine\" or \"linear\"",
    );
    rejects(
        &["train.second_learning_rate=0"],
        "train.second_learning_rate = 0 must be above 0 and at most 10",
    );
    rejects(
        &[
            "train.second_learning_rate=1e-3",
            "train.ternary.learning_rate=5e-4",
        ],
        "train.second_learning_rate = 0.001 exceeds train.ternary.learning_rate = 0.0005; \
         the second peak is the lower one",
    );
    rejects(
        &["data.kind=text"],
        "data.path is missing: data.kind = \"text\" needs a text file; set it, or choose data.kind = \"stories\"",
    );
    rejects(
        &["data.path=x.txt"],
        "data.path = \"x.txt\" counts only with data.kind = \"text\" or \"chat\"; change that, or leave it out",
    );
    rejects(
        &["data.characters=1000"],
        "data.characters = 1000 leaves 100 characters in one split, fewer than train.context + 1 = 129; \
         raise it or lower train.context",
    );
    rejects(
        &["compare.sample_tokens=256"],
        "compare.sample_tokens = 256 leaves no room for a prompt in model.max_position_embeddings = 256; \
         lower it or raise that",
    );
    rejects(
        &["compare.prefill_tokens=250"],
        "compare.prefill_tokens = 250 and compare.decode_tokens = 64 together exceed \
         model.max_position_embeddings = 256; raise that or lower one of them",
    );
}

#[test]
fn seeds_too_large_for_toml() {
    let expected = "expected a whole number from 0 to 9223372036854775807";
    let message = format!("train.seed = \"18446744073709551615\": {expected}");
    rejects(&["train.seed=18446744073709551615"], &message);
    let mut config = RunConfig::default();
    config.train.seed = u64::MAX;
    assert_eq!(
        config.validate().unwrap_err().to_string(),
        "train.seed = 18446744073709551615 exceeds 9223372036854775807, the largest integer of TOML; \
         choose a smaller seed"
    );
}
