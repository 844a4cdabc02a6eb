//! Bindings that come, change, run out and are refused.

use super::*;

fn wanted<'a>(contacts: &[&'a str], expires: Option<&'a str>, cseq: u32) -> Wanted<'a> {
    Wanted {
        user: "bob",
        call_id: "c",
        cseq,
        contacts: contacts.to_vec(),
        expires,
        path: Vec::new(),
        user_agent: Some("phone"),
        source: SocketAddr::from(([192, 0, 2, 1], 1_234)),
        transport: SipTransport::Udp,
    }
}

fn registrar(change: impl FnOnce(&mut RegistrarConfig)) -> Arc<Registrar> {
    let mut config = RegistrarConfig::default();
    change(&mut config);
    Registrar::new(config)
}

#[test]
fn a_phone_is_found_where_it_registered_from() {
    let registrar = registrar(|_| {});
    let mut events = registrar.subscribe();
    let bound =
        registrar.register(&wanted(&["<sip:bob@10.0.0.9>;q=0.5, <sip:bob@10.0.0.8>"], Some("600"), 1));
    assert_eq!(bound.unwrap().len(), 2);
    let found = registrar.lookup("bob");
    assert_eq!(found[0].contact.expose(), "sip:bob@10.0.0.8");
    assert_eq!(found[1].preference, 500);
    assert_eq!(found[0].destination.to_string(), "192.0.2.1:1234");
    assert!(
        found[0].expires_in <= Duration::from_secs(600) && found[0].expires_in > Duration::from_secs(590)
    );
    assert!(registrar.lookup("eve").is_empty());
    assert_eq!(registrar.behind_nat().len(), 2);
    assert!(matches!(events.try_recv(), Ok(RegistrarEvent::Registered(b)) if b.user == "bob"));
    events.try_recv().unwrap();
    registrar.register(&wanted(&["<sip:bob@10.0.0.8>"], None, 2)).unwrap();
    assert!(events.try_recv().is_err(), "a refresh is no news");
}

#[test]
fn a_phone_leaves_alone_or_with_all_others() {
    let registrar = registrar(|_| {});
    registrar.register(&wanted(&["<sip:a@h>", "<sip:b@h>", "<sip:c@h>"], None, 1)).unwrap();
    let mut events = registrar.subscribe();
    let bound = registrar.register(&wanted(&["<sip:a@h>;expires=0"], None, 2)).unwrap();
    assert_eq!(bound.len(), 2);
    assert!(matches!(events.try_recv(), Ok(RegistrarEvent::Gone { why: Gone::Unregistered, .. })));
    assert_eq!(registrar.register(&wanted(&["*"], Some("0"), 0)), Err(Refused::OutOfOrder));
    assert_eq!(registrar.register(&wanted(&["*"], Some("0"), 3)), Ok(Vec::new()));
    assert!(registrar.is_empty());
    for wrong in
        [wanted(&["*"], None, 4), wanted(&["*", "<sip:a@h>"], Some("0"), 4), wanted(&["*"], Some("60"), 4)]
    {
        assert_eq!(registrar.register(&wrong), Err(Refused::Bad("Bad Contact")));
    }
}

#[test]
fn a_query_changes_nothing() {
    let registrar = registrar(|_| {});
    registrar.register(&wanted(&["<sip:a@h>"], None, 1)).unwrap();
    assert_eq!(registrar.register(&wanted(&[], None, 2)).unwrap().len(), 1);
}

#[test]
fn what_is_too_much_too_brief_or_too_late_is_refused() {
    let registrar = registrar(|config| {
        config.max_contacts = 2;
        config.max_bindings = 3;
    });
    assert_eq!(registrar.register(&wanted(&["<sip:a@h>"], Some("5"), 1)), Err(Refused::TooBrief(60)));
    let three = ["<sip:a@h>", "<sip:b@h>", "<sip:c@h>"];
    assert_eq!(registrar.register(&wanted(&three, None, 1)), Err(Refused::TooManyContacts));
    registrar.register(&wanted(&three[..2], None, 1)).unwrap();
    assert_eq!(registrar.register(&wanted(&three[2..], None, 2)), Err(Refused::TooManyContacts));
    assert_eq!(registrar.register(&wanted(&three[..1], None, 0)), Err(Refused::OutOfOrder));
    assert_eq!(
        registrar.register(&Wanted { user: "eve", ..wanted(&three[..2], None, 1) }),
        Err(Refused::Full)
    );
    assert_eq!(registrar.len(), 2, "a refused REGISTER changes nothing");
    for wrong in ["tel:+123", "<sip:a@h", "\"", "<mailto:a@h>"] {
        assert_eq!(
            registrar.register(&wanted(&[wrong], None, 9)),
            Err(Refused::Bad("Bad Contact")),
            "{wrong}"
        );
    }
    assert_eq!(
        registrar.register(&wanted(&["<sip:a@h>"], Some("soon"), 9)),
        Err(Refused::Bad("Bad Expires"))
    );
}

#[test]
fn expiry_is_cut_at_both_ends() {
    let registrar = registrar(|_| {});
    let bound = registrar.register(&wanted(&["<sip:a@h>;expires=99999999999"], None, 1)).unwrap();
    assert_eq!(bound[0].expires_in, Duration::from_secs(3_600));
}

#[test]
fn a_phone_that_comes_back_under_another_address_replaces_itself() {
    let registrar = registrar(|_| {});
    let instance = r#"<sip:x@one.invalid>;+sip.instance="<urn:uuid:1>";reg-id=1"#;
    registrar.register(&wanted(&[instance], None, 1)).unwrap();
    let again = instance.replace("one", "two");
    let bound = registrar.register(&Wanted { call_id: "d", ..wanted(&[&again], None, 1) }).unwrap();
    assert_eq!(bound.len(), 1);
    assert_eq!(bound[0].contact.expose(), "sip:x@two.invalid");
}

#[test]
fn a_lost_connection_takes_its_phones_along() {
    let registrar = registrar(|_| {});
    let over = |transport, cseq| Wanted { transport, ..wanted(&["<sip:a@h>"], None, cseq) };
    registrar.register(&over(SipTransport::Wss, 1)).unwrap();
    let mut events = registrar.subscribe();
    registrar.flow_lost(SipTransport::Tcp, SocketAddr::from(([192, 0, 2, 1], 1_234)));
    registrar.flow_lost(SipTransport::Wss, SocketAddr::from(([192, 0, 2, 2], 1_234)));
    assert_eq!(registrar.len(), 1);
    registrar.flow_lost(SipTransport::Wss, SocketAddr::from(([192, 0, 2, 1], 1_234)));
    assert!(registrar.is_empty());
    assert!(matches!(events.try_recv(), Ok(RegistrarEvent::Gone { why: Gone::FlowLost, .. })));
}

#[test]
fn bindings_run_out() {
    let registrar = registrar(|config| config.min_expires = Duration::ZERO);
    registrar.register(&wanted(&["<sip:a@h>;expires=1"], None, 1)).unwrap();
    let mut events = registrar.subscribe();
    std::thread::sleep(Duration::from_millis(1_010));
    assert!(registrar.lookup("bob").is_empty());
    registrar.expire();
    assert!(matches!(events.try_recv(), Ok(RegistrarEvent::Gone { why: Gone::Expired, .. })));
    assert!(registrar.is_empty());
}
