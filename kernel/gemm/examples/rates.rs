//! Prints the rates of the matrix kernels on this machine, best of several runs: GFLOP/s of training's shapes,
//! and GB/s of weights read when decoding.
//!
//! `cargo run --release -p tunebook-gemm --example rates` (RAYON_NUM_THREADS sets the number of threads).

use std::mem::MaybeUninit;
use std::time::Instant;

use half::bf16;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tunebook_gemm::{Plus, Precision, View, ViewMut, Weights, matmul_nn, matmul_nt, sgemm};

/// Rows of x, and the weight's [n, k], of Qwen2.5-VL-3B's attention and feed-forward projections.
const TRAINING: [[usize; 3]; 3] = [[256, 2048, 2048], [256, 11008, 2048], [1024, 11008, 2048]];
const DECODING: [[usize; 3]; 4] = [[1, 11008, 2048], [1, 2048, 11008], [4, 11008, 2048], [8, 11008, 2048]];

fn main() {
    println!("{} threads", rayon::current_num_threads());
    println!("{:<22}{:>12}{:>12}{:>12}{:>12}   GFLOP/s", "", "bf16 fwd", "bf16 dx", "f32 fwd", "f32 dx");
    for [m, n, k] in TRAINING {
        let (x, w, mut y) = (random(m * k), random(n * k), vec![MaybeUninit::new(0.0); m * n]);
        let (dy, mut c) = (random(m * n), vec![0.0; m * n]);
        let narrow: Vec<bf16> = w.iter().map(|&v| bf16::from_f32(v)).collect();
        let mut dx = vec![MaybeUninit::new(0.0); m * k];
        let mut rates = Vec::new();
        for (w, precision) in [(Weights::Bf16(&narrow), Precision::Bf16), (Weights::F32(&w), Precision::F32)] {
            rates.push(best(|| matmul_nt(&x, w, Plus::default(), &mut y, [m, n, k], precision)));
            rates.push(best(|| matmul_nn(&dy, w, Plus::default(), &mut dx, [m, n, k], precision)));
        }
        rates.push(best(|| matmul_nt(&x, Weights::Bf16(&narrow), Plus::default(), &mut y, [m, n, k], Precision::F32)));
        rates.push(best(|| {
            sgemm(1.0, View::rows(&x, [m, k]), View::rows(&w, [n, k]).t(), ViewMut::rows(&mut c, [m, n]), false, true)
        }));
        let rates: Vec<f64> = rates.into_iter().map(|s| 2e-9 * (m * n * k) as f64 / s).collect();
        println!("{:<22}{rates:>12.1?}", format!("{m}x{k}x{n}"));
    }
    println!("{:<22}{:>12}{:>12}{:>12}   GB/s of weights", "", "bf16", "bf16 as f32", "f32");
    for [m, n, k] in DECODING {
        let (x, w, mut y) = (random(m * k), random(n * k), vec![MaybeUninit::new(0.0); m * n]);
        let narrow: Vec<bf16> = w.iter().map(|&v| bf16::from_f32(v)).collect();
        let bf16 = best(|| matmul_nt(&x, Weights::Bf16(&narrow), Plus::default(), &mut y, [m, n, k], Precision::Bf16));
        let widened =
            best(|| matmul_nt(&x, Weights::Bf16(&narrow), Plus::default(), &mut y, [m, n, k], Precision::F32));
        let f32 = best(|| matmul_nt(&x, Weights::F32(&w), Plus::default(), &mut y, [m, n, k], Precision::F32));
        let rate = |bytes: usize, s: f64| 1e-9 * (bytes * n * k) as f64 / s;
        println!(
            "{:<22}{:>12.1}{:>12.1}{:>12.1}",
            format!("{m}x{k}x{n}"),
            rate(2, bf16),
            rate(2, widened),
            rate(4, f32)
        );
    }
}

/// The shortest time of several runs, in seconds.
fn best(mut run: impl FnMut()) -> f64 {
    run();
    let mut best = f64::MAX;
    for _ in 0..8 {
        let start = Instant::now();
        run();
        best = best.min(start.elapsed().as_secs_f64());
    }
    best
}

fn random(len: usize) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(len as u64);
    (0..len).map(|_| rng.random_range(-1.0..1.0)).collect()
}
