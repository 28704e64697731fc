//! Matrix products of all rows of a chunk with what is the same for all of them. The kernel is matrixmultiply's, by way of
//! ndarray; it takes memory for its packed tiles at each call, and the processor decides in which order it adds.

use super::element::Element;
use ndarray::linalg::general_mat_mul;
use ndarray::{ArrayView2, ArrayViewMut2};

/// Each row times a matrix of `width` columns, or, of `width` rows, its transpose. `rows` are `inner` numbers wide.
pub(super) fn rows_times_matrix<R: Element>(rows: &[R], matrix: &[R], transposed: bool, [inner, width]: [usize; 2], out: &mut [R]) {
    let matrix = if transposed { view(matrix, inner).reversed_axes() } else { view(matrix, width) };
    general_mat_mul(R::ONE, &view(rows, inner), &matrix, R::ZERO, &mut view_mut(out, width));
}

/// The sum of the outer products of rows `u` and `v`; as many rows as `u` is wide, as many columns as `v` is wide.
pub(super) fn sum_of_outer_products<R: Element>(u: &[R], v: &[R], columns: usize, out: &mut [R]) {
    let rows = out.len() / columns;
    general_mat_mul(R::ONE, &view(u, rows).reversed_axes(), &view(v, columns), R::ZERO, &mut view_mut(out, columns));
}

fn view<R>(numbers: &[R], columns: usize) -> ArrayView2<'_, R> {
    ArrayView2::from_shape((numbers.len() / columns, columns), numbers).expect("whole rows")
}

fn view_mut<R>(numbers: &mut [R], columns: usize) -> ArrayViewMut2<'_, R> {
    ArrayViewMut2::from_shape((numbers.len() / columns, columns), numbers).expect("whole rows")
}
