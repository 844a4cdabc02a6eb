//! Stereo recordings on the call's clock: timeline, WAV, sidecar, reader.
