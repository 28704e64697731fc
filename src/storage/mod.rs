//! Tables to DuckLake and back: commit all or nothing, and the history of runs.
//! This room never hears of SQL statements, gradients or training.
// STAND-IN: in memory only, until branch `storage` is merged.

use crate::error::{Error, Result};
use crate::table::TableDefinition;
use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field};
use datafusion::catalog::TableProvider;
use datafusion::datasource::MemTable;
use std::path::Path;
use std::sync::{Arc, Mutex};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    ReadWrite,
    ReadOnly,
}
pub struct CommitMessage {
    pub author: String,
    pub message: String,
    pub extra_info: Option<String>,
}
#[derive(Debug, Clone)]
pub struct ViewDefinition {
    pub schema: String,
    pub name: String,
    pub sql: String,
}
pub enum Change {
    CreateTable { definition: TableDefinition, rows: Vec<RecordBatch> },
    AlterTable { definition: TableDefinition, rows: Option<Vec<RecordBatch>> },
    DropTable { schema: String, name: String },
    Append { schema: String, name: String, rows: Vec<RecordBatch> },
    Replace { schema: String, name: String, rows: Vec<RecordBatch> },
    CreateView(ViewDefinition),
    DropView { schema: String, name: String },
}
#[derive(Clone, Default)]
pub struct Snapshot {
    version: i64,
    tables: Vec<TableDefinition>,
    rows: Vec<Vec<RecordBatch>>,
    views: Vec<ViewDefinition>,
}
pub struct Database {
    access: Access,
    state: Mutex<Snapshot>,
}
pub fn stored_type(t: &DataType) -> Result<DataType> {
    Ok(match t {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Null => DataType::Utf8View,
        DataType::FixedSizeList(f, _) | DataType::LargeList(f) | DataType::List(f) => {
            DataType::List(Arc::new(Field::new("item", stored_type(f.data_type())?, true)))
        }
        o => o.clone(),
    })
}
impl Database {
    pub async fn open(_: &Path, access: Access) -> Result<Self> {
        Ok(Self { access, state: Mutex::default() })
    }
    pub async fn temporary() -> Result<Self> {
        Ok(Self { access: Access::ReadWrite, state: Mutex::default() })
    }
    pub fn access(&self) -> Access {
        self.access
    }
    pub async fn snapshot(&self) -> Result<Snapshot> {
        Ok(self.state.lock().unwrap().clone())
    }
    pub async fn commit(&self, changes: Vec<Change>, _: CommitMessage) -> Result<i64> {
        let mut s = self.state.lock().unwrap();
        for c in changes {
            match c {
                Change::CreateTable { definition, rows } => {
                    s.tables.push(definition);
                    s.rows.push(rows);
                }
                Change::AlterTable { definition, rows } => {
                    let i = s.at(&definition.schema, &definition.name)?;
                    if let Some(r) = rows {
                        s.rows[i] = r
                    }
                    s.tables[i] = definition;
                }
                Change::DropTable { schema, name } => {
                    let i = s.at(&schema, &name)?;
                    s.tables.remove(i);
                    s.rows.remove(i);
                }
                Change::Append { schema, name, rows } => {
                    let i = s.at(&schema, &name)?;
                    s.rows[i].extend(rows);
                }
                Change::Replace { schema, name, rows } => {
                    let i = s.at(&schema, &name)?;
                    s.rows[i] = rows;
                }
                Change::CreateView(v) => s.views.push(v),
                Change::DropView { schema, name } => s.views.retain(|v| v.schema != schema || v.name != name),
            }
        }
        s.version += 1;
        Ok(s.version)
    }
}
impl Snapshot {
    fn at(&self, schema: &str, name: &str) -> Result<usize> {
        self.tables.iter().position(|t| t.schema == schema && t.name == name).ok_or_else(|| Error::new("no such table"))
    }
    pub fn version(&self) -> i64 {
        self.version
    }
    pub fn tables(&self) -> &[TableDefinition] {
        &self.tables
    }
    pub fn table(&self, schema: &str, name: &str) -> Option<&TableDefinition> {
        self.at(schema, name).ok().map(|i| &self.tables[i])
    }
    pub fn views(&self) -> &[ViewDefinition] {
        &self.views
    }
    pub async fn provider(&self, schema: &str, name: &str) -> Result<Arc<dyn TableProvider>> {
        let i = self.at(schema, name)?;
        let schema = self.tables[i].arrow_schema();
        let rows = self.rows[i].iter().map(|b| RecordBatch::try_new(schema.clone(), b.columns().to_vec())).collect::<Result<_, _>>()?;
        Ok(Arc::new(MemTable::try_new(schema, vec![rows])?))
    }
}
