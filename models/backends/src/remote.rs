//! Recognisers elsewhere: services in the shapes of Deepgram, OpenAI, FunASR and vosk, our own among them; and voices
//! elsewhere, in the shape of OpenAI ([`RemoteVoice`]).
//!
//! Each utterance is a request of its own: its connection opens with the first sound and is ready long before the last. Its
//! sound is kept until the words are there; a connection that breaks is opened again and given everything once more, so
//! that no word is lost. Nothing waits for a service longer than its time-outs.
#![expect(
    clippy::disallowed_methods,
    reason = "a service is on the network: it is waited for, within limits"
)]

mod figures;
mod post;
mod shape;
mod socket;
mod voice;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use antiphon_media_frame::{AudioFrame, SampleRate, Span};
use antiphon_models_speech::{
    Axis, Engine, Hints, Hypothesis, Pace, Recognition, RecognizeError, Recognizer, StreamConfig, Utterance,
    Word,
};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

use crate::settings::{RemoteSettings, RemoteShape};
pub use figures::{RemoteFigures, figures};
pub use voice::RemoteVoice;

const NAME: &str = "remote";
/// Sound of one message.
const CHUNK: Span = Span::from_millis(100);
/// Pieces of sound that wait for the network: a minute of them.
const PIECES: usize = 600;
/// What a service has said and nobody has taken yet; interim words beyond it are left out.
const NEWS: usize = 64;
/// How long one step waits for words.
const STEP: Duration = Duration::from_millis(10);
/// Streams whose answers are awaited together.
const ROWS: usize = 4_096;
/// Silence wanted after the last sound.
const TAIL: Span = Span::from_millis(300);

/// What a service heard, on the clock of the sound it was sent.
#[derive(Debug)]
pub(super) enum News {
    Partial(String),
    Final(Said),
    /// It is given up.
    Failed(String),
}

/// The way from a service to its stream, which a service that never stops talking cannot fill.
pub(super) struct Teller(SyncSender<News>);

impl Teller {
    /// Interim words: where they find no room, newer ones will come.
    pub(super) fn partial(&self, text: String) {
        let _ = self.0.try_send(News::Partial(text));
    }

    /// What ends the utterance: waits for room as long as there is a stream.
    pub(super) async fn last(&self, mut news: News) {
        while let Err(TrySendError::Full(back)) = self.0.try_send(news) {
            news = back;
            tokio::time::sleep(STEP).await;
        }
    }
}

/// Final words.
#[derive(Debug, Default)]
pub(super) struct Said {
    pub(super) text: String,
    pub(super) words: Vec<SaidWord>,
    pub(super) confidence: f32,
}

/// A word and its seconds.
#[derive(Debug)]
pub(super) struct SaidWord {
    pub(super) text: String,
    pub(super) start: f64,
    pub(super) end: f64,
    pub(super) confidence: f32,
}

/// What is to be heard, and how.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) settings: RemoteSettings,
    pub(super) language: String,
    pub(super) phrases: Vec<String>,
    pub(super) rate: SampleRate,
}

/// The engine: a service and the thread that speaks with it.
pub struct Remote {
    settings: RemoteSettings,
    network: Arc<Runtime>,
}

impl Remote {
    /// Checks the settings. The service is not asked anything yet.
    ///
    /// # Errors
    /// An address that is none, a key that cannot be found.
    pub fn open(settings: &RemoteSettings) -> Result<Self, RecognizeError> {
        let mut settings = settings.clone();
        let wanted = match settings.shape {
            RemoteShape::Openai => ["http://", "https://"],
            _ => ["ws://", "wss://"],
        };
        if !wanted.iter().any(|scheme| settings.url.starts_with(scheme)) {
            return Err(failed(format!(
                "remote.url is `{}`, but must begin with {} for this shape",
                settings.url.chars().take(80).collect::<String>().escape_debug(),
                wanted.join(" or ")
            )));
        }
        if let Some(variable) = &settings.key_env {
            let key = std::env::var(variable)
                .map_err(|_| failed(format!("remote.key_env names {variable}, which is not set")))?;
            settings.key = key.into();
        }
        let network = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("remote-ears")
            .enable_all()
            .build()
            .map_err(|error| failed(error.to_string()))?;
        Ok(Self { settings, network: Arc::new(network) })
    }
}

fn failed(message: String) -> RecognizeError {
    RecognizeError::Engine { engine: NAME, message }
}

impl Engine for Remote {
    fn name(&self) -> &'static str {
        NAME
    }

    fn rate(&self, source: SampleRate) -> SampleRate {
        if source <= SampleRate::HZ_8000 { SampleRate::HZ_8000 } else { SampleRate::HZ_16000 }
    }

    fn open(&self, config: &StreamConfig) -> Result<Box<dyn Recognizer>, RecognizeError> {
        let rate = self.rate(config.source_rate);
        let asked = Asked {
            settings: self.settings.clone(),
            language: config.language.tag().to_owned(),
            phrases: config.hints.phrases.clone(),
            rate,
        };
        Ok(Box::new(Stream {
            network: Arc::clone(&self.network),
            asked,
            axis: Axis::new(rate),
            pcm: Vec::new(),
            open: None,
            flushing: false,
            revision: 0,
            said: VecDeque::new(),
        }))
    }

    fn pace(&self) -> Pace {
        Pace { chunk: CHUNK, rows: ROWS }
    }

    fn elsewhere(&self) -> bool {
        true
    }

    /// Waits for a moment until one of the rows has heard something.
    fn step(&self, rows: &mut [&mut dyn Recognizer]) -> Result<(), RecognizeError> {
        let until = Instant::now() + STEP;
        loop {
            let mut news = false;
            for row in &mut *rows {
                let any: &mut dyn std::any::Any = *row;
                if let Some(stream) = any.downcast_mut::<Stream>() {
                    news |= stream.listen(Duration::ZERO)?;
                }
            }
            let left = until.saturating_duration_since(Instant::now());
            if news || left.is_zero() {
                return Ok(());
            }
            std::thread::sleep(left.min(Duration::from_millis(1)));
        }
    }
}

/// An utterance on its way.
struct Open {
    /// Gone once nothing follows.
    sound: Option<mpsc::Sender<Vec<i16>>>,
    news: Receiver<News>,
}

struct Stream {
    network: Arc<Runtime>,
    asked: Asked,
    axis: Axis,
    /// Sound that does not fill a message yet.
    pcm: Vec<i16>,
    open: Option<Open>,
    flushing: bool,
    revision: u32,
    said: VecDeque<Recognition>,
}

impl Stream {
    fn send(&mut self, all: bool) -> Result<(), RecognizeError> {
        let whole = self.asked.rate.samples(CHUNK);
        while self.pcm.len() >= whole || all && !self.pcm.is_empty() {
            let piece: Vec<i16> = self.pcm.drain(..whole.min(self.pcm.len())).collect();
            let open = self.open.get_or_insert_with(|| {
                let (sound, pieces) = mpsc::channel(PIECES);
                let (tell, news) = sync_channel(NEWS);
                let tell = Teller(tell);
                let asked = self.asked.clone();
                self.network.spawn(async move {
                    if let RemoteShape::Openai = asked.settings.shape {
                        post::utterance(&asked, pieces, &tell).await;
                    } else {
                        socket::utterance(&asked, pieces, &tell).await;
                    }
                });
                Open { sound: Some(sound), news }
            });
            let taken = open.sound.as_ref().map(|sound| sound.try_send(piece));
            if let Some(Err(mpsc::error::TrySendError::Full(_))) = taken {
                return Err(failed("a minute of sound waits for the service".to_owned()));
            }
            // Closed: what went wrong is among the news.
        }
        Ok(())
    }

    /// Takes in news; returns whether there was any.
    fn listen(&mut self, wait: Duration) -> Result<bool, RecognizeError> {
        let mut any = false;
        loop {
            let Some(open) = &self.open else { return Ok(any) };
            match open.news.recv_timeout(wait) {
                Ok(News::Partial(text)) => {
                    any = true;
                    self.revision += 1;
                    let start = self.axis.start();
                    if let Some(Recognition::Partial(_)) = self.said.back() {
                        self.said.pop_back();
                    }
                    self.said.push_back(Recognition::Partial(Hypothesis {
                        revision: self.revision,
                        text,
                        start,
                    }));
                }
                Ok(News::Final(said)) => {
                    self.finish(said);
                    return Ok(true);
                }
                Ok(News::Failed(message)) => {
                    self.forget();
                    return Err(failed(message));
                }
                Err(RecvTimeoutError::Timeout) => return Ok(any),
                Err(RecvTimeoutError::Disconnected) => {
                    self.forget();
                    return Err(failed("the connection's task is gone".to_owned()));
                }
            }
        }
    }

    fn finish(&mut self, said: Said) {
        let index = |seconds: f64| {
            let samples = seconds.clamp(0.0, 3_600.0) * f64::from(self.asked.rate.hz());
            (samples as usize).min(self.axis.samples())
        };
        let mut last = self.axis.start();
        let mut words = Vec::with_capacity(said.words.len());
        for word in said.words {
            // Services round; ours never overlap and never run backwards.
            let start = self.axis.at(index(word.start)).max(last);
            let end = self.axis.until(index(word.end)).max(start);
            last = end;
            words.push(Word { text: word.text, start, end, confidence: word.confidence.clamp(0.0, 1.0) });
        }
        if !said.text.is_empty() {
            let (start, end) = match (words.first(), words.last()) {
                (Some(first), Some(last)) => (first.start, last.end),
                _ => (self.axis.start(), self.axis.end()),
            };
            let confidence = said.confidence.clamp(0.0, 1.0);
            self.said.push_back(Recognition::Final(Utterance {
                text: said.text,
                words,
                start,
                end,
                confidence,
                language: None,
            }));
        }
        self.forget();
    }

    /// Nothing of the utterance is left but what is to be polled.
    fn forget(&mut self) {
        self.open = None;
        self.flushing = false;
        self.pcm.clear();
        self.axis.clear();
        self.revision = 0;
    }
}

impl Recognizer for Stream {
    fn rate(&self) -> SampleRate {
        self.asked.rate
    }

    fn tail(&self) -> Span {
        TAIL
    }

    fn push(&mut self, frame: AudioFrame<'_>) -> Result<(), RecognizeError> {
        if frame.rate != self.asked.rate {
            return Err(RecognizeError::Rate { expected: self.asked.rate, found: frame.rate });
        }
        let missing = self.axis.push(&frame);
        // Gaps of an utterance are short; a longer one would only be paid for.
        let most = self.asked.rate.samples(Span::from_secs(2));
        self.pcm.resize(self.pcm.len() + missing.min(most), 0);
        self.pcm.extend_from_slice(frame.pcm);
        self.send(false)?;
        self.listen(Duration::ZERO).map(|_| ())
    }

    fn poll(&mut self) -> Option<Recognition> {
        self.said.pop_front()
    }

    fn hint(&mut self, hints: &Hints) -> Result<(), RecognizeError> {
        // From the next utterance on: its request has not been made.
        self.asked.phrases.clone_from(&hints.phrases);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), RecognizeError> {
        if !self.flushing {
            self.send(true)?;
            if let Some(open) = &mut self.open {
                open.sound = None;
                self.flushing = true;
            } else {
                self.forget();
            }
        }
        Ok(())
    }

    fn reset(&mut self) {
        self.forget();
        self.said.clear();
    }

    fn owed(&self) -> usize {
        usize::from(self.flushing)
    }

    fn step(&mut self) -> Result<(), RecognizeError> {
        self.listen(STEP).map(|_| ())
    }
}

#[cfg(test)]
mod tests;
