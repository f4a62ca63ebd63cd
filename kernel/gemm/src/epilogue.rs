//! What becomes of sums as they are written.

use std::mem::MaybeUninit;
use std::ops::Range;

use half::bf16;

use crate::source::round;

/// What becomes of sums as they are written: `y = alpha · sum + bias`, or that added to y. Columns have no
/// bias, and rows of bf16 are not added to.
#[derive(Clone, Copy)]
pub(crate) struct Epilogue<'a> {
    pub(crate) alpha: f32,
    /// One a column.
    pub(crate) bias: Option<&'a [f32]>,
    /// Whether y, which then holds numbers already, is added to.
    pub(crate) accumulate: bool,
}

impl Epilogue<'_> {
    /// Sums are written as they are.
    pub(crate) const PLAIN: Epilogue<'static> = Epilogue { alpha: 1.0, bias: None, accumulate: false };

    /// Whether sums are written as they are.
    pub(crate) fn is_plain(self) -> bool {
        self.alpha == 1.0 && self.bias.is_none() && !self.accumulate
    }

    /// Writes sums, those of some columns in a row, to `y`, or adds them to what is there unless they are the first for
    /// this place.
    ///
    /// # Safety
    /// If there were sums before, or it accumulates, `y` has been written.
    #[inline(always)]
    pub(crate) unsafe fn write(
        self,
        first: bool,
        sums: impl Iterator<Item = f32>,
        y: &mut [MaybeUninit<f32>],
        columns: Range<usize>,
    ) {
        if first && !self.accumulate {
            y.iter_mut().zip(sums).for_each(|(y, sum)| _ = y.write(self.alpha * sum));
        } else {
            // SAFETY: by the caller.
            let y = unsafe { y.assume_init_mut() };
            y.iter_mut().zip(sums).for_each(|(y, sum)| *y += self.alpha * sum);
        }
        if let Some(bias) = self.bias.filter(|_| first) {
            // SAFETY: it was written, just now or before.
            let y = unsafe { y.assume_init_mut() };
            y.iter_mut().zip(&bias[columns]).for_each(|(y, bias)| *y += bias);
        }
    }

    /// Writes sums, those of some columns in a row, to `y`, rounded.
    #[inline(always)]
    pub(crate) fn write_rounded(self, sums: &[f32], y: &mut [MaybeUninit<bf16>], columns: Range<usize>) {
        match self.bias {
            Some(bias) => {
                let sums = sums.iter().zip(&bias[columns]);
                y.iter_mut().zip(sums).for_each(|(y, (sum, bias))| _ = y.write(round(self.alpha * sum + bias)));
            }
            None => y.iter_mut().zip(sums).for_each(|(y, sum)| _ = y.write(round(self.alpha * sum))),
        }
    }
}
