//! ARRAY_AGG of live values: the rows of a group in a frozen order, which the skeleton sorts them by.

use super::Splitter;
use super::relation::{Relation, place, text};
use crate::algebra::{Output, OutputValue};
use crate::error::{Error, Result};
use datafusion::common::DFSchema;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::expr::{AggregateFunctionParams, NullTreatment};

/// The parameters of an ARRAY_AGG.
pub(super) fn array_agg(e: &Expr) -> Option<&AggregateFunctionParams> {
    match e {
        Expr::Alias(alias) => array_agg(&alias.expr),
        Expr::AggregateFunction(function) if function.func.name() == "array_agg" => Some(&function.params),
        _ => None,
    }
}

impl Splitter<'_> {
    pub(super) fn array(&mut self, e: &Expr, params: &AggregateFunctionParams, schema: &DFSchema, input: &mut Relation) -> Result<Output> {
        let label = if let Expr::Alias(alias) = e { text(&alias.expr) } else { text(e) };
        let refuse = |what: &str, hint: &str| Err(Error::new(format!("{label} {what}")).at(place(e)).hint(hint));
        if !input.weight.is_empty() {
            return refuse(
                "over rows that a live condition weighs",
                "a vector has one length, so which rows it has is frozen: apply the live condition after the aggregate, or to the values",
            );
        }
        if self.outer_key(input)?.is_some() {
            return refuse(
                "in a sub-query that depends on the rows around it",
                "aggregate with GROUP BY in a sub-query of FROM that does not, and join",
            );
        }
        if params.filter.is_some() || params.null_treatment == Some(NullTreatment::IgnoreNulls) {
            return refuse("of some of the rows", "filter them in WHERE, in a sub-query");
        }
        if params.order_by.is_empty() {
            return refuse("without an order of its elements", "array_agg(x ORDER BY i), where i is frozen");
        }
        let [value] = params.args.as_slice() else { return refuse("of a live relation", "aggregate one expression") };
        Ok(Output { value: OutputValue::Array(self.number(value, schema, input)?), label })
    }

    /// The column that the rows of groups are sorted by, for these arrays of them.
    pub(super) fn order_of_arrays(
        &mut self,
        arrays: &[&Expr],
        schema: &DFSchema,
        input: &mut Relation,
        keys: &[usize],
    ) -> Result<Option<usize>> {
        let orders: Vec<_> = arrays.iter().filter_map(|e| array_agg(e).map(|params| (*e, &params.order_by))).collect();
        let Some((_, order)) = orders.first() else { return Ok(None) };
        if let Some((e, _)) = orders.iter().find(|(_, other)| other != order) {
            return Err(Error::new(format!("{} in another order than the array beside it", text(e)))
                .at(place(e))
                .hint("order all arrays of one GROUP BY the same way, or aggregate in two sub-queries and join"));
        }
        let keys_of_order = self.sort_keys(order, schema, input)?;
        if let Some(live) = keys_of_order.iter().find(|k| k.is_live()) {
            return Err(Error::new(format!("{} in a live order", text(arrays[0])))
                .at(live.place.clone())
                .hint("order the elements by frozen columns; FIRST_VALUE(x ORDER BY live) takes one element by a live order"));
        }
        self.place_in_order(input, keys, &keys_of_order).map(Some)
    }
}
