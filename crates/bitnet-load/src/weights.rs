//! The tensors of a file as the engine takes them: codes packed, masters quantised, everything else as floats.

use bitnet_engine::{LayerWeights, LinearWeights, Source, SourceError, Table, Weights};
use bitnet_formats::model::{
    Form, LayerRole, ModelDescription, Projection, Role, Stored, Tensor, TensorSource, WeightFormat,
};
use bitnet_kernels::{Granularity, Kernel, PackedTernary, WeightQuantizer};

/// Rows of a table whose pages stay in memory while it is read.
const ROWS_KEPT: usize = 4096;

/// How float matrices are handed over.
#[derive(Clone, Copy)]
pub(crate) struct Holding {
    /// The kernel that will run.
    pub kernel: Kernel,
    /// Matrices of 16 bits and of codes in blocks as they are stored; not as floats.
    pub stored: bool,
    /// Matrices of codes in blocks as codes, whose products round activations; not as floats.
    pub blocks: bool,
    /// Tables too; not row by row.
    pub tables: bool,
    /// Master weights as floats; not as the codes that they become.
    pub masters: bool,
}

/// A file's tensors.
pub(crate) struct FileWeights<'a> {
    source: &'a dyn TensorSource,
    holding: Holding,
    /// Whether the rows of each table are ternary.
    ternary: [bool; 2],
}

impl<'a> FileWeights<'a> {
    /// # Errors
    ///
    /// If the first row of a table cannot be read.
    pub(crate) fn new(
        source: &'a dyn TensorSource,
        holding: Holding,
    ) -> Result<Self, bitnet_formats::Error> {
        let mut ternary = [false; 2];
        let description = source.description();
        for (table, ternary) in [Table::Embedding, Table::Head]
            .into_iter()
            .zip(&mut ternary)
        {
            let absent = table == Table::Head && description.tied_head.value;
            *ternary = !absent && is_ternary(source, role_of(table))?;
        }
        Ok(Self {
            source,
            holding,
            ternary,
        })
    }

    fn description(&self) -> &ModelDescription {
        self.source.description()
    }

    /// A tensor, whose pages are given back.
    fn read(&self, role: Role) -> Result<Tensor, bitnet_formats::Error> {
        let tensor = self.source.read(role);
        self.source.release(role);
        tensor
    }

    fn norm(
        &self,
        layer: usize,
        role: LayerRole,
        there: bool,
    ) -> Result<Option<Vec<f32>>, SourceError> {
        let read = || Ok(self.read(Role::Layer(layer, role))?.to_f32());
        there.then(read).transpose()
    }

    /// A matrix of floats as its file stores it, unless that would round activations and they are not to be.
    fn stored(&self, role: Role) -> Result<Option<Weights>, SourceError> {
        let Holding { kernel, blocks, .. } = self.holding;
        let stored = self.source.read_stored(role, kernel)?;
        let weights = match stored {
            Some(Stored::Dense(matrix)) => Some(Weights::Dense(matrix)),
            Some(Stored::Blocks(matrix)) if blocks => Some(Weights::Blocks(matrix)),
            Some(Stored::Blocks(_)) | None => None,
        };
        if weights.is_some() {
            self.source.release(role);
        }
        Ok(weights)
    }

    fn projection(&self, role: Role, [rows, cols]: [usize; 2]) -> Result<Weights, SourceError> {
        let format = self.description().weights.value;
        if format == WeightFormat::Float
            && self.holding.stored
            && let Some(weights) = self.stored(role)?
        {
            return Ok(weights);
        }
        Ok(match self.read(role)? {
            Tensor::Ternary(ternary) => Weights::Ternary(ternary.coarsened().into_packed()?),
            Tensor::Float { values, .. }
                if format == WeightFormat::OnlineAbsMean && !self.holding.masters =>
            {
                let (absmean, whole) = (WeightQuantizer::AbsMean, Granularity::Tensor);
                let packed = PackedTernary::from_latent(&values, rows, cols, absmean, whole)?;
                Weights::Ternary(packed)
            }
            Tensor::Float { values, .. } => Weights::Float { values, rows, cols },
        })
    }

    fn linear(&self, layer: usize, projection: Projection) -> Result<LinearWeights, SourceError> {
        let role = Role::Layer(layer, LayerRole::Projection(projection));
        let weights = self.projection(role, projection.shape(&self.description().shape))?;
        let inside = self.description().norms.value.projection_norms;
        let norm = self.norm(layer, LayerRole::InputNorm(projection), inside)?;
        Ok(LinearWeights { weights, norm })
    }
}

impl Source for FileWeights<'_> {
    fn table(&self, table: Table) -> Result<Option<Weights>, SourceError> {
        let role = role_of(table);
        if self.ternary[table as usize] {
            return Ok(match self.read(role)? {
                Tensor::Ternary(ternary) => {
                    Some(Weights::Ternary(ternary.coarsened().into_packed()?))
                }
                Tensor::Float { .. } => None,
            });
        }
        // Tables of floats are narrowed row by row, as the options say.
        let entry = self
            .source
            .tensors()
            .iter()
            .find(|entry| entry.role == role);
        let in_blocks = entry.is_some_and(|entry| entry.form == Form::Blocks);
        if in_blocks && self.holding.tables {
            return self.stored(role);
        }
        Ok(None)
    }

    fn table_row(&self, table: Table, token: usize, out: &mut [f32]) {
        if self.source.read_row(role_of(table), token, out).is_err() {
            // The first row was read when the source was made, and all have one type: a file that changed meanwhile.
            out.fill(f32::NAN);
        }
        // Rows are asked for one after the other: those before need not stay in memory.
        if token % ROWS_KEPT == ROWS_KEPT - 1 {
            self.source.release(role_of(table));
        }
    }

    fn layer(&self, index: usize) -> Result<LayerWeights, SourceError> {
        let norms = self.description().norms.value;
        let norm = |role, there| self.norm(index, role, there);
        let linear = |projection| self.linear(index, projection);
        Ok(LayerWeights {
            input_layernorm: norm(LayerRole::AttentionNorm, true)?,
            q_proj: linear(Projection::Query)?,
            k_proj: linear(Projection::Key)?,
            v_proj: linear(Projection::Value)?,
            q_norm: norm(LayerRole::QueryNorm, norms.query_key_norms)?,
            k_norm: norm(LayerRole::KeyNorm, norms.query_key_norms)?,
            attn_sub_norm: norm(LayerRole::AttentionSubNorm, norms.sub_norms)?,
            o_proj: linear(Projection::Output)?,
            post_attention_layernorm: norm(LayerRole::FeedForwardNorm, true)?,
            gate_proj: linear(Projection::Gate)?,
            up_proj: linear(Projection::Up)?,
            ffn_sub_norm: norm(LayerRole::FeedForwardSubNorm, norms.sub_norms)?,
            down_proj: linear(Projection::Down)?,
        })
    }

    fn final_norm(&self) -> Result<Vec<f32>, SourceError> {
        Ok(self.read(Role::OutputNorm)?.to_f32())
    }
}

fn role_of(table: Table) -> Role {
    match table {
        Table::Embedding => Role::Embedding,
        Table::Head => Role::Head,
    }
}

/// Whether a table is held as codes: by its type, or, in a model whose floats are ternary, by its first row.
fn is_ternary(source: &dyn TensorSource, role: Role) -> Result<bool, bitnet_formats::Error> {
    let entry = source.tensors().iter().find(|entry| entry.role == role);
    match source.description().weights.value {
        _ if entry.is_some_and(|entry| entry.form == Form::Codes) => Ok(true),
        WeightFormat::TernaryValues { .. } => {
            let mut row = vec![0.0; source.description().shape.hidden_size];
            source.read_row(role, 0, &mut row)?;
            let largest = row.iter().fold(0.0, |max: f32, w| max.max(w.abs()));
            // Groups have scales of their own: few magnitudes, not one.
            let mut magnitudes: Vec<u32> = row.iter().map(|w| w.abs().to_bits()).collect();
            magnitudes.sort_unstable();
            magnitudes.dedup();
            Ok(largest > 0.0 && magnitudes.len() <= row.len() / 16 + 1)
        }
        _ => {
            let mut row = vec![0.0; source.description().shape.hidden_size];
            source.read_row(role, 0, &mut row)?;
            Ok(false)
        }
    }
}
