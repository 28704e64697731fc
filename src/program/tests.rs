//! Laws of the program: adjoints, gradients against central differences, equal bits for any cut.

mod case;

use super::convolution::Part;
use super::*;
use crate::buffer::Buffer;
use crate::scalar::{Arguments, Binary, Cotangents, DifferentiableFunction, Function, FunctionType, Unary};
pub(super) use case::numbers;
use case::{Case, columns};
use std::sync::Arc;

fn index(child: usize, parent: usize, seed: u64) -> Buffer<u32> {
    numbers(seed, child).iter().map(|x| (((x + 1.0) / 2.0) * parent as f64) as u32 % parent as u32).collect()
}

/// Squared error of inner products gathered from two tables.
fn factorize(rows: usize, users: usize, items: usize) -> Case {
    let graph = Graph::new();
    let (iu, ii) = (index(rows, users, 5), index(rows, items, 6));
    let lengths = [users * 5, items * 5, users];
    let (d, users, items) = (graph.domain("ratings", rows), graph.domain("users", users), graph.domain("items", items));
    let (iu, ii) = (graph.index(d, users, iu), graph.index(d, items, ii));
    let (u, v) = (graph.parameter(0, users, 5), graph.parameter(1, items, 5));
    let bias = graph.parameter(2, users, 1);
    let r = graph.residual(0, d, 1);
    let p = graph.add(graph.dot(graph.gather(u, iu), graph.gather(v, ii)), graph.gather(bias, iu));
    let e = graph.subtract(p, r);
    let n = graph.number(rows as f64);
    let objective = graph.divide(graph.total(graph.multiply(e, e), d), n);
    let parameters = [u, v, bias].into_iter().zip(lengths).collect();
    Case { graph, parameters, residuals: columns(vec![numbers(9, rows)]), objective }
}

/// F1 of a soft conjunction of thresholds: a ratio of two sums.
fn threshold(rows: usize) -> Case {
    let graph = Graph::new();
    let d = graph.domain("rows", rows);
    let (_, y) = (0, graph.residual(3, d, 1));
    let mut parameters = vec![];
    let mut w = graph.number(1.0);
    for k in 0..3 {
        let c = graph.parameter(k, ONE, 1);
        parameters.push((c, 1));
        let gap = graph.subtract(graph.residual(k, d, 1), c);
        w = graph.multiply(w, graph.unary(Unary::Sigmoid, graph.multiply(gap, graph.number(7.0))));
    }
    let hits = graph.total(graph.gate(w, y), d);
    let both = graph.add(graph.total(w, d), graph.number(rows as f64 / 2.0));
    let objective = graph.divide(graph.multiply(graph.number(2.0), hits), both);
    let residuals = (0..4).map(|k| numbers(20 + k, rows).iter().map(|x| if k == 3 { f64::from(*x > 0.0) } else { *x }).collect()).collect();
    Case { graph, parameters, residuals: columns(residuals), objective }
}

/// The mean of the fifth of the rows with the greatest scores: a ratio of two sums of what follows from a root.
fn greatest(rows: usize) -> Case {
    let graph = Graph::new();
    let d = graph.domain("rows", rows);
    let (x, y) = (graph.residual(0, d, 1), graph.residual(1, d, 1));
    let (a, b) = (graph.parameter(0, ONE, 1), graph.parameter(1, ONE, 1));
    let score = graph.add(graph.multiply(a, x), graph.multiply(b, y));
    let unit = graph.number(4.0);
    let theta = graph.root(Unary::LaplaceCdf, score, graph.number(1.0), graph.number(rows as f64 / 5.0), unit, Segments::All(d));
    let member = graph.unary(Unary::LaplaceCdf, graph.multiply(graph.subtract(score, theta), unit));
    let weight = graph.total(graph.multiply(member, graph.multiply(x, x)), d);
    let objective = graph.divide(graph.total(graph.multiply(member, y), d), graph.add(weight, graph.number(1.0)));
    Case { graph, parameters: vec![(a, 1), (b, 1)], residuals: columns(vec![numbers(7, rows), numbers(8, rows)]), objective }
}

/// Groups within groups, with a vector weight, a matrix, softmax pieces and noisy-or products.
fn nested(rows: usize) -> Case {
    let graph = Graph::new();
    let (d, groups, outer) = (graph.domain("rows", rows), graph.domain("groups", 40), graph.domain("outer", 6));
    let sorted: Buffer<u32> = (0..rows).map(|r| (r * 40 / rows) as u32).collect();
    let (g, o) = (graph.index(d, groups, sorted), graph.index(groups, outer, index(40, 6, 3)));
    let x = graph.residual(0, d, 4);
    let m = graph.parameter(0, ONE, 12);
    let w = graph.parameter(1, ONE, 3);
    let hidden = graph.unary(Unary::Tanh, graph.mat_vec(m, x));
    let top = graph.greatest(hidden);
    let e = graph.unary(Unary::Exp, graph.binary(Binary::Subtract, hidden, graph.spread(top, 3)));
    let share = graph.scale(graph.divide(graph.number(1.0), graph.sum(e)), e);
    let score = graph.dot(share, w);
    let weight = graph.unary(Unary::Sigmoid, score);
    let absent = graph.segment_sum(graph.unary(Unary::LnOneMinus, weight), g);
    let present = graph.unary(Unary::OneMinusExp, absent);
    let mean = graph.divide(graph.segment_sum(graph.multiply(weight, score), g), graph.segment_sum(weight, g));
    let per_outer = graph.segment_sum(graph.multiply(present, mean), o);
    let objective = graph.total(graph.multiply(per_outer, per_outer), outer);
    Case { graph, parameters: vec![(m, 12), (w, 3)], residuals: columns(vec![numbers(4, rows * 4)]), objective }
}

/// Numbers of each vector of a pair.
const PAIRED: usize = 9;

/// All pairs of two tables of vectors, for each factor of a third: counted for each row of the first, and all together.
/// `written` writes the pairs out, in the order of the cross product.
fn pairs(lengths: [usize; 3], written: bool) -> Case {
    let graph = Graph::new();
    let factors: Vec<Domain> = ["left", "right", "third"].iter().zip(lengths).map(|(name, n)| graph.domain(name, n)).collect();
    let (mut all, mut along) = graph.product("pairs", &factors, None);
    if written {
        let rows = |index: Index| {
            let nodes = graph.0.borrow();
            let rows = &nodes.indices[index.0 as usize].rows;
            (0..rows.len()).map(|i| rows.at(i) as u32).collect::<Buffer<u32>>()
        };
        let stored: Vec<Option<Buffer<u32>>> = along.iter().map(|index| index.map(rows)).collect();
        all = graph.domain("pairs", lengths.iter().product());
        along = stored.into_iter().zip(&factors).map(|(rows, factor)| rows.map(|rows| graph.index(all, *factor, rows))).collect();
    }
    let spread = |x: Value, factor: usize| along[factor].map_or(x, |index| graph.gather(x, index));
    let (u, v) = (graph.parameter(0, factors[0], PAIRED), graph.parameter(1, factors[1], PAIRED));
    let (shift, bias) = (graph.parameter(2, factors[2], 1), graph.parameter(3, ONE, 1));
    let y = graph.residual(0, factors[0], 1);
    let score = graph.subtract(graph.dot(spread(u, 0), spread(v, 1)), graph.add(spread(shift, 2), spread(y, 0)));
    let degree = graph.unary(Unary::Sigmoid, graph.multiply(graph.subtract(score, bias), graph.number(0.5)));
    let counts = along[0].map_or_else(|| graph.total(degree, all), |index| graph.segment_sum(degree, index));
    let miss = graph.subtract(graph.divide(counts, graph.count(all)), y);
    let squares = graph.total(graph.multiply(miss, miss), graph.domain_of(miss));
    let present =
        graph.unary(Unary::OneMinusExp, graph.total(graph.unary(Unary::LnOneMinus, graph.multiply(degree, graph.number(1e-6))), all));
    let mean = graph.divide(graph.total(graph.multiply(degree, score), all), graph.number(lengths.iter().product::<usize>() as f64));
    let objective = graph.add(graph.add(squares, present), mean);
    let parameters = vec![(u, lengths[0] * PAIRED), (v, lengths[1] * PAIRED), (shift, lengths[2]), (bias, 1)];
    Case { graph, parameters, residuals: columns(vec![numbers(31, lengths[0])]), objective }
}

impl Case {
    /// For the objective and its gradient.
    fn machine(&self) -> Machine<f64> {
        let values: Vec<Value> = self.parameters.iter().map(|p| p.0).collect();
        let mut outputs = vec![self.objective];
        outputs.extend(gradient(&self.graph, self.objective, &values).into_iter().flatten());
        Machine::build(&self.graph, self.residuals.clone(), &outputs, false)
    }

    /// The objective and its gradient.
    fn answer<R: Lanes>(&self) -> Vec<f64> {
        let values: Vec<Value> = self.parameters.iter().map(|p| p.0).collect();
        let mut outputs = vec![self.objective];
        outputs.extend(gradient(&self.graph, self.objective, &values).into_iter().flatten());
        let narrow = |x: &[f64]| x.iter().map(|x| R::of(*x)).collect::<Vec<R>>();
        let residuals = Arc::new(self.residuals.iter().map(|x| narrow(x).into()).collect());
        let mut machine = Machine::<R>::build(&self.graph, residuals, &outputs, false);
        for (slot, (_, n)) in self.parameters.iter().enumerate() {
            machine.parameter_mut(slot as u32).copy_from_slice(&narrow(&numbers(100 + slot as u64, *n)));
        }
        machine.run();
        (0..outputs.len()).flat_map(|o| machine.output(o).iter().map(|x| x.wide()).collect::<Vec<_>>()).collect()
    }
}

#[test]
fn a_cross_product_is_what_it_is_written_out() {
    for lengths in [
        [3, 5, 1],
        [40, 700, 1],
        [700, 20, 1],
        [4, 600, 3],
        [2, 3, 600],
        [1, 90, 1],
        [1, 1, 9],
        [3, 1, 20_000],
        [300, 2, 70],
        [290, 300, 1],
        [70, 3, 40],
        [33, 1000, 1],
    ] {
        let (computed, stored) = (pairs(lengths, false), pairs(lengths, true));
        for (a, b) in computed.answer::<f64>().into_iter().zip(stored.answer::<f64>()) {
            assert!((a - b).abs() <= 1e-11 * a.abs().max(1e-3), "{a} is not {b}, {lengths:?}");
        }
        for (a, b) in computed.answer::<f32>().into_iter().zip(stored.answer::<f64>()) {
            assert!((a - b).abs() <= 1e-3 * a.abs().max(1e-2), "{a} is not {b}, {lengths:?} in single precision");
        }
        if lengths.iter().product::<usize>() < 10_000 {
            computed.check(&format!("pairs {lengths:?}"));
        }
    }
}

#[test]
fn a_cross_product_takes_no_memory_for_each_pair() {
    for rows in [900, 3600] {
        let case = pairs([rows, 800, 1], false);
        let machine = case.machine();
        assert!(machine.bytes() < rows * 800 * 4, "{}", machine.bytes());
    }
}

#[test]
fn a_sample_of_a_cross_product_needs_the_pairs_of_its_rows() {
    let case = pairs([6, 40, 3], false);
    let graph = &case.graph;
    let counts = graph.0.borrow().nodes.iter().position(|n| matches!(n.op, graph::Op::SegmentSum(..))).map(|n| Value(n as u32)).unwrap();
    let objective = graph.total(graph.multiply(counts, counts), graph.domain_of(counts));
    let mut sampling = Sampling::new(graph, objective, graph.domain_of(counts));
    let mut run = |rows: &[u32]| {
        let mut machine = Machine::<f64>::build(graph, case.residuals.clone(), &[objective], true);
        for (slot, (_, n)) in case.parameters.iter().enumerate() {
            machine.parameter_mut(slot as u32).copy_from_slice(&numbers(slot as u64, *n));
        }
        machine.activate(sampling.active(rows));
        machine.run();
        machine.output(0)[0]
    };
    let whole = run(&[0, 1, 2, 3, 4, 5]);
    let parts: f64 = (0..6).map(|r| run(&[r])).sum();
    assert!((whole - parts).abs() < 1e-12 * whole.abs(), "{whole} {parts}");
}

#[test]
fn gradients_are_central_differences() {
    for rows in [1usize, 3, 100, 5000] {
        factorize(rows.max(2), 31, 17).check("factorize");
        threshold(rows.max(2)).check("threshold");
        greatest(rows).check("greatest");
        nested(rows.max(40)).check("nested");
    }
    greatest(70_000).check("greatest in blocks");
    factorize(70_000, 31, 17).check("factorize in blocks");
    threshold(70_000).check("threshold in blocks");
    nested(70_000).check("nested in blocks");
}

#[test]
fn a_ratio_of_sums_needs_one_pass_over_the_rows() {
    let case = threshold(1000);
    let machine = case.machine();
    assert_eq!(machine.passes().filter(|p| p.domain != ONE).count(), 1, "{machine}");
}

#[test]
fn what_is_known_after_a_root_is_summed_in_one_pass() {
    let case = greatest(1000);
    let machine = case.machine();
    let after_scores = machine.passes().filter(|p| p.domain != ONE).count() - 1;
    assert_eq!(after_scores, 1, "{machine}");
}

#[test]
fn a_sum_of_squares_needs_one_pass_over_the_rows() {
    let case = factorize(1000, 31, 17);
    let machine = case.machine();
    assert_eq!(machine.passes().filter(|p| p.domain == case.graph.domain_of(case.graph.residual(0, Domain(1), 1))).count(), 1, "{machine}");
}

#[test]
fn a_batch_takes_one_pass_over_its_rows_and_no_other_rows() {
    let case = factorize(1000, 31, 17);
    let graph = &case.graph;
    let d = graph.0.borrow().domains.iter().position(|d| d.name == "ratings").map(|d| Domain(d as u32)).expect("its rows");
    // What depends on the size of the batch is computed for one row, before the pass.
    let (scale, n) = (graph.setting().1, graph.count(d));
    let objective = graph.multiply(scale, graph.divide(case.objective, n));
    let values: Vec<Value> = case.parameters.iter().map(|p| p.0).collect();
    let outputs: Vec<Value> = [objective].into_iter().chain(gradient(graph, objective, &values).into_iter().flatten()).collect();
    let machine = Machine::<f64>::build(graph, case.residuals.clone(), &outputs, true);
    assert_eq!(machine.passes().filter(|p| p.domain == d).count(), 1, "{machine}");
    // A strip of several stages goes over whole ranges.
    assert!(machine.strips().all(|strip| strip.spine == ONE || strip.stages.len() == 1), "{machine}");
}

#[test]
fn a_conjunction_costs_one_product_a_factor() {
    let case = threshold(1000);
    let printed = case.machine().to_string();
    assert_eq!(printed.matches("AddTotals { function: AndNot").count(), 3, "{printed}");
    assert_eq!(printed.matches("Product(").count(), 1, "{printed}");
    assert_eq!(printed.matches("SigmoidBack").count(), 0, "{printed}");
}

#[test]
fn a_sigmoid_that_is_read_twice_has_its_plain_adjoint() {
    let graph = Graph::new();
    let d = graph.domain("rows", 100);
    let (a, b) = (graph.parameter(0, ONE, 1), graph.parameter(1, ONE, 1));
    let p = graph.unary(Unary::Sigmoid, graph.subtract(graph.residual(0, d, 1), a));
    let q = graph.unary(Unary::Sigmoid, graph.subtract(graph.residual(1, d, 1), b));
    let both = graph.multiply(graph.multiply(p, q), graph.residual(2, d, 1));
    let objective = graph.total(graph.add(graph.multiply(both, both), graph.multiply(p, p)), d);
    let residuals = columns((0..3).map(|k| numbers(40 + k, 100)).collect());
    Case { graph, parameters: vec![(a, 1), (b, 1)], residuals, objective }.check("a sigmoid read twice");
}

#[test]
fn sorting_rows_changes_no_answer_and_no_parameter() {
    let run = |sorted: bool, users: usize, items: usize| {
        let Case { graph, parameters, residuals, objective } = factorize(10_000, users, items);
        let values: Vec<Value> = parameters.iter().map(|p| p.0).collect();
        let mut outputs = vec![objective];
        outputs.extend(gradient(&graph, objective, &values).into_iter().flatten());
        let mut residuals = Arc::unwrap_or_clone(residuals);
        if sorted {
            graph.sort_rows(&mut residuals, &outputs);
            let by_user = graph.0.borrow().indices[0].rows.is_sorted();
            assert_eq!(by_user, items < 1000, "a second parent of many rows is cut into tiles");
        }
        let mut machine = Machine::<f64>::build(&graph, Arc::new(residuals), &outputs, false);
        for (slot, (_, n)) in parameters.iter().enumerate() {
            machine.parameter_mut(slot as u32).copy_from_slice(&numbers(60 + slot as u64, *n));
        }
        machine.run();
        (0..outputs.len()).flat_map(|o| machine.output(o).to_vec()).collect::<Vec<f64>>()
    };
    for (users, items) in [(31, 17), (9000, 8000)] {
        for (a, b) in run(false, users, items).iter().zip(run(true, users, items)) {
            assert!((a - b).abs() <= 1e-10 * a.abs().max(1e-3), "{a} is not {b}");
        }
    }
}

/// An image of two channels under three filters, with steps and beyond its edges; and windows over it that overlap.
fn over_an_image() -> (Convolution, Pooling) {
    let image = [2, 5, 4];
    let convolution = Convolution::new(&image, &[3, 2, 3, 2], 2, 1).expect("the kernel lies over the image");
    (convolution, Pooling::new(&image, 3, 1).expect("the window lies over the image"))
}

#[test]
fn every_map_primitive_is_linear_in_its_adjoint() {
    // <A x, y> = <x, A' y>, by the gradient of <A x, y> with respect to x, where A depends on a.
    let rows = 50;
    type Make = fn(&Graph, Value, Value, Index) -> Value;
    let sizes = [Part::Kernel, Part::Image, Part::Output].map(|part| over_an_image().0.width(part));
    let [kernel, image, output] = sizes;
    assert_eq!(sizes, [36, 40, 27]);
    let small = over_an_image().1.output().iter().product();
    // The widths of x and a, and of A x.
    let makes: [(&str, usize, usize, usize, Make); 22] = [
        ("gather", 1, 1, 1, |g, x, _, i| g.gather(x, i)),
        ("segment_sum", 1, 1, 1, |g, x, _, i| g.gather(g.segment_sum(g.gather(x, i), i), i)),
        ("products summed by parent", 1, 1, 1, |g, x, a, i| g.gather(g.segment_sum(g.multiply(g.gather(x, i), a), i), i)),
        ("products of vectors summed by parent", 3, 3, 3, |g, x, a, i| g.gather(g.segment_sum(g.multiply(g.gather(x, i), a), i), i)),
        ("dot", 3, 3, 1, |g, x, a, i| g.dot(g.gather(x, i), a)),
        ("scale", 1, 3, 3, |g, x, a, i| g.scale(g.gather(x, i), a)),
        ("spread", 1, 1, 3, |g, x, _, i| g.spread(g.gather(x, i), 3)),
        ("sum", 3, 1, 1, |g, x, _, i| g.sum(g.gather(x, i))),
        ("concat", 3, 2, 5, |g, x, a, i| g.concat(g.gather(x, i), a)),
        ("concat after", 1, 2, 3, |g, x, a, i| g.concat(a, g.gather(x, i))),
        ("slice", 5, 1, 2, |g, x, _, i| g.slice(g.gather(x, i), 2, 2)),
        ("slice at the end", 5, 1, 1, |g, x, _, i| g.slice(g.gather(x, i), 4, 1)),
        ("mat_vec", 6, 3, 2, |g, x, a, i| g.mat_vec(g.gather(x, i), a)),
        ("mat_trans_vec", 6, 3, 2, |g, x, a, i| g.mat_trans_vec(g.gather(x, i), a)),
        ("convolve a kernel", kernel, image, output, |g, x, a, i| g.convolve(over_an_image().0, g.gather(x, i), a)),
        ("convolve an image", image, kernel, output, |g, x, a, i| g.convolve(over_an_image().0, a, g.gather(x, i))),
        ("image of a kernel", kernel, output, image, |g, x, a, i| g.convolution(over_an_image().0, Part::Image, g.gather(x, i), a)),
        ("image of an output", output, kernel, image, |g, x, a, i| g.convolution(over_an_image().0, Part::Image, a, g.gather(x, i))),
        ("kernel of an image", image, output, kernel, |g, x, a, i| g.convolution(over_an_image().0, Part::Kernel, g.gather(x, i), a)),
        ("kernel of an output", output, image, kernel, |g, x, a, i| g.convolution(over_an_image().0, Part::Kernel, a, g.gather(x, i))),
        ("pick", image, image, small, |g, x, a, i| g.pick(over_an_image().1, a, g.gather(x, i))),
        ("place", small, image, image, |g, x, a, i| g.place(over_an_image().1, a, g.gather(x, i))),
    ];
    for (name, width, of_a, out, make) in makes {
        let graph = Graph::new();
        let (child, parent) = (graph.domain("child", rows), graph.domain("parent", 7));
        let i = graph.index(child, parent, index(rows, 7, 8));
        let x = graph.parameter(0, parent, width);
        let a = graph.residual(0, child, of_a);
        let y = graph.residual(1, child, out);
        let objective = graph.total(graph.dot(make(&graph, x, a, i), y), child);
        let residuals = columns(vec![numbers(1, rows * of_a), numbers(2, rows * out)]);
        Case { graph, parameters: vec![(x, 7 * width)], residuals, objective }.check(name);
    }
}

/// Logits of two layers over rows, whose matrices are the same for all rows: as one row, or read through an index.
fn layers(rows: usize, through_an_index: bool) -> Case {
    let graph = Graph::new();
    let d = graph.domain("rows", rows);
    let (input, hidden, output) = (19, 9, 3);
    let lengths = [hidden * input, hidden, output * hidden];
    let model = if through_an_index { graph.domain("model", 1) } else { ONE };
    let index = through_an_index.then(|| graph.index(d, model, vec![0; rows].into()));
    let layer = |slot: u32| {
        let parameter = graph.parameter(slot, model, lengths[slot as usize]);
        (parameter, index.map_or(parameter, |index| graph.gather(parameter, index)))
    };
    let [(p1, w1), (pb, b), (p2, w2)] = [layer(0), layer(1), layer(2)];
    let x = graph.residual(0, d, input);
    let units = graph.unary(Unary::Tanh, graph.add(graph.mat_vec(w1, x), b));
    let logits = graph.mat_vec(w2, units);
    let objective = graph.total(graph.dot(logits, logits), d);
    let parameters = [p1, pb, p2].into_iter().zip(lengths).collect();
    Case { graph, parameters, residuals: columns(vec![numbers(9, rows * input)]), objective }
}

#[test]
fn rows_times_one_matrix_are_the_products_of_each_row() {
    for rows in [1, 3, 300, 1000] {
        layers(rows, false).check("layers");
        let answers = [false, true].map(|through_an_index| layers(rows, through_an_index).answer::<f64>());
        let scale = answers[0].iter().fold(1.0f64, |m, x| m.max(x.abs()));
        for (one, other) in answers[0].iter().zip(&answers[1]) {
            assert!((one - other).abs() <= 1e-12 * scale, "{rows} rows: {one} is not {other}");
        }
    }
}

#[test]
fn sums_of_one_pass_that_are_added_are_one_sum() {
    // TransE: three rows of one table in each triple, and a fourth whose sum another pass makes.
    for (rows, width, fourth) in [(60, 3, false), (20_000, 4, false), (60, 3, true)] {
        let graph = Graph::new();
        let (triples, entities, groups) = (graph.domain("triples", rows), graph.domain("entities", 11), graph.domain("groups", 5));
        let [h, t, n] = [1, 2, 3].map(|seed| graph.index(triples, entities, index(rows, 11, seed)));
        let (g, of_group) = (graph.index(triples, groups, index(rows, 5, 4)), graph.index(groups, entities, index(5, 11, 5)));
        let x = graph.parameter(0, entities, width);
        let near = graph.subtract(graph.gather(x, h), graph.gather(x, t));
        let far = graph.subtract(graph.gather(x, h), graph.gather(x, n));
        let y = graph.residual(0, triples, 1);
        let each = graph.multiply(y, graph.subtract(graph.dot(near, near), graph.dot(far, near)));
        let grouped = graph.segment_sum(each, g);
        let weighed = if fourth { graph.multiply(grouped, graph.sum(graph.gather(x, of_group))) } else { grouped };
        let objective = graph.multiply(graph.number(1.0 / rows as f64), graph.total(weighed, groups));
        let residuals = columns(vec![numbers(1, rows)]);
        let outputs: Vec<Value> = [objective].into_iter().chain(gradient(&graph, objective, &[x]).into_iter().flatten()).collect();
        let machine = Machine::<f64>::build(&graph, residuals.clone(), &outputs, false);
        let sums: usize = machine.passes().map(|pass| pass.sums.iter().filter(|v| graph.width(**v) == width).count()).sum();
        assert!(fourth || sums == 1, "{sums} columns of sums");
        Case { graph, parameters: vec![(x, 11 * width)], residuals, objective }.check("joint sums");
    }
}

/// (a . b) c of two vectors of 3 and a number, and a itself.
struct Product;

impl DifferentiableFunction for Product {
    fn name(&self) -> &str {
        "product"
    }
    fn arguments(&self) -> Vec<FunctionType> {
        vec![FunctionType::DoubleArray(3), FunctionType::Double, FunctionType::DoubleArray(3)]
    }
    fn result(&self) -> FunctionType {
        FunctionType::DoubleArray(2)
    }
    fn value(&self, arguments: Arguments, out: &mut [f64]) {
        for (row, out) in out.chunks_exact_mut(2).enumerate() {
            let (a, c, b) = (&arguments[0][3 * row..], arguments[1][row], &arguments[2][3 * row..]);
            out[0] = (0..3).map(|i| a[i] * b[i]).sum::<f64>() * c;
            out[1] = a[0] * a[1] * a[2];
        }
    }
    fn vector_jacobian_product(&self, arguments: Arguments, cotangent: &[f64], mut out: Cotangents) {
        for (row, cotangent) in cotangent.chunks_exact(2).enumerate() {
            let (a, c, b) = (&arguments[0][3 * row..], arguments[1][row], &arguments[2][3 * row..]);
            for i in 0..3 {
                out[0][3 * row + i] = cotangent[0] * b[i] * c + cotangent[1] * a[(i + 1) % 3] * a[(i + 2) % 3];
                out[1][row] += cotangent[0] * a[i] * b[i];
                out[2][3 * row + i] = cotangent[0] * a[i] * c;
            }
        }
    }
}

#[test]
fn functions_of_the_application_have_the_gradients_of_their_values() {
    let function = Function::new(Product).expect("it can be called");
    let case = |rows: usize| {
        let graph = Graph::new();
        let (d, users) = (graph.domain("rows", rows), graph.domain("users", 31));
        let i = graph.index(d, users, index(rows, 31, 5));
        let (u, scale) = (graph.parameter(0, users, 3), graph.parameter(1, ONE, 1));
        let of_rows = graph.call(&function, &[graph.gather(u, i), graph.residual(0, d, 1), graph.residual(1, d, 3)]);
        // Of the few rows, and again of what it gave.
        let of_users = graph.call(&function, &[u, scale, u]);
        let both = graph.add(of_rows, graph.gather(of_users, i));
        let objective = graph.divide(graph.total(graph.dot(both, both), d), graph.number(rows as f64));
        let residuals = columns(vec![numbers(9, rows), numbers(8, rows * 3)]);
        Case { graph, parameters: vec![(u, 31 * 3), (scale, 1)], residuals, objective }
    };
    for rows in [1, 3, 100, 70_000] {
        case(rows.max(2)).check("a function of the application");
    }
    let case = case(1000);
    for (wide, single) in case.answer::<f64>().into_iter().zip(case.answer::<f32>()) {
        assert!((wide - single).abs() <= 1e-4 * wide.abs().max(1e-2), "{wide} {single}");
    }
    let printed = case.machine().to_string();
    assert!(printed.contains("action: Call(product, ") && printed.contains("action: PullBack(product, "), "{printed}");
}

#[test]
fn convolutions_upon_each_other_have_the_gradients_of_their_values() {
    for rows in [1, 40] {
        let graph = Graph::new();
        let d = graph.domain("images", rows);
        let image = graph.residual(0, d, 2 * 9 * 8);
        let first = Convolution::new(&[2, 9, 8], &[3, 2, 2, 3], 1, 1).expect("it fits");
        assert_eq!(first.output(), [3, 10, 8]);
        let windows = Pooling::new(&first.output(), 2, 2).expect("it fits");
        assert_eq!(windows.output(), [3, 5, 4]);
        let second = Convolution::new(&windows.output(), &[2, 3, 2, 2], 2, 0).expect("it fits");
        let (a, b) = (graph.parameter(0, ONE, first.width(Part::Kernel)), graph.parameter(1, ONE, second.width(Part::Kernel)));
        let hidden = graph.unary(Unary::Tanh, graph.convolve(first, a, image));
        let out = graph.convolve(second, b, graph.pick(windows, hidden, hidden));
        let objective = graph.total(graph.dot(out, out), d);
        let parameters = vec![(a, first.width(Part::Kernel)), (b, second.width(Part::Kernel))];
        Case { graph, parameters, residuals: columns(vec![numbers(3, rows * 144)]), objective }.check("convolutions");
    }
}

#[test]
fn a_convolution_is_the_sum_over_its_taps() {
    for (stride, padding) in [(1, 0), (1, 1), (2, 0), (2, 1), (3, 1)] {
        let by = Convolution::new(&[2, 7, 6], &[3, 2, 2, 3], stride, padding).expect("it fits");
        let (kernel, image) = (numbers(1, by.width(Part::Kernel)), numbers(2, by.width(Part::Image)));
        let [filters, rows, columns] = by.output();
        let mut out = vec![0.0; by.width(Part::Output)];
        by.convolve(&kernel, &image, &mut out);
        let pixel = |c: usize, i: usize, j: usize| {
            let inside = i >= padding && j >= padding && i - padding < 7 && j - padding < 6;
            if inside { image[(c * 7 + i - padding) * 6 + j - padding] } else { 0.0 }
        };
        for (at, found) in out.iter().enumerate() {
            let (f, i, j) = (at / (rows * columns), at / columns % rows, at % columns);
            let taps = (0..2 * 2 * 3).map(|t| (t, t / 6, t / 3 % 2, t % 3));
            let sum: f64 = taps.map(|(t, c, a, b)| kernel[f * 12 + t] * pixel(c, i * stride + a, j * stride + b)).sum();
            assert!((found - sum).abs() < 1e-12, "stride {stride}, padding {padding}, of {filters} filters: {found} is not {sum}");
        }
    }
}

#[test]
fn a_sample_of_all_rows_is_the_whole_and_a_sample_needs_no_other_rows() {
    let case = nested(500);
    let outer = Domain(3);
    let mut sampling = Sampling::new(&case.graph, case.objective, outer);
    let mut run = |rows: &[u32]| {
        let mut machine = Machine::<f64>::build(&case.graph, case.residuals.clone(), &[case.objective], true);
        for (slot, (_, n)) in case.parameters.iter().enumerate() {
            machine.parameter_mut(slot as u32).copy_from_slice(&numbers(slot as u64, *n));
        }
        machine.activate(sampling.active(rows));
        machine.run();
        machine.output(0)[0]
    };
    let all: Vec<u32> = (0..6).collect();
    let whole = run(&all);
    let parts: f64 = all.iter().map(|r| run(&[*r])).sum();
    assert!((whole - parts).abs() < 1e-12 * whole.abs(), "{whole} {parts}");
}
