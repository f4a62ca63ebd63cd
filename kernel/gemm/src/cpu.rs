//! What this CPU can do.

#[cfg(target_arch = "x86_64")]
use crate::amx::Amx;
#[cfg(target_arch = "aarch64")]
use crate::simd::Neon;
#[cfg(target_arch = "x86_64")]
use crate::simd::{Avx2, Avx512, Avx512Bf16};
use crate::simd::{Job, Portable, Simd};

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

/// What matrix products are computed with on this CPU, by the names that Intel and Arm give.
pub fn instruction_set() -> &'static str {
    match Cpu::detect() {
        #[cfg(target_arch = "x86_64")]
        Cpu::Amx { .. } => "AMX-BF16, AVX-512",
        #[cfg(target_arch = "x86_64")]
        Cpu::Avx512Bf16 { .. } => "AVX-512 with BF16",
        #[cfg(target_arch = "x86_64")]
        Cpu::Avx512(_) => "AVX-512",
        #[cfg(target_arch = "x86_64")]
        Cpu::Avx2(_) => "AVX2 with FMA",
        #[cfg(target_arch = "aarch64")]
        Cpu::Neon(_) => "NEON",
        Cpu::Portable(_) => "none that is known",
    }
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
    pub(crate) fn run<J: Job<Avx512> + Job<Avx2> + Job<Portable>>(self, job: J) {
        match self {
            Cpu::Amx { wide: simd, .. } | Cpu::Avx512Bf16 { wide: simd, .. } | Cpu::Avx512(simd) => simd.run(job),
            Cpu::Avx2(simd) => simd.run(job),
            Cpu::Portable(simd) => simd.run(job),
        }
    }

    /// Does work in which no instruction set matters more than another.
    #[cfg(not(target_arch = "x86_64"))]
    pub(crate) fn run<J: Job<Portable>>(self, job: J) {
        Portable.run(job);
    }
}
