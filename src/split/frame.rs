//! Window functions of live values over a frozen order: the exact engine says which rows a frame has, as row numbers of a
//! finished stage. SUM, AVG and COUNT are differences of running sums, MIN and MAX go over the rows of each frame, LAG and its
//! like read another row, and an aggregate of the whole partition is one number for all its rows.

use super::expression::{is_list, vectors};
use super::join::only_where;
use super::order::frozen_key;
use super::relation::{Key, Known, Live, Relation, Slot, place};
use super::rows::{number, product};
use super::{Splitter, column, column_name};
use crate::algebra::{Aggregate, Expression, Grouping, Output, OutputValue, Predicate, Running, Source};
use crate::error::{Error, Result};
use crate::scalar::Binary;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{DFSchema, JoinType};
use datafusion::functions_aggregate::min_max::{max_udaf, min_udaf};
use datafusion::functions_nested::range::gen_series;
use datafusion::functions_window::expr_fn::row_number;
use datafusion::logical_expr::expr::{AggregateFunction, NullTreatment, WindowFunction};
use datafusion::logical_expr::{
    Expr, ExprFunctionExt, ExprSchemable, LogicalPlanBuilder, SortExpr, WindowFrame, WindowFrameBound, WindowFrameUnits,
    WindowFunctionDefinition, cast, lit,
};
use std::collections::BTreeMap;

impl Splitter<'_> {
    pub(super) fn framed_window(
        &mut self,
        e: &Expr,
        function: &WindowFunction,
        schema: &DFSchema,
        mut input: Relation,
    ) -> Result<Relation> {
        let params = &function.params;
        let partition = self.partition(&params.partition_by, schema, &mut input)?;
        let keys = self.sort_keys(&params.order_by, schema, &mut input)?;
        if let Some(live) = keys.iter().find(|k| k.is_live()) {
            return Err(Error::new(format!("{} in the live order {}", e.human_display(), live.label))
                .at(live.place.clone())
                .hint("ranks may have a live order; FIRST_VALUE(v ORDER BY live) may be an aggregate; else order by frozen columns"));
        }
        let whole = params.order_by.is_empty() && is_unbounded(&params.window_frame);
        match &function.fun {
            WindowFunctionDefinition::AggregateUDF(udf) if whole => {
                let (args, filter) = (params.args.clone(), params.filter.clone());
                let aggregate = AggregateFunction::new_udf(udf.clone(), args, params.distinct, filter, vec![], params.null_treatment);
                self.whole_partition(&Expr::AggregateFunction(aggregate), schema, input, partition)
            }
            WindowFunctionDefinition::AggregateUDF(udf) if matches!(udf.name(), "sum" | "avg" | "count") && !params.distinct => {
                self.running(e, function, schema, input, (partition, keys))
            }
            WindowFunctionDefinition::AggregateUDF(udf) if matches!(udf.name(), "min" | "max") => {
                self.extremum(e, function, schema, input, (partition, keys))
            }
            WindowFunctionDefinition::WindowUDF(udf)
                if matches!(udf.name(), "lag" | "lead" | "first_value" | "last_value" | "nth_value") =>
            {
                self.other_row(e, function, schema, input, (partition, keys))
            }
            _ => Err(Error::new(format!("the window function {} over a live relation has no relaxation yet", e.human_display()))
                .at(place(e))
                .hint("over a frame SUM, AVG, COUNT, MIN, MAX, LAG, LEAD, FIRST_VALUE, LAST_VALUE and NTH_VALUE have one, and aggregates of a whole partition")),
        }
    }

    /// An aggregate of all rows of the partition, for each of them.
    fn whole_partition(&mut self, aggregate: &Expr, schema: &DFSchema, mut input: Relation, partition: Vec<usize>) -> Result<Relation> {
        let output = self.live_aggregate(aggregate, schema, &mut input)?;
        let (mut relation, stage, row, _) = self.partitions(input, (partition, vec![]), vec![output])?;
        let value = Expression::Input { input: row, column: self.stages[stage].outputs.len() - 1 };
        relation.columns.push(Slot::Live(Live::Number(value)));
        Ok(relation)
    }

    /// Ends a stage in partitions with further outputs, which come last. Gives its rows, the stage, the column with its row
    /// numbers, and the new numbers of the columns that it passes on.
    pub(super) fn partitions(
        &mut self,
        input: Relation,
        sorted: (Vec<usize>, Vec<usize>),
        mut outputs: Vec<Output>,
    ) -> Result<(Relation, usize, usize, BTreeMap<usize, usize>)> {
        let weight = (!input.weight.is_empty()).then(|| product(input.weight.clone()));
        let mut more: Vec<Expression> = outputs.iter().flat_map(Output::expressions).collect();
        more.extend(weight.clone());
        let kept: Vec<usize> = sorted.0.iter().chain(&sorted.1).copied().collect();
        let finished = self.finish_in_order(input, Grouping::Partitions, sorted, &kept, &mut more)?;
        self.stages[finished.stage].weight = weight.and_then(|_| more.pop()).into_iter().collect();
        let mut more = more.into_iter();
        outputs.iter_mut().for_each(|output| output.replace(&mut more));
        self.stages[finished.stage].outputs.extend(outputs);
        let (relation, row, renamed) = self.read_renamed(&finished)?;
        Ok((relation, finished.stage, row, renamed))
    }

    /// SUM, AVG and COUNT over a frame: what has run up to its last row, less what had before its first.
    fn running(
        &mut self,
        e: &Expr,
        function: &WindowFunction,
        schema: &DFSchema,
        mut input: Relation,
        (partition, keys): (Vec<usize>, Vec<Key>),
    ) -> Result<Relation> {
        let outputs = self.running_sums(e, function, schema, &mut input)?;
        let added = outputs.len();
        let Framed { mut relation, stage, bounds, .. } = self.framed(e, function, input, (partition, keys), outputs)?;
        let value = over_frame(function.fun.name(), bounds, self.stages[stage].outputs.len() - added);
        relation.columns.push(Slot::Live(Live::Number(value)));
        Ok(relation)
    }

    /// Ends a stage in a frozen order within partitions, with further outputs, and finds each row's frame in it.
    fn framed(
        &mut self,
        e: &Expr,
        function: &WindowFunction,
        mut input: Relation,
        (partition, keys): (Vec<usize>, Vec<Key>),
        outputs: Vec<Output>,
    ) -> Result<Framed> {
        let frame = &function.params.window_frame;
        if !input.weight.is_empty() && counts_rows(frame) {
            return Err(Error::new(format!("{} over a number of rows that a live filter weighs", e.human_display()))
                .at(place(e))
                .hint("a frame from or to the row at hand, or RANGE BETWEEN, does not depend on which rows are present"));
        }
        let at = self.place_in_order(&mut input, &partition, &keys)?;
        let sorted = [at].into_iter().chain(frozen_columns(&keys)).collect();
        let (mut relation, stage, row, passed) = self.partitions(input, (partition.clone(), sorted), outputs)?;
        let by_place = frame.units == WindowFrameUnits::Rows;
        let order = if by_place { vec![column(passed[&at]).sort(true, true)] } else { keys_again(&keys, &passed) };
        let bounds = (self.fresh(), self.fresh());
        let ends = [(min_udaf(), bounds.0), (max_udaf(), bounds.1)].into_iter().map(|(udf, id)| {
            let over = Expr::from(WindowFunction::new(udf, vec![column(row)]))
                .partition_by(partition.iter().map(|id| column(passed[id])).collect())
                .order_by(order.clone())
                .window_frame(frame.clone());
            self.sources.insert(id, Source::Stage(stage));
            Ok(over.build()?.alias(column_name(id)))
        });
        let ends = ends.collect::<Result<Vec<_>>>()?;
        relation.plan = LogicalPlanBuilder::from(relation.plan.clone()).window(ends)?.build()?;
        Ok(Framed { relation, stage, row, bounds })
    }

    /// MIN and MAX over a frame: each row with each row of its frame, grouped by the former.
    fn extremum(
        &mut self,
        e: &Expr,
        function: &WindowFunction,
        schema: &DFSchema,
        mut input: Relation,
        sorted: (Vec<usize>, Vec<Key>),
    ) -> Result<Relation> {
        let (params, label) = (&function.params, e.human_display().to_string());
        let [argument] = params.args.as_slice() else { return Err(Error::new(format!("{label} takes one argument")).at(place(e))) };
        if is_list(&argument.get_type(schema)?) {
            return Err(vectors(e));
        }
        let value = self.number(argument, schema, &mut input)?;
        let value = match params.filter.as_deref().map(|p| self.predicate(p, schema, &mut input)).transpose()? {
            Some(p) => only_where(p, value),
            None => value,
        };
        let weight = (!input.weight.is_empty()).then(|| product(input.weight.clone()));
        let read: Vec<Output> =
            [value].into_iter().chain(weight).map(|e| Output { value: OutputValue::Row(e), label: label.clone() }).collect();
        let count = read.len();
        let Framed { mut relation, stage, row, bounds: (first, last) } = self.framed(e, function, input, sorted, read)?;
        let own = self.stages[stage].outputs.len() - count;
        let (number, member) = (self.fresh(), self.fresh());
        relation.add(number, "row".into(), column(row));
        relation.flush()?;
        self.sources.insert(member, Source::Stage(stage));
        let end = |id: usize| cast(column(id), DataType::Int64);
        let members = gen_series(end(first), end(last), lit(1i64)).alias(column_name(member));
        let plan = LogicalPlanBuilder::from(relation.plan.clone()).filter(column(first).is_not_null())?;
        let plan = plan.project(vec![column(number), members])?.unnest_column(column_name(member))?;
        let member_row = cast(column(member), DataType::UInt32).alias(column_name(member));
        let plan = plan.project(vec![column(number), member_row])?.build()?;
        let mut values = (own..own + count).map(|column| Expression::Input { input: member, column });
        let argument = values.next();
        let (weight, known) = (values.collect(), Known::default());
        let pairs = Relation { plan, columns: vec![], weight, known, carried: vec![], ..relation.clone() };
        let aggregate = if function.fun.name() == "min" { Aggregate::Min } else { Aggregate::Max };
        let best = Output { value: OutputValue::Aggregate { aggregate, argument, filter: None }, label };
        let best = self.end_stage(&pairs, Grouping::Each, vec![number], vec![best], vec![])?;
        let (found, _) = self.join_stage(&mut relation, number, best, number, &[], JoinType::Left)?;
        relation.columns.push(Slot::Live(Live::Number(Expression::Input { input: found, column: 0 })));
        Ok(relation)
    }

    /// What runs along the rows: the count up to each row and before it, and the sum where it is asked for.
    fn running_sums(&mut self, e: &Expr, function: &WindowFunction, schema: &DFSchema, input: &mut Relation) -> Result<Vec<Output>> {
        let (params, counts) = (&function.params, function.fun.name() == "count");
        let [argument] = params.args.as_slice() else {
            return Err(Error::new(format!("{} takes one argument", e.human_display())).at(place(e)));
        };
        if !counts && is_list(&argument.get_type(schema)?) {
            return Err(Error::new(format!("a running sum of vectors: {}", e.human_display()))
                .at(place(e))
                .hint("aggregate the whole partition, or elements such as v[1]"));
        }
        let argument = if counts && !self.is_live_expression(argument, schema, input)? {
            self.count_argument(argument, schema, input)?
        } else {
            Some(self.number(argument, schema, input)?)
        };
        let filter = params.filter.as_deref().map(|p| self.predicate(p, schema, input)).transpose()?;
        let kinds: &[Running] = if counts { &[Running::Count] } else { &[Running::Count, Running::Sum] };
        let outputs = kinds.iter().flat_map(|running| [(*running, true), (*running, false)]).map(|(running, through)| Output {
            value: OutputValue::Running { running, argument: argument.clone(), filter: filter.clone(), through },
            label: e.human_display().to_string(),
        });
        Ok(outputs.collect())
    }

    /// Each row's place in its partition, a strict order.
    pub(super) fn place_in_order(&mut self, input: &mut Relation, partition: &[usize], keys: &[Key]) -> Result<usize> {
        input.flush()?;
        let id = self.fresh();
        let over = row_number().partition_by(partition.iter().map(|id| column(*id)).collect());
        let over = over.order_by(keys.iter().filter_map(frozen_key).collect()).build()?;
        input.plan = LogicalPlanBuilder::from(input.plan.clone()).window(vec![over.alias(column_name(id))])?.build()?;
        Ok(id)
    }

    /// LAG, LEAD and the like: the exact engine finds the row, and the value is read there.
    fn other_row(
        &mut self,
        e: &Expr,
        function: &WindowFunction,
        schema: &DFSchema,
        mut input: Relation,
        (partition, keys): (Vec<usize>, Vec<Key>),
    ) -> Result<Relation> {
        let params = &function.params;
        if !input.weight.is_empty() {
            return Err(Error::new(format!("{} over rows that a live filter weighs", e.human_display()))
                .at(place(e))
                .hint("which row comes next depends on which are present: filter after the window, in an outer query"));
        }
        if params.null_treatment == Some(NullTreatment::IgnoreNulls) {
            return Err(Error::new(format!("{} of a live value", e.human_display()))
                .at(place(e))
                .hint("filter the rows that are NULL in a sub-query, and leave IGNORE NULLS out"));
        }
        let Some((argument, rest)) = params.args.split_first() else {
            return Err(Error::new(format!("{} takes an argument", e.human_display())).at(place(e)));
        };
        let value = self.number(argument, schema, &mut input)?;
        let output = Output { value: OutputValue::Row(value), label: argument.human_display().to_string() };
        let kept = (partition.clone(), frozen_columns(&keys).collect());
        let (mut relation, stage, row, passed) = self.partitions(input, kept, vec![output])?;
        let at = self.stages[stage].outputs.len() - 1;
        let (found, there) = (self.fresh(), self.fresh());
        let mut over = function.clone();
        let offset = rest.first().map(|e| self.skeleton_expression(e, schema, &relation)).transpose()?;
        over.params.args = [column(row)].into_iter().chain(offset).collect();
        over.params.partition_by = partition.iter().map(|id| column(passed[id])).collect();
        over.params.order_by = keys_again(&keys, &passed);
        let over = Expr::from(over).alias(column_name(found));
        relation.plan = LogicalPlanBuilder::from(relation.plan.clone()).window(vec![over])?.build()?;
        self.sources.insert(found, Source::Stage(stage));
        let mut value = Expression::Input { input: found, column: at };
        if let Some(default) = rest.get(1) {
            let default = number(match self.column(default, schema, &mut relation)? {
                Slot::Live(live) => live,
                Slot::Frozen(id) => Live::Number(Expression::Residual(id)),
            });
            relation.add(there, "row".into(), column(found).is_not_null());
            relation.flush()?;
            value = Expression::Case { branches: vec![(Predicate::Frozen(there), value)], otherwise: Box::new(default) };
        }
        relation.columns.push(Slot::Live(Live::Number(value)));
        Ok(relation)
    }
}

/// Rows in a frozen order, each with the columns that hold the first and the last row of its frame.
struct Framed {
    relation: Relation,
    stage: usize,
    row: usize,
    bounds: (usize, usize),
}

/// The value over a frame, given the columns with its first and last row and the first of the running sums.
fn over_frame(name: &str, (first, last): (usize, usize), base: usize) -> Expression {
    let difference = |output: usize| {
        let to = Expression::Input { input: last, column: base + output };
        let from = Expression::Input { input: first, column: base + output + 1 };
        Expression::Binary(Binary::Subtract, Box::new(to), Box::new(from))
    };
    let bounded = |f: Binary, e: Expression, by: f64| Expression::Binary(f, Box::new(e), Box::new(Expression::Number(by)));
    // A frame without rows has no row numbers.
    let count = Expression::Coalesce(vec![difference(0), Expression::Number(0.0)]);
    if name == "count" {
        return count;
    }
    let some = Predicate::Degree(Box::new(bounded(Binary::Greatest, bounded(Binary::Least, count.clone(), 1.0), 0.0)));
    let value = match name {
        "sum" => difference(2),
        _ => Expression::Binary(Binary::Divide, Box::new(difference(2)), Box::new(bounded(Binary::Greatest, count, 1e-30))),
    };
    only_where(some, value)
}

fn keys_again(keys: &[Key], passed: &BTreeMap<usize, usize>) -> Vec<SortExpr> {
    let again = |k: &Key| if let Slot::Frozen(id) = k.value { Some(Key { value: Slot::Frozen(passed[&id]), ..k.clone() }) } else { None };
    keys.iter().filter_map(again).filter_map(|k| frozen_key(&k)).collect()
}

pub(super) fn frozen_columns(keys: &[Key]) -> impl Iterator<Item = usize> {
    keys.iter().filter_map(|k| if let Slot::Frozen(id) = k.value { Some(id) } else { None })
}

fn is_unbounded(frame: &WindowFrame) -> bool {
    frame.start_bound.is_unbounded() && frame.end_bound.is_unbounded()
}

/// Whether a frame goes a number of rows (or of groups of them) from the row at hand.
fn counts_rows(frame: &WindowFrame) -> bool {
    let counts = |bound: &WindowFrameBound| !bound.is_unbounded() && !matches!(bound, WindowFrameBound::CurrentRow);
    frame.units != WindowFrameUnits::Range && (counts(&frame.start_bound) || counts(&frame.end_bound))
}
