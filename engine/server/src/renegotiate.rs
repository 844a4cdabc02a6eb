//! The media of an established call: what was agreed, and what offers change about it, theirs and ours.

use std::sync::Arc;

use antiphon_engine_call::MediaSecurity;
use antiphon_media_codec::{CodecKind, OpusConfig};
use antiphon_media_link::Identity;
use antiphon_media_plane::{Format, LegCommand};
use antiphon_media_sip::Responder;
use antiphon_media_sip::sdp::{
    self, AgreedSecurity, LocalMedia, MediaDirection, Negotiated, Offer, SdpError,
};

use crate::secure::link_config;

/// Answers an offer, unless it wants shorter packets than are sent.
pub(crate) fn answer(offer: &Offer, local: &LocalMedia) -> Result<(String, Negotiated), SdpError> {
    let (text, agreed) = sdp::answer(offer, local)?;
    if agreed.ptime_ms < local.ptime_ms {
        return Err(SdpError::PacketTime { max_ms: agreed.ptime_ms });
    }
    Ok((text, agreed))
}

/// What a leg sends and takes by an agreement; `None` for a codec that this build cannot code.
pub(crate) fn format_of(agreed: &Negotiated) -> Option<Format> {
    let codec = CodecKind::from_name(agreed.codec.name()).filter(|codec| codec.is_available())?;
    let usual = OpusConfig::default();
    let bitrate = agreed.opus.max_average_bitrate.map_or(usual.bitrate, |most| most.min(usual.bitrate));
    Some(Format {
        codec,
        payload_type: agreed.payload_type,
        telephone_event: agreed.telephone_event,
        telephone_event_hz: agreed.telephone_event_hz,
        comfort_noise: agreed.comfort_noise,
        opus: OpusConfig { bitrate, fec: agreed.opus.fec, dtx: agreed.opus.dtx, ..usual },
    })
}

/// How an agreement protects media.
pub(crate) fn security_of(agreed: &Negotiated) -> MediaSecurity {
    match agreed.security {
        AgreedSecurity::Plain => MediaSecurity::None,
        AgreedSecurity::Sdes { .. } => MediaSecurity::Sdes,
        AgreedSecurity::Dtls { .. } => MediaSecurity::Dtls,
    }
}

/// What both sides agreed on, and our side of it.
pub(crate) struct Media {
    local: LocalMedia,
    identity: Arc<Identity>,
    agreed: Negotiated,
}

/// What a new agreement changes.
#[derive(Default)]
pub(crate) struct Change {
    /// What the leg has to do.
    pub(crate) commands: Vec<LegCommand>,
    /// The codec from here on, where it is another.
    pub(crate) codec: Option<&'static str>,
    /// Whether the far side holds us from here on, where that is new.
    pub(crate) held: Option<bool>,
    /// Whether the far side sends anything, where that is new.
    pub(crate) sends: Option<bool>,
}

impl Media {
    pub(crate) fn new(mut local: LocalMedia, agreed: Negotiated, identity: Arc<Identity>) -> Self {
        local.settle(&agreed);
        Self { local, identity, agreed }
    }

    pub(crate) fn agreed(&self) -> &Negotiated {
        &self.agreed
    }

    /// How what was agreed is protected.
    pub(crate) fn security(&self) -> MediaSecurity {
        security_of(&self.agreed)
    }

    /// Our description as it stands: the offer where the far side asks us to repeat ourselves (RFC 3261 section 14.2).
    pub(crate) fn offer(&mut self) -> String {
        self.local.session_version += 1;
        sdp::offer(&self.local)
    }

    /// Answers a re-INVITE or UPDATE; a refused one leaves the call as it was.
    pub(crate) async fn renegotiate(&mut self, offer: Option<&str>, responder: Responder) -> Change {
        let Some(offer) = offer else {
            if let Err(error) = responder.answer(&self.offer()).await {
                tracing::warn!(%error, "a re-INVITE without an offer could not be answered");
            }
            return Change::default();
        };
        match self.answer(offer) {
            Ok((answer, agreed)) => {
                if let Err(error) = responder.answer(&answer).await {
                    tracing::warn!(%error, "a re-INVITE could not be answered");
                    return Change::default();
                }
                self.settle(agreed)
            }
            Err(error) => {
                tracing::info!(%error, "a re-INVITE is refused; the call goes on as it was");
                if let Err(error) = responder.reject(error.status()).await {
                    tracing::warn!(%error, "a re-INVITE could not be refused");
                }
                Change::default()
            }
        }
    }

    /// Our answer to an offer; nothing changes before [`Media::settle`].
    pub(crate) fn answer(&mut self, offer: &str) -> Result<(String, Negotiated), SdpError> {
        self.local.session_version += 1;
        answer(&Offer::parse(offer)?, &self.local)
    }

    /// Takes the answer to [`Media::offer`].
    pub(crate) fn accept(&mut self, answer: &str) -> Result<Change, SdpError> {
        let agreed = sdp::accept_answer(&self.local, answer)?;
        Ok(self.settle(agreed))
    }

    /// Keeps to what was agreed; says what that changes.
    pub(crate) fn settle(&mut self, agreed: Negotiated) -> Change {
        let mut change = Change::default();
        let before = &self.agreed;
        let flow = |direction: MediaDirection| (direction.sends(), direction.receives());
        if flow(agreed.direction) != flow(before.direction) {
            let (send, receive) = flow(agreed.direction);
            change.commands.push(LegCommand::Flow { send, receive });
            change.held = (send != before.direction.sends()).then_some(!send);
            change.sends = (receive != before.direction.receives()).then_some(receive);
        }
        if let Some(format) = format_of(&agreed)
            && Some(format) != format_of(before)
        {
            change.codec = (agreed.codec != before.codec).then(|| agreed.codec.name());
            change.commands.push(LegCommand::Codec(format));
        }
        let way = |n: &Negotiated| (n.security.clone(), n.ice.clone(), n.rtcp_mux);
        if way(&agreed) != way(before) {
            match link_config(&agreed, &self.local, &self.identity) {
                Ok(link) => {
                    let (link, rtcp_mux) = (Box::new(link), agreed.rtcp_mux);
                    change.commands.push(LegCommand::Link { link, rtcp_mux });
                }
                Err(error) => tracing::warn!(%error, "new keys cannot be used; the old ones stay"),
            }
        }
        if agreed.remote != before.remote && !agreed.remote.ip().is_unspecified() {
            change.commands.push(LegCommand::Remote { rtp: agreed.remote, rtcp: agreed.remote_rtcp });
        }
        self.local.settle(&agreed);
        self.agreed = agreed;
        change
    }
}
