//! Rules by which conversations are judged, and scorecards that weigh them. No I/O.
