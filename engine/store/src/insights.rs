//! What figures over many calls are made of: one row a call and scorecard, of files that were inspected and of calls that
//! were judged while they went on.
//!
//! A call may be judged again, by the same scorecard and by others, live and from its recording. Among the rows that a
//! question may see, the newest of a call and scorecard counts, so that each call counts once.

use futures_util::TryStreamExt;
use sqlx::any::{AnyArguments, AnyRow};
use sqlx::query::Query;
use sqlx::{Any, AnyConnection, Connection, Row};

use crate::inspections::StoredHit;
use crate::{Store, StoreError};

pub(super) const TABLES: &str = "
    ALTER TABLE qa_hits ADD COLUMN counts BIGINT NOT NULL DEFAULT 1;
    CREATE TABLE qa_calls (
        job TEXT NOT NULL,
        n BIGINT NOT NULL,
        card TEXT NOT NULL,
        version TEXT NOT NULL,
        live BIGINT NOT NULL,
        owner TEXT NOT NULL,
        tenant TEXT NOT NULL,
        call TEXT NOT NULL,
        name TEXT NOT NULL,
        agent TEXT,
        queue TEXT,
        product TEXT,
        at_ms BIGINT NOT NULL,
        judged_ms BIGINT NOT NULL,
        score DOUBLE PRECISION NOT NULL,
        passed BIGINT NOT NULL,
        risk DOUBLE PRECISION NOT NULL,
        topics TEXT NOT NULL,
        judged TEXT NOT NULL,
        measured TEXT NOT NULL,
        PRIMARY KEY (job, n, card)
    );
    CREATE INDEX qa_calls_by_time ON qa_calls (at_ms);
";

/// A call judged by one scorecard.
#[derive(Clone, Debug, PartialEq)]
pub struct JudgedCall {
    /// The scorecard.
    pub card: String,
    /// Its version.
    pub version: String,
    /// Names the call wherever it is judged. [`JudgedCall::OWN`] for one that is known nowhere else.
    pub call: String,
    /// The tenant it belongs to; empty for none.
    pub tenant: String,
    /// What people call it.
    pub name: String,
    /// Who served.
    pub agent: Option<String>,
    /// Where it was answered.
    pub queue: Option<String>,
    /// What it was about.
    pub product: Option<String>,
    /// When it took place, milliseconds since 1970; `None` where only its job's time is known.
    pub at_ms: Option<i64>,
    /// What people say of it may change this.
    pub verdict: Verdict,
    /// 0 to 1.
    pub risk: f64,
    /// What it was about, each between two line feeds.
    pub topics: String,
    /// What was measured, JSON.
    pub measured: String,
}

impl JudgedCall {
    /// Of a call that is known by its file alone.
    pub const OWN: &str = "";
}

/// How a call does by a scorecard.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Verdict {
    /// The score.
    pub score: f64,
    /// Whether it is enough.
    pub passed: bool,
    /// More of it, JSON.
    pub judged: String,
    /// The ids of the findings that count.
    pub standing: Vec<String>,
}

/// A call that was judged while it went on.
#[derive(Clone, Debug)]
pub struct LiveCall {
    /// Its id.
    pub id: String,
    /// When it was judged, milliseconds since 1970.
    pub judged_ms: i64,
    /// By scorecard.
    pub calls: Vec<JudgedCall>,
    /// The findings.
    pub hits: Vec<StoredHit>,
}

/// Who asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Sight {
    /// Sees everything.
    #[default]
    All,
    /// Sees what jobs of this owner came to, and live calls of this tenant, where there is one.
    Of {
        /// The token's name.
        owner: String,
        /// The token's tenant.
        tenant: Option<String>,
    },
}

/// Which calls are asked for.
#[derive(Clone, Debug, Default)]
pub struct InsightFilter {
    /// Who asks.
    pub sight: Sight,
    /// Took place then or later, milliseconds since 1970.
    pub since_ms: i64,
    /// Took place before.
    pub until_ms: i64,
    /// Only what this job came to; of a live call its id.
    pub job: Option<String>,
    /// Only by this scorecard.
    pub card: Option<String>,
    /// Only this agent's; empty for calls of none that is known. So are the next two.
    pub agent: Option<String>,
    /// Only of this queue.
    pub queue: Option<String>,
    /// Only of this product.
    pub product: Option<String>,
    /// Only of this tenant.
    pub tenant: Option<String>,
    /// Only with a finding of this rule that counts.
    pub rule: Option<String>,
    /// Only about this.
    pub topic: Option<String>,
    /// Only those that pass, or do not.
    pub passed: Option<bool>,
    /// Only of this risk or more.
    pub risk: Option<f64>,
}

/// A call judged by one scorecard, as it is read.
#[derive(Clone, Debug, PartialEq)]
pub struct InsightCall {
    /// The job, or the live call's id.
    pub job: String,
    /// The file's number in it; 0 of a live call.
    pub n: i64,
    /// Whether it was judged while it went on.
    pub live: bool,
    /// Names the call.
    pub call: String,
    /// What people call it.
    pub name: String,
    /// The scorecard.
    pub card: String,
    /// Its version.
    pub version: String,
    /// Who served.
    pub agent: Option<String>,
    /// Where it was answered.
    pub queue: Option<String>,
    /// What it was about.
    pub product: Option<String>,
    /// When it took place, milliseconds since 1970.
    pub at_ms: i64,
    /// The score.
    pub score: f64,
    /// Whether it is enough.
    pub passed: bool,
    /// 0 to 1.
    pub risk: f64,
    /// More of the verdict, JSON.
    pub judged: String,
    /// What was measured, JSON.
    pub measured: String,
}

/// In which order calls are listed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum InsightOrder {
    /// The last first.
    #[default]
    Time,
    /// The worst first.
    Score,
    /// The riskiest first.
    Risk,
}

/// How often a rule found something that is not excused, by scorecard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundCount {
    /// The scorecard.
    pub card: String,
    /// The rule.
    pub rule: String,
    /// How often.
    pub hits: i64,
}

/// What one person says of one finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opinion {
    /// Names the finding.
    pub finding: (String, i64, String, String),
    /// The rule.
    pub rule: String,
    /// Who says it.
    pub reviewer: String,
    /// Whether it is right.
    pub confirms: bool,
    /// When, milliseconds since 1970.
    pub at_ms: i64,
}

const COLUMNS: &str = "job, n, live, call, name, card, version, agent, queue, product, at_ms, score, passed, risk, \
                       judged, measured";

/// Of the rows that may be seen the newest of each call and scorecard, and of those the ones asked for.
const SEEN: &str = "FROM (SELECT c.*, ROW_NUMBER() OVER (PARTITION BY call, card ORDER BY judged_ms DESC, job DESC, \
    n DESC) AS place FROM qa_calls c WHERE at_ms >= $1 AND at_ms < $2 \
    AND ($3 IS NULL OR owner = $3 OR (live = 1 AND tenant = $4)) \
    AND ($5 IS NULL OR job = $5) AND ($6 IS NULL OR card = $6)) seen WHERE place = 1 \
    AND ($7 IS NULL OR COALESCE(agent, '') = $7) AND ($8 IS NULL OR COALESCE(queue, '') = $8) \
    AND ($9 IS NULL OR COALESCE(product, '') = $9) \
    AND ($10 IS NULL OR tenant = $10) AND ($11 IS NULL OR passed = $11) AND risk >= $12 \
    AND ($13 IS NULL OR topics LIKE $13 ESCAPE '!') \
    AND ($14 IS NULL OR EXISTS (SELECT 1 FROM qa_hits h WHERE h.job = seen.job AND h.n = seen.n \
        AND h.card = seen.card AND h.rule = $14 AND h.counts = 1))";

impl InsightFilter {
    fn bind<'q>(&'q self, query: Query<'q, Any, AnyArguments>) -> Query<'q, Any, AnyArguments> {
        let (owner, tenant) = match &self.sight {
            Sight::All => (None, None),
            Sight::Of { owner, tenant } => (Some(owner.as_str()), tenant.as_deref()),
        };
        // What `LIKE` takes for more than itself is told by the sign before it.
        let topic = self.topic.as_ref().map(|topic| {
            let plain = topic.to_lowercase().replace('!', "!!").replace('%', "!%").replace('_', "!_");
            format!("%\n{plain}\n%")
        });
        query
            .bind(self.since_ms)
            .bind(self.until_ms)
            .bind(owner)
            .bind(tenant)
            .bind(self.job.as_deref())
            .bind(self.card.as_deref())
            .bind(self.agent.as_deref())
            .bind(self.queue.as_deref())
            .bind(self.product.as_deref())
            .bind(self.tenant.as_deref())
            .bind(self.passed.map(i64::from))
            // No risk is below it; sqlx 0.9 tells PostgreSQL a wrong type of numbers that are NULL.
            .bind(self.risk.unwrap_or(-1.0))
            .bind(topic)
            .bind(self.rule.as_deref())
    }
}

impl Store {
    /// Hands every call that is asked for to `take`, in no order, at most `most`. Tells whether those were all.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn each_call(
        &self,
        filter: &InsightFilter,
        most: usize,
        mut take: impl FnMut(InsightCall),
    ) -> Result<bool, StoreError> {
        let query = format!("SELECT {COLUMNS} {SEEN}");
        let query = filter.bind(sqlx::query(sqlx::AssertSqlSafe(query)));
        let mut rows = query.fetch(&self.readers);
        let mut count = 0;
        while let Some(row) = rows.try_next().await? {
            if count == most {
                return Ok(false);
            }
            count += 1;
            take(call(&row)?);
        }
        Ok(true)
    }

    /// Calls that are asked for, `most` from the place `skip` on.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn insight_calls(
        &self,
        filter: &InsightFilter,
        order: InsightOrder,
        skip: usize,
        most: usize,
    ) -> Result<Vec<InsightCall>, StoreError> {
        let order = match order {
            InsightOrder::Time => "at_ms DESC, call, card",
            InsightOrder::Score => "score, at_ms DESC, call, card",
            InsightOrder::Risk => "risk DESC, at_ms DESC, call, card",
        };
        let query = format!("SELECT {COLUMNS} {SEEN} ORDER BY {order} LIMIT $15 OFFSET $16");
        let number = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        let query =
            filter.bind(sqlx::query(sqlx::AssertSqlSafe(query))).bind(number(most)).bind(number(skip));
        let rows = query.fetch_all(&self.readers).await?;
        rows.iter().map(call).collect()
    }

    /// The findings of a call by a scorecard that count, by time.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn standing_hits(&self, job: &str, n: i64, card: &str) -> Result<Vec<StoredHit>, StoreError> {
        let rows = sqlx::query(
            "SELECT hit, card, version, rule, missed, points, start_ms, end_ms, counts FROM qa_hits \
             WHERE job = $1 AND n = $2 AND card = $3 AND counts = 1 ORDER BY start_ms, hit",
        )
        .bind(job)
        .bind(n)
        .bind(card)
        .fetch_all(&self.readers)
        .await?;
        let hit = |row: &AnyRow| {
            Ok(StoredHit {
                id: row.try_get("hit")?,
                card: row.try_get("card")?,
                version: row.try_get("version")?,
                rule: row.try_get("rule")?,
                missed: row.try_get::<i64, _>("missed")? != 0,
                points: row.try_get("points")?,
                start_ms: row.try_get("start_ms")?,
                end_ms: row.try_get("end_ms")?,
                stands: row.try_get::<i64, _>("counts")? != 0,
            })
        };
        rows.iter().map(hit).collect()
    }

    /// What a file's call is named wherever it is judged, and when it took place; `None` where nothing was kept of it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn call_of_file(&self, job: &str, n: i64) -> Result<Option<(String, i64)>, StoreError> {
        let row = sqlx::query("SELECT call, at_ms FROM qa_calls WHERE job = $1 AND n = $2 LIMIT 1")
            .bind(job)
            .bind(n)
            .fetch_optional(&self.readers)
            .await?;
        row.map(|row| Ok((row.try_get("call")?, row.try_get("at_ms")?))).transpose()
    }

    /// Whether a live call of this id was judged that whoever asks may see.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn sees_live_call(&self, id: &str, sight: &Sight) -> Result<bool, StoreError> {
        let tenant = match sight {
            Sight::All => None,
            Sight::Of { tenant: Some(tenant), .. } => Some(tenant.as_str()),
            Sight::Of { tenant: None, .. } => return Ok(false),
        };
        let row = sqlx::query(
            "SELECT 1 AS one FROM qa_calls WHERE job = $1 AND n = 0 AND live = 1 AND ($2 IS NULL OR tenant = $2) LIMIT 1",
        )
        .bind(id)
        .bind(tenant)
        .fetch_optional(&self.readers)
        .await?;
        Ok(row.is_some())
    }

    /// Keeps what a call was judged by while it went on.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn keep_live(&self, call: &LiveCall) -> Result<(), StoreError> {
        let mut writer = self.writer.acquire().await?;
        let mut step = writer.begin_with(self.kind.begin()).await?;
        let place = Place { job: &call.id, n: 0, live: true, owner: "", at_ms: call.judged_ms };
        keep_calls(&mut step, &place, &call.calls, call.judged_ms).await?;
        keep_hits(&mut step, &call.id, 0, &call.hits).await?;
        step.commit().await?;
        Ok(())
    }

    /// Forgets live calls that took place before; tells how many rows those were.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn forget_live(&self, before_ms: i64) -> Result<u64, StoreError> {
        let mut writer = self.writer.acquire().await?;
        let mut step = writer.begin_with(self.kind.begin()).await?;
        sqlx::query(
            "DELETE FROM qa_hits WHERE job IN (SELECT job FROM qa_calls WHERE live = 1 AND at_ms < $1)",
        )
        .bind(before_ms)
        .execute(&mut *step)
        .await?;
        let gone = sqlx::query("DELETE FROM qa_calls WHERE live = 1 AND at_ms < $1")
            .bind(before_ms)
            .execute(&mut *step)
            .await?;
        step.commit().await?;
        Ok(gone.rows_affected())
    }

    /// How often each rule found something that is not excused, in files that whoever asks may see, and which were judged
    /// within the time.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn found_counts(
        &self,
        sight: &Sight,
        card: Option<&str>,
        since_ms: i64,
        until_ms: i64,
    ) -> Result<Vec<FoundCount>, StoreError> {
        let rows = sqlx::query(
            "SELECT h.card AS card, h.rule AS rule, COUNT(*) AS hits FROM qa_hits h JOIN qa_calls c \
             ON c.job = h.job AND c.n = h.n AND c.card = h.card WHERE c.live = 0 AND h.counts <> 2 \
             AND c.judged_ms >= $1 AND c.judged_ms < $2 AND ($3 IS NULL OR c.owner = $3) \
             AND ($4 IS NULL OR h.card = $4) GROUP BY h.card, h.rule",
        )
        .bind(since_ms)
        .bind(until_ms)
        .bind(owner(sight))
        .bind(card)
        .fetch_all(&self.readers)
        .await?;
        let count = |row: &AnyRow| {
            Ok(FoundCount {
                card: row.try_get("card")?,
                rule: row.try_get("rule")?,
                hits: row.try_get("hits")?,
            })
        };
        rows.iter().map(count).collect()
    }

    /// What people say of those findings, finding by finding, the oldest first; at most `most`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn opinions(
        &self,
        sight: &Sight,
        card: Option<&str>,
        since_ms: i64,
        until_ms: i64,
        most: usize,
    ) -> Result<Vec<Opinion>, StoreError> {
        let rows = sqlx::query(
            "SELECT r.job AS job, r.n AS n, r.card AS card, r.hit AS hit, h.rule AS rule, r.reviewer AS reviewer, \
             r.verdict AS verdict, r.at_ms AS at_ms FROM qa_reviews r \
             JOIN qa_hits h ON h.job = r.job AND h.n = r.n AND h.card = r.card AND h.hit = r.hit \
             JOIN qa_calls c ON c.job = r.job AND c.n = r.n AND c.card = r.card \
             WHERE r.verdict IN ('confirm', 'overturn') AND h.counts <> 2 AND c.judged_ms >= $1 AND c.judged_ms < $2 \
             AND ($3 IS NULL OR c.owner = $3) AND ($4 IS NULL OR r.card = $4) \
             ORDER BY r.job, r.n, r.card, r.hit, r.at_ms, r.reviewer LIMIT $5",
        )
        .bind(since_ms)
        .bind(until_ms)
        .bind(owner(sight))
        .bind(card)
        .bind(i64::try_from(most).unwrap_or(i64::MAX))
        .fetch_all(&self.readers)
        .await?;
        let opinion = |row: &AnyRow| {
            let finding = (row.try_get("job")?, row.try_get("n")?, row.try_get("card")?, row.try_get("hit")?);
            Ok(Opinion {
                finding,
                rule: row.try_get("rule")?,
                reviewer: row.try_get("reviewer")?,
                confirms: row.try_get::<String, _>("verdict")? == "confirm",
                at_ms: row.try_get("at_ms")?,
            })
        };
        rows.iter().map(opinion).collect()
    }
}

fn owner(sight: &Sight) -> Option<&str> {
    match sight {
        Sight::All => None,
        Sight::Of { owner, .. } => Some(owner),
    }
}

/// Where judged calls belong.
pub(crate) struct Place<'a> {
    pub(crate) job: &'a str,
    pub(crate) n: i64,
    pub(crate) live: bool,
    pub(crate) owner: &'a str,
    /// When the call took place, where it does not know itself.
    pub(crate) at_ms: i64,
}

pub(crate) async fn keep_calls(
    step: &mut AnyConnection,
    place: &Place<'_>,
    calls: &[JudgedCall],
    now_ms: i64,
) -> Result<(), StoreError> {
    for call in calls {
        let name = if call.call == JudgedCall::OWN {
            format!("{}/{}", place.job, place.n)
        } else {
            call.call.clone()
        };
        sqlx::query(
            "INSERT INTO qa_calls (job, n, card, version, live, owner, tenant, call, name, agent, queue, product, at_ms, \
             judged_ms, score, passed, risk, topics, judged, measured) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20) \
             ON CONFLICT (job, n, card) DO NOTHING",
        )
        .bind(place.job)
        .bind(place.n)
        .bind(&call.card)
        .bind(&call.version)
        .bind(i64::from(place.live))
        .bind(place.owner)
        .bind(&call.tenant)
        .bind(name)
        .bind(&call.name)
        .bind(call.agent.as_deref())
        .bind(call.queue.as_deref())
        .bind(call.product.as_deref())
        .bind(call.at_ms.unwrap_or(place.at_ms))
        .bind(now_ms)
        .bind(call.verdict.score)
        .bind(i64::from(call.verdict.passed))
        .bind(call.risk)
        .bind(&call.topics)
        .bind(&call.verdict.judged)
        .bind(&call.measured)
        .execute(&mut *step)
        .await?;
    }
    Ok(())
}

pub(crate) async fn keep_hits(
    step: &mut AnyConnection,
    job: &str,
    n: i64,
    hits: &[StoredHit],
) -> Result<(), StoreError> {
    for hit in hits {
        sqlx::query(
            "INSERT INTO qa_hits (job, n, hit, card, version, rule, missed, points, start_ms, end_ms, counts) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT (job, n, card, hit) DO NOTHING",
        )
        .bind(job)
        .bind(n)
        .bind(&hit.id)
        .bind(&hit.card)
        .bind(&hit.version)
        .bind(&hit.rule)
        .bind(i64::from(hit.missed))
        .bind(hit.points)
        .bind(hit.start_ms)
        .bind(hit.end_ms)
        // 0 was overturned, 2 is excused from the beginning.
        .bind(if hit.stands { 1i64 } else { 2 })
        .execute(&mut *step)
        .await?;
    }
    Ok(())
}

/// What a review makes of a call.
pub(crate) async fn revise_call(
    step: &mut AnyConnection,
    (job, n, card): (&str, i64, &str),
    verdict: &Verdict,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE qa_calls SET score = $4, passed = $5, judged = $6 WHERE job = $1 AND n = $2 AND card = $3",
    )
    .bind(job)
    .bind(n)
    .bind(card)
    .bind(verdict.score)
    .bind(i64::from(verdict.passed))
    .bind(&verdict.judged)
    .execute(&mut *step)
    .await?;
    sqlx::query("UPDATE qa_hits SET counts = 0 WHERE job = $1 AND n = $2 AND card = $3 AND counts = 1")
        .bind(job)
        .bind(n)
        .bind(card)
        .execute(&mut *step)
        .await?;
    for hit in &verdict.standing {
        sqlx::query("UPDATE qa_hits SET counts = 1 WHERE job = $1 AND n = $2 AND card = $3 AND hit = $4")
            .bind(job)
            .bind(n)
            .bind(card)
            .bind(hit)
            .execute(&mut *step)
            .await?;
    }
    Ok(())
}

fn call(row: &AnyRow) -> Result<InsightCall, StoreError> {
    Ok(InsightCall {
        job: row.try_get("job")?,
        n: row.try_get("n")?,
        live: row.try_get::<i64, _>("live")? != 0,
        call: row.try_get("call")?,
        name: row.try_get("name")?,
        card: row.try_get("card")?,
        version: row.try_get("version")?,
        agent: row.try_get("agent")?,
        queue: row.try_get("queue")?,
        product: row.try_get("product")?,
        at_ms: row.try_get("at_ms")?,
        score: row.try_get("score")?,
        passed: row.try_get::<i64, _>("passed")? != 0,
        risk: row.try_get("risk")?,
        judged: row.try_get("judged")?,
        measured: row.try_get("measured")?,
    })
}
