//! Any datagram on the media port: read as RTP, written again, put through the source lock and the key receiver.
#![no_main]

use std::net::SocketAddr;

use antiphon_media_frame::MediaTime;
use antiphon_media_rtp::{KeyReceiver, PacketError, SourceConfig, SourceLock, is_rtcp, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(packet) = parse(data) else { return };
    assert!(!is_rtcp(data), "rtcp was read as rtp");
    assert!(packet.payload.len() < data.len());
    let mut out = [0; 65_536];
    match packet.write(&mut out) {
        Ok(length) => assert_eq!(parse(&out[..length]), Ok(packet), "what is written reads the same"),
        Err(error) => assert!(
            matches!(error, PacketError::Room { .. }) && data.len() >= out.len(),
            "what was read can be written: {error}"
        ),
    }
    let mut lock = SourceLock::new(None, SourceConfig::default());
    let mut keys = KeyReceiver::new(8_000);
    for n in 0..4 {
        let now = MediaTime::from_millis(n * 20);
        lock.accept(SocketAddr::from(([192, 0, 2, 1], 4000)), &packet, now);
        keys.push(packet.timestamp, packet.marker, packet.payload, now);
        keys.poll(now);
    }
});
