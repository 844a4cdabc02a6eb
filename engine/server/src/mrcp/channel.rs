//! One control channel of a session: its resource, its ear, and where its messages go.

use std::sync::Arc;

use antiphon_engine_mrcp::{Cause, Listening, Message, Recogniser, Resource, Session, Speaker};
use antiphon_media_frame::{SampleRate, Span, track_ring};
use antiphon_models_pool::{Ask, Endpointing, OpenStream, Reservation, StreamEvent, StreamHandle};
use antiphon_models_speech::{RecognizeError, StreamConfig};
use tokio::sync::mpsc;

use super::{News, Reply};
use crate::shared::{self, Shared};

/// What a recogniser may be behind before it loses sound: five seconds.
const DEPTH: usize = 250;
/// A frame of 20 ms, and what a resampler may owe from the one before.
const FRAME: Span = Span::from_millis(25);

/// What a channel leads to.
pub(super) enum Machine {
    Recogniser(Box<Recogniser>),
    Speaker(Box<Speaker>),
}

/// One control channel.
pub(super) struct Channel {
    shared: Arc<Shared>,
    pub(super) id: String,
    pub(super) machine: Machine,
    /// The connection that the last request came by.
    pub(super) reply: Option<Reply>,
    /// The ear that is open.
    pub(super) ear: Option<StreamHandle>,
    /// Counts ears: what comes of an earlier one is nobody's.
    pub(super) generation: u64,
}

impl Channel {
    /// Opens a channel; messages for it come as `news`.
    pub(super) fn open(
        shared: &Arc<Shared>,
        resource: Resource,
        session: Session,
        news: &mpsc::Sender<News>,
    ) -> Self {
        let id = session.channel.clone();
        shared.mrcp.channels().insert(id.clone(), news.clone());
        let machine = match resource {
            Resource::SpeechSynth => Machine::Speaker(Box::new(Speaker::new(session))),
            Resource::SpeechRecog | Resource::DtmfRecog => {
                Machine::Recogniser(Box::new(Recogniser::new(session, resource)))
            }
        };
        Self { shared: Arc::clone(shared), id, machine, reply: None, ear: None, generation: 0 }
    }

    /// Sends a message to the client, where it is connected and reads.
    pub(super) fn send(&mut self, message: &Message) {
        if let Some(reply) = &self.reply
            && reply.try_send(message.encode()).is_err()
        {
            tracing::info!("a client of MRCP reads no more");
            self.reply = None;
        }
    }

    /// Takes a place in the pool and opens an ear there; [`News::Opened`] follows.
    pub(super) fn listen(
        &mut self,
        line: usize,
        rate: SampleRate,
        listening: Listening,
        news: &mpsc::Sender<News>,
    ) {
        self.generation += 1;
        let (shared, news, generation) = (Arc::clone(&self.shared), news.clone(), self.generation);
        tokio::spawn(async move {
            let tell = news.clone();
            let sink = move |event| {
                // Nobody reads those.
                if matches!(event, StreamEvent::Partial(_)) {
                    return;
                }
                if tell.try_send(News::Speech { line, generation, event }).is_err() {
                    tracing::warn!("a session of MRCP does not take up what was heard");
                }
            };
            let ear = open(&shared, rate, listening, sink).await;
            // The session may be over.
            let _ = news.send(News::Opened { line, generation, ear }).await;
        });
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        self.shared.mrcp.channels().remove(&self.id);
    }
}

type Ear = (antiphon_media_frame::TrackWriter, StreamHandle);

async fn open(
    shared: &Arc<Shared>,
    source_rate: SampleRate,
    listening: Listening,
    sink: impl FnMut(StreamEvent) + Send + 'static,
) -> Result<Ear, (Cause, String)> {
    let failed = |why: String| (Cause::RecognizerError, why);
    let tenant = shared.config.mrcp.tenant.clone().unwrap_or_default();
    let engines = shared.recognizers.of(&tenant).to_vec();
    let Some(engine) = engines.first().cloned() else {
        return Err(failed("this server has no recogniser (recognizer.engine is \"none\")".to_owned()));
    };
    let ask = Ask { tenant: tenant.into(), ..Ask::live() };
    let place: Reservation = shared.pool.reserve(&ask).map_err(|error| failed(error.to_string()))?;
    let config = StreamConfig { language: listening.language, hints: listening.hints, source_rate };
    let opening = config.clone();
    // Opening may load a model: not on a thread that others wait for.
    let opened = tokio::task::spawn_blocking(move || engine.open(&opening)).await;
    let recognizer = opened.map_err(|error| failed(error.to_string()))?.map_err(|error| match error {
        RecognizeError::Language { .. } => (Cause::LanguageUnsupported, error.to_string()),
        _ => failed(error.to_string()),
    })?;
    let mut endpointing = shared::endpointing(&shared.config);
    if let Some(endpoint) = listening.endpoint {
        let endpoint = shared::endpoint(std::time::Duration::from_nanos(endpoint.nanos()));
        endpointing = Endpointing { endpoint, ..endpointing };
    }
    let (writer, audio) = track_ring(recognizer.rate(), DEPTH, FRAME, place.bell());
    let open = OpenStream { recognizer, engines, config, audio, endpointing, sink: Box::new(sink) };
    Ok((writer, place.open(open).map_err(|error| failed(error.to_string()))?))
}
