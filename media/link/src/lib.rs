//! The way between a leg and its far side, without I/O: ICE (RFC 8445), DTLS (RFC 5764) and SRTP (RFC 3711).
