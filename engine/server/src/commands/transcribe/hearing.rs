//! One file through a recogniser: each channel on a thread of its own, the way a call's track goes.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};

use antiphon_media_codec::{Gate, GateDecision, Resampler};
use antiphon_media_frame::{AudioFrame, FrameKind, MediaTime, SampleRate, Span};
use antiphon_media_record::AudioReader;
use antiphon_models_pool::{Endpointing, Lane, StreamEvent};
use antiphon_models_speech::{Engine, Hints, Language, RecognizeError, StreamConfig, Utterance};
use antiphon_models_text::{Readable, Reader, Style};
use anyhow::{Context, anyhow, bail};

use super::journal::{Journal, Subject};
use crate::config::Config;
use crate::{recognizers, shared};

/// The frames of a call.
const FRAME: Span = Span::from_millis(20);
/// Blocks of a file that may wait for a channel's recogniser.
const AHEAD: usize = 8;
/// Warnings beyond this are left out.
const MOST_WARNINGS: usize = 20;

/// A recogniser and how it is to listen.
pub(super) struct Listener {
    engine: Arc<dyn Engine>,
    endpointing: Endpointing,
    language: Language,
    hints: Hints,
    style: Style,
    /// Stands for everything above, see [`Subject`].
    settings: u64,
}

/// What was said in a file.
pub(super) struct Transcript {
    pub(super) path: PathBuf,
    pub(super) duration: Span,
    /// The names of the channels, in their order.
    pub(super) channels: Vec<String>,
    pub(super) engine: &'static str,
    pub(super) language: Language,
    pub(super) warnings: Vec<String>,
    /// By time.
    pub(super) spoken: Vec<Spoken>,
}

/// One utterance of one channel.
pub(super) struct Spoken {
    pub(super) channel: usize,
    /// As one reads it; its words too.
    pub(super) utterance: Utterance,
    /// As it was said, where that reads otherwise.
    pub(super) spoken: Option<String>,
}

impl Listener {
    /// Opens the configured recogniser, with the server's endpointing.
    pub(super) fn open(
        config: &Config,
        language: Language,
        hints: Hints,
        style: Style,
    ) -> anyhow::Result<Self> {
        Reader::new(&language, &style)?;
        let Some(engine) = recognizers::open(config)?.into_iter().next() else {
            bail!("the engine `none` hears no words: choose one with --engine");
        };
        let mut settings = DefaultHasher::new();
        let recognizer = format!("{:?}", config.recognizer);
        (engine.name(), recognizer, language.tag(), &hints.phrases).hash(&mut settings);
        let (settings, endpointing) = (settings.finish(), shared::endpointing(config));
        Ok(Self { engine, endpointing, language, hints, style, settings })
    }

    /// Hears a whole file, or what is left of it by the journal at `kept`. `progress` is told how much was read and how
    /// long the file says it is.
    pub(super) fn hear(
        &self,
        path: &Path,
        kept: Option<&Path>,
        progress: &mut dyn FnMut(Span, Option<Span>),
    ) -> anyhow::Result<Transcript> {
        // These errors tell their causes themselves.
        let mut reader = AudioReader::open(path).map_err(|error| anyhow!("{error}"))?;
        let channels = names(reader.channels());
        let rate = reader.rate();
        let duration = reader.duration();
        let journal = match kept {
            None => None,
            Some(at) => {
                let subject = Subject::of(path, self.settings, channels.len())?;
                let journal = Journal::open(at, &subject);
                Some(journal.with_context(|| format!("cannot keep its progress in {}", at.display()))?)
            }
        };
        let journal = journal.as_ref();
        let (read, heard) = std::thread::scope(|scope| {
            let mut senders = Vec::new();
            let mut threads = Vec::new();
            for channel in 0..channels.len() {
                let (sender, blocks) = sync_channel(AHEAD);
                senders.push(sender);
                threads.push(scope.spawn(move || {
                    self.hear_channel(rate, &blocks, journal.map(|journal| (journal, channel)))
                }));
            }
            let mut read = || -> anyhow::Result<()> {
                let mut block: Vec<Vec<i16>> = Vec::new();
                while reader.next_block(&mut block).map_err(|error| anyhow!("{error}"))? {
                    for (sender, pcm) in senders.iter().zip(&mut block) {
                        // A channel that has failed tells so below; the rest is of no use without it.
                        if sender.send(std::mem::take(pcm)).is_err() {
                            return Ok(());
                        }
                    }
                    progress(reader.position(), duration);
                }
                Ok(())
            };
            let read = read();
            drop(senders);
            let heard: Vec<anyhow::Result<Heard>> = threads
                .into_iter()
                .map(|thread| thread.join().unwrap_or_else(|_| Err(anyhow!("its thread broke down"))))
                .collect();
            (read, heard)
        });
        read?;
        let mut transcript = Transcript {
            path: path.to_owned(),
            duration: reader.position(),
            engine: self.engine.name(),
            language: self.language.clone(),
            warnings: reader
                .warning()
                .map(|warning| format!("only partly read: {warning}"))
                .into_iter()
                .collect(),
            channels,
            spoken: Vec::new(),
        };
        for (channel, heard) in heard.into_iter().enumerate() {
            let name = &transcript.channels[channel];
            let Heard { utterances, warnings } = heard.with_context(|| name.clone())?;
            transcript.warnings.extend(warnings.into_iter().map(|warning| format!("{name}: {warning}")));
            let mut reader = Reader::new(&self.language, &self.style)?;
            transcript.spoken.extend(utterances.into_iter().map(|utterance| {
                let Readable { text, spoken, written, .. } = reader.read(&utterance);
                let spoken = Some(spoken).filter(|spoken| *spoken != text);
                Spoken { channel, utterance: Utterance { text, words: written, ..utterance }, spoken }
            }));
        }
        transcript.spoken.sort_by_key(|spoken| (spoken.utterance.start, spoken.channel));
        Ok(transcript)
    }

    fn hear_channel(
        &self,
        source: SampleRate,
        blocks: &Receiver<Vec<i16>>,
        journal: Option<(&Journal, usize)>,
    ) -> anyhow::Result<Heard> {
        let config =
            StreamConfig { language: self.language.clone(), hints: self.hints.clone(), source_rate: source };
        let mut lane = Lane::new(self.engine.open(&config)?, self.endpointing);
        lane.want_partials(false);
        let mut channel = Channel::new(lane, source, journal);
        let frame = source.samples(FRAME).max(1);
        for block in blocks {
            for pcm in block.chunks(frame) {
                channel.push(pcm)?;
            }
        }
        channel.finish()
    }
}

#[derive(Default)]
struct Heard {
    utterances: Vec<Utterance>,
    warnings: Vec<String>,
}

/// The way from a file's samples to words.
struct Channel<'a> {
    /// Where its checkpoints are written down, and under which number.
    journal: Option<(&'a Journal, usize)>,
    /// Up to where an earlier run has heard it: the ear is shut until then, while the gate learns the line anew.
    known: Option<MediaTime>,
    /// Utterances and warnings that the journal has.
    kept: (usize, usize),
    gate: Gate,
    resampler: Resampler,
    lane: Lane,
    source: SampleRate,
    /// Samples taken in so far.
    taken: usize,
    resampled: Vec<i16>,
    failure: Option<RecognizeError>,
    heard: Heard,
}

impl<'a> Channel<'a> {
    fn new(mut lane: Lane, source: SampleRate, journal: Option<(&'a Journal, usize)>) -> Self {
        let reached = journal.map(|(journal, channel)| journal.reached(channel)).unwrap_or_default();
        if reached.until.is_some() {
            lane.listen(false);
        }
        let heard = Heard { utterances: reached.utterances, warnings: reached.warnings };
        Self {
            journal,
            known: reached.until,
            kept: (heard.utterances.len(), heard.warnings.len()),
            gate: Gate::new(source, shared::gate()),
            resampler: Resampler::new(source, lane.rate()),
            lane,
            source,
            taken: 0,
            resampled: Vec::new(),
            failure: None,
            heard,
        }
    }

    fn push(&mut self, pcm: &[i16]) -> anyhow::Result<()> {
        let GateDecision { active, retracted, .. } = self.gate.push(pcm);
        self.feed(pcm, FrameKind::Voice, active, retracted)
    }

    fn feed(&mut self, pcm: &[i16], kind: FrameKind, active: bool, retracted: bool) -> anyhow::Result<()> {
        self.resampled.clear();
        self.resampler.process(pcm, &mut self.resampled);
        let at = MediaTime::ZERO + self.source.span(self.taken) - self.resampler.delay();
        self.taken += pcm.len();
        if self.known.is_some_and(|known| at >= known) {
            self.known = None;
            self.lane.listen(true);
        }
        self.lane.push(AudioFrame {
            pcm: &self.resampled,
            rate: self.lane.rate(),
            at,
            kind,
            active,
            retracted,
        });
        self.collect(at)?;
        match self.failure.take() {
            Some(error) if self.lane.closed() => Err(error.into()),
            Some(error) => {
                self.warn(&error, at);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Hears what the resampler still owes and ends the last utterance.
    fn finish(mut self) -> anyhow::Result<Heard> {
        let rest = vec![0; self.source.samples(self.resampler.delay())];
        self.feed(&rest, FrameKind::Silence, false, false)?;
        let end = MediaTime::ZERO + self.source.span(self.taken);
        self.lane.finish();
        self.collect(end)?;
        if let Some(error) = self.failure.take() {
            self.warn(&error, end);
        }
        Ok(self.heard)
    }

    fn collect(&mut self, now: MediaTime) -> anyhow::Result<()> {
        while let Some(event) = self.lane.poll() {
            match event {
                StreamEvent::Final(utterance) => self.heard.utterances.push(utterance),
                StreamEvent::Failed(error) => self.failure = Some(error),
                // Silence decided it: from the end of the words on, nothing has been heard yet.
                StreamEvent::SpeechEnded { at, decided_at } if decided_at > at && self.journal.is_some() => {
                    if let Some(error) = self.failure.take_if(|_| !self.lane.closed()) {
                        self.warn(&error, now);
                    }
                    self.checkpoint(at)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Writes down that everything before `until` has been heard.
    fn checkpoint(&mut self, until: MediaTime) -> anyhow::Result<()> {
        let Some((journal, channel)) = self.journal else { return Ok(()) };
        let Heard { utterances, warnings } = &self.heard;
        journal
            .keep(channel, until, &utterances[self.kept.0..], &warnings[self.kept.1..])
            .context("cannot keep its progress")?;
        self.kept = (utterances.len(), warnings.len());
        Ok(())
    }

    fn warn(&mut self, error: &RecognizeError, at: MediaTime) {
        if self.heard.warnings.len() < MOST_WARNINGS {
            self.heard.warnings.push(format!("an utterance that ends about {at} was lost: {error}"));
        }
    }
}

/// How channels are called: Antiphon records the caller on the left and its own side on the right.
fn names(count: usize) -> Vec<String> {
    match count {
        2 => ["caller", "machine"].map(str::to_owned).to_vec(),
        _ => (1..=count).map(|n| format!("channel {n}")).collect(),
    }
}
