//! Inspection jobs: recordings that wait to be inspected, are being inspected, have been.
//!
//! A file is worked on by whoever claims it, for as long as the claim is renewed; what comes of it is kept in one
//! transaction with its state, and only from the one who holds the claim. So each file is done once, whoever dies when.

use serde::{Deserialize, Serialize};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Connection, Row};

use super::deliveries::{NewDelivery, enqueue};
use super::{Kind, Store, StoreError};

pub(super) const TABLES: &str = "
    ALTER TABLE deliveries ADD COLUMN url TEXT;
    CREATE TABLE qa_jobs (
        id TEXT PRIMARY KEY,
        owner TEXT NOT NULL,
        idem TEXT,
        fingerprint TEXT NOT NULL,
        state TEXT NOT NULL,
        rank BIGINT NOT NULL,
        created_ms BIGINT NOT NULL,
        finished_ms BIGINT,
        total BIGINT NOT NULL,
        remaining BIGINT NOT NULL,
        spec TEXT NOT NULL
    );
    CREATE UNIQUE INDEX qa_jobs_by_key ON qa_jobs (owner, idem);
    CREATE INDEX qa_jobs_by_time ON qa_jobs (created_ms, id);
    CREATE TABLE qa_files (
        job TEXT NOT NULL,
        n BIGINT NOT NULL,
        rank BIGINT NOT NULL,
        created_ms BIGINT NOT NULL,
        name TEXT NOT NULL,
        source TEXT NOT NULL,
        state TEXT NOT NULL,
        holder TEXT,
        lease_ms BIGINT,
        attempts BIGINT NOT NULL,
        begun_ms BIGINT,
        ended_ms BIGINT,
        audio_ms BIGINT,
        sound TEXT,
        score DOUBLE PRECISION,
        passed BIGINT,
        code TEXT,
        detail TEXT,
        facts TEXT NOT NULL,
        PRIMARY KEY (job, n)
    );
    CREATE INDEX qa_files_waiting ON qa_files (state, rank, n, created_ms, job);
    CREATE TABLE qa_results (
        job TEXT NOT NULL,
        n BIGINT NOT NULL,
        conversation TEXT NOT NULL,
        result TEXT NOT NULL,
        PRIMARY KEY (job, n)
    );
    CREATE TABLE qa_hits (
        job TEXT NOT NULL,
        n BIGINT NOT NULL,
        hit TEXT NOT NULL,
        card TEXT NOT NULL,
        version TEXT NOT NULL,
        rule TEXT NOT NULL,
        missed BIGINT NOT NULL,
        points DOUBLE PRECISION NOT NULL,
        start_ms BIGINT NOT NULL,
        end_ms BIGINT NOT NULL,
        PRIMARY KEY (job, n, card, hit)
    );
    CREATE INDEX qa_hits_by_rule ON qa_hits (card, rule);
    CREATE TABLE qa_reviews (
        job TEXT NOT NULL,
        n BIGINT NOT NULL,
        card TEXT NOT NULL,
        hit TEXT NOT NULL,
        reviewer TEXT NOT NULL,
        verdict TEXT NOT NULL,
        comment TEXT,
        at_ms BIGINT NOT NULL,
        PRIMARY KEY (job, n, card, hit, reviewer)
    );
";

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

    fn of(name: &str) -> Self {
        Self::ALL.into_iter().find(|state| state.name() == name).unwrap_or(Self::Failed)
    }
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
        /// The findings that count, for figures over many files.
        hits: Vec<StoredHit>,
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

/// What a person says of a finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Review {
    /// The scorecard.
    pub card: String,
    /// The finding.
    pub hit: String,
    /// Who says so.
    pub reviewer: String,
    /// `confirm` or `overturn`.
    pub verdict: String,
    /// Why.
    pub comment: Option<String>,
    /// Milliseconds since 1970.
    pub at_ms: i64,
}

/// A result after a review.
#[derive(Clone, Debug, PartialEq)]
pub struct Revised {
    /// The whole result, JSON.
    pub result: String,
    /// The first scorecard's score.
    pub score: Option<f64>,
    /// Whether that passes.
    pub passed: Option<bool>,
}

/// What became of a review.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noted<E> {
    /// It is kept; an earlier one of the same reviewer is replaced.
    Kept,
    /// The file has no result.
    Unknown,
    /// The result does not take it.
    Refused(E),
}

const FILE: &str = "job, n, name, source, state, attempts, begun_ms, ended_ms, audio_ms, sound, score, passed, code, \
                    detail, facts";

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
        let (waiting, total): (i64, i64) = (row.try_get("n")?, count(job.files.len()));
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
            .bind(count(n))
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
        if let Done::Result { conversation, result, hits, .. } = done {
            keep(&mut step, claim, conversation, result, hits).await?;
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
        .bind(count(most))
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
            .bind(count(most))
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

    /// Keeps what a person says of a finding, and the result with it. `revise` is given the result (JSON) and makes a new
    /// one of it, with its score; what it refuses stays as it was.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn review<E>(
        &self,
        job: &str,
        n: i64,
        review: &Review,
        revise: impl FnOnce(&str) -> Result<Revised, E>,
    ) -> Result<Noted<E>, StoreError> {
        let lock = if self.kind == Kind::Postgres { "FOR UPDATE" } else { "" };
        let query = format!("SELECT result FROM qa_results WHERE job = $1 AND n = $2 {lock}");
        let mut writer = self.writer.acquire().await?;
        let mut step = writer.begin_with(self.kind.begin()).await?;
        let row =
            sqlx::query(sqlx::AssertSqlSafe(query)).bind(job).bind(n).fetch_optional(&mut *step).await?;
        let Some(row) = row else { return Ok(Noted::Unknown) };
        let revised = match revise(&row.try_get::<String, _>("result")?) {
            Ok(revised) => revised,
            Err(refusal) => return Ok(Noted::Refused(refusal)),
        };
        sqlx::query(
            "INSERT INTO qa_reviews (job, n, card, hit, reviewer, verdict, comment, at_ms) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8) \
             ON CONFLICT (job, n, card, hit, reviewer) DO UPDATE SET verdict = excluded.verdict, \
             comment = excluded.comment, at_ms = excluded.at_ms",
        )
        .bind(job)
        .bind(n)
        .bind(&review.card)
        .bind(&review.hit)
        .bind(&review.reviewer)
        .bind(&review.verdict)
        .bind(review.comment.as_deref())
        .bind(review.at_ms)
        .execute(&mut *step)
        .await?;
        sqlx::query("UPDATE qa_results SET result = $3 WHERE job = $1 AND n = $2")
            .bind(job)
            .bind(n)
            .bind(&revised.result)
            .execute(&mut *step)
            .await?;
        sqlx::query("UPDATE qa_files SET score = $3, passed = $4 WHERE job = $1 AND n = $2")
            .bind(job)
            .bind(n)
            .bind(revised.score)
            .bind(revised.passed.map(i64::from))
            .execute(&mut *step)
            .await?;
        step.commit().await?;
        Ok(Noted::Kept)
    }

    /// What people say of a file's findings, the oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn reviews(&self, job: &str, n: i64) -> Result<Vec<Review>, StoreError> {
        let rows = sqlx::query(
            "SELECT card, hit, reviewer, verdict, comment, at_ms FROM qa_reviews WHERE job = $1 AND n = $2 \
             ORDER BY at_ms, card, hit, reviewer",
        )
        .bind(job)
        .bind(n)
        .fetch_all(&self.readers)
        .await?;
        let review = |row: &AnyRow| {
            Ok(Review {
                card: row.try_get("card")?,
                hit: row.try_get("hit")?,
                reviewer: row.try_get("reviewer")?,
                verdict: row.try_get("verdict")?,
                comment: row.try_get("comment")?,
                at_ms: row.try_get("at_ms")?,
            })
        };
        rows.iter().map(review).collect()
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
        .bind(count(most))
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(|row| Ok(row.try_get("id")?)).collect()
    }
}

async fn keep(
    step: &mut AnyConnection,
    claim: &Claim,
    conversation: &str,
    result: &str,
    hits: &[StoredHit],
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
    for hit in hits {
        sqlx::query(
            "INSERT INTO qa_hits (job, n, hit, card, version, rule, missed, points, start_ms, end_ms) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (job, n, card, hit) DO NOTHING",
        )
        .bind(&claim.job)
        .bind(claim.n)
        .bind(&hit.id)
        .bind(&hit.card)
        .bind(&hit.version)
        .bind(&hit.rule)
        .bind(i64::from(hit.missed))
        .bind(hit.points)
        .bind(hit.start_ms)
        .bind(hit.end_ms)
        .execute(&mut *step)
        .await?;
    }
    Ok(())
}

async fn counts(connection: &mut AnyConnection, job: &str) -> Result<Counts, StoreError> {
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

/// Numbers of rows are far below what a column holds.
fn count(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}
