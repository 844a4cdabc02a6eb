//! RTP without I/O: packets, RTCP, jitter buffer, telephone-event, time mapping.
