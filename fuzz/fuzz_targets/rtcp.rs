//! Any datagram on the control port, and our own reports after it: the far side must be able to read them.
#![no_main]

use antiphon_media_frame::MediaTime;
use antiphon_media_rtp::{NtpTime, Receiver, ReceiverConfig, RtcpSession, Sender};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u32, Option<u32>, u64, Vec<&[u8]>)| {
    let (ssrc, source, wall, datagrams) = input;
    let mut session = RtcpSession::new(ssrc, "fuzz", 1, MediaTime::ZERO);
    let mut far = RtcpSession::new(!ssrc, "far", 2, MediaTime::ZERO);
    let mut receiver = Receiver::new(ReceiverConfig::new(8_000));
    let sender = Sender::new(ssrc, 0, 0, 8_000);
    let mut now = MediaTime::ZERO;
    for datagram in datagrams.into_iter().take(64) {
        let _ = session.handle(datagram, source, now, NtpTime(wall));
        now = now.max(session.due());
        let report = session
            .poll(now, NtpTime(wall), &sender.figures(), &mut receiver)
            .expect("a report is due when it says so");
        far.handle(&report, Some(ssrc), now, NtpTime(wall)).expect("our own report is well formed");
    }
    let bye = session.bye(now, NtpTime(wall), &sender.figures(), &mut receiver);
    assert!(far.handle(&bye, Some(ssrc), now, NtpTime(wall)).expect("our own bye is well formed").bye);
});
