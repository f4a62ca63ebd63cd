//! A plain shape: what it is called, and how it is drawn.

use tunebook_data::creatures::Words;
use tunebook_data::creatures::canvas::{Point, at, circle, round_box, triangle};

/// The shapes that there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    Circle,
    Square,
    Triangle,
    Star,
    Ring,
    Cross,
    Heart,
}

impl Shape {
    pub const ALL: [Self; 7] =
        [Self::Circle, Self::Square, Self::Triangle, Self::Star, Self::Ring, Self::Cross, Self::Heart];

    /// What one of them is called.
    pub fn words(self) -> Words {
        let (en, zh) = match self {
            Self::Circle => ("circle", "圆形"),
            Self::Square => ("square", "正方形"),
            Self::Triangle => ("triangle", "三角形"),
            Self::Star => ("star", "星形"),
            Self::Ring => ("ring", "圆环"),
            Self::Cross => ("cross", "十字"),
            Self::Heart => ("heart", "心形"),
        };
        Words { en, zh }
    }

    /// In English, for more than one.
    pub fn plural(self) -> &'static str {
        match self {
            Self::Circle => "circles",
            Self::Square => "squares",
            Self::Triangle => "triangles",
            Self::Star => "stars",
            Self::Ring => "rings",
            Self::Cross => "crosses",
            Self::Heart => "hearts",
        }
    }

    /// The distance from its edge, for a shape of about `radius` around `center`.
    pub fn outline(self, center: Point, radius: f32) -> Box<dyn Fn(Point) -> f32> {
        let r = radius;
        let point = move |x: f32, y: f32| at(center.x + r * x, center.y + r * y);
        match self {
            Self::Circle => Box::new(circle(center, r)),
            Self::Square => Box::new(round_box(center, 0.86 * r, 0.86 * r, 0.05 * r)),
            Self::Triangle => Box::new(triangle([point(0.0, -1.0), point(0.98, 0.8), point(-0.98, 0.8)], 0.05 * r)),
            Self::Star => {
                let ray = |k: usize| {
                    let on = |degrees: f32, far: f32| {
                        let p = at(0.0, -far).turned(degrees);
                        point(p.x, p.y)
                    };
                    let middle = 72.0 * k as f32;
                    triangle([on(middle, 1.08), on(middle + 36.0, 0.44), on(middle - 36.0, 0.44)], 0.02 * r)
                };
                let rays: Vec<_> = (0..5).map(ray).collect();
                let core = circle(center, 0.38 * r);
                Box::new(move |p| rays.iter().map(|ray| ray(p)).fold(core(p), f32::min))
            }
            Self::Ring => Box::new(move |p| (p.minus(center).length() - 0.76 * r).abs() - 0.24 * r),
            Self::Cross => {
                let [flat, tall] = [(1.0, 0.32), (0.32, 1.0)].map(|(x, y)| round_box(center, x * r, y * r, 0.04 * r));
                Box::new(move |p| flat(p).min(tall(p)))
            }
            Self::Heart => {
                let lobes = [-0.43, 0.43].map(|x| circle(point(x, -0.35), 0.5 * r));
                let tip = triangle([point(-0.84, -0.06), point(0.84, -0.06), point(0.0, 0.9)], 0.04 * r);
                let middle = circle(point(0.0, -0.1), 0.4 * r);
                Box::new(move |p| lobes.iter().map(|lobe| lobe(p)).fold(tip(p).min(middle(p)), f32::min))
            }
        }
    }
}
