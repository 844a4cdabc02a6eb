//! The few names of pocketsphinx and sphinxbase 5prealpha that are used (`pocketsphinx.h`, `ps_search.h`, `cmd_ln.h`,
//! `feat.h`, `cmn.h`, `ngram_model.h`, `logmath.h`, `err.h`), with 32-bit floats as Debian builds them.

#![expect(unsafe_code, reason = "declarations of a C library")]

use std::ffi::{c_char, c_int, c_void};

#[repr(C)]
pub(super) struct Decoder {
    _opaque: [u8; 0],
}

#[repr(C)]
pub(super) struct Config {
    _opaque: [u8; 0],
}

#[repr(C)]
pub(super) struct Arguments {
    _opaque: [u8; 0],
}

#[repr(C)]
pub(super) struct Segment {
    _opaque: [u8; 0],
}

#[repr(C)]
pub(super) struct LogMath {
    _opaque: [u8; 0],
}

#[repr(C)]
pub(super) struct Ngrams {
    _opaque: [u8; 0],
}

/// The head of `feat_t`, up to the member that is used; always behind a pointer the library made.
#[repr(C)]
pub(super) struct Features {
    refcount: c_int,
    name: *mut c_char,
    cepsize: i32,
    n_stream: i32,
    stream_len: *mut u32,
    window_size: i32,
    n_sv: i32,
    sv_len: *mut u32,
    subvecs: *mut *mut i32,
    sv_buf: *mut f32,
    sv_dim: i32,
    cmn: c_int,
    varnorm: i32,
    agc: c_int,
    compute_feat: *const c_void,
    pub(super) cmn_struct: *mut Cmn,
}

/// `cmn_t`.
#[repr(C)]
pub(super) struct Cmn {
    cmn_mean: *mut f32,
    cmn_var: *mut f32,
    sum: *mut f32,
    nframe: i32,
    pub(super) veclen: i32,
}

/// `NGRAM_AUTO`: the kind of file by its name.
pub(super) const NGRAM_AUTO: c_int = 0;

unsafe extern "C" {
    pub(super) fn err_set_logfp(stream: *mut c_void);

    pub(super) fn ps_args() -> *const Arguments;
    pub(super) fn cmd_ln_parse_r(
        config: *mut Config,
        definitions: *const Arguments,
        count: i32,
        arguments: *mut *mut c_char,
        strict: i32,
    ) -> *mut Config;
    pub(super) fn cmd_ln_free_r(config: *mut Config) -> c_int;

    pub(super) fn ps_init(config: *mut Config) -> *mut Decoder;
    pub(super) fn ps_free(decoder: *mut Decoder) -> c_int;
    pub(super) fn ps_get_feat(decoder: *mut Decoder) -> *mut Features;
    pub(super) fn ps_get_logmath(decoder: *mut Decoder) -> *mut LogMath;
    pub(super) fn ps_add_word(
        decoder: *mut Decoder,
        word: *const c_char,
        phones: *const c_char,
        update: c_int,
    ) -> c_int;
    pub(super) fn ps_set_search(decoder: *mut Decoder, name: *const c_char) -> c_int;
    pub(super) fn ps_unset_search(decoder: *mut Decoder, name: *const c_char) -> c_int;
    pub(super) fn ps_set_lm_file(decoder: *mut Decoder, name: *const c_char, path: *const c_char) -> c_int;

    pub(super) fn ps_start_stream(decoder: *mut Decoder) -> c_int;
    pub(super) fn ps_start_utt(decoder: *mut Decoder) -> c_int;
    pub(super) fn ps_process_raw(
        decoder: *mut Decoder,
        samples: *const i16,
        count: usize,
        no_search: c_int,
        full_utterance: c_int,
    ) -> c_int;
    pub(super) fn ps_end_utt(decoder: *mut Decoder) -> c_int;
    pub(super) fn ps_get_hyp(decoder: *mut Decoder, score: *mut i32) -> *const c_char;
    pub(super) fn ps_seg_iter(decoder: *mut Decoder) -> *mut Segment;
    pub(super) fn ps_seg_next(segment: *mut Segment) -> *mut Segment;
    pub(super) fn ps_seg_word(segment: *mut Segment) -> *const c_char;
    pub(super) fn ps_seg_frames(segment: *mut Segment, first: *mut c_int, last: *mut c_int);
    pub(super) fn ps_seg_prob(
        segment: *mut Segment,
        acoustic: *mut i32,
        language: *mut i32,
        backoff: *mut i32,
    ) -> i32;

    pub(super) fn cmn_live_set(cmn: *mut Cmn, mean: *const f32);
    pub(super) fn cmn_live_get(cmn: *mut Cmn, mean: *mut f32);

    pub(super) fn logmath_init(base: f64, shift: c_int, use_table: c_int) -> *mut LogMath;
    pub(super) fn logmath_free(math: *mut LogMath) -> c_int;
    pub(super) fn logmath_exp(math: *mut LogMath, value: c_int) -> f64;
    pub(super) fn ngram_model_read(
        config: *mut Config,
        path: *const c_char,
        kind: c_int,
        math: *mut LogMath,
    ) -> *mut Ngrams;
    pub(super) fn ngram_model_free(model: *mut Ngrams) -> c_int;
    pub(super) fn ngram_model_get_counts(model: *mut Ngrams) -> *const u32;
    pub(super) fn ngram_word(model: *mut Ngrams, id: i32) -> *const c_char;
    pub(super) fn ngram_ng_prob(
        model: *mut Ngrams,
        id: i32,
        history: *const i32,
        length: i32,
        used: *mut i32,
    ) -> i32;
}
