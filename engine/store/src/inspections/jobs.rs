//! Jobs: taken in, cancelled, tried again, looked at, forgotten.

use serde::{Deserialize, Serialize};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Connection, Row};

use super::files::FileState;
use super::number;
use crate::{Store, StoreError};

/// Where a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// None of its files has been begun.
    Queued,
    /// Some of them are left.
    Running,
    /// Every file has its result or its reason.
    Finished,
    /// Somebody cancelled it.
    Cancelled,
}

/// A job to be done.
#[derive(Clone, Debug)]
pub struct NewJob {
    /// Unique.
    pub id: String,
    /// Whose: the token's name.
    pub owner: String,
    /// What the owner calls it so that it is not done twice.
    pub key: Option<String>,
    /// Stands for all that was asked for: another one under the same key is refused.
    pub fingerprint: String,
    /// The higher, the sooner.
    pub priority: i64,
    /// Milliseconds since 1970.
    pub created_ms: i64,
    /// What was asked for, JSON.
    pub spec: String,
    /// In their order.
    pub files: Vec<NewFile>,
}

/// A file of a [`NewJob`].
#[derive(Clone, Debug)]
pub struct NewFile {
    /// What results call it.
    pub name: String,
    /// Where its sound or its words come from, JSON.
    pub source: String,
    /// What is known of the call besides, JSON.
    pub facts: String,
}

/// What became of a [`NewJob`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Offered {
    /// It will be done.
    Created,
    /// It was there before: the job of this identifier.
    Repeated(String),
    /// The key belongs to another job, of this identifier.
    Taken(String),
    /// The owner has so many files waiting that these have no place.
    Full {
        /// How many wait.
        waiting: i64,
    },
}

/// A job in the store.
#[derive(Clone, Debug, PartialEq)]
pub struct InspectionJob {
    /// Its identifier.
    pub id: String,
    /// Whose it is.
    pub owner: String,
    /// Where it stands.
    pub state: JobState,
    /// The higher, the sooner.
    pub priority: i64,
    /// Milliseconds since 1970.
    pub created_ms: i64,
    /// Milliseconds since 1970.
    pub finished_ms: Option<i64>,
    /// What was asked for, JSON.
    pub spec: String,
    /// Its files by state.
    pub counts: Counts,
}

/// A job's files by state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// All of them.
    pub total: i64,
    /// Those that wait.
    pub queued: i64,
    /// Those that are being inspected.
    pub running: i64,
    /// Those with a result.
    pub done: i64,
    /// Those without.
    pub failed: i64,
    /// Those that will have none.
    pub cancelled: i64,
    /// Of those with a score: those that pass.
    pub passed: i64,
}

impl Store {
    /// Takes a job in, all of it or nothing. `most` files of an owner may wait.
    ///
    /// # Errors
    /// [`StoreError`], as of every method here.
    pub async fn offer(&self, job: &NewJob, most: i64) -> Result<Offered, StoreError> {
        let mut writer = self.writer.acquire().await?;
        let mut step = writer.begin_with(self.kind.begin()).await?;
        if let Some(key) = &job.key {
            let known = sqlx::query("SELECT id, fingerprint FROM qa_jobs WHERE owner = $1 AND idem = $2")
                .bind(&job.owner)
                .bind(key)
                .fetch_optional(&mut *step)
                .await?;
            if let Some(known) = known {
                let id: String = known.try_get("id")?;
                let same = known.try_get::<String, _>("fingerprint")? == job.fingerprint;
                return Ok(if same { Offered::Repeated(id) } else { Offered::Taken(id) });
            }
        }
        let row = sqlx::query(
            "SELECT CAST(COALESCE(SUM(remaining), 0) AS BIGINT) AS n FROM qa_jobs WHERE owner = $1 AND remaining > 0",
        )
        .bind(&job.owner)
        .fetch_one(&mut *step)
        .await?;
        let (waiting, total): (i64, i64) = (row.try_get("n")?, number(job.files.len()));
        if waiting.saturating_add(total) > most {
            return Ok(Offered::Full { waiting });
        }
        sqlx::query(
            "INSERT INTO qa_jobs (id, owner, idem, fingerprint, state, rank, created_ms, total, remaining, spec) \
             VALUES ($1, $2, $3, $4, 'open', $5, $6, $7, $7, $8)",
        )
        .bind(&job.id)
        .bind(&job.owner)
        .bind(job.key.as_deref())
        .bind(&job.fingerprint)
        .bind(job.priority.saturating_neg())
        .bind(job.created_ms)
        .bind(total)
        .bind(&job.spec)
        .execute(&mut *step)
        .await?;
        for (n, file) in job.files.iter().enumerate() {
            sqlx::query(
                "INSERT INTO qa_files (job, n, rank, created_ms, name, source, state, attempts, facts) \
                 VALUES ($1, $2, $3, $4, $5, $6, 'queued', 0, $7)",
            )
            .bind(&job.id)
            .bind(number(n))
            .bind(job.priority.saturating_neg())
            .bind(job.created_ms)
            .bind(&file.name)
            .bind(&file.source)
            .bind(&file.facts)
            .execute(&mut *step)
            .await?;
        }
        step.commit().await?;
        Ok(Offered::Created)
    }

    /// Cancels what is left of a job. `false` where nothing was.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn cancel(&self, job: &str, now_ms: i64) -> Result<bool, StoreError> {
        let mut writer = self.writer.acquire().await?;
        let mut step = writer.begin_with(self.kind.begin()).await?;
        let open = sqlx::query(
            "UPDATE qa_jobs SET state = 'cancelled', remaining = 0, finished_ms = $2 WHERE id = $1 AND state = 'open'",
        )
        .bind(job)
        .bind(now_ms)
        .execute(&mut *step)
        .await?;
        sqlx::query(
            "UPDATE qa_files SET state = 'cancelled', ended_ms = $2, holder = NULL \
             WHERE job = $1 AND state IN ('queued', 'running')",
        )
        .bind(job)
        .bind(now_ms)
        .execute(&mut *step)
        .await?;
        step.commit().await?;
        Ok(open.rows_affected() == 1)
    }

    /// Lets a job's files that failed or were cancelled wait again. Tells how many those were.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn retry_files(&self, job: &str) -> Result<u64, StoreError> {
        let mut writer = self.writer.acquire().await?;
        let mut step = writer.begin_with(self.kind.begin()).await?;
        let again = sqlx::query(
            "UPDATE qa_files SET state = 'queued', code = NULL, detail = NULL, ended_ms = NULL \
             WHERE job = $1 AND state IN ('failed', 'cancelled')",
        )
        .bind(job)
        .execute(&mut *step)
        .await?
        .rows_affected();
        if again > 0 {
            sqlx::query(
                "UPDATE qa_jobs SET state = 'open', finished_ms = NULL, remaining = remaining + $2 WHERE id = $1",
            )
            .bind(job)
            .bind(i64::try_from(again).unwrap_or(i64::MAX))
            .execute(&mut *step)
            .await?;
        }
        step.commit().await?;
        Ok(again)
    }

    /// One job.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn job(&self, id: &str) -> Result<Option<InspectionJob>, StoreError> {
        let mut reader = self.readers.acquire().await?;
        let row =
            sqlx::query("SELECT * FROM qa_jobs WHERE id = $1").bind(id).fetch_optional(&mut *reader).await?;
        let Some(row) = row else { return Ok(None) };
        let counts = counts(&mut reader, id).await?;
        Ok(Some(job(&row, counts)?))
    }

    /// The jobs of an owner, of all where there is none, the newest first; `before` goes on after a page.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn jobs(
        &self,
        owner: Option<&str>,
        before: Option<(i64, String)>,
        most: usize,
    ) -> Result<Vec<InspectionJob>, StoreError> {
        let (at, id) = before.unwrap_or((i64::MAX, String::new()));
        let mut reader = self.readers.acquire().await?;
        let rows = sqlx::query(
            "SELECT * FROM qa_jobs WHERE ($1 IS NULL OR owner = $1) AND (created_ms < $2 OR (created_ms = $2 AND id < $3)) \
             ORDER BY created_ms DESC, id DESC LIMIT $4",
        )
        .bind(owner)
        .bind(at)
        .bind(id)
        .bind(number(most))
        .fetch_all(&mut *reader)
        .await?;
        let mut jobs = Vec::with_capacity(rows.len());
        for row in &rows {
            let id: String = row.try_get("id")?;
            let counts = counts(&mut reader, &id).await?;
            jobs.push(job(row, counts)?);
        }
        Ok(jobs)
    }

    /// Forgets a job that is over, with everything of it. `false` where there is none such.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn forget_job(&self, id: &str) -> Result<bool, StoreError> {
        let mut writer = self.writer.acquire().await?;
        let mut step = writer.begin_with(self.kind.begin()).await?;
        let gone = sqlx::query("DELETE FROM qa_jobs WHERE id = $1 AND state <> 'open'")
            .bind(id)
            .execute(&mut *step)
            .await?;
        if gone.rows_affected() == 0 {
            return Ok(false);
        }
        for table in [
            "DELETE FROM qa_files WHERE job = $1",
            "DELETE FROM qa_results WHERE job = $1",
            "DELETE FROM qa_hits WHERE job = $1",
            "DELETE FROM qa_calls WHERE job = $1",
            "DELETE FROM qa_reviews WHERE job = $1",
        ] {
            sqlx::query(table).bind(id).execute(&mut *step).await?;
        }
        step.commit().await?;
        Ok(true)
    }

    /// Jobs that were over before, the oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn jobs_over(&self, before_ms: i64, most: usize) -> Result<Vec<String>, StoreError> {
        let rows = sqlx::query(
            "SELECT id FROM qa_jobs WHERE state <> 'open' AND finished_ms < $1 ORDER BY finished_ms LIMIT $2",
        )
        .bind(before_ms)
        .bind(number(most))
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(|row| Ok(row.try_get("id")?)).collect()
    }
}

pub(super) async fn counts(connection: &mut AnyConnection, job: &str) -> Result<Counts, StoreError> {
    let rows = sqlx::query(
        "SELECT state, COUNT(*) AS n, CAST(COALESCE(SUM(passed), 0) AS BIGINT) AS passed FROM qa_files WHERE job = $1 \
         GROUP BY state",
    )
    .bind(job)
    .fetch_all(&mut *connection)
    .await?;
    let mut counts = Counts::default();
    for row in rows {
        let n: i64 = row.try_get("n")?;
        counts.total += n;
        counts.passed += row.try_get::<i64, _>("passed")?;
        let state: String = row.try_get("state")?;
        *match FileState::of(&state) {
            FileState::Queued => &mut counts.queued,
            FileState::Running => &mut counts.running,
            FileState::Done => &mut counts.done,
            FileState::Failed => &mut counts.failed,
            FileState::Cancelled => &mut counts.cancelled,
        } = n;
    }
    Ok(counts)
}

fn job(row: &AnyRow, counts: Counts) -> Result<InspectionJob, StoreError> {
    let state: String = row.try_get("state")?;
    let state = match state.as_str() {
        "finished" => JobState::Finished,
        "cancelled" => JobState::Cancelled,
        _ if counts.queued == counts.total => JobState::Queued,
        _ => JobState::Running,
    };
    Ok(InspectionJob {
        id: row.try_get("id")?,
        owner: row.try_get("owner")?,
        state,
        priority: row.try_get::<i64, _>("rank")?.saturating_neg(),
        created_ms: row.try_get("created_ms")?,
        finished_ms: row.try_get("finished_ms")?,
        spec: row.try_get("spec")?,
        counts,
    })
}
