//! What DuckLake has no place for, as tags: learnability, dimensions, defaults, bounds, keys and checks.
//! It never hears of SQLite, snapshots or rows.
//!
//! | key, of a table               | value                                             |
//! |-------------------------------|---------------------------------------------------|
//! | `nabla.column.3.learnable`    | `true`                                            |
//! | `nabla.column.3.default`      | the DEFAULT as SQL                                |
//! | `nabla.column.3.dimensions`   | `128,784`                                         |
//! | `nabla.column.3.bound`        | `box 0.0 inf`, `unit norm` or `simplex`           |
//! | `nabla.column.3.primary_key`  | the column's place in the primary key, from 1     |
//! | `nabla.check.1` ...           | one CHECK condition each, as SQL                  |
//!
//! A column goes by its number in the catalog, which a new name does not change. DuckLake has tags of columns too, but DuckDB 1.5.5
//! opens no catalog in which one of them is anything but a comment.

use crate::error::{Error, Result};
use crate::table::{Bound, ColumnDefinition, TableDefinition};
use arrow::datatypes::DataType;
use std::collections::BTreeMap;

const COLUMN: &str = "nabla.column.";
const LEARNABLE: &str = "learnable";
const DEFAULT: &str = "default";
const DIMENSIONS: &str = "dimensions";
const BOUND: &str = "bound";
const PRIMARY_KEY: &str = "primary_key";
const CHECK: &str = "nabla.check.";

/// Tags of other programs are theirs; we neither read nor end them.
pub(super) const OURS: &str = "nabla.%";

/// A table's tags.
pub(super) type Tags = BTreeMap<String, String>;

/// A column as the catalog's own rows describe it.
pub(super) struct Described {
    pub id: i64,
    pub name: String,
    pub data_type: DataType,
    pub nullable: bool,
}

/// The tags of a table whose columns have these numbers.
pub(super) fn tags(table: &TableDefinition, ids: &[i64]) -> Tags {
    let mut tags: Tags = table.checks.iter().enumerate().map(|(i, check)| (format!("{CHECK}{}", i + 1), check.clone())).collect();
    for (column, id) in table.columns.iter().zip(ids) {
        let place = table.primary_key.iter().position(|name| *name == column.name);
        let values = [
            (LEARNABLE, column.learnable.then(|| "true".to_string())),
            (DEFAULT, column.default.clone()),
            (DIMENSIONS, (!column.dimensions.is_empty()).then(|| dimensions_text(&column.dimensions))),
            (BOUND, column.bound.as_ref().map(bound_text)),
            (PRIMARY_KEY, place.map(|i| (i + 1).to_string())),
        ];
        tags.extend(values.into_iter().filter_map(|(key, value)| Some((format!("{COLUMN}{id}.{key}"), value?))));
    }
    tags
}

/// The definition that a table's columns and tags make together.
pub(super) fn table(schema: &str, name: &str, tags: &Tags, columns: Vec<Described>) -> Result<TableDefinition> {
    let mut checks: Vec<(usize, &String)> =
        tags.iter().filter_map(|(key, check)| Some((key.strip_prefix(CHECK)?.parse().ok()?, check))).collect();
    checks.sort();
    let place = |c: &Described| tags.get(&format!("{COLUMN}{}.{PRIMARY_KEY}", c.id))?.parse().ok();
    let mut key: Vec<(usize, String)> = columns.iter().filter_map(|c| Some((place(c)?, c.name.clone()))).collect();
    key.sort();
    Ok(TableDefinition {
        schema: schema.to_string(),
        name: name.to_string(),
        columns: columns.into_iter().map(|c| column(c, tags)).collect::<Result<Vec<_>>>()?,
        primary_key: key.into_iter().map(|(_, name)| name).collect(),
        checks: checks.into_iter().map(|(_, check)| check.clone()).collect(),
    })
}

fn column(Described { id, name, data_type, nullable }: Described, tags: &Tags) -> Result<ColumnDefinition> {
    let tag = |key: &str| tags.get(&format!("{COLUMN}{id}.{key}"));
    let unreadable = |key: &str, text: &str| Error::new(format!("column '{name}' has a tag '{key}' that makes no sense: '{text}'"));
    let dimensions = match tag(DIMENSIONS) {
        Some(text) => text.split(',').map(|d| d.parse().ok()).collect::<Option<Vec<_>>>().ok_or_else(|| unreadable(DIMENSIONS, text))?,
        None => Vec::new(),
    };
    let bound = tag(BOUND).map(|text| bound(text).ok_or_else(|| unreadable(BOUND, text))).transpose()?;
    let (learnable, default) = (tag(LEARNABLE).is_some(), tag(DEFAULT).cloned());
    Ok(ColumnDefinition { name, data_type, dimensions, nullable, default, learnable, bound })
}

fn dimensions_text(dimensions: &[usize]) -> String {
    dimensions.iter().map(usize::to_string).collect::<Vec<_>>().join(",")
}

/// `{:?}` writes a number with just the digits that read back as the same bits.
fn bound_text(bound: &Bound) -> String {
    match bound {
        Bound::Box { lower, upper } => format!("box {lower:?} {upper:?}"),
        Bound::UnitNorm => "unit norm".to_string(),
        Bound::Simplex => "simplex".to_string(),
    }
}

fn bound(text: &str) -> Option<Bound> {
    match text.split(' ').collect::<Vec<_>>()[..] {
        ["box", lower, upper] => Some(Bound::Box { lower: lower.parse().ok()?, upper: upper.parse().ok()? }),
        ["unit", "norm"] => Some(Bound::UnitNorm),
        ["simplex"] => Some(Bound::Simplex),
        _ => None,
    }
}
