//! The image processor's numbers out of a model folder.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::{ConfigProblem, DEFAULT_IMAGE_MAX_PIXELS, DEFAULT_IMAGE_MIN_PIXELS, ImageError, ImageProcessor};

const PROCESSOR_CONFIG: &str = "processor_config.json";
const PREPROCESSOR_CONFIG: &str = "preprocessor_config.json";

impl ImageProcessor {
    /// Reads the `image_processor` of transformers 5's `processor_config.json`, else `preprocessor_config.json`.
    /// Pixel limits are `min_pixels`/`max_pixels` or `size.shortest_edge`/`size.longest_edge`.
    ///
    /// # Errors
    /// Neither file is there, malformed JSON, a key that is missing or out of range.
    pub fn from_folder(folder: &Path) -> Result<Self, ImageError> {
        let config = Config::read(folder)?;
        let processor = Self {
            patch_size: config.whole("patch_size")?,
            temporal_patch_size: config.whole("temporal_patch_size")?,
            merge_size: config.whole("merge_size")?,
            min_pixels: config.limit("min_pixels", "shortest_edge")?,
            max_pixels: config.limit("max_pixels", "longest_edge")?,
            rescale_factor: match config.keys.get("rescale_factor") {
                Some(value) => config.real("rescale_factor", Some(value))?,
                None => 1.0 / 255.0,
            },
            image_mean: config.three("image_mean")?,
            image_std: config.three("image_std")?,
            image_max_pixels: DEFAULT_IMAGE_MAX_PIXELS,
            image_min_pixels: DEFAULT_IMAGE_MIN_PIXELS,
        };
        if processor.image_std.contains(&0.0) {
            return Err(config.error("image_std", ConfigProblem::HoldsZero));
        }
        if processor.rescale_factor == 0.0 {
            return Err(config.error("rescale_factor", ConfigProblem::Zero));
        }
        if processor.min_pixels > processor.max_pixels {
            return Err(config.error("min_pixels", ConfigProblem::AboveMaxPixels));
        }
        if config.keys.get("resample").is_some_and(|filter| *filter != 3) {
            return Err(config.error("resample", ConfigProblem::NotBicubic));
        }
        Ok(processor)
    }
}

struct Config {
    path: PathBuf,
    keys: Map<String, Value>,
}

impl Config {
    fn read(folder: &Path) -> Result<Self, ImageError> {
        let nested = folder.join(PROCESSOR_CONFIG);
        if nested.is_file() {
            let mut config = Self::parse(nested)?;
            if let Some(Value::Object(keys)) = config.keys.remove("image_processor") {
                return Ok(Self { keys, ..config });
            }
        }
        let flat = folder.join(PREPROCESSOR_CONFIG);
        match flat.is_file() {
            true => Self::parse(flat),
            false => Err(ImageError::NoConfig { folder: folder.to_owned() }),
        }
    }

    fn parse(path: PathBuf) -> Result<Self, ImageError> {
        let text =
            tunebook_files::read_to_string(&path).map_err(|source| ImageError::Read { path: path.clone(), source })?;
        match serde_json::from_str(&text) {
            Ok(keys) => Ok(Self { path, keys }),
            Err(error) => {
                Err(ImageError::Json { line: error.line(), column: error.column(), message: error.to_string(), path })
            }
        }
    }

    fn whole(&self, key: &'static str) -> Result<usize, ImageError> {
        self.whole_in(key, self.keys.get(key))
    }

    /// A pixel limit under its old name, or under its newer one in `size`.
    fn limit(&self, key: &'static str, edge: &str) -> Result<usize, ImageError> {
        let old = self.keys.get(key).filter(|value| !value.is_null());
        let size = self.keys.get("size").and_then(|size| size.get(edge));
        self.whole_in(key, old.or(size))
    }

    fn whole_in(&self, key: &'static str, value: Option<&Value>) -> Result<usize, ImageError> {
        value
            .and_then(Value::as_u64)
            // The bound keeps products of such numbers far from overflow.
            .filter(|number| (1..=1 << 31).contains(number))
            .and_then(|number| usize::try_from(number).ok())
            .ok_or_else(|| self.error(key, ConfigProblem::NotPositiveInteger))
    }

    fn real(&self, key: &'static str, value: Option<&Value>) -> Result<f64, ImageError> {
        value
            .and_then(Value::as_f64)
            .filter(|number| number.is_finite())
            .ok_or_else(|| self.error(key, ConfigProblem::NotNumber))
    }

    /// One number a colour channel.
    fn three(&self, key: &'static str) -> Result<[f64; 3], ImageError> {
        match self.keys.get(key).and_then(Value::as_array).map(Vec::as_slice) {
            Some([r, g, b]) => Ok([self.real(key, Some(r))?, self.real(key, Some(g))?, self.real(key, Some(b))?]),
            _ => Err(self.error(key, ConfigProblem::NotThreeNumbers)),
        }
    }

    fn error(&self, key: &'static str, problem: ConfigProblem) -> ImageError {
        ImageError::Config { path: self.path.clone(), key, problem }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::processor::tests::{hub, qwen3_vl};

    const HUB: &str = r#"{"min_pixels": 3136, "max_pixels": 12845056, "patch_size": 14, "temporal_patch_size": 2,
        "merge_size": 2, "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_std": [0.26862954, 0.26130258, 0.27577711], "image_processor_type": "Qwen2VLImageProcessor"}"#;

    fn folder(files: &[(&str, &str)]) -> Result<ImageProcessor, ImageError> {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        ImageProcessor::from_folder(dir.path())
    }

    #[test]
    fn the_hubs_file() {
        assert_eq!(folder(&[(PREPROCESSOR_CONFIG, HUB)]).unwrap(), hub());
    }

    #[test]
    fn the_nested_form_of_transformers_5() {
        let nested = r#"{"image_processor": {"size": {"shortest_edge": 3136, "longest_edge": 12845056},
            "patch_size": 14, "temporal_patch_size": 2, "merge_size": 2, "rescale_factor": 0.00392156862745098,
            "resample": 3, "image_mean": [0.48145466, 0.4578275, 0.40821073],
            "image_std": [0.26862954, 0.26130258, 0.27577711]}}"#;
        assert_eq!(folder(&[(PROCESSOR_CONFIG, nested)]).unwrap(), hub());
        let both = folder(&[(PROCESSOR_CONFIG, "{}"), (PREPROCESSOR_CONFIG, HUB)]);
        assert_eq!(both.unwrap(), hub());
    }

    /// The edges of `size` are numbers of pixels, and an old name counts before them, as in transformers.
    #[test]
    fn the_file_of_qwen3_vl() {
        let text = r#"{"size": {"longest_edge": 16777216, "shortest_edge": 65536}, "patch_size": 16,
            "temporal_patch_size": 2, "merge_size": 2, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5],
            "processor_class": "Qwen3VLProcessor", "image_processor_type": "Qwen2VLImageProcessorFast"}"#;
        assert_eq!(folder(&[(PREPROCESSOR_CONFIG, text)]).unwrap(), qwen3_vl());
        let both = text.replace("\"patch_size\"", "\"min_pixels\": 1024, \"max_pixels\": null, \"patch_size\"");
        let expected = ImageProcessor { min_pixels: 1024, ..qwen3_vl() };
        assert_eq!(folder(&[(PREPROCESSOR_CONFIG, &both)]).unwrap(), expected);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let no_file = folder(&[]).unwrap_err().to_string();
        assert!(no_file.contains("preprocessor_config.json"), "{no_file}");
        for (from, to, expected) in [
            ("\"patch_size\": 14", "\"patch_size\": 0", "`patch_size` must be an integer"),
            ("\"min_pixels\": 3136, ", "", "`min_pixels` must be an integer"),
            ("[0.26862954, ", "[", "`image_std` must be a list of three numbers"),
            ("[0.26862954, ", "[0.0, ", "`image_std` must not contain 0"),
            ("\"merge_size\": 2,", "\"merge_size\" 2,", "preprocessor_config.json:2:"),
        ] {
            let text = HUB.replace(from, to);
            let message = folder(&[(PREPROCESSOR_CONFIG, &text)]).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
    }
}
