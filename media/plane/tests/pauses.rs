//! What is sent while nothing is said: everything, or where both sides want it so a description of the background.

use std::net::SocketAddr;

use antiphon_media_codec::CodecKind;
use antiphon_media_codec::tone::sine;
use antiphon_media_frame::{MediaTime, SampleRate, Span};
use antiphon_media_plane::{
    Clip, ClipId, Format, Leg, LegCommand, LegConfig, LegEvent, Sound, Taps, Transmit,
};
use antiphon_media_rtp::{is_rtcp, parse};

const RATE: SampleRate = SampleRate::HZ_8000;
const NOISE: u8 = 13;

/// A packet that was sent: type, marker, timestamp, payload.
type Packet = (u8, bool, u32, Vec<u8>);

#[derive(Default)]
struct Sent(Vec<Packet>, Vec<Vec<u8>>);

impl Transmit for Sent {
    fn rtp(&mut self, _: SocketAddr, datagram: &[u8]) {
        if !is_rtcp(datagram) {
            let packet = parse(datagram).expect("RTP");
            self.0.push((packet.payload_type, packet.marker, packet.timestamp, packet.payload.to_vec()));
            self.1.push(datagram.to_vec());
        }
    }

    fn rtcp(&mut self, _: SocketAddr, _: &[u8]) {}
}

fn address() -> SocketAddr {
    ([192, 0, 2, 1], 4_000).into()
}

fn leg(suppress_silence: bool, comfort_noise: Option<u8>) -> Leg {
    let codec = CodecKind::Pcmu;
    let config = LegConfig {
        format: Format { comfort_noise, ..Format::new(codec) },
        remote: Some(address()),
        suppress_silence,
        ..LegConfig::new(codec)
    };
    Leg::new(config, Taps::default(), MediaTime::ZERO)
}

/// Half a second of a tone, two seconds of nothing, and the tone again.
fn talk(leg: &mut Leg) -> Sent {
    let mut sent = Sent::default();
    for tick in 0..150 {
        let now = MediaTime::from_millis(tick * 20);
        if tick == 0 || tick == 125 {
            let sound = Sound::Whole(sine(440.0, -20.0, RATE, Span::from_millis(500)).into(), RATE);
            let clip = Clip { id: ClipId(tick as u32), sound, interruptible: false, repeat: false };
            leg.command(now, LegCommand::Play(clip));
        }
        leg.tick(now, &mut sent);
    }
    sent
}

#[test]
fn silence_is_sent_unless_both_sides_want_it_otherwise() {
    for (suppress, agreed) in [(false, Some(NOISE)), (false, None), (true, None)] {
        let sent = talk(&mut leg(suppress, agreed));
        assert_eq!(sent.0.len(), 150, "{suppress} {agreed:?}");
        assert!(sent.0.iter().all(|packet| packet.0 == 0));
    }
}

#[test]
fn a_description_twice_a_second_stands_for_silence() {
    let sent = talk(&mut leg(true, Some(NOISE)));
    let (voice, noise): (Vec<_>, Vec<_>) = sent.0.iter().partition(|packet| packet.0 == 0);
    // 25 frames of tone and ten of silence behind it, then the second tone.
    assert_eq!(voice.len(), 25 + 10 + 25);
    assert_eq!(noise.len(), 4, "of 90 frames every 25th, the first included");
    for (n, (_, marker, timestamp, payload)) in noise.iter().enumerate() {
        assert!(!marker);
        assert_eq!(*timestamp, (35 + n as u32 * 25) * 160, "it says when");
        assert_eq!((payload.len(), payload[0]), (11, 127), "there is no background between prompts");
    }
    // A talkspurt begins with the marker (RFC 3551 section 4.1) where the clock stands.
    assert_eq!(voice.iter().map(|packet| packet.1).filter(|marker| *marker).count(), 2);
    assert_eq!((voice[35].1, voice[35].2), (true, 125 * 160));
}

#[test]
fn the_far_side_takes_it_for_a_pause_and_not_for_loss() {
    let sent = talk(&mut leg(true, Some(NOISE)));
    let mut far = leg(false, Some(NOISE));
    let mut waiting = sent.1.iter().zip(&sent.0).peekable();
    let mut sink = Sent::default();
    for tick in 0..160u32 {
        let now = MediaTime::from_millis(i64::from(tick) * 20 + 30);
        while let Some((datagram, _)) = waiting.next_if(|(_, packet)| packet.2 <= tick * 160) {
            far.handle_rtp(now, address(), &mut datagram.clone());
        }
        far.tick(now, &mut sink);
        while let Some(event) = far.poll_event() {
            assert!(!matches!(event, LegEvent::Silent { .. }));
        }
    }
    let figures = far.figures();
    assert_eq!((figures.received, figures.lost, figures.invalid), (64, 0, 0), "{figures:?}");
    assert!(figures.concealed <= Span::from_millis(100), "{figures:?}");
}
