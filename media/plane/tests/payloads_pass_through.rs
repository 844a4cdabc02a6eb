//! Two legs with one codec hear each other bit by bit as it was sent, as long as nothing else is to be heard.

use std::net::SocketAddr;

use antiphon_media_codec::{CodecKind, Decoder, Encoder, tone::sine};
use antiphon_media_frame::{Direction, MediaTime, Span};
use antiphon_media_plane::{
    Clip, ClipId, HearId, Leg, LegCommand, LegConfig, Sound, TapId, Taps, Transmit, bridge_ring,
};
use antiphon_media_rtp::{Sender, parse};
use antiphon_media_testkit::speech_like;

fn phone(n: u16) -> SocketAddr {
    ([127, 0, 0, 1], 4_000 + n).into()
}

/// The payloads that are sent.
#[derive(Default)]
struct Sent(Vec<Vec<u8>>);

impl Transmit for Sent {
    fn rtp(&mut self, _: SocketAddr, datagram: &[u8]) {
        self.0.push(parse(datagram).expect("the leg sends RTP").payload.to_vec());
    }

    fn rtcp(&mut self, _: SocketAddr, _: &[u8]) {}
}

struct Bridge {
    /// Who speaks, and who hears it.
    legs: [Leg; 2],
    sent: [Sent; 2],
    codec: CodecKind,
    encoder: Encoder,
    sender: Sender,
    said: Vec<Vec<u8>>,
    ticks: i64,
}

impl Bridge {
    fn new(codecs: [CodecKind; 2]) -> Self {
        let mut legs = [0u16, 1].map(|n| {
            let codec = codecs[usize::from(n)];
            let config = LegConfig {
                remote: Some(phone(n)),
                silence: Span::from_secs(1_000),
                ..LegConfig::new(codec)
            };
            Leg::new(config, Taps::default(), MediaTime::ZERO)
        });
        let (writer, reader) = bridge_ring(legs[0].rate());
        let track = Direction::Received;
        legs[0].command(MediaTime::ZERO, LegCommand::Tap { id: TapId(1), track, writer });
        legs[1].command(MediaTime::ZERO, LegCommand::Hear { source: HearId(1), reader, gain: 1.0 });
        let codec = codecs[0];
        Self {
            legs,
            sent: Default::default(),
            codec,
            encoder: Encoder::new(codec),
            sender: Sender::new(9, 1, 1, codec.rtp_clock_hz()),
            said: Vec::new(),
            ticks: 0,
        }
    }

    fn now(&self) -> MediaTime {
        MediaTime::from_millis(self.ticks * 20)
    }

    fn say(&mut self, pcm: &[i16]) {
        for frame in pcm.chunks_exact(self.codec.sample_rate().hz() as usize / 50) {
            let (mut payload, mut wire) = ([0; 1_400], [0; 1_500]);
            let length = self.encoder.encode(frame, &mut payload).expect("room");
            self.said.push(payload[..length].to_vec());
            let ticks = self.codec.ticks_of(frame.len());
            let packet = self.sender.packet(self.codec.payload_type(), ticks, &payload[..length]);
            let length = packet.write(&mut wire).expect("room");
            let now = self.now();
            self.legs[0].handle_rtp(now, phone(0), &mut wire[..length]);
            for (leg, sent) in self.legs.iter_mut().zip(&mut self.sent) {
                leg.tick(now, sent);
                while leg.poll_event().is_some() {}
            }
            self.ticks += 1;
        }
    }

    /// How many of the payloads said last were sent on as they were.
    fn passed(&self, last: usize) -> usize {
        let said: std::collections::HashSet<_> = self.said.iter().collect();
        self.sent[1].0.iter().rev().take(last).filter(|payload| said.contains(payload)).count()
    }

    fn play(&mut self, pcm: Vec<i16>) {
        let sound = Sound::Whole(pcm.into(), self.legs[1].rate());
        let clip = Clip { id: ClipId(1), sound, interruptible: false, repeat: false };
        let now = self.now();
        self.legs[1].command(now, LegCommand::Play(clip));
    }
}

#[test]
fn one_codec_on_both_sides_is_passed_on_bit_by_bit_also_behind_a_prompt() {
    for codec in [CodecKind::G722, CodecKind::Opus, CodecKind::Pcmu] {
        let mut bridge = Bridge::new([codec, codec]);
        let speech = speech_like(4, codec.sample_rate(), Span::from_secs(6));
        let (first, rest) = speech.split_at(speech.len() / 3);
        bridge.say(first);
        assert_eq!(bridge.passed(90), 90, "{codec}");
        bridge.play(sine(700.0, -12.0, codec.sample_rate(), Span::from_secs(1)));
        let (second, third) = rest.split_at(rest.len() / 2);
        bridge.say(&second[..second.len() / 4]);
        assert!(bridge.passed(20) <= 1, "{codec}: a prompt is mixed in");
        bridge.say(&second[second.len() / 4..]);
        bridge.say(third);
        assert_eq!(bridge.passed(120), 120, "{codec}");
        // In the order in which they were said.
        let sent = &bridge.sent[1].0;
        let start = bridge.said.iter().position(|payload| *payload == sent[sent.len() - 50]).expect("said");
        assert_eq!(sent[sent.len() - 50..], bridge.said[start..start + 50], "{codec}");
    }
}

#[test]
fn a_prompt_comes_in_and_goes_without_a_click() {
    for codec in [CodecKind::G722, CodecKind::Pcmu] {
        let mut bridge = Bridge::new([codec, codec]);
        let rate = codec.sample_rate();
        let tone = sine(300.0, -20.0, rate, Span::from_secs(6));
        let (first, rest) = tone.split_at(tone.len() / 3);
        bridge.say(first);
        bridge.play(sine(500.0, -26.0, rate, Span::from_secs(1)));
        bridge.say(rest);
        let mut decoder = Decoder::new(codec);
        let mut heard = Vec::new();
        for payload in &bridge.sent[1].0 {
            let mut pcm = [0; 640];
            let count = decoder.decode(payload, &mut pcm).expect("room");
            heard.extend_from_slice(&pcm[..count]);
        }
        let step = |pcm: &[i16]| pcm.windows(2).map(|p| (i32::from(p[1]) - i32::from(p[0])).abs()).max();
        let steady = step(&heard[rate.hz() as usize..rate.hz() as usize * 2 - 1_000]).expect("some");
        let worst = step(&heard[rate.hz() as usize..]).expect("some");
        // The second tone is half as strong and steeper by two thirds.
        assert!(worst <= steady * 2 + 200, "{codec}: a step of {worst} where the tones have {steady}");
    }
}

#[test]
fn different_codecs_are_transcoded() {
    let mut bridge = Bridge::new([CodecKind::Pcma, CodecKind::Pcmu]);
    bridge.say(&speech_like(4, CodecKind::Pcma.sample_rate(), Span::from_secs(2)));
    assert!(bridge.passed(90) < 5);
    assert_eq!(bridge.sent[1].0.len(), 100);
}
