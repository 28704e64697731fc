//! Initial values of learnable columns: the same rows of the same table get the same bits.

use super::ColumnDefinition;
use crate::error::{Error, Result};
use arrow::array::{Array, ArrayRef, Float32Array, Float64Array, ListArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, FieldRef};
use datafusion::sql::sqlparser::ast::{Expr, FunctionArg, FunctionArgExpr, FunctionArguments, UnaryOperator, Value};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use rand_distr::{Distribution, StandardNormal};
use std::sync::Arc;

/// How new elements are drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Initializer {
    Zeros,
    Ones,
    Normal {
        mean: f64,
        deviation: f64,
    },
    Uniform {
        low: f64,
        high: f64,
    },
    /// Uniform within sqrt(6 / (fan in + fan out)): Glorot and Bengio, "Understanding the difficulty of training deep
    /// feedforward neural networks", 2010, equation 16. A matrix `REAL[out][in]` maps `in` numbers to `out`.
    Glorot,
}

/// The names and how they are written, in reading order.
pub const INITIALIZERS: [(&str, &str); 5] = [
    ("init_zeros", "init_zeros()"),
    ("init_ones", "init_ones()"),
    ("init_normal", "init_normal(mean, deviation)"),
    ("init_uniform", "init_uniform(low, high)"),
    ("init_glorot", "init_glorot()"),
];

impl Initializer {
    /// The initializer that a DEFAULT calls; `None` for an ordinary expression.
    pub fn parse(expr: &Expr) -> Result<Option<Self>> {
        let Expr::Function(call) = expr else { return Ok(None) };
        let name = call.name.to_string().to_lowercase();
        if !name.starts_with("init_") {
            return Ok(None);
        }
        let Some((_, written)) = INITIALIZERS.iter().find(|(known, _)| *known == name) else {
            let known: Vec<&str> = INITIALIZERS.iter().map(|(_, written)| *written).collect();
            return Err(Error::new(format!("unknown initializer '{name}'")).hint(format!("the initializers are {}", known.join(", "))));
        };
        let wrong = || Error::new(format!("'{expr}' is not how {name} is written")).hint(format!("write {written}, with numbers"));
        let arguments = arguments(&call.args).ok_or_else(wrong)?;
        match (name.as_str(), arguments.as_slice()) {
            ("init_zeros", []) => Ok(Some(Self::Zeros)),
            ("init_ones", []) => Ok(Some(Self::Ones)),
            ("init_glorot", []) => Ok(Some(Self::Glorot)),
            ("init_normal", [_, deviation]) if *deviation < 0.0 => {
                Err(Error::new(format!("the deviation of '{expr}' is negative")).hint("write 0 or more"))
            }
            ("init_normal", [mean, deviation]) => Ok(Some(Self::Normal { mean: *mean, deviation: *deviation })),
            ("init_uniform", [low, high]) if low > high => {
                Err(Error::new(format!("the range of '{expr}' is empty")).hint("write the lower end first"))
            }
            ("init_uniform", [low, high]) => Ok(Some(Self::Uniform { low: *low, high: *high })),
            _ => Err(wrong()),
        }
    }

    fn draw(self, dimensions: &[usize], random: &mut ChaCha8Rng) -> f64 {
        match self {
            Self::Zeros => 0.0,
            Self::Ones => 1.0,
            Self::Normal { mean, deviation } => {
                let standard: f64 = StandardNormal.sample(random);
                mean + deviation * standard
            }
            Self::Uniform { low, high } => low + (high - low) * unit(random),
            Self::Glorot => {
                let fan_out = dimensions.first().copied().unwrap_or(1);
                let fan_in = dimensions.get(1).copied().unwrap_or(1);
                let limit = (6.0 / (fan_in + fan_out) as f64).sqrt();
                limit * (2.0 * unit(random) - 1.0)
            }
        }
    }
}

/// Initial values of `rows` new rows of a column whose table has `first_row` rows already, within the column's bound.
pub fn fill(table: &str, column: &ColumnDefinition, initializer: Initializer, first_row: u64, rows: usize) -> Result<ArrayRef> {
    let width = column.width();
    let mut elements = Vec::with_capacity(rows * width);
    for row in 0..rows {
        let mut random = ChaCha8Rng::from_seed(seed(table, &column.name));
        random.set_stream(first_row + row as u64);
        let start = elements.len();
        elements.extend((0..width).map(|_| initializer.draw(&column.dimensions, &mut random)));
        if let Some(bound) = &column.bound {
            bound.project(&mut elements[start..]);
        }
    }
    shape(elements, &column.data_type, &column.dimensions)
}

/// Elements in row-major order as an array of the column's type.
pub fn shape(elements: Vec<f64>, data_type: &DataType, dimensions: &[usize]) -> Result<ArrayRef> {
    match data_type {
        DataType::Float64 => Ok(Arc::new(Float64Array::from(elements))),
        DataType::Float32 => Ok(Arc::new(elements.into_iter().map(|e| Some(e as f32)).collect::<Float32Array>())),
        DataType::List(item) => {
            let length = dimensions.first().copied().unwrap_or(0);
            let inner_width: usize = dimensions.iter().skip(1).product();
            let rows = elements.len().checked_div(length * inner_width).unwrap_or(0);
            list(shape(elements, item.data_type(), dimensions.get(1..).unwrap_or_default())?, item, length, rows)
        }
        other => Err(Error::new(format!("a column of type {other} has no initial values"))),
    }
}

fn list(values: ArrayRef, item: &FieldRef, length: usize, rows: usize) -> Result<ArrayRef> {
    debug_assert_eq!(values.len(), length * rows);
    Ok(Arc::new(ListArray::try_new(item.clone(), OffsetBuffer::from_repeated_length(length, rows), values, None)?))
}

/// A number in [0, 1) with 53 random bits.
fn unit(random: &mut ChaCha8Rng) -> f64 {
    (random.next_u64() >> 11) as f64 / (1u64 << 53) as f64
}

/// A seed that depends on the names alone: FNV-1a, spread over 32 bytes by splitmix64.
fn seed(table: &str, column: &str) -> [u8; 32] {
    let bytes = table.bytes().chain([0]).chain(column.bytes());
    let mut state = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    let mut seed = [0; 32];
    for part in seed.chunks_exact_mut(8) {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        part.copy_from_slice(&(mixed ^ (mixed >> 31)).to_le_bytes());
    }
    seed
}

/// The arguments of a call, when all are plain numbers.
fn arguments(arguments: &FunctionArguments) -> Option<Vec<f64>> {
    match arguments {
        FunctionArguments::List(list) if list.clauses.is_empty() && list.duplicate_treatment.is_none() => list
            .args
            .iter()
            .map(|argument| match argument {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => number(expr),
                _ => None,
            })
            .collect(),
        _ => None,
    }
}

/// The value of a number as it is written in SQL, its sign included.
pub(super) fn number(expr: &Expr) -> Option<f64> {
    match expr {
        Expr::Value(value) => match &value.value {
            Value::Number(digits, _) => digits.replace('_', "").parse().ok(),
            _ => None,
        },
        Expr::Nested(inner) => number(inner),
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => number(expr).map(|n| -n),
        Expr::UnaryOp { op: UnaryOperator::Plus, expr } => number(expr),
        Expr::Cast { expr, .. } => number(expr),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Bound;
    use super::*;

    fn vector(name: &str, dimensions: &[usize]) -> ColumnDefinition {
        let data_type = dimensions.iter().fold(DataType::Float64, |t, _| DataType::new_list(t, true));
        ColumnDefinition {
            name: name.into(),
            data_type,
            dimensions: dimensions.to_vec(),
            nullable: false,
            default: None,
            learnable: true,
            bound: None,
        }
    }

    fn elements(array: &ArrayRef) -> Vec<f64> {
        let list = array.as_any().downcast_ref::<ListArray>().unwrap();
        list.values().as_any().downcast_ref::<Float64Array>().unwrap().values().to_vec()
    }

    #[test]
    fn the_same_rows_get_the_same_bits_however_they_are_inserted() {
        let column = vector("emb", &[8]);
        let normal = Initializer::Normal { mean: 0.0, deviation: 0.1 };
        let at_once = elements(&fill("users", &column, normal, 0, 10).unwrap());
        let later = elements(&fill("users", &column, normal, 4, 6).unwrap());
        assert_eq!(at_once[32..], later[..]);
        assert_ne!(at_once[..8], at_once[8..16]);
        assert_ne!(later, elements(&fill("items", &column, normal, 4, 6).unwrap()));
    }

    #[test]
    fn a_normal_column_has_its_mean_and_deviation() {
        let values = elements(&fill("t", &vector("c", &[100]), Initializer::Normal { mean: 2.0, deviation: 0.5 }, 0, 1000).unwrap());
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let deviation = (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / values.len() as f64).sqrt();
        assert!((mean - 2.0).abs() < 0.01 && (deviation - 0.5).abs() < 0.01, "{mean} {deviation}");
    }

    #[test]
    fn a_glorot_matrix_stays_within_its_limit_and_fills_it() {
        let array = fill("net", &vector("w", &[3, 5]), Initializer::Glorot, 0, 200).unwrap();
        let outer = array.as_any().downcast_ref::<ListArray>().unwrap();
        assert_eq!((outer.len(), outer.value_length(0)), (200, 3));
        let values = elements(outer.values());
        let limit = (6.0f64 / 8.0).sqrt();
        let largest = values.iter().fold(0.0f64, |a, v| a.max(v.abs()));
        assert!(values.len() == 3000 && largest <= limit && largest > 0.99 * limit, "{largest}");
    }

    #[test]
    fn initial_values_lie_within_the_bound() {
        let mut column = vector("c", &[4]);
        column.bound = Some(Bound::UnitNorm);
        for row in elements(&fill("t", &column, Initializer::Normal { mean: 0.0, deviation: 3.0 }, 0, 20).unwrap()).chunks(4) {
            assert!((row.iter().map(|v| v * v).sum::<f64>() - 1.0).abs() < 1e-12);
        }
    }
}
