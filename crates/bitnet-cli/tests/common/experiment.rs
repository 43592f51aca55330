//! The smallest experiment: one linear layer, two variants, two rates and three seeds.

use super::Place;
use std::fs;

/// Its configuration.
pub const RUN: &str = r#"
task = "layer"

[model]
input_size = 8
num_labels = 4

[data]
examples = 60
validation_examples = 20
test_examples = 20

[train]
steps = 20
batch_size = 10
eval_interval = 4
checkpoint_interval = 10
warmup_steps = 2
"#;

/// Its variants.
pub const EXPERIMENT: &str = r#"
title = "A test"
question = "Does it run?"
config = "run.toml"
baseline = "float"
seeds = [0, 1, 2]
learning_rates = [1e-3, 1e-2]

[[variants]]
name = "float"
set = ["model.linear=float"]

[[variants]]
name = "ternary"
set = ["model.linear=ternary"]
"#;

/// A place that holds it.
pub fn place() -> Place {
    let place = Place::new();
    fs::create_dir_all(place.path("all/one")).unwrap();
    place.write("all/one/run.toml", RUN);
    place.write("all/one/experiment.toml", EXPERIMENT);
    place
}
