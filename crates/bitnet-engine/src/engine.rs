//! A model ready to run.

use std::sync::Arc;

use bitnet_kernels::{
    DenseFormat, DenseMatrix, FloatFormat, GROUP, Kernel, KeysValues, Layout, MAX_INT8_COLS,
    Strategy,
};

use crate::{
    EngineError, LayerWeights, LinearWeights, Part, Session, Shape, Source, Table, Wanted, Weights,
    embedding::Embedding,
    forward::Workspace,
    linear::{Linear, Matrix},
    session::HeadCache,
};

/// How a model runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Threads, the calling one included.
    pub threads: usize,
    /// Instruction set; all give the same numbers.
    pub kernel: Kernel,
    /// By which operations products of ternary weights add up; all give the same numbers.
    pub strategy: Strategy,
    /// How ternary weights are stored; both give the same numbers. `None` takes what suits the kernel and each matrix'
    /// scales.
    pub layout: Option<Layout>,
    /// How the head and the embedding are stored; the narrower, the faster and the less exact.
    pub head: DenseFormat,
    /// How keys and values are stored: bfloat16 halves what a text takes and what a token reads of it, and errs by 2^-9.
    pub cache: FloatFormat,
}

impl Default for Options {
    /// The fastest kernel with the layouts that suit it, on as many threads as there are processors.
    fn default() -> Options {
        let kernel = Kernel::detect();
        Options {
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            kernel,
            strategy: Strategy::detect(kernel),
            layout: None,
            head: DenseFormat::Int8,
            cache: FloatFormat::Bf16,
        }
    }
}

/// One block.
#[derive(Debug)]
pub(crate) struct Layer {
    pub input_norm: Option<Vec<f32>>,
    pub q: Linear,
    pub k: Linear,
    pub v: Linear,
    pub q_norm: Option<Vec<f32>>,
    pub k_norm: Option<Vec<f32>>,
    pub attn_sub_norm: Option<Vec<f32>>,
    pub o: Linear,
    pub post_norm: Option<Vec<f32>>,
    pub gate: Linear,
    pub up: Linear,
    pub ffn_sub_norm: Option<Vec<f32>>,
    pub down: Linear,
}

/// The weights, repacked.
#[derive(Debug)]
pub(crate) struct Model {
    pub shape: Shape,
    pub embedding: Embedding,
    pub layers: Vec<Layer>,
    /// The final norm and the head.
    pub head: Linear,
}

/// A decoder-only Transformer on the CPU.
///
/// ```
/// use bitnet_engine::{ActivationQuantizer, Engine, Gate, Granularity, Norms, Options, RandomWeights, Shape};
///
/// let shape = Shape {
///     vocab_size: 50, hidden_size: 32, intermediate_size: 48, num_hidden_layers: 2, num_attention_heads: 4,
///     num_key_value_heads: 2, head_dim: 8, max_position_embeddings: 64, rope_theta: 1e4, rope_scaling: None,
///     rms_norm_eps: 1e-5, gate: Gate::Silu, activations: ActivationQuantizer::Int8, norms: Norms::PRE, qk_norm: false,
///     tie_word_embeddings: false,
/// };
/// let weights = RandomWeights { shape: shape.clone(), ternary: Some(Granularity::Tensor), seed: 1 };
/// let mut engine = Engine::new(shape, &weights, Options { threads: 2, ..Options::default() })?;
/// let mut session = engine.session(64)?;
/// let logits = engine.forward(&mut session, &[3, 1, 4])?.to_vec();
/// // Token by token it is the same, bit for bit.
/// session.truncate(0);
/// engine.forward(&mut session, &[3])?;
/// engine.forward(&mut session, &[1])?;
/// assert_eq!(engine.forward(&mut session, &[4])?, logits);
/// # Ok::<(), bitnet_engine::EngineError>(())
/// ```
#[derive(Debug)]
pub struct Engine {
    pub(crate) model: Model,
    pub(crate) options: Options,
    pub(crate) work: Workspace,
}

impl Engine {
    /// Takes a model's weights, block by block, and repacks them for the kernel.
    ///
    /// # Errors
    ///
    /// If the shape cannot be, a tensor does not fit it, the processor lacks the kernel, or no threads can be started.
    pub fn new(
        shape: Shape,
        source: &impl Source,
        options: Options,
    ) -> Result<Engine, EngineError> {
        shape.validate()?;
        let kernel = options.kernel.require()?;
        let (hidden, vocab) = (shape.hidden_size, shape.vocab_size);
        let threads = options.threads.max(1);
        let work = workspace(&shape, threads)?;
        let dense = |table: Table| {
            if options.head == DenseFormat::Int8 && hidden > MAX_INT8_COLS {
                return Err(EngineError::WideHead {
                    hidden,
                    max: MAX_INT8_COLS,
                });
            }
            let fill = |row: usize, out: &mut [f32]| source.table_row(table, row, out);
            let table = DenseMatrix::from_rows(vocab, hidden, options.head, kernel, fill);
            Ok(Arc::new(table))
        };
        let norm = source.final_norm().map_err(EngineError::Source)?;
        check_norm("model.norm", Some(&norm), true, hidden, &placement(&shape))?;
        let linear = |name: &'static str, weights: Weights| {
            let layer = LinearWeights {
                weights,
                norm: Some(norm.clone()),
            };
            let name = || name.to_owned();
            Linear::new(&name, layer, [vocab, hidden], shape.activations, &options)
        };
        let given = |table| source.table(table).map_err(EngineError::Source);
        let head_of = |matrix: Matrix| Linear {
            matrix,
            norm: Some(norm.clone()),
        };
        // What the head is, if it is the embedding.
        let (embedding, tied) = match given(Table::Embedding)? {
            Some(Weights::Ternary(packed)) if !shape.tie_word_embeddings => {
                (Embedding::Ternary(packed), None)
            }
            Some(weights) => {
                let table = linear("model.embed_tokens", weights)?;
                (Embedding::of_head(&table.matrix), Some(table))
            }
            None => {
                let matrix = dense(Table::Embedding)?;
                let tied = head_of(Matrix::Dense(Arc::clone(&matrix)));
                (Embedding::Dense(matrix), Some(tied))
            }
        };
        let head = match (tied, shape.tie_word_embeddings) {
            (Some(tied), true) => tied,
            _ => match given(Table::Head)? {
                Some(weights) => linear("lm_head", weights)?,
                None => head_of(Matrix::Dense(dense(Table::Head)?)),
            },
        };
        let layers = (0..shape.num_hidden_layers)
            .map(|index| {
                let weights = source.layer(index).map_err(EngineError::Source)?;
                Layer::new(&shape, index, weights, options)
            })
            .collect::<Result<_, _>>()?;
        let model = Model {
            embedding,
            layers,
            head,
            shape,
        };
        Ok(Engine {
            work,
            model,
            options: Options { threads, ..options },
        })
    }

    /// An empty session for up to `capacity` tokens.
    ///
    /// # Errors
    ///
    /// If the model has fewer positions.
    pub fn session(&self, capacity: usize) -> Result<Session, EngineError> {
        Session::new(&self.model.shape, capacity, self.options.cache)
    }

    /// Reads `tokens` after those in the session and returns the logits of the last one, `[vocab_size]`: a prompt
    /// (prefill), or one token (decode).
    ///
    /// # Errors
    ///
    /// If there is no token, one is unknown, or the session has no room for them; it is then as it was.
    pub fn forward(
        &mut self,
        session: &mut Session,
        tokens: &[u32],
    ) -> Result<&[f32], EngineError> {
        self.check(session, tokens)?;
        Ok(self
            .work
            .last_logits(&self.model, session, tokens, self.options.kernel))
    }

    /// As [`Engine::forward`], with the logits of every token: `each(index, logits)` in order.
    ///
    /// # Errors
    ///
    /// As [`Engine::forward`].
    pub fn score(
        &mut self,
        session: &mut Session,
        tokens: &[u32],
        mut each: impl FnMut(usize, &[f32]),
    ) -> Result<(), EngineError> {
        let part = Part {
            session,
            tokens,
            logits: Wanted::All,
        };
        self.pass(&mut [part], |_, index, logits| each(index, logits))
    }

    /// Whether a session can read some tokens.
    pub(crate) fn check(&self, session: &Session, tokens: &[u32]) -> Result<(), EngineError> {
        let shape = &self.model.shape;
        if !session.fits(shape) {
            return Err(EngineError::ForeignSession);
        }
        if tokens.is_empty() {
            return Err(EngineError::NoTokens);
        }
        let vocab_size = shape.vocab_size;
        if let Some(&token) = tokens.iter().find(|token| **token as usize >= vocab_size) {
            return Err(EngineError::UnknownToken { token, vocab_size });
        }
        let (len, capacity) = (session.len(), session.capacity());
        if tokens.len() > capacity - len {
            return Err(EngineError::Full {
                capacity,
                len,
                tokens: tokens.len(),
            });
        }
        Ok(())
    }

    /// Goes on with another number of threads.
    ///
    /// # Errors
    ///
    /// If they cannot be started; the engine then keeps those it has.
    pub fn set_threads(&mut self, threads: usize) -> Result<(), EngineError> {
        let threads = threads.max(1);
        self.work = workspace(&self.model.shape, threads)?;
        self.options.threads = threads;
        Ok(())
    }

    /// The model's shape.
    pub fn shape(&self) -> &Shape {
        &self.model.shape
    }

    /// How it runs.
    pub fn options(&self) -> Options {
        self.options
    }

    /// How its head is stored.
    pub fn head(&self) -> String {
        self.model.head.matrix.format()
    }

    /// How its ternary weights are stored, the first matrix' of them; `None` of a float model.
    pub fn layout(&self) -> Option<Layout> {
        let mut linears = self.model.layers.iter().flat_map(Layer::linears);
        linears.find_map(|linear| linear.matrix.layout())
    }

    /// Bytes of all weights as they are held.
    pub fn weight_bytes(&self) -> usize {
        let Model {
            embedding, head, ..
        } = &self.model;
        let own_embedding = if embedding.is(&head.matrix) {
            0
        } else {
            embedding.bytes()
        };
        self.read_bytes() + own_embedding
    }

    /// Bytes of the keys and values of a text of so many tokens: what a session for it takes, and what the next token reads.
    /// Both are rounded up to whole blocks of 32.
    pub fn cache_bytes(&self, tokens: usize) -> usize {
        let shape = &self.model.shape;
        let heads = shape.num_hidden_layers * shape.num_key_value_heads;
        let (width, format) = (shape.head_dim, self.options.cache);
        let elements = width.next_multiple_of(format.per_lane()) + width.next_multiple_of(GROUP);
        let position = elements * 4 / format.per_lane() + HeadCache::factor_bytes(format);
        heads * position * tokens.next_multiple_of(KeysValues::POSITIONS)
    }

    /// Bytes of weights that a decoded token reads: everything but an embedding that is not the head. What it reads of a
    /// session comes on top: [`cache_bytes`](Self::cache_bytes).
    pub fn read_bytes(&self) -> usize {
        let layers: usize = self.model.layers.iter().map(Layer::bytes).sum();
        layers + self.model.head.bytes()
    }

    /// Bytes a second at which the threads read the weights in the order of a decoded token and compute nothing. A decoded
    /// token takes at least what it reads ([`Engine::read_bytes`] and [`Engine::cache_bytes`]) divided by this, so the ratio
    /// says how near decoding is to what memory allows, at this moment: the bandwidth of a shared machine may halve from one
    /// second to the next.
    pub fn read_bandwidth(&mut self) -> f64 {
        self.work.read_bandwidth(&self.model, self.read_bytes())
    }

    /// Multiply-adds of the linear layers for a token; the head is not among them.
    pub fn linear_macs(&self) -> usize {
        self.model.shape.linear_weights()
    }
}

impl Layer {
    fn new(
        shape: &Shape,
        index: usize,
        weights: LayerWeights,
        options: Options,
    ) -> Result<Layer, EngineError> {
        let (hidden, inner) = (shape.hidden_size, shape.intermediate_size);
        let (queries, keys) = (shape.query_width(), shape.kv_width());
        let linear = |name: &str, layer: crate::LinearWeights, rows, cols| {
            let full = || format!("model.layers.{index}.{name}");
            let inside = shape.norms.inside;
            check_norm(
                &format!("{}.norm", full()),
                layer.norm.as_ref(),
                inside,
                cols,
                &placement(shape),
            )?;
            Linear::new(&full, layer, [rows, cols], shape.activations, &options)
        };
        let norm = |name: &str, gamma: &Option<Vec<f32>>, wanted: bool, width| {
            let name = format!("model.layers.{index}.{name}");
            check_norm(&name, gamma.as_ref(), wanted, width, &placement(shape))
        };
        for (name, gamma) in [("q_norm", &weights.q_norm), ("k_norm", &weights.k_norm)] {
            let name = format!("model.layers.{index}.self_attn.{name}");
            let setting = format!("qk_norm = {}", shape.qk_norm);
            check_norm(
                &name,
                gamma.as_ref(),
                shape.qk_norm,
                shape.head_dim,
                &setting,
            )?;
        }
        let (before, sub) = (shape.norms.block, shape.norms.sub);
        norm("input_layernorm", &weights.input_layernorm, before, hidden)?;
        norm(
            "post_attention_layernorm",
            &weights.post_attention_layernorm,
            before,
            hidden,
        )?;
        norm(
            "self_attn.attn_sub_norm",
            &weights.attn_sub_norm,
            sub,
            queries,
        )?;
        norm("mlp.ffn_sub_norm", &weights.ffn_sub_norm, sub, inner)?;
        Ok(Layer {
            input_norm: weights.input_layernorm,
            q: linear("self_attn.q_proj", weights.q_proj, queries, hidden)?,
            k: linear("self_attn.k_proj", weights.k_proj, keys, hidden)?,
            v: linear("self_attn.v_proj", weights.v_proj, keys, hidden)?,
            q_norm: weights.q_norm,
            k_norm: weights.k_norm,
            attn_sub_norm: weights.attn_sub_norm,
            o: linear("self_attn.o_proj", weights.o_proj, hidden, queries)?,
            post_norm: weights.post_attention_layernorm,
            gate: linear("mlp.gate_proj", weights.gate_proj, inner, hidden)?,
            up: linear("mlp.up_proj", weights.up_proj, inner, hidden)?,
            ffn_sub_norm: weights.ffn_sub_norm,
            down: linear("mlp.down_proj", weights.down_proj, hidden, inner)?,
        })
    }

    /// The linear layers in the order in which a token meets them.
    pub(crate) fn linears(&self) -> [&Linear; 7] {
        [
            &self.q, &self.k, &self.v, &self.o, &self.gate, &self.up, &self.down,
        ]
    }

    fn bytes(&self) -> usize {
        let linears = self.linears();
        let norms = [
            &self.input_norm,
            &self.q_norm,
            &self.k_norm,
            &self.attn_sub_norm,
            &self.post_norm,
            &self.ffn_sub_norm,
        ];
        let norms: usize = norms.into_iter().flatten().map(Vec::len).sum();
        linears.map(Linear::bytes).iter().sum::<usize>() + 4 * norms
    }
}

fn workspace(shape: &Shape, threads: usize) -> Result<Workspace, EngineError> {
    Workspace::new(shape, threads).map_err(|source| EngineError::Threads { threads, source })
}

fn placement(shape: &Shape) -> String {
    format!("the norm placement `{}`", shape.norms)
}

/// Checks that a norm is there exactly if it is wanted, and as wide as what it norms.
pub(crate) fn check_norm(
    tensor: &str,
    gamma: Option<&Vec<f32>>,
    wanted: bool,
    width: usize,
    setting: &str,
) -> Result<(), EngineError> {
    let word = |present: bool| if present { "present" } else { "absent" };
    match gamma {
        Some(gamma) if wanted && gamma.len() != width => Err(EngineError::Tensor {
            tensor: tensor.to_owned(),
            expected: [1, width],
            found: [1, gamma.len()],
        }),
        gamma if gamma.is_some() != wanted => Err(EngineError::Norm {
            tensor: tensor.to_owned(),
            setting: setting.to_owned(),
            expected: word(wanted),
            found: word(!wanted),
        }),
        _ => Ok(()),
    }
}
