//! Boxes of samples and answers, where they lie on their pictures.

use tunebook_data::BoxScale;
use tunebook_data::BoxSurvey;
use tunebook_data::IMAGE_PLACEHOLDER;
use tunebook_data::ImageProcessor;
use tunebook_data::ImageRef;
use tunebook_data::on_images;
use tunebook_nn::models::Coordinates;
use tunebook_nn::models::Family;

use crate::report::BoxReport;
use crate::report::DrawnBox;
use crate::report::DrawnPicture;
use crate::settings::Boxes;

/// The scale in which the models of a family write boxes.
pub(crate) fn own_scale(family: &Family) -> BoxScale {
    match family.coordinates {
        Coordinates::ResizedPixels => BoxScale::Resized,
        Coordinates::Thousandths => BoxScale::Norm1000,
    }
}

/// The scale that a setting says, for a model whose own is `own`.
pub(crate) fn scale(boxes: Boxes, own: BoxScale) -> BoxScale {
    match boxes {
        Boxes::Model => own,
        Boxes::Pixels => BoxScale::Pixels,
        Boxes::Resized => BoxScale::Resized,
        Boxes::Norm1000 => BoxScale::Norm1000,
        Boxes::Norm1 => BoxScale::Norm1,
    }
}

/// What `data` says of boxes that were written in one scale and are read in another; none where there are no boxes.
pub(crate) fn report(survey: &BoxSurvey, written: BoxScale, read: BoxScale) -> Option<Box<BoxReport>> {
    let report = || BoxReport {
        boxes: survey.boxes,
        samples: survey.samples,
        written,
        read,
        outside: survey.outside,
        first_outside: survey.first_outside.as_ref().map(ToString::to_string),
        reversed: survey.reversed,
        first_reversed: survey.first_reversed.as_ref().map(ToString::to_string),
        fitting: survey.fitting().collect(),
    };
    (survey.boxes > 0).then(|| Box::new(report()))
}

/// The boxes of each picture in pixels of its file, out of a text in which `<image>` stands for each picture.
pub(crate) fn drawn(text: &str, images: &[ImageRef], processor: &ImageProcessor, own: BoxScale) -> Vec<Vec<DrawnBox>> {
    let mut drawn = vec![Vec::new(); images.len()];
    for (index, found) in on_images(text) {
        if let Some(image) = images.get(index) {
            let corners = own.in_file(found.coordinates, processor.sizes(image)).map(|value| value.round() as i64);
            drawn[index].push(DrawnBox { label: found.label, corners });
        }
    }
    drawn
}

/// The pictures on which a text has boxes, with these, and with those that are expected.
pub(crate) fn pictures(
    [text, expected]: [&str; 2],
    images: &[ImageRef],
    processor: &ImageProcessor,
    own: BoxScale,
) -> Vec<DrawnPicture> {
    let [boxes, expected] = [text, expected].map(|text| {
        // What answers stands behind all pictures.
        drawn(&(IMAGE_PLACEHOLDER.repeat(images.len()) + text), images, processor, own)
    });
    let pictures = images.iter().zip(boxes).zip(expected).map(|((image, boxes), expected)| {
        let (width, height) = image.size;
        DrawnPicture { path: image.path.clone(), width, height, boxes, expected }
    });
    pictures.filter(|picture| !(picture.boxes.is_empty() && picture.expected.is_empty())).collect()
}
