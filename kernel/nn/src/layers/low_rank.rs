//! The low-rank update of a linear layer in one pass: LoRA, DoRA and PiSSA, forwards and backwards.

use candle_core::DType;
use candle_core::Result;
use candle_core::Tensor;
use tunebook_gemm::Precision;

use crate::adapter::Lora;
use crate::adapter::Magnitude;
use crate::frozen::FrozenMatrix;
use crate::gradients::Gradients;
use crate::ops::Dropout;
use crate::ops::LowRank;
use crate::ops::Weight;
use crate::ops::add;
use crate::ops::add_magnitude_gradient;
use crate::ops::add_weight_gradient;
use crate::ops::linear;
use crate::ops::linear_backward;
use crate::ops::lora_down;
use crate::ops::lora_factor_backward;
use crate::ops::lora_linear;
use crate::ops::lora_linear_backward;
use crate::ops::rounded;
use crate::ops::scale_columns;
use crate::ops::widened;

/// What the adapter that is on does to a layer.
pub(super) struct ActiveLora<'a> {
    pub lora: &'a Lora,
    pub scaling: f32,
    pub dropout: Option<Dropout>,
    /// The layer's weight in the checkpoint.
    pub frozen: &'a FrozenMatrix,
    /// The same, as it is multiplied with.
    pub weight: Weight<'a>,
    pub precision: Precision,
    pub y_dtype: DType,
    pub dx_dtype: DType,
}

impl ActiveLora<'_> {
    /// y and h. With D the dropout, h = scaling · D(x) Aᵀ and h₀ = scaling · x A₀ᵀ: `y = x Wᵀ + bias + h Bᵀ - h₀ B₀ᵀ`.
    ///
    /// With DoRA, g = magnitude / ‖V‖ and no dropout `y = g (x Wᵀ + h Bᵀ) + bias`; with dropout, as PEFT has it,
    /// `y = x Wᵀ + bias + (g - 1) D(x) Wᵀ + g h Bᵀ`.
    pub(super) fn forward(&self, x: &Tensor, bias: Option<&Tensor>) -> Result<(Tensor, Tensor)> {
        let (y, h) = match (&self.lora.magnitude, self.dropout) {
            (None, None) if self.lora.initial.is_none() => return self.lora_linear(x, bias, self.y_dtype),
            (None, _) => {
                let h = self.h(&self.dropped(x)?)?;
                let (with_initial, b) = self.with_initial(&h, x)?;
                (self.linear(x, bias, Some(LowRank { h: &with_initial, factor: &b }))?, h)
            }
            (Some(magnitude), None) => {
                let (z, h) = self.lora_linear(x, None, DType::F32)?;
                (scale_columns(&z, &self.factors(magnitude)?, bias)?, h)
            }
            (Some(magnitude), Some(_)) => {
                let factors = self.factors(magnitude)?;
                let dropped = self.dropped(x)?;
                let h = self.h(&dropped)?;
                let base = self.linear(x, bias, None)?;
                let scaled = scale_columns(&self.linear(&dropped, None, None)?, &(&factors - 1.0)?, None)?;
                (add(&base, &add(&scaled, &scale_columns(&self.up(&h)?, &factors, None)?)?)?, h)
            }
        };
        Ok((in_dtype(y, self.y_dtype)?, h))
    }

    /// y without dropout, given x Wᵀ.
    pub(super) fn added_to(&self, product: &Tensor, x: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
        let h = self.h(x)?;
        let y = match &self.lora.magnitude {
            None => {
                let (h, b) = self.with_initial(&h, x)?;
                let y = add(product, &lora_down(&h, &b, 1.0, self.precision)?)?;
                bias.map_or(Ok(y.clone()), |bias| y.broadcast_add(bias))?
            }
            Some(magnitude) => scale_columns(&add(product, &self.up(&h)?)?, &self.factors(magnitude)?, bias)?,
        };
        in_dtype(y, self.y_dtype)
    }

    /// Adds the gradients of A, B and the magnitudes, and returns dx. h is that of the forward pass, and is recomputed if
    /// it was not kept.
    ///
    /// With dh = scaling · dy B: dB = dyᵀ h, dA = dhᵀ D(x), dx = dy W + D(dh A) - scaling · dy B₀ A₀.
    pub(super) fn backward(
        &self,
        x: &Tensor,
        h: Option<&Tensor>,
        dy: &Tensor,
        gradients: &mut Gradients,
    ) -> Result<Tensor> {
        let dropped = self.dropped(x)?;
        let h = h.map_or_else(|| self.h(&dropped), |h| Ok(h.clone()))?;
        let dx = match &self.lora.magnitude {
            Some(magnitude) => self.dora_backward(magnitude, &dropped, &h, dy, gradients),
            None => self.lora_backward(&dropped, &h, dy, gradients),
        };
        in_dtype(dx?, self.dx_dtype)
    }

    fn lora_backward(&self, dropped: &Tensor, h: &Tensor, dy: &Tensor, gradients: &mut Gradients) -> Result<Tensor> {
        let a = self.lora.a.as_tensor();
        let dh0 = |b0: &Tensor| lora_factor_backward(dy, b0, -self.scaling, self.precision);
        match (self.dropout, &self.lora.initial) {
            (None, None) => {
                let (dx, dh) = self.lora_linear_backward(dy, self.dx_dtype)?;
                self.add_gradients(dropped, h, &dh, dy, gradients)?;
                Ok(dx)
            }
            (None, Some([a0, b0])) => {
                let dh = self.factors_backward(dropped, h, dy, gradients)?;
                let (h, factor) = (Tensor::cat(&[&dh, &dh0(b0)?], 1)?, Tensor::cat(&[a, a0], 0)?);
                self.linear_backward(dy, Some(LowRank { h: &h, factor: &factor }))
            }
            (Some(dropout), initial) => {
                let dh = self.factors_backward(dropped, h, dy, gradients)?;
                let dh0 = initial.as_ref().map(|[_, b0]| dh0(b0)).transpose()?;
                let initial = initial.as_ref().zip(dh0.as_ref()).map(|([a0, _], h)| LowRank { h, factor: a0 });
                let through_adapter = dropout.apply(&lora_factor_backward(&dh, a, 1.0, self.precision)?)?;
                add(&self.linear_backward(dy, initial)?, &through_adapter)
            }
        }
    }

    /// With z = x Vᵀ: d magnitude = Σ dy z / ‖V‖ over rows; the rest is that of a LoRA whose dy is g dy.
    fn dora_backward(
        &self,
        magnitude: &Magnitude,
        dropped: &Tensor,
        h: &Tensor,
        dy: &Tensor,
        gradients: &mut Gradients,
    ) -> Result<Tensor> {
        let dy = &widened(dy)?;
        let factors = self.factors(magnitude)?;
        let norms = magnitude.norms(self.frozen, self.lora, self.scaling)?;
        let sum = gradients.sum(&magnitude.lengths)?;
        let dz = scale_columns(dy, &factors, None)?;
        {
            let z = self.linear(dropped, None, Some(LowRank { h, factor: &self.lora.b }))?;
            add_magnitude_gradient(&sum, &z, &norms, dy)?;
        }
        let Some(dropout) = self.dropout else {
            let (dx, dh) = self.lora_linear_backward(&dz, self.dx_dtype)?;
            self.add_gradients(dropped, h, &dh, &dz, gradients)?;
            return Ok(dx);
        };
        let dh = self.factors_backward(dropped, h, &dz, gradients)?;
        let low_rank = Some(LowRank { h: &dh, factor: &self.lora.a });
        let through_dropout = self.linear_backward(&scale_columns(dy, &(&factors - 1.0)?, None)?, low_rank)?;
        add(&self.linear_backward(dy, None)?, &dropout.apply(&through_dropout)?)
    }

    /// dh, given the gradient of h Bᵀ; the gradients of A and B are added.
    fn factors_backward(&self, dropped: &Tensor, h: &Tensor, dy: &Tensor, gradients: &mut Gradients) -> Result<Tensor> {
        let dh = lora_factor_backward(dy, &self.lora.b, self.scaling, self.precision)?;
        self.add_gradients(dropped, h, &dh, dy, gradients)?;
        Ok(dh)
    }

    /// Adds the gradients of A and B, given dh and that of h Bᵀ.
    fn add_gradients(
        &self,
        dropped: &Tensor,
        h: &Tensor,
        dh: &Tensor,
        dy: &Tensor,
        gradients: &mut Gradients,
    ) -> Result<()> {
        let Lora { a, b, .. } = self.lora;
        add_weight_gradient(&gradients.sum(b)?, dy, h, self.precision)?;
        add_weight_gradient(&gradients.sum(a)?, dh, dropped, self.precision)
    }

    /// h and B, beside them -h₀ and B₀.
    fn with_initial(&self, h: &Tensor, x: &Tensor) -> Result<(Tensor, Tensor)> {
        let b = self.lora.b.as_tensor();
        let Some([a0, b0]) = &self.lora.initial else { return Ok((h.clone(), b.clone())) };
        let h0 = lora_down(x, a0, -self.scaling, self.precision)?;
        Ok((Tensor::cat(&[h, &h0], 1)?, Tensor::cat(&[b, b0], 1)?))
    }

    fn dropped(&self, x: &Tensor) -> Result<Tensor> {
        self.dropout.map_or_else(|| Ok(x.clone()), |dropout| dropout.apply(&widened(x)?))
    }

    fn h(&self, dropped: &Tensor) -> Result<Tensor> {
        lora_down(dropped, &self.lora.a, self.scaling, self.precision)
    }

    /// h Bᵀ.
    fn up(&self, h: &Tensor) -> Result<Tensor> {
        lora_down(h, &self.lora.b, 1.0, self.precision)
    }

    fn factors(&self, magnitude: &Magnitude) -> Result<Tensor> {
        magnitude.lengths.as_tensor() / magnitude.norms(self.frozen, self.lora, self.scaling)?
    }

    fn lora_linear(&self, x: &Tensor, bias: Option<&Tensor>, dtype: DType) -> Result<(Tensor, Tensor)> {
        lora_linear(x, self.weight, bias, [&self.lora.a, &self.lora.b], self.scaling, self.precision, dtype)
    }

    fn lora_linear_backward(&self, dy: &Tensor, dtype: DType) -> Result<(Tensor, Tensor)> {
        lora_linear_backward(dy, self.weight, [&self.lora.a, &self.lora.b], self.scaling, self.precision, dtype)
    }

    fn linear(&self, x: &Tensor, bias: Option<&Tensor>, low_rank: Option<LowRank>) -> Result<Tensor> {
        linear(x, self.weight, bias, low_rank, self.precision, DType::F32)
    }

    fn linear_backward(&self, dy: &Tensor, low_rank: Option<LowRank>) -> Result<Tensor> {
        linear_backward(dy, self.weight, low_rank, self.precision, DType::F32)
    }
}

/// x, rounded if that is its dtype.
pub(super) fn in_dtype(x: Tensor, dtype: DType) -> Result<Tensor> {
    if x.dtype() == dtype { Ok(x) } else { rounded(&x) }
}
