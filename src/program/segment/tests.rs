//! Laws of whole-segment operations: adjoints against central differences, the sorted sums against all pairs, segments of
//! no, one, two and many rows, ties, and samples of whole segments.

use super::super::tests::numbers;
use super::super::{Graph, Machine, ONE, Segments, Value, gradient};
use super::pairs;
use super::root::{self, Weighed};
use crate::buffer::Buffer;
use crate::scalar::Unary;
use std::sync::Arc;

const SHAPES: [Unary; 4] = [Unary::Sigmoid, Unary::LaplaceCdf, Unary::CauchyCdf, Unary::LinearCdf];

/// Segments of 0, 1, 2, 3, 5 and 70 rows.
const LENGTHS: [usize; 7] = [1, 0, 2, 3, 5, 70, 0];

/// Scores and weights over rows in segments (or in one), a number of each segment to weigh the answers with, and the answer's gradient.
fn check(name: &str, whole: bool, h: f64, make: &dyn Fn(&Graph, Value, Value, Segments) -> Value) {
    let graph = Graph::new();
    let rows: usize = LENGTHS.iter().sum();
    let (child, parent) = (graph.domain("rows", rows), graph.domain("segments", LENGTHS.len()));
    let of: Buffer<u32> = LENGTHS.iter().enumerate().flat_map(|(p, n)| vec![p as u32; *n]).collect();
    let segments = if whole { Segments::All(child) } else { Segments::Of(graph.index(child, parent, of)) };
    let (s, v) = (graph.parameter(0, child, 1), graph.parameter(1, child, 1));
    let w = graph.unary(Unary::Sigmoid, v);
    let made = make(&graph, s, w, segments);
    let objective = match graph.domain_of(made) {
        d if d == child => graph.total(graph.multiply(made, graph.residual(0, child, 1)), child),
        d if d == parent => {
            // An empty segment has no finite root.
            let some = graph.residual(2, parent, 1);
            graph.total(graph.gate(some, graph.multiply(graph.residual(1, parent, 1), made)), parent)
        }
        _ => made,
    };
    let outputs: Vec<Value> = [objective].into_iter().chain(gradient(&graph, objective, &[s, v]).into_iter().flatten()).collect();
    let some = LENGTHS.iter().map(|n| f64::from(*n > 0)).collect();
    let residuals = Arc::new([numbers(5, rows), numbers(6, LENGTHS.len()), some].map(Buffer::from).into());
    let mut machine = Machine::<f64>::build(&graph, residuals, &outputs, false);
    let start = [numbers(7, rows), numbers(8, rows)];
    for slot in 0..2 {
        machine.parameter_mut(slot).copy_from_slice(&start[slot as usize]);
    }
    machine.run();
    let slopes: Vec<Vec<f64>> = (1..outputs.len()).map(|o| machine.output(o).to_vec()).collect();
    assert!(machine.output(0)[0].is_finite(), "{name}\n{machine}");
    for (slot, slopes) in slopes.iter().enumerate() {
        for (i, slope) in slopes.iter().enumerate().step_by(3) {
            let mut at = |delta: f64| {
                machine.parameter_mut(slot as u32)[i] = start[slot][i] + delta;
                machine.run();
                machine.output(0)[0]
            };
            let central = |at: &mut dyn FnMut(f64) -> f64, h: f64| (at(h) - at(-h)) / (2.0 * h);
            let difference = (4.0 * central(&mut at, h / 2.0) - central(&mut at, h)) / 3.0;
            at(0.0);
            let close = (slope - difference).abs() <= 1e-6 * slope.abs().max(1e-2);
            assert!(close, "{name}: parameter {slot} element {i}: {slope} is not {difference}");
        }
    }
}

#[test]
fn adjoints_are_central_differences() {
    for whole in [false, true] {
        for shape in SHAPES {
            let kinked = shape == Unary::LinearCdf;
            let (unit, h) = if kinked { (0.6, 1e-5) } else { (2.5, 1e-4) };
            check("pair sums", whole, h, &|g, s, w, segments| g.pair_sums(shape, s, w, g.number(unit), segments));
            if !kinked {
                check("root", whole, h, &|g, s, w, segments| {
                    let target = g.multiply(g.over_rows(w, segments), g.number(0.37));
                    g.root(shape, s, w, target, g.number(unit), segments)
                });
                check("membership", whole, h, &|g, s, w, segments| {
                    let target = g.multiply(g.over_rows(w, segments), g.number(0.6));
                    let theta = g.root(shape, s, w, target, g.number(unit), segments);
                    g.unary(shape, g.multiply(g.subtract(s, g.to_rows(theta, segments)), g.number(unit)))
                });
            }
        }
        check("log-sum-exp", whole, 1e-4, &|g, s, w, segments| g.root(Unary::Exp, s, w, g.over_rows(w, segments), g.number(2.5), segments));
        check("extremum", whole, 1e-6, &|g, s, w, segments| g.extremum(s, w, segments));
        check("prefix sums", whole, 1e-4, &|g, s, w, segments| g.prefix_sums(g.multiply(s, w), segments));
    }
}

#[test]
fn sorted_laplace_sums_are_those_of_all_pairs() {
    for n in [0, 1, 2, 3, 64, 1000] {
        for unit in [1e-3, 1.0, 50.0, 1e9] {
            for slope in [false, true] {
                let (mut s, a) = (numbers(n as u64 + 1, n), numbers(n as u64 + 2, n));
                // Ties.
                (2..n).step_by(5).for_each(|i| s[i] = s[i - 1]);
                let (mut all, mut sorted) = (vec![0.0; n], vec![0.0; n]);
                pairs::all(Unary::LaplaceCdf, slope, &s, &a, unit, 0..n, &mut all);
                let (mut order, mut decays, mut out) = ((0..n as u32).collect::<Vec<_>>(), vec![0.0; n], vec![0.0; n]);
                pairs::arrange(&s, unit, &mut order, &mut decays);
                let amounts: Vec<f64> = order.iter().map(|row| a[*row as usize]).collect();
                pairs::laplace(slope, &amounts, &decays, &mut vec![0.0; n], &mut out);
                order.iter().zip(out).for_each(|(row, sum)| sorted[*row as usize] = sum);
                for (x, y) in all.iter().zip(&sorted) {
                    assert!((x - y).abs() <= 1e-9 * x.abs().max(1.0), "{n} rows, unit {unit}: {x} is not {y}");
                }
            }
        }
    }
}

#[test]
fn a_root_is_exact_to_rounding_and_infinite_where_there_is_none() {
    for shape in SHAPES.into_iter().chain([Unary::ExponentialCdf]) {
        for unit in [1e-9, 0.3, 40.0, 1e8, 1e30] {
            for (k, near) in [1.0, 2.0, 3.5, 19.0].into_iter().flat_map(|k| [(k, f64::NAN), (k, 0.4), (k, numbers(3, 20)[7])]) {
                let (s, w) = (numbers(3, 20), vec![1.0; 20]);
                let theta = root::root(shape, Weighed { scores: &s, weights: &w }, k, unit, near);
                let sum: f64 = s.iter().map(|s| shape.value((s - theta) * unit)).sum();
                // No number lies closer: at the coldest, F is a step between two neighbours.
                let sums = [theta.next_down(), theta.next_up()].map(|t| s.iter().map(|s| shape.value((s - t) * unit)).sum::<f64>());
                let closest = sums.iter().all(|x| (x - k).abs() >= (sum - k).abs() - 1e-12);
                assert!((sum - k).abs() < 1e-9 || closest, "{shape:?} at {unit} from {near}: {sum} is not {k}");
            }
        }
        let of = |s: &[f64], w: &[f64], target: f64| root::root(shape, Weighed { scores: s, weights: w }, target, 2.0, f64::NAN);
        assert_eq!(of(&[], &[], 1.0), f64::NEG_INFINITY);
        assert_eq!(of(&[3.0], &[1.0], 1.0), f64::NEG_INFINITY);
        assert_eq!(of(&[3.0, f64::NAN], &[0.5, 0.0], 1.0), f64::NEG_INFINITY);
        assert_eq!(of(&[3.0, 4.0], &[1.0, 1.0], 0.0), f64::INFINITY);
        assert!(of(&[3.0, f64::NAN], &[1.0, 1.0], 1.0).is_nan());
        let tied = of(&[3.0, 3.0, 3.0], &[1.0, 1.0, 1.0], 1.5);
        assert!(!tied.is_nan() && (3.0 * shape.value((3.0 - tied) * 2.0) - 1.5).abs() < 1e-12);
    }
}

#[test]
fn a_machine_that_selects_gives_the_same_for_samples_and_in_blocks() {
    let graph = Graph::new();
    let (rows, groups) = (80_000, 500);
    let (child, parent) = (graph.domain("rows", rows), graph.domain("groups", groups));
    let of: Buffer<u32> = (0..rows).map(|r| (r * groups / rows) as u32).collect();
    let segments = Segments::Of(graph.index(child, parent, of));
    let s = graph.parameter(0, child, 1);
    let w = graph.residual(0, child, 1);
    let made = [
        graph.root(Unary::Sigmoid, s, w, graph.number(40.0), graph.number(3.0), segments),
        graph.pair_sums(Unary::LaplaceCdf, s, w, graph.number(3.0), segments),
        graph.pair_sums(Unary::Sigmoid, s, w, graph.number(3.0), segments),
        graph.extremum(s, w, segments),
        graph.prefix_sums(s, segments),
    ];
    let weights: Vec<f64> = numbers(1, rows).iter().map(|x| x.abs()).collect();
    let values = numbers(2, rows);
    let build = |sampled: bool| {
        let mut machine = Machine::<f64>::build(&graph, Arc::new(vec![weights.clone().into()]), &made, sampled);
        machine.parameter_mut(0).copy_from_slice(&values);
        machine
    };
    let (mut many, mut one) = (build(false), build(true));
    many.run();
    one.run();
    let outputs = |m: &Machine<f64>| (0..made.len()).map(|o| m.output(o).to_vec()).collect::<Vec<_>>();
    assert_eq!(outputs(&many), outputs(&one));
    // Over a sample of the segments only their rows change.
    one.parameter_mut(0).iter_mut().for_each(|x| *x = -*x);
    let picked = [3u32, 77, 499];
    let mut active = vec![None; 3];
    let inside = |r: usize| picked.contains(&((r * groups / rows) as u32));
    active[1] = Some((0..rows as u32).filter(|r| inside(*r as usize)).collect());
    active[2] = Some(picked.to_vec());
    one.activate(&active);
    one.run();
    many.parameter_mut(0).iter_mut().for_each(|x| *x = -*x);
    let before = outputs(&many);
    many.run();
    for ((now, then), sampled) in outputs(&many).iter().zip(&before).zip(outputs(&one)) {
        let member = |i: usize| if now.len() == rows { inside(i) } else { picked.contains(&(i as u32)) };
        for i in 0..now.len() {
            assert_eq!(sampled[i], if member(i) { now[i] } else { then[i] });
        }
    }
    assert_eq!(graph.domain_of(graph.root(Unary::Sigmoid, s, w, graph.number(1.0), graph.number(1.0), Segments::All(child))), ONE);
}

#[test]
fn what_goes_through_a_strip_is_what_is_written_out() {
    for (parents, most, empty) in [(5, 9, 1), (64, 3, 5), (200, 300, 70), (3000, 40, 1)] {
        // Parents without rows, also the first and the last; and grandparents.
        let length = |p: usize| if p < empty || p + empty >= parents || p % 7 == 3 { 0 } else { 1 + p * 31 % most };
        let of: Buffer<u32> = (0..parents).flat_map(|p| vec![p as u32; length(p)]).collect();
        let graph = Graph::new();
        let (child, parent, root) = (graph.domain("rows", of.len()), graph.domain("segments", parents), graph.domain("roots", 4));
        let (index, upwards) =
            (graph.index(child, parent, of.clone()), graph.index(parent, root, (0..parents).map(|p| (p * 4 / parents) as u32).collect()));
        let segments = Segments::Of(index);
        let (s, v) = (graph.parameter(0, child, 1), graph.parameter(1, parent, 1));
        let w = graph.unary(Unary::Sigmoid, graph.multiply(s, graph.gather(v, index)));
        let best = graph.extremum(s, w, segments);
        let ranks = graph.pair_sums(Unary::LaplaceCdf, s, w, graph.number(2.0), segments);
        let near = graph.segment_sum(graph.multiply(ranks, graph.gather(best, index)), index);
        let sums = graph.segment_sum(graph.multiply(near, v), upwards);
        let back = graph.multiply(graph.gather(graph.gather(sums, upwards), index), w);
        let objective = graph.total(graph.unary(Unary::Tanh, graph.multiply(back, graph.number(1e-2))), child);
        let outputs: Vec<Value> =
            [objective, best, near].into_iter().chain(gradient(&graph, objective, &[s, v]).into_iter().flatten()).collect();
        let answers = [false, true].map(|sampled| {
            let mut machine = Machine::<f64>::build(&graph, Arc::new(vec![]), &outputs, sampled);
            machine.parameter_mut(0).copy_from_slice(&numbers(1, of.len()));
            machine.parameter_mut(1).copy_from_slice(&numbers(2, parents));
            // Twice: the second run finds the orders of the first.
            machine.run();
            machine.run();
            assert_eq!(machine.strips().any(|strip| strip.stages.len() > 3), !sampled, "{machine}");
            (0..outputs.len()).flat_map(|o| machine.output(o).to_vec()).collect::<Vec<f64>>()
        });
        for (a, b) in answers[0].iter().zip(&answers[1]) {
            assert!((a - b).abs() <= 1e-12 * b.abs().max(1e-3), "{a} is not {b}, {parents} parents");
        }
    }
}

#[test]
fn stacked_rows_are_a_vector_of_their_segment() {
    for (segments, length) in [(4, 3), (1, 5), (6, 1), (3, 4000)] {
        let graph = Graph::new();
        let rows = segments * length;
        let (child, parent) = (graph.domain("rows", rows), graph.domain("segments", segments));
        let of: Buffer<u32> = (0..rows).map(|r| (r / length) as u32).collect();
        let over = if segments == 1 { Segments::All(child) } else { Segments::Of(graph.index(child, parent, of)) };
        let (x, y) = (graph.parameter(0, child, 2), graph.parameter(1, ONE, 2));
        let product = graph.scale(graph.dot(x, y), x);
        let vectors = graph.stack(product, over);
        assert_eq!((graph.width(vectors), graph.domain_of(vectors)), (2 * length, parent));
        let same = graph.stack(y, over);
        let objective = graph.total(graph.unary(Unary::Tanh, graph.dot(vectors, graph.add(vectors, same))), parent);
        // Twice the gradient: the adjoint of an adjoint.
        let slope = gradient(&graph, objective, &[x])[0].expect("it is reached");
        let squares = graph.total(graph.dot(slope, slope), child);
        let outputs: Vec<Value> = [squares].into_iter().chain(gradient(&graph, squares, &[x, y]).into_iter().flatten()).collect();
        let mut machine = Machine::<f64>::build(&graph, Arc::new(vec![]), &outputs, false);
        let start = [numbers(7, 2 * rows), numbers(8, 2)];
        for slot in 0..2 {
            machine.parameter_mut(slot).iter_mut().zip(&start[slot as usize]).for_each(|(p, x)| *p = x / (length as f64).sqrt());
        }
        machine.run();
        let slopes: Vec<Vec<f64>> = (1..outputs.len()).map(|o| machine.output(o).to_vec()).collect();
        for (slot, slopes) in slopes.iter().enumerate() {
            for i in (0..slopes.len()).step_by((slopes.len() / 5).max(1)) {
                let before = machine.parameter_mut(slot as u32)[i];
                let mut at = |delta: f64| {
                    machine.parameter_mut(slot as u32)[i] = before + delta;
                    machine.run();
                    machine.output(0)[0]
                };
                let difference = (at(1e-5) - at(-1e-5)) / 2e-5;
                at(0.0);
                assert!(
                    (slopes[i] - difference).abs() <= 1e-6 * slopes[i].abs().max(1e-2),
                    "{segments} x {length}: {} is not {difference}",
                    slopes[i]
                );
            }
        }
    }
}
