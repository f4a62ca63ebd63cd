//! A new adapter out of several, as PEFT's `add_weighted_adapter` makes it.
//!
//! Each source i has a weight wᵢ and, in every layer, its own scaling sᵢ (`lora_alpha / r`, or with rsLoRA
//! `lora_alpha / √r`). The new adapter has `lora_alpha = r`, so that its own scaling is 1: PEFT leaves `use_rslora` of the
//! first source on, by which an rsLoRA would come out √r times too large; here it is off.
//!
//! Where PiSSA began an adapter, its plain factors are blended, which are what is saved of it for PEFT. DoRA's magnitudes
//! and copies of the model's own weights have no such sum; PEFT drops them in silence, and here they are refused.

mod task_merge;

use candle_core::Device;
use candle_core::Tensor;
use candle_core::Var;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use super::Adapter;
use super::AdapterError;
use super::InitLoraWeights;
use super::Lora;
use super::LoraConfig;
use super::ModelShape;
use super::Patterns;
use super::Unblendable;
use crate::error::Error;
use crate::error::Result;
use crate::frozen::FrozenMatrix;
use crate::svd::of_product;
use crate::svd::principal;

pub use task_merge::MajoritySign;
pub use task_merge::Pruning;
pub use task_merge::TaskMerge;

/// First of the random streams that DARE draws from; the layer with id `i` has stream `DARE + i`.
const DARE: u64 = 5 << 32;

/// An adapter that is blended, by the name under which an error calls it.
#[derive(Clone, Debug)]
pub struct Source<'a> {
    pub name: String,
    pub adapter: &'a Adapter,
    /// May be negative.
    pub weight: f64,
}

/// How adapters become one: PEFT's `combination_type`. With ΔWᵢ = sᵢ Bᵢ Aᵢ, in each layer over the sources that adapt it:
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Combination {
    /// `cat`: B A = Σ wᵢ ΔWᵢ, exactly. The ranks add up.
    Cat,
    /// `linear` and so on: A = merge(±√|wᵢ sᵢ|, Aᵢ) and B = merge(√|wᵢ sᵢ|, Bᵢ), with the sign of wᵢ. The ranks are equal.
    OfFactors(TaskMerge),
    /// `svd`, `ties_svd` and so on: B A is the matrix of that rank that is nearest to merge(wᵢ, ΔWᵢ). Without a rank, it is
    /// the largest of the sources.
    OfProducts { merge: TaskMerge, svd_rank: Option<usize> },
}

/// A and B of one source in one layer, on the CPU.
struct Factors {
    /// `[r, in]`.
    a: Tensor,
    /// `[out, r]`.
    b: Tensor,
    scaling: f64,
    weight: f64,
}

impl Adapter {
    /// Blends adapters of a model of that shape. `seed` is what DARE draws by. One source alone is always merged `linear`.
    ///
    /// # Errors
    /// An adapter is no LoRA, or a DoRA, or trains copies of the model's own weights; the ranks differ where they must not;
    /// a weight of the result is not finite; [`Error::Cancelled`] if `stop`, which is asked before each layer, says so.
    pub fn blend(
        sources: &[Source],
        combination: Combination,
        shape: &ModelShape,
        seed: u64,
        stop: &dyn Fn() -> bool,
    ) -> Result<Self> {
        let configs = sources.iter().map(Source::config).collect::<Result<Vec<_>>>()?;
        let combination = match sources {
            [_] => Combination::OfFactors(TaskMerge::LINEAR),
            _ => combination,
        };
        let rank = combination.rank(sources);
        let mut modules = Vec::with_capacity(shape.linears.len());
        for (id, linear) in shape.linears.iter().enumerate() {
            let factors = sources.iter().filter_map(|source| source.factors(id)).collect::<Result<Vec<_>>>()?;
            if factors.is_empty() {
                modules.push(None);
                continue;
            }
            if stop() {
                return Err(Error::Cancelled);
            }
            let mut generator = ChaCha8Rng::seed_from_u64(seed);
            generator.set_stream(DARE + id as u64);
            let (a, b) = match combination {
                Combination::Cat => concatenated(&factors)?,
                Combination::OfFactors(merge) => of_factors(&factors, merge, &linear.name, &mut generator)?,
                Combination::OfProducts { merge, .. } => {
                    of_products(&factors, merge, rank, &mut generator, seed, stop)?
                }
            };
            // A layer that fewer sources adapt, or with less rank, has zeros in the rest, as in PEFT.
            let missing = rank - a.dims()[0];
            let (a, b) = (a.pad_with_zeros(0, 0, missing)?, b.pad_with_zeros(1, 0, missing)?);
            let (a, b) = (Var::from_tensor(&a)?, Var::from_tensor(&b)?);
            let module = linear.name.clone();
            modules.push(Some(Lora { module, a, b, scaling: 1.0, magnitude: None, initial: None }));
        }
        let mut config = LoraConfig {
            r: rank,
            lora_alpha: rank as f64,
            use_rslora: false,
            init_lora_weights: InitLoraWeights::Random,
            rank_pattern: Patterns::default(),
            alpha_pattern: Patterns::default(),
            ..configs[0].clone()
        };
        config.retarget(shape, |id| modules[id].is_some());
        Ok(Self { config: Some(config), names: shape.names, modules, tensors: Default::default() })
    }
}

impl Source<'_> {
    fn config(&self) -> Result<&LoraConfig> {
        let refuse = |what| Err(AdapterError::CannotBlend { name: self.name.clone(), what }.into());
        match &self.adapter.config {
            None => refuse(Unblendable::OwnWeights),
            Some(_) if !self.adapter.tensors.is_empty() => refuse(Unblendable::ModulesToSave),
            Some(config) if config.use_dora => refuse(Unblendable::Dora),
            Some(config) => Ok(config),
        }
    }

    fn factors(&self, id: usize) -> Option<Result<Factors>> {
        let lora = self.adapter.get(id)?;
        let factors = || -> Result<Factors> {
            let (a, b) = lora.plain_factors()?;
            let [a, b] = [a.to_device(&Device::Cpu)?, b.to_device(&Device::Cpu)?];
            Ok(Factors { a, b, scaling: lora.scaling, weight: self.weight })
        };
        Some(factors())
    }

    /// The largest rank of a layer, of the plain factors.
    fn rank(&self) -> usize {
        let rank = |lora: &Lora| lora.a.dims()[0] * if lora.initial.is_some() { 2 } else { 1 };
        self.adapter.loras().map(rank).max().unwrap_or(0)
    }
}

impl Combination {
    /// The rank of the blend.
    fn rank(&self, sources: &[Source]) -> usize {
        let ranks = sources.iter().map(Source::rank);
        match self {
            Self::Cat => ranks.sum(),
            Self::OfProducts { svd_rank: Some(rank), .. } => *rank,
            Self::OfFactors(_) | Self::OfProducts { svd_rank: None, .. } => ranks.max().unwrap_or(0),
        }
    }
}

/// A = [w₁ s₁ A₁; w₂ s₂ A₂; …] and B = [B₁ B₂ …].
fn concatenated(factors: &[Factors]) -> Result<(Tensor, Tensor)> {
    let a = factors.iter().map(|of| &of.a * (of.weight * of.scaling)).collect::<candle_core::Result<Vec<_>>>()?;
    let b: Vec<_> = factors.iter().map(|of| &of.b).collect();
    Ok((Tensor::cat(&a, 0)?, Tensor::cat(&b, 1)?))
}

fn of_factors(
    factors: &[Factors],
    merge: TaskMerge,
    module: &str,
    generator: &mut ChaCha8Rng,
) -> Result<(Tensor, Tensor)> {
    let rank = |of: &Factors| of.a.dims()[0];
    let first = rank(&factors[0]);
    if let Some(other) = factors.iter().map(rank).find(|other| *other != first) {
        return Err(AdapterError::BlendRanks { module: module.to_string(), ranks: [first, other] }.into());
    }
    let weights = |sign: fn(f64) -> f64| -> Vec<f32> {
        let weight = |of: &Factors| (of.weight * of.scaling, (of.weight * of.scaling).abs().sqrt());
        factors.iter().map(weight).map(|(weight, root)| (sign(weight) * root) as f32).collect()
    };
    let (a, b): (Vec<_>, Vec<_>) = factors.iter().map(|of| (&of.a, &of.b)).unzip();
    Ok((merged(&a, merge, &weights(f64::signum), generator)?, merged(&b, merge, &weights(|_| 1.0), generator)?))
}

fn of_products(
    factors: &[Factors],
    merge: TaskMerge,
    rank: usize,
    generator: &mut ChaCha8Rng,
    seed: u64,
    stop: &dyn Fn() -> bool,
) -> Result<(Tensor, Tensor)> {
    if merge == TaskMerge::LINEAR {
        let (a, b) = concatenated(factors)?;
        return of_product(&a, &b, rank);
    }
    let product = |of: &Factors| -> candle_core::Result<Tensor> { of.b.matmul(&of.a)? * of.scaling };
    let products = factors.iter().map(product).collect::<candle_core::Result<Vec<_>>>()?;
    let weights: Vec<_> = factors.iter().map(|of| of.weight as f32).collect();
    let delta = merged(&products.iter().collect::<Vec<_>>(), merge, &weights, generator)?;
    let (outputs, inputs) = delta.dims2()?;
    let delta = FrozenMatrix::from_f32(&delta.flatten_all()?.to_vec1::<f32>()?, outputs, inputs);
    principal(&delta, rank, None, seed, stop)
}

fn merged(tensors: &[&Tensor], merge: TaskMerge, weights: &[f32], generator: &mut ChaCha8Rng) -> Result<Tensor> {
    let values = tensors.iter().map(|tensor| tensor.flatten_all()?.to_vec1());
    let values = merge.merge(values.collect::<candle_core::Result<_>>()?, weights, generator);
    Ok(Tensor::from_vec(values, tensors[0].shape(), &Device::Cpu)?)
}

#[cfg(test)]
mod tests;
