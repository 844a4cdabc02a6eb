//! The media of an established call: what was agreed, and what a re-INVITE may change.

use antiphon_media_codec::{CodecKind, OpusConfig};
use antiphon_media_plane::{Format, LegCommand};
use antiphon_media_sip::Responder;
use antiphon_media_sip::sdp::{self, LocalMedia, Negotiated, Offer, SdpError};

/// Answers an offer, unless it wants shorter packets than are sent.
pub(crate) fn answer(offer: &Offer, local: &LocalMedia) -> Result<(String, Negotiated), SdpError> {
    let (text, agreed) = sdp::answer(offer, local)?;
    if agreed.ptime_ms < local.ptime_ms {
        return Err(SdpError::PacketTime { max_ms: agreed.ptime_ms });
    }
    Ok((text, agreed))
}

/// What both sides agreed on, and our side of it.
pub(crate) struct Media {
    local: LocalMedia,
    agreed: Negotiated,
}

impl Media {
    pub(crate) fn new(mut local: LocalMedia, agreed: Negotiated) -> Self {
        // The recording has one rate: a re-INVITE may move or hold the call, not change its codec.
        local.codecs = vec![agreed.codec];
        Self { local, agreed }
    }

    /// Answers a re-INVITE; returns what the leg has to do.
    pub(crate) async fn renegotiate(&mut self, offer: Option<&str>, responder: Responder) -> Vec<LegCommand> {
        self.local.session_version += 1;
        let Some(offer) = offer else {
            // A request to repeat ourselves (RFC 3261 section 14.2): our description is the offer.
            if let Err(error) = responder.answer(&sdp::offer(&self.local)).await {
                tracing::warn!(%error, "a re-INVITE without an offer could not be answered");
            }
            return Vec::new();
        };
        let result = Offer::parse(offer).and_then(|offer| answer(&offer, &self.local));
        let (answer, agreed) = match result {
            Ok(agreed) => agreed,
            Err(error) => {
                tracing::info!(%error, "a re-INVITE is refused; the call goes on as it was");
                if let Err(error) = responder.reject(error.status()).await {
                    tracing::warn!(%error, "a re-INVITE could not be refused");
                }
                return Vec::new();
            }
        };
        if let Err(error) = responder.answer(&answer).await {
            tracing::warn!(%error, "a re-INVITE could not be answered");
            return Vec::new();
        }
        let mut commands =
            vec![LegCommand::Flow { send: agreed.direction.sends(), receive: agreed.direction.receives() }];
        let format = |agreed: &Negotiated| {
            let codec = CodecKind::from_name(agreed.codec.name())?;
            Some(Format {
                codec,
                payload_type: agreed.payload_type,
                telephone_event: agreed.telephone_event,
                telephone_event_hz: agreed.telephone_event_hz,
                comfort_noise: agreed.comfort_noise,
                opus: OpusConfig::default(),
            })
        };
        if let Some(now) = format(&agreed)
            && Some(now) != format(&self.agreed)
        {
            commands.push(LegCommand::Codec(now));
        }
        if agreed.remote != self.agreed.remote && !agreed.remote.ip().is_unspecified() {
            commands.push(LegCommand::Remote { rtp: agreed.remote, rtcp: agreed.remote_rtcp });
        }
        self.agreed = agreed;
        commands
    }
}
