//! The low-rank update of a linear layer in one pass: LoRA, DoRA and PiSSA, forwards and backwards.

use candle_core::Result;
use candle_core::Tensor;
use tunebook_gemm::Precision;

use crate::adapter::Lora;
use crate::adapter::Magnitude;
use crate::frozen::FrozenMatrix;
use crate::gradients::Gradients;
use crate::ops::Dropout;
use crate::ops::LowRank;
use crate::ops::add;
use crate::ops::add_magnitude_gradient;
use crate::ops::add_weight_gradient;
use crate::ops::linear;
use crate::ops::linear_backward;
use crate::ops::lora_down;
use crate::ops::lora_factor_backward;
use crate::ops::scale_columns;

/// What the adapter that is on does to a layer.
pub struct ActiveLora<'a> {
    pub lora: &'a Lora,
    pub scaling: f32,
    pub dropout: Option<Dropout>,
    pub weight: &'a FrozenMatrix,
    pub precision: Precision,
}

impl ActiveLora<'_> {
    /// With D the dropout, h = scaling · D(x) Aᵀ and h₀ = scaling · x A₀ᵀ: `y = x Wᵀ + bias + h Bᵀ - h₀ B₀ᵀ`.
    ///
    /// With DoRA, g = magnitude / ‖V‖ and no dropout `y = g (x Wᵀ + h Bᵀ) + bias`; with dropout, as PEFT has it,
    /// `y = x Wᵀ + bias + (g - 1) D(x) Wᵀ + g h Bᵀ`.
    pub fn forward(&self, x: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
        let dropped = self.dropped(x)?;
        let h = self.h(&dropped)?;
        let Some(magnitude) = &self.lora.magnitude else {
            let (h, b) = self.with_initial(h, x)?;
            return self.linear(x, bias, Some(LowRank { h: &h, factor: &b }));
        };
        let factors = self.factors(magnitude)?;
        if self.dropout.is_none() {
            let z = self.linear(x, None, Some(LowRank { h: &h, factor: &self.lora.b }))?;
            return scale_columns(&z, &factors, bias);
        }
        let base = self.linear(x, bias, None)?;
        let scaled = scale_columns(&self.linear(&dropped, None, None)?, &(&factors - 1.0)?, None)?;
        add(&base, &add(&scaled, &scale_columns(&self.up(&h)?, &factors, None)?)?)
    }

    /// Adds the gradients of A, B and the magnitudes, and returns dx.
    ///
    /// With dh = scaling · dy B: dB = dyᵀ h, dA = dhᵀ D(x), dx = dy W + D(dh A) - scaling · dy B₀ A₀.
    pub fn backward(&self, x: &Tensor, dy: &Tensor, gradients: &mut Gradients) -> Result<Tensor> {
        match &self.lora.magnitude {
            Some(magnitude) => self.dora_backward(magnitude, x, dy, gradients),
            None => self.lora_backward(x, dy, gradients),
        }
    }

    fn lora_backward(&self, x: &Tensor, dy: &Tensor, gradients: &mut Gradients) -> Result<Tensor> {
        let dh = {
            let dropped = self.dropped(x)?;
            self.factors_backward(&dropped, &self.h(&dropped)?, dy, gradients)?
        };
        let a = self.lora.a.as_tensor();
        let initial = match &self.lora.initial {
            None => None,
            Some([a, b]) => Some((lora_factor_backward(dy, b, -self.scaling, self.precision)?, a)),
        };
        match (self.dropout, initial) {
            (None, None) => self.linear_backward(dy, Some(LowRank { h: &dh, factor: a })),
            (None, Some((dh0, a0))) => {
                let (h, factor) = (Tensor::cat(&[&dh, &dh0], 1)?, Tensor::cat(&[a, a0], 0)?);
                self.linear_backward(dy, Some(LowRank { h: &h, factor: &factor }))
            }
            (Some(dropout), initial) => {
                let initial = initial.as_ref().map(|(dh0, a0)| LowRank { h: dh0, factor: a0 });
                let through_adapter = dropout.apply(&lora_factor_backward(&dh, a, 1.0, self.precision)?)?;
                add(&self.linear_backward(dy, initial)?, &through_adapter)
            }
        }
    }

    /// With z = x Vᵀ: d magnitude = Σ dy z / ‖V‖ over rows; the rest is that of a LoRA whose dy is g dy.
    fn dora_backward(
        &self,
        magnitude: &Magnitude,
        x: &Tensor,
        dy: &Tensor,
        gradients: &mut Gradients,
    ) -> Result<Tensor> {
        let factors = self.factors(magnitude)?;
        let norms = magnitude.norms(self.weight, self.lora, self.scaling)?;
        let sum = gradients.sum(&magnitude.lengths)?;
        let dz = scale_columns(dy, &factors, None)?;
        let dropped = self.dropped(x)?;
        let h = self.h(&dropped)?;
        {
            let z = self.linear(&dropped, None, Some(LowRank { h: &h, factor: &self.lora.b }))?;
            add_magnitude_gradient(&sum, &z, &norms, dy)?;
        }
        let dh = self.factors_backward(&dropped, &h, &dz, gradients)?;
        let low_rank = Some(LowRank { h: &dh, factor: &self.lora.a });
        let Some(dropout) = self.dropout else { return self.linear_backward(&dz, low_rank) };
        let through_dropout = self.linear_backward(&scale_columns(dy, &(&factors - 1.0)?, None)?, low_rank)?;
        add(&self.linear_backward(dy, None)?, &dropout.apply(&through_dropout)?)
    }

    /// Adds the gradients of A and B, given that of h Bᵀ; gives dh.
    fn factors_backward(&self, dropped: &Tensor, h: &Tensor, dy: &Tensor, gradients: &mut Gradients) -> Result<Tensor> {
        let Lora { a, b, .. } = self.lora;
        let dh = lora_factor_backward(dy, b, self.scaling, self.precision)?;
        add_weight_gradient(&gradients.sum(b)?, dy, h, self.precision)?;
        add_weight_gradient(&gradients.sum(a)?, &dh, dropped, self.precision)?;
        Ok(dh)
    }

    /// h and B, beside them -h₀ and B₀.
    fn with_initial(&self, h: Tensor, x: &Tensor) -> Result<(Tensor, Tensor)> {
        let b = self.lora.b.as_tensor();
        let Some([a0, b0]) = &self.lora.initial else { return Ok((h, b.clone())) };
        let h0 = lora_down(x, a0, -self.scaling, self.precision)?;
        Ok((Tensor::cat(&[&h, &h0], 1)?, Tensor::cat(&[b, b0], 1)?))
    }

    fn dropped(&self, x: &Tensor) -> Result<Tensor> {
        self.dropout.map_or_else(|| Ok(x.clone()), |dropout| dropout.apply(x))
    }

    fn h(&self, dropped: &Tensor) -> Result<Tensor> {
        lora_down(dropped, &self.lora.a, self.scaling, self.precision)
    }

    /// h Bᵀ.
    fn up(&self, h: &Tensor) -> Result<Tensor> {
        lora_down(h, &self.lora.b, 1.0, self.precision)
    }

    fn factors(&self, magnitude: &Magnitude) -> Result<Tensor> {
        magnitude.lengths.as_tensor() / magnitude.norms(self.weight, self.lora, self.scaling)?
    }

    fn linear(&self, x: &Tensor, bias: Option<&Tensor>, low_rank: Option<LowRank>) -> Result<Tensor> {
        linear(x, self.weight, bias, low_rank, self.precision)
    }

    fn linear_backward(&self, dy: &Tensor, low_rank: Option<LowRank>) -> Result<Tensor> {
        linear_backward(dy, self.weight, low_rank, self.precision)
    }
}
