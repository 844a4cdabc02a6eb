//! Pages to look at and listen to, made of what came of recordings.

use std::collections::BTreeMap;
use std::path::PathBuf;

use antiphon_engine_measure::{Conversation, Measures, Role};
use antiphon_engine_qa::{HitKind, Judgement, ReviewState};
use antiphon_engine_view::{Embed, IndexRow, Report, RuleCount, Sound as Played, index_page};
use antiphon_media_codec::Resampler;
use antiphon_media_frame::{SampleRate, Span};

use super::FileResult;
use super::sound::Sound;

/// Sound beyond this is neither drawn nor heard in a page; its clips are still cut by the API.
const LONGEST: Span = Span::from_secs(4 * 3_600);
/// What a page plays.
const RATE: SampleRate = SampleRate::HZ_8000;

/// The page of one recording, HTML that needs nothing else.
pub(crate) fn page(conversation: &Conversation, result: &FileResult, files: &[PathBuf]) -> String {
    let mut warnings = result.warnings.clone();
    let tracks = match tracks(files) {
        Ok(tracks) => tracks,
        Err(error) => {
            warnings.push(format!("the recording cannot be played any more: {error}"));
            Vec::new()
        }
    };
    let sound = (!tracks.is_empty()).then_some(Played { rate: RATE, tracks: &tracks });
    let report = Report {
        conversation,
        measures: &Measures::of(conversation),
        judgements: &result.judgements,
        sound,
        embed: Embed::default(),
        warnings: &warnings,
    };
    report.page()
}

/// Every channel at the page's rate.
fn tracks(files: &[PathBuf]) -> Result<Vec<Vec<i16>>, super::sound::SoundError> {
    if files.is_empty() {
        return Ok(Vec::new());
    }
    let mut sound = Sound::open(files)?;
    let mut resamplers: Vec<_> = (0..sound.channels()).map(|_| Resampler::new(sound.rate(), RATE)).collect();
    let mut tracks = vec![Vec::new(); sound.channels()];
    let most = RATE.samples(LONGEST);
    while let Some(block) = sound.next_block()? {
        for ((pcm, resampler), track) in block.iter().zip(&mut resamplers).zip(&mut tracks) {
            resampler.process(pcm, track);
        }
        if tracks.first().is_some_and(|track| track.len() > most) {
            return Ok(Vec::new());
        }
    }
    Ok(tracks)
}

/// Collects what the page of many recordings shows.
pub(crate) struct Index {
    rows: Vec<IndexRow>,
    rules: BTreeMap<String, RuleCount>,
    order: Vec<String>,
}

impl Index {
    pub(crate) fn new() -> Self {
        Self { rows: Vec::new(), rules: BTreeMap::new(), order: Vec::new() }
    }

    /// A recording that was inspected; `report` is its page's path, as seen from the index.
    pub(crate) fn inspected(
        &mut self,
        file: String,
        report: String,
        conversation: &Conversation,
        result: &FileResult,
    ) {
        let measures = Measures::of(conversation);
        let agent = measures.speakers.iter().find(|speaker| speaker.role == Role::Agent);
        let mut findings = 0;
        for rule in result.judgements.iter().flat_map(|judged| &judged.rules) {
            let counted = rule.hits.iter().filter(|hit| {
                hit.excused.is_none() && hit.review != ReviewState::Overturned && hit.kind != HitKind::Met
            });
            let count = counted.count();
            findings += count;
            let known = self.rules.entry(rule.rule.clone()).or_insert_with(|| {
                self.order.push(rule.rule.clone());
                RuleCount { rule: rule.rule.clone(), name: rule.name.clone(), ..RuleCount::default() }
            });
            known.files += usize::from(count > 0);
            known.findings += count;
            known.points += rule.points;
        }
        self.rows.push(IndexRow {
            file,
            report: Some(report),
            score: result.judgements.first().map(|judged: &Judgement| (judged.score, judged.pass)),
            findings,
            duration: Some(conversation.heard),
            agent_ratio: agent.map(|agent| agent.ratio),
            failure: None,
        });
    }

    /// A recording that could not be.
    pub(crate) fn failed(&mut self, file: String, why: String) {
        self.rows.push(IndexRow { file, failure: Some(why), ..IndexRow::default() });
    }

    /// The page; `language` is the first of its two.
    pub(crate) fn page(&self, title: &str, language: &str) -> String {
        let rules: Vec<_> = self.order.iter().filter_map(|rule| self.rules.get(rule)).cloned().collect();
        index_page(title, language, &self.rows, &rules)
    }
}
