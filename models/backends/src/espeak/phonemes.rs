//! What espeak-ng would say, as IPA: the phonemes of voices that other programs trained on it.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::Duration;

use antiphon_models_speech::SynthesizeError;

use super::{checked, failure, program, reading_pinyin, unvoiced};

/// How long a clause may take; usual are 20 ms, of which the start of the program is most.
const LIMIT: Duration = Duration::from_secs(10);
/// Octets of IPA that one clause may have.
const LARGEST: u64 = 256 << 10;

/// The espeak-ng program and a voice of it.
pub(crate) struct Phonemizer {
    program: PathBuf,
    voice: String,
}

impl Phonemizer {
    /// Finds `espeak-ng` on `PATH`.
    pub(crate) fn open(voice: &str) -> Result<Self, SynthesizeError> {
        Ok(Self { program: program()?, voice: reading_pinyin(checked(voice)?.to_owned()) })
    }

    /// The IPA of a clause with its mark: one line, without marks. Words that espeak-ng reads by another language's rules
    /// are among it; the flags that say so are not.
    pub(crate) fn phonemes(&self, clause: &str) -> Result<String, SynthesizeError> {
        let mut child = Command::new(&self.program)
            .args(["-q", "--ipa", "--stdin", "-b", "1", "-v", &self.voice])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|e| failure(format!("{}: {e}", self.program.display())))?;
        let text: String = clause.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        // A child that died says why on its other pipe.
        let written = child.stdin.take().map(|mut stdin| stdin.write_all(text.as_bytes()));
        let (tell, told) = sync_channel(1);
        let stdout = child.stdout.take();
        let reading = thread::Builder::new().name("phonemes".to_owned()).spawn(move || {
            let mut ipa = String::new();
            let read = stdout.map(|stdout| stdout.take(LARGEST).read_to_string(&mut ipa));
            let _ = tell.send(read.map(|read| read.map(|_| ipa)));
        });
        let answer = reading.is_ok().then(|| told.recv_timeout(LIMIT).ok().flatten()).flatten();
        if answer.is_none() {
            let _ = child.kill();
        }
        let status = child.wait().map_err(|e| failure(e.to_string()))?;
        let mut complaint = String::new();
        if let Some(stderr) = child.stderr.take() {
            let _ = stderr.take(1_000).read_to_string(&mut complaint);
        }
        if !status.success() && complaint.contains("voice") {
            return Err(unvoiced(&self.voice));
        }
        let Some(ipa) = answer else { return Err(failure(format!("no phonemes in {} s", LIMIT.as_secs()))) };
        if !status.success() {
            return Err(failure(format!("{status}: {}", complaint.trim())));
        }
        if let Some(Err(e)) = written {
            return Err(failure(e.to_string()));
        }
        Ok(plain(&ipa.map_err(|e| failure(e.to_string()))?))
    }
}

/// The lines as one, without the flags around words of other languages: `(en)wiːkˈɛnd(fr)`.
fn plain(ipa: &str) -> String {
    let mut out = String::with_capacity(ipa.len());
    for line in ipa.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if !out.is_empty() {
            out.push(' ');
        }
        let mut rest = line;
        while let Some((before, flag)) = rest.split_once('(') {
            out.push_str(before);
            rest = flag.split_once(')').map_or("", |(_, after)| after);
        }
        out.push_str(rest);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_and_lines_are_no_phonemes() {
        assert_eq!(plain("lə- (en)wiːkˈɛnd(fr)\n sa vˈa\n\n"), "lə- wiːkˈɛnd sa vˈa");
        assert_eq!(plain(""), "");
    }

    #[test]
    fn a_voice_that_is_none_is_named() {
        let Ok(phonemizer) = Phonemizer::open("klingon-nobody") else { return };
        let refused = phonemizer.phonemes("hello").expect_err("no such voice");
        assert!(matches!(refused, SynthesizeError::Voice { .. }), "{refused}");
        assert!(Phonemizer::open("-f").is_err());
    }
}
