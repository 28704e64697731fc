-- One query serves and learns: documents ranked by a weighted sum whose weights are columns of a table.
-- Run from the root of the repository:  nabla -f sql/ranker.sql

-- 1. Judged documents: 40 queries with 25 documents each, a text score, an age, and a grade from 0 to 3.
CREATE TABLE judged AS
SELECT id, query_id, bm25, age, CAST(least(3, greatest(0, floor(4.5 * (bm25 - 0.6 * age + 0.15 * noise)))) AS INT) AS grade
FROM (SELECT value AS id, value / 25 AS query_id,
             (value * 7919 % 1009) / 1009.0 AS bm25, (value * 104729 % 997) / 997.0 AS age, (value * 15485863 % 991) / 991.0 - 0.5 AS noise
      FROM generate_series(0, 999));

-- 2. The numbers that people write into such a query by hand, as a one-row table.
CREATE TABLE ranker (
  w_text DOUBLE LEARNABLE DEFAULT 0.3 CHECK (w_text >= 0),
  w_age  DOUBLE LEARNABLE DEFAULT 0.0
);
INSERT INTO ranker DEFAULT VALUES;

-- 3. The query that serves.
CREATE VIEW scored AS
SELECT d.*, r.w_text * d.bm25 - r.w_age * d.age AS score FROM judged d, ranker r;

SELECT id, grade, score FROM scored WHERE query_id = 7 ORDER BY score DESC LIMIT 5;

-- NDCG over all queries, exactly.
CREATE VIEW ndcg AS
SELECT AVG(dcg / ideal) AS ndcg
FROM (SELECT query_id, SUM((power(2, grade) - 1) / log2(1 + place)) AS dcg, SUM((power(2, grade) - 1) / log2(1 + best)) AS ideal
      FROM (SELECT query_id, grade, ROW_NUMBER() OVER (PARTITION BY query_id ORDER BY score DESC, id) AS place,
                   ROW_NUMBER() OVER (PARTITION BY query_id ORDER BY grade DESC, id) AS best FROM scored)
      GROUP BY query_id);
CREATE TABLE ndcg_before AS SELECT * FROM ndcg;

-- 4. The same scores learn: of two documents of a query, the better one should score higher.
TRAIN ranker MINIMIZE (
  SELECT AVG(softplus(b.score - a.score)) FROM scored a JOIN scored b ON b.query_id = a.query_id AND a.grade > b.grade)
USING adam (learning_rate => 0.1) FOR 100 STEPS;

-- 5. What it learned, and what that is worth.
SELECT * FROM ranker;
SELECT CASE WHEN a.ndcg > b.ndcg + 0.02 THEN 'PASS' ELSE 'FAIL' END AS verdict, round(b.ndcg, 4) AS ndcg_before, round(a.ndcg, 4) AS ndcg_after
FROM ndcg a, ndcg_before b;
