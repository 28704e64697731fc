//! `GRADIENT OF (SELECT ...)`: the gradient of a relaxed number, a row for each element of each learnable column.

use super::{Outcome, Session, settings};
use crate::algebra::Parameter;
use crate::error::{Error, Place, Result};
use crate::grammar::Relaxed;
use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::util::display::{ArrayFormatter, FormatOptions};

/// A column that the query does not depend on, or that no gradient reaches, has the gradient 0.
pub(super) async fn gradient(session: &Session, query: &Relaxed) -> Result<Outcome> {
    let (softness, temperature) = settings::relaxed(query)?;
    let mut relaxed = session.relaxed_query(query, softness, temperature).await?;
    match relaxed.value() {
        Some(value) if value.is_finite() => {}
        value => {
            let what = value.map_or("NULL".into(), |v| v.to_string());
            let error =
                Error::new(format!("the relaxed query is {what}, which has no gradient")).at(Place::Expression("GRADIENT OF".into()));
            return Err(error.hint("aggregate over rows that are there, and keep the arguments of LN, SQRT and / away from 0"));
        }
    }
    let (mut rows, parameters) = (Rows::default(), relaxed.parameters().cloned().collect::<Vec<_>>());
    for parameter in &parameters {
        let (definition, table) = &relaxed.tables()[parameter.table];
        let keys = keys(table, &definition.primary_key)?;
        let values = relaxed.values(&parameter.name).unwrap_or_default().to_vec();
        let gradient = relaxed.gradient(&parameter.name).map_or(vec![0.0; values.len()], <[f64]>::to_vec);
        if let Some(slope) = gradient.iter().find(|slope| !slope.is_finite()) {
            return Err(Error::new(format!("the gradient with respect to {} is {slope}", parameter.name))
                .hint("keep the arguments of LN, SQRT and / away from 0"));
        }
        rows.add(parameter, &keys, values, gradient);
    }
    Ok(Outcome::batch(rows.batch()?))
}

/// The primary key of each row as text; without one, the number of the row, counted from 1.
fn keys(table: &RecordBatch, primary_key: &[String]) -> Result<Vec<String>> {
    if primary_key.is_empty() {
        return Ok((1..=table.num_rows()).map(|n| n.to_string()).collect());
    }
    let options = FormatOptions::default();
    let columns: Vec<ArrayRef> = primary_key.iter().filter_map(|name| table.column_by_name(name).cloned()).collect();
    let formats = columns.iter().map(|c| ArrayFormatter::try_new(c, &options)).collect::<Result<Vec<_>, _>>()?;
    Ok((0..table.num_rows()).map(|row| formats.iter().map(|f| f.value(row).to_string()).collect::<Vec<_>>().join(", ")).collect())
}

#[derive(Default)]
struct Rows {
    tables: Vec<String>,
    keys: Vec<String>,
    columns: Vec<String>,
    /// Counted from 1, row-major; NULL for a number.
    elements: Vec<Option<i64>>,
    values: Vec<f64>,
    gradients: Vec<f64>,
}

impl Rows {
    fn add(&mut self, parameter: &Parameter, keys: &[String], values: Vec<f64>, gradient: Vec<f64>) {
        let (table, column) = parameter.name.rsplit_once('.').unwrap_or_default();
        let width = parameter.width();
        for key in keys {
            for element in 0..width {
                self.tables.push(table.into());
                self.keys.push(key.clone());
                self.columns.push(column.into());
                self.elements.push((!parameter.dimensions.is_empty()).then_some(element as i64 + 1));
            }
        }
        self.values.extend(values);
        self.gradients.extend(gradient);
    }

    fn batch(self) -> Result<RecordBatch> {
        let text = |values: Vec<String>| -> ArrayRef { std::sync::Arc::new(StringArray::from(values)) };
        let real = |values: Vec<f64>| -> ArrayRef { std::sync::Arc::new(Float64Array::from(values)) };
        Ok(RecordBatch::try_from_iter([
            ("table_name", text(self.tables)),
            ("row_key", text(self.keys)),
            ("column_name", text(self.columns)),
            ("element", std::sync::Arc::new(Int64Array::from(self.elements)) as ArrayRef),
            ("value", real(self.values)),
            ("gradient", real(self.gradients)),
        ])?)
    }
}
