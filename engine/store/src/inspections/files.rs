//! Files of jobs: claimed, done once, looked at.

use serde::{Deserialize, Serialize};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Connection, Row};

use super::jobs::{Counts, counts};
use super::number;
use crate::deliveries::{NewDelivery, enqueue};
use crate::insights::{JudgedCall, Place, keep_calls, keep_hits};
use crate::{Kind, Store, StoreError};

/// Where a file stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileState {
    /// It waits.
    Queued,
    /// It is being inspected.
    Running,
    /// It has a result.
    Done,
    /// It has a reason why it has none.
    Failed,
    /// Its job was cancelled before.
    Cancelled,
}

impl FileState {
    const ALL: [Self; 5] = [Self::Queued, Self::Running, Self::Done, Self::Failed, Self::Cancelled];

    /// As the store and the API call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    pub(super) fn of(name: &str) -> Self {
        Self::ALL.into_iter().find(|state| state.name() == name).unwrap_or(Self::Failed)
    }
}

/// A file in the store.
#[derive(Clone, Debug, PartialEq)]
pub struct InspectionFile {
    /// Its job.
    pub job: String,
    /// Its number within the job, from 0.
    pub n: i64,
    /// What results call it.
    pub name: String,
    /// Where its sound or its words come from, JSON.
    pub source: String,
    /// Where it stands.
    pub state: FileState,
    /// How often it was begun.
    pub attempts: i64,
    /// Milliseconds since 1970.
    pub begun_ms: Option<i64>,
    /// Milliseconds since 1970.
    pub ended_ms: Option<i64>,
    /// How long the recording is.
    pub audio_ms: Option<i64>,
    /// Where its sound lies.
    pub sound: Option<String>,
    /// The first scorecard's.
    pub score: Option<f64>,
    /// Whether that passes.
    pub passed: Option<bool>,
    /// Why it failed, as a stable code.
    pub code: Option<String>,
    /// Why it failed, for people.
    pub detail: Option<String>,
    /// What is known of the call besides, JSON.
    pub facts: String,
}

/// Which files are asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct FileFilter {
    /// Only in this state.
    pub state: Option<FileState>,
    /// Only behind this one.
    pub after: Option<i64>,
}

/// A file that whoever has this may work on.
#[derive(Clone, Debug, PartialEq)]
pub struct Claim {
    /// Its job.
    pub job: String,
    /// Its number.
    pub n: i64,
    /// What results call it.
    pub name: String,
    /// Where its sound or its words come from, JSON.
    pub source: String,
    /// What is known of the call besides, JSON.
    pub facts: String,
    /// What the job asks for, JSON.
    pub spec: String,
    /// How often it has been begun, this time included.
    pub attempts: i64,
    /// Whose claim it is.
    pub holder: String,
}

/// What came of a file.
#[derive(Clone, Debug)]
pub enum Done {
    /// A result.
    Result {
        /// How long the recording is.
        audio_ms: i64,
        /// Where its sound lies.
        sound: Option<String>,
        /// The first scorecard's.
        score: Option<f64>,
        /// Whether that passes.
        passed: Option<bool>,
        /// What was heard, JSON.
        conversation: String,
        /// What was found, JSON.
        result: String,
        /// The findings, for figures over many files.
        hits: Vec<StoredHit>,
        /// By scorecard, for figures over many files.
        calls: Vec<JudgedCall>,
    },
    /// A reason.
    Failed {
        /// Stable.
        code: String,
        /// For people.
        detail: String,
    },
}

/// A finding, as figures over many files need it.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredHit {
    /// Unique within the file and scorecard.
    pub id: String,
    /// The scorecard.
    pub card: String,
    /// Its version.
    pub version: String,
    /// The rule.
    pub rule: String,
    /// Whether it is something that should have been there.
    pub missed: bool,
    /// What it costs or earns.
    pub points: f64,
    /// On the call's clock.
    pub start_ms: i64,
    /// On the call's clock.
    pub end_ms: i64,
    /// Whether it counts: no exception excuses it, nobody overturned it.
    pub stands: bool,
}

/// What became of a [`Done`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is kept; files of the job are left.
    Kept,
    /// It is kept and was the job's last.
    Last(Counts),
    /// The claim is not held any more: somebody else has the file, or nobody wants it.
    Lost,
}

const FILE: &str = "job, n, name, source, state, attempts, begun_ms, ended_ms, audio_ms, sound, score, passed, code, \
                    detail, facts";

impl Store {
    /// Claims the file that is next until `lease_ms`: of the most urgent jobs, turn by turn, so that a small job need not
    /// wait for the end of a great one.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn claim(&self, holder: &str, now_ms: i64, lease_ms: i64) -> Result<Option<Claim>, StoreError> {
        // Servers beside this one on the same database take others.
        let lock = if self.kind == Kind::Postgres { "FOR UPDATE SKIP LOCKED" } else { "" };
        let query = format!(
            "UPDATE qa_files SET state = 'running', holder = $1, lease_ms = $2, begun_ms = $3, attempts = attempts + 1 \
             WHERE (job, n) IN (SELECT job, n FROM qa_files WHERE state = 'queued' \
             ORDER BY rank, n, created_ms, job LIMIT 1 {lock}) RETURNING job, n, name, source, facts, attempts"
        );
        let mut writer = self.writer.acquire().await?;
        let mut step = writer.begin_with(self.kind.begin()).await?;
        let row = sqlx::query(sqlx::AssertSqlSafe(query))
            .bind(holder)
            .bind(lease_ms)
            .bind(now_ms)
            .fetch_optional(&mut *step)
            .await?;
        let Some(row) = row else { return Ok(None) };
        let job: String = row.try_get("job")?;
        let spec =
            sqlx::query("SELECT spec FROM qa_jobs WHERE id = $1").bind(&job).fetch_one(&mut *step).await?;
        step.commit().await?;
        Ok(Some(Claim {
            job,
            n: row.try_get("n")?,
            name: row.try_get("name")?,
            source: row.try_get("source")?,
            facts: row.try_get("facts")?,
            spec: spec.try_get("spec")?,
            attempts: row.try_get("attempts")?,
            holder: holder.to_owned(),
        }))
    }

    /// Keeps everything that `holder` has claimed until `lease_ms`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn renew(&self, holder: &str, lease_ms: i64) -> Result<(), StoreError> {
        sqlx::query("UPDATE qa_files SET lease_ms = $2 WHERE state = 'running' AND holder = $1")
            .bind(holder)
            .bind(lease_ms)
            .execute(&self.writer)
            .await?;
        Ok(())
    }

    /// Lets those files wait again whose claims have run out: their holders are gone. Tells how many those were.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn reclaim(&self, now_ms: i64) -> Result<u64, StoreError> {
        let back = sqlx::query(
            "UPDATE qa_files SET state = 'queued', holder = NULL WHERE state = 'running' AND lease_ms < $1",
        )
        .bind(now_ms)
        .execute(&self.writer)
        .await?;
        Ok(back.rows_affected())
    }

    /// Gives a claim back: the file waits again, as if it had not been begun.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn release(&self, claim: &Claim) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE qa_files SET state = 'queued', holder = NULL, attempts = attempts - 1 \
             WHERE job = $1 AND n = $2 AND state = 'running' AND holder = $3",
        )
        .bind(&claim.job)
        .bind(claim.n)
        .bind(&claim.holder)
        .execute(&self.writer)
        .await?;
        Ok(())
    }

    /// Keeps what came of a file, once. `tell` says what is to be delivered where it was the job's last.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn finish(
        &self,
        claim: &Claim,
        done: &Done,
        now_ms: i64,
        tell: impl FnOnce(Option<&Counts>) -> Vec<NewDelivery>,
    ) -> Result<Taken, StoreError> {
        let mut writer = self.writer.acquire().await?;
        let mut step = writer.begin_with(self.kind.begin()).await?;
        let updated = match done {
            Done::Result { audio_ms, sound, score, passed, .. } => sqlx::query(
                "UPDATE qa_files SET state = 'done', ended_ms = $4, audio_ms = $5, sound = $6, score = $7, \
                     passed = $8, code = NULL, detail = NULL, holder = NULL \
                     WHERE job = $1 AND n = $2 AND state = 'running' AND holder = $3",
            )
            .bind(&claim.job)
            .bind(claim.n)
            .bind(&claim.holder)
            .bind(now_ms)
            .bind(*audio_ms)
            .bind(sound.as_deref())
            .bind(*score)
            .bind(passed.map(i64::from))
            .execute(&mut *step)
            .await?,
            Done::Failed { code, detail } => sqlx::query(
                "UPDATE qa_files SET state = 'failed', ended_ms = $4, code = $5, detail = $6, holder = NULL \
                     WHERE job = $1 AND n = $2 AND state = 'running' AND holder = $3",
            )
            .bind(&claim.job)
            .bind(claim.n)
            .bind(&claim.holder)
            .bind(now_ms)
            .bind(code)
            .bind(detail)
            .execute(&mut *step)
            .await?,
        };
        if updated.rows_affected() != 1 {
            return Ok(Taken::Lost);
        }
        if let Done::Result { conversation, result, hits, calls, .. } = done {
            keep(&mut step, claim, conversation, result).await?;
            keep_hits(&mut step, &claim.job, claim.n, hits).await?;
            let job = sqlx::query("SELECT owner, created_ms FROM qa_jobs WHERE id = $1")
                .bind(&claim.job)
                .fetch_one(&mut *step)
                .await?;
            let owner: String = job.try_get("owner")?;
            let at_ms = job.try_get("created_ms")?;
            let place = Place { job: &claim.job, n: claim.n, live: false, owner: &owner, at_ms };
            keep_calls(&mut step, &place, calls, now_ms).await?;
        }
        let row =
            sqlx::query("UPDATE qa_jobs SET remaining = remaining - 1 WHERE id = $1 RETURNING remaining")
                .bind(&claim.job)
                .fetch_one(&mut *step)
                .await?;
        let last = row.try_get::<i64, _>("remaining")? <= 0;
        let mut taken = Taken::Kept;
        if last {
            sqlx::query("UPDATE qa_jobs SET state = 'finished', finished_ms = $2 WHERE id = $1")
                .bind(&claim.job)
                .bind(now_ms)
                .execute(&mut *step)
                .await?;
            taken = Taken::Last(counts(&mut step, &claim.job).await?);
        }
        let news = tell(match &taken {
            Taken::Last(counts) => Some(counts),
            _ => None,
        });
        enqueue(&mut step, &news).await?;
        step.commit().await?;
        Ok(taken)
    }

    /// Files of a job in their order, at most `most`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn files(
        &self,
        job: &str,
        filter: FileFilter,
        most: usize,
    ) -> Result<Vec<InspectionFile>, StoreError> {
        let query = format!(
            "SELECT {FILE} FROM qa_files WHERE job = $1 AND n > $2 AND ($3 IS NULL OR state = $3) ORDER BY n LIMIT $4"
        );
        let rows = sqlx::query(sqlx::AssertSqlSafe(query))
            .bind(job)
            .bind(filter.after.unwrap_or(-1))
            .bind(filter.state.map(FileState::name))
            .bind(number(most))
            .fetch_all(&self.readers)
            .await?;
        rows.iter().map(file).collect()
    }

    /// One file.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn file(&self, job: &str, n: i64) -> Result<Option<InspectionFile>, StoreError> {
        let query = format!("SELECT {FILE} FROM qa_files WHERE job = $1 AND n = $2");
        let row = sqlx::query(sqlx::AssertSqlSafe(query)).bind(job).bind(n);
        row.fetch_optional(&self.readers).await?.as_ref().map(file).transpose()
    }

    /// What was heard of a file and what was found in it, both JSON.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn result(&self, job: &str, n: i64) -> Result<Option<(String, String)>, StoreError> {
        let row = sqlx::query("SELECT conversation, result FROM qa_results WHERE job = $1 AND n = $2")
            .bind(job)
            .bind(n)
            .fetch_optional(&self.readers)
            .await?;
        row.map(|row| Ok((row.try_get("conversation")?, row.try_get("result")?))).transpose()
    }
}

async fn keep(
    step: &mut AnyConnection,
    claim: &Claim,
    conversation: &str,
    result: &str,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO qa_results (job, n, conversation, result) VALUES ($1, $2, $3, $4) ON CONFLICT (job, n) DO UPDATE \
         SET conversation = excluded.conversation, result = excluded.result",
    )
    .bind(&claim.job)
    .bind(claim.n)
    .bind(conversation)
    .bind(result)
    .execute(&mut *step)
    .await?;
    Ok(())
}

fn file(row: &AnyRow) -> Result<InspectionFile, StoreError> {
    let state: String = row.try_get("state")?;
    Ok(InspectionFile {
        job: row.try_get("job")?,
        n: row.try_get("n")?,
        name: row.try_get("name")?,
        source: row.try_get("source")?,
        state: FileState::of(&state),
        attempts: row.try_get("attempts")?,
        begun_ms: row.try_get("begun_ms")?,
        ended_ms: row.try_get("ended_ms")?,
        audio_ms: row.try_get("audio_ms")?,
        sound: row.try_get("sound")?,
        score: row.try_get("score")?,
        passed: row.try_get::<Option<i64>, _>("passed")?.map(|passed| passed != 0),
        code: row.try_get("code")?,
        detail: row.try_get("detail")?,
        facts: row.try_get("facts")?,
    })
}
