//! Offers of real devices and of nobody, answered.

use std::net::{IpAddr, Ipv4Addr};

use antiphon_media_sip::sdp::{
    Codec, LocalMedia, MediaDirection, Negotiated, Offer, Preference, SdpError, accept_answer, answer, offer,
};
use proptest::prelude::*;

fn local() -> LocalMedia {
    LocalMedia::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 9)), 4_000, 77)
}

fn with_media(media: &str) -> String {
    format!("v=0\r\no=- 1 2 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n{media}")
}

fn agreed(media: &str) -> Result<Negotiated, SdpError> {
    answered(media).map(|(_, negotiated)| negotiated)
}

fn answered(media: &str) -> Result<(String, Negotiated), SdpError> {
    answer(&Offer::parse(&with_media(media)).expect("a well-formed offer"), &local())
}

#[test]
fn wideband_is_preferred_unless_the_offerers_order_is_honoured() {
    let media = "m=audio 7000 RTP/AVP 0 8 9 101\r\na=rtpmap:101 telephone-event/8000\r\n";
    let negotiated = agreed(media).unwrap();
    assert_eq!((negotiated.codec, negotiated.payload_type), (Codec::G722, 9));
    assert_eq!(negotiated.telephone_event, Some(101));
    assert_eq!(negotiated.remote, "192.0.2.1:7000".parse().unwrap());
    assert_eq!(negotiated.remote_rtcp.port(), 7_001);
    let honour = LocalMedia { preference: Preference::Offerer, ..local() };
    let (_, negotiated) = answer(&Offer::parse(&with_media(media)).unwrap(), &honour).unwrap();
    assert_eq!(negotiated.codec, Codec::Pcmu);
}

#[test]
fn our_answer_satisfies_our_own_offer() {
    let ours = LocalMedia { rtcp_mux: true, ..local() };
    let theirs = LocalMedia { address: "192.0.2.200".parse().unwrap(), port: 9_000, ..ours.clone() };
    let (text, there) = answer(&Offer::parse(&offer(&ours)).unwrap(), &theirs).unwrap();
    let here = accept_answer(&ours, &text).unwrap();
    assert_eq!((here.codec, here.payload_type, here.telephone_event), (Codec::G722, 9, Some(101)));
    assert_eq!(here.remote, "192.0.2.200:9000".parse().unwrap());
    assert!(here.rtcp_mux && here.remote == here.remote_rtcp);
    assert_eq!(there.remote, "192.0.2.9:4000".parse().unwrap());
    assert!(text.contains("a=rtpmap:9 G722/8000\r\n"), "{text}");
}

#[test]
fn the_clock_of_g722_is_8000() {
    let dynamic = "m=audio 7000 RTP/AVP 96 0\r\na=rtpmap:96 G722/16000\r\n";
    assert_eq!(agreed(dynamic).unwrap().codec, Codec::Pcmu);
    let odd = agreed("m=audio 7000 RTP/AVP 9\r\na=rtpmap:9 G722/16000\r\n").unwrap();
    assert_eq!(odd.codec, Codec::G722);
    let mapped = agreed("m=audio 7000 RTP/AVP 96\r\na=rtpmap:96 g722/8000/1\r\n").unwrap();
    assert_eq!((mapped.codec, mapped.payload_type), (Codec::G722, 96));
    assert_eq!(agreed("m=audio 7000 RTP/AVP 0\r\na=rtpmap:0 PCMU/16000\r\n"), Err(SdpError::NoCommonCodec));
    assert_eq!(agreed("m=audio 7000 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000/2\r\n"), Err(SdpError::NoCommonCodec));
}

#[test]
fn the_event_with_the_codecs_clock_is_taken() {
    let media = "m=audio 7000 RTP/AVP 0 110 126\r\na=rtpmap:110 telephone-event/48000\r\n\
                 a=rtpmap:126 telephone-event/8000\r\n";
    assert_eq!(agreed(media).unwrap().telephone_event, Some(126));
    let (text, _) = answered("m=audio 7000 RTP/AVP 0 110\r\na=rtpmap:110 telephone-event/48000\r\n").unwrap();
    assert!(!text.contains("telephone-event"), "{text}");
}

#[test]
fn other_streams_are_switched_off_in_their_place() {
    let media = "m=video 5000 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\nm=audio 0 RTP/AVP 0\r\nm=audio 6000 RTP/SAVP 0\r\n\
                 m=audio 7000 RTP/AVP 8\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n";
    let (text, negotiated) = answered(media).unwrap();
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("m=")).collect();
    assert_eq!(
        lines,
        [
            "m=video 0 RTP/AVP 96",
            "m=audio 0 RTP/AVP 0",
            "m=audio 0 RTP/SAVP 0",
            "m=audio 4000 RTP/AVP 8",
            "m=application 0 UDP/DTLS/SCTP webrtc-datachannel",
        ]
    );
    assert_eq!(negotiated.codec, Codec::Pcma);
}

#[test]
fn hold_turns_the_direction_round() {
    for (attribute, expected) in [
        ("sendrecv", MediaDirection::SendRecv),
        ("sendonly", MediaDirection::RecvOnly),
        ("recvonly", MediaDirection::SendOnly),
        ("inactive", MediaDirection::Inactive),
    ] {
        let (text, negotiated) = answered(&format!("m=audio 7000 RTP/AVP 0\r\na={attribute}\r\n")).unwrap();
        assert_eq!(negotiated.direction, expected);
        assert!(text.ends_with(&format!(
            "a={}\r\n",
            match expected {
                MediaDirection::SendRecv => "sendrecv",
                MediaDirection::RecvOnly => "recvonly",
                MediaDirection::SendOnly => "sendonly",
                MediaDirection::Inactive => "inactive",
            }
        )));
    }
    let old = agreed("m=audio 7000 RTP/AVP 0\r\nc=IN IP4 0.0.0.0\r\n").unwrap();
    assert_eq!(old.direction, MediaDirection::RecvOnly);
    let session = with_media("a=inactive\r\nm=audio 7000 RTP/AVP 0\r\n");
    let (_, negotiated) = answer(&Offer::parse(&session).unwrap(), &local()).unwrap();
    assert_eq!(negotiated.direction, MediaDirection::Inactive);
}

#[test]
fn addresses_and_packet_times_come_from_where_they_are_written() {
    let media = "m=audio 7000 RTP/AVP 0\r\nc=IN IP4 198.51.100.7\r\na=rtcp:7100 IN IP4 198.51.100.8\r\na=maxptime:15\r\n";
    let negotiated = agreed(media).unwrap();
    assert_eq!(negotiated.remote, "198.51.100.7:7000".parse().unwrap());
    assert_eq!(negotiated.remote_rtcp, "198.51.100.8:7100".parse().unwrap());
    assert_eq!(negotiated.ptime_ms, 10);
    assert_eq!(agreed("m=audio 7000 RTP/AVP 0\r\na=ptime:60\r\na=maxptime:60\r\n").unwrap().ptime_ms, 20);
    let short = agreed("m=audio 7000 RTP/AVP 0\r\na=maxptime:5\r\n");
    assert_eq!(short, Err(SdpError::PacketTime { max_ms: 5 }));
    // No multiplexing unless this side does it too.
    let separate = agreed("m=audio 7000 RTP/AVP 0\r\na=rtcp-mux\r\n").unwrap();
    assert!(!separate.rtcp_mux && separate.remote_rtcp.port() == 7_001);
}

#[test]
fn what_cannot_be_met_is_refused_with_488() {
    let cases = [
        ("", SdpError::NoAudio),
        ("m=audio 0 RTP/AVP 0\r\n", SdpError::NoAudio),
        ("m=audio 7000 RTP/SAVP 0\r\n", SdpError::Profile { profile: "RTP/SAVP".into() }),
        ("m=audio 7000 RTP/SAVPF 0\r\n", SdpError::Profile { profile: "RTP/SAVPF".into() }),
        ("m=audio 7000 RTP/AVP 18\r\n", SdpError::NoCommonCodec),
        ("m=audio 7000 RTP/AVP 0\r\nc=IN IP4 media.example.com\r\n", SdpError::Address),
        ("m=audio 7000 RTP/AVP 0\r\nc=IN IP4 224.2.1.1/127\r\n", SdpError::Address),
        ("m=audio 7000 RTP/AVP 0\r\nc=IN IP6 2001:db8::1\r\n", SdpError::Address),
    ];
    for (media, expected) in cases {
        assert_eq!(expected.status(), 488);
        assert_eq!(agreed(media), Err(expected), "{media}");
    }
}

#[test]
fn what_cannot_be_read_is_refused_with_400() {
    let whole = with_media("m=audio 7000 RTP/AVP 0\r\n");
    let cases = [
        ("v=0", "v=1"),
        ("o=- 1 2 IN IP4 192.0.2.1\r\n", ""),
        ("o=- 1 2 IN IP4", "o=- 1 two IN IP4"),
        ("s=-\r\n", ""),
        ("t=0 0\r\n", ""),
        ("t=0 0", "t=0"),
        ("t=0 0", "t=0 0\r\nx=1"),
        ("c=IN IP4 192.0.2.1", "c=IN IP4 2001:db8::1"),
        ("c=IN IP4 192.0.2.1\r\n", "c=IN IP4 192.0.2.1\r\nc=IN IP4 192.0.2.1\r\n"),
        ("m=audio 7000", "m=audio 70000"),
        ("m=audio 7000", "m=audio +7000"),
        ("RTP/AVP 0", "RTP/AVP"),
        ("RTP/AVP 0", "RTP/AVP 128"),
        ("RTP/AVP 0\r\n", "RTP/AVP 0\r\n\r\nm=audio 1 RTP/AVP 0\r\n"),
        ("RTP/AVP 0\r\n", "RTP/AVP 0\r\na=rtpmap:0\r\n"),
        ("RTP/AVP 0\r\n", "RTP/AVP 0\r\na=rtpmap:96 A/8000\r\na=rtpmap:96 B/8000\r\n"),
        ("RTP/AVP 0\r\n", "RTP/AVP 0\r\nt=0 0\r\n"),
    ];
    assert!(Offer::parse(&whole).is_ok());
    for (from, to) in cases {
        let broken = whole.replacen(from, to, 1);
        let error = Offer::parse(&broken).expect_err(&broken);
        assert_eq!(error.status(), 400, "{broken}: {error}");
    }
    let long = format!("{whole}{}", "a=x\r\n".repeat(2_000));
    assert!(matches!(Offer::parse(&long), Err(SdpError::TooLarge { what: "lines", .. })));
    let many = format!("{whole}{}", "m=audio 1 RTP/AVP 0\r\n".repeat(40));
    assert!(matches!(Offer::parse(&many), Err(SdpError::TooLarge { what: "streams", .. })));
    assert!(matches!(Offer::parse(&"v".repeat(70_000)), Err(SdpError::TooLarge { what: "bytes", .. })));
}

#[test]
fn an_answer_has_to_fit_the_offer() {
    let refused = with_media("m=audio 0 RTP/AVP 0\r\n");
    assert_eq!(accept_answer(&local(), &refused), Err(SdpError::Refused));
    let two = with_media("m=audio 7000 RTP/AVP 0\r\nm=audio 7002 RTP/AVP 0\r\n");
    assert!(matches!(accept_answer(&local(), &two), Err(SdpError::Mismatch { .. })));
    let narrow = LocalMedia { codecs: vec![Codec::Pcma], ..local() };
    let other = with_media("m=audio 7000 RTP/AVP 0\r\n");
    assert_eq!(accept_answer(&narrow, &other), Err(SdpError::NoCommonCodec));
}

#[test]
fn a_browser_offer_over_dtls_is_refused_by_profile() {
    let media = "a=group:BUNDLE 0\r\na=msid-semantic: WMS\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111 63 9 0 8 13 110 126\r\n\
                 c=IN IP4 0.0.0.0\r\na=rtcp:9 IN IP4 0.0.0.0\r\na=setup:actpass\r\na=mid:0\r\na=rtcp-mux\r\n\
                 a=rtpmap:111 opus/48000/2\r\na=fmtp:111 minptime=10;useinbandfec=1\r\na=rtpmap:9 G722/8000\r\n";
    assert!(matches!(agreed(media), Err(SdpError::Profile { .. })));
}

proptest! {
    #[test]
    fn no_text_panics(text in "\\PC{0,200}") {
        Offer::parse(&text).ok();
    }

    #[test]
    fn no_damaged_offer_panics(at in 0usize..260, cut in 0usize..30, with in "[ -~\r\n\u{e9}]{0,8}") {
        let whole = with_media("m=audio 7000/2 RTP/AVP 0 9 101\r\na=rtpmap:101 telephone-event/8000\r\na=rtcp:1\r\na=ptime:20.5\r\na=maxptime:40\r\n");
        let at = at.min(whole.len());
        let end = (at + cut).min(whole.len());
        let text = format!("{}{with}{}", &whole[..at], &whole[end..]);
        if let Ok(parsed) = Offer::parse(&text) {
            if let Ok((made, negotiated)) = answer(&parsed, &local()) {
                // Whatever is answered can be read back, with as many streams as were offered.
                prop_assert_eq!(Offer::parse(&made).unwrap().streams(), parsed.streams());
                prop_assert!((10..=20).contains(&negotiated.ptime_ms));
            }
            accept_answer(&local(), &text).ok();
        }
    }
}
