//! Chooses instruction set, weight source and loop for a matmul.
//!
//! Both matmuls of a LoRA pair read what is packed of x: x Wᵀ gives h = x Aᵀ on the way, dy W gives dh = dy B. By
//! tiles, h is a matmul of its own.

use std::mem::MaybeUninit;

use half::bf16;
use rayon::prelude::*;

#[cfg(target_arch = "x86_64")]
use crate::amx::{self, Amx};
#[cfg(target_arch = "x86_64")]
use crate::bf12;
use crate::bf12::Bf12;
use crate::cpu::Cpu;
use crate::decoding::{Decode, Decoding};
use crate::epilogue::Epilogue;
use crate::general::{Accum, Gemm, Par};
use crate::output::{Order, Output};
use crate::precision::Precision;
use crate::product::{Dims, LoraDown, Product};
#[cfg(target_arch = "x86_64")]
use crate::simd::{Avx2, Avx512Bf16};
use crate::simd::{Job, Reads};
use crate::source::{Factor, Major, Rounded, Rows, Source, Stored};
use crate::view::ViewMut;
use crate::weights::Weights;
use crate::{blocked, few_rows};

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
        Epilogue::PLAIN.write_rounded(self.sums, y, columns);
    }
}

impl<'a> Product<'a> {
    /// Computes it with `w` and `b`, on `cpu`.
    pub(crate) fn multiply(mut self, w: Factor<Weights<'_>>, b: Stored<'a, f32>, cpu: Cpu) {
        let major = w.major;
        if self.y.order() == Order::RoundedRows && !self.is_blocked(major, cpu) {
            return self.with_rounding_last(w, b, cpu);
        }
        if !self.fuses_lora_down(major, cpu) {
            self.compute_h(major, cpu);
        }
        if self.is_empty() {
            return;
        }
        let Dims { width, depth, .. } = self.dims;
        let stride = if major == Major::K { depth } else { width };
        match w.source {
            Weights::F32(data) => self.with_stored(Factor { source: Stored { data, stride }, major }, b, cpu),
            Weights::Bf16(data) => {
                let source = Stored { data, stride };
                #[cfg(target_arch = "x86_64")]
                if let Some(amx) = self.tiles_for_few_rows(major, cpu) {
                    return amx::few_rows::multiply(amx, &self, source, b);
                }
                self.with_bf16(Factor { source, major }, b, cpu)
            }
            Weights::Bf12(w) => self.with_bf12(w, stride, major, b, cpu),
            Weights::Nf4(w) => self.with_decoded(w, stride, major, b, cpu),
            Weights::Int8(w) => self.with_decoded(w, stride, major, b, cpu),
        }
    }

    /// As [`multiply`](Product::multiply), if what computes the product writes f32 only.
    fn with_rounding_last(self, w: Factor<Weights<'_>>, b: Stored<'a, f32>, cpu: Cpu) {
        let Dims { rows, width, .. } = self.dims;
        let (y, mut sums) = (self.y, Box::new_uninit_slice(rows * width));
        Product { y: Output::new(&mut sums, rows, width, width), ..self }.multiply(w, b, cpu);
        // SAFETY: all of it has been written.
        let sums = unsafe { sums.assume_init() };
        let round = |(row, sums): (usize, &[f32])| cpu.run(RoundRow { sums, y: &y, row });
        sums.par_chunks_exact(width.max(1)).enumerate().for_each(round);
    }

    fn with_bf12(self, w: &Bf12, stride: usize, major: Major, b: Stored<'a, f32>, cpu: Cpu) {
        #[cfg(target_arch = "x86_64")]
        if !self.has_few_rows(major)
            && let Some(amx) = self.tiles_for_few_rows(major, cpu)
        {
            return amx::few_rows::multiply(amx, &self, w, b);
        }
        #[cfg(target_arch = "x86_64")]
        if self.has_few_rows(major)
            && let Some(avx2) = Avx2::detect()
        {
            // Whatever the CPU has for bf16: this is bound by memory.
            let wide = matches!(cpu, Cpu::Amx { .. } | Cpu::Avx512Bf16 { .. } | Cpu::Avx512(_));
            return bf12::multiply_few_rows(avx2, &self, w, b, wide);
        }
        self.with_decoded(w, stride, major, b, cpu);
    }

    fn with_decoded<W>(self, w: W, stride: usize, major: Major, b: Stored<'a, f32>, cpu: Cpu)
    where
        W: Decode<f32> + Decode<bf16>,
    {
        match self.precision {
            Precision::F32 => self.with_f32(Factor { source: Decoding::<W, f32>::new(w, stride), major }, b, cpu),
            Precision::Bf16 => self.with_bf16(Factor { source: Decoding::<W, bf16>::new(w, stride), major }, b, cpu),
        }
    }

    /// As [`multiply`](Product::multiply), for activations in w's place.
    pub(crate) fn multiply_rows(mut self, mut w: Factor<Rows<'a>>, cpu: Cpu) {
        if self.is_empty() {
            return;
        }
        if !self.rounding_pays(w.major, cpu) {
            self.precision = Precision::F32;
        }
        if self.has_larger_x(w.major, cpu) {
            // cᵀ = bᵀ aᵀ. The larger operand is read once, block by block, and only x is packed whole. Where that makes
            // the transpose, as for the gradient of a LoRA's B, a task sums up its part in the L2 cache and writes it
            // column by column.
            let Dims { rows, width, .. } = self.dims;
            let dims = Dims { rows: width, width: rows, ..self.dims };
            (self, w) = (Product { x: w, y: self.y.t(), dims, ..self }, self.x);
        }
        let major = w.major;
        match w.source {
            Rows::F32(source) => self.with_stored(Factor { source, major }, Stored::default(), cpu),
            Rows::Bf16(source) => self.with_bf16(Factor { source, major }, Stored::default(), cpu),
        }
    }

    /// As [`multiply`](Product::multiply), for f32 as it is stored.
    fn with_stored(self, w: Factor<Stored<'_, f32>>, b: Stored<'a, f32>, cpu: Cpu) {
        if self.precision == Precision::F32 {
            return self.with_f32(w, b, cpu);
        }
        #[cfg(target_arch = "x86_64")]
        if let Some(amx) = self.tiles(w.major, cpu) {
            return amx::multiply(amx, &self, w, b);
        }
        #[cfg(target_arch = "x86_64")]
        if let Cpu::Avx512Bf16 { pairs, .. } = cpu {
            return self.compute(w, b, pairs);
        }
        self.with_bf16(Factor { source: Rounded(w.source), major: w.major }, b, cpu);
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
        if let Some(amx) = self.tiles(w.major, cpu) {
            return amx::multiply(amx, &self, w, b);
        }
        #[cfg(target_arch = "x86_64")]
        if matches!(cpu, Cpu::Amx { .. })
            && self.precision == Precision::Bf16
            && self.has_few_rows(w.major)
            && let Some(pairs) = Avx512Bf16::detect()
        {
            // The instructions are slow there, but reading W takes longer, and x takes half the memory.
            return self.compute(w, b, pairs);
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
        if self.has_few_rows(w.major) {
            few_rows::multiply(simd, &self, w.source, b);
        } else {
            blocked::multiply(simd, self, w, b);
        }
    }

    /// Whether there is nothing to multiply; then y has been written.
    fn is_empty(&self) -> bool {
        let Dims { rows, width, depth, rank } = self.dims;
        if depth + rank == 0 && !self.epilogue.accumulate {
            for row in 0..rows {
                // SAFETY: nobody else has a part of it.
                let y = unsafe { self.y.row(row, 0..width) };
                match self.epilogue.bias {
                    Some(bias) => _ = y.write_copy_of_slice(bias),
                    None => y.fill(MaybeUninit::new(0.0)),
                }
            }
        }
        rows == 0 || width == 0 || depth + rank == 0
    }

    /// Computes h by a matmul of its own, if it is to be computed.
    fn compute_h(&mut self, major: Major, cpu: Cpu) {
        let Some(LoraDown { a, scaling, h }) = self.lora_down.take() else { return };
        let Dims { rows, depth, rank, .. } = self.dims;
        let a = Factor { source: Rows::F32(a), major };
        let par = if self.threads { Par::Rayon } else { Par::Seq };
        Gemm {
            a: self.x.view([rows, depth]),
            b: a.view([rank, depth]).t(),
            c: ViewMut::rows(h, [rows, rank]),
            alpha: scaling,
            accum: Accum::Replace,
            par,
            precision: self.precision,
        }
        .run_on(cpu);
        self.h = Stored { data: h, stride: rank };
    }

    /// Whether [`blocked`] computes it, and h on the way.
    fn fuses_lora_down(&self, major: Major, cpu: Cpu) -> bool {
        let Dims { width, depth, rank, .. } = self.dims;
        self.is_blocked(major, cpu) && width > 0 && depth > 0 && rank > 0
    }

    /// Whether [`blocked`] computes it for several threads, and would rather have the operands the other way round.
    fn has_larger_x(&self, major: Major, cpu: Cpu) -> bool {
        let Dims { rows, width, .. } = self.dims;
        let few_columns = [self.x.major, major] == [Major::K; 2] && width <= few_rows::MAX_ROWS;
        self.threads && rows > width && !few_columns && !self.is_by_tiles(major, cpu)
    }

    /// Whether [`blocked`] computes it, if there is anything to be computed.
    fn is_blocked(&self, major: Major, cpu: Cpu) -> bool {
        let Dims { depth, rank, .. } = self.dims;
        !self.has_few_rows(major) && !self.is_by_tiles(major, cpu) && depth + rank > 0
    }

    fn has_few_rows(&self, major: Major) -> bool {
        [self.x.major, major] == [Major::K; 2] && self.dims.rows <= few_rows::MAX_ROWS
    }

    /// Whether this matmul would be slower in f32 than in bf16.
    pub(crate) fn rounding_pays(&self, major: Major, cpu: Cpu) -> bool {
        if self.precision == Precision::F32 || self.dims.depth == 0 || self.has_few_rows(major) {
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

    /// Whether the tile registers are to compute this matmul.
    fn is_by_tiles(&self, major: Major, cpu: Cpu) -> bool {
        #[cfg(target_arch = "x86_64")]
        return self.tiles(major, cpu).is_some();
        #[cfg(not(target_arch = "x86_64"))]
        return {
            let _ = (major, cpu);
            false
        };
    }

    /// The tile registers, if they are to compute this matmul while W is read.
    #[cfg(target_arch = "x86_64")]
    fn tiles_for_few_rows(&self, major: Major, cpu: Cpu) -> Option<Amx> {
        let few = [self.x.major, major] == [Major::K; 2] && self.dims.rows <= amx::few_rows::MAX_ROWS;
        self.tiles(major, cpu).filter(|_| few)
    }

    /// The tile registers, if they are to compute this matmul.
    #[cfg(target_arch = "x86_64")]
    fn tiles(&self, major: Major, cpu: Cpu) -> Option<Amx> {
        match cpu {
            Cpu::Amx { amx, .. } if self.precision == Precision::Bf16 => {
                let few = self.dims.rows <= few_rows::MAX_ROWS_BESIDE_TILES && self.has_few_rows(major);
                (!few).then_some(amx)
            }
            _ => None,
        }
    }
}
