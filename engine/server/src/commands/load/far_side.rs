//! Answers the far legs of calls that the server under load bridges back to us.

use std::net::{IpAddr, UdpSocket};
use std::sync::Arc;
use std::time::Instant;

use antiphon_media_sip::IncomingCall;
use antiphon_media_sip::sdp::{self, Codec, Offer, Security};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::calls::{local_media, over, talk};
use super::phones::Phones;
use super::tally::Tally;

/// What the far legs share.
#[derive(Clone)]
pub(super) struct FarSide {
    pub(super) phones: Option<Arc<Phones>>,
    pub(super) tally: Arc<Tally>,
    pub(super) codec: Codec,
    /// Where their media is received.
    pub(super) address: IpAddr,
}

impl FarSide {
    /// Answers whatever comes in, at once; the other side hangs up. Never returns while the agent listens.
    pub(super) async fn answer_all(self, mut incoming: mpsc::Receiver<IncomingCall>) {
        let mut calls = JoinSet::new();
        while let Some(call) = incoming.recv().await {
            let far_side = self.clone();
            calls.spawn(async move {
                if let Err(error) = far_side.answer(call).await {
                    tracing::error!("a far leg could not be answered: {error:#}");
                }
            });
            while calls.try_join_next().is_some() {}
        }
    }

    async fn answer(&self, call: IncomingCall) -> anyhow::Result<()> {
        let Some(text) = call.offer() else {
            return Ok(call.reject(488, "", "an offer is needed")?);
        };
        let socket = UdpSocket::bind((self.address, 0))?;
        let local = local_media(&socket, self.codec, &Security::sdes(false))?;
        let (answer, agreed) = match Offer::parse(text).and_then(|offer| sdp::answer(&offer, &local)) {
            Ok(both) => both,
            Err(error) => return Ok(call.reject(error.status(), "", &error.to_string())?),
        };
        let mut dialog = call.answer(&answer)?;
        let answered = Instant::now();
        self.tally.far_side_answered();
        let talking = talk(self.phones.as_deref(), socket, &agreed, answered);
        over(&mut dialog).await;
        let figures = match talking {
            Some(talking) => Some(talking.hang_up().await),
            None => None,
        };
        self.tally.far_side_ended(answered.elapsed(), figures);
        Ok(())
    }
}
