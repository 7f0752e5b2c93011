//! The way in: the contract's sections 4 and 5, step by step.

use super::raw::Answer;
use super::raw::Raw;
use super::server::Server;

/// The password of every account that `sign_on` makes use of.
pub const PASSWORD: &str = "correct horse battery";

/// What a client needs to sign on to a main server.
pub struct Ticket {
    /// Its ID.
    pub server_id: String,
    /// The main server that management chose.
    pub address: String,
    /// The fingerprint that its certificate must have.
    pub fingerprint: String,
    /// Good for one SIGNON, for 60 s.
    pub ticket: String,
}

/// Registers where the policy is `open`, with any text for the empty captcha.
#[track_caller]
pub fn register_open(server: &Server, user: &str, password: &str) {
    let mut link = Raw::connect(&server.addr("public_management"));
    register_on(&mut link, user, password).ok();
}

/// The same on a link that stands; the answer of the step that failed, or of the last.
#[track_caller]
pub fn register_on(link: &mut Raw, user: &str, password: &str) -> Answer {
    try_register_on(link, user, password).expect("the server has gone")
}

/// The same where the server may go at any moment: None if it did.
pub fn try_register_on(link: &mut Raw, user: &str, password: &str) -> Option<Answer> {
    let answer = link.try_request("REGISTERACCOUNT", &[user.as_bytes(), password.as_bytes()])?;
    let Answer::Ok(data) = answer else { return Some(answer) };
    let request: &[u8] = data.split(|&byte| byte == b'\n').next().unwrap_or_default();
    link.try_request("CONFIRMREGISTERACCOUNT", &[request, b""])
}

/// Signs on to management with a password; returns the link and the session token.
#[track_caller]
pub fn login_link(server: &Server, user: &str, password: &str) -> (Raw, String) {
    let mut link = Raw::connect(&server.addr("client_management"));
    let token = link.ask("LOGIN", &[user, password]).text();
    (link, token)
}

/// The session token for a password.
#[track_caller]
pub fn login(server: &Server, user: &str, password: &str) -> String {
    login_link(server, user, password).1
}

/// Asks management, on a link that is signed on, where to go.
#[track_caller]
pub fn ticket_on(link: &mut Raw) -> Ticket {
    ticket_where(link, |_| true)
}

/// The same for a client that reaches only that server, so that management must choose it.
#[track_caller]
pub fn ticket_at(link: &mut Raw, server_id: &str) -> Ticket {
    ticket_where(link, |id| id == server_id)
}

#[track_caller]
fn ticket_where(link: &mut Raw, reaches: impl Fn(&str) -> bool) -> Ticket {
    let servers = link.ask("LISTSERVERS", &[]).text();
    let rows: Vec<Vec<&str>> = servers.lines().map(|line| line.split('|').collect()).collect();
    assert!(!rows.is_empty() && rows.iter().all(|row| row.len() == 5), "LISTSERVERS: {servers:?}");
    let line = |id: &str| format!("{id}|{}|1", if reaches(id) { "yes" } else { "no" });
    let report: Vec<String> = rows.iter().map(|row| line(row[0])).collect();
    let choice = link.ask("REPORTSERVERS", &[&report.join("\n")]).text();
    let (id, ticket) = choice.split_once('\n').expect("server-id LF ticket");
    let row = rows.iter().find(|row| row[0] == id).expect("the server is one of the list");
    Ticket {
        server_id: id.to_owned(),
        address: row[2].to_owned(),
        fingerprint: row[3].to_owned(),
        ticket: ticket.to_owned(),
    }
}

/// A ticket for a user whose password is `PASSWORD`.
#[track_caller]
pub fn ticket(server: &Server, user: &str) -> Ticket {
    ticket_on(&mut login_link(server, user, PASSWORD).0)
}

/// Connects to the main server of a ticket; its certificate must be the one management named.
#[track_caller]
pub fn connect_main(server: &Server, ticket: &Ticket) -> Raw {
    let link = Raw::connect(&ticket.address);
    assert_eq!(link.fingerprint(), ticket.fingerprint);
    let mut validation = Raw::connect(&server.addr("validation"));
    validation.ask("VALIDATEKEY", &[&ticket.server_id, &ticket.fingerprint]).ok();
    link
}

/// Registers the user with `PASSWORD` if there is none.
#[track_caller]
pub fn register_if_new(server: &Server, user: &str) {
    let mut public = Raw::connect(&server.addr("public_management"));
    if let Answer::Fail(code, text) = register_on(&mut public, user, PASSWORD) {
        assert_eq!(code, convergia::wire::Code::Exists, "{text}");
    }
}

/// Registers the user if there is none, and signs on to the main server that management chooses.
#[track_caller]
pub fn sign_on(server: &Server, user: &str) -> Raw {
    register_if_new(server, user);
    sign_on_again(server, user)
}

/// Signs on a user that is registered with `PASSWORD`.
#[track_caller]
pub fn sign_on_again(server: &Server, user: &str) -> Raw {
    let ticket = ticket(server, user);
    let mut link = connect_main(server, &ticket);
    let session = link.ask("SIGNON", &[user, &ticket.ticket]).text();
    assert!(!session.is_empty());
    link
}

/// Registers the user if there is none, and signs on to that main server; or what SIGNON was answered.
#[track_caller]
pub fn sign_on_at(server: &Server, user: &str, server_id: &str) -> Result<Raw, Answer> {
    register_if_new(server, user);
    let ticket = ticket_at(&mut login_link(server, user, PASSWORD).0, server_id);
    assert_eq!(ticket.server_id, server_id);
    let mut link = connect_main(server, &ticket);
    match link.ask("SIGNON", &[user, &ticket.ticket]) {
        Answer::Ok(_) => Ok(link),
        fail => Err(fail),
    }
}
