//! `convergia send`: one message, or one a line, for people and for scripts.

use std::io::BufRead;
use std::io::IsTerminal;
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use argh::FromArgs;
use serde_json::json;

use super::courier::Courier;
use super::courier::Posted;
use super::courier::Way;
use super::lan;
use super::outcome;
use super::outcome::Stop;
use super::session;
use super::session::Session;
use super::session::Stay;
use super::session::Target;
use super::text;
use crate::client::lan::Lan;
use crate::client::lan::Person;
use crate::client::lan::Trust;
use crate::engine::rt;
use crate::wire::Code;
use crate::wire::Fail;

/// Send a message to somebody who is signed on.
#[derive(FromArgs)]
#[argh(
    subcommand,
    name = "send",
    example = "{command_name} bob Lunch at noon?",
    example = "tail -f events | {command_name} bob --lines",
    example = "{command_name} --lan bob Lunch at noon?",
    note = "A text that begins with - goes behind --, as in: {command_name} bob -- -1\nWhen no server can be reached, it is tried \
            for 10 seconds.\nWith --lan, somebody who is on the local network (`convergia discover`) and verified gets it directly, also \
            without a server; only if nobody is found there, it goes over the server."
)]
pub struct Send {
    /// to whom
    #[argh(positional)]
    recipient: String,
    /// the message (default: all of standard input)
    #[argh(positional)]
    text: Vec<String>,
    /// each line of standard input is a message
    #[argh(switch)]
    lines: bool,
    /// directly, if the recipient is on the local network
    #[argh(switch)]
    lan: bool,
    /// convergia://HOST:PORT#FINGERPRINT (default: as last time, else the server of this machine)
    #[argh(option, arg_name = "URL")]
    server: Option<String>,
    /// who you are (default: as last time)
    #[argh(option, arg_name = "NAME")]
    user: Option<String>,
    /// a file with the password
    #[argh(option, arg_name = "FILE")]
    password_file: Option<PathBuf>,
    /// machine-readable output, a line a message
    #[argh(switch)]
    json: bool,
}

/// The longest message (contract 1: 1 MiB of DATA, less what goes around it).
const LONGEST: usize = (1 << 20) - 1_024;
/// Messages on their way at once.
const WINDOW: usize = 128;

/// How long the recipient is looked for on the local network.
const LOOK: Duration = Duration::from_secs(2);
/// How long a server is tried when nobody is found there.
const PATIENCE: Duration = Duration::from_secs(10);

impl Send {
    /// Runs it.
    ///
    /// # Errors
    /// In words; those of the first message that was refused.
    pub fn run(self) -> Result<(), Stop> {
        let target = Target { server: self.server, user: self.user, password_file: self.password_file };
        let recipient = session::recipient(&self.recipient)?;
        let (text, lines, lan, json) = (self.text, self.lines, self.lan, self.json);
        Job { recipient, text, head: String::new(), lines, lan, target, json }.run()
    }
}

/// What is to be sent.
pub struct Job {
    /// To whom, checked.
    pub recipient: String,
    /// What; nothing: what stands on standard input.
    pub text: Vec<String>,
    /// What comes before it.
    pub head: String,
    /// Each line of standard input.
    pub lines: bool,
    /// Directly, if that is possible.
    pub lan: bool,
    /// Who sends it, and over which server.
    pub target: Target,
    /// For programs.
    pub json: bool,
}

impl Job {
    /// Does it.
    ///
    /// # Errors
    /// In words; those of the first message that was refused.
    pub fn run(self) -> Result<(), Stop> {
        if self.lines && !self.text.is_empty() {
            return Err(Stop::Usage("--lines reads standard input; leave the text out".to_owned()));
        }
        // Before signing on: an empty message is not worth it.
        let whole = match self.lines {
            true => None,
            false => Some(self.body()?),
        };
        rt::block_on(async {
            let stay = if self.lan { Stay::Near } else { Stay::Short };
            let session = Arc::new(session::sign_on(&self.target, stay).await?);
            let lan = if self.lan { self.look(&session).await } else { None };
            let courier = Courier::new(&session.client, &session.address, lan.clone());
            let done = match whole {
                Some(body) => self.answered(courier.post(&self.recipient, &body).await).await,
                None => self.send_lines(&courier).await,
            };
            if let Some(lan) = lan {
                lan.leave();
            }
            if session.client.is_on() {
                session.client.sign_off().await;
            }
            done
        })
    }

    /// Looks for the recipient on the local network; when nobody is there, the server is waited for.
    async fn look(&self, session: &Session) -> Option<Arc<Lan>> {
        let (lan, device) = match lan::start(session, false).await {
            Ok(started) => started,
            Err(words) => {
                eprintln!("convergia: not over the local network: {words}");
                let _ = session.client.when_on(PATIENCE).await;
                return None;
            }
        };
        let (found, is_found) = rt::channel::bounded(1);
        let (client, folded) = (Arc::clone(&session.client), Courier::folded(&session.address, &self.recipient));
        let watched = Arc::clone(&lan);
        rt::spawn(lan::pump(Arc::clone(&lan), device, Some(client), move |_| {
            let is = |person: &Person| person.trust == Trust::Verified && Some(person.id.folded()) == folded;
            if watched.people().iter().any(is) {
                let _ = found.try_send(());
            }
        }));
        let there = rt::timeout(LOOK, is_found.recv()).await.is_ok() && lan.reach(&self.recipient).await;
        if !there {
            let _ = session.client.when_on(PATIENCE).await;
        }
        Some(lan)
    }

    fn body(&self) -> Result<Vec<u8>, Stop> {
        let mut text = self.text.join(" ").into_bytes();
        if self.text.is_empty() {
            if std::io::stdin().is_terminal() {
                eprintln!("Type the message; Ctrl-D on a line of its own sends it.");
            }
            let limit = u64::try_from(LONGEST).unwrap_or(u64::MAX).saturating_add(2);
            let read = std::io::stdin().lock().take(limit).read_to_end(&mut text);
            read.map_err(|error| Stop::Refused(format!("standard input: {error}")))?;
            if text.last() == Some(&b'\n') {
                text.pop();
            }
        }
        let body = [self.head.as_bytes(), &text].concat();
        match body.len() {
            _ if text.is_empty() => Err(Stop::Usage("there is nothing to send".to_owned())),
            length if length > LONGEST => Err(Stop::Usage(format!("a message is at most {LONGEST} bytes long"))),
            _ => Ok(body),
        }
    }

    /// A thread reads and posts, as standard input may take its time; the answers are told as they come.
    async fn send_lines(&self, courier: &Courier) -> Result<(), Stop> {
        let (under_way, answers) = rt::channel::bounded(WINDOW);
        let (courier, recipient) = (courier.clone(), self.recipient.clone());
        let reader = thread::spawn(move || {
            let mut input = std::io::stdin().lock();
            while let Some(line) = next_line(&mut input)? {
                let posted = rt::block_on(courier.post(&recipient, &line));
                if rt::block_on(under_way.send(posted)).is_err() {
                    break;
                }
            }
            Ok(())
        });
        let mut done = Ok(());
        while let Ok(posted) = answers.recv().await {
            done = done.and(self.answered(posted).await);
        }
        let read = reader.join().unwrap_or_else(|_| Err(Stop::Refused("standard input cannot be read".to_owned())));
        done.and(read)
    }

    async fn answered(&self, posted: Posted) -> Result<(), Stop> {
        let way = posted.way();
        let mut fields = json!({ "recipient": self.recipient, "ok": true });
        if self.lan {
            fields["way"] = json!(way.word());
        }
        match posted.answer().await {
            Ok(()) => {
                if self.json {
                    outcome::line(fields);
                } else if std::io::stdout().is_terminal() && !self.lines {
                    outcome::line(if way == Way::Lan { "sent directly" } else { "sent" });
                }
                Ok(())
            }
            Err(fail) => {
                if self.json {
                    outcome::line(outcome::json_fail(fields, &fail));
                }
                Err(self.cannot(&fail))
            }
        }
    }

    fn cannot(&self, fail: &Fail) -> Stop {
        let next = match fail.code {
            Code::Offline => "`convergia map` shows who is signed on.",
            Code::NotFound => "`convergia map` shows who there is.",
            Code::Busy => "Much is waiting for the recipient already. Wait a little, then try again.",
            _ => "",
        };
        Stop::refused(&format!("not sent to {}", text::clean(&self.recipient)), fail, next)
    }
}

/// The next line that is not empty, without its end.
fn next_line(input: &mut impl BufRead) -> Result<Option<Vec<u8>>, Stop> {
    loop {
        let mut line = Vec::new();
        let limit = u64::try_from(LONGEST).unwrap_or(u64::MAX).saturating_add(1);
        let read = input.by_ref().take(limit).read_until(b'\n', &mut line);
        if read.map_err(|error| Stop::Refused(format!("standard input: {error}")))? == 0 {
            return Ok(None);
        }
        if line.last() == Some(&b'\n') {
            line.pop();
        }
        if line.len() > LONGEST {
            return Err(Stop::Refused(format!(
                "a line is longer than {LONGEST} bytes; it and those after it were not sent"
            )));
        }
        if !line.is_empty() {
            return Ok(Some(line));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let mut input = &b"one\n\ntwo \nlast"[..];
        let mut lines = Vec::new();
        while let Some(line) = next_line(&mut input).unwrap() {
            lines.push(line);
        }
        assert_eq!(lines, [&b"one"[..], b"two ", b"last"]);
        assert!(next_line(&mut &vec![b'x'; LONGEST + 5][..]).is_err());
        assert_eq!(next_line(&mut &vec![b'x'; LONGEST][..]).unwrap().map(|line| line.len()), Some(LONGEST));
    }
}
