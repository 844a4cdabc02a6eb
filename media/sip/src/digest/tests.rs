//! Challenges and answers, and what is made of them by those who would rather not know the password.

use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::*;

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const NOW: Duration = Duration::from_secs(1_000);
const LIFETIME: Duration = Duration::from_secs(60);

fn server(capacity: usize) -> Authenticator {
    Authenticator::new(vec![DigestAlgorithm::Sha256, DigestAlgorithm::Md5], LIFETIME, capacity)
}

fn nonce(challenge: &str) -> String {
    parameters(&challenge[7..]).unwrap()["nonce"].clone()
}

fn answer(algorithm: DigestAlgorithm, nonce: &str, nc: &str, password: &str) -> String {
    let ha1 = algorithm.hash(&["bob", "here", password]);
    let ha2 = algorithm.hash(&["REGISTER", "sip:here"]);
    let response = algorithm.hash(&[&ha1, nonce, nc, "c", "auth", &ha2]);
    let name = algorithm.name();
    format!(
        r#"Digest username="bob", realm="here", nonce="{nonce}", uri="sip:here", response="{response}", algorithm={name}, cnonce="c", qop=auth, nc={nc}"#
    )
}

fn check(server: &Authenticator, now: Duration, header: &str, fingerprint: u64) -> Proof {
    let request = Request { method: "REGISTER", uri: "sip:here", source: HERE, fingerprint };
    server.check(now, "here", &request, [header].into_iter(), |user| {
        (user == "bob").then(|| Secret::Password("secret".into()))
    })
}

fn valid() -> Proof {
    Proof::Valid { user: "bob".into() }
}

#[test]
fn the_example_of_rfc_7616_is_computed() {
    // RFC 7616 §3.9.1, both algorithms over the same values.
    let (user, realm, password) = ("Mufasa", "http-auth@example.org", "Circle of Life");
    let nonce = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v";
    let cnonce = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ";
    for (algorithm, expected) in [
        (DigestAlgorithm::Md5, "8ca523f5e9506fed4657c9700eebdbec"),
        (DigestAlgorithm::Sha256, "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ] {
        let ha1 = algorithm.hash(&[user, realm, password]);
        let ha2 = algorithm.hash(&["GET", "/dir/index.html"]);
        assert_eq!(algorithm.hash(&[&ha1, nonce, "00000001", cnonce, "auth", &ha2]), expected);
    }
}

#[test]
fn both_algorithms_are_offered_and_taken() {
    let server = server(8);
    let offered = server.challenge(NOW, "here", HERE, false);
    assert_eq!(offered.len(), 2);
    assert!(offered[0].contains("algorithm=SHA-256") && offered[1].contains("algorithm=MD5"));
    for (algorithm, challenge) in [DigestAlgorithm::Sha256, DigestAlgorithm::Md5].into_iter().zip(&offered) {
        let header = answer(algorithm, &nonce(challenge), "00000001", "secret");
        assert_eq!(check(&server, NOW, &header, 1), valid());
    }
}

#[test]
fn pages_are_asked_by_md5_alone() {
    let offered = server(8).challenge_page(NOW, "here", HERE, false);
    assert!(offered.len() == 1 && offered[0].contains("algorithm=MD5"), "{offered:?}");
    let newer = Authenticator::new(vec![DigestAlgorithm::Sha256], LIFETIME, 8);
    let offered = newer.challenge_page(NOW, "here", HERE, false);
    assert!(offered.len() == 1 && offered[0].contains("algorithm=SHA-256"), "{offered:?}");
}

#[test]
fn a_stored_hash_serves_as_well_as_the_password() {
    let server = server(8);
    let header = answer(
        DigestAlgorithm::Sha256,
        &nonce(&server.challenge(NOW, "here", HERE, false)[0]),
        "00000001",
        "secret",
    );
    let request = Request { method: "REGISTER", uri: "sip:here", source: HERE, fingerprint: 1 };
    let ha1 = DigestAlgorithm::Sha256.hash(&["bob", "here", "secret"]);
    let secret = Secret::Ha1 { md5: None, sha256: Some(ha1.to_uppercase()) };
    let proof = server.check(NOW, "here", &request, [header.as_str()].into_iter(), |_| Some(secret.clone()));
    assert_eq!(proof, valid());
    assert_eq!(format!("{secret:?}"), "Secret(..)");
}

#[test]
fn a_wrong_password_is_a_guess_and_so_is_an_unknown_user() {
    let server = server(8);
    let nonce = nonce(&server.challenge(NOW, "here", HERE, false)[0]);
    let wrong = answer(DigestAlgorithm::Sha256, &nonce, "00000001", "guess");
    assert_eq!(check(&server, NOW, &wrong, 1), Proof::Wrong { user: "bob".into() });
    let unknown = answer(DigestAlgorithm::Sha256, &nonce, "00000001", "").replace("\"bob\"", "\"eve\"");
    assert_eq!(check(&server, NOW, &unknown, 1), Proof::Wrong { user: "eve".into() });
    assert_eq!(server.kept(), 0, "failures keep nothing");
}

#[test]
fn a_replayed_count_is_refused_and_a_retransmission_is_not() {
    let server = server(8);
    let nonce = nonce(&server.challenge(NOW, "here", HERE, false)[0]);
    let count = |nc: &str| answer(DigestAlgorithm::Sha256, &nonce, nc, "secret");
    assert_eq!(check(&server, NOW, &count("00000001"), 1), valid());
    assert_eq!(check(&server, NOW, &count("00000001"), 1), valid(), "the same request again");
    assert_eq!(check(&server, NOW, &count("00000001"), 2), Proof::Missing { stale: true });
    assert_eq!(check(&server, NOW, &count("00000005"), 3), valid());
    assert_eq!(check(&server, NOW, &count("00000003"), 4), valid(), "overtaken");
    assert_eq!(check(&server, NOW, &count("00000003"), 5), Proof::Missing { stale: true });
    assert_eq!(check(&server, NOW, &count("000000ff"), 6), valid());
    assert_eq!(check(&server, NOW, &count("00000004"), 7), Proof::Missing { stale: true }, "too far behind");
}

#[test]
fn an_old_nonce_is_stale() {
    let server = server(8);
    let nonce = nonce(&server.challenge(NOW, "here", HERE, false)[0]);
    let header = answer(DigestAlgorithm::Sha256, &nonce, "00000001", "secret");
    assert_eq!(check(&server, NOW + LIFETIME * 2, &header, 1), Proof::Missing { stale: true });
    assert!(server.challenge(NOW, "here", HERE, true)[0].ends_with("stale=true"));
}

#[test]
fn a_nonce_of_somebody_else_tells_nothing_about_the_password() {
    let server = server(8);
    let other = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));
    for nonce in [nonce(&server.challenge(NOW, "here", other, false)[0]), "made-up".to_owned(), String::new()]
    {
        for password in ["secret", "guess"] {
            let header = answer(DigestAlgorithm::Sha256, &nonce, "00000001", password);
            assert_eq!(check(&server, NOW, &header, 1), Proof::Missing { stale: true });
        }
    }
}

#[test]
fn what_is_forgotten_for_room_cannot_be_replayed() {
    let server = server(4);
    let first: Vec<String> = (0..8u64)
        .map(|i| {
            let at = NOW + Duration::from_millis(i);
            let nonce = nonce(&server.challenge(at, "here", HERE, false)[0]);
            let header = answer(DigestAlgorithm::Sha256, &nonce, "00000001", "secret");
            assert_eq!(check(&server, at, &header, i), valid());
            header
        })
        .collect();
    assert_eq!(server.kept(), 4);
    for header in &first {
        let later = NOW + Duration::from_millis(9);
        assert_eq!(check(&server, later, header, 99), Proof::Missing { stale: true });
    }
}

#[test]
fn headers_that_leave_something_out_are_malformed() {
    let server = server(8);
    let nonce = nonce(&server.challenge(NOW, "here", HERE, false)[0]);
    let good = answer(DigestAlgorithm::Sha256, &nonce, "00000001", "secret");
    for (from, to) in [
        ("qop=auth", "qop=auth-int"),
        (", nc=00000001", ""),
        ("cnonce=\"c\"", "cnonce=\"\""),
        ("username=\"bob\"", "username=\"\""),
        ("uri=\"sip:here\"", "uri=\"sip:elsewhere\""),
        ("username=\"bob\"", "username=\"bob"),
        ("username=\"bob\"", "username=\"bob\", username=\"eve\""),
    ] {
        let proof = check(&server, NOW, &good.replace(from, to), 1);
        assert!(matches!(proof, Proof::Malformed(_)), "{to}: {proof:?}");
    }
    assert_eq!(check(&server, NOW, "Basic Ym9iOnNlY3JldA==", 1), Proof::Missing { stale: false });
    assert_eq!(
        check(&server, NOW, &good.replace("realm=\"here\"", "realm=\"there\""), 1),
        Proof::Missing { stale: false }
    );
}

proptest! {
    #[test]
    fn no_header_panics(text in "(Digest )?[ -~\u{e9}]{0,200}") {
        let server = server(2);
        check(&server, NOW, &text, 1);
    }
}
