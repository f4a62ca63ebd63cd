//! Taking the model's tensors out of a checkpoint.

use candle_core::DType;
use candle_core::Device;
use candle_core::Tensor;
use tunebook_gemm::Precision;

use crate::adapter::LinearShape;
use crate::adapter::ModelShape;
use crate::adapter::TensorShape;
use crate::checkpoint::Checkpoint;
use crate::error::Result;
use crate::frozen::FrozenMatrix;

use super::linear::Linear;
use super::parameter::Matrix;
use super::parameter::Norm;
use super::parameter::Vector;

/// Takes tensors and keeps the lists of them. One that is missing is listed, too, and has a place holder, so that all that
/// are missing can be named.
pub struct Loader<'a> {
    pub checkpoint: &'a Checkpoint,
    pub precision: Precision,
    pub device: &'a Device,
    pub shape: ModelShape,
    pub missing: Vec<String>,
}

impl Loader<'_> {
    /// The layer `name`, `[rows, cols]`, with its bias where the architecture has one.
    ///
    /// # Errors
    /// A tensor is of another shape; so with the others.
    pub fn linear(&mut self, name: String, rows: usize, cols: usize, bias: bool) -> Result<Linear> {
        let weight = self.matrix(format!("{name}.weight"), rows, cols)?;
        let bias = bias.then(|| self.vector(format!("{name}.bias"), rows)).transpose()?;
        let id = self.shape.linears.len();
        self.shape.linears.push(LinearShape { name, rows, cols });
        let (precision, y_dtype, dx_dtype) = (self.precision, DType::F32, DType::F32);
        Ok(Linear { id, weight, bias, precision, y_dtype, dx_dtype })
    }

    /// The RMSNorm `name`.
    pub fn rms_norm(&mut self, name: &str, width: usize, eps: f32) -> Result<Norm> {
        Ok(Norm { weight: self.vector(format!("{name}.weight"), width)?, bias: None, eps })
    }

    /// The LayerNorm `name`.
    pub fn layer_norm(&mut self, name: &str, width: usize, eps: f32) -> Result<Norm> {
        let weight = self.vector(format!("{name}.weight"), width)?;
        Ok(Norm { weight, bias: Some(self.vector(format!("{name}.bias"), width)?), eps })
    }

    pub fn matrix(&mut self, name: String, rows: usize, cols: usize) -> Result<Matrix> {
        if !self.checkpoint.contains(&name) {
            self.miss(&name)?;
            return Ok(Matrix { name, frozen: FrozenMatrix::missing(rows, cols) });
        }
        let frozen = self.checkpoint.matrix(&name, rows, cols)?;
        let dims = self.checkpoint.dims(&name)?.to_vec();
        self.shape.tensors.push(TensorShape { name: name.clone(), dims, tied: false });
        Ok(Matrix { name, frozen })
    }

    pub(crate) fn vector(&mut self, name: String, length: usize) -> Result<Vector> {
        if !self.checkpoint.contains(&name) {
            self.miss(&name)?;
            return Ok(Vector { name, frozen: Tensor::zeros(0, DType::F32, self.device)? });
        }
        let frozen = Tensor::from_vec(self.checkpoint.vector(&name, length)?, length, self.device)?;
        self.shape.tensors.push(TensorShape { name: name.clone(), dims: vec![length], tied: false });
        Ok(Vector { name, frozen })
    }

    /// # Errors
    /// So many are missing that config.json cannot mean it.
    fn miss(&mut self, name: &str) -> Result<()> {
        /// The largest models have some thousand tensors.
        const MOST: usize = 10_000;
        self.missing.push(name.to_string());
        if self.missing.len() < MOST { Ok(()) } else { Err(self.checkpoint.missing(&self.missing, Vec::new())) }
    }
}
