//! Types of columns: as Arrow declares them, as they are stored, and as the catalog writes them down.
//! It never hears of SQL, rows or snapshots.

use crate::error::{Error, Result};
use arrow::datatypes::{DataType, Field, TimeUnit};
use datafusion_ducklake::types::{arrow_to_ducklake_type, ducklake_to_arrow_type};
use std::collections::HashMap;
use std::sync::Arc;

/// One row of the catalog's `ducklake_column`: a column, or a part of a nested one.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct CatalogColumn {
    pub id: i64,
    pub parent: Option<i64>,
    pub name: String,
    pub type_name: String,
    pub nullable: bool,
}

/// The type that a column of this type is stored and read back as: the one that DuckLake has, in the layout that DataFusion reads
/// fastest. Text becomes `Utf8View`, fixed-size arrays become lists, times are kept to the microsecond.
///
/// ```
/// # use arrow::datatypes::DataType;
/// assert_eq!(nabladb::storage::stored_type(&DataType::Utf8)?, DataType::Utf8View);
/// # Ok::<(), nabladb::Error>(())
/// ```
pub fn stored_type(declared: &DataType) -> Result<DataType> {
    use DataType::*;
    Ok(match declared {
        Boolean | Int8 | Int16 | Int32 | Int64 | UInt8 | UInt16 | UInt32 | UInt64 | Float32 | Float64 | Date32 => declared.clone(),
        Float16 => Float32,
        Decimal32(p, s) | Decimal64(p, s) | Decimal128(p, s) | Decimal256(p, s) if *p <= 38 && *s >= 0 => Decimal128(*p, *s),
        Null | Utf8 | LargeUtf8 | Utf8View => Utf8View,
        Binary | LargeBinary | BinaryView | FixedSizeBinary(_) => BinaryView,
        Date64 => Date32,
        Time32(_) | Time64(_) => Time64(TimeUnit::Microsecond),
        Timestamp(TimeUnit::Second, None) => Timestamp(TimeUnit::Millisecond, None),
        Timestamp(unit, None) => Timestamp(*unit, None),
        Timestamp(TimeUnit::Nanosecond, Some(_)) => Timestamp(TimeUnit::Nanosecond, Some("UTC".into())),
        Timestamp(_, Some(_)) => Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        Dictionary(_, value) => stored_type(value)?,
        RunEndEncoded(_, value) => stored_type(value.data_type())?,
        List(element) | LargeList(element) | FixedSizeList(element, _) | ListView(element) | LargeListView(element) => {
            list_of(stored_type(element.data_type())?)
        }
        Struct(fields) => {
            let parts = fields.iter().map(|f| Ok(Field::new(f.name(), stored_type(f.data_type())?, true))).collect::<Result<Vec<_>>>()?;
            Struct(parts.into())
        }
        other => {
            let e = Error::new(format!("a column cannot have the type {other}"));
            return Err(e.hint("use numbers, DECIMAL up to 38 digits, TEXT, BLOB, DATE, TIME, TIMESTAMP, or arrays and structs of these"));
        }
    })
}

fn list_of(element: DataType) -> DataType {
    DataType::List(Arc::new(Field::new("item", element, true)))
}

/// The catalog's rows for a column of a stored type, the column itself first; `next` gives out the numbers.
pub(super) fn catalog_rows(name: &str, stored: &DataType, nullable: bool, next: &mut i64) -> Result<Vec<CatalogColumn>> {
    let mut rows = Vec::new();
    push(&mut rows, name, stored, nullable, None, next)?;
    Ok(rows)
}

fn push(rows: &mut Vec<CatalogColumn>, name: &str, stored: &DataType, nullable: bool, parent: Option<i64>, next: &mut i64) -> Result<()> {
    let id = *next;
    *next += 1;
    let type_name = match stored {
        DataType::List(_) => "list".to_string(),
        DataType::Struct(_) => "struct".to_string(),
        DataType::Decimal128(precision, scale) => format!("decimal({precision},{scale})"),
        scalar => arrow_to_ducklake_type(scalar).map_err(|e| Error::new(e.to_string()))?,
    };
    rows.push(CatalogColumn { id, parent, name: name.to_string(), type_name, nullable });
    match stored {
        DataType::List(element) => push(rows, "element", element.data_type(), true, Some(id), next),
        DataType::Struct(fields) => fields.iter().try_for_each(|f| push(rows, f.name(), f.data_type(), true, Some(id), next)),
        _ => Ok(()),
    }
}

/// The parts of a table's columns, by the column or part that they belong to.
pub(super) struct Parts<'a>(HashMap<Option<i64>, Vec<&'a CatalogColumn>>);

impl<'a> Parts<'a> {
    pub fn of(rows: &'a [CatalogColumn]) -> Self {
        let mut parts: HashMap<_, Vec<_>> = HashMap::new();
        for row in rows {
            parts.entry(row.parent).or_default().push(row);
        }
        Self(parts)
    }

    /// The columns themselves, in order.
    pub fn columns(&self) -> &[&'a CatalogColumn] {
        self.within(None)
    }

    fn within(&self, parent: Option<i64>) -> &[&'a CatalogColumn] {
        self.0.get(&parent).map(Vec::as_slice).unwrap_or_default()
    }

    /// A column with all its parts, itself first.
    pub fn subtree(&self, column: &CatalogColumn) -> Vec<CatalogColumn> {
        let below = self.within(Some(column.id)).iter().flat_map(|part| self.subtree(part));
        std::iter::once(column.clone()).chain(below).collect()
    }

    /// The stored type that the catalog's rows describe.
    pub fn data_type(&self, column: &CatalogColumn) -> Result<DataType> {
        let parts = self.within(Some(column.id));
        match (column.type_name.as_str(), parts) {
            ("list", [element]) => Ok(list_of(self.data_type(element)?)),
            ("struct", fields) => {
                let fields = fields.iter().map(|f| Ok(Field::new(&f.name, self.data_type(f)?, true))).collect::<Result<Vec<_>>>()?;
                Ok(DataType::Struct(fields.into()))
            }
            (scalar, _) => ducklake_to_arrow_type(scalar).map_err(|_| {
                let e = Error::new(format!("column '{}' has the type {scalar}, which NablaDB cannot read", column.name));
                e.hint("another program made this table; read it there, or store the column as another type")
            }),
        }
    }

    /// The field as Parquet gets it: elements named as DuckLake names them, and every part marked with its number.
    pub fn parquet_field(&self, column: &CatalogColumn) -> Result<Field> {
        let parts = self.within(Some(column.id));
        let data_type = match (column.type_name.as_str(), parts) {
            ("list", [element]) => DataType::List(Arc::new(self.parquet_field(element)?)),
            ("struct", fields) => DataType::Struct(fields.iter().map(|f| self.parquet_field(f)).collect::<Result<Vec<_>>>()?.into()),
            _ => self.data_type(column)?,
        };
        let number = HashMap::from([("PARQUET:field_id".to_string(), column.id.to_string())]);
        Ok(Field::new(&column.name, data_type, column.nullable).with_metadata(number))
    }
}
