//! The values of a learnable column, as an array of numbers.

use super::{Session, catalog, kept};
use crate::error::{Error, Result};
use crate::table;
use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Float32Type, Float64Type};
use futures::FutureExt;
use futures::future::BoxFuture;
use ndarray::{ArrayView, ArrayViewD, IxDyn};

/// The values of a learnable column at one version of the database: rows in the table's order, and in each row its dimensions, row-major.
#[derive(Debug, Clone)]
pub struct Parameter {
    shape: Vec<usize>,
    numbers: ArrayRef,
}

impl Session {
    /// The values of a learnable column, `table.column` as the catalog has the names, as the newest commit has them.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// let session = nabladb::Database::in_memory().await?.session()?;
    /// session.run("CREATE TABLE users (id BIGINT, emb REAL[3] LEARNABLE DEFAULT init_normal(0, 0.1))").await?;
    /// session.run("INSERT INTO users (id) VALUES (1), (2)").await?;
    /// let embeddings = session.parameter("users.emb").await?;
    /// assert_eq!(embeddings.shape(), [2, 3]);
    /// assert!(embeddings.f32().expect("it is REAL").iter().all(|x| x.abs() < 1.0));
    /// # nabladb::Result::<()>::Ok(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    /// There is no such table or column, it is not learnable, or a value in it is NULL.
    pub fn parameter<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Parameter>> {
        self.read_parameter(name).boxed()
    }

    async fn read_parameter(&self, name: &str) -> Result<Parameter> {
        let Some((table, column)) = name.rsplit_once('.') else {
            return Err(Error::new(format!("'{name}' is not the name of a column")).hint("write table.column"));
        };
        let (context, snapshot) = self.context().await?;
        let found = snapshot.table(catalog::MAIN, table).ok_or_else(|| Error::new(format!("table '{table}' not found")))?;
        let definition = kept::column(found, column)?;
        if !definition.learnable {
            return Err(Error::new(format!("column '{column}' of table '{table}' is not learnable")).hint("read it with SELECT"));
        }
        let rows = kept::all_rows(&context, &snapshot, found).await?;
        let values = rows.column(rows.schema().index_of(column)?);
        let numbers = table::numbers(values);
        if values.null_count() > 0 || numbers.null_count() > 0 {
            return Err(Error::new(format!("column '{name}' has a value that is NULL")).hint("read it with SELECT"));
        }
        Ok(Parameter { shape: [vec![rows.num_rows()], definition.dimensions.clone()].concat(), numbers })
    }
}

impl Parameter {
    /// Rows, and the dimensions of a row.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The numbers where they lie, of a column of REAL; `None` of one of DOUBLE.
    pub fn f32(&self) -> Option<ArrayViewD<'_, f32>> {
        self.view(self.numbers.as_primitive_opt::<Float32Type>()?.values())
    }

    /// The numbers where they lie, of a column of DOUBLE; `None` of one of REAL.
    pub fn f64(&self) -> Option<ArrayViewD<'_, f64>> {
        self.view(self.numbers.as_primitive_opt::<Float64Type>()?.values())
    }

    /// Whether the column is one of REAL.
    pub fn is_single(&self) -> bool {
        self.numbers.data_type() == &DataType::Float32
    }

    fn view<'a, T>(&self, numbers: &'a [T]) -> Option<ArrayViewD<'a, T>> {
        ArrayView::from_shape(IxDyn(&self.shape), numbers).ok()
    }
}
