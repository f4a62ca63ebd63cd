//! Every matmul against f64, on every path that this CPU has.

use std::mem::MaybeUninit;

use half::bf16;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::cpu::Cpu;
use crate::simd::Portable;
use crate::source::Major;
use crate::{
    Accum, Activations, Bf12, Gemm, Int8, LowRank, Matmul, NF4_BLOCK, NF4_GROUP, Nf4, OutputMut, Par, Precision, View,
    ViewMut, WeightView, Weights,
};

#[test]
fn products_equal_f64_on_odd_shapes() {
    for shape in [
        [1, 1, 1],
        [3, 5, 7],
        [1, 64, 128],
        [5, 130, 67],
        [8, 33, 31],
        [9, 31, 33],
        [13, 16, 2],
        [17, 200, 129],
        [64, 384, 176],
        [2, 9, 5003],
        [30, 1100, 70],
        [23, 70, 1101],
        [1050, 19, 21],
        [400, 7, 515],
    ] {
        check_all(shape);
    }
}

#[test]
fn products_equal_f64_on_random_shapes() {
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    for _ in 0..60 {
        check_all([rng.random_range(1..40), rng.random_range(1..300), rng.random_range(1..700)]);
    }
}

#[test]
fn empty_dimensions_give_empty_or_zero_products() {
    for precision in [Precision::F32, Precision::Bf16] {
        let nt = |x: &[f32], w, shape| Case::nt(x, w, shape, precision).run(Cpu::detect());
        let nn = |dy: &[f32], w, shape| Case::nn(dy, w, shape, precision).run(Cpu::detect());
        assert!(nt(&[], Weights::F32(&[1.0; 6]), [0, 2, 3]).is_empty());
        assert!(nn(&[1.0; 4], Weights::Bf16(&[]), [2, 2, 0]).is_empty());
        assert_eq!(nt(&[], Weights::F32(&[]), [2, 3, 0]), [0.0; 6]);
        assert_eq!(nn(&[], Weights::Bf16(&[]), [2, 0, 3]), [0.0; 6]);
    }
}

#[test]
fn bf16_rounds_to_nearest_even_whatever_the_path() {
    // 1 + 2⁻⁸ lies halfway between two bf16 and goes to the even one, 1; 1 + 3·2⁻⁸ goes to 1 + 2⁻⁶.
    let halfway = [1.0 + 0.00390625, 1.0 + 3.0 * 0.00390625];
    for (name, cpu) in cpus() {
        for m in [1, 9] {
            let (x, w) = (halfway.repeat(m), [1.0, 0.0, 0.0, 1.0]);
            let y = Case::nt(&x, Weights::F32(&w), [m, 2, 2], Precision::Bf16).run(cpu);
            assert_eq!(y, [1.0, 1.015625].repeat(m), "x on {name}");
            let (x, w) = ([1.0, 0.0].repeat(m), [halfway[0], 9.0, halfway[1], 9.0]);
            let y = Case::nt(&x, Weights::F32(&w), [m, 2, 2], Precision::Bf16).run(cpu);
            assert_eq!(y, [1.0, 1.015625].repeat(m), "w on {name}");
        }
    }
}

#[test]
fn a_nan_or_an_infinity_stays_in_its_row() {
    for (name, cpu) in cpus() {
        for precision in [Precision::F32, Precision::Bf16] {
            for (major, shape) in [(Major::K, [2, 3, 5]), (Major::K, [11, 3, 5]), (Major::MN, [11, 5, 3])] {
                let mut x = vec![1.0; shape[0] * 5];
                (x[4], x[5]) = (f32::NAN, f32::INFINITY);
                let y = Case { major, ..Case::nt(&x, Weights::F32(&[1.0; 15]), shape, precision) }.run(cpu);
                assert!(y[..3].iter().all(|y| y.is_nan()), "{name}: {y:?}");
                assert_eq!(y[3..6], [f32::INFINITY; 3], "{name}");
                assert!(y[6..].iter().all(|&y| y == 5.0), "{name}: {y:?}");
            }
        }
    }
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let (m, n, k) = (130, 300, 600);
    let (x, w) = (random(m * k, 1), random(n * k, 2));
    let compute = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let y = Case::nt(&x, Weights::F32(&w), [m, n, k], Precision::Bf16).run(Cpu::detect());
            let dx = Case::nn(&y, Weights::F32(&w), [m, n, k], Precision::F32).run(Cpu::detect());
            (y, dx)
        })
    };
    assert!(compute(1) == compute(5));
}

#[test]
#[should_panic(expected = "w has 6 elements where [3, 3] was announced")]
fn a_wrong_length_is_named() {
    Case::nt(&[0.0; 3], Weights::F32(&[0.0; 6]), [1, 3, 3], Precision::F32).run(Cpu::detect());
}

#[test]
#[should_panic(expected = "y has 4 elements where [2, 3] was announced")]
fn a_wrong_length_of_the_output_is_named() {
    let (x, w, mut y) = ([0.0; 2], [0.0; 3], [MaybeUninit::new(0.0); 4]);
    let case = Case::nt(&x, Weights::F32(&w), [2, 3, 1], Precision::F32);
    case.matmul(OutputMut::F32(&mut y)).run();
}

#[test]
#[should_panic(expected = "up, or its transpose, is [3, 1] instead of [2, 1]")]
fn a_factor_of_another_shape_is_named() {
    let (x, w, h, b, mut y) = ([0.0; 4], [0.0; 4], [0.0; 2], [0.0; 3], [MaybeUninit::new(0.0); 4]);
    let case = Case::nt(&x, Weights::F32(&w), [2, 2, 2], Precision::F32);
    let (h, up) = (View::rows(&h, [2, 1]), View::rows(&b, [3, 1]).t());
    Matmul { low_rank: Some(LowRank::Given { h, up }), ..case.matmul(OutputMut::F32(&mut y)) }.run();
}

#[test]
#[should_panic(expected = "up is not f32 that lies in memory as w does")]
fn a_factor_that_lies_otherwise_than_the_weight_is_refused() {
    let (x, w, h, b, mut y) = ([0.0; 4], [0.0; 4], [0.0; 4], [0.0; 4], [MaybeUninit::new(0.0); 4]);
    let case = Case::nt(&x, Weights::F32(&w), [2, 2, 2], Precision::F32);
    let (h, up) = (View::rows(&h, [2, 2]), View::rows(&b, [2, 2]));
    Matmul { low_rank: Some(LowRank::Given { h, up }), ..case.matmul(OutputMut::F32(&mut y)) }.run();
}

#[test]
#[should_panic(expected = "does not fit in 0 elements")]
fn dimensions_whose_product_overflows_are_refused() {
    Case::nt(&[], Weights::F32(&[0.0; 4]), [1 << 63, 2, 2], Precision::F32).run(Cpu::detect());
}

#[test]
fn general_products_take_any_strides_and_equal_f64() {
    for [m, n, k] in [[1, 1, 1], [5, 7, 9], [40, 70, 64], [128, 33, 300], [9, 200, 131], [77, 16, 1], [70, 8, 600]] {
        let (a, b) = (random(m * k, 3), random(k * n, 4));
        for [narrow_a, narrow_b] in [[false, false], [true, false], [false, true], [true, true]] {
            let (a, b) = (nearest(&a, narrow_a), nearest(&b, narrow_b));
            for precision in [Precision::F32, Precision::Bf16] {
                check_general(&a, narrow_a, &b, narrow_b, [m, n, k], precision);
            }
        }
    }
}

/// Checks a strided matmul, in whichever order operands and output are stored, and whatever becomes of it. Narrow
/// operands are stored as bf16.
fn check_general(a: &[f32], narrow_a: bool, b: &[f32], narrow_b: bool, [m, n, k]: [usize; 3], precision: Precision) {
    // Rounding is allowed, not required.
    let expected = [precision, Precision::F32].map(|precision| {
        let case = Case::nn(&[], Weights::F32(&[]), [m, k, n], precision);
        let sums = case.reference(a, b);
        let added_to = |before: f64| -> Vec<(f64, f64)> {
            sums.iter().map(|(sum, tolerance)| (before + 0.5 * sum, tolerance + 1e-7)).collect()
        };
        [added_to(0.0), added_to(1.0)]
    });
    for layout in 0..32 {
        let bit = |bit: usize| layout >> bit & 1 == 1;
        let (by_column, accumulate, threads) = ([bit(0), bit(1), bit(2)], bit(3), bit(4));
        let (a, b) = (stored(a, [m, k], by_column[0]), stored(b, [k, n], by_column[1]));
        let narrow = [&a, &b].map(|stored| narrowed(stored));
        let a = if narrow_a { Activations::Bf16(&narrow[0]) } else { Activations::F32(&a) };
        let b = if narrow_b { Activations::Bf16(&narrow[1]) } else { Activations::F32(&b) };
        let (a, b) = (view(a, [m, k], by_column[0]), view(b, [k, n], by_column[1]));
        for (name, cpu) in cpus() {
            // Rows of c two heads apart, as attention lays them out.
            let mut c = vec![1.0; m * 2 * n];
            let into = if by_column[2] {
                ViewMut::new(&mut c, [n, m], [2 * m, 1]).t()
            } else {
                ViewMut::new(&mut c, [m, n], [2 * n, 1])
            };
            let accum = if accumulate { Accum::Add } else { Accum::Replace };
            let par = if threads { Par::Rayon } else { Par::Seq };
            Gemm { a, b, c: into, alpha: 0.5, accum, par, precision }.run_on(cpu);
            let place = |i: usize, j: usize| if by_column[2] { j * 2 * m + i } else { i * 2 * n + j };
            let sums: Vec<f32> = (0..m * n).map(|at| c[place(at / n, at % n)]).collect();
            let at = format!("{name}, {precision:?}, {narrow_a} {narrow_b}, [{m}, {n}, {k}], layout {layout}");
            check_sums(&sums, &expected.each_ref().map(|sums| &sums[usize::from(accumulate)][..]), &at);
            let touched = c.iter().filter(|&&c| c != 1.0).count();
            assert!(touched <= m * n, "{at}: {touched}");
        }
    }
}

#[test]
#[should_panic(expected = "does not fit in 11 elements")]
fn a_view_beyond_its_slice_is_refused() {
    View::new(&[0.0; 11], [3, 3], [4, 2]);
}

#[test]
#[should_panic(expected = "overlap")]
fn an_output_that_overlaps_itself_is_refused() {
    ViewMut::new(&mut [0.0; 11], [3, 3], [1, 1]);
}

#[test]
#[should_panic(expected = "is no matrix product")]
fn shapes_that_do_not_fit_are_refused() {
    let a = [0.0; 6];
    let a = View::rows(&a, [2, 3]);
    let mut c = [0.0; 4];
    let c = ViewMut::rows(&mut c, [2, 2]);
    Gemm { a, b: a, c, alpha: 1.0, accum: Accum::Replace, par: Par::Seq, precision: Precision::F32 }.run();
}

#[test]
fn a_row_has_the_same_bits_beside_a_few_others() {
    // Longer than what is decoded at a time, and neither whole vectors nor whole blocks.
    for (n, k) in [(37, 4999), (130, 200)] {
        let w = random(n * k, 5);
        let narrow = narrowed(&w);
        let packed = Bf12::new(&narrow, k).unwrap();
        let x = random(32 * k, 6);
        for (name, cpu) in cpus() {
            for weights in [Weights::F32(&w), Weights::Bf16(&narrow), Weights::Bf12(&packed)] {
                for precision in [Precision::F32, Precision::Bf16] {
                    let run = |x: &[f32]| Case::nt(x, weights, [x.len() / k, n, k], precision).run(cpu);
                    let alone: Vec<f32> = x[..8 * k].chunks(k).flat_map(run).collect();
                    for rows in [2, 3, 4] {
                        assert_eq!(run(&x[..rows * k]), alone[..rows * n], "{name}, {precision:?}, {rows} rows");
                    }
                    if matches!(weights, Weights::Bf12(_)) {
                        assert_eq!(run(&x[..8 * k]), alone, "{name}, {precision:?}, 8 rows");
                    }
                    let by_tiles = !matches!(weights, Weights::F32(_)) && precision == Precision::Bf16;
                    if by_tiles && name == "amx" {
                        let all = run(&x);
                        for rows in [9, 16, 17, 31] {
                            assert_eq!(run(&x[..rows * k]), all[..rows * n], "{name}, {rows} of 32 rows");
                        }
                    }
                }
            }
        }
    }
}

/// Checks both matmuls, all kinds of weights and both precisions on every path.
fn check_all([m, n, k]: [usize; 3]) {
    let w = random(n * k, 5);
    let mut narrow = narrowed(&w);
    if n * k > 256 {
        // An exception to the codes of 12 bits.
        narrow[n * k / 3] = bf16::from_f32(-1e-6);
    }
    let packed = Bf12::new(&narrow, k).unwrap();
    let widened: Vec<f32> = narrow.iter().map(|w| w.to_f32()).collect();
    let bytes: Vec<u8> = w.iter().map(|w| (w * 127.0) as i8 as u8).collect();
    let (absmax, scales) = (&bytes[..(n * k).div_ceil(NF4_BLOCK)], random((n * k).div_ceil(NF4_BLOCK * NF4_GROUP), 7));
    let nf4 = Nf4::new(n * k, &bytes[..(n * k).div_ceil(2)], absmax, &scales, 1.5);
    let row_scales = random(n, 8);
    let int8 = Int8::new(bytemuck::cast_slice(&bytes), &row_scales);
    let (mut nf4_values, mut int8_values) = (vec![0.0; n * k], vec![0.0; n * k]);
    nf4.read(0, &mut nf4_values);
    int8.read(0, &mut int8_values);
    let kinds = [
        (Weights::F32(&w), &w),
        (Weights::Bf16(&narrow), &widened),
        (Weights::Bf12(&packed), &widened),
        (Weights::Nf4(nf4), &nf4_values),
        (Weights::Int8(int8), &int8_values),
    ];
    for major in [Major::K, Major::MN] {
        let [width, depth] = if major == Major::K { [n, k] } else { [k, n] };
        let x = random(m * depth, 6);
        let (narrow_x, widened_x) = (narrowed(&x), nearest(&x, true));
        let rank = [0, 1, 8, 37][(m + n + k) % 4];
        let (bias, h, b) = (random(width, 9), random(m * rank, 10), random(width * rank, 11));
        let bias = (m % 2 == 0).then_some(&bias[..]);
        let low_rank = (rank > 0).then_some(Thin { h: &h, b: &b, rank });
        for (weights, exact) in kinds {
            for precision in [Precision::F32, Precision::Bf16] {
                for (stored, x) in [(Activations::F32(&x), &x), (Activations::Bf16(&narrow_x), &widened_x)] {
                    let case = Case { major, shape: [m, n, k], x: stored, w: weights, bias, low_rank, precision };
                    let expected = case.reference(x, exact);
                    for (name, cpu) in cpus() {
                        let at = format!("{name}, {major:?}, {precision:?}, [{m}, {n}, {k}]");
                        check_sums(&case.run(cpu), &[&expected], &at);
                        if matches!(stored, Activations::Bf16(_)) {
                            check_rounded(&case.run_rounded(cpu), &expected, &at);
                        }
                        if rank > 0 {
                            check_lora(cpu, case, x, exact, &at);
                        }
                    }
                }
            }
        }
    }
}

/// Checks the matmuls of a LoRA pair of the rank of `case`: h, and y beside the very h that was computed. x and w are
/// what its operands stand for.
fn check_lora(cpu: Cpu, case: Case<'_>, x: &[f32], w: &[f32], at: &str) {
    let Case { major, shape: [m, n, k], low_rank: Some(Thin { rank, .. }), precision, .. } = case else { return };
    let ([width, depth], case) = (case.sizes(), Case { bias: None, low_rank: None, ..case });
    let (down, up) = (random(depth * rank, 12), random(width * rank, 13));
    let (mut h, mut y) = (vec![f32::NAN; m * rank], vec![MaybeUninit::new(f32::NAN); m * width]);
    let (down_view, up_view) = (thin(&down, [depth, rank], major), thin(&up, [rank, width], major));
    let low_rank = LowRank::Lora { down: down_view, up: up_view, scaling: 0.5, h: &mut h };
    Matmul { low_rank: Some(low_rank), ..case.matmul(OutputMut::F32(&mut y)) }.run_on(cpu);
    // Rounding is allowed for h, not required.
    let of_h = [precision, Precision::F32].map(|precision| {
        let shape = if major == Major::K { [m, rank, k] } else { [m, n, rank] };
        let mut sums = Case { shape, precision, ..case }.reference(x, &down);
        sums.iter_mut().for_each(|(sum, tolerance)| (*sum, *tolerance) = (0.5 * *sum, 0.5 * *tolerance + 1e-7));
        sums
    });
    check_sums(&h, &of_h.each_ref().map(Vec::as_slice), &format!("h on {at}"));
    let case = Case { low_rank: Some(Thin { h: &h, b: &up, rank }), ..case };
    check_sums(&initialized(y), &[&case.reference(x, w)], at);
}

/// Checks sums against one of several expectations, each a sum and how far it may be off.
fn check_sums(sums: &[f32], expected: &[&[(f64, f64)]], at: &str) {
    for (i, &sum) in sums.iter().enumerate() {
        let near = |expected: &&[(f64, f64)]| (f64::from(sum) - expected[i].0).abs() <= expected[i].1;
        assert!(expected.iter().any(near), "{at}, element {i}: {sum} instead of {}", expected[0][i].0);
    }
}

/// Checks that each result is the nearest one of a sum that is as near to what is expected as it has to be.
fn check_rounded(y: &[bf16], expected: &[(f64, f64)], at: &str) {
    for (i, (y, (sum, tolerance))) in y.iter().zip(expected).enumerate() {
        let [least, most] = [sum - tolerance, sum + tolerance].map(|sum| bf16::from_f32(sum as f32));
        assert!(least <= *y && *y <= most, "{at}, element {i}, rounded: {y} instead of {sum}");
    }
}

/// The values, or the nearest ones in bf16.
fn nearest(x: &[f32], narrow: bool) -> Vec<f32> {
    x.iter().map(|&x| if narrow { bf16::from_f32(x).to_f32() } else { x }).collect()
}

fn narrowed(x: &[f32]) -> Vec<bf16> {
    x.iter().map(|&x| bf16::from_f32(x)).collect()
}

/// The matrix row by row, or column by column.
fn stored(a: &[f32], [rows, cols]: [usize; 2], by_column: bool) -> Vec<f32> {
    let place = |i: usize| {
        if by_column { i % rows * cols + i / rows } else { i }
    };
    (0..rows * cols).map(|i| a[place(i)]).collect()
}

fn view(stored: Activations<'_>, [rows, cols]: [usize; 2], by_column: bool) -> View<'_> {
    if by_column { View::of_activations(stored, [cols, rows]).t() } else { View::of_activations(stored, [rows, cols]) }
}

fn initialized(y: Vec<MaybeUninit<f32>>) -> Vec<f32> {
    // SAFETY: the callers make it of floats.
    y.into_iter().map(|y| unsafe { y.assume_init() }).collect()
}

/// The factors of a low-rank product.
#[derive(Clone, Copy)]
struct Thin<'a> {
    h: &'a [f32],
    b: &'a [f32],
    rank: usize,
}

/// A matmul with a weight of `[n, k]`: of x, `[m, k]`, with its transpose where it is K-major, else of dy, `[m, n]`.
#[derive(Clone, Copy)]
struct Case<'a> {
    major: Major,
    /// m, n and k.
    shape: [usize; 3],
    x: Activations<'a>,
    w: Weights<'a>,
    bias: Option<&'a [f32]>,
    low_rank: Option<Thin<'a>>,
    precision: Precision,
}

impl<'a> Case<'a> {
    fn nt(x: &'a [f32], w: Weights<'a>, shape: [usize; 3], precision: Precision) -> Self {
        Case { major: Major::K, shape, x: Activations::F32(x), w, bias: None, low_rank: None, precision }
    }

    fn nn(dy: &'a [f32], w: Weights<'a>, shape: [usize; 3], precision: Precision) -> Self {
        Case { major: Major::MN, ..Case::nt(dy, w, shape, precision) }
    }

    /// The width of the result and the length of the contraction.
    fn sizes(self) -> [usize; 2] {
        let [_, n, k] = self.shape;
        if self.major == Major::K { [n, k] } else { [k, n] }
    }

    fn matmul(self, y: OutputMut<'a>) -> Matmul<'a> {
        let ([m, n, k], [width, depth]) = (self.shape, self.sizes());
        let w = WeightView::rows(self.w, [n, k]);
        let low_rank = self.low_rank.map(|Thin { h, b, rank }| LowRank::Given {
            h: View::rows(h, [m, rank]),
            up: thin(b, [rank, width], self.major),
        });
        Matmul {
            x: View::of_activations(self.x, [m, depth]),
            w: if self.major == Major::K { w.t() } else { w },
            bias: self.bias,
            low_rank,
            y,
            precision: self.precision,
        }
    }

    fn run(self, cpu: Cpu) -> Vec<f32> {
        let mut y = vec![MaybeUninit::new(f32::NAN); self.shape[0] * self.sizes()[0]];
        self.matmul(OutputMut::F32(&mut y)).run_on(cpu);
        initialized(y)
    }

    fn run_rounded(self, cpu: Cpu) -> Vec<bf16> {
        let mut y = vec![MaybeUninit::new(bf16::NAN); self.shape[0] * self.sizes()[0]];
        self.matmul(OutputMut::Bf16(&mut y)).run_on(cpu);
        // SAFETY: it is made of numbers.
        y.into_iter().map(|y| unsafe { y.assume_init() }).collect()
    }

    /// The result in f64 of the operands as they are rounded, and how far f32 sums may be from it. x and w are what its
    /// own stand for.
    fn reference(self, x: &[f32], w: &[f32]) -> Vec<(f64, f64)> {
        let rounded = |v: &[f32]| -> Vec<f64> {
            let rounded = |&v: &f32| {
                if self.precision == Precision::F32 { f64::from(v) } else { bf16::from_f32(v).to_f64() }
            };
            v.iter().map(rounded).collect()
        };
        let [width, depth] = self.sizes();
        let Thin { h, b, rank } = self.low_rank.unwrap_or(Thin { h: &[], b: &[], rank: 0 });
        let terms = [(rounded(x), rounded(w), depth), (rounded(h), rounded(b), rank)];
        let mut result = Vec::new();
        for i in 0..self.shape[0] {
            for j in 0..width {
                let (mut sum, mut size) = (self.bias.map_or(0.0, |bias| f64::from(bias[j])), 0.0);
                for (x, w, depth) in &terms {
                    for p in 0..*depth {
                        let w = if self.major == Major::K { w[j * depth + p] } else { w[p * width + j] };
                        sum += x[i * depth + p] * w;
                        size += (x[i * depth + p] * w).abs();
                    }
                }
                // A sum of d terms is rounded d times, by up to 2⁻²⁴ of it, in directions that mostly cancel.
                let roundings = 4.0 + ((depth + rank) as f64).sqrt();
                result.push((sum, (size + sum.abs()) * f64::from(f32::EPSILON) / 2.0 * roundings));
            }
        }
        result
    }
}

/// A factor of low rank, `[contracted, free]`, that lies in memory as the weight does.
fn thin(data: &[f32], [contracted, free]: [usize; 2], major: Major) -> View<'_> {
    if major == Major::K { View::rows(data, [free, contracted]).t() } else { View::rows(data, [contracted, free]) }
}

/// The paths that this CPU has.
fn cpus() -> Vec<(&'static str, Cpu)> {
    let mut cpus = vec![("portable", Cpu::Portable(Portable))];
    #[cfg(target_arch = "x86_64")]
    {
        use crate::amx::Amx;
        use crate::simd::{Avx2, Avx512, Avx512Bf16};
        cpus.extend(Avx2::detect().map(|avx2| ("avx2", Cpu::Avx2(avx2))));
        cpus.extend(Avx512::detect().map(|wide| ("avx512", Cpu::Avx512(wide))));
        let wide = Avx512::detect();
        cpus.extend(
            Avx512Bf16::detect().zip(wide).map(|(pairs, wide)| ("avx512-bf16", Cpu::Avx512Bf16 { pairs, wide })),
        );
        cpus.extend(Amx::detect().zip(wide).map(|(amx, wide)| ("amx", Cpu::Amx { amx, wide })));
    }
    #[cfg(target_arch = "aarch64")]
    cpus.push(("neon", Cpu::detect()));
    cpus
}

pub(crate) fn random(len: usize, seed: u64) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..len).map(|_| rng.random_range(-1.0..1.0)).collect()
}
