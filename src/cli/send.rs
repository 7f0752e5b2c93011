//! `convergia send`: one message, or one a line, for people and for scripts.

use std::io::BufRead;
use std::io::IsTerminal;
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use argh::FromArgs;
use serde_json::json;

use super::outcome;
use super::outcome::Stop;
use super::session;
use super::session::Session;
use super::session::Stay;
use super::session::Target;
use super::text;
use crate::client::Reply;
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
    note = "A text that begins with - goes behind --, as in: {command_name} bob -- -1\nWhen no server can be reached, it is tried \
            for 10 seconds."
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

impl Send {
    /// Runs it.
    ///
    /// # Errors
    /// In words; those of the first message that was refused.
    pub fn run(mut self) -> Result<(), Stop> {
        self.recipient = session::recipient(&self.recipient)?;
        if self.lines && !self.text.is_empty() {
            return Err(Stop::Usage("--lines reads standard input; leave the text out".to_owned()));
        }
        // Before signing on: an empty message is not worth it.
        let whole = match self.lines {
            true => None,
            false => Some(self.body()?),
        };
        let target =
            Target { server: self.server.clone(), user: self.user.clone(), password_file: self.password_file.clone() };
        rt::block_on(async {
            let session = Arc::new(session::sign_on(&target, Stay::Short).await?);
            let done = match whole {
                Some(body) => {
                    self.answered(&session.client.post("SENDMESSAGE", &[self.recipient.as_bytes(), &body])).await
                }
                None => self.send_lines(&session).await,
            };
            session.client.sign_off().await;
            done
        })
    }

    fn body(&self) -> Result<Vec<u8>, Stop> {
        let mut body = self.text.join(" ").into_bytes();
        if self.text.is_empty() {
            if std::io::stdin().is_terminal() {
                eprintln!("Type the message; Ctrl-D on a line of its own sends it.");
            }
            let limit = u64::try_from(LONGEST).unwrap_or(u64::MAX).saturating_add(2);
            let read = std::io::stdin().lock().take(limit).read_to_end(&mut body);
            read.map_err(|error| Stop::Refused(format!("standard input: {error}")))?;
            if body.last() == Some(&b'\n') {
                body.pop();
            }
        }
        match body.len() {
            0 => Err(Stop::Usage("there is nothing to send".to_owned())),
            length if length > LONGEST => Err(Stop::Usage(format!("a message is at most {LONGEST} bytes long"))),
            _ => Ok(body),
        }
    }

    /// A thread reads and posts, as standard input may take its time; the answers are told as they come.
    async fn send_lines(&self, session: &Arc<Session>) -> Result<(), Stop> {
        let (under_way, answers) = rt::channel::bounded(WINDOW);
        let (session, recipient) = (Arc::clone(session), self.recipient.clone());
        let reader = thread::spawn(move || {
            let mut input = std::io::stdin().lock();
            while let Some(line) = next_line(&mut input)? {
                let reply = session.client.post("SENDMESSAGE", &[recipient.as_bytes(), &line]);
                if rt::block_on(under_way.send(reply)).is_err() {
                    break;
                }
            }
            Ok(())
        });
        let mut done = Ok(());
        while let Ok(reply) = answers.recv().await {
            done = done.and(self.answered(&reply).await);
        }
        let read = reader.join().unwrap_or_else(|_| Err(Stop::Refused("standard input cannot be read".to_owned())));
        done.and(read)
    }

    async fn answered(&self, reply: &Reply) -> Result<(), Stop> {
        let fields = json!({ "recipient": self.recipient, "ok": true });
        match reply.answer().await {
            Ok(_) => {
                if self.json {
                    outcome::line(fields);
                } else if std::io::stdout().is_terminal() && !self.lines {
                    outcome::line("sent");
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
