//! The media plane: shard run loop, legs, egress, taps, writer thread.
