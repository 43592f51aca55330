//! Float weights held as they were published: 16 bits, or blocks of codes.

use bitnet_engine::{
    ActivationQuantizer, DenseFormat, Engine, FloatFormat, Gate, Granularity, Kernel, LayerWeights,
    LinearWeights, Norms, Options, RandomWeights, Shape, Source, SourceError, Table, Weights,
};
use bitnet_kernels::{
    BLOCK, BlockFormat, BlockMatrix, DenseMatrix, PackedTernary, WeightQuantizer,
};

/// How linear layers are handed over.
#[derive(Clone, Copy)]
enum Form {
    Dense(DenseFormat),
    Blocks(BlockFormat),
}

/// Random weights rounded to a form, and given in it or as the floats that they then are.
struct Stored {
    random: RandomWeights,
    form: Form,
    as_floats: bool,
}

fn shape() -> Shape {
    Shape {
        vocab_size: 71,
        hidden_size: 64,
        intermediate_size: 160,
        num_hidden_layers: 2,
        num_attention_heads: 4,
        num_key_value_heads: 2,
        head_dim: 16,
        max_position_embeddings: 60,
        rope_theta: 500.0,
        rope_scaling: None,
        rms_norm_eps: 1e-5,
        gate: Gate::Silu,
        activations: ActivationQuantizer::Int8,
        norms: Norms::PRE,
        qk_norm: false,
        tie_word_embeddings: true,
    }
}

/// A matrix whose blocks have the scale 2^-9 or 2^-5 (exact in 16 bits), and codes nearest to the values.
fn in_blocks(values: &[f32], rows: usize, cols: usize, format: BlockFormat) -> BlockMatrix {
    let (lowest, highest) = format.codes();
    let d = if lowest == i8::MIN {
        0.5f32.powi(9)
    } else {
        0.5f32.powi(5)
    };
    let m = if format.has_minimums() { -7.5 * d } else { 0.0 };
    let matrix = BlockMatrix::from_rows(rows, cols, format, Kernel::SCALAR, |row, to| {
        for (code, value) in to.codes.iter_mut().zip(&values[row * cols..]) {
            let nearest = ((value - m) / d).round();
            *code = nearest.clamp(f32::from(lowest), f32::from(highest)) as i8;
        }
        to.scales.fill(d);
        to.minimums.fill(m);
    });
    matrix.unwrap()
}

impl Stored {
    fn convert(&self, layer: &mut LinearWeights) {
        let Weights::Float { values, rows, cols } = &layer.weights else {
            panic!("random floats")
        };
        let (rows, cols) = (*rows, *cols);
        let mut floats = vec![0.0; rows * cols];
        let by_row = floats.chunks_exact_mut(cols).enumerate();
        let held = match self.form {
            Form::Dense(format) => {
                let matrix = DenseMatrix::new(values, rows, cols, format, Kernel::SCALAR);
                by_row.for_each(|(row, out)| matrix.row(row, out));
                Weights::Dense(matrix)
            }
            Form::Blocks(format) => {
                let matrix = in_blocks(values, rows, cols, format);
                by_row.for_each(|(row, out)| matrix.row(row, out));
                Weights::Blocks(matrix)
            }
        };
        layer.weights = match self.as_floats {
            true => Weights::Float {
                values: floats,
                rows,
                cols,
            },
            false => held,
        };
    }
}

impl Source for Stored {
    fn table_row(&self, table: Table, token: usize, out: &mut [f32]) {
        self.random.table_row(table, token, out);
    }

    fn layer(&self, index: usize) -> Result<LayerWeights, SourceError> {
        let mut layer = self.random.layer(index)?;
        for linear in [
            &mut layer.q_proj,
            &mut layer.k_proj,
            &mut layer.v_proj,
            &mut layer.o_proj,
            &mut layer.gate_proj,
            &mut layer.up_proj,
            &mut layer.down_proj,
        ] {
            self.convert(linear);
        }
        Ok(layer)
    }

    fn final_norm(&self) -> Result<Vec<f32>, SourceError> {
        self.random.final_norm()
    }
}

fn engine(form: Form, as_floats: bool, kernel: Kernel, threads: usize) -> Engine {
    let random = RandomWeights {
        shape: shape(),
        ternary: None,
        seed: 5,
    };
    let source = Stored {
        random,
        form,
        as_floats,
    };
    let options = Options {
        threads,
        kernel,
        strategy: bitnet_engine::Strategy::Dot,
        layout: None,
        head: DenseFormat::F32,
        cache: FloatFormat::F32,
    };
    Engine::new(shape(), &source, options).unwrap()
}

fn logits(mut engine: Engine, tokens: &[u32], at_once: bool) -> Vec<f32> {
    let mut session = engine.session(tokens.len()).unwrap();
    if at_once {
        return engine.forward(&mut session, tokens).unwrap().to_vec();
    }
    let (last, first) = tokens.split_last().unwrap();
    for token in first {
        engine.forward(&mut session, &[*token]).unwrap();
    }
    engine.forward(&mut session, &[*last]).unwrap().to_vec()
}

const TOKENS: [u32; 23] = [
    5, 1, 70, 33, 2, 2, 9, 61, 44, 8, 0, 17, 23, 50, 51, 52, 3, 4, 66, 12, 30, 31, 7,
];

#[test]
fn sixteen_bits_compute_what_the_same_floats_compute() {
    for format in [DenseFormat::Bf16, DenseFormat::F16] {
        let form = Form::Dense(format);
        let floats = logits(engine(form, true, Kernel::SCALAR, 1), &TOKENS, true);
        for kernel in Kernel::available() {
            let held = engine(form, false, kernel, 2);
            let as_f32 = engine(form, true, kernel, 2);
            assert!(held.weight_bytes() < as_f32.weight_bytes() * 2 / 3);
            assert_eq!(logits(held, &TOKENS, true), floats, "{kernel} {format}");
        }
    }
}

#[test]
fn blocks_compute_the_same_bits_on_all_kernels_threads_and_cuts() {
    for format in BlockFormat::ALL {
        let form = Form::Blocks(format);
        let expected = logits(engine(form, false, Kernel::SCALAR, 1), &TOKENS, true);
        for kernel in Kernel::available() {
            for (threads, at_once) in [(2, true), (3, false)] {
                let found = logits(engine(form, false, kernel, threads), &TOKENS, at_once);
                assert_eq!(found, expected, "{kernel} {format} {threads} {at_once}");
            }
        }
        // Activations of 8 bits: each is off by at most 1/254 of the largest of its block, and errors add up as noise does.
        let floats = logits(engine(form, true, Kernel::SCALAR, 1), &TOKENS, true);
        let range = floats.iter().fold(0.0f32, |max, y| max.max(y.abs()));
        let error = expected.iter().zip(&floats).map(|(a, b)| (a - b).abs());
        let worst = error.fold(0.0, f32::max);
        assert!(
            worst > 0.0 && worst < 0.03 * range,
            "{format}: {worst} of {range}"
        );
    }
}

/// A ternary table that is looked up in and multiplied with is held once, and answers as two do.
#[test]
fn a_tied_ternary_table_is_held_once() {
    struct Tables(RandomWeights, Granularity);
    impl Source for Tables {
        fn table(&self, _: Table) -> Result<Option<Weights>, SourceError> {
            let (rows, cols) = (self.0.shape.vocab_size, self.0.shape.hidden_size);
            let mut latent = vec![0.0; rows * cols];
            for (row, out) in latent.chunks_exact_mut(cols).enumerate() {
                self.0.table_row(Table::Embedding, row, out);
            }
            let packed =
                PackedTernary::from_latent(&latent, rows, cols, WeightQuantizer::AbsMean, self.1)?;
            Ok(Some(Weights::Ternary(packed)))
        }
        fn table_row(&self, table: Table, token: usize, out: &mut [f32]) {
            self.0.table_row(table, token, out);
        }
        fn layer(&self, index: usize) -> Result<LayerWeights, SourceError> {
            self.0.layer(index)
        }
        fn final_norm(&self) -> Result<Vec<f32>, SourceError> {
            self.0.final_norm()
        }
    }
    for granularity in [
        Granularity::Tensor,
        Granularity::Row,
        Granularity::Group(32),
    ] {
        for activations in [
            ActivationQuantizer::Int8,
            ActivationQuantizer::Int4,
            ActivationQuantizer::Float,
        ] {
            let engine = |tied| {
                let shape = Shape {
                    tie_word_embeddings: tied,
                    activations,
                    ..shape()
                };
                let random = RandomWeights {
                    shape: shape.clone(),
                    ternary: Some(granularity),
                    seed: 5,
                };
                let source = Tables(random, granularity);
                Engine::new(shape, &source, Options::default()).unwrap()
            };
            let (once, twice) = (engine(true), engine(false));
            assert_eq!(once.weight_bytes(), once.read_bytes());
            assert!(once.weight_bytes() < twice.weight_bytes());
            assert_eq!(
                logits(once, &TOKENS, true),
                logits(twice, &TOKENS, true),
                "{granularity} {activations:?}"
            );
        }
    }
}

#[test]
fn a_matrix_of_another_shape_is_refused() {
    struct Wrong(Stored);
    impl Source for Wrong {
        fn table_row(&self, table: Table, token: usize, out: &mut [f32]) {
            self.0.table_row(table, token, out);
        }
        fn layer(&self, index: usize) -> Result<LayerWeights, SourceError> {
            let mut layer = self.0.layer(index)?;
            let narrow = vec![0.0; 64 * BLOCK];
            let matrix = in_blocks(&narrow, 64, BLOCK, BlockFormat::Int8);
            layer.q_proj.weights = Weights::Blocks(matrix);
            Ok(layer)
        }
        fn final_norm(&self) -> Result<Vec<f32>, SourceError> {
            self.0.final_norm()
        }
    }
    let random = RandomWeights {
        shape: shape(),
        ternary: None,
        seed: 5,
    };
    let source = Wrong(Stored {
        random,
        form: Form::Blocks(BlockFormat::Int8),
        as_floats: false,
    });
    let error = Engine::new(shape(), &source, Options::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "model.layers.0.self_attn.q_proj is [64, 32], the model needs [64, 64]"
    );
}
