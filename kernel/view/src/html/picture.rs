//! Picture files as a page shows them.

use std::io::Cursor;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use image::ImageFormat;
use tunebook_commands::Lang;
use tunebook_commands::localized;

use super::drawing::drawing;
use super::escape::escape;

/// Largest displayed width and height, in pixels.
const LARGEST: u32 = 280;

/// The image as a JPEG in base64, in the size that `size` computes from its own (width and height); none if it cannot
/// be read any more.
pub(super) fn jpeg(path: &Path, size: impl FnOnce((u32, u32)) -> (u32, u32)) -> Option<String> {
    let picture = tunebook_data::read_picture(path).ok()?.rgb;
    let (width, height) = size(picture.dimensions());
    let shown = image::imageops::thumbnail(&picture, width.max(1), height.max(1));
    let mut file = Cursor::new(Vec::new());
    shown.write_to(&mut file, ImageFormat::Jpeg).ok()?;
    Some(STANDARD.encode(file.into_inner()))
}

/// The image no larger than `side` pixels, as a data URL; none if it cannot be read any more.
pub fn thumbnail(path: &Path, side: u32) -> Option<String> {
    jpeg(path, |size| fitting(size, side)).map(|data| format!("data:image/jpeg;base64,{data}"))
}

/// The image for a page, at most [`LARGEST`] pixels wide and high.
pub fn picture(path: &Path, lang: Lang) -> String {
    small_picture(path, LARGEST, lang)
}

/// The image for a page, at most `side` pixels wide and high.
pub(super) fn small_picture(path: &Path, side: u32, lang: Lang) -> String {
    let name = escape(&path.display().to_string());
    match thumbnail(path, side) {
        Some(url) => format!("<img src=\"{url}\" alt=\"{name}\" title=\"{name}\"/>"),
        None => localized!(lang, "<p>{name} cannot be found</p>", "<p>找不到 {name}</p>"),
    }
}

/// A size of the same shape whose sides are at most `largest`; no larger than before.
fn fitting((width, height): (u32, u32), largest: u32) -> (u32, u32) {
    let scale = (f64::from(largest) / f64::from(width.max(height).max(1))).min(1.0);
    let [width, height] = [width, height].map(|side| (f64::from(side) * scale).round() as u32);
    (width, height)
}

/// A picture in the size `shown`, with `over`, elements of SVG, on top of it, and `about` behind its name for those who do not
/// see it; none says that it is gone. All of it is one image.
pub(super) fn under(path: &Path, shown: [f64; 2], over: &str, about: &str, lang: Lang) -> String {
    let name = escape(&path.display().to_string());
    let [width, height] = shown;
    match jpeg(path, |(own_w, own_h)| (own_w.min(width as u32), own_h.min(height as u32))) {
        Some(data) => {
            let svg = format!(
                "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" \
                 height=\"{height:.0}\"><image width=\"{width:.0}\" height=\"{height:.0}\" preserveAspectRatio=\"none\" \
                 href=\"data:image/jpeg;base64,{data}\"/>{over}</svg>"
            );
            let about = if about.is_empty() { name } else { format!("{name}: {}", escape(about)) };
            drawing(&svg, &about, "")
        }
        None => localized!(lang, "{name} cannot be found", "找不到 {name}"),
    }
}
