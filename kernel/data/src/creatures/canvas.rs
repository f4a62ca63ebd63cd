//! Smooth shapes on a white image. Each shape is a signed distance, which gives soft edges and even outlines.

use image::RgbImage;

/// Red, green and blue, 0 to 255.
pub type Rgb = [f32; 3];

/// A point of the drawing, which is 100 units wide and high, y downwards.
#[derive(Debug, Clone, Copy)]
pub struct Point {
    pub x: f32,
    pub y: f32,
}

/// The point at `x` and `y`.
pub fn at(x: f32, y: f32) -> Point {
    Point { x, y }
}

impl Point {
    /// The way to it from `other`.
    pub fn minus(self, other: Self) -> Self {
        at(self.x - other.x, self.y - other.y)
    }

    /// How far it is from the origin.
    pub fn length(self) -> f32 {
        self.x.hypot(self.y)
    }

    /// Turned about the origin by `degrees`, clockwise on the screen.
    pub fn turned(self, degrees: f32) -> Self {
        Turn::by(degrees).of(self)
    }

    fn dot(self, other: Self) -> f32 {
        self.x * other.x + self.y * other.y
    }
}

/// A turn about the origin, clockwise on the screen.
#[derive(Clone, Copy)]
struct Turn {
    sin: f32,
    cos: f32,
}

impl Turn {
    fn by(degrees: f32) -> Self {
        let (sin, cos) = degrees.to_radians().sin_cos();
        Self { sin, cos }
    }

    fn of(self, p: Point) -> Point {
        at(self.cos * p.x - self.sin * p.y, self.sin * p.x + self.cos * p.y)
    }
}

/// What of the drawing comes to lie on its placement's centre: a little right of the body, as tails are.
pub const MIDDLE: Point = Point { x: 55.0, y: 51.0 };

/// Where the drawing lies in the picture.
#[derive(Debug, Clone, Copy)]
pub struct Placement {
    /// Centre of the drawing, as a share of the picture's width and height.
    pub center: (f32, f32),
    /// Pixels a unit.
    pub scale: f32,
    /// Degrees, clockwise.
    pub tilt: f32,
    /// Left and right change places.
    pub mirrored: bool,
}

/// A picture in the making.
pub struct Canvas {
    image: RgbImage,
    placement: Placement,
}

impl Canvas {
    /// A white picture, to be drawn on at `placement`.
    pub fn new(width: u32, height: u32, placement: Placement) -> Self {
        let image = RgbImage::from_pixel(width, height, image::Rgb([255; 3]));
        Self { image, placement }
    }

    /// Draws elsewhere from now on.
    pub fn place(&mut self, placement: Placement) {
        self.placement = placement;
    }

    /// The picture.
    pub fn into_image(self) -> RgbImage {
        self.image
    }

    /// Paints what lies inside of `distance` (below 0, in units) with the colour of each point, `opacity` strong;
    /// the edge fades over `softness` units, at least over a pixel.
    pub fn paint(
        &mut self,
        distance: impl Fn(Point) -> f32,
        colour: impl Fn(Point) -> Rgb,
        opacity: f32,
        softness: f32,
    ) {
        let Placement { center, scale, tilt, mirrored } = self.placement;
        let (width, height) = self.image.dimensions();
        let (cx, cy) = (center.0 * width as f32, center.1 * height as f32);
        let side = if mirrored { -1.0 } else { 1.0 };
        let upright = Turn::by(-tilt);
        let soft = softness.max(1.0 / scale);
        for y in 0..height {
            let mut x = 0;
            while x < width {
                let from_center = upright.of(at((x as f32 + 0.5 - cx) / scale, (y as f32 + 0.5 - cy) / scale));
                let point = at(MIDDLE.x + side * from_center.x, MIDDLE.y + from_center.y);
                let far = distance(point);
                let cover = opacity * (0.5 - far / soft).clamp(0.0, 1.0);
                if cover > 0.0 {
                    let colour = colour(point);
                    for (value, new) in self.image.get_pixel_mut(x, y).0.iter_mut().zip(colour) {
                        *value = (f32::from(*value) * (1.0 - cover) + new * cover).round() as u8;
                    }
                }
                // Nothing of the shape is nearer than `far`; half of it, as not every distance is exact.
                x += 1 + ((far - soft) * scale * 0.5).max(0.0) as u32;
            }
        }
    }

    /// A plain shape of one colour.
    pub fn fill(&mut self, distance: impl Fn(Point) -> f32, colour: Rgb) {
        self.paint(distance, |_| colour, 1.0, 0.0);
    }
}

/// A circle.
pub fn circle(center: Point, radius: f32) -> impl Fn(Point) -> f32 {
    move |p| p.minus(center).length() - radius
}

/// An ellipse turned by `degrees`. The distance is exact on the edge and close to it near by.
pub fn ellipse(center: Point, rx: f32, ry: f32, degrees: f32) -> impl Fn(Point) -> f32 {
    let upright = Turn::by(-degrees);
    move |p| {
        let p = upright.of(p.minus(center));
        let near = at(p.x / rx, p.y / ry).length();
        let slope = at(p.x / (rx * rx), p.y / (ry * ry)).length();
        match slope > 0.0 {
            true => near * (near - 1.0) / slope,
            false => -rx.min(ry),
        }
    }
}

/// A box with round corners, `rx` and `ry` from its centre to its sides.
pub fn round_box(center: Point, rx: f32, ry: f32, radius: f32) -> impl Fn(Point) -> f32 {
    move |p| {
        let p = p.minus(center);
        let (x, y) = (p.x.abs() - rx + radius, p.y.abs() - ry + radius);
        at(x.max(0.0), y.max(0.0)).length() + x.max(y).min(0.0) - radius
    }
}

/// A line through `points`, whose half width goes from `from` at its first to `to` at its last point.
pub fn line(points: Vec<Point>, from: f32, to: f32) -> impl Fn(Point) -> f32 {
    move |p| {
        let pieces = points.len() as f32 - 1.0;
        points
            .windows(2)
            .enumerate()
            .map(|(index, ends)| {
                let (a, b) = (p.minus(ends[0]), ends[1].minus(ends[0]));
                let along = (a.dot(b) / b.dot(b).max(1e-6)).clamp(0.0, 1.0);
                let share = (index as f32 + along) / pieces;
                a.minus(at(b.x * along, b.y * along)).length() - (from + (to - from) * share)
            })
            .fold(f32::INFINITY, f32::min)
    }
}

/// A triangle with corners rounded by `radius`.
pub fn triangle(corners: [Point; 3], radius: f32) -> impl Fn(Point) -> f32 {
    let edges = line(vec![corners[0], corners[1], corners[2], corners[0]], 0.0, 0.0);
    move |p| {
        let side = |i: usize| {
            let (a, b) = (corners[i], corners[(i + 1) % 3]);
            let (edge, to) = (b.minus(a), p.minus(a));
            edge.x * to.y - edge.y * to.x
        };
        let sides = [side(0), side(1), side(2)];
        let inside = sides.iter().all(|s| *s >= 0.0) || sides.iter().all(|s| *s <= 0.0);
        edges(p) * if inside { -1.0 } else { 1.0 } - radius
    }
}

/// Both shapes, melted together where they are nearer than `smooth`.
pub fn melted(a: impl Fn(Point) -> f32, b: impl Fn(Point) -> f32, smooth: f32) -> impl Fn(Point) -> f32 {
    move |p| {
        let (a, b) = (a(p), b(p));
        let near = (smooth - (a - b).abs()).max(0.0) / smooth;
        a.min(b) - near * near * smooth / 4.0
    }
}
