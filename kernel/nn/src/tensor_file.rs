//! Tensors of f32 in a safetensors file, for what is read back bit for bit.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;
use std::io::Write;
use std::path::Path;

use half::bf16;
use half::f16;
use memmap2::Mmap;
use safetensors::Dtype;
use safetensors::SafeTensors;
use safetensors::View;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;
use tunebook_files::replace_file_with;
use tunebook_quote::message;
use tunebook_quote::quote_end;

use crate::error::Damage;
use crate::error::Error;
use crate::error::Result;

/// A tensor that is not candle's.
#[derive(Clone, Debug, PartialEq)]
pub struct Floats<'a> {
    pub dims: Vec<usize>,
    /// Row by row.
    pub values: Cow<'a, [f32]>,
}

impl View for Floats<'_> {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.dims
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(bytemuck::cast_slice(&self.values))
    }

    fn data_len(&self) -> usize {
        size_of_val(&*self.values)
    }
}

/// Writes a file beside its place and renames it; no more than a tensor at a time is copied. The same tensors always give
/// the same bytes.
///
/// # Errors
/// The folder cannot be written to, or the disk is full.
pub fn write<V: View>(
    path: &Path,
    metadata: &[(&str, &str)],
    tensors: impl IntoIterator<Item = (String, V)>,
) -> Result<()> {
    let tensors: Vec<_> = tensors.into_iter().collect();
    // The crate's own function replaces the file that it is given, which then is private and need not reach the disk.
    let written = replace_file_with(path, |file| {
        let infos =
            tensors.iter().map(|(name, tensor)| (name.clone(), tensor.dtype(), tensor.shape(), tensor.data_len()));
        file.write_all(&header(metadata, infos)?)?;
        tensors.iter().try_for_each(|(_, tensor)| file.write_all(&tensor.data()))
    });
    written.map_err(|source| Error::Write { path: path.to_path_buf(), source })
}

/// What stands before the tensors, which follow in the order of these names, dtypes, shapes and lengths in bytes: the
/// length of the header, and the header in JSON, padded with spaces to a multiple of 8.
pub(crate) fn header<'a>(
    metadata: &[(&str, &str)],
    tensors: impl Iterator<Item = (String, Dtype, &'a [usize], usize)>,
) -> io::Result<Vec<u8>> {
    // transformers takes no safetensors file without its format.
    let metadata: Map<_, _> =
        [("format", "pt")].iter().chain(metadata).map(|(k, v)| (k.to_string(), json!(v))).collect();
    let mut entries = Map::from_iter([("__metadata__".to_string(), Value::Object(metadata))]);
    let mut end = 0;
    for (name, dtype, shape, bytes) in tensors {
        let start = end;
        end += bytes;
        entries.insert(name, json!({"dtype": dtype, "shape": shape, "data_offsets": [start, end]}));
    }
    let mut json = serde_json::to_vec(&entries)?;
    json.resize(json.len().next_multiple_of(8), b' ');
    Ok([&(json.len() as u64).to_le_bytes(), &json[..]].concat())
}

/// Reads every tensor of a file that [`write()`] wrote.
///
/// # Errors
/// The file cannot be read, is not whole, or holds something else than float32.
pub fn read(path: &Path) -> Result<BTreeMap<String, Floats<'static>>> {
    let read_error = |source| Error::Read { path: path.to_path_buf(), source };
    let file = tunebook_files::open(path).map_err(read_error)?;
    // SAFETY: the mapping is read-only and ends with this function. Another process that shortens the file meanwhile
    // would break it; tunebook itself replaces files by renaming, which leaves mappings whole.
    let map = unsafe { Mmap::map(&file) }.map_err(read_error)?;
    let damaged = |problem| Error::Damaged { path: path.to_path_buf(), problem };
    let tensors =
        SafeTensors::deserialize(&map).map_err(|error| damaged(Damage::Safetensors(message(&error.to_string()))))?;
    let floats = |(name, view): (&str, safetensors::tensor::TensorView)| match view.dtype() {
        Dtype::F32 => {
            let values: Vec<f32> = view.data().as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
            Ok((name.to_string(), Floats { dims: view.shape().to_vec(), values: values.into() }))
        }
        other => Err(damaged(Damage::DType { name: quote_end(name), dtype: format!("{other:?}") })),
    };
    tensors.iter().map(floats).collect()
}

/// Elements as f32, from a dtype that is stored little-endian without alignment; none where it is another.
pub(crate) fn widened(dtype: Dtype, data: &[u8]) -> Option<Vec<f32>> {
    Some(match dtype {
        Dtype::F32 => data.as_chunks().0.iter().map(|v| f32::from_le_bytes(*v)).collect(),
        Dtype::F16 => data.as_chunks().0.iter().map(|v| f16::from_le_bytes(*v).to_f32()).collect(),
        Dtype::BF16 => data.as_chunks().0.iter().map(|v| bf16::from_le_bytes(*v).to_f32()).collect(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bit_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.safetensors");
        let values = vec![1.0f32, -0.0, f32::MIN_POSITIVE / 2.0, f32::INFINITY, 0.1, f32::from_bits(0x7fc0_1234)];
        let floats = Floats { dims: vec![2, 3], values: values.clone().into() };
        write(&path, &[], [("b".to_string(), floats)]).unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        let again = read(&path).unwrap();
        assert_eq!(again["b"].dims, [2, 3]);
        let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&again["b"].values), bits(&values));
    }

    #[test]
    fn what_is_quoted_of_a_header_is_cut() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.safetensors");
        let long = "x".repeat(5000);
        for (name, dtype) in [("a", &*long), (&*long, "I32")] {
            let header = json!({name: {"dtype": dtype, "shape": [1], "data_offsets": [0, 4]}}).to_string();
            let bytes = [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &[0; 4]].concat();
            std::fs::write(&path, bytes).unwrap();
            let message = read(&path).unwrap_err().to_string();
            assert!(message.contains("xxx") && message.len() < 600, "{message}");
        }
    }

    #[test]
    fn a_file_that_is_cut_short_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.safetensors");
        write(&path, &[], [("b".to_string(), Floats { dims: vec![64], values: vec![1.0; 64].into() })]).unwrap();
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() - 9]).unwrap();
        let message = read(&path).unwrap_err().to_string();
        assert!(message.contains("a.safetensors is corrupted"), "{message}");
        assert!(read(&folder.path().join("none")).unwrap_err().to_string().contains("cannot read"));
    }
}
