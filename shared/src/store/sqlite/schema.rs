//! Opening the file: its mode, its settings, its tables and their version. Knows no row.

use std::{
    fs::OpenOptions,
    io::ErrorKind,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::statements::Statements;
use crate::store::row::{Error, Result, Table};

/// The version of the tables that this code makes and reads.
const VERSION: i64 = 1;

/// How long a connection waits while another process writes.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// More than all statements of all tables: none is ever prepared twice.
const STATEMENT_CACHE: usize = 128;

/// The connection that writes, to a file that has its tables.
pub(super) fn open(path: &Path) -> Result<Connection> {
    make_file(path)?;
    let mut connection = connect(path)?;
    patiently(|| use_log(&connection))?;
    // FULL: a commit that was answered survives the loss of power. The log is folded into the file every 16 MiB.
    connection
        .execute_batch("PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 4096; PRAGMA cache_size = -65536")?;
    migrate(&mut connection)?;
    Ok(connection)
}

/// A connection that reads, to a file that has its tables.
pub(super) fn open_reader(path: &Path) -> Result<Connection> {
    let connection = connect(path)?;
    connection.execute_batch("PRAGMA query_only = ON; PRAGMA cache_size = -8192")?;
    Ok(connection)
}

fn make_file(path: &Path) -> Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(Error::Unavailable(error.into())),
    }
}

fn connect(path: &Path) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENT_CACHE);
    Ok(connection)
}

fn use_log(connection: &Connection) -> rusqlite::Result<()> {
    connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))
}

/// SQLite does not wait by itself when two processes change the journal's mode at once.
fn patiently(step: impl Fn() -> rusqlite::Result<()>) -> Result<()> {
    let started = Instant::now();
    loop {
        match step().map_err(Error::from) {
            Err(Error::Unavailable(_)) if started.elapsed() < BUSY_TIMEOUT => thread::sleep(Duration::from_millis(10)),
            done => return done,
        }
    }
}

fn migrate(connection: &mut Connection) -> Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let version: i64 = transaction.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if version > VERSION {
        let text = format!("a newer version made this file: its tables are of version {version}, known is {VERSION}");
        return Err(Error::Broken(text.into()));
    }
    if version == VERSION {
        return Ok(());
    }
    let tables: i64 = transaction.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if tables > 0 {
        return Err(Error::Broken("this SQLite file belongs to another program".into()));
    }
    for table in Table::ALL {
        transaction.execute_batch(Statements::of(table).create)?;
    }
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.commit()?;
    Ok(())
}
