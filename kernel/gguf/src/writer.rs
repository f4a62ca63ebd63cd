//! A file as it grows.

use std::io;
use std::io::Write;

use crate::metadata::Metadata;
use crate::metadata::string;
use crate::tensor_type::TensorType;

/// What stands before the tensors, and each of them, begins at a multiple of this.
const ALIGNMENT: usize = 32;
const MAGIC: &[u8; 4] = b"GGUF";
const VERSION: u32 = 3;

/// A tensor to come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    pub name: String,
    /// As PyTorch counts them: rows before columns. The file has them the other way round.
    pub dims: Vec<usize>,
    pub kind: TensorType,
}

impl TensorInfo {
    pub fn elements(&self) -> usize {
        self.dims.iter().product()
    }

    /// What its elements take, in bytes.
    pub fn size(&self) -> usize {
        self.kind.size(self.elements())
    }
}

/// Takes the tensors of a file in their order.
pub struct Writer<W> {
    out: W,
    /// The sizes of those that are still to come, the next one last.
    left: Vec<usize>,
}

impl<W: Write> Writer<W> {
    /// Begins a file with what stands before the tensors.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn new(mut out: W, metadata: &Metadata, tensors: &[TensorInfo]) -> io::Result<Self> {
        out.write_all(&header(metadata, tensors))?;
        Ok(Self { out, left: tensors.iter().rev().map(TensorInfo::size).collect() })
    }

    /// Appends the bytes of the next tensor.
    ///
    /// # Errors
    /// They are not as many as were announced; those of `out`.
    pub fn tensor(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.left.pop() != Some(bytes.len()) {
            return Err(io::Error::other("a tensor has another size than was announced"));
        }
        self.out.write_all(bytes)?;
        self.out.write_all(&[0; ALIGNMENT][..padding(bytes.len())])
    }

    /// Gives back what was written to.
    ///
    /// # Errors
    /// Tensors are missing.
    pub fn finish(self) -> io::Result<W> {
        match self.left.is_empty() {
            true => Ok(self.out),
            false => Err(io::Error::other("tensors are missing that were announced")),
        }
    }
}

/// How large such a file is, in bytes.
pub fn size(metadata: &Metadata, tensors: &[TensorInfo]) -> u64 {
    let tensors_size: usize = tensors.iter().map(TensorInfo::size).map(|size| size + padding(size)).sum();
    (header(metadata, tensors).len() + tensors_size) as u64
}

fn header(metadata: &Metadata, tensors: &[TensorInfo]) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    out.extend(VERSION.to_le_bytes());
    out.extend((tensors.len() as u64).to_le_bytes());
    out.extend((metadata.len() as u64).to_le_bytes());
    for (key, value) in metadata {
        string(&mut out, key);
        value.write(&mut out);
    }
    let mut offset = 0;
    for info in tensors {
        string(&mut out, &info.name);
        out.extend((info.dims.len() as u32).to_le_bytes());
        info.dims.iter().rev().for_each(|dim| out.extend((*dim as u64).to_le_bytes()));
        out.extend(info.kind.id().to_le_bytes());
        out.extend((offset as u64).to_le_bytes());
        offset += info.size() + padding(info.size());
    }
    out.resize(out.len() + padding(out.len()), 0);
    out
}

/// What is missing to the next multiple.
fn padding(length: usize) -> usize {
    length.next_multiple_of(ALIGNMENT) - length
}

#[cfg(test)]
mod tests {
    use candle_core::quantized::gguf_file::Content;

    use super::*;
    use crate::metadata::Value;

    fn info(name: &str, dims: &[usize], kind: TensorType) -> TensorInfo {
        TensorInfo { name: name.to_string(), dims: dims.to_vec(), kind }
    }

    /// candle's reader is another implementation; the one of llama.cpp is asked in `tests/gguf`.
    #[test]
    fn what_is_written_is_read_by_another() {
        let metadata: Metadata = vec![
            ("a.text".into(), Value::from("你好")),
            ("a.number".into(), Value::U32(7)),
            ("a.negative".into(), Value::I32(-7)),
            ("a.float".into(), Value::F32(0.5)),
            ("a.flag".into(), Value::Bool(true)),
            ("a.texts".into(), Value::Strings(vec!["a b".into(), String::new()])),
            ("a.flags".into(), Value::Bools(vec![true, false])),
            ("a.numbers".into(), Value::I32s(vec![1, -2])),
            ("a.floats".into(), Value::F32s(vec![0.25])),
        ];
        let tensors = [info("odd", &[3], TensorType::F32), info("matrix", &[2, 32], TensorType::Q8_0)];
        let values: Vec<f32> = (0..64u8).map(f32::from).collect();
        let mut writer = Writer::new(Vec::new(), &metadata, &tensors).unwrap();
        writer.tensor(&TensorType::F32.encode(&[1.0, 2.0, 3.0]).unwrap()).unwrap();
        writer.tensor(&TensorType::Q8_0.encode(&values).unwrap()).unwrap();
        let bytes = writer.finish().unwrap();
        assert_eq!(bytes.len() as u64, size(&metadata, &tensors));

        let mut file = io::Cursor::new(bytes);
        let content = Content::read(&mut file).unwrap();
        assert_eq!(content.metadata["a.text"].to_string().unwrap(), "你好");
        assert_eq!(content.metadata["a.negative"].to_i32().unwrap(), -7);
        assert!(content.metadata["a.flag"].to_bool().unwrap());
        assert_eq!(content.metadata["a.texts"].to_vec().unwrap().len(), 2);
        assert_eq!(content.metadata["a.numbers"].to_vec().unwrap()[1].to_i32().unwrap(), -2);
        let device = candle_core::Device::Cpu;
        let read = |name: &str, file: &mut _| {
            let tensor = content.tensor(file, name, &device).unwrap().dequantize(&device).unwrap();
            (tensor.dims().to_vec(), tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap())
        };
        assert_eq!(read("odd", &mut file), (vec![3], vec![1.0, 2.0, 3.0]));
        let (dims, matrix) = read("matrix", &mut file);
        assert_eq!(dims, [2, 32]);
        assert!(matrix.iter().zip(&values).all(|(a, b)| (a - b).abs() < 0.3));
    }

    #[test]
    fn a_file_is_not_finished_with_less_or_with_something_else() {
        let tensors = [info("a", &[2], TensorType::F32)];
        let mut writer = Writer::new(Vec::new(), &Vec::new(), &tensors).unwrap();
        assert!(writer.tensor(&[0; 4]).is_err());
        let writer = Writer::new(Vec::new(), &Vec::new(), &tensors).unwrap();
        assert!(writer.finish().is_err());
    }
}
