//! MPEG Audio Layer III by LAME, where the system has it: its licence (LGPL) leaves a program that loads the library as it
//! is, and so it is loaded and never linked.
#![expect(unsafe_code, reason = "LAME is a C library")]

use std::ffi::{c_int, c_short, c_uchar, c_void};
use std::ptr::NonNull;
use std::sync::OnceLock;

use antiphon_media_frame::SampleRate;
use libloading::Library;

/// The library of LAME 3.98 to 3.100, as Linux and macOS call it.
const NAMES: [&str; 2] = ["libmp3lame.so.0", "libmp3lame.0.dylib"];
/// Of speech on one channel, at every rate that the format has; what is lower is heard.
const KBIT_S: c_int = 64;
/// `MONO` of LAME's `MPEG_mode`.
const MONO: c_int = 3;
/// LAME's own middle between speed and care.
const QUALITY: c_int = 5;
/// Rates that the format has; what comes at another is brought to one of them by LAME.
const RATES: [u32; 9] = [8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000];
/// Samples coded with one call.
const PIECE: usize = 4_096;
/// What a piece may become at most, after `lame.h`: 1.25 octets a sample and 7,200.
const ROOM: usize = PIECE * 5 / 4 + 7_200;

type Handle = NonNull<c_void>;
type Set = unsafe extern "C" fn(Handle, c_int) -> c_int;

/// The few functions of LAME that are used, and the library that they lie in.
struct Lame {
    init: unsafe extern "C" fn() -> Option<Handle>,
    set_in_rate: Set,
    set_out_rate: Set,
    set_channels: Set,
    set_mode: Set,
    set_bitrate: Set,
    set_quality: Set,
    set_tag: Set,
    init_params: unsafe extern "C" fn(Handle) -> c_int,
    encode: unsafe extern "C" fn(Handle, *const c_short, *const c_short, c_int, *mut c_uchar, c_int) -> c_int,
    flush: unsafe extern "C" fn(Handle, *mut c_uchar, c_int) -> c_int,
    close: unsafe extern "C" fn(Handle) -> c_int,
    _library: Library,
}

/// The library, loaded when it is first asked for; `None` where the system has none.
fn lame() -> Option<&'static Lame> {
    static LAME: OnceLock<Option<Lame>> = OnceLock::new();
    LAME.get_or_init(|| NAMES.iter().find_map(|name| Lame::load(name).ok())).as_ref()
}

/// Whether MP3 can be written here.
pub(super) fn available() -> bool {
    lame().is_some()
}

impl Lame {
    fn load(name: &str) -> Result<Self, libloading::Error> {
        // SAFETY: LAME has no constructors; the types are those of `lame.h` of its releases with this ABI version.
        unsafe {
            let library = Library::new(name)?;
            Ok(Self {
                init: *library.get("lame_init")?,
                set_in_rate: *library.get("lame_set_in_samplerate")?,
                set_out_rate: *library.get("lame_set_out_samplerate")?,
                set_channels: *library.get("lame_set_num_channels")?,
                set_mode: *library.get("lame_set_mode")?,
                set_bitrate: *library.get("lame_set_brate")?,
                set_quality: *library.get("lame_set_quality")?,
                set_tag: *library.get("lame_set_bWriteVbrTag")?,
                init_params: *library.get("lame_init_params")?,
                encode: *library.get("lame_encode_buffer")?,
                flush: *library.get("lame_encode_flush")?,
                close: *library.get("lame_close")?,
                _library: library,
            })
        }
    }
}

/// A stream that is being written.
pub(super) struct Mp3 {
    lame: &'static Lame,
    handle: Handle,
}

// SAFETY: a handle of LAME belongs to no thread; it is used by one at a time, as `&mut self` says.
unsafe impl Send for Mp3 {}

impl Mp3 {
    /// A stream of one channel at 64 kbit/s, of sound at `rate`.
    pub(super) fn new(rate: SampleRate) -> Result<Self, String> {
        let lame = lame().ok_or("mp3 wants the library libmp3lame (Debian: libmp3lame0)")?;
        // SAFETY: nothing is asked of the caller.
        let handle = unsafe { (lame.init)() }.ok_or("LAME has no memory")?;
        let out = Self { lame, handle };
        // Without its word LAME would choose a lower rate to spare bits.
        let kept = if RATES.contains(&rate.hz()) { rate.hz() as c_int } else { 0 };
        let settings = [
            (lame.set_in_rate, rate.hz() as c_int),
            (lame.set_out_rate, kept),
            (lame.set_channels, 1),
            (lame.set_mode, MONO),
            (lame.set_bitrate, KBIT_S),
            (lame.set_quality, QUALITY),
            // The tag's frame would be filled in at the end, when the beginning is sent.
            (lame.set_tag, 0),
        ];
        for (set, value) in settings {
            // SAFETY: the handle is whole until `out` is dropped.
            let result = unsafe { set(out.handle, value) };
            if result < 0 {
                return Err(format!("LAME refuses the setting {value}: {result}"));
            }
        }
        // SAFETY: the same.
        let result = unsafe { (lame.init_params)(out.handle) };
        if result < 0 { Err(format!("LAME refuses {rate}: {result}")) } else { Ok(out) }
    }

    /// Codes samples; whole frames go to the end of `out`.
    pub(super) fn add(&mut self, pcm: &[i16], out: &mut Vec<u8>) -> Result<(), String> {
        for piece in pcm.chunks(PIECE) {
            self.put(out, |lame, handle, room, size| {
                // SAFETY: as many samples as are said, read once for the one channel, and room for the most they become.
                unsafe {
                    (lame.encode)(handle, piece.as_ptr(), piece.as_ptr(), piece.len() as c_int, room, size)
                }
            })?;
        }
        Ok(())
    }

    /// Codes what is held back.
    pub(super) fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), String> {
        // SAFETY: more room than the 7,200 octets that `lame.h` asks for.
        self.put(out, |lame, handle, room, size| unsafe { (lame.flush)(handle, room, size) })
    }

    fn put(
        &mut self,
        out: &mut Vec<u8>,
        code: impl FnOnce(&Lame, Handle, *mut c_uchar, c_int) -> c_int,
    ) -> Result<(), String> {
        let mut room = [0; ROOM];
        let count = code(self.lame, self.handle, room.as_mut_ptr(), ROOM as c_int);
        let count = usize::try_from(count).map_err(|_| format!("LAME failed: {count}"))?;
        out.extend_from_slice(&room[..count]);
        Ok(())
    }
}

impl Drop for Mp3 {
    fn drop(&mut self) {
        // SAFETY: the handle came from `lame_init` and is closed once.
        unsafe { (self.lame.close)(self.handle) };
    }
}
