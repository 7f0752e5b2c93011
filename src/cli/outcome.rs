//! How a subcommand ends when it is not done: in words, with what to do next.

use std::io;
use std::io::Write;

use base64::prelude::BASE64_STANDARD;
use base64::Engine;
use serde_json::json;
use serde_json::Value;

use super::text;
use crate::wire::Fail;

/// Why a subcommand ended early.
#[derive(Debug, PartialEq, Eq)]
pub enum Stop {
    /// Exit status 1: the server, or this machine, says no.
    Refused(String),
    /// Exit status 1, and each reason was told when it was met.
    Told,
    /// Exit status 2: the words on the command line cannot be followed.
    Usage(String),
}

impl Stop {
    /// `what` could not be done because of `fail`; `next` is what to do about it, or nothing.
    pub fn refused(what: &str, fail: &Fail, next: &str) -> Stop {
        let words = format!("{what}: {}", self::words(fail));
        Stop::Refused(if next.is_empty() { words } else { format!("{words}\n{next}") })
    }

    /// The words.
    pub fn words(&self) -> &str {
        match self {
            Stop::Refused(words) | Stop::Usage(words) => words,
            Stop::Told => "",
        }
    }
}

/// A FAIL for a person. The words come from the server: nothing in them reaches the terminal as a command.
pub fn words(fail: &Fail) -> String {
    text::clean(&fail.to_string())
}

/// A FAIL for a program: `fields` and why.
pub fn json_fail(mut fields: Value, fail: &Fail) -> Value {
    fields["ok"] = json!(false);
    fields["code"] = json!(fail.code.word());
    fields["text"] = json!(fail.text);
    fields
}

/// `fields` and a body: bytes that are no text stay what they are.
pub fn with_body(mut fields: Value, body: &[u8]) -> Value {
    match std::str::from_utf8(body) {
        Ok(text) => fields["body"] = json!(text),
        Err(_) => fields["body_base64"] = json!(BASE64_STANDARD.encode(body)),
    }
    fields
}

/// Prints a line on standard output. When nobody reads it any more (`… | head`), the process ends: there is nothing left
/// to do for it.
pub fn line(line: impl std::fmt::Display) {
    let mut out = io::stdout().lock();
    if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
        std::process::exit(0);
    }
}
