//! Weights that never change: where they lie and how an operation reads them.

use std::ops::Range;
use std::sync::Arc;

use candle_core::DType;
use candle_core::Device;
use candle_core::Tensor;
use half::slice::HalfFloatSliceExt;
use memmap2::Mmap;
use tunebook_gemm::Bf12;
use tunebook_gemm::Weights;

use crate::float16::Float16;
use crate::quantize::QuantizationBit;
use crate::quantize::Quantized;
use crate::uploaded::Uploaded;

/// A frozen matrix `[rows, cols]`, row-major, read in place from the memory-mapped checkpoint in the
/// checkpoint's own dtype, or quantized. Operations capture a clone (an `Arc`), so candle never sees it as an operand
/// and never computes a gradient for it.
#[derive(Clone)]
pub struct FrozenMatrix {
    bytes: Bytes,
    dtype: FrozenDType,
    /// What a device multiplies with.
    uploaded: Option<Uploaded>,
    pub rows: usize,
    pub cols: usize,
}

/// The element types that matmuls read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrozenDType {
    F32,
    Bf16,
}

impl FrozenDType {
    pub fn size(self) -> usize {
        match self {
            FrozenDType::F32 => 4,
            FrozenDType::Bf16 => 2,
        }
    }
}

#[derive(Clone)]
enum Bytes {
    Mapped(Arc<Mmap>, Range<usize>),
    Float16(Arc<Float16>),
    Owned(Arc<[u32]>),
    Quantized(Arc<Quantized>),
}

impl FrozenMatrix {
    /// A matrix over `range` of a mapped file.
    ///
    /// The caller has checked that the range lies in the file and holds `rows * cols` elements; a start
    /// that is not aligned to the element is copied to the heap, since it cannot be read in place.
    pub(crate) fn mapped(map: Arc<Mmap>, range: Range<usize>, dtype: FrozenDType, rows: usize, cols: usize) -> Self {
        let aligned = (map.as_ptr() as usize + range.start).is_multiple_of(dtype.size());
        let bytes = if aligned {
            Bytes::Mapped(map, range)
        } else {
            let mut words = vec![0u32; range.len().div_ceil(4)];
            bytemuck::cast_slice_mut::<u32, u8>(&mut words)[..range.len()].copy_from_slice(&map[range]);
            Bytes::Owned(words.into())
        };
        Self { bytes, dtype, uploaded: None, rows, cols }
    }

    /// The same over elements of float16, of which matmuls read `dtype`.
    pub(crate) fn float16(map: Arc<Mmap>, range: Range<usize>, dtype: FrozenDType, rows: usize, cols: usize) -> Self {
        let bytes = Bytes::Float16(Arc::new(Float16::new(map, range, dtype)));
        Self { bytes, dtype, uploaded: None, rows, cols }
    }

    /// In place of one that is missing: it has no elements, and is never multiplied with.
    pub(crate) fn missing(rows: usize, cols: usize) -> Self {
        let bytes = Bytes::Owned(Arc::new([]));
        Self { bytes, dtype: FrozenDType::F32, uploaded: None, rows, cols }
    }

    /// A matrix of its own, for weights that do not come from a file.
    pub fn from_f32(values: &[f32], rows: usize, cols: usize) -> Self {
        assert_eq!(values.len(), rows * cols, "a {rows}x{cols} matrix needs {} values", rows * cols);
        let words: Vec<u32> = values.iter().map(|v| v.to_bits()).collect();
        Self { bytes: Bytes::Owned(words.into()), dtype: FrozenDType::F32, uploaded: None, rows, cols }
    }

    /// The same matrix in fewer bits; that of the checkpoint gives its memory back.
    pub fn quantized(&self, bit: QuantizationBit) -> Self {
        let bytes = Bytes::Quantized(Arc::new(Quantized::new(self, bit)));
        self.release();
        Self { bytes, ..self.clone() }
    }

    /// The elements of a mapped matrix of bf16 in 12 bits each, without loss, where that makes matmuls of a single row
    /// of x faster.
    pub(crate) fn packed(&self) -> Option<Bf12> {
        match (&self.bytes, self.weights()) {
            (Bytes::Mapped(..), Weights::Bf16(w)) if Bf12::pays() => Bf12::new(w, self.cols),
            _ => None,
        }
    }

    /// The same matrix with a copy on `device` for matmuls of `dtype`; elements are not stored wider than it. That of
    /// the checkpoint gives its memory back.
    pub(crate) fn uploaded(&self, device: &Device, dtype: DType) -> candle_core::Result<Self> {
        let stored = match self.dtype {
            FrozenDType::F32 => dtype,
            FrozenDType::Bf16 => DType::BF16,
        };
        let uploaded = Some(Uploaded::new(self.weights(), (self.rows, self.cols), device, stored)?);
        self.release();
        let bytes = match &self.bytes {
            Bytes::Float16(matrix) => Bytes::Float16(Arc::new(matrix.unconverted())),
            other => other.clone(),
        };
        Ok(Self { uploaded, bytes, ..self.clone() })
    }

    /// The elements on `device`, for a matmul of `dtype`. If they were not uploaded, they are for this matmul.
    pub(crate) fn tensor(&self, device: &Device, dtype: DType) -> candle_core::Result<Tensor> {
        match &self.uploaded {
            Some(uploaded) => uploaded.tensor(dtype),
            None => Uploaded::new(self.weights(), (self.rows, self.cols), device, dtype)?.tensor(dtype),
        }
    }

    /// What matmuls read, unless it is quantized.
    pub fn dtype(&self) -> FrozenDType {
        self.dtype
    }

    /// The elements, for a matrix kernel.
    pub fn weights(&self) -> Weights<'_> {
        let length = self.rows * self.cols * self.dtype.size();
        let stored = match &self.bytes {
            Bytes::Mapped(map, range) => &map[range.clone()],
            Bytes::Owned(words) => &bytemuck::cast_slice(words)[..length],
            Bytes::Float16(matrix) => return matrix.weights(),
            Bytes::Quantized(quantized) => return quantized.weights(),
        };
        match self.dtype {
            FrozenDType::F32 => Weights::F32(bytemuck::cast_slice(stored)),
            FrozenDType::Bf16 => Weights::Bf16(bytemuck::cast_slice(stored)),
        }
    }

    /// Row `index` widened to f32 into `out` (`cols` long).
    pub fn read_row(&self, index: usize, out: &mut [f32]) {
        self.read(index * self.cols, &mut out[..self.cols]);
    }

    /// The elements from `start`, counted over all rows, widened to f32 into `out`.
    pub(crate) fn read(&self, start: usize, out: &mut [f32]) {
        if let Bytes::Float16(matrix) = &self.bytes {
            return matrix.read(start, out);
        }
        let range = start..start + out.len();
        match self.weights() {
            Weights::F32(w) => out.copy_from_slice(&w[range]),
            Weights::Bf16(w) => w[range].convert_to_f32_slice(out),
            Weights::Bf12(w) => w.read(start, out),
            Weights::Nf4(w) => w.read(start, out),
            Weights::Int8(w) => w.read(start, out),
        }
    }

    /// What it takes in memory once it has been read, in bytes.
    pub fn size(&self) -> usize {
        match &self.bytes {
            Bytes::Quantized(quantized) => quantized.size(),
            Bytes::Mapped(..) | Bytes::Float16(_) | Bytes::Owned(_) => self.rows * self.cols * self.dtype.size(),
        }
    }

    /// What of it can be given back to the system, since it can be had again from the file, in bytes.
    pub(crate) fn releasable(&self) -> usize {
        match &self.bytes {
            Bytes::Mapped(_, range) if self.uploaded.is_none() => range.len(),
            Bytes::Mapped(..) | Bytes::Float16(_) | Bytes::Owned(_) | Bytes::Quantized(_) => 0,
        }
    }

    /// Faults in all pages of a mapped matrix with one call. Page faults during a matmul would take several times as
    /// long, and pages that are not mapped cannot be prefetched.
    pub(crate) fn map(&self) {
        #[cfg(target_os = "linux")]
        if let Bytes::Mapped(map, range) = &self.bytes
            && self.releasable() > 0
        {
            // Linux before 5.14 refuses, and pages are mapped as they are read.
            let _ = map.advise_range(memmap2::Advice::PopulateRead, range.start, range.len());
        }
    }

    /// Lets the system take back the memory that a mapped matrix has been read into.
    pub(crate) fn release(&self) {
        match &self.bytes {
            Bytes::Mapped(map, range) => release(map, range),
            Bytes::Float16(matrix) => matrix.release(),
            Bytes::Owned(_) | Bytes::Quantized(_) => {}
        }
    }
}

/// Lets the system take back the memory that a part of a mapped file has been read into.
#[cfg(unix)]
pub(crate) fn release(map: &Mmap, range: &Range<usize>) {
    // SAFETY: the mapping is of a file and read-only, so what is dropped is read again with the same bytes.
    // A failure leaves things as they are.
    let _ = unsafe { map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, range.start, range.len()) };
}

/// The system takes it back by itself.
#[cfg(not(unix))]
pub(crate) fn release(_: &Mmap, _: &Range<usize>) {}
