//! `convergia open`: a link of a web page, `opengroovemessage://host:port/user?subject=…`, becomes a message.

use std::io::BufRead;
use std::io::IsTerminal;
use std::path::PathBuf;

use argh::FromArgs;
use serde_json::json;

use super::outcome;
use super::outcome::Stop;
use super::send;
use super::session;
use super::state::State;
use super::text;
use crate::client::Address;
use crate::config::PortKey;

/// Write a message to the user whom an opengroovemessage link names.
#[derive(FromArgs)]
#[argh(
    subcommand,
    name = "open",
    example = "{command_name} 'opengroovemessage://chat.example:63745/bob?subject=Hi+Bob'",
    example = "{command_name} --show 'opengroovemessage://chat.example/bob'",
    note = "It shows who the message is for and reads it from standard input; a link sends nothing by itself. The subject \
            becomes the first line. examples/convergia.desktop lets a browser open such links."
)]
pub struct Open {
    /// opengroovemessage://HOST:PORT/USER?subject=TEXT
    #[argh(positional)]
    url: String,
    /// show what the link says, and send nothing
    #[argh(switch)]
    show: bool,
    /// wait for Enter at the end: for a window that closes with the command
    #[argh(switch)]
    wait: bool,
    /// convergia://HOST:PORT#FINGERPRINT (default: as last time, else the server of this machine)
    #[argh(option, arg_name = "URL")]
    server: Option<String>,
    /// who you are (default: as last time)
    #[argh(option, arg_name = "NAME")]
    user: Option<String>,
    /// a file with the password
    #[argh(option, arg_name = "FILE")]
    password_file: Option<PathBuf>,
    /// machine-readable output
    #[argh(switch)]
    json: bool,
}

/// What a link says.
#[derive(Debug, PartialEq, Eq)]
struct Link {
    host: String,
    port: u16,
    user: String,
    /// Without control characters.
    subject: Option<String>,
}

/// The longest link, and the longest subject; bytes and characters.
const LONGEST: usize = 8_192;
const SUBJECT: usize = 500;

impl Open {
    /// Runs it.
    ///
    /// # Errors
    /// In words.
    pub fn run(self) -> Result<(), Stop> {
        let wait = self.wait;
        let done = self.act();
        if wait {
            // Said here, as the window is gone before the words at the end.
            if let Err(stop) = &done {
                eprintln!("convergia: {}", stop.words());
            }
            eprintln!("Press Enter to close.");
            let _ = std::io::stdin().lock().read_line(&mut String::new());
            return done.map_err(|_| Stop::Told);
        }
        done
    }

    fn act(self) -> Result<(), Stop> {
        let link = parse(&self.url).map_err(|why| {
            Stop::Usage(format!(
                "{}: {why}. A link is opengroovemessage://HOST:PORT/USER?subject=TEXT",
                text::clean(&self.url)
            ))
        })?;
        let state = State::load()?;
        let own = session::address(self.server.as_deref(), &state).ok();
        let recipient = link.recipient(own.as_ref());
        if self.show && self.json {
            outcome::line(json!({ "recipient": recipient, "subject": link.subject }));
            return Ok(());
        }
        if self.show || std::io::stdin().is_terminal() {
            eprintln!("To:      {}", text::clean(&recipient));
            eprintln!("Subject: {}", text::clean(link.subject.as_deref().unwrap_or("")));
        }
        if self.show {
            return Ok(());
        }
        let head = link.subject.filter(|subject| !subject.is_empty()).map(|subject| format!("{subject}\n\n"));
        let target = session::Target { server: self.server, user: self.user, password_file: self.password_file };
        send::Job {
            recipient,
            text: Vec::new(),
            head: head.unwrap_or_default(),
            lines: false,
            lan: false,
            target,
            json: self.json,
        }
        .run()
    }
}

impl Link {
    /// The user's id; the name alone for who has an account at the same place.
    fn recipient(&self, own: Option<&Address>) -> String {
        let same = |own: &&Address| own.port == self.port && own.host.eq_ignore_ascii_case(&self.host);
        match own.filter(same) {
            Some(_) => self.user.clone(),
            None if self.host.contains(':') => format!("[{}]:{}::{}", self.host, self.port, self.user),
            None => format!("{}:{}::{}", self.host, self.port, self.user),
        }
    }
}

fn parse(url: &str) -> Result<Link, &'static str> {
    if url.len() > LONGEST {
        return Err("it is too long");
    }
    let (scheme, rest) = url.split_once("://").ok_or("it is no link")?;
    if !scheme.eq_ignore_ascii_case("opengroovemessage") {
        return Err("it is another kind of link");
    }
    let (place, query) = rest.split_once('?').map_or((rest, None), |(place, query)| (place, Some(query)));
    let (place, user) = place.split_once('/').ok_or("it names no user")?;
    let (host, port) = authority(place)?;
    let user = decode(user, false)?;
    // One segment, whatever it was written as.
    let user = session::user_name(&user).map_err(|_| "that is no user's name")?;
    let mut subject = None;
    for (key, value) in query.into_iter().flat_map(|query| query.split('&')).filter_map(|pair| pair.split_once('=')) {
        if key.eq_ignore_ascii_case("subject") && subject.is_none() {
            subject = Some(tame(&decode(value, true)?));
        }
    }
    Ok(Link { host, port, user, subject })
}

/// `host`, `host:port`, `[IPv6]:port`; nothing else may stand there.
fn authority(place: &str) -> Result<(String, u16), &'static str> {
    let bad = "what stands before the user is no HOST:PORT";
    let (host, port) = match place.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => {
            let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
            (host, port.parse().ok().filter(|port| digits && *port != 0).ok_or(bad)?)
        }
        _ => (place, PortKey::Realm.default_port()),
    };
    if let Some(address) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        let address: std::net::Ipv6Addr = address.parse().map_err(|_| bad)?;
        return Ok((address.to_string(), port));
    }
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    match !host.is_empty() && host.len() <= 253 && host.bytes().all(fits) {
        true => Ok((host.to_owned(), port)),
        false => Err(bad),
    }
}

/// Percent-encoded UTF-8; in a query `+` is a space.
fn decode(text: &str, plus: bool) -> Result<String, &'static str> {
    let bad = "its percent-encoding is broken";
    let (bytes, mut out, mut at) = (text.as_bytes(), Vec::with_capacity(text.len()), 0);
    while let Some(byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'%' => {
                let digits =
                    bytes.get(at..at + 2).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit)).ok_or(bad)?;
                let digits = std::str::from_utf8(digits).map_err(|_| bad)?;
                out.push(u8::from_str_radix(digits, 16).map_err(|_| bad)?);
                at += 2;
            }
            b'+' if plus => out.push(b' '),
            b'#' => return Err("it goes on behind a #"),
            byte => out.push(*byte),
        }
    }
    String::from_utf8(out).map_err(|_| "it is not UTF-8")
}

/// One line: what could command a terminal, or look like more lines, is a space.
fn tame(text: &str) -> String {
    let tamed: String = text.chars().map(|c| if text::dangerous(c) { ' ' } else { c }).take(SUBJECT).collect();
    tamed.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(host: &str, port: u16, user: &str, subject: Option<&str>) -> Link {
        Link { host: host.to_owned(), port, user: user.to_owned(), subject: subject.map(str::to_owned) }
    }

    #[test]
    fn good_links() {
        let good = [
            (
                "opengroovemessage://trivergia.com:64731/javawizard?subject=Hi+Alex",
                ("trivergia.com", 64731, "javawizard", Some("Hi Alex")),
            ),
            ("OpenGrooveMessage://h/bob", ("h", 63745, "bob", None)),
            (
                "opengroovemessage://h:1/b%C3%A5b?a=b&subject=50%25%20%2B%201&subject=2",
                ("h", 1, "båb", Some("50% + 1")),
            ),
            ("opengroovemessage://[::1]:5/bob?subject=", ("::1", 5, "bob", Some(""))),
            ("opengroovemessage://h/bob?", ("h", 63745, "bob", None)),
        ];
        for (url, (host, port, user, subject)) in good {
            assert_eq!(parse(url), Ok(link(host, port, user, subject)), "{url}");
        }
    }

    #[test]
    fn bad_links() {
        let bad = [
            "",
            "bob",
            "http://h/bob",
            "opengroovemessage:/h/bob",
            "opengroovemessage://h",
            "opengroovemessage://h/",
            "opengroovemessage:///bob",
            "opengroovemessage://h/a/b",
            "opengroovemessage://h/..",
            "opengroovemessage://h/%2e%2e",
            "opengroovemessage://h/..%2fbob",
            "opengroovemessage://h/a%2Fb",
            "opengroovemessage://h/a%00b",
            "opengroovemessage://h/a%0Ab",
            "opengroovemessage://h/a%1b[2J",
            "opengroovemessage://h/a%3A%3Ab",
            "opengroovemessage://h/a%20b",
            "opengroovemessage://user@h/bob",
            "opengroovemessage://h:0/bob",
            "opengroovemessage://h:65536/bob",
            "opengroovemessage://h:+1/bob",
            "opengroovemessage://h:/bob",
            "opengroovemessage://h i/bob",
            "opengroovemessage://h%2f/bob",
            "opengroovemessage://[::1/bob",
            "opengroovemessage://[x]:1/bob",
            "opengroovemessage://h/bob?subject=%",
            "opengroovemessage://h/bob?subject=%f",
            "opengroovemessage://h/bob?subject=%+1",
            "opengroovemessage://h/bob?subject=%ff",
            "opengroovemessage://h/bob#x",
            "opengroovemessage://h/bob?subject=a#b",
            "opengroovemessage://-/--help%20",
        ];
        for url in bad {
            assert!(parse(url).is_err(), "{url}: {:?}", parse(url));
        }
        let long = format!("opengroovemessage://h/bob?subject={}", "x".repeat(LONGEST));
        assert!(parse(&long).is_err());
    }

    #[test]
    fn a_subject_is_one_harmless_line() {
        let subject =
            |text: &str| parse(&format!("opengroovemessage://h/bob?subject={text}")).unwrap().subject.unwrap();
        assert_eq!(subject("a%0d%0ab%1b]0;x%07%c2%9b31m%e2%80%ae"), "a  b ]0;x  31m");
        assert_eq!(subject(&"x".repeat(5_000)).len(), SUBJECT);
        for c in (0..0x3000).filter_map(char::from_u32) {
            let encoded: String = c.to_string().bytes().map(|byte| format!("%{byte:02x}")).collect();
            assert!(!subject(&encoded).contains(text::dangerous), "{c:?}");
        }
    }

    #[test]
    fn who_has_an_account_there() {
        let own: Address = "realm://H:1".parse().unwrap();
        assert_eq!(link("h", 1, "bob", None).recipient(Some(&own)), "bob");
        assert_eq!(link("h", 2, "bob", None).recipient(Some(&own)), "h:2::bob");
        assert_eq!(link("::1", 2, "bob", None).recipient(None), "[::1]:2::bob");
    }
}
