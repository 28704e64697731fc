//! Window functions: what is frozen is left to the exact engine, a rank by a live order ends a stage; what goes over a frame
//! is in [`super::frame`].

use super::expression::constant;
use super::order::Ranked;
use super::relation::{Key, Live, Relation, Slot, place};
use super::{Splitter, column, column_name};
use crate::algebra::Ranking;
use crate::error::{Error, Result};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::expr::WindowFunction;
use datafusion::logical_expr::{Expr, LogicalPlanBuilder, SortExpr, Window};

/// Each tile costs a root.
const MOST_TILES: i64 = 100;

/// The partition and the order of a window.
type Over = (Vec<Expr>, Vec<SortExpr>);

impl Splitter<'_> {
    pub(super) fn window(&mut self, window: &Window) -> Result<Relation> {
        let input = self.relation(&window.input)?;
        let mut input = self.with_outer(input, &window.window_expr)?;
        let schema = window.input.schema();
        let mut last: Option<(Over, Ranked)> = None;
        for e in &window.window_expr {
            let inner = if let Expr::Alias(alias) = e { &alias.expr } else { e };
            let Expr::WindowFunction(function) = inner else { return Err(Error::new("a window without a function").at(place(e))) };
            let live = self.is_live_expression(e, schema, &input)?;
            if !live && input.weight.is_empty() {
                self.frozen_window(inner, schema, &mut input)?;
                continue;
            }
            input = match ranking(inner, function)? {
                Some(ranking) => self.ranked_window(inner, function, ranking, schema, input, &mut last)?,
                None => self.framed_window(inner, function, schema, input)?,
            };
        }
        Ok(input)
    }

    /// A window function that nothing live reaches is a column of the skeleton.
    fn frozen_window(&mut self, e: &Expr, schema: &DFSchema, input: &mut Relation) -> Result<()> {
        input.flush()?;
        let id = self.fresh();
        let mut function = self.skeleton_expression(e, schema, input)?;
        if let (Expr::WindowFunction(function), Some(key)) = (&mut function, self.outer_key(input)?) {
            function.params.partition_by.push(column(key));
        }
        input.plan = LogicalPlanBuilder::from(input.plan.clone()).window(vec![function.alias(column_name(id))])?.build()?;
        input.names.insert(id, e.human_display().to_string());
        input.columns.push(Slot::Frozen(id));
        Ok(())
    }

    /// A rank by a live order. Functions over the same window read the same stage.
    fn ranked_window(
        &mut self,
        e: &Expr,
        function: &WindowFunction,
        ranking: Ranking,
        schema: &DFSchema,
        mut input: Relation,
        last: &mut Option<(Over, Ranked)>,
    ) -> Result<Relation> {
        let params = &function.params;
        let over = (params.partition_by.clone(), params.order_by.clone());
        // The rows of a frozen order have a place of their own for each function.
        let known = last.take().filter(|(same, ranked)| *same == over && ranked.order.key.is_some());
        let ranked = match known {
            Some((_, ranked)) => ranked,
            None => {
                let partition = self.partition(&params.partition_by, schema, &mut input)?;
                let keys = self.sort_keys(&params.order_by, schema, &mut input)?;
                let live = keys.iter().any(Key::is_live);
                if keys.is_empty() {
                    return Err(Error::new(format!("{} without an order, over rows that a live filter weighs", function.fun.name()))
                        .at(place(e))
                        .hint("OVER (... ORDER BY ...) says which row is the first"));
                }
                let without_partition = |(ranked, relation, _)| (ranked, relation);
                let (ranked, relation) = match ranking {
                    _ if live => self.rank_rows(input, partition, &keys).map(without_partition)?,
                    Ranking::RowNumber => self.place_rows(input, partition, &keys).map(without_partition)?,
                    Ranking::Rank => self.place_peers(input, partition, &keys)?,
                    _ => {
                        let what = "over rows that a live filter weighs, without an order that is live";
                        return Err(Error::new(format!("{} {what}", function.fun.name()))
                            .at(place(e))
                            .hint("ROW_NUMBER and RANK may have a frozen order; or rank before the filter, in a sub-query"));
                    }
                };
                input = relation;
                ranked
            }
        };
        if matches!(ranking, Ranking::Tile(_)) && !self.stages[ranked.stage].weight.is_empty() {
            return Err(Error::new(format!("{} over rows that a live filter weighs", e.human_display()))
                .at(place(e))
                .hint("the sizes of the tiles depend on which rows are present: use PERCENT_RANK"));
        }
        let of_all_rows = !matches!(ranking, Ranking::RowNumber | Ranking::Rank);
        if of_all_rows && ranked.order.before.is_some() {
            return Err(Error::new(format!("{} with a frozen key before a live one", function.fun.name()))
                .at(place(e))
                .hint("PARTITION BY the frozen key, or use ROW_NUMBER or RANK"));
        }
        let value = self.ranking(&ranked, ranking, e.human_display().to_string());
        input.columns.push(Slot::Live(Live::Number(value)));
        *last = Some((over, ranked));
        Ok(input)
    }

    /// The frozen columns of a PARTITION BY; in a sub-query that depends on the rows around it, each of these has its own.
    pub(super) fn partition(&mut self, by: &[Expr], schema: &DFSchema, input: &mut Relation) -> Result<Vec<usize>> {
        let mut columns = vec![];
        for e in by {
            if self.is_live_expression(e, schema, input)? {
                let what = format!("PARTITION BY the live value {}", e.human_display());
                return Err(Error::new(what).at(place(e)).hint("a live number has no finite set of values: partition by frozen columns"));
            }
            columns.push(self.frozen_column(e, schema, input)?);
        }
        columns.extend(self.outer_key(input)?);
        Ok(columns)
    }
}

/// The ranking that a window function is, if it is one.
fn ranking(e: &Expr, function: &WindowFunction) -> Result<Option<Ranking>> {
    if function.fun.name() != "ntile" {
        return Ok(Ranking::ALL.iter().find(|r| r.name() == function.fun.name()).copied());
    }
    let tiles = function.params.args.first().and_then(constant).and_then(|n| n.cast_to(&DataType::Int64).ok());
    match tiles {
        Some(ScalarValue::Int64(Some(n @ 1..=MOST_TILES))) => Ok(Some(Ranking::Tile(n.unsigned_abs()))),
        _ => {
            let what = format!("the number of tiles of NTILE in a live order must be a literal between 1 and {MOST_TILES}");
            Err(Error::new(what).at(place(e)).hint("NTILE(4), or PERCENT_RANK"))
        }
    }
}
