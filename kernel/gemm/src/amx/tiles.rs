//! The tile registers. Rust's intrinsics for them are not stable, so this is assembly.

use std::arch::asm;
use std::arch::x86_64::{__cpuid, __cpuid_count, _xgetbv};
use std::marker::PhantomData;
use std::sync::OnceLock;

/// Lanes in a tile: 16 rows of 64 bytes.
pub(super) const TILE: usize = 256;
/// Lanes from one step of a panel to the next: two tiles, and a cache line that keeps a row's elements, which go to the
/// same place of each step, from the same sets of the caches.
pub(super) const STEP_LANES: usize = 2 * TILE + 16;
/// Lanes of the four tiles of sums of [`Tiles::add_product`].
pub(crate) const SUMS: usize = 4 * TILE;

/// The proof that this CPU multiplies tiles of bf16, that the system lets this process do so, and that there are
/// the AVX-512 instructions which feed the tiles.
#[derive(Clone, Copy)]
pub(crate) struct Amx(());

impl Amx {
    pub(crate) fn detect() -> Option<Self> {
        static USABLE: OnceLock<bool> = OnceLock::new();
        let vectors = || {
            is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512bf16")
        };
        USABLE.get_or_init(|| vectors() && has_tiles() && may_use_tiles()).then_some(Amx(()))
    }

    /// Shapes the thread's tile registers, all as 16 rows of 64 bytes.
    pub(super) fn tiles(self) -> Tiles {
        #[repr(align(64))]
        struct Config([u8; 64]);
        let mut config = Config([0; 64]);
        config.0[0] = 1;
        for tile in 0..8 {
            config.0[16 + 2 * tile] = 64;
            config.0[48 + tile] = 16;
        }
        // SAFETY: `self` is the proof that the CPU and the system allow it. The configuration is the valid one of
        // palette 1. No code but this module's uses the registers, and `Tiles` cannot leave the thread.
        unsafe {
            asm!("ldtilecfg [{}]", in(reg) &config, options(nostack, readonly),
                 out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                 out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _);
        }
        Tiles { this_thread: PhantomData }
    }
}

fn has_tiles() -> bool {
    const TILES: u64 = 0b11 << 17;
    #[target_feature(enable = "xsave")]
    fn enabled_state() -> u64 {
        // SAFETY: register 0 exists wherever the instruction does.
        unsafe { _xgetbv(0) }
    }
    let (tile, bf16) = (1 << 24, 1 << 22);
    __cpuid(0).eax >= 7
        && __cpuid_count(7, 0).edx & (tile | bf16) == tile | bf16
        && is_x86_feature_detected!("xsave")
        // SAFETY: the feature was just found.
        && unsafe { enabled_state() } & TILES == TILES
}

/// Asks Linux for the tile registers, which it gives to processes that ask only: they make a thread's saved state
/// larger by 8 KiB.
#[cfg(target_os = "linux")]
fn may_use_tiles() -> bool {
    const ARCH_REQ_XCOMP_PERM: libc::c_long = 0x1023;
    const TILE_DATA: libc::c_long = 18;
    // SAFETY: this call takes two numbers and touches no memory of ours.
    unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, TILE_DATA) == 0 }
}

#[cfg(not(target_os = "linux"))]
fn may_use_tiles() -> bool {
    false
}

/// This thread's tile registers, shaped; given back when dropped, so that switching threads stays cheap.
pub(super) struct Tiles {
    /// The registers are the thread's.
    this_thread: PhantomData<*const ()>,
}

/// Which operand of a product is read from the L2 cache once, leaving the L1 cache to the other one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Passing {
    A,
    B,
}

/// What a product is added to.
#[derive(Clone, Copy)]
pub(super) enum Start<'a> {
    Zero,
    /// What is in the place of the result.
    There,
    /// Other sums.
    Sums(&'a [f32]),
}

impl Tiles {
    /// `sums = start + a b`, for 32 rows of a and 32 columns of b. Of each step of the contraction, 32 elements, `a`
    /// and `b` hold two tiles. a's hold 16 rows of 32 elements, b's 16 pairs of rows, in which the elements of a column
    /// are neighbours. `sums` gets the tiles (0, 0), (0, 1), (1, 0), (1, 1).
    ///
    /// On the way, what comes after the sums that it starts with is fetched into the L1 cache.
    #[inline(always)]
    pub(super) fn add_product(&mut self, a: &[u32], b: &[u32], start: Start<'_>, sums: &mut [f32], passing: Passing) {
        let steps = a.len() / STEP_LANES;
        assert!(steps > 0 && a.len() == b.len() && a.len() == STEP_LANES * steps && sums.len() == SUMS);
        let from = match start {
            Start::Zero | Start::There => sums.as_ptr(),
            Start::Sums(from) => {
                assert!(from.len() == SUMS);
                from.as_ptr()
            }
        };
        let fresh = u64::from(matches!(start, Start::Zero));
        macro_rules! product {
            ($load_a:literal, $load_b:literal) => {
                // SAFETY: `self` exists, so the registers are shaped. Each step reads two tiles of a and of b, and the
                // slices hold as many as there are steps; `from` and `sums` hold four. Prefetching takes any address.
                unsafe {
                    asm!(
                        "test {fresh:l}, {fresh:l}",
                        "jz 2f",
                        "tilezero tmm0",
                        "tilezero tmm1",
                        "tilezero tmm2",
                        "tilezero tmm3",
                        "jmp 3f",
                        "2:",
                        "tileloadd tmm0, [{from} + {row}]",
                        "tileloadd tmm1, [{from} + {row} + 1024]",
                        "tileloadd tmm2, [{from} + {row} + 2048]",
                        "tileloadd tmm3, [{from} + {row} + 3072]",
                        "3:",
                        concat!($load_a, " tmm4, [{a} + {row}]"),
                        concat!($load_b, " tmm6, [{b} + {row}]"),
                        concat!($load_b, " tmm7, [{b} + {row} + 1024]"),
                        concat!($load_a, " tmm5, [{a} + {row} + 1024]"),
                        "prefetcht0 [{from} + 4096]",
                        "prefetcht0 [{from} + 4160]",
                        "prefetcht0 [{from} + 4224]",
                        "prefetcht0 [{from} + 4288]",
                        "tdpbf16ps tmm0, tmm4, tmm6",
                        "tdpbf16ps tmm1, tmm4, tmm7",
                        "tdpbf16ps tmm2, tmm5, tmm6",
                        "tdpbf16ps tmm3, tmm5, tmm7",
                        "add {a}, {step}",
                        "add {b}, {step}",
                        "add {from}, 256",
                        "dec {steps}",
                        "jnz 3b",
                        "tilestored [{sums} + {row}], tmm0",
                        "tilestored [{sums} + {row} + 1024], tmm1",
                        "tilestored [{sums} + {row} + 2048], tmm2",
                        "tilestored [{sums} + {row} + 3072], tmm3",
                        fresh = in(reg) fresh,
                        step = const size_of::<u32>() * STEP_LANES,
                        row = in(reg) 64usize,
                        sums = in(reg) sums.as_mut_ptr(),
                        from = inout(reg) from => _,
                        a = inout(reg) a.as_ptr() => _,
                        b = inout(reg) b.as_ptr() => _,
                        steps = inout(reg) steps => _,
                        options(nostack),
                        out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                        out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                    );
                }
            };
        }
        match passing {
            Passing::A => product!("tileloaddt1", "tileloadd"),
            Passing::B => product!("tileloadd", "tileloaddt1"),
        }
    }

    /// Sets the sums to zero that stay in registers, for [`Tiles::add_step`].
    #[inline(always)]
    pub(super) fn zero(&mut self) {
        // SAFETY: `self` exists, so the registers are shaped, and only its methods use them.
        unsafe { asm!("tilezero tmm0", "tilezero tmm1", "tilezero tmm2", "tilezero tmm3", options(nostack)) };
    }

    /// Adds a step of the product in [`Tiles::add_product`] to the sums in registers.
    #[inline(always)]
    pub(super) fn add_step(&mut self, a: &[u32], b: &[u32]) {
        assert!(a.len() >= 2 * TILE && b.len() >= 2 * TILE);
        // SAFETY: as for `zero`; two tiles are read of each slice. What comes out of the block in tmm0 to tmm3 is left
        // there, as no code that is compiled uses tiles.
        unsafe {
            asm!(
                "tileloadd tmm4, [{a} + {row}]",
                "tileloadd tmm6, [{b} + {row}]",
                "tileloadd tmm7, [{b} + {row} + 1024]",
                "tileloadd tmm5, [{a} + {row} + 1024]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tdpbf16ps tmm1, tmm4, tmm7",
                "tdpbf16ps tmm2, tmm5, tmm6",
                "tdpbf16ps tmm3, tmm5, tmm7",
                row = in(reg) 64usize,
                a = in(reg) a.as_ptr(),
                b = in(reg) b.as_ptr(),
                options(nostack, readonly),
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            );
        }
    }

    /// Writes the sums in registers, as [`Tiles::add_product`] does.
    #[inline(always)]
    pub(super) fn write(&mut self, sums: &mut [f32]) {
        assert!(sums.len() == SUMS);
        // SAFETY: as for `zero`; four tiles are written to a slice of four.
        unsafe {
            asm!(
                "tilestored [{sums} + {row}], tmm0",
                "tilestored [{sums} + {row} + 1024], tmm1",
                "tilestored [{sums} + {row} + 2048], tmm2",
                "tilestored [{sums} + {row} + 3072], tmm3",
                row = in(reg) 64usize,
                sums = in(reg) sums.as_mut_ptr(),
                options(nostack),
            );
        }
    }
}

impl Drop for Tiles {
    fn drop(&mut self) {
        // SAFETY: as for `Amx::tiles`.
        unsafe {
            asm!("tilerelease", options(nomem, nostack),
                 out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                 out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _);
        }
    }
}
