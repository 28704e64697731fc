//! Functions of vectors, composed of inner products, elementwise maps and matrix products, so that their
//! gradients need no lines of their own. Values as DataFusion's functions of the same names give them.

use super::dimensions::dimensions_after;
use super::{Number, Workplace};
use crate::algebra::{Expression, LAYER_NORM_EPSILON, LEAST_LOGARITHM, Vector};
use crate::error::{Error, Place};
use crate::program::{Graph, Lanes, ONE, Slot, Value};
use crate::scalar::{Binary, Unary};

impl<R: Lanes> Workplace<'_, R> {
    pub(super) fn vector(&mut self, f: Vector, arguments: &[Expression], label: &str) -> Number {
        let known = self.all.refusals.len();
        let found = self.vector_of(f, arguments);
        // What an argument was refused for is said once, in its place.
        let place = || Place::Expression(label.into());
        self.all.refusals[known..].iter_mut().for_each(|refusal| *refusal = refusal.clone().at(place()));
        found
    }

    fn vector_of(&mut self, f: Vector, arguments: &[Expression]) -> Number {
        let refused = self.all.refusals.len();
        let mut numbers: Vec<Number> = arguments.iter().map(|a| self.numeric(a)).collect();
        if f == Vector::CrossEntropy {
            numbers[1] = self.one_hot(numbers[1], self.all.graph.width(numbers[0].value));
        }
        let presence = numbers.iter().fold(None, |all, n| self.both(all, n.presence));
        let graph = self.graph();
        if self.all.refusals.len() > refused {
            return Number { value: graph.number(0.0), presence };
        }
        let known: Vec<Option<Vec<usize>>> = arguments.iter().map(|a| self.dimensions_of(a)).collect();
        let Some(shapes) = known.iter().cloned().collect::<Option<Vec<_>>>() else {
            // An operand without any vector has no shape of its own, and no row has a value.
            let width = dimensions_after(f, &known).map_or(1, |shape| shape.iter().product());
            return Number { value: graph.spread(graph.number(0.0), width), presence };
        };
        let v: Vec<Value> = numbers.iter().map(|n| n.value).collect();
        if let Some(error) = mismatch(&graph, f, &v, &shapes) {
            return self.all.refuse(error);
        }
        let value = match f {
            Vector::InnerProduct => graph.dot(v[0], v[1]),
            Vector::CosineDistance => {
                let lengths = graph.multiply(length(&graph, v[0]), length(&graph, v[1]));
                return self.over_length(lengths, presence, |inverse| graph.complement(graph.multiply(graph.dot(v[0], v[1]), inverse)));
            }
            Vector::ArrayDistance => {
                let gap = graph.subtract(v[0], v[1]);
                length(&graph, gap)
            }
            Vector::ArrayAdd => graph.add(v[0], v[1]),
            Vector::ArraySubtract => graph.subtract(v[0], v[1]),
            Vector::ArrayScale => graph.scale(v[1], v[0]),
            Vector::ArrayNormalize => {
                let length = length(&graph, v[0]);
                return self.over_length(length, presence, |inverse| graph.scale(inverse, v[0]));
            }
            Vector::ArraySum => graph.sum(v[0]),
            Vector::MatVec => graph.mat_vec(v[0], v[1]),
            Vector::Softmax => {
                let e = exponentials(&graph, v[0]);
                graph.scale(graph.divide(graph.number(1.0), graph.sum(e)), e)
            }
            Vector::LogSoftmax => log_softmax(&graph, v[0]),
            Vector::LayerNorm => layer_norm(&graph, v[0]),
            Vector::CrossEntropy => graph.unary(Unary::Negate, graph.dot(log_softmax(&graph, v[0]), v[1])),
            Vector::Bce => binary_cross_entropy(&graph, v[0], v[1]),
            Vector::Flatten => v[0],
            Vector::Conv2d { stride, padding } => match self.conv2d(&v, &shapes, stride, padding) {
                Ok(value) => value,
                Err(error) => return self.all.refuse(error),
            },
            Vector::MaxPool2d { window, stride } => match self.max_pool2d(v[0], &shapes[0], window, stride) {
                Ok(value) => value,
                Err(error) => return self.all.refuse(error),
            },
        };
        Number { value, presence }
    }
}

impl<R: Lanes> Workplace<'_, R> {
    /// What is divided by a length, NULL where that is 0.
    fn over_length(&mut self, length: Value, presence: Option<Value>, make: impl FnOnce(Value) -> Value) -> Number {
        let graph = self.graph();
        let some = graph.binary(Binary::Greater, length, graph.number(0.0));
        let some = self.all.settle(some);
        let inverse = graph.divide(graph.number(1.0), graph.select(some, length, graph.number(1.0)));
        let there = (!self.all.is_all_one(some)).then_some(some);
        Number { value: make(inverse), presence: self.both(presence, there) }
    }

    /// Class numbers, counted from 0, as vectors with a 1 at their place; a vector of probabilities is one already.
    fn one_hot(&mut self, label: Number, classes: usize) -> Number {
        let graph = self.graph();
        if graph.width(label.value) != 1 || classes == 1 {
            return label;
        }
        if let Some((x, index)) = graph.gathered(label.value) {
            let found = self.one_hot(Number { value: x, ..label }, classes);
            return Number { value: graph.gather(found.value, index), ..found };
        }
        let number = graph.constant(label.value);
        let labels: Vec<f64> = match (number, graph.residual_slot(label.value)) {
            (Some(number), _) => vec![number],
            (None, Some(slot)) => self.all.residuals[slot as usize].iter().map(|x| x.wide()).collect(),
            _ => {
                let error =
                    Error::new("the label of cross_entropy is live").hint("a label is a frozen class number, or a vector of probabilities");
                return self.all.refuse(error);
            }
        };
        let is_class = |x: &&f64| x.fract() == 0.0 && (0.0..classes as f64).contains(*x);
        if let Some(wrong) = labels.iter().find(|x| !is_class(x)) {
            let error = Error::new(format!("the label {wrong} of cross_entropy is not a class of {classes} logits"));
            return self.all.refuse(error.hint("classes are counted from 0"));
        }
        let mut vectors = vec![R::ZERO; labels.len() * classes];
        for (row, label) in labels.iter().enumerate() {
            vectors[row * classes + *label as usize] = R::ONE;
        }
        self.all.residuals.push(vectors.into());
        let value = graph.residual(self.all.residuals.len() as Slot - 1, graph.domain_of(label.value), classes);
        Number { value, ..label }
    }

    /// One element of a vector, or row of a matrix: its product with a unit vector. NULL beyond the end.
    pub(super) fn element(&mut self, vector: Number, shape: &[usize], place: usize) -> Number {
        let (length, rest) = shape.split_first().map_or((0, 1), |(first, rest)| (*first, rest.iter().product()));
        let graph = self.graph();
        if place >= length {
            return Number { value: graph.spread(graph.number(0.0), rest), presence: Some(graph.number(0.0)) };
        }
        let mut unit = vec![R::ZERO; length];
        unit[place] = R::ONE;
        self.all.residuals.push(unit.into());
        let unit = graph.residual(self.all.residuals.len() as Slot - 1, ONE, length);
        let value = if rest == 1 { graph.dot(vector.value, unit) } else { graph.mat_trans_vec(vector.value, unit) };
        Number { value, ..vector }
    }
}

/// What is wrong with the sizes of the operands, if anything is.
fn mismatch(graph: &Graph, f: Vector, v: &[Value], shapes: &[Vec<usize>]) -> Option<Error> {
    let widths: Vec<usize> = v.iter().map(|v| graph.width(*v)).collect();
    let of_vectors = !matches!(f, Vector::MatVec | Vector::Flatten | Vector::Conv2d { .. } | Vector::MaxPool2d { .. });
    if let Some(shape) = shapes.iter().find(|shape| of_vectors && shape.len() > 1) {
        let shape: String = shape.iter().map(|n| format!("[{n}]")).collect();
        return Some(Error::new(format!("{} takes vectors, not {shape}", f.name())).hint("flatten(x) takes one level of nesting away"));
    }
    let wrong = match (f, widths.as_slice()) {
        (Vector::InnerProduct | Vector::CosineDistance | Vector::ArrayDistance | Vector::ArrayAdd | Vector::ArraySubtract, [a, b]) => {
            a != b
        }
        (Vector::CrossEntropy, [a, b]) => a != b,
        (Vector::Bce, [a, b]) => *a != 1 || *b != 1,
        (Vector::ArrayScale, [_, s]) => *s != 1,
        (Vector::MatVec, [_, v]) => shapes[0].len() != 2 || shapes[0][1] != *v,
        _ => false,
    };
    wrong.then(|| {
        let widths = widths.iter().map(|w| w.to_string()).collect::<Vec<_>>().join(" and ");
        let columns = shapes[0].last().filter(|_| f == Vector::MatVec);
        let shape = columns.map_or(String::new(), |c| format!(" (rows of {c})"));
        Error::new(format!("dimension mismatch in {}: its operands have {widths} elements{shape}", f.name()))
            .hint("compare the declared dimensions of the columns: SELECT * FROM nabla.learnable_columns")
    })
}

/// The Euclidean length. At 0 it has a kink, and its slope is taken as 0 there.
fn length(graph: &Graph, v: Value) -> Value {
    let square = graph.dot(v, v);
    let some = graph.binary(Binary::Greater, square, graph.number(0.0));
    let root = graph.unary(Unary::Sqrt, graph.select(some, square, graph.number(1.0)));
    graph.select(some, root, square)
}

/// Less the greatest element, which changes no softmax and keeps its exponentials finite.
fn shifted(graph: &Graph, v: Value) -> Value {
    let top = graph.greatest(v);
    graph.subtract(v, graph.spread(top, graph.width(v)))
}

fn exponentials(graph: &Graph, v: Value) -> Value {
    let shifted = shifted(graph, v);
    graph.unary(Unary::Exp, shifted)
}

fn log_softmax(graph: &Graph, v: Value) -> Value {
    let shifted = shifted(graph, v);
    let total = graph.unary(Unary::Ln, graph.sum(graph.unary(Unary::Exp, shifted)));
    graph.subtract(shifted, graph.spread(total, graph.width(shifted)))
}

/// Less the mean, over the standard deviation (Ba, Kiros and Hinton, 2016).
fn layer_norm(graph: &Graph, v: Value) -> Value {
    let width = graph.width(v);
    let mean = |x: Value| graph.multiply(graph.number(1.0 / width as f64), x);
    let centred = graph.subtract(v, graph.spread(mean(graph.sum(v)), width));
    let variance = graph.add(mean(graph.dot(centred, centred)), graph.number(LAYER_NORM_EPSILON));
    graph.scale(graph.divide(graph.number(1.0), graph.unary(Unary::Sqrt, variance)), centred)
}

/// -(y ln p + (1 - y) ln(1 - p)), with logarithms of at least -100.
fn binary_cross_entropy(graph: &Graph, p: Value, y: Value) -> Value {
    let least = |x: Value| graph.binary(Binary::Greatest, x, graph.number(LEAST_LOGARITHM));
    let hit = graph.multiply(y, least(graph.unary(Unary::Ln, p)));
    let miss = graph.multiply(graph.complement(y), least(graph.unary(Unary::LnOneMinus, p)));
    graph.unary(Unary::Negate, graph.add(hit, miss))
}
