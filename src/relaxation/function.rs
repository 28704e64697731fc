//! Functions of the application: exact at any temperature, and their gradient is the vector-Jacobian product that they bring.
//! Strict in NULL, as all functions are. Limit: the value itself.

use super::{Number, Workplace};
use crate::algebra::Expression;
use crate::error::{Error, Place};
use crate::program::{Lanes, Value};
use crate::scalar::Function;

impl<R: Lanes> Workplace<'_, R> {
    pub(super) fn call(&mut self, function: &Function, arguments: &[Expression], label: &str) -> Number {
        let graph = self.graph();
        let numbers: Vec<Number> = arguments.iter().map(|a| self.numeric(a)).collect();
        let presence = numbers.iter().fold(None, |all, n| self.both(all, n.presence));
        let stand_in = Number { value: graph.spread(graph.number(0.0), function.result().width()), presence };
        let mut fits = true;
        for (number, (argument, declared)) in arguments.iter().zip(function.arguments()).enumerate() {
            // An operand without any vector has no shape of its own, and no row has a value.
            let Some(shape) = self.dimensions_of(argument) else { return stand_in };
            if shape != declared.dimensions() {
                let shape: String = shape.iter().map(|n| format!("[{n}]")).collect();
                let given = if shape.is_empty() { "a number".into() } else { format!("an array {shape}") };
                let error = Error::new(format!("{} takes {declared} as argument {}, not {given}", function.name(), number + 1));
                self.all.refuse(error.at(Place::Expression(label.into())).hint(function.signature()));
                fits = false;
            }
        }
        let values: Vec<Value> = numbers.iter().map(|n| n.value).collect();
        // An argument that was refused is a stand-in.
        let widths = function.arguments().iter().map(|t| t.width());
        if !fits || !widths.eq(values.iter().map(|v| graph.width(*v))) {
            return stand_in;
        }
        self.note(label, "exact, with its own vector-Jacobian product");
        let value = graph.call(function, &values);
        graph.label(value, label);
        Number { value, presence }
    }
}
