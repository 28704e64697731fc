//! `map`: each operation over the rows of a chunk, elementwise or vector by vector.
//! Its adjoint is again a map.

use super::call;
use super::element::Element;
use super::kernel::Workspace;
use super::loops::{add_scaled, dot, four_dots, sum};
use super::matrix::rows_times_matrix;
use super::memory::View;
use super::operand::{Chunk, Vectors, flat, number, vectors};
use super::schedule::Action;
use crate::scalar::Real;

#[inline(always)]
pub(super) fn compute<R: Element>(
    w: &mut Workspace<R>,
    view: &View<R>,
    chunk: Chunk,
    action: Action,
    into: usize,
    width: usize,
    inner: usize,
) {
    let mut register = std::mem::take(&mut w.registers[into]);
    let out = &mut register[..chunk.len * width];
    match action {
        Action::Unary(f, a) => {
            let a = flat(w, view, chunk, a, width);
            if a.len() == out.len() { f.map(a, out) } else { out.fill(f.value(a[0])) }
        }
        Action::Binary(f, a, b) => f.map(flat(w, view, chunk, a, width), flat(w, view, chunk, b, width), out),
        Action::Select(m, a, b) => {
            let mask = flat(w, view, chunk, m, 1);
            let (a, b) = (flat(w, view, chunk, a, width), flat(w, view, chunk, b, width));
            for (i, o) in out.iter_mut().enumerate() {
                let holds = number(mask, i / width) != R::ZERO;
                *o = if holds { number(a, i) } else { number(b, i) };
            }
        }
        Action::Degree(function, a, b, unit) => {
            let (a, b, unit) = (flat(w, view, chunk, a, 1), flat(w, view, chunk, b, 1), flat(w, view, chunk, unit, 1)[0]);
            R::degrees(function, a, b, unit, out);
        }
        Action::Product(a, b, c) => {
            let (a, b, c) = (flat(w, view, chunk, a, width), flat(w, view, chunk, b, width), flat(w, view, chunk, c, width));
            for (((o, &a), &b), &c) in out.iter_mut().zip(a).zip(b).zip(c) {
                *o = a * b * c;
            }
        }
        Action::MultiplyAdd(a, b, c) => {
            let (a, b, c) = (flat(w, view, chunk, a, width), flat(w, view, chunk, b, width), flat(w, view, chunk, c, width));
            multiply_add(a, b, c, out);
        }
        Action::Load(a) if let Some(numbers) = vectors(w, view, chunk, a, width).side_by_side(chunk.len) => out.copy_from_slice(numbers),
        Action::Load(a) if width == 1 => {
            let a = vectors(w, view, chunk, a, 1);
            match a.runs(chunk.len) {
                Some(runs) => {
                    for (_, lanes) in runs {
                        let number = a.row(lanes.start)[0];
                        out[lanes].fill(number);
                    }
                }
                None => {
                    for (lane, o) in out.iter_mut().enumerate() {
                        *o = a.row(lane)[0];
                    }
                }
            }
        }
        Action::Load(a) => {
            let a = vectors(w, view, chunk, a, width);
            for (lane, o) in out.chunks_exact_mut(width).enumerate() {
                o.copy_from_slice(a.row(lane));
            }
        }
        Action::Dot(a, b) => {
            let (a, b) = (vectors(w, view, chunk, a, inner), vectors(w, view, chunk, b, inner));
            dot_rows(a, b, out);
        }
        Action::Scale(s, v) => {
            let (s, v) = (flat(w, view, chunk, s, 1), vectors(w, view, chunk, v, width));
            for (lane, o) in out.chunks_exact_mut(width).enumerate() {
                let s = number(s, lane);
                for (o, &x) in o.iter_mut().zip(v.row(lane)) {
                    *o = s * x;
                }
            }
        }
        Action::Sum(v) => {
            let v = vectors(w, view, chunk, v, inner);
            for (lane, o) in out.iter_mut().enumerate() {
                *o = sum(v.row(lane));
            }
        }
        Action::Greatest(v) => {
            let v = vectors(w, view, chunk, v, inner);
            for (lane, o) in out.iter_mut().enumerate() {
                let row = v.row(lane);
                *o = row.iter().fold(row[0], |m, &x| m.max(x));
            }
        }
        Action::Spread(s) => {
            let s = flat(w, view, chunk, s, 1);
            for (lane, o) in out.chunks_exact_mut(width).enumerate() {
                o.fill(number(s, lane));
            }
        }
        Action::MatVec(m, v) => {
            let (m, v) = (vectors(w, view, chunk, m, width * inner), vectors(w, view, chunk, v, inner));
            for (lane, o) in out.chunks_exact_mut(width).enumerate() {
                let (m, v) = (m.row(lane), v.row(lane));
                for (o, row) in o.iter_mut().zip(m.chunks_exact(inner)) {
                    *o = dot(row, v);
                }
            }
        }
        Action::MatTransVec(m, u) => {
            let (m, u) = (vectors(w, view, chunk, m, width * inner), vectors(w, view, chunk, u, inner));
            for (lane, o) in out.chunks_exact_mut(width).enumerate() {
                o.fill(R::ZERO);
                for (row, &u) in m.row(lane).chunks_exact(width).zip(u.row(lane)) {
                    add_scaled(o, u, row);
                }
            }
        }
        Action::RowsTimesMatrix { rows, matrix, transposed } => {
            let rows = flat(w, view, chunk, rows, inner);
            rows_times_matrix(rows, flat(w, view, chunk, matrix, width * inner), transposed, [inner, width], out);
        }
        Action::Outer(u, v) => {
            let rows = width / inner;
            let (u, v) = (vectors(w, view, chunk, u, rows), vectors(w, view, chunk, v, inner));
            for (lane, o) in out.chunks_exact_mut(width).enumerate() {
                for (o, &u) in o.chunks_exact_mut(inner).zip(u.row(lane)) {
                    for (o, &v) in o.iter_mut().zip(v.row(lane)) {
                        *o = u * v;
                    }
                }
            }
        }
        Action::Convolve(by, part, a, b) => {
            let [first, second] = part.others().map(|other| by.width(other));
            let (a, b) = (vectors(w, view, chunk, a, first), vectors(w, view, chunk, b, second));
            for (lane, o) in out.chunks_exact_mut(width).enumerate() {
                by.part(part, a.row(lane), b.row(lane), o);
            }
        }
        Action::Pick(by, key, x) => {
            let (key, x) = (vectors(w, view, chunk, key, by.image_width()), vectors(w, view, chunk, x, by.image_width()));
            for (lane, o) in out.chunks_exact_mut(width).enumerate() {
                by.pick(key.row(lane), x.row(lane), o);
            }
        }
        Action::Concat(a, b) => {
            let (a, b) = (vectors(w, view, chunk, a, inner), vectors(w, view, chunk, b, width - inner));
            for (lane, o) in out.chunks_exact_mut(width).enumerate() {
                let (first, second) = o.split_at_mut(inner);
                first.copy_from_slice(a.row(lane));
                second.copy_from_slice(b.row(lane));
            }
        }
        Action::Slice(v, start) => {
            let (v, start) = (vectors(w, view, chunk, v, inner), start as usize);
            for (lane, o) in out.chunks_exact_mut(width).enumerate() {
                o.copy_from_slice(&v.row(lane)[start..start + width]);
            }
        }
        Action::Call(callee, arguments) => call::value(w, view, chunk, callee, arguments, out),
        Action::PullBack(callee, arguments, cotangent) => call::pull_back(w, view, chunk, callee, [arguments, cotangent], out),
        Action::Place(by, key, x) => {
            let small = by.output().iter().product();
            let (key, x) = (vectors(w, view, chunk, key, by.image_width()), vectors(w, view, chunk, x, small));
            for (lane, o) in out.chunks_exact_mut(width).enumerate() {
                by.place(key.row(lane), x.row(lane), o);
            }
        }
    }
    w.registers[into] = register;
}

#[inline(always)]
fn dot_rows<R: Real>(a: Vectors<R>, b: Vectors<R>, out: &mut [R]) {
    let (fours, rest) = out.as_chunks_mut::<4>();
    for (step, o) in fours.iter_mut().enumerate() {
        *o = four_dots(a.rows(4 * step), b.rows(4 * step));
    }
    let start = 4 * fours.len();
    for (lane, o) in rest.iter_mut().enumerate() {
        *o = dot(a.row(start + lane), b.row(start + lane));
    }
}

/// a * b + c; a one-element `a` stands for all lanes.
#[inline(always)]
fn multiply_add<R: Real>(a: &[R], b: &[R], c: &[R], out: &mut [R]) {
    if a.len() == out.len() {
        for (((o, &a), &b), &c) in out.iter_mut().zip(a).zip(b).zip(c) {
            *o = a * b + c;
        }
    } else {
        let a = a[0];
        for ((o, &b), &c) in out.iter_mut().zip(b).zip(c) {
            *o = a * b + c;
        }
    }
}
