//! The command line as Markdown, from clap's own description of it.

use std::fmt::Write;

use clap::{Arg, Command};

/// A page with every visible command.
pub(super) fn reference(mut command: Command) -> String {
    command.build();
    let mut page = String::from("# The command line\n\n<!-- Printed by `antiphon docs cli`. -->\n\n");
    describe(&mut command, &mut page);
    page.truncate(page.trim_end().len());
    page.push('\n');
    page
}

fn describe(command: &mut Command, page: &mut String) {
    let name = command.get_bin_name().unwrap_or(command.get_name()).to_owned();
    let about = command.get_long_about().or(command.get_about()).map(ToString::to_string).unwrap_or_default();
    let usage = command.render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ");
    // Writing to a string cannot fail, here and below.
    let _ = write!(page, "## {name}\n\n{about}\n\n```text\n{usage}\n```\n\n");
    let shown = |arg: &&Arg| !arg.is_hide_set() && !matches!(arg.get_id().as_str(), "help" | "version");
    for (title, positional) in [("Arguments", true), ("Options", false)] {
        let mut rows = String::new();
        for arg in command.get_arguments().filter(shown).filter(|arg| arg.is_positional() == positional) {
            row(arg, &mut rows);
        }
        if !rows.is_empty() {
            let _ = write!(page, "{title}:\n\n{rows}\n");
        }
    }
    if let Some(examples) = command.get_after_long_help().or(command.get_after_help()) {
        let _ = write!(page, "```text\n{examples}\n```\n\n");
    }
    let visible = |sub: &&mut Command| !sub.is_hide_set() && sub.get_name() != "help";
    for sub in command.get_subcommands_mut().filter(visible) {
        describe(sub, page);
    }
}

fn row(arg: &Arg, rows: &mut String) {
    let values: Vec<&str> =
        arg.get_value_names().unwrap_or_default().iter().map(clap::builder::Str::as_str).collect();
    let takes = arg.get_action().takes_values();
    let mut spelling: Vec<String> = Vec::new();
    spelling.extend(arg.get_short().map(|short| format!("-{short}")));
    spelling.extend(arg.get_long().map(|long| format!("--{long}")));
    let mut head = spelling.join(", ");
    if takes {
        for value in values {
            let _ = write!(head, "{}<{value}>", if head.is_empty() { "" } else { " " });
        }
    }
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let _ = write!(rows, "- `{head}`: {}.", help.trim_end_matches('.'));
    if takes {
        let defaults: Vec<_> = arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
        if !defaults.is_empty() {
            let _ = write!(rows, " Default: `{}`.", defaults.join(" "));
        }
        let possible = arg.get_possible_values();
        let names: Vec<String> = possible
            .iter()
            .filter(|value| !value.is_hide_set())
            .map(|value| format!("`{}`", value.get_name()))
            .collect();
        if !names.is_empty() {
            let _ = write!(rows, " One of {}.", names.join(", "));
        }
    }
    if let Some(variable) = arg.get_env() {
        let _ = write!(rows, " Environment: `{}`.", variable.to_string_lossy());
    }
    rows.push('\n');
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn every_command_is_there_and_hidden_ones_are_not() {
        let page = super::reference(crate::Cli::command());
        for name in ["serve", "transcribe", "flow check", "flow chat", "call", "demo"] {
            assert!(page.contains(&format!("\n## antiphon {name}\n")), "{name}");
        }
        assert!(!page.contains("## antiphon docs"), "hidden");
        assert!(page.contains("- `--engine <NAME>`: ") && page.contains("Environment: `ANTIPHON_ENGINE`."));
    }
}
