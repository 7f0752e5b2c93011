//! How a conversation is shown: at a terminal, as plain lines, or as JSON.

use std::fmt::Write;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;

use serde_json::json;
use serde_json::Value;

use crate::cli::courier::Way;
use crate::cli::discover;
use crate::cli::map_view::Node;
use crate::cli::map_view::ServerMap;
use crate::cli::outcome;
use crate::cli::text;
use crate::cli::text::Clock;
use crate::cli::text::Paint;
use crate::client::lan::Person;
use crate::client::lan::Trust;
use crate::engine::rt::channel;
use crate::wire::Fail;

/// Something to show.
pub enum Note<'a> {
    /// A message came.
    Message {
        /// From whom.
        sender: String,
        /// Unix milliseconds.
        sent_at: u64,
        /// What.
        body: Vec<u8>,
        /// Which way it came.
        way: Way,
    },
    /// Offline messages wait: id, sender, bytes, Unix milliseconds.
    Mail(Vec<(String, String, u64, u64)>),
    /// A change of a workspace.
    Change {
        /// The workspace.
        workspace: String,
        /// The change's number.
        seq: u64,
        /// Who made it.
        author: String,
        /// What.
        body: Vec<u8>,
    },
    /// A message of this user was answered.
    Sent {
        /// To whom.
        to: &'a str,
        /// What.
        body: &'a str,
        /// Which way.
        way: Way,
        /// How.
        result: &'a Result<(), Fail>,
    },
    /// A message of this user is not answered yet.
    Waiting {
        /// To whom.
        to: &'a str,
        /// What.
        body: &'a str,
    },
    /// The map changed.
    Map(Vec<Node>),
    /// Who is signed on.
    Who(Vec<Node>),
    /// The whole map.
    Tree(&'a ServerMap),
    /// Signed on; `again`: after the connection was lost.
    SignedOn {
        /// The server's id.
        server: String,
        /// Whether the connection was lost before.
        again: bool,
    },
    /// The session goes on at another server: nothing for a person to know.
    Moved(String),
    /// The operator says something to everybody.
    Notice {
        /// Unix milliseconds.
        sent_at: u64,
        /// What.
        text: String,
    },
    /// The server says why it closes.
    Disconnected(String),
    /// The connection is lost; the next attempt follows after `wait` milliseconds.
    Lost {
        /// Why.
        why: String,
        /// Milliseconds.
        wait: u64,
        /// Whether that was told already.
        again: bool,
    },
    /// The client has given up.
    Failed(Fail),
    /// Who is on the local network has changed, or was asked for: whom to name, and what is known of them.
    Lan(Vec<Person>),
    /// For a person.
    Info(String),
    /// What went wrong, for a person.
    Warning(String),
    /// Several lines for a person.
    Block(String),
}

/// Where notes are shown. Clones show on the same.
#[derive(Clone)]
pub enum Screen {
    /// Above the prompt of the line editor.
    Terminal {
        /// To the thread that prints.
        lines: channel::Sender<String>,
        /// Colours.
        paint: Paint,
        /// The time of day.
        clock: Clock,
    },
    /// `NAME: text` on standard output, the rest on standard error.
    Plain,
    /// An event a line.
    Json,
}

impl Screen {
    /// Notes that wait to be shown.
    pub fn waiting(&self) -> usize {
        match self {
            Screen::Terminal { lines, .. } => lines.len(),
            Screen::Plain | Screen::Json => 0,
        }
    }

    /// Shows it.
    pub fn show(&self, note: Note<'_>) {
        match self {
            Screen::Terminal { lines, paint, clock } => {
                if let Some(text) = for_person(&note, *paint, *clock) {
                    // The printing thread ends with the program only.
                    let _ = lines.try_send(text);
                }
            }
            Screen::Plain => plain(&note),
            Screen::Json => {
                if let Some(event) = for_program(&note) {
                    outcome::line(event);
                }
            }
        }
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(0))
}

/// The mark of a message that went directly.
const DIRECT: &str = " ⇄";
/// Senders that are named.
const SENDERS: usize = 5;
/// Lines after the first stand under the text of the first.
const INDENT: &str = "        ";

fn for_person(note: &Note<'_>, paint: Paint, clock: Clock) -> Option<String> {
    let time = |millis| paint.dim(&clock.show(millis)).into_owned();
    let mine = |to: &str, body: &str| {
        let body = text::clean_body(body.as_bytes(), INDENT);
        format!("{} {} {}: {body}", time(now()), paint.dim("→"), paint.name(&text::clean(to)))
    };
    let text = match note {
        Note::Message { sender, sent_at, body, way } => {
            let body = text::clean_body(body, INDENT);
            let mark = paint.dim(if *way == Way::Lan { DIRECT } else { "" });
            format!("{} {}{mark}: {body}", time(*sent_at), paint.name(&text::clean(sender)))
        }
        Note::Mail(messages) => dash(paint, &mail(messages)),
        Note::Change { workspace, author, body, .. } => {
            let body = text::clean_change(body, INDENT);
            let place = paint.dim(&text::clean(workspace)).into_owned();
            format!("{} {place} {}: {body}", time(now()), paint.name(&text::clean(author)))
        }
        Note::Sent { to, body, way, result: Ok(()) } => {
            let mark = paint.dim(if *way == Way::Lan { DIRECT } else { "" });
            format!("{} {}{mark}", mine(to, body), paint.good("✓"))
        }
        Note::Sent { to, body, result: Err(fail), .. } => {
            format!("{} {}", mine(to, body), paint.bad(&format!("✗ {}", outcome::words(fail))))
        }
        Note::Waiting { to, body } => format!("{} {}", mine(to, body), paint.dim("… no answer yet")),
        Note::Who(users) if users.is_empty() => dash(paint, "Nobody else is signed on."),
        Note::Who(users) => {
            let who = users.iter().map(|user| {
                let mut who = paint.name(&text::clean(&user.name)).into_owned();
                if !user.notes.is_empty() {
                    let _ = write!(who, " {}", paint.dim(&format!("“{}”", text::clean(&user.notes))));
                }
                who
            });
            format!("{} {}", paint.dim("— Signed on:"), who.collect::<Vec<_>>().join(", "))
        }
        Note::Tree(map) => map.tree(paint).trim_end_matches('\n').to_owned(),
        Note::SignedOn { again: false, .. } | Note::Moved(_) | Note::Map(_) | Note::Lost { again: true, .. } => {
            return None
        }
        Note::SignedOn { again: true, .. } => paint.good("— The connection is back.").into_owned(),
        Note::Notice { sent_at, text } => {
            let words = text::clean_body(text.as_bytes(), INDENT);
            format!("{} {} {words}", time(*sent_at), paint.bad("— The operator says:"))
        }
        Note::Disconnected(reason) => {
            paint.bad(&format!("— The server ends this connection: {}", text::clean(reason))).into_owned()
        }
        Note::Lost { why, .. } => {
            paint.bad(&format!("— The connection is lost ({}); trying to get it back …", text::clean(why))).into_owned()
        }
        Note::Failed(fail) => paint.bad(&format!("— The session is over: {}", outcome::words(fail))).into_owned(),
        Note::Lan(people) => {
            let lines = people.iter().map(|person| {
                let line = format!("{} on the local network: {}", person.id.name(), discover::words(person.trust));
                match person.trust {
                    Trust::Unverified => paint.bad(&format!("— {}", text::clean(&line))).into_owned(),
                    Trust::Verified | Trust::Foreign | Trust::Unknown => dash(paint, &line),
                }
            });
            lines.collect::<Vec<_>>().join("\n")
        }
        Note::Info(words) => dash(paint, words),
        Note::Warning(words) => paint.bad(&format!("✗ {}", text::clean(words))).into_owned(),
        Note::Block(words) => words.clone(),
    };
    Some(text + "\n")
}

/// That messages wait, and from whom.
fn mail(messages: &[(String, String, u64, u64)]) -> String {
    let mut senders: Vec<String> = messages.iter().map(|(_, sender, ..)| text::clean(sender)).collect();
    senders.sort();
    senders.dedup();
    let others = senders.len().saturating_sub(SENDERS);
    senders.truncate(SENDERS);
    let from = senders.join(", ");
    let more = if others > 0 { format!(" and {others} others") } else { String::new() };
    match messages.len() {
        1 => format!("A message of {from} waits: convergia mail ls"),
        count => format!("{count} messages wait, of {from}{more}: convergia mail ls"),
    }
}

fn dash(paint: Paint, words: &str) -> String {
    paint.dim(&format!("— {}", text::clean(words))).into_owned()
}

fn plain(note: &Note<'_>) {
    match note {
        Note::Message { sender, body, .. } => {
            let body = String::from_utf8_lossy(body);
            outcome::line(format_args!("{}: {}", text::clean(sender), text::clean(&body)));
        }
        Note::Mail(messages) => eprintln!("convergia: {}", mail(messages)),
        Note::Change { workspace, author, body, .. } => {
            let body = String::from_utf8_lossy(body);
            let (workspace, author) = (text::clean(workspace), text::clean(author));
            outcome::line(format_args!("{workspace}/{author}: {}", text::clean(&body)));
        }
        Note::Sent { to, body, result: Err(fail), .. } => {
            eprintln!("convergia: not sent to {}: {}: {}", text::clean(to), text::clean(body), outcome::words(fail));
        }
        Note::Lan(people) => people.iter().for_each(|person| {
            let name = text::clean(person.id.name());
            eprintln!("convergia: {name} on the local network: {}", discover::words(person.trust));
        }),
        Note::Who(users) => users.iter().for_each(|user| outcome::line(text::clean(&user.name))),
        Note::Tree(map) => outcome::line(map.tree(Paint(false)).trim_end_matches('\n')),
        Note::Block(words) => outcome::line(words),
        Note::Notice { text, .. } => eprintln!("convergia: the operator says: {}", text::clean(text)),
        Note::Disconnected(reason) => eprintln!("convergia: the server ends this connection: {}", text::clean(reason)),
        Note::Lost { why, again: false, .. } => eprintln!("convergia: the connection is lost: {}", text::clean(why)),
        Note::SignedOn { again: true, .. } => eprintln!("convergia: the connection is back"),
        Note::Info(words) | Note::Warning(words) => eprintln!("convergia: {}", text::clean(words)),
        // The failure itself ends the program with these words.
        Note::Sent { .. }
        | Note::Waiting { .. }
        | Note::Map(_)
        | Note::SignedOn { .. }
        | Note::Moved(_)
        | Note::Lost { .. }
        | Note::Failed(_) => {}
    }
}

fn for_program(note: &Note<'_>) -> Option<Value> {
    let nodes = |nodes: &[Node]| nodes.iter().map(Node::json).collect::<Vec<_>>();
    Some(match note {
        Note::Message { sender, sent_at, body, way } => {
            let event = json!({ "event": "message", "sender": sender, "sent_at": sent_at, "way": way.word() });
            outcome::with_body(event, body)
        }
        Note::Lan(people) => {
            json!({ "event": "lan", "people": people.iter().map(discover::json).collect::<Vec<_>>() })
        }
        Note::Mail(messages) => {
            let message = |(id, sender, size, sent_at): &(String, String, u64, u64)| json!({ "id": id, "sender": sender, "size": size, "sent_at": sent_at });
            json!({ "event": "mail", "messages": messages.iter().map(message).collect::<Vec<_>>() })
        }
        Note::Change { workspace, seq, author, body } => {
            outcome::with_body(json!({ "event": "change", "workspace": workspace, "seq": seq, "author": author }), body)
        }
        Note::Sent { to, body, way, result } => {
            let event = json!({ "event": "sent", "recipient": to, "body": body, "way": way.word(), "ok": true });
            match result {
                Ok(()) => event,
                Err(fail) => outcome::json_fail(event, fail),
            }
        }
        Note::Map(changed) => json!({ "event": "map", "changed": nodes(changed) }),
        Note::Who(users) => json!({ "event": "who", "users": nodes(users) }),
        Note::Tree(map) => json!({ "event": "map", "changed": map.nodes().map(Node::json).collect::<Vec<_>>() }),
        Note::SignedOn { server, .. } => json!({ "event": "signed_on", "server": server }),
        Note::Moved(server) => json!({ "event": "moved", "server": server }),
        Note::Notice { sent_at, text } => json!({ "event": "notice", "sent_at": sent_at, "text": text }),
        Note::Disconnected(reason) => json!({ "event": "disconnected", "reason": reason }),
        Note::Lost { why, wait, .. } => json!({ "event": "lost", "reason": why, "retry_ms": wait }),
        Note::Failed(fail) => outcome::json_fail(json!({ "event": "failed" }), fail),
        Note::Warning(words) => json!({ "event": "warning", "text": words }),
        Note::Info(_) | Note::Block(_) | Note::Waiting { .. } => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Code;

    #[test]
    fn nothing_received_commands_the_terminal() {
        let evil = "\x1b]52;c;AAAA\x07\u{202e}";
        let fail = Fail::new(Code::Denied, evil);
        let node = Node::parse(&format!("i|{evil}|client|online|{evil}|")).unwrap();
        let map = ServerMap::new(&[format!("i|{evil}|mainserver|{evil}|{evil}|")]);
        let body = format!("{evil}\nbob: forged").into_bytes();
        let result = Err(fail.clone());
        let notes = [
            Note::Message { sender: evil.to_owned(), sent_at: 0, body, way: Way::Lan },
            Note::Sent { to: evil, body: evil, way: Way::Lan, result: &result },
            Note::Who(vec![node]),
            Note::Tree(&map),
            Note::Disconnected(evil.to_owned()),
            Note::Notice { sent_at: 1, text: format!("{evil}\nbob: forged") },
            Note::Lost { why: evil.to_owned(), wait: 1, again: false },
            Note::Failed(fail),
            Note::Info(evil.to_owned()),
            Note::Warning(evil.to_owned()),
            Note::Mail(vec![(evil.to_owned(), evil.to_owned(), 1, 1)]),
            Note::Change {
                workspace: evil.to_owned(),
                seq: 1,
                author: evil.to_owned(),
                body: evil.as_bytes().to_vec(),
            },
        ];
        for note in notes {
            let text = for_person(&note, Paint(false), Clock::default()).unwrap();
            assert!(!text.contains(|c: char| (c.is_control() && c != '\n') || c == '\u{202e}'), "{text:?}");
            assert!(!text.contains("\nbob:"), "{text:?}");
            for_program(&note);
        }
    }

    #[test]
    fn marks() {
        let ok = Ok(());
        let failed = Err(Fail::new(Code::Offline, "not signed on"));
        let show_way = |result, way| {
            for_person(&Note::Sent { to: "bob", body: "hi", way, result }, Paint(false), Clock::default()).unwrap()
        };
        let show = |result| show_way(result, Way::Server);
        assert!(show_way(&ok, Way::Lan).ends_with(" → bob: hi ✓ ⇄\n"), "{}", show_way(&ok, Way::Lan));
        assert!(show(&ok).ends_with(" → bob: hi ✓\n"), "{}", show(&ok));
        assert!(show(&failed).ends_with(" → bob: hi ✗ not signed on (OFFLINE)\n"), "{}", show(&failed));
    }

    #[test]
    fn bytes_that_are_no_text() {
        let note = Note::Message { sender: "bob".to_owned(), sent_at: 1, body: vec![0xff], way: Way::Server };
        assert_eq!(for_program(&note).unwrap()["body_base64"], json!("/w=="));
    }
}
