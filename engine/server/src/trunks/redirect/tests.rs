use std::time::Instant;

use super::*;
use crate::config::{Config, Overrides};
use crate::trunks::{Caller, Origin};

const CONFIG: &str = r#"
[[trunk]]
name = "carrier"
hosts = ["203.0.113.9:5060", "sip.carrier.example;transport=tls"]
match = ["203.0.113.0/24"]
allow = ["+44*"]
deny = ["+449*"]
max_calls = 1

[[trunk.called]]
match = "+44*"
strip = 1
prefix = "00"

[[trunk]]
name = "other"
hosts = ["198.51.100.4"]
allow = ["*"]

[[trunk]]
name = "stubborn"
hosts = ["192.0.2.7"]
allow = ["*"]
redirects = 0

[[user]]
name = "anna"
password = "telephone"
may_dial = ["+442*"]

[[route]]
called = "7*"
trunk = "stubborn"

[[route]]
called = "+*"
trunk = "carrier"

[[route]]
called = "/[0-9]+/"
from = ["anonymous"]
trunk = "carrier"
number = "+442071838750"
"#;

struct Call {
    router: Router,
    dialling: Dialling,
}

impl Call {
    /// The call has gone to its first host.
    fn of(origin: &Origin, called: &str) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("antiphon.toml");
        std::fs::write(&path, CONFIG).expect("written");
        let config = Config::load(&Overrides { config: Some(path), ..Overrides::default() }).expect("valid");
        let router = Router::new(&config);
        let Target::Trunk(outlet) = router.inbound(origin, called, "") else { panic!("a way out") };
        let dialling = router.outbound(&outlet, &Caller::default(), Instant::now()).expect("allowed");
        let mut call = Self { router, dialling };
        call.next().expect("a host");
        call
    }

    fn next(&mut self) -> Option<String> {
        Some(self.dialling.next(Instant::now())?.request_uri.into_inner())
    }

    /// What becomes of the contacts of a 302.
    fn redirect(&mut self, contacts: &[&str]) -> Vec<&'static str> {
        let contacts: Vec<_> = contacts.iter().map(|contact| Pii::new((*contact).to_owned())).collect();
        let results = self.router.redirect(&mut self.dialling, &contacts);
        self.dialling.failed(302, Instant::now());
        results
            .iter()
            .map(|result| result.as_ref().map_or_else(RedirectError::name, |()| "followed"))
            .collect()
    }

    fn one(&mut self, contact: &str) -> &'static str {
        self.redirect(&[contact])[0]
    }
}

fn anna() -> Call {
    Call::of(&Origin::User("anna".to_owned()), "+442070000001")
}

#[test]
fn contacts_are_called_in_their_order_and_before_the_hosts_that_are_left() {
    let mut call = anna();
    let told = call.redirect(&["sip:+442070000002@203.0.113.77:5070", "sip:00442070000001@203.0.113.10"]);
    assert_eq!(told, ["followed", "followed"]);
    // The number as the trunk wants it; the second one is in its own form already.
    assert_eq!(call.next().as_deref(), Some("sip:00442070000002@203.0.113.77:5070"));
    assert!(call.dialling.failed(486, Instant::now()), "busy there, another may be tried");
    assert_eq!(call.next().as_deref(), Some("sip:00442070000001@203.0.113.10"));
    assert!(!call.dialling.failed(486, Instant::now()), "busy is no reason to try the next host");
    assert!(call.dialling.failed(503, Instant::now()));
    assert_eq!(call.next().as_deref(), Some("sip:00442070000001@sip.carrier.example;transport=tls"));
}

#[test]
fn what_a_fresh_call_could_not_dial_no_redirection_does() {
    for (contact, result) in [
        ("sip:+900190012345@203.0.113.9", "forbidden"),
        ("sip:+449001@203.0.113.9", "forbidden"),
        ("sip:%2B449001@203.0.113.9", "forbidden"),
        ("sip:+447000000001@203.0.113.9", "forbidden"),
        ("sip:+447000000001;x=@203.0.113.9", "forbidden"),
        ("sip:711@203.0.113.9", "route"),
        ("sip:anna@203.0.113.9", "route"),
        ("sip:+442070000002@198.51.100.4", "host"),
        ("sip:+442070000002@evil.example", "host"),
        ("sip:+442070000002@203.0.113.9@evil.example", "number"),
        ("sip:+442070000002@evil.example;maddr=203.0.113.9", "host"),
        ("sip:@203.0.113.9", "number"),
        ("sip:+44 20\r\n@203.0.113.9", "number"),
        ("mailto:+442070000002@203.0.113.9", "address"),
        ("sip:203.0.113.9", "address"),
        ("sip:+442070000002@203.0.113.9;transport=sctp", "address"),
        ("", "address"),
    ] {
        let mut call = anna();
        assert_eq!(call.one(contact), result, "{contact:?}");
        let next = call.next();
        assert_eq!(
            next.as_deref(),
            Some("sip:00442070000001@sip.carrier.example;transport=tls"),
            "{contact:?}"
        );
    }
}

#[test]
fn a_route_that_makes_one_number_of_many_makes_it_of_redirections_too() {
    let mut call = Call::of(&Origin::Anonymous, "12");
    // A fresh call of somebody unknown reaches one number and no other.
    assert_eq!(call.redirect(&["sip:+442070000002@203.0.113.10"]), ["route"]);
    assert_eq!(call.one("sip:34@203.0.113.10"), "followed");
    assert_eq!(call.next().as_deref(), Some("sip:00442071838750@203.0.113.10"));
}

#[test]
fn an_operator_who_names_the_trunk_is_bound_by_its_lists_alone() {
    let mut call = anna();
    let outlet = call.router.over("carrier", "+442070000001").expect("a trunk");
    call.dialling = call.router.outbound(&outlet, &Caller::default(), Instant::now()).expect("allowed");
    call.next().expect("a host");
    let told =
        call.redirect(&["sip:+447000000001@203.0.113.9", "sip:+449001@203.0.113.9", "tel:+44-20-7000-0002"]);
    assert_eq!(told, ["followed", "forbidden", "followed"]);
    assert_eq!(call.next().as_deref(), Some("sip:00447000000001@203.0.113.9"));
    assert_eq!(call.next().as_deref(), Some("sip:00442070000002@203.0.113.9:5060"));
}

#[test]
fn nothing_is_called_twice_and_no_call_goes_on_for_ever() {
    let mut call = anna();
    let told = call.redirect(&[
        "sip:+442070000001@203.0.113.9:5060",
        "sip:+442070000001@203.0.113.9",
        "sip:00442070000001@203.0.113.9;transport=UDP",
    ]);
    assert_eq!(told, ["again"; 3], "it has just said where to go instead");
    for n in 2..=5 {
        assert_eq!(call.one(&format!("sip:+44207000000{n}@203.0.113.9")), "followed");
        call.next().expect("the place it leads to");
        assert_eq!(call.one(&format!("sip:+44207000000{n}@203.0.113.9")), "again");
    }
    assert_eq!(call.one("sip:+442070000006@203.0.113.9"), "limit");
    let many: Vec<_> = (0..16).map(|n| format!("sip:+4420800000{n:02}@203.0.113.9")).collect();
    let mut call = anna();
    let told = call.redirect(&many.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!((told[..4].to_vec(), told[4..].to_vec()), (vec!["followed"; 4], vec!["limit"; 12]));
}

#[test]
fn a_trunk_may_be_left_without_and_encryption_is_not_given_up() {
    let mut call = Call::of(&Origin::User("anna".to_owned()), "+442070000001");
    let outlet = call.router.over("stubborn", "711").expect("a trunk");
    call.dialling = call.router.outbound(&outlet, &Caller::default(), Instant::now()).expect("allowed");
    call.next().expect("a host");
    assert_eq!(call.one("sip:712@192.0.2.7"), "off");
    assert_eq!(call.next(), None);

    let mut call = anna();
    call.dialling.failed(503, Instant::now());
    assert!(call.next().is_some_and(|uri| uri.ends_with("transport=tls")));
    assert_eq!(call.one("sip:+442070000002@203.0.113.9"), "followed", "what it does not say stays as it is");
    assert_eq!(call.one("sip:+442070000002@203.0.113.9;transport=udp"), "insecure");
    assert_eq!(call.one("sips:+442070000003@203.0.113.9;transport=tcp"), "followed");
    assert_eq!(call.next().as_deref(), Some("sip:00442070000003@203.0.113.9;transport=tls"));
}

#[test]
fn redirections_wait_for_a_place_as_every_call_does() {
    let mut call = anna();
    let taken = call.router.admit("carrier", Instant::now()).expect("a trunk").expect("the one place");
    assert_eq!(call.one("sip:+442070000002@203.0.113.9"), "followed");
    assert_eq!(call.next(), None);
    assert!(call.dialling.refusal().is_some());
    drop(taken);
}
