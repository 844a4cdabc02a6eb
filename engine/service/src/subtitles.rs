//! Utterances as subtitles.

use antiphon_media_frame::MediaTime;
use antiphon_models_speech::Utterance;

/// SubRip.
pub(crate) fn srt(said: &[Utterance]) -> String {
    let block = |(n, said): (usize, &Utterance)| {
        format!(
            "{}\n{} --> {}\n{}\n\n",
            n + 1,
            stamp(said.start, ','),
            stamp(said.end, ','),
            line(&said.text)
        )
    };
    said.iter().enumerate().map(block).collect()
}

/// WebVTT (W3C).
pub(crate) fn vtt(said: &[Utterance]) -> String {
    let block = |said: &Utterance| {
        // The arrow would end the cue's text and `&` and `<` begin markup.
        let text = line(&said.text).replace('&', "&amp;").replace('<', "&lt;").replace("-->", "-- >");
        format!("{} --> {}\n{text}\n\n", stamp(said.start, '.'), stamp(said.end, '.'))
    };
    std::iter::once("WEBVTT\n\n".to_owned()).chain(said.iter().map(block)).collect()
}

/// An empty line would end the block.
fn line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn stamp(time: MediaTime, point: char) -> String {
    let millis = time.millis().max(0);
    let (hours, minutes, seconds) = (millis / 3_600_000, millis / 60_000 % 60, millis / 1_000 % 60);
    format!("{hours:02}:{minutes:02}:{seconds:02}{point}{:03}", millis % 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subtitles_have_their_stamps() {
        let said = [Utterance {
            text: "five < six\n& seven".into(),
            words: Vec::new(),
            start: MediaTime::from_millis(3_723_004),
            end: MediaTime::from_millis(3_724_500),
            confidence: 1.0,
            language: None,
        }];
        assert_eq!(srt(&said), "1\n01:02:03,004 --> 01:02:04,500\nfive < six & seven\n\n");
        assert_eq!(vtt(&said), "WEBVTT\n\n01:02:03.004 --> 01:02:04.500\nfive &lt; six &amp; seven\n\n");
    }
}
