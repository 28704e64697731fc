"""What SQLAlchemy does with psycopg2, against a server: sqlalchemy_client.py HOST PORT."""

import sys

import sqlalchemy as sa

engine = sa.create_engine(f"postgresql+psycopg2://ann@{sys.argv[1]}:{sys.argv[2]}/database")
with engine.begin() as connection:
    connection.execute(sa.text("CREATE TABLE s (id BIGINT PRIMARY KEY, name TEXT)"))
    connection.execute(sa.text("INSERT INTO s VALUES (:id, :name)"), [{"id": 1, "name": "one"}, {"id": 2, "name": "two"}])
with engine.connect() as connection:
    found = connection.execute(sa.text("SELECT name FROM s WHERE id = :id"), {"id": 2})
    assert found.scalar_one() == "two"
    table = sa.table("s", sa.column("id"), sa.column("name"))
    assert connection.execute(sa.select(sa.func.count()).select_from(table).where(table.c.id > 0)).scalar_one() == 2
try:
    with engine.begin() as connection:
        connection.execute(sa.text("INSERT INTO s VALUES (3, 'three')"))
        connection.execute(sa.text("INSERT INTO s VALUES (1, 'again')"))
    raise AssertionError("a key was twice")
except sa.exc.IntegrityError:
    pass
with engine.connect() as connection:
    assert connection.execute(sa.text("SELECT COUNT(*) FROM s")).scalar_one() == 2
print("SQLAlchemy does it all")
