//! The room's promises, each with the test that would break it.

mod failures;

use super::*;
use crate::error::Result;
use crate::table::{Bound, ColumnDefinition};
use arrow::array::*;
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Float32Type, Float64Type, TimeUnit};
use datafusion::prelude::{SessionConfig, SessionContext};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;

fn column(name: &str, data_type: DataType) -> ColumnDefinition {
    let (dimensions, nullable) = (Vec::new(), true);
    ColumnDefinition { name: name.into(), data_type, dimensions, nullable, default: None, learnable: false, bound: None }
}

fn table(name: &str, columns: Vec<ColumnDefinition>) -> TableDefinition {
    TableDefinition { schema: "main".into(), name: name.into(), columns, primary_key: vec![], checks: vec![] }
}

fn list(element: DataType) -> DataType {
    DataType::List(Arc::new(Field::new("item", element, true)))
}

fn numbers(name: &str) -> TableDefinition {
    table(name, vec![column("a", DataType::Int64)])
}

fn longs(values: impl IntoIterator<Item = i64>) -> Vec<RecordBatch> {
    let values: ArrayRef = Arc::new(Int64Array::from_iter_values(values));
    vec![RecordBatch::try_from_iter([("a", values)]).unwrap()]
}

fn because(message: &str) -> CommitMessage {
    CommitMessage { author: "test".into(), message: message.into(), extra_info: None }
}

fn append(name: &str, rows: Vec<RecordBatch>) -> Change {
    Change::Append { schema: "main".into(), name: name.into(), rows }
}

fn replace(name: &str, rows: Vec<RecordBatch>) -> Change {
    Change::Replace { schema: "main".into(), name: name.into(), rows }
}

async fn one(database: &Database, change: Change) -> Result<i64> {
    database.commit(vec![change], because("a test")).await
}

async fn query(snapshot: &Snapshot, name: &str, sql: &str) -> Result<RecordBatch> {
    let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(1));
    context.register_table(name, snapshot.provider("main", name).await?)?;
    let frame = context.sql(sql).await?;
    let schema = frame.schema().inner().clone();
    Ok(concat_batches(&schema, &frame.collect().await?)?)
}

async fn rows(snapshot: &Snapshot, name: &str) -> Result<RecordBatch> {
    query(snapshot, name, &format!("SELECT * FROM {name}")).await
}

async fn longs_of(database: &Database, name: &str) -> Vec<i64> {
    let batch = rows(&database.snapshot().await.unwrap(), name).await.unwrap();
    batch.column(0).as_primitive::<arrow::datatypes::Int64Type>().values().to_vec()
}

fn data_files(folder: &Path) -> usize {
    parquet(folder).len()
}

fn parquet(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.join("data")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { found.push(path) }
        }
    }
    found
}

fn refused<T>(result: Result<T>) -> String {
    result.err().expect("an error").to_string()
}

/// One row of values, one of NULLs, one of other values, of every type.
fn every_type() -> Vec<(&'static str, ArrayRef)> {
    let lists = |rows| ListArray::from_iter_primitive::<Float32Type, _, _>(rows);
    let matrix: ArrayRef = {
        let mut builder = ListBuilder::new(ListBuilder::new(Float64Builder::new()));
        builder.values().append_value([Some(1.0), Some(2.0)]);
        builder.values().append_value([Some(3.0), None]);
        builder.append(true);
        builder.append(false);
        builder.append(true);
        Arc::new(builder.finish())
    };
    vec![
        ("flag", Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)]))),
        ("i8", Arc::new(Int8Array::from(vec![Some(i8::MIN), None, Some(i8::MAX)]))),
        ("i16", Arc::new(Int16Array::from(vec![Some(i16::MIN), None, Some(i16::MAX)]))),
        ("i32", Arc::new(Int32Array::from(vec![Some(i32::MIN), None, Some(i32::MAX)]))),
        ("i64", Arc::new(Int64Array::from(vec![Some(i64::MIN), None, Some(i64::MAX)]))),
        ("u8", Arc::new(UInt8Array::from(vec![Some(0), None, Some(u8::MAX)]))),
        ("u16", Arc::new(UInt16Array::from(vec![Some(0), None, Some(u16::MAX)]))),
        ("u32", Arc::new(UInt32Array::from(vec![Some(0), None, Some(u32::MAX)]))),
        ("u64", Arc::new(UInt64Array::from(vec![Some(0), None, Some(u64::MAX)]))),
        ("f32", Arc::new(Float32Array::from(vec![Some(0.1), None, Some(f32::NAN)]))),
        ("f64", Arc::new(Float64Array::from(vec![Some(0.1), None, Some(f64::NEG_INFINITY)]))),
        ("money", Arc::new(Decimal128Array::from(vec![Some(-12345), None, Some(99999)]).with_precision_and_scale(10, 2).unwrap())),
        ("huge", Arc::new(Decimal128Array::from(vec![Some(1), None, Some(i128::MAX / 2)]).with_precision_and_scale(38, 0).unwrap())),
        ("text", Arc::new(StringArray::from(vec![Some("naïve, \"quoted\"\n"), None, Some("")]))),
        ("bytes", Arc::new(BinaryArray::from(vec![Some(&[0u8, 255][..]), None, Some(&[])]))),
        ("day", Arc::new(Date32Array::from(vec![Some(-1), None, Some(20_000)]))),
        ("hour", Arc::new(Time64MicrosecondArray::from(vec![Some(1), None, Some(86_399_999_999)]))),
        ("at_us", Arc::new(TimestampMicrosecondArray::from(vec![Some(-1), None, Some(1_700_000_000_123_456)]))),
        ("at_ns", Arc::new(TimestampNanosecondArray::from(vec![Some(-1), None, Some(1_700_000_000_123_456_789)]))),
        ("at_ms", Arc::new(TimestampMillisecondArray::from(vec![Some(-1), None, Some(1_700_000_000_123)]))),
        ("at_utc", Arc::new(TimestampMicrosecondArray::from(vec![Some(-1), None, Some(5)]).with_timezone("UTC"))),
        ("vector", Arc::new(lists(vec![Some(vec![Some(1.5), Some(-2.5)]), None, Some(vec![])]))),
        ("matrix", matrix),
    ]
}

fn definition_of(name: &str, columns: &[(&str, ArrayRef)]) -> TableDefinition {
    table(name, columns.iter().map(|(n, a)| column(n, stored_type(a.data_type()).unwrap())).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_comes_back_as_it_went_in() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("db");
    let columns = every_type();
    let definition = definition_of("t", &columns);
    let batch = RecordBatch::try_from_iter(columns.clone()).unwrap();
    {
        let database = Database::open(&path, Access::ReadWrite).await.unwrap();
        one(&database, Change::CreateTable { definition: definition.clone(), rows: vec![batch] }).await.unwrap();
    }
    let database = Database::open(&path, Access::ReadOnly).await.unwrap();
    let snapshot = database.snapshot().await.unwrap();
    assert_eq!(snapshot.table("main", "t"), Some(&definition));
    assert_eq!(snapshot.provider("main", "t").await.unwrap().schema(), definition.arrow_schema());
    let read = rows(&snapshot, "t").await.unwrap();
    for (i, (name, written)) in columns.iter().enumerate() {
        let expected = arrow::compute::cast(written, &definition.columns[i].data_type).unwrap();
        assert_eq!(format!("{expected:?}"), format!("{:?}", read.column(i)), "column {name}");
    }
    snapshot.check().await.unwrap();
    for (name, _) in &columns {
        for (condition, expected) in [("IS NULL", 1), ("IS NOT NULL", 2)] {
            let found = query(&snapshot, "t", &format!("SELECT 1 FROM t WHERE {name} {condition}")).await.unwrap();
            assert_eq!(found.num_rows(), expected, "{name} {condition}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_type_without_a_place_is_refused() {
    let database = Database::temporary().await.unwrap();
    let definition = table("t", vec![column("a", DataType::Decimal256(60, 2))]);
    let e = refused(one(&database, Change::CreateTable { definition, rows: vec![] }).await);
    assert!(e.contains("a column cannot have the type"), "{e}");
    assert!(database.snapshot().await.unwrap().table("main", "t").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_table_has_its_columns_and_no_rows() {
    let database = Database::temporary().await.unwrap();
    let definition = definition_of("t", &every_type());
    one(&database, Change::CreateTable { definition: definition.clone(), rows: vec![] }).await.unwrap();
    let snapshot = database.snapshot().await.unwrap();
    let read = rows(&snapshot, "t").await.unwrap();
    assert_eq!((read.num_rows(), read.num_columns()), (0, definition.columns.len()));
    let counted = query(&snapshot, "t", "SELECT count(*) FROM t").await.unwrap();
    assert_eq!(counted.column(0).as_primitive::<arrow::datatypes::Int64Type>().value(0), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_stay_in_the_order_of_their_coming() {
    let database = Database::temporary().await.unwrap();
    one(&database, Change::CreateTable { definition: numbers("t"), rows: longs([5, 3]) }).await.unwrap();
    for i in 0..12 {
        one(&database, append("t", longs([i, 100 - i]))).await.unwrap();
    }
    let expected: Vec<i64> = [5, 3].into_iter().chain((0..12).flat_map(|i| [i, 100 - i])).collect();
    assert_eq!(longs_of(&database, "t").await, expected);
    let snapshot = database.snapshot().await.unwrap();
    let found = query(&snapshot, "t", "SELECT a FROM t WHERE a > 95").await.unwrap();
    assert_eq!(found.column(0).as_primitive::<arrow::datatypes::Int64Type>().values(), &[100, 99, 98, 97, 96]);
    let counted = query(&snapshot, "t", "SELECT count(*), min(a), max(a) FROM t").await.unwrap();
    let of = |i: usize| counted.column(i).as_primitive::<arrow::datatypes::Int64Type>().value(0);
    assert_eq!((of(0), of(1), of(2)), (26, 0, 100));
}

#[tokio::test(flavor = "multi_thread")]
async fn replacing_leaves_only_the_new_rows() {
    let database = Database::temporary().await.unwrap();
    one(&database, Change::CreateTable { definition: numbers("t"), rows: longs(0..10) }).await.unwrap();
    one(&database, replace("t", longs([7]))).await.unwrap();
    assert_eq!(longs_of(&database, "t").await, [7]);
    one(&database, replace("t", vec![])).await.unwrap();
    assert_eq!(longs_of(&database, "t").await, Vec::<i64>::new());
    one(&database, append("t", longs([1, 2]))).await.unwrap();
    assert_eq!(longs_of(&database, "t").await, [1, 2]);
    database.snapshot().await.unwrap().check().await.unwrap();
}

fn declared() -> TableDefinition {
    let learnable = |mut c: ColumnDefinition, default: &str, dimensions: Vec<usize>, bound: Option<Bound>| {
        (c.learnable, c.default, c.dimensions, c.bound) = (true, Some(default.into()), dimensions, bound);
        c
    };
    let mut id = column("id", DataType::Int64);
    id.nullable = false;
    let open = Bound::Box { lower: 0.1, upper: f64::INFINITY };
    let columns = vec![
        id,
        column("part", DataType::Utf8View),
        learnable(column("w", DataType::Float64), "1.0", vec![], Some(open)),
        learnable(column("emb", list(DataType::Float32)), "init_normal(0, 0.1)", vec![32], Some(Bound::UnitNorm)),
        learnable(column("net", list(list(DataType::Float64))), "init_glorot()", vec![2, 3], None),
        learnable(column("mix", list(DataType::Float64)), "init_zeros()", vec![4], Some(Bound::Simplex)),
    ];
    let checks = (0..12).map(|i| format!("w >= {i} -- a\nb")).collect();
    TableDefinition { primary_key: vec!["part".into(), "id".into()], checks, ..table("users", columns) }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_declared_is_there_after_reopening() {
    let folder = TempDir::new().unwrap();
    let definition = declared();
    {
        let database = Database::open(folder.path(), Access::ReadWrite).await.unwrap();
        one(&database, Change::CreateTable { definition: definition.clone(), rows: vec![] }).await.unwrap();
    }
    let database = Database::open(folder.path(), Access::ReadWrite).await.unwrap();
    let snapshot = database.snapshot().await.unwrap();
    assert_eq!(snapshot.table("main", "users"), Some(&definition));
    assert_eq!(snapshot.table("nabla", "runs"), Some(&history::runs()));
    assert_eq!(snapshot.table("nabla", "steps"), Some(&history::steps()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_can_be_frozen_thawed_added_and_dropped() {
    let database = Database::temporary().await.unwrap();
    let mut definition = declared();
    definition.columns[0].nullable = true;
    let vector: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Float32Type, _, _>([Some(vec![Some(1.0); 32])]));
    let mixed: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Float64Type, _, _>([Some(vec![Some(0.25); 4])]));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(vec![1])),
        Arc::new(StringArray::from(vec!["x"])),
        Arc::new(Float64Array::from(vec![2.5])),
        vector,
        new_null_array(&definition.columns[4].data_type, 1),
        mixed,
    ];
    let names = definition.columns.iter().map(|c| c.name.clone());
    let rows_now = RecordBatch::try_from_iter(names.zip(columns)).unwrap();
    one(&database, Change::CreateTable { definition: definition.clone(), rows: vec![rows_now] }).await.unwrap();
    let before = rows(&database.snapshot().await.unwrap(), "users").await.unwrap();

    definition.columns[2].learnable = false;
    definition.columns[3].bound = None;
    definition.checks.truncate(1);
    definition.primary_key.clear();
    one(&database, Change::AlterTable { definition: definition.clone(), rows: None }).await.unwrap();
    let snapshot = database.snapshot().await.unwrap();
    assert_eq!(snapshot.table("main", "users"), Some(&definition));
    assert_eq!(rows(&snapshot, "users").await.unwrap(), before);

    definition.columns.remove(1);
    definition.columns.push(column("late", DataType::Float64));
    one(&database, Change::AlterTable { definition: definition.clone(), rows: None }).await.unwrap();
    let snapshot = database.snapshot().await.unwrap();
    assert_eq!(snapshot.table("main", "users"), Some(&definition));
    let read = rows(&snapshot, "users").await.unwrap();
    assert_eq!(read.num_columns(), 6);
    assert_eq!(read.column(1).as_primitive::<Float64Type>().value(0), 2.5);
    assert!(read.column(5).is_null(0));

    definition.columns[0].data_type = DataType::Utf8View;
    let e = refused(one(&database, Change::AlterTable { definition: definition.clone(), rows: None }).await);
    assert!(e.contains("cannot change its type without new rows"), "{e}");
    let mut columns = read.columns().to_vec();
    columns[0] = Arc::new(StringArray::from(vec!["one"]));
    let changed = RecordBatch::try_from_iter(definition.columns.iter().map(|c| c.name.clone()).zip(columns)).unwrap();
    one(&database, Change::AlterTable { definition: definition.clone(), rows: Some(vec![changed]) }).await.unwrap();
    let snapshot = database.snapshot().await.unwrap();
    assert_eq!(snapshot.table("main", "users"), Some(&definition));
    assert_eq!(rows(&snapshot, "users").await.unwrap().column(0).as_string_view().value(0), "one");
}

#[tokio::test(flavor = "multi_thread")]
async fn all_changes_are_one_version_or_none_happens() {
    let database = Database::temporary().await.unwrap();
    let create = |name| Change::CreateTable { definition: numbers(name), rows: longs([1]) };
    let first = database.commit(vec![create("t"), create("u")], because("two tables")).await.unwrap();
    let before = database.snapshot().await.unwrap();
    assert_eq!(before.version(), first);

    let view = ViewDefinition { schema: "main".into(), name: "v".into(), sql: "SELECT a FROM t".into() };
    let bad = vec![replace("t", longs([9])), Change::CreateView(view.clone()), create("w"), append("missing", longs([1]))];
    let e = refused(database.commit(bad, because("fails at its end")).await);
    assert!(e.contains("there is no table main.missing"), "{e}");
    let after = database.snapshot().await.unwrap();
    assert_eq!((after.version(), after.views(), after.table("main", "w")), (first, &[][..], None));
    assert_eq!(longs_of(&database, "t").await, [1]);
    assert_eq!(data_files(database.folder()), 2, "what the failed commit wrote is gone");

    let good = vec![replace("t", longs([9])), append("u", longs([2])), Change::CreateView(view.clone()), create("w")];
    let second = database.commit(good, because("holds")).await.unwrap();
    assert_eq!(second, first + 1);
    let now = database.snapshot().await.unwrap();
    assert_eq!((now.version(), now.views()), (second, &[view][..]));
    assert_eq!((longs_of(&database, "t").await, longs_of(&database, "u").await), (vec![9], vec![1, 2]));
    assert_eq!(rows(&before, "t").await.unwrap().columns(), longs([1])[0].columns(), "an older snapshot reads what it read");

    let drops = vec![
        Change::DropTable { schema: "main".into(), name: "w".into() },
        Change::DropView { schema: "main".into(), name: "v".into() },
        create("v"),
    ];
    database.commit(drops, because("drops")).await.unwrap();
    let now = database.snapshot().await.unwrap();
    assert!(now.views().is_empty() && now.table("main", "w").is_none() && now.table("main", "v").is_some());
    assert_eq!(database.commit(vec![], because("nothing")).await.unwrap(), now.version());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_name_and_null_where_it_may_not_be_are_refused() {
    let database = Database::temporary().await.unwrap();
    let mut definition = numbers("t");
    definition.columns[0].nullable = false;
    one(&database, Change::CreateTable { definition, rows: longs([1]) }).await.unwrap();
    let e = refused(one(&database, Change::CreateTable { definition: numbers("t"), rows: vec![] }).await);
    assert!(e.contains("there already is a table main.t"), "{e}");
    let null: ArrayRef = Arc::new(Int64Array::from(vec![None]));
    let e = refused(one(&database, append("t", vec![RecordBatch::try_from_iter([("a", null)]).unwrap()])).await);
    assert!(e.contains("column 'a' is NOT NULL"), "{e}");
    assert_eq!(longs_of(&database, "t").await, [1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_names_are_names() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("my db, 100% ü #1");
    let names = ["../up", "a b", "ÄÖ", "per%20cent", "quo\"te'", "select"];
    let database = Database::open(&path, Access::ReadWrite).await.unwrap();
    for name in names {
        one(&database, Change::CreateTable { definition: numbers(name), rows: longs([4]) }).await.unwrap();
    }
    let snapshot = database.snapshot().await.unwrap();
    for name in names {
        let context = SessionContext::new();
        let frame = context.read_table(snapshot.provider("main", name).await.unwrap()).unwrap();
        assert_eq!(frame.count().await.unwrap(), 1, "{name}");
        assert_eq!(frame_rows(context, &snapshot, name).await, 1, "{name}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

async fn frame_rows(context: SessionContext, snapshot: &Snapshot, name: &str) -> usize {
    let frame = context.read_table(snapshot.provider("main", name).await.unwrap()).unwrap();
    frame.collect().await.unwrap().iter().map(RecordBatch::num_rows).sum()
}

/// Makes the database that `tests/duckdb/attach.py` is tried on, in the folder that NABLA_DUCKDB names.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_for_duckdb() {
    let Some(folder) = std::env::var_os("NABLA_DUCKDB") else { return };
    let database = Database::open(Path::new(&folder), Access::ReadWrite).await.unwrap();
    let columns = every_type();
    let definition = definition_of("every", &columns);
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    one(&database, Change::CreateTable { definition, rows: vec![batch] }).await.unwrap();
    one(&database, Change::CreateTable { definition: numbers("replaced"), rows: longs(0..5) }).await.unwrap();
    one(&database, append("replaced", longs(5..9))).await.unwrap();
    one(&database, replace("replaced", longs([42, 41]))).await.unwrap();
    one(&database, Change::CreateTable { definition: numbers("emptied"), rows: longs(0..5) }).await.unwrap();
    one(&database, replace("emptied", vec![])).await.unwrap();

    one(&database, Change::CreateTable { definition: numbers("altered"), rows: longs([1, 2]) }).await.unwrap();
    let mut altered = numbers("altered");
    altered.columns.push(column("late", DataType::Float64));
    one(&database, Change::AlterTable { definition: altered.clone(), rows: None }).await.unwrap();
    let mut emb = column("emb", list(DataType::Float32));
    (emb.learnable, emb.dimensions, emb.default) = (true, vec![32], Some("init_normal(0, 0.1)".into()));
    altered.columns.push(emb);
    let vectors: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Float32Type, _, _>((0..3).map(|i| Some(vec![Some(i as f32); 32]))));
    let ids: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
    let late: ArrayRef = Arc::new(Float64Array::from(vec![0.5, 1.5, 2.5]));
    let batch = RecordBatch::try_from_iter([("a", ids), ("late", late), ("emb", vectors)]).unwrap();
    one(&database, Change::AlterTable { definition: altered, rows: Some(vec![batch]) }).await.unwrap();

    one(&database, Change::CreateTable { definition: declared(), rows: vec![] }).await.unwrap();
    one(&database, Change::CreateTable { definition: numbers("gone"), rows: longs([1]) }).await.unwrap();
    one(&database, Change::DropTable { schema: "main".into(), name: "gone".into() }).await.unwrap();
    let view = ViewDefinition { schema: "main".into(), name: "seen".into(), sql: "SELECT a FROM replaced".into() };
    one(&database, Change::CreateView(view)).await.unwrap();
    assert_eq!(stored_type(&DataType::Timestamp(TimeUnit::Second, None)).unwrap(), DataType::Timestamp(TimeUnit::Millisecond, None));
}
