//! Which outputs of a stage later stages read. What nobody reads need not be computed.

use super::{Expression, OutputValue, Pipeline, Predicate, Source};
use std::collections::HashSet;

impl Pipeline {
    /// The outputs of each stage that later stages read, and all of the last one: what a rank is compared with decides which of its outputs are.
    pub fn outputs_read(&self) -> Vec<HashSet<usize>> {
        let mut read = vec![HashSet::new(); self.stages.len()];
        let last = self.stages.len() - 1;
        read[last] = (0..self.stages[last].outputs.len()).collect();
        for (number, stage) in self.stages.iter().enumerate().rev() {
            let mut wanted: Vec<Expression> = stage.weight.clone();
            for (_, output) in stage.outputs.iter().enumerate().filter(|(output, _)| read[number].contains(output)).collect::<Vec<_>>() {
                if let OutputValue::Stacked { stages, column } = &output.value {
                    stages.iter().for_each(|from| {
                        read[*from].insert(*column);
                    });
                }
                wanted.extend(output.expressions());
            }
            for expression in &wanted {
                expression.each_input(&mut |input, column| {
                    if let Source::Stage(from) = stage.inputs[input].source {
                        read[from].insert(column);
                    }
                });
            }
        }
        read
    }
}

impl Expression {
    /// Visits every column of an input that is read.
    pub fn each_input(&self, f: &mut dyn FnMut(usize, usize)) {
        match self {
            Expression::Number(_) | Expression::Null | Expression::Residual(_) => {}
            Expression::Input { input, column } => f(*input, *column),
            Expression::Unary(_, x) | Expression::Step(_, x) | Expression::Detach(x) | Expression::Element(x, _) => x.each_input(f),
            Expression::Binary(_, a, b) => {
                a.each_input(f);
                b.each_input(f);
            }
            Expression::Vector { arguments: list, .. } | Expression::Call { arguments: list, .. } | Expression::Coalesce(list) => {
                list.iter().for_each(|e| e.each_input(f));
            }
            Expression::Case { branches, otherwise } => {
                for (p, e) in branches {
                    p.each_input(f);
                    e.each_input(f);
                }
                otherwise.each_input(f);
            }
            Expression::Degree(p) => p.each_input(f),
        }
    }
}

impl Predicate {
    /// Visits every column of an input that is read.
    pub fn each_input(&self, f: &mut dyn FnMut(usize, usize)) {
        match self {
            Predicate::Compare { left, right, .. } => {
                left.each_input(f);
                right.each_input(f);
            }
            Predicate::And(a, b) | Predicate::Or(a, b) => {
                a.each_input(f);
                b.each_input(f);
            }
            Predicate::Not(p) | Predicate::Hard(p) | Predicate::Soft(p, _) => p.each_input(f),
            Predicate::IsNull(e) | Predicate::Degree(e) => e.each_input(f),
            Predicate::Known { truth, possible } => {
                truth.each_input(f);
                possible.each_input(f);
            }
            Predicate::Frozen(_) => {}
        }
    }
}
