//! G.711 legs on loopback, answered or bridged in pairs, recorded, gated and both tracks forked to a consumer: what they
//! cost in CPU and memory.
//!
//! The phones are another process of this program, so that their cost is counted apart. Linux only: the figures come
//! from `/proc`.
#![expect(clippy::print_stdout, reason = "it prints what it measured")]
#![expect(clippy::disallowed_methods, reason = "a load program lives in real time")]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use antiphon_media_codec::{CodecKind, Encoder, GateConfig};
use antiphon_media_frame::{Direction, Doorbell, MediaTime, SampleRate, Span, TrackReader, track_ring};
use antiphon_media_link::{Link, OVERHEAD, SrtpKeys, Suite};
use antiphon_media_plane::{
    Clip, ClipId, Format, HearId, Leg, LegCommand, LegConfig, LegEvent, LegHandle, PortPool, RecordWriter,
    ShardConfig, Shards, Sound, Tap, TapId, Taps,
};
use antiphon_media_rtp::Sender;
use antiphon_media_testkit::speech_like;
use anyhow::{Context, bail};
use clap::Parser;

const HOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const RATE: SampleRate = SampleRate::HZ_8000;
const FRAME: Span = Span::from_millis(20);

#[derive(Parser)]
struct Args {
    /// Legs at once, one run for each number.
    #[arg(long, value_delimiter = ',', default_value = "50", value_parser = clap::value_parser!(u16).range(1..=2_000))]
    calls: Vec<u16>,
    /// Legs hear each other in pairs instead of prompts; an odd one hears a prompt.
    #[arg(long)]
    bridged: bool,
    /// Media is protected by SRTP (AES_CM_128_HMAC_SHA1_80).
    #[arg(long)]
    srtp: bool,
    /// Rate of the fork of both tracks.
    #[arg(long, default_value_t = 8_000, value_parser = clap::value_parser!(u32).range(8_000..=48_000))]
    fork_hz: u32,
    /// Shards.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=64))]
    threads: u8,
    /// Seconds measured in each run.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// First RTP port; below the ports the system gives to the phones.
    #[arg(long, default_value_t = 16_000)]
    port: u16,
    /// Internal: be the phones of this many calls.
    #[arg(long, hide = true)]
    phones: Option<u16>,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    if let Some(phones) = args.phones {
        return be_phones(phones, args.srtp);
    }
    println!("legs   shard    writer   reader   process  a leg    phones   memory   worst    packets");
    println!(
        "       % core   % core   % core   % core   % core   % core   MB/leg   tick ms  lost of received"
    );
    for calls in &args.calls {
        println!("{}", measure(*calls, &args)?);
    }
    Ok(())
}

/// Processor time a thread or process has had.
fn cpu(path: &str) -> Duration {
    let text = fs::read_to_string(path).unwrap_or_default();
    Duration::from_nanos(text.split(' ').next().and_then(|nanos| nanos.parse().ok()).unwrap_or(0))
}

/// The same for all threads of this process, by name.
fn threads() -> anyhow::Result<Vec<(String, Duration)>> {
    let mut all = Vec::new();
    for task in fs::read_dir("/proc/self/task")? {
        let path = task?.path();
        let name = fs::read_to_string(path.join("comm")).unwrap_or_default().trim().to_owned();
        all.push((name, cpu(&path.join("schedstat").to_string_lossy())));
    }
    Ok(all)
}

fn resident_kb() -> anyhow::Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).context("no VmRSS")?;
    line.split_whitespace().nth(1).context("no VmRSS")?.parse().context("no VmRSS")
}

struct Phones {
    process: Child,
    addresses: Vec<SocketAddr>,
}

impl Phones {
    fn start(count: u16, srtp: bool) -> anyhow::Result<Self> {
        let mut process = Command::new(std::env::current_exe()?)
            .args(["--phones", &count.to_string()])
            .args(srtp.then_some("--srtp"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let lines = BufReader::new(process.stdout.take().context("piped")?).lines();
        let addresses =
            lines.take(usize::from(count)).map(|line| Ok(line?.parse()?)).collect::<anyhow::Result<_>>()?;
        Ok(Self { process, addresses })
    }

    /// Tells every phone whom to call; they talk from here on.
    fn talk(&mut self, to: &[SocketAddr]) -> anyhow::Result<()> {
        let input = self.process.stdin.as_mut().context("piped")?;
        for address in to {
            writeln!(input, "{address}")?;
        }
        Ok(input.flush()?)
    }

    fn cpu(&self) -> Duration {
        cpu(&format!("/proc/{}/schedstat", self.process.id()))
    }
}

impl Drop for Phones {
    fn drop(&mut self) {
        // It may have ended by itself; either way nothing is left of it.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn measure(calls: u16, args: &Args) -> anyhow::Result<String> {
    let (seconds, first_port) = (args.seconds, args.port);
    let fork = SampleRate::new(args.fork_hz).context("no rate")?;
    let mut phones = Phones::start(calls, args.srtp)?;
    let last = first_port.checked_add(calls * 2 - 1).context("the ports end at 65535")?;
    let ports = PortPool::new(first_port..=last)?;
    let before_kb = resident_kb()?;
    let folder = tempfile::tempdir()?;
    let config = ShardConfig { name: "shard".into(), legs: usize::from(calls) + usize::from(args.threads) };
    let shard = Shards::start(&config, usize::from(args.threads))?;
    let writer = RecordWriter::start()?;
    let bell = Doorbell::new();
    let prompt: Arc<[i16]> = speech_like(2, RATE, Span::from_secs(30)).into();
    let (lost, received) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let (mut legs, mut readers, mut addresses) = (Vec::new(), Vec::new(), Vec::new());
    for (n, remote) in phones.addresses.clone().into_iter().enumerate() {
        let pair = ports.bind(HOST)?;
        addresses.push(pair.address()?);
        let tracks = writer.record(folder.path().join(format!("{n}.wav")), RATE, Box::new(|_| ()))?;
        let mut ring = || {
            let (writer, reader) = track_ring(fork, 250, Span::from_millis(25), Arc::clone(&bell));
            readers.push(reader);
            Tap::new(RATE, writer)
        };
        let taps = Taps {
            received: vec![Tap::new(RATE, tracks.received), ring()],
            sent: vec![Tap::new(RATE, tracks.sent), ring()],
        };
        let link = if args.srtp { Link::sdes(keys(1)?, keys(2)?) } else { Link::plain() };
        let leg = Leg::new(leg_config(remote, n as u32), taps, MediaTime::ZERO).over(link);
        let (lost, received) = (Arc::clone(&lost), Arc::clone(&received));
        let tell = Box::new(move |event| {
            if let LegEvent::Closed { figures, .. } = event {
                lost.fetch_add(figures.lost + figures.late, Ordering::Relaxed);
                received.fetch_add(figures.received, Ordering::Relaxed);
            }
        });
        let leg = shard.add(pair, leg, Instant::now(), tell)?;
        legs.push(leg);
    }
    let mut alone = &legs[..];
    if args.bridged {
        let (pairs, odd) = legs.as_chunks::<2>();
        pairs.iter().try_for_each(bridge)?;
        alone = odd;
    }
    talk_on(alone, &prompt, 0)?;
    let stop = Arc::new(AtomicBool::new(false));
    let reading = Arc::clone(&stop);
    let reader =
        std::thread::Builder::new().name("reader".into()).spawn(move || drain(readers, &bell, &reading))?;
    phones.talk(&addresses)?;
    std::thread::sleep(Duration::from_secs(2));

    let (start, before, phones_before, figures) = (Instant::now(), threads()?, phones.cpu(), shard.total());
    for round in 0..seconds {
        std::thread::sleep(Duration::from_secs(1));
        if round % 25 == 24 {
            talk_on(alone, &prompt, round as u32)?;
        }
    }
    let (took, after, phones_after) = (start.elapsed().as_secs_f64(), threads()?, phones.cpu());
    let memory = resident_kb()?.saturating_sub(before_kb) as f64 / 1_024.0 / f64::from(calls);
    let worst = shard.total();
    if worst.skipped > figures.skipped {
        println!("(the shard skipped {} ticks)", worst.skipped - figures.skipped);
    }
    drop(legs);
    drop(shard);
    drop(writer);
    stop.store(true, Ordering::Release);
    if reader.join().is_err() {
        bail!("the reader failed");
    }
    let share = |name: &str| {
        let sum = |all: &[(String, Duration)]| -> f64 {
            all.iter().filter(|(n, _)| n.starts_with(name)).map(|(_, cpu)| cpu.as_secs_f64()).sum()
        };
        (sum(&after) - sum(&before)) / took * 100.0
    };
    let (lost, received) = (lost.load(Ordering::Relaxed), received.load(Ordering::Relaxed));
    Ok(format!(
        "{calls:<6} {:<8.2} {:<8.2} {:<8.2} {:<8.2} {:<8.3} {:<8.2} {:<8.2} {:<8.1} {lost} of {received}",
        share("shard"),
        share("record"),
        share("reader"),
        share(""),
        share("") / f64::from(calls),
        (phones_after - phones_before).as_secs_f64() / took * 100.0,
        memory,
        worst.worst_delay.as_secs_f64() * 1e3,
    ))
}

fn clip(id: u32, prompt: &Arc<[i16]>) -> Clip {
    Clip {
        id: ClipId(id),
        sound: Sound::Whole(Arc::clone(prompt), RATE),
        interruptible: false,
        repeat: false,
    }
}

/// Lets two legs hear each other.
fn bridge(pair: &[LegHandle; 2]) -> anyhow::Result<()> {
    for (from, to) in [(0, 1), (1, 0)] {
        let (writer, reader) = track_ring(RATE, 16, Span::from_millis(25), Doorbell::new());
        let tap = TapId(1);
        pair[from].send(LegCommand::Tap { id: tap, track: Direction::Received, writer })?;
        pair[to].send(LegCommand::Hear { source: HearId(1), reader, gain: 1.0 })?;
    }
    Ok(())
}

/// The keys of one direction.
fn keys(octet: u8) -> anyhow::Result<SrtpKeys> {
    let suite = Suite::AesCm128HmacSha1_80;
    Ok(SrtpKeys::new(suite, &vec![octet; suite.key_len()], &vec![octet; suite.salt_len()])?)
}

/// Queues the prompt again, so that nobody falls silent.
fn talk_on(legs: &[LegHandle], prompt: &Arc<[i16]>, round: u32) -> anyhow::Result<()> {
    for leg in legs {
        leg.send(LegCommand::Play(clip(round + 2, prompt)))?;
    }
    Ok(())
}

/// Stands for the recognisers: takes all that is there ten times a second.
fn drain(mut readers: Vec<TrackReader>, bell: &Doorbell, stop: &AtomicBool) {
    let mut loud = 0u64;
    while !stop.load(Ordering::Acquire) {
        std::thread::sleep(Duration::from_millis(100));
        bell.wait(Duration::from_millis(1));
        for reader in &mut readers {
            while let Some(sum) =
                reader.pop(|frame| frame.pcm.iter().map(|s| u64::from(s.unsigned_abs())).sum::<u64>())
            {
                loud = loud.wrapping_add(sum);
            }
        }
    }
    std::hint::black_box(loud);
}

fn leg_config(remote: SocketAddr, n: u32) -> LegConfig {
    LegConfig {
        format: Format { telephone_event: Some(101), ..Format::new(CodecKind::Pcmu) },
        remote: Some(remote),
        remote_rtcp: Some(remote),
        send: true,
        receive: true,
        gate: GateConfig::default(),
        barge_in: Span::from_millis(200),
        silence: Span::from_secs(10),
        ssrc: n + 1,
        first_sequence: n as u16,
        first_timestamp: n,
        cname: format!("load-{n}"),
        wallclock: Duration::ZERO,
        ..LegConfig::new(CodecKind::Pcmu)
    }
}

/// Says where every phone listens, is told whom each calls, and talks until it is ended or its input closes.
fn be_phones(count: u16, srtp: bool) -> anyhow::Result<()> {
    let sockets = (0..count).map(|_| UdpSocket::bind((HOST, 0))).collect::<Result<Vec<_>, _>>()?;
    for socket in &sockets {
        socket.set_nonblocking(true)?;
        println!("{}", socket.local_addr()?);
    }
    let lines = std::io::stdin().lines().take(sockets.len());
    let to = lines.map(|line| Ok(line?.parse()?)).collect::<anyhow::Result<Vec<SocketAddr>>>()?;
    let mut encoder = Encoder::new(CodecKind::Pcmu);
    let payloads: Vec<[u8; 160]> = speech_like(1, RATE, Span::from_secs(20))
        .chunks_exact(RATE.samples(FRAME))
        .map(|pcm| {
            let mut payload = [0; 160];
            encoder.encode(pcm, &mut payload).map(|_| payload)
        })
        .collect::<Result<_, _>>()?;
    let mut senders: Vec<Sender> = (0..count).map(|n| Sender::new(u32::from(n) + 1, n, 0, 8_000)).collect();
    let mut links = (0..count)
        .map(|_| Ok(if srtp { Link::sdes(keys(2)?, keys(1)?) } else { Link::plain() }))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let parent = std::os::unix::process::parent_id();
    let (start, mut buffer) = (Instant::now(), [0; 2_048]);
    let mut round = 0u64;
    while std::os::unix::process::parent_id() == parent {
        // A fifth of the phones each 4 ms, as real ones are spread.
        for part in 0..5 {
            let due = start + Duration::from_millis(round * 20 + part * 4);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            for n in (part as usize..sockets.len()).step_by(5) {
                let payload = &payloads[(round as usize + n * 37) % payloads.len()];
                let mut wire = [0; 256 + OVERHEAD];
                let length = senders[n].packet(0, 160, payload).write(&mut wire[..256])?;
                let length = links[n].protect_rtp(&mut wire, length).context("not protected")?;
                // A leg that is gone already refuses it.
                let _ = sockets[n].send_to(&wire[..length], to[n]);
                while sockets[n].recv_from(&mut buffer).is_ok() {}
            }
        }
        round += 1;
    }
    Ok(())
}
