//! The shape of a value: the dimensions of a vector, a matrix or an image, none for a number. The program knows widths alone,
//! where rows lie one after another; what a matrix or an image is made of, the declarations and the rows say.

use super::Workplace;
use crate::algebra::{Aggregate, Expression, Numbers, OutputValue, Source, Vector};
use crate::program::{Convolution, Lanes, Pooling};

impl<R: Lanes> Workplace<'_, R> {
    /// `None` where no row has a vector to tell it by.
    pub(super) fn dimensions_of(&self, e: &Expression) -> Option<Vec<usize>> {
        match e {
            Expression::Number(_) | Expression::Degree(_) => Some(vec![]),
            Expression::Null => None,
            Expression::Residual(slot) => match &self.rows.columns[*slot].numbers {
                Numbers::Real { dimensions, .. } => (!dimensions.contains(&0)).then(|| dimensions.clone()),
                Numbers::Index(_) => Some(vec![]),
            },
            Expression::Input { input, column } => match self.stage.inputs[*input].source {
                Source::Table(_) => Some(self.all.dimensions[*column].clone()),
                Source::Stage(stage) => self.all.finished[stage].dimensions[*column].clone(),
            },
            Expression::Unary(_, x) | Expression::Step(_, x) | Expression::Detach(x) => self.dimensions_of(x),
            Expression::Binary(_, a, b) => self.dimensions_of(a).or_else(|| self.dimensions_of(b)),
            Expression::Vector { function: f, arguments, .. } => {
                let known: Vec<_> = arguments.iter().map(|a| self.dimensions_of(a)).collect();
                dimensions_after(*f, &known)
            }
            Expression::Call { function, .. } => Some(function.result().dimensions()),
            Expression::Element(x, _) => self.dimensions_of(x).map(|shape| shape.get(1..).unwrap_or_default().to_vec()),
            Expression::Coalesce(list) => list.iter().find_map(|x| self.dimensions_of(x)),
            Expression::Case { branches, otherwise } => {
                branches.iter().map(|(_, x)| x).chain([otherwise.as_ref()]).find_map(|x| self.dimensions_of(x))
            }
        }
    }

    pub(super) fn dimensions_of_output(&self, output: &OutputValue) -> Option<Vec<usize>> {
        match output {
            OutputValue::Row(value) | OutputValue::First { value, .. } => self.dimensions_of(value),
            OutputValue::Array(value) if self.rows.count() > 0 => {
                Some([vec![self.length_of_groups().ok()?], self.dimensions_of(value)?].concat())
            }
            OutputValue::Array(_) => None,
            OutputValue::Stacked { stages, column } => self.all.finished[stages[0]].dimensions[*column].clone(),
            OutputValue::Aggregate { aggregate: Aggregate::Sum | Aggregate::Avg, argument: Some(value), .. } => self.dimensions_of(value),
            _ => Some(vec![]),
        }
    }
}

/// What a function makes of arguments of these dimensions, where they are known.
pub(super) fn dimensions_after(f: Vector, known: &[Option<Vec<usize>>]) -> Option<Vec<usize>> {
    let first = || known.first().cloned().flatten();
    match f {
        Vector::InnerProduct | Vector::CosineDistance | Vector::ArrayDistance | Vector::ArraySum | Vector::CrossEntropy | Vector::Bce => {
            Some(vec![])
        }
        Vector::ArrayAdd | Vector::ArraySubtract => known.iter().flatten().next().cloned(),
        Vector::ArrayScale | Vector::ArrayNormalize | Vector::Softmax | Vector::LogSoftmax | Vector::LayerNorm => first(),
        Vector::MatVec => Some(vec![*first()?.first()?]),
        Vector::Flatten => match first()?.as_slice() {
            [a, b, rest @ ..] => Some([&[a * b], rest].concat()),
            flat => Some(flat.to_vec()),
        },
        Vector::Conv2d { stride, padding } => {
            let (image, kernel) = (first()?, known[1].clone()?);
            let [filters, rows, columns] = Convolution::new(&image, &kernel, stride, padding).ok()?.output();
            Some(if kernel.len() == 2 { vec![rows, columns] } else { vec![filters, rows, columns] })
        }
        Vector::MaxPool2d { window, stride } => {
            let image = first()?;
            let [channels, rows, columns] = Pooling::new(&image, window, stride).ok()?.output();
            Some(if image.len() == 2 { vec![rows, columns] } else { vec![channels, rows, columns] })
        }
    }
}
