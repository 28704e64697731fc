//! Digits learned from sums of pairs alone: 30,000 pairs of images, a perceptron of 784, 128 and 10 units, batches of 64.

use crate::harness::{Bench, integers, numbers};
use crate::perceptron;
use criterion::Criterion;

const PAIRS: usize = 30_000;

pub fn work(bench: &Bench, criterion: &mut Criterion) {
    perceptron::images(bench);
    let ids: Vec<u32> = (0..PAIRS as u32).collect();
    let [firsts, seconds] = [0, 1].map(|side| ids.iter().map(|id| 2 * id + side).collect::<Vec<u32>>());
    let sums: Vec<u32> = numbers(80, PAIRS).iter().map(|x| (x * 19.0) as u32).collect();
    let columns = vec![("id", integers(&ids)), ("a", integers(&firsts)), ("b", integers(&seconds)), ("y", integers(&sums))];
    bench.table("pairs", "id INT, a INT, b INT, y INT", columns);
    bench.learnable(
        "hidden_layer",
        "w REAL[128][784] LEARNABLE DEFAULT init_normal(0, 0.03), b REAL[128] LEARNABLE DEFAULT init_zeros()",
        1,
    );
    bench.learnable("digits", "w REAL[128] LEARNABLE DEFAULT init_normal(0, 0.08), b REAL LEARNABLE DEFAULT 0", 10);
    let train = "TRAIN MINIMIZE (\
         WITH hidden AS (SELECT i.id, relu(array_add(matvec(l.w, i.x), l.b)) AS h FROM images i, hidden_layer l), \
         placed AS (SELECT h.id, d.id AS digit, ROW_NUMBER() OVER (PARTITION BY h.id ORDER BY inner_product(h.h, d.w) + d.b DESC) AS place \
           FROM hidden h, digits d), \
         read AS (SELECT id, digit FROM placed WHERE place = 1) \
         SELECT AVG(-ln(t.chance + 1e-9)) FROM (\
           SELECT p.id, COUNT(*) AS chance FROM pairs p JOIN read a ON a.id = p.a JOIN read b ON b.id = p.b \
           WHERE a.digit + b.digit = p.y GROUP BY p.id) t) \
         USING adam (learning_rate => 0.001) RELAX (temperature => 1, final_temperature => 1, scale => 'none') BATCH 64";
    bench.measure(criterion, "digit_sum", "nabla", |steps| bench.train(train, steps));
}
