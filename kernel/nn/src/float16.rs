//! Weights that are stored as float16.
//!
//! Matrix products read float32 or bfloat16, so a matrix is converted when it is first multiplied with, and kept: in
//! float32, which is exact, it takes twice the memory of the file, and in bfloat16 as much. Kernels for a dtype that
//! few of these models have would not pay.

use std::ops::Range;
use std::sync::Arc;
use std::sync::OnceLock;

use half::bf16;
use half::f16;
use half::slice::HalfFloatSliceExt;
use memmap2::Mmap;
use rayon::prelude::*;
use tunebook_gemm::Weights;

use crate::frozen::FrozenDType;
use crate::frozen::release;

/// A range of a mapped file.
pub(crate) struct Float16 {
    map: Arc<Mmap>,
    range: Range<usize>,
    /// What matmuls read.
    dtype: FrozenDType,
    converted: OnceLock<Vec<u32>>,
}

/// Elements that are converted in one go.
const RUN: usize = 1 << 16;

impl Float16 {
    pub(crate) fn new(map: Arc<Mmap>, range: Range<usize>, dtype: FrozenDType) -> Self {
        Self { map, range, dtype, converted: OnceLock::new() }
    }

    /// The same before it was converted.
    pub(crate) fn unconverted(&self) -> Self {
        Self::new(self.map.clone(), self.range.clone(), self.dtype)
    }

    /// All elements, converted.
    pub(crate) fn weights(&self) -> Weights<'_> {
        let words = bytemuck::cast_slice(self.converted.get_or_init(|| self.convert()));
        let length = self.range.len() / size_of::<f16>();
        match self.dtype {
            FrozenDType::F32 => Weights::F32(bytemuck::cast_slice::<u8, f32>(words)),
            FrozenDType::Bf16 => Weights::Bf16(&bytemuck::cast_slice::<u8, bf16>(words)[..length]),
        }
    }

    /// The elements from `start` as matmuls see them, without converting the others.
    pub(crate) fn read(&self, start: usize, out: &mut [f32]) {
        read(&self.map[self.range.clone()][start * size_of::<f16>()..][..size_of_val(out) / 2], out);
        if self.dtype == FrozenDType::Bf16 {
            out.iter_mut().for_each(|value| *value = bf16::from_f32(*value).to_f32());
        }
    }

    fn convert(&self) -> Vec<u32> {
        let length = self.range.len() / size_of::<f16>();
        let mut words = vec![0u32; (length * self.dtype.size()).div_ceil(size_of::<u32>())];
        match self.dtype {
            FrozenDType::F32 => {
                let runs = bytemuck::cast_slice_mut::<u32, f32>(&mut words).par_chunks_mut(RUN).enumerate();
                runs.for_each(|(run, out)| self.read(run * RUN, out));
            }
            FrozenDType::Bf16 => {
                let values = &mut bytemuck::cast_slice_mut::<u32, bf16>(&mut words)[..length];
                let convert = |wide: &mut Vec<f32>, (run, out): (usize, &mut [bf16])| {
                    wide.resize(out.len(), 0.0);
                    self.read(run * RUN, wide);
                    out.convert_from_f32_slice(wide);
                };
                values.par_chunks_mut(RUN).enumerate().for_each_init(Vec::new, convert);
            }
        }
        release(&self.map, &self.range);
        words
    }

    /// Lets the system take back what was read of the file.
    pub(crate) fn release(&self) {
        release(&self.map, &self.range);
    }
}

/// Widens elements of float16, which lie in a file wherever they lie.
fn read(bytes: &[u8], out: &mut [f32]) {
    match bytemuck::try_cast_slice::<u8, f16>(bytes) {
        Ok(values) => values.convert_to_f32_slice(out),
        Err(_) => {
            let values = bytes.as_chunks().0.iter().map(|bytes| f16::from_le_bytes(*bytes).to_f32());
            out.iter_mut().zip(values).for_each(|(out, value)| *out = value);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn elements_are_those_of_the_file_wherever_it_has_them() {
        let length = RUN + 77;
        let values: Vec<f16> = (0..length).map(|i| f16::from_f32((i as f32 * 0.37).sin() * 3.0)).collect();
        for offset in [0, 1, 2] {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&vec![7; offset]).unwrap();
            values.iter().for_each(|value| file.write_all(&value.to_le_bytes()).unwrap());
            // SAFETY: the file has no name, so nothing else changes it.
            let map = Arc::new(unsafe { Mmap::map(&file) }.unwrap());
            for dtype in [FrozenDType::F32, FrozenDType::Bf16] {
                let matrix = Float16::new(map.clone(), offset..offset + 2 * length, dtype);
                let expected: Vec<f32> = match dtype {
                    FrozenDType::F32 => values.iter().map(|value| value.to_f32()).collect(),
                    FrozenDType::Bf16 => values.iter().map(|value| bf16::from_f32(value.to_f32()).to_f32()).collect(),
                };
                let mut row = vec![0.0; 60];
                matrix.read(RUN - 10, &mut row);
                assert_eq!(row, expected[RUN - 10..][..60]);
                assert!(matrix.converted.get().is_none());
                let converted: Vec<f32> = match matrix.weights() {
                    Weights::F32(values) => values.to_vec(),
                    Weights::Bf16(values) => values.iter().map(|value| value.to_f32()).collect(),
                    _ => panic!("neither float32 nor bfloat16"),
                };
                assert_eq!(converted, expected);
            }
        }
    }
}
