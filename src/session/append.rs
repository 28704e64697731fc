//! Arrow batches into a table, without SQL.

use super::catalog::MAIN;
use super::transaction::guarded;
use super::{Session, create, insert, kept};
use crate::error::{Error, Result};
use crate::storage::Change;
use crate::table::TableDefinition;
use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use datafusion::sql::sqlparser::ast::{Ident, ObjectName};
use futures::FutureExt;
use futures::future::BoxFuture;
use std::collections::HashMap;

impl Session {
    /// Appends batches to a table, named as the catalog has it, as one commit, and returns how many rows they had. Their columns are known by name: those of the table
    /// that are missing get their defaults, types are converted, and every constraint is checked, as by INSERT.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// use arrow::array::{Float64Array, RecordBatch};
    /// use std::sync::Arc;
    /// let session = nabladb::Database::in_memory().await?.session()?;
    /// session.run("CREATE TABLE points (x DOUBLE, kind TEXT DEFAULT 'new')").await?;
    /// let x = Arc::new(Float64Array::from(vec![1.0, 2.0, 4.0]));
    /// let batch = RecordBatch::try_from_iter([("x", x as _)])?;
    /// assert_eq!(session.append("points", vec![batch]).await?, 3);
    /// assert_eq!(session.run("SELECT SUM(x) FROM points WHERE kind = 'new'").await?.value().await?, 7.0.into());
    /// # nabladb::Result::<()>::Ok(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    /// There is no such table or column, a type cannot be converted, or a row breaks a constraint; then nothing is appended.
    pub fn append<'a>(&'a self, table: &'a str, batches: Vec<RecordBatch>) -> BoxFuture<'a, Result<u64>> {
        async move {
            let session = self.for_a_statement();
            guarded(&session.work(), session.appended(table, batches)).await
        }
        .boxed()
    }

    async fn appended(&self, name: &str, batches: Vec<RecordBatch>) -> Result<u64> {
        let _writing = self.turn().await?;
        let (context, snapshot) = self.context().await?;
        let table = kept::target(&snapshot, self, &ObjectName::from(vec![Ident::with_quote('"', name)]))?;
        let mut given = vec![];
        for batch in &batches {
            let mut columns = HashMap::new();
            for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
                kept::column(table, field.name())?;
                if columns.insert(field.name().clone(), column.clone()).is_some() {
                    return Err(Error::new(format!("a batch has column '{}' twice", field.name())));
                }
            }
            given.push((columns, batch.num_rows()));
        }
        let rows = insert::complete_rows(&context, &snapshot, table, given).await?;
        let count = rows.iter().map(RecordBatch::num_rows).sum::<usize>() as u64;
        if count > 0 {
            let change = Change::Append { schema: table.schema.clone(), name: table.name.clone(), rows };
            self.commit(vec![change], &format!("append to {name}")).await?;
        }
        Ok(count)
    }

    /// Creates a table with the columns of a schema, or, with `or_replace`, in place of the one that there is.
    ///
    /// # Errors
    /// There is one of that name, or a column cannot have its type.
    pub fn create_table<'a>(&'a self, name: &'a str, columns: &'a Schema, or_replace: bool) -> BoxFuture<'a, Result<()>> {
        async move {
            let session = self.for_a_statement();
            guarded(&session.work(), session.created(name, columns, or_replace)).await
        }
        .boxed()
    }

    async fn created(&self, name: &str, columns: &Schema, or_replace: bool) -> Result<()> {
        let _turn = self.turn().await?;
        let snapshot = self.snapshot().await?;
        let mut changes = vec![];
        if snapshot.table(MAIN, name).is_some() && or_replace {
            changes.push(Change::DropTable { schema: MAIN.into(), name: name.into() });
        } else if snapshot.table(MAIN, name).is_some() || snapshot.views().iter().any(|v| v.schema == MAIN && v.name == name) {
            return Err(Error::new(format!("'{name}' exists already")).hint("append to it, or choose another name"));
        }
        let columns = create::columns_like(columns)?;
        let definition = TableDefinition { schema: MAIN.into(), name: name.into(), columns, primary_key: vec![], checks: vec![] };
        changes.push(Change::CreateTable { definition, rows: vec![] });
        self.commit(changes, &format!("create table {name}")).await.map(drop)
    }
}
