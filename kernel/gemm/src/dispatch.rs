//! Chooses instruction set, weight source and loop for a product.

use half::bf16;

use crate::blocked::{self, Contract, Dims};
use crate::few_rows;
use crate::quantized::Decoding;
use crate::simd::{Portable, Reads};
use crate::source::{Rounded, Source, Stored};
use crate::{Precision, Weights};

#[cfg(target_arch = "aarch64")]
use crate::simd::Neon;
#[cfg(target_arch = "x86_64")]
use crate::simd::{Avx2, Avx512, Avx512Bf16};

/// What a CPU can do, as far as it matters here.
#[derive(Clone, Copy)]
pub(crate) enum Cpu {
    /// `pairs_faster` says that many rows, too, are multiplied faster as pairs of bf16 than as f32. A few rows
    /// always are.
    #[cfg(target_arch = "x86_64")]
    Avx512Bf16 {
        pairs: Avx512Bf16,
        wide: Avx512,
        pairs_faster: bool,
    },
    #[cfg(target_arch = "x86_64")]
    Avx512(Avx512),
    #[cfg(target_arch = "x86_64")]
    Avx2(Avx2),
    #[cfg(target_arch = "aarch64")]
    Neon(Neon),
    Portable(Portable),
}

impl Cpu {
    /// The best that this CPU can do.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn detect() -> Self {
        match (Avx512Bf16::detect(), Avx512::detect(), Avx2::detect()) {
            (Some(pairs), Some(wide), _) => Cpu::Avx512Bf16 { pairs, wide, pairs_faster: Avx512Bf16::doubles_f32() },
            (None, Some(wide), _) => Cpu::Avx512(wide),
            (_, None, Some(avx2)) => Cpu::Avx2(avx2),
            (_, None, None) => Cpu::Portable(Portable),
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
}

/// A product to compute.
pub(crate) struct Product<'a> {
    pub(crate) x: &'a [f32],
    pub(crate) contract: Contract,
    pub(crate) y: &'a mut [f32],
    pub(crate) dims: Dims,
    pub(crate) precision: Precision,
}

impl Product<'_> {
    /// Computes it, on `cpu`.
    pub(crate) fn with(self, w: Weights<'_>, cpu: Cpu) {
        let Dims { rows, width, depth } = self.dims;
        if rows == 0 || width == 0 || depth == 0 {
            return self.y.fill(0.0);
        }
        match (w, self.precision) {
            (Weights::F32(w), Precision::F32) => self.with_f32(Stored(w), cpu),
            (Weights::F32(w), Precision::Bf16) => self.with_bf16(Rounded(w), cpu),
            (Weights::Bf16(w), _) => self.with_bf16(Stored(w), cpu),
            (Weights::Nf4(w), Precision::F32) => self.with_f32(Decoding::new(w), cpu),
            (Weights::Nf4(w), Precision::Bf16) => self.with_bf16(Decoding::new(w), cpu),
            (Weights::Int8(w), Precision::F32) => self.with_f32(Decoding::new(w), cpu),
            (Weights::Int8(w), Precision::Bf16) => self.with_bf16(Decoding::new(w), cpu),
        }
    }

    fn with_bf16<S: Source<Elem = bf16>>(self, w: S, cpu: Cpu) {
        match (cpu, self.precision) {
            #[cfg(target_arch = "x86_64")]
            (Cpu::Avx512Bf16 { pairs, pairs_faster, .. }, Precision::Bf16) if pairs_faster || self.has_few_rows() => {
                self.compute(w, pairs)
            }
            #[cfg(target_arch = "x86_64")]
            (Cpu::Avx512Bf16 { wide: simd, .. } | Cpu::Avx512(simd), _) => self.compute(w, simd),
            #[cfg(target_arch = "x86_64")]
            (Cpu::Avx2(simd), _) => self.compute(w, simd),
            #[cfg(target_arch = "aarch64")]
            (Cpu::Neon(simd), _) => self.compute(w, simd),
            (Cpu::Portable(simd), _) => self.compute(w, simd),
        }
    }

    fn with_f32<S: Source<Elem = f32>>(self, w: S, cpu: Cpu) {
        match cpu {
            #[cfg(target_arch = "x86_64")]
            Cpu::Avx512Bf16 { wide: simd, .. } | Cpu::Avx512(simd) => self.compute(w, simd),
            #[cfg(target_arch = "x86_64")]
            Cpu::Avx2(simd) => self.compute(w, simd),
            #[cfg(target_arch = "aarch64")]
            Cpu::Neon(simd) => self.compute(w, simd),
            Cpu::Portable(simd) => self.compute(w, simd),
        }
    }

    fn compute<S: Source, V: Reads<S::Elem>>(self, w: S, simd: V) {
        let rounded = self.precision == Precision::Bf16;
        if self.has_few_rows() {
            few_rows::multiply(simd, self.x, w, self.y, self.dims, rounded);
        } else {
            blocked::multiply(simd, self.x, w, self.contract, self.y, self.dims, rounded);
        }
    }

    fn has_few_rows(&self) -> bool {
        self.contract == Contract::RowElements && self.dims.rows <= few_rows::MAX_ROWS
    }
}
