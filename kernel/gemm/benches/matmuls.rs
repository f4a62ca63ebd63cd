//! Matmuls of the sizes that training and decoding have: this crate's in f32 beside those of the `gemm` crate, and
//! in bf16.
//!
//! `cargo bench -p tunebook-gemm`, or with `-- --quick` for a first look. For torch beside it there is
//! tests/bench/gemm.py.

use std::mem::MaybeUninit;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use half::bf16;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tunebook_gemm::{Accum, Gemm, Matmul, OutputMut, Par, Precision, View, ViewMut, WeightView, Weights};

/// Rows of x, and the weight's [n, k], of Qwen2.5-VL-3B's projections.
const LINEARS: [[usize; 3]; 4] = [[1, 11008, 2048], [256, 2048, 2048], [256, 11008, 2048], [256, 2048, 11008]];
/// Rows, rank and width of LoRA's matmuls.
const LOW_RANK: [[usize; 3]; 2] = [[256, 16, 2048], [1024, 64, 11008]];

fn linears(criterion: &mut Criterion) {
    for [m, n, k] in LINEARS {
        let (x, dy, w) = (random(m * k), random(m * n), random(n * k));
        let narrow: Vec<bf16> = w.iter().map(|&w| bf16::from_f32(w)).collect();
        let (mut y, mut dx) = (vec![MaybeUninit::uninit(); m * n], vec![MaybeUninit::uninit(); m * k]);
        let (mut y_of_gemm, mut dx_of_gemm) = (vec![0.0; m * n], vec![0.0; m * k]);
        let kinds = [
            ("f32", Weights::F32(&w), Precision::F32),
            ("bf16 widened", Weights::Bf16(&narrow), Precision::F32),
            ("bf16", Weights::Bf16(&narrow), Precision::Bf16),
        ];
        let mut forward = criterion.benchmark_group(format!("forward {m}x{k}x{n}"));
        forward.throughput(Throughput::Elements((m * n * k) as u64));
        for (name, w, precision) in kinds {
            forward.bench_function(name, |b| {
                let (x, w) = (View::rows(&x, [m, k]), WeightView::rows(w, [n, k]).t());
                b.iter(|| {
                    let y = OutputMut::F32(&mut y);
                    Matmul { x, w, bias: None, low_rank: None, y, precision }.run();
                });
            });
        }
        forward.bench_function("gemm crate", |b| {
            b.iter(|| of_the_gemm_crate([m, k, n], &x, (&w, [1, k]), &mut y_of_gemm));
        });
        forward.finish();
        let mut backward = criterion.benchmark_group(format!("backward {m}x{n}x{k}"));
        backward.throughput(Throughput::Elements((m * n * k) as u64));
        for (name, w, precision) in kinds {
            backward.bench_function(name, |b| {
                let (x, w) = (View::rows(&dy, [m, n]), WeightView::rows(w, [n, k]));
                b.iter(|| {
                    let y = OutputMut::F32(&mut dx);
                    Matmul { x, w, bias: None, low_rank: None, y, precision }.run();
                });
            });
        }
        backward.bench_function("gemm crate", |b| {
            b.iter(|| of_the_gemm_crate([m, n, k], &dy, (&w, [k, 1]), &mut dx_of_gemm));
        });
        backward.finish();
    }
}

fn low_rank(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("x Aᵀ");
    for [m, rank, width] in LOW_RANK {
        let (x, a, mut h) = (random(m * width), random(rank * width), vec![0.0; m * rank]);
        group.throughput(Throughput::Elements((m * rank * width) as u64));
        group.bench_function(BenchmarkId::new("gemm crate", format!("{m}x{width}x{rank}")), |b| {
            b.iter(|| of_the_gemm_crate([m, width, rank], &x, (&a, [1, width]), &mut h));
        });
        for (name, precision) in [("f32", Precision::F32), ("bf16", Precision::Bf16)] {
            group.bench_function(BenchmarkId::new(name, format!("{m}x{width}x{rank}")), |b| {
                b.iter(|| {
                    let (a, b) = (View::rows(&x, [m, width]), View::rows(&a, [rank, width]).t());
                    let c = ViewMut::rows(&mut h, [m, rank]);
                    Gemm { a, b, c, alpha: 1.0, accum: Accum::Replace, par: Par::Rayon, precision }.run();
                });
            });
        }
    }
    group.finish();
}

/// c = a b, with row-major a, `[m, k]`, and b, `[k, n]`, of any strides.
fn of_the_gemm_crate([m, k, n]: [usize; 3], a: &[f32], (b, [b_row, b_col]): (&[f32], [usize; 2]), c: &mut [f32]) {
    assert!(a.len() == m * k && b.len() == k * n && c.len() == m * n && [b_row, b_col].contains(&1));
    let (parallelism, [k_stride, n_stride]) = (::gemm::Parallelism::Rayon(0), [k as isize, n as isize]);
    let (b_row, b_col) = (b_row as isize, b_col as isize);
    let (c, a, b) = (c.as_mut_ptr(), a.as_ptr(), b.as_ptr());
    // SAFETY: the slices have as many elements as the matrices, whose rows or columns follow one another.
    unsafe {
        ::gemm::gemm(
            m,
            n,
            k,
            c,
            1,
            n_stride,
            false,
            a,
            1,
            k_stride,
            b,
            b_col,
            b_row,
            0.0,
            1.0,
            false,
            false,
            false,
            parallelism,
        );
    }
}

fn random(len: usize) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(len as u64);
    (0..len).map(|_| rng.random_range(-1.0..1.0)).collect()
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20);
    targets = linears, low_rank
}
criterion_main!(benches);
