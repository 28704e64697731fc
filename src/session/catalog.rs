//! The tables of one snapshot, as a catalog of DataFusion. Providers are made when a statement names them.

use crate::error::{Error, Result};
use crate::grammar::{self, Kind};
use crate::storage::{Snapshot, ViewDefinition};
use crate::table::ColumnDefinition;
use arrow::array::{ArrayRef, AsArray, Int64Array, Int64Builder, ListBuilder, RecordBatch, StringArray};
use arrow::datatypes::UInt64Type;
use async_trait::async_trait;
use datafusion::catalog::{CatalogProvider, MemoryCatalogProvider, MemoryCatalogProviderList, SchemaProvider, TableProvider};
use datafusion::catalog::{CatalogProviderList, view::ViewTable};
use datafusion::datasource::MemTable;
use datafusion::error::{DataFusionError, Result as EngineResult};
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::context::SessionState;
use datafusion::prelude::SessionContext;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

pub(super) const CATALOG: &str = "database";
/// The schema of users' tables.
pub(super) const MAIN: &str = "main";
/// The schema of the engine's own tables.
pub(super) const NABLA: &str = "nabla";
/// How the engine begins the full name of a user's table.
pub(super) const PREFIX: &str = "database.main.";

const LEARNABLE_COLUMNS: &str = "learnable_columns";

/// External tables by name; they live as long as the session.
#[derive(Default)]
pub(super) struct Temporary(Mutex<HashMap<String, Arc<dyn TableProvider>>>);

impl Temporary {
    fn with<T>(&self, act: impl FnOnce(&mut HashMap<String, Arc<dyn TableProvider>>) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub fn contains(&self, name: &str) -> bool {
        self.with(|tables| tables.contains_key(name))
    }

    pub fn remove(&self, name: &str) {
        self.with(|tables| tables.remove(name));
    }
}

/// A context with the settings of a session over one snapshot. A `hidden` view is as if it were not there; with `files`, a table may be
/// the path of one.
pub(super) fn context(
    settings: &SessionContext,
    snapshot: &Snapshot,
    temporary: &Arc<Temporary>,
    hidden: Option<String>,
    files: bool,
) -> Result<SessionContext> {
    let state: Arc<OnceLock<StateOf>> = Arc::default();
    let catalog = MemoryCatalogProvider::new();
    for name in [MAIN, NABLA] {
        let schema = SnapshotSchema {
            name: name.to_string(),
            snapshot: snapshot.clone(),
            temporary: temporary.clone(),
            hidden: hidden.clone(),
            state: state.clone(),
        };
        catalog.register_schema(name, Arc::new(schema))?;
    }
    let list = MemoryCatalogProviderList::new();
    list.register_catalog(CATALOG.to_string(), Arc::new(catalog));
    let copy = SessionStateBuilder::new_from_existing(settings.state()).with_catalog_list(Arc::new(list)).build();
    let context = SessionContext::new_with_state(copy);
    let context = if files { context.enable_url_table() } else { context };
    let weak = context.state_weak_ref();
    let _ = state.set(Box::new(move || weak.upgrade().map(|state| state.read().clone())));
    Ok(context)
}

/// The names of the users' tables and views, the engine's with their schema.
pub(super) fn table_names(context: &SessionContext) -> Vec<String> {
    let Some(catalog) = context.catalog(CATALOG) else { return vec![] };
    let names = |schema: &str| catalog.schema(schema).map(|s| s.table_names()).unwrap_or_default();
    names(MAIN).into_iter().chain(names(NABLA).into_iter().map(|name| format!("{NABLA}.{name}"))).collect()
}

/// What a COPY says it wrote: one number.
pub(super) fn count_of(batches: &[RecordBatch]) -> u64 {
    let count = |batch: &RecordBatch| batch.columns().first()?.as_primitive_opt::<UInt64Type>()?.iter().flatten().next();
    batches.iter().filter_map(count).sum()
}

/// Gives the state of the context that a schema belongs to, which is made after the schema.
type StateOf = Box<dyn Fn() -> Option<SessionState> + Send + Sync>;

struct SnapshotSchema {
    name: String,
    snapshot: Snapshot,
    temporary: Arc<Temporary>,
    hidden: Option<String>,
    state: Arc<OnceLock<StateOf>>,
}

impl fmt::Debug for SnapshotSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SnapshotSchema({})", self.name)
    }
}

#[async_trait]
impl SchemaProvider for SnapshotSchema {
    fn table_names(&self) -> Vec<String> {
        let tables = self.snapshot.tables().iter().filter(|t| t.schema == self.name).map(|t| t.name.clone());
        let views = self.snapshot.views().iter().filter(|v| v.schema == self.name).map(|v| v.name.clone());
        let own: Vec<String> =
            if self.name == NABLA { vec![LEARNABLE_COLUMNS.into()] } else { self.temporary.with(|t| t.keys().cloned().collect()) };
        let mut names: Vec<String> = tables.chain(views).chain(own).filter(|name| !self.hides(name)).collect();
        names.sort();
        names
    }

    async fn table(&self, name: &str) -> EngineResult<Option<Arc<dyn TableProvider>>> {
        if self.hides(name) {
            return Ok(None);
        }
        if self.snapshot.table(&self.name, name).is_some() {
            return Ok(Some(self.snapshot.provider(&self.name, name).await?));
        }
        if let Some(view) = self.snapshot.views().iter().find(|v| v.schema == self.name && v.name == name) {
            return Ok(Some(self.view(view).await?));
        }
        if self.name == NABLA {
            return if name == LEARNABLE_COLUMNS { Ok(Some(self.learnable_columns().await?)) } else { Ok(None) };
        }
        Ok(self.temporary.with(|tables| tables.get(name).cloned()))
    }

    fn register_table(&self, name: String, table: Arc<dyn TableProvider>) -> EngineResult<Option<Arc<dyn TableProvider>>> {
        Ok(self.temporary.with(|tables| tables.insert(name, table)))
    }

    fn deregister_table(&self, name: &str) -> EngineResult<Option<Arc<dyn TableProvider>>> {
        Ok(self.temporary.with(|tables| tables.remove(name)))
    }

    fn table_exist(&self, name: &str) -> bool {
        self.table_names().iter().any(|known| known == name)
    }
}

impl SnapshotSchema {
    fn hides(&self, name: &str) -> bool {
        self.name == MAIN && self.hidden.as_deref() == Some(name)
    }

    fn state(&self) -> EngineResult<SessionState> {
        let state = self.state.get().and_then(|state| state());
        state.ok_or_else(|| DataFusionError::Internal("a table was looked up after its context had ended".into()))
    }

    async fn view(&self, view: &ViewDefinition) -> EngineResult<Arc<dyn TableProvider>> {
        let failed = |e: Error| {
            let reasons: Vec<&str> = e.refusals().iter().map(|r| r.what.as_str()).collect();
            let reasons = reasons.join("; ").replace(PREFIX, "");
            Error::new(format!("view '{}' no longer works: {reasons}", view.name)).hint("DROP VIEW, and create it anew")
        };
        let statement = grammar::statements(&view.sql).next().unwrap_or_else(|| Err(Error::new("its query is empty"))).map_err(failed)?;
        let Kind::Plain(query) = statement.kind else { return Err(failed(Error::new("it is not a query")).into()) };
        let plan = self.state()?.statement_to_plan(*query).await.map_err(|e| failed(e.into()))?;
        Ok(Arc::new(ViewTable::new(plan, Some(view.sql.clone()))))
    }

    /// One row for each learnable column, computed when it is asked for.
    async fn learnable_columns(&self) -> EngineResult<Arc<dyn TableProvider>> {
        let tables = self.snapshot.tables().iter().filter(|t| t.columns.iter().any(|c| c.learnable));
        let mut found: Vec<(&str, &ColumnDefinition, i64)> = Vec::new();
        for table in tables {
            let context = SessionContext::new_with_state(self.state()?);
            let rows = context.read_table(self.snapshot.provider(&table.schema, &table.name).await?)?.count().await? as i64;
            found.extend(table.columns.iter().filter(|c| c.learnable).map(|c| (table.name.as_str(), c, rows)));
        }
        let text = |value: fn(&ColumnDefinition) -> Option<String>| -> ArrayRef {
            Arc::new(found.iter().map(|(_, column, _)| value(column)).collect::<StringArray>())
        };
        let number = |value: fn(&ColumnDefinition, i64) -> i64| -> ArrayRef {
            Arc::new(found.iter().map(|(_, column, rows)| Some(value(column, *rows))).collect::<Int64Array>())
        };
        let mut dimensions = ListBuilder::new(Int64Builder::new());
        for (_, column, _) in &found {
            dimensions.append_value(column.dimensions.iter().map(|d| Some(*d as i64)));
        }
        let batch = RecordBatch::try_from_iter([
            ("table_name", Arc::new(found.iter().map(|(table, ..)| Some(*table)).collect::<StringArray>()) as ArrayRef),
            ("column_name", text(|c| Some(c.name.clone()))),
            ("type", text(|c| Some(c.type_name()))),
            ("dimensions", Arc::new(dimensions.finish()) as ArrayRef),
            ("rows", number(|_, rows| rows)),
            ("parameters", number(|c, rows| rows * c.width() as i64)),
            ("default", text(|c| c.default.clone())),
            ("bound", text(|c| c.bound.as_ref().map(ToString::to_string))),
        ])?;
        Ok(Arc::new(MemTable::try_new(batch.schema(), vec![vec![batch]])?))
    }
}
