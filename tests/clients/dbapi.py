"""What flightsql-dbapi's client and cursor do, against a server: dbapi.py HOST PORT."""

import sys

import pyarrow as pa
from flightsql import FlightSQLClient, connect
from flightsql.client import TableRef

client = FlightSQLClient(host=sys.argv[1], port=int(sys.argv[2]), insecure=True, disable_server_verification=None)
assert client.execute_update("CREATE TABLE d (id BIGINT PRIMARY KEY, name TEXT)") is not None
assert client.execute_update("INSERT INTO d VALUES (1, 'one'), (2, 'two')") == 2


def table(info):
    return client.do_get(info.endpoints[0].ticket).read_all()


assert table(client.execute("SELECT name FROM d ORDER BY id")).column("name").to_pylist() == ["one", "two"]
assert "d" in table(client.get_tables()).column("table_name").to_pylist()
assert table(client.get_db_schemas()).column("db_schema_name").to_pylist() == ["information_schema", "main", "nabla"]
assert table(client.get_primary_keys(TableRef(table="d"))).column("column_name").to_pylist() == ["id"]
with client.prepare("SELECT id FROM d WHERE name = ?") as prepared:
    binding = pa.record_batch({"name": ["two"]})
    assert table(prepared.execute(binding)).column("id").to_pylist() == [2]

connection = connect(client)
cursor = connection.cursor()
cursor.execute("SELECT id, name FROM d WHERE id > ?", [1])
assert [tuple(row) for row in cursor.fetchall()] == [(2, "two")]
cursor.execute("CREATE TABLE m (a DOUBLE LEARNABLE DEFAULT 3)")
cursor.execute("INSERT INTO m DEFAULT VALUES")
cursor.execute("TRAIN MINIMIZE (SELECT SUM(power(a - 1, 2)) FROM m) USING sgd (learning_rate => 0.25) FOR 40 STEPS")
assert len(cursor.fetchall()) == 41
cursor.execute("SELECT round(a, 6) FROM m")
assert [tuple(row) for row in cursor.fetchall()] == [(1.0,)]
print("flightsql-dbapi does it all")
