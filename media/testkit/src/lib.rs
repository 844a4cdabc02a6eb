//! Development only: two peers on virtual time, seeded network impairment, tones.
