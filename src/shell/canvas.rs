//! Plots in braille: dots on a canvas of letters, with the ends of both axes.

/// A canvas of so many letters, each of two by four dots.
pub(super) struct Canvas {
    columns: usize,
    rows: usize,
    letters: Vec<u32>,
}

/// The dots of a letter, row by row from above.
const DOTS: [[u32; 2]; 4] = [[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]];
const EMPTY: u32 = 0x2800;

impl Canvas {
    pub fn new(columns: usize, rows: usize) -> Self {
        Self { columns, rows, letters: vec![0; columns * rows] }
    }

    /// Dots from left to right.
    pub fn width(&self) -> usize {
        2 * self.columns
    }

    /// Dots from bottom to top.
    pub fn height(&self) -> usize {
        4 * self.rows
    }

    /// Sets a dot, counted from the left and from the bottom.
    pub fn dot(&mut self, x: usize, y: usize) {
        let down = self.height() - 1 - y.min(self.height() - 1);
        let x = x.min(self.width() - 1);
        self.letters[down / 4 * self.columns + x / 2] |= DOTS[down % 4][x % 2];
    }

    /// Sets the dots between two (Bresenham, 1965).
    pub fn line(&mut self, from: (usize, usize), to: (usize, usize)) {
        let ((x0, y0), (x1, y1)) = ((from.0 as i64, from.1 as i64), (to.0 as i64, to.1 as i64));
        let (dx, dy) = ((x1 - x0).abs(), -(y1 - y0).abs());
        let (sx, sy) = ((x1 - x0).signum(), (y1 - y0).signum());
        let (mut x, mut y, mut error) = (x0, y0, dx + dy);
        loop {
            self.dot(x as usize, y as usize);
            if (x, y) == (x1, y1) {
                return;
            }
            let twice = 2 * error;
            if twice >= dy {
                error += dy;
                x += sx;
            }
            if twice <= dx {
                error += dx;
                y += sy;
            }
        }
    }

    /// The lines of letters, from above.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        self.letters.chunks(self.columns).map(|row| row.iter().map(|dots| char::from_u32(EMPTY + dots).unwrap_or(' ')).collect())
    }
}
