//! Weights and options that do not fit are refused by name.

mod common;

use bitnet_engine::{
    Engine, Granularity, LayerWeights, Norms, Options, Source, SourceError, Table, Weights,
};
use bitnet_kernels::{Layout, float::Gate};
use common::{Uneven, options, shape};

#[test]
fn a_layout_that_does_not_hold_groups_is_refused() {
    let shape = shape(Norms::PRE, Gate::Silu, false);
    let mut source = Uneven::new(&shape, true);
    source.0.ternary = Some(Granularity::Group(64));
    let layout = Some(Layout::BaseThree);
    let error = Engine::new(
        shape,
        &source,
        Options {
            layout,
            ..options()
        },
    )
    .unwrap_err();
    let message = error.to_string();
    assert!(
        message.contains("model.layers.0.self_attn.q_proj"),
        "{message}"
    );
    assert!(message.contains("take `two-bit`"), "{message}");
}

type Change = fn(&mut LayerWeights);

/// A source with one thing wrong.
struct Broken(Uneven, Change);

impl Source for Broken {
    fn table_row(&self, table: Table, token: usize, out: &mut [f32]) {
        self.0.table_row(table, token, out);
    }

    fn layer(&self, index: usize) -> Result<LayerWeights, SourceError> {
        let mut layer = self.0.layer(index)?;
        if index == 2 {
            self.1(&mut layer);
        }
        Ok(layer)
    }

    fn final_norm(&self) -> Result<Vec<f32>, SourceError> {
        self.0.final_norm()
    }
}

#[test]
fn weights_that_do_not_fit_are_named() {
    let shape = shape(Norms::PRE, Gate::Silu, false);
    let cases: [(Change, &str); 5] = [
        (
            |l| l.k_norm = Some(vec![1.0; 10]),
            "model.layers.2.self_attn.k_norm is present, qk_norm = false needs it absent",
        ),
        (
            |l| l.up_proj = l.down_proj.clone(),
            "model.layers.2.mlp.up_proj is [44, 75], the model needs [75, 44]",
        ),
        (
            |l| l.attn_sub_norm = Some(vec![1.0; 60]),
            "model.layers.2.self_attn.attn_sub_norm is present, the norm placement `pre` needs it absent",
        ),
        (
            |l| l.input_layernorm = Some(vec![1.0; 3]),
            "model.layers.2.input_layernorm is [1, 3], the model needs [1, 44]",
        ),
        (
            |l| {
                if let Weights::Float { values, .. } = &mut l.q_proj.weights {
                    values.pop();
                }
            },
            "model.layers.2.self_attn.q_proj has 2639 values, its shape [60, 44] needs others",
        ),
    ];
    for (change, message) in cases {
        let source = Broken(Uneven::new(&shape, false), change);
        let error = Engine::new(shape.clone(), &source, options()).unwrap_err();
        assert_eq!(error.to_string(), message);
    }
}
