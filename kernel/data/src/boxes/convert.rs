//! The boxes of a data set, in the scale of the model that reads it.

use rayon::prelude::*;

use super::{BoxScale, Sizes, find_boxes, on_images};
use crate::sample::IMAGE_PLACEHOLDER;
use crate::{DatasetError, ImageProcessor, Origin, Row, Sample};

/// What the boxes of samples are like, as they were written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BoxSurvey {
    pub boxes: usize,
    /// Samples that have some.
    pub samples: usize,
    /// Boxes that are not within their picture in the scale that they are said to be in.
    pub outside: usize,
    /// The first sample with such a box.
    pub first_outside: Option<Origin>,
    /// Boxes whose second corner is not right of and below the first.
    pub reversed: usize,
    pub first_reversed: Option<Origin>,
    /// For each of [`BoxScale::ALL`], how many boxes are within their picture if they are in that scale.
    pub within: [usize; 4],
}

/// Brings the boxes of samples from one scale into another, in whole numbers, and tells what they were like. The text around
/// the numbers stays. In the same scale, nothing is changed.
///
/// Samples without pictures have no boxes; one whose picture cannot be read stays as it is.
///
/// # Errors
/// It was stopped: `go_on`, which is called from many threads, says so.
pub fn convert_boxes(
    rows: &mut [Row],
    processor: &ImageProcessor,
    from: BoxScale,
    to: BoxScale,
    go_on: &(dyn Fn() -> bool + Sync),
) -> Result<BoxSurvey, DatasetError> {
    let surveys = rows.par_iter_mut().map(|row| {
        if !go_on() {
            return Err(DatasetError::Cancelled);
        }
        Ok(row.as_mut().map_or_else(|_| BoxSurvey::default(), |sample| convert(sample, processor, from, to)))
    });
    let surveys = surveys.collect::<Result<Vec<_>, _>>()?;
    Ok(surveys.into_iter().fold(BoxSurvey::default(), BoxSurvey::with))
}

fn convert(sample: &mut Sample, processor: &ImageProcessor, from: BoxScale, to: BoxScale) -> BoxSurvey {
    let mut survey = BoxSurvey::default();
    if sample.images.is_empty() || sample.messages.iter().all(|message| find_boxes(&message.content).is_empty()) {
        return survey;
    }
    let images = sample.images.iter().map(|path| Some(processor.sizes(&processor.look(path).ok()?)));
    let Some(images) = images.collect::<Option<Vec<Sizes>>>() else { return survey };
    survey.samples = 1;
    let mut before = 0;
    for message in &mut sample.messages {
        // As in one text, in which the pictures so far stand first.
        let prefix = IMAGE_PLACEHOLDER.repeat(before);
        before += message.content.matches(IMAGE_PLACEHOLDER).count();
        let text = format!("{prefix}{}", message.content);
        let (mut new, mut at) = (String::with_capacity(text.len()), prefix.len());
        for (image, found) in on_images(&text) {
            let Some(&sizes) = images.get(image) else { continue };
            survey.add(found.coordinates, from, sizes, &sample.origin);
            let converted = from.convert(found.coordinates, to, sizes);
            for (span, value) in found.spans.into_iter().zip(converted) {
                new += &text[at..span.start];
                new += &value.to_string();
                at = span.end;
            }
        }
        if from != to {
            message.content = new + &text[at..];
        }
    }
    survey
}

impl BoxSurvey {
    fn add(&mut self, coordinates: [f64; 4], from: BoxScale, sizes: Sizes, origin: &Origin) {
        self.boxes += 1;
        let [x1, y1, x2, y2] = coordinates;
        if x2 <= x1 || y2 <= y1 {
            self.reversed += 1;
            self.first_reversed.get_or_insert_with(|| origin.clone());
        }
        if !from.holds(coordinates, sizes) {
            self.outside += 1;
            self.first_outside.get_or_insert_with(|| origin.clone());
        }
        for (within, scale) in self.within.iter_mut().zip(BoxScale::ALL) {
            *within += usize::from(scale.holds(coordinates, sizes));
        }
    }

    /// Of these samples and of later ones.
    pub fn with(self, later: Self) -> Self {
        Self {
            boxes: self.boxes + later.boxes,
            samples: self.samples + later.samples,
            outside: self.outside + later.outside,
            first_outside: self.first_outside.or(later.first_outside),
            reversed: self.reversed + later.reversed,
            first_reversed: self.first_reversed.or(later.first_reversed),
            within: std::array::from_fn(|scale| self.within[scale] + later.within[scale]),
        }
    }

    /// The scales in which all boxes would be within their pictures.
    pub fn fitting(&self) -> impl Iterator<Item = BoxScale> {
        BoxScale::ALL.into_iter().zip(self.within).filter(|(_, within)| *within == self.boxes).map(|(scale, _)| scale)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::*;
    use crate::{Message, SkipReason, Skipped};

    /// One whose patches are of 14 pixels.
    fn processor() -> ImageProcessor {
        ImageProcessor {
            patch_size: 14,
            temporal_patch_size: 2,
            merge_size: 2,
            min_pixels: 3136,
            max_pixels: 12_845_056,
            rescale_factor: 1.0 / 255.0,
            image_mean: [0.5; 3],
            image_std: [0.5; 3],
            image_max_pixels: crate::DEFAULT_IMAGE_MAX_PIXELS,
            image_min_pixels: crate::DEFAULT_IMAGE_MIN_PIXELS,
        }
    }

    /// A question and an answer on pictures of 640 x 480, which the model sees in 644 x 476, and of 100 x 200, in 112 x 196.
    fn row(folder: &Path, question: &str, answer: &str) -> Row {
        let picture = |width: u32, height| {
            let path = folder.join(format!("{width}.png"));
            image::RgbImage::new(width, height).save(&path).unwrap();
            path
        };
        Ok(Sample {
            messages: vec![Message::user(question), Message::assistant(answer)],
            system: String::new(),
            tools: String::new(),
            images: vec![picture(640, 480), picture(100, 200)],
            origin: origin(3),
        })
    }

    fn origin(index: usize) -> Origin {
        Origin { dataset: Arc::from("boxes"), file: Arc::from(Path::new("boxes.json")), index }
    }

    fn converted(row: Row, from: BoxScale, to: BoxScale) -> ([String; 2], BoxSurvey) {
        let mut rows = [row];
        let survey = convert_boxes(&mut rows, &processor(), from, to, &|| true).unwrap();
        let [Ok(sample)] = rows else { panic!("the row has gone") };
        let [question, answer] = <[Message; 2]>::try_from(sample.messages).unwrap();
        ([question.content, answer.content], survey)
    }

    #[test]
    fn numbers_are_replaced_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let question = "<image>What is in <|box_start|>(160,120),(480, 360)<|box_end|>? <image>";
        let answer = "```json\n[\n\t{\"bbox_2d\": [10, 20, 50.5, 200], \"label\": \"(1,2) of 3\"}\n]\n```";
        let (texts, survey) = converted(row(folder.path(), question, answer), BoxScale::Pixels, BoxScale::Resized);
        assert_eq!(texts[0], "<image>What is in <|box_start|>(161,119),(483, 357)<|box_end|>? <image>");
        // On the second picture: 112/100 and 196/200, up to the last pixel.
        assert_eq!(texts[1], "```json\n[\n\t{\"bbox_2d\": [11, 20, 57, 195], \"label\": \"(1,2) of 3\"}\n]\n```");
        let counts = (survey.boxes, survey.samples, survey.outside, survey.reversed);
        assert_eq!((counts, survey.first_outside), ((2, 1, 0, 0), None));
    }

    #[test]
    fn the_same_scale_leaves_texts_alone() {
        let folder = tempfile::tempdir().unwrap();
        let answer = "{\"bbox_2d\": [0.25, 0.5, 0.75, 1.0]}";
        let (texts, survey) = converted(row(folder.path(), "<image><image>", answer), BoxScale::Norm1, BoxScale::Norm1);
        assert_eq!((texts[1].as_str(), survey.boxes), (answer, 1));
    }

    #[test]
    fn what_does_not_fit_is_counted_with_the_scales_that_would() {
        let folder = tempfile::tempdir().unwrap();
        let answer = "{\"bbox_2d\": [10, 20, 900, 300]}, {\"bbox_2d\": [500, 600, 100, 50]}";
        let row = row(folder.path(), "<image>Where? <image>", answer);
        let (_, survey) = converted(row, BoxScale::Resized, BoxScale::Resized);
        assert_eq!((survey.boxes, survey.outside, survey.reversed), (2, 2, 1));
        assert_eq!(survey.first_outside, Some(origin(3)));
        assert_eq!(survey.fitting().collect::<Vec<_>>(), [BoxScale::Norm1000]);
    }

    #[test]
    fn faulty_rows_and_unreadable_pictures_stay() {
        let folder = tempfile::tempdir().unwrap();
        let mut unreadable = row(folder.path(), "<image><image>", "{\"bbox_2d\": [1, 2, 3, 4]}");
        unreadable.as_mut().unwrap().images[0] = folder.path().join("gone.png");
        let skipped = Err(Skipped { origin: origin(4), reason: SkipReason::NoMessages });
        let mut rows = [unreadable.clone(), skipped.clone()];
        let survey = convert_boxes(&mut rows, &processor(), BoxScale::Pixels, BoxScale::Norm1000, &|| true).unwrap();
        assert_eq!((survey, rows), (BoxSurvey::default(), [unreadable, skipped]));
    }

    #[test]
    fn a_stop_is_heard() {
        let mut rows = [row(tempfile::tempdir().unwrap().path(), "<image><image>", "none")];
        let stopped = convert_boxes(&mut rows, &processor(), BoxScale::Pixels, BoxScale::Norm1000, &|| false);
        assert!(matches!(stopped, Err(DatasetError::Cancelled)));
    }
}
