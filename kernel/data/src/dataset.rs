//! Datasets as rows of samples.

use std::io::Read;
use std::path::Path;

use sha1::{Digest, Sha1};
use tunebook_quote::{quote, quote_end};

use crate::formats::{Fault, Places, convert};
use crate::numpy_random::RandomState;
use crate::picture_store::PictureStore;
use crate::records::{Heard, read_records};
use crate::{DatasetEntry, DatasetError, HubDataset, Sample, Skipped, Source};

/// A record of a dataset: a sample, or the reason why it is not one. It keeps its position, so that random choices
/// select the same samples as LLaMA-Factory, which drops faulty ones only after choosing.
pub type Row = Result<Sample, Skipped>;

/// Rows between two reports of progress.
pub(crate) const EVERY: usize = 64;
/// The largest `num_samples` for which fewer records are repeated.
pub(crate) const MOST_REPEATED: usize = 10_000_000;

/// Reads datasets one after another.
pub struct DatasetReader<'a> {
    media_dir: &'a Path,
    store: PictureStore<'a>,
    max_samples: Option<usize>,
    random: RandomState,
    heard: Heard<'a>,
}

impl<'a> DatasetReader<'a> {
    /// Images are looked up in `media_dir` (LLaMA-Factory's default: the dataset_dir), then at their path as it is,
    /// then beside the dataset's file. Images inside the file are written to the folder `pictures`. At most the first
    /// `max_samples` records of each dataset are taken. `seed` is that of the training; entries with `num_samples` draw
    /// from it one after another.
    pub fn new(media_dir: &'a Path, pictures: &'a Path, max_samples: Option<usize>, seed: u64) -> Self {
        Self {
            media_dir,
            store: PictureStore { folder: pictures },
            max_samples,
            random: RandomState::new(seed),
            heard: &|_, _| true,
        }
    }

    /// The same, with `heard` called for progress and cancellation.
    pub fn heard_by(self, heard: Heard<'a>) -> Self {
        Self { heard, ..self }
    }

    /// The records of `entry` as rows.
    ///
    /// # Errors
    /// A file that cannot be read or parsed, or is still on a hub; a stop. What is wrong with a single record makes its
    /// row a reason to skip it.
    pub fn read(&mut self, entry: &DatasetEntry) -> Result<Vec<Row>, DatasetError> {
        let files = match &entry.source {
            Source::Files(files) => files,
            Source::Hub(HubDataset { hf_hub_url, ms_hub_url, .. }) => {
                let place = hf_hub_url.iter().chain(ms_hub_url).next().cloned().unwrap_or_default();
                return Err(DatasetError::Remote {
                    name: quote(&entry.name),
                    key: "hf_hub_url",
                    place: quote_end(&place),
                });
            }
        };
        let first = self.max_samples.filter(|_| entry.num_samples.is_none());
        let records = read_records(&entry.name, files, first, self.store, self.heard)?;
        let mut chosen = match entry.num_samples {
            Some(count) if count > records.len().max(MOST_REPEATED) => {
                let name = quote(&entry.name);
                return Err(DatasetError::NumSamples { name, num_samples: count, most: MOST_REPEATED });
            }
            Some(count) => self.choose(records.len(), count),
            None => (0..records.len()).collect(),
        };
        chosen.truncate(self.max_samples.unwrap_or(usize::MAX));
        let total = chosen.len();
        let row = |(done, index): (usize, usize)| {
            // Pictures inside of records are written to files here.
            if done.is_multiple_of(EVERY) && !(self.heard)(done, total) {
                return Err(DatasetError::Cancelled);
            }
            let (origin, record) = &records[index];
            let places = Places { media_dir: self.media_dir, data_file: &origin.file, store: self.store };
            match convert(record, entry, places, origin.clone()) {
                Ok(sample) => Ok(Ok(sample)),
                Err(Fault::Skip(reason)) => Ok(Err(Skipped { origin: origin.clone(), reason })),
                Err(Fault::Stop(error)) => Err(error),
            }
        };
        chosen.into_iter().enumerate().map(row).collect()
    }

    /// `count` of `len` records: all of them in a shuffled order, cut to `count` or filled up by chance.
    fn choose(&mut self, len: usize, count: usize) -> Vec<usize> {
        let mut chosen = self.random.permutation(len);
        chosen.truncate(count);
        if len > 0 {
            let more = count - chosen.len();
            chosen.extend(self.random.choice(len, more));
        }
        chosen
    }
}

impl DatasetEntry {
    /// The file's SHA-1, if it is not what `file_sha1` says: the file was changed, or is incomplete.
    ///
    /// # Errors
    /// The file cannot be read, or `go_on` says no.
    pub fn other_sha1(&self, go_on: &dyn Fn() -> bool) -> Result<Option<String>, DatasetError> {
        let (Some(expected), Source::Files(files)) = (self.file_sha1.as_deref(), &self.source) else {
            return Ok(None);
        };
        let Some(path) = files.first().filter(|path| path.is_file()) else { return Ok(None) };
        let read_error = |source| DatasetError::Read { path: path.clone(), source };
        let mut file = tunebook_files::open(path).map_err(read_error)?;
        let (mut hash, mut chunk) = (Sha1::new(), vec![0; 1 << 20]);
        loop {
            match file.read(&mut chunk).map_err(read_error)? {
                0 => break,
                length => hash.update(&chunk[..length]),
            }
            if !go_on() {
                return Err(DatasetError::Cancelled);
            }
        }
        let found: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok((!found.eq_ignore_ascii_case(expected)).then_some(found))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DatasetInfo, fixtures};

    /// A dataset of records that count, whose entry has `more` keys.
    fn entry(dir: &Path, len: usize, more: &str) -> DatasetEntry {
        let records: Vec<_> = (0..len).map(|i| format!(r#"{{"instruction": "{i}", "output": "a"}}"#)).collect();
        std::fs::write(dir.join("d.jsonl"), records.join("\n")).unwrap();
        std::fs::write(dir.join("dataset_info.json"), format!(r#"{{"d": {{"file_name": "d.jsonl"{more}}}}}"#)).unwrap();
        DatasetInfo::read(dir).unwrap().entry("d").unwrap()
    }

    fn numbers(rows: Vec<Row>) -> Vec<String> {
        rows.into_iter().map(|row| row.unwrap().messages[0].content.clone()).collect()
    }

    #[test]
    fn max_samples_takes_the_first() {
        let dir = tempfile::tempdir().unwrap();
        let entry = entry(dir.path(), 5, "");
        let mut reader = DatasetReader::new(dir.path(), dir.path(), Some(3), 42);
        assert_eq!(numbers(reader.read(&entry).unwrap()), ["0", "1", "2"]);
    }

    #[test]
    fn num_samples_takes_what_llamafactory_takes() {
        for case in fixtures::json("encode/choices.json")["samples"].as_array().unwrap() {
            let dir = tempfile::tempdir().unwrap();
            let most = case["max_samples"].as_u64().map(|most| most as usize);
            let mut reader = DatasetReader::new(dir.path(), dir.path(), most, case["seed"].as_u64().unwrap());
            for (count, taken) in case["num_samples"].as_array().unwrap().iter().zip(case["taken"].as_array().unwrap())
            {
                let entry = entry(dir.path(), 10, &format!(r#", "num_samples": {count}"#));
                let taken: Vec<_> = taken.as_array().unwrap().iter().map(|number| number.to_string()).collect();
                assert_eq!(numbers(reader.read(&entry).unwrap()), taken, "{case}");
            }
        }
    }

    #[test]
    fn a_stop_is_heard_between_rows() {
        let dir = tempfile::tempdir().unwrap();
        let entry = entry(dir.path(), 1000, "");
        let heard = |done, _| done < 500;
        let mut reader = DatasetReader::new(dir.path(), dir.path(), None, 42).heard_by(&heard);
        assert!(matches!(reader.read(&entry), Err(DatasetError::Cancelled)));
    }

    #[test]
    fn records_are_not_repeated_without_end() {
        let dir = tempfile::tempdir().unwrap();
        for count in [100_000_000_u64, u64::MAX] {
            let entry = entry(dir.path(), 10, &format!(r#", "num_samples": {count}"#));
            let error = DatasetReader::new(dir.path(), dir.path(), None, 42).read(&entry).unwrap_err().to_string();
            assert!(error.contains(&format!("num_samples: {count}")) && error.contains("10000000"), "{error}");
        }
    }

    #[test]
    fn a_file_that_is_not_the_one_meant_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let sha1 = entry(dir.path(), 5, r#", "file_sha1": "0""#).other_sha1(&|| true).unwrap().unwrap();
        assert_eq!(sha1.len(), 40);
        let more = format!(r#", "file_sha1": "{}""#, sha1.to_uppercase());
        assert_eq!(entry(dir.path(), 5, &more).other_sha1(&|| true).unwrap(), None);
        assert_eq!(entry(dir.path(), 5, "").other_sha1(&|| true).unwrap(), None);
    }
}
