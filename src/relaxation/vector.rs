//! Functions of vectors, composed of inner products, elementwise maps and matrix products, so that their
//! gradients need no lines of their own. Values as DataFusion's functions of the same names give them.

use super::{Number, Workplace};
use crate::algebra::{Expression, Vector};
use crate::error::Error;
use crate::program::{Graph, Lanes, Value};
use crate::scalar::{Binary, Unary};

impl<R: Lanes> Workplace<'_, R> {
    pub(super) fn vector(&mut self, f: Vector, arguments: &[Expression]) -> Number {
        let numbers: Vec<Number> = arguments.iter().map(|a| self.expression(a)).collect();
        let presence = numbers.iter().fold(None, |all, n| self.both(all, n.presence));
        let graph = self.graph();
        let v: Vec<Value> = numbers.iter().map(|n| n.value).collect();
        if let Some(error) = mismatch(&graph, f, &v) {
            return self.all.refuse(error);
        }
        let value = match f {
            Vector::InnerProduct => graph.dot(v[0], v[1]),
            Vector::CosineDistance => {
                let lengths = graph.multiply(length(&graph, v[0]), length(&graph, v[1]));
                graph.complement(graph.divide(graph.dot(v[0], v[1]), lengths))
            }
            Vector::ArrayDistance => {
                let gap = graph.subtract(v[0], v[1]);
                length(&graph, gap)
            }
            Vector::ArrayAdd => graph.add(v[0], v[1]),
            Vector::ArraySubtract => graph.subtract(v[0], v[1]),
            Vector::ArrayScale => graph.scale(v[1], v[0]),
            Vector::ArrayNormalize => graph.scale(graph.divide(graph.number(1.0), length(&graph, v[0])), v[0]),
            Vector::ArraySum => graph.sum(v[0]),
            Vector::MatVec => graph.mat_vec(v[0], v[1]),
            Vector::Softmax => {
                let e = exponentials(&graph, v[0]);
                graph.scale(graph.divide(graph.number(1.0), graph.sum(e)), e)
            }
            Vector::LogSoftmax => {
                let shifted = shifted(&graph, v[0]);
                let total = graph.unary(Unary::Ln, graph.sum(graph.unary(Unary::Exp, shifted)));
                graph.binary(Binary::Subtract, shifted, graph.spread(total, graph.width(shifted)))
            }
        };
        Number { value, presence }
    }
}

/// What is wrong with the widths of the operands, if anything is.
fn mismatch(graph: &Graph, f: Vector, v: &[Value]) -> Option<Error> {
    let widths: Vec<usize> = v.iter().map(|v| graph.width(*v)).collect();
    let wrong = match (f, widths.as_slice()) {
        (Vector::InnerProduct | Vector::CosineDistance | Vector::ArrayDistance | Vector::ArrayAdd | Vector::ArraySubtract, [a, b]) => {
            a != b
        }
        (Vector::ArrayScale, [_, s]) => *s != 1,
        (Vector::MatVec, [m, v]) => m % v != 0,
        _ => false,
    };
    wrong.then(|| {
        let widths = widths.iter().map(|w| w.to_string()).collect::<Vec<_>>().join(" and ");
        Error::new(format!("dimension mismatch in {}: its operands have {widths} elements", f.name()))
            .hint("compare the declared dimensions of the columns: SELECT * FROM nabla.learnable_columns")
    })
}

fn length(graph: &Graph, v: Value) -> Value {
    graph.unary(Unary::Sqrt, graph.dot(v, v))
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
