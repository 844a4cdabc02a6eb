//! RTP packets on the wire (RFC 3550 section 5.1), parsed and written without copying or allocating.

/// Octets of the header without contributing sources and extension.
pub const HEADER_BYTES: usize = 12;

/// One RTP packet; the payload is borrowed from the datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RtpPacket<'a> {
    /// What the payload is, 0 to 127, as negotiated in SDP.
    pub payload_type: u8,
    /// For audio: the first packet of a talkspurt (RFC 3551 section 4.1).
    pub marker: bool,
    /// Increments by one a packet and wraps.
    pub sequence: u16,
    /// When the first sample was taken, in ticks of the payload's clock; wraps.
    pub timestamp: u32,
    /// Synchronisation source.
    pub ssrc: u32,
    /// What is carried, without padding; may be empty.
    pub payload: &'a [u8],
}

/// The octets are no RTP packet, or the packet does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PacketError {
    /// Fewer octets than the header announces.
    #[error("{found} octets where the header needs {needed}")]
    Short {
        /// Octets the header needs.
        needed: usize,
        /// Octets there are.
        found: usize,
    },
    /// Another version than 2.
    #[error("rtp version {0}, not 2")]
    Version(u8),
    /// The last octet announces no padding or more than there is payload.
    #[error("{padding} octets of padding in {payload} octets of payload")]
    Padding {
        /// Padding announced.
        padding: u8,
        /// Octets behind the header.
        payload: usize,
    },
    /// An RTCP packet on the port of RTP (RFC 5761 section 4).
    #[error("an rtcp packet")]
    Rtcp,
    /// A payload type above 127 cannot be written, nor one that reads as RTCP with this marker.
    #[error("payload type {0} cannot be sent")]
    PayloadType(u8),
    /// The buffer is too small to write into.
    #[error("{needed} octets do not fit into {room}")]
    Room {
        /// Octets of the packet.
        needed: usize,
        /// Octets of the buffer.
        room: usize,
    },
}

/// Tells RTCP from RTP where both share a port: version 2 and a packet type from 192 to 223
/// (RFC 5761 section 4).
#[must_use]
pub fn is_rtcp(datagram: &[u8]) -> bool {
    matches!(datagram, [first, second, ..] if first >> 6 == 2 && (192..=223).contains(second))
}

/// Reads one packet; skips contributing sources and the header extension, and cuts the padding.
///
/// # Errors
/// [`PacketError`] for anything but a whole RTP packet of version 2.
pub fn parse(datagram: &[u8]) -> Result<RtpPacket<'_>, PacketError> {
    let found = datagram.len();
    let Some((header, rest)) = datagram.split_first_chunk::<HEADER_BYTES>() else {
        return Err(PacketError::Short { needed: HEADER_BYTES, found });
    };
    let [flags, kind, s0, s1, t0, t1, t2, t3, c0, c1, c2, c3] = *header;
    if flags >> 6 != 2 {
        return Err(PacketError::Version(flags >> 6));
    }
    if is_rtcp(datagram) {
        return Err(PacketError::Rtcp);
    }
    let sources = usize::from(flags & 0x0f) * 4;
    let Some(mut payload) = rest.get(sources..) else {
        return Err(PacketError::Short { needed: HEADER_BYTES + sources, found });
    };
    if flags & 0x10 != 0 {
        let Some((&[_, _, l0, l1], behind)) = payload.split_first_chunk::<4>() else {
            return Err(PacketError::Short { needed: HEADER_BYTES + sources + 4, found });
        };
        let extension = usize::from(u16::from_be_bytes([l0, l1])) * 4;
        let Some(behind) = behind.get(extension..) else {
            return Err(PacketError::Short { needed: HEADER_BYTES + sources + 4 + extension, found });
        };
        payload = behind;
    }
    if flags & 0x20 != 0 {
        let padding = payload.last().copied().unwrap_or(0);
        let end = payload.len().checked_sub(usize::from(padding)).filter(|_| padding > 0);
        let Some(end) = end else {
            return Err(PacketError::Padding { padding, payload: payload.len() });
        };
        payload = &payload[..end];
    }
    Ok(RtpPacket {
        payload_type: kind & 0x7f,
        marker: kind & 0x80 != 0,
        sequence: u16::from_be_bytes([s0, s1]),
        timestamp: u32::from_be_bytes([t0, t1, t2, t3]),
        ssrc: u32::from_be_bytes([c0, c1, c2, c3]),
        payload,
    })
}

impl RtpPacket<'_> {
    /// Writes the packet and returns its length in octets.
    ///
    /// # Realtime safety
    /// No allocation.
    ///
    /// # Errors
    /// [`PacketError::PayloadType`] for a type above 127 or one that would read as RTCP (64 to 95 with the marker),
    /// [`PacketError::Room`] where `out` is too small.
    pub fn write(&self, out: &mut [u8]) -> Result<usize, PacketError> {
        let kind = self.payload_type | u8::from(self.marker) << 7;
        if self.payload_type > 0x7f || (192..=223).contains(&kind) {
            return Err(PacketError::PayloadType(self.payload_type));
        }
        let needed = HEADER_BYTES + self.payload.len();
        let room = out.len();
        let Some(out) = out.get_mut(..needed) else {
            return Err(PacketError::Room { needed, room });
        };
        out[0] = 0x80;
        out[1] = kind;
        out[2..4].copy_from_slice(&self.sequence.to_be_bytes());
        out[4..8].copy_from_slice(&self.timestamp.to_be_bytes());
        out[8..12].copy_from_slice(&self.ssrc.to_be_bytes());
        out[HEADER_BYTES..].copy_from_slice(self.payload);
        Ok(needed)
    }
}
