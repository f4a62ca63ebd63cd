//! What an adapter adds to one linear layer.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use candle_core::Result;
use candle_core::Tensor;
use candle_core::Var;

use crate::frozen::FrozenMatrix;
use crate::ops::dora_norms;

/// The low-rank update of a linear layer: with it, its weight `[out, in]` is
///
/// `V = W + scaling · (B A - B₀ A₀)`, or with DoRA `magnitude · V / ‖V‖`, row by row.
#[derive(Clone, Debug)]
pub struct Lora {
    /// The layer's name.
    pub module: String,
    /// `[r, in]`, f32.
    pub a: Var,
    /// `[out, r]`, f32.
    pub b: Var,
    /// The factor of `B A`.
    pub scaling: f64,
    /// DoRA: the lengths of the weight's rows.
    pub magnitude: Option<Magnitude>,
    /// PiSSA: A₀ and B₀, what A and B began with, which the weight is without. It stays where it is mapped, and they are
    /// subtracted as it is used.
    pub initial: Option<[Tensor; 2]>,
}

/// One of the tensors of a layer that train.
#[derive(Clone, Copy)]
pub(super) enum Piece {
    A,
    B,
    Magnitude,
}

impl Piece {
    /// The tensor's name behind that of its layer, as PEFT's files have it.
    pub(super) fn suffix(self) -> &'static str {
        match self {
            Self::A => ".lora_A.weight",
            Self::B => ".lora_B.weight",
            Self::Magnitude => ".lora_magnitude_vector",
        }
    }
}

impl Lora {
    /// The tensors that train, with their names.
    pub(super) fn vars(&self) -> impl Iterator<Item = (String, &Var)> {
        let magnitude = self.magnitude.as_ref().map(|magnitude| (Piece::Magnitude, &magnitude.lengths));
        let pieces = [(Piece::A, &self.a), (Piece::B, &self.b)].into_iter().chain(magnitude);
        pieces.map(|(piece, var)| (format!("{}{}", self.module, piece.suffix()), var))
    }

    /// The same with what `of` makes of each tensor.
    pub(super) fn with_tensors(&self, of: &dyn Fn(&Tensor) -> Result<Tensor>) -> Result<Self> {
        let magnitude = self.magnitude.as_ref().map(|magnitude| var(&magnitude.lengths, of)).transpose()?;
        let initial = match &self.initial {
            None => None,
            Some([a, b]) => Some([of(a)?, of(b)?]),
        };
        let (a, b, module) = (var(&self.a, of)?, var(&self.b, of)?, self.module.clone());
        Ok(Self { module, a, b, scaling: self.scaling, magnitude: magnitude.map(Magnitude::new), initial })
    }

    /// A and B of the plain LoRA that does the same: `[2r, in]` and `[out, 2r]` where it began as PiSSA.
    pub fn plain_factors(&self) -> Result<(Tensor, Tensor)> {
        match &self.initial {
            None => Ok((self.a.as_tensor().clone(), self.b.as_tensor().clone())),
            Some([a, b]) => Ok((Tensor::cat(&[&self.a, a], 0)?, Tensor::cat(&[self.b.as_tensor(), &b.neg()?], 1)?)),
        }
    }
}

/// What `of` makes of a tensor, as one that trains.
pub(super) fn var(var: &Var, of: &dyn Fn(&Tensor) -> Result<Tensor>) -> Result<Var> {
    Var::from_tensor(&of(&var.as_detached_tensor())?)
}

/// The magnitudes of DoRA, `[out]`, and what they are divided by.
#[derive(Clone, Debug)]
pub struct Magnitude {
    pub lengths: Var,
    /// ‖V‖ of the present A and B; none until they are needed.
    norms: Arc<Mutex<Option<Tensor>>>,
}

impl Magnitude {
    pub fn new(lengths: Var) -> Self {
        Self { lengths, norms: Arc::default() }
    }

    /// ‖W + scaling · B A‖, row by row; computed once for each state of A and B.
    ///
    /// # Errors
    /// Shapes do not fit.
    pub fn norms(&self, weight: &FrozenMatrix, lora: &Lora, scaling: f32) -> Result<Tensor> {
        let mut norms = self.norms.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(norms) = &*norms {
            return Ok(norms.clone());
        }
        let new = dora_norms(weight, &lora.a, &lora.b, scaling)?;
        *norms = Some(new.clone());
        Ok(new)
    }

    /// Says that A or B has changed.
    pub(super) fn forget_norms(&self) {
        *self.norms.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
