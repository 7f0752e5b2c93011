//! What a typed line means.

/// What was typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// An empty line.
    Nothing,
    /// A message.
    Message {
        /// To whom.
        to: String,
        /// What.
        body: String,
    },
    /// `/to [NAME]`
    To(Option<String>),
    /// `/who`
    Who,
    /// `/map`
    Map,
    /// `/lan`
    Lan,
    /// `/status [TEXT]`
    Status(String),
    /// `/help`
    Help,
    /// `/quit`
    Quit,
    /// What cannot be followed, and why.
    Wrong(String),
}

/// The commands, for completion.
pub const COMMANDS: [&str; 7] = ["/help", "/lan", "/map", "/quit", "/status", "/to", "/who"];

/// What `/help` shows.
pub const HELP: &str = "\
text              a message to the name before the prompt
NAME: text        a message to NAME; @NAME text does the same
/to NAME          lines go to NAME from now on; /to alone: to nobody
/who              who is signed on
/map              the network
/lan              who is on the local network (with --lan)
/status TEXT      shown beside your name in the map; alone: clears it
/help             this
/quit             leaves; so does Ctrl-D
//text            a message that begins with /
Tab completes names and commands; the arrow keys bring back what you typed; Ctrl-R searches it.";

/// Reads a line. `to`: where lines go that name nobody. `known`: whether there is such a user; with `to` given, `NAME:` counts
/// only for one that is known, as `note: buy milk` is no message to anybody.
pub fn parse(line: &str, to: Option<&str>, known: impl Fn(&str) -> bool) -> Line {
    let line = line.trim_end();
    let begin = line.trim_start();
    if begin.is_empty() {
        return Line::Nothing;
    }
    if let Some(body) = begin.strip_prefix("//") {
        return match to {
            Some(to) => Line::Message { to: to.to_owned(), body: format!("/{body}") },
            None => to_whom(begin),
        };
    }
    if begin.starts_with('/') {
        return command(begin);
    }
    if let Some((name, body)) = begin.strip_prefix('@').and_then(|rest| rest.split_once(char::is_whitespace)) {
        let name = name.strip_suffix(':').unwrap_or(name);
        if !name.is_empty() {
            return Line::Message { to: name.to_owned(), body: body.trim_start().to_owned() };
        }
    }
    let named = begin
        .split_once(": ")
        .filter(|(name, body)| !name.is_empty() && !name.contains(char::is_whitespace) && !body.trim().is_empty());
    match (named, to) {
        (Some((name, body)), None) => Line::Message { to: name.to_owned(), body: body.trim_start().to_owned() },
        (Some((name, body)), Some(_)) if known(name) => {
            Line::Message { to: name.to_owned(), body: body.trim_start().to_owned() }
        }
        (_, Some(to)) => Line::Message { to: to.to_owned(), body: line.to_owned() },
        (None, None) => to_whom(begin),
    }
}

fn to_whom(line: &str) -> Line {
    Line::Wrong(format!("to whom? Type NAME: text, or /to NAME first. Not sent: {line}"))
}

fn command(line: &str) -> Line {
    let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let rest = rest.trim();
    match (word, rest) {
        ("/quit" | "/exit" | "/q", "") => Line::Quit,
        ("/help" | "/?", "") => Line::Help,
        ("/who", "") => Line::Who,
        ("/lan", "") => Line::Lan,
        ("/map", "") => Line::Map,
        ("/status", status) => Line::Status(status.to_owned()),
        ("/to", "") => Line::To(None),
        ("/to", name) if !name.contains(char::is_whitespace) => {
            Line::To(Some(name.strip_prefix('@').unwrap_or(name).to_owned()))
        }
        ("/to", _) => Line::Wrong("/to takes one name".to_owned()),
        (word, _) if COMMANDS.contains(&word) => Line::Wrong(format!("{word} takes nothing behind it")),
        (word, _) => Line::Wrong(format!("there is no {word}; /help tells what there is, and //text sends /text")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(to: &str, body: &str) -> Line {
        Line::Message { to: to.to_owned(), body: body.to_owned() }
    }

    #[test]
    fn messages() {
        let known = |user: &str| user == "carol";
        assert_eq!(parse("bob: hi there ", None, known), message("bob", "hi there"));
        assert_eq!(parse("@bob hi: there", None, known), message("bob", "hi: there"));
        assert_eq!(parse("@bob: hi", Some("alice"), known), message("bob", "hi"));
        assert_eq!(parse("h:1::bob: hi", None, known), message("h:1::bob", "hi"));
        assert_eq!(parse("hi", Some("alice"), known), message("alice", "hi"));
        assert_eq!(parse("  indented", Some("alice"), known), message("alice", "  indented"));
        assert_eq!(parse("note: buy milk", Some("alice"), known), message("alice", "note: buy milk"));
        assert_eq!(parse("carol: hi", Some("alice"), known), message("carol", "hi"));
        assert_eq!(parse("two words: hi", Some("alice"), known), message("alice", "two words: hi"));
        assert_eq!(parse("//etc/hosts", Some("alice"), known), message("alice", "/etc/hosts"));
        assert_eq!(parse("@", Some("alice"), known), message("alice", "@"));
        assert_eq!(parse(" \t", Some("alice"), known), Line::Nothing);
        for lost in ["hi", "two words: hi", "bob:", "//x", ": x"] {
            assert!(matches!(parse(lost, None, known), Line::Wrong(_)), "{lost}");
        }
    }

    #[test]
    fn commands() {
        let read = |line| parse(line, Some("alice"), |_| true);
        assert_eq!(read("/to bob"), Line::To(Some("bob".to_owned())));
        assert_eq!(read("/to"), Line::To(None));
        assert_eq!(read("/status  at lunch "), Line::Status("at lunch".to_owned()));
        assert_eq!(read("/who"), Line::Who);
        assert_eq!(read("/quit"), Line::Quit);
        for wrong in ["/who me", "/nothing", "/", "/to a b"] {
            assert!(matches!(read(wrong), Line::Wrong(_)), "{wrong}");
        }
        for command in COMMANDS {
            assert!(!matches!(read(command), Line::Wrong(_)), "{command}");
            assert!(HELP.contains(command), "{command}");
        }
    }
}
