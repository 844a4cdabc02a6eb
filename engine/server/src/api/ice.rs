//! What a page is told of the way through firewalls: `Link` headers (RFC 9725 section 4.6).

use std::time::{Duration, SystemTime};

use axum::http::{HeaderMap, HeaderValue, header};

use crate::config::{IceServer, parse_ice_url};
use crate::web::relay;

/// Adds a header for each address of the servers; credentials are for `who`, from `now` on.
pub(super) fn tell(headers: &mut HeaderMap, servers: &[IceServer], who: &str, now: SystemTime) {
    for server in servers {
        // A clock before 1970 gives credentials that are over already, which the relay then says.
        let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let login = server
            .secret
            .as_ref()
            .map(|secret| relay::login(secret, who, (now + server.lifetime.0).as_secs()));
        for url in &server.urls {
            let mut link = format!("<{url}>; rel=\"ice-server\"");
            if let Some(login) = login.as_ref().filter(|_| parse_ice_url(url) == Some(true)) {
                link += &format!(
                    "; username=\"{}\"; credential=\"{}\"; credential-type=\"password\"",
                    login.name,
                    login.password.expose()
                );
            }
            // Addresses are hosts and ports, as the configuration's check saw to.
            if let Ok(mut link) = HeaderValue::try_from(link) {
                link.set_sensitive(true);
                headers.append(header::LINK, link);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Length, Secret};

    #[test]
    fn each_address_is_a_link_and_relays_come_with_credentials() {
        let server = |urls: &[&str], secret: Option<&str>| IceServer {
            urls: urls.iter().map(|url| (*url).to_owned()).collect(),
            secret: secret.map(|secret| Secret::new(secret.to_owned())),
            secret_env: None,
            secret_file: None,
            lifetime: Length::millis(60_000),
        };
        let servers =
            [server(&["stun:stun.example"], None), server(&["turn:a:1?transport=udp"], Some("north"))];
        let mut headers = HeaderMap::new();
        tell(&mut headers, &servers, "web", SystemTime::UNIX_EPOCH + Duration::from_secs(1_763_799_940));
        let links: Vec<_> = headers.get_all(header::LINK).iter().collect();
        assert_eq!(links[0], "<stun:stun.example>; rel=\"ice-server\"");
        let expected = "<turn:a:1?transport=udp>; rel=\"ice-server\"; username=\"1763800000:web\"; \
                        credential=\"ZglOrtjydPw7+TlDI5PbMGqmnT0=\"; credential-type=\"password\"";
        assert_eq!(links[1], expected);
        assert!(
            !format!("{headers:?}").contains("ZglOrtjydPw7+TlDI5PbMGqmnT0="),
            "headers that are logged tell nothing"
        );
    }
}
