//! What DuckLake has no place for, as tags: learnability, dimensions, defaults, bounds, keys and checks.
//! It never hears of SQLite, snapshots or rows.
//!
//! | on a column         | value                                             |
//! |---------------------|---------------------------------------------------|
//! | `nabla.learnable`   | `true`                                            |
//! | `nabla.default`     | the DEFAULT as SQL                                |
//! | `nabla.dimensions`  | `128,784`                                         |
//! | `nabla.bound`       | `box 0.0 inf`, `unit norm` or `simplex`           |
//! | `nabla.primary_key` | the column's place in the primary key, from 1     |
//!
//! | on a table          | value                                             |
//! |---------------------|---------------------------------------------------|
//! | `nabla.check.1` ... | one CHECK condition each, as SQL                  |

use crate::error::{Error, Result};
use crate::table::{Bound, ColumnDefinition, TableDefinition};
use arrow::datatypes::DataType;
use std::collections::BTreeMap;

const LEARNABLE: &str = "nabla.learnable";
const DEFAULT: &str = "nabla.default";
const DIMENSIONS: &str = "nabla.dimensions";
const BOUND: &str = "nabla.bound";
const PRIMARY_KEY: &str = "nabla.primary_key";
const CHECK: &str = "nabla.check.";

/// Keys and values, in the order of the keys.
pub(super) type Tags = BTreeMap<String, String>;

/// Tags of other programs are theirs; we neither read nor end them.
pub(super) const OURS: &str = "nabla.%";

pub(super) fn table_tags(table: &TableDefinition) -> Tags {
    table.checks.iter().enumerate().map(|(i, check)| (format!("{CHECK}{}", i + 1), check.clone())).collect()
}

pub(super) fn column_tags(table: &TableDefinition, column: &ColumnDefinition) -> Tags {
    let mut tags = Tags::new();
    let mut tag = |key: &str, value: Option<String>| value.map(|value| tags.insert(key.to_string(), value));
    tag(LEARNABLE, column.learnable.then(|| "true".to_string()));
    tag(DEFAULT, column.default.clone());
    tag(DIMENSIONS, (!column.dimensions.is_empty()).then(|| dimensions_text(&column.dimensions)));
    tag(BOUND, column.bound.as_ref().map(bound_text));
    tag(PRIMARY_KEY, table.primary_key.iter().position(|name| *name == column.name).map(|i| (i + 1).to_string()));
    tags
}

/// The columns with what the tags say about them, in the order of the table.
pub(super) fn table(schema: &str, name: &str, tags: &Tags, columns: Vec<(String, DataType, bool, Tags)>) -> Result<TableDefinition> {
    let mut numbered: Vec<(usize, &String)> =
        tags.iter().filter_map(|(key, check)| Some((key.strip_prefix(CHECK)?.parse().ok()?, check))).collect();
    numbered.sort();
    let checks = numbered.into_iter().map(|(_, check)| check.clone()).collect();

    let mut key: Vec<(usize, String)> =
        columns.iter().filter_map(|(name, _, _, tags)| Some((tags.get(PRIMARY_KEY)?.parse().ok()?, name.clone()))).collect();
    key.sort();
    let primary_key = key.into_iter().map(|(_, name)| name).collect();

    let columns = columns.into_iter().map(|(name, data_type, nullable, tags)| column(name, data_type, nullable, &tags));
    let columns = columns.collect::<Result<Vec<_>>>()?;
    Ok(TableDefinition { schema: schema.to_string(), name: name.to_string(), columns, primary_key, checks })
}

fn column(name: String, data_type: DataType, nullable: bool, tags: &Tags) -> Result<ColumnDefinition> {
    let unreadable = |key: &str, text: &str| Error::new(format!("column '{name}' has a tag {key} that makes no sense: '{text}'"));
    let dimensions = match tags.get(DIMENSIONS) {
        Some(text) => text.split(',').map(|d| d.parse().ok()).collect::<Option<Vec<_>>>().ok_or_else(|| unreadable(DIMENSIONS, text))?,
        None => Vec::new(),
    };
    let bound = tags.get(BOUND).map(|text| bound(text).ok_or_else(|| unreadable(BOUND, text))).transpose()?;
    let learnable = tags.contains_key(LEARNABLE);
    Ok(ColumnDefinition { data_type, dimensions, nullable, default: tags.get(DEFAULT).cloned(), learnable, bound, name })
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
