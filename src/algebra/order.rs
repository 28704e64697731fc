//! The order of rows, and what a row's place in it is worth.

use super::Expression;

/// What runs along the rows of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Running {
    Count,
    Sum,
}

/// The order of the rows of a partition.
#[derive(Debug, Clone, PartialEq)]
pub struct Order {
    /// A live number; `None` where the order is frozen: the skeleton leaves the rows in it.
    pub key: Option<Expression>,
    pub descending: bool,
    pub nulls_first: bool,
    /// The residual that holds how many rows of the SQL partition an earlier, frozen key puts before those of this one.
    pub before: Option<usize>,
    /// Whether later keys decide between rows of equal key.
    pub ties_broken: bool,
    /// As SQL.
    pub label: String,
}

/// A function of a row's place in an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ranking {
    /// The degree to which the row is among this many first.
    Among(u64),
    RowNumber,
    Rank,
    DenseRank,
    PercentRank,
    CumeDist,
    /// NTILE into this many.
    Tile(u64),
}

impl Ranking {
    /// The rankings of SQL that take no argument.
    pub const ALL: &'static [Ranking] = &[Ranking::RowNumber, Ranking::Rank, Ranking::DenseRank, Ranking::PercentRank, Ranking::CumeDist];

    /// The SQL name.
    pub fn name(self) -> &'static str {
        match self {
            Ranking::Among(_) => "LIMIT",
            Ranking::RowNumber => "row_number",
            Ranking::Rank => "rank",
            Ranking::DenseRank => "dense_rank",
            Ranking::PercentRank => "percent_rank",
            Ranking::CumeDist => "cume_dist",
            Ranking::Tile(_) => "ntile",
        }
    }

    /// Whether it counts rows, so that a comparison with a number says which are among the first.
    pub fn is_place(self) -> bool {
        matches!(self, Ranking::RowNumber | Ranking::Rank | Ranking::DenseRank)
    }
}
