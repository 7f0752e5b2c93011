//! Accounts as their users see them (contract 2, 4, 5): registering, passwords, tokens, keys, tickets, and whom to trust.

#[path = "../support/mod.rs"]
mod support;

mod keys;
mod passwords;
mod registration;
mod shut_out;
mod simulated;
mod tickets;
mod trust;

use convergia::wire::Code;
use support::Answer;
use support::Raw;
use support::Server;

/// A new link to management's client port.
#[track_caller]
fn management(server: &Server) -> Raw {
    Raw::connect(&server.addr("client_management"))
}

/// LOGIN on a link of its own.
#[track_caller]
fn log_in(server: &Server, user: &str, secret: &str) -> Answer {
    management(server).ask("LOGIN", &[user, secret])
}

/// LOGIN with a token.
#[track_caller]
fn log_in_token(server: &Server, user: &str, token: &str) -> Answer {
    log_in(server, user, &format!("token:{token}"))
}

/// The FAIL of an answer must have this code.
#[track_caller]
fn assert_fails(answer: &Answer, code: Code) {
    match answer {
        Answer::Fail(got, text) => assert_eq!(*got, code, "{text}"),
        Answer::Ok(data) => panic!("OK {}, not FAIL {}", data.escape_ascii(), code.word()),
    }
}
