//! The differentiable program: values over domains, the backward pass made from the forward pass,
//! passes fused over chunks of rows. This room never hears of SQL, Arrow or optimizers.
//!
//! There are few primitives, and each has its adjoint:
//!
//! | primitive | adjoint |
//! |---|---|
//! | `map` (elementwise functions, inner products, matrix products, convolutions) | `map` |
//! | `call` (a function of the application) | `pull_back`, see `call` |
//! | `pick` (the greatest pixel of each window) | `place`, see `pooling` |
//! | `gather` (parent row -> child row) | `segment_sum` |
//! | `segment_sum` (child rows -> parent row), `total` (all rows -> one) | `gather`, broadcast |
//! | `segment-select` (roots, pair sums, extrema and prefix sums within a segment) | see `segment` |

mod alignment;
mod assembler;
mod between;
mod block;
mod call;
mod convolution;
mod element;
mod factorize;
mod frozen;
mod fusion;
mod gradient;
mod graph;
mod index;
mod kernel;
mod linear;
mod loops;
mod machine;
mod map;
mod matrix;
mod memory;
mod op;
mod operand;
mod order;
mod plan;
mod pooling;
mod print;
mod profile;
mod reduce;
mod sample;
mod schedule;
mod segment;
mod tile;

pub use convolution::Convolution;
pub use gradient::gradient;
pub use graph::{Domain, Graph, Index, ONE, Slot, Value};
pub use kernel::Lanes;
pub use machine::{Active, Machine};
pub use pooling::Pooling;
pub use profile::{Measured, Peak, Profile};
pub use sample::Sampling;
pub use segment::Segments;

#[cfg(test)]
mod tests;
