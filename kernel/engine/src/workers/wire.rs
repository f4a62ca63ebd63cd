//! What session and workers tell each other over a socket: a message as JSON, and numbers behind it as they lie in memory.
//!
//! A frame is the length of the message in bytes (u32), the number of values (u64), the message, and the values (f32),
//! all of them little-endian. The bytes of a file travel as the bytes of values, padded with zeros.

use std::collections::BTreeMap;
use std::io;
use std::io::Read;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use serde::Deserialize;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tunebook_data::Encoded;
use tunebook_data::Grid;
use tunebook_data::ImageProcessor;
use tunebook_data::ImageRef;
use tunebook_data::Origin;

use crate::report::AnswerEnd;
use crate::step_metrics::StepMetrics;

/// Session and workers must agree on it: it changes whenever a message does.
pub(super) const PROTOCOL: u32 = 1;

/// The most bytes of a message.
const LONGEST: usize = 1 << 30;
/// The most bytes of the message of somebody who has not shown the token yet.
pub(super) const LONGEST_HELLO: usize = 4096;

/// What a session asks of a worker. All but [`Request::File`] and [`Request::Cancel`] are answered by one [`Reply`].
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Request {
    Load(Box<LoadModel>),
    /// The files of the adapter that is on from now on, so many bytes. They come to rank 0, which broadcasts them.
    Adapter {
        bytes: usize,
    },
    /// The base model from now on.
    NoAdapter,
    /// So many values of what trains. They come to rank 0, which broadcasts them.
    Parameters {
        values: usize,
    },
    /// Gradients of some micro-batches, which stay where they are.
    Gradients {
        settings: SettingsMap,
        pixels: Pixels,
        micro_batches: Vec<WireMicroBatch>,
    },
    /// The sum of the gradients of all workers, which rank 0 sends.
    Sum {
        in_order: bool,
    },
    /// The mean loss of a batch.
    Loss {
        pixels: Pixels,
        samples: Vec<WireSample>,
    },
    /// Questions that follow are answered with these settings, until [`Request::EndOfQuestions`]. Texts that answers are
    /// likely to resemble come as the values, tokens one after the other.
    Answer {
        settings: SettingsMap,
        pixels: Pixels,
        labels: Vec<usize>,
    },
    Question {
        index: usize,
        sample: WireSample,
    },
    EndOfQuestions,
    /// The bytes of a file, or none if it cannot be read.
    File {
        bytes: Option<usize>,
    },
    /// Leaves what is being computed.
    Cancel,
}

/// What a worker tells its session.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Reply {
    Hello(Hello),
    /// MPI has begun.
    Joined {
        rank: usize,
        /// The first line of what the library says of itself.
        library: String,
    },
    Loaded {
        fingerprint: String,
    },
    /// It has what it was given.
    Ready,
    Gradients(ShareOutcome),
    /// Whether gradients of each parameter are in the sum, whose values follow.
    Sum {
        parts: Vec<bool>,
    },
    Loss(LossOutcome),
    Answered {
        index: usize,
        answer: Option<WireAnswer>,
    },
    /// It has answered all questions, or was cancelled.
    EndOfAnswers,
    /// It lives. `progress` is the fraction of what it computes that is done.
    Alive {
        progress: f32,
    },
    /// It does not have this file, or another one of that name.
    NeedsFile {
        path: PathBuf,
    },
    /// It cannot do what was asked, and why, in the session's language.
    Failed {
        problem: String,
    },
}

/// How a worker introduces itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Hello {
    pub token: String,
    pub protocol: u32,
    pub version: String,
    pub host: String,
    pub process: u32,
    pub cores: usize,
}

/// Which model, and with how much of the machine.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct LoadModel {
    /// A folder, or a name on a hub.
    pub name: PathBuf,
    pub settings: SettingsMap,
    pub threads: usize,
    /// Workers on the same host, and the place of this one among them.
    pub neighbours: usize,
    pub place: usize,
}

/// Settings that are not at their defaults, by their names, as they are set.
pub(super) type SettingsMap = BTreeMap<String, String>;

/// The limits of an image's pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Pixels {
    pub most: usize,
    pub least: usize,
}

impl Pixels {
    pub(super) fn of(processor: &ImageProcessor) -> Self {
        Self { most: processor.image_max_pixels, least: processor.image_min_pixels }
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct WireMicroBatch {
    pub number: u64,
    pub samples: Vec<WireSample>,
}

/// An encoded sample.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct WireSample {
    input_ids: Vec<u32>,
    labels: Vec<i64>,
    images: Vec<WireImage>,
    answer_start: usize,
}

#[derive(Debug, Serialize, Deserialize)]
struct WireImage {
    path: PathBuf,
    /// Bytes of the file.
    length: u64,
    size: (u32, u32),
    grid: [usize; 3],
}

/// What became of a worker's share of the micro-batches.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum ShareOutcome {
    Computed {
        /// Summed over the micro-batches; none of no micro-batch.
        metrics: Option<StepMetrics>,
        tokens: usize,
        seconds: f64,
    },
    /// The loss of one of these samples is not finite. A sample is told by its micro-batch of the share and its place there.
    NotFinite(Vec<(usize, usize)>),
    /// An image of it cannot be used.
    BadSample(usize, usize),
    Cancelled,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum LossOutcome {
    Loss(f64),
    /// An image cannot be used.
    BadSample,
    Cancelled,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct WireAnswer {
    pub tokens: Vec<u32>,
    pub end: AnswerEnd,
}

impl WireSample {
    /// The files of its images.
    pub(super) fn pictures(&self) -> impl Iterator<Item = &PathBuf> {
        self.images.iter().map(|image| &image.path)
    }

    pub(super) fn of(sample: &Encoded) -> Self {
        let image = |image: &ImageRef| WireImage {
            path: std::path::absolute(&image.path).unwrap_or_else(|_| image.path.clone()),
            length: std::fs::metadata(&image.path).map_or(0, |file| file.len()),
            size: image.size,
            grid: [image.grid.t, image.grid.h, image.grid.w],
        };
        Self {
            input_ids: sample.input_ids.clone(),
            labels: sample.labels.clone(),
            images: sample.images.iter().map(image).collect(),
            answer_start: sample.answer_start,
        }
    }

    /// The sample; it has its number in place of its origin. `place` says where a file of that path and length lies here.
    ///
    /// # Errors
    /// Those of `place`.
    pub(super) fn encoded<E>(
        self,
        number: usize,
        place: &mut dyn FnMut(PathBuf, u64) -> Result<PathBuf, E>,
    ) -> Result<Encoded, E> {
        let mut image = |WireImage { path, length, size, grid: [t, h, w] }: WireImage| {
            Ok(ImageRef { path: place(path, length)?, size, grid: Grid { t, h, w } })
        };
        Ok(Encoded {
            input_ids: self.input_ids,
            labels: self.labels,
            images: self.images.into_iter().map(&mut image).collect::<Result<_, E>>()?,
            answer_start: self.answer_start,
            truncated: false,
            origin: Origin { dataset: "".into(), file: Arc::from(PathBuf::new()), index: number },
        })
    }
}

/// Writes a frame.
///
/// # Errors
/// The other side is gone.
pub(super) fn write<T: Serialize>(to: &mut impl Write, message: &T, values: &[f32]) -> io::Result<()> {
    let text = serde_json::to_vec(message)?;
    let length = u32::try_from(text.len()).map_err(io::Error::other)?;
    let mut head = Vec::with_capacity(12 + text.len());
    head.extend(length.to_le_bytes());
    head.extend((values.len() as u64).to_le_bytes());
    head.extend(text);
    to.write_all(&head)?;
    to.write_all(bytemuck::cast_slice(values))?;
    to.flush()
}

/// Reads a frame whose message has at most `longest` bytes, and with at most `most` values.
///
/// # Errors
/// The other side is gone, or sends something else.
pub(super) fn read_within<T: DeserializeOwned>(
    from: &mut impl Read,
    longest: usize,
    most: usize,
) -> io::Result<(T, Vec<f32>)> {
    let (mut length, mut count) = ([0; 4], [0; 8]);
    from.read_exact(&mut length)?;
    from.read_exact(&mut count)?;
    let (length, count) = (u32::from_le_bytes(length) as usize, u64::from_le_bytes(count) as usize);
    if length > longest || count > most {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut text = vec![0; length];
    from.read_exact(&mut text)?;
    let message = serde_json::from_slice(&text)?;
    let mut values = Vec::new();
    // A wrong length takes no more memory than arrives.
    while values.len() < count {
        let first = values.len();
        values.resize(count.min(first + (1 << 24)), 0.0);
        from.read_exact(bytemuck::cast_slice_mut(&mut values[first..]))?;
    }
    Ok((message, values))
}

/// Reads a frame.
///
/// # Errors
/// As [`read_within`].
pub(super) fn read<T: DeserializeOwned>(from: &mut impl Read) -> io::Result<(T, Vec<f32>)> {
    read_within(from, LONGEST, usize::MAX)
}

/// Bytes as values, padded with zeros.
pub(super) fn values_of(bytes: &[u8]) -> Vec<f32> {
    let mut values = vec![0f32; bytes.len().div_ceil(size_of::<f32>())];
    bytemuck::cast_slice_mut(&mut values)[..bytes.len()].copy_from_slice(bytes);
    values
}

/// The first so many bytes of values.
pub(super) fn bytes_of(values: &[f32], bytes: usize) -> &[u8] {
    let all: &[u8] = bytemuck::cast_slice(values);
    &all[..bytes.min(all.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_comes_back_with_the_bits_of_its_values() {
        let values = [1.5, f32::NAN, -0.0, f32::MIN_POSITIVE];
        let mut sent = Vec::new();
        write(&mut sent, &Reply::Sum { parts: vec![true, false] }, &values).unwrap();
        write(&mut sent, &Reply::Ready, &[]).unwrap();
        let mut from = &sent[..];
        let (reply, read_values) = read::<Reply>(&mut from).unwrap();
        assert!(matches!(reply, Reply::Sum { parts } if parts == [true, false]));
        assert_eq!(read_values.map_bits(), values.to_vec().map_bits());
        assert!(matches!(read::<Reply>(&mut from).unwrap(), (Reply::Ready, values) if values.is_empty()));
        assert!(read::<Reply>(&mut from).is_err());
    }

    trait Bits {
        fn map_bits(self) -> Vec<u32>;
    }

    impl Bits for Vec<f32> {
        fn map_bits(self) -> Vec<u32> {
            self.into_iter().map(f32::to_bits).collect()
        }
    }

    #[test]
    fn a_stranger_is_not_listened_to_for_long() {
        let mut sent = Vec::new();
        write(&mut sent, &"x".repeat(LONGEST_HELLO), &[]).unwrap();
        assert!(read_within::<String>(&mut &sent[..], LONGEST_HELLO, 0).is_err());
        let mut sent = Vec::new();
        write(&mut sent, &"x", &[1.0]).unwrap();
        assert!(read_within::<String>(&mut &sent[..], LONGEST_HELLO, 0).is_err());
    }

    #[test]
    fn bytes_travel_as_values() {
        for length in 0..9u8 {
            let bytes: Vec<u8> = (0..length).collect();
            assert_eq!(bytes_of(&values_of(&bytes), bytes.len()), bytes);
        }
    }
}
