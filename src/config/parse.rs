//! From text to checked values, with the place of everything that is wrong.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::de::DeTable;
use toml::de::DeValue;

use super::keys;
use super::keys::Key;
use super::keys::KEYS;
use super::kind::Raw;
use super::kind::Value;

/// Longest value shown in an error, in characters.
const SHOWN: usize = 60;

/// A checked value and where it was said (`convergia.toml:12: `, `--set `, or nothing for a default).
#[derive(Clone, Debug)]
pub struct Setting {
    pub value: Value,
    pub place: String,
    pub shown: String,
}

/// Every key's value.
#[derive(Clone, Debug, Default)]
pub struct Settings(pub BTreeMap<&'static str, Setting>);

impl Settings {
    /// Every key at its default.
    pub fn defaults() -> Settings {
        let mut settings = Settings::default();
        for key in KEYS {
            let parsed = DeValue::parse(key.default).map(|value| Raw::from_toml(value.get_ref()));
            let raw = parsed.unwrap_or(Raw::Other);
            // A default that its own check refuses is a mistake in the table; a test runs through here.
            let value = key.kind.check(&raw).unwrap_or_else(|error| unreachable!("{}: {error}", key.name));
            settings.put(key, value, String::new(), key.default.to_owned());
        }
        settings
    }

    fn put(&mut self, key: &'static Key, value: Value, place: String, shown: String) {
        self.0.insert(key.name, Setting { value, place, shown });
    }

    /// Takes what a file says. `file` is its name, for errors; each problem is one line.
    pub fn file(&mut self, file: &str, text: &str, problems: &mut Vec<String>) {
        // A mark that some editors put at the start of a file.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let table = match DeTable::parse(text) {
            Ok(table) => table,
            Err(error) => {
                let line = error.span().map(|span| format!(":{}", line_of(text, span.start))).unwrap_or_default();
                problems.push(format!("{file}{line}: not TOML: {}", one_line(error.message())));
                return;
            }
        };
        let mut entries = flatten(table.get_ref());
        entries.sort_by_key(|entry| entry.span.start);
        for entry in entries {
            let place = format!("{file}:{}: ", line_of(text, entry.span.start));
            let Some(key) = keys::find(&entry.name) else {
                problems.push(format!("{place}{}", unknown(&entry.name)));
                continue;
            };
            let shown = one_line(text.get(entry.value_span).unwrap_or_default());
            match key.kind.check(&entry.raw) {
                Ok(value) => self.put(key, value, place, shown),
                Err(error) => problems.push(format!("{place}{} = {shown}: {error}", key.name)),
            }
        }
    }

    /// Takes one `KEY=VALUE` of the command line.
    pub fn set(&mut self, text: &str, problems: &mut Vec<String>) {
        let Some((name, value)) = text.split_once('=') else {
            problems.push(format!("--set {}: must be KEY=VALUE", one_line(text)));
            return;
        };
        let (name, value) = (name.trim(), value.trim());
        let Some(key) = keys::find(name) else {
            problems.push(format!("--set {}", unknown(name)));
            return;
        };
        let raw = match DeValue::parse(value).map(|value| Raw::from_toml(value.get_ref())) {
            Ok(raw @ Raw::Text(_)) if !key.kind.is_list() => raw,
            Ok(Raw::Text(words)) => list(&words),
            // `name=2024` is the name "2024".
            Ok(_) if key.kind.is_text() => Raw::Text(value.to_owned()),
            Ok(raw) => raw,
            Err(_) if key.kind.is_list() => list(value),
            Err(_) => Raw::Text(value.to_owned()),
        };
        let shown = match &raw {
            Raw::Text(text) => one_line(&format!("{text:?}")),
            _ => one_line(value),
        };
        match key.kind.check(&raw) {
            Ok(value) => self.put(key, value, "--set ".to_owned(), shown),
            Err(error) => problems.push(format!("--set {name} = {shown}: {error}")),
        }
    }
}

/// `a, b` as a list; nothing is the empty list.
fn list(text: &str) -> Raw {
    let words = text.split(',').map(|word| word.trim().to_owned());
    Raw::List(Some(if text.trim().is_empty() { Vec::new() } else { words.collect() }))
}

struct Entry {
    name: String,
    span: Range<usize>,
    raw: Raw,
    value_span: Range<usize>,
}

/// Keys with their sections. Two levels are enough: no key has more, and what nests deeper is unknown by its second.
fn flatten(table: &DeTable<'_>) -> Vec<Entry> {
    let mut entries = Vec::new();
    for (key, value) in table {
        let section = key.get_ref().as_ref();
        let entry = |name: String, span, value: &toml::Spanned<DeValue<'_>>| Entry {
            name,
            span,
            raw: Raw::from_toml(value.get_ref()),
            value_span: value.span(),
        };
        match value.get_ref().as_table() {
            // A key that takes no table, and an unknown name with nothing in it, are wrong themselves.
            Some(inner) if keys::is_section(section) || (keys::find(section).is_none() && !inner.is_empty()) => {
                let dotted = |(key, value): (&toml::Spanned<_>, &toml::Spanned<DeValue<'_>>)| {
                    let key: &toml::Spanned<std::borrow::Cow<'_, str>> = key;
                    entry(format!("{section}.{}", key.get_ref()), key.span(), value)
                };
                entries.extend(inner.iter().map(dotted));
            }
            _ => entries.push(entry(section.to_owned(), key.span(), value)),
        }
    }
    entries
}

/// The line that a byte stands in, from 1.
fn line_of(text: &str, offset: usize) -> usize {
    let before = text.as_bytes().get(..offset.min(text.len())).unwrap_or_default();
    before.iter().filter(|b| **b == b'\n').count() + 1
}

/// Text for an error: in one line, without control characters, not too long.
fn one_line(text: &str) -> String {
    let flat = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut shown: String = flat.clone().take(SHOWN).collect();
    if flat.count() > SHOWN {
        shown.push('…');
    }
    shown
}

fn unknown(name: &str) -> String {
    let shown = one_line(name);
    if keys::is_section(name) {
        return format!("{shown} is a table: write [{shown}] and its keys below it, or {shown}.KEY = VALUE");
    }
    let near = near(name);
    if near.is_empty() {
        return format!("unknown key {shown}; convergia.toml.example shows every key");
    }
    format!("unknown key {shown}; did you mean {}?", near.join(" or "))
}

/// The keys that were perhaps meant: the nearest by letters, or else those with the same last part.
fn near(name: &str) -> Vec<&'static str> {
    // What is much longer than any key is near none.
    if name.len() > 80 {
        return Vec::new();
    }
    let lower = name.to_lowercase().replace('-', "_");
    let bound = (name.len() / 4).clamp(1, 3);
    let distances: Vec<(usize, &'static str)> =
        KEYS.iter().map(|key| (distance(&lower, key.name), key.name)).filter(|(far, _)| *far <= bound).collect();
    if let Some(least) = distances.iter().map(|(far, _)| *far).min() {
        return distances.iter().filter(|(far, _)| *far == least).map(|(_, name)| *name).take(3).collect();
    }
    let last = |name: &str| name.rsplit('.').next().unwrap_or_default().to_owned();
    let wanted = last(&lower);
    KEYS.iter().map(|key| key.name).filter(|name| last(name) == wanted).take(3).collect()
}

/// How many letters must be put in, taken out, replaced, or swapped with their neighbour.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for (i, from) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, to) in b.iter().enumerate() {
            let mut least = (rows[i][j] + usize::from(from != to)).min(rows[i][j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *from == b[j - 1] && a[i - 1] == *to {
                least = least.min(rows[i - 1][j - 1] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (a, b, far) in [
            ("", "", 0),
            ("abc", "abc", 0),
            ("abc", "ab", 1),
            ("abc", "acb", 1),
            ("", "abc", 3),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(distance(a, b), far, "{a} {b}");
        }
    }

    #[test]
    fn what_was_meant() {
        assert_eq!(near("managment.registration"), ["management.registration"]);
        assert_eq!(near("data-dir"), ["data_dir"]);
        assert_eq!(near("client_realms"), ["listen.client_realms", "advertise.client_realms"]);
        assert_eq!(near("colour"), [""; 0]);
    }

    #[test]
    fn lines() {
        assert_eq!(line_of("a\nb\nc", 0), 1);
        assert_eq!(line_of("a\nb\nc", 4), 3);
        assert_eq!(line_of("a\n", 99), 2);
    }
}
