-- A database that learns: which restaurants of two guides are the same?
-- Fodor's (533 rows) and Zagat's (331 rows) share 112 restaurants, but names, streets and phones are spelled differently.
-- Run from the root of the repository:  nabla -f sql/database.sql

-- 1. The two guides, and the true matches.
CREATE TABLE fodors  AS SELECT * FROM 'data/restaurants/fodors.csv';
CREATE TABLE zagats  AS SELECT * FROM 'data/restaurants/zagats.csv';
CREATE TABLE matches AS SELECT * FROM 'data/restaurants/matches.csv';

-- 2. Every pair, with seven similarities between 0 and 1. One half of Fodor's rows is for learning, the other for the test.
CREATE TABLE pairs AS
WITH entries AS (
  SELECT 'fodors' AS guide, id, name, addr, city, phone FROM fodors
  UNION ALL
  SELECT 'zagats' AS guide, id, name, addr, city, phone FROM zagats
), cleaned AS (            -- lower case, letters and digits only, no "(los angeles)" in names, no "  near broadway" in addresses
  SELECT guide, id,
         trim(regexp_replace(regexp_replace(lower(name), '\(.*\)', '', 'g'), '[^a-z0-9]+', ' ', 'g')) AS name,
         trim(regexp_replace(lower(split_part(addr, '  ', 1)), '[^a-z0-9]+', ' ', 'g')) AS addr,
         trim(regexp_replace(lower(city), '[^a-z0-9]+', ' ', 'g')) AS city,
         regexp_replace(phone, '[^0-9]', '', 'g') AS phone
  FROM entries
), words AS (
  SELECT *, split_part(addr, ' ', 1) AS house,
         array_distinct(string_to_array(name, ' ')) AS name_words,
         array_distinct(string_to_array(addr, ' ')) AS addr_words
  FROM cleaned
)
SELECT f.id AS fodors_id, z.id AS zagats_id,
       -- 1 - edit distance / longer length
       1.0 - CAST(levenshtein(f.name, z.name) AS DOUBLE) / greatest(length(f.name), length(z.name)) AS name_edit,
       1.0 - CAST(levenshtein(f.addr, z.addr) AS DOUBLE) / greatest(length(f.addr), length(z.addr)) AS addr_edit,
       1.0 - CAST(levenshtein(f.city, z.city) AS DOUBLE) / greatest(length(f.city), length(z.city)) AS city_edit,
       -- shared words / words of the shorter one
       CAST(array_length(array_intersect(f.name_words, z.name_words)) AS DOUBLE)
         / least(array_length(f.name_words), array_length(z.name_words)) AS name_words,
       CAST(array_length(array_intersect(f.addr_words, z.addr_words)) AS DOUBLE)
         / least(array_length(f.addr_words), array_length(z.addr_words)) AS addr_words,
       CASE WHEN f.house = z.house THEN 1.0 ELSE 0.0 END AS same_house,
       CASE WHEN f.phone = z.phone THEN 1.0 ELSE 0.0 END AS same_phone,
       t.fodors_id IS NOT NULL AS is_match,
       CASE WHEN (f.id * 7919 + 1 * 104729) % 1000003 % 2 = 0 THEN 'learn' ELSE 'test' END AS half   -- split 1
FROM words f CROSS JOIN words z
LEFT JOIN matches t ON t.fodors_id = f.id AND t.zagats_id = z.id
WHERE f.guide = 'fodors' AND z.guide = 'zagats';

-- 3. A model is a one-row table. The values set by hand say: name similarity > 0.6.
CREATE TABLE matcher (
  w_name_edit  DOUBLE LEARNABLE DEFAULT 1.0,
  w_name_words DOUBLE LEARNABLE DEFAULT 0.0,
  w_addr_edit  DOUBLE LEARNABLE DEFAULT 0.0,
  w_addr_words DOUBLE LEARNABLE DEFAULT 0.0,
  w_house      DOUBLE LEARNABLE DEFAULT 0.0,
  w_city       DOUBLE LEARNABLE DEFAULT 0.0,
  w_phone      DOUBLE LEARNABLE DEFAULT 0.0,
  threshold    DOUBLE LEARNABLE DEFAULT 0.6
);
INSERT INTO matcher DEFAULT VALUES;

-- 4. The query that serves: the pairs that are taken for the same restaurant.
CREATE VIEW found AS
SELECT p.fodors_id, p.zagats_id, p.half, p.is_match
FROM pairs p, matcher m
WHERE m.w_name_edit * p.name_edit + m.w_name_words * p.name_words
    + m.w_addr_edit * p.addr_edit + m.w_addr_words * p.addr_words
    + m.w_house * p.same_house + m.w_city * p.city_edit + m.w_phone * p.same_phone > m.threshold;

-- F1 = 2 * right / (found + true matches), exactly, for each half.
CREATE VIEW score AS
SELECT a.half, a.actual, f.found, f.correct, 2.0 * f.correct / (f.found + a.actual) AS f1
FROM (SELECT half, COUNT(*) AS actual FROM pairs WHERE is_match GROUP BY half) a
JOIN (SELECT half, COUNT(*) AS found, COUNT(*) FILTER (WHERE is_match) AS correct FROM found GROUP BY half) f
  ON f.half = a.half;

CREATE TABLE score_before AS SELECT * FROM score;
SELECT 'before' AS time, * FROM score_before ORDER BY half;

-- 5. The same query learns: its F1 on the first half is the objective.
TRAIN matcher MAXIMIZE (
  SELECT 2.0 * COUNT(*) FILTER (WHERE is_match)
         / (COUNT(*) + (SELECT COUNT(*) FROM pairs WHERE is_match AND half = 'learn'))
  FROM found WHERE half = 'learn')
USING adam (learning_rate => 0.05) FOR 300 STEPS
RELAX (temperature => 1.0, final_temperature => 0.1) SEED 42;

-- 6. What it learned, and what that is worth on restaurants it has not seen.
SELECT * FROM matcher;
SELECT 'after' AS time, * FROM score ORDER BY half;

SELECT CASE WHEN a.f1 >= 0.95 THEN 'PASS' ELSE 'FAIL' END AS verdict,
       round(b.f1, 4) AS f1_before, round(a.f1, 4) AS f1_after
FROM score a JOIN score_before b ON b.half = a.half
WHERE a.half = 'test';
