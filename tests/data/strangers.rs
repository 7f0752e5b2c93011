//! The ports of storage, and those who have no business there.

use convergia::wire::Code;

use crate::support::Raw;
use crate::support::Server;

/// A command and its fields.
type Asked = (&'static str, &'static [&'static str]);

#[test]
fn nobody_is_heard_without_the_handshake() {
    let server = Server::open();
    let asked: &[(&str, &[Asked])] = &[
        (
            "datamanagement_management",
            &[
                ("STORAGESERVER", &["data", "x", ":1", "00", "key", "1"]),
                ("WHOIS", &["alice"]),
                ("ACCOUNTS", &["1"]),
                ("CHECKRECEIPT", &["main", "alice", "1", ""]),
                ("STORAGESTATUS", &["a|b"]),
                ("JOIN", &[]),
            ],
        ),
        ("main_datamanagement", &[("USER", &["alice", "1", ""]), ("DO", &["1", "LISTFOLDER", "/users/alice"])]),
        (
            "data_datamanagement",
            &[("DATASERVER", &["x", ":1", "00", "1", "1", "1", "1"]), ("SPACE", &["1", "1", "1"]), ("ROTTEN", &["00"])],
        ),
        ("data_data", &[("FETCHBLOCK", &["00", "0", "1", "x"])]),
    ];
    for (port, commands) in asked {
        let mut link = Raw::connect(&server.addr(port));
        for (command, fields) in *commands {
            assert_eq!(link.ask(command, fields).code(), Code::SignIn, "{command} on {port}");
        }
        assert_eq!(link.ask("HELLO", &["data"]).code(), Code::Denied, "{port}");
    }
}
