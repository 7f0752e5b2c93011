//! The four policies of `management.registration` (contract 4). What needs a clock or a look at the answer of a captcha
//! is in `simulated`.

use convergia::wire::Code;

use crate::assert_fails;
use crate::log_in;
use crate::support;
use crate::support::sign_on::PASSWORD;
use crate::support::Answer;
use crate::support::Raw;
use crate::support::Server;

/// REGISTERACCOUNT: the request id and the picture.
#[track_caller]
fn begin(link: &mut Raw, user: &str) -> (String, Vec<u8>) {
    let data = link.ask("REGISTERACCOUNT", &[user, PASSWORD]).ok();
    let at = data.iter().position(|byte| *byte == b'\n').expect("request-id LF picture");
    (String::from_utf8(data[..at].to_vec()).expect("UTF-8"), data[at + 1..].to_vec())
}

fn confirm(link: &mut Raw, id: &str, text: &str) -> Answer {
    link.ask("CONFIRMREGISTERACCOUNT", &[id, text])
}

#[test]
fn by_default_a_captcha_stands_in_front_and_a_wrong_text_voids_the_request() {
    let server = Server::start(&[]);
    let mut link = Raw::connect(&server.addr("public_management"));
    let (id, png) = begin(&mut link, "alice");
    assert!(png.starts_with(b"\x89PNG\r\n\x1a\n"), "not a PNG");
    let decoder = png::Decoder::new(std::io::Cursor::new(&png));
    let size = decoder.read_info().expect("a PNG that can be read").info().size();
    assert!(size.0 >= 100 && size.1 >= 40, "{size:?}");
    // 0 is in no captcha.
    assert_fails(&confirm(&mut link, &id, "00000"), Code::Wrong);
    assert_fails(&confirm(&mut link, &id, "00000"), Code::Wrong);
    assert_fails(&log_in(&server, "alice", PASSWORD), Code::Wrong);
    let (other, _) = begin(&mut link, "alice");
    assert_ne!(other, id);
    assert_fails(&confirm(&mut link, &other, ""), Code::Wrong);
    assert_fails(&confirm(&mut link, "no such request", "ACEKM"), Code::Wrong);
    assert_fails(&log_in(&server, "alice", PASSWORD), Code::Wrong);
}

#[test]
fn open_takes_any_text_once() {
    let server = Server::open();
    let mut link = Raw::connect(&server.addr("public_management"));
    let (id, png) = begin(&mut link, "alice");
    assert!(png.is_empty());
    confirm(&mut link, &id, "any text").ok();
    assert_fails(&confirm(&mut link, &id, "any text"), Code::Wrong);
    log_in(&server, "alice", PASSWORD).ok();
    // Names are compared without regard to case.
    assert_fails(&link.ask("REGISTERACCOUNT", &["ALICE", PASSWORD]), Code::Exists);
}

#[test]
fn two_requests_for_one_name_make_one_account() {
    let server = Server::open();
    let mut link = Raw::connect(&server.addr("public_management"));
    let (first, _) = begin(&mut link, "alice");
    let (second, _) = begin(&mut link, "Alice");
    confirm(&mut link, &second, "").ok();
    assert_fails(&confirm(&mut link, &first, ""), Code::Exists);
    log_in(&server, "alice", PASSWORD).ok();
}

/// `convergia admin invite`.
#[track_caller]
fn invite(server: &Server) -> String {
    let made: serde_json::Value =
        serde_json::from_str(&support::admin(server, &["invite", "--days", "1", "--json"])).expect("JSON");
    made["invite"].as_str().expect("a code").to_owned()
}

#[test]
fn an_invite_is_good_for_one_account() {
    let server = Server::start(&["--set", "management.registration=invite"]);
    let code = invite(&server);
    let mut link = Raw::connect(&server.addr("public_management"));
    let (id, png) = begin(&mut link, "alice");
    assert!(png.is_empty());
    assert_fails(&confirm(&mut link, &id, "K7QM-2XWP-9RTV-HB3N"), Code::Wrong);
    assert_fails(&confirm(&mut link, &id, &code), Code::Wrong);
    let (id, _) = begin(&mut link, "alice");
    assert_fails(&confirm(&mut link, &id, ""), Code::Wrong);
    // As a person may type it. What was refused before has not used it up.
    let (id, _) = begin(&mut link, "alice");
    confirm(&mut link, &id, &code.to_lowercase().replace('-', " ")).ok();
    log_in(&server, "alice", PASSWORD).ok();
    let (id, _) = begin(&mut link, "bob");
    assert_fails(&confirm(&mut link, &id, &code), Code::Wrong);
    assert_fails(&log_in(&server, "bob", PASSWORD), Code::Wrong);
}

/// Two people with one code, at the same moment: one of them gets in.
#[test]
fn an_invite_shown_twice_at_once_makes_one_account() {
    let server = Server::start(&["--set", "management.registration=invite"]);
    let code = invite(&server);
    let mut link = Raw::connect(&server.addr("public_management"));
    let requests: Vec<String> = (0..6).map(|n| begin(&mut link, &format!("user{n}")).0).collect();
    for (n, request) in requests.iter().enumerate() {
        link.send(&format!("c{n}"), "CONFIRMREGISTERACCOUNT", &[request.as_bytes(), code.as_bytes()]);
    }
    let answers: Vec<Answer> = (0..requests.len()).map(|n| link.answer(&format!("c{n}"))).collect();
    assert_eq!(answers.iter().filter(|answer| matches!(answer, Answer::Ok(_))).count(), 1, "{answers:?}");
    let users = support::admin(&server, &["users", "--json"]);
    assert_eq!(users.lines().count(), 1, "{users}");
}

#[test]
fn closed_refuses_and_the_operator_still_adds() {
    let server = Server::start(&["--set", "management.registration=closed"]);
    let mut link = Raw::connect(&server.addr("public_management"));
    assert_fails(&link.ask("REGISTERACCOUNT", &["alice", PASSWORD]), Code::Refused);
    assert_fails(&confirm(&mut link, &"0".repeat(64), ""), Code::Refused);
    let file = server.data_dir().join("password");
    std::fs::write(&file, PASSWORD).expect("a password file");
    support::admin(&server, &["user", "add", "alice", "--password-file", file.to_str().expect("UTF-8")]);
    log_in(&server, "alice", PASSWORD).ok();
}
