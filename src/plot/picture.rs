//! Pictures: grids of numbers as shades of grey, all on one scale.

use super::ends;

/// Pictures of one size.
#[derive(Debug, Clone, PartialEq)]
pub struct Pictures {
    pub width: usize,
    pub height: usize,
    /// For each a caption, which may be empty, and its numbers row by row.
    pub all: Vec<(String, Vec<f64>)>,
}

impl Pictures {
    /// The numbers that are black and white: the least and the greatest of all pictures.
    pub fn ends(&self) -> (f64, f64) {
        ends(self.all.iter().flat_map(|(_, pixels)| pixels.iter().copied())).unwrap_or((0.0, 0.0))
    }

    /// A number of a picture as a shade from 0, which is black, to 1. What is not finite is black.
    pub fn shade(&self, x: f64, (black, white): (f64, f64)) -> f64 {
        if white > black && x.is_finite() { (x - black) / (white - black) } else { 0.0 }
    }

    pub fn has_captions(&self) -> bool {
        self.all.iter().any(|(caption, _)| !caption.is_empty())
    }

    /// The same pictures, smaller by a whole factor: each number is the mean of a square.
    pub fn shrunk(&self, by: usize) -> Self {
        let (width, height) = (self.width.div_ceil(by), self.height.div_ceil(by));
        let mean = |pixels: &[f64], place: usize| {
            let (left, top) = (place % width * by, place / width * by);
            let rows = top..(top + by).min(self.height);
            let square = rows.flat_map(|y| &pixels[y * self.width + left..y * self.width + (left + by).min(self.width)]);
            let (sum, count) = square.fold((0.0, 0), |(sum, count), x| (sum + x, count + 1));
            sum / f64::from(count)
        };
        let all = self.all.iter().map(|(caption, pixels)| (caption.clone(), (0..width * height).map(|at| mean(pixels, at)).collect()));
        Self { width, height, all: all.collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_smaller_picture_has_the_means_of_squares() {
        let pictures = Pictures { width: 3, height: 2, all: vec![(String::new(), vec![1.0, 3.0, 5.0, 5.0, 7.0, 9.0])] };
        let small = pictures.shrunk(2);
        assert_eq!((small.width, small.height, small.all[0].1.as_slice()), (2, 1, [4.0, 7.0].as_slice()));
        assert_eq!(pictures.ends(), (1.0, 9.0));
        assert_eq!([1.0, 5.0, 9.0, f64::NAN].map(|x| pictures.shade(x, (1.0, 9.0))), [0.0, 0.5, 1.0, 0.0]);
    }
}
