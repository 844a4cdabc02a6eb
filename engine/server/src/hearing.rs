//! Sound that clients send to be recognised: raw octets of some channels in, what was heard on each out, by the pool.

use std::sync::Arc;
use std::time::Duration;

use antiphon_engine_measure::{SpeechEdges, Stretch, ToneMeter};
use antiphon_engine_service::{Coding, Format, Identify, Settings};
use antiphon_media_codec::{CodecKind, Decoder, Edge, Gate, GateConfig, GateDecision, Resampler};
use antiphon_media_frame::{AudioFrame, FrameKind, MediaTime, SampleRate, Span, TrackWriter, track_ring};
use antiphon_models_pool::{Ask, Endpointing, OpenStream, Pool, PoolError, StreamEvent, StreamHandle};
use antiphon_models_speech::{Engine, Language, RecognizeError, StreamConfig};
use antiphon_models_text::{Action, Category, PolicyError, Reader};
use tokio::sync::mpsc;

use crate::config::Config;
use crate::shared;

/// Sound that may wait for a channel's recogniser, in frames of 20 ms: ten seconds. Whoever sends faster is held up.
const DEPTH: usize = 500;
const FRAME: Span = Span::from_millis(20);
/// Events that may wait for a client to be told.
const EVENTS: usize = 4_096;
/// How soon room in a ring is looked for again.
const HELD_UP: Duration = Duration::from_millis(10);
/// Stretches of voice that are noted of a channel: a day of short ones.
const STRETCHES: usize = 100_000;
/// How much of a channel's tone is remembered: recordings that are longer are none of calls.
const LONGEST: Span = Span::from_secs(86_400);
/// A recogniser that makes no room for so long is stuck.
const STUCK: Duration = Duration::from_secs(60);

/// Why sound cannot be heard.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HearingError {
    /// `recognizer.engine` is `none`.
    #[error("this server has no recogniser (recognizer.engine is \"none\")")]
    Deaf,
    /// The pool refuses.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// The engine refuses.
    #[error(transparent)]
    Engine(#[from] RecognizeError),
    /// The client wants to be told what is spoken.
    #[error("the recogniser {0} does not find out what is spoken: say the language")]
    Identify(&'static str),
    /// What is to be hidden cannot be.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// The recogniser does not come along.
    #[error("the recogniser takes no sound any more")]
    Stuck,
}

/// What sound is heard with: a server's, or a command's own.
#[derive(Clone, Copy)]
pub(crate) struct Means<'a> {
    pub(crate) config: &'a Config,
    pub(crate) pool: &'a Pool,
    /// The recogniser, and those that take over where it fails.
    pub(crate) engines: &'a [Arc<dyn Engine>],
}

/// What was heard on a channel.
pub(crate) type Told = (usize, StreamEvent);

/// What was heard, as it is to be told: final words in the style that was asked for, and nothing that is to be hidden.
pub(crate) struct Words {
    told: mpsc::Receiver<Told>,
    readers: Vec<Reader>,
}

impl Words {
    /// The next thing heard; `None` after each channel's `Closed`. Nothing is lost where the wait is given up.
    pub(crate) async fn recv(&mut self) -> Option<Told> {
        loop {
            let told = self.told.recv().await?;
            if let Some(told) = self.read(told) {
                return Some(told);
            }
        }
    }

    /// What has been heard already.
    pub(crate) fn try_recv(&mut self) -> Option<Told> {
        loop {
            let told = self.told.try_recv().ok()?;
            if let Some(told) = self.read(told) {
                return Some(told);
            }
        }
    }

    fn read(&mut self, (channel, event): Told) -> Option<Told> {
        let Some(reader) = self.readers.get_mut(channel) else { return Some((channel, event)) };
        let event = match event {
            StreamEvent::Partial(hypothesis) => StreamEvent::Partial(reader.partial(hypothesis)?),
            StreamEvent::Final(utterance) => StreamEvent::Final(reader.write(utterance)),
            other => other,
        };
        Some((channel, event))
    }
}

/// Channels that are being heard, all on one worker.
pub(crate) struct Hearing {
    format: Format,
    channels: Vec<Channel>,
    /// Octets of a sample or of a set of samples that is not complete yet.
    rest: Vec<u8>,
    /// Samples of each channel taken in.
    taken: usize,
    block: Vec<Vec<i16>>,
}

/// When there was a voice on a channel, and how it sounded.
pub(crate) struct Voice {
    pub(crate) speech: Vec<Stretch>,
    pub(crate) tone: ToneMeter,
    edges: SpeechEdges,
}

impl Voice {
    fn new(rate: SampleRate) -> Self {
        Self { speech: Vec::new(), tone: ToneMeter::new(rate, LONGEST), edges: SpeechEdges::new(rate) }
    }

    /// Hears what the gate has just decided about.
    fn push(&mut self, at: MediaTime, pcm: &[i16], made: GateDecision, gate: GateConfig, rate: SampleRate) {
        self.tone.push(at, pcm);
        self.edges.push(at, pcm);
        let now = at + rate.span(pcm.len());
        if made.retracted {
            // It was music, and nobody's voice.
            let _ = self.edges.end(now);
        }
        match made.edge {
            Some(Edge::Start) => drop(self.edges.begin(now - gate.start)),
            Some(Edge::End) => self.end(now - gate.hangover),
            None => {}
        }
    }

    fn end(&mut self, at: MediaTime) {
        self.speech.extend(self.edges.end(at).filter(|_| self.speech.len() < STRETCHES));
    }
}

struct Channel {
    /// Noted where somebody wants to know.
    voice: Option<Voice>,
    handle: StreamHandle,
    track: TrackWriter,
    gate: Gate,
    resampler: Resampler,
    resampled: Vec<i16>,
    /// Samples that do not fill a frame yet.
    waiting: Vec<i16>,
    taken: usize,
}

impl Hearing {
    /// Takes places and opens recognisers; `home` is spoken where the client does not say. Words come out of the receiver; it ends after each channel's `Closed`.
    ///
    /// # Errors
    /// No recogniser, no place, or the engine's own refusal.
    pub(crate) async fn open(
        means: Means<'_>,
        home: Language,
        ask: &Ask,
        settings: &Settings,
    ) -> Result<(Self, Words), HearingError> {
        let engine = means.engines.first().ok_or(HearingError::Deaf)?;
        let format = settings.format;
        let finds_out =
            settings.language.is_none() && settings.identify != Identify::No && engine.identifies();
        if settings.identify == Identify::Must && !finds_out {
            return Err(HearingError::Identify(engine.name()));
        }
        // What the tenant hides is hidden from its own clients too.
        let mut style = settings.style.clone();
        let kept = means.config.style(&ask.tenant).policy;
        for category in Category::ALL.into_iter().filter(|category| kept.action(*category) != Action::Keep) {
            style.policy.mask(category);
            style.policy.halves = true;
        }
        let places = means.pool.reserve_tracks(ask, format.channels)?;
        let language = settings.language.clone().unwrap_or(home);
        let readers = (0..format.channels).map(|_| Reader::new(&language, &style));
        let readers = readers.collect::<Result<Vec<_>, _>>()?;
        // One that cannot find out is no substitute for one that can.
        let able = means.engines.iter().filter(|engine| !finds_out || engine.identifies());
        let engines: Vec<_> = able.cloned().collect();
        let language = if finds_out { Language::undetermined() } else { language };
        let config = StreamConfig { language, hints: settings.hints.clone(), source_rate: format.rate };
        let mut endpointing = shared::endpointing(means.config);
        if let Some(endpoint) = settings.endpoint {
            endpointing = Endpointing { endpoint: shared::endpoint(endpoint.into()), ..endpointing };
        }
        let (tell, told) = mpsc::channel(EVENTS);
        let mut channels = Vec::with_capacity(format.channels);
        for (index, place) in places.into_iter().enumerate() {
            let (opening, engine) = (config.clone(), Arc::clone(engine));
            let opened = tokio::task::spawn_blocking(move || engine.open(&opening)).await;
            let recognizer = opened.map_err(|_| HearingError::Stuck)??;
            let rate = recognizer.rate();
            let (track, audio) = track_ring(rate, DEPTH, FRAME + FRAME, place.bell());
            let tell = tell.clone();
            let handle = place.open(OpenStream {
                recognizer,
                engines: engines.clone(),
                config: config.clone(),
                audio,
                endpointing,
                // Whoever reads gives a client that takes nothing up long before so many events wait.
                sink: Box::new(move |event| {
                    let _ = tell.try_send((index, event));
                }),
            })?;
            channels.push(Channel {
                voice: None,
                handle,
                track,
                gate: Gate::new(format.rate, shared::gate()),
                resampler: Resampler::new(format.rate, rate),
                resampled: Vec::new(),
                waiting: Vec::new(),
                taken: 0,
            });
        }
        let block = vec![Vec::new(); format.channels];
        Ok((Self { format, channels, rest: Vec::new(), taken: 0, block }, Words { told, readers }))
    }

    /// Takes octets in. Waits while the rings are full.
    ///
    /// # Errors
    /// [`HearingError::Stuck`].
    pub(crate) async fn push(&mut self, octets: &[u8]) -> Result<(), HearingError> {
        self.rest.extend_from_slice(octets);
        let (width, count) = (self.format.coding.width(), self.channels.len());
        let sets = self.rest.len() / (width * count);
        for block in &mut self.block {
            block.clear();
        }
        for (n, sample) in
            samples(self.format.coding, &self.rest[..sets * width * count]).into_iter().enumerate()
        {
            self.block[n % count].push(sample);
        }
        self.rest.drain(..sets * width * count);
        let block = std::mem::take(&mut self.block);
        let taken = self.push_pcm(&block).await;
        self.block = block;
        taken
    }

    /// Takes whole samples in, a block for each channel.
    ///
    /// # Errors
    /// [`HearingError::Stuck`].
    pub(crate) async fn push_pcm(&mut self, block: &[Vec<i16>]) -> Result<(), HearingError> {
        let frame = self.format.rate.samples(FRAME).max(1);
        self.taken += block.first().map_or(0, Vec::len);
        for (channel, pcm) in self.channels.iter_mut().zip(block) {
            channel.waiting.extend_from_slice(pcm);
            let whole = channel.waiting.len() / frame * frame;
            let ready: Vec<i16> = channel.waiting.drain(..whole).collect();
            for pcm in ready.chunks(frame) {
                channel.feed(self.format.rate, pcm).await?;
            }
        }
        Ok(())
    }

    /// Ends the utterance under way on each channel.
    pub(crate) async fn flush(&mut self) -> Result<(), HearingError> {
        self.drain().await?;
        self.channels.iter().for_each(|channel| channel.handle.flush());
        Ok(())
    }

    /// Hears what there is and ends. Tells of the voice on each channel, where that was to be noted.
    ///
    /// # Errors
    /// [`HearingError::Stuck`].
    pub(crate) async fn finish(mut self) -> Result<Vec<Voice>, HearingError> {
        let end = MediaTime::ZERO + self.duration();
        self.drain().await?;
        let mut voices: Vec<Voice> = self.channels.into_iter().filter_map(|channel| channel.voice).collect();
        voices.iter_mut().for_each(|voice| voice.end(end));
        Ok(voices)
    }

    /// Notes from here on when there is a voice on each channel.
    pub(crate) fn note_voices(&mut self) {
        let rate = self.format.rate;
        self.channels.iter_mut().for_each(|channel| channel.voice = Some(Voice::new(rate)));
    }

    /// Says whether interim words are wanted; without being told otherwise they are.
    pub(crate) fn want_partials(&self, wanted: bool) {
        self.channels.iter().for_each(|channel| channel.handle.want_partials(wanted));
    }

    /// Changes what may be said.
    pub(crate) fn hint(&self, hints: &antiphon_models_speech::Hints) {
        self.channels.iter().for_each(|channel| channel.handle.hint(hints.clone()));
    }

    /// How much of each channel has come.
    pub(crate) fn duration(&self) -> Span {
        self.format.rate.span(self.taken)
    }

    /// What does not fill a frame, and what the resamplers still owe.
    async fn drain(&mut self) -> Result<(), HearingError> {
        let rate = self.format.rate;
        for channel in &mut self.channels {
            let mut pcm = std::mem::take(&mut channel.waiting);
            pcm.resize(pcm.len() + rate.samples(channel.resampler.delay()), 0);
            for pcm in pcm.chunks(rate.samples(FRAME).max(1)) {
                channel.feed(rate, pcm).await?;
            }
        }
        Ok(())
    }
}

impl Channel {
    async fn feed(&mut self, source: SampleRate, pcm: &[i16]) -> Result<(), HearingError> {
        let made = self.gate.push(pcm);
        let GateDecision { active, retracted, .. } = made;
        if let Some(voice) = &mut self.voice {
            let at = MediaTime::ZERO + source.span(self.taken);
            voice.push(at, pcm, made, self.gate.config(), source);
        }
        self.resampled.clear();
        self.resampler.process(pcm, &mut self.resampled);
        let at = MediaTime::ZERO + source.span(self.taken) - self.resampler.delay();
        self.taken += pcm.len();
        let frame = AudioFrame {
            pcm: &self.resampled,
            rate: self.track.rate(),
            at,
            kind: FrameKind::Voice,
            active,
            retracted,
        };
        if frame.pcm.is_empty() {
            return Ok(());
        }
        let mut waited = Duration::ZERO;
        // Not counted as refused: it is tried again until it is taken.
        while self.track.full() {
            if waited >= STUCK || self.track.abandoned() {
                return Err(HearingError::Stuck);
            }
            tokio::time::sleep(HELD_UP).await;
            waited += HELD_UP;
        }
        // There is room, and this is the only writer.
        let _ = self.track.push(frame);
        Ok(())
    }
}

/// The samples of some octets, as many as are whole.
fn samples(coding: Coding, octets: &[u8]) -> Vec<i16> {
    let law = |kind| {
        let mut pcm = vec![0; octets.len()];
        // A G.711 payload of any length is that many samples.
        let count = Decoder::new(kind).decode(octets, &mut pcm).unwrap_or(0);
        pcm.truncate(count);
        pcm
    };
    match coding {
        Coding::Linear16 => octets.chunks_exact(2).map(|s| i16::from_le_bytes([s[0], s[1]])).collect(),
        Coding::Float32 => octets
            .chunks_exact(4)
            // Casts saturate, and what is no number is silence.
            .map(|s| (f32::from_le_bytes([s[0], s[1], s[2], s[3]]) * 32_767.0) as i16)
            .collect(),
        Coding::Mulaw => law(CodecKind::Pcmu),
        Coding::Alaw => law(CodecKind::Pcma),
    }
}
