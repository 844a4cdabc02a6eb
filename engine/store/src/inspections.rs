//! Inspection jobs: recordings that wait to be inspected, are being inspected, have been.
//!
//! A file is worked on by whoever claims it, for as long as the claim is renewed; what comes of it is kept in one
//! transaction with its state, and only from the one who holds the claim. So each file is done once, whoever dies when.

mod files;
mod jobs;
mod reviews;

pub use files::{Claim, Done, FileFilter, FileState, InspectionFile, StoredHit, Taken};
pub use jobs::{Counts, InspectionJob, JobState, NewFile, NewJob, Offered};
pub use reviews::{Noted, Review, Revised};

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

/// Numbers of rows are far below what a column holds.
fn number(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}
