//! Takes jobs in and works them off.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use antiphon_engine_measure::{Conversation, Role};
use antiphon_engine_qa::Scorecard;
use antiphon_engine_store::{Claim, Counts, Done, NewFile, NewJob, Offered, Store, StoreError, Taken};
use antiphon_models_pool::{Ask, Class};
use antiphon_models_speech::Hints;
use anyhow::Context;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::{Notify, Semaphore, mpsc, watch};
use tokio::task::JoinHandle;

use super::hear::{HearError, Heard, Subject, hear};
use super::insight::{About, judged_calls, keep_live};
use super::job::{self, Facts, JobRequest, Spec, cards, language};
use super::kept::KeptWords;
use super::result::{HeardBy, judge};
use super::source::{self, Source, SourceError};
use super::uploads::{fingerprint, folder, upload_name};
use crate::cdr::Records;
use crate::config::QaSection;
use crate::shared::Shared;

/// How long a claim is held without being renewed.
const LEASE: Duration = Duration::from_secs(60);
/// How often claims are renewed, and those looked for that have run out.
const RENEW: Duration = Duration::from_secs(15);
/// A look for work without being told of any.
const ROUND: Duration = Duration::from_secs(5);
/// Where the store fails, until it is tried again.
const PAUSE: Duration = Duration::from_secs(1);
/// Attempts to fetch a recording, and the wait after the first; doubled for each one after.
const FETCHES: u32 = 4;
const FETCH_PAUSE: Duration = Duration::from_millis(500);
/// Between rounds in which old jobs are forgotten.
const CLEANING: Duration = Duration::from_secs(3_600);
/// Live calls that have ended and wait to be kept.
const LIVE_CALLS: usize = 4_096;
/// Questions about many calls that are answered at once.
const QUESTIONS: usize = 2;
/// Jobs forgotten at once.
const BATCH: usize = 100;
/// Channels of our own recordings.
const CHANNELS: usize = 2;
/// For files under way when the server stops; then they are given back.
const FAREWELL: Duration = Duration::from_secs(2);

/// Why a job is not taken in.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OfferError {
    /// It asks for something that cannot be.
    #[error("{0}")]
    Invalid(String),
    /// It asks for something that the configuration forbids.
    #[error("{0}")]
    Forbidden(String),
    /// Its key belongs to another job.
    #[error("the idempotency key belongs to the job {0}, which asks for something else")]
    Key(String),
    /// The owner has too much waiting.
    #[error("{waiting} files wait already, and {most} may (qa.waiting)")]
    Full {
        /// Files that wait.
        waiting: i64,
        /// Files that may.
        most: usize,
    },
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

#[derive(Debug, Default)]
struct Figures {
    done: AtomicU64,
    failed: AtomicU64,
    running: AtomicU64,
    heard_ms: AtomicU64,
}

/// How many files went which way since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Inspected {
    pub(crate) done: u64,
    pub(crate) failed: u64,
    /// At this moment.
    pub(crate) running: u64,
    /// Of sound, of those that are done.
    pub(crate) seconds: f64,
}

/// Takes jobs in and works them off.
pub(crate) struct Inspection {
    shared: Arc<Shared>,
    records: Arc<Records>,
    /// Names this process to the store.
    holder: String,
    /// A job came in, or files wait again.
    work: Notify,
    /// Something came of a file.
    news: watch::Sender<u64>,
    stop: watch::Sender<bool>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
    figures: Figures,
    /// One permit a question about many calls.
    questions: Semaphore,
}

impl Inspection {
    /// Starts the workers; files that an earlier run of this server had begun are begun again.
    pub(crate) async fn start(shared: &Arc<Shared>, records: &Arc<Records>) -> anyhow::Result<Arc<Self>> {
        let config = &shared.config;
        std::fs::create_dir_all(folder(config)).context("qa.folder: cannot make the folder")?;
        let inspection = Arc::new(Self {
            shared: Arc::clone(shared),
            records: Arc::clone(records),
            holder: format!("{:016x}", rand::random::<u64>()),
            work: Notify::new(),
            news: watch::channel(0).0,
            stop: watch::channel(false).0,
            tasks: Mutex::default(),
            figures: Figures::default(),
            questions: Semaphore::new(QUESTIONS),
        });
        // A file's database has one server: whoever held something there is gone.
        let gone = if config.store.url.is_some() { now() } else { i64::MAX };
        inspection.store().reclaim(gone).await.context("the inspection's jobs")?;
        let mut tasks = vec![
            tokio::spawn(Arc::clone(&inspection).keep_claims()),
            tokio::spawn(Arc::clone(&inspection).clean()),
        ];
        for _ in 0..config.qa.workers {
            tasks.push(tokio::spawn(Arc::clone(&inspection).work()));
        }
        let (send, judged) = mpsc::channel(LIVE_CALLS);
        shared.calls.keep_judgements(send);
        let store = Arc::clone(inspection.store());
        tasks.push(tokio::spawn(keep_live(store, judged, inspection.stop.subscribe())));
        *inspection.tasks.lock().unwrap_or_else(PoisonError::into_inner) = tasks;
        Ok(inspection)
    }

    pub(crate) fn store(&self) -> &Arc<Store> {
        self.records.store()
    }

    pub(crate) fn config(&self) -> &QaSection {
        &self.shared.config.qa
    }

    pub(crate) fn figures(&self) -> Inspected {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let Figures { done, failed, running, heard_ms } = &self.figures;
        Inspected {
            done: read(done),
            failed: read(failed),
            running: read(running),
            seconds: read(heard_ms) as f64 / 1_000.0,
        }
    }

    /// For whoever looks at many calls at once.
    pub(crate) fn questions(&self) -> &Semaphore {
        &self.questions
    }

    /// Counts up whenever something came of a file.
    pub(crate) fn news(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    /// Where a job's recordings are kept. The id is ours, of hexadecimal digits.
    pub(crate) fn job_folder(&self, id: &str) -> PathBuf {
        folder(&self.shared.config).join(id)
    }

    /// Takes a job in under the identifier `id`, whose folder holds what was uploaded. Tells the job's identifier, another
    /// one where it was there before.
    ///
    /// # Errors
    /// [`OfferError`].
    pub(crate) async fn offer(
        &self,
        id: &str,
        owner: &str,
        tenant: &str,
        key: Option<String>,
        request: &JobRequest,
    ) -> Result<String, OfferError> {
        request.check().map_err(OfferError::Invalid)?;
        let config = self.config();
        if let Some(url) = &request.callback {
            source::allowed_url(url, &config.callback_hosts, "qa.callback_hosts")
                .map_err(|error| OfferError::Forbidden(format!("callback: {error}")))?;
        }
        let files = request.all_files().map_err(OfferError::Invalid)?;
        let spec = Spec {
            tenant: tenant.to_owned(),
            language: request.language.clone(),
            hints: request.hints.clone(),
            channels: request.channels.clone(),
            words: request.words,
            scorecards: cards(&request.scorecards, config).map_err(OfferError::Invalid)?,
            callback: request.callback.clone(),
        };
        let mut stored = Vec::with_capacity(files.len());
        for (n, (file, facts)) in files.iter().enumerate() {
            let place = |error: SourceError| format!("files[{n}]: {error}");
            self.check_source(id, owner, &file.source).await.map_err(|error| match error {
                SourceError::Missing(_) => OfferError::Invalid(place(error)),
                error => OfferError::Forbidden(place(error)),
            })?;
            stored.push(NewFile { name: file.title(), source: text(&file.source), facts: text(facts) });
        }
        let job = NewJob {
            id: id.to_owned(),
            owner: owner.to_owned(),
            fingerprint: {
                let (folder, spec, files) = (self.job_folder(id), text(&spec), stored.clone());
                // Uploads may be of any size, and are read once more for it.
                let hashing = tokio::task::spawn_blocking(move || fingerprint(&folder, &spec, &files));
                hashing.await.map_err(|_| OfferError::Invalid("the recordings cannot be read".to_owned()))?
            },
            key,
            priority: request.priority,
            created_ms: now(),
            spec: text(&spec),
            files: stored,
        };
        let most = config.waiting;
        match self.store().offer(&job, i64::try_from(most).unwrap_or(i64::MAX)).await? {
            Offered::Created => {
                self.work.notify_waiters();
                Ok(job.id)
            }
            Offered::Repeated(known) => Ok(known),
            Offered::Taken(other) => Err(OfferError::Key(other)),
            Offered::Full { waiting } => Err(OfferError::Full { waiting, most }),
        }
    }

    /// Whether a source may be read. What it holds is looked at when its turn comes.
    async fn check_source(&self, job: &str, owner: &str, source: &Source) -> Result<(), SourceError> {
        match source {
            Source::Path(path) => source::allowed(path, self.config()).map(drop),
            Source::Upload(name) => self.upload(job, name).map(drop),
            Source::Url(url) => source::allowed_url(url, &self.config().hosts, "qa.hosts"),
            Source::S3(name) => source::object_url(name, self.config()).map(drop),
            Source::Recording(call) => self.recording(call).await.map(drop),
            Source::Sides { customer, agent } => {
                Box::pin(self.check_source(job, owner, customer)).await?;
                Box::pin(self.check_source(job, owner, agent)).await
            }
            Source::Result { job, .. } => {
                let known = self.store().job(job).await.ok().flatten();
                let own = known.is_some_and(|known| owner.is_empty() || known.owner == owner);
                own.then_some(()).ok_or_else(|| SourceError::Missing(format!("there is no job {job}")))
            }
        }
    }

    fn upload(&self, job: &str, name: &str) -> Result<PathBuf, SourceError> {
        let path = self.job_folder(job).join(upload_name(name));
        path.is_file().then_some(path).ok_or_else(|| {
            SourceError::Missing(format!("no file of the name {} was uploaded", name.escape_debug()))
        })
    }

    pub(crate) async fn recording(&self, call: &str) -> Result<PathBuf, SourceError> {
        let missing = |what: &str| SourceError::Missing(format!("the call {}: {what}", call.escape_debug()));
        let record = self.store().call(call).await.map_err(|error| SourceError::Fetch(error.to_string()))?;
        let record = record.ok_or_else(|| missing("there is no record of it"))?;
        let path = record["recording"].as_str().ok_or_else(|| missing("it was not recorded"))?;
        Ok(PathBuf::from(path))
    }

    /// Cancels what is left of a job.
    pub(crate) async fn cancel(&self, id: &str) -> Result<bool, StoreError> {
        let cancelled = self.store().cancel(id, now()).await?;
        self.told();
        Ok(cancelled)
    }

    /// Lets the files of a job wait again that failed or were cancelled.
    pub(crate) async fn retry(&self, id: &str) -> Result<u64, StoreError> {
        let again = self.store().retry_files(id).await?;
        self.work.notify_waiters();
        Ok(again)
    }

    /// Forgets a job that is over, with its recordings.
    pub(crate) async fn forget(&self, id: &str) -> Result<bool, StoreError> {
        let gone = self.store().forget_job(id).await?;
        if gone {
            // What is left behind is removed with the next job of this name: there is none.
            let _ = std::fs::remove_dir_all(self.job_folder(id));
        }
        Ok(gone)
    }

    /// Lets the workers end: files under way are given back.
    pub(crate) async fn shutdown(&self) {
        self.stop.send_replace(true);
        let tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        let deadline = tokio::time::Instant::now() + FAREWELL;
        for mut task in tasks {
            if tokio::time::timeout_at(deadline, &mut task).await.is_err() {
                task.abort();
            }
        }
        // At once, not after the lease; on a file's database the next start does the same.
        let _ = self.store().renew(&self.holder, 0).await;
        let _ = self.store().reclaim(1).await;
    }

    fn told(&self) {
        self.news.send_modify(|count| *count += 1);
    }

    /// Renews our claims, and lets files wait again whose holders are gone.
    async fn keep_claims(self: Arc<Self>) {
        let mut stopping = self.stop.subscribe();
        loop {
            tokio::select! {
                () = tokio::time::sleep(RENEW) => {}
                () = stopped(&mut stopping) => return,
            }
            let kept = self.store().renew(&self.holder, now() + millis(LEASE)).await;
            let back = self.store().reclaim(now()).await;
            match kept.and(back) {
                Ok(0) => {}
                Ok(count) => {
                    tracing::warn!(count, "recordings are inspected again: whoever had begun them is gone");
                    self.work.notify_waiters();
                }
                Err(error) => tracing::error!(%error, "claims of recordings could not be renewed"),
            }
        }
    }

    /// Forgets jobs that are old enough.
    async fn clean(self: Arc<Self>) {
        let keep = self.config().keep.0;
        let mut stopping = self.stop.subscribe();
        while !keep.is_zero() {
            let old = self.store().jobs_over(now() - millis(keep), BATCH).await.unwrap_or_default();
            for id in &old {
                if let Err(error) = self.forget(id).await {
                    tracing::warn!(%error, job = id, "an old inspection job could not be forgotten");
                }
            }
            if let Err(error) = self.store().forget_live(now() - millis(keep)).await {
                tracing::warn!(%error, "what old calls were judged by could not be forgotten");
            }
            let pause = if old.len() == BATCH { PAUSE } else { CLEANING };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = stopped(&mut stopping) => return,
            }
        }
    }

    /// One worker.
    async fn work(self: Arc<Self>) {
        let mut stopping = self.stop.subscribe();
        while !*stopping.borrow() {
            // Asked for before the store is: work between the two is not missed.
            let work = self.work.notified();
            let claim = match self.store().claim(&self.holder, now(), now() + millis(LEASE)).await {
                Ok(Some(claim)) => claim,
                nothing => {
                    let wait = match nothing {
                        Err(error) => {
                            tracing::error!(%error, "what is to be inspected cannot be read");
                            PAUSE
                        }
                        Ok(_) => ROUND,
                    };
                    tokio::select! {
                        () = work => {}
                        () = tokio::time::sleep(wait) => {}
                        () = stopped(&mut stopping) => return,
                    }
                    continue;
                }
            };
            self.figures.running.fetch_add(1, Ordering::Relaxed);
            let this = Arc::clone(&self);
            let claimed = claim.clone();
            // In a task of its own: a file that makes it panic fails alone.
            let mut task = tokio::spawn(async move { this.inspect(&claimed).await });
            let done = tokio::select! {
                done = &mut task => done,
                () = stopped(&mut stopping) => {
                    task.abort();
                    let _ = self.store().release(&claim).await;
                    self.figures.running.fetch_sub(1, Ordering::Relaxed);
                    return;
                }
            };
            let done = done.unwrap_or_else(|_| Done::Failed {
                code: "internal".into(),
                detail: "its inspection broke down; the server's log says more".into(),
            });
            self.keep(&claim, &done).await;
            self.figures.running.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Keeps what came of a file; tries until the store takes it.
    async fn keep(&self, claim: &Claim, done: &Done) {
        let callback = serde_json::from_str::<Spec>(&claim.spec).ok().and_then(|spec| spec.callback);
        let tell = |counts: Option<&Counts>| {
            let mut news = self.records.news_of(
                &format!("qa-{}-{}", claim.job, claim.n),
                "qa.file",
                &news_of_file(claim, done),
                None,
            );
            if let Some(counts) = counts {
                let data = json!({ "job": claim.job, "state": "finished", "files": counts });
                // A job that was taken up again ends again.
                let id = format!("qa-{}-{}", claim.job, now());
                news.extend(self.records.news_of(&id, "qa.finished", &data, callback.as_deref()));
            }
            news
        };
        let mut stopping = self.stop.subscribe();
        loop {
            match self.store().finish(claim, done, now(), tell).await {
                Ok(Taken::Lost) => break,
                Ok(Taken::Kept | Taken::Last(_)) => {
                    match done {
                        Done::Result { audio_ms, .. } => {
                            self.figures.done.fetch_add(1, Ordering::Relaxed);
                            let heard = u64::try_from(*audio_ms).unwrap_or(0);
                            self.figures.heard_ms.fetch_add(heard, Ordering::Relaxed);
                        }
                        Done::Failed { code, .. } => {
                            tracing::info!(
                                job = claim.job,
                                file = claim.n,
                                code,
                                "a recording could not be inspected"
                            );
                            self.figures.failed.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                    self.records.wake();
                    break;
                }
                Err(error) => {
                    tracing::error!(%error, job = claim.job, file = claim.n, "a result could not be kept");
                    tokio::select! {
                        () = tokio::time::sleep(PAUSE) => {}
                        () = stopped(&mut stopping) => break,
                    }
                }
            }
        }
        self.told();
    }

    /// Hears and judges one file.
    async fn inspect(&self, claim: &Claim) -> Done {
        let failed = |code: &str, detail: String| Done::Failed { code: code.to_owned(), detail };
        if claim.attempts > i64::try_from(self.config().attempts).unwrap_or(i64::MAX) {
            let times = claim.attempts - 1;
            return failed("internal", format!("it was begun {times} times and never came to an end"));
        }
        match self.result_of(claim).await {
            Ok(done) => done,
            Err(Failure::Source(error)) => failed(error.code(), error.to_string()),
            Err(Failure::Hear(error)) => failed(error.code(), error.to_string()),
            Err(Failure::Internal(what)) => failed("internal", what),
        }
    }

    async fn result_of(&self, claim: &Claim) -> Result<Done, Failure> {
        let broken = |error: serde_json::Error| Failure::Internal(format!("the store holds {error}"));
        let spec: Spec = serde_json::from_str(&claim.spec).map_err(broken)?;
        let facts: Facts = serde_json::from_str(&claim.facts).map_err(broken)?;
        let source: Source = serde_json::from_str(&claim.source).map_err(broken)?;
        let cards = spec.scorecards.iter().map(|card| card.read().map_err(Failure::Internal));
        let cards = cards.collect::<Result<Vec<Scorecard>, _>>()?;
        let Words { conversation, engine, live, warnings, sound } = match &source {
            Source::Result { job, n } => {
                let missing = || SourceError::Missing(format!("the job {job} has no result of its file {n}"));
                let stored = self.store().result(job, *n).await;
                let stored = stored.map_err(|error| SourceError::Fetch(error.to_string()))?;
                let (heard, result) = stored.ok_or_else(missing)?;
                let conversation: Conversation = serde_json::from_str(&heard).map_err(broken)?;
                let result: super::FileResult = serde_json::from_str(&result).map_err(broken)?;
                let file = self.store().file(job, *n).await.ok().flatten();
                Words {
                    conversation,
                    engine: result.engine,
                    live: result.live,
                    warnings: result.warnings,
                    sound: file.and_then(|file| file.sound),
                }
            }
            source => {
                let files = self.files(claim, source).await?;
                let sound = Some(text(&files));
                let mut warnings = Vec::new();
                match self.heard_live(&spec, &facts, source, &files, &mut warnings).await? {
                    Some(KeptWords { conversation, engine, .. }) => {
                        Words { conversation, engine, live: true, warnings, sound }
                    }
                    None => {
                        let heard = self.hear(&spec, &facts, claim, files).await?;
                        warnings.extend(heard.warnings);
                        let engine = self.shared.recognizers.first_of(&spec.tenant);
                        let engine = engine.map_or("none", |engine| engine.name());
                        let (conversation, engine) = (heard.conversation, engine.to_owned());
                        Words { conversation, engine, live: false, warnings, sound }
                    }
                }
            }
        };
        let about = self.about(claim, &spec, &facts, &source).await;
        // Judging takes milliseconds of computing, which no call's task should wait for.
        let judging = tokio::task::spawn_blocking(move || {
            let heard = HeardBy { engine: &engine, live };
            let result = judge(&conversation, &cards, heard, warnings)?;
            let calls = judged_calls(&conversation, &result.judgements, &about);
            let ((score, passed), hits) = (result.score(), result.hits());
            Ok::<_, serde_json::Error>(Done::Result {
                audio_ms: i64::try_from(conversation.heard.millis()).unwrap_or(i64::MAX),
                sound,
                score,
                passed,
                conversation: serde_json::to_string(&conversation)?,
                result: serde_json::to_string(&result)?,
                hits,
                calls,
            })
        });
        let judged = judging.await.map_err(|_| Failure::Internal("its judging broke down".into()))?;
        judged.map_err(|error| Failure::Internal(error.to_string()))
    }

    /// What is known of a file's call: by which name it is the same call wherever it is judged, and when it took place.
    async fn about(&self, claim: &Claim, spec: &Spec, facts: &Facts, source: &Source) -> About {
        let told = |name: &str| facts.metadata.get(name).map(|value| value.trim().to_owned());
        let mut at_ms =
            told("started_at").and_then(|at| at.parse::<Timestamp>().ok()).map(Timestamp::as_millisecond);
        let mut call = source.call();
        match source {
            Source::Recording(id) if at_ms.is_none() => {
                let record = self.store().call(id).await.ok().flatten();
                let offered =
                    record.and_then(|record| record["offered_at"].as_str()?.parse::<Timestamp>().ok());
                at_ms = offered.map(Timestamp::as_millisecond);
            }
            Source::Result { job, n } => {
                // What is judged again is the call that it was.
                if let Ok(Some((known, at))) = self.store().call_of_file(job, *n).await {
                    (call, at_ms) = (known, at_ms.or(Some(at)));
                }
            }
            _ => {}
        }
        About {
            call: told("call").filter(|call| !call.is_empty()).unwrap_or(call),
            tenant: spec.tenant.clone(),
            name: claim.name.clone(),
            at_ms,
        }
    }

    /// The words of one of our own calls, as they were heard while it went on; `None` where they were not kept, or other
    /// ones are wanted.
    async fn heard_live(
        &self,
        spec: &Spec,
        facts: &Facts,
        source: &Source,
        files: &[PathBuf],
        warnings: &mut Vec<String>,
    ) -> Result<Option<KeptWords>, Failure> {
        let (Source::Recording(_), [recording], job::Words::Live) = (source, files, spec.words) else {
            return Ok(None);
        };
        let recording = recording.clone();
        let reading = tokio::task::spawn_blocking(move || KeptWords::read(&recording)).await;
        let mut kept = match reading.map_err(|_| Failure::Internal("its reading broke down".into()))? {
            Ok(Some(kept)) => kept,
            Ok(None) => return Ok(None),
            Err(error) => {
                warnings
                    .push(format!("recognised again, since the words of the call cannot be read: {error}"));
                return Ok(None);
            }
        };
        let conversation = &mut kept.conversation;
        let tag = facts.language.as_ref().or(spec.language.as_ref());
        if let Some(tag) = tag {
            let wanted = language(tag).map_err(Failure::Internal)?;
            if wanted.primary() != conversation.language.primary() {
                return Ok(None);
            }
        }
        if !spec.hints.is_empty() {
            warnings.push(
                "the job's hints change nothing: these are the words that were heard while the call went on; `words: again` \
                 has them recognised with the hints"
                    .to_owned(),
            );
        }
        if let Some(names) = facts.channels.as_ref().or(spec.channels.as_ref()) {
            // Whoever is joined with a call has a track of their own, and no channel.
            if names.len() != CHANNELS {
                return Err(HearError::Roles { channels: CHANNELS, roles: names.len() }.into());
            }
            for (track, name) in conversation.tracks.iter_mut().zip(names) {
                track.role = Role::from(*name);
            }
        }
        conversation.metadata.extend(facts.metadata.clone());
        Ok(Some(kept))
    }

    async fn hear(
        &self,
        spec: &Spec,
        facts: &Facts,
        claim: &Claim,
        files: Vec<PathBuf>,
    ) -> Result<Heard, Failure> {
        let tag = facts.language.as_ref().or(spec.language.as_ref());
        let usual = || Ok(self.shared.language(&spec.tenant));
        let language = tag.map_or_else(usual, |tag| language(tag));
        let channels = facts.channels.as_ref().or(spec.channels.as_ref());
        let subject = Subject {
            name: claim.name.clone(),
            files,
            roles: channels.map(|channels| channels.iter().map(|&name| Role::from(name)).collect()),
            language: language.map_err(Failure::Internal)?,
            hints: Hints { phrases: spec.hints.clone(), digits: false, closed: false },
            metadata: facts.metadata.clone(),
        };
        let ask = Ask { class: Class::Batch, tenant: Arc::from(spec.tenant.as_str()) };
        Ok(hear(self.shared.means(&spec.tenant), &ask, &subject, &mut |_, _| {}).await?)
    }

    /// The files of a source on this machine.
    async fn files(&self, claim: &Claim, source: &Source) -> Result<Vec<PathBuf>, Failure> {
        Ok(match source {
            Source::Path(path) => vec![source::allowed(path, self.config())?],
            Source::Upload(name) => vec![self.upload(&claim.job, name)?],
            Source::Recording(call) => vec![self.recording(call).await?],
            Source::Url(url) => {
                source::allowed_url(url, &self.config().hosts, "qa.hosts")?;
                vec![self.fetch(claim, url, || Ok(url.clone())).await?]
            }
            Source::S3(object) => {
                vec![self.fetch(claim, object, || source::object_url(object, self.config())).await?]
            }
            Source::Sides { customer, agent } => {
                let mut files = Box::pin(self.files(claim, customer)).await?;
                files.extend(Box::pin(self.files(claim, agent)).await?);
                files
            }
            Source::Result { .. } => Vec::new(),
        })
    }

    /// Fetches what is called `name`; `address` is asked for anew before each attempt.
    async fn fetch(
        &self,
        claim: &Claim,
        name: &str,
        address: impl Fn() -> Result<String, SourceError>,
    ) -> Result<PathBuf, Failure> {
        let config = self.config();
        let folder = self.job_folder(&claim.job);
        let path = folder.join(format!("fetched-{}-{}", claim.n, upload_name(name)));
        let part = path.with_added_extension("part");
        let cannot = |error: std::io::Error| Failure::Internal(format!("cannot keep a recording: {error}"));
        std::fs::create_dir_all(&folder).map_err(cannot)?;
        for attempt in 1.. {
            let (url, to) = (address()?, part.clone());
            let (largest, timeout) = (config.largest_mib, config.timeout.0);
            let fetching = tokio::task::spawn_blocking(move || source::fetch(&url, &to, largest, timeout));
            let fetched = fetching.await.map_err(|_| Failure::Internal("its fetching broke down".into()))?;
            match fetched {
                Ok(()) => break,
                Err(error) if error.passes() && attempt < FETCHES => {
                    tokio::time::sleep(FETCH_PAUSE * (1 << (attempt - 1))).await;
                }
                Err(error) => {
                    let _ = std::fs::remove_file(&part);
                    return Err(error.into());
                }
            }
        }
        std::fs::rename(&part, &path).map_err(cannot)?;
        Ok(path)
    }
}

/// Waits for the server to stop.
async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // Where the sender is gone the server is too.
    let _ = stopping.wait_for(|stop| *stop).await;
}

/// What is judged, and where it comes from.
struct Words {
    conversation: Conversation,
    engine: String,
    live: bool,
    warnings: Vec<String>,
    /// The files of its sound, as the store keeps them.
    sound: Option<String>,
}

enum Failure {
    Source(SourceError),
    Hear(HearError),
    Internal(String),
}

impl From<SourceError> for Failure {
    fn from(error: SourceError) -> Self {
        Self::Source(error)
    }
}

impl From<HearError> for Failure {
    fn from(error: HearError) -> Self {
        Self::Hear(error)
    }
}

/// What webhooks are told of a file: no words, which its result has.
fn news_of_file(claim: &Claim, done: &Done) -> Value {
    let mut data = json!({ "job": claim.job, "file": claim.n, "name": claim.name });
    let more = match done {
        Done::Result { score, passed, audio_ms, hits, .. } => json!({
            "state": "done",
            "score": score,
            "passed": passed,
            "duration": *audio_ms as f64 / 1_000.0,
            "hits": hits.len(),
        }),
        Done::Failed { code, detail } => json!({ "state": "failed", "code": code, "detail": detail }),
    };
    if let (Value::Object(data), Value::Object(more)) = (&mut data, more) {
        data.extend(more);
    }
    data
}

/// What we made can be written as JSON.
fn text(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("our own types have text as keys and no other hindrance")
}

fn now() -> i64 {
    Timestamp::now().as_millisecond()
}

fn millis(length: Duration) -> i64 {
    i64::try_from(length.as_millis()).unwrap_or(i64::MAX)
}
