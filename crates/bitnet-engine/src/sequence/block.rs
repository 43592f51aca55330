//! Blocks, on one thread: all rows that it is given, of one sequence or of several.

use std::ops::Range;

use bitnet_kernels::float::gated_row;

use super::{
    AttentionWeights, BlockWeights, FeedForward, FeedForwardWeights, Placement, StackWeights,
    Sublayer,
    common::{Common, Seeing},
    outputs::Outputs,
};
use crate::{
    EngineError,
    engine::check_norm,
    linear::{Inputs, Linear},
    session::HeadCache,
};

/// Buffers of one thread. Activations are `[rows, width]`.
#[derive(Debug, Default)]
pub(crate) struct Lane {
    inputs: Inputs,
    /// The residual stream.
    pub x: Vec<f32>,
    /// What a part adds to it.
    y: Vec<f32>,
    /// Queries, then what they attended to.
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
    inner: Vec<f32>,
    gate: Vec<f32>,
    seeing: Seeing,
    /// Keys and values of a sequence that sees itself whole, one cache a head.
    own: Vec<HeadCache>,
}

/// Keys and values of a sequence in all blocks of a decoder: what it wrote, or what it reads.
#[derive(Clone, Debug)]
pub(crate) struct Caches {
    /// `[blocks, heads]`.
    heads: Vec<HeadCache>,
    pub len: usize,
}

/// Rows of one sequence.
pub(crate) struct Span<'a> {
    pub rows: Range<usize>,
    pub seen: Seen<'a>,
}

/// What the rows of a sequence see.
pub(crate) enum Seen<'a> {
    /// Each other.
    Itself,
    /// What the sequence wrote before, and what it reads.
    Written(&'a mut Caches, &'a Caches),
    /// What each of some outputs, one a row, wrote before, and what they read.
    Outputs(&'a mut Outputs, &'a Caches),
}

impl Seen<'_> {
    /// What is read.
    fn read(&self) -> Option<&Caches> {
        match self {
            Seen::Itself => None,
            Seen::Written(_, read) | Seen::Outputs(_, read) => Some(read),
        }
    }
}

#[derive(Debug)]
struct AttentionPart {
    q: Linear,
    k: Linear,
    v: Linear,
    o: Linear,
    q_norm: Option<Vec<f32>>,
    k_norm: Option<Vec<f32>>,
    sub_norm: Option<Vec<f32>>,
    /// Around it.
    norm: Option<Vec<f32>>,
}

#[derive(Debug)]
struct FeedForwardPart {
    gate: Option<Linear>,
    up: Linear,
    down: Linear,
    sub_norm: Option<Vec<f32>>,
    /// Around it.
    norm: Option<Vec<f32>>,
}

#[derive(Debug)]
struct Block {
    self_attn: AttentionPart,
    cross_attn: Option<AttentionPart>,
    mlp: FeedForwardPart,
}

/// Blocks and the norm after them.
#[derive(Debug)]
pub(crate) struct Stack {
    blocks: Vec<Block>,
    norm: Option<Vec<f32>>,
}

impl Caches {
    /// Empty ones for the blocks of a stack.
    pub(crate) fn new(common: &Common, stack: &Stack) -> Caches {
        let heads = stack.blocks.len() * common.shape.num_key_value_heads;
        Caches {
            heads: vec![common.cache(); heads],
            len: 0,
        }
    }
}

impl Stack {
    /// Blocks of a decoder have cross-attention, those of an encoder have none.
    pub(crate) fn new(
        common: &Common,
        name: &str,
        weights: StackWeights,
        decoder: bool,
    ) -> Result<Stack, EngineError> {
        let StackWeights { blocks, norm } = weights;
        let (hidden, post) = (
            common.shape.hidden_size,
            common.shape.norms == Placement::Post,
        );
        common.check_norm(format!("{name}.norm"), &norm, !post, hidden)?;
        let blocks = blocks.into_iter().enumerate();
        let blocks = blocks.map(|(index, block)| {
            Block::new(common, &format!("{name}.layers.{index}"), block, decoder)
        });
        Ok(Stack {
            blocks: blocks.collect::<Result<_, _>>()?,
            norm,
        })
    }

    /// Number of blocks.
    pub(crate) fn len(&self) -> usize {
        self.blocks.len()
    }

    /// Bytes of the weights.
    pub(crate) fn bytes(&self) -> usize {
        self.blocks.iter().map(Block::bytes).sum()
    }

    /// `lane.x`, `[rows, hidden]`, through all blocks and the norm after them.
    pub(crate) fn forward(&self, common: &Common, lane: &mut Lane, spans: &mut [Span<'_>]) {
        for (index, block) in self.blocks.iter().enumerate() {
            block.self_attn.itself(common, index, lane, spans);
            if let Some(cross) = &block.cross_attn {
                cross.other(common, index, lane, spans);
            }
            block.mlp.forward(common, lane);
        }
        for span in spans {
            if let Seen::Written(written, _) = &mut span.seen {
                written.len += span.rows.len();
            }
        }
        common.norm_rows(&mut lane.x, &self.norm, &mut lane.seeing.head);
    }

    /// Keys and values of `rows` of `lane.x`, a sequence that a decoder of these blocks reads.
    pub(crate) fn memory(&self, common: &Common, lane: &mut Lane, rows: Range<usize>) -> Caches {
        let mut caches = Caches::new(common, self);
        let (kv_heads, count) = (common.shape.num_key_value_heads, rows.len());
        for (index, block) in self.blocks.iter().enumerate() {
            let Some(cross) = &block.cross_attn else {
                continue;
            };
            cross.project([&cross.k, &cross.v], common, lane, rows.clone());
            for head in 0..kv_heads {
                common.remember(
                    head,
                    common.norm(&cross.k_norm),
                    (&lane.k, &lane.v),
                    (0..count, 0, false),
                    &mut caches.heads[index * kv_heads + head],
                    &mut lane.seeing,
                );
            }
        }
        caches.len = count;
        caches
    }
}

impl Block {
    fn new(
        common: &Common,
        name: &str,
        weights: BlockWeights,
        decoder: bool,
    ) -> Result<Block, EngineError> {
        let BlockWeights {
            self_attn,
            cross_attn,
            mlp,
        } = weights;
        if cross_attn.is_some() != decoder {
            let word = |present: bool| if present { "present" } else { "absent" };
            return Err(EngineError::Norm {
                tensor: format!("{name}.cross_attn"),
                setting: format!(
                    "a block of {}",
                    if decoder { "a decoder" } else { "an encoder" }
                ),
                expected: word(decoder),
                found: word(!decoder),
            });
        }
        let attention =
            |part: &str, weights| AttentionPart::new(common, &format!("{name}.{part}"), weights);
        Ok(Block {
            self_attn: attention("self_attn", self_attn)?,
            cross_attn: cross_attn
                .map(|weights| attention("cross_attn", weights))
                .transpose()?,
            mlp: FeedForwardPart::new(common, &format!("{name}.mlp"), mlp)?,
        })
    }

    fn bytes(&self) -> usize {
        let attentions = [Some(&self.self_attn), self.cross_attn.as_ref()];
        let attention = |part: &AttentionPart| {
            let AttentionPart { q, k, v, o, .. } = part;
            [q, k, v, o].map(Linear::bytes).iter().sum::<usize>()
        };
        let FeedForwardPart { gate, up, down, .. } = &self.mlp;
        let mlp = [Some(up), Some(down), gate.as_ref()];
        attentions
            .into_iter()
            .flatten()
            .map(attention)
            .sum::<usize>()
            + mlp.into_iter().flatten().map(Linear::bytes).sum::<usize>()
    }
}

impl AttentionPart {
    fn new(
        common: &Common,
        name: &str,
        Sublayer { part, norm }: Sublayer<AttentionWeights>,
    ) -> Result<AttentionPart, EngineError> {
        let AttentionWeights {
            q_proj,
            k_proj,
            v_proj,
            o_proj,
            q_norm,
            k_norm,
            attn_sub_norm,
        } = part;
        let shape = &common.shape;
        let (hidden, queries, keys) = (shape.hidden_size, shape.query_width(), shape.kv_width());
        for (head, gamma) in [("q_norm", &q_norm), ("k_norm", &k_norm)] {
            let setting = format!("qk_norm = {}", shape.qk_norm);
            let (name, width) = (format!("{name}.{head}"), shape.head_dim);
            check_norm(&name, gamma.as_ref(), shape.qk_norm, width, &setting)?;
        }
        let sub = shape.norms == Placement::Sub;
        common.check_norm(
            format!("{name}.attn_sub_norm"),
            &attn_sub_norm,
            sub,
            queries,
        )?;
        let around = shape.norms != Placement::Inside;
        common.check_norm(format!("{name}_residual.norm"), &norm, around, hidden)?;
        let linear = |layer: &str, weights, rows, cols| {
            common.linear(format!("{name}.{layer}"), weights, [rows, cols])
        };
        Ok(AttentionPart {
            q: linear("q_proj", q_proj, queries, hidden)?,
            k: linear("k_proj", k_proj, keys, hidden)?,
            v: linear("v_proj", v_proj, keys, hidden)?,
            o: linear("o_proj", o_proj, hidden, queries)?,
            q_norm,
            k_norm,
            sub_norm: attn_sub_norm,
            norm,
        })
    }

    /// Self-attention: to all rows of the sequence, or to those before.
    fn itself(&self, common: &Common, block: usize, lane: &mut Lane, spans: &mut [Span<'_>]) {
        let kv_heads = common.shape.num_key_value_heads;
        let count = lane.x.len() / common.shape.hidden_size;
        let all = 0..count;
        lane.inputs.clear();
        let layers = [&self.q, &self.k, &self.v];
        let norm = (common.before(&self.norm), common.shape.rms_norm_eps);
        let mut out = [&mut lane.q, &mut lane.k, &mut lane.v];
        lane.inputs
            .each_of(layers, &lane.x, &all, norm, |i, input| {
                layers[i].whole(input, count, out[i]);
            });
        lane.own.resize_with(kv_heads, || common.cache());
        let (q_norm, k_norm) = (common.norm(&self.q_norm), common.norm(&self.k_norm));
        for span in spans {
            let rows = span.rows.clone();
            let (causal, start) = match &span.seen {
                Seen::Written(written, _) => (true, written.len),
                Seen::Itself | Seen::Outputs(..) => (false, 0),
            };
            let heads = match &mut span.seen {
                Seen::Itself => &mut lane.own[..],
                Seen::Written(written, _) => &mut written.heads[block * kv_heads..][..kv_heads],
                Seen::Outputs(outputs, _) => {
                    let Lane {
                        q, k, v, seeing, ..
                    } = &mut *lane;
                    outputs.attend(common, block, (q_norm, k_norm), rows, (q, k, v), seeing);
                    continue;
                }
            };
            for (head, cache) in heads.iter_mut().enumerate() {
                common.remember(
                    head,
                    k_norm,
                    (&lane.k, &lane.v),
                    (rows.clone(), start, true),
                    cache,
                    &mut lane.seeing,
                );
            }
            let end = start + rows.len();
            common.attend(
                q_norm,
                (rows, Some(start)),
                heads,
                |row| if causal { start + row + 1 } else { end },
                &mut lane.q,
                &mut lane.seeing,
            );
        }
        self.output(common, lane, count);
    }

    /// Cross-attention: to what the sequences read.
    fn other(&self, common: &Common, block: usize, lane: &mut Lane, spans: &mut [Span<'_>]) {
        let kv_heads = common.shape.num_key_value_heads;
        let count = lane.x.len() / common.shape.hidden_size;
        lane.inputs.clear();
        let norm = (common.before(&self.norm), common.shape.rms_norm_eps);
        let q = &mut lane.q;
        lane.inputs
            .each_of([&self.q], &lane.x, &(0..count), norm, |_, input| {
                self.q.whole(input, count, q);
            });
        for span in spans {
            let Some(read) = span.seen.read() else {
                continue;
            };
            common.attend(
                common.norm(&self.q_norm),
                (span.rows.clone(), None),
                &read.heads[block * kv_heads..][..kv_heads],
                |_| read.len,
                &mut lane.q,
                &mut lane.seeing,
            );
        }
        self.output(common, lane, count);
    }

    /// Keys and values of rows that are not normed here: `lane.k`, `lane.v`.
    fn project(&self, layers: [&Linear; 2], common: &Common, lane: &mut Lane, rows: Range<usize>) {
        lane.inputs.clear();
        let norm = (None, common.shape.rms_norm_eps);
        let (count, mut out) = (rows.len(), [&mut lane.k, &mut lane.v]);
        lane.inputs
            .each_of(layers, &lane.x, &rows, norm, |i, input| {
                layers[i].whole(input, count, out[i]);
            });
    }

    /// `x += W_o · [norm](attended)`.
    fn output(&self, common: &Common, lane: &mut Lane, count: usize) {
        lane.inputs.clear();
        let norm = (common.norm(&self.sub_norm), common.shape.rms_norm_eps);
        let y = &mut lane.y;
        lane.inputs
            .each_of([&self.o], &lane.q, &(0..count), norm, |_, input| {
                self.o.whole(input, count, y);
            });
        common.leave(&mut lane.x, &lane.y, &self.norm, &mut lane.seeing.head);
    }
}

impl FeedForwardPart {
    fn new(
        common: &Common,
        name: &str,
        Sublayer { part, norm }: Sublayer<FeedForwardWeights>,
    ) -> Result<FeedForwardPart, EngineError> {
        let FeedForwardWeights {
            gate_proj,
            up_proj,
            down_proj,
            ffn_sub_norm,
        } = part;
        let shape = &common.shape;
        let (hidden, inner) = (shape.hidden_size, shape.intermediate_size);
        let sub = shape.norms == Placement::Sub;
        common.check_norm(format!("{name}.ffn_sub_norm"), &ffn_sub_norm, sub, inner)?;
        let around = shape.norms != Placement::Inside;
        common.check_norm(format!("{name}_residual.norm"), &norm, around, hidden)?;
        let linear = |layer: &str, weights, rows, cols| {
            common.linear(format!("{name}.{layer}"), weights, [rows, cols])
        };
        let gated = matches!(shape.feed_forward, FeedForward::Gated(_));
        if gate_proj.is_some() != gated {
            let word = |present: bool| if present { "present" } else { "absent" };
            return Err(EngineError::Norm {
                tensor: format!("{name}.gate_proj"),
                setting: format!("{:?}", shape.feed_forward),
                expected: word(gated),
                found: word(!gated),
            });
        }
        Ok(FeedForwardPart {
            gate: gate_proj
                .map(|weights| linear("gate_proj", weights, inner, hidden))
                .transpose()?,
            up: linear("up_proj", up_proj, inner, hidden)?,
            down: linear("down_proj", down_proj, hidden, inner)?,
            sub_norm: ffn_sub_norm,
            norm,
        })
    }

    fn forward(&self, common: &Common, lane: &mut Lane) {
        let count = lane.x.len() / common.shape.hidden_size;
        let (all, epsilon) = (0..count, common.shape.rms_norm_eps);
        let norm = (common.before(&self.norm), epsilon);
        lane.inputs.clear();
        match (common.shape.feed_forward, &self.gate) {
            (FeedForward::Gated(act), Some(gate)) => {
                let layers = [&self.up, gate];
                let mut out = [&mut lane.inner, &mut lane.gate];
                lane.inputs
                    .each_of(layers, &lane.x, &all, norm, |i, input| {
                        layers[i].whole(input, count, out[i]);
                    });
                gated_row(act, &lane.gate, &mut lane.inner);
            }
            (FeedForward::Plain(act), _) => {
                let inner = &mut lane.inner;
                lane.inputs
                    .each_of([&self.up], &lane.x, &all, norm, |_, input| {
                        self.up.whole(input, count, inner);
                    });
                act.apply(&mut lane.inner);
            }
            (FeedForward::Gated(_), None) => unreachable!("checked when the block was made"),
        }
        lane.inputs.clear();
        let (y, norm) = (&mut lane.y, (common.norm(&self.sub_norm), epsilon));
        lane.inputs
            .each_of([&self.down], &lane.inner, &all, norm, |_, input| {
                self.down.whole(input, count, y);
            });
        common.leave(&mut lane.x, &lane.y, &self.norm, &mut lane.seeing.head);
    }
}
