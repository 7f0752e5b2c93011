//! `convergia.toml.example`, made from the table of keys.

use std::fmt::Write;

use super::keys::KEYS;
use super::keys::SECTIONS;

const WIDTH: usize = 100;

/// The text of `convergia.toml.example`: every key with its default, what is allowed, and what it is for. As a
/// configuration it says what no configuration says.
pub fn example() -> String {
    let mut text = String::new();
    comment(
        &mut text,
        "Every key of Convergia's configuration, with its default. Start with a file that has only the keys to change: \
         convergia --config convergia.toml. On the command line, --set KEY=VALUE sets one key, for example \
         --set management.registration=open. convergia --check says whether a configuration is good.",
    );
    comment(
        &mut text,
        "SIGHUP reads the file again. A key marked * is then in force at once; the others need a restart.",
    );
    let mut current = "";
    for key in KEYS {
        let (section, name) = key.name.split_once('.').unwrap_or(("", key.name));
        if section != current {
            current = section;
            text.push('\n');
            let about = SECTIONS.iter().find(|(name, _)| *name == section).map_or("", |(_, about)| about);
            comment(&mut text, about);
            let _ = writeln!(text, "[{section}]");
        }
        if !key.doc.is_empty() {
            text.push('\n');
            let mark = if key.reload { "* " } else { "" };
            comment(&mut text, &format!("{mark}{}", key.doc));
            // The section says it for all its addresses.
            if section != "listen" {
                comment(&mut text, &format!("Allowed: {}.", key.kind.allowed()));
            }
        }
        let _ = writeln!(text, "{name} = {}", key.default);
    }
    text
}

/// A comment in lines of `WIDTH` characters.
fn comment(text: &mut String, words: &str) {
    let mut line = String::from("#");
    for word in words.split_whitespace() {
        if line.chars().count() + 1 + word.chars().count() > WIDTH {
            let _ = writeln!(text, "{line}");
            line = String::from("#");
        }
        line.push(' ');
        line.push_str(word);
    }
    let _ = writeln!(text, "{line}");
}
