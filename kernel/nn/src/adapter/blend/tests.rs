use candle_core::DType;
use rand::Rng;

use super::*;
use crate::adapter::LinearShape;
use crate::adapter::LoraTarget;
use crate::adapter::Magnitude;
use crate::models::qwen2_5_vl::FAMILY;

const SEED: u64 = 7;
const OUT: usize = 12;
const IN: usize = 20;

/// Two linear layers.
fn shape() -> ModelShape {
    let mut shape = ModelShape::new(&FAMILY.names);
    for name in ["q_proj", "v_proj"] {
        let name = format!("model.language_model.layers.0.self_attn.{name}");
        shape.linears.push(LinearShape { name, rows: OUT, cols: IN });
    }
    shape
}

/// An adapter on some of the layers, with random factors.
fn adapter(r: usize, target: &str, seed: u64) -> Adapter {
    let config = LoraConfig { r, target: LoraTarget::parse(target).unwrap(), ..LoraConfig::default() };
    let adapter = Adapter::new(config, &shape(), seed).unwrap();
    let mut generator = ChaCha8Rng::seed_from_u64(seed);
    for (_, var) in adapter.vars() {
        let values = (0..var.elem_count()).map(|_| generator.random_range(-1f32..1.0)).collect();
        var.set(&Tensor::from_vec(values, var.shape(), &Device::Cpu).unwrap()).unwrap();
    }
    adapter
}

fn blend(sources: &[(&Adapter, f64)], combination: Combination) -> Result<Adapter> {
    let sources: Vec<_> =
        sources.iter().map(|&(adapter, weight)| Source { name: "one".to_string(), adapter, weight }).collect();
    Adapter::blend(&sources, combination, &shape(), SEED, &|| false)
}

/// scaling · B A of the plain factors; zero where the layer is not adapted.
fn delta(adapter: &Adapter, id: usize) -> Tensor {
    let Some(lora) = adapter.get(id) else { return Tensor::zeros((OUT, IN), DType::F32, &Device::Cpu).unwrap() };
    let (a, b) = lora.plain_factors().unwrap();
    (b.matmul(&a).unwrap() * lora.scaling).unwrap()
}

fn weighted(a: &Tensor, wa: f64, b: &Tensor, wb: f64) -> Tensor {
    ((a * wa).unwrap() + (b * wb).unwrap()).unwrap()
}

fn distance(a: &Tensor, b: &Tensor) -> f32 {
    (a - b).unwrap().abs().unwrap().max_all().unwrap().to_scalar().unwrap()
}

const SVD: Combination = Combination::OfProducts { merge: TaskMerge::LINEAR, svd_rank: None };

#[test]
fn cat_and_an_svd_of_full_rank_are_the_weighted_sum() {
    let (p, q) = (adapter(2, "all", 1), adapter(3, "q_proj", 2));
    let full = Combination::OfProducts { merge: TaskMerge::LINEAR, svd_rank: Some(5) };
    for combination in [Combination::Cat, full] {
        let blended = blend(&[(&p, 0.7), (&q, -0.4)], combination).unwrap();
        assert_eq!(blended.config.as_ref().unwrap().r, 5);
        for id in 0..2 {
            let expected = weighted(&delta(&p, id), 0.7, &delta(&q, id), -0.4);
            assert!(distance(&delta(&blended, id), &expected) < 1e-5, "{combination:?}");
            assert_eq!(blended.get(id).unwrap().a.dims(), [5, IN]);
        }
    }
}

#[test]
fn a_smaller_rank_keeps_the_largest_singular_values() {
    let (p, q) = (adapter(2, "all", 1), adapter(2, "all", 2));
    let [whole, part] = [4, 2].map(|rank| {
        let combination = Combination::OfProducts { merge: TaskMerge::LINEAR, svd_rank: Some(rank) };
        delta(&blend(&[(&p, 1.0), (&q, 1.0)], combination).unwrap(), 0)
    });
    let matrix = |tensor: &Tensor| {
        let values: Vec<f32> = tensor.flatten_all().unwrap().to_vec1().unwrap();
        nalgebra::DMatrix::from_row_slice(OUT, IN, &values)
    };
    let values = matrix(&whole).singular_values();
    let kept = matrix(&part).singular_values();
    let lost = matrix(&(whole - part).unwrap()).singular_values();
    for index in 0..2 {
        assert!((kept[index] - values[index]).abs() < 1e-4);
        assert!((lost[index] - values[2 + index]).abs() < 1e-4);
    }
}

#[test]
fn one_source_is_scaled_whatever_the_method() {
    let p = adapter(2, "all", 1);
    let blended = blend(&[(&p, -0.25)], SVD).unwrap();
    assert!(distance(&delta(&blended, 0), &(delta(&p, 0) * -0.25).unwrap()) < 1e-6);
}

#[test]
fn what_has_never_been_trained_blends_to_nothing() {
    let fresh = || Adapter::new(LoraConfig { r: 2, ..LoraConfig::default() }, &shape(), 1).unwrap();
    let (p, q) = (fresh(), fresh());
    let ties =
        TaskMerge { pruning: Some(Pruning::Magnitude { density: 0.5 }), majority_sign: Some(MajoritySign::Total) };
    let ties_svd = Combination::OfProducts { merge: ties, svd_rank: None };
    for combination in [Combination::Cat, SVD, ties_svd, Combination::OfFactors(ties)] {
        let blended = blend(&[(&p, 0.5), (&q, 0.5)], combination).unwrap();
        assert_eq!(distance(&delta(&blended, 0), &delta(&p, 0)), 0.0, "{combination:?}");
    }
}

#[test]
fn an_adapter_that_began_as_pissa_is_blended_as_what_it_does() {
    let mut p = adapter(2, "q_proj", 1);
    let lora = p.get_mut(0).unwrap();
    let other = adapter(2, "q_proj", 3);
    let began = other.get(0).unwrap();
    lora.initial = Some([began.a.as_tensor().clone(), began.b.as_tensor().clone()]);
    let q = adapter(2, "all", 2);
    let blended = blend(&[(&p, 0.5), (&q, 2.0)], Combination::Cat).unwrap();
    let expected = weighted(&delta(&p, 0), 0.5, &delta(&q, 0), 2.0);
    assert!(distance(&delta(&blended, 0), &expected) < 1e-5);
    assert_eq!(blended.config.unwrap().r, 6);
}

#[test]
fn the_target_is_all_that_a_source_adapts() {
    let (p, q) = (adapter(2, "q_proj", 1), adapter(2, "v_proj", 2));
    let blended = blend(&[(&p, 1.0), (&q, 1.0)], Combination::Cat).unwrap();
    assert_eq!(blended.module_count(), 2);
    let config = blended.config.unwrap();
    assert_eq!(config.target.resolve(&shape(), config.frozen).unwrap(), [0, 1]);
}

mod dare {
    use super::*;

    const DENSITY: f64 = 0.3;

    fn draws(merge: TaskMerge, values: &[f32], weights: &[f32], seeds: u64) -> Vec<Vec<f32>> {
        let draw = |seed| {
            let tensors = weights.iter().map(|_| values.to_vec()).collect();
            merge.merge(tensors, weights, &mut ChaCha8Rng::seed_from_u64(seed))
        };
        (0..seeds).map(draw).collect()
    }

    #[test]
    fn what_is_kept_is_divided_by_density_and_so_is_the_share() {
        let merge = TaskMerge { pruning: Some(Pruning::Random { density: DENSITY }), majority_sign: None };
        let values: Vec<f32> = (1..=1000).map(|n| n as f32).collect();
        let drawn = draws(merge, &values, &[1.0], 200);
        let mut kept = 0;
        for (value, expected) in drawn.iter().flat_map(|row| row.iter().zip(&values)) {
            assert!(*value == 0.0 || *value == expected / DENSITY as f32, "{value} of {expected}");
            kept += usize::from(*value != 0.0);
        }
        // Five standard deviations.
        let draws = 200_000.0;
        let spread = 5.0 * (DENSITY * (1.0 - DENSITY) / draws).sqrt();
        assert!((kept as f64 / draws - DENSITY).abs() < spread, "{kept}");
    }

    #[test]
    fn its_mean_over_seeds_is_the_weighted_sum() {
        let merge = TaskMerge { pruning: Some(Pruning::Random { density: DENSITY }), majority_sign: None };
        let seeds = 20_000;
        let values = [1.0, -2.0, 0.5];
        let drawn = draws(merge, &values, &[0.75, -0.25], seeds);
        for (index, value) in values.iter().enumerate() {
            let mean = drawn.iter().map(|row| f64::from(row[index])).sum::<f64>() / seeds as f64;
            let expected = 0.5 * f64::from(*value);
            // Var = Σ w² x² (1 - d) / d.
            let deviation = (0.625 * (1.0 - DENSITY) / DENSITY / seeds as f64).sqrt() * f64::from(value.abs());
            assert!((mean - expected).abs() < 5.0 * deviation, "{mean} is not {expected}");
        }
    }

    #[test]
    fn the_signs_are_elected_among_what_is_kept() {
        let pruning = Some(Pruning::Random { density: DENSITY });
        let merge = TaskMerge { pruning, majority_sign: Some(MajoritySign::Total) };
        for row in draws(merge, &[3.0], &[1.0, 2.0], 50) {
            // None, one of them, the other, or the mean of both.
            let shown = [0.0, 1.0, 2.0, 1.5].map(|of| of * 3.0 / DENSITY as f32);
            assert!(shown.iter().any(|value| (value - row[0]).abs() < 1e-5), "{row:?}");
        }
    }

    #[test]
    fn a_seed_gives_one_blend_whichever_other_layers_there_are() {
        let merge = TaskMerge { pruning: Some(Pruning::Random { density: DENSITY }), majority_sign: None };
        let values = |adapter: &Adapter| adapter.get(1).unwrap().b.to_vec2::<f32>().unwrap();
        let of = |target| {
            let (p, q) = (adapter(2, target, 1), adapter(2, "v_proj", 2));
            let sources = [&p, &q].map(|adapter| Source { name: "one".to_string(), adapter, weight: 1.0 });
            let with = |seed| {
                let combination = Combination::OfFactors(merge);
                values(&Adapter::blend(&sources, combination, &shape(), seed, &|| false).unwrap())
            };
            assert_ne!(with(1), with(2));
            with(1).iter().flatten().map(|value| *value != 0.0).collect::<Vec<_>>()
        };
        // The values of p differ, the places that are drawn do not.
        assert_eq!(of("all"), of("v_proj"));
    }
}

mod refusals {
    use super::*;

    fn message(sources: &[(&Adapter, f64)], combination: Combination) -> String {
        blend(sources, combination).unwrap_err().to_string()
    }

    #[test]
    fn factors_of_other_ranks() {
        let (p, q) = (adapter(2, "all", 1), adapter(3, "all", 2));
        let message = message(&[(&p, 1.0), (&q, 1.0)], Combination::OfFactors(TaskMerge::LINEAR));
        assert!(message.contains("ranks 2 and 3") && message.contains("combination_type=cat"), "{message}");
    }

    #[test]
    fn what_has_no_weighted_sum() {
        let mut dora = adapter(2, "all", 1);
        dora.config.as_mut().unwrap().use_dora = true;
        let lengths = Var::from_vec(vec![1f32; OUT], OUT, &Device::Cpu).unwrap();
        dora.get_mut(0).unwrap().magnitude = Some(Magnitude::new(lengths.clone()));
        assert!(message(&[(&dora, 1.0)], SVD).contains("adapter `one` cannot be blended: it is a DoRA"));

        let mut saved = adapter(2, "all", 1);
        saved.put_tensor("model.language_model.norm.weight".to_string(), lengths.clone());
        assert!(message(&[(&saved, 1.0)], SVD).contains("additional_target"));

        let copies = Adapter::of_tensors([("norm".to_string(), lengths)].into(), &FAMILY.names);
        assert!(message(&[(&copies, 1.0)], SVD).contains("weights of the model"));
    }

    #[test]
    fn a_stop_ends_it() {
        let p = adapter(2, "all", 1);
        let sources = [Source { name: "p".to_string(), adapter: &p, weight: 1.0 }];
        let stopped = Adapter::blend(&sources, SVD, &shape(), SEED, &|| true);
        assert!(matches!(stopped, Err(Error::Cancelled)));
    }
}
