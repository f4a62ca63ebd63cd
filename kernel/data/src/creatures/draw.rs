//! Draws a creature.

use image::RgbImage;
use rand_chacha::ChaCha8Rng;

use super::canvas::{Canvas, Placement, Point, Rgb, at, circle, ellipse, line, melted, round_box, triangle};
use super::kind::{Body, Ears, Kind, Tail};
use crate::random::{below, unit};

/// Width of outlines, in units.
const OUTLINE: f32 = 1.5;
const INK: Rgb = [52.0, 44.0, 58.0];

/// The widths and heights that pictures may have.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    pub widths: &'static [u32],
    pub heights: &'static [u32],
}

impl Sizes {
    /// Upright, square and wide ones.
    pub const MIXED: Self = Self { widths: &[112, 140, 168], heights: &[112, 140] };
    /// 112 × 112.
    pub const SMALL: Self = Self { widths: &[112], heights: &[112] };
}

/// A picture of `kind`. Its size, and the creature's size, place,
/// tilt, side and shade vary by `rng`.
pub fn draw(kind: Kind, sizes: Sizes, rng: &mut ChaCha8Rng) -> RgbImage {
    let mut side = |sides: &[u32]| sides[below(rng, sides.len())];
    let (width, height) = (side(sizes.widths), side(sizes.heights));
    let mut vary = |most: f32| (unit(rng) as f32 * 2.0 - 1.0) * most;
    let placement = Placement {
        center: (0.5 + vary(0.02), 0.5 + vary(0.02)),
        scale: width.min(height) as f32 / 100.0 * (0.95 + vary(0.05)),
        tilt: vary(5.0),
        mirrored: vary(1.0) < 0.0,
    };
    let shade = 1.0 + vary(0.05);
    let base = kind.colour.rgb().map(|value| (value * shade).min(255.0));
    let smile = Smile::ALL[below(rng, Smile::ALL.len())];

    let mut pen = Pen { canvas: Canvas::new(width, height, placement), base };
    pen.shadow();
    pen.tail(kind.tail);
    pen.ears_behind(kind.ears, kind.body);
    pen.feet();
    pen.body(kind.body);
    pen.ears_before(kind.ears, kind.body);
    pen.face(kind.body, smile);
    pen.canvas.into_image()
}

#[derive(Clone, Copy)]
enum Smile {
    Closed,
    Open,
    Cat,
}

impl Smile {
    const ALL: [Self; 3] = [Self::Closed, Self::Open, Self::Cat];
}

struct Pen {
    canvas: Canvas,
    base: Rgb,
}

impl Pen {
    /// Something of the creature itself: an outline, and a fill that is lighter towards the upper left.
    fn solid(&mut self, distance: impl Fn(Point) -> f32, colour: Rgb) {
        self.canvas.fill(|p| distance(p) - OUTLINE, darker(self.base));
        let shaded = |p: Point| {
            let light = (62.0 - p.x * 0.35 - p.y * 0.75) / 100.0;
            mix(colour, if light > 0.0 { [255.0; 3] } else { darker(colour) }, light.abs() * 0.7)
        };
        self.canvas.paint(&distance, shaded, 1.0, 0.0);
    }

    fn shadow(&mut self) {
        self.canvas.paint(ellipse(at(50.0, 91.0), 30.0, 4.5, 0.0), |_| [120.0, 120.0, 140.0], 0.28, 3.0);
    }

    fn feet(&mut self) {
        for x in [38.0, 62.0] {
            self.solid(ellipse(at(x, 87.5), 8.5, 5.0, 0.0), deeper(self.base));
        }
    }

    fn body(&mut self, body: Body) {
        let base = self.base;
        match body {
            Body::Round => self.solid(circle(at(50.0, 60.0), 27.0), base),
            Body::Egg => {
                let egg =
                    melted(ellipse(at(50.0, 64.0), 22.0, 23.0, 0.0), ellipse(at(50.0, 50.0), 17.0, 22.0, 0.0), 12.0);
                self.solid(egg, base);
            }
            Body::Square => self.solid(round_box(at(50.0, 61.0), 26.0, 26.0, 9.0), base),
            Body::Pear => {
                let pear = melted(circle(at(50.0, 46.0), 15.0), ellipse(at(50.0, 67.0), 27.0, 20.5, 0.0), 14.0);
                self.solid(pear, base);
            }
        }
        let (rx, ry) = match body {
            Body::Round => (15.0, 12.0),
            Body::Egg => (13.0, 12.0),
            Body::Square => (16.0, 11.0),
            Body::Pear => (17.0, 11.5),
        };
        let belly = lighter(lighter(base));
        self.canvas.paint(ellipse(at(50.0, 74.0), rx, ry, 0.0), |_| belly, 0.85, 1.5);
    }

    fn ears_behind(&mut self, ears: Ears, body: Body) {
        let Head { top, half } = Head::of(body);
        let base = self.base;
        let inner = mix(base, [255.0, 205.0, 205.0], 0.65);
        for side in [-1.0, 1.0] {
            let x = |dx: f32| 50.0 + side * dx;
            match ears {
                Ears::Pointed => {
                    let ear = |shrink: f32| {
                        let tip = at(x(half + 1.0), top - 14.0 + 2.6 * shrink);
                        [at(x(half - 13.0 + shrink), top + 6.0), tip, at(x(half + 3.5 - shrink), top + 13.0)]
                    };
                    self.solid(triangle(ear(0.0), 2.0), base);
                    self.canvas.fill(triangle(ear(3.4), 0.6), inner);
                }
                Ears::Round => {
                    let center = at(x(half), top + 3.0);
                    self.solid(circle(center, 9.0), base);
                    self.canvas.fill(circle(center, 5.0), inner);
                }
                Ears::Long => {
                    let center = at(x(half - 5.0), top - 8.0);
                    self.solid(ellipse(center, 5.8, 18.0, side * 12.0), base);
                    self.canvas.fill(ellipse(center, 2.8, 13.0, side * 12.0), inner);
                }
                Ears::Antennae => {
                    let stalk = (0..=8).map(|step| {
                        let t = step as f32 / 8.0;
                        at(x(half - 10.0 + 9.0 * t * t), top + 6.0 - 22.0 * t)
                    });
                    let dark = darker(base);
                    self.canvas.fill(line(stalk.collect(), 1.5, 1.3), dark);
                    self.solid(circle(at(x(half - 1.0), top - 17.0), 4.6), lighter(base));
                }
                Ears::Floppy => {}
            }
        }
    }

    /// Floppy ears hang down before the body.
    fn ears_before(&mut self, ears: Ears, body: Body) {
        if ears != Ears::Floppy {
            return;
        }
        let Head { top, half } = Head::of(body);
        let colour = deeper(self.base);
        for side in [-1.0, 1.0] {
            let ear = melted(
                ellipse(at(50.0 + side * (half + 4.0), top + 10.0), 6.0, 9.0, side * -28.0),
                ellipse(at(50.0 + side * (half + 7.5), top + 21.0), 7.0, 10.0, side * -6.0),
                6.0,
            );
            self.solid(ear, colour);
        }
    }

    fn tail(&mut self, tail: Tail) {
        let base = self.base;
        match tail {
            Tail::Curly => {
                let curl = (0..=28).map(|step| {
                    let t = step as f32 / 28.0;
                    let (angle, radius) = (130.0 - 470.0 * t, 10.5 - 7.0 * t);
                    let turn = at(radius, 0.0).turned(angle);
                    at(85.0 + turn.x, 63.0 + turn.y)
                });
                let mut points = vec![at(66.0, 76.0)];
                points.extend(curl);
                self.solid(line(points, 2.8, 2.2), base);
            }
            Tail::Bushy => {
                let brush = melted(
                    line(vec![at(66.0, 82.0), at(78.0, 78.0), at(85.0, 68.0)], 4.0, 8.0),
                    ellipse(at(86.5, 58.0), 9.5, 14.0, 14.0),
                    10.0,
                );
                self.solid(&brush, base);
                let tip = lighter(lighter(base));
                self.canvas.paint(|p| brush(p).max(p.y + (p.x - 86.0).abs() * 0.5 - 54.0), |_| tip, 1.0, 0.0);
            }
            Tail::Zigzag => {
                let bolt = vec![at(68.0, 80.0), at(82.0, 76.0), at(77.0, 66.0), at(92.0, 60.0), at(86.0, 44.0)];
                self.solid(line(bolt, 2.4, 4.0), base);
            }
            Tail::Puffy => {
                let center = at(83.0, 72.0);
                let tufts: Vec<_> = (0..6)
                    .map(|tuft| {
                        let out = at(5.6, 0.0).turned(tuft as f32 * 60.0);
                        circle(at(center.x + out.x, center.y + out.y), 4.6)
                    })
                    .collect();
                let puff = move |p| tufts.iter().map(|tuft| tuft(p)).fold(circle(center, 6.0)(p), f32::min);
                self.solid(puff, lighter(lighter(base)));
            }
        }
    }

    fn face(&mut self, body: Body, smile: Smile) {
        let (y, apart) = match body {
            Body::Round => (54.0, 11.0),
            Body::Egg => (49.0, 9.0),
            Body::Square => (53.0, 12.0),
            Body::Pear => (46.0, 8.0),
        };
        for side in [-1.0, 1.0] {
            let x = 50.0 + side * apart;
            let blush = ellipse(at(50.0 + side * (apart + 4.5), y + 8.0), 4.0, 2.4, 0.0);
            self.canvas.paint(blush, |_| [255.0, 120.0, 130.0], 0.55, 2.0);
            self.canvas.fill(ellipse(at(x, y), 4.0, 5.2, 0.0), INK);
            self.canvas.fill(circle(at(x - 1.2, y - 1.9), 1.6), [255.0; 3]);
            self.canvas.paint(circle(at(x + 1.3, y + 2.0), 0.9), |_| [255.0; 3], 0.8, 0.0);
        }
        let y = y + 8.5;
        let arc = |center: f32, half: f32, depth: f32| {
            (0..=12).map(move |step| {
                let t = step as f32 / 6.0 - 1.0;
                at(center + half * t, y + depth * (1.0 - t * t))
            })
        };
        match smile {
            Smile::Closed => self.canvas.fill(line(arc(50.0, 4.0, 2.6).collect(), 0.8, 0.8), INK),
            Smile::Cat => {
                let mouth = arc(47.4, 2.6, 2.2).chain(arc(52.6, 2.6, 2.2)).collect();
                self.canvas.fill(line(mouth, 0.75, 0.75), INK);
            }
            Smile::Open => {
                let mouth = move |p: Point| ellipse(at(50.0, y), 4.2, 5.0, 0.0)(p).max(y - p.y);
                self.canvas.fill(mouth, INK);
                let tongue = move |p: Point| (mouth(p) + 0.9).max(circle(at(50.0, y + 4.6), 2.8)(p));
                self.canvas.fill(tongue, [244.0, 120.0, 124.0]);
            }
        }
    }
}

/// Where ears sit: the height of the crown, and the distance of an ear from the middle.
struct Head {
    top: f32,
    half: f32,
}

impl Head {
    fn of(body: Body) -> Self {
        match body {
            Body::Round => Self { top: 36.0, half: 18.0 },
            Body::Egg => Self { top: 31.0, half: 13.0 },
            Body::Square => Self { top: 35.0, half: 20.0 },
            Body::Pear => Self { top: 33.0, half: 12.0 },
        }
    }
}

fn mix(a: Rgb, b: Rgb, share: f32) -> Rgb {
    std::array::from_fn(|c| a[c] + (b[c] - a[c]) * share)
}

fn lighter(colour: Rgb) -> Rgb {
    mix(colour, [255.0, 252.0, 245.0], 0.45)
}

/// Between the colour and its outline.
fn deeper(colour: Rgb) -> Rgb {
    mix(colour, darker(colour), 0.4)
}

fn darker(colour: Rgb) -> Rgb {
    mix(colour, INK, 0.5)
}
