//! Text for a terminal: nothing that others wrote may command it, and colours only where they are wanted.

use std::borrow::Cow;
use std::fmt::Write;
use std::io::IsTerminal;
use std::process::Command;
use std::process::Stdio;

/// Whether a character could command the terminal, or make text look like another: control characters, and those that
/// change the direction of writing or hide.
pub fn dangerous(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
        || matches!(c, '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// One line, with what is dangerous shown as an escape.
pub fn clean(text: &str) -> String {
    match text.chars().any(dangerous) {
        false => text.to_owned(),
        true => text.chars().fold(String::with_capacity(text.len() + 16), |mut out, c| {
            match c {
                c if !dangerous(c) => out.push(c),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                c if u32::from(c) < 0x100 => drop(write!(out, "\\x{:02x}", u32::from(c))),
                c => drop(write!(out, "\\u{{{:x}}}", u32::from(c))),
            }
            out
        }),
    }
}

/// A body, which may have several lines: each but the first behind `indent`, so that none passes for a message of its own.
pub fn clean_body(body: &[u8], indent: &str) -> String {
    let text = String::from_utf8_lossy(body);
    let text = text.trim_end_matches(['\n', '\r']).replace('\t', "    ");
    let lines: Vec<String> = text.split('\n').map(|line| clean(line.strip_suffix('\r').unwrap_or(line))).collect();
    lines.join(&format!("\n{indent}"))
}

/// What a change of a workspace says to people: a body, or in one line what happened to a file.
pub fn clean_change(body: &[u8], indent: &str) -> String {
    let text = String::from_utf8_lossy(body);
    match text.split('\n').collect::<Vec<_>>()[..] {
        ["file", what @ ("created" | "written" | "truncated" | "deleted"), path] => format!("({what}) {}", clean(path)),
        ["file", "moved", from, to] => format!("(moved) {} to {}", clean(from), clean(to)),
        _ => clean_body(body, indent),
    }
}

/// Whether to colour standard output.
pub fn colour() -> bool {
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    !plain && std::io::stdout().is_terminal() && !dumb()
}

/// Whether the terminal can only print.
pub fn dumb() -> bool {
    std::env::var("TERM").map_or(true, |term| term.is_empty() || term == "dumb")
}

/// Colours, or none.
#[derive(Clone, Copy, Debug)]
pub struct Paint(pub bool);

impl Paint {
    fn wrap<'a>(self, code: &str, text: &'a str) -> Cow<'a, str> {
        match self.0 {
            true => Cow::Owned(format!("\x1b[{code}m{text}\x1b[0m")),
            false => Cow::Borrowed(text),
        }
    }

    /// What went well.
    pub fn good(self, text: &str) -> Cow<'_, str> {
        self.wrap("32", text)
    }

    /// What went wrong.
    pub fn bad(self, text: &str) -> Cow<'_, str> {
        self.wrap("31", text)
    }

    /// What matters less.
    pub fn dim(self, text: &str) -> Cow<'_, str> {
        self.wrap("2", text)
    }

    /// What matters more.
    pub fn bold(self, text: &str) -> Cow<'_, str> {
        self.wrap("1", text)
    }

    /// A person's name: always the same colour for the same name.
    pub fn name(self, text: &str) -> Cow<'_, str> {
        const CODES: [&str; 6] = ["1;36", "1;35", "1;33", "1;34", "1;32", "1;31"];
        let sum: usize = crate::wire::name::fold(text).bytes().map(usize::from).sum();
        self.wrap(CODES.get(sum % CODES.len()).copied().unwrap_or("1"), text)
    }
}

/// The width of the terminal; 80 when it is not known.
pub fn columns() -> usize {
    let editor = rustyline::Editor::<(), rustyline::history::MemHistory>::with_history(
        rustyline::Config::default(),
        rustyline::history::MemHistory::new(),
    );
    let width = editor.ok().and_then(|mut editor| editor.dimensions()).map(|(columns, _)| usize::from(columns));
    width.filter(|columns| *columns > 0).unwrap_or(80)
}

/// The time of day where the user is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clock {
    /// East of UTC, in seconds.
    offset: i64,
}

impl Clock {
    /// Asks the system's `date` once for the offset from UTC, as the standard library does not know it.
    pub fn local() -> Clock {
        let output = Command::new("date").arg("+%z").stdin(Stdio::null()).stderr(Stdio::null()).output();
        let offset = output.ok().and_then(|output| parse_offset(String::from_utf8_lossy(&output.stdout).trim()));
        Clock { offset: offset.unwrap_or(0) }
    }

    /// `YYYY-MM-DD HH:MM` of a time in Unix milliseconds.
    pub fn date(self, millis: u64) -> String {
        date(millis.saturating_add_signed(self.offset.saturating_mul(1_000)))
    }

    /// `HH:MM` of a time in Unix milliseconds.
    pub fn show(self, millis: u64) -> String {
        let seconds = i64::try_from(millis / 1_000).unwrap_or(0).saturating_add(self.offset).rem_euclid(86_400);
        format!("{:02}:{:02}", seconds / 3_600, seconds / 60 % 60)
    }
}

/// `+hhmm` in seconds.
fn parse_offset(text: &str) -> Option<i64> {
    let (sign, digits) = match text.split_at_checked(1)? {
        ("+", digits) => (1, digits),
        ("-", digits) => (-1, digits),
        _ => return None,
    };
    let number: i64 = digits.parse().ok().filter(|_| digits.len() == 4)?;
    Some(sign * (number / 100 * 3_600 + number % 100 * 60))
}

/// A number of bytes with three digits: `0 B`, `999 B`, `1.23 KiB`, `45.6 MiB`.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1_000 {
        return format!("{bytes} B");
    }
    // Hundredths of the unit.
    let (mut hundredths, mut unit) = (u128::from(bytes) * 100 / 1_024, 0);
    while hundredths >= 100_000 && unit + 1 < UNITS.len() {
        hundredths /= 1_024;
        unit += 1;
    }
    let (whole, part) = (hundredths / 100, hundredths % 100);
    let name = UNITS.get(unit).copied().unwrap_or("EiB");
    match whole {
        0..=9 => format!("{whole}.{part:02} {name}"),
        10..=99 => format!("{whole}.{} {name}", part / 10),
        _ => format!("{whole} {name}"),
    }
}

/// `YYYY-MM-DD HH:MM` (UTC) of a time in Unix milliseconds.
pub fn date(millis: u64) -> String {
    let minutes = millis / 60_000;
    let (mut days, minute) = (minutes / 1_440, minutes % 1_440);
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let mut year = 1970;
    while year < 10_000 {
        let length = if leap(year) { 366 } else { 365 };
        if days < length {
            break;
        }
        days -= length;
        year += 1;
    }
    let mut month = 1;
    for length in [31, if leap(year) { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    format!("{year:04}-{month:02}-{:02} {:02}:{:02}", days + 1, minute / 60, minute % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_of_files_are_one_line() {
        assert_eq!(clean_change(b"file\nwritten\n/workspaces/team/plan", " "), "(written) /workspaces/team/plan");
        assert_eq!(clean_change(b"file\nmoved\n/a/b\n/a/\x1bc", " "), format!("(moved) /a/b to {}", clean("/a/\x1bc")));
        for other in ["file", "file\nwritten", "file\neaten\n/a", "file\nwritten\n/a\n/b", "hello\nthere"] {
            assert_eq!(clean_change(other.as_bytes(), " "), clean_body(other.as_bytes(), " "));
        }
    }

    #[test]
    fn nothing_commands_the_terminal() {
        assert_eq!(clean("plain ünï 名 👍🏽"), "plain ünï 名 👍🏽");
        assert_eq!(clean("\x1b]0;title\x07\x1b[2J"), "\\x1b]0;title\\x07\\x1b[2J");
        assert_eq!(clean("a\u{9b}31mb\u{202e}c\r\n\t\u{7f}"), "a\\x9b31mb\\u{202e}c\\r\\n\\t\\x7f");
        for c in (0..=0x10_ffff).filter_map(char::from_u32).filter(|c| c.is_control()) {
            assert!(!clean(&c.to_string()).contains(c), "{c:?}");
        }
    }

    #[test]
    fn no_line_of_a_body_passes_for_a_message() {
        assert_eq!(clean_body(b"one\r\nbob: two\x1b\n\n", "   "), "one\n   bob: two\\x1b");
        assert_eq!(clean_body(b"\xff\ta", ""), "\u{fffd}    a");
    }

    #[test]
    fn times() {
        assert_eq!(Clock { offset: 0 }.show(86_400_000 + 3_660_000), "01:01");
        assert_eq!(Clock { offset: -7_200 }.show(3_600_000), "23:00");
        assert_eq!(parse_offset("+0530"), Some(19_800));
        assert_eq!(parse_offset("-0100"), Some(-3_600));
        assert_eq!(parse_offset("UTC"), None);
        assert_eq!(parse_offset(""), None);
        assert_eq!(date(0), "1970-01-01 00:00");
        assert_eq!(date(1_709_210_096_000), "2024-02-29 12:34");
        assert_eq!(date(1_767_225_599_000), "2025-12-31 23:59");
    }

    #[test]
    fn sizes() {
        let shown = [0, 999, 1_000, 1_024, 10 << 10, 1 << 20, 1_023 << 20, u64::MAX].map(size);
        assert_eq!(shown, ["0 B", "999 B", "0.97 KiB", "1.00 KiB", "10.0 KiB", "1.00 MiB", "0.99 GiB", "15.9 EiB"]);
    }

    #[test]
    fn no_paint_no_escapes() {
        assert_eq!(Paint(false).name("bob"), "bob");
        assert_eq!(Paint(true).good("x"), "\x1b[32mx\x1b[0m");
    }
}
