//! Translations as embeddings (TransE): 272,115 triples, 14,541 entities, 100 wide, one negative, batches of 1,024.

use crate::harness::{Bench, integers, numbers, timed};
use crate::kernels::{Adam, add_scaled};
use criterion::Criterion;
use multiversion::multiversion;

const TRIPLES: usize = 272_115;
const ENTITIES: usize = 14_541;
const RELATIONS: usize = 237;
const WIDTH: usize = 100;
const BATCH: usize = 1024;

pub fn work(bench: &Bench, criterion: &mut Criterion) {
    let of = |seed, rows: usize| -> Vec<u32> { numbers(seed, TRIPLES).iter().map(|x| (x * rows as f32) as u32).collect() };
    let triples = [of(60, ENTITIES), of(61, RELATIONS), of(62, ENTITIES), of(63, ENTITIES)];
    let columns = ["h", "r", "t", "n"].into_iter().zip(&triples).map(|(name, column)| (name, integers(column))).collect();
    bench.table("triples", "h INT, r INT, t INT, n INT", columns);
    bench.learnable("entities", &format!("e REAL[{WIDTH}] LEARNABLE DEFAULT init_normal(0, 1)"), ENTITIES);
    bench.learnable("relations", &format!("e REAL[{WIDTH}] LEARNABLE DEFAULT init_normal(0, 1)"), RELATIONS);
    let train = format!(
        "TRAIN MINIMIZE (SELECT AVG(relu(1 + (s.moved <-> t.e) - (s.moved <-> n.e))) FROM (\
         SELECT array_add(h.e, r.e) AS moved, f.t, f.n FROM triples f JOIN entities h ON h.id = f.h JOIN relations r ON r.id = f.r) s \
         JOIN entities t ON t.id = s.t JOIN entities n ON n.id = s.n) USING adam (learning_rate => 0.001) BATCH {BATCH}"
    );
    bench.measure(criterion, "translate", "nabla", |steps| bench.train(&train, steps));
    let mut tables = [numbers(64, ENTITIES * WIDTH), numbers(65, RELATIONS * WIDTH)];
    let mut gradients = [vec![0.0; ENTITIES * WIDTH], vec![0.0; RELATIONS * WIDTH]];
    let mut adams = [Adam::new(ENTITIES * WIDTH, 0.001), Adam::new(RELATIONS * WIDTH, 0.001)];
    let order: Vec<usize> = numbers(66, TRIPLES / BATCH * BATCH).iter().map(|x| (x * TRIPLES as f32) as usize % TRIPLES).collect();
    let mut batches = order.chunks_exact(BATCH).cycle();
    bench.measure(criterion, "translate", "limit", |steps| {
        timed(steps, || {
            let ([entities, relations], [of_entities, of_relations]) = (&mut tables, &mut gradients);
            let batch = batches.next().expect("a cycle");
            std::hint::black_box(limit(&triples, batch, entities, relations, of_entities, of_relations));
            adams[0].step(entities, of_entities);
            adams[1].step(relations, of_relations);
        })
    });
}

/// Mean hinge of two distances over a batch, and its gradient.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl+avx512bw", "x86_64+avx2+bmi2", "aarch64+neon"))]
fn limit(triples: &[Vec<u32>; 4], batch: &[usize], entities: &[f32], relations: &[f32], ge: &mut [f32], gr: &mut [f32]) -> f64 {
    ge.fill(0.0);
    gr.fill(0.0);
    let mut loss = 0.0f64;
    for &row in batch {
        let [h, r, t, n] = [0, 1, 2, 3].map(|k| triples[k][row] as usize * WIDTH);
        let (mut near, mut far) = ([0.0f32; WIDTH], [0.0f32; WIDTH]);
        for k in 0..WIDTH {
            let moved = entities[h + k] + relations[r + k];
            near[k] = moved - entities[t + k];
            far[k] = moved - entities[n + k];
        }
        let length = |d: &[f32; WIDTH]| d.iter().map(|d| d * d).sum::<f32>().sqrt();
        let (near_length, far_length) = (length(&near), length(&far));
        let hinge = 1.0 + near_length - far_length;
        if hinge <= 0.0 {
            continue;
        }
        loss += f64::from(hinge);
        let (by_near, by_far) = (1.0 / (near_length * BATCH as f32), 1.0 / (far_length * BATCH as f32));
        let moved: [f32; WIDTH] = std::array::from_fn(|k| near[k] * by_near - far[k] * by_far);
        add_scaled(&mut ge[h..h + WIDTH], 1.0, &moved);
        add_scaled(&mut gr[r..r + WIDTH], 1.0, &moved);
        add_scaled(&mut ge[t..t + WIDTH], -by_near, &near);
        add_scaled(&mut ge[n..n + WIDTH], by_far, &far);
    }
    loss / batch.len() as f64
}
