//! Window attention of the vision tower: which patches attend to each other, and in which order they lie.

/// The order in which merged tokens are laid out for window attention, and the bounds of what attends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Windows {
    /// Position in window order → merged token in raster order.
    pub index: Vec<u32>,
    /// Cumulative patch counts of the windows.
    pub bounds: Vec<usize>,
}

impl Windows {
    /// Splits each frame of each picture into `window` × `window` squares of merged tokens, in raster order;
    /// those at the right and bottom edge may be smaller (`get_window_index` in transformers).
    pub fn new(grids: &[[usize; 3]], merge: usize, window: usize) -> Self {
        let mut windows = Self { index: Vec::new(), bounds: vec![0] };
        let mut first = 0;
        for &[t, h, w] in grids {
            let (rows, columns) = (h / merge, w / merge);
            for _ in 0..t {
                for top in (0..rows).step_by(window) {
                    for left in (0..columns).step_by(window) {
                        for row in top..rows.min(top + window) {
                            let tokens = left..columns.min(left + window);
                            windows.index.extend(tokens.map(|column| (first + row * columns + column) as u32));
                        }
                        windows.bounds.push(windows.index.len() * merge * merge);
                    }
                }
                first += rows * columns;
            }
        }
        windows
    }

    /// Raster order → position in window order: undoes [`Windows::index`].
    pub fn reverse(&self) -> Vec<u32> {
        let mut reverse = vec![0; self.index.len()];
        for (place, &token) in self.index.iter().enumerate() {
            reverse[token as usize] = place as u32;
        }
        reverse
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_those_of_transformers() {
        let small = Windows::new(&[[1, 4, 4]], 2, 4);
        assert_eq!(small.index, [0, 1, 2, 3]);
        assert_eq!(small.bounds, [0, 16]);

        let ragged = Windows::new(&[[1, 10, 12]], 2, 4);
        let order: Vec<u32> =
            [0..4, 6..10, 12..16, 18..22, 4..6, 10..12, 16..18, 22..24, 24..28, 28..30].into_iter().flatten().collect();
        assert_eq!(ragged.index, order);
        assert_eq!(ragged.bounds, [0, 64, 96, 112, 120]);

        assert_eq!(Windows::new(&[[1, 16, 16]], 2, 4).bounds, [0, 64, 128, 192, 256]);

        let frames = Windows::new(&[[2, 8, 10]], 2, 4);
        assert_eq!(frames.bounds, [0, 64, 80, 144, 160]);
    }

    #[test]
    fn reverse_undoes_the_order() {
        let windows = Windows::new(&[[1, 10, 12], [1, 4, 6]], 2, 4);
        let reverse = windows.reverse();
        assert!(windows.index.iter().enumerate().all(|(place, &token)| reverse[token as usize] == place as u32));
    }
}
