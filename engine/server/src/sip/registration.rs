//! Our registrations with trunks.

use std::sync::Arc;
use std::time::Instant;

use antiphon_media_sip::{RegistrationConfig, RegistrationState};

use crate::config::{Host, Register};
use crate::shared::Shared;
use crate::trunks::Registration;

/// Keeps one trunk's registration up for as long as the server runs, and notes where it stands.
pub(super) async fn keep(shared: Arc<Shared>, trunk: String) {
    let Some(config) = shared.router.trunk(&trunk) else { return };
    let (Some(register), Some(agent)) = (&config.register, shared.agent()) else { return };
    // The configuration has been checked: a trunk that is registered with has a host.
    let Some(host) = register.registrar.as_ref().or(config.hosts.first()) else { return };
    let registration = match agent.register(registration_config(register, host)) {
        Ok(registration) => registration,
        Err(error) => {
            tracing::error!(trunk, %error, "the registration with a trunk cannot be tried");
            return;
        }
    };
    let mut state = registration.state();
    loop {
        let now = state.borrow_and_update().clone();
        let known = match now {
            RegistrationState::Registering => Registration::Registering,
            RegistrationState::Registered { until } => {
                tracing::info!(trunk, "registered with a trunk");
                Registration::Registered { until: instant(until.into()) }
            }
            RegistrationState::Failed { status, text, retry_at } => {
                tracing::warn!(trunk, status, text, "the registration with a trunk failed");
                let retry_at = Some(instant(retry_at.into()));
                Registration::Failed { status: Some(status), text, retry_at }
            }
            RegistrationState::Stopped => return,
        };
        shared.router.registered(&trunk, known);
        tokio::select! {
            changed = state.changed() => if changed.is_err() { return },
            () = shared.calls.stopped() => break,
        }
    }
    // The registrar hears of it while the agent still runs.
    registration.stop().await;
}

fn registration_config(register: &Register, host: &Host) -> RegistrationConfig {
    let password = register.password.as_ref().map_or("", |password| password.expose());
    let mut config = RegistrationConfig::new(&format!("sip:{}", host.authority()), &register.user, password);
    config.auth_user.clone_from(&register.auth_user);
    config.contact_user.clone_from(&register.contact);
    config.expires = register.expires.0;
    config.transport = host.transport;
    config
}

/// A point of the machine's clock as RFC 3339.
fn instant(at: Instant) -> String {
    let ahead = at.saturating_duration_since(Instant::now());
    let at = jiff::Timestamp::now().checked_add(ahead).unwrap_or(jiff::Timestamp::MAX);
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
