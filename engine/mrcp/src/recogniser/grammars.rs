//! The grammars of a session: defined beforehand, sent along, or built in.

use std::sync::Arc;

use super::fitting::Named;
use super::{Cause, Failure, Recogniser};
use crate::body::{Part, parts, uris};
use crate::control::Resource;
use crate::grammar::{Grammar, GrammarError, Mode};
use crate::message::Message;
use crate::parameters::Status;

/// Grammars of a session at most.
const GRAMMARS: usize = 64;

impl Recogniser {
    /// DEFINE-GRAMMAR: takes a grammar in under its name, or deletes it where there is no body.
    pub(super) fn define(&mut self, id: u32, message: &Message) {
        if self.active.is_some() {
            return self.refuse(id, Status::NotValidInState, "a recognition is under way");
        }
        let Some(name) = message.headers.value("Content-ID").map(bare).filter(|name| !name.is_empty()) else {
            return self.refuse(id, Status::MissingHeader, "Content-ID names the grammar");
        };
        if message.body.is_empty() {
            self.grammars.remove(&name);
        } else {
            let kind = message.headers.value("Content-Type");
            let read = parts(kind, Some(&name), &message.body)
                .map_err(|error| (Status::UnsupportedEntity, Cause::GrammarLoadFailure, error.to_string()))
                .and_then(|mut found| {
                    let part = found.pop().filter(|_| found.is_empty());
                    let one = "a definition is of one grammar".to_owned();
                    part.ok_or((Status::UnsupportedEntity, Cause::GrammarDefinitionFailure, one))
                })
                .and_then(|part| self.read(&part));
            match read {
                Err(failure) => return self.fail(id, failure),
                Ok(_) if self.grammars.len() >= GRAMMARS && !self.grammars.contains_key(&name) => {
                    let many = "64 grammars are defined already".to_owned();
                    return self.fail(id, (Status::Failed, Cause::GrammarDefinitionFailure, many));
                }
                Ok(grammar) => drop(self.grammars.insert(name, Arc::new(grammar))),
            }
        }
        let response = self.response(id, Status::Success).with("Completion-Cause", Cause::Success.text());
        self.send(response);
    }

    /// The grammars of a request, those in it and those it names.
    pub(super) fn grammars_of(&mut self, id: u32, message: &Message) -> Result<Vec<Named>, Failure> {
        let (kind, content_id) = (message.headers.value("Content-Type"), message.headers.value("Content-ID"));
        let found = parts(kind, content_id, &message.body)
            .map_err(|error| (Status::UnsupportedEntity, Cause::GrammarLoadFailure, error.to_string()))?;
        let mut all = Vec::new();
        for (n, part) in found.iter().enumerate() {
            if matches!(part.kind.as_str(), "text/uri-list" | "text/grammar-ref-list") {
                for (uri, weight) in uris(&part.text) {
                    let grammar = self.look_up(&uri)?;
                    all.push(Named { uri, weight, grammar });
                }
                continue;
            }
            let grammar = Arc::new(self.read(part)?);
            let uri = match &part.content_id {
                Some(name) => {
                    if self.grammars.len() < GRAMMARS || self.grammars.contains_key(name) {
                        self.grammars.insert(name.clone(), Arc::clone(&grammar));
                    }
                    format!("session:{name}")
                }
                None => format!("session:request-{id}-{n}"),
            };
            all.push(Named { uri, weight: 1.0, grammar });
        }
        if all.is_empty() {
            let none = "the request has no grammar".to_owned();
            return Err((Status::UnsupportedEntity, Cause::GrammarLoadFailure, none));
        }
        let voice = all.iter().any(|named| named.grammar.mode() == Mode::Voice);
        if voice && self.resource == Resource::DtmfRecog {
            let what = "dtmfrecog takes grammars of the mode dtmf".to_owned();
            return Err((Status::UnsupportedEntity, Cause::GrammarLoadFailure, what));
        }
        Ok(all)
    }

    fn look_up(&self, uri: &str) -> Result<Arc<Grammar>, Failure> {
        if let Some(name) = uri.strip_prefix("session:") {
            let known = self.grammars.get(name).cloned();
            let shown: String = name.chars().take(128).collect();
            return known.ok_or_else(|| {
                (Status::Failed, Cause::GrammarLoadFailure, format!("no grammar {shown} is defined"))
            });
        }
        if uri.starts_with("builtin:") {
            let failed = |error: GrammarError| (Status::Failed, Cause::GrammarLoadFailure, error.to_string());
            return Grammar::builtin(uri).map(Arc::new).map_err(failed);
        }
        let what = "grammars are not fetched; define them, or send them along".to_owned();
        Err((Status::Failed, Cause::UriFailure, what))
    }

    fn read(&self, part: &Part) -> Result<Grammar, Failure> {
        Grammar::read(&part.kind, &part.text).map_err(|error| match error {
            GrammarError::Kind { .. } => {
                (Status::UnsupportedEntity, Cause::GrammarLoadFailure, error.to_string())
            }
            _ => (Status::Failed, Cause::GrammarCompilationFailure, error.to_string()),
        })
    }
}

fn bare(id: &str) -> String {
    id.trim().trim_start_matches('<').trim_end_matches('>').chars().take(256).collect()
}
