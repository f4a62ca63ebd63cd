//! Prints the rates of bf16 matmuls on this machine, a line each, as tests/bench/gemm.py reads them: GFLOP/s of `SHAPE
//! forward` and `SHAPE backward`, GB/s of weights read of `SHAPE decode`, where x has up to 32 rows, of `SHAPE packed` as
//! if its weights in 12 bits were bf16, and of reading `memory`. A shape is ROWSxINxOUT. The weights are in no cache, as
//! in a model, whose layers take turns.
//!
//! `cargo run --release -p tunebook-gemm --example rates -- SHAPE…` (RAYON_NUM_THREADS sets the number of threads).

#![expect(clippy::print_stdout, reason = "an example prints")]

use std::mem::MaybeUninit;
use std::time::{Duration, Instant};

use half::bf16;
use rayon::prelude::*;
use tunebook_gemm::{Bf12, Matmul, OutputMut, Precision, View, WeightView, Weights};

/// Weights to step through, 1 GiB.
const MANY: usize = 1 << 29;
/// How long a matmul is repeated.
const TIME: Duration = Duration::from_millis(300);

fn main() {
    let shapes: Vec<[usize; 3]> = std::env::args().skip(1).filter_map(|shape| parse(&shape)).collect();
    // Within the pool, as the engine is.
    rayon::scope(|_| {
        let weights: Vec<bf16> = values(MANY);
        for shape in shapes {
            if shape[0] <= 32 { decoding(shape, &weights) } else { training(shape, &weights) }
        }
        memory(&weights);
    });
}

fn parse(shape: &str) -> Option<[usize; 3]> {
    let sizes: Vec<usize> = shape.split('x').filter_map(|size| size.parse().ok()).collect();
    sizes.try_into().ok()
}

fn training([m, k, n]: [usize; 3], weights: &[bf16]) {
    let (x, dy): (Vec<f32>, Vec<f32>) = (values(m * k), values(m * n));
    let (mut y, mut dx) = (vec![MaybeUninit::uninit(); m * n], vec![MaybeUninit::uninit(); m * k]);
    let gflop = 2e-9 * (m * n * k) as f64;
    let mut next = weights.chunks_exact(n * k).map(Weights::Bf16).cycle();
    let forward = median(|| {
        let Some(w) = next.next() else { return };
        matmul(View::rows(&x, [m, k]), WeightView::rows(w, [n, k]).t(), &mut y);
    });
    println!("{m}x{k}x{n} forward {:.1}", gflop / forward);
    let backward = median(|| {
        let Some(w) = next.next() else { return };
        matmul(View::rows(&dy, [m, n]), WeightView::rows(w, [n, k]), &mut dx);
    });
    println!("{m}x{k}x{n} backward {:.1}", gflop / backward);
}

fn decoding([m, k, n]: [usize; 3], weights: &[bf16]) {
    let (x, mut y): (Vec<f32>, _) = (values(m * k), vec![MaybeUninit::uninit(); m * n]);
    let mut next = weights.chunks_exact(n * k).map(Weights::Bf16).cycle();
    let seconds = median(|| {
        let Some(w) = next.next() else { return };
        matmul(View::rows(&x, [m, k]), WeightView::rows(w, [n, k]).t(), &mut y);
    });
    println!("{m}x{k}x{n} decode {:.2}", 2e-9 * (n * k) as f64 / seconds);
    let packed: Option<Vec<Bf12>> = weights.chunks_exact(n * k).map(|w| Bf12::new(w, k)).collect();
    let Some(packed) = packed.filter(|_| Bf12::pays()) else { return };
    let mut next = packed.iter().map(Weights::Bf12).cycle();
    let seconds = median(|| {
        let Some(w) = next.next() else { return };
        matmul(View::rows(&x, [m, k]), WeightView::rows(w, [n, k]).t(), &mut y);
    });
    println!("{m}x{k}x{n} packed {:.2}", 2e-9 * (n * k) as f64 / seconds);
}

fn matmul(x: View<'_>, w: WeightView<'_>, y: &mut [MaybeUninit<f32>]) {
    Matmul { x, w, bias: None, low_rank: None, y: OutputMut::F32(y), precision: Precision::Bf16 }.run();
}

fn memory(weights: &[bf16]) {
    let words: &[u64] = bytemuck::cast_slice(weights);
    let part = words.len().div_ceil(8 * rayon::current_num_threads());
    let seconds = median(|| {
        std::hint::black_box(words.par_chunks(part).map(sum).reduce(|| 0, u64::wrapping_add));
    });
    println!("memory {:.2}", 8e-9 * words.len() as f64 / seconds);
}

fn sum(words: &[u64]) -> u64 {
    let mut sums = [0u64; 64];
    for words in words.chunks_exact(64) {
        sums.iter_mut().zip(words).for_each(|(sum, word)| *sum = sum.wrapping_add(*word));
    }
    sums.into_iter().fold(0, u64::wrapping_add)
}

/// The median time of a run, in seconds.
fn median(mut run: impl FnMut()) -> f64 {
    run();
    let (start, mut times) = (Instant::now(), Vec::new());
    while times.len() < 7 || start.elapsed() < TIME {
        let start = Instant::now();
        run();
        times.push(start.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Numbers between -2 and 2, made fast.
fn values<T: From<bf16> + Send>(len: usize) -> Vec<T> {
    // Sums of the four parts of a hash, so that they are distributed much as trained weights are.
    let value = |i: usize| {
        let hash = (i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let hash = (hash ^ hash >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let sum: f32 = (0..4).map(|part| f32::from((hash >> (16 * part)) as u16)).sum();
        bf16::from_f32(sum / 65_536.0 - 2.0)
    };
    (0..len).into_par_iter().map(|i| T::from(value(i))).collect()
}
