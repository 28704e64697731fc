//! Live numbers: arithmetic, functions, and the columns that they read. Strict in NULL: a value is there to the
//! degree that all its operands are. GREATEST and LEAST pass over what is NULL, as in SQL.

use super::comparison::Boundary;
use super::{Number, STOPS, Workplace};
use crate::algebra::Expression;
use crate::program::Lanes;
use crate::scalar::Binary;

impl<R: Lanes> Workplace<'_, R> {
    pub(super) fn expression(&mut self, e: &Expression) -> Number {
        let graph = self.graph();
        match e {
            Expression::Number(x) => Number { value: self.number(*x), presence: None },
            Expression::Null => Number { value: self.number(0.0), presence: Some(self.number(0.0)) },
            Expression::Residual(slot) => self.residual(*slot),
            Expression::Input { input, column } => self.input(*input, *column),
            Expression::Unary(f, x) => {
                let x = self.numeric(x);
                Number { value: graph.unary(*f, x.value), presence: x.presence }
            }
            Expression::Binary(f @ (Binary::Greatest | Binary::Least), a, b) => {
                let (a, b) = (self.expression(a), self.expression(b));
                let (x, y) = (self.or(a, b), self.or(b, a));
                let (x, y) = (Number { value: self.through(x.value), ..x }, Number { value: self.through(y.value), ..y });
                Number { value: graph.binary(*f, x.value, y.value), presence: x.presence }
            }
            Expression::Binary(f, a, b) => {
                let (a, b) = (self.expression(a), self.expression(b));
                let presence = self.both(a.presence, b.presence);
                if *f == Binary::Multiply && self.are_degrees([a.value, b.value]) {
                    return Number { value: self.of_degrees([a.value, b.value], |at, [a, b]| at.all.graph.multiply(a, b)), presence };
                }
                let (a, b) = (self.through(a.value), self.through(b.value));
                Number { value: graph.binary(*f, a, b), presence }
            }
            Expression::Vector { function, arguments, label } => self.vector(*function, arguments, label),
            Expression::Call { function, arguments, label } => self.call(function, arguments, label),
            Expression::Element(x, place) => {
                let (shape, x) = (self.dimensions_of(x), self.numeric(x));
                self.element(x, &shape.unwrap_or_default(), *place)
            }
            Expression::Detach(x) => {
                self.note("detach", STOPS);
                let x = self.numeric(x);
                Number { value: graph.detach(x.value), presence: x.presence }
            }
            Expression::Step(step, x) => self.step(*step, x),
            Expression::Coalesce(list) => self.coalesce(list),
            Expression::Case { branches, otherwise } => self.case(branches, otherwise),
            Expression::Degree(p) => self.truth_value(p, Boundary::Run),
        }
    }
}
