//! Sets up the media of a call, whichever side placed it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use antiphon_engine_call::Cause;
use antiphon_media_frame::{CallId, MediaTime, SampleRate, Span, TrackWriter, track_ring};
use antiphon_media_link::Link;
use antiphon_media_plane::{Leg, LegHandle, ShardError, SocketPair, Tap, Taps, WriterError};
use antiphon_media_sip::sdp::{LocalMedia, Negotiated};
use antiphon_models_pool::{Ask, OpenStream, PoolError, StreamHandle};
use antiphon_models_speech::{Engine, Hints, Language, RecognizeError, StreamConfig};

use crate::conversation::{Happening, Inlet, inlet};
use crate::secure::link_config;
use crate::shared::{Shared, endpointing};
use tokio::sync::mpsc;

/// What a recogniser may be behind before it loses sound: five seconds.
const EARS_DEPTH: usize = 250;
/// A frame of 20 ms, and what a resampler may owe from the one before.
const EARS_FRAME: Span = Span::from_millis(25);

/// What a call needs to be set up.
pub(crate) struct Place {
    pub(crate) id: CallId,
    pub(crate) agreed: Negotiated,
    /// Our side of what was agreed.
    pub(crate) local: LocalMedia,
    pub(crate) language: Language,
    pub(crate) recording: Option<PathBuf>,
    /// Somebody who hears the far side.
    pub(crate) listener: Option<TrackWriter>,
}

/// The running media of a call.
pub(crate) struct Setup {
    pub(crate) leg: LegHandle,
    pub(crate) ears: Option<StreamHandle>,
    pub(crate) rate: SampleRate,
    pub(crate) inlet: Inlet,
    pub(crate) happenings: mpsc::Receiver<Happening>,
}

/// Why the media of a call could not be set up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SetupError {
    #[error(transparent)]
    Shard(#[from] ShardError),
    #[error(transparent)]
    Pool(#[from] PoolError),
    #[error(transparent)]
    Recognizer(#[from] RecognizeError),
    #[error(transparent)]
    Writer(#[from] WriterError),
    #[error("{0}")]
    Other(String),
}

impl SetupError {
    pub(crate) fn cause(&self) -> &'static Cause {
        match self {
            Self::Shard(_) | Self::Pool(PoolError::Refused(_)) => Cause::BUSY,
            Self::Pool(_) | Self::Recognizer(_) | Self::Other(_) => Cause::ENGINE_FAILED,
            Self::Writer(_) => Cause::DISK_FAILED,
        }
    }
}

/// Opens ears and recording, puts the leg on the shard. The leg runs when this returns.
pub(crate) async fn set_up(
    shared: &Arc<Shared>,
    place: Place,
    pair: SocketPair,
    epoch: Instant,
) -> Result<Setup, SetupError> {
    let config =
        shared.leg_config(&place.agreed, place.id).map_err(|error| SetupError::Other(error.to_string()))?;
    let rate = config.format.codec.sample_rate();
    let (inlet, happenings) = inlet();
    let mut taps = Taps::default();
    let ears = match shared.engines.first() {
        Some(engine) => Some(open_ears(shared, engine, rate, place.language, &inlet, &mut taps).await?),
        None => None,
    };
    if let Some(path) = place.recording {
        let tell = inlet.clone();
        let done = Box::new(move |result| tell.tell(Happening::Recorded(result)));
        let record = shared.writer.record(path, rate, done)?;
        taps.received.push(Tap::new(rate, record.received));
        taps.sent.push(Tap::new(rate, record.sent));
    }
    taps.received.extend(place.listener.map(|listener| Tap::new(rate, listener)));
    let now = MediaTime::ZERO + epoch.elapsed().into();
    let link = link_config(&place.agreed, &place.local, &shared.identity)
        .map_err(|error| error.to_string())
        .and_then(|link| Link::new(link, now).map_err(|error| error.to_string()))
        .map_err(SetupError::Other)?;
    let leg = Leg::new(config, taps, now).over(link);
    let tell = inlet.clone();
    let mut leg =
        shared.shards.add(pair, leg, epoch, Box::new(move |event| tell.tell(Happening::Leg(event))))?;
    if let (Some(listener), Some(_), Some(ice)) = (&shared.ice_tcp, &place.agreed.ice, &place.local.ice) {
        leg.expect(listener, &ice.credentials.ufrag);
    }
    Ok(Setup { leg, ears, rate, inlet, happenings })
}

async fn open_ears(
    shared: &Arc<Shared>,
    engine: &Arc<dyn Engine>,
    native: SampleRate,
    language: Language,
    inlet: &Inlet,
    taps: &mut Taps,
) -> Result<StreamHandle, SetupError> {
    let place = shared.pool.reserve(&Ask::live())?;
    let config = StreamConfig { language, hints: Hints::default(), source_rate: native };
    let engines = shared.engines.clone();
    let (engine, opening) = (Arc::clone(engine), config.clone());
    // Opening may load a model: not on a thread that other calls wait for.
    let opened = tokio::task::spawn_blocking(move || engine.open(&opening)).await;
    let recognizer = opened.map_err(|error| SetupError::Other(error.to_string()))??;
    let (writer, audio) = track_ring(recognizer.rate(), EARS_DEPTH, EARS_FRAME, place.bell());
    taps.received.push(Tap::new(native, writer));
    let tell = inlet.clone();
    let sink = Box::new(move |event| tell.tell(Happening::Speech(event)));
    let endpointing = endpointing(&shared.config);
    Ok(place.open(OpenStream { recognizer, engines, config, audio, endpointing, sink })?)
}
