//! What webhooks still have to be told.

use serde::{Deserialize, Serialize};
use sqlx::sqlite::SqliteRow;
use sqlx::{Connection, Row, SqliteConnection};

use super::{Store, StoreError};

/// Deliveries that may wait for one webhook; later ones are not kept.
const WAITING: i64 = 100_000;
/// Dead deliveries kept of one webhook.
const DEAD: i64 = 10_000;

/// Something to tell a webhook.
#[derive(Clone, PartialEq)]
pub(crate) struct NewDelivery {
    /// The same for the same news, so that nothing is told twice.
    pub(crate) id: String,
    /// The webhook's name.
    pub(crate) hook: String,
    /// The type of event.
    pub(crate) event: String,
    /// What is sent.
    pub(crate) body: String,
    /// Milliseconds since 1970.
    pub(crate) created_ms: i64,
}

/// Where a delivery stands. Those that succeeded are not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum DeliveryState {
    /// It is tried again.
    Pending,
    /// It was given up.
    Dead,
}

impl DeliveryState {
    fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Dead => "dead",
        }
    }
}

/// A delivery in the store.
#[derive(Clone, PartialEq)]
pub(crate) struct Delivery {
    pub(crate) id: String,
    pub(crate) hook: String,
    pub(crate) event: String,
    pub(crate) body: String,
    pub(crate) state: DeliveryState,
    pub(crate) created_ms: i64,
    /// From when on it has been tried.
    pub(crate) since_ms: i64,
    /// When it is tried again.
    pub(crate) next_ms: i64,
    pub(crate) attempts: i64,
    /// The HTTP status of the last attempt; `None` where there was no answer.
    pub(crate) last_status: Option<i64>,
    pub(crate) last_error: Option<String>,
}

/// What an attempt came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It was taken.
    Done,
    /// It was not.
    Failed {
        status: Option<u16>,
        error: String,
        /// When it is tried again; `None` gives it up.
        next_ms: Option<i64>,
    },
}

impl Store {
    /// Keeps deliveries until they succeed or are given up. Tells how many found no place.
    pub(crate) async fn enqueue(&self, deliveries: &[NewDelivery]) -> Result<u64, StoreError> {
        let mut writer = self.writer.lock().await;
        let mut step = writer.begin_with("BEGIN IMMEDIATE").await?;
        let refused = enqueue(&mut step, deliveries).await?;
        step.commit().await?;
        Ok(refused)
    }

    /// What is due for a webhook, the longest due first.
    pub(crate) async fn due(
        &self,
        hook: &str,
        now_ms: i64,
        most: usize,
    ) -> Result<Vec<Delivery>, StoreError> {
        let rows = sqlx::query(
            "SELECT * FROM deliveries WHERE hook = $1 AND state = 'pending' AND next_ms <= $2 \
             ORDER BY next_ms, id LIMIT $3",
        )
        .bind(hook)
        .bind(now_ms)
        .bind(i64::try_from(most).unwrap_or(i64::MAX))
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(delivery).collect()
    }

    /// When the next delivery of a webhook is due.
    pub(crate) async fn next_due(&self, hook: &str) -> Result<Option<i64>, StoreError> {
        let row = sqlx::query(
            "SELECT MIN(next_ms) AS next_ms FROM deliveries WHERE hook = $1 AND state = 'pending'",
        )
        .bind(hook)
        .fetch_one(&self.readers)
        .await?;
        Ok(row.try_get("next_ms")?)
    }

    /// What attempts came to.
    pub(crate) async fn settle(&self, outcomes: &[(String, Outcome)]) -> Result<(), StoreError> {
        let mut writer = self.writer.lock().await;
        let mut step = writer.begin_with("BEGIN IMMEDIATE").await?;
        for (id, outcome) in outcomes {
            match outcome {
                Outcome::Done => {
                    sqlx::query("DELETE FROM deliveries WHERE id = $1").bind(id).execute(&mut *step).await?;
                }
                Outcome::Failed { status, error, next_ms } => {
                    let state = if next_ms.is_some() { DeliveryState::Pending } else { DeliveryState::Dead };
                    sqlx::query(
                        "UPDATE deliveries SET attempts = attempts + 1, state = $2, next_ms = COALESCE($3, next_ms), \
                         last_status = $4, last_error = $5 WHERE id = $1",
                    )
                    .bind(id)
                    .bind(state.name())
                    .bind(*next_ms)
                    .bind(status.map(i64::from))
                    .bind(error)
                    .execute(&mut *step)
                    .await?;
                }
            }
        }
        step.commit().await?;
        Ok(())
    }

    /// Deliveries in a state, the newest first; `before` goes on after a page.
    pub(crate) async fn deliveries(
        &self,
        state: Option<DeliveryState>,
        hook: Option<&str>,
        before: Option<(i64, String)>,
        most: usize,
    ) -> Result<Vec<Delivery>, StoreError> {
        let (at, id) = before.unwrap_or((i64::MAX, String::new()));
        let rows = sqlx::query(
            "SELECT * FROM deliveries WHERE ($1 IS NULL OR state = $1) AND ($2 IS NULL OR hook = $2) \
             AND (created_ms < $3 OR (created_ms = $3 AND id < $4)) ORDER BY created_ms DESC, id DESC LIMIT $5",
        )
        .bind(state.map(DeliveryState::name))
        .bind(hook)
        .bind(at)
        .bind(id)
        .bind(i64::try_from(most).unwrap_or(i64::MAX))
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(delivery).collect()
    }

    /// Tries a delivery again from now on. `None` where there is no such delivery.
    pub(crate) async fn retry(&self, id: &str, now_ms: i64) -> Result<Option<Delivery>, StoreError> {
        let mut writer = self.writer.lock().await;
        let row = sqlx::query(
            "UPDATE deliveries SET state = 'pending', since_ms = $2, next_ms = $2, attempts = 0 WHERE id = $1 \
             RETURNING *",
        )
        .bind(id)
        .bind(now_ms)
        .fetch_optional(&mut *writer)
        .await?;
        row.as_ref().map(delivery).transpose()
    }

    /// Forgets the oldest dead deliveries of a webhook beyond those that are kept.
    pub(crate) async fn bury(&self, hook: &str) -> Result<u64, StoreError> {
        let mut writer = self.writer.lock().await;
        let gone = sqlx::query(
            "DELETE FROM deliveries WHERE hook = $1 AND state = 'dead' AND id NOT IN (SELECT id FROM deliveries \
             WHERE hook = $1 AND state = 'dead' ORDER BY created_ms DESC, id DESC LIMIT $2)",
        )
        .bind(hook)
        .bind(DEAD)
        .execute(&mut *writer)
        .await?;
        Ok(gone.rows_affected())
    }
}

/// Inserts what has a place. Tells how many have none.
pub(super) async fn enqueue(
    connection: &mut SqliteConnection,
    deliveries: &[NewDelivery],
) -> Result<u64, StoreError> {
    let mut waiting: Vec<(&str, i64)> = Vec::new();
    let mut refused = 0;
    for delivery in deliveries {
        let place = match waiting.iter().position(|(hook, _)| *hook == delivery.hook) {
            Some(place) => place,
            None => {
                let row =
                    sqlx::query("SELECT COUNT(*) AS n FROM deliveries WHERE hook = $1 AND state = 'pending'")
                        .bind(&delivery.hook)
                        .fetch_one(&mut *connection)
                        .await?;
                waiting.push((&delivery.hook, row.try_get("n")?));
                waiting.len() - 1
            }
        };
        if waiting[place].1 >= WAITING {
            refused += 1;
            continue;
        }
        waiting[place].1 += 1;
        sqlx::query(
            "INSERT INTO deliveries (id, hook, event, body, state, created_ms, since_ms, next_ms, attempts) \
             VALUES ($1, $2, $3, $4, 'pending', $5, $5, $5, 0) ON CONFLICT (id) DO NOTHING",
        )
        .bind(&delivery.id)
        .bind(&delivery.hook)
        .bind(&delivery.event)
        .bind(&delivery.body)
        .bind(delivery.created_ms)
        .execute(&mut *connection)
        .await?;
    }
    Ok(refused)
}

fn delivery(row: &SqliteRow) -> Result<Delivery, StoreError> {
    let state: &str = row.try_get("state")?;
    Ok(Delivery {
        id: row.try_get("id")?,
        hook: row.try_get("hook")?,
        event: row.try_get("event")?,
        body: row.try_get("body")?,
        state: if state == "dead" { DeliveryState::Dead } else { DeliveryState::Pending },
        created_ms: row.try_get("created_ms")?,
        since_ms: row.try_get("since_ms")?,
        next_ms: row.try_get("next_ms")?,
        attempts: row.try_get("attempts")?,
        last_status: row.try_get("last_status")?,
        last_error: row.try_get("last_error")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn news(id: &str, created_ms: i64) -> NewDelivery {
        NewDelivery { id: id.into(), hook: "crm".into(), event: "cdr".into(), body: "{}".into(), created_ms }
    }

    async fn opened() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().expect("a folder");
        let store = Store::open(&dir.path().join("antiphon.db")).await.expect("opened");
        (dir, store)
    }

    fn failed(next_ms: Option<i64>) -> Outcome {
        Outcome::Failed { status: Some(500), error: "the answer was 500".into(), next_ms }
    }

    #[tokio::test]
    async fn deliveries_outlive_the_process_and_are_told_once() {
        let (dir, store) = opened().await;
        assert_eq!(store.enqueue(&[news("a", 10), news("b", 20), news("a", 30)]).await.expect("kept"), 0);
        store.close().await;
        let store = Store::open(&dir.path().join("antiphon.db")).await.expect("opened again");
        let due = store.due("crm", 15, 10).await.expect("asked");
        assert_eq!(due.iter().map(|d| d.id.as_str()).collect::<Vec<_>>(), ["a"]);
        assert_eq!(store.due("other", 99, 10).await.expect("asked").len(), 0);
        store.settle(&[("a".into(), Outcome::Done)]).await.expect("settled");
        assert_eq!(store.next_due("crm").await.expect("asked"), Some(20));
        store.settle(&[("b".into(), failed(Some(500)))]).await.expect("settled");
        assert_eq!(store.due("crm", 499, 10).await.expect("asked").len(), 0);
        let due = store.due("crm", 500, 10).await.expect("asked");
        assert_eq!((due[0].attempts, due[0].last_status), (1, Some(500)));
    }

    #[tokio::test]
    async fn a_delivery_given_up_is_listed_and_can_be_tried_again() {
        let (_dir, store) = opened().await;
        store.enqueue(&[news("a", 10), news("b", 20)]).await.expect("kept");
        store.settle(&[("a".into(), failed(None))]).await.expect("settled");
        let list = async |state| store.deliveries(state, None, None, 10).await.expect("listed");
        let ids = |list: Vec<Delivery>| list.into_iter().map(|d| d.id).collect::<Vec<_>>();
        assert_eq!(ids(list(Some(DeliveryState::Dead)).await), ["a"]);
        assert_eq!(ids(list(None).await), ["b", "a"]);
        let page = store.deliveries(None, Some("crm"), Some((20, "b".into())), 10).await.expect("listed");
        assert_eq!(ids(page), ["a"]);
        let again = store.retry("a", 77).await.expect("asked").expect("there");
        assert_eq!((again.state, again.next_ms, again.attempts), (DeliveryState::Pending, 77, 0));
        assert!(store.retry("none", 77).await.expect("asked").is_none());
        assert_eq!(list(Some(DeliveryState::Dead)).await.len(), 0);
    }

    #[tokio::test]
    async fn a_webhook_that_never_answers_does_not_fill_the_disk() {
        let (_dir, store) = opened().await;
        let flood: Vec<NewDelivery> = (0..WAITING + 5).map(|n| news(&n.to_string(), n)).collect();
        assert_eq!(store.enqueue(&flood).await.expect("kept"), 5);
        assert_eq!(store.enqueue(&[news("late", 0)]).await.expect("kept"), 1);
        let dead: Vec<_> = (0..DEAD + 3).map(|n| (n.to_string(), failed(None))).collect();
        store.settle(&dead).await.expect("settled");
        assert_eq!(store.bury("crm").await.expect("done"), 3);
        assert!(store.retry("2", 0).await.expect("asked").is_none(), "the oldest are gone");
        assert!(store.retry("3", 0).await.expect("asked").is_some());
    }
}
