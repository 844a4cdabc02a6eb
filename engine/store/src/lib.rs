//! What outlives the process: call records, what webhooks still have to be told, inspection jobs with their results and
//! the figures over them. In
//! SQLite or in PostgreSQL, with the same statements; no SQL stands anywhere else.

mod calls;
mod deliveries;
mod insights;
mod inspections;

use std::path::Path;
use std::time::Duration;

use sqlx::any::{AnyConnectOptions, AnyPoolOptions, install_default_drivers};
use sqlx::{AnyConnection, AnyPool, ConnectOptions, Connection, Executor, Row};

pub use calls::{CallFilter, CallPage, NewCall, NewLeg};
pub use deliveries::{DEAD, Delivery, DeliveryState, NewDelivery, Outcome, WAITING};
pub use insights::{
    FoundCount, InsightCall, InsightFilter, InsightOrder, JudgedCall, LiveCall, Opinion, Sight, Verdict,
};
pub use inspections::{
    Claim, Counts, Done, FileFilter, FileState, InspectionFile, InspectionJob, JobState, NewFile, NewJob,
    Noted, Offered, Review, Revised, StoredHit, Taken,
};

/// Connections that only read.
const READERS: u32 = 4;
/// How long a statement waits for a lock that another process holds, and for a connection.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the tables were, step by step. A step that was released is never changed; new ones are added.
const MIGRATIONS: [&str; 3] = [
    "
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
",
    inspections::TABLES,
    insights::TABLES,
];

/// Why the store did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database cannot be opened.
    #[error("cannot open the store {place}: {error}")]
    Open {
        /// Its file, or its host and name without credentials.
        place: String,
        /// The database's words.
        error: sqlx::Error,
    },
    /// The address is none.
    #[error("`{0}` is no address of a store; write postgres://USER:PASSWORD@HOST/DATABASE")]
    Address(String),
    /// A later release has written it.
    #[error(
        "the store {place} is of version {found}, and this release knows {known}; start the later release"
    )]
    Newer {
        /// Its file, or its host and name.
        place: String,
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

/// Which makers' differences there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Sqlite,
    Postgres,
}

impl Kind {
    /// Begins a transaction that will write.
    fn begin(self) -> &'static str {
        match self {
            // Taken at once: a lock that is asked for later can no longer be waited for.
            Self::Sqlite => "BEGIN IMMEDIATE",
            Self::Postgres => "BEGIN",
        }
    }
}

/// The store.
pub struct Store {
    kind: Kind,
    /// SQLite has one writer at a time: ours take turns here instead of in its locks. PostgreSQL gets by with one too.
    writer: AnyPool,
    readers: AnyPool,
}

impl Store {
    /// Opens the database (SQLite) of a file, makes it where there is none, and brings its tables up to date.
    ///
    /// # Errors
    /// [`StoreError::Open`], [`StoreError::Newer`].
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        let refuse = |error: sqlx::Error| StoreError::Open { place: path.display().to_string(), error };
        create(path).map_err(|error| refuse(error.into()))?;
        let options = |mode| {
            let url: String = url_of(path, mode);
            url.parse::<AnyConnectOptions>().map(ConnectOptions::disable_statement_logging).map_err(refuse)
        };
        let store = Self::connect(Kind::Sqlite, options("rw")?, options("ro")?).await.map_err(refuse)?;
        store.migrate(&path.display().to_string()).await?;
        Ok(store)
    }

    /// Opens a database by its address, `postgres://USER:PASSWORD@HOST/DATABASE`, and brings its tables up to date.
    ///
    /// # Errors
    /// [`StoreError::Address`], [`StoreError::Open`], [`StoreError::Newer`]; none of them tells the credentials.
    pub async fn open_url(url: &str) -> Result<Self, StoreError> {
        let place = shown(url);
        if !["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme)) {
            return Err(StoreError::Address(place));
        }
        let options: AnyConnectOptions = url.parse().map_err(|_| StoreError::Address(place.clone()))?;
        let options = options.disable_statement_logging();
        let store = Self::connect(Kind::Postgres, options.clone(), options).await;
        let store = store.map_err(|error| StoreError::Open { place: place.clone(), error })?;
        store.migrate(&place).await?;
        Ok(store)
    }

    /// Opens the database (SQLite) of a file for reading alone, beside a server that runs.
    ///
    /// # Errors
    /// [`StoreError::Open`].
    pub async fn look(path: &Path) -> Result<Self, StoreError> {
        let refuse = |error: sqlx::Error| StoreError::Open { place: path.display().to_string(), error };
        let options: AnyConnectOptions = url_of(path, "ro").parse().map_err(refuse)?;
        let options = options.disable_statement_logging();
        Self::connect(Kind::Sqlite, options.clone(), options).await.map_err(refuse)
    }

    async fn connect(
        kind: Kind,
        writing: AnyConnectOptions,
        reading: AnyConnectOptions,
    ) -> Result<Self, sqlx::Error> {
        install_default_drivers();
        let pool = |most: u32| {
            AnyPoolOptions::new().max_connections(most).acquire_timeout(PATIENCE).after_connect(
                move |connection, _| Box::pin(async move { prepare(kind, connection).await.map(drop) }),
            )
        };
        // A pool tries again and again what fails at once; here the first failure is told.
        let mut first = writing.connect().await?;
        prepare(kind, &mut first).await?;
        first.close().await?;
        Ok(Self {
            kind,
            writer: pool(1).connect_lazy_with(writing),
            readers: pool(READERS).connect_lazy_with(reading),
        })
    }

    async fn migrate(&self, place: &str) -> Result<(), StoreError> {
        let mut writer = self.writer.acquire().await?;
        let mut step = writer.begin_with(self.kind.begin()).await?;
        if self.kind == Kind::Postgres {
            // Several servers may start at once on one database; any number does that is always the same.
            sqlx::query("SELECT pg_advisory_xact_lock(1634628720)").execute(&mut *step).await?;
        }
        sqlx::query("CREATE TABLE IF NOT EXISTS store_version (version BIGINT NOT NULL)")
            .execute(&mut *step)
            .await?;
        let row =
            sqlx::query("SELECT MAX(version) AS version FROM store_version").fetch_one(&mut *step).await?;
        let found: i64 = row.try_get::<Option<i64>, _>("version")?.unwrap_or(0);
        let known = MIGRATIONS.len() as i64;
        if found > known {
            return Err(StoreError::Newer { place: place.to_owned(), found, known });
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

    /// Closes every connection.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

/// What every connection begins with.
async fn prepare(kind: Kind, connection: &mut AnyConnection) -> Result<(), sqlx::Error> {
    if kind == Kind::Sqlite {
        // What a power cut may take from the log is taken in again from the journal, or computed anew.
        connection
            .execute("PRAGMA busy_timeout = 10000; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;")
            .await?;
    }
    Ok(())
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

/// A file's path as an address, whatever letters it has.
fn url_of(path: &Path, mode: &str) -> String {
    let mut url = "sqlite://".to_owned();
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => {
                url.push(char::from(*byte));
            }
            byte => url.push_str(&format!("%{byte:02X}")),
        }
    }
    format!("{url}?mode={mode}")
}

/// An address without what must not be told: from `@` on, and without parameters.
fn shown(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let rest = rest.rsplit_once('@').map_or(rest, |(_, rest)| rest);
    let end = rest.find('?').unwrap_or(rest.len());
    rest[..end].chars().take(200).collect()
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
        sqlx::query(later).execute(&store.writer).await.expect("written");
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
