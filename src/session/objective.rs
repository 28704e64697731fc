//! The objective of a TRAIN: its plan, the tables with learnable columns that it reads, and its exact value.

use super::catalog::{self, MAIN};
use super::create::place;
use super::{Session, constant, kept, settings};
use crate::algebra::Parameter;
use crate::error::{Error, Result, both};
use crate::grammar::{self, Relaxed, Target};
use crate::split::{self, LiveTable, Split};
use crate::storage::Snapshot;
use crate::table::{self, TableDefinition};
use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{DataType, Float64Type};
use datafusion::common::TableReference;
use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::datasource::{MemTable, provider_as_source};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{LogicalPlan, TableScan};
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion::sql::parser::Statement as PlainStatement;
use datafusion::sql::sqlparser::ast::{Query, Statement as SqlStatement};
use std::sync::Arc;

/// What of a query is relaxed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// One row and one number, of learnable columns.
    Number,
    /// All rows, of learnable columns or not.
    Rows,
}

/// A query of learnable columns, planned over one snapshot.
pub(super) struct Planned {
    /// Tables with live columns, by number, with all their rows.
    pub tables: Vec<(TableDefinition, RecordBatch)>,
    /// Live columns, by number.
    pub parameters: Vec<Parameter>,
    pub exact: Exact,
    live: Vec<LiveTable>,
}

impl Planned {
    pub async fn new(session: &Session, query: &Relaxed, answer: Answer) -> Result<Self> {
        let (context, snapshot) = session.context().await?;
        let targets = targets(&snapshot, session, &query.targets);
        let plan = plan(&context, &query.query).await;
        let (plan, ()) = both(plan, targets)?;
        let (mut tables, mut unlisted) = (vec![], vec![]);
        for definition in read_tables(&plan, &snapshot)? {
            let learnable = definition.columns.iter().filter(|c| c.learnable);
            let (listed, others): (Vec<_>, Vec<_>) = learnable.partition(|c| is_target(&query.targets, &definition.name, &c.name));
            unlisted.extend(others.iter().map(|c| format!("{}.{}", definition.name, c.name)));
            if !listed.is_empty() {
                let rows = kept::all_rows(&context, &snapshot, &definition).await?;
                tables.push((definition, rows));
            }
        }
        let (live, parameters) = live_tables(&tables, &query.targets)?;
        if parameters.is_empty() && answer == Answer::Number {
            return Err(nothing_to_train(query, &unlisted).at(place(query.position)));
        }
        let plan = with_rows(plan, &tables)?;
        Ok(Self { tables, parameters, exact: Exact { context, snapshot, plan }, live })
    }

    fn split(self, query: &Relaxed, answer: Answer) -> Result<Objective> {
        let prepared = split::prepare(self.exact.plan.clone(), &self.exact.context.state())?;
        let takes_steps = settings::is_exact_forward(query);
        let split = match answer {
            Answer::Number => split::split(&prepared, &self.live, takes_steps)?,
            Answer::Rows => split::split_rows(&prepared, &self.live, takes_steps)?,
        };
        let single = split.reached.iter().all(|p| {
            let (definition, _) = &self.tables[self.parameters[*p].table];
            let column = self.parameters[*p].name.rsplit_once('.').map_or("", |(_, c)| c);
            definition.column(column).is_some_and(|c| table::element_type(&c.data_type) == &DataType::Float32)
        });
        Ok(Objective { planned: self, split, single })
    }
}

/// A planned query, split into its frozen and its live part.
pub(super) struct Objective {
    pub planned: Planned,
    pub split: Split,
    /// Whether every live column is REAL, so that the program may compute in single precision.
    pub single: bool,
}

impl Objective {
    pub async fn new(session: &Session, query: &Relaxed, answer: Answer) -> Result<Self> {
        let objective = Planned::new(session, query, answer).await?.split(query, answer)?;
        if answer == Answer::Number {
            objective.planned.exact.can_run().await?;
        }
        Ok(objective)
    }

    /// A context that runs skeletons in one partition, so that the same query gives the same order of rows.
    pub fn one_partition(context: &SessionContext) -> SessionContext {
        let config: SessionConfig = context.copied_config().with_target_partitions(1);
        let state = datafusion::execution::SessionStateBuilder::new_from_existing(context.state()).with_config(config).build();
        SessionContext::new_with_state(state)
    }
}

/// The same query, to be run exactly.
#[derive(Clone)]
pub(super) struct Exact {
    pub context: SessionContext,
    pub snapshot: Snapshot,
    plan: LogicalPlan,
}

impl Exact {
    /// Another query over the same snapshot. It runs in one partition, so that the same values give the same bits.
    pub async fn beside(&self, query: &Query) -> Result<Self> {
        let context = Objective::one_partition(&self.context);
        let plan = plan(&context, query).await?;
        Ok(Self { context, snapshot: self.snapshot.clone(), plan })
    }

    /// What its columns are.
    pub fn kinds(&self) -> Vec<DataType> {
        self.plan.schema().fields().iter().map(|f| f.data_type().clone()).collect()
    }

    /// Training ends with the exact value: a query that the exact engine does not plan is refused before, not after.
    pub async fn can_run(&self) -> Result<()> {
        match self.context.state().create_physical_plan(&self.plan).await {
            Err(e) if matches!(e.find_root(), DataFusionError::NotImplemented(_)) => {
                let error = Error::from(e);
                let is_subquery = error.to_string().to_lowercase().contains("subquer");
                Err(error.hint(if is_subquery {
                    "write the sub-query as a join with an aggregate grouped by the key"
                } else {
                    "the exact engine cannot run this query: write it as a query that SELECT can run"
                }))
            }
            _ => Ok(()),
        }
    }

    /// The exact objective over these rows of the tables with live columns; `None` for NULL.
    pub async fn value(&self, tables: &[(TableDefinition, RecordBatch)]) -> Result<Option<f64>> {
        Ok(self.values(tables).await?.into_iter().next().flatten())
    }

    /// The first column of all rows.
    pub async fn values(&self, tables: &[(TableDefinition, RecordBatch)]) -> Result<Vec<Option<f64>>> {
        let plan = constant::inlined(with_rows(self.plan.clone(), tables)?, &|scan| rows_of(scan, tables))?;
        let batches = self.context.execute_logical_plan(plan).await?.collect().await?;
        let mut values = vec![];
        for batch in batches.iter().filter(|b| b.num_rows() > 0) {
            let numbers = arrow::compute::cast(batch.column(0), &DataType::Float64)?;
            values.extend(numbers.as_primitive::<Float64Type>().iter());
        }
        Ok(values)
    }
}

async fn plan(context: &SessionContext, query: &Query) -> Result<LogicalPlan> {
    let statement = PlainStatement::Statement(Box::new(SqlStatement::Query(Box::new(query.clone()))));
    super::query::plan(context, &statement).await
}

/// The objective reads none of the learnable columns that it may train.
fn nothing_to_train(query: &Relaxed, unlisted: &[String]) -> Error {
    if unlisted.is_empty() {
        return Error::new("the objective reads no learnable column, so there is nothing to train")
            .hint("read a table with LEARNABLE columns in it: SELECT * FROM nabla.learnable_columns");
    }
    let listed: Vec<String> =
        query.targets.iter().map(|t| t.column.as_ref().map_or(t.table.clone(), |c| format!("{}.{c}", t.table))).collect();
    Error::new(format!("the objective reads nothing of {}, which TRAIN lists", listed.join(", ")))
        .hint(format!("it reads {}: list those, or nothing to train all", unlisted.join(", ")))
}

/// What TRAIN lists must be there and be learnable.
fn targets(snapshot: &Snapshot, session: &Session, targets: &[Target]) -> Result<()> {
    let refusals = targets.iter().filter_map(|target| target_error(snapshot, session, target).map(|e| e.at(place(target.position))));
    Error::all(refusals).map_or(Ok(()), Err)
}

fn target_error(snapshot: &Snapshot, session: &Session, target: &Target) -> Option<Error> {
    let Some(table) = snapshot.table(MAIN, &target.table) else {
        if session.temporary.contains(&target.table) {
            return Some(
                Error::new(format!("'{}' is an external table: its columns cannot be learned", target.table))
                    .hint("CREATE TABLE ... AS SELECT * FROM it, and make a column LEARNABLE"),
            );
        }
        let error = Error::new(format!("table '{}' not found", target.table));
        let known = snapshot.tables().iter().filter(|t| t.schema == MAIN).map(|t| t.name.as_str());
        return Some(match grammar::nearest(&target.table, known) {
            Some(meant) => error.hint(format!("did you mean '{meant}'?")),
            None => error.hint("TRAIN names tables or table.columns, then MINIMIZE or MAXIMIZE"),
        });
    };
    match &target.column {
        None if table.columns.iter().any(|c| c.learnable) => None,
        None => Some(
            Error::new(format!("table '{}' has no learnable column", table.name))
                .hint(format!("ALTER TABLE {} ALTER COLUMN ... SET LEARNABLE", table.name)),
        ),
        Some(name) => match kept::column(table, name) {
            Ok(column) if column.learnable => None,
            Ok(_) => Some(
                Error::new(format!("column '{name}' of table '{}' is not learnable", table.name))
                    .hint(format!("ALTER TABLE {} ALTER COLUMN {name} SET LEARNABLE", table.name)),
            ),
            Err(error) => Some(error),
        },
    }
}

fn is_target(targets: &[Target], table: &str, column: &str) -> bool {
    targets.is_empty() || targets.iter().any(|t| t.table == table && t.column.as_deref().is_none_or(|c| c == column))
}

fn definition_of<'a>(name: &TableReference, tables: impl IntoIterator<Item = &'a TableDefinition>) -> Option<&'a TableDefinition> {
    tables.into_iter().find(|t| t.name == name.table() && t.schema == name.schema().unwrap_or(catalog::MAIN))
}

/// The users' tables that a plan reads, sub-queries included, each once and in the order in which they are met.
fn read_tables(plan: &LogicalPlan, snapshot: &Snapshot) -> Result<Vec<TableDefinition>> {
    let mut found: Vec<TableDefinition> = vec![];
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node
            && !split::is_work_table(scan)
            && let Some(definition) = definition_of(&scan.table_name, snapshot.tables())
            && definition.schema == MAIN
            && !found.contains(definition)
        {
            found.push(definition.clone());
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(found)
}

fn live_tables(tables: &[(TableDefinition, RecordBatch)], targets: &[Target]) -> Result<(Vec<LiveTable>, Vec<Parameter>)> {
    let (mut live, mut parameters) = (vec![], vec![]);
    for (number, (definition, rows)) in tables.iter().enumerate() {
        let mut columns = vec![];
        for column in definition.columns.iter().filter(|c| c.learnable && is_target(targets, &definition.name, &c.name)) {
            columns.push((column.name.clone(), parameters.len()));
            parameters.push(Parameter {
                table: number,
                name: format!("{}.{}", definition.name, column.name),
                rows: rows.num_rows(),
                dimensions: column.dimensions.clone(),
            });
        }
        live.push(LiveTable::new(number, &definition.schema, &definition.name, columns, rows)?);
    }
    Ok((live, parameters))
}

fn rows_of<'t>(scan: &TableScan, tables: &'t [(TableDefinition, RecordBatch)]) -> Option<&'t RecordBatch> {
    let found = tables.iter().find(|(t, _)| definition_of(&scan.table_name, [t]).is_some());
    found.filter(|_| !split::is_work_table(scan)).map(|(_, rows)| rows)
}

/// The plan with these rows in place of what the tables hold.
fn with_rows(plan: LogicalPlan, tables: &[(TableDefinition, RecordBatch)]) -> Result<LogicalPlan> {
    let replaced = plan.transform_up_with_subqueries(|node| {
        let LogicalPlan::TableScan(scan) = &node else { return Ok(Transformed::no(node)) };
        let Some(rows) = rows_of(scan, tables) else { return Ok(Transformed::no(node)) };
        let table = MemTable::try_new(rows.schema(), vec![table::parts(rows)?])?;
        let scan = TableScan { source: provider_as_source(Arc::new(table)), ..scan.clone() };
        Ok(Transformed::yes(LogicalPlan::TableScan(scan)))
    })?;
    Ok(replaced.data)
}
