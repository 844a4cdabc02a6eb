//! Where calls go, and where they must not.

use super::*;
use crate::config::Overrides;

const CONFIG: &str = r#"
[[trunk]]
name = "carrier"
hosts = ["203.0.113.9:5060", "sip2.carrier.example:5061;transport=tls"]
credentials = { user = "acme", password = "hunter2" }
allow = ["+44*", "+8610*"]
deny = ["+449*", "00449*", "/\\+44(70|871).*/"]
max_calls = 2
trusted = true
from_domain = "acme.example"
headers_out = { X-Account = "{account}/{trunk}" }
headers_in = { X-Customer = "customer" }

[[trunk.called]]
match = "+44*"
strip = 1
prefix = "00"

[[trunk.caller]]
match = "/secret.*/"
privacy = true
asserted = "+442070000000"

[[trunk.caller]]
match = "10*"
from = "+4420700000$1"
asserted = "+4420700000$1"

[[trunk]]
name = "spare"
hosts = ["198.51.100.4"]
match = ["198.51.100.0/24"]
allow = ["*"]
calls_per_second = 1

[[user]]
name = "1001"
password = "telephone"
number = "1001"
may_dial = ["+44*"]
max_calls = 1

[[user]]
name = "guest"
password = "telephone"

[[route]]
called = "999"
reject = 603

[[route]]
called = "9*"
trunk = ["carrier", "spare"]
number = "+$1"

[[route]]
called = "+*"
trunk = "carrier"

[[route]]
called = "/1[0-9]{3}/"
user = "$0"

[[route]]
called = "8*"
from = ["user", "trunk:carrier"]
conference = "room-$1"

[[route]]
called = "700"
from = ["trunk:spare"]
trunk = "carrier"
number = "+442071838750"

[[route]]
called = "5550100"
caller = "+86*"
flow = "china.yaml"
"#;

fn configured(text: &str) -> anyhow::Result<Config> {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("antiphon.toml");
    std::fs::write(&path, text).expect("written");
    Config::load(&Overrides { config: Some(path), ..Overrides::default() })
}

fn router() -> Router {
    // `from` takes a list.
    Router::new(
        &configured(&CONFIG.replace("from = \"trunk:spare\"", "from = [\"trunk:spare\"]")).expect("valid"),
    )
}

fn user(name: &str) -> Origin {
    Origin::User(name.to_owned())
}

fn trunk(name: &str) -> Origin {
    Origin::Trunk(name.to_owned())
}

/// The attempts that a user's call makes, all failing.
fn attempts(router: &Router, origin: &Origin, called: &str) -> Result<Vec<(String, String)>, DialError> {
    let Target::Trunk(outlet) = router.inbound(origin, called, "1001") else {
        panic!("{called} goes nowhere")
    };
    let now = Instant::now();
    let mut dialling = router.outbound(&outlet, &Caller { number: "1001", ..Caller::default() }, now)?;
    let mut made = Vec::new();
    while let Some(attempt) = dialling.next(now) {
        made.push((attempt.trunk.name.clone(), attempt.request_uri.into_inner()));
    }
    Ok(made)
}

#[test]
fn the_first_route_that_fits_decides() {
    let router = router();
    assert_eq!(router.inbound(&user("1001"), "999", ""), Target::Reject { status: 603 });
    assert_eq!(router.inbound(&Origin::Anonymous, "1001", ""), Target::User("1001".into()));
    assert_eq!(
        router.inbound(&Origin::Anonymous, "1999", ""),
        Target::Reject { status: 404 },
        "no such user"
    );
    assert_eq!(router.inbound(&user("1001"), "812", ""), Target::Conference("room-12".into()));
    assert_eq!(router.inbound(&trunk("carrier"), "812", ""), Target::Conference("room-12".into()));
    assert_eq!(router.inbound(&trunk("spare"), "812", ""), Target::DefaultFlow);
    let china = Target::Flow("china.yaml".into());
    assert_eq!(router.inbound(&Origin::Anonymous, "5550100", "+86 10 8888"), china);
    assert_eq!(router.inbound(&Origin::Anonymous, "5550100", "+44"), Target::DefaultFlow);
    assert_eq!(router.inbound(&Origin::Anonymous, "bank", "alice"), Target::DefaultFlow);
    assert_eq!(router.inbound(&Origin::Anonymous, "a@b", ""), Target::Reject { status: 404 });
}

#[test]
fn nobody_unknown_and_no_trunk_reaches_a_trunk_unless_a_route_says_so() {
    let router = router();
    for origin in [Origin::Anonymous, trunk("carrier"), trunk("spare")] {
        for called in ["+442071838750", "9442071838750", "%2B442071838750", "+44-20;x=y", "00442071838750"] {
            let target = router.inbound(&origin, called, "1001");
            assert!(!matches!(target, Target::Trunk(_)), "{origin:?} reaches {called}");
        }
    }
    // The one that says so.
    assert!(matches!(router.inbound(&trunk("spare"), "700", ""), Target::Trunk(_)));
    assert!(!matches!(router.inbound(&trunk("carrier"), "700", ""), Target::Trunk(_)));
}

#[test]
fn a_route_that_opens_a_trunk_to_everybody_is_refused() {
    let error = configured(&CONFIG.replace("called = \"700\"\nfrom = [\"trunk:spare\"]", "from = [\"any\"]"))
        .expect_err("toll fraud by configuration");
    assert!(error.to_string().contains("route 6") && error.to_string().contains("at your cost"), "{error}");
}

#[test]
fn without_anonymous_calls_only_the_known_come_in() {
    let text = format!("[security]\nanonymous = false\n{CONFIG}");
    let router = Router::new(&configured(&text).expect("valid"));
    assert_eq!(router.inbound(&Origin::Anonymous, "bank", ""), Target::Reject { status: 403 });
    assert_eq!(router.inbound(&user("1001"), "bank", ""), Target::DefaultFlow);
}

#[test]
fn hosts_and_trunks_are_tried_in_their_order() {
    let made = attempts(&router(), &user("1001"), "9442071838750").expect("allowed");
    let expected = [
        ("carrier", "sip:00442071838750@203.0.113.9:5060"),
        ("carrier", "sip:00442071838750@sip2.carrier.example:5061;transport=tls"),
        ("spare", "sip:+442071838750@198.51.100.4"),
    ];
    assert_eq!(made, expected.map(|(trunk, uri)| (trunk.to_owned(), uri.to_owned())));
}

#[test]
fn a_number_is_compared_in_one_spelling_whatever_was_dialled() {
    let router = router();
    for called in ["+44-9-123", "+44(9)123", "%2B44%39123", "+44.9123;phone-context=x", "+44%2D9123"] {
        let error = attempts(&router, &user("1001"), called).expect_err(called);
        assert_eq!(error, forbidden("trunk.carrier.deny"), "{called}");
    }
    for called in ["+4470123", "+44871000"] {
        let error = attempts(&router, &user("1001"), called).expect_err(called);
        assert_eq!((error.status(), error), (403, forbidden("trunk.carrier.deny")), "{called}");
    }
}

fn forbidden(list: &str) -> DialError {
    DialError::Forbidden { list: list.to_owned() }
}

#[test]
fn users_call_what_they_may_and_nothing_else() {
    let router = router();
    for (name, called, list) in [
        ("1001", "+8613800138000", "user.1001.may_dial"),
        ("1001", "+19005551234", "user.1001.may_dial"),
        ("guest", "+442071838750", "user.guest.may_dial"),
    ] {
        assert_eq!(attempts(&router, &user(name), called).expect_err(called), forbidden(list));
    }
    let error = attempts(&router, &Origin::Api, "+19005551234").expect_err("not on the list");
    assert_eq!(error, forbidden("trunk.carrier.allow"), "the list of the trunk binds the API too");
}

#[test]
fn a_trunk_that_allows_nothing_carries_nothing() {
    let text = CONFIG.replace("allow = [\"*\"]", "");
    let router = Router::new(&configured(&text).expect("valid"));
    let outlet = router.over("spare", "112").expect("the trunk");
    let error = router.outbound(&outlet, &Caller::default(), Instant::now()).err();
    assert_eq!(error, Some(forbidden("trunk.spare.allow")));
    assert!(router.over("nowhere", "112").is_none());
}

#[test]
fn a_rule_cannot_make_a_denied_number_of_an_allowed_one() {
    let text = CONFIG.replace("strip = 1\nprefix = \"00\"", "number = \"00449$1\"");
    let router = Router::new(&configured(&text).expect("valid"));
    let error = attempts(&router, &user("1001"), "+442071838750").expect_err("denied");
    assert_eq!(error, forbidden("trunk.carrier.deny"));
}

#[test]
fn a_user_is_shown_by_his_own_number_whatever_his_telephone_says() {
    let router = router();
    let Target::Trunk(outlet) = router.inbound(&user("1001"), "+442071838750", "") else {
        panic!("no trunk")
    };
    let now = Instant::now();
    let caller = Caller { number: "+441234567890", display_name: Some("The Bank"), variables: None };
    let mut dialling = router.outbound(&outlet, &caller, now).expect("allowed");
    let attempt = dialling.next(now).expect("a host");
    assert_eq!(attempt.from.expose(), "sip:+442070000001@acme.example");
    assert_eq!(attempt.asserted.expect("trusted").expose(), "sip:+442070000001@acme.example");
    assert_eq!(attempt.display_name, None);
    let login = attempt.login.expect("credentials");
    assert_eq!((login.user.as_str(), login.password.expose()), ("acme", "hunter2"));
}

#[test]
fn a_withheld_number_is_told_to_the_trusted_trunk_alone() {
    let router = router();
    let outlet = router.over("carrier", "+442071838750").expect("the trunk");
    let now = Instant::now();
    let variables = BTreeMap::from([("account".to_owned(), "7\r\nX-Evil: 1".to_owned())]);
    let caller =
        Caller { number: "secret-7", display_name: Some("Agent \"7\""), variables: Some(&variables) };
    let mut dialling = router.outbound(&outlet, &caller, now).expect("allowed");
    let attempt = dialling.next(now).expect("a host");
    assert_eq!(attempt.from.expose(), "sip:anonymous@anonymous.invalid");
    assert_eq!(attempt.display_name.expect("a name").expose(), "Anonymous");
    assert_eq!(attempt.asserted.expect("trusted").expose(), "sip:+442070000000@acme.example");
    let headers: Vec<(&str, &str)> =
        attempt.headers.iter().map(|(name, value)| (name.as_str(), value.expose().as_str())).collect();
    assert_eq!(headers, [("X-Account", "7X-Evil: 1/carrier"), ("Privacy", "id")]);
}

#[test]
fn a_trunk_at_its_limit_is_passed_over_and_its_places_come_back() {
    let router = router();
    let now = Instant::now();
    let dial = || {
        let Target::Trunk(outlet) = router.inbound(&Origin::Api, "9442071838750", "") else {
            panic!("no trunk")
        };
        let mut dialling = router.outbound(&outlet, &Caller::default(), now).expect("allowed");
        let attempt = dialling.next(now);
        (attempt, dialling)
    };
    let (first, second) = (dial().0.expect("a host"), dial().0.expect("a host"));
    assert_eq!((first.trunk.name.as_str(), second.trunk.name.as_str()), ("carrier", "carrier"));
    let third = dial().0.expect("the spare one");
    assert_eq!(third.trunk.name, "spare");
    // One a second over the spare one.
    let (none, dialling) = dial();
    assert!(none.is_none());
    assert!(dialling.refusal().expect("a limit").to_string().contains("trunk spare"));
    drop(first);
    assert_eq!(dial().0.expect("a place is free").trunk.name, "carrier");
    assert_eq!(router.status().swap_remove(0).calls, 1, "the second; the last is over");
}

#[test]
fn a_stolen_password_makes_no_more_calls_than_the_user_may() {
    let router = router();
    let now = Instant::now();
    let Target::Trunk(outlet) = router.inbound(&user("1001"), "+442071838750", "") else {
        panic!("no trunk")
    };
    let mut dialling = router.outbound(&outlet, &Caller::default(), now).expect("the first");
    let attempt = dialling.next(now).expect("a host");
    drop(dialling);
    let error = router.outbound(&outlet, &Caller::default(), now).err().expect("a second call");
    assert_eq!((error.status(), error.to_string()), (503, "user 1001 is at its limit of 1 calls".to_owned()));
    drop(attempt);
    assert!(router.outbound(&outlet, &Caller::default(), now).is_ok());
}

#[test]
fn the_next_host_is_tried_only_at_the_configured_statuses() {
    let router = router();
    let now = Instant::now();
    let outlet = router.over("carrier", "+442071838750").expect("the trunk");
    let mut dialling = router.outbound(&outlet, &Caller::default(), now).expect("allowed");
    assert!(!dialling.failed(503, now), "nothing was tried yet");
    dialling.next(now).expect("the first host");
    assert!(!dialling.failed(486, now), "busy is an answer");
    assert!(dialling.failed(503, now));
    dialling.next(now).expect("the second host");
    assert!(!dialling.failed(503, now), "no third host");
    assert!(dialling.next(now).is_none() && dialling.refusal().is_none());
}

#[test]
fn a_host_that_is_down_is_left_out_until_it_answers() {
    let router = router();
    let now = Instant::now();
    let (first, hosts) = {
        let carrier = router.trunk("carrier").expect("configured");
        (carrier.hosts[0].clone(), carrier.hosts.clone())
    };
    let order = || -> Vec<String> {
        let outlet = router.over("carrier", "+442071838750").expect("the trunk");
        let mut dialling = router.outbound(&outlet, &Caller::default(), now).expect("allowed");
        std::iter::from_fn(|| dialling.next(now).map(|attempt| attempt.host.name)).collect()
    };
    for n in 0..3 {
        let changed = router.report("carrier", &first, now, Err(()));
        assert_eq!(changed, (n == 2).then_some(HostState::Down));
    }
    assert_eq!(order(), ["sip2.carrier.example"]);
    for _ in 0..3 {
        router.report("carrier", &hosts[1], now, Err(()));
    }
    assert_eq!(order(), ["203.0.113.9", "sip2.carrier.example"], "with all down, all are tried");
    let status = router.status().swap_remove(0);
    assert_eq!((status.hosts[0].state, status.hosts[0].failures), (HostState::Down, 3));
    assert_eq!(router.report("carrier", &first, now, Ok(Duration::from_micros(12_300))), Some(HostState::Up));
    assert_eq!(order(), ["203.0.113.9"]);
    assert_eq!(router.status()[0].hosts[0].round_trip_ms, Some(12.3));
}

#[test]
fn an_address_belongs_to_the_trunk_that_names_it_most_precisely() {
    let text = CONFIG.to_owned() + "[[trunk]]\nname = \"pbx\"\nmatch = [\"198.51.100.77\"]\n";
    let router = Router::new(&configured(&text).expect("valid"));
    let at = |address: &str| router.trunk_at(address.parse().expect("an address")).map(|t| t.name.clone());
    assert_eq!(at("198.51.100.4").as_deref(), Some("spare"));
    assert_eq!(at("198.51.100.77").as_deref(), Some("pbx"));
    assert_eq!(at("203.0.113.9").as_deref(), Some("carrier"), "by the address of its host");
    assert_eq!(at("203.0.113.10"), None);
    assert_eq!(router.unresolved().len(), 1, "the carrier's second host is a name");
    router.resolved("carrier", vec!["203.0.113.10".parse().expect("an address")]);
    assert_eq!(at("203.0.113.10").as_deref(), Some("carrier"));
    assert_eq!(at("::ffff:203.0.113.10").as_deref(), Some("carrier"));
}

#[test]
fn headers_become_variables() {
    let variables = router().variables("carrier", |name| (name == "X-Customer").then(|| "4711".to_owned()));
    assert_eq!(variables, BTreeMap::from([("customer".to_owned(), "4711".to_owned())]));
}

#[test]
fn slips_in_trunks_and_routes_are_named_with_what_to_write() {
    let trunk = "[[trunk]]\nname = \"t\"\nhosts = [\"h\"]\n";
    for (text, part) in [
        ("[[trunk]]\nname = \"t\"".to_owned(), "neither hosts"),
        ("[[trunk]]\nname = \"a b\"\nhosts = [\"h\"]".to_owned(), "letters, digits"),
        (format!("{trunk}{trunk}"), "two [[trunk]] of the name t"),
        (format!("{trunk}register = {{ user = \"u\" }}"), "trunk.t.register has no password"),
        (format!("{trunk}headers_out = {{ Via = \"x\" }}"), "Via is written by the SIP stack"),
        (format!("{trunk}headers_out = {{ v = \"x\" }}"), "v is written by the SIP stack"),
        (format!("{trunk}headers_out = {{ X-A = \"{{b\" }}"), "a brace stands alone"),
        (format!("{trunk}failover_on = [200]"), "200 is no status"),
        (format!("{trunk}codecs = [\"GSM\"]"), "trunk.t.codecs"),
        (format!("{trunk}colour = \"red\""), "unknown field `colour`"),
        (format!("{trunk}[[trunk.caller]]\nasserted = \"1\""), "set trusted = true"),
        (format!("{trunk}[[trunk.called]]\nmatch = \"9*\"\nnumber = \"$2\""), "$0 to $1 only"),
        ("[[route]]\ncalled = \"1\"".to_owned(), "route 1 leads nowhere"),
        ("[[route]]\nflow = \"f\"\nreject = 404".to_owned(), "to several places"),
        ("[[route]]\ntrunk = \"t\"".to_owned(), "there is no [[trunk]] t"),
        ("[[route]]\nuser = \"u\"".to_owned(), "there is no [[user]] u"),
        ("[[route]]\ncalled = \"/(/\"\nreject = 404".to_owned(), "unclosed"),
        ("[[route]]\nfrom = [\"mars\"]\nreject = 404".to_owned(), "is no origin"),
        ("[[user]]\nname = \"u\"".to_owned(), "user.u has no password"),
        ("[[user]]\nname = \"u\"\nha1 = \"xyz\"".to_owned(), "32 hexadecimal digits"),
        ("[[token]]\nname = \"t\"\nsecret = \"short\"\nscopes = [\"admin\"]".to_owned(), "16 visible"),
        (
            "[[token]]\nname = \"t\"\nsecret = \"0123456789abcdef\"\nscopes = [\"root\"]".to_owned(),
            "calls:read",
        ),
        ("[[webhook]]\nname = \"w\"\nurl = \"ftp://x\"".to_owned(), "webhook.w.url"),
        ("[[webhook]]\nname = \"w\"\nurl = \"https://x\"".to_owned(), "no secret to sign with"),
        ("[tls]\nlisten = \"127.0.0.1:5061\"".to_owned(), "tls.certificate"),
        ("[ws]\norigins = [\"desk\"]".to_owned(), "is no origin"),
        ("[registrar]\nmin_expires = \"2h\"".to_owned(), "registrar.min_expires"),
        ("[security]\nallow = [\"10.0.0.0/40\"]".to_owned(), "is no network"),
    ] {
        let error = configured(&text).expect_err(&text).to_string();
        assert!(error.contains(part), "{text}: {error}");
    }
}
