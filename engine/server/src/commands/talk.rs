//! `antiphon talk`: a call with a microphone and a loudspeaker.

use std::process::ExitCode;
use std::time::Duration;

use antiphon_engine_call::{EventBody, Side};
use antiphon_engine_view::Summary;
use antiphon_media_codec::Resampler;
use antiphon_media_frame::{
    AudioBuf, AudioFrame, Doorbell, SampleRate, Span, TrackReader, TrackWriter, track_ring,
};
use antiphon_media_sip::SipTransport;
use antiphon_models_speech::Language;
use anyhow::{Context, bail};
use cpal::traits::{DeviceTrait, HostTrait, StreamTrait};
use cpal::{FromSample, SampleFormat, SizedSample, StreamConfig};

use crate::caller::{Caller, Script};
use crate::commands::columns;
use crate::config::{Config, Overrides};
use crate::place::{Handset, Target, place, uri};
use crate::shared::Shared;
use crate::telemetry;

/// What lies between the sound card and the call at most: a second, so that neither side's hiccups are heard.
const DEPTH: usize = 50;
const FRAME: Span = Span::from_millis(20);

/// Place a call and talk through this machine's microphone and loudspeaker. Ctrl-C hangs up. Wear headphones: there is
/// no echo cancellation.
///
/// Example: antiphon talk sip:bank@127.0.0.1
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Whom to call, such as sip:bank@127.0.0.1:5060
    target: String,
    /// Who calls
    #[arg(long, default_value = "sip:antiphon@localhost", value_name = "URI")]
    from: String,
    /// Language the other side speaks
    #[arg(long, default_value = "en", value_name = "TAG")]
    language: String,
    /// Recogniser for what the other side says; none to only listen
    #[arg(long, default_value = "none", value_name = "NAME")]
    engine: String,
    /// Log level or filter
    #[arg(long, default_value = "warn", value_name = "LEVEL")]
    log: String,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    telemetry::init(&args.log)?;
    let card = Card::open()?;
    let overrides = Overrides { engine: Some(args.engine.clone()), ..Overrides::default() };
    let mut config = Config::load(&overrides)?;
    config.call.concurrent = 1;
    config.call.record = false;
    config.media.rtp_ports = (30_000, 31_999);
    config.data = std::env::temp_dir().join("antiphon-talk");
    let target = Target {
        uri: uri(&args.target)?,
        from: args.from.clone(),
        transport: SipTransport::Udp,
        ring_timeout: Duration::from_secs(60),
    };
    let language = Language::parse(&args.language).context("--language: no language tag")?;
    let spoken = language.clone();
    let script = Script { language, voice: None, steps: Vec::new() };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let placed = runtime.block_on(async {
        let shared = tokio::task::spawn_blocking(move || Shared::open(config)).await??;
        let mut events = shared.calls.watch_all();
        tokio::spawn(async move {
            while let Ok(event) = events.recv().await {
                if let EventBody::SpeechFinal { side: Side::Caller, text, .. } = &event.body {
                    println!("they: {}", text.expose());
                }
            }
        });
        super::call::end_when_interrupted(&shared);
        place(&shared, target, Caller::silent(script), spoken, Some(Box::new(card)), |state| {
            eprintln!("{state}");
        })
        .await
    })?;
    print!("{}", Summary::of(&placed.events).table(columns()));
    if let Some((status, reason)) = &placed.refusal {
        bail!("not answered: {status} {reason}");
    }
    Ok(ExitCode::SUCCESS)
}

/// The machine's default sound devices.
struct Card {
    input: (cpal::Device, cpal::SupportedStreamConfig),
    output: (cpal::Device, cpal::SupportedStreamConfig),
}

impl Card {
    fn open() -> anyhow::Result<Self> {
        let host = cpal::default_host();
        let input = host
            .default_input_device()
            .context("no microphone was found; `arecord -l` lists what there is")?;
        let output = host
            .default_output_device()
            .context("no loudspeaker was found; `aplay -l` lists what there is")?;
        let input_config = input.default_input_config().context("the microphone cannot be used")?;
        let output_config = output.default_output_config().context("the loudspeaker cannot be used")?;
        Ok(Self { input: (input, input_config), output: (output, output_config) })
    }
}

/// Streams that run for as long as they are kept.
struct Running {
    _input: cpal::Stream,
    _output: cpal::Stream,
}

impl Handset for Card {
    fn attach(&self, rate: SampleRate) -> anyhow::Result<(TrackReader, TrackWriter, Box<dyn std::any::Any>)> {
        let (microphone, spoken) = track_ring(rate, DEPTH, FRAME, Doorbell::new());
        let (heard, loudspeaker) = track_ring(rate, DEPTH, FRAME, Doorbell::new());
        let input = match self.input.1.sample_format() {
            SampleFormat::F32 => self.record::<f32>(rate, microphone),
            SampleFormat::I16 => self.record::<i16>(rate, microphone),
            SampleFormat::I32 => self.record::<i32>(rate, microphone),
            SampleFormat::U8 => self.record::<u8>(rate, microphone),
            other => bail!("the microphone gives {other} samples, which are not read"),
        }?;
        let output = match self.output.1.sample_format() {
            SampleFormat::F32 => self.play::<f32>(rate, loudspeaker),
            SampleFormat::I16 => self.play::<i16>(rate, loudspeaker),
            SampleFormat::I32 => self.play::<i32>(rate, loudspeaker),
            SampleFormat::U8 => self.play::<u8>(rate, loudspeaker),
            other => bail!("the loudspeaker wants {other} samples, which are not written"),
        }?;
        input.play().context("the microphone does not start")?;
        output.play().context("the loudspeaker does not start")?;
        Ok((spoken, heard, Box::new(Running { _input: input, _output: output })))
    }
}

impl Card {
    fn record<T: SizedSample>(
        &self,
        rate: SampleRate,
        mut writer: TrackWriter,
    ) -> anyhow::Result<cpal::Stream>
    where
        i16: FromSample<T>,
    {
        let (device, config) = &self.input;
        let config: StreamConfig = (*config).into();
        let channels = usize::from(config.channels).max(1);
        let mut resampler = Resampler::new(device_rate(config.sample_rate)?, rate);
        let (mut mono, mut ready) = (Vec::new(), Vec::new());
        let frame = rate.samples(FRAME);
        let stream = device.build_input_stream(
            config,
            move |data: &[T], _| {
                mono.clear();
                mono.extend(data.chunks(channels).map(|all| cpal::Sample::to_sample::<i16>(all[0])));
                resampler.process(&mono, &mut ready);
                let whole = ready.len() / frame * frame;
                for pcm in ready[..whole].chunks(frame) {
                    let view = AudioBuf::voice(Vec::new(), rate);
                    // A full ring means that the call is a second behind: the sound is dropped, not delayed.
                    let _ = writer.push(AudioFrame { pcm, ..view.frame() });
                }
                ready.drain(..whole);
            },
            |error| tracing::warn!(%error, "the microphone failed"),
            None,
        );
        stream.context("the microphone cannot be opened")
    }

    fn play<T: SizedSample + FromSample<i16>>(
        &self,
        rate: SampleRate,
        mut reader: TrackReader,
    ) -> anyhow::Result<cpal::Stream> {
        let (device, config) = &self.output;
        let config: StreamConfig = (*config).into();
        let channels = usize::from(config.channels).max(1);
        let mut resampler = Resampler::new(rate, device_rate(config.sample_rate)?);
        let mut ready: Vec<i16> = Vec::new();
        let stream = device.build_output_stream(
            config,
            move |data: &mut [T], _| {
                let wanted = data.len() / channels;
                while ready.len() < wanted
                    && reader.pop(|frame| resampler.process(frame.pcm, &mut ready)).is_some()
                {
                }
                let there = ready.len().min(wanted);
                for (all, sample) in
                    data.chunks_mut(channels).zip(ready.drain(..there).chain(std::iter::repeat(0)))
                {
                    all.fill(T::from_sample(sample));
                }
            },
            |error| tracing::warn!(%error, "the loudspeaker failed"),
            None,
        );
        stream.context("the loudspeaker cannot be opened")
    }
}

fn device_rate(hz: u32) -> anyhow::Result<SampleRate> {
    SampleRate::new(hz).with_context(|| format!("the sound device runs at {hz} Hz, which is not possible"))
}
