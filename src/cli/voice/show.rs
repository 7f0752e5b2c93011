//! What happens in a channel, for people and for programs.

use serde_json::json;
use serde_json::Value;

use super::record::Done;
use crate::cli::outcome;
use crate::cli::text;
use crate::cli::text::Paint;
use crate::client::voice::jitter::Count;
use crate::client::voice::Person;

/// Where it goes.
#[derive(Clone, Copy)]
pub struct Show {
    /// JSON, an event a line.
    pub json: bool,
    /// Standard output has something else.
    pub aside: bool,
}

impl Show {
    fn line(self, line: impl std::fmt::Display) {
        match self.aside {
            true => eprintln!("{line}"),
            false => outcome::line(line),
        }
    }

    fn tell(self, fields: impl FnOnce() -> Value, words: impl FnOnce(Paint) -> String) {
        match self.json {
            true => self.line(fields()),
            false => self.line(words(Paint(text::colour() && !self.aside))),
        }
    }

    /// A warning for people; programs read it on standard error too.
    pub fn warn(self, words: &str) {
        eprintln!("convergia: {words}");
    }

    /// The channel was joined.
    pub fn joined(self, name: &str, channel: Option<(u64, bool)>, own: Option<u64>, udp: bool, members: &[Person]) {
        let signed = channel.is_some_and(|(_, signed)| signed);
        let fields = || {
            let members: Vec<Value> = members.iter().map(|p| json!({ "uid": p.uid, "user": p.user })).collect();
            json!({
                "event": "joined", "channel": channel.map(|(channel, _)| channel), "name": name, "uid": own, "signed": signed,
                "way": if udp { "udp" } else { "link" }, "members": members,
            })
        };
        self.tell(fields, |paint| {
            let others = members.iter().filter(|person| Some(person.uid) != own);
            let others: Vec<String> = others.map(|p| paint.name(&text::clean(&p.name())).into_owned()).collect();
            let way = match (udp, signed) {
                (true, true) => "by UDP, signed",
                (true, false) => "by UDP, not signed",
                (false, _) => "over the connection to the server",
            };
            let name = paint.bold(&text::clean(name)).into_owned();
            match others.is_empty() {
                true => format!("In {name} ({way}). Nobody else is here."),
                false => format!("In {name} ({way}) with {}.", others.join(", ")),
            }
        });
    }

    /// Somebody comes, leaves, speaks, or is silent.
    pub fn person(self, event: &str, person: &Person) {
        let fields = || json!({ "event": event, "uid": person.uid, "user": person.user });
        self.tell(fields, |paint| {
            let name = paint.name(&text::clean(&person.name())).into_owned();
            match event {
                "came" => format!("{name} is here."),
                "left" => format!("{name} has left."),
                "silent" => paint.dim(&format!("{} is silent.", text::clean(&person.name()))).into_owned(),
                _ => format!("{name} speaks."),
            }
        });
    }

    /// The membership is lost for the moment.
    pub fn away(self, why: &str) {
        match self.json {
            true => self.line(json!({ "event": "away", "why": why })),
            false => self.warn(&format!("not in the channel at the moment ({}); joining again", text::clean(why))),
        }
    }

    /// A file is done.
    pub fn recorded(self, done: &Done) {
        let file = done.file.as_ref().map(|file| file.display().to_string());
        let fields =
            || json!({ "event": "recorded", "user": done.user, "file": file, "milliseconds": done.milliseconds });
        let seconds = (done.milliseconds / 1_000, done.milliseconds % 1_000 / 100);
        let place = text::clean(file.as_deref().unwrap_or("standard output"));
        self.tell(fields, |_| format!("{}: {}.{} s of {}", place, seconds.0, seconds.1, text::clean(&done.user)));
    }

    /// The end: what was sent, and what came of each speaker.
    pub fn ended(self, sent: u64, unsent: u64, speakers: &[(String, Count)]) {
        let fields = || {
            let of = |(user, count): &(String, Count)| json!({ "user": user, "heard": count.heard, "missing": count.missing, "late": count.late });
            let speakers: Vec<Value> = speakers.iter().map(of).collect();
            json!({ "event": "ended", "sent": sent, "unsent": unsent, "speakers": speakers })
        };
        if self.json {
            return self.line(fields());
        }
        if sent + unsent > 0 {
            let lost = if unsent > 0 { format!("; {unsent} not, as there was no connection") } else { String::new() };
            self.line(format_args!("{sent} packets sent{lost}"));
        }
        for (user, Count { heard, missing, late }) in speakers {
            let lost = match (missing, late) {
                (0, 0) => String::new(),
                (missing, 0) => format!(", {missing} missing"),
                (missing, late) => format!(", {missing} missing, {late} too late"),
            };
            self.line(format_args!("{heard} packets of {}{lost}", text::clean(user)));
        }
    }
}
