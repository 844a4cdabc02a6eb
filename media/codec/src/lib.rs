//! Pure sound: G.711, G.722, resampling, tones, concealment, activity gate, mixing.
