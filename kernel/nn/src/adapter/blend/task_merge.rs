//! The element by element part of a blend: PEFT's `merge_utils`.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::RngCore;

/// How tensors of one shape become one: `linear`, or with pruning before and an election of signs after it.
///
/// | | pruning | majority sign |
/// |---|---|---|
/// | `linear` (Ilharco et al. 2022, arXiv 2212.04089) | | |
/// | `magnitude_prune` | magnitude | |
/// | `ties` (Yadav et al. 2023, arXiv 2306.01708) | magnitude | yes |
/// | `dare_linear` (Yu et al. 2023, arXiv 2311.03099) | random | |
/// | `dare_ties` | random | yes |
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TaskMerge {
    pub pruning: Option<Pruning>,
    pub majority_sign: Option<MajoritySign>,
}

/// Which elements of a tensor become 0; `density`, in `(0, 1]`, is the share that is kept.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pruning {
    /// All but the ⌊density · n⌋ that are largest in magnitude; of equal ones, the first are kept.
    Magnitude { density: f64 },
    /// Each with probability 1 - density; what is kept is divided by density, so that the expectation stays.
    Random { density: f64 },
}

/// By what the sign of an element is elected, in PEFT's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MajoritySign {
    /// The sum of the tensors' elements.
    Total,
    /// The sum of their signs.
    Frequency,
}

impl TaskMerge {
    /// Σ wᵢ xᵢ.
    pub const LINEAR: Self = Self { pruning: None, majority_sign: None };

    /// Σ wᵢ xᵢ of pruned tensors x, element by element; with an election, the mean of wᵢ xᵢ over those i whose xᵢ has the
    /// elected sign (positive where the sum is 0), or 0 where none has. As in PEFT, the weights have no vote.
    pub(super) fn merge(self, mut tensors: Vec<Vec<f32>>, weights: &[f32], generator: &mut ChaCha8Rng) -> Vec<f32> {
        if let Some(pruning) = self.pruning {
            tensors.iter_mut().for_each(|tensor| pruning.prune(tensor, generator));
        }
        let elements = tensors.first().map_or(0, Vec::len);
        let merge = |element: usize| {
            let mine = || tensors.iter().map(|tensor| tensor[element]);
            let weighted = || mine().zip(weights);
            let Some(election) = self.majority_sign else {
                return weighted().map(|(x, w)| x * w).sum();
            };
            let elected = election.of(mine());
            let kept = || weighted().filter(|(x, _)| *x * elected > 0.0);
            kept().map(|(x, w)| x * w).sum::<f32>() / kept().count().max(1) as f32
        };
        (0..elements).map(merge).collect()
    }
}

impl Pruning {
    fn prune(self, values: &mut [f32], generator: &mut ChaCha8Rng) {
        match self {
            Self::Magnitude { density } => {
                let kept = (density * values.len() as f64) as usize;
                if kept < values.len() {
                    let mut order: Vec<_> = (0..values.len()).collect();
                    let larger = |a: &usize, b: &usize| values[*b].abs().total_cmp(&values[*a].abs()).then(a.cmp(b));
                    order.select_nth_unstable_by(kept, larger);
                    order[kept..].iter().for_each(|index| values[*index] = 0.0);
                }
            }
            Self::Random { density } => {
                let kept_below = (density * 2f64.powi(32)) as u64;
                let draw = |value: &mut f32| match u64::from(generator.next_u32()) < kept_below {
                    true => *value /= density as f32,
                    false => *value = 0.0,
                };
                values.iter_mut().for_each(draw);
            }
        }
    }
}

impl MajoritySign {
    /// 1 or -1.
    fn of(self, values: impl Iterator<Item = f32>) -> f32 {
        let sign = |x: f32| if x == 0.0 { 0.0 } else { x.signum() };
        let sum: f32 = match self {
            Self::Total => values.sum(),
            Self::Frequency => values.map(sign).sum(),
        };
        if sum >= 0.0 { 1.0 } else { -1.0 }
    }
}
