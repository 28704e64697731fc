//! The list of relaxations, in reading order: each with an example that is its manual entry and its test.
//! The laws (limit, gradient, range) loop over this list.

/// A relaxed operator.
#[derive(Debug, Clone, Copy)]
pub struct Relaxation {
    /// The SQL that it is the relaxation of.
    pub name: &'static str,
    /// The relaxed meaning.
    pub meaning: &'static str,
    /// An objective over a table `r (id, k, g, x, y, z, truth)` of random rows with NULLs, `s (k, u, v)` and a one-row
    /// learnable table `m (a, b, c)`, with `e (id, v)` a table of learnable vectors and `n (image, kernel, bias)` one of images.
    pub example: &'static str,
}

pub const RELAXATIONS: &[Relaxation] = &[
    Relaxation { name: "filter by a > b", meaning: "w <- w F((a - b) / T s)", example: "SELECT SUM(r.y) FROM r, m WHERE r.x > m.a" },
    Relaxation {
        name: "filter by a <= b",
        meaning: "w <- w F((b - a) / T s)",
        example: "SELECT COUNT(*) FROM r, m WHERE r.x * m.b <= m.a + r.y",
    },
    Relaxation {
        name: "AND",
        meaning: "product of degrees",
        example: "SELECT COUNT(*) FROM r, m WHERE r.x > m.a AND r.y < m.b AND r.g > 0",
    },
    Relaxation {
        name: "OR",
        meaning: "d(p) + d(q) - d(p) d(q)",
        example: "SELECT SUM(r.z) FROM r, m WHERE r.x > m.a OR r.y > m.b OR r.truth",
    },
    Relaxation {
        name: "NOT",
        meaning: "1 - d, and 0 where NULL",
        example: "SELECT COUNT(*) FROM r, m WHERE NOT (r.x > m.a AND NOT r.y > m.b)",
    },
    Relaxation { name: "BETWEEN", meaning: "two comparisons", example: "SELECT COUNT(*) FROM r, m WHERE r.x BETWEEN m.a AND m.a + 1.5" },
    Relaxation {
        name: "CASE",
        meaning: "d(p) x + (1 - d(p)) y",
        example: "SELECT AVG(CASE WHEN r.x > m.a THEN r.z * m.b WHEN r.truth THEN m.c ELSE r.id END) FROM r, m",
    },
    Relaxation {
        name: "CASE without ELSE",
        meaning: "the degree is the presence",
        example: "SELECT SUM(CASE WHEN r.x > m.a THEN r.z * m.b END) FROM r, m",
    },
    Relaxation { name: "CAST of a predicate", meaning: "d(p)", example: "SELECT SUM(CAST(r.x > m.a AS DOUBLE) * r.z) FROM r, m" },
    Relaxation {
        name: "inner join on a live condition",
        meaning: "w_l w_r d over candidate pairs",
        example: "SELECT COUNT(*) FROM r JOIN s ON r.k = s.k JOIN m ON r.x + s.u > m.a",
    },
    Relaxation {
        name: "cross join on a live condition",
        meaning: "w_l w_r d over all pairs, which are not written out where they are summed, or grouped by keys of one side",
        example: "SELECT SUM(t.n * t.n) + SUM(t.z) FROM (SELECT e.id, COUNT(*) AS n, SUM(r.z * e.w) AS z FROM e, r, m WHERE e.w * m.b > r.x - m.a GROUP BY e.id) t",
    },
    Relaxation { name: "join with learnable rows", meaning: "gather", example: "SELECT SUM(e.w * r.z) FROM r JOIN e ON r.k = e.id" },
    Relaxation {
        name: "left join",
        meaning: "pairs, and the null-extended row",
        example: "SELECT SUM(COALESCE(e.w, 2.0) * r.z) FROM r LEFT JOIN e ON r.k = e.id",
    },
    Relaxation {
        name: "left join on a live condition",
        meaning: "null-extended with w_l prod(1 - w_r d)",
        example: "SELECT SUM(COALESCE(p.u, 3.0)) FROM (SELECT r.k AS k, r.x - m.a AS h, r.id AS id FROM r, m) q LEFT JOIN s p ON q.k = p.k AND q.h > p.v",
    },
    Relaxation {
        name: "COUNT, SUM, AVG with FILTER",
        meaning: "weighted moments",
        example: "SELECT AVG(r.z) FILTER (WHERE r.y > m.b) + COUNT(*) FILTER (WHERE r.x > m.a) FROM r, m",
    },
    Relaxation {
        name: "SUM, AVG of vectors",
        meaning: "weighted moments of each element",
        example: "SELECT SUM(inner_product(t.v, t.v)) + SUM(array_sum(t.s)) FROM (SELECT r.g, AVG(e.v) AS v, SUM(array_scale(e.v, r.z)) AS s FROM r JOIN e ON r.k = e.id, m WHERE r.x > m.a GROUP BY r.g) t",
    },
    Relaxation {
        name: "GROUP BY frozen keys",
        meaning: "segment-reduce; presence 1 - prod(1 - w)",
        example: "SELECT SUM(t.n * t.n + t.n) FROM (SELECT r.g, SUM(r.z * m.b) AS n FROM r, m WHERE r.x > m.a GROUP BY r.g) t",
    },
    Relaxation {
        name: "HAVING",
        meaning: "a filter over groups",
        example: "SELECT COUNT(*) FROM (SELECT r.g FROM r, m GROUP BY r.g, m.id HAVING SUM(r.z * m.b) > 0.17) t",
    },
    Relaxation {
        name: "scalar sub-query",
        meaning: "a one-row stage",
        example: "SELECT SUM(r.x) / (SELECT COUNT(*) FROM r, m WHERE r.x > m.a) FROM r, m WHERE r.x > m.a",
    },
    Relaxation {
        name: "common table expression",
        meaning: "the query that it names",
        example: "WITH t AS (SELECT r.g, r.x * m.b AS h FROM r, m) SELECT AVG(t.h * t.h) FROM t WHERE t.h > 0.1",
    },
    Relaxation {
        name: "WITH RECURSIVE ... UNION ALL",
        meaning: "unrolled into rounds",
        example: "WITH RECURSIVE t AS (SELECT r.g AS n, r.x, r.x AS h FROM r UNION ALL SELECT t.n + 1, t.x, t.x - t.h * m.b FROM t, m WHERE t.n < 5 AND t.h > m.a) SELECT SUM(t.h * t.n) + COUNT(*) FROM t",
    },
    Relaxation {
        name: "WITH RECURSIVE ... UNION",
        meaning: "rounds; a row's weight is noisy-or over its derivations",
        example: "WITH RECURSIVE t AS (SELECT r.k FROM r WHERE r.id < 3 UNION SELECT r.g + 1 FROM t JOIN r ON r.k = t.k, m WHERE r.x > m.a) SELECT COUNT(*) + SUM(t.k) FROM t",
    },
    Relaxation {
        name: "IN list",
        meaning: "noisy-or of equalities",
        example: "SELECT COUNT(*) FROM r, m WHERE r.g + m.a IN (m.a + 1, m.a + 2)",
    },
    Relaxation {
        name: "vectors",
        meaning: "inner products and maps",
        example: "SELECT SUM(inner_product(e.v, f.v) * cosine_distance(e.v, f.v) + array_distance(e.v, f.v)) FROM e JOIN e AS f ON e.id = f.id + 1",
    },
    Relaxation {
        name: "cross_entropy, bce, layer_norm",
        meaning: "compositions of the above",
        example: "SELECT SUM(cross_entropy(layer_norm(e.v), e.id % 4)) + SUM(bce(sigmoid(e.w * m.b), e.id % 2)) FROM e, m",
    },
    Relaxation {
        name: "softmax",
        meaning: "exp over its sum",
        example: "SELECT SUM(inner_product(softmax(e.v), log_softmax(array_scale(e.v, m.a)))) FROM e, m",
    },
    Relaxation {
        name: "conv2d, max_pool2d, flatten",
        meaning: "exact; the slope of a window is that of its greatest pixel",
        example: "SELECT SUM(array_sum(flatten(flatten(max_pool2d(relu(conv2d(n.image, n.kernel, n.bias)), 2)))) \
                  * array_sum(flatten(conv2d(conv2d(n.image[1], n.kernel[2][1], 2, 1), n.kernel[1][2], 1, 1)))) FROM n",
    },
    Relaxation {
        name: "EXISTS",
        meaning: "w_l (1 - prod(1 - w_r))",
        example: "SELECT SUM(r.z) FROM r WHERE EXISTS (SELECT 1 FROM s, m WHERE s.k = r.k AND r.x + s.u > m.a)",
    },
    Relaxation {
        name: "NOT EXISTS",
        meaning: "w_l prod(1 - w_r)",
        example: "SELECT AVG(r.z) FROM r, m WHERE NOT EXISTS (SELECT 1 FROM s WHERE s.k = r.k AND s.v * m.b > r.y - m.a) AND r.x > m.a",
    },
    Relaxation {
        name: "EXISTS of no outer row",
        meaning: "a one-row stage",
        example: "SELECT COUNT(*) FROM r, m WHERE EXISTS (SELECT 1 FROM s, m WHERE s.u > m.a) AND r.x > m.a",
    },
    Relaxation {
        name: "IN (sub-query)",
        meaning: "noisy-or of matches",
        example: "SELECT SUM(r.z) FROM r WHERE r.k IN (SELECT s.k FROM s, m WHERE s.u > m.a)",
    },
    Relaxation {
        name: "NOT IN (sub-query)",
        meaning: "product over the rows of 1 - w (truth or NULL of the match)",
        example: "SELECT COUNT(*) FROM r, m WHERE r.k NOT IN (SELECT s.k FROM s, m WHERE s.u > m.a) OR r.x > m.a",
    },
    Relaxation {
        name: "a live value in a sub-query",
        meaning: "noisy-or of equalities",
        example: "SELECT COUNT(*) FROM r, m WHERE r.g + m.a IN (SELECT s.k + m.a FROM s, m WHERE s.v > m.a)",
    },
    Relaxation {
        name: "a value compared with ALL rows",
        meaning: "product over the rows of 1 - w (1 - d)",
        example: "SELECT SUM(r.z) FROM r WHERE r.x * 0.5 > ALL (SELECT s.v - m.a FROM s, m WHERE s.k = 2)",
    },
    Relaxation {
        name: "a sub-query inside OR, NOT and CASE",
        meaning: "its truth and its falsity are degrees of the row",
        example: "SELECT SUM(r.z) FROM r, m WHERE r.k IN (SELECT s.k FROM s, m WHERE s.u > m.a) \
                  OR NOT (r.x > m.a OR EXISTS (SELECT 1 FROM s WHERE s.k = r.g AND s.v > m.a))",
    },
    Relaxation {
        name: "a sub-query in an aggregate's argument",
        meaning: "the same, as a value of the row",
        example: "SELECT SUM(CASE WHEN r.k NOT IN (SELECT s.k FROM s, m WHERE s.u > m.a) THEN r.z * m.b \
                  WHEN EXISTS (SELECT 1 FROM s WHERE s.k = r.g AND s.u > m.a) THEN m.c ELSE r.id END) FROM r, m",
    },
    Relaxation {
        name: "semi join",
        meaning: "w_l (1 - prod(1 - w_r d))",
        example: "SELECT SUM(q.z) FROM r q LEFT SEMI JOIN (SELECT s.k, s.u - m.a AS h FROM s, m) p ON q.k = p.k AND q.x > p.h",
    },
    Relaxation {
        name: "anti join",
        meaning: "w_l prod(1 - w_r d)",
        example: "SELECT SUM(q.z) FROM (SELECT r.* FROM r, m WHERE r.y > m.a) q LEFT ANTI JOIN (SELECT s.k, s.u - m.a AS h FROM s, m) p ON q.k = p.k AND q.x > p.h",
    },
    Relaxation {
        name: "correlated COUNT",
        meaning: "sum of weights for each outer row, 0 where it has none",
        example: "SELECT SUM(q.z * q.n) FROM (SELECT r.z, (SELECT COUNT(*) FROM s, m WHERE s.k = r.k AND s.v > m.a) AS n FROM r) q",
    },
    Relaxation {
        name: "correlated SUM",
        meaning: "the sum given that there is a row, and the degree that there is one",
        example: "SELECT SUM(COALESCE(q.n, 2.5) * q.z) FROM (SELECT r.z, (SELECT SUM(s.u) FROM s, m WHERE s.k = r.k AND s.v > m.a) AS n FROM r) q",
    },
    Relaxation {
        name: "correlated AVG, compared",
        meaning: "the mean for each outer row",
        example: "SELECT COUNT(*) FROM r, m WHERE r.x > (SELECT AVG(s.u * n.b) FROM s, m n WHERE s.k = r.k AND s.v > n.a)",
    },
    Relaxation {
        name: "correlated by more than keys",
        meaning: "an aggregate of the pairs of each outer row",
        example: "SELECT SUM((SELECT SUM(s.u * m.b) FROM s WHERE s.k = r.k AND s.v - r.y > m.a)) FROM r, m",
    },
    Relaxation {
        name: "LATERAL",
        meaning: "the sub-query's pairs with each row, joined to it",
        example: "SELECT SUM(COALESCE(q.h, 0) * r.z) FROM r LEFT JOIN LATERAL (SELECT s.v * m.b AS h FROM s, m WHERE s.u < r.x * m.b) q ON true",
    },
    Relaxation {
        name: "LATERAL with ORDER BY and LIMIT",
        meaning: "the membership among each row's own",
        example: "SELECT SUM(q.h * r.z) FROM r, LATERAL (SELECT s.v * m.b AS h FROM s, m WHERE s.k >= r.k ORDER BY s.u * m.a DESC LIMIT 2) q",
    },
    Relaxation {
        name: "full join on a live condition",
        meaning: "pairs, and the null-extended rows of both sides",
        example: "SELECT SUM(COALESCE(q.z, 0.5) * COALESCE(p.u, 3.0)) FROM (SELECT r.k AS k, r.x - m.a AS h, r.z AS z FROM r, m WHERE r.y < m.a) q \
                  FULL JOIN (SELECT s.* FROM s, m WHERE s.u > m.a) p ON q.k = p.k AND q.h > p.v",
    },
    Relaxation {
        name: "full join with learnable rows",
        meaning: "gather, NULL where null-extended",
        example: "SELECT SUM(COALESCE(e.w, 2.0) * COALESCE(r.z, 0.25)) FROM r FULL JOIN e ON r.k = e.id",
    },
    Relaxation {
        name: "UNION ALL",
        meaning: "rows one after another",
        example: "SELECT SUM(t.h * t.h) FROM (SELECT r.z * m.b AS h FROM r, m WHERE r.x > m.a UNION ALL SELECT e.w FROM e UNION ALL SELECT s.u FROM s) t",
    },
    Relaxation {
        name: "DISTINCT, UNION",
        meaning: "noisy-or for each value",
        example: "SELECT SUM(t.k) FROM (SELECT r.k FROM r, m WHERE r.x > m.a UNION SELECT s.k FROM s, m WHERE s.u > m.a) t",
    },
    Relaxation {
        name: "INTERSECT",
        meaning: "product",
        example: "SELECT SUM(t.k) FROM (SELECT r.k FROM r, m WHERE r.x > m.a INTERSECT SELECT s.k FROM s, m WHERE s.u > m.a) t",
    },
    Relaxation {
        name: "EXCEPT",
        meaning: "w_l (1 - w_r)",
        example: "SELECT SUM(t.k) FROM (SELECT r.k FROM r, m WHERE r.x > m.a EXCEPT SELECT s.k FROM s, m WHERE s.u > m.a) t",
    },
    Relaxation {
        name: "ORDER BY a live value with LIMIT",
        meaning: "w <- w F((s - theta) / T scale), theta the root of sum w m = min(k, sum w)",
        example: "SELECT SUM(t.z) FROM (SELECT r.z FROM r, m WHERE r.x IS NOT NULL AND r.y IS NOT NULL ORDER BY r.x * m.b + r.y DESC LIMIT 5) t",
    },
    Relaxation {
        name: "LIMIT with OFFSET over a live filter",
        meaning: "the difference of two memberships",
        example: "SELECT SUM(t.id) + COUNT(*) FROM (SELECT r.id FROM r, m WHERE r.y > m.a ORDER BY r.x * m.b NULLS FIRST, r.id LIMIT 4 OFFSET 30) t",
    },
    Relaxation {
        name: "LIMIT by a frozen value and then a live one",
        meaning: "the live order within groups of the frozen value",
        example: "SELECT SUM(t.z) FROM (SELECT r.z FROM r, m WHERE r.x IS NOT NULL ORDER BY r.g DESC, r.x * m.b - r.x * r.x LIMIT 7) t",
    },
    Relaxation {
        name: "ROW_NUMBER() <= k",
        meaning: "membership within each partition",
        example: "SELECT SUM(t.z * t.s) FROM (SELECT r.z, r.x * m.b + r.y AS s, ROW_NUMBER() OVER (PARTITION BY r.g ORDER BY r.x * m.b + r.y DESC NULLS LAST, r.id) AS n FROM r, m WHERE r.x + r.y < 1e30) t WHERE t.n <= 2",
    },
    Relaxation {
        name: "ROW_NUMBER() = 1",
        meaning: "softmax; such rows exclude each other, and a group of them has presence sum w",
        example: "SELECT COUNT(*) FROM (SELECT t.k FROM (SELECT r.k, ROW_NUMBER() OVER (PARTITION BY r.g ORDER BY r.x - m.b * r.y DESC) AS n FROM r, m WHERE r.x IS NOT NULL AND r.y IS NOT NULL AND r.x > m.a) t WHERE t.n = 1 GROUP BY t.k) u",
    },
    Relaxation {
        name: "DISTINCT ON with a live order",
        meaning: "the first row of each partition",
        example: "SELECT SUM(t.z) FROM (SELECT DISTINCT ON (r.k) r.z FROM r, m WHERE r.x IS NOT NULL AND r.y IS NOT NULL ORDER BY r.k, r.x * m.b + r.y) t",
    },
    Relaxation {
        name: "ORDER BY a frozen value with LIMIT, over a live filter",
        meaning: "rows until their weights add up to k: m = min(1, max(0, k - c) / w), c the weight of the rows before",
        example: "SELECT SUM(t.z * t.z) FROM (SELECT r.z FROM r, m WHERE r.x > m.a OR r.y < m.b ORDER BY r.g, r.id LIMIT 9 OFFSET 2) t",
    },
    Relaxation {
        name: "ROW_NUMBER, RANK in a frozen order, over a live filter",
        meaning: "1 + the weight of the rows before",
        example: "SELECT SUM(t.z * t.n) + SUM(t.z / t.k) FROM (SELECT r.z, ROW_NUMBER() OVER (PARTITION BY r.g ORDER BY r.id) AS n, RANK() OVER (ORDER BY r.k DESC) AS k FROM r, m WHERE r.x > m.a) t",
    },
    Relaxation {
        name: "FIRST_VALUE, LAST_VALUE, DISTINCT ON by a frozen order, over a live filter",
        meaning: "the mean over the first rows, of which there is one",
        example: "SELECT SUM(t.a * t.a) + SUM(t.b) + (SELECT COUNT(*) FROM (SELECT DISTINCT ON (r.k) r.z FROM r, m WHERE r.y > m.a ORDER BY r.k, r.id) u) FROM (SELECT r.g, FIRST_VALUE(r.z * m.b ORDER BY r.id) AS a, LAST_VALUE(r.z ORDER BY r.y, r.id) AS b FROM r, m WHERE r.x > m.a GROUP BY r.g) t",
    },
    Relaxation {
        name: "RANK",
        meaning: "1 + sum over the other rows of w F((s_j - s_i) / T scale)",
        example: "SELECT SUM(t.z / (1 + t.n)) FROM (SELECT r.z, RANK() OVER (PARTITION BY r.g ORDER BY r.x * m.b + r.y DESC) AS n FROM r, m WHERE r.y > m.a) t",
    },
    Relaxation {
        name: "ROW_NUMBER, DENSE_RANK, PERCENT_RANK, CUME_DIST",
        meaning: "from the rank and the weight of the other rows",
        example: "SELECT SUM(t.z * t.c + t.p * t.d + t.n) FROM (SELECT r.z, CUME_DIST() OVER w AS c, PERCENT_RANK() OVER w AS p, DENSE_RANK() OVER w AS d, ROW_NUMBER() OVER (ORDER BY r.g, r.x * m.b) AS n FROM r, m WHERE r.x IS NOT NULL AND r.y IS NOT NULL WINDOW w AS (PARTITION BY r.g ORDER BY r.y - r.x * m.b)) t",
    },
    Relaxation {
        name: "NTILE",
        meaning: "1 + the degrees to which a row is not among the first tiles",
        example: "SELECT SUM(t.z * t.n) FROM (SELECT r.z, NTILE(3) OVER (PARTITION BY r.g ORDER BY r.x * m.b + r.y) AS n FROM r, m WHERE r.x IS NOT NULL AND r.y IS NOT NULL) t",
    },
    Relaxation {
        name: "MIN, MAX",
        meaning: "sum x_(i) w_(i) prod over better j of (1 - w_(j)), over the group's presence",
        example: "SELECT SUM(t.a * t.b) + MAX(t.a) FROM (SELECT r.g, MAX(r.x * m.b + r.y) AS a, MIN(r.z * m.b) FILTER (WHERE r.y < m.a) AS b FROM r, m WHERE r.x > m.a GROUP BY r.g) t",
    },
    Relaxation {
        name: "FIRST_VALUE, LAST_VALUE by a live order",
        meaning: "softmax-weighted mean",
        example: "SELECT SUM(t.a) + SUM(t.b) FROM (SELECT r.g, FIRST_VALUE(r.z ORDER BY r.x * m.b + r.y) AS a, LAST_VALUE(r.id * m.b ORDER BY r.y - r.x * m.b) AS b FROM r, m WHERE r.x IS NOT NULL AND r.y IS NOT NULL GROUP BY r.g) t",
    },
    Relaxation {
        name: "MEDIAN, PERCENTILE_CONT",
        meaning: "order statistic j is the root of sum w F((q - x) / T scale) = j + 1/2, interpolated at (sum w - 1) p",
        example: "SELECT SUM(t.a) + AVG(t.b) FROM (SELECT r.g, MEDIAN(r.x * m.b + r.y) AS a, PERCENTILE_CONT(0.8) WITHIN GROUP (ORDER BY r.y * m.b DESC) AS b FROM r, m WHERE r.y > m.a GROUP BY r.g) t",
    },
    Relaxation {
        name: "SUM, AVG, COUNT over a frame",
        meaning: "differences of running sums",
        example: "SELECT SUM(t.a * t.b) + SUM(t.c) + SUM(t.d * t.e) FROM (SELECT SUM(r.x * m.b) OVER (PARTITION BY r.g ORDER BY r.id) AS a, AVG(r.y - m.a) OVER (ORDER BY r.id ROWS BETWEEN 2 PRECEDING AND 1 FOLLOWING) AS b, COUNT(r.z * m.b) OVER (ORDER BY r.id DESC ROWS BETWEEN 3 PRECEDING AND 2 PRECEDING) * m.c AS c, SUM(m.b) OVER (ORDER BY r.k RANGE BETWEEN 1 PRECEDING AND CURRENT ROW) AS d, r.x * m.a AS e FROM r, m) t",
    },
    Relaxation {
        name: "SUM, COUNT over a frame of rows with weights",
        meaning: "running sums of w x and w",
        example: "SELECT SUM(t.a * t.z) + SUM(t.n) FROM (SELECT r.z, SUM(r.z * m.b) OVER (PARTITION BY r.g ORDER BY r.id) AS a, COUNT(*) OVER (ORDER BY r.id DESC) AS n FROM r, m WHERE r.x > m.a) t",
    },
    Relaxation {
        name: "MIN, MAX over a frame",
        meaning: "expected extremum of the rows of each frame",
        example: "SELECT SUM(t.a * t.z) + SUM(t.b) FROM (SELECT r.z, MAX(r.x * m.b + r.y) OVER (PARTITION BY r.g ORDER BY r.id) AS a, MIN(r.z * m.c) OVER (ORDER BY r.k RANGE BETWEEN 1 PRECEDING AND CURRENT ROW) AS b FROM r, m WHERE r.x > m.a) t",
    },
    Relaxation {
        name: "aggregates of a partition",
        meaning: "segment-reduce, brought back to the rows",
        example: "SELECT SUM(t.a * t.z - t.b) FROM (SELECT r.z, SUM(r.z * m.b) OVER (PARTITION BY r.g) AS a, MAX(r.y * m.c) OVER () AS b FROM r, m WHERE r.x > m.a) t",
    },
    Relaxation {
        name: "LAG, LEAD, FIRST_VALUE, LAST_VALUE, NTH_VALUE",
        meaning: "gather by a frozen row number",
        example: "SELECT SUM(t.a * t.b) + SUM(t.c * t.d) + SUM(t.e) FROM (SELECT LAG(r.x * m.b) OVER w AS a, LEAD(r.y * m.a, 2, 1.5) OVER w AS b, FIRST_VALUE(r.z * m.b) OVER w AS c, LAST_VALUE(r.z - m.c) OVER w AS d, NTH_VALUE(r.x * m.b, 2) OVER w AS e FROM r, m WINDOW w AS (PARTITION BY r.g ORDER BY r.id)) t",
    },
    Relaxation {
        name: "BOOL_AND, BOOL_OR",
        meaning: "product of 1 - w (1 - d), and noisy-or of w d",
        example: "SELECT COUNT(*) FROM (SELECT r.g FROM r, m GROUP BY r.g HAVING BOOL_OR(r.x > m.a) AND NOT BOOL_AND(r.y > m.a)) t",
    },
    Relaxation {
        name: "COUNT(DISTINCT)",
        meaning: "noisy-or for each frozen value, then the sum",
        example: "SELECT COUNT(DISTINCT r.k) + COUNT(DISTINCT r.g) FILTER (WHERE r.y > m.a) * COUNT(*) FROM r, m WHERE r.x > m.a",
    },
    Relaxation {
        name: "COUNT(DISTINCT) of groups",
        meaning: "noisy-or for each frozen value of each group, then the sum",
        example: "SELECT SUM(t.n * t.s) FROM (SELECT r.g, COUNT(DISTINCT r.k) AS n, SUM(r.z) AS s FROM r, m WHERE r.x > m.a GROUP BY r.g) t",
    },
    Relaxation {
        name: "ARRAY_AGG by a frozen order",
        meaning: "exact: the rows of a group, all groups having as many, as a vector",
        example: "SELECT SUM(inner_product(softmax(t.v), t.u)) FROM (SELECT e.id % 2 AS h, ARRAY_AGG(e.w * m.b ORDER BY e.id DESC) AS v, ARRAY_AGG(e.id + m.a ORDER BY e.id DESC) AS u FROM e, m GROUP BY e.id % 2) t",
    },
    Relaxation {
        name: "GROUPING SETS, ROLLUP, CUBE",
        meaning: "a GROUP BY for each set",
        example: "SELECT SUM(t.n * (t.id + 1) * COALESCE(t.g, 7)) FROM (SELECT r.g, r.truth, GROUPING(r.g, r.truth) AS id, SUM(r.z * m.b) AS n \
                  FROM r, m WHERE r.x > m.a GROUP BY CUBE (r.g, r.truth)) t",
    },
    Relaxation {
        name: "GROUP BY a live predicate",
        meaning: "each row is shared among true, false and NULL by degree",
        example: "SELECT SUM(t.n * t.n) FROM (SELECT r.x > m.a AS up, COUNT(*) AS n FROM r, m GROUP BY r.x > m.a) t",
    },
    Relaxation {
        name: "GROUP BY a CASE over literals",
        meaning: "each row is shared among the literals by degree",
        example: "SELECT SUM(t.n * t.n) FROM (SELECT r.g, CASE WHEN r.x > m.a THEN 'up' WHEN r.y > m.a THEN 'side' ELSE 'down' END AS c, \
                  COUNT(*) AS n FROM r, m GROUP BY 1, 2) t",
    },
    Relaxation {
        name: "VAR_POP, STDDEV_POP",
        meaning: "weighted squares about the weighted mean",
        example: "SELECT VAR_POP(r.x * m.b) / (STDDEV_POP(r.y) * STDDEV_POP(r.x)) FROM r, m WHERE r.x > m.a",
    },
    Relaxation {
        name: "VAR, STDDEV of a sample",
        meaning: "the same over sum w (n - w) / n",
        example: "SELECT SUM(t.v + t.n) FROM (SELECT r.g, STDDEV(r.z * m.b) AS v, COUNT(*) AS n FROM r, m WHERE r.y > m.a GROUP BY r.g) t",
    },
    Relaxation {
        name: "COVAR, CORR",
        meaning: "weighted products about the weighted means",
        example: "SELECT CORR(r.x, r.y * m.b + r.id * m.a) FROM r, m WHERE r.x > m.a",
    },
    Relaxation {
        name: "REGR_SLOPE, REGR_INTERCEPT, REGR_R2",
        meaning: "quotients of weighted products about the weighted means",
        example: "SELECT REGR_INTERCEPT(r.y, r.x * m.b) * REGR_R2(r.y, r.x) FROM r, m WHERE r.y < m.a",
    },
];
