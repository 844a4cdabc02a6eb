//! G.729 annex A by libbcg729, the one place of this crate that calls foreign functions itself.
//!
//! Frames of 10 ms are 80 samples and ten octets; two octets are a silence descriptor of annex B, which is understood and
//! not sent.

#![expect(unsafe_code, reason = "libbcg729 is a C library")]

use std::ffi::c_void;
use std::ptr::NonNull;

use crate::{CodecError, CodecKind};

const SAMPLES: usize = 80;
const OCTETS: usize = 10;
const DESCRIPTOR_OCTETS: usize = 2;

// include/bcg729/decoder.h and encoder.h of libbcg729 1.1.1.
#[link(name = "bcg729")]
unsafe extern "C" {
    fn initBcg729DecoderChannel() -> *mut c_void;
    fn closeBcg729DecoderChannel(context: *mut c_void);
    fn bcg729Decoder(
        context: *mut c_void,
        bits: *const u8,
        octets: u8,
        erased: u8,
        descriptor: u8,
        rfc3389: u8,
        signal: *mut i16,
    );
    fn initBcg729EncoderChannel(activity_detection: u8) -> *mut c_void;
    fn closeBcg729EncoderChannel(context: *mut c_void);
    fn bcg729Encoder(context: *mut c_void, signal: *const i16, bits: *mut u8, octets: *mut u8);
}

#[derive(Debug)]
pub(crate) struct Decoder {
    context: NonNull<c_void>,
}

// SAFETY: a context is plain memory of its own that no other thread sees; the library has no thread-local state.
unsafe impl Send for Decoder {}

impl Decoder {
    pub(crate) fn new() -> Result<Self, CodecError> {
        // SAFETY: takes nothing; the result is checked for null.
        let context = NonNull::new(unsafe { initBcg729DecoderChannel() });
        Ok(Self { context: context.ok_or(NO_MEMORY)? })
    }

    /// Decodes whole frames, which `out` has room for.
    pub(crate) fn decode(&mut self, payload: &[u8], out: &mut [i16]) -> Result<usize, CodecError> {
        let frames = payload.len().div_ceil(OCTETS);
        let last = payload.len() % OCTETS;
        if frames == 0 || (last != 0 && last != DESCRIPTOR_OCTETS) {
            return Err(CodecError::Malformed { codec: CodecKind::G729, octets: payload.len() });
        }
        for (bits, signal) in payload.chunks(OCTETS).zip(out.chunks_exact_mut(SAMPLES)) {
            let mut frame = [0; OCTETS];
            frame[..bits.len()].copy_from_slice(bits);
            self.frame(Some((&frame, bits.len())), signal);
        }
        Ok(frames * SAMPLES)
    }

    /// Fills `out` by the library's concealment.
    pub(crate) fn decode_lost(&mut self, out: &mut [i16]) -> usize {
        for part in out.chunks_mut(SAMPLES) {
            let mut signal = [0; SAMPLES];
            self.frame(None, &mut signal);
            part.copy_from_slice(&signal[..part.len()]);
        }
        out.len()
    }

    /// One frame into 80 samples; `None` for a lost one.
    fn frame(&mut self, bits: Option<(&[u8; OCTETS], usize)>, signal: &mut [i16]) {
        debug_assert_eq!(signal.len(), SAMPLES);
        let erased = u8::from(bits.is_none());
        let (frame, octets) = bits.unwrap_or((&[0; OCTETS], 0));
        let descriptor = u8::from(octets == DESCRIPTOR_OCTETS);
        // SAFETY: the context is alive until `drop`; the library reads at most ten octets and writes 80 samples, and both
        // slices are that long.
        unsafe {
            bcg729Decoder(
                self.context.as_ptr(),
                frame.as_ptr(),
                octets as u8,
                erased,
                descriptor,
                0,
                signal.as_mut_ptr(),
            );
        }
    }

    pub(crate) fn reset(&mut self) {
        // Where there is no memory for a fresh start the old stream goes on.
        if let Ok(fresh) = Self::new() {
            *self = fresh;
        }
    }
}

impl Drop for Decoder {
    fn drop(&mut self) {
        // SAFETY: the context came from the library, is closed once and not used again.
        unsafe { closeBcg729DecoderChannel(self.context.as_ptr()) }
    }
}

#[derive(Debug)]
pub(crate) struct Encoder {
    context: NonNull<c_void>,
}

// SAFETY: as for the decoder.
unsafe impl Send for Encoder {}

impl Encoder {
    pub(crate) fn new() -> Result<Self, CodecError> {
        // SAFETY: takes a flag; the result is checked for null.
        let context = NonNull::new(unsafe { initBcg729EncoderChannel(0) });
        Ok(Self { context: context.ok_or(NO_MEMORY)? })
    }

    /// Encodes whole frames, which `out` has room for.
    pub(crate) fn encode(&mut self, pcm: &[i16], out: &mut [u8]) -> Result<usize, CodecError> {
        if pcm.is_empty() || !pcm.len().is_multiple_of(SAMPLES) {
            return Err(CodecError::FrameLength { codec: CodecKind::G729, samples: pcm.len() });
        }
        for (signal, bits) in pcm.chunks_exact(SAMPLES).zip(out.chunks_exact_mut(OCTETS)) {
            let mut octets = 0;
            // SAFETY: the context is alive until `drop`; the library reads 80 samples and writes at most ten octets and a
            // length.
            unsafe {
                bcg729Encoder(self.context.as_ptr(), signal.as_ptr(), bits.as_mut_ptr(), &raw mut octets);
            }
            debug_assert_eq!(usize::from(octets), OCTETS, "annex B is off");
        }
        Ok(pcm.len() / SAMPLES * OCTETS)
    }

    pub(crate) fn reset(&mut self) {
        // Where there is no memory for a fresh start the old stream goes on.
        if let Ok(fresh) = Self::new() {
            *self = fresh;
        }
    }
}

impl Drop for Encoder {
    fn drop(&mut self) {
        // SAFETY: the context came from the library, is closed once and not used again.
        unsafe { closeBcg729EncoderChannel(self.context.as_ptr()) }
    }
}

const NO_MEMORY: CodecError = CodecError::Library { codec: CodecKind::G729, code: -1 };
