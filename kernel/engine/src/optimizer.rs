//! AdamW over f32 parameters.
//!
//! Its moments stay in CPU memory even if a device computes, as in ZeRO-Offload: what trains is small beside what
//! computes.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::collections::HashSet;

use candle_core::CpuStorage;
use candle_core::InplaceOp2;
use candle_core::Layout;
use candle_core::Tensor;
use candle_core::Var;
use rayon::prelude::*;
use tunebook_nn::gradients::Gradients;
use tunebook_nn::tensor_file::Floats;

use crate::error::Result;
use crate::settings::Settings;
use crate::tensor_values::with_values;

/// Elements per parallel task.
const TASK: usize = 1 << 15;

/// The L2 norm of the gradients of all `parameters` together.
pub(crate) fn norm(gradients: &Gradients, parameters: &[(String, Var)]) -> Result<f64> {
    let mut squares = 0f64;
    for gradient in parameters.iter().filter_map(|(_, parameter)| gradients.get(parameter)) {
        if !gradient.device().is_cpu() {
            squares += f64::from(gradient.sqr()?.sum_all()?.to_scalar::<f32>()?);
            continue;
        }
        with_values(gradient, |g| {
            let square = |block: &[f32]| block.iter().map(|v| f64::from(*v) * f64::from(*v)).sum::<f64>();
            // Blocks are summed in their order, so that the number of threads changes nothing.
            squares += g.par_chunks(TASK).map(square).collect::<Vec<_>>().iter().sum::<f64>();
        })?;
    }
    Ok(squares.sqrt())
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
    /// Steps made.
    pub fn steps(&self) -> i32 {
        self.step
    }

    /// The moments of `parameters`, which are those of every step, by name.
    pub fn tensors<'a>(&'a self, parameters: &'a [(String, Var)]) -> impl Iterator<Item = (String, Floats<'a>)> {
        parameters.iter().zip(&self.moments).flat_map(|((name, parameter), moments)| {
            let floats = moments.each_ref().map(|m| Floats { dims: parameter.dims().to_vec(), values: m.into() });
            moment_names(name).into_iter().zip(floats)
        })
    }

    /// The optimizer that made `step` steps and left these moments, which are taken out of `tensors`.
    ///
    /// # Errors
    /// The name of a moment that is not there or not of its parameter's size.
    pub fn restore(
        step: i32,
        parameters: &[(String, Var)],
        tensors: &mut BTreeMap<String, Floats<'static>>,
    ) -> std::result::Result<Self, String> {
        let mut moments = Vec::new();
        for (name, parameter) in parameters.iter().filter(|_| step > 0) {
            let [m, v] = moment_names(name).map(|name| match tensors.remove(&name) {
                Some(floats) if floats.values.len() == parameter.elem_count() => Ok(floats.values.into_owned()),
                _ => Err(name),
            });
            moments.push([m?, v?]);
        }
        Ok(Self { step, moments })
    }

    /// One step on `parameters` with `gradients · scale`; a parameter without a gradient has one of zeros. `learning_rate`
    /// is that of all but LoRA+'s B; what decays is up to [`ParameterGroup`].
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
        // LoRA+ is a way to train LoRA, and says nothing of other parameters.
        let loraplus =
            parameters.iter().any(|(name, _)| name.contains(".lora_B.")).then_some(settings.loraplus_lr_ratio);
        let loraplus = loraplus.filter(|ratio| *ratio > 0.0);
        let names: HashSet<&str> = parameters.iter().map(|(name, _)| name.as_str()).collect();
        for ((name, parameter), moments) in parameters.iter().zip(&mut self.moments) {
            let group = ParameterGroup::of(name, parameter, &names, settings.weight_decay, loraplus);
            let learning_rate = learning_rate * group.rate;
            let update = Update {
                scale: scale as f32,
                decay: (1.0 - learning_rate * group.weight_decay) as f32,
                beta2: beta2 as f32,
                // Subtracted before rounding, as torch does: in f32, 1 - 0.999 is off by 1e-5 of itself.
                rest1: (1.0 - beta1) as f32,
                rest2: (1.0 - beta2) as f32,
                step_size: (learning_rate / (1.0 - beta1.powi(self.step))) as f32,
                root: (1.0 - beta2.powi(self.step)).sqrt() as f32,
                epsilon: settings.adam_epsilon as f32,
            };
            for moment in &mut *moments {
                moment.resize(parameter.elem_count(), 0.0);
            }
            let zeros = || parameter.zeros_like();
            let gradient = gradients.get(parameter).map_or_else(zeros, |gradient| Ok(gradient.clone()))?;
            if parameter.device().is_cpu() {
                parameter.inplace_op2(&gradient, &StepInPlace { update, moments: RefCell::new(moments) })?;
            } else {
                // As in ZeRO-Offload (Ren et al. 2021, arXiv 2101.06840), the moments stay in CPU memory.
                let mut values = parameter.flatten_all()?.to_vec1::<f32>()?;
                with_values(&gradient, |gradient| update.apply_all(&mut values, gradient, moments))?;
                parameter.set(&Tensor::from_vec(values, parameter.shape(), parameter.device())?)?;
            }
        }
        Ok(())
    }
}

/// The names of a parameter's two moments in a file, as torch calls them.
fn moment_names(parameter: &str) -> [String; 2] {
    ["exp_avg", "exp_avg_sq"].map(|moment| format!("{moment}.{parameter}"))
}

/// Learning rate factor and weight decay of a parameter.
#[derive(Clone, Copy, Debug, PartialEq)]
struct ParameterGroup {
    /// The factor of the learning rate.
    rate: f64,
    weight_decay: f64,
}

impl ParameterGroup {
    /// As transformers' `Trainer` groups parameters, biases and norms do not decay. It knows norms by their names, and
    /// LayerNorm by its class too: RMSNorms of a vision tower, which are called `norm1` and so on, do decay. A LayerNorm is
    /// a vector beside which there is a bias among all `names`.
    ///
    /// With LoRA+ (Hayou et al. 2024, arXiv 2402.12354) as LLaMA-Factory has it, B and all vectors learn
    /// `loraplus_lr_ratio` times as fast, and only biases do not decay.
    fn of(
        name: &str,
        parameter: &Var,
        names: &HashSet<&str>,
        weight_decay: f64,
        loraplus_lr_ratio: Option<f64>,
    ) -> Self {
        let bias = name.contains("bias");
        let decaying = |decays: bool| if decays { weight_decay } else { 0.0 };
        if let Some(ratio) = loraplus_lr_ratio {
            let fast = name.contains("lora_B") || parameter.rank() == 1;
            return Self { rate: if fast { ratio } else { 1.0 }, weight_decay: decaying(!bias) };
        }
        let is_norm = |part: &str| {
            part == "norm" || part.ends_with("_norm") || part.contains("layernorm") || part.contains("rmsnorm")
        };
        let has_bias = |module| names.contains(format!("{module}.bias").as_str());
        let is_layer_norm = parameter.rank() == 1 && name.strip_suffix(".weight").is_some_and(has_bias);
        Self { rate: 1.0, weight_decay: decaying(!bias && !is_layer_norm && !name.split('.').any(is_norm)) }
    }
}

#[derive(Clone, Copy)]
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
    fn apply_all(&self, p: &mut [f32], g: &[f32], [m, v]: &mut [Vec<f32>; 2]) {
        let operands = p.par_chunks_mut(TASK).zip(g.par_chunks(TASK));
        let moments = m.par_chunks_mut(TASK).zip(v.par_chunks_mut(TASK));
        operands.zip(moments).for_each(|((p, g), (m, v))| self.apply(p, g, m, v));
    }

    fn apply(&self, p: &mut [f32], g: &[f32], m: &mut [f32], v: &mut [f32]) {
        for (((p, g), m), v) in p.iter_mut().zip(g).zip(m).zip(v) {
            let g = g * self.scale;
            *m += (g - *m) * self.rest1;
            *v = *v * self.beta2 + g * g * self.rest2;
            *p = *p * self.decay - self.step_size * *m / (v.sqrt() / self.root + self.epsilon);
        }
    }
}

/// The update of one parameter, the first operand, by its gradient, the second.
struct StepInPlace<'a> {
    update: Update,
    moments: RefCell<&'a mut [Vec<f32>; 2]>,
}

impl InplaceOp2 for StepInPlace<'_> {
    fn name(&self) -> &'static str {
        "adamw"
    }

    fn cpu_fwd(
        &self,
        p: &mut CpuStorage,
        p_layout: &Layout,
        g: &CpuStorage,
        g_layout: &Layout,
    ) -> candle_core::Result<()> {
        let (CpuStorage::F32(p), CpuStorage::F32(g)) = (p, g) else {
            candle_core::bail!("adamw: parameters and gradients must be f32");
        };
        let (Some((p_start, p_end)), Some((g_start, g_end))) =
            (p_layout.contiguous_offsets(), g_layout.contiguous_offsets())
        else {
            candle_core::bail!("adamw: parameters and gradients must be contiguous");
        };
        self.update.apply_all(&mut p[p_start..p_end], &g[g_start..g_end], &mut self.moments.borrow_mut());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;
    use tunebook_nn::Precision;
    use tunebook_nn::ops::add_weight_gradient;

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
            add(&mut gradients, &p, [g[0] as f32, g[1] as f32]);
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
    fn a_parameter_without_a_gradient_goes_on_as_with_zeros() {
        let settings = Settings::default();
        let [p, q] = [0; 2].map(|_| ("p".to_string(), Var::new(&[1f32, -2.0], &Device::Cpu).unwrap()));
        let [mut of_p, mut of_q] = [0; 2].map(|_| AdamW::default());
        for values in [Some([0.5, -1.0]), None] {
            let mut gradients = Gradients::default();
            if let Some(values) = values {
                add(&mut gradients, &p.1, values);
            }
            of_p.step(std::slice::from_ref(&p), &gradients, 1.0, 0.1, &settings).unwrap();
            let mut gradients = Gradients::default();
            add(&mut gradients, &q.1, values.unwrap_or([0.0; 2]));
            of_q.step(std::slice::from_ref(&q), &gradients, 1.0, 0.1, &settings).unwrap();
        }
        assert_eq!(p.1.to_vec1::<f32>().unwrap(), q.1.to_vec1::<f32>().unwrap());
    }

    #[test]
    fn a_restored_optimizer_makes_the_same_step() {
        let settings = Settings::default();
        let p = [("p".to_string(), Var::new(&[1f32, -2.0], &Device::Cpu).unwrap())];
        let mut gradients = Gradients::default();
        add(&mut gradients, &p[0].1, [0.5, -1.0]);
        let mut optimizer = AdamW::default();
        optimizer.step(&p, &gradients, 1.0, 0.1, &settings).unwrap();
        let q = [("p".to_string(), Var::from_tensor(&p[0].1.copy().unwrap()).unwrap())];
        let owned = |(name, floats): (String, Floats)| {
            (name, Floats { dims: floats.dims, values: floats.values.into_owned().into() })
        };
        let mut tensors: BTreeMap<_, _> = optimizer.tensors(&p).map(owned).collect();
        assert_eq!(tensors.keys().collect::<Vec<_>>(), ["exp_avg.p", "exp_avg_sq.p"]);
        let mut restored = AdamW::restore(optimizer.steps(), &q, &mut tensors.clone()).unwrap();
        optimizer.step(&p, &gradients, 1.0, 0.1, &settings).unwrap();
        let mut same = Gradients::default();
        add(&mut same, &q[0].1, [0.5, -1.0]);
        restored.step(&q, &same, 1.0, 0.1, &settings).unwrap();
        assert_eq!(p[0].1.to_vec1::<f32>().unwrap(), q[0].1.to_vec1::<f32>().unwrap());
        tensors.remove("exp_avg_sq.p");
        assert_eq!(AdamW::restore(1, &p, &mut tensors).err().as_deref(), Some("exp_avg_sq.p"));
    }

    #[test]
    fn parameters_are_grouped_by_their_names() {
        let [vector, matrix] =
            [vec![2], vec![2, 1]].map(|dims| Var::zeros(dims, candle_core::DType::F32, &Device::Cpu).unwrap());
        let names = HashSet::from(["a.blocks.1.norm1.bias", "a.q_proj.bias"]);
        let group = |name: &str, parameter: &Var, loraplus_lr_ratio| {
            let ParameterGroup { rate, weight_decay } =
                ParameterGroup::of(name, parameter, &names, 0.1, loraplus_lr_ratio);
            (rate, weight_decay)
        };
        for (name, parameter, plain, plus) in [
            ("a.q_proj.lora_A.weight", &matrix, (1.0, 0.1), (1.0, 0.1)),
            ("a.q_proj.lora_B.weight", &matrix, (1.0, 0.1), (16.0, 0.1)),
            ("a.q_proj.lora_magnitude_vector", &vector, (1.0, 0.1), (16.0, 0.1)),
            ("a.q_proj.bias", &vector, (1.0, 0.0), (16.0, 0.0)),
            ("a.layers.0.input_layernorm.weight", &vector, (1.0, 0.0), (16.0, 0.1)),
            ("a.norm.weight", &vector, (1.0, 0.0), (16.0, 0.1)),
            ("a.blocks.0.norm1.weight", &vector, (1.0, 0.1), (16.0, 0.1)),
            ("a.merger.ln_q.weight", &vector, (1.0, 0.1), (16.0, 0.1)),
            ("a.blocks.1.norm1.weight", &vector, (1.0, 0.0), (16.0, 0.1)),
            ("a.q_proj.weight", &matrix, (1.0, 0.1), (1.0, 0.1)),
        ] {
            assert_eq!(group(name, parameter, None), plain, "{name}");
            assert_eq!(group(name, parameter, Some(16.0)), plus, "{name}");
        }
    }

    #[test]
    fn the_norm_is_that_of_all_gradients() {
        let [p, q, untrained] = [0; 3].map(|_| Var::new(&[0f32, 0.0], &Device::Cpu).unwrap());
        let mut gradients = Gradients::default();
        add(&mut gradients, &p, [1.0, 0.0]);
        add(&mut gradients, &p, [2.0, 0.0]);
        add(&mut gradients, &q, [0.0, 4.0]);
        let parameters = [p, q, untrained].map(|p| (String::new(), p));
        assert_eq!(norm(&gradients, &parameters).unwrap(), 5.0);
    }

    fn add(gradients: &mut Gradients, parameter: &Var, values: [f32; 2]) {
        let left = Tensor::new(&[[1f32]], &Device::Cpu).unwrap();
        let right = Tensor::new(&[values], &Device::Cpu).unwrap();
        let sum = gradients.sum(parameter).unwrap().reshape((1, 2)).unwrap();
        add_weight_gradient(&sum, &left, &right, Precision::F32).unwrap();
    }
}
