//! Which token may come next, as transformers' logits processors say.

use crate::config::Marks;

/// What may not be said.
const NEVER: f32 = f32::NEG_INFINITY;

/// Forbids in `scores` what may not follow `said`, which begins after the prompt.
pub(crate) fn forbid(marks: &Marks, scores: &mut [f32], said: &[u32]) {
    let first = said.is_empty();
    let never = marks.suppressed.iter().chain(if first { &marks.not_first[..] } else { &[] });
    for id in never.chain([&marks.no_times]) {
        if let Some(score) = scores.get_mut(*id as usize) {
            *score = NEVER;
        }
    }
    let times = (marks.times as usize).min(scores.len());
    let is_time = |id: &u32| *id >= marks.times;
    let last_time = said.last().is_some_and(is_time);
    let before_last = said.len() < 2 || is_time(&said[said.len() - 2]);
    // Times stand in pairs, the end of one stretch and the beginning of the next.
    if last_time {
        if before_last {
            scores[times..].fill(NEVER);
        } else {
            let text = (marks.end as usize).min(scores.len());
            scores[..text].fill(NEVER);
        }
    }
    // They never go back.
    if let Some(latest) = said.iter().rev().find(|id| is_time(id)) {
        let again = last_time && !before_last;
        let from = (*latest as usize + usize::from(!again)).clamp(times, scores.len());
        scores[times..from].fill(NEVER);
    }
    if first {
        scores[..times].fill(NEVER);
        if let Some(latest) = marks.latest_start {
            let late = (latest as usize + 1).clamp(times, scores.len());
            scores[late..].fill(NEVER);
        }
    }
    // Where all times together are likelier than any one text, it is a time.
    let (text, time) = scores.split_at_mut(times);
    let best = text.iter().copied().fold(NEVER, f32::max);
    if log_sum(time) > best {
        text.fill(NEVER);
    }
}

/// The logarithm of the sum of exponentials.
pub(crate) fn log_sum(scores: &[f32]) -> f32 {
    let highest = scores.iter().copied().fold(NEVER, f32::max);
    if highest == NEVER {
        return NEVER;
    }
    highest + scores.iter().map(|s| (s - highest).exp()).sum::<f32>().ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marks() -> Marks {
        Marks {
            end: 3,
            start: 4,
            before: None,
            no_speech: 5,
            no_times: 6,
            times: 7,
            languages: std::collections::BTreeMap::new(),
            transcribe: None,
            suppressed: vec![4, 5, 99],
            not_first: vec![0, 3],
            latest_start: Some(8),
        }
    }

    fn allowed(said: &[u32], scores: &[f32; 12]) -> Vec<usize> {
        let mut scores = *scores;
        forbid(&marks(), &mut scores, said);
        (0..12).filter(|n| scores[*n] > NEVER).collect()
    }

    #[test]
    fn times_come_in_pairs_and_never_go_back() {
        let text = [9.0, 9.0, 9.0, 9.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0];
        assert_eq!(allowed(&[], &text), [7, 8], "it begins with an early time");
        assert_eq!(allowed(&[8], &text), [0, 1, 2, 3], "then text");
        assert_eq!(allowed(&[8, 1], &text), [0, 1, 2, 3, 9, 10, 11]);
        assert_eq!(allowed(&[8, 1, 10], &text), [3, 10, 11], "a time after text: its pair, or the end");
        assert_eq!(allowed(&[8, 1, 10, 10], &text), [0, 1, 2, 3]);
    }

    #[test]
    fn a_time_is_said_where_times_together_are_likelier_than_any_text() {
        let mut scores = [1.0; 12];
        assert_eq!(allowed(&[8, 1], &scores), [9, 10, 11], "three that are as likely as each text");
        scores[9..].fill(-0.2);
        assert_eq!(allowed(&[8, 1, 10, 10, 2], &scores), [0, 1, 2, 3, 11]);
    }

    #[test]
    fn sums_of_nothing_are_nothing() {
        assert_eq!(log_sum(&[]), NEVER);
        assert_eq!(log_sum(&[NEVER, NEVER]), NEVER);
        assert!((log_sum(&[1.0, 1.0]) - 1.0 - 2f32.ln()).abs() < 1e-6);
    }
}
