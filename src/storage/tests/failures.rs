//! What strangers, damage, removals and kills do to a database, and what it says.

use super::*;

/// What an error should say, and what is done to the file.
type Damage = (&'static str, fn(&Path));

#[tokio::test(flavor = "multi_thread")]
async fn there_is_one_writer_and_readers_see_its_commits() {
    let folder = TempDir::new().unwrap();
    let writer = Database::open(folder.path(), Access::ReadWrite).await.unwrap();
    let e = refused(Database::open(folder.path(), Access::ReadWrite).await);
    assert!(e.contains("open for writing in this process") && e.contains(&std::process::id().to_string()), "{e}");
    assert!(e.contains("--read-only"), "{e}");

    let reader = Database::open(folder.path(), Access::ReadOnly).await.unwrap();
    one(&writer, Change::CreateTable { definition: numbers("t"), rows: longs([1]) }).await.unwrap();
    assert_eq!(longs_of(&reader, "t").await, [1]);
    one(&writer, append("t", longs([2]))).await.unwrap();
    assert_eq!(longs_of(&reader, "t").await, [1, 2]);
    let e = refused(one(&reader, append("t", longs([3]))).await);
    assert!(e.contains("is open for reading only"), "{e}");
    drop(writer);
    Database::open(folder.path(), Access::ReadWrite).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_a_database_is_left_alone() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("notes.txt");
    std::fs::write(&file, "hello").unwrap();
    for access in [Access::ReadWrite, Access::ReadOnly] {
        let e = refused(Database::open(&file, access).await);
        assert!(e.contains("is a file, and a database is a folder"), "{e}");
        let e = refused(Database::open(folder.path(), access).await);
        assert!(e.contains("is not a NablaDB database"), "{e}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is made in a stranger's folder");
    let missing = folder.path().join("nowhere");
    let e = refused(Database::open(&missing, Access::ReadOnly).await);
    assert!(e.contains("there is no database at"), "{e}");
    assert!(!missing.exists());
}

async fn small(path: &Path) {
    let database = Database::open(path, Access::ReadWrite).await.unwrap();
    one(&database, Change::CreateTable { definition: numbers("t"), rows: longs(0..1000) }).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_catalog_is_said_to_be_one() {
    let damages: [Damage; 4] = [
        ("garbage", |p| std::fs::write(p, "garbage ".repeat(1000)).unwrap()),
        ("empty", |p| std::fs::write(p, "").unwrap()),
        ("cut short", |p| std::fs::File::options().write(true).open(p).unwrap().set_len(40_000).unwrap()),
        ("overwritten", |p| {
            let mut bytes = std::fs::read(p).unwrap();
            bytes[4096..60_000].fill(0xa5);
            std::fs::write(p, bytes).unwrap();
        }),
    ];
    for (name, damage) in damages {
        for access in [Access::ReadWrite, Access::ReadOnly] {
            let folder = TempDir::new().unwrap();
            small(folder.path()).await;
            damage(&folder.path().join("catalog.sqlite"));
            let e = refused(Database::open(folder.path(), access).await);
            assert!(e.contains("the catalog is damaged") && e.contains("catalog.sqlite"), "{name}: {e}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_or_missing_data_file_is_named() {
    let damages: [Damage; 4] = [
        ("missing", |p| std::fs::remove_file(p).unwrap()),
        ("it has 10 bytes", |p| std::fs::File::options().write(true).open(p).unwrap().set_len(10).unwrap()),
        ("damaged", |p| std::fs::write(p, vec![0x55; std::fs::metadata(p).unwrap().len() as usize]).unwrap()),
        ("damaged", |p| {
            let mut bytes = std::fs::read(p).unwrap();
            let end = bytes.len() - 8;
            bytes[end - 100..end].fill(0xff);
            std::fs::write(p, bytes).unwrap();
        }),
    ];
    for (reason, damage) in damages {
        let folder = TempDir::new().unwrap();
        small(folder.path()).await;
        let file = parquet(folder.path()).pop().unwrap();
        damage(&file);
        let database = Database::open(folder.path(), Access::ReadOnly).await.unwrap();
        let snapshot = database.snapshot().await.unwrap();
        for e in [refused(snapshot.provider("main", "t").await), refused(snapshot.check().await)] {
            assert!(e.contains(reason) && e.contains(file.file_name().unwrap().to_str().unwrap()), "{reason}: {e}");
        }
    }
    let folder = TempDir::new().unwrap();
    small(folder.path()).await;
    let file = parquet(folder.path()).pop().unwrap();
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[4..200].fill(0xff);
    std::fs::write(&file, bytes).unwrap();
    let e = refused(Database::open(folder.path(), Access::ReadOnly).await.unwrap().snapshot().await.unwrap().check().await);
    assert!(e.contains("damaged") && e.contains("parquet"), "{e}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_moved_folder_is_the_same_database() {
    let folder = TempDir::new().unwrap();
    let (here, there) = (folder.path().join("here"), folder.path().join("there"));
    small(&here).await;
    std::fs::rename(&here, &there).unwrap();
    for access in [Access::ReadOnly, Access::ReadWrite] {
        let database = Database::open(&there, access).await.unwrap();
        assert_eq!(longs_of(&database, "t").await.len(), 1000);
    }
    let catalog = std::fs::read(there.join("catalog.sqlite")).unwrap();
    let stored = there.canonicalize().unwrap().join("data");
    assert!(catalog.windows(stored.as_os_str().len()).any(|w| w == stored.as_os_str().as_encoded_bytes()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_process_left_is_swept() {
    let folder = TempDir::new().unwrap();
    small(folder.path()).await;
    let place = parquet(folder.path())[0].parent().unwrap().to_path_buf();
    std::fs::write(place.join(staged::name(99, "0123")), "half").unwrap();
    std::fs::write(folder.path().join("nabla.unfinished"), "").unwrap();
    let database = Database::open(folder.path(), Access::ReadWrite).await.unwrap();
    assert_eq!(data_files(folder.path()), 1);
    assert!(!folder.path().join("nabla.unfinished").exists());
    assert_eq!(longs_of(&database, "t").await.len(), 1000);

    let begun = TempDir::new().unwrap();
    std::fs::write(begun.path().join("catalog.sqlite.new"), "half").unwrap();
    std::fs::write(begun.path().join("nabla.lock"), "1").unwrap();
    small(begun.path()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_temporary_database_leaves_nothing() {
    let database = Database::temporary().await.unwrap();
    let folder = database.folder().to_path_buf();
    one(&database, Change::CreateTable { definition: numbers("t"), rows: longs([1]) }).await.unwrap();
    assert!(folder.exists());
    drop(database);
    assert!(!folder.exists());
}

const COMMITTER: &str = "NABLA_COMMITTER";

/// The process that is killed by the test below: it commits the next number to two tables at once, for ever.
#[tokio::test(flavor = "multi_thread")]
async fn a_committer() {
    let Some(folder) = std::env::var_os(COMMITTER) else { return };
    let database = Database::open(Path::new(&folder), Access::ReadWrite).await.unwrap();
    for next in longs_of(&database, "t").await[0] + 1.. {
        let changes = vec![replace("t", longs([next; 2000])), replace("u", longs([next])), append("log", longs([next]))];
        database.commit(changes, because("next")).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_process_leaves_all_old_or_all_new_values() {
    let folder = TempDir::new().unwrap();
    let database = Database::open(folder.path(), Access::ReadWrite).await.unwrap();
    let create = |name| Change::CreateTable { definition: numbers(name), rows: longs([0]) };
    database.commit(vec![create("t"), create("u"), create("log")], because("three tables")).await.unwrap();
    drop(database);
    for round in 0..20 {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "storage::tests::failures::a_committer"])
            .env(COMMITTER, folder.path())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(std::time::Duration::from_millis(60 + 7 * round));
        if round == 19 {
            let e = refused(Database::open(folder.path(), Access::ReadWrite).await);
            assert!(e.contains(&format!("open for writing in another process (pid {})", child.id())), "{e}");
        }
        child.kill().unwrap();
        child.wait().unwrap();

        let access = if round % 2 == 0 { Access::ReadWrite } else { Access::ReadOnly };
        let database = Database::open(folder.path(), access).await.unwrap();
        let (t, u, log) = (longs_of(&database, "t").await, longs_of(&database, "u").await, longs_of(&database, "log").await);
        assert!(t.iter().all(|value| *value == u[0]), "round {round}");
        assert_eq!(log, (0..=u[0]).collect::<Vec<_>>(), "round {round}");
        let snapshot = database.snapshot().await.unwrap();
        snapshot.check().await.unwrap();
        if access == Access::ReadWrite {
            let version = |path: &PathBuf| staged::version(path.file_name().unwrap().to_str().unwrap()).unwrap();
            assert!(parquet(folder.path()).iter().all(|p| version(p) <= snapshot.version()), "round {round}");
        }
    }
}
