//! Call records in the store.

use serde_json::Value;
use sqlx::{Connection, Row, SqliteConnection};

use super::deliveries::{NewDelivery, enqueue};
use super::{Store, StoreError};
use crate::cdr::{CallRecord, Direction};

/// Which records are asked for. Times are milliseconds since 1970.
#[derive(Clone, Debug, Default)]
pub(crate) struct CallFilter {
    /// Ended then or later.
    pub(crate) since_ms: Option<i64>,
    /// Ended before.
    pub(crate) until_ms: Option<i64>,
    pub(crate) direction: Option<Direction>,
    /// A leg of this trunk.
    pub(crate) trunk: Option<String>,
    /// A leg of this user.
    pub(crate) user: Option<String>,
    pub(crate) from: Option<String>,
    pub(crate) to: Option<String>,
    pub(crate) cause: Option<String>,
    pub(crate) answered: Option<bool>,
    /// Only those before this one: when it ended, and its id.
    pub(crate) before: Option<(i64, String)>,
}

/// A page of records, the one that ended last first.
#[derive(Debug)]
pub(crate) struct CallPage {
    pub(crate) records: Vec<Value>,
    /// What [`CallFilter::before`] is for the next page; `None` on the last.
    pub(crate) next: Option<(i64, String)>,
}

impl Store {
    /// How much of a file of the journal has been taken in, in bytes.
    pub(crate) async fn taken(&self, file: &str) -> Result<u64, StoreError> {
        let query = sqlx::query("SELECT taken FROM journal WHERE file = $1").bind(file);
        let row = query.fetch_optional(&self.readers).await?;
        let taken: i64 = row.map_or(Ok(0), |row| row.try_get("taken"))?;
        Ok(u64::try_from(taken).unwrap_or(0))
    }

    /// Takes in records up to `end` of a file of the journal, and what webhooks are to be told of them: all of it or
    /// nothing. A record that is there already stays as it is. Tells how many deliveries found no place.
    pub(crate) async fn take(
        &self,
        file: &str,
        end: u64,
        records: &[CallRecord],
        deliveries: &[NewDelivery],
    ) -> Result<u64, StoreError> {
        let mut writer = self.writer.lock().await;
        let mut step = writer.begin_with("BEGIN IMMEDIATE").await?;
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
    pub(crate) async fn calls(&self, filter: &CallFilter, limit: usize) -> Result<CallPage, StoreError> {
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
        .bind(filter.direction.map(direction))
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
    pub(crate) async fn call(&self, id: &str) -> Result<Option<Value>, StoreError> {
        let query = sqlx::query("SELECT record FROM call_records WHERE id = $1").bind(id);
        let Some(row) = query.fetch_optional(&self.readers).await? else { return Ok(None) };
        Ok(Some(serde_json::from_str(row.try_get("record")?)?))
    }

    /// Forgets up to `most` records of calls that ended before. Tells how many those were.
    pub(crate) async fn forget(&self, before_ms: i64, most: usize) -> Result<u64, StoreError> {
        let mut writer = self.writer.lock().await;
        let mut step = writer.begin_with("BEGIN IMMEDIATE").await?;
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

async fn insert(connection: &mut SqliteConnection, record: &CallRecord) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO call_records (id, offered_ms, ended_ms, direction, caller, called, cause, answered, duration_ms, \
         record) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (id) DO NOTHING",
    )
    .bind(&record.id)
    .bind(record.offered_at.as_millisecond())
    .bind(record.ended_at.as_millisecond())
    .bind(direction(record.direction))
    .bind(&record.from)
    .bind(&record.to)
    .bind(&record.cause)
    .bind(record.answered_at.is_some())
    .bind(i64::try_from(record.duration_ms).unwrap_or(i64::MAX))
    .bind(serde_json::to_string(record)?)
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
        .bind(serde_json::to_string(leg)?)
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

fn direction(direction: Direction) -> &'static str {
    match direction {
        Direction::Inbound => "inbound",
        Direction::Outbound => "outbound",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cdr::example;

    async fn filled(count: usize) -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().expect("a folder");
        let store = Store::open(&dir.path().join("antiphon.db")).await.expect("opened");
        let records: Vec<CallRecord> = (0..count)
            // Two end in the same millisecond each.
            .map(|n| example(&format!("{n:032x}"), &format!("2026-11-22T01:{:02}:00Z", n / 2)))
            .collect();
        store.take("2026-11-22.jsonl", 77, &records, &[]).await.expect("taken");
        (dir, store)
    }

    fn ids(page: &CallPage) -> Vec<usize> {
        let id = |record: &Value| record["id"].as_str().map(|id| usize::from_str_radix(id, 16).ok());
        page.records.iter().map(|record| id(record).flatten().expect("an id")).collect()
    }

    #[tokio::test]
    async fn pages_show_every_record_once_the_last_first() {
        let (_dir, store) = filled(25).await;
        let mut filter = CallFilter::default();
        let mut seen = Vec::new();
        loop {
            let page = store.calls(&filter, 7).await.expect("a page");
            seen.extend(ids(&page));
            match page.next {
                Some(next) => filter.before = Some(next),
                None => break,
            }
        }
        assert_eq!(seen, (0..25).rev().collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn filters_keep_what_fits() {
        let (_dir, store) = filled(10).await;
        let count = async |filter: CallFilter| store.calls(&filter, 100).await.expect("a page").records.len();
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(count(CallFilter { trunk: text("carrier"), ..CallFilter::default() }).await, 10);
        assert_eq!(count(CallFilter { trunk: text("other"), ..CallFilter::default() }).await, 0);
        assert_eq!(count(CallFilter { user: text("1001"), ..CallFilter::default() }).await, 10, "of a leg");
        assert_eq!(count(CallFilter { to: text("5550100"), ..CallFilter::default() }).await, 10);
        assert_eq!(count(CallFilter { from: text("5550100"), ..CallFilter::default() }).await, 0);
        assert_eq!(count(CallFilter { answered: Some(false), ..CallFilter::default() }).await, 0);
        let outbound = Some(Direction::Outbound);
        assert_eq!(count(CallFilter { direction: outbound, ..CallFilter::default() }).await, 0);
        let at = |text: &str| Some(text.parse::<jiff::Timestamp>().expect("a time").as_millisecond());
        // Each ends 61.2 s after it was offered.
        let (since_ms, until_ms) = (at("2026-11-22T01:02:01.200Z"), at("2026-11-22T01:04:01.200Z"));
        assert_eq!(count(CallFilter { since_ms, until_ms, ..CallFilter::default() }).await, 4);
    }

    #[tokio::test]
    async fn a_record_taken_in_twice_is_there_once() {
        let (_dir, store) = filled(3).await;
        let again = example(&format!("{:032x}", 1), "2026-11-22T05:00:00Z");
        store.take("2026-11-22.jsonl", 99, &[again], &[]).await.expect("taken");
        let page = store.calls(&CallFilter::default(), 10).await.expect("a page");
        assert_eq!(ids(&page), [2, 1, 0]);
        assert_eq!(store.taken("2026-11-22.jsonl").await.expect("asked"), 99);
        let one = store.call(&format!("{:032x}", 1)).await.expect("asked").expect("there");
        assert_eq!(one["offered_at"], "2026-11-22T01:00:00.000Z", "the first stays");
        assert!(store.call("none").await.expect("asked").is_none());
    }

    #[tokio::test]
    async fn old_records_are_forgotten_a_few_at_a_time() {
        let (_dir, store) = filled(10).await;
        let before = "2026-11-22T01:04:00Z".parse::<jiff::Timestamp>().expect("a time").as_millisecond();
        assert_eq!(store.forget(before, 4).await.expect("done"), 4);
        assert_eq!(store.forget(before, 4).await.expect("done"), 2, "those offered before 01:02:58.8");
        assert_eq!(store.forget(before, 4).await.expect("done"), 0);
        assert_eq!(ids(&store.calls(&CallFilter::default(), 10).await.expect("a page")), [9, 8, 7, 6]);
        let legs = sqlx::query("SELECT COUNT(*) AS n FROM leg_records").fetch_one(&store.readers).await;
        assert_eq!(legs.expect("counted").get::<i64, _>("n"), 8);
    }
}
