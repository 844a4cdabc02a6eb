//! What people say of findings.

use sqlx::any::AnyRow;
use sqlx::{Connection, Row};

use crate::insights::{Verdict, revise_call};
use crate::{Kind, Store, StoreError};

/// What a person says of a finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Review {
    /// The scorecard.
    pub card: String,
    /// The finding.
    pub hit: String,
    /// Who says so.
    pub reviewer: String,
    /// `confirm`, `overturn` or `comment`; a comment leaves what the same person said before.
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
    /// What the scorecard of the review says now.
    pub verdict: Verdict,
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

impl Store {
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
             ON CONFLICT (job, n, card, hit, reviewer) DO UPDATE SET \
             verdict = CASE WHEN excluded.verdict = 'comment' THEN qa_reviews.verdict ELSE excluded.verdict END, \
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
        revise_call(&mut step, (job, n, &review.card), &revised.verdict).await?;
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
}
