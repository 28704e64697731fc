"""What a program with psycopg does, against a server: psycopg_client.py CONNECTION-STRING."""

import datetime
import decimal
import sys
import threading
import time

import psycopg

connection = psycopg.connect(sys.argv[1])
cursor = connection.cursor()
cursor.execute("CREATE TABLE t (id BIGINT PRIMARY KEY, x DOUBLE, name TEXT, day DATE, price DECIMAL(10, 2), v REAL[2])")
connection.commit()
row = (1, 0.5, "it's", datetime.date(2024, 2, 29), decimal.Decimal("12.50"))
cursor.execute("INSERT INTO t VALUES (%s, %s, %s, %s, %s, [1, 2])", row)
assert cursor.rowcount == 1
cursor.executemany("INSERT INTO t (id, x) VALUES (%s, %s)", [(i, i / 2) for i in range(2, 10)])
connection.commit()
for binary in [False, True]:
    cursor = connection.cursor(binary=binary)
    cursor.execute("SELECT id, x, name, day, price, v FROM t WHERE id = %s AND name = %s", (1, "it's"))
    assert cursor.fetchall() == [row + ([1.0, 2.0],)], cursor.fetchall()
    cursor.execute("SELECT id FROM t WHERE x > %s ORDER BY id DESC LIMIT %s", (1, 2))
    assert cursor.fetchall() == [(9,), (8,)]

# Transactions, and what fails in them.
cursor = connection.cursor()
cursor.execute("DELETE FROM t")
connection.rollback()
cursor.execute("SELECT COUNT(*) FROM t")
assert cursor.fetchone() == (9,)
connection.commit()
try:
    cursor.execute("INSERT INTO t (id) VALUES (1)")
    raise AssertionError("a key was twice")
except psycopg.Error as error:
    assert "duplicate primary key" in str(error), error
assert connection.info.transaction_status == psycopg.pq.TransactionStatus.INERROR
connection.rollback()
try:
    cursor.execute("SELECT nothing FROM t")
    raise AssertionError("a column was there that is not")
except psycopg.Error as error:
    assert error.diag.statement_position == "8", error.diag.statement_position
connection.rollback()

# Training, with a parameter; and a run that is cancelled.
connection.autocommit = True
cursor.execute("CREATE TABLE m (a DOUBLE LEARNABLE DEFAULT 3)")
cursor.execute("INSERT INTO m DEFAULT VALUES")
cursor.execute("TRAIN MINIMIZE (SELECT SUM(power(a - %s, 2)) FROM m) USING sgd (learning_rate => 0.25) FOR 40 STEPS", (2.0,))
assert len(cursor.fetchall()) == 41
cursor.execute("SELECT round(a, 6) FROM m")
assert cursor.fetchone() == (2.0,)
threading.Timer(0.3, connection.cancel).start()
began = time.monotonic()
try:
    cursor.execute("TRAIN MINIMIZE (SELECT SUM(power(a - 7, 2)) FROM m) FOR 100000000 STEPS")
    raise AssertionError("a cancelled run ended by itself")
except psycopg.errors.QueryCanceled:
    assert time.monotonic() - began < 30
cursor.execute("SELECT round(a, 6), (SELECT COUNT(*) FROM nabla.runs) FROM m")
assert cursor.fetchone() == (2.0, 1)
print("psycopg does it all")
