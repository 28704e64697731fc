//! `conv2d` and `max_pool2d`, exact at any temperature. A convolution is linear in the image and in the kernel; a bias is one
//! number for each filter, laid over all places of its output. The greatest pixel of a window is a kink and not a step:
//! its slope is that of the pixel that is the greatest, the first of equals.

use super::Workplace;
use crate::error::{Error, Result};
use crate::program::{Convolution, Lanes, Pooling, Value};

impl<R: Lanes> Workplace<'_, R> {
    /// The operands are an image, a kernel and, where there is one, a bias.
    pub(super) fn conv2d(&self, operands: &[Value], shapes: &[Vec<usize>], stride: usize, padding: usize) -> Result<Value> {
        let graph = &self.all.graph;
        let by = Convolution::new(&shapes[0], &shapes[1], stride, padding)?;
        if operands.iter().zip(shapes).any(|(v, shape)| graph.width(*v) != shape.iter().product::<usize>()) {
            // An operand that was refused is a stand-in.
            return Ok(graph.number(0.0));
        }
        let [filters, rows, columns] = by.output();
        let out = graph.convolve(by, operands[1], operands[0]);
        match operands.get(2) {
            None => Ok(out),
            Some(bias) if graph.width(*bias) == filters => {
                let all_places = graph.spread(graph.number(1.0), rows * columns);
                Ok(graph.add(out, graph.outer(*bias, all_places)))
            }
            Some(bias) => Err(Error::new(format!("a bias of {} numbers for {filters} filters", graph.width(*bias)))
                .hint("a bias has one number for each filter of the kernel")),
        }
    }

    pub(super) fn max_pool2d(&self, image: Value, shape: &[usize], window: usize, stride: usize) -> Result<Value> {
        let (graph, by) = (&self.all.graph, Pooling::new(shape, window, stride)?);
        let is_stand_in = graph.width(image) != shape.iter().product::<usize>();
        Ok(if is_stand_in { graph.number(0.0) } else { graph.pick(by, image, image) })
    }
}
