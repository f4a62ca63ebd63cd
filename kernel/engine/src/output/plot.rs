//! Line charts as PNG and SVG, in the form of LLaMA-Factory's `training_loss.png`.

use std::ops::Range;
use std::path::Path;
use std::sync::OnceLock;

use image::RgbImage;
use plotters::coord::Shift;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::FontStyle;
use plotters::style::register_font;
use tunebook_files::replace_file;

use super::png::png;
use crate::error::Error;
use crate::error::Result;

/// Width and height in pixels: matplotlib's figure at 100 dpi.
const SIZE: (u32, u32) = (640, 480);
/// Pictures are drawn larger by this factor and then scaled down, since the backend draws thick lines with ragged
/// edges.
const OVERSAMPLING: u32 = 6;
/// matplotlib's colours, in its order.
pub const COLOURS: [u32; 10] =
    [0x1f77b4, 0xff7f0e, 0x2ca02c, 0xd62728, 0x9467bd, 0x8c564b, 0xe377c2, 0x7f7f7f, 0xbcbd22, 0x17becf];
const FONT: &str = "sans-serif";

/// A line of a chart.
#[derive(Clone, Debug)]
pub struct Curve {
    pub label: String,
    /// Which of [`COLOURS`].
    pub colour: usize,
    /// From 0, invisible, to 1.
    pub opacity: f64,
    /// Whether each point is a dot.
    pub has_dots: bool,
    /// By ascending x.
    pub points: Vec<(f64, f64)>,
}

/// A line chart.
#[derive(Clone, Debug)]
pub struct Figure {
    pub title: String,
    pub x_label: String,
    pub y_label: String,
    /// Whether x is drawn on a logarithmic scale.
    pub is_x_logarithmic: bool,
    pub curves: Vec<Curve>,
}

impl Figure {
    /// The chart of a metric over the steps of a training, as it was and smoothed.
    pub fn training(key: &str, folder: &str, points: Vec<(f64, f64)>) -> Self {
        let values: Vec<f64> = points.iter().map(|(_, value)| *value).collect();
        let smoothed = points.iter().zip(smooth(&values)).map(|((step, _), value)| (*step, value)).collect();
        Self {
            title: format!("training {key} of {folder}"),
            x_label: "step".to_string(),
            y_label: key.to_string(),
            is_x_logarithmic: false,
            curves: vec![
                Curve { label: "original".to_string(), colour: 0, opacity: 0.4, has_dots: false, points },
                Curve { label: "smoothed".to_string(), colour: 0, opacity: 1.0, has_dots: false, points: smoothed },
            ],
        }
    }

    /// The same with what evaluations found, if there were some, in another colour.
    pub fn with_evaluations(mut self, points: Vec<(f64, f64)>) -> Self {
        if !points.is_empty() {
            let label = "eval_loss".to_string();
            self.curves.push(Curve { label, colour: 1, opacity: 1.0, has_dots: true, points });
        }
        self
    }

    /// The chart as a PNG file of 640 × 480 pixels.
    ///
    /// # Errors
    /// The drawing library fails.
    pub fn png(&self) -> Result<Vec<u8>> {
        let (width, height) = (SIZE.0 * OVERSAMPLING, SIZE.1 * OVERSAMPLING);
        let mut pixels = vec![0; (width * height * 3) as usize];
        self.draw(BitMapBackend::with_buffer(&mut pixels, (width, height)).into_drawing_area(), OVERSAMPLING)?;
        let large = RgbImage::from_raw(width, height, pixels).ok_or_else(|| Error::Plot("no pixels".to_string()))?;
        let image = image::imageops::thumbnail(&large, SIZE.0, SIZE.1);
        png(&image)
    }

    /// The chart as SVG text.
    ///
    /// # Errors
    /// The drawing library fails.
    pub fn svg(&self) -> Result<String> {
        let mut text = String::new();
        self.draw(SVGBackend::with_string(&mut text, SIZE).into_drawing_area(), 1)?;
        Ok(text)
    }

    /// Writes the chart to `path`, as its ending says: `.png` or `.svg`.
    ///
    /// # Errors
    /// Another ending; the file cannot be written; the drawing library fails.
    pub fn write(&self, path: &Path) -> Result<()> {
        let contents = match path.extension().and_then(|ending| ending.to_str()) {
            Some("png") => self.png()?,
            Some("svg") => self.svg()?.into_bytes(),
            _ => return Err(Error::Plot(format!("{} ends in neither .png nor .svg", path.display()))),
        };
        replace_file(path, &contents).map_err(|source| Error::Write { path: path.to_path_buf(), source })
    }

    /// The points of a curve that can be drawn, where they are.
    fn drawn<'a>(&self, curve: &'a Curve) -> impl Iterator<Item = (f64, f64)> + 'a {
        let is_logarithmic = self.is_x_logarithmic;
        let place = move |&(x, y): &(f64, f64)| (if is_logarithmic { x.log10() } else { x }, y);
        curve.points.iter().map(place).filter(|(x, y)| x.is_finite() && y.is_finite())
    }

    /// Draws with every length multiplied by `scale`.
    fn draw<B: DrawingBackend>(&self, area: DrawingArea<B, Shift>, scale: u32) -> Result<()> {
        register_fonts()?;
        self.try_draw(&area, scale).map_err(|error| Error::Plot(error.to_string()))
    }

    /// `font`, smaller where the title would not fit.
    fn title_font<'a, B: DrawingBackend>(
        &self,
        area: &DrawingArea<B, Shift>,
        font: FontDesc<'a>,
    ) -> std::result::Result<FontDesc<'a>, DrawingAreaErrorKind<B::ErrorType>> {
        let (width, _) = area.estimate_text_size(&self.title, &font.clone().into_text_style(area))?;
        let fits = 0.96 * f64::from(area.dim_in_pixel().0) / f64::from(width.max(1));
        let size = font.get_size();
        Ok(if fits < 1.0 { font.resize((size * fits).max(size / 2.0)) } else { font })
    }

    fn try_draw<B: DrawingBackend>(
        &self,
        area: &DrawingArea<B, Shift>,
        scale: u32,
    ) -> std::result::Result<(), DrawingAreaErrorKind<B::ErrorType>> {
        let pixels = |n: u32| n * scale;
        let font = |size: u32| (FONT, pixels(size)).into_font();
        area.fill(&WHITE)?;
        let points = || self.curves.iter().flat_map(|curve| self.drawn(curve));
        let x_range = padded(points().map(|(x, _)| x));
        let y_range = padded(points().map(|(_, y)| y));
        let (x_ticks, y_ticks) = (Ticks::new(&x_range, whole_steps(&x_range)), Ticks::new(&y_range, 8));
        let x_label = |value: &f64| match self.is_x_logarithmic {
            true => format!("{:.0e}", 10f64.powf(*value)),
            false => x_ticks.label(*value),
        };
        let mut chart = ChartBuilder::on(area)
            .caption(&self.title, self.title_font(area, font(16))?)
            .margin(pixels(12))
            .margin_right(pixels(24))
            .x_label_area_size(pixels(46))
            .y_label_area_size(pixels(64))
            .build_cartesian_2d(x_range, y_range)?;
        chart
            .configure_mesh()
            .disable_mesh()
            .x_desc(&self.x_label)
            .y_desc(&self.y_label)
            .x_labels(x_ticks.most)
            .y_labels(y_ticks.most)
            .x_label_formatter(&x_label)
            .y_label_formatter(&|value| y_ticks.label(*value))
            .axis_desc_style(font(14))
            .label_style(font(13))
            .axis_style(BLACK.stroke_width(scale))
            .set_all_tick_mark_size(pixels(4))
            .draw()?;
        let (width, height) = chart.plotting_area().dim_in_pixel();
        let frame = [(0, 0), (width as i32 - 1, height as i32 - 1)];
        chart.plotting_area().strip_coord_spec().draw(&Rectangle::new(frame, BLACK.stroke_width(scale)))?;
        for curve in &self.curves {
            let style = colour(curve.colour).mix(curve.opacity).stroke_width(pixels(3) / 2);
            let points: Vec<_> = self.drawn(curve).collect();
            // A line through one point cannot be seen.
            let dots = if points.len() == 1 || curve.has_dots { &points[..] } else { &[] };
            chart.draw_series(dots.iter().map(|point| Circle::new(*point, pixels(3), style.filled())))?;
            chart
                .draw_series(LineSeries::new(points, style))?
                .label(&curve.label)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + pixels(20) as i32, y)], style));
        }
        // The library puts a legend in the upper right corner over the frame.
        let label = |curve: &Curve| Ok(area.estimate_text_size(&curve.label, &font(13).into_text_style(area))?.0);
        let widest = self.curves.iter().map(label).collect::<std::result::Result<Vec<_>, _>>()?.into_iter().max();
        let legend_width = widest.unwrap_or(0) + pixels(26 + 2 * 6);
        let legend = (width.saturating_sub(legend_width + pixels(8)) as i32, pixels(8) as i32);
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::Coordinate(legend.0, legend.1))
            .margin(pixels(6))
            .legend_area_size(pixels(26))
            .label_font(font(13))
            .background_style(WHITE.mix(0.8))
            .border_style(BLACK.mix(0.2).stroke_width(scale))
            .draw()?;
        area.present()
    }
}

/// Where an axis is labelled, and how.
struct Ticks {
    /// At most so many labels.
    most: usize,
    /// Decimal places that tell the labels apart.
    decimals: usize,
    /// The labels are multiplied by this power of ten, which is written out behind them.
    exponent: i32,
}

impl Ticks {
    fn new(range: &Range<f64>, most: usize) -> Self {
        let points = RangedCoordf64::from(range.clone()).key_points(most);
        let largest = points.iter().fold(0f64, |largest, point| largest.max(point.abs()));
        let size = if largest > 0.0 { largest.log10().floor() as i32 } else { 0 };
        let exponent = if (-3..6).contains(&size) { 0 } else { size };
        let places = |point: &f64| {
            let text = format!("{:.9}", point / 10f64.powi(exponent));
            text.trim_end_matches('0').split_once('.').map_or(0, |(_, decimals)| decimals.len())
        };
        Self { most, decimals: points.iter().map(places).max().unwrap_or(0), exponent }
    }

    fn label(&self, value: f64) -> String {
        let number = format!("{:.*}", self.decimals, value / 10f64.powi(self.exponent));
        if self.exponent == 0 { number } else { format!("{number}e{}", self.exponent) }
    }
}

/// Exponential moving average as TensorBoard has it, `s ← w s + (1 - w) v` from the first value on, where the
/// weight grows with the number of values: `w = 1.8 (1 / (1 + e^(-n / 20)) - 1/2)`.
pub fn smooth(values: &[f64]) -> Vec<f64> {
    let weight = 1.8 * (1.0 / (1.0 + (-0.05 * values.len() as f64).exp()) - 0.5);
    let mut last = values.first().copied().unwrap_or(0.0);
    let next = |value: &f64| {
        last = last * weight + (1.0 - weight) * value;
        last
    };
    values.iter().map(next).collect()
}

fn colour(index: usize) -> RGBColor {
    let [_, red, green, blue] = COLOURS[index % COLOURS.len()].to_be_bytes();
    RGBColor(red, green, blue)
}

/// How many labels an axis of steps takes, so that they stand at whole numbers.
fn whole_steps(range: &Range<f64>) -> usize {
    ((range.end - range.start) as usize + 1).min(8)
}

/// The range of `values` with a margin of 5 % on both sides, as matplotlib's.
fn padded(values: impl Iterator<Item = f64>) -> Range<f64> {
    let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)));
    if low > high {
        return 0.0..1.0;
    }
    // A single value has no extent of its own.
    let margin = if high > low { 0.05 * (high - low) } else { 0.05 * high.abs().max(1.0) };
    low - margin..high + margin
}

/// Gives the drawing library the font that matplotlib draws with, so that no font need be installed.
fn register_fonts() -> Result<()> {
    static REGISTERED: OnceLock<bool> = OnceLock::new();
    let registered =
        *REGISTERED.get_or_init(|| register_font(FONT, FontStyle::Normal, dejavu::sans::regular()).is_ok());
    if registered { Ok(()) } else { Err(Error::Plot("the built-in font cannot be read".to_string())) }
}

#[cfg(test)]
mod tests {
    use image::ImageFormat;

    use super::*;

    fn decode(figure: &Figure) -> RgbImage {
        image::load_from_memory_with_format(&figure.png().unwrap(), ImageFormat::Png).unwrap().to_rgb8()
    }

    /// How many pixels have this colour, but for a rounding.
    fn count(image: &RgbImage, colour: [u8; 3]) -> usize {
        image.pixels().filter(|pixel| pixel.0.iter().zip(colour).all(|(a, b)| a.abs_diff(b) <= 2)).count()
    }

    #[test]
    fn smoothing_is_llama_factorys() {
        let smoothed = smooth(&[3.0, 2.0, 1.0]);
        for (value, expected) in smoothed.iter().zip([3.0, 2.067374, 1.071913]) {
            assert!((value - expected).abs() < 1e-6, "{smoothed:?}");
        }
        assert!(smooth(&[]).is_empty());
    }

    #[test]
    fn a_png_shows_the_original_pale_and_the_smoothed_line_on_top() {
        let points = (1..=40).map(|i| (f64::from(i), 3.0 / f64::from(i) + f64::from(i % 2))).collect();
        let image = decode(&Figure::training("loss", "saves/run", points));
        assert_eq!(image.dimensions(), SIZE);
        // 0.4 of #1f77b4 on white.
        let pale = [0x1f, 0x77, 0xb4].map(|c: u8| (255.0 - 0.4 * (255.0 - f64::from(c))) as u8);
        assert!(count(&image, [0x1f, 0x77, 0xb4]) > 100);
        assert!(count(&image, pale) > 100);
        assert!(count(&image, [255; 3]) > 250_000);
    }

    #[test]
    fn an_svg_says_what_is_drawn() {
        let svg = Figure::training("loss", "saves/<run>", vec![(5.0, 2.0), (10.0, 1.0), (15.0, 0.5)]).svg().unwrap();
        for text in ["training loss of saves/&lt;run&gt;", "\nstep\n", "\nloss\n", "\noriginal\n", "\nsmoothed\n"] {
            assert!(svg.contains(text), "{text:?} is not in {svg}");
        }
    }

    #[test]
    fn evaluations_stand_beside_the_training() {
        let points: Vec<_> = (1..=40).map(|i| (f64::from(i), 3.0 / f64::from(i))).collect();
        let figure = Figure::training("loss", "run", points).with_evaluations(vec![(10.0, 2.0), (20.0, 1.5)]);
        assert!(count(&decode(&figure), [0xff, 0x7f, 0x0e]) > 50);
        assert!(figure.svg().unwrap().contains("\neval_loss\n"));
        assert!(!figure.with_evaluations(Vec::new()).svg().unwrap().contains("eval_loss\neval_loss"));
    }

    #[test]
    fn a_single_point_no_point_and_what_is_no_number_are_drawn() {
        let dot = decode(&Figure::training("loss", "one", vec![(5.0, 1.25)]));
        let empty = decode(&Figure::training("loss", "none", vec![]));
        let nothing = decode(&Figure::training("loss", "none", vec![(1.0, f64::NAN), (2.0, f64::INFINITY)]));
        let blue = |image| count(image, [0x1f, 0x77, 0xb4]);
        assert!(blue(&dot) > blue(&empty), "the dot");
        assert_eq!(empty, nothing);
    }

    #[test]
    fn labels_are_told_apart_and_steps_are_whole() {
        let labels = |range: Range<f64>, most| {
            let ticks = Ticks::new(&range, most);
            let points = RangedCoordf64::from(range).key_points(most);
            points.into_iter().map(|point| ticks.label(point)).collect::<Vec<_>>()
        };
        assert_eq!(labels(0.9..3.1, whole_steps(&(0.9..3.1))), ["1", "2", "3"]);
        assert_eq!(labels(4.75..5.25, whole_steps(&(4.75..5.25))), ["5"]);
        assert_eq!(labels(1.0..1.5, 6), ["1.0", "1.1", "1.2", "1.3", "1.4", "1.5"]);
        assert_eq!(labels(0.0..5e-5, 6), ["0e-5", "1e-5", "2e-5", "3e-5", "4e-5", "5e-5"]);
    }

    #[test]
    fn a_file_is_written_as_its_ending_says() {
        let folder = tempfile::tempdir().unwrap();
        let figure = Figure::training("loss", "run", vec![(1.0, 2.0), (2.0, 1.0)]);
        figure.write(&folder.path().join("a.png")).unwrap();
        figure.write(&folder.path().join("a.svg")).unwrap();
        assert!(std::fs::read(folder.path().join("a.png")).unwrap().starts_with(b"\x89PNG"));
        assert!(std::fs::read(folder.path().join("a.svg")).unwrap().starts_with(b"<svg"));
        let message = figure.write(&folder.path().join("a.jpg")).unwrap_err().to_string();
        assert!(message.contains("a.jpg ends in neither .png nor .svg"), "{message}");
    }
}
