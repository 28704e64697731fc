//! `pick` and `place`: of each window over a key image, the pixel where the key is greatest (the first of equals; NaN is
//! greatest, so that it is not lost). A pick reads such pixels of an image into a smaller one, a placement writes a smaller
//! image to them, and each is the other's adjoint. The key has no gradient: a small change of it picks the same pixels.

use super::convolution::{Axis, shown};
use crate::error::{Error, Result};
use crate::scalar::Real;

/// How windows lie over an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Pooling {
    channels: u32,
    rows: Axis,
    columns: Axis,
    stride: u32,
}

impl Pooling {
    /// `image` is \[channels\]\[height\]\[width\], or \[height\]\[width\].
    pub fn new(image: &[usize], window: usize, stride: usize) -> Result<Self> {
        let wrong = |hint: &str| Err(Error::new(format!("a window of {window} x {window} over an image {}", shown(image))).hint(hint));
        let (channels, height, width) = match *image {
            [height, width] => (1, height, width),
            [channels, height, width] => (channels, height, width),
            _ => return wrong("an image is [channels][height][width] or [height][width]"),
        };
        if channels == 0 || window == 0 || stride == 0 {
            return wrong("no dimension, window or stride is 0");
        }
        let axes = Axis::new(height, window, stride, 0).zip(Axis::new(width, window, stride, 0));
        let (Some((rows, columns)), Ok(channels), Ok(stride)) = (axes, channels.try_into(), stride.try_into()) else {
            return wrong("a window is no larger than the image");
        };
        Ok(Self { channels, rows, columns, stride })
    }

    /// Channels, rows and columns of the smaller image.
    pub fn output(self) -> [usize; 3] {
        [self.channels as usize, self.rows.places as usize, self.columns.places as usize]
    }

    pub(super) fn image_width(self) -> usize {
        self.channels as usize * self.rows.image as usize * self.columns.image as usize
    }

    #[inline(always)]
    pub fn pick<R: Real>(self, key: &[R], image: &[R], out: &mut [R]) {
        for (at, o) in out.iter_mut().enumerate() {
            *o = image[self.greatest(key, at)];
        }
    }

    #[inline(always)]
    pub(super) fn place<R: Real>(self, key: &[R], small: &[R], out: &mut [R]) {
        out.fill(R::ZERO);
        for (at, &x) in small.iter().enumerate() {
            out[self.greatest(key, at)] += x;
        }
    }

    /// Where the key is greatest in a window.
    #[inline(always)]
    #[expect(clippy::eq_op, reason = "only NaN is not itself")]
    fn greatest<R: Real>(self, key: &[R], window: usize) -> usize {
        let (rows, columns) = (self.rows.places as usize, self.columns.places as usize);
        let (channel, row, column) = (window / (rows * columns), window / columns % rows, window % columns);
        let image_columns = self.columns.image as usize;
        let corner = (channel * self.rows.image as usize + row * self.stride as usize) * image_columns + column * self.stride as usize;
        let mut found = corner;
        for down in 0..self.rows.over as usize {
            let start = corner + down * image_columns;
            for pixel in start..start + self.columns.over as usize {
                if key[pixel] > key[found] || (key[pixel] != key[pixel] && key[found] == key[found]) {
                    found = pixel;
                }
            }
        }
        found
    }
}
