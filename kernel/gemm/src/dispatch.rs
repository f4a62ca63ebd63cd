//! Chooses instruction set, weight source and loop for a product.

use std::mem::MaybeUninit;

use half::bf16;
use rayon::prelude::*;

#[cfg(target_arch = "x86_64")]
use crate::amx::{self, Amx};
#[cfg(target_arch = "x86_64")]
use crate::bf12;
use crate::output::{Ending, Order, Output};
use crate::product::{Dims, MakeH, Product};
use crate::quantized::Decoding;
use crate::simd::{Job, Portable, Reads, Simd};
use crate::source::{Contract, Factor, Rounded, Rows, Source, Stored};
use crate::view::{View, ViewMut};
use crate::{Bf12, Precision, Weights, blocked, few_rows, general};

#[cfg(target_arch = "aarch64")]
use crate::simd::Neon;
#[cfg(target_arch = "x86_64")]
use crate::simd::{Avx2, Avx512, Avx512Bf16};

/// What a CPU can do, as far as it matters here.
#[derive(Clone, Copy)]
pub(crate) enum Cpu {
    /// Tiles for many rows of bf16; `wide` for all else.
    #[cfg(target_arch = "x86_64")]
    Amx { amx: Amx, wide: Avx512 },
    /// Pairs for bf16, `wide` for f32.
    #[cfg(target_arch = "x86_64")]
    Avx512Bf16 { pairs: Avx512Bf16, wide: Avx512 },
    #[cfg(target_arch = "x86_64")]
    Avx512(Avx512),
    #[cfg(target_arch = "x86_64")]
    Avx2(Avx2),
    #[cfg(target_arch = "aarch64")]
    Neon(Neon),
    #[cfg_attr(target_arch = "aarch64", allow(dead_code, reason = "only the tests have it there"))]
    Portable(Portable),
}

impl Cpu {
    /// The best that this CPU can do.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn detect() -> Self {
        let pairs = Avx512Bf16::detect().filter(|_| Avx512Bf16::doubles_f32());
        match (Avx512::detect(), Avx2::detect()) {
            (Some(wide), _) => match (Amx::detect(), pairs) {
                (Some(amx), _) => Cpu::Amx { amx, wide },
                (None, Some(pairs)) => Cpu::Avx512Bf16 { pairs, wide },
                (None, None) => Cpu::Avx512(wide),
            },
            (None, Some(avx2)) => Cpu::Avx2(avx2),
            (None, None) => Cpu::Portable(Portable),
        }
    }

    /// The best that this CPU can do.
    #[cfg(target_arch = "aarch64")]
    pub(crate) fn detect() -> Self {
        Cpu::Neon(Neon)
    }

    /// The best that this CPU can do.
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    pub(crate) fn detect() -> Self {
        Cpu::Portable(Portable)
    }

    /// Does work in which no instruction set matters more than another.
    #[cfg(target_arch = "x86_64")]
    fn run<J: Job<Avx512> + Job<Avx2> + Job<Portable>>(self, job: J) {
        match self {
            Cpu::Amx { wide: simd, .. } | Cpu::Avx512Bf16 { wide: simd, .. } | Cpu::Avx512(simd) => simd.run(job),
            Cpu::Avx2(simd) => simd.run(job),
            Cpu::Portable(simd) => simd.run(job),
        }
    }

    /// Does work in which no instruction set matters more than another.
    #[cfg(not(target_arch = "x86_64"))]
    fn run<J: Job<Portable>>(self, job: J) {
        Portable.run(job);
    }
}

/// Rounds a row of sums.
struct RoundRow<'a> {
    sums: &'a [f32],
    y: &'a Output<'a>,
    row: usize,
}

impl<V> Job<V> for RoundRow<'_> {
    #[inline(always)]
    unsafe fn run(self) {
        let columns = 0..self.sums.len();
        // SAFETY: each row is a task of its own.
        let y = unsafe { self.y.rounded_row(self.row, columns.clone()) };
        Ending::PLAIN.write_rounded(self.sums, y, columns);
    }
}

impl<'a> Product<'a> {
    /// Computes it with `w` and `b`, on `cpu`.
    pub(crate) fn with(mut self, w: Weights<'_>, contract: Contract, b: Stored<'a, f32>, cpu: Cpu) {
        if self.y.order() == Order::RoundedRows && !self.is_blocked(contract, cpu) {
            return self.with_rounding_last(w, contract, b, cpu);
        }
        if !self.makes_h_on_the_way(contract, cpu) {
            self.make_h(contract, cpu);
        }
        if self.is_empty() {
            return;
        }
        let Dims { width, depth, .. } = self.dims;
        let stride = contract.stride(depth, width);
        match w {
            Weights::F32(data) => self.with_stored(Factor { source: Stored { data, stride }, contract }, b, cpu),
            Weights::Bf16(data) => self.with_bf16(Factor { source: Stored { data, stride }, contract }, b, cpu),
            Weights::Bf12(w) => self.with_bf12(w, stride, contract, b, cpu),
            Weights::Nf4(w) => self.with_decoded(w, stride, contract, b, cpu),
            Weights::Int8(w) => self.with_decoded(w, stride, contract, b, cpu),
        }
    }

    /// As [`with`](Product::with), if what computes the product writes f32 only.
    fn with_rounding_last(self, w: Weights<'_>, contract: Contract, b: Stored<'a, f32>, cpu: Cpu) {
        let Dims { rows, width, .. } = self.dims;
        let (y, mut sums) = (self.y, Box::new_uninit_slice(rows * width));
        Product { y: Output::new(&mut sums, rows, width, width), ..self }.with(w, contract, b, cpu);
        // SAFETY: all of it has been written.
        let sums = unsafe { sums.assume_init() };
        let round = |(row, sums): (usize, &[f32])| cpu.run(RoundRow { sums, y: &y, row });
        sums.par_chunks_exact(width.max(1)).enumerate().for_each(round);
    }

    fn with_bf12(self, w: &Bf12, stride: usize, contract: Contract, b: Stored<'a, f32>, cpu: Cpu) {
        #[cfg(target_arch = "x86_64")]
        if self.dims.rows == 1
            && self.has_few_rows(contract)
            && let Some(avx2) = Avx2::detect()
        {
            // Whatever else the CPU can do: this is bound by memory.
            return match self.precision {
                Precision::F32 => bf12::multiply_one_row(avx2, &self, w, b),
                Precision::Bf16 => bf12::multiply_one_row(avx2, &self, w, Rounded(b)),
            };
        }
        self.with_decoded(w, stride, contract, b, cpu);
    }

    fn with_decoded<W>(self, w: W, stride: usize, contract: Contract, b: Stored<'a, f32>, cpu: Cpu)
    where
        Decoding<W, f32>: Source<Elem = f32>,
        Decoding<W, bf16>: Source<Elem = bf16>,
    {
        match self.precision {
            Precision::F32 => self.with_f32(Factor { source: Decoding::<W, f32>::new(w, stride), contract }, b, cpu),
            Precision::Bf16 => self.with_bf16(Factor { source: Decoding::<W, bf16>::new(w, stride), contract }, b, cpu),
        }
    }

    /// As [`with`](Product::with), for activations in w's place.
    pub(crate) fn with_rows(mut self, mut w: Factor<Rows<'a>>, cpu: Cpu) {
        if self.is_empty() {
            return;
        }
        if !self.rounding_pays(w.contract, cpu) {
            self.precision = Precision::F32;
        }
        if self.has_larger_x(w.contract, cpu) {
            // The transpose is the product of the transposes. The larger operand is read once, and only x is packed whole.
            let Dims { rows, width, .. } = self.dims;
            let dims = Dims { rows: width, width: rows, ..self.dims };
            (self, w) = (Product { x: w, y: self.y.t(), dims, ..self }, self.x);
        }
        let contract = w.contract;
        match w.source {
            Rows::F32(source) => self.with_stored(Factor { source, contract }, Stored::default(), cpu),
            Rows::Bf16(source) => self.with_bf16(Factor { source, contract }, Stored::default(), cpu),
        }
    }

    /// As [`with`](Product::with), for f32 as it is stored.
    fn with_stored(self, w: Factor<Stored<'_, f32>>, b: Stored<'a, f32>, cpu: Cpu) {
        if self.precision == Precision::F32 {
            return self.with_f32(w, b, cpu);
        }
        #[cfg(target_arch = "x86_64")]
        if let Some(amx) = self.tiles(w.contract, cpu) {
            return amx::multiply(amx, &self, w, b);
        }
        #[cfg(target_arch = "x86_64")]
        if let Cpu::Avx512Bf16 { pairs, .. } = cpu {
            return self.compute(w, b, pairs);
        }
        self.with_bf16(Factor { source: Rounded(w.source), contract: w.contract }, b, cpu);
    }

    fn with_f32<W: Source<Elem = f32>>(self, w: Factor<W>, b: Stored<'a, f32>, cpu: Cpu) {
        match cpu {
            #[cfg(target_arch = "x86_64")]
            Cpu::Amx { wide: simd, .. } | Cpu::Avx512Bf16 { wide: simd, .. } | Cpu::Avx512(simd) => {
                self.compute(w, b, simd)
            }
            #[cfg(target_arch = "x86_64")]
            Cpu::Avx2(simd) => self.compute(w, b, simd),
            #[cfg(target_arch = "aarch64")]
            Cpu::Neon(simd) => self.compute(w, b, simd),
            Cpu::Portable(simd) => self.compute(w, b, simd),
        }
    }

    fn with_bf16<W: Source<Elem = bf16>>(self, w: Factor<W>, b: Stored<'a, f32>, cpu: Cpu) {
        #[cfg(target_arch = "x86_64")]
        if let Some(amx) = self.tiles(w.contract, cpu) {
            return amx::multiply(amx, &self, w, b);
        }
        match cpu {
            #[cfg(target_arch = "x86_64")]
            Cpu::Avx512Bf16 { pairs, .. } if self.precision == Precision::Bf16 => self.compute(w, b, pairs),
            #[cfg(target_arch = "x86_64")]
            Cpu::Amx { wide: simd, .. } | Cpu::Avx512Bf16 { wide: simd, .. } | Cpu::Avx512(simd) => {
                self.with_vectors(w, b, simd)
            }
            #[cfg(target_arch = "x86_64")]
            Cpu::Avx2(simd) => self.with_vectors(w, b, simd),
            #[cfg(target_arch = "aarch64")]
            Cpu::Neon(simd) => self.with_vectors(w, b, simd),
            Cpu::Portable(simd) => self.with_vectors(w, b, simd),
        }
    }

    fn with_vectors<W, V>(self, w: Factor<W>, b: Stored<'a, f32>, simd: V)
    where
        W: Source<Elem = bf16>,
        V: Reads<bf16> + Reads<f32>,
    {
        match self.precision {
            Precision::F32 => self.compute(w, b, simd),
            Precision::Bf16 => self.compute(w, Rounded(b), simd),
        }
    }

    fn compute<W, B, V>(self, w: Factor<W>, b: B, simd: V)
    where
        W: Source,
        B: Source + From<Stored<'a, f32>>,
        V: Reads<W::Elem> + Reads<B::Elem> + Reads<bf16>,
    {
        if self.has_few_rows(w.contract) {
            few_rows::multiply(simd, &self, w.source, b);
        } else {
            blocked::multiply(simd, self, w, b);
        }
    }

    /// Whether there is nothing to multiply; then y has been written.
    fn is_empty(&self) -> bool {
        let Dims { rows, width, depth, rank } = self.dims;
        if depth + rank == 0 && !self.ending.accumulate {
            for row in 0..rows {
                // SAFETY: nobody else has a part of it.
                let y = unsafe { self.y.row(row, 0..width) };
                match self.ending.bias {
                    Some(bias) => _ = y.write_copy_of_slice(bias),
                    None => y.fill(MaybeUninit::new(0.0)),
                }
            }
        }
        rows == 0 || width == 0 || depth + rank == 0
    }

    /// Makes h by a product of its own, if it is to be made.
    fn make_h(&mut self, contract: Contract, cpu: Cpu) {
        let Some(MakeH { down, scale, h }) = self.make_h.take() else { return };
        let Dims { rows, depth, rank, .. } = self.dims;
        let x = View::of_activations(self.x.source.data(), [rows, depth]);
        let down = match contract {
            Contract::RowElements => View::rows(down.data, [rank, depth]).t(),
            Contract::Rows => View::rows(down.data, [depth, rank]),
        };
        general::on(cpu, scale, x, down, ViewMut::rows(h, [rows, rank]), false, self.threads, self.precision);
        self.h = Stored { data: h, stride: rank };
    }

    /// Whether [`blocked`] computes it, and there is something to be made.
    fn makes_h_on_the_way(&self, contract: Contract, cpu: Cpu) -> bool {
        let Dims { width, depth, rank, .. } = self.dims;
        self.is_blocked(contract, cpu) && width > 0 && depth > 0 && rank > 0
    }

    /// Whether [`blocked`] computes it for several threads, and would rather have the operands the other way round.
    fn has_larger_x(&self, contract: Contract, cpu: Cpu) -> bool {
        let Dims { rows, width, .. } = self.dims;
        let few_columns = [self.x.contract, contract] == [Contract::RowElements; 2] && width <= few_rows::MAX_ROWS;
        self.threads && rows > width && !few_columns && !self.is_by_tiles(contract, cpu)
    }

    /// Whether [`blocked`] computes it, if there is anything to be computed.
    fn is_blocked(&self, contract: Contract, cpu: Cpu) -> bool {
        let Dims { depth, rank, .. } = self.dims;
        !self.has_few_rows(contract) && !self.is_by_tiles(contract, cpu) && depth + rank > 0
    }

    fn has_few_rows(&self, contract: Contract) -> bool {
        [self.x.contract, contract] == [Contract::RowElements; 2] && self.dims.rows <= few_rows::MAX_ROWS
    }

    /// Whether a product in f32 would be slower than this one in bf16.
    pub(crate) fn rounding_pays(&self, contract: Contract, cpu: Cpu) -> bool {
        if self.precision == Precision::F32 || self.dims.depth == 0 || self.has_few_rows(contract) {
            return false;
        }
        match cpu {
            #[cfg(target_arch = "x86_64")]
            Cpu::Amx { .. } => self.dims.rows.min(self.dims.width) >= 8,
            #[cfg(target_arch = "x86_64")]
            Cpu::Avx512Bf16 { .. } => true,
            _ => false,
        }
    }

    /// Whether the tile registers are to compute this product.
    fn is_by_tiles(&self, contract: Contract, cpu: Cpu) -> bool {
        #[cfg(target_arch = "x86_64")]
        return self.tiles(contract, cpu).is_some();
        #[cfg(not(target_arch = "x86_64"))]
        return {
            let _ = (contract, cpu);
            false
        };
    }

    /// The tile registers, if they are to compute this product.
    #[cfg(target_arch = "x86_64")]
    fn tiles(&self, contract: Contract, cpu: Cpu) -> Option<Amx> {
        match cpu {
            Cpu::Amx { amx, .. } if self.precision == Precision::Bf16 => {
                let few = self.dims.rows <= few_rows::MAX_ROWS_BESIDE_TILES && self.has_few_rows(contract);
                (!few).then_some(amx)
            }
            _ => None,
        }
    }
}
