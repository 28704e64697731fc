"""Everything that ADBC's Flight SQL driver does, against a server: adbc.py URL [CA user password]."""

import sys
import threading
import time

import adbc_driver_flightsql.dbapi as flight
import adbc_driver_manager
import pyarrow as pa
from adbc_driver_flightsql import DatabaseOptions

url = sys.argv[1]
options = {}
if len(sys.argv) > 2:
    authority, user, password = sys.argv[2:]
    options[DatabaseOptions.TLS_ROOT_CERTS.value] = open(authority).read()
    for wrong in ["wrong", password + "x", ""]:
        try:
            flight.connect(url, db_kwargs=options | {"username": user, "password": wrong}).cursor().execute("SELECT 1")
            raise AssertionError("a wrong password opened the door")
        except adbc_driver_manager.Error as error:
            assert "UNAUTHENTICATED" in str(error), error
    try:
        flight.connect(url, db_kwargs=options).cursor().execute("SELECT 1")
        raise AssertionError("no password opened the door")
    except adbc_driver_manager.Error as error:
        assert "UNAUTHENTICATED" in str(error), error
    options |= {"username": user, "password": password}


def connect():
    return flight.connect(url, db_kwargs=options)


def rows(cursor, sql, parameters=None):
    cursor.execute(sql, parameters)
    return cursor.fetchall()


connection = connect()
cursor = connection.cursor()
information = connection.adbc_get_info()
assert information["vendor_name"] == "NablaDB", information

# Statements, parameters, many rows of them in one request.
assert rows(cursor, "SELECT 1 AS a, 'x' AS b, NULL AS c") == [(1, "x", None)]
cursor.execute("CREATE TABLE t (id BIGINT PRIMARY KEY, x DOUBLE, name TEXT)")
cursor.executemany("INSERT INTO t VALUES (?, ?, ?)", [(i, i / 2, f"it's {i}") for i in range(100)])
assert cursor.rowcount == 100
connection.commit()
assert rows(cursor, "SELECT x, name FROM t WHERE id = $1", (7,)) == [(3.5, "it's 7")]
cursor.executemany("UPDATE t SET x = ? WHERE id = ?", [(-1.0, 1), (-2.0, 2)])
assert rows(cursor, "SELECT SUM(x) FROM t WHERE x < 0") == [(-3.0,)]

# Transactions.
connection.rollback()
assert rows(cursor, "SELECT COUNT(*) FROM t WHERE x < 0") == [(0,)]
cursor.execute("INSERT INTO t VALUES (1000, 0, 'taken back')")
assert rows(cursor, "SELECT COUNT(*) FROM t") == [(101,)]
other = connect()
assert rows(other.cursor(), "SELECT COUNT(*) FROM t") == [(100,)]
connection.rollback()
try:
    cursor.executemany("INSERT INTO t VALUES (?, 0, '')", [(2000,), (1,)])
    raise AssertionError("a key was twice")
except adbc_driver_manager.Error as error:
    assert "id" in str(error), error
connection.rollback()
assert rows(cursor, "SELECT COUNT(*) FROM t") == [(100,)]

# A million rows, put into a table that is made for them, and into one that is there, in the transaction that is open.
count = 1_000_000
table = pa.table(
    {
        "id": pa.array(range(count), pa.int64()),
        "v": pa.array([i * 0.5 for i in range(count)], pa.float64()),
        "s": pa.array([f"row {i}" for i in range(count)]),
        "vector": pa.FixedSizeListArray.from_arrays(pa.array([1.0, 2.0] * count, pa.float32()), 2),
    }
)
assert cursor.adbc_ingest("big", table.to_reader(max_chunksize=65536), mode="create") == count
connection.commit()
assert rows(cursor, "SELECT COUNT(*), SUM(v), MIN(s), SUM(vector[2]) FROM big") == [(count, sum(range(count)) / 2, "row 0", 2.0 * count)]
assert cursor.adbc_ingest("big", table.slice(0, 10), mode="append") == 10
assert rows(cursor, "SELECT COUNT(*) FROM big") == [(count + 10,)]
assert rows(connect().cursor(), "SELECT COUNT(*) FROM big") == [(count,)]
connection.commit()
for mode in ["create", "append"]:
    try:
        cursor.adbc_ingest("t" if mode == "create" else "nowhere", table.slice(0, 10), mode=mode)
        raise AssertionError(mode)
    except adbc_driver_manager.Error as error:
        assert "t" in str(error), error
        connection.rollback()
cursor.adbc_ingest("few", table.slice(0, 10), mode="create_append")
cursor.adbc_ingest("few", table.slice(10, 5), mode="replace")
assert rows(cursor, "SELECT COUNT(*), MIN(id) FROM few") == [(5, 10)]
connection.commit()
cursor.execute("SELECT * FROM big ORDER BY id LIMIT 3")
assert cursor.fetch_arrow_table().column("s").to_pylist() == ["row 0", "row 0", "row 1"]

# The catalog.
objects = connection.adbc_get_objects(depth="all").read_all().to_pylist()
schemas = {s["db_schema_name"]: s["db_schema_tables"] for s in objects[0]["catalog_db_schemas"]}
names = {t["table_name"]: t for t in schemas["main"]}
assert {"t", "big", "few"} <= set(names), names
assert [c["column_name"] for c in names["t"]["table_columns"]] == ["id", "x", "name"]
assert connection.adbc_get_table_schema("t").names == ["id", "x", "name"]
assert "BASE TABLE" in connection.adbc_get_table_types()

# A run's log comes while it learns.
learner = connect()
learning = learner.cursor()
learning.execute("CREATE TABLE m (a DOUBLE LEARNABLE DEFAULT 3)")
learning.execute("INSERT INTO m DEFAULT VALUES")
learner.commit()
train = "TRAIN MINIMIZE (SELECT AVG(power(a - v, 2)) FROM m CROSS JOIN big) USING sgd (learning_rate => 0.01) FOR {} STEPS"
learning.execute(train.format(200))
seen = [(batch.num_rows, batch.column("version")[-1].as_py()) for batch in learning.fetch_record_batch()]
assert sum(rows for rows, _ in seen) == 201, seen
assert all(version is None for _, version in seen[:-1]) and seen[-1][1] is not None, seen
learner.commit()
learned = rows(learning, "SELECT a FROM m")[0][0]
assert learned > 1000, learned

# The first rows of one that would take long are there at once; it is cancelled, leaves nothing, and its connection works on.
learner.rollback()
learning.execute(train.format(1_000_000))
reader = learning.fetch_record_batch()
assert reader.read_next_batch().column("step")[0].as_py() == 1
threading.Timer(0.2, learning.adbc_cancel).start()
began = time.monotonic()
try:
    while True:
        reader.read_next_batch()
except (adbc_driver_manager.Error, OSError, pa.ArrowException, StopIteration) as error:
    assert not isinstance(error, StopIteration), "the run ended by itself"
assert time.monotonic() - began < 30
learner.rollback()
assert rows(learning, "SELECT a FROM m") == [(learned,)]
assert rows(learning, "SELECT COUNT(*) FROM nabla.runs") == [(1,)]

# Mistakes say where.
try:
    cursor.execute("SELECT id FRM t")
    raise AssertionError("a mistake went through")
except adbc_driver_manager.Error as error:
    assert "line 1" in str(error), error
print("ADBC does it all")
