//! Convolutions in SQL: the values, what they learn, and what they refuse.

use crate::laws::{Random, limit_of, slope_of};
use crate::{fails, rows, run, session};
use nabladb::Session;

#[tokio::test(flavor = "multi_thread")]
async fn exact_values_are_those_of_pytorch() {
    let s = session().await;
    let nine = "[[1, 2, 3], [4, 5, 6], [7, 8, 9]]";
    let two = "[[[1, 2], [3, 4]], [[5, 6], [7, 8]]]";
    for (sql, value) in [
        (format!("conv2d({nine}, [[1, 0], [0, -1]])"), "[[-4.0, -4.0], [-4.0, -4.0]]"),
        (format!("conv2d({nine}, [[1, 0], [0, -1]], 2, 1)"), "[[-1.0, -3.0], [-7.0, -4.0]]"),
        (format!("conv2d({nine}, [[2.5]], 2)"), "[[2.5, 7.5], [17.5, 22.5]]"),
        // Two channels under one filter, under two, and with a bias.
        (format!("conv2d({two}, [[[[1, 0], [0, 0]], [[0, 0], [0, 1]]]])"), "[[[9.0]]]"),
        (
            format!("conv2d({two}, [[[[1]], [[0]]], [[[-1]], [[1]]]], [0.5, 10])"),
            "[[[1.5, 2.5], [3.5, 4.5]], [[14.0, 14.0], [14.0, 14.0]]]",
        ),
        (format!("conv2d({two}, [[[[1]], [[0]]]], [1], 2)"), "[[[2.0]]]"),
        // One channel that is not written becomes two.
        (format!("conv2d({nine}, [[[[1, 1, 1]]], [[[0, -1, 0]]]])"), "[[[6.0], [15.0], [24.0]], [[-2.0], [-5.0], [-8.0]]]"),
        (format!("max_pool2d({nine}, 2)"), "[[5.0]]"),
        (format!("max_pool2d({nine}, 2, 1)"), "[[5.0, 6.0], [8.0, 9.0]]"),
        (format!("max_pool2d({two}, 2)"), "[[[4.0]], [[8.0]]]"),
        ("max_pool2d([[1, 'NaN'::DOUBLE], [7, 2]], 2)".into(), "[[NaN]]"),
        ("relu([[-1, 2], [3, -4]])".into(), "[[0.0, 2.0], [3.0, 0.0]]"),
        ("relu([0.5, NULL, -1])".into(), "[0.5, , 0.0]"),
        (format!("flatten(flatten({two}))"), "[1, 2, 3, 4, 5, 6, 7, 8]"),
        ("conv2d(NULL::DOUBLE[][], [[1]])".into(), ""),
    ] {
        assert_eq!(rows(&s, &format!("SELECT {sql}")).await.replace("NULL", ""), value, "{sql}");
    }
    // Images of several sizes, and none.
    run(&s, "CREATE TABLE i (id INT, x DOUBLE[][]); INSERT INTO i VALUES (1, [[1, 2], [3, 4]]), (2, NULL), (3, [[1, 2, 3]])").await;
    assert_eq!(
        rows(&s, "SELECT max_pool2d(x, 1), conv2d(x, [[1]]) FROM i ORDER BY id").await,
        "[[1.0, 2.0], [3.0, 4.0]]|[[1.0, 2.0], [3.0, 4.0]]\nNULL|NULL\n[[1.0, 2.0, 3.0]]|[[1.0, 2.0, 3.0]]"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_is_refused_with_a_way_out() {
    let s = session().await;
    let usage = "conv2d(image, kernel [, bias] [, stride [, padding]])";
    for (sql, pieces) in [
        ("conv2d([1, 2], [[1]])", vec!["conv2d(Float64[], Float64[][])", usage]),
        ("conv2d([[1, 2]], ['a'])", vec!["conv2d(", usage]),
        ("conv2d([[1, 2]])", vec!["conv2d(Float64[][])", usage]),
        ("conv2d([[1, 2]], [[1]], 0)", vec!["0 in conv2d", usage]),
        ("conv2d([[1, 2]], [[1]], 1, -1)", vec!["-1 in conv2d", usage]),
        ("conv2d([[1, 2]], [[1]], 1, 1)", vec!["a padding of 1", "pad by less than the kernel"]),
        ("conv2d([[1, 2]], [[1]], 1.5)", vec![usage]),
        ("conv2d([[1, 2]], [[1], [2]])", vec!["a kernel [2][1] does not lie over an image [1][2]", "larger than the image"]),
        (
            "conv2d([[1, 2]], [[[[1]], [[2]]]])",
            vec!["a kernel [1][2][1][1] does not lie over an image [1][2]", "[channels][height][width]"],
        ),
        ("conv2d([[1, 2]], [[[[1]]]], [1, 2])", vec!["a bias of 2 numbers for 1 filters"]),
        ("conv2d([[1, 2], [3]], [[1]])", vec!["not of one length", "same number of elements"]),
        ("max_pool2d([[1, 2]], 0)", vec!["0 in max_pool2d", "max_pool2d(image, window [, stride])"]),
        ("max_pool2d([[1, 2]], 2)", vec!["a window of 2 x 2 over an image [1][2]", "no larger than the image"]),
        ("max_pool2d([[1, 2]], length('a'))", vec!["literal whole number"]),
        ("relu('a')", vec!["relu takes one number"]),
    ] {
        fails(&s, &format!("SELECT {sql}"), &pieces).await;
    }
    run(
        &s,
        "CREATE TABLE net (k DOUBLE[2][1][3][3] LEARNABLE DEFAULT init_normal(0, 1), w DOUBLE[3][4] LEARNABLE DEFAULT init_normal(0, 1)); INSERT INTO net DEFAULT VALUES;
         CREATE TABLE i (x DOUBLE[4][4]); INSERT INTO i VALUES ([[1, 2, 3, 4], [1, 2, 3, 4], [1, 2, 3, 4], [1, 2, 3, 4]])",
    )
    .await;
    for (objective, pieces) in [
        ("array_sum(flatten(flatten(conv2d(x, k, 0))))", vec!["0 in conv2d", usage]),
        ("array_sum(flatten(flatten(max_pool2d(conv2d(x, k), 3))))", vec!["a window of 3 x 3 over an image [2][2][2]", "hint: "]),
        (
            "array_sum(flatten(flatten(conv2d(conv2d(x, k), k))))",
            vec!["a kernel [2][1][3][3] does not lie over an image [2][2][2]", "hint: "],
        ),
        ("array_sum(flatten(flatten(conv2d(x, k, w[1]))))", vec!["a bias of 4 numbers for 2 filters", "hint: "]),
        ("array_sum(matvec(w, flatten(flatten(conv2d(x, k)))))", vec!["matvec", "12 and 8 elements (rows of 4)", "hint: "]),
    ] {
        fails(&s, &format!("TRAIN MINIMIZE (SELECT SUM({objective}) FROM i, net)"), &pieces).await;
    }
}

/// Images of 8 x 8: a line along, a line down, and a slope, each at some place and with some noise.
async fn lines(s: &Session, kind: &str) {
    run(s, &format!("CREATE TABLE images (id INT, label INT, pixels {kind}[8][8])")).await;
    let mut random = Random(8);
    let mut values = vec![];
    for id in 0..90 {
        let (label, at) = (id % 3, random.below(6) as usize + 1);
        let on = |i: usize, j: usize| match label {
            0 => i == at,
            1 => j == at,
            _ => i + 4 == j + at,
        };
        let mut row =
            |i: usize| (0..8).map(|j| format!("{:.3}", 0.2 * random.real() + f64::from(u8::from(on(i, j))))).collect::<Vec<_>>().join(", ");
        let pixels: Vec<String> = (0..8).map(|i| format!("[{}]", row(i))).collect();
        values.push(format!("({id}, {label}, [{}])", pixels.join(", ")));
    }
    run(s, &format!("INSERT INTO images VALUES {}", values.join(", "))).await;
    run(
        s,
        &format!(
            "CREATE TABLE net (id INT, k1 {kind}[4][1][3][3] LEARNABLE DEFAULT init_normal(0, 0.4), b1 {kind}[4] LEARNABLE DEFAULT init_zeros(),
               k2 {kind}[6][4][2][2] LEARNABLE DEFAULT init_normal(0, 0.3), w {kind}[3][24] LEARNABLE DEFAULT init_normal(0, 0.3), b {kind}[3] LEARNABLE DEFAULT init_zeros());
             INSERT INTO net (id) VALUES (1);
             CREATE VIEW seen AS SELECT i.id, i.label, array_add(matvec(n.w, flatten(flatten(relu(conv2d(max_pool2d(relu(conv2d(i.pixels, n.k1, n.b1)), 2), n.k2))))), n.b) AS logits
               FROM images i, net n"
        ),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_of_convolutions_learns() {
    let s = session().await;
    lines(&s, "REAL").await;
    let train = "TRAIN net MINIMIZE (SELECT AVG(cross_entropy(logits, label)) FROM seen WHERE id < 60) USING adam (learning_rate => 0.02)";
    run(&s, &format!("{train} FOR 60 STEPS SEED 1")).await;
    let right = "CASE WHEN logits[label + 1] = greatest(logits[1], logits[2], logits[3]) THEN 1.0 ELSE 0.0 END";
    let found: f64 = rows(&s, &format!("SELECT AVG({right}) FROM seen WHERE id >= 60")).await.parse().unwrap();
    assert!(found > 0.9, "{found} of the images that it did not learn from");
    // In batches too, and the exact objective is the relaxed one.
    run(&s, &format!("{train} FOR 3 EPOCHS BATCH 16 SEED 2")).await;
    let gap: f64 = rows(&s, "SELECT MAX(abs(relaxed_objective - exact_objective)) FROM nabla.runs").await.parse().unwrap();
    assert!(gap < 1e-5, "{gap}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gradient_of_a_network_of_convolutions_is_its_central_difference() {
    let s = session().await;
    lines(&s, "DOUBLE").await;
    run(&s, "UPDATE net SET b1 = [0.1, -0.2, 0.05, 0.3]").await;
    let objective = "SELECT AVG(cross_entropy(logits, label)) FROM seen WHERE id < 3";
    let mut query = s.relaxed(&format!("TRAIN MINIMIZE ({objective})")).await.unwrap();
    assert!(limit_of(&mut query, objective, 0.5).await);
    assert!(slope_of(&mut query, objective) > 200);
    // (table, row, column, element, value, gradient)
    let told = rows(&s, &format!("GRADIENT OF ({objective})")).await;
    for column in ["k1", "b1", "k2", "w", "b"] {
        let of_column = told.lines().map(|line| line.split('|').collect::<Vec<_>>()).filter(|fields| fields[2] == column);
        let ours: Vec<f64> = of_column.map(|fields| fields[5].parse().unwrap()).collect();
        assert_eq!(ours, query.gradient(&format!("net.{column}")).unwrap(), "{column}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_without_an_image_are_null() {
    let s = session().await;
    run(
        &s,
        "CREATE TABLE net (k DOUBLE[2][1][2][2] LEARNABLE DEFAULT init_normal(0, 1), w DOUBLE[3][2] LEARNABLE DEFAULT init_normal(0, 1)); INSERT INTO net DEFAULT VALUES;
         CREATE TABLE i (id INT, x DOUBLE[][])",
    )
    .await;
    let logits = "matvec(w, flatten(flatten(max_pool2d(relu(conv2d(x, k)), 2))))";
    let objective = format!("SELECT SUM(cross_entropy({logits}, id)) + COUNT({logits}) FROM i, net");
    // No row, only NULLs, and some NULLs: first too.
    fails(&s, &format!("TRAIN MINIMIZE ({objective}) FOR 1 STEPS"), &["no gradient reaches a learnable column"]).await;
    run(&s, "INSERT INTO i VALUES (0, NULL)").await;
    fails(&s, &format!("TRAIN MINIMIZE ({objective}) FOR 1 STEPS"), &["no gradient reaches a learnable column"]).await;
    run(&s, "INSERT INTO i VALUES (1, [[1, 2, 3], [4, 5, 6], [7, 8, -9]]), (2, NULL), (0, [[1, 0, 1], [0, 1, 0], [1, 0, 0]])").await;
    let mut query = s.relaxed(&format!("TRAIN MINIMIZE ({objective})")).await.unwrap();
    assert!(limit_of(&mut query, &objective, 0.5).await);
    assert!(slope_of(&mut query, &objective) > 10);
    // Rows of two sizes do not lie in one column.
    run(&s, "INSERT INTO i VALUES (2, [[1, 2], [4, 5], [7, 8]])").await;
    fails(
        &s,
        &format!("TRAIN MINIMIZE ({objective}) FOR 1 STEPS"),
        &["dimension mismatch: a vector column has rows of 3 and of 2", "hint: "],
    )
    .await;
}
