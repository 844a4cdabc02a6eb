//! Figures over many calls.

mod dialogue;

use antiphon_engine_qa::insight::{Entry, GroupShare, Insight, Judged, Key, Measured, RuleFacts};

fn key(value: &str, period: &str) -> Key {
    (value.to_owned(), period.to_owned())
}

fn judged(score: f64, rules: &[(&str, u32, u32)]) -> Judged {
    let rule = |&(rule, hits, missed): &(&str, u32, u32)| RuleFacts {
        rule: rule.to_owned(),
        hits,
        missed,
        points: -10.0 * f64::from(hits + missed),
        ..RuleFacts::default()
    };
    Judged {
        score,
        pass: score >= 80.0,
        fatal: false,
        groups: vec![GroupShare { group: "manners".into(), share: score / 100.0 }],
        rules: rules.iter().map(rule).collect(),
    }
}

fn measured(topics: &[&str], risk: f32) -> Measured {
    Measured {
        length: 60.0,
        agent_talk: Some(0.5),
        topics: topics.iter().map(|topic| (*topic).to_owned()).collect(),
        reason: Some(format!("I want {}", topics.concat())),
        about: topics.first().map(|topic| (*topic).to_owned()),
        risk,
        ..Measured::default()
    }
}

#[test]
fn a_call_by_two_scorecards_is_one_call_with_two_scores() {
    let mut insight = Insight::default();
    let heard = measured(&["card"], 0.8);
    for (card, score) in [("fund", 60.0), ("manners", 90.0)] {
        let judged = judged(score, &[]);
        insight
            .add(&key("ann", ""), Entry { call: 1, card, before: false, judged: &judged, measured: &heard });
    }
    let total = insight.total().now;
    assert_eq!((total.calls, total.scored, total.at_risk), (1, 2, 1));
    assert_eq!((total.mean_score, total.median_score, total.pass_rate), (Some(75.0), Some(75.0), Some(0.5)));
    assert_eq!(total.abilities[0].share, 0.75);
    assert_eq!(insight.topics(10)[0].calls, 1);
}

#[test]
fn what_grows_is_told_against_the_time_before() {
    let mut insight = Insight::default();
    let calls = [
        (1, true, "card"),
        (2, true, "loan"),
        (3, false, "card"),
        (4, false, "card"),
        (5, false, "card"),
        (6, false, "fund"),
    ];
    for (call, before, topic) in calls {
        let (judged, measured) = (judged(if before { 50.0 } else { 70.0 }, &[]), measured(&[topic], 0.0));
        insight.add(
            &key("ann", if before { "" } else { "2026-11-22" }),
            Entry { call, card: "fund", before, judged: &judged, measured: &measured },
        );
    }
    let told: Vec<_> =
        insight.topics(10).into_iter().map(|row| (row.text, row.calls, row.before, row.growth)).collect();
    assert_eq!(told, [("card".to_owned(), 3, 1, Some(2.0)), ("fund".to_owned(), 1, 0, None)]);
    assert_eq!(insight.topics(1).len(), 1);
    let reasons = insight.reasons(10);
    assert_eq!((reasons[0].text.as_str(), reasons[0].example.as_deref()), ("card", Some("I want card")));
    let total = insight.total();
    assert_eq!((total.now.calls, total.calls_before, total.score_before), (4, 2, Some(50.0)));
}

#[test]
fn a_period_is_compared_with_the_one_before_it() {
    let mut insight = Insight::default();
    for (call, value, period, score) in
        [(1, "ann", "d1", 60.0), (2, "ann", "d2", 80.0), (3, "ann", "d2", 90.0), (4, "bob", "d2", 10.0)]
    {
        let judged = judged(score, &[]);
        let measured = Measured::default();
        insight.add(
            &key(value, period),
            Entry { call, card: "fund", before: false, judged: &judged, measured: &measured },
        );
    }
    let told: Vec<_> = insight
        .rows()
        .into_iter()
        .map(|row| (row.key, row.now.calls, row.now.mean_score, row.calls_before, row.score_before))
        .collect();
    assert_eq!(
        told,
        [
            (key("ann", "d1"), 1, Some(60.0), 0, None),
            (key("ann", "d2"), 2, Some(85.0), 1, Some(60.0)),
            (key("bob", "d2"), 1, Some(10.0), 0, None),
        ]
    );
}

#[test]
fn rates_of_rules_are_of_the_calls_to_which_they_applied() {
    let mut insight = Insight::default();
    let rules: [&[(&str, u32, u32)]; 3] =
        [&[("risk", 0, 1), ("vow", 2, 0)], &[("risk", 0, 0)], &[("vow", 0, 0)]];
    for (call, rules) in rules.iter().enumerate() {
        let (judged, measured) = (judged(70.0, rules), Measured::default());
        let call = call as u64;
        insight.add(
            &key("", ""),
            Entry { call, card: "fund", before: false, judged: &judged, measured: &measured },
        );
    }
    let told = insight.rules();
    let risk = &told[0].figures;
    assert_eq!((told[0].rule.as_str(), risk.applied, risk.calls_missed), ("risk", 2, 1));
    assert_eq!((risk.missed_rate, risk.hit_rate, risk.points), (Some(0.5), Some(0.0), -10.0));
    let vow = &told[1].figures;
    assert_eq!((vow.applied, vow.calls_hit, vow.hits, vow.hit_rate), (2, 1, 2, Some(0.5)));
}

#[test]
fn facts_are_the_same_when_they_are_read_again() {
    let facts = judged(70.0, &[("risk", 0, 1), ("kept", 0, 0)]);
    let text = serde_json::to_string(&facts).expect("JSON");
    assert!(text.len() < 130, "{text}");
    assert_eq!(serde_json::from_str::<Judged>(&text).expect("read"), facts);
    let heard = measured(&["card"], 0.5);
    let text = serde_json::to_string(&heard).expect("JSON");
    assert_eq!(serde_json::from_str::<Measured>(&text).expect("read"), heard);
}

#[test]
fn what_people_overturned_counts_no_more() {
    let card = dialogue::scorecard(
        r#"
scorecard: {id: fund, version: 1, base: 100, pass: 80}
groups: [{id: law, name: The law}]
conditions:
  vow: {phrase: guarantee, speaker: agent}
  greet: {phrase: good morning, speaker: agent}
  sale: {phrase: fund, speaker: agent}
rules:
  - {id: vow, never: vow, points: -30, group: law}
  - {id: greet, must: greet, points: -10}
  - {id: sale, must: greet, when: sale, points: -10}
"#,
    );
    let call = dialogue::conversation("en", &[(dialogue::AGENT, 0, 2_000, "I guarantee you a profit")]);
    let measures = antiphon_engine_measure::Measures::of(&call);
    let mut judgement = card.judge(&call, &measures);
    let facts = Judged::of(&judgement);
    let rules: Vec<_> = facts.rules.iter().map(|rule| (rule.rule.as_str(), rule.hits, rule.missed)).collect();
    assert_eq!(rules, [("vow", 1, 0), ("greet", 0, 1)], "the sale's rule did not apply");
    let groups: Vec<_> = facts.groups.iter().map(|group| (group.group.as_str(), group.share)).collect();
    assert_eq!(groups, [("", 0.0), ("The law", 0.0)]);
    let hit = judgement.rules[0].hits[0].id.clone();
    let review = antiphon_engine_qa::Review {
        hit,
        reviewer: "ann".into(),
        verdict: antiphon_engine_qa::Verdict::Overturn,
        comment: None,
        at: None,
    };
    judgement.review(review).expect("a hit");
    let facts = Judged::of(&judgement);
    assert_eq!((facts.score, facts.pass), (90.0, true));
    assert_eq!((facts.rules[0].hits, facts.rules[0].overturned, facts.groups[1].share), (0, 1, 1.0));
}
