//! Every command with arguments that are missing, too many, over-long or ill-coded, and in the wrong state.

use convergia::wire::Code;

use crate::support;
use crate::support::sign_on::PASSWORD;
use crate::support::Answer;
use crate::support::Raw;
use crate::support::Server;

/// What a field is, and so which values are ill-formed.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// A user's name.
    User,
    /// Hex, numbers and such, made by the server or by a program.
    Token,
    /// A password: what it may hold is for the role to say, but a wrong one is never right.
    Secret,
    /// For people: UTF-8.
    Text,
    /// Any bytes; also empty.
    Bytes,
}
use Kind::Bytes;
use Kind::Secret;
use Kind::Text;
use Kind::Token;
use Kind::User;

/// Who may send it.
#[derive(Clone, Copy, PartialEq)]
enum Who {
    Anyone,
    SignedOn,
}
use Who::Anyone;
use Who::SignedOn;

struct Row {
    port: &'static str,
    command: &'static str,
    who: Who,
    /// A well-formed value for each field; `@` stands for a registered user.
    fields: &'static [(Kind, &'static str)],
}

const HEX: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
/// Base64 of 32 bytes: the shape of a public key.
const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// What is not there: a message, and a file of the user.
const MESSAGE: &str = "00112233445566778899aabbccddeeff";
const NONE: &str = "/users/@/none";

const fn row(port: &'static str, command: &'static str, who: Who, fields: &'static [(Kind, &'static str)]) -> Row {
    Row { port, command, who, fields }
}

/// Sections 4, 5 and 6 of the contract, as far as nothing optional stands at the end. The values are well-formed, but not all of them are right: what is tried
/// here is refused in every case.
const ROWS: &[Row] = &[
    row("public_management", "REGISTERACCOUNT", Anyone, &[(User, "newcomer"), (Secret, "a new password")]),
    row("public_management", "CONFIRMREGISTERACCOUNT", Anyone, &[(Token, HEX), (Bytes, "text")]),
    row("public_management", "GETPORTS", Anyone, &[]),
    row("client_management", "LOGIN", Anyone, &[(User, "@"), (Secret, "wrong")]),
    row("client_management", "LOGINKEY", Anyone, &[(User, "@")]),
    row("client_management", "PROVEKEY", Anyone, &[(Token, HEX)]),
    row("client_management", "ADDKEY", SignedOn, &[(Token, KEY)]),
    row("client_management", "LISTKEYS", SignedOn, &[]),
    row("client_management", "REMOVEKEY", SignedOn, &[(Token, KEY)]),
    row("client_management", "CHANGEPASSWORD", SignedOn, &[(Secret, "wrong"), (Secret, "another password")]),
    row("client_management", "REVOKETOKENS", SignedOn, &[]),
    row("client_management", "LISTSERVERS", SignedOn, &[]),
    row("client_management", "REPORTSERVERS", SignedOn, &[(Token, "no-such-server|yes|1")]),
    row("validation", "VALIDATE", Anyone, &[(User, "@"), (Token, HEX)]),
    row("validation", "VALIDATEKEY", Anyone, &[(Token, "no-such-server"), (Token, HEX)]),
    row("client_main", "SIGNON", Anyone, &[(User, "@"), (Token, HEX)]),
    row("client_main", "SENDMESSAGE", SignedOn, &[(User, "@"), (Bytes, "hi")]),
    row("client_main", "GETSERVERMAP", SignedOn, &[]),
    row("client_main", "SETSTATUS", SignedOn, &[(Text, "away")]),
    row("client_main", "GETACCOUNT", SignedOn, &[]),
    row("client_main", "OPERATOR", SignedOn, &[(Text, "STATUS")]),
    row("client_main", "SIGNOFF", SignedOn, &[]),
    row("client_main", "CREATEFOLDER", SignedOn, &[(Token, "/users/nobody/a")]),
    row("client_main", "DELETEFOLDER", SignedOn, &[(Token, NONE)]),
    row("client_main", "CREATEFILE", SignedOn, &[(Token, "/users/nobody/a")]),
    row("client_main", "DELETEFILE", SignedOn, &[(Token, NONE)]),
    row("client_main", "WRITEFILE", SignedOn, &[(Token, NONE), (Token, "0"), (Bytes, "bytes")]),
    row("client_main", "READFILE", SignedOn, &[(Token, NONE), (Token, "0"), (Token, "1")]),
    row("client_main", "MOVE", SignedOn, &[(Token, NONE), (Token, "/users/@/b")]),
    row("client_main", "REPLACE", SignedOn, &[(Token, NONE), (Token, "/users/@/b")]),
    row("client_main", "TRUNCATEFILE", SignedOn, &[(Token, NONE), (Token, "0")]),
    row("client_main", "LISTFOLDER", SignedOn, &[(Token, NONE)]),
    row("client_main", "GETINFO", SignedOn, &[(Token, NONE)]),
    row("client_main", "APPENDOFFLINEMESSAGE", SignedOn, &[(Token, MESSAGE), (Bytes, "bytes")]),
    row("client_main", "SENDOFFLINEMESSAGE", SignedOn, &[(Token, MESSAGE)]),
    row("client_main", "READOFFLINEMESSAGE", SignedOn, &[(Token, MESSAGE), (Token, "0"), (Token, "1")]),
    row("client_main", "DELETEOFFLINEMESSAGE", SignedOn, &[(Token, MESSAGE)]),
    row("client_main", "POSTCHANGE", SignedOn, &[(Token, "none"), (Bytes, "bytes")]),
    row("client_main", "READCHANGES", SignedOn, &[(Token, "none"), (Token, "0"), (Token, "1")]),
    row("client_main", "ACKCHANGES", SignedOn, &[(Token, "none"), (Token, "1")]),
    row("client_main", "LISTPARTICIPANTS", SignedOn, &[(Token, "none")]),
    row("client_main", "LEAVEWORKSPACE", SignedOn, &[(Token, "none")]),
    row("client_main", "DELETEWORKSPACE", SignedOn, &[(Token, "none")]),
    row("client_main", "GETMETADATA", SignedOn, &[(User, "nobody"), (Token, "public-none")]),
    row("client_main", "LISTMETADATA", SignedOn, &[(User, "nobody")]),
    row("client_main", "CREATEVOICE", SignedOn, &[(Text, "none")]),
    row("client_main", "DELETEVOICE", SignedOn, &[(Token, "none")]),
    row("client_main", "LISTVOICE", SignedOn, &[]),
    row("client_main", "GETVOICE", SignedOn, &[(Token, "none")]),
    row("client_main", "JOINVOICE", SignedOn, &[(Token, "none"), (Token, "link")]),
    row("client_main", "LEAVEVOICE", SignedOn, &[(Token, "none")]),
    row("client_main", "KICKVOICE", SignedOn, &[(Token, "none"), (User, "nobody")]),
];

/// A link on which the row's command may be sent; where that needs a sign-on, as `user`.
fn ready_as(server: &Server, row: &Row, user: &str) -> Raw {
    match (row.who, row.port) {
        (Anyone, port) => Raw::connect(&server.addr(port)),
        (SignedOn, "client_management") => support::sign_on::login_link(server, user, PASSWORD).0,
        (SignedOn, _) => support::sign_on::sign_on_again(server, user),
    }
}

fn ready(server: &Server, row: &Row) -> Raw {
    ready_as(server, row, "subject")
}

fn values(row: &Row) -> Vec<Vec<u8>> {
    row.fields.iter().map(|&(_, value)| value.replace('@', "subject").into_bytes()).collect()
}

fn request(link: &mut Raw, command: &str, fields: &[Vec<u8>]) -> Answer {
    let fields: Vec<&[u8]> = fields.iter().map(Vec::as_slice).collect();
    link.request(command, &fields)
}

/// A refusal that is one of `codes`, whose words are for people, after which the connection lives on.
#[track_caller]
fn assert_refused(link: &mut Raw, answer: &Answer, codes: &[Code], what: &str) {
    let Answer::Fail(code, text) = answer else { panic!("{what}: {answer:?}") };
    assert!(codes.contains(code), "{what}: {answer:?}, not one of {codes:?}");
    for leak in ["/src", ".rs:", "SELECT", "INSERT", "rusqlite", "panicked", "Os {", "os error", "Utf8Error"] {
        assert!(!text.contains(leak), "{what}: the words leak {leak:?}: {text}");
    }
    link.assert_alive();
}

/// What a value that cannot be right may be refused with; LIMIT, as tries are counted; UNAVAILABLE, as a report without
/// any server that is there leaves none to choose.
const WRONG: &[Code] = &[
    Code::BadArgs,
    Code::Wrong,
    Code::NotFound,
    Code::Expired,
    Code::Refused,
    Code::Denied,
    Code::Limit,
    Code::Unavailable,
];

fn server() -> Server {
    let server = Server::open();
    support::register_open(&server, "subject", PASSWORD);
    server
}

#[test]
fn before_sign_on_is_signin() {
    let server = server();
    for row in ROWS.iter().filter(|row| row.who == SignedOn) {
        let mut link = Raw::connect(&server.addr(row.port));
        let answer = request(&mut link, row.command, &values(row));
        assert_refused(&mut link, &answer, &[Code::SignIn], row.command);
        // The state is looked at before the arguments: a stranger learns nothing about them.
        let answer = request(&mut link, row.command, &[vec![0xff; 100], vec![b'x'; 100], vec![]]);
        assert_refused(&mut link, &answer, &[Code::SignIn], row.command);
    }
}

#[test]
fn missing_arguments_are_badargs() {
    let server = server();
    for row in ROWS {
        for given in 0..row.fields.len() {
            if given == 0 && row.fields.len() == 1 && matches!(row.fields[0].0, Bytes | Text) {
                continue; // One empty text.
            }
            let mut link = ready(&server, row);
            let answer = request(&mut link, row.command, &values(row)[..given]);
            let what = format!("{} with {given} fields", row.command);
            let codes: &[Code] = if row.fields.len() == 1 { WRONG } else { &[Code::BadArgs] };
            assert_refused(&mut link, &answer, codes, &what);
        }
    }
}

#[test]
fn arguments_too_many_are_refused() {
    let server = server();
    for row in ROWS {
        let last = row.fields.last().map(|field| field.0);
        if matches!(last, Some(Bytes | Text)) {
            continue; // What takes any text takes LFs as well.
        }
        if row.command == "REGISTERACCOUNT" {
            continue; // A password with a LF in it is a password, if policy allows it.
        }
        let mut link = ready(&server, row);
        let mut fields = values(row);
        fields.push(b"and one more".to_vec());
        let answer = request(&mut link, row.command, &fields);
        let codes: &[Code] = if row.fields.is_empty() { &[Code::BadArgs] } else { WRONG };
        assert_refused(&mut link, &answer, codes, &format!("{} with one field more", row.command));
    }
}

#[test]
fn over_long_arguments_are_refused() {
    let server = server();
    for row in ROWS {
        for (at, &(kind, _)) in row.fields.iter().enumerate() {
            for length in [65, 257, 3_000, 900_000] {
                let main = row.who == SignedOn;
                let harmless =
                    matches!(kind, Bytes) || (kind == Secret && length <= 1_024) || (kind == Text && length < 257);
                if harmless || (length > 3_000 && !main) {
                    continue;
                }
                let mut link = ready(&server, row);
                let mut fields = values(row);
                fields[at] = vec![b'x'; length];
                let answer = request(&mut link, row.command, &fields);
                let what = format!("{} with {length} bytes as field {at}", row.command);
                let codes = [WRONG, &[Code::TooLong]].concat();
                assert_refused(&mut link, &answer, &codes, &what);
            }
        }
    }
}

#[test]
fn ill_coded_arguments_are_refused() {
    let server = server();
    let ill: [&[u8]; 7] = [b"\xff\xfe", b"a\x00b", b"a\x1b[2Jb", b"a|b", b"A\xcc\x8a", b"..", b"a b"];
    for row in ROWS {
        for (at, &(kind, _)) in row.fields.iter().enumerate() {
            // Only what is not UTF-8 is no text; a password or a body may hold anything.
            let bad = match kind {
                User | Token => &ill[..],
                Text => &ill[..1],
                Secret | Bytes => continue,
            };
            for value in bad {
                let mut link = ready(&server, row);
                let mut fields = values(row);
                fields[at] = value.to_vec();
                let answer = request(&mut link, row.command, &fields);
                let what = format!("{} with {} as field {at}", row.command, value.escape_ascii());
                assert_refused(&mut link, &answer, WRONG, &what);
            }
        }
    }
}

#[test]
fn any_bytes_as_data_are_answered_and_harm_nothing() {
    let mut server = server();
    let mut random = support::Random::seeded();
    for row in ROWS.iter().filter(|row| row.command != "SIGNOFF") {
        // An account for each, as wrong old passwords may hold up its next sign-on.
        let user = format!("subject-{}", row.command);
        support::register_open(&server, &user, PASSWORD);
        let mut link = ready_as(&server, row, &user);
        for _ in 0..20 {
            let length = random.below(200) as usize;
            let data: Vec<u8> = (0..length).map(|_| random.below(256) as u8).collect();
            // Answered once, with its own ID and command: `request` checks both. OK or FAIL is for the role to say.
            let _ = link.request(row.command, &[&data]);
            let _ = request(&mut link, row.command, &[data.clone(), data.clone(), data]);
        }
        link.assert_alive();
    }
    assert!(server.is_alive());
    crate::assert_others_talk(&server, "after");
}

#[test]
fn a_body_may_hold_any_bytes() {
    let server = server();
    let mut from = support::sign_on(&server, "writer");
    let mut to = support::sign_on(&server, "reader");
    let every: Vec<u8> = (0..=255).chain(0..=255).collect();
    for body in [&every[..], b"", b"~", b"\r\n", b"\0", b"7 SENDMESSAGE bob\n"] {
        from.request("SENDMESSAGE", &[b"reader", body]).ok();
        let [sender, sent_at, got] = to.receive_command("RECEIVEMESSAGE").fields::<3>();
        assert_eq!((sender.as_slice(), got.as_slice()), (&b"writer"[..], body));
        assert!(!sent_at.is_empty() && sent_at.iter().all(u8::is_ascii_digit));
    }
}

#[test]
fn a_status_cannot_forge_a_line_of_the_map() {
    let server = server();
    let mut link = support::sign_on(&server, "forger");
    let before = link.ask("GETSERVERMAP", &[]).text();
    match link.ask("SETSTATUS", &["a|b\n666|evil|client|online||"]) {
        Answer::Ok(_) => {}
        Answer::Fail(code, _) => assert_eq!(code, Code::BadArgs),
    }
    let after = link.ask("GETSERVERMAP", &[]).text();
    assert_eq!(before.lines().count(), after.lines().count(), "{after}");
    assert!(!after.lines().any(|line| line.split('|').nth(1) == Some("evil")), "{after}");
    let mine: Vec<&str> =
        after.lines().find(|line| line.split('|').nth(1) == Some("forger")).unwrap().split('|').collect();
    assert_eq!((mine[2], mine[3]), ("client", "online"), "{after}");
}

#[test]
fn unknown_commands_are_badcommand_on_every_port_for_clients() {
    let server = server();
    for port in ["public_management", "client_management", "validation", "client_main"] {
        let mut link = Raw::connect(&server.addr(port));
        for command in ["NOSUCHCOMMAND", "ping", "X", "Sendmessage", &"X".repeat(300)] {
            let answer = link.request(command, &[b"data"]);
            assert_refused(&mut link, &answer, &[Code::BadCommand], command);
        }
    }
    let mut link = support::sign_on(&server, "explorer");
    let answer = link.request("REGISTERACCOUNT", &[b"a", b"b"]);
    assert_refused(&mut link, &answer, &[Code::BadCommand], "a command of another port");
}

#[test]
fn wrong_user() {
    let server = server();
    support::register_open(&server, "alice", PASSWORD);
    support::register_open(&server, "mallory", PASSWORD);
    // A ticket is good for its user only, and a try with another name spends or spares it, but never admits.
    let ticket = support::sign_on::ticket(&server, "alice");
    let mut link = Raw::connect(&ticket.address);
    let answer = link.ask("SIGNON", &["mallory", &ticket.ticket]);
    assert_refused(&mut link, &answer, &[Code::Wrong], "another's ticket");
    let answer = link.ask("SENDMESSAGE", &["alice", "hi"]);
    assert_refused(&mut link, &answer, &[Code::SignIn], "after it");
    // A ticket is good once.
    let ticket = support::sign_on::ticket(&server, "alice");
    let mut first = Raw::connect(&ticket.address);
    first.ask("SIGNON", &["alice", &ticket.ticket]).ok();
    let mut second = Raw::connect(&ticket.address);
    let answer = second.ask("SIGNON", &["alice", &ticket.ticket]);
    assert_refused(&mut second, &answer, &[Code::Wrong, Code::Expired], "a ticket used again");
    // A token is good for its user only.
    let token = support::login(&server, "alice", PASSWORD);
    let mut link = Raw::connect(&server.addr("client_management"));
    let answer = link.ask("LOGIN", &["mallory", &format!("token:{token}")]);
    assert_refused(&mut link, &answer, &[Code::Wrong], "another's token");
    // Recipients that are not there.
    let answer = first.ask("SENDMESSAGE", &["mallory", "hi"]);
    assert_refused(&mut first, &answer, &[Code::Offline], "registered, not signed on");
    let answer = first.ask("SENDMESSAGE", &["nobody-at-all", "hi"]);
    assert_refused(&mut first, &answer, &[Code::NotFound, Code::Offline], "not registered");
}

#[test]
fn registering_twice_and_confirming_twice() {
    let server = server();
    let mut link = Raw::connect(&server.addr("public_management"));
    for taken in ["subject", "SUBJECT", "Subject"] {
        let answer = link.ask("REGISTERACCOUNT", &[taken, "a password that is long"]);
        assert_refused(&mut link, &answer, &[Code::Exists], taken);
    }
    // Two who ask for one name at the same time: one gets it.
    let ask = |link: &mut Raw| {
        let data = link.ask("REGISTERACCOUNT", &["contested", "a password that is long"]).ok();
        data.split(|&byte| byte == b'\n').next().unwrap().to_vec()
    };
    let (one, other) = (ask(&mut link), ask(&mut link));
    link.request("CONFIRMREGISTERACCOUNT", &[&one, b""]).ok();
    let answer = link.request("CONFIRMREGISTERACCOUNT", &[&other, b""]);
    assert_refused(&mut link, &answer, &[Code::Exists], "the second of two");
    let answer = link.request("CONFIRMREGISTERACCOUNT", &[&one, b""]);
    assert_refused(&mut link, &answer, &[Code::Wrong, Code::Expired, Code::NotFound, Code::Exists], "confirmed twice");
}
