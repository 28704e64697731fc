//! The rows of a query as its answer: what their columns are, and in which order they are shown.

use super::relation::{Live, Slot};
use super::{Splitter, row_outputs, rows};
use crate::algebra::{Expression, Grouping};
use crate::error::Result;
use datafusion::arrow::datatypes::DataType;
use datafusion::logical_expr::LogicalPlan;

/// What an answer consists of; nothing when its rows were not asked for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AnswerRows {
    pub columns: Vec<AnswerColumn>,
    /// The keys of an order that the exact engine could not put the rows into.
    pub order: Vec<AnswerKey>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct AnswerColumn {
    pub name: String,
    pub data_type: DataType,
    pub part: Part,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AnswerKey {
    pub part: Part,
    pub descending: bool,
    pub nulls_first: bool,
}

/// Where a column of an answer comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// A column that the last stage passes on, by number.
    Frozen(usize),
    /// An output of the last stage, by number.
    Live(usize),
}

/// The columns of the last stage, as they are asked for.
#[derive(Default)]
struct Parts {
    live: Vec<Expression>,
    labels: Vec<String>,
    frozen: Vec<usize>,
}

impl Parts {
    fn live(&mut self, value: Expression, label: String) -> Part {
        self.live.push(value);
        self.labels.push(label);
        Part::Live(self.live.len() - 1)
    }

    fn add(&mut self, slot: &Slot, label: &str) -> Part {
        match slot {
            Slot::Frozen(id) => Part::Frozen(self.frozen.iter().position(|known| known == id).unwrap_or_else(|| {
                self.frozen.push(*id);
                self.frozen.len() - 1
            })),
            Slot::Live(value) => self.live(rows::number(Live::clone(value)), label.into()),
        }
    }
}

impl Splitter<'_> {
    /// Ends the last stage with the live columns and the weight of its rows.
    pub(super) fn answer(&mut self, plan: &LogicalPlan) -> Result<AnswerRows> {
        let mut relation = self.relation(plan)?;
        relation.flush()?;
        let mut parts = Parts::default();
        let columns = relation.columns.iter().zip(plan.schema().fields()).map(|(slot, field)| AnswerColumn {
            name: field.name().clone(),
            data_type: field.data_type().clone(),
            part: parts.add(slot, field.name()),
        });
        let columns = columns.collect();
        let keys = relation.known.order.iter().flatten();
        let order = keys.map(|k| AnswerKey { part: parts.add(&k.value, &k.label), descending: k.descending, nulls_first: k.nulls_first });
        let order = order.collect();
        parts.live(Expression::Coalesce(vec![rows::product(relation.weight.clone()), Expression::Number(0.0)]), "the weight".into());
        let Parts { mut live, labels, frozen } = parts;
        let stage = self.close(&relation, Grouping::Rows, vec![], &mut live, frozen, vec![])?;
        self.stages[stage].outputs = row_outputs(live, &labels);
        Ok(AnswerRows { columns, order })
    }
}
