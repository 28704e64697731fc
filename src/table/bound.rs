//! CHECK on a learnable column, as a set that values are projected onto.

use super::initial::number;
use super::{Bound, ColumnDefinition};
use crate::error::{Error, Result};
use arrow::datatypes::DataType;
use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr};
use std::fmt;

/// How far a length or a sum may be from 1 when values are inserted.
const TOLERANCE: f64 = 1e-6;

impl Bound {
    /// The set that a CHECK describes: `>=`, `<=`, `=`, BETWEEN with numbers, and AND of them.
    ///
    /// `>` and `<` are refused: the set they describe has no nearest point for a value outside of it.
    pub fn parse(column: &str, expr: &Expr) -> Result<Bound> {
        match expr {
            Expr::Nested(inner) => Bound::parse(column, inner),
            Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
                let (left, right) = (Bound::parse(column, left)?, Bound::parse(column, right)?);
                left.and(&right).ok_or_else(|| no_projection(expr))
            }
            Expr::Between { expr: inner, negated: false, low, high } if is_column(column, inner) => match (number(low), number(high)) {
                (Some(lower), Some(upper)) => Bound::between(lower, upper, expr),
                _ => Err(no_projection(expr)),
            },
            Expr::BinaryOp { left, op, right } => comparison(column, left, op, right, expr),
            _ => Err(no_projection(expr)),
        }
    }

    /// Both sets at once, when that is a set of a known kind.
    pub fn and(&self, other: &Bound) -> Option<Bound> {
        match (self, other) {
            (Bound::Box { lower, upper }, Bound::Box { lower: l, upper: u }) => {
                let (lower, upper) = (lower.max(*l), upper.min(*u));
                (lower <= upper).then_some(Bound::Box { lower, upper })
            }
            (same, other) if same == other => Some(same.clone()),
            _ => None,
        }
    }

    fn between(lower: f64, upper: f64, expr: &Expr) -> Result<Bound> {
        if lower <= upper {
            Ok(Bound::Box { lower, upper })
        } else {
            Err(Error::new(format!("no value satisfies CHECK ({expr})")).hint("write the lower end first"))
        }
    }

    /// The nearest point of the set.
    pub fn project(&self, row: &mut [f64]) {
        match self {
            Bound::Box { lower, upper } => row.iter_mut().for_each(|e| *e = e.clamp(*lower, *upper)),
            Bound::UnitNorm => {
                let length = row.iter().map(|e| e * e).sum::<f64>().sqrt();
                if length > 0.0 {
                    row.iter_mut().for_each(|e| *e /= length);
                } else if let Some(first) = row.first_mut() {
                    *first = 1.0;
                }
            }
            Bound::Simplex => project_onto_simplex(row),
        }
    }

    /// Whether the elements of one row lie in the set, at the precision of their column.
    pub fn holds(&self, row: &[f64], column: &ColumnDefinition) -> bool {
        match self {
            Bound::Box { lower, upper } => {
                let (lower, upper) = if element_type(&column.data_type) == &DataType::Float32 {
                    (f64::from(*lower as f32), f64::from(*upper as f32))
                } else {
                    (*lower, *upper)
                };
                row.iter().all(|e| (lower..=upper).contains(e))
            }
            Bound::UnitNorm => (row.iter().map(|e| e * e).sum::<f64>().sqrt() - 1.0).abs() <= TOLERANCE,
            Bound::Simplex => row.iter().all(|e| *e >= 0.0) && (row.iter().sum::<f64>() - 1.0).abs() <= TOLERANCE,
        }
    }
}

/// As it is written after the column's name in a CHECK.
impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Bound::Box { lower, upper } if *upper == f64::INFINITY => write!(f, ">= {lower}"),
            Bound::Box { lower, upper } if *lower == f64::NEG_INFINITY => write!(f, "<= {upper}"),
            Bound::Box { lower, upper } => write!(f, "BETWEEN {lower} AND {upper}"),
            Bound::UnitNorm => write!(f, "UNIT NORM"),
            Bound::Simplex => write!(f, "SIMPLEX"),
        }
    }
}

/// The type of the elements of an array, or the type itself.
pub fn element_type(data_type: &DataType) -> &DataType {
    match data_type {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => element_type(item.data_type()),
        other => other,
    }
}

fn comparison(column: &str, left: &Expr, op: &BinaryOperator, right: &Expr, whole: &Expr) -> Result<Bound> {
    let (op, limit) = match (is_column(column, left), is_column(column, right)) {
        (true, false) => (op.clone(), number(right)),
        (false, true) => (mirrored(op), number(left)),
        _ => return Err(no_projection(whole)),
    };
    let Some(limit) = limit else { return Err(no_projection(whole)) };
    match op {
        BinaryOperator::GtEq => Ok(Bound::Box { lower: limit, upper: f64::INFINITY }),
        BinaryOperator::LtEq => Ok(Bound::Box { lower: f64::NEG_INFINITY, upper: limit }),
        BinaryOperator::Eq => Bound::between(limit, limit, whole),
        BinaryOperator::Gt | BinaryOperator::Lt => {
            let error = Error::new(format!("CHECK ({whole}) on a learnable column has no nearest value to return to"));
            Err(error.hint("include the end of the range: write >= or <="))
        }
        _ => Err(no_projection(whole)),
    }
}

fn mirrored(op: &BinaryOperator) -> BinaryOperator {
    match op {
        BinaryOperator::Gt => BinaryOperator::Lt,
        BinaryOperator::Lt => BinaryOperator::Gt,
        BinaryOperator::GtEq => BinaryOperator::LtEq,
        BinaryOperator::LtEq => BinaryOperator::GtEq,
        other => other.clone(),
    }
}

fn is_column(column: &str, expr: &Expr) -> bool {
    match expr {
        Expr::Identifier(ident) => ident.value == column || (ident.quote_style.is_none() && ident.value.to_lowercase() == column),
        Expr::Nested(inner) => is_column(column, inner),
        _ => false,
    }
}

fn no_projection(expr: &Expr) -> Error {
    Error::new(format!("no projection is known for CHECK ({expr}) on a learnable column"))
        .hint("write bounds (c >= 0, c <= 1, c BETWEEN 0 AND 1), or c UNIT NORM or c SIMPLEX for a vector")
}

/// Duchi, Shalev-Shwartz, Singer and Chandra, "Efficient projections onto the l1-ball", 2008, figure 1.
fn project_onto_simplex(row: &mut [f64]) {
    let mut sorted = row.to_vec();
    sorted.sort_by(|a, b| b.total_cmp(a));
    let (mut sum, mut shift) = (0.0, 0.0);
    for (i, value) in sorted.iter().enumerate() {
        sum += value;
        let candidate = (sum - 1.0) / (i + 1) as f64;
        if value - candidate > 0.0 {
            shift = candidate;
        }
    }
    row.iter_mut().for_each(|e| *e = (*e - shift).max(0.0));
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::sql::sqlparser::{dialect::GenericDialect, parser::Parser};

    fn parse(sql: &str) -> Result<Bound> {
        let expr = Parser::new(&GenericDialect {}).try_with_sql(sql).unwrap().parse_expr().unwrap();
        Bound::parse("w", &expr)
    }

    #[test]
    fn bounds_are_read_from_comparisons_between_and_and() {
        assert_eq!(parse("w >= 0").unwrap(), Bound::Box { lower: 0.0, upper: f64::INFINITY });
        assert_eq!(parse("1.5 >= W").unwrap(), Bound::Box { lower: f64::NEG_INFINITY, upper: 1.5 });
        assert_eq!(parse("w BETWEEN -1 AND 1").unwrap(), Bound::Box { lower: -1.0, upper: 1.0 });
        assert_eq!(parse("(w >= 0) AND w <= 2").unwrap(), Bound::Box { lower: 0.0, upper: 2.0 });
    }

    #[test]
    fn a_check_without_a_projection_is_refused_with_what_to_write() {
        for sql in ["w > 0", "w * w <= 1", "w <> 0", "w >= v", "w >= 0 OR w <= -1", "w BETWEEN 1 AND 0", "w >= 1 AND w <= 0"] {
            let error = parse(sql).unwrap_err().to_string();
            assert!(error.contains("hint: "), "{sql}: {error}");
        }
    }

    #[test]
    fn a_projection_is_the_nearest_point_and_leaves_points_of_the_set_alone() {
        let mut row = [0.4, 0.3, 0.9];
        Bound::Simplex.project(&mut row);
        assert!((row.iter().sum::<f64>() - 1.0).abs() < 1e-12 && row.iter().all(|e| *e >= 0.0), "{row:?}");
        let again = row;
        Bound::Simplex.project(&mut row);
        row.iter().zip(again).for_each(|(a, b)| assert!((a - b).abs() < 1e-12));
        let mut row = [3.0, 4.0];
        Bound::UnitNorm.project(&mut row);
        assert_eq!(row, [0.6, 0.8]);
    }
}
