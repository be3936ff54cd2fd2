//! What holds for the SQLite file alone: it survives its process, and several may share it.

use std::{
    env,
    ffi::OsString,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use futures_util::{FutureExt, future::join_all};
use rusqlite::Connection;

use super::{
    Backend, Error, Row, Sqlite, Table, When, all_of, changed, every_page, given, numbered, partition, put, row,
};

/// Names the file to the child process of the kill test.
const CHILD_FILE: &str = "MUSTER_TEST_CHILD_FILE";

fn open(path: &Path) -> (Sqlite, Backend) {
    let sqlite = Sqlite::open(path).unwrap();
    (sqlite.clone(), Backend::Sqlite(sqlite))
}

fn file() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("muster.db");
    (folder, path)
}

#[tokio::test]
async fn reopening_finds_what_was_answered() {
    let (_folder, path) = file();
    let partition = partition();
    let rows: Vec<Row> = numbered(500).map(|sort| row(&partition, &sort, "1")).collect();
    let (sqlite, backend) = open(&path);
    given(&backend, rows.clone()).await;
    drop((sqlite, backend));
    let log = PathBuf::from({
        let mut log = OsString::from(&path);
        log.push("-wal");
        log
    });
    assert!(!log.exists(), "closing folds the log into the file");
    let (sqlite, backend) = open(&path);
    assert_eq!(every_page(&backend, all_of(&partition)).await, rows);
    assert!(sqlite.integrity_check().await.unwrap());
}

#[tokio::test]
async fn what_waits_is_written_before_the_file_closes() {
    let (_folder, path) = file();
    let partition = partition();
    let (sqlite, backend) = open(&path);
    drop(sqlite);
    // Fewer than a task may begin before the runtime makes it pause.
    let rows: Vec<Row> = numbered(50).map(|sort| row(&partition, &sort, "1")).collect();
    for row in &rows {
        // Begun and given up: nobody is left who waits for the answer.
        let _ = put(&backend, row, When::Absent).now_or_never();
    }
    drop(backend);
    let (_, backend) = open(&path);
    assert_eq!(every_page(&backend, all_of(&partition)).await, rows);
}

#[cfg(unix)]
#[tokio::test]
async fn only_its_owner_can_read_the_file() {
    use std::os::unix::fs::PermissionsExt;
    let (folder, path) = file();
    let (_sqlite, backend) = open(&path);
    given(&backend, [row(&partition(), "a", "1")]).await;
    for file in std::fs::read_dir(folder.path()).unwrap() {
        let file = file.unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", file.path());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_handles_share_one_file() {
    let (_folder, path) = file();
    let partition = partition();
    let counter = row(&partition, "counter", "0");
    let (sqlite, first) = open(&path);
    let (_, second) = open(&path);
    given(&first, [counter.clone()]).await;
    let tasks = [first, second].map(|backend| tokio::spawn(increment_a_hundred_times(backend, counter.clone())));
    for backend in join_all(tasks).await {
        let backend = backend.unwrap();
        assert_eq!(backend.get(&counter.key).await.unwrap().unwrap().body, "200");
    }
    assert!(sqlite.integrity_check().await.unwrap());
}

async fn increment_a_hundred_times(backend: Backend, counter: Row) -> Backend {
    let mut done = 0;
    while done < 100 {
        done += u32::from(increment(&backend, &counter).await);
    }
    backend
}

async fn increment(backend: &Backend, counter: &Row) -> bool {
    let there = backend.get(&counter.key).await.unwrap().unwrap();
    let next: u32 = there.body.parse::<u32>().unwrap() + 1;
    match put(backend, &changed(&there, next.to_string()), When::Rev(there.rev)).await {
        Ok(()) => true,
        Err(Error::Conflict { .. }) => false,
        Err(error) => panic!("{error:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_open_a_new_file_at_once() {
    let (_folder, path) = file();
    let opened = join_all((0..8).map(|_| {
        let path = path.clone();
        tokio::task::spawn_blocking(move || Sqlite::open(&path).map(Backend::Sqlite))
    }));
    let partition = partition();
    for (number, backend) in opened.await.into_iter().enumerate() {
        let backend = backend.unwrap().unwrap();
        put(&backend, &row(&partition, &number.to_string(), "1"), When::Absent).await.unwrap();
        assert_eq!(every_page(&backend, all_of(&partition)).await.len(), number + 1);
    }
}

#[tokio::test]
async fn a_file_of_a_newer_version_or_of_others_is_refused() {
    let (_folder, path) = file();
    drop(Sqlite::open(&path).unwrap());
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 1000).unwrap();
    let Err(Error::Broken(why)) = Sqlite::open(&path) else { panic!("a newer file was opened") };
    assert!(why.to_string().contains("a newer version made this file"), "{why}");

    let (_folder, path) = file();
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE other (a)").unwrap();
    let Err(Error::Broken(why)) = Sqlite::open(&path) else { panic!("a foreign file was opened") };
    assert!(why.to_string().contains("another program"), "{why}");

    let (_folder, path) = file();
    std::fs::write(&path, "this is not a database, and long enough to be sure of it. ".repeat(100)).unwrap();
    assert!(matches!(Sqlite::open(&path), Err(Error::Broken(_))));
    assert!(matches!(Sqlite::open(Path::new("/nowhere/at/all.db")), Err(Error::Unavailable(_))));
}

#[tokio::test]
async fn expired_rows_are_cleaned_up_and_others_stay() {
    let (_folder, path) = file();
    let partition = partition();
    let (sqlite, backend) = open(&path);
    let mut rows: Vec<Row> = numbered(5).map(|sort| row(&partition, &sort, "1")).collect();
    rows[1].expires_at_s = Some(1_000_000_000);
    rows[2].expires_at_s = Some(4_102_444_800);
    rows[3].expires_at_s = Some(0);
    given(&backend, rows).await;
    // Cleaning follows the first commit after the file was opened; closing waits for it.
    drop((sqlite, backend));
    let (_, backend) = open(&path);
    let left = every_page(&backend, all_of(&partition)).await;
    assert_eq!(super::sorts(&left), ["000000", "000002", "000004"]);
}

#[tokio::test]
async fn a_writer_that_waits_too_long_is_answered_and_the_store_lives_on() {
    let (_folder, path) = file();
    let (sqlite, backend) = open(&path);
    let partition = partition();
    given(&backend, [row(&partition, "a", "1")]).await;
    // Another process holds the file for longer than a writer waits.
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let refused = put(&backend, &row(&partition, "b", "1"), When::Absent).await;
    assert!(matches!(refused, Err(Error::Unavailable(_))), "{refused:?}");
    assert!(backend.get(&row(&partition, "a", "1").key).await.unwrap().is_some(), "reading goes on");
    other.execute_batch("ROLLBACK").unwrap();
    put(&backend, &row(&partition, "c", "1"), When::Absent).await.unwrap();
    assert_eq!(super::sorts(&every_page(&backend, all_of(&partition)).await), ["a", "c"]);
    assert!(sqlite.integrity_check().await.unwrap());
}

/// The child of the test below: writes for ever and prints each row's sort key when its write was answered. Without its
/// variable it is no test.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_that_writes_until_it_is_killed() {
    let Some(path) = env::var_os(CHILD_FILE) else { return };
    let (_, backend) = open(Path::new(&path));
    join_all((0..8).map(|task| write_for_ever(backend.clone(), task))).await;
}

async fn write_for_ever(backend: Backend, task: u32) {
    let process = std::process::id();
    for round in 0_u64.. {
        let one = row("killed", &format!("{process}-{task}-{round:08}"), "x".repeat(200));
        put(&backend, &one, When::Absent).await.unwrap();
        println!("answered {}", one.key.sort);
    }
}

fn child(path: &Path) -> Child {
    let this = module_path!().split_once("::").unwrap().1;
    Command::new(env::current_exe().unwrap())
        .args(["--exact", "--nocapture", &format!("{this}::child_that_writes_until_it_is_killed")])
        .env(CHILD_FILE, path)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Kills a writing child (SIGKILL) when it has printed so many keys; all that it had printed until it died.
fn killed_after(path: &Path, count: usize) -> Vec<String> {
    let mut child = child(path);
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut answered = Vec::new();
    for line in lines {
        let Some((_, key)) = line.split_once("answered ") else { continue };
        answered.push(key.to_owned());
        if answered.len() == count {
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    assert!(answered.len() >= count, "the child ended by itself");
    answered
}

#[tokio::test]
async fn a_killed_process_loses_nothing_that_was_answered() {
    let (_folder, path) = file();
    let mut answered = Vec::new();
    for count in [1, 300, 1000, 2500] {
        answered.extend(killed_after(&path, count));
        let (sqlite, backend) = open(&path);
        let keys: Vec<_> = answered.iter().map(|sort| super::Key::new(Table::Runs, "killed", &**sort)).collect();
        let found = backend.batch_get(&keys).await.unwrap();
        assert_eq!(found.iter().filter(|row| row.is_none()).count(), 0, "of {} answered", keys.len());
        assert!(sqlite.integrity_check().await.unwrap());
    }
}
