//! Recording a call allocates nothing a frame once it runs, but for its lists of gaps.
#![expect(unsafe_code, reason = "a counting allocator is an unsafe trait")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use antiphon_media_frame::{AudioFrame, FrameKind, MediaTime, SampleRate};
use antiphon_media_record::{Channel, StereoRecording};

struct Counting;

thread_local! {
    // The test harness has threads of its own, whose allocations are none of ours.
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps `alloc`'s contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps `dealloc`'s contract.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

#[test]
fn a_minute_of_lossy_call_allocates_nothing_but_room_for_gaps() {
    let dir = tempfile::tempdir().expect("a directory");
    let rate = SampleRate::HZ_16000;
    let mut recording = StereoRecording::create(&dir.path().join("call.wav"), rate).expect("created");
    let pcm = [100i16; 320];
    let mut record = |from: i64, to: i64| {
        for n in from..to {
            let at = MediaTime::from_millis(n * 20);
            for (channel, every) in [(Channel::Caller, 17), (Channel::Machine, 50)] {
                let kind = if n % 5 == 0 { FrameKind::Concealed } else { FrameKind::Voice };
                let frame = AudioFrame { pcm: &pcm, rate, at, kind, active: false, retracted: false };
                if n % every != 0 {
                    recording.write(channel, frame).expect("written");
                }
            }
            recording.advance(at).expect("advanced");
            if n % 25 == 0 {
                recording.flush().expect("flushed");
            }
        }
    };
    record(0, 100);
    let before = ALLOCATIONS.get();
    record(100, 3_100);
    // Some thousand gaps of each channel, in lists that double when they are full.
    let allocations = ALLOCATIONS.get() - before;
    assert!(allocations <= 16, "{allocations}");
}
