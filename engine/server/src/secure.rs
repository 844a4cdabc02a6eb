//! From what two descriptions agreed on to the way that media takes: keys, certificates, ICE.

use std::sync::Arc;

use antiphon_media_link::{
    DtlsConfig, DtlsRole, Fingerprint, IceConfig, IceCredentials, IceRole, Identity, KeyLengthError,
    LinkConfig, Protection, RemoteCandidate, SrtpKeys, Suite,
};
use antiphon_media_sip::sdp::{
    self, AgreedSecurity, Candidate, CandidateTransport, LocalMedia, Negotiated, SdesKey, Setup,
};

/// The way that media takes by an agreement.
///
/// # Errors
/// If a key does not fit its suite, which no description that was read can bring about.
pub(crate) fn link_config(
    agreed: &Negotiated,
    local: &LocalMedia,
    identity: &Arc<Identity>,
) -> Result<LinkConfig, KeyLengthError> {
    let protection = match &agreed.security {
        AgreedSecurity::Plain => Protection::Plain,
        AgreedSecurity::Sdes { ours, theirs } => {
            Protection::Sdes { local: keys(ours)?, remote: keys(theirs)? }
        }
        AgreedSecurity::Dtls { fingerprint, role } => Protection::Dtls(DtlsConfig {
            identity: Arc::clone(identity),
            fingerprint: Fingerprint(fingerprint.0),
            role: match role {
                Setup::Active => DtlsRole::Client,
                Setup::Passive => DtlsRole::Server,
            },
            peer: agreed.remote,
            latch: true,
        }),
    };
    let ice = agreed.ice.as_ref().zip(local.ice.as_ref()).map(|(theirs, ours)| IceConfig {
        local: credentials(&ours.credentials),
        remote: credentials(&theirs.credentials),
        lite: ours.lite,
        remote_lite: theirs.lite,
        // We answer, or are lite, which never controls (RFC 8445 section 6.1.1). Where we offered and are full (behind a
        // NAT) the checks settle it.
        role: IceRole::Controlled,
        candidates: remote_candidates(&theirs.candidates),
    });
    Ok(LinkConfig { protection, ice })
}

/// What checks can be sent to: connections are the far side's to open.
pub(crate) fn remote_candidates(candidates: &[Candidate]) -> Vec<RemoteCandidate> {
    let udp = candidates.iter().filter(|candidate| candidate.transport == CandidateTransport::Udp);
    udp.map(|candidate| RemoteCandidate { address: candidate.address, priority: candidate.priority })
        .collect()
}

fn keys(key: &SdesKey) -> Result<SrtpKeys, KeyLengthError> {
    let suite = match key.suite() {
        sdp::SrtpSuite::AesCm128HmacSha1_80 => Suite::AesCm128HmacSha1_80,
        sdp::SrtpSuite::AesCm128HmacSha1_32 => Suite::AesCm128HmacSha1_32,
        sdp::SrtpSuite::AeadAes128Gcm => Suite::AeadAes128Gcm,
        sdp::SrtpSuite::AeadAes256Gcm => Suite::AeadAes256Gcm,
    };
    SrtpKeys::new(suite, key.key(), key.salt())
}

fn credentials(credentials: &sdp::IceCredentials) -> IceCredentials {
    IceCredentials { ufrag: credentials.ufrag.clone(), password: credentials.password.clone() }
}
