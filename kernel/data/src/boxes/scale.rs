//! Scales of coordinates.

use serde::Serialize;

/// What the coordinates of a box count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum BoxScale {
    /// Pixels of the file, turned upright.
    Pixels,
    /// Pixels of the picture as the model sees it, as Qwen2.5-VL.
    Resized,
    /// Thousandths of width and height, as Qwen2-VL and Qwen3-VL.
    Norm1000,
    /// Fractions of width and height, 0 to 1.
    Norm1,
}

/// Width and height of a picture, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// Of the file, turned upright.
    pub file: (u32, u32),
    /// As the model sees it.
    pub resized: (u32, u32),
}

impl BoxScale {
    pub const ALL: [Self; 4] = [Self::Pixels, Self::Resized, Self::Norm1000, Self::Norm1];

    /// What the picture's width and height are in this scale.
    fn of_picture(self, sizes: Sizes) -> [f64; 2] {
        let pixels = |(width, height): (u32, u32)| [f64::from(width), f64::from(height)];
        match self {
            Self::Pixels => pixels(sizes.file),
            Self::Resized => pixels(sizes.resized),
            Self::Norm1000 => [1000.0; 2],
            Self::Norm1 => [1.0; 2],
        }
    }

    /// The coordinates x1, y1, x2, y2 in another scale, where they are whole numbers within the picture: each times the
    /// ratio of the picture's sides, rounded (halves to the even number), and at most 1000 or the last pixel, as Qwen's
    /// notebooks convert boxes for training. In fractions, they are neither rounded nor bounded.
    pub fn convert(self, coordinates: [f64; 4], to: Self, sizes: Sizes) -> [f64; 4] {
        let (from_sides, to_sides) = (self.of_picture(sizes), to.of_picture(sizes));
        std::array::from_fn(|index| {
            let axis = index % 2;
            let value = coordinates[index] * (to_sides[axis] / from_sides[axis]);
            match to {
                Self::Norm1 => value,
                Self::Norm1000 => value.round_ties_even().clamp(0.0, 1000.0),
                Self::Pixels | Self::Resized => value.round_ties_even().clamp(0.0, to_sides[axis] - 1.0),
            }
        })
    }

    /// The coordinates in pixels of the file, for drawing: neither rounded nor bounded.
    pub fn in_file(self, coordinates: [f64; 4], sizes: Sizes) -> [f64; 4] {
        let (from_sides, to_sides) = (self.of_picture(sizes), Self::Pixels.of_picture(sizes));
        std::array::from_fn(|index| coordinates[index] * (to_sides[index % 2] / from_sides[index % 2]))
    }

    /// Whether a box lies within the picture.
    pub fn holds(self, coordinates: [f64; 4], sizes: Sizes) -> bool {
        let sides = self.of_picture(sizes);
        coordinates.iter().enumerate().all(|(index, value)| (0.0..=sides[index % 2]).contains(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZES: Sizes = Sizes { file: (640, 480), resized: (644, 476) };

    #[test]
    fn each_scale_is_a_share_of_its_side() {
        let quarter = [160.0, 120.0, 480.0, 360.0];
        for (scale, expected) in [
            (BoxScale::Pixels, quarter),
            (BoxScale::Resized, [161.0, 119.0, 483.0, 357.0]),
            (BoxScale::Norm1000, [250.0, 250.0, 750.0, 750.0]),
            (BoxScale::Norm1, [0.25, 0.25, 0.75, 0.75]),
        ] {
            assert_eq!(BoxScale::Pixels.convert(quarter, scale, SIZES), expected);
            assert_eq!(scale.in_file(expected, SIZES), quarter, "{scale:?}");
        }
    }

    #[test]
    fn a_box_comes_back_within_rounding() {
        for (scale, within) in [(BoxScale::Resized, 0.51), (BoxScale::Norm1000, 0.33)] {
            for x in 0..640 {
                let there = BoxScale::Pixels.convert([f64::from(x), 0.0, 639.0, 479.0], scale, SIZES);
                let back = scale.in_file(there, SIZES);
                assert!((back[0] - f64::from(x)).abs() < within, "{scale:?}: {x} is {}", back[0]);
            }
        }
    }

    #[test]
    fn what_is_outside_is_brought_to_the_edge() {
        let outside = [-3.0, 0.5, 641.0, 480.0];
        assert_eq!(BoxScale::Pixels.convert(outside, BoxScale::Resized, SIZES), [0.0, 0.0, 643.0, 475.0]);
        assert_eq!(BoxScale::Pixels.convert(outside, BoxScale::Norm1000, SIZES), [0.0, 1.0, 1000.0, 1000.0]);
        assert!(!BoxScale::Pixels.holds(outside, SIZES));
        assert!(BoxScale::Pixels.holds([0.0, 0.0, 640.0, 480.0], SIZES));
        assert!(!BoxScale::Norm1.holds([0.0, 0.0, 640.0, 480.0], SIZES));
    }
}
