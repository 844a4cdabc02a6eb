//! Where a user's telephones send a call on to (3xx, RFC 3261 section 8.1.3.4), and whether they may.
//!
//! A telephone is set to forward by whoever stands before it, and whoever calls it pays nothing for what follows. So what it
//! names is dialled as its user would dial it: by the routes that are his, within `may_dial` and `max_calls`, and so often.

use std::collections::BTreeSet;
use std::time::Instant;

use antiphon_media_frame::Pii;

use crate::line::{Plan, user_of};
use crate::shared::Shared;
use crate::trunks::{Caller, Origin, RedirectError, Target as Way, number_of};

/// What one call has been sent on to so far.
#[derive(Default)]
pub(crate) struct Forwards {
    /// Users whose telephones ring.
    users: BTreeSet<String>,
    /// Numbers that were dialled over trunks.
    numbers: BTreeSet<String>,
    /// How many places were added.
    followed: u8,
}

impl Forwards {
    /// Takes note that a user's telephones ring.
    pub(crate) fn rings(&mut self, user: &str) {
        self.users.insert(user.to_owned());
    }
}

impl Shared {
    /// How the places are called that a telephone of `user` names, the best first, or why they are not. `from` is the address
    /// that the telephone was shown.
    pub(crate) fn forward(
        &self,
        user: &str,
        from: &Pii<String>,
        contacts: &[Pii<String>],
        forwards: &mut Forwards,
    ) -> Vec<Result<Plan, RedirectError>> {
        let each = |contact: &Pii<String>| self.forward_to(user, from, contact.expose(), forwards);
        contacts.iter().map(each).collect()
    }

    fn forward_to(
        &self,
        user: &str,
        from: &Pii<String>,
        contact: &str,
        forwards: &mut Forwards,
    ) -> Result<Plan, RedirectError> {
        let known = self.router.user(user).filter(|user| user.redirects > 0).ok_or(RedirectError::Off)?;
        let limit = known.redirects;
        let number = number_of(contact)?;
        let own = known.number.as_ref().unwrap_or(&known.name);
        let origin = Origin::User(user.to_owned());
        let within = |forwards: &Forwards| {
            if forwards.followed < limit { Ok(()) } else { Err(RedirectError::Limit { limit }) }
        };
        let plan = match self.router.inbound(&origin, &number, own) {
            Way::User(name) => {
                if forwards.users.contains(&name) {
                    return Err(RedirectError::Again);
                }
                within(forwards)?;
                let plan = self.telephones(&name, Some(user_of(from.expose())));
                let plan = plan.map_err(|_| RedirectError::Unregistered)?;
                forwards.rings(&name);
                plan
            }
            Way::Trunk(outlet) => {
                if forwards.numbers.contains(&number) {
                    return Err(RedirectError::Again);
                }
                within(forwards)?;
                let caller = Caller { number: own, ..Caller::default() };
                let dialling = self.router.outbound(&outlet, &caller, Instant::now());
                let dialling = dialling.map_err(RedirectError::Forbidden)?;
                forwards.numbers.insert(number);
                Plan::Over(Box::new(dialling))
            }
            Way::Flow(_) | Way::DefaultFlow | Way::Conference(_) | Way::Reject { .. } => {
                return Err(RedirectError::Route);
            }
        };
        forwards.followed += 1;
        Ok(plan)
    }
}
