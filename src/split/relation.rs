//! Operators: what is left of each when its frozen part goes into the skeleton.

use super::join::swapped;
use super::subquery::{each_call, given_back, reads_outer};
use super::{Splitter, column, column_name};
use crate::algebra::{Expression, Predicate, Source};
use crate::error::{Error, Place, Result};
use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, JoinType};
use datafusion::logical_expr::{Distinct, Expr, LogicalPlan, LogicalPlanBuilder, TableScan, utils::split_conjunction};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A relation on its way through the split.
#[derive(Debug, Clone)]
pub(super) struct Relation {
    /// The skeleton so far; its columns are `c{n}`.
    pub plan: LogicalPlan,
    /// One for each column of the original plan.
    pub columns: Vec<Slot>,
    /// Factors of a row's weight.
    pub weight: Vec<Expression>,
    /// Frozen expressions that the next operator finds as columns.
    pub pending: Vec<(usize, Expr)>,
    /// What each skeleton column is, as SQL.
    pub names: BTreeMap<usize, String>,
    pub known: Known,
    /// What pairs carry along of other rows, by name: columns of an outer query, numbers and weights of rows.
    pub carried: Vec<(Column, Slot)>,
}

/// What is known of a relation's rows beyond their values.
#[derive(Debug, Clone, Default)]
pub(super) struct Known {
    /// The order of the rows, where the skeleton has not sorted them: something live orders or weighs them.
    pub order: Option<Vec<Key>>,
    /// Of the rows that are equal in these columns, at most one is present.
    pub exclusive: Option<Vec<usize>>,
    /// Columns with row numbers of stages that rank their rows, and the columns of each one's partition. No row occurs twice.
    pub ranked: Vec<(usize, Vec<usize>)>,
}

/// A key that rows are in the order of.
#[derive(Debug, Clone)]
pub(super) struct Key {
    pub value: Slot,
    pub descending: bool,
    pub nulls_first: bool,
    /// As SQL.
    pub label: String,
    pub place: Place,
}

impl Key {
    pub fn is_live(&self) -> bool {
        matches!(self.value, Slot::Live(_))
    }
}

#[derive(Debug, Clone)]
pub(super) enum Slot {
    Frozen(usize),
    Live(Live),
}

/// A live column: over skeleton columns instead of slots, until its stage ends.
#[derive(Debug, Clone)]
pub(super) enum Live {
    Number(Expression),
    Truth(Predicate),
}

impl Slot {
    fn renumber(&mut self, f: &mut dyn FnMut(usize) -> usize) {
        match self {
            Slot::Frozen(id) => *id = f(*id),
            Slot::Live(Live::Number(e)) => e.renumber(&mut |id, _| f(id)),
            Slot::Live(Live::Truth(p)) => p.renumber(&mut |id, _| f(id)),
        }
    }
}

impl Known {
    fn renumber(&mut self, f: &mut dyn FnMut(usize) -> usize) {
        self.order.iter_mut().flatten().for_each(|key| key.value.renumber(f));
        self.exclusive.iter_mut().flatten().for_each(|id| *id = f(*id));
        for (row, partition) in &mut self.ranked {
            *row = f(*row);
            partition.iter_mut().for_each(|id| *id = f(*id));
        }
    }
}

impl Relation {
    /// The column as a live number, residual or truth value.
    pub fn live(&self, position: usize) -> Result<Live> {
        Ok(match &self.columns[position] {
            Slot::Live(live) => live.clone(),
            Slot::Frozen(id) => Live::Number(Expression::Residual(*id)),
        })
    }

    pub fn carries(&self, name: &Column) -> bool {
        self.carried.iter().any(|(known, _)| known == name)
    }

    /// What is carried under a name.
    pub fn of_outer(&self, name: &Column) -> Result<&Slot> {
        let found = self.carried.iter().find(|(known, _)| known == name);
        found.map(|(_, slot)| slot).ok_or_else(|| Error::new(format!("the split lost {name} of the query around")))
    }

    /// A row number that is carried.
    pub fn key(&self, name: &Column) -> Result<usize> {
        match self.of_outer(name)? {
            Slot::Frozen(id) => Ok(*id),
            Slot::Live(_) => Err(Error::new(format!("the split took the row number {name} for live"))),
        }
    }

    /// Renumbers the skeleton columns that the live part and the frozen slots read.
    pub fn renumber(&mut self, f: &mut dyn FnMut(usize) -> usize) {
        for slot in self.columns.iter_mut().chain(self.carried.iter_mut().map(|(_, slot)| slot)) {
            slot.renumber(f);
        }
        self.weight.iter_mut().for_each(|e| e.renumber(&mut |id, _| f(id)));
        self.known.renumber(f);
    }

    /// Adds a frozen expression over the skeleton's columns.
    pub fn add(&mut self, id: usize, name: String, expression: Expr) -> usize {
        self.names.insert(id, name);
        self.pending.push((id, expression));
        id
    }

    /// Puts the pending expressions into the skeleton.
    pub fn flush(&mut self) -> Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let mut expressions: Vec<Expr> = self.plan.schema().columns().into_iter().map(Expr::Column).collect();
        expressions.extend(self.pending.drain(..).map(|(id, e)| e.alias(column_name(id))));
        self.plan = LogicalPlanBuilder::from(self.plan.clone()).project(expressions)?.build()?;
        Ok(())
    }
}

/// Whether the plan gives other rows each time.
fn is_volatile(plan: &LogicalPlan) -> Result<bool> {
    let mut volatile = false;
    plan.apply_with_subqueries(|node| {
        volatile = volatile || node.expressions().iter().any(Expr::is_volatile);
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(volatile)
}

impl Splitter<'_> {
    pub(super) fn relation(&mut self, plan: &LogicalPlan) -> Result<Relation> {
        if !self.is_live(plan)? && !reads_outer(plan)? {
            return self.frozen(plan);
        }
        // Inside of a sub-query, or of a round, the same plan may read other rows.
        let key = if self.contexts.is_empty() && self.work.is_empty() { Some((plan.clone(), self.sources_of(plan)?)) } else { None };
        if let Some(split) = key.as_ref().and_then(|key| self.split.get(key)) {
            return self.again(split.clone());
        }
        let before = (self.stages.len(), self.recursions.len(), self.refusals.len());
        let relation = self.operator(plan)?;
        let (stages, recursions, refusals) = (self.stages.len(), self.recursions.len(), self.refusals.len());
        let is_whole = stages > before.0 && (recursions, refusals) == (before.1, before.2);
        if let Some(key) = key.filter(|_| is_whole)
            && !is_volatile(plan)?
        {
            self.split.insert(key, relation.clone());
        }
        Ok(relation)
    }

    /// Where the rows of each scan come from: equal plans may read different ones, for the name of `generate_series(1, 3)` has no arguments.
    /// Tables with live columns are known by name.
    fn sources_of(&self, plan: &LogicalPlan) -> Result<Vec<usize>> {
        let mut sources = vec![];
        plan.apply_with_subqueries(|node| {
            if let LogicalPlan::TableScan(scan) = node
                && !self.tables.iter().any(|t| t.is(&scan.table_name))
            {
                sources.push(Arc::as_ptr(&scan.source).cast::<()>() as usize);
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(sources)
    }

    /// A relation that was split before, under column names of its own: its stages are read once more and not made again.
    fn again(&mut self, mut relation: Relation) -> Result<Relation> {
        relation.flush()?;
        let mut renamed = BTreeMap::new();
        let mut columns = vec![];
        for field in relation.plan.schema().fields() {
            let id: usize =
                field.name().strip_prefix('c').and_then(|n| n.parse().ok()).ok_or_else(|| Error::new("the split lost a column"))?;
            let now = self.fresh();
            if let Some(source) = self.sources.get(&id).copied() {
                self.sources.insert(now, source);
            }
            renamed.insert(id, now);
            columns.push(column(id).alias(column_name(now)));
        }
        relation.plan = LogicalPlanBuilder::from(relation.plan.clone()).project(columns)?.build()?;
        relation.names = relation.names.iter().filter_map(|(id, name)| Some((*renamed.get(id)?, name.clone()))).collect();
        relation.renumber(&mut |id| renamed[&id]);
        Ok(relation)
    }

    fn operator(&mut self, plan: &LogicalPlan) -> Result<Relation> {
        match plan {
            LogicalPlan::TableScan(scan) if self.is_live_work_table(scan) => self.scan_work_table(scan),
            LogicalPlan::TableScan(scan) => self.scan(scan),
            LogicalPlan::RecursiveQuery(query) => self.recursive(query, plan),
            LogicalPlan::SubqueryAlias(alias) => self.relation(&alias.input),
            LogicalPlan::Subquery(subquery) => self.relation(&subquery.subquery),
            LogicalPlan::Projection(projection) => {
                let input = self.relation(&projection.input)?;
                self.project(input, projection.input.schema(), &projection.expr)
            }
            LogicalPlan::Filter(filter) => {
                let mut input = self.relation(&filter.input)?;
                let schema = filter.input.schema();
                self.condition(&mut input, schema, &filter.predicate)?;
                Ok(input)
            }
            LogicalPlan::Join(join) if join.join_type == JoinType::Inner => self.inner_join(join),
            LogicalPlan::Join(join) if matches!(join.join_type, JoinType::Left | JoinType::Right | JoinType::Full) => self.outer_join(join),
            LogicalPlan::Join(join) if matches!(join.join_type, JoinType::LeftSemi | JoinType::LeftAnti) => self.semi_join(join),
            LogicalPlan::Join(join) if matches!(join.join_type, JoinType::RightSemi | JoinType::RightAnti) => {
                self.semi_join(&swapped(join)?)
            }
            LogicalPlan::Aggregate(aggregate) => self.aggregate(aggregate),
            LogicalPlan::Sort(sort) => self.sort(sort),
            LogicalPlan::Limit(limit) => self.limit(limit, plan),
            LogicalPlan::Distinct(Distinct::On(distinct)) => self.distinct_on(distinct),
            LogicalPlan::Distinct(Distinct::All(input)) => self.distinct(plan, input),
            LogicalPlan::Union(union) => self.union(union),
            LogicalPlan::Join(join) => Err(refusal(
                &format!("a {} join with a live side", join.join_type.to_string().to_lowercase()),
                plan,
                "use an inner, outer, semi or anti join",
            )),
            LogicalPlan::Window(window) => self.window(window),
            other => Err(refusal(
                "an operator that has no gradient",
                other,
                "compute it in a table before training, or train without a gradient: RELAX (estimator => 'perturbed')",
            )),
        }
    }

    /// Whether anything in the plan, sub-queries included, reads a live column.
    pub(super) fn is_live(&self, plan: &LogicalPlan) -> Result<bool> {
        let mut live = false;
        plan.apply(|node| {
            if let LogicalPlan::TableScan(scan) = node {
                let table = self.tables.iter().find(|t| t.is(&scan.table_name));
                live |= table.is_some_and(|t| scan.projected_schema.fields().iter().any(|f| t.parameter(f.name()).is_some()))
                    || self.is_live_work_table(scan);
            }
            node.apply_expressions(|e| {
                each_call(e, &mut |call| {
                    live = live || self.is_live(&call.plan)?;
                    Ok(())
                })?;
                Ok(TreeNodeRecursion::Continue)
            })?;
            Ok(if live { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        })?;
        Ok(live)
    }

    /// A frozen plan is a skeleton as it is.
    fn frozen(&mut self, plan: &LogicalPlan) -> Result<Relation> {
        let plan = &given_back(plan.clone())?;
        let mut names = BTreeMap::new();
        let (mut columns, mut expressions) = (vec![], vec![]);
        for c in plan.schema().columns() {
            let id = self.fresh();
            names.insert(id, c.name.clone());
            columns.push(Slot::Frozen(id));
            expressions.push(Expr::Column(c).alias(column_name(id)));
        }
        let plan = LogicalPlanBuilder::from(plan.clone()).project(expressions)?.build()?;
        Ok(Relation { plan, columns, weight: vec![], pending: vec![], names, known: Known::default(), carried: vec![] })
    }

    fn scan(&mut self, scan: &TableScan) -> Result<Relation> {
        let found = self.tables.iter().find(|t| t.is(&scan.table_name));
        let table = found.ok_or_else(|| Error::new(format!("the split took table {} for live", scan.table_name)))?;
        let skeleton = LogicalPlanBuilder::scan("live", table.source(), None)?;
        let (mut columns, mut expressions, mut names) = (vec![], vec![], BTreeMap::new());
        let row = self.fresh();
        self.sources.insert(row, Source::Table(table.number));
        names.insert(row, format!("row of {}", table.name));
        expressions.push(Expr::Column(super::table::row_column("live")).alias(column_name(row)));
        for field in scan.projected_schema.fields() {
            if let Some(parameter) = table.parameter(field.name()) {
                self.reached.insert(parameter);
                columns.push(Slot::Live(Live::Number(Expression::Input { input: row, column: parameter })));
            } else {
                let id = self.fresh();
                names.insert(id, field.name().clone());
                expressions.push(datafusion::logical_expr::ident(field.name()).alias(column_name(id)));
                columns.push(Slot::Frozen(id));
            }
        }
        let plan = skeleton.project(expressions)?.build()?;
        let mut relation = Relation { plan, columns, weight: vec![], pending: vec![], names, known: Known::default(), carried: vec![] };
        for filter in &scan.filters {
            self.condition(&mut relation, &scan.projected_schema, filter)?;
        }
        Ok(relation)
    }

    pub(super) fn project(&mut self, input: Relation, schema: &DFSchema, expressions: &[Expr]) -> Result<Relation> {
        let mut input = self.with_outer(input, expressions)?;
        let (schema, expressions) = self.unnest(&mut input, schema, expressions.iter().cloned())?;
        let mut columns = vec![];
        for e in &expressions {
            match self.column(e, &schema, &mut input) {
                Ok(column) => columns.push(column),
                Err(refusal) => {
                    self.refusals.push(refusal);
                    columns.push(Slot::Live(Live::Number(Expression::Null)));
                }
            }
        }
        input.columns = columns;
        input.flush()?;
        Ok(input)
    }

    /// Frozen conjuncts filter the skeleton; live ones are factors of the weight.
    pub(super) fn condition(&mut self, relation: &mut Relation, schema: &DFSchema, predicate: &Expr) -> Result<()> {
        *relation = self.with_outer(relation.clone(), [predicate])?;
        let mut live = vec![];
        for conjunct in split_conjunction(predicate) {
            if self.is_live_expression(conjunct, schema, relation)? {
                live.push(conjunct);
                continue;
            }
            let condition = self.skeleton_expression(conjunct, schema, relation)?;
            relation.flush()?;
            relation.plan = LogicalPlanBuilder::from(relation.plan.clone()).filter(condition)?.build()?;
        }
        for conjunct in live {
            if let Err(refusal) = self.live_condition(relation, schema, conjunct) {
                self.refusals.push(refusal);
            }
        }
        relation.flush()
    }

    fn live_condition(&mut self, relation: &mut Relation, schema: &DFSchema, conjunct: &Expr) -> Result<()> {
        if self.semi_condition(relation, schema, conjunct)? {
            return Ok(());
        }
        let width = relation.columns.len();
        let (schema, unnested) = self.unnest(relation, schema, [conjunct.clone()])?;
        let p = self.predicate(&unnested[0], &schema, relation)?;
        relation.columns.truncate(width);
        self.note_exclusive(relation, &p);
        relation.weight.push(Expression::Degree(Box::new(p)));
        Ok(())
    }

    /// Both relations side by side, before any condition.
    pub(super) fn beside(left: Relation, right: Relation, plan: LogicalPlan) -> Relation {
        let mut names = left.names;
        names.extend(right.names);
        Relation {
            plan,
            columns: left.columns.into_iter().chain(right.columns).collect(),
            weight: left.weight.into_iter().chain(right.weight).collect(),
            pending: vec![],
            names,
            known: Known::default(),
            carried: left.carried.into_iter().chain(right.carried).collect(),
        }
    }

    /// A relation that reads a finished stage: the columns that it passes on under new numbers, and its rows.
    pub(super) fn read_stage(
        &mut self,
        stage: usize,
        passed: &[usize],
        names: &BTreeMap<usize, String>,
    ) -> Result<(Relation, BTreeMap<usize, usize>, usize)> {
        let table = self.skeletons[stage].table.clone();
        let row = self.fresh();
        self.sources.insert(row, Source::Stage(stage));
        let mut new_names = BTreeMap::from([(row, format!("row of stage {}", stage + 1))]);
        let mut expressions = vec![Expr::Column(super::table::row_column("stage")).alias(column_name(row))];
        let mut renamed = BTreeMap::new();
        for id in passed {
            let new = self.fresh();
            expressions.push(column(*id).alias(column_name(new)));
            renamed.insert(*id, new);
            if let Some(name) = names.get(id) {
                new_names.insert(new, name.clone());
            }
        }
        let plan = LogicalPlanBuilder::scan("stage", super::table::source(table), None)?.project(expressions)?.build()?;
        let relation =
            Relation { plan, columns: vec![], weight: vec![], pending: vec![], names: new_names, known: Known::default(), carried: vec![] };
        Ok((relation, renamed, row))
    }
}

/// One more column at the end of a relation's schema, and the expression that reads it.
pub(super) fn one_more(schema: &DFSchema, name: String, kind: DataType) -> Result<(DFSchema, Expr)> {
    let field = Arc::new(Field::new(&name, kind, true));
    let schema = schema.join(&DFSchema::from_unqualified_fields(vec![field].into(), Default::default())?)?;
    Ok((schema, Expr::Column(Column::from_name(name))))
}

/// The expression as its reader wrote it: a column of the query around is that column.
pub(super) fn text(e: &Expr) -> String {
    let plain = e.clone().transform_up(|e| match e {
        Expr::OuterReferenceColumn(_, c) => Ok(Transformed::yes(Expr::Column(c))),
        other => Ok(Transformed::no(other)),
    });
    plain.map_or_else(|_| e.human_display().to_string(), |plain| plain.data.human_display().to_string())
}

/// Where an expression stands: the position of its first column when that is known, else its text.
pub(super) fn place(e: &Expr) -> Place {
    let mut found = None;
    let walked = e.apply(|node| {
        if let Expr::Column(c) = node
            && let Some(span) = c.spans().first()
        {
            found = Some(Place::Position { line: span.start.line, column: span.start.column });
            return Ok(TreeNodeRecursion::Stop);
        }
        Ok(TreeNodeRecursion::Continue)
    });
    debug_assert!(walked.is_ok());
    found.unwrap_or_else(|| Place::Expression(e.human_display().to_string()))
}

/// Where an operator stands: the position of its first expression that has one, or of those below it.
pub(super) fn place_of(plan: &LogicalPlan) -> Place {
    let mut found = None;
    let walked = plan.apply(|node| {
        found = node.expressions().iter().map(place).find(|place| matches!(place, Place::Position { .. }));
        Ok(if found.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    debug_assert!(walked.is_ok());
    found.unwrap_or_else(|| Place::Expression(plan.display().to_string()))
}

pub(super) fn refusal(what: &str, plan: &LogicalPlan, hint: &str) -> Error {
    Error::new(what.to_string()).at(place_of(plan)).hint(hint)
}
