//! Offers of the shape that browsers, phones and PBXs make, answered.

use std::net::{IpAddr, Ipv4Addr};

use antiphon_media_sip::sdp::{
    AgreedSecurity, Candidate, Codec, Fingerprint, IceCredentials, LocalIce, LocalMedia, MediaDirection,
    Negotiated, Offer, SdesKey, SdpError, Security, Setup, SrtpSuite, accept_answer, answer, offer,
};

const OURS: Fingerprint = Fingerprint([0xAB; 32]);
const THEIRS: &str =
    "sha-256 0B:FA:CE:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC";

/// Takes whatever comes: every codec, every protection, ICE as a lite agent.
fn open() -> LocalMedia {
    let address = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 9));
    LocalMedia {
        codecs: Codec::ALL.to_vec(),
        rtcp_mux: true,
        comfort_noise: true,
        security: Security::any(OURS),
        ice: Some(LocalIce {
            credentials: IceCredentials {
                ufrag: "ours".into(),
                password: "ours-is-a-password-of-26+/".replace('-', "x"),
            },
            lite: true,
            candidates: vec![Candidate::host("192.0.2.9:4000".parse().expect("an address"), 65_535)],
        }),
        ..LocalMedia::new(address, 4_000, 77)
    }
}

/// As a trunk is configured: SDES where it is offered, else plain.
fn trunk() -> LocalMedia {
    LocalMedia { security: Security::sdes(false), ice: None, ..open() }
}

fn answered(text: &str, local: &LocalMedia) -> Result<(String, Negotiated), SdpError> {
    let text = text.replace('\n', "\r\n");
    answer(&Offer::parse(&text).expect("a well-formed offer"), local)
}

fn section<'a>(text: &'a str, prefix: &str) -> Vec<&'a str> {
    text.lines().filter(|line| line.starts_with(prefix)).collect()
}

const CHROMIUM: &str = "v=0
o=- 4611731400430051336 2 IN IP4 127.0.0.1
s=-
t=0 0
a=group:BUNDLE 0 1 2
a=extmap-allow-mixed
a=msid-semantic: WMS 5a7b
m=video 9 UDP/TLS/RTP/SAVPF 96 97
c=IN IP4 0.0.0.0
a=rtcp:9 IN IP4 0.0.0.0
a=ice-ufrag:4ZcD
a=ice-pwd:2/1muCWoOi3uLifh0NuRHlRn
a=ice-options:trickle
a=fingerprint:sha-256 0B:FA:CE:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC
a=setup:actpass
a=mid:0
a=sendrecv
a=rtcp-mux
a=rtcp-rsize
a=rtpmap:96 VP8/90000
a=rtcp-fb:96 nack pli
a=rtpmap:97 rtx/90000
a=fmtp:97 apt=96
m=audio 51472 UDP/TLS/RTP/SAVPF 111 63 9 0 8 13 110 126
c=IN IP4 203.0.113.5
a=rtcp:9 IN IP4 0.0.0.0
a=candidate:1467250027 1 udp 2122260223 0a7c2f4e-6f7e-4a44-9f2a-1d6d7d3c1f11.local 51472 typ host generation 0 network-id 1 network-cost 10
a=candidate:842163049 1 udp 1677729535 203.0.113.5 51472 typ srflx raddr 0.0.0.0 rport 0 generation 0 network-id 1 network-cost 10
a=candidate:435653019 1 tcp 1845501695 192.168.0.2 9 typ host tcptype active generation 0 network-id 1
a=ice-ufrag:4ZcD
a=ice-pwd:2/1muCWoOi3uLifh0NuRHlRn
a=ice-options:trickle
a=fingerprint:sha-256 0B:FA:CE:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC
a=setup:actpass
a=mid:1
a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level
a=sendrecv
a=msid:5a7b 9c1d
a=rtcp-mux
a=rtcp-rsize
a=rtpmap:111 opus/48000/2
a=rtcp-fb:111 transport-cc
a=fmtp:111 minptime=10;useinbandfec=1
a=rtpmap:63 red/48000/2
a=fmtp:63 111/111
a=rtpmap:9 G722/8000
a=rtpmap:0 PCMU/8000
a=rtpmap:8 PCMA/8000
a=rtpmap:13 CN/8000
a=rtpmap:110 telephone-event/48000
a=rtpmap:126 telephone-event/8000
a=ssrc:3570614608 cname:4TOk42mSjXCkVIa6
a=ssrc:3570614608 msid:5a7b 9c1d
m=application 9 UDP/DTLS/SCTP webrtc-datachannel
c=IN IP4 0.0.0.0
a=ice-ufrag:4ZcD
a=ice-pwd:2/1muCWoOi3uLifh0NuRHlRn
a=fingerprint:sha-256 0B:FA:CE:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC
a=setup:actpass
a=mid:2
a=sctp-port:5000
a=max-message-size:262144
";

#[test]
fn chromium_gets_opus_over_dtls_with_a_lite_candidate() {
    let (text, agreed) = answered(CHROMIUM, &open()).unwrap();
    assert_eq!((agreed.codec, agreed.payload_type), (Codec::Opus, 111));
    assert_eq!((agreed.telephone_event, agreed.telephone_event_hz), (Some(110), 48_000));
    assert_eq!(agreed.comfort_noise, None);
    assert!(agreed.opus.fec && !agreed.opus.dtx && agreed.rtcp_mux && agreed.rtcp_rsize);
    let AgreedSecurity::Dtls { fingerprint, role } = agreed.security else { panic!("{agreed:?}") };
    assert_eq!((fingerprint.to_string().as_str(), role), (THEIRS, Setup::Passive));
    let ice = agreed.ice.unwrap();
    assert_eq!(ice.credentials.password, "2/1muCWoOi3uLifh0NuRHlRn");
    assert!(ice.trickle && !ice.lite && !ice.complete);
    // The hidden name is left out, the active TCP one is read as such.
    let addresses: Vec<String> = ice.candidates.iter().map(|c| c.address.to_string()).collect();
    assert_eq!(addresses, ["203.0.113.5:51472", "192.168.0.2:9"]);
    assert_eq!(agreed.direction, MediaDirection::SendRecv);
    assert_eq!(
        section(&text, "m="),
        [
            "m=video 0 UDP/TLS/RTP/SAVPF 96 97",
            "m=audio 4000 UDP/TLS/RTP/SAVPF 111 110",
            "m=application 0 UDP/DTLS/SCTP webrtc-datachannel",
        ]
    );
    for line in [
        "a=group:BUNDLE 1",
        "a=ice-lite",
        "a=mid:0",
        "a=mid:1",
        "a=mid:2",
        "a=setup:passive",
        "a=rtpmap:111 opus/48000/2",
        "a=fmtp:111 minptime=10;useinbandfec=1;maxplaybackrate=16000",
        "a=rtpmap:110 telephone-event/48000",
        "a=ice-ufrag:ours",
        "a=candidate:h65535 1 udp 2130706431 192.0.2.9 4000 typ host",
        "a=end-of-candidates",
        "a=rtcp-mux",
        "a=rtcp-rsize",
    ] {
        assert_eq!(text.lines().filter(|l| *l == line).count(), 1, "{line}\n{text}");
    }
}

#[test]
fn a_whip_publisher_is_only_listened_to() {
    let publisher = CHROMIUM.replace("a=sendrecv\na=msid", "a=sendonly\na=msid");
    let (text, agreed) = answered(&publisher, &open()).unwrap();
    assert_eq!(agreed.direction, MediaDirection::RecvOnly);
    assert!(text.contains("a=recvonly\r\n") && !text.contains("a=msid"), "{text}");
}

#[test]
fn a_bundled_stream_without_a_port_of_its_own_is_taken() {
    let bundled = CHROMIUM.replace("m=audio 51472", "m=audio 0").replace("a=mid:1", "a=mid:1\na=bundle-only");
    let (_, agreed) = answered(&bundled, &open()).unwrap();
    assert_eq!(agreed.codec, Codec::Opus);
}

#[test]
fn chromium_is_refused_with_a_reason_where_dtls_is_not_done() {
    let refused = answered(CHROMIUM, &trunk());
    assert_eq!(refused.unwrap_err(), SdpError::Profile { profile: "UDP/TLS/RTP/SAVPF".into() });
}

/// baresip with `mediaenc=srtp-mand` and the codecs of its defaults.
const BARESIP_SDES: &str = "v=0
o=- 3882340237 1064216273 IN IP4 192.0.2.50
s=-
c=IN IP4 192.0.2.50
t=0 0
a=tool:baresip 1.0.0
m=audio 19642 RTP/SAVP 96 9 0 8 101
b=AS:125
a=rtpmap:96 opus/48000/2
a=fmtp:96 stereo=1;sprop-stereo=1
a=rtpmap:9 G722/8000
a=rtpmap:0 PCMU/8000
a=rtpmap:8 PCMA/8000
a=rtpmap:101 telephone-event/8000
a=fmtp:101 0-15
a=rtcp:19643
a=crypto:1 AEAD_AES_256_GCM inline:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKis=
a=crypto:2 AES_CM_128_HMAC_SHA1_80 inline:PS1uQCVeeCFCanVmcjkpPywjNWhcYD0mXXtxaVBR
a=crypto:3 AES_CM_128_HMAC_SHA1_32 inline:PS1uQCVeeCFCanVmcjkpPywjNWhcYD0mXXtxaVBR
a=label:1
a=ssrc:2154187353 cname:sip:a@192.0.2.50
a=sendrecv
a=ptime:20
";

#[test]
fn baresip_gets_the_suite_that_both_have_under_its_own_tag() {
    let (text, agreed) = answered(BARESIP_SDES, &trunk()).unwrap();
    let AgreedSecurity::Sdes { ours, theirs } = agreed.security else { panic!("{agreed:?}") };
    assert_eq!(
        (ours.suite(), theirs.suite()),
        (SrtpSuite::AesCm128HmacSha1_80, SrtpSuite::AesCm128HmacSha1_80)
    );
    assert_eq!(theirs.key()[..4], [0x3D, 0x2D, 0x6E, 0x40]);
    assert_eq!(section(&text, "a=crypto").len(), 1);
    assert!(
        section(&text, "a=crypto")[0].starts_with("a=crypto:2 AES_CM_128_HMAC_SHA1_80 inline:"),
        "{text}"
    );
    assert!(text.contains("m=audio 4000 RTP/SAVP 96 101\r\n"), "{text}");
    // Opus has no event at its own clock here; the one that there is runs at 8000.
    assert_eq!((agreed.telephone_event, agreed.telephone_event_hz), (Some(101), 8_000));
    assert!(agreed.opus.stereo && !agreed.opus.fec);
    assert_eq!(agreed.label.as_deref(), Some("1"));
    let wide = LocalMedia { security: Security::sdes_of(&SrtpSuite::ALL, true), ..trunk() };
    let (_, agreed) = answered(BARESIP_SDES, &wide).unwrap();
    assert!(
        matches!(agreed.security, AgreedSecurity::Sdes { ours, .. } if ours.suite() == SrtpSuite::AeadAes256Gcm)
    );
}

/// baresip with `mediaenc=dtls_srtp` and `medianat=ice`, without rtcp-mux.
const BARESIP_DTLS: &str = "v=0
o=- 3882340237 1064216273 IN IP4 192.0.2.50
s=-
c=IN IP4 192.0.2.50
t=0 0
a=tool:baresip 1.0.0
a=ice-options:trickle
m=audio 19642 UDP/TLS/RTP/SAVP 0 8 101
a=rtpmap:0 PCMU/8000
a=rtpmap:8 PCMA/8000
a=rtpmap:101 telephone-event/8000
a=fmtp:101 0-15
a=rtcp:19643
a=fingerprint:SHA-256 0b:fa:ce:00:11:22:33:44:55:66:77:88:99:aa:bb:cc:dd:ee:ff:00:11:22:33:44:55:66:77:88:99:aa:bb:cc
a=setup:actpass
a=ice-ufrag:6abc
a=ice-pwd:0123456789012345678901
a=candidate:7f000101.1 1 UDP 2113929471 192.0.2.50 19642 typ host
a=candidate:7f000101.1 2 UDP 2113929470 192.0.2.50 19643 typ host
a=sendrecv
";

#[test]
fn dtls_without_a_shared_port_goes_without_ice() {
    let (text, agreed) = answered(BARESIP_DTLS, &open()).unwrap();
    assert!(matches!(agreed.security, AgreedSecurity::Dtls { role: Setup::Passive, .. }));
    assert_eq!((agreed.ice, agreed.rtcp_mux), (None, false));
    assert_eq!(agreed.remote, "192.0.2.50:19642".parse().unwrap());
    assert!(!text.contains("ice-") && !text.contains("candidate"), "{text}");
    let muxed = BARESIP_DTLS.replace("a=rtcp:19643", "a=rtcp-mux");
    let (_, agreed) = answered(&muxed, &open()).unwrap();
    assert_eq!(agreed.ice.unwrap().candidates.len(), 1);
}

/// Linphone: SRTP as best effort, a feedback profile, several Opus-era formats.
const LINPHONE: &str = "v=0
o=alice 3246 1889 IN IP4 192.0.2.60
s=Talk
c=IN IP4 192.0.2.60
t=0 0
a=rtcp-xr:rcvr-rtt=all:10000 stat-summary=loss,dup,jitt,TTL voip-metrics
a=record:off
m=audio 7078 RTP/AVPF 96 97 98 0 8 18 101 99 100
a=rtpmap:96 opus/48000/2
a=fmtp:96 useinbandfec=1
a=rtpmap:97 speex/16000
a=fmtp:97 vbr=on
a=rtpmap:98 speex/8000
a=fmtp:98 vbr=on
a=fmtp:18 annexb=yes
a=rtpmap:101 telephone-event/48000
a=rtpmap:99 telephone-event/16000
a=rtpmap:100 telephone-event/8000
a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:PS1uQCVeeCFCanVmcjkpPywjNWhcYD0mXXtxaVBR
a=rtcp-fb:* trr-int 1000
a=rtcp-fb:* ccm tmmbr
";

#[test]
fn linphones_best_effort_srtp_is_taken() {
    let (text, agreed) = answered(LINPHONE, &trunk()).unwrap();
    assert!(matches!(agreed.security, AgreedSecurity::Sdes { .. }));
    assert_eq!(
        (agreed.codec, agreed.telephone_event, agreed.telephone_event_hz),
        (Codec::Opus, Some(101), 48_000)
    );
    assert!(text.contains("m=audio 4000 RTP/AVPF 96 101\r\n"), "{text}");
    let plain = LocalMedia { security: Security::plain(), ..trunk() };
    let (text, agreed) = answered(LINPHONE, &plain).unwrap();
    assert_eq!(agreed.security, AgreedSecurity::Plain);
    assert!(!text.contains("crypto"), "{text}");
}

#[test]
fn g729_is_answered_without_annex_b() {
    let local = LocalMedia { codecs: vec![Codec::G729], ..trunk() };
    let (text, agreed) = answered(LINPHONE, &local).unwrap();
    assert_eq!((agreed.codec, agreed.payload_type), (Codec::G729, 18));
    assert!(text.contains("a=rtpmap:18 G729/8000\r\na=fmtp:18 annexb=no\r\n"), "{text}");
    assert_eq!(agreed.telephone_event, Some(100));
}

/// Asterisk (chan_pjsip): `maxptime` and many codecs; with `media_encryption=sdes` and optimistic.
const ASTERISK: &str = "v=0
o=- 1742370823 1742370823 IN IP4 192.0.2.70
s=Asterisk
c=IN IP4 192.0.2.70
t=0 0
m=audio 14218 RTP/AVP 8 0 9 107 13 101
a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:PS1uQCVeeCFCanVmcjkpPywjNWhcYD0mXXtxaVBR|2^31
a=rtpmap:8 PCMA/8000
a=rtpmap:0 PCMU/8000
a=rtpmap:9 G722/8000
a=rtpmap:107 opus/48000/2
a=fmtp:107 useinbandfec=1
a=rtpmap:13 CN/8000
a=rtpmap:101 telephone-event/8000
a=fmtp:101 0-16
a=ptime:20
a=maxptime:140
a=sendrecv
";

#[test]
fn asterisk_keeps_comfort_noise_beside_a_telephone_codec() {
    let local = LocalMedia { codecs: vec![Codec::G722, Codec::Pcma], ..trunk() };
    let (text, agreed) = answered(ASTERISK, &local).unwrap();
    assert_eq!((agreed.codec, agreed.comfort_noise, agreed.max_ptime_ms), (Codec::G722, Some(13), Some(140)));
    assert!(text.contains("m=audio 4000 RTP/AVP 9 13 101\r\n"), "{text}");
    assert!(matches!(agreed.security, AgreedSecurity::Sdes { .. }));
    // Opus has its own way to be silent.
    assert_eq!(answered(ASTERISK, &trunk()).unwrap().1.comfort_noise, None);
}

/// FreeSWITCH: everything it has, in its own order, and hold by its own address.
const FREESWITCH: &str = "v=0
o=FreeSWITCH 1742345678 1742345679 IN IP4 192.0.2.80
s=FreeSWITCH
c=IN IP4 192.0.2.80
t=0 0
m=audio 27484 RTP/SAVP 102 9 0 8 103 101 13
a=rtpmap:102 opus/48000/2
a=fmtp:102 useinbandfec=1; maxaveragebitrate=30000; maxplaybackrate=48000; ptime=20; minptime=10; maxptime=40
a=rtpmap:9 G722/8000
a=rtpmap:0 PCMU/8000
a=rtpmap:8 PCMA/8000
a=rtpmap:103 telephone-event/48000
a=fmtp:103 0-15
a=rtpmap:101 telephone-event/8000
a=fmtp:101 0-15
a=crypto:1 AEAD_AES_256_GCM_8 inline:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKis=
a=crypto:2 AES_256_CM_HMAC_SHA1_80 inline:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKiss
a=crypto:3 AES_CM_128_HMAC_SHA1_80 inline:PS1uQCVeeCFCanVmcjkpPywjNWhcYD0mXXtxaVBR
a=crypto:4 AES_CM_128_NULL_AUTH inline:PS1uQCVeeCFCanVmcjkpPywjNWhcYD0mXXtxaVBR
a=ptime:20
a=sendrecv
";

#[test]
fn freeswitch_gets_the_one_suite_that_is_common() {
    let (text, agreed) = answered(FREESWITCH, &trunk()).unwrap();
    assert!(section(&text, "a=crypto")[0].starts_with("a=crypto:3 "), "{text}");
    assert_eq!((agreed.codec, agreed.telephone_event), (Codec::Opus, Some(103)));
    assert_eq!(agreed.opus.max_average_bitrate, Some(30_000));
    let alien = FREESWITCH.replace("a=crypto:3 AES_CM_128_HMAC_SHA1_80", "a=crypto:3 F8_128_HMAC_SHA1_80");
    assert_eq!(answered(&alien, &trunk()).unwrap_err(), SdpError::Crypto { why: "unknown suite" });
}

#[test]
fn where_srtp_is_required_plain_media_is_refused() {
    let strict = LocalMedia { security: Security::sdes(true), ..trunk() };
    let plain = ASTERISK.replace(
        "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:PS1uQCVeeCFCanVmcjkpPywjNWhcYD0mXXtxaVBR|2^31\n",
        "",
    );
    assert_eq!(answered(&plain, &strict).unwrap_err(), SdpError::Crypto { why: "none written" });
    assert!(offer(&strict).contains("m=audio 4000 RTP/SAVP "));
    assert!(offer(&trunk()).contains("m=audio 4000 RTP/AVP "));
    let by_dtls = LocalMedia { security: Security::dtls(OURS), ..trunk() };
    assert!(matches!(answered(&plain, &by_dtls), Err(SdpError::Dtls { .. })));
}

#[test]
fn keys_of_both_sides_cross_over() {
    for security in [Security::sdes(true), Security::sdes(false), Security::sdes_of(&SrtpSuite::ALL, true)] {
        let here = LocalMedia { security, ..trunk() };
        let there = LocalMedia { security: Security::sdes_of(&SrtpSuite::ALL, false), ..trunk() };
        let (text, agreed) = answer(&Offer::parse(&offer(&here)).unwrap(), &there).unwrap();
        let AgreedSecurity::Sdes { ours: a, theirs: b } = accept_answer(&here, &text).unwrap().security
        else {
            panic!("{text}")
        };
        let AgreedSecurity::Sdes { ours: c, theirs: d } = agreed.security else { panic!("{text}") };
        assert_eq!((a, b), (d, c));
    }
}

#[test]
fn an_answer_with_a_tag_or_a_suite_that_was_not_offered_is_refused() {
    let here = LocalMedia { security: Security::sdes(true), ..trunk() };
    let there = LocalMedia { security: Security::sdes(true), ..trunk() };
    let (text, _) = answer(&Offer::parse(&offer(&here)).unwrap(), &there).unwrap();
    let other = text.replace("a=crypto:1 ", "a=crypto:7 ");
    assert_eq!(accept_answer(&here, &other), Err(SdpError::Crypto { why: "a tag that was not offered" }));
    let none: String = text.lines().filter(|l| !l.contains("crypto")).map(|l| format!("{l}\r\n")).collect();
    assert_eq!(accept_answer(&here, &none), Err(SdpError::Crypto { why: "none written" }));
}

#[test]
fn dtls_and_ice_are_offered_and_accepted() {
    let full = |ufrag: &str| {
        let mut local = open();
        local.security = Security::dtls(Fingerprint([ufrag.as_bytes()[0]; 32]));
        local.feedback = true;
        let ice = local.ice.as_mut().unwrap();
        (ice.credentials.ufrag, ice.lite) = (ufrag.to_owned(), false);
        local
    };
    let (here, there) = (full("aaaa"), full("bbbb"));
    let text = offer(&here);
    assert!(
        text.contains("UDP/TLS/RTP/SAVPF 111 9 8 0 18 13 110 101\r\n") && text.contains("a=setup:actpass"),
        "{text}"
    );
    let (text, theirs) = answer(&Offer::parse(&text).unwrap(), &there).unwrap();
    let ours = accept_answer(&here, &text).unwrap();
    let role = |agreed: &Negotiated| match agreed.security {
        AgreedSecurity::Dtls { fingerprint, role } => (fingerprint.0[0], role),
        _ => panic!("{agreed:?}"),
    };
    assert_eq!(role(&theirs), (b'a', Setup::Passive));
    assert_eq!(role(&ours), (b'b', Setup::Active));
    assert_eq!(ours.ice.as_ref().unwrap().credentials.ufrag, "bbbb");
    assert!(ours.ice.as_ref().unwrap().complete);
    // The roles stay what they are whoever offers next.
    let (mut here, mut there) = (here, there);
    here.settle(&ours);
    there.settle(&theirs);
    let (text, again) = answer(&Offer::parse(&offer(&there)).unwrap(), &here).unwrap();
    assert_eq!(role(&again), (b'b', Setup::Active));
    assert_eq!(role(&accept_answer(&there, &text).unwrap()), (b'a', Setup::Passive));
}

#[test]
fn a_settled_description_keeps_numbers_profile_and_keys() {
    let (first, agreed) = answered(FREESWITCH, &trunk()).unwrap();
    let mut local = trunk();
    let key = match &agreed.security {
        AgreedSecurity::Sdes { ours, .. } => ours.clone(),
        other => panic!("{other:?}"),
    };
    local.security.sdes = vec![key, SdesKey::random(SrtpSuite::AeadAes128Gcm)];
    local.settle(&agreed);
    let again = offer(&local);
    assert!(again.contains("m=audio 4000 RTP/SAVP 102 9 8 0 18 13 110 101\r\n"), "{again}");
    assert_eq!(section(&again, "a=crypto").len(), 1);
    let key = |text: &str| text.lines().find(|l| l.contains("crypto")).map(|l| l[l.len() - 40..].to_owned());
    assert_eq!(key(&again).map(|k| k.len()), key(&first).map(|k| k.len()));
}

#[test]
fn the_far_side_may_change_the_codec_by_another_offer() {
    let mut local = trunk();
    let (_, agreed) = answered(FREESWITCH, &local).unwrap();
    local.settle(&agreed);
    let narrow =
        FREESWITCH.replace("m=audio 27484 RTP/SAVP 102 9 0 8 103 101 13", "m=audio 27484 RTP/SAVP 8 101");
    let (text, agreed) = answered(&narrow, &local).unwrap();
    assert_eq!((agreed.codec, agreed.telephone_event), (Codec::Pcma, Some(101)));
    assert!(text.contains("m=audio 4000 RTP/SAVP 8 101\r\n"), "{text}");
}

#[test]
fn hold_in_every_style_keeps_the_protection() {
    for (style, expected) in [
        (FREESWITCH.replace("a=sendrecv", "a=sendonly"), MediaDirection::RecvOnly),
        (FREESWITCH.replace("a=sendrecv", "a=inactive"), MediaDirection::Inactive),
        (FREESWITCH.replace("c=IN IP4 192.0.2.80", "c=IN IP4 0.0.0.0"), MediaDirection::RecvOnly),
        (
            FREESWITCH.replace("a=sendrecv\n", "").replace("t=0 0\n", "t=0 0\na=sendonly\n"),
            MediaDirection::RecvOnly,
        ),
    ] {
        let (_, agreed) = answered(&style, &trunk()).unwrap();
        assert_eq!(agreed.direction, expected);
        assert!(matches!(agreed.security, AgreedSecurity::Sdes { .. }));
    }
    // With ICE an address of zeros is a placeholder and no hold.
    let (_, agreed) =
        answered(&CHROMIUM.replace("c=IN IP4 203.0.113.5", "c=IN IP4 0.0.0.0"), &open()).unwrap();
    assert_eq!(agreed.direction, MediaDirection::SendRecv);
}

#[test]
fn media_is_not_sent_where_it_would_do_harm() {
    for (from, to) in [
        ("c=IN IP4 192.0.2.70", "c=IN IP4 127.0.0.1"),
        ("c=IN IP4 192.0.2.70", "c=IN IP4 127.8.8.8"),
        ("c=IN IP4 192.0.2.70", "c=IN IP4 255.255.255.255"),
        ("c=IN IP4 192.0.2.70", "c=IN IP4 239.1.1.1/64"),
        ("m=audio 14218", "m=audio 53"),
        ("a=sendrecv", "a=rtcp:111"),
        ("a=sendrecv", "a=rtcp:14219 IN IP4 127.0.0.1"),
    ] {
        let refused = answered(&ASTERISK.replace(from, to), &LocalMedia { rtcp_mux: false, ..trunk() });
        assert_eq!(refused.unwrap_err(), SdpError::Address, "{to}");
    }
    let mut lax = LocalMedia { rtcp_mux: false, ..trunk() };
    (lax.remote.loopback, lax.remote.privileged_ports) = (true, true);
    let text = ASTERISK.replace("c=IN IP4 192.0.2.70", "c=IN IP4 127.0.0.1").replace("14218", "1000");
    assert_eq!(answered(&text, &lax).unwrap().1.remote, "127.0.0.1:1000".parse().unwrap());
}

#[test]
fn broken_lines_are_named_with_their_number() {
    let line = |text: &str| {
        let text = text.replace('\n', "\r\n");
        match Offer::parse(&text).map(|offer| answer(&offer, &open())) {
            Err(SdpError::Malformed { line, what }) | Ok(Err(SdpError::Malformed { line, what })) => {
                (line, what)
            }
            other => panic!("{other:?}"),
        }
    };
    let at = |text: &str, needle: &str| text.lines().position(|l| l.contains(needle)).unwrap() + 1;
    for (from, to, what) in [
        ("a=fmtp:111 minptime=10;useinbandfec=1", "a=fmtp:111 useinbandfec=maybe", "opus fmtp"),
        ("a=fmtp:111 minptime=10;useinbandfec=1", "a=fmtp:x y", "fmtp payload type"),
        ("a=setup:actpass", "a=setup:perhaps", "setup"),
        ("a=fingerprint:sha-256 0B", "a=fingerprint:sha-256 0Z", "fingerprint"),
        ("typ srflx", "type srflx", "candidate without a type"),
        ("203.0.113.5 51472 typ", "203.0.113.5 99999 typ", "candidate port"),
    ] {
        let broken = CHROMIUM.replace(from, to);
        assert_eq!(line(&broken), (at(&broken, to), what));
    }
    let half = CHROMIUM.replace("a=ice-pwd:2/1muCWoOi3uLifh0NuRHlRn\n", "");
    assert_eq!(line(&half).1, "half of the ICE credentials");
    let short = CHROMIUM.replace("2/1muCWoOi3uLifh0NuRHlRn", "short");
    assert_eq!(line(&short).1, "ICE credentials of this stream");
    let key = BARESIP_SDES.replace("inline:PS1u", "inline:P");
    assert_eq!(line(&key), (at(&key, "a=crypto:2"), "crypto key encoding"));
}

#[test]
fn a_flood_of_lines_is_refused() {
    let more = |line: &str, count: usize| {
        FREESWITCH.replace("a=ptime:20\n", &line.repeat(count)).replace('\n', "\r\n")
    };
    for (line, what) in [
        ("a=crypto:1 X inline:AA\n", "crypto lines"),
        ("a=candidate:1 1 udp 1 192.0.2.1 4000 typ host\n", "candidates"),
        ("a=fmtp:96 x\n", "fmtps"),
    ] {
        let refused = Offer::parse(&more(line, 200)).unwrap_err();
        assert!(matches!(refused, SdpError::TooLarge { what: found, .. } if found == what), "{refused}");
    }
}

#[test]
fn keys_do_not_show_in_debug_output() {
    let (_, agreed) = answered(CHROMIUM, &open()).unwrap();
    let (_, sdes) = answered(FREESWITCH, &trunk()).unwrap();
    let text = format!("{agreed:?} {sdes:?} {:?}", open());
    assert!(
        !text.contains("muCWoOi3") && !text.contains("password-of") && !text.contains("61, 45, 110"),
        "{text}"
    );
}
