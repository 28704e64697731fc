//! The expressions that an output is made of, to be renumbered together and put back.

use super::{Aggregate, Expression, Output, OutputValue, Predicate};

impl OutputValue {
    /// Whether it is made of sums over the rows of a group, in whatever order they come.
    pub fn is_sum(&self) -> bool {
        match self {
            OutputValue::Aggregate { aggregate, .. } => !matches!(aggregate, Aggregate::Min | Aggregate::Max | Aggregate::Quantile(_)),
            OutputValue::Moment { .. } => true,
            _ => false,
        }
    }

    /// Whether it reads the rows of one group at a time, which have to lie next to each other.
    pub fn is_of_segment(&self) -> bool {
        match self {
            OutputValue::Aggregate { .. } => true,
            OutputValue::First { order, .. } => order.before.is_none(),
            _ => false,
        }
    }
}

impl Output {
    /// All expressions of a row that the output is made of.
    pub fn expressions(&self) -> Vec<Expression> {
        match &self.value {
            OutputValue::Row(e) | OutputValue::Array(e) => vec![e.clone()],
            OutputValue::Stacked { .. } => vec![],
            OutputValue::Ranked { order, .. } => order.key.iter().cloned().chain(order.before.map(Expression::Residual)).collect(),
            OutputValue::Aggregate { argument, filter, .. } | OutputValue::Running { argument, filter, .. } => {
                let filter = filter.clone().map(|p| Expression::Degree(Box::new(p)));
                argument.iter().cloned().chain(filter).collect()
            }
            OutputValue::First { value, order, filter, .. } => {
                let filter = filter.clone().map(|p| Expression::Degree(Box::new(p)));
                [value.clone()].into_iter().chain(order.key.clone()).chain(filter).collect()
            }
            OutputValue::Moment { x, y, filter, .. } => {
                let filter = filter.clone().map(|p| Expression::Degree(Box::new(p)));
                [x.clone(), y.clone()].into_iter().chain(filter).collect()
            }
        }
    }
}

impl Output {
    /// Puts other expressions in the place of [`Output::expressions`], in their order.
    pub fn replace(&mut self, with: &mut impl Iterator<Item = Expression>) {
        let number = |e: &mut Expression, with: &mut dyn Iterator<Item = Expression>| with.next().into_iter().for_each(|new| *e = new);
        let predicate = |p: &mut Option<Predicate>, with: &mut dyn Iterator<Item = Expression>| {
            *p = p.take().and_then(|_| with.next()).map(|e| match e {
                Expression::Degree(p) => *p,
                other => Predicate::Degree(Box::new(other)),
            });
        };
        match &mut self.value {
            OutputValue::Row(e) | OutputValue::Array(e) => number(e, with),
            OutputValue::Stacked { .. } => {}
            OutputValue::Ranked { order, .. } => {
                order.key.iter_mut().for_each(|e| number(e, with));
                if let (Some(_), Some(Expression::Residual(slot))) = (order.before, order.before.and_then(|_| with.next())) {
                    order.before = Some(slot);
                }
            }
            OutputValue::Aggregate { argument, filter, .. } | OutputValue::Running { argument, filter, .. } => {
                argument.iter_mut().for_each(|e| number(e, with));
                predicate(filter, with);
            }
            OutputValue::First { value, order, filter, .. } => {
                number(value, with);
                order.key.iter_mut().for_each(|e| number(e, with));
                predicate(filter, with);
            }
            OutputValue::Moment { x, y, filter, .. } => {
                number(x, with);
                number(y, with);
                predicate(filter, with);
            }
        }
    }
}
