//! A table's rows for DataFusion: the DuckLake reader's scan, over files that are found below the data folder.
//! It never hears of definitions or changes.

use super::page_index;
use crate::error::{Error, Result};
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Statistics;
use datafusion::error::Result as EngineResult;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion_ducklake::DuckLakeTable;
use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The data folder as DataFusion opens files in it. It has an address of its own, below which every path is plain, because the
/// DuckLake reader encodes what is not ASCII in a path, and the store of whole file systems takes paths as they are.
#[derive(Debug, Clone)]
pub(super) struct DataFolder {
    pub url: Arc<ObjectStoreUrl>,
    store: Arc<dyn ObjectStore>,
}

impl DataFolder {
    pub fn open(path: &Path) -> Result<Self> {
        static OPENED: AtomicU64 = AtomicU64::new(0);
        let failed = |e: &dyn std::fmt::Display| Error::new(format!("the folder {} cannot be opened: {e}", path.display()));
        let url = format!("nabla://{}/", OPENED.fetch_add(1, Ordering::Relaxed));
        let url = Arc::new(ObjectStoreUrl::parse(url).map_err(|e| failed(&e))?);
        let store = Arc::new(LocalFileSystem::new_with_prefix(path).map_err(|e| failed(&e))?);
        Ok(Self { url, store })
    }
}

/// The DuckLake reader waits for its catalog on the thread of whoever asks. Tokio lets a task do so much and then makes it wait for its
/// next turn, which does not come while its thread waits: what calls the reader must not be made to take turns.
pub(super) fn without_turns<F: Future>(reading: F) -> impl Future<Output = F::Output> {
    tokio::task::unconstrained(reading)
}

#[derive(Debug)]
pub(super) struct StoredTable {
    pub rows: DuckLakeTable,
    pub folder: DataFolder,
}

#[async_trait]
impl TableProvider for StoredTable {
    fn schema(&self) -> SchemaRef {
        self.rows.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn statistics(&self) -> Option<Statistics> {
        self.rows.statistics()
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> EngineResult<Vec<TableProviderFilterPushDown>> {
        self.rows.supports_filters_pushdown(filters)
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> EngineResult<Arc<dyn ExecutionPlan>> {
        state.runtime_env().register_object_store(self.folder.url.as_ref().as_ref(), self.folder.store.clone());
        page_index::indexed(without_turns(self.rows.scan(state, projection, filters, limit)).await?)
    }
}
