//! The few names of flite 2.2 that are used (`flite.h`, `cst_wave.h`, `cst_audio.h`, `cst_voice.h`).

use std::ffi::{c_char, c_int, c_void};

pub(super) const STREAM_STOP: c_int = -1;
pub(super) const STREAM_CONTINUE: c_int = 0;

#[repr(C)]
pub(super) struct Features {
    _opaque: [u8; 0],
}

#[repr(C)]
pub(super) struct Val {
    _opaque: [u8; 0],
}

/// The head of `cst_voice`; always behind a pointer that flite made.
#[repr(C)]
pub(super) struct Voice {
    name: *const c_char,
    pub(super) features: *mut Features,
}

#[repr(C)]
pub(super) struct Wave {
    kind: *const c_char,
    sample_rate: c_int,
    pub(super) num_samples: c_int,
    num_channels: c_int,
    pub(super) samples: *mut i16,
}

pub(super) type StreamCallback =
    unsafe extern "C" fn(*const Wave, c_int, c_int, c_int, *mut StreamingInfo) -> c_int;

#[repr(C)]
pub(super) struct StreamingInfo {
    pub(super) min_buffsize: c_int,
    pub(super) asc: Option<StreamCallback>,
    utterance: *const c_void,
    item: *const c_void,
    pub(super) userdata: *mut c_void,
}

unsafe extern "C" {
    pub(super) fn flite_init() -> c_int;
    pub(super) fn flite_text_to_wave(text: *const c_char, voice: *mut Voice) -> *mut Wave;
    pub(super) fn delete_wave(wave: *mut Wave);
    pub(super) fn new_audio_streaming_info() -> *mut StreamingInfo;
    pub(super) fn audio_streaming_info_val(info: *const StreamingInfo) -> *mut Val;
    pub(super) fn flite_feat_set(features: *mut Features, name: *const c_char, value: *const Val);
    pub(super) fn flite_feat_remove(features: *mut Features, name: *const c_char) -> c_int;
    pub(super) fn register_cmu_us_slt(folder: *const c_char) -> *mut Voice;
    pub(super) fn register_cmu_us_rms(folder: *const c_char) -> *mut Voice;
    pub(super) fn register_cmu_us_awb(folder: *const c_char) -> *mut Voice;
    pub(super) fn register_cmu_us_kal(folder: *const c_char) -> *mut Voice;
    pub(super) fn register_cmu_us_kal16(folder: *const c_char) -> *mut Voice;
}
