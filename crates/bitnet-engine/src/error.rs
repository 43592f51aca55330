//! What can be wrong with a model or a request.

/// A model that cannot be built, or tokens that it cannot take.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// A field of the shape must be positive.
    #[error("{field} must be at least 1")]
    Zero {
        /// The field.
        field: &'static str,
    },
    /// Query heads share key/value heads evenly.
    #[error("num_key_value_heads = {kv_heads} must divide num_attention_heads = {heads}")]
    Heads {
        /// Query heads.
        heads: usize,
        /// Key/value heads.
        kv_heads: usize,
    },
    /// Rotary embedding turns halves of a head.
    #[error("head_dim must be even, got {0}")]
    OddHead(usize),
    /// A tensor of the source does not have the shape that the model needs.
    #[error("{tensor} is {found:?}, the model needs {expected:?}")]
    Tensor {
        /// Name of the tensor.
        tensor: String,
        /// What the shape asks for: rows and columns.
        expected: [usize; 2],
        /// What came.
        found: [usize; 2],
    },
    /// The values of a tensor are not as many as its shape says.
    #[error("{tensor} has {found} values, its shape {shape:?} needs others")]
    Length {
        /// Name of the tensor.
        tensor: String,
        /// Its rows and columns.
        shape: [usize; 2],
        /// Values that came.
        found: usize,
    },
    /// The source could not read a tensor.
    #[error("the weights could not be read: {0}")]
    Source(#[source] crate::SourceError),
    /// A norm is missing where the shape asks for one, or present where it does not.
    #[error("{tensor} is {found}, {setting} needs it {expected}")]
    Norm {
        /// Name of the norm.
        tensor: String,
        /// What the shape says.
        setting: String,
        /// `present` or `absent`.
        expected: &'static str,
        /// `present` or `absent`.
        found: &'static str,
    },
    /// Ternary weights, the kernel or the layout.
    #[error("{tensor}: {source}")]
    Ternary {
        /// Name of the tensor.
        tensor: String,
        /// What is wrong.
        source: bitnet_kernels::Error,
    },
    /// The kernel cannot run here.
    #[error(transparent)]
    Kernel(#[from] bitnet_kernels::Error),
    /// An int8 head is proven for a limited width.
    #[error("an int8 head takes at most {max} columns, the model has {hidden}; use bf16 or f32")]
    WideHead {
        /// Width of the model.
        hidden: usize,
        /// The limit.
        max: usize,
    },
    /// No threads could be started.
    #[error("{threads} threads could not be started: {source}")]
    Threads {
        /// How many were asked for.
        threads: usize,
        /// The system's answer.
        source: std::io::Error,
    },
    /// There is nothing to continue.
    #[error("no tokens were given")]
    NoTokens,
    /// A token id that the model does not know.
    #[error("token {token} is outside the model's vocabulary of {vocab_size}")]
    UnknownToken {
        /// The token.
        token: u32,
        /// Size of the vocabulary.
        vocab_size: usize,
    },
    /// The session's cache has no room.
    #[error("the session holds {capacity} tokens: {len} are in it and {tokens} more were given")]
    Full {
        /// Tokens that fit.
        capacity: usize,
        /// Tokens in it.
        len: usize,
        /// Tokens that were to come.
        tokens: usize,
    },
    /// A session cannot be longer than the model's positions.
    #[error(
        "a session of {capacity} tokens was asked for, the model has {positions} positions (max_position_embeddings)"
    )]
    TooLong {
        /// Tokens asked for.
        capacity: usize,
        /// `max_position_embeddings`.
        positions: usize,
    },
    /// The session was made for a model of another shape.
    #[error("the session belongs to a model of another shape")]
    ForeignSession,
}
