"""Attaches a NablaDB folder with DuckDB, offline, and prints every table as JSON.

Needs from PyPI: duckdb==1.5.5 duckdb-extension-ducklake duckdb-extension-sqlite-scanner.
Usage: attach.py FOLDER
"""

import glob
import json
import math
import os
import sys

import duckdb
import duckdb_extension_ducklake
import duckdb_extension_sqlite_scanner


def main() -> None:
    folder = os.path.abspath(sys.argv[1])
    connection = duckdb.connect(config={"allow_unsigned_extensions": "true"})
    for package in (duckdb_extension_sqlite_scanner, duckdb_extension_ducklake):
        where = os.path.join(os.path.dirname(package.__file__), "extensions", "*", "*.duckdb_extension")
        (extension,) = glob.glob(where)
        connection.execute(f"LOAD {literal(extension)}")
    data = literal(os.path.join(folder, "data", ""))
    catalog = literal("ducklake:sqlite:" + os.path.join(folder, "catalog.sqlite"))
    connection.execute(f"ATTACH {catalog} AS db (READ_ONLY, DATA_PATH {data}, OVERRIDE_DATA_PATH true)")
    tables = connection.execute(
        "SELECT schema_name, table_name FROM duckdb_tables() WHERE database_name = 'db' ORDER BY 1, 2"
    ).fetchall()
    json.dump({f"{s}.{t}": contents(connection, s, t) for s, t in tables}, sys.stdout, indent=1, default=plain)


def contents(connection: duckdb.DuckDBPyConnection, schema: str, table: str) -> dict:
    name = f"db.{identifier(schema)}.{identifier(table)}"
    columns = [(column[0], column[1]) for column in connection.execute(f"DESCRIBE {name}").fetchall()]
    # DuckDB's Python client needs another package for times with a zone, and text will do.
    values = ", ".join(f"{identifier(c)}::VARCHAR" if "TIME ZONE" in kind else identifier(c) for c, kind in columns)
    return {"columns": columns, "rows": written(connection.execute(f"SELECT {values} FROM {name} ORDER BY rowid").fetchall())}


def written(value: object) -> object:
    """JSON has no word for numbers that are not finite."""
    if isinstance(value, (list, tuple)):
        return [written(element) for element in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def plain(value: object) -> object:
    """Dates and decimals as DuckDB prints them, bytes as hexadecimal digits."""
    return value.hex() if isinstance(value, bytes) else str(value)


main()
