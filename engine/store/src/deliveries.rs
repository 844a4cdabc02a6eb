//! What webhooks still have to be told.

use serde::{Deserialize, Serialize};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Connection, Row};

use super::{Store, StoreError};

/// Deliveries that may wait for one webhook; later ones are not kept.
pub const WAITING: i64 = 100_000;
/// Dead deliveries kept of one webhook.
pub const DEAD: i64 = 10_000;

/// Something to tell a webhook.
#[derive(Clone, PartialEq)]
pub struct NewDelivery {
    /// The same for the same news, so that nothing is told twice.
    pub id: String,
    /// The webhook's name.
    pub hook: String,
    /// The type of event.
    pub event: String,
    /// What is sent.
    pub body: String,
    /// Where it is sent, where that is not the webhook's own address.
    pub url: Option<String>,
    /// Milliseconds since 1970.
    pub created_ms: i64,
}

/// Where a delivery stands. Those that succeeded are not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryState {
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
pub struct Delivery {
    /// The same for the same news.
    pub id: String,
    /// The webhook's name.
    pub hook: String,
    /// The type of event.
    pub event: String,
    /// What is sent.
    pub body: String,
    /// Where it is sent, where that is not the webhook's own address.
    pub url: Option<String>,
    /// Whether it is tried again.
    pub state: DeliveryState,
    /// Milliseconds since 1970.
    pub created_ms: i64,
    /// From when on it has been tried.
    pub since_ms: i64,
    /// When it is tried again.
    pub next_ms: i64,
    /// How often it was tried.
    pub attempts: i64,
    /// The HTTP status of the last attempt; `None` where there was no answer.
    pub last_status: Option<i64>,
    /// What went wrong with it.
    pub last_error: Option<String>,
}

/// What an attempt came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was taken.
    Done,
    /// It was not.
    Failed {
        /// The HTTP status, where there was an answer.
        status: Option<u16>,
        /// What went wrong.
        error: String,
        /// When it is tried again; `None` gives it up.
        next_ms: Option<i64>,
    },
}

impl Store {
    /// Keeps deliveries until they succeed or are given up. Tells how many found no place.
    pub async fn enqueue(&self, deliveries: &[NewDelivery]) -> Result<u64, StoreError> {
        let mut writer = self.writer.acquire().await?;
        let mut step = writer.begin_with(self.kind.begin()).await?;
        let refused = enqueue(&mut step, deliveries).await?;
        step.commit().await?;
        Ok(refused)
    }

    /// What is due for a webhook, the longest due first.
    pub async fn due(&self, hook: &str, now_ms: i64, most: usize) -> Result<Vec<Delivery>, StoreError> {
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
    pub async fn next_due(&self, hook: &str) -> Result<Option<i64>, StoreError> {
        let row = sqlx::query(
            "SELECT MIN(next_ms) AS next_ms FROM deliveries WHERE hook = $1 AND state = 'pending'",
        )
        .bind(hook)
        .fetch_one(&self.readers)
        .await?;
        Ok(row.try_get("next_ms")?)
    }

    /// What attempts came to.
    pub async fn settle(&self, outcomes: &[(String, Outcome)]) -> Result<(), StoreError> {
        let mut writer = self.writer.acquire().await?;
        let mut step = writer.begin_with(self.kind.begin()).await?;
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
    pub async fn deliveries(
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
    pub async fn retry(&self, id: &str, now_ms: i64) -> Result<Option<Delivery>, StoreError> {
        let row = sqlx::query(
            "UPDATE deliveries SET state = 'pending', since_ms = $2, next_ms = $2, attempts = 0 WHERE id = $1 \
             RETURNING *",
        )
        .bind(id)
        .bind(now_ms)
        .fetch_optional(&self.writer)
        .await?;
        row.as_ref().map(delivery).transpose()
    }

    /// Forgets the oldest dead deliveries of a webhook beyond those that are kept.
    pub async fn bury(&self, hook: &str) -> Result<u64, StoreError> {
        let gone = sqlx::query(
            "DELETE FROM deliveries WHERE hook = $1 AND state = 'dead' AND id NOT IN (SELECT id FROM deliveries \
             WHERE hook = $1 AND state = 'dead' ORDER BY created_ms DESC, id DESC LIMIT $2)",
        )
        .bind(hook)
        .bind(DEAD)
        .execute(&self.writer)
        .await?;
        Ok(gone.rows_affected())
    }
}

/// Inserts what has a place. Tells how many have none.
pub(super) async fn enqueue(
    connection: &mut AnyConnection,
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
            "INSERT INTO deliveries (id, hook, event, body, state, created_ms, since_ms, next_ms, attempts, url) \
             VALUES ($1, $2, $3, $4, 'pending', $5, $5, $5, 0, $6) ON CONFLICT (id) DO NOTHING",
        )
        .bind(&delivery.id)
        .bind(&delivery.hook)
        .bind(&delivery.event)
        .bind(&delivery.body)
        .bind(delivery.created_ms)
        .bind(delivery.url.as_deref())
        .execute(&mut *connection)
        .await?;
    }
    Ok(refused)
}

fn delivery(row: &AnyRow) -> Result<Delivery, StoreError> {
    let state: String = row.try_get("state")?;
    Ok(Delivery {
        id: row.try_get("id")?,
        hook: row.try_get("hook")?,
        event: row.try_get("event")?,
        body: row.try_get("body")?,
        url: row.try_get("url")?,
        state: if state == "dead" { DeliveryState::Dead } else { DeliveryState::Pending },
        created_ms: row.try_get("created_ms")?,
        since_ms: row.try_get("since_ms")?,
        next_ms: row.try_get("next_ms")?,
        attempts: row.try_get("attempts")?,
        last_status: row.try_get("last_status")?,
        last_error: row.try_get("last_error")?,
    })
}
