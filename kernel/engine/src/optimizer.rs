//! AdamW over f32 parameters, and the gradients it works on.

use candle_core::CpuStorage;
use candle_core::Storage;
use candle_core::Tensor;
use candle_core::Var;

use crate::error::Error;
use crate::error::Result;
use crate::settings::Settings;

/// The sum of the gradients of a window's micro-batches, one a parameter, in the parameters' order.
#[derive(Default)]
pub struct Gradients(Vec<Option<Tensor>>);

impl Gradients {
    /// Adds `gradient` to what parameter `index` has.
    pub fn add(&mut self, index: usize, gradient: Tensor) -> Result<()> {
        if self.0.len() <= index {
            self.0.resize(index + 1, None);
        }
        let sum = match self.0[index].take() {
            Some(sum) => (sum + gradient)?,
            None => gradient,
        };
        self.0[index] = Some(sum);
        Ok(())
    }

    /// Adds the gradients of another micro-batch.
    pub fn add_all(&mut self, other: Self) -> Result<()> {
        for (index, gradient) in other.0.into_iter().enumerate() {
            if let Some(gradient) = gradient {
                self.add(index, gradient)?;
            }
        }
        Ok(())
    }

    /// The gradient of parameter `index`, where it has one.
    pub fn get(&self, index: usize) -> Option<&Tensor> {
        self.0.get(index)?.as_ref()
    }

    /// The L2 norm over all of them together.
    pub fn norm(&self) -> Result<f64> {
        let mut squares = 0f64;
        for gradient in self.0.iter().flatten() {
            with_values(gradient, |g| squares += g.iter().map(|v| f64::from(*v) * f64::from(*v)).sum::<f64>())?;
        }
        Ok(squares.sqrt())
    }
}

/// AdamW (Loshchilov & Hutter 2017, arXiv 1711.05101) as torch computes it: with `m` and `v` the running means
/// of the gradient and of its square, `p ← p (1 - lr·weight_decay) - lr · m̂ / (√v̂ + ε)`.
#[derive(Default)]
pub struct AdamW {
    step: i32,
    /// `m` and `v` of each parameter.
    moments: Vec<[Vec<f32>; 2]>,
}

impl AdamW {
    /// One step on `parameters` with `gradients · scale`; parameters without a gradient stay as they are.
    pub fn step(
        &mut self,
        parameters: &[(String, Var)],
        gradients: &Gradients,
        scale: f64,
        learning_rate: f64,
        settings: &Settings,
    ) -> Result<()> {
        self.moments.resize(parameters.len(), Default::default());
        self.step += 1;
        let (beta1, beta2) = (settings.adam_beta1, settings.adam_beta2);
        let step_size = learning_rate / (1.0 - beta1.powi(self.step));
        let update = Update {
            scale: scale as f32,
            decay: (1.0 - learning_rate * settings.weight_decay) as f32,
            beta2: beta2 as f32,
            // Subtracted before rounding, as torch does: in f32, 1 - 0.999 is off by 1e-5 of itself.
            rest1: (1.0 - beta1) as f32,
            rest2: (1.0 - beta2) as f32,
            step_size: step_size as f32,
            root: (1.0 - beta2.powi(self.step)).sqrt() as f32,
            epsilon: settings.adam_epsilon as f32,
        };
        for (index, (_, parameter)) in parameters.iter().enumerate() {
            let Some(gradient) = gradients.get(index) else { continue };
            let [m, v] = &mut self.moments[index];
            m.resize(gradient.elem_count(), 0.0);
            v.resize(gradient.elem_count(), 0.0);
            let mut values = parameter.flatten_all()?.to_vec1::<f32>()?;
            with_values(gradient, |g| update.apply(&mut values, g, m, v))?;
            parameter.set(&Tensor::from_vec(values, parameter.shape(), parameter.device())?)?;
        }
        Ok(())
    }
}

struct Update {
    scale: f32,
    decay: f32,
    beta2: f32,
    rest1: f32,
    rest2: f32,
    step_size: f32,
    root: f32,
    epsilon: f32,
}

impl Update {
    fn apply(&self, p: &mut [f32], g: &[f32], m: &mut [f32], v: &mut [f32]) {
        for (((p, g), m), v) in p.iter_mut().zip(g).zip(m).zip(v) {
            let g = g * self.scale;
            *m += (g - *m) * self.rest1;
            *v = *v * self.beta2 + g * g * self.rest2;
            *p = *p * self.decay - self.step_size * *m / (v.sqrt() / self.root + self.epsilon);
        }
    }
}

/// Runs `f` over the values of a contiguous f32 tensor, in place.
fn with_values(tensor: &Tensor, f: impl FnOnce(&[f32])) -> Result<()> {
    let tensor = tensor.contiguous()?;
    let (storage, layout) = tensor.storage_and_layout();
    let (Storage::Cpu(CpuStorage::F32(values)), Some((start, end))) = (&*storage, layout.contiguous_offsets()) else {
        return Err(Error::Other("a gradient is not f32 on the CPU".to_string()));
    };
    f(&values[start..end]);
    Ok(())
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    /// torch.optim.AdamW on p = [1, -2], gradients [0.5, -1], [0.25, 3], lr 0.1, weight_decay 0.01.
    #[test]
    fn two_steps_equal_the_formula() {
        let settings = Settings { weight_decay: 0.01, ..Settings::default() };
        let p = Var::new(&[1f32, -2.0], &Device::Cpu).unwrap();
        let mut optimizer = AdamW::default();
        let (mut m, mut v, mut expected) = ([0f64; 2], [0f64; 2], [1f64, -2.0]);
        for (t, g) in [[0.5f64, -1.0], [0.25, 3.0]].iter().enumerate() {
            let mut gradients = Gradients::default();
            gradients.add(0, Tensor::new(&[g[0] as f32, g[1] as f32], &Device::Cpu).unwrap()).unwrap();
            optimizer.step(&[("p".to_string(), p.clone())], &gradients, 1.0, 0.1, &settings).unwrap();
            for i in 0..2 {
                m[i] = 0.9 * m[i] + 0.1 * g[i];
                v[i] = 0.999 * v[i] + 0.001 * g[i] * g[i];
                let t = t as i32 + 1;
                let (m_hat, v_hat) = (m[i] / (1.0 - 0.9f64.powi(t)), v[i] / (1.0 - 0.999f64.powi(t)));
                expected[i] = expected[i] * (1.0 - 0.1 * 0.01) - 0.1 * m_hat / (v_hat.sqrt() + 1e-8);
            }
        }
        let found = p.to_vec1::<f32>().unwrap();
        assert!(found.iter().zip(expected).all(|(a, b)| (f64::from(*a) - b).abs() < 1e-6), "{found:?} {expected:?}");
    }

    #[test]
    fn gradients_add_up() {
        let mut gradients = Gradients::default();
        for values in [[3f32, 0.0], [0.0, 4.0]] {
            gradients.add(1, Tensor::new(&values, &Device::Cpu).unwrap()).unwrap();
        }
        assert!(gradients.get(0).is_none());
        assert_eq!(gradients.norm().unwrap(), 5.0);
    }
}
