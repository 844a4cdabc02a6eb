//! The store: call records and what webhooks still have to be told. SQLite; no SQL stands anywhere else, and what stands
//! here other databases understand as well.

mod calls;
mod deliveries;

use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};
use sqlx::{ConnectOptions, Connection, Row};
use tokio::sync::Mutex;

pub(crate) use calls::CallFilter;
pub(crate) use deliveries::{Delivery, DeliveryState, NewDelivery, Outcome};

/// Connections that only read.
const READERS: u32 = 4;
/// How long a statement waits for a lock that another process holds.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the tables were, step by step. A step that was released is never changed; new ones are added.
const MIGRATIONS: [&str; 1] = ["
    CREATE TABLE call_records (
        id TEXT PRIMARY KEY,
        offered_ms BIGINT NOT NULL,
        ended_ms BIGINT NOT NULL,
        direction TEXT NOT NULL,
        caller TEXT NOT NULL,
        called TEXT NOT NULL,
        cause TEXT NOT NULL,
        answered BOOLEAN NOT NULL,
        duration_ms BIGINT NOT NULL,
        record TEXT NOT NULL
    );
    CREATE INDEX call_records_by_end ON call_records (ended_ms, id);
    CREATE INDEX call_records_by_caller ON call_records (caller, ended_ms);
    CREATE INDEX call_records_by_called ON call_records (called, ended_ms);
    CREATE TABLE leg_records (
        call_id TEXT NOT NULL,
        leg_id TEXT NOT NULL,
        trunk TEXT,
        account TEXT,
        record TEXT NOT NULL,
        PRIMARY KEY (call_id, leg_id)
    );
    CREATE TABLE journal (file TEXT PRIMARY KEY, taken BIGINT NOT NULL);
    CREATE TABLE deliveries (
        id TEXT PRIMARY KEY,
        hook TEXT NOT NULL,
        event TEXT NOT NULL,
        body TEXT NOT NULL,
        state TEXT NOT NULL,
        created_ms BIGINT NOT NULL,
        since_ms BIGINT NOT NULL,
        next_ms BIGINT NOT NULL,
        attempts BIGINT NOT NULL,
        last_status BIGINT,
        last_error TEXT
    );
    CREATE INDEX deliveries_due ON deliveries (hook, state, next_ms);
"];

/// Why the store did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// The database cannot be opened.
    #[error("cannot open the store {path}: {error}")]
    Open {
        /// Its file.
        path: PathBuf,
        /// The database's words.
        error: sqlx::Error,
    },
    /// A later release has written it.
    #[error(
        "the store {path} is of version {found}, and this release knows {known}; start the later release"
    )]
    Newer {
        /// Its file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The latest we know.
        known: i64,
    },
    /// A statement failed.
    #[error("the store: {0}")]
    Sql(#[from] sqlx::Error),
    /// What stands in it is not what was written.
    #[error("the store holds a record that cannot be read: {0}")]
    Record(#[from] serde_json::Error),
}

/// The store.
pub(crate) struct Store {
    /// SQLite has one writer at a time: ours take turns here instead of in its locks.
    writer: Mutex<SqliteConnection>,
    readers: SqlitePool,
}

impl Store {
    /// Opens the database, makes it where there is none, and brings its tables up to date.
    pub(crate) async fn open(path: &Path) -> Result<Self, StoreError> {
        let refuse = |error: sqlx::Error| StoreError::Open { path: path.to_owned(), error };
        create(path).map_err(|error| refuse(error.into()))?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .journal_mode(SqliteJournalMode::Wal)
            // What a power cut may take from the log is taken in again from the journal.
            .synchronous(SqliteSynchronous::Normal)
            .busy_timeout(PATIENCE)
            .disable_statement_logging();
        let mut writer = options.connect().await.map_err(refuse)?;
        migrate(&mut writer, path).await?;
        let readers = SqlitePoolOptions::new().max_connections(READERS);
        let readers = readers.connect_with(options.read_only(true)).await.map_err(refuse)?;
        Ok(Self { writer: Mutex::new(writer), readers })
    }

    /// Opens the database for reading alone, beside a server that runs.
    pub(crate) async fn look(path: &Path) -> Result<Self, StoreError> {
        let refuse = |error: sqlx::Error| StoreError::Open { path: path.to_owned(), error };
        let options = SqliteConnectOptions::new()
            .filename(path)
            .busy_timeout(PATIENCE)
            .read_only(true)
            .disable_statement_logging();
        let writer = options.connect().await.map_err(refuse)?;
        let readers =
            SqlitePoolOptions::new().max_connections(1).connect_with(options).await.map_err(refuse)?;
        Ok(Self { writer: Mutex::new(writer), readers })
    }

    /// Closes every connection.
    pub(crate) async fn close(&self) {
        self.readers.close().await;
    }
}

/// Makes the file, which only its owner may read: records hold personal data.
fn create(path: &Path) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let mut options = std::fs::File::options();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop)
}

async fn migrate(connection: &mut SqliteConnection, path: &Path) -> Result<(), StoreError> {
    let mut step = connection.begin_with("BEGIN IMMEDIATE").await?;
    sqlx::query("CREATE TABLE IF NOT EXISTS store_version (version BIGINT NOT NULL)")
        .execute(&mut *step)
        .await?;
    let row = sqlx::query("SELECT MAX(version) AS version FROM store_version").fetch_one(&mut *step).await?;
    let found: i64 = row.try_get::<Option<i64>, _>("version")?.unwrap_or(0);
    let known = MIGRATIONS.len() as i64;
    if found > known {
        return Err(StoreError::Newer { path: path.to_owned(), found, known });
    }
    for (n, migration) in MIGRATIONS.iter().enumerate().skip(usize::try_from(found).unwrap_or(0)) {
        sqlx::raw_sql(*migration).execute(&mut *step).await?;
        sqlx::query("INSERT INTO store_version (version) VALUES ($1)")
            .bind(n as i64 + 1)
            .execute(&mut *step)
            .await?;
    }
    step.commit().await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_store_is_made_once_and_opened_again() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("deep/antiphon.db");
        for _ in 0..2 {
            let store = Store::open(&path).await.expect("opened");
            assert_eq!(store.taken("2026-11-22.jsonl").await.expect("asked"), 0);
            store.close().await;
        }
        Store::look(&path).await.expect("read only").close().await;
        let missing = Store::look(&dir.path().join("none.db")).await.err().expect("no such file");
        assert!(missing.to_string().contains("none.db"), "{missing}");
    }

    #[tokio::test]
    async fn the_store_of_a_later_release_is_left_alone() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("antiphon.db");
        let store = Store::open(&path).await.expect("opened");
        let later = "INSERT INTO store_version (version) VALUES (99)";
        sqlx::query(later).execute(&mut *store.writer.lock().await).await.expect("written");
        store.close().await;
        let error = Store::open(&path).await.err().expect("refused");
        assert!(error.to_string().contains("version 99"), "{error}");
    }

    #[tokio::test]
    async fn what_is_no_database_is_told_with_its_path() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("antiphon.db");
        std::fs::write(&path, "this is no database at all, whatever its name says ".repeat(100))
            .expect("written");
        let error = Store::open(&path).await.err().expect("refused");
        assert!(error.to_string().contains("antiphon.db"), "{error}");
        assert!(std::fs::read_to_string(&path).expect("still there").starts_with("this is no"));
    }
}
