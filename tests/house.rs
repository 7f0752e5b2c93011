//! The rules of the house, as far as a program can check them: it reads the source as text. ARCHITECTURE.md gives the reasons.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::path::PathBuf;

use convergia::client::core::Core;
use convergia::client::lan::direct::Direct;
use convergia::config::PortKey;
use convergia::engine::Role;
use convergia::node::Joiner;
use convergia::roles::data::Data;
use convergia::roles::data_management::DataManagement;
use convergia::roles::main::realm::assets::FILES;
use convergia::roles::main::Main;
use convergia::roles::management::Management;
use convergia::wire::Code;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
/// Lines of a file, at most.
const LONGEST: usize = 600;

/// Which modules of the crate each floor may name; the first row whose path fits a file counts. A module may always name itself.
const FLOORS: &[(&str, &[&str])] = &[
    ("src/wire/", &[]),
    ("src/config", &["wire"]),
    ("src/route/", &["wire"]),
    ("src/relay/", &["wire"]),
    ("src/voice/", &["wire"]),
    ("src/engine/", &["wire", "config", "voice"]),
    ("src/accounts/", &["wire"]),
    ("src/storage/", &["wire"]),
    ("src/blocks/", &["wire", "config", "engine"]),
    ("src/members/", &["wire", "config", "engine"]),
    ("src/session/", &["wire", "config", "engine"]),
    ("src/client/", &["wire", "config", "voice", "engine", "accounts"]),
    ("roles/management/", &["wire", "config", "route", "voice", "engine", "accounts"]),
    ("roles/main/", &["wire", "config", "route", "relay", "voice", "engine", "accounts", "members", "session"]),
    // A part of role main: the same state machine.
    ("roles/realm/", &["wire", "config", "route", "relay", "engine", "session", "roles::main"]),
    ("roles/data_management/", &["wire", "config", "engine", "members", "session", "storage", "blocks"]),
    ("roles/data/", &["wire", "config", "engine", "members", "blocks"]),
    (
        "src/node/",
        &["wire", "config", "voice", "engine", "accounts", "blocks", "client", "members", "storage", "roles"],
    ),
    // Of node, only what knows where it puts files: the terminal client talks to a server, it does not run one.
    ("src/cli/", &["wire", "config", "voice", "engine", "accounts", "client", "node::ADDRESS_FILE", "node::backup"]),
];

struct Source {
    /// From the root of the project.
    path: String,
    text: String,
}

impl Source {
    /// The lines that are code, with their numbers from 1: comments are cut off, and `#[cfg(test)]` modules left out.
    fn code(&self) -> Vec<(usize, String)> {
        let mut code = Vec::new();
        let mut lines = self.text.lines().enumerate().peekable();
        while let Some((n, line)) = lines.next() {
            let next = lines.peek().map_or("", |(_, next)| next);
            if line == "#[cfg(test)]" && next.split_whitespace().any(|word| word == "mod") {
                // rustfmt puts the end of a module at the start of a line.
                let one_line = next.ends_with(';');
                lines.find(|(_, line)| one_line || *line == "}");
                continue;
            }
            code.push((n + 1, without_comment(line).to_owned()));
        }
        code
    }

    fn is_test(&self) -> bool {
        self.path.ends_with("/tests.rs")
            || self.path.contains("/tests/")
            || self.path.starts_with("tests/")
            || self.path.starts_with("benches/")
    }
}

/// Cuts `// …` off; one within a string is told by the colon or quote before it, as in `convergia://`.
fn without_comment(line: &str) -> &str {
    let comment = line.match_indices("//").find(|(at, _)| !line[..*at].ends_with([':', '"', '/', '\'']));
    comment.map_or(line, |(at, _)| &line[..at])
}

/// The files below `folder` with this extension; with none: all.
fn walk(folder: &Path, extension: &str, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            walk(&entry, extension, found);
        } else if extension.is_empty() || entry.extension().is_some_and(|is| is == extension) {
            found.push(entry);
        }
    }
}

fn sources(folders: &[&str]) -> Vec<Source> {
    let mut paths = Vec::new();
    for folder in folders {
        walk(&Path::new(ROOT).join(folder), "rs", &mut paths);
    }
    paths.sort();
    let sources: Vec<Source> =
        paths.into_iter().map(|path| Source { text: fs::read_to_string(&path).unwrap(), path: name(&path) }).collect();
    assert!(sources.len() > folders.len(), "{folders:?}: where is the source?");
    sources
}

fn name(path: &Path) -> String {
    path.strip_prefix(ROOT).unwrap().to_string_lossy().into_owned()
}

fn page(path: &str) -> String {
    fs::read_to_string(Path::new(ROOT).join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// `word` as a word of its own in `line`.
fn has_word(line: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| !line[..at].ends_with(part) && !line[at + word.len()..].starts_with(part))
}

#[track_caller]
fn assert_none(found: &[String], rule: &str) {
    assert!(found.is_empty(), "{rule}:\n  {}", found.join("\n  "));
}

#[test]
fn each_floor_names_only_those_below() {
    let mut broken = Vec::new();
    for source in sources(&["src", "roles"]) {
        let Some((floor, allowed)) = FLOORS.iter().find(|(floor, _)| source.path.starts_with(floor)) else {
            let free = ["src/lib.rs", "src/main.rs", "roles/mod.rs"].contains(&source.path.as_str());
            assert!(free, "{}: which floor is it on? Add it to FLOORS", source.path);
            continue;
        };
        let own = floor.trim_start_matches("src/").trim_end_matches('/').trim_end_matches(".rs");
        for (n, line) in source.code() {
            for (at, _) in line.match_indices("crate::") {
                let rest = &line[at + "crate::".len()..];
                // A role is named by its whole path: so it names no other role.
                let own = if floor.starts_with("roles/") { own.replace('/', "::") } else { own.to_owned() };
                let fits = |module: &str| {
                    rest.strip_prefix(module)
                        .is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_'))
                };
                if !fits(&own) && !allowed.iter().any(|module| fits(module)) {
                    broken.push(format!("{}:{n}: {}", source.path, line.trim()));
                }
            }
            // The way out of a role that names no `crate::`.
            if floor.starts_with("roles/") && line.contains("super::super::") {
                broken.push(format!("{}:{n}: {}", source.path, line.trim()));
            }
        }
    }
    assert_none(&broken, "a module names one that is above it, or beside it");
}

#[test]
fn one_file_names_the_runtime() {
    let mut broken = Vec::new();
    for source in sources(&["src", "roles"]) {
        if source.path != "src/engine/rt.rs" && source.code().iter().any(|(_, line)| has_word(line, "async_std")) {
            broken.push(source.path);
        }
    }
    assert_none(&broken, "only src/engine/rt.rs names async_std");
    assert!(page("src/engine/rt.rs").contains("async_std"), "this test looks for the wrong word");
}

#[test]
fn nothing_is_unsafe() {
    for root in ["src/lib.rs", "src/main.rs"] {
        assert!(page(root).lines().any(|line| line == "#![forbid(unsafe_code)]"), "{root}");
    }
    let mut broken = Vec::new();
    for source in sources(&["src", "roles", "tests", "benches"]) {
        if source.path == "tests/house.rs" {
            continue;
        }
        for (n, line) in source.code() {
            if has_word(&line, "unsafe") {
                broken.push(format!("{}:{n}: {}", source.path, line.trim()));
            }
        }
    }
    assert_none(&broken, "no unsafe");
}

#[test]
fn no_panic_is_asked_for_outside_tests() {
    let mut broken = Vec::new();
    for source in sources(&["src", "roles"]).into_iter().filter(|source| !source.is_test()) {
        for (n, line) in source.code() {
            // A method of ours may be called `expect` too; the one that panics takes words.
            let words = [".unwrap()", ".expect(\"", ".expect(&", "todo!", "unimplemented!", "dbg!"];
            if words.iter().any(|word| line.contains(word)) || line.ends_with(".expect(") {
                broken.push(format!("{}:{n}: {}", source.path, line.trim()));
            }
        }
    }
    assert_none(&broken, "a value that is not there is a FAIL or an error in words, not a panic");
}

#[test]
fn files_are_short() {
    let sources = sources(&["src", "roles"]);
    let long =
        sources.iter().map(|source| (source.text.lines().count(), &source.path)).filter(|(lines, _)| *lines > LONGEST);
    let long: Vec<String> = long.map(|(lines, path)| format!("{path}: {lines} lines")).collect();
    assert_none(&long, &format!("a file is one thing, of at most {LONGEST} lines"));
}

#[test]
fn one_use_per_line() {
    let mut broken = Vec::new();
    for source in sources(&["src", "roles", "tests", "benches", "fuzz/fuzz_targets"]) {
        for (n, line) in source.text.lines().enumerate() {
            let words = line
                .trim_start()
                .trim_start_matches("pub ")
                .trim_start_matches("pub(super) ")
                .trim_start_matches("pub(crate) ");
            if words.starts_with("use ") && line.contains('{') {
                broken.push(format!("{}:{}: {}", source.path, n + 1, line.trim()));
            }
        }
    }
    assert_none(&broken, "one use per line, so that what a file needs can be read, and searched");
}

/// What docs/protocol.md describes: its headings of the third level, and the first cells of its tables.
fn described() -> BTreeSet<String> {
    let page = page("docs/protocol.md");
    let of_line = |line: &str| match line.strip_prefix("### ") {
        Some(heading) => Some(heading.to_owned()),
        None => Some(line.strip_prefix("| ")?.split_once(" |")?.0.to_owned()),
    };
    let is_word = |word: &String| (word.len() > 3 || word == "DO") && word.bytes().all(|b| b.is_ascii_uppercase());
    page.lines().filter_map(of_line).filter(is_word).collect()
}

fn commands() -> BTreeSet<String> {
    let management = Management::commands().iter().map(|row| row.name);
    let main = Main::commands().iter().map(|row| row.name);
    let client = Core::commands().iter().map(|row| row.name);
    let direct = Direct::commands().iter().map(|row| row.name);
    let joiner = Joiner::commands().iter().map(|row| row.name);
    let storage = DataManagement::commands().iter().map(|row| row.name);
    let data = Data::commands().iter().map(|row| row.name);
    management
        .chain(main)
        .chain(client)
        .chain(direct)
        .chain(joiner)
        .chain(storage)
        .chain(data)
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_command_and_code_is_described_and_nothing_else() {
    let described = described();
    let codes: BTreeSet<String> = Code::ALL.iter().map(|code| code.word().to_owned()).collect();
    // The engine answers these for every role.
    let built_in = ["PING", "ERROR"].map(str::to_owned);
    let there: BTreeSet<String> = commands().into_iter().chain(codes).chain(built_in).collect();
    let missing: Vec<&String> = there.difference(&described).collect();
    assert!(missing.is_empty(), "docs/protocol.md has no heading or row for {missing:?}");
    let invented: Vec<&String> = described.difference(&there).collect();
    assert!(invented.is_empty(), "docs/protocol.md describes what is not there: {invented:?}");
}

/// The parts of docs/protocol.md on a command: from its heading to the next, and its rows. Two ports may have one of that name.
fn part(page: &str, command: &str) -> String {
    let (heading, row) = (format!("### {command}"), format!("| {command} |"));
    let mut parts: Vec<&str> = page.lines().filter(|line| line.starts_with(&row)).collect();
    let headed = page.lines().skip_while(|line| *line != heading).skip(1);
    parts.extend(headed.take_while(|line| !line.starts_with('#')));
    parts.join("\n")
}

#[test]
fn the_description_has_the_fields_of_the_table() {
    let page = page("docs/protocol.md");
    let management = Management::commands().iter().map(|row| (row.name, row.args));
    let main = Main::commands().iter().map(|row| (row.name, row.args));
    let client = Core::commands().iter().map(|row| (row.name, row.args));
    let direct = Direct::commands().iter().map(|row| (row.name, row.args));
    let joiner = Joiner::commands().iter().map(|row| (row.name, row.args));
    let storage = DataManagement::commands().iter().map(|row| (row.name, row.args));
    let data = Data::commands().iter().map(|row| (row.name, row.args));
    for (name, args) in management.chain(main).chain(client).chain(direct).chain(joiner).chain(storage).chain(data) {
        // Within a table `|` is written `\|`.
        let part = part(&page, name).replace('\n', " ").replace("\\|", "|");
        for field in args
            .trim_start_matches("changed ")
            .trim_start_matches("lines ")
            .split(" LF ")
            .flat_map(|field| field.split(", or "))
        {
            assert!(
                part.contains(field),
                "{name}: the table says `{args}`, and docs/protocol.md does not name `{field}`"
            );
        }
    }
}

#[test]
fn every_port_is_documented() {
    let page = page("docs/protocol.md");
    let used = Management::commands()
        .iter()
        .flat_map(|row| row.ports)
        .chain(Main::commands().iter().flat_map(|row| row.ports))
        .chain(Direct::commands().iter().flat_map(|row| row.ports))
        .chain(DataManagement::commands().iter().flat_map(|row| row.ports))
        .chain(Data::commands().iter().flat_map(|row| row.ports));
    for port in used.filter(|port| **port != PortKey::Admin) {
        assert!(page.contains(&format!("{}", port.default_port())), "docs/protocol.md: {}", port.name());
        assert!(page.contains(port.name()), "docs/protocol.md: {}", port.name());
    }
    let example = Path::new(ROOT).join("convergia.toml.example");
    if example.exists() {
        let example = fs::read_to_string(example).unwrap();
        for port in PortKey::ALL {
            assert!(has_word(&example, port.name()), "convergia.toml.example: listen.{}", port.name());
        }
    }
}

/// The anchor that a heading gets on the web.
fn anchor(heading: &str) -> String {
    let kept = heading
        .to_lowercase()
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
        .collect::<String>();
    kept.replace(' ', "-")
}

#[test]
fn pages_point_to_what_is_there() {
    let mut pages = Vec::new();
    walk(&Path::new(ROOT).join("docs"), "md", &mut pages);
    pages.extend(["README.md", "ARCHITECTURE.md", "CHANGELOG.md"].map(|page| Path::new(ROOT).join(page)));
    for path in pages {
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let anchors: BTreeSet<String> = text
            .lines()
            .filter(|line| line.starts_with('#'))
            .map(|line| anchor(line.trim_start_matches('#').trim()))
            .collect();
        for (at, _) in text.match_indices("](") {
            let target = text[at + 2..].split(')').next().unwrap_or_default();
            if let Some(own) = target.strip_prefix('#') {
                assert!(anchors.contains(own), "{}: no heading for #{own}", name(&path));
            } else if !target.contains("://") {
                let file = path.with_file_name(target.split('#').next().unwrap_or_default());
                assert!(file.exists(), "{}: {target} is not there", name(&path));
            }
        }
    }
}

#[test]
fn every_file_of_the_page_is_in_the_executable() {
    let folder = Path::new(ROOT).join("roles/realm/web");
    let table = page("roles/realm/assets.rs");
    let mut files = Vec::new();
    walk(&folder, "", &mut files);
    assert!(files.iter().any(|file| file.ends_with("index.html")), "{files:?}");
    for file in &files {
        let path = file.strip_prefix(&folder).unwrap().to_string_lossy();
        assert!(table.contains(&format!("include_bytes!(\"web/{path}\")")), "roles/realm/assets.rs: {path}");
    }
    let paths: BTreeSet<&str> = FILES.iter().map(|(path, ..)| *path).collect();
    assert_eq!(paths.len(), FILES.len(), "two files with one path");
    assert_eq!(FILES.len(), files.len(), "each file is there once");
    for (path, kind, bytes) in FILES {
        assert!(path.starts_with('/') && kind.contains('/') && !bytes.is_empty(), "{path}");
    }
}

#[test]
fn the_readme_says_how_to_start_and_test() {
    let readme = page("README.md");
    for command in ["cargo run --release", ".ci/test"] {
        assert!(readme.contains(command), "README.md: {command}");
    }
    assert!(page(".ci/run").contains(".ci/test"), ".ci/run runs what the README says");
}
