//! What people look at: live transcript, summaries, waveform pictures.
