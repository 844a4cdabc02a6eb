//! What all calls of a server share.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime};

use antiphon_engine_flow::Flow;
use antiphon_engine_qa::Scorecard;
use antiphon_media_codec::GateConfig;
use antiphon_media_frame::{CallId, SampleRate, Span};
use antiphon_media_link::Identity;
use antiphon_media_plane::{
    IceListener, IceListenerConfig, LegConfig, PortPool, RecordWriter, ShardConfig, Shards,
};
use antiphon_media_record::AudioReader;
use antiphon_media_sip::sdp::{LocalMedia, Negotiated};
use antiphon_media_sip::{Agent, Registrar, TlsIdentity};
use antiphon_models_backends::{CacheSettings, VoiceSettings, open_voice};
use antiphon_models_pool::{Endpointing, Pool};
use antiphon_models_speech::{Engine, Hints, Language, StreamConfig, Synthesizer};
use anyhow::{Context, bail};
use rand::Rng;

use crate::assist::Profiles;
use crate::calls::Calls;
use crate::config::Config;
use crate::ears;
use crate::hearing::Means;
use crate::line::Dialogs;
use crate::models;
use crate::mouth::Mouth;
use crate::mrcp::Mrcp;
use crate::qa::live;
use crate::recognizers::{Opened, Recognizers};
use crate::renegotiate::format_of;
use crate::setup::Door;
use crate::sip;
use crate::switch::Switch;
use crate::trunks::Router;
use crate::web::Sessions;

/// The flow that answers where none is configured.
pub(crate) const BANK: &str = include_str!("../../../examples/flows/bank.yaml");

/// What all calls of a server share.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) calls: Arc<Calls>,
    pub(crate) shards: Shards,
    pub(crate) ports: PortPool,
    /// Where those connect that cannot use UDP.
    pub(crate) ice_tcp: Option<IceListener>,
    pub(crate) writer: RecordWriter,
    pub(crate) pool: Pool,
    /// Who hears whom.
    pub(crate) recognizers: Recognizers,
    pub(crate) mouth: Arc<Mouth>,
    pub(crate) flows: RwLock<Arc<Flows>>,
    /// Who may call whom over what.
    pub(crate) router: Router,
    /// Where telephones register, if they may.
    pub(crate) registrar: Option<Arc<Registrar>>,
    /// By what calls in progress are judged.
    pub(crate) scorecards: Arc<[Arc<Scorecard>]>,
    /// What agents are helped with.
    pub(crate) assist: Profiles,
    /// Calls joined with calls.
    pub(crate) switch: Switch,
    /// Calls by their SIP dialogs.
    pub(crate) dialogs: Dialogs,
    /// Sessions of MRCPv2.
    pub(crate) mrcp: Mrcp,
    /// What web pages hold open.
    pub(crate) web: Sessions,
    /// Our certificate for DTLS, made at the start.
    pub(crate) identity: Arc<Identity>,
    /// Our certificate for SIP over TLS, if there is one.
    pub(crate) certificate: Option<Arc<TlsIdentity>>,
    /// Set once SIP listens.
    agent: OnceLock<Arc<Agent>>,
    pub(crate) started: Instant,
}

/// The flows in force. Calls under way keep the ones they began with.
pub(crate) struct Flows {
    default: Arc<Flow>,
    numbers: BTreeMap<String, Arc<Flow>>,
    /// Those that routes lead to, by their files.
    routed: BTreeMap<PathBuf, Arc<Flow>>,
}

impl Flows {
    /// Loads every configured flow; all problems of all files are told.
    pub(crate) fn load(config: &Config) -> anyhow::Result<Self> {
        let load = |path: &PathBuf| -> anyhow::Result<Arc<Flow>> {
            let flow = Flow::load_with(path, &|name| std::env::var(name).ok())
                .map_err(|e| anyhow::anyhow!("{e}"))?;
            for warning in flow.warnings() {
                tracing::warn!("{warning}");
            }
            Ok(Arc::new(flow))
        };
        let default = match &config.flow.file {
            Some(path) => load(path)?,
            None => Arc::new(Flow::parse(BANK, Path::new("bank.yaml")).context("the built-in flow")?),
        };
        let numbers = config.flow.numbers.iter().map(|(number, path)| Ok((number.clone(), load(path)?)));
        let numbers = numbers.collect::<anyhow::Result<_>>()?;
        let routed = config.routes.iter().filter_map(|route| route.flow.as_ref());
        let routed = routed.map(|path| Ok((path.clone(), load(path)?))).collect::<anyhow::Result<_>>()?;
        Ok(Self { default, numbers, routed })
    }

    fn all(&self) -> impl Iterator<Item = &Arc<Flow>> {
        std::iter::once(&self.default).chain(self.numbers.values()).chain(self.routed.values())
    }

    /// The flow of a file that a route names.
    pub(crate) fn at(&self, path: &Path) -> Option<Arc<Flow>> {
        self.routed.get(path).cloned()
    }

    pub(crate) fn of(&self, called: &str) -> Arc<Flow> {
        Arc::clone(self.numbers.get(called).unwrap_or(&self.default))
    }
}

impl Shared {
    /// Opens models, voices, ports and threads.
    pub(crate) fn open(mut config: Config) -> anyhow::Result<Arc<Self>> {
        let (first, last) = config.media.rtp_ports;
        let flows = Flows::load(&config)?;
        check_music(&config)?;
        let languages: BTreeSet<String> = flows.all().map(|flow| flow.language().primary()).collect();
        models::settle(&mut config, &languages.into_iter().collect::<Vec<_>>())?;
        let recognizers = Recognizers::open(&config)?;
        for Opened { engine, languages } in recognizers.all() {
            // Those of tenants need not know what the flows speak.
            match languages {
                Some(languages) => warm_up(engine.as_ref(), languages.into_iter()),
                None => warm_up(engine.as_ref(), flows.all().map(|flow| flow.language())),
            }
            if !engine.heeds_hints() {
                tracing::warn!(
                    engine = engine.name(),
                    "this recogniser heeds no hints: phrases of flows, grammars, jobs and clients change nothing in what it \
                     hears; transducer, pocketsphinx, whisper and candle heed them"
                );
            }
        }
        let streams = config.call.concurrent;
        let voices = voices(&config)?;
        let pool = config.pool.open(config.recognizer.workers, streams, &config.tenants);
        let pool = Pool::start(&pool)?;
        if config.pool.calibrate {
            let voice = voices.get("en").or_else(|| voices.get("*"));
            for Opened { engine, .. } in recognizers.all() {
                ears::time(&pool, engine, voice.map(|voice| &**voice));
            }
        }
        Ok(Arc::new(Self {
            calls: Calls::new().context("cannot start the event writer")?,
            shards: Shards::start(&ShardConfig { name: "shard".into(), legs: streams }, shards())?,
            ports: PortPool::new(first..=last)?,
            ice_tcp: ice_tcp(&config)?,
            writer: RecordWriter::start()?,
            pool,
            recognizers,
            mouth: Mouth::new(voices),
            flows: RwLock::new(Arc::new(flows)),
            router: Router::new(&config),
            registrar: sip::registrar(&config),
            scorecards: live::scorecards(&config.qa)?,
            assist: Profiles::open(&config)?,
            switch: Switch::default(),
            dialogs: Dialogs::default(),
            mrcp: Mrcp::new(&config.mrcp),
            web: Sessions::default(),
            identity: Arc::new(Identity::generate().context("cannot make a certificate for DTLS")?),
            certificate: sip::certificate(&config.tls)?,
            agent: OnceLock::new(),
            started: Instant::now(),
            config,
        }))
    }

    /// What a tenant's sound is heard with.
    pub(crate) fn means(&self, tenant: &str) -> Means<'_> {
        Means { config: &self.config, pool: &self.pool, engines: self.recognizers.of(tenant) }
    }

    /// The SIP agent, once it listens.
    pub(crate) fn agent(&self) -> Option<&Arc<Agent>> {
        self.agent.get()
    }

    /// SIP listens from here on.
    pub(crate) fn set_agent(&self, agent: Arc<Agent>) {
        // A server starts once.
        let _ = self.agent.set(agent);
    }

    pub(crate) fn flows(&self) -> Arc<Flows> {
        Arc::clone(&self.flows.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Loads the flows anew. On an error the old ones stay.
    pub(crate) fn reload_flows(&self) -> anyhow::Result<()> {
        let flows = Arc::new(Flows::load(&self.config)?);
        *self.flows.write().unwrap_or_else(PoisonError::into_inner) = flows;
        Ok(())
    }

    /// Our media address towards `peer`.
    pub(crate) fn media_address(&self, peer: SocketAddr) -> anyhow::Result<IpAddr> {
        if let Some(address) = self.config.sip.advertise {
            return Ok(address);
        }
        let listen = self.config.sip.listen.ip();
        if !listen.is_unspecified() {
            return Ok(listen);
        }
        // No packet is sent: connecting a UDP socket only asks the routing table.
        let probe = UdpSocket::bind(SocketAddr::new(listen, 0)).context("cannot ask for our own address")?;
        probe.connect(peer).with_context(|| format!("no route to {peer}"))?;
        Ok(probe.local_addr()?.ip())
    }

    pub(crate) fn leg_config(
        &self,
        agreed: &Negotiated,
        local: &LocalMedia,
        door: &Door,
    ) -> anyhow::Result<LegConfig> {
        let Some(format) = format_of(agreed) else {
            bail!("{} was agreed on but cannot be coded", agreed.codec.name());
        };
        let mut random = rand::rng();
        Ok(LegConfig {
            format,
            remote: Some(agreed.remote),
            remote_rtcp: Some(agreed.remote_rtcp),
            nat: door.nat,
            signaller: local.signaller,
            suppress_silence: self.config.media.silence_suppression,
            send: agreed.direction.sends(),
            receive: agreed.direction.receives(),
            gate: gate(),
            barge_in: self.config.media.barge_in.span(),
            silence: self.config.call.rtp_silence.span(),
            ssrc: random.random(),
            first_sequence: random.random(),
            first_timestamp: random.random(),
            cname: format!("{:016x}", door.id.0 as u64),
            wallclock: SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO),
            rtcp_mux: agreed.rtcp_mux,
            ..LegConfig::new(format.codec)
        })
    }

    /// Where a call's recording goes.
    pub(crate) fn recording_path(&self, id: CallId) -> PathBuf {
        let day = jiff::Timestamp::now().strftime("%Y-%m-%d").to_string();
        self.config.data.join("recordings").join(day).join(format!("{id}.wav"))
    }
}

/// Listens for those that cannot use UDP, if so configured.
fn ice_tcp(config: &Config) -> anyhow::Result<Option<IceListener>> {
    let start = |listen| {
        IceListener::start(IceListenerConfig::new(listen))
            .with_context(|| format!("media.ice_tcp: cannot listen on {listen}"))
    };
    config.media.ice_tcp.map(start).transpose()
}

/// Music on hold that cannot be read would otherwise be missed by the first who waits.
fn check_music(config: &Config) -> anyhow::Result<()> {
    let of_trunks = config.trunks.iter().map(|trunk| (format!("trunk.{}", trunk.name), &trunk.hold_music));
    for (key, file) in of_trunks.chain([("media".to_owned(), &config.media.hold_music)]) {
        if let Some(file) = file {
            AudioReader::open(file).with_context(|| format!("{key}.hold_music: {}", file.display()))?;
        }
    }
    Ok(())
}

impl Shared {
    /// What a tenant's people speak where nobody says: its own language, else that of the flow that answers.
    pub(crate) fn language(&self, tenant: &str) -> Language {
        let own = self.recognizers.language_of(tenant).cloned();
        own.unwrap_or_else(|| self.flows().default.language().clone())
    }
}

/// Threads for media: recognition wants the other half of the machine.
fn shards() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| (cores.get() / 2).max(1))
}

/// Shorter than the gate's default: the endpointer bridges pauses, and each call's answer waits for this.
pub(crate) fn gate() -> GateConfig {
    GateConfig { hangover: Span::from_millis(120), ..GateConfig::default() }
}

/// How utterances are cut, in calls and in files. The gate keeps an utterance open for its hangover; the endpoint counts
/// from the last sound, so the two overlap.
pub(crate) fn endpointing(config: &Config) -> Endpointing {
    Endpointing { endpoint: endpoint(config.recognizer.endpoint.0), ..Endpointing::default() }
}

/// What the endpointer waits for so that `wanted` passes after the last sound.
pub(crate) fn endpoint(wanted: Duration) -> Span {
    Span::from(wanted).saturating_sub(gate().hangover)
}

/// Opens a stream for every language once: the first one loads its model, and no caller should wait for that.
fn warm_up<'a>(engine: &dyn Engine, languages: impl Iterator<Item = &'a Language>) {
    // By tag: flows of one language need not stand side by side.
    let languages: BTreeMap<_, _> = languages.map(|language| (language.tag(), language.clone())).collect();
    for (tag, language) in languages {
        for source_rate in [SampleRate::HZ_16000, SampleRate::HZ_8000] {
            let config = StreamConfig { language: language.clone(), hints: Hints::default(), source_rate };
            if let Err(error) = engine.open(&config) {
                tracing::error!(language = tag, %error, "calls in this language cannot be understood");
                break;
            }
        }
    }
}

/// Opens the configured voices.
pub(crate) fn voices(config: &Config) -> anyhow::Result<BTreeMap<String, Arc<dyn Synthesizer>>> {
    let mut cache = CacheSettings::new(config.data.join("prompts"));
    cache.bytes = config.voice.cache_mib.saturating_mul(1 << 20);
    let mut voices: BTreeMap<String, Arc<dyn Synthesizer>> = BTreeMap::new();
    for (language, chosen) in models::voices(config)? {
        let settings = VoiceSettings {
            voice: None,
            cache: Some(cache.clone()),
            piper: chosen.piper,
            remote: config.voice.remote.clone(),
        };
        let voice =
            open_voice(&chosen.engine, &settings).with_context(|| format!("voice.engines.{language}"))?;
        voices.insert(language, voice);
    }
    Ok(voices)
}

/// A name for a call, unique across machines.
pub(crate) fn new_call_id() -> CallId {
    CallId(rand::rng().random())
}
