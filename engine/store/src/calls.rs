//! Call records in the store.

use serde_json::Value;
use sqlx::{AnyConnection, Connection, Row};

use super::deliveries::{NewDelivery, enqueue};
use super::{Store, StoreError};

/// A record to be kept: what is searched by stands beside it.
#[derive(Clone, Debug)]
pub struct NewCall {
    /// 32 hexadecimal digits.
    pub id: String,
    /// Milliseconds since 1970.
    pub offered_ms: i64,
    /// Milliseconds since 1970.
    pub ended_ms: i64,
    /// `inbound` or `outbound`.
    pub direction: &'static str,
    /// Who called.
    pub from: String,
    /// Who was called.
    pub to: String,
    /// Code of docs/ERRORS.md.
    pub cause: String,
    /// Whether it was answered.
    pub answered: bool,
    /// From answer to end.
    pub duration_ms: i64,
    /// The whole record, JSON.
    pub record: String,
    /// Its legs.
    pub legs: Vec<NewLeg>,
}

/// A leg of a [`NewCall`].
#[derive(Clone, Debug)]
pub struct NewLeg {
    /// Unique within the call.
    pub id: String,
    /// The trunk it went over.
    pub trunk: Option<String>,
    /// Our user at its end.
    pub user: Option<String>,
    /// The whole record of the leg, JSON.
    pub record: String,
}

/// Which records are asked for. Times are milliseconds since 1970.
#[derive(Clone, Debug, Default)]
pub struct CallFilter {
    /// Ended then or later.
    pub since_ms: Option<i64>,
    /// Ended before.
    pub until_ms: Option<i64>,
    /// `inbound` or `outbound`.
    pub direction: Option<&'static str>,
    /// A leg of this trunk.
    pub trunk: Option<String>,
    /// A leg of this user.
    pub user: Option<String>,
    /// Who called.
    pub from: Option<String>,
    /// Who was called.
    pub to: Option<String>,
    /// Code of docs/ERRORS.md.
    pub cause: Option<String>,
    /// Whether it was answered.
    pub answered: Option<bool>,
    /// Only those before this one: when it ended, and its id.
    pub before: Option<(i64, String)>,
}

/// A page of records, the one that ended last first.
#[derive(Debug)]
pub struct CallPage {
    /// The records, as they were handed over.
    pub records: Vec<Value>,
    /// What [`CallFilter::before`] is for the next page; `None` on the last.
    pub next: Option<(i64, String)>,
}

impl Store {
    /// How much of a file of the journal has been taken in, in bytes.
    pub async fn taken(&self, file: &str) -> Result<u64, StoreError> {
        let query = sqlx::query("SELECT taken FROM journal WHERE file = $1").bind(file);
        let row = query.fetch_optional(&self.readers).await?;
        let taken: i64 = row.map_or(Ok(0), |row| row.try_get("taken"))?;
        Ok(u64::try_from(taken).unwrap_or(0))
    }

    /// Takes in records up to `end` of a file of the journal, and what webhooks are to be told of them: all of it or
    /// nothing. A record that is there already stays as it is. Tells how many deliveries found no place.
    pub async fn take(
        &self,
        file: &str,
        end: u64,
        records: &[NewCall],
        deliveries: &[NewDelivery],
    ) -> Result<u64, StoreError> {
        let mut writer = self.writer.acquire().await?;
        let mut step = writer.begin_with(self.kind.begin()).await?;
        for record in records {
            insert(&mut step, record).await?;
        }
        let refused = enqueue(&mut step, deliveries).await?;
        sqlx::query(
            "INSERT INTO journal (file, taken) VALUES ($1, $2) ON CONFLICT (file) DO UPDATE SET taken = excluded.taken",
        )
        .bind(file)
        .bind(i64::try_from(end).unwrap_or(i64::MAX))
        .execute(&mut *step)
        .await?;
        step.commit().await?;
        Ok(refused)
    }

    /// The records that fit, at most `limit`.
    pub async fn calls(&self, filter: &CallFilter, limit: usize) -> Result<CallPage, StoreError> {
        let before = filter.before.clone().unwrap_or((i64::MAX, String::new()));
        let rows = sqlx::query(
            "SELECT id, ended_ms, record FROM call_records \
             WHERE ended_ms >= $1 AND ended_ms < $2 AND (ended_ms < $3 OR (ended_ms = $3 AND id < $4)) \
             AND ($5 IS NULL OR direction = $5) AND ($6 IS NULL OR caller = $6) AND ($7 IS NULL OR called = $7) \
             AND ($8 IS NULL OR cause = $8) AND ($9 IS NULL OR answered = $9) \
             AND ($10 IS NULL OR EXISTS (SELECT 1 FROM leg_records WHERE call_id = id AND trunk = $10)) \
             AND ($11 IS NULL OR EXISTS (SELECT 1 FROM leg_records WHERE call_id = id AND account = $11)) \
             ORDER BY ended_ms DESC, id DESC LIMIT $12",
        )
        .bind(filter.since_ms.unwrap_or(i64::MIN))
        .bind(filter.until_ms.unwrap_or(i64::MAX))
        .bind(before.0)
        .bind(before.1)
        .bind(filter.direction)
        .bind(filter.from.as_deref())
        .bind(filter.to.as_deref())
        .bind(filter.cause.as_deref())
        .bind(filter.answered)
        .bind(filter.trunk.as_deref())
        .bind(filter.user.as_deref())
        // One more than is shown tells whether there is a next page.
        .bind(i64::try_from(limit).unwrap_or(i64::MAX - 1) + 1)
        .fetch_all(&self.readers)
        .await?;
        let mut records = Vec::with_capacity(rows.len().min(limit));
        let mut next = None;
        for row in rows.iter().take(limit) {
            records.push(serde_json::from_str(row.try_get("record")?)?);
            next = Some((row.try_get("ended_ms")?, row.try_get("id")?));
        }
        Ok(CallPage { records, next: next.filter(|_| rows.len() > limit) })
    }

    /// One record.
    pub async fn call(&self, id: &str) -> Result<Option<Value>, StoreError> {
        let query = sqlx::query("SELECT record FROM call_records WHERE id = $1").bind(id);
        let Some(row) = query.fetch_optional(&self.readers).await? else { return Ok(None) };
        Ok(Some(serde_json::from_str(row.try_get("record")?)?))
    }

    /// Forgets up to `most` records of calls that ended before. Tells how many those were.
    pub async fn forget(&self, before_ms: i64, most: usize) -> Result<u64, StoreError> {
        let mut writer = self.writer.acquire().await?;
        let mut step = writer.begin_with(self.kind.begin()).await?;
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        sqlx::query(
            "DELETE FROM leg_records WHERE call_id IN \
             (SELECT id FROM call_records WHERE ended_ms < $1 ORDER BY ended_ms, id LIMIT $2)",
        )
        .bind(before_ms)
        .bind(most)
        .execute(&mut *step)
        .await?;
        let gone = sqlx::query(
            "DELETE FROM call_records WHERE id IN \
             (SELECT id FROM call_records WHERE ended_ms < $1 ORDER BY ended_ms, id LIMIT $2)",
        )
        .bind(before_ms)
        .bind(most)
        .execute(&mut *step)
        .await?;
        step.commit().await?;
        Ok(gone.rows_affected())
    }
}

async fn insert(connection: &mut AnyConnection, record: &NewCall) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO call_records (id, offered_ms, ended_ms, direction, caller, called, cause, answered, duration_ms, \
         record) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (id) DO NOTHING",
    )
    .bind(&record.id)
    .bind(record.offered_ms)
    .bind(record.ended_ms)
    .bind(record.direction)
    .bind(&record.from)
    .bind(&record.to)
    .bind(&record.cause)
    .bind(record.answered)
    .bind(record.duration_ms)
    .bind(&record.record)
    .execute(&mut *connection)
    .await?;
    for leg in &record.legs {
        sqlx::query(
            "INSERT INTO leg_records (call_id, leg_id, trunk, account, record) VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT (call_id, leg_id) DO NOTHING",
        )
        .bind(&record.id)
        .bind(&leg.id)
        .bind(leg.trunk.as_deref())
        .bind(leg.user.as_deref())
        .bind(&leg.record)
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}
