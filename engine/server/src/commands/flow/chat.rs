//! `antiphon flow chat`: a conversation by typing, with the interpreter that answers calls.

use std::collections::BTreeMap;
use std::io::{self, BufRead, IsTerminal, Read, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use antiphon_engine_call::{Cause, Decision, EventBody, HttpOutcome, Severity};
use antiphon_engine_flow::{Chat, ChatEvent, ChatRequest, Flow, Turn};
use serde::Serialize;
use serde_json::Value;

use super::{ChatArgs, check};
use crate::commands::output::to_stdout;
use crate::http_action;
use crate::shared::BANK;

/// Bytes of a line that are read; nobody says more in one breath.
const LONGEST_LINE: u64 = 16 << 10;

const HELP: &str = "\
Type what the caller says. An empty line is silence.
  /key 123#   presses keys
  /silence    lets the time for an answer pass
  /vars       shows the variables
  /hangup     ends the call
  /help       shows this";

pub(super) fn run(args: &ChatArgs) -> anyhow::Result<ExitCode> {
    let (name, loaded) = match &args.file {
        Some(file) => (file.as_path(), Flow::load(file)),
        None => (Path::new("bank.yaml"), Flow::parse(BANK, Path::new("bank.yaml"))),
    };
    let flow = match loaded {
        Ok(flow) => Arc::new(flow),
        Err(errors) => {
            let source = std::fs::read_to_string(name).unwrap_or_default();
            for problem in &errors.problems {
                check::show(&mut io::stderr(), problem, "error", &source)?;
            }
            return Ok(ExitCode::FAILURE);
        }
    };
    let mut variables = BTreeMap::from([("today".to_owned(), jiff::Zoned::now().date().to_string())]);
    variables.extend(args.variables.iter().cloned());
    let offline = |_: &_| HttpOutcome::Failed { reason: "no web services in this chat".into() };
    let chat = if args.no_http {
        Chat::with_http(Arc::clone(&flow), offline)
    } else {
        Chat::with_http(Arc::clone(&flow), http_action::perform_blocking)
    };
    to_stdout(|out| {
        let typed = io::stdin().is_terminal();
        let screen = Screen {
            json: args.json,
            colour: io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty()),
            prompt: typed && io::stdout().is_terminal() && !args.json,
            echo: !typed && !args.json,
        };
        converse(chat, variables, &screen, out)
    })
}

fn converse(
    mut chat: Chat<'_>,
    variables: BTreeMap<String, String>,
    screen: &Screen,
    out: &mut dyn Write,
) -> anyhow::Result<ExitCode> {
    if screen.prompt {
        screen.mark(out, "Type what the caller says; /help shows what else there is.")?;
    }
    let mut turn = chat.start(variables);
    screen.turn(out, turn)?;
    let mut ended = None;
    let mut input = io::stdin().lock();
    while !chat.is_finished() {
        if screen.prompt {
            write!(out, "caller> ")?;
            out.flush()?;
        }
        let Some(line) = next_line(&mut input)? else { break };
        let line = line.trim();
        if screen.echo {
            writeln!(out, "caller: {line}")?;
        }
        let command = line.split_whitespace().next().unwrap_or_default();
        match command {
            "/help" => screen.note(out, HELP)?,
            "/vars" => screen.variables(out, chat.variables())?,
            "/key" | "/silence" | "/hangup" => {
                turn = chat.say(line);
                ended = turn.ended.or(ended);
                screen.turn(out, turn)?;
            }
            _ if command.starts_with('/') => {
                screen.note(out, &format!("{command} is no command; /help shows what there is"))?;
            }
            _ => {
                turn = chat.say(line);
                ended = turn.ended.or(ended);
                screen.turn(out, turn)?;
            }
        }
    }
    let broken = ended.is_some_and(|cause: &Cause| cause.severity == Severity::Error);
    Ok(if broken { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The next line, cut at a bounded length; `None` at the end of the input.
fn next_line(input: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut bytes = Vec::new();
    if input.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut bytes)? == 0 {
        return Ok(None);
    }
    if bytes.len() as u64 == LONGEST_LINE && bytes.last() != Some(&b'\n') {
        skip_line(input)?;
    }
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

fn skip_line(input: &mut impl BufRead) -> io::Result<()> {
    loop {
        let buffer = input.fill_buf()?;
        let end = buffer.iter().position(|b| *b == b'\n');
        let (used, done) = (end.map_or(buffer.len(), |n| n + 1), end.is_some() || buffer.is_empty());
        input.consume(used);
        if done {
            return Ok(());
        }
    }
}

/// A turn as JSON.
#[derive(Serialize)]
struct Line {
    input: Option<String>,
    at: Value,
    said: Vec<String>,
    events: Vec<ChatEvent>,
    actions: Vec<ChatRequest>,
    slots: BTreeMap<String, Value>,
    ended: Option<&'static Cause>,
}

/// How the conversation is shown.
struct Screen {
    json: bool,
    colour: bool,
    prompt: bool,
    echo: bool,
}

impl Screen {
    fn turn(&self, out: &mut dyn Write, turn: Turn) -> io::Result<()> {
        if self.json {
            let at = (turn.at.millis() as f64 / 1_000.0).into();
            let Turn { input, said, events, http, slots, ended, .. } = turn;
            return self.line(out, &Line { input, at, said, events, actions: http, slots, ended });
        }
        for event in &turn.events {
            if let Some(mark) = mark(&event.body) {
                self.mark(out, &mark)?;
            }
        }
        for request in &turn.http {
            let status = request.status.map(|status| format!(" {status}")).unwrap_or_default();
            self.mark(out, &format!("{} {}: {}{status}", request.method, request.url, request.outcome))?;
        }
        for said in &turn.said {
            match self.colour {
                true => writeln!(out, "\x1b[1mmachine:\x1b[0m {said}")?,
                false => writeln!(out, "machine: {said}")?,
            }
        }
        if let Some(cause) = turn.ended {
            self.mark(out, &format!("{} ({})", cause.text.trim_end_matches('.'), cause.code))?;
        }
        out.flush()
    }

    fn variables(&self, out: &mut dyn Write, variables: &BTreeMap<String, Value>) -> io::Result<()> {
        if self.json {
            return self.line(out, &serde_json::json!({"variables": variables}));
        }
        for (name, value) in variables {
            self.mark(out, &format!("{name} = {value}"))?;
        }
        Ok(())
    }

    /// Something for the person who types; it is no turn, so that JSON does not have it.
    fn note(&self, out: &mut dyn Write, text: &str) -> io::Result<()> {
        if self.json { writeln!(io::stderr(), "{text}") } else { writeln!(out, "{text}") }
    }

    fn mark(&self, out: &mut dyn Write, text: &str) -> io::Result<()> {
        if self.colour { writeln!(out, "\x1b[2m  [{text}]\x1b[0m") } else { writeln!(out, "  [{text}]") }
    }

    fn line(&self, out: &mut dyn Write, value: &impl Serialize) -> io::Result<()> {
        serde_json::to_writer(&mut *out, value)?;
        writeln!(out)?;
        // Whoever drives the chat waits for the line.
        out.flush()
    }
}

/// What an event means to somebody who types.
fn mark(event: &EventBody) -> Option<String> {
    Some(match event {
        EventBody::Intent { name, confidence, decision } => match (name, decision) {
            (Some(name), Decision::Accept) => format!("intent {name} {confidence:.2}"),
            (Some(name), _) => format!("intent {name} {confidence:.2}, to be confirmed"),
            (None, _) => format!("no intent {confidence:.2}"),
        },
        EventBody::Slot { name, value } => format!("{name} = {}", value.expose()),
        EventBody::NoInput { count } => format!("silence {count}"),
        EventBody::NoMatch { count } => format!("not understood {count}"),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endless_lines_are_cut_and_the_next_one_is_whole() {
        let text = format!("{}\nnext\n", "x".repeat(100_000));
        let mut input = io::Cursor::new(text);
        assert_eq!(
            next_line(&mut input).expect("readable").map(|line| line.len()),
            Some(LONGEST_LINE as usize)
        );
        assert_eq!(next_line(&mut input).expect("readable").as_deref(), Some("next\n"));
        assert_eq!(next_line(&mut input).expect("readable"), None);
    }
}
