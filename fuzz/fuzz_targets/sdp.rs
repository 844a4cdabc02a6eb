//! Any text as an offer and as an answer.
#![no_main]

use std::net::{IpAddr, Ipv4Addr};

use antiphon_media_sip::sdp::{
    Codec, Fingerprint, IceCredentials, LocalIce, LocalMedia, Offer, Preference, Security, accept_answer,
    answer,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let mut local = LocalMedia::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 4000, 1);
    local.codecs = Codec::ALL.to_vec();
    local.comfort_noise = true;
    local.security = Security::any(Fingerprint([1; 32]));
    let credentials = IceCredentials { ufrag: "ours".into(), password: "x".repeat(24) };
    local.ice = Some(LocalIce { credentials, lite: true, candidates: Vec::new() });
    for (preference, rtcp_mux) in [(Preference::Ours, true), (Preference::Offerer, false)] {
        local.preference = preference;
        local.rtcp_mux = rtcp_mux;
        if let Ok(agreed) = accept_answer(&local, text) {
            assert!(agreed.payload_type < 128 && agreed.ptime_ms >= 10);
        }
        let Ok(offer) = Offer::parse(text) else { continue };
        let Ok((ours, agreed)) = answer(&offer, &local) else { continue };
        assert!(agreed.payload_type < 128 && agreed.ptime_ms >= 10);
        let echoed = Offer::parse(&ours).expect("our own answer is well formed");
        assert_eq!(
            echoed.streams(),
            offer.streams(),
            "an answer has the offer's streams (RFC 3264 section 6)"
        );
    }
});
