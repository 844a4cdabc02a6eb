//! Yes and no, in their many forms.

use super::{Found, Tongue};

/// Whether the sentence says yes or no; `None` where it says neither, or both without a last word.
pub(super) fn yes_no(tokens: &[String], tongue: Tongue) -> Option<Found<bool>> {
    let forms = match tongue {
        Tongue::English => ENGLISH,
        Tongue::Chinese => CHINESE,
    };
    let mut votes: Vec<Found<Vote>> = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let form =
            forms.iter().filter(|(form, _)| starts(tokens, at, form)).max_by_key(|(form, _)| form.len());
        match form {
            Some((form, vote)) => {
                votes.push(Found { value: *vote, start: at, end: at + form.len() });
                at += form.len();
            }
            None => at += 1,
        }
    }
    if votes.iter().any(|vote| vote.value == Vote::Unsure) {
        return None;
    }
    // "That is not quite right": a negation turns what follows closely.
    let mut said: Vec<Found<bool>> = Vec::new();
    let mut negated: Option<usize> = None;
    for vote in &votes {
        match vote.value {
            Vote::Not => negated = Some(vote.end),
            Vote::Yes if negated.is_some_and(|end| vote.start <= end + 2) => {
                said.push(Found { value: false, start: vote.start, end: vote.end });
                negated = None;
            }
            Vote::Yes => said.push(Found { value: true, start: vote.start, end: vote.end }),
            Vote::No => said.push(Found { value: false, start: vote.start, end: vote.end }),
            Vote::Correction | Vote::Unsure | Vote::Nothing => {}
        }
    }
    if said.is_empty() && negated.is_some() {
        let vote = votes.first()?;
        return Some(Found { value: false, start: vote.start, end: vote.end });
    }
    let corrected = votes.iter().any(|vote| vote.value == Vote::Correction);
    let vote = if corrected { said.pop()? } else { said.into_iter().next()? };
    Some(vote)
}

/// Short forms of both answers, for a recogniser's hints.
pub(crate) fn forms(tongue: Tongue) -> Vec<String> {
    let list = match tongue {
        Tongue::English => [
            "yes",
            "no",
            "yes please",
            "no thank you",
            "yeah",
            "nope",
            "that is right",
            "that is wrong",
            "correct",
        ]
        .as_slice(),
        Tongue::Chinese => ["是", "是的", "对", "好的", "可以", "不是", "不对", "不要", "不用"].as_slice(),
    };
    list.iter().map(|form| (*form).to_owned()).collect()
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Vote {
    Yes,
    No,
    Not,
    Unsure,
    Correction,
    Nothing,
}

fn starts(tokens: &[String], at: usize, form: &[&str]) -> bool {
    tokens.len() >= at + form.len() && form.iter().zip(&tokens[at..]).all(|(a, b)| a == b)
}

const ENGLISH: &[(&[&str], Vote)] = &[
    (&["yes"], Vote::Yes),
    (&["yeah"], Vote::Yes),
    (&["yep"], Vote::Yes),
    (&["yup"], Vote::Yes),
    (&["ya"], Vote::Yes),
    (&["sure"], Vote::Yes),
    (&["ok"], Vote::Yes),
    (&["okay"], Vote::Yes),
    (&["correct"], Vote::Yes),
    (&["right"], Vote::Yes),
    (&["true"], Vote::Yes),
    (&["affirmative"], Vote::Yes),
    (&["absolutely"], Vote::Yes),
    (&["definitely"], Vote::Yes),
    (&["certainly"], Vote::Yes),
    (&["exactly"], Vote::Yes),
    (&["indeed"], Vote::Yes),
    (&["confirm"], Vote::Yes),
    (&["confirmed"], Vote::Yes),
    (&["fine"], Vote::Yes),
    (&["perfect"], Vote::Yes),
    (&["uh", "huh"], Vote::Yes),
    (&["mhm"], Vote::Yes),
    (&["of", "course"], Vote::Yes),
    (&["go", "ahead"], Vote::Yes),
    (&["please", "do"], Vote::Yes),
    (&["i", "do"], Vote::Yes),
    (&["it", "is"], Vote::Yes),
    (&["sounds", "good"], Vote::Yes),
    (&["no", "problem"], Vote::Yes),
    (&["no", "doubt"], Vote::Yes),
    (&["why", "not"], Vote::Yes),
    (&["not", "a", "problem"], Vote::Yes),
    (&["do", "it"], Vote::Yes),
    (&["no"], Vote::No),
    (&["nope"], Vote::No),
    (&["nah"], Vote::No),
    (&["never"], Vote::No),
    (&["negative"], Vote::No),
    (&["wrong"], Vote::No),
    (&["incorrect"], Vote::No),
    (&["false"], Vote::No),
    (&["cancel"], Vote::No),
    (&["stop"], Vote::No),
    (&["no", "way"], Vote::No),
    (&["no", "thanks"], Vote::No),
    (&["absolutely", "not"], Vote::No),
    (&["certainly", "not"], Vote::No),
    (&["definitely", "not"], Vote::No),
    (&["of", "course", "not"], Vote::No),
    (&["please", "do", "not"], Vote::No),
    (&["i", "do", "not", "know"], Vote::Unsure),
    (&["not"], Vote::Not),
    (&["i", "do", "not"], Vote::Not),
    (&["it", "is", "not"], Vote::Not),
    (&["do", "not", "know"], Vote::Unsure),
    (&["not", "sure"], Vote::Unsure),
    (&["no", "idea"], Vote::Unsure),
    (&["maybe"], Vote::Unsure),
    (&["right", "now"], Vote::Nothing),
    (&["i", "mean"], Vote::Correction),
    (&["sorry"], Vote::Correction),
    (&["actually"], Vote::Correction),
    (&["wait"], Vote::Correction),
];

const CHINESE: &[(&[&str], Vote)] = &[
    (&["是"], Vote::Yes),
    (&["对"], Vote::Yes),
    (&["好"], Vote::Yes),
    (&["行"], Vote::Yes),
    (&["嗯"], Vote::Yes),
    (&["要"], Vote::Yes),
    (&["可", "以"], Vote::Yes),
    (&["没", "错"], Vote::Yes),
    (&["不", "错"], Vote::Yes),
    (&["没", "问", "题"], Vote::Yes),
    (&["没", "关", "系"], Vote::Yes),
    (&["确", "认"], Vote::Yes),
    (&["需", "要"], Vote::Yes),
    (&["同", "意"], Vote::Yes),
    (&["当", "然"], Vote::Yes),
    (&["正", "确"], Vote::Yes),
    (&["愿", "意"], Vote::Yes),
    (&["否"], Vote::No),
    (&["别"], Vote::No),
    (&["错"], Vote::No),
    (&["算", "了"], Vote::No),
    (&["取", "消"], Vote::No),
    (&["没", "有"], Vote::No),
    (&["不", "用"], Vote::No),
    (&["不", "必"], Vote::No),
    (&["不"], Vote::Not),
    (&["不", "知", "道"], Vote::Unsure),
    (&["不", "确", "定"], Vote::Unsure),
    (&["不", "清", "楚"], Vote::Unsure),
    (&["不", "好", "说"], Vote::Unsure),
    (&["是", "不", "是"], Vote::Unsure),
    (&["要", "不", "要"], Vote::Unsure),
    (&["可", "不", "可", "以"], Vote::Unsure),
    (&["也", "许"], Vote::Unsure),
    (&["可", "能"], Vote::Unsure),
    (&["不", "好", "意", "思"], Vote::Correction),
    (&["对", "不", "起"], Vote::Correction),
    (&["等", "等"], Vote::Correction),
];
