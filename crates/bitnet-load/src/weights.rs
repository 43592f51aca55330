//! The tensors of a file as the engine takes them: codes packed, masters quantised, everything else as floats.

use bitnet_engine::{LayerWeights, LinearWeights, Source, SourceError, Table, Weights};
use bitnet_formats::model::{
    LayerRole, ModelDescription, Projection, Role, Tensor, TensorSource, WeightFormat,
};
use bitnet_kernels::{Granularity, PackedTernary, WeightQuantizer};

/// A file's tensors.
pub(crate) struct FileWeights<'a> {
    source: &'a dyn TensorSource,
    /// Whether the rows of each table are ternary.
    ternary: [bool; 2],
}

impl<'a> FileWeights<'a> {
    /// # Errors
    ///
    /// If the first row of a table cannot be read.
    pub(crate) fn new(source: &'a dyn TensorSource) -> Result<Self, bitnet_formats::Error> {
        let mut ternary = [false; 2];
        let description = source.description();
        for (table, ternary) in [Table::Embedding, Table::Head]
            .into_iter()
            .zip(&mut ternary)
        {
            let absent = table == Table::Head && description.tied_head.value;
            *ternary = !absent && is_ternary(source, role_of(table))?;
        }
        Ok(Self { source, ternary })
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

    fn linear(&self, layer: usize, projection: Projection) -> Result<LinearWeights, SourceError> {
        let weights = match self.read(Role::Layer(layer, LayerRole::Projection(projection)))? {
            Tensor::Ternary(ternary) => Weights::Ternary(ternary.coarsened().into_packed()?),
            Tensor::Float { values, .. } => {
                let [rows, cols] = projection.shape(&self.description().shape);
                if self.description().weights.value == WeightFormat::OnlineAbsMean {
                    let (absmean, whole) = (WeightQuantizer::AbsMean, Granularity::Tensor);
                    let packed = PackedTernary::from_latent(&values, rows, cols, absmean, whole)?;
                    Weights::Ternary(packed)
                } else {
                    Weights::Float { values, rows, cols }
                }
            }
        };
        let inside = self.description().norms.value.projection_norms;
        let norm = self.norm(layer, LayerRole::InputNorm(projection), inside)?;
        Ok(LinearWeights { weights, norm })
    }
}

impl Source for FileWeights<'_> {
    fn ternary_table(&self, table: Table) -> Result<Option<PackedTernary>, SourceError> {
        if !self.ternary[table as usize] {
            return Ok(None);
        }
        Ok(match self.read(role_of(table))? {
            Tensor::Ternary(ternary) => Some(ternary.coarsened().into_packed()?),
            Tensor::Float { .. } => None,
        })
    }

    fn table_row(&self, table: Table, token: usize, out: &mut [f32]) {
        if self.source.read_row(role_of(table), token, out).is_err() {
            // The first row was read when the source was made, and all have one type: a file that changed meanwhile.
            out.fill(f32::NAN);
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
        _ if entry.is_some_and(|entry| entry.ternary) => Ok(true),
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
