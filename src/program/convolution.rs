//! `convolve`: a kernel laid over an image at every place. Tap t of the kernel at place p of the output lies over
//! `stride * p + t - padding` of the image, which is 0 beyond its edges.
//!
//! The sum over all filters, channels, taps and places of kernel * image * output is linear in each of the three. The
//! primitive is the factor of one of them, given the other two, and so is each of its adjoints. It is no composition:
//! as matrix products it would write every pixel out once for each tap.

use super::loops::{add_scaled, dot};
use crate::error::{Error, Result};
use crate::scalar::Real;
use std::ops::Range;

/// How a kernel lies over an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Convolution {
    channels: u32,
    filters: u32,
    rows: Axis,
    columns: Axis,
    stride: u32,
    padding: u32,
}

/// An axis of an image, of what is laid over it (a kernel, a window) and of the places where it lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Axis {
    pub image: u32,
    pub over: u32,
    pub places: u32,
}

/// One of the three factors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Part {
    Kernel,
    Image,
    Output,
}

/// One tap over a row of the image: where the tap, its first pixel and its first place are, and how many places there are.
struct Stretch {
    tap: usize,
    pixel: usize,
    place: usize,
    length: usize,
}

/// Shapes as they are declared, such as `[3][28][28]`.
pub(super) fn shown(dimensions: &[usize]) -> String {
    dimensions.iter().map(|d| format!("[{d}]")).collect()
}

impl Axis {
    /// `None` where it does not fit.
    pub fn new(image: usize, over: usize, stride: usize, padding: usize) -> Option<Self> {
        let places = (image + 2 * padding).checked_sub(over)? / stride + 1;
        Some(Self { image: image.try_into().ok()?, over: over.try_into().ok()?, places: places.try_into().ok()? })
    }

    /// The places at which a tap lies within the image.
    fn within(self, tap: usize, stride: usize, padding: usize) -> Range<usize> {
        let first = padding.saturating_sub(tap).div_ceil(stride);
        let end = (self.image as usize + padding).saturating_sub(tap).div_ceil(stride).min(self.places as usize);
        first.min(end)..end
    }
}

impl Convolution {
    /// `image` is \[channels\]\[height\]\[width\] or, of one channel, \[height\]\[width\]; `kernel` is
    /// \[filters\]\[channels\]\[height\]\[width\] or, of one filter over such an image, \[height\]\[width\].
    pub fn new(image: &[usize], kernel: &[usize], stride: usize, padding: usize) -> Result<Self> {
        let wrong = |what: String, hint: &str| Err(Error::new(what).hint(hint));
        let hint = "an image is [channels][height][width] and its kernel [filters][channels][height][width], or both are [height][width]";
        let apart = || format!("a kernel {} does not lie over an image {}", shown(kernel), shown(image));
        let (channels, [height, width]) = match *image {
            [height, width] => (1, [height, width]),
            [channels, height, width] => (channels, [height, width]),
            _ => return wrong(apart(), hint),
        };
        let (filters, over) = match *kernel {
            [h, w] if image.len() == 2 => (1, [h, w]),
            [filters, c, h, w] if c == channels => (filters, [h, w]),
            _ => return wrong(apart(), hint),
        };
        if stride == 0 || [channels, height, width, filters, over[0], over[1]].contains(&0) {
            return wrong(apart(), "no dimension and no stride is 0");
        }
        if padding >= over[0].min(over[1]) {
            return wrong(
                format!("a padding of {padding} around an image under a kernel {}", shown(kernel)),
                "pad by less than the kernel",
            );
        }
        let axes = Axis::new(height, over[0], stride, padding).zip(Axis::new(width, over[1], stride, padding));
        let sizes = [channels, filters, stride, padding].map(|n| u32::try_from(n).ok());
        let (Some((rows, columns)), [Some(channels), Some(filters), Some(stride), Some(padding)]) = (axes, sizes) else {
            return wrong(apart(), "the kernel is larger than the image: pad the image, or take a smaller kernel");
        };
        Ok(Self { channels, filters, rows, columns, stride, padding })
    }

    /// \[filters\], rows and columns of the output.
    pub fn output(self) -> [usize; 3] {
        [self.filters as usize, self.rows.places as usize, self.columns.places as usize]
    }

    pub(super) fn width(self, part: Part) -> usize {
        let area = |rows: u32, columns: u32| rows as usize * columns as usize;
        match part {
            Part::Kernel => self.filters as usize * self.channels as usize * area(self.rows.over, self.columns.over),
            Part::Image => self.channels as usize * area(self.rows.image, self.columns.image),
            Part::Output => self.filters as usize * area(self.rows.places, self.columns.places),
        }
    }

    /// How many products are added up.
    pub(super) fn products(self) -> usize {
        self.width(Part::Kernel) * self.rows.places as usize * self.columns.places as usize
    }

    /// The output of a kernel over an image.
    #[inline(always)]
    pub fn convolve<R: Real>(self, kernel: &[R], image: &[R], out: &mut [R]) {
        out.fill(R::ZERO);
        let step = self.stride as usize;
        self.each_stretch(|at| {
            let (out, factor) = (&mut out[at.place..][..at.length], kernel[at.tap]);
            if step == 1 {
                add_scaled(out, factor, &image[at.pixel..][..at.length]);
            } else {
                out.iter_mut().zip(image[at.pixel..].iter().step_by(step)).for_each(|(o, &x)| *o += factor * x);
            }
        });
    }

    /// The part that belongs to the other two, which come in the order of [`Part::others`].
    #[inline(always)]
    pub(super) fn part<R: Real>(self, part: Part, first: &[R], second: &[R], out: &mut [R]) {
        if part == Part::Output {
            return self.convolve(first, second, out);
        }
        out.fill(R::ZERO);
        let step = self.stride as usize;
        let places = |at: &Stretch| &second[at.place..][..at.length];
        if part == Part::Image {
            self.each_stretch(|at| {
                let factor = first[at.tap];
                if step == 1 {
                    add_scaled(&mut out[at.pixel..][..at.length], factor, places(&at));
                } else {
                    out[at.pixel..].iter_mut().step_by(step).zip(places(&at)).for_each(|(o, &y)| *o += factor * y);
                }
            });
        } else {
            self.each_stretch(|at| {
                if step == 1 {
                    out[at.tap] += dot(&first[at.pixel..][..at.length], places(&at));
                } else {
                    first[at.pixel..].iter().step_by(step).zip(places(&at)).for_each(|(&x, &y)| out[at.tap] += x * y);
                }
            });
        }
    }

    /// Every tap over every row of the image that it meets.
    #[inline(always)]
    fn each_stretch(self, mut f: impl FnMut(Stretch)) {
        let (stride, padding) = (self.stride as usize, self.padding as usize);
        let (image_columns, columns) = (self.columns.image as usize, self.columns.places as usize);
        let (image_rows, rows) = (self.rows.image as usize, self.rows.places as usize);
        let mut tap = 0;
        for filter in 0..self.filters as usize {
            for channel in 0..self.channels as usize {
                for down in 0..self.rows.over as usize {
                    let met = self.rows.within(down, stride, padding);
                    for along in 0..self.columns.over as usize {
                        let places = self.columns.within(along, stride, padding);
                        for row in met.clone().filter(|_| !places.is_empty()) {
                            let image_row = channel * image_rows + stride * row + down - padding;
                            let pixel = image_row * image_columns + stride * places.start + along - padding;
                            let place = (filter * rows + row) * columns + places.start;
                            f(Stretch { tap, pixel, place, length: places.len() });
                        }
                        tap += 1;
                    }
                }
            }
        }
    }
}

impl Part {
    /// The parts that this one is computed from.
    pub fn others(self) -> [Part; 2] {
        match self {
            Part::Kernel => [Part::Image, Part::Output],
            Part::Image => [Part::Kernel, Part::Output],
            Part::Output => [Part::Kernel, Part::Image],
        }
    }
}
