//! What an answer rests on in its pictures.

use std::path::PathBuf;

use serde::Serialize;

use crate::serialize;

/// The regions of a picture, one for each of its tokens, and what they are worth to an answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PictureRegions {
    #[serde(serialize_with = "serialize::path")]
    pub path: PathBuf,
    /// Width and height in pixels, as the file has them.
    pub size: (u32, u32),
    pub rows: usize,
    pub columns: usize,
    /// Of each region in raster order, gradient × input of its features: to first order by how many nats the answer's
    /// log-probability would fall if they were scaled down to 0. Negative where they speak against the answer.
    pub relevance: Vec<f32>,
}

/// A part of a picture, in pixels of its file.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Region {
    pub left: u32,
    pub top: u32,
    /// Exclusive, like the next one.
    pub right: u32,
    pub bottom: u32,
    pub relevance: f32,
}

impl PictureRegions {
    /// The regions with the largest relevance of either sign, the largest first.
    pub fn strongest(&self, most: usize) -> Vec<Region> {
        let mut places: Vec<usize> = (0..self.relevance.len()).collect();
        places.sort_by(|a, b| self.relevance[*b].abs().total_cmp(&self.relevance[*a].abs()));
        places.into_iter().take(most).map(|place| self.region(place)).collect()
    }

    /// The sum of all relevances without their signs.
    pub fn total(&self) -> f32 {
        self.relevance.iter().map(|relevance| relevance.abs()).sum()
    }

    fn region(&self, place: usize) -> Region {
        let (row, column) = (place / self.columns, place % self.columns);
        let edge = |side: u32, index: usize, count: usize| (u64::from(side) * index as u64 / count as u64) as u32;
        let (width, height) = self.size;
        Region {
            left: edge(width, column, self.columns),
            top: edge(height, row, self.rows),
            right: edge(width, column + 1, self.columns),
            bottom: edge(height, row + 1, self.rows),
            relevance: self.relevance[place],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_cover_the_picture_and_the_strongest_come_first() {
        let regions = PictureRegions {
            path: PathBuf::from("a.png"),
            size: (100, 31),
            rows: 2,
            columns: 3,
            relevance: vec![0.1, -0.5, 0.0, 0.2, 0.0, 0.4],
        };
        let strongest = regions.strongest(2);
        let box_of = |region: &Region| [region.left, region.top, region.right, region.bottom];
        assert_eq!(strongest.iter().map(box_of).collect::<Vec<_>>(), [[33, 0, 66, 15], [66, 15, 100, 31]]);
        assert_eq!(strongest[0].relevance, -0.5);
        assert!((regions.total() - 1.2).abs() < 1e-6);
        assert_eq!(regions.strongest(99).len(), 6);
    }
}
