//! Call records: from the end of a call to the journal (JSON lines), from there to the store, and on to webhooks.
//!
//! A call hands its record over and goes; nothing here makes it wait. The journal is written first, on a thread of its
//! own; the store is filled from the journal, and keeps in one transaction with the records how far it has come and what
//! webhooks are to be told. So a store that is slow or full, a crash, a power cut: each record is in the store once, and
//! told once or again, but not lost.

mod attempts;
mod hooks;
mod instant;
mod journal;
mod leg;
mod record;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use antiphon_engine_call::Event;
use anyhow::Context;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::{Notify, broadcast, watch};
use tokio::task::JoinHandle;

use crate::config::Config;
use antiphon_engine_store::{NewDelivery, Store, StoreError};
pub(crate) use attempts::{Attempt, Attempts};
use hooks::Hook;
use journal::Journal;
pub(crate) use leg::{Direction, LegRecord};
#[cfg(test)]
pub(crate) use record::tests::example;
pub(crate) use record::{CallRecord, MrcpUse};

/// Records that wait for the disk, over all calls; some 3 KB each.
const WAITING: usize = 16_384;
/// Records written with one `fsync`, and taken in by the store at once.
const BATCH: usize = 512;
/// Where the journal or the store fails, until it is tried again.
const PAUSE: Duration = Duration::from_secs(1);
/// The store looks at the journal this often without being told to.
const ROUND: Duration = Duration::from_secs(30);
/// Between rounds in which old records are forgotten.
const CLEANING: Duration = Duration::from_secs(3_600);
/// Files of the journal that may still grow: a call's record goes to the day it ended.
const GROWING: usize = 3;
/// For the store to take in what was written last when the server stops; the rest it takes in at the next start.
const LAST_INTAKE: Duration = Duration::from_secs(10);
/// For attempts under way when the server stops.
const FAREWELL: Duration = Duration::from_secs(3);

/// How many records went which way.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    written: AtomicU64,
    lost: AtomicU64,
    stored: AtomicU64,
    delivered: AtomicU64,
    failed: AtomicU64,
    dead: AtomicU64,
    refused: AtomicU64,
}

/// The figures at one moment, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reading {
    /// Records in the journal.
    pub(crate) written: u64,
    /// Records for which the disk was too far behind.
    pub(crate) lost: u64,
    /// Records taken in by the store.
    pub(crate) stored: u64,
    /// Deliveries that webhooks took.
    pub(crate) delivered: u64,
    /// Attempts that failed.
    pub(crate) failed: u64,
    /// Deliveries given up.
    pub(crate) dead: u64,
    /// Deliveries for which too many were waiting.
    pub(crate) refused: u64,
}

/// Takes records and sees to the rest.
pub(crate) struct Records {
    store: Arc<Store>,
    queue: Mutex<Option<SyncSender<CallRecord>>>,
    figures: Arc<Figures>,
    hooks: Arc<[Arc<Hook>]>,
    /// News for the webhooks.
    wake: Arc<Notify>,
    stop: watch::Sender<bool>,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
    intake: Mutex<Option<JoinHandle<()>>>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl Records {
    /// Opens journal and store, takes in what the store has missed, and starts to deliver.
    pub(crate) async fn start(config: &Config) -> anyhow::Result<Arc<Self>> {
        let folder = config.cdr.folder.clone().unwrap_or_else(|| config.data.join("cdr"));
        let journal = Journal::open(&folder, config.cdr.sync)
            .with_context(|| format!("cdr.folder: cannot make the folder {}", folder.display()))?;
        let store = Arc::new(open(config).await?);
        let callbacks = Hook::callbacks(&config.qa);
        let hooks: Arc<[Arc<Hook>]> =
            config.webhooks.iter().filter_map(Hook::new).chain(callbacks).map(Arc::new).collect();
        let figures = Arc::new(Figures::default());
        let (wake, written) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (stop, stopping) = watch::channel(false);
        let (queue, records) = sync_channel(WAITING);
        let told = Arc::clone(&written);
        let counts = Arc::clone(&figures);
        let thread = std::thread::Builder::new()
            .name("records".into())
            .spawn(move || write(journal, &records, &told, &counts))
            .context("cannot start the writer of records")?;
        let intake = Intake {
            folder,
            store: Arc::clone(&store),
            hooks: Arc::clone(&hooks),
            figures: Arc::clone(&figures),
            wake: Arc::clone(&wake),
        };
        let mut tasks = Vec::new();
        for hook in hooks.iter() {
            let (hook, store, wake) = (Arc::clone(hook), Arc::clone(&store), Arc::clone(&wake));
            let (figures, stopping) = (Arc::clone(&figures), stopping.clone());
            tasks.push(tokio::spawn(async move {
                hooks::deliver(&hook, &store, &wake, &figures, stopping).await;
            }));
        }
        let names = hooks.iter().map(|hook| hook.name.clone()).collect();
        tasks.push(tokio::spawn(clean(Arc::clone(&store), config.cdr.keep.0, names)));
        let intake = tokio::spawn(intake.run(written, stopping));
        Ok(Arc::new(Self {
            store,
            queue: Mutex::new(Some(queue)),
            figures,
            hooks,
            wake,
            stop,
            thread: Mutex::new(Some(thread)),
            intake: Mutex::new(Some(intake)),
            tasks: Mutex::new(tasks),
        }))
    }

    /// Takes the record of a call that is over. Never waits: where the disk is too far behind, the record is counted as
    /// lost and its call's id is logged.
    pub(crate) fn submit(&self, record: CallRecord) {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let lost = match queue.as_ref() {
            None => record.id,
            Some(queue) => match queue.try_send(record) {
                Ok(()) => return,
                Err(TrySendError::Full(record) | TrySendError::Disconnected(record)) => record.id,
            },
        };
        self.figures.lost.fetch_add(1, Ordering::Relaxed);
        tracing::error!(call = lost, "the disk is behind by {WAITING} records; a call record is lost");
    }

    /// Passes events on to the webhooks that want them.
    pub(crate) fn watch(&self, mut events: broadcast::Receiver<Arc<Event>>) {
        if !self.hooks.iter().any(|hook| hook.wants_events()) {
            return;
        }
        let (store, hooks, wake) = (Arc::clone(&self.store), Arc::clone(&self.hooks), Arc::clone(&self.wake));
        let figures = Arc::clone(&self.figures);
        let task = tokio::spawn(async move {
            let mut news = Vec::new();
            loop {
                match events.recv().await {
                    Ok(event) => tell(&hooks, &event, &mut news),
                    Err(broadcast::error::RecvError::Closed) => return,
                    Err(broadcast::error::RecvError::Lagged(missed)) => {
                        figures.refused.fetch_add(missed, Ordering::Relaxed);
                        tracing::error!(missed, "events came faster than they could be kept for webhooks");
                    }
                }
                while news.len() < BATCH
                    && let Ok(event) = events.try_recv()
                {
                    tell(&hooks, &event, &mut news);
                }
                if news.is_empty() {
                    continue;
                }
                match store.enqueue(&news).await {
                    Ok(refused) => refuse(&figures, refused),
                    Err(error) => {
                        figures.refused.fetch_add(news.len() as u64, Ordering::Relaxed);
                        tracing::error!(%error, lost = news.len(), "events could not be kept for webhooks");
                    }
                }
                news.clear();
                wake.notify_waiters();
            }
        });
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).push(task);
    }

    pub(crate) fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// What those webhooks are to be told that want this, and where the news goes besides.
    pub(crate) fn news_of(&self, id: &str, event: &str, data: &Value, url: Option<&str>) -> Vec<NewDelivery> {
        let now = Timestamp::now();
        let wanting = self.hooks.iter().filter(|hook| hook.wants(event));
        let mut news: Vec<_> = wanting.map(|hook| hook.news(id, event, now, data)).collect();
        let callback = self.hooks.iter().find(|hook| hook.name == hooks::CALLBACK);
        if let (Some(url), Some(hook)) = (url, callback) {
            news.push(NewDelivery { url: Some(url.to_owned()), ..hook.news(id, event, now, data) });
        }
        news
    }

    /// News was put into the store.
    pub(crate) fn wake(&self) {
        self.wake.notify_waiters();
    }

    /// Tries a delivery again. `None` where there is no such delivery.
    pub(crate) async fn retry(
        &self,
        id: &str,
    ) -> Result<Option<antiphon_engine_store::Delivery>, StoreError> {
        let delivery = self.store.retry(id, Timestamp::now().as_millisecond()).await?;
        self.wake.notify_waiters();
        Ok(delivery)
    }

    pub(crate) fn figures(&self) -> Reading {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let figures = &self.figures;
        Reading {
            written: read(&figures.written),
            lost: read(&figures.lost),
            stored: read(&figures.stored),
            delivered: read(&figures.delivered),
            failed: read(&figures.failed),
            dead: read(&figures.dead),
            refused: read(&figures.refused),
        }
    }

    /// Writes what waits, lets the store take it in, and ends. What webhooks have not taken is delivered after the next
    /// start.
    pub(crate) async fn shutdown(&self) {
        drop(self.queue.lock().unwrap_or_else(PoisonError::into_inner).take());
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // A thread that panicked has told so; there is nothing to add.
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
        self.stop.send_replace(true);
        let intake = self.intake.lock().unwrap_or_else(PoisonError::into_inner).take();
        let tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        if let Some(mut intake) = intake
            && tokio::time::timeout(LAST_INTAKE, &mut intake).await.is_err()
        {
            tracing::warn!("the store is slow: it takes in the last call records at the next start");
            intake.abort();
        }
        let deadline = tokio::time::Instant::now() + FAREWELL;
        for mut task in tasks {
            if tokio::time::timeout_at(deadline, &mut task).await.is_err() {
                task.abort();
            }
        }
        self.store.close().await;
    }
}

/// Where the store lies.
/// Opens the store that is configured.
async fn open(config: &Config) -> anyhow::Result<Store> {
    match &config.store.url {
        Some(url) => Store::open_url(url.expose()).await.context("store.url"),
        None => Store::open(&store_path(config)).await.context("store.file"),
    }
}

pub(crate) fn store_path(config: &Config) -> PathBuf {
    config.store.file.clone().unwrap_or_else(|| config.data.join("antiphon.db"))
}

/// The thread that writes the journal.
fn write(mut journal: Journal, records: &Receiver<CallRecord>, written: &Notify, figures: &Figures) {
    while let Ok(first) = records.recv() {
        let mut batch = vec![first];
        batch.extend(records.try_iter().take(BATCH - 1));
        // A record may stand there twice after an error; its id tells.
        while let Err(error) = journal.append(&batch) {
            tracing::error!(%error, "call records cannot be written; trying again");
            std::thread::sleep(PAUSE);
        }
        figures.written.fetch_add(batch.len() as u64, Ordering::Relaxed);
        written.notify_one();
    }
}

/// Fills the store from the journal.
struct Intake {
    folder: PathBuf,
    store: Arc<Store>,
    hooks: Arc<[Arc<Hook>]>,
    figures: Arc<Figures>,
    wake: Arc<Notify>,
}

impl Intake {
    async fn run(self, written: Arc<Notify>, mut stopping: watch::Receiver<bool>) {
        // At the start all files are looked at: the process before may have been killed.
        let mut newest = usize::MAX;
        loop {
            let last = *stopping.borrow();
            match self.catch_up(newest).await {
                Ok(()) => newest = GROWING,
                Err(error) => {
                    tracing::error!(
                        "call records wait in {} for the store: {error:#}",
                        self.folder.display()
                    );
                    newest = usize::MAX;
                    if !last {
                        tokio::time::sleep(PAUSE).await;
                    }
                }
            }
            if last {
                return;
            }
            tokio::select! {
                () = written.notified() => {}
                () = tokio::time::sleep(ROUND) => {}
                // Gone or told: either way one round more, for what was written last.
                _ = stopping.wait_for(|stop| *stop) => {}
            }
        }
    }

    /// Takes in what the newest files hold beyond what the store has.
    async fn catch_up(&self, newest: usize) -> anyhow::Result<()> {
        let files = journal::files(&self.folder)?;
        for name in &files[files.len().saturating_sub(newest)..] {
            let mut start = self.store.taken(name).await?;
            loop {
                let (folder, file) = (self.folder.clone(), name.clone());
                let read = move || journal::read(&folder, &file, start, BATCH);
                let batch = tokio::task::spawn_blocking(read).await??;
                if batch.end == start {
                    break;
                }
                if batch.broken > 0 {
                    let broken = batch.broken;
                    tracing::warn!(broken, file = name, "lines that are no call records were passed over");
                }
                let news = self.news(&batch.records);
                let records =
                    batch.records.iter().map(CallRecord::stored).collect::<serde_json::Result<Vec<_>>>()?;
                let refused = self.store.take(name, batch.end, &records, &news).await?;
                refuse(&self.figures, refused);
                self.figures.stored.fetch_add(batch.records.len() as u64, Ordering::Relaxed);
                if !news.is_empty() {
                    self.wake.notify_waiters();
                }
                start = batch.end;
            }
        }
        Ok(())
    }

    /// What webhooks are to be told of these records. Old ones, which a new store takes in, are no news.
    fn news(&self, records: &[CallRecord]) -> Vec<NewDelivery> {
        let now = Timestamp::now();
        let mut news = Vec::new();
        for hook in self.hooks.iter().filter(|hook| hook.wants("cdr")) {
            for record in records {
                if now.duration_since(record.ended_at).as_millis() < hook.give_up.as_millis() as i128 {
                    news.push(hook.news(&format!("cdr-{}", record.id), "cdr", now, &json!(record)));
                }
            }
        }
        news
    }
}

fn tell(hooks: &[Arc<Hook>], event: &Event, news: &mut Vec<NewDelivery>) {
    let data = json!(event);
    let Some(kind) = data["type"].as_str() else { return };
    for hook in hooks.iter().filter(|hook| hook.wants(kind)) {
        let id = format!("{}-{}", event.call, event.seq);
        news.push(hook.news(&id, kind, Timestamp::now(), &data));
    }
}

fn refuse(figures: &Figures, refused: u64) {
    if refused > 0 {
        figures.refused.fetch_add(refused, Ordering::Relaxed);
        tracing::error!(refused, "too much waits for a webhook; these were not kept for it");
    }
}

/// Forgets what need not be kept.
async fn clean(store: Arc<Store>, keep: Duration, hooks: Vec<String>) {
    loop {
        let mut result = Ok(0);
        if !keep.is_zero() {
            let keep = i64::try_from(keep.as_millis()).unwrap_or(i64::MAX);
            let before = Timestamp::now().as_millisecond().saturating_sub(keep);
            loop {
                result = store.forget(before, BATCH).await;
                if !matches!(result, Ok(gone) if gone >= BATCH as u64) {
                    break;
                }
                // Writers of new records go first.
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
        for hook in &hooks {
            result = result.and(store.bury(hook).await);
        }
        if let Err(error) = result {
            tracing::warn!(%error, "old records could not be forgotten");
        }
        tokio::time::sleep(CLEANING).await;
    }
}

/// Reads a store beside the server that fills it.
pub(crate) async fn look(config: &Config) -> anyhow::Result<Store> {
    if let Some(url) = &config.store.url {
        return Ok(Store::open_url(url.expose()).await?);
    }
    let path = store_path(config);
    let missing = |path: &Path| {
        format!(
            "there is no store at {}: no call has ended yet, or --config or --data names another place",
            path.display()
        )
    };
    anyhow::ensure!(path.exists(), missing(&path));
    Ok(Store::look(&path).await?)
}

#[cfg(test)]
mod tests;
