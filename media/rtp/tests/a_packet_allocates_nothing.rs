//! The steady state of both directions, counted.

use antiphon_media_frame::MediaTime;
use antiphon_media_rtp::{
    KeyReceiver, Pull, Receiver, ReceiverConfig, Sender, SourceConfig, SourceLock, Verdict, parse,
};
use antiphon_media_testkit::CountingAllocator;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

#[test]
fn a_minute_of_packets_allocates_nothing_once_the_first_second_is_over() {
    let mut sender = Sender::new(1, 65_000, 0xffff_0000, 8_000);
    let mut receiver = Receiver::new(ReceiverConfig::new(8_000));
    let mut lock = SourceLock::new(None, SourceConfig::default());
    let mut keys = KeyReceiver::new(8_000);
    let from = ([127, 0, 0, 1], 4_000).into();
    let mut run = |packets: std::ops::Range<i64>| {
        let (mut played, mut concealed) = (0, 0);
        for n in packets {
            let now = MediaTime::from_millis(n * 20);
            let mut wire = [0; 1_500];
            let length = sender.packet(0, 160, &[0; 160]).write(&mut wire).expect("it fits");
            let packet = parse(&wire[..length]).expect("a packet");
            if lock.accept(from, &packet, now) == Verdict::Accepted && n % 50 != 49 {
                receiver.receive(now, packet, 160);
            }
            keys.push(n as u32 / 10 * 1_600, false, &[5, if n % 10 == 9 { 0x80 } else { 0 }, 0, 160], now);
            match receiver.pull(now) {
                Pull::Play { .. } => played += 1,
                Pull::Conceal { .. } => concealed += 1,
                Pull::Wait => {}
            }
            receiver.set_quiet(n % 100 < 30);
        }
        (played, concealed)
    };
    run(0..100);
    let ((played, concealed), allocations) = CountingAllocator::count(|| run(100..3_100));
    assert!(played > 2_900 && concealed > 40, "{played} played, {concealed} concealed");
    assert_eq!(allocations, 0);
}
