//! Every command against every kind of caller, in homes and workspaces, with lists that are inherited, own, and emptied.

use convergia::storage::accounts;
use convergia::storage::args::Rights;
use convergia::storage::args::ADMINISTER;
use convergia::storage::args::READ;
use convergia::storage::args::WRITE;
use convergia::storage::files;
use convergia::storage::mail;
use convergia::storage::metadata;
use convergia::storage::rights::Subject;
use convergia::storage::tend;
use convergia::storage::tree;
use convergia::storage::workspaces;
use convergia::storage::workspaces::Body;
use convergia::storage::Caller;
use convergia::wire::Code;
use convergia::wire::Fail;
use rusqlite::Connection;

use crate::block;
use crate::caller;
use crate::code;
use crate::database;
use crate::path;
use crate::welcome;

const ALL: Rights = READ | WRITE | ADMINISTER;

/// What a command needs on the folder and on the entry, and how it is done. `base` has the file `f`, an empty one `e`,
/// and the folder `s`.
type Command = (&'static str, Rights, Rights, fn(&Connection, &Caller, &str) -> Result<(), Fail>);

const COMMANDS: &[Command] = &[
    ("LISTFOLDER", READ, 0, |db, who, base| tree::list_folder(db, who, &path(base)).map(drop)),
    ("GETINFO folder", READ, 0, |db, who, base| tree::info(db, who, &path(base), &[]).map(drop)),
    ("GETINFO", 0, READ, |db, who, base| tree::info(db, who, &path(&format!("{base}/f")), &[]).map(drop)),
    ("READFILE", 0, READ, |db, who, base| files::plan_read(db, who, &path(&format!("{base}/f")), 0, 9).map(drop)),
    ("WRITEFILE", 0, WRITE, |db, who, base| {
        files::write(db, who, &path(&format!("{base}/f")), 0, Some(&block(db, 9, 10)), 9).map(drop)
    }),
    ("check WRITEFILE", 0, WRITE, |db, who, base| files::check_write(db, who, &path(&format!("{base}/f")), 0, 9)),
    ("TRUNCATEFILE", 0, WRITE, |db, who, base| files::truncate(db, who, &path(&format!("{base}/f")), 0, 9).map(drop)),
    ("CREATEFILE", WRITE, 0, |db, who, base| tree::create_file(db, who, &path(&format!("{base}/n")), 9).map(drop)),
    ("CREATEFOLDER", WRITE, 0, |db, who, base| tree::create_folder(db, who, &path(&format!("{base}/n")), 9).map(drop)),
    ("DELETEFILE", WRITE, WRITE, |db, who, base| tree::delete_file(db, who, &path(&format!("{base}/f")), 9).map(drop)),
    ("DELETEFOLDER", WRITE, 0, |db, who, base| tree::delete_folder(db, who, &path(&format!("{base}/s")), 9).map(drop)),
    ("MOVE", WRITE, WRITE, |db, who, base| {
        tree::move_entry(db, who, &path(&format!("{base}/f")), &path(&format!("{base}/s/g")), 9).map(drop)
    }),
    ("REPLACE where nothing is", WRITE, WRITE, |db, who, base| {
        tree::replace(db, who, &path(&format!("{base}/f")), &path(&format!("{base}/s/g")), 9).map(drop)
    }),
    ("REPLACE by it", WRITE, WRITE, |db, who, base| {
        tree::replace(db, who, &path(&format!("{base}/f")), &path(&format!("{base}/e")), 9).map(drop)
    }),
    ("REPLACE of it", WRITE, WRITE, |db, who, base| {
        tree::replace(db, who, &path(&format!("{base}/e")), &path(&format!("{base}/f")), 9).map(drop)
    }),
    ("SETPERMISSIONS", 0, ADMINISTER, |db, who, base| {
        tree::set_permissions(db, who, &path(&format!("{base}/f")), &[(Subject::Everybody, READ)], 9)
    }),
    ("SETPERMISSIONS folder", ADMINISTER, 0, |db, who, base| tree::set_permissions(db, who, &path(base), &[], 9)),
];

/// Does every command as everybody; `people` are callers with their rights on the folder and on the file.
fn all(db: &Connection, setting: &str, base: &str, people: &[(&Caller, Rights, Rights)]) {
    for (who, on_folder, on_file) in people {
        for (command, folder, file, run) in COMMANDS {
            db.execute_batch("SAVEPOINT tried").unwrap();
            let done = run(db, who, base);
            db.execute_batch("ROLLBACK TO tried; RELEASE tried").unwrap();
            let may = on_folder & folder == *folder && on_file & file == *file;
            let expected = (!may).then_some(Code::Denied);
            assert_eq!(code(done), expected, "{setting}: {command} by {}", who.name);
        }
        // What is not there says so to those who may look.
        let expected = if on_folder & READ == 0 { Code::Denied } else { Code::NotFound };
        let missing = path(&format!("{base}/none"));
        assert_eq!(code(files::plan_read(db, who, &missing, 0, 1)), Some(expected), "{setting}: {}", who.name);
        assert_eq!(code(tree::info(db, who, &path(&format!("{base}/none/x")), &[])), Some(expected), "{setting}");
    }
}

fn fill(db: &Connection, owner: &Caller, base: &str) {
    if !base.starts_with("/workspaces/team") || base.len() > "/workspaces/team".len() {
        tree::create_folder(db, owner, &path(base), 2).unwrap();
    }
    tree::create_folder(db, owner, &path(&format!("{base}/s")), 2).unwrap();
    let file = path(&format!("{base}/f"));
    tree::create_file(db, owner, &file, 2).unwrap();
    tree::create_file(db, owner, &path(&format!("{base}/e")), 2).unwrap();
    files::write(db, owner, &file, 0, Some(&block(db, 1, 10)), 2).unwrap();
}

fn set(db: &Connection, who: &Caller, at: &str, list: &[(&Caller, Rights)]) {
    let list: Vec<_> = list.iter().map(|(who, rights)| (Subject::Account((*who).clone()), *rights)).collect();
    tree::set_permissions(db, who, &path(at), &list, 3).unwrap();
}

struct People {
    alice: Caller,
    reader: Caller,
    writer: Caller,
    admin: Caller,
    stranger: Caller,
    gone: Caller,
    never: Caller,
}

fn people(db: &Connection) -> People {
    let gone = welcome(db, 6, "gone");
    People {
        alice: welcome(db, 1, "alice"),
        reader: welcome(db, 2, "reader"),
        writer: welcome(db, 3, "writer"),
        admin: welcome(db, 4, "admin"),
        stranger: welcome(db, 5, "stranger"),
        gone,
        never: caller(7, "never"),
    }
}

#[test]
fn in_a_home() {
    let db = database();
    let p = people(&db);
    fill(&db, &p.alice, "/users/alice/d");
    let others = [&p.reader, &p.writer, &p.admin, &p.stranger, &p.gone, &p.never];
    let nobody: Vec<_> = others.iter().map(|who| (*who, 0, 0)).chain([(&p.alice, ALL, ALL)]).collect();
    all(&db, "private", "/users/alice/d", &nobody);

    let list = [(&p.reader, READ), (&p.writer, READ | WRITE), (&p.admin, ADMINISTER), (&p.gone, ALL)];
    set(&db, &p.alice, "/users/alice/d", &list);
    assert!(accounts::remove(&db, p.gone.account).unwrap());
    let inherited = [
        (&p.alice, ALL, ALL),
        (&p.reader, READ, READ),
        (&p.writer, READ | WRITE, READ | WRITE),
        (&p.admin, ADMINISTER, ADMINISTER),
        (&p.stranger, 0, 0),
        (&p.gone, 0, 0),
        (&p.never, 0, 0),
    ];
    all(&db, "inherited", "/users/alice/d", &inherited);

    set(&db, &p.alice, "/users/alice/d/f", &[(&p.reader, READ | WRITE), (&p.stranger, READ)]);
    let own = [
        (&p.alice, ALL, ALL),
        (&p.reader, READ, READ | WRITE),
        (&p.writer, READ | WRITE, 0),
        (&p.admin, ADMINISTER, 0),
        (&p.stranger, 0, READ),
        (&p.gone, 0, 0),
    ];
    all(&db, "own", "/users/alice/d", &own);
    let seen = |who: &Caller| tree::list_folder(&db, who, &path("/users/alice/d")).unwrap().len();
    assert_eq!((seen(&p.alice), seen(&p.reader), seen(&p.writer)), (3, 3, 2), "a list shows what may be read");

    set(&db, &p.alice, "/users/alice/d/f", &[]);
    all(&db, "emptied", "/users/alice/d", &inherited);

    // A list whose only subject is gone is still a list: nobody gains by it.
    welcome(&db, 8, "short");
    set(&db, &p.alice, "/users/alice/d/f", &[(&caller(8, "short"), READ)]);
    accounts::remove(&db, 8).unwrap();
    while tend::step(&db, 100, 9).unwrap() {}
    let left = [(&p.alice, ALL, ALL), (&p.reader, READ, 0), (&p.writer, READ | WRITE, 0)];
    all(&db, "of a removed account", "/users/alice/d", &left);

    tree::set_permissions(&db, &p.alice, &path("/users/alice"), &[(Subject::Everybody, READ)], 3).unwrap();
    set(&db, &p.alice, "/users/alice/d", &[]);
    set(&db, &p.alice, "/users/alice/d/f", &[]);
    let public = [(&p.alice, ALL, ALL), (&p.reader, READ, READ), (&p.stranger, READ, READ), (&p.gone, 0, 0)];
    all(&db, "public", "/users/alice/d", &public);
    let names: Vec<String> =
        tree::list_folder(&db, &p.stranger, &path("/users")).unwrap().into_iter().map(|entry| entry.name).collect();
    assert_eq!(names, ["alice", "stranger"]);
    let info = tree::info(&db, &p.stranger, &path("/users/alice/d/f"), &[1]).unwrap();
    assert_eq!(info.permissions, ["alice rwa", "* r"]);
    assert_eq!((info.owner.as_deref(), info.copies), (Some("alice"), Some(1)));
    assert_eq!(info.hash.map(|hash| hash.0), Some([1; 32]));
}

#[test]
fn in_a_workspace() {
    let db = database();
    let p = people(&db);
    let (member, removed) = (&p.writer, &p.admin);
    workspaces::create(&db, &p.alice, "team", &[member.clone(), removed.clone(), p.gone.clone()], 1).unwrap();
    fill(&db, &p.alice, "/workspaces/team");
    let rw = READ | WRITE;
    let before = [(&p.alice, ALL, ALL), (member, rw, rw), (removed, rw, rw), (&p.gone, rw, rw), (&p.stranger, 0, 0)];
    all(&db, "workspace", "/workspaces/team", &before);
    workspaces::set_participants(&db, &p.alice, "team", &[member.clone(), p.gone.clone()], 2).unwrap();
    accounts::remove(&db, p.gone.account).unwrap();
    let after = [(&p.alice, ALL, ALL), (member, rw, rw), (removed, 0, 0), (&p.gone, 0, 0), (&p.stranger, 0, 0)];
    all(&db, "workspace, some removed", "/workspaces/team", &after);

    set(&db, &p.alice, "/workspaces/team", &[(&p.reader, READ)]);
    let shared = [(&p.alice, ALL, ALL), (member, rw, rw), (&p.reader, READ, READ), (removed, 0, 0)];
    all(&db, "workspace, shared", "/workspaces/team", &shared);
    set(&db, &p.alice, "/workspaces/team/f", &[(member, READ)]);
    let own = [(&p.alice, ALL, ALL), (member, rw, READ), (&p.reader, READ, 0), (removed, 0, 0)];
    all(&db, "workspace, own list", "/workspaces/team", &own);

    // Its commands, by those who take part and those who do not.
    let commands = |who: &Caller| {
        [
            code(workspaces::post(&db, who, "team", Body::Here(b"x"), 5)),
            code(workspaces::read(&db, who, "team", 0, 9)),
            code(workspaces::ack(&db, who, "team", 1)),
            code(workspaces::participants(&db, who, "team")),
            code(workspaces::check_post(&db, who, "team", 5)),
        ]
    };
    assert_eq!(commands(&p.alice), [None; 5]);
    assert_eq!(commands(member), [None; 5]);
    for who in [removed, &p.reader, &p.stranger] {
        assert_eq!(commands(who), [Some(Code::NotFound); 5], "{}", who.name);
    }
    for who in [&p.gone, &p.never] {
        assert_eq!(commands(who), [Some(Code::Denied); 5], "{}", who.name);
    }
    assert_eq!(code(workspaces::set_participants(&db, member, "team", &[], 5)), Some(Code::Denied));
    assert_eq!(code(workspaces::delete(&db, member, "team")), Some(Code::Denied));
    assert_eq!(code(workspaces::delete(&db, &p.stranger, "team")), Some(Code::NotFound));
    assert_eq!(code(workspaces::leave(&db, &p.alice, "team")), Some(Code::Refused));
    assert_eq!(code(workspaces::leave(&db, member, "team")), None);
    assert_eq!(commands(member), [Some(Code::NotFound); 5]);
    assert_eq!(code(workspaces::delete(&db, &p.alice, "team")), None);
    assert_eq!(code(tree::list_folder(&db, &p.alice, &path("/workspaces/team"))), Some(Code::Denied));
    while tend::step(&db, 2, 9).unwrap() {}
    assert_eq!(accounts::usage(&db, 1).unwrap().used, 0);
    crate::model::consistent(&db);
}

#[test]
fn moved_between_owners() {
    let db = database();
    let p = people(&db);
    fill(&db, &p.alice, "/users/alice/d");
    fill(&db, &p.writer, "/users/writer/d");
    workspaces::create(&db, &p.reader, "team", std::slice::from_ref(&p.writer), 1).unwrap();
    set(&db, &p.alice, "/users/alice/d", &[(&p.writer, READ | WRITE)]);
    set(&db, &p.writer, "/users/writer/d", &[(&p.stranger, READ)]);
    let used = || [1, 2, 3].map(|n| accounts::usage(&db, n).unwrap().used);
    assert_eq!(used(), [10, 0, 10]);
    let go = |who: &Caller, from: &str, to: &str| code(tree::move_entry(&db, who, &path(from), &path(to), 9));

    assert_eq!(go(&p.writer, "/users/writer/d", "/users/alice/x"), Some(Code::Denied));
    assert_eq!(go(&p.stranger, "/users/writer/d", "/users/stranger/x"), Some(Code::Denied));
    assert_eq!(go(&p.writer, "/users/writer/d", "/users/alice/d/x"), None);
    assert_eq!(used(), [20, 0, 0], "another home, another payer");
    assert_eq!(code(tree::list_folder(&db, &p.stranger, &path("/users/alice/d/x"))), None, "its own list went with it");
    assert_eq!(code(tree::list_folder(&db, &p.writer, &path("/users/alice/d/x"))), Some(Code::Denied));
    assert_eq!(code(tree::list_folder(&db, &p.alice, &path("/users/alice/d/x"))), None);

    assert_eq!(go(&p.writer, "/users/alice/d/f", "/workspaces/team/f"), None);
    let posted = workspaces::read(&db, &p.reader, "team", 0, 9).unwrap();
    let told = b"file\ncreated\n/workspaces/team/f";
    assert_eq!(posted[0].body.as_deref(), Some(&told[..]), "where it came from is not told");
    assert_eq!(used(), [10, 10, told.len() as u64], "the file is paid by the creator, the change by its author");
    accounts::set_quota(&db, 3, Some(9)).unwrap();
    db.execute_batch("SAVEPOINT full").unwrap();
    assert_eq!(go(&p.writer, "/workspaces/team/f", "/users/writer/f"), Some(Code::Quota));
    db.execute_batch("ROLLBACK TO full; RELEASE full").unwrap();
    assert_eq!(used(), [10, 10, told.len() as u64]);
    crate::model::consistent(&db);
}

#[test]
fn replaced_at_once() {
    let db = database();
    let p = people(&db);
    fill(&db, &p.alice, "/users/alice/d");
    workspaces::create(&db, &p.reader, "team", &[p.alice.clone(), p.writer.clone()], 1).unwrap();
    let at = path("/users/alice/d/f");
    set(&db, &p.alice, "/users/alice/d", &[(&p.writer, READ | WRITE)]);
    set(&db, &p.alice, "/users/alice/d/f", &[(&p.writer, READ | WRITE), (&p.stranger, READ)]);
    let new = |who: &Caller, at: &str, bytes: u32| {
        tree::create_file(&db, who, &path(at), 5).unwrap();
        files::write(&db, who, &path(at), 0, Some(&block(&db, bytes as u8 + 100, bytes)), 5).unwrap();
    };
    let go = |who: &Caller, from: &str, to: &str| tree::replace(&db, who, &path(from), &path(to), 9);
    let used = || [1, 2, 3].map(|n| accounts::usage(&db, n).unwrap().used);

    // By another, from another's home: rights, owner and time of creation stay, and the place's owner pays.
    new(&p.writer, "/users/writer/n", 30);
    set(&db, &p.writer, "/users/writer/n", &[(&p.admin, READ)]);
    assert_eq!(used(), [10, 0, 30]);
    assert_eq!(go(&p.writer, "/users/writer/n", at.as_str()).unwrap(), []);
    assert_eq!(used(), [30, 0, 0]);
    let info = tree::info(&db, &p.alice, &at, &[]).unwrap();
    assert_eq!((info.size, info.owner.as_deref(), info.created, info.modified), (30, Some("alice"), 2, 5));
    let mut rights = info.permissions;
    rights.sort();
    assert_eq!(rights, ["alice rwa", "stranger r", "writer rw"]);
    assert_eq!(code(tree::info(&db, &p.writer, &path("/users/writer/n"), &[])), Some(Code::NotFound));
    // What had no list of its own has none afterwards.
    set(&db, &p.alice, "/users/alice/d", &[(&p.stranger, READ)]);
    assert_eq!(go(&p.alice, at.as_str(), "/users/alice/d/e").unwrap(), []);
    assert_eq!(
        tree::info(&db, &p.alice, &path("/users/alice/d/e"), &[]).unwrap().permissions,
        ["alice rwa", "stranger r"]
    );
    crate::model::consistent(&db);

    // Neither a folder nor by a folder; onto itself nothing happens.
    for (from, to) in [("e", "s"), ("s", "e")] {
        let done = go(&p.alice, &format!("/users/alice/d/{from}"), &format!("/users/alice/d/{to}"));
        assert_eq!(code(done), Some(Code::Exists), "{from} {to}");
    }
    assert_eq!(code(go(&p.alice, "/users/alice/d", "/users/alice/d/s/x")), Some(Code::BadArgs));
    assert_eq!(code(go(&p.alice, "/users/alice/d", "/users/alice/d/e")), Some(Code::BadArgs));
    assert_eq!(go(&p.alice, "/users/alice/d/e", "/users/alice/d/e").unwrap(), []);
    assert_eq!(code(go(&p.alice, "/users/alice/d/s", "/users/alice/d/t")), None, "a folder where nothing is");
    assert_eq!(code(go(&p.alice, "/users/alice/d/none", "/users/alice/d/e")), Some(Code::NotFound));
    assert_eq!(code(go(&p.alice, "/users/alice/d/e", "/users/alice")), Some(Code::Denied));
    assert_eq!(code(go(&p.alice, "/users/alice/d/e", "/users")), Some(Code::Denied));
    assert_eq!(used(), [30, 0, 0]);

    // A quota counts what remains.
    accounts::set_quota(&db, 1, Some(40)).unwrap();
    new(&p.writer, "/users/writer/n", 40);
    new(&p.writer, "/users/writer/o", 41);
    tree::set_permissions(&db, &p.alice, &path("/users/alice/d"), &[(Subject::Everybody, WRITE)], 9).unwrap();
    db.execute_batch("SAVEPOINT full").unwrap();
    assert_eq!(code(go(&p.writer, "/users/writer/o", "/users/alice/d/e")), Some(Code::Quota));
    db.execute_batch("ROLLBACK TO full; RELEASE full").unwrap();
    assert_eq!(code(go(&p.writer, "/users/writer/n", "/users/alice/d/e")), None);
    assert_eq!(used(), [40, 0, 41]);

    // A workspace tells of it.
    let told = |posted: Vec<convergia::storage::Posted>| {
        posted
            .into_iter()
            .map(|one| String::from_utf8(one.body.unwrap()).unwrap().replace('\n', " "))
            .collect::<Vec<_>>()
    };
    new(&p.writer, "/workspaces/team/a", 1);
    new(&p.writer, "/workspaces/team/b", 1);
    new(&p.writer, "/workspaces/team/.part-1", 1);
    let replaced = told(go(&p.writer, "/workspaces/team/.part-1", "/workspaces/team/a").unwrap());
    assert_eq!(replaced, ["file written /workspaces/team/a"]);
    let moved = told(go(&p.writer, "/workspaces/team/b", "/workspaces/team/a").unwrap());
    assert_eq!(moved, ["file moved /workspaces/team/b /workspaces/team/a"]);
    let came = told(go(&p.writer, "/users/writer/o", "/workspaces/team/a").unwrap());
    assert_eq!(came, ["file written /workspaces/team/a"], "where it came from is not told");
    while tend::step(&db, 10, 9).unwrap() {}
    crate::model::consistent(&db);
}

#[test]
fn mail_and_metadata() {
    let db = database();
    let p = people(&db);
    accounts::remove(&db, p.gone.account).unwrap();
    let id = [7; 16];
    mail::init(&db, &p.alice, &id, &[p.reader.clone(), p.writer.clone()], 1).unwrap();
    let tried = |who: &Caller| {
        db.execute_batch("SAVEPOINT tried").unwrap();
        let done = [
            code(mail::plan_read(&db, who, &id, 0, 1)),
            code(mail::append(&db, who, &id, Some(&block(&db, 1, 10)), 2)),
            code(mail::send(&db, who, &id, 3)),
        ];
        db.execute_batch("ROLLBACK TO tried; RELEASE tried; SAVEPOINT tried").unwrap();
        let deleted = code(mail::delete(&db, who, &id));
        db.execute_batch("ROLLBACK TO tried; RELEASE tried").unwrap();
        [done[0], done[1], done[2], deleted]
    };
    let (no, denied) = (Some(Code::NotFound), Some(Code::Denied));
    assert_eq!(tried(&p.alice), [None; 4]);
    for who in [&p.reader, &p.stranger] {
        assert_eq!(tried(who), [no; 4], "before it is sent it is the sender's alone");
    }
    assert_eq!(tried(&p.gone), [denied; 4]);
    mail::append(&db, &p.alice, &id, Some(&block(&db, 1, 10)), 2).unwrap();
    assert_eq!(mail::send(&db, &p.alice, &id, 3).unwrap().recipients, [2, 3]);
    assert_eq!(tried(&p.reader), [None, no, no, None]);
    assert_eq!(tried(&p.alice), [no; 4]);
    assert_eq!(tried(&p.stranger), [no; 4]);
    assert_eq!(accounts::usage(&db, 1).unwrap().used, 10);
    mail::delete(&db, &p.reader, &id).unwrap();
    assert_eq!(tried(&p.reader), [no; 4]);
    assert_eq!(accounts::usage(&db, 1).unwrap().used, 10, "one has it still");
    accounts::remove(&db, p.writer.account).unwrap();
    while tend::step(&db, 1, 4).unwrap() {}
    assert_eq!(accounts::usage(&db, 1).unwrap().used, 0, "who is removed has deleted it");

    metadata::set(&db, &p.alice, "public-name", b"Alice").unwrap();
    metadata::set(&db, &p.alice, "secret", b"1").unwrap();
    let get = |who: &Caller, key: &str| metadata::get(&db, who, "ALICE", key);
    assert_eq!(get(&p.alice, "secret").unwrap(), b"1");
    assert_eq!(get(&p.stranger, "public-name").unwrap(), b"Alice");
    assert_eq!(code(get(&p.stranger, "secret")), Some(Code::Denied));
    assert_eq!(code(get(&p.stranger, "absent")), Some(Code::Denied));
    assert_eq!(code(get(&p.stranger, "public-x")), Some(Code::NotFound));
    assert_eq!(code(get(&p.gone, "public-name")), Some(Code::Denied));
    assert_eq!(metadata::list(&db, &p.alice, "alice").unwrap().len(), 2);
    assert_eq!(metadata::list(&db, &p.stranger, "alice").unwrap(), [("public-name".to_owned(), 5)]);
    let (key, value) = ("k", vec![0; 256 << 10]);
    assert_eq!(code(metadata::set(&db, &p.stranger, key, &value)), Some(Code::Quota));
    assert_eq!(code(metadata::set(&db, &p.stranger, key, &value[1..])), None);
    assert_eq!(code(metadata::set(&db, &p.stranger, "l", b"1")), Some(Code::Quota));
    assert_eq!(code(metadata::set(&db, &p.stranger, key, b"")), None);
    assert_eq!(code(metadata::set(&db, &p.stranger, "l", b"1")), None);
}

#[test]
fn what_is_not_whole_yet_is_not_told_of() {
    let db = database();
    let p = people(&db);
    workspaces::create(&db, &p.alice, "team", &[], 1).unwrap();
    let (part, other) = (path("/workspaces/team/.part-1"), path("/workspaces/team/.part-2"));
    let (whole, end) = (path("/workspaces/team/a"), path("/workspaces/team/b"));
    let told = |posted: Vec<convergia::storage::Posted>| {
        posted
            .into_iter()
            .map(|one| String::from_utf8(one.body.unwrap()).unwrap().replace('\n', " "))
            .collect::<Vec<_>>()
    };
    let none: [&str; 0] = [];
    assert_eq!(told(tree::create_file(&db, &p.alice, &part, 2).unwrap()), none);
    assert_eq!(told(files::write(&db, &p.alice, &part, 0, Some(&block(&db, 1, 10)), 2).unwrap()), none);
    assert_eq!(told(tree::move_entry(&db, &p.alice, &part, &other, 2).unwrap()), none);
    assert_eq!(told(tree::move_entry(&db, &p.alice, &other, &whole, 2).unwrap()), ["file written /workspaces/team/a"]);
    let moved = told(tree::move_entry(&db, &p.alice, &whole, &end, 2).unwrap());
    assert_eq!(moved, ["file moved /workspaces/team/a /workspaces/team/b"]);
    assert_eq!(told(tree::move_entry(&db, &p.alice, &end, &part, 2).unwrap()), ["file deleted /workspaces/team/b"]);
    assert_eq!(told(tree::delete_file(&db, &p.alice, &part, 2).unwrap()), none);
}

#[test]
fn what_is_told_and_sent_back_gives_nobody_more_than_the_place_did() {
    let db = database();
    let p = people(&db);
    let (member, at) = (&p.writer, "/workspaces/team");
    workspaces::create(&db, &p.alice, "team", std::slice::from_ref(member), 1).unwrap();
    let told = || tree::info(&db, &p.alice, &path(at), &[1]).unwrap().permissions;
    assert_eq!(told(), ["alice rwa", "writer rw"]);
    let rw = READ | WRITE;
    set(&db, &p.alice, at, &[(&p.alice, ALL), (member, rw), (&p.reader, READ)]);
    assert_eq!(told(), ["alice rwa", "writer rw", "reader r"]);
    set(&db, &p.alice, at, &[(&p.alice, ALL), (member, ALL), (&p.reader, READ)]);
    let mut once = told();
    once.sort();
    assert_eq!(once, ["alice rwa", "reader r", "writer rwa"], "a user once, with all rights they have");
    set(&db, &p.alice, at, &[(&p.alice, ALL), (member, rw), (&p.reader, READ)]);
    workspaces::set_participants(&db, &p.alice, "team", &[], 2).unwrap();
    assert_eq!(told(), ["alice rwa", "reader r"]);
    assert_eq!(tree::list_folder(&db, member, &path(at)).unwrap_err().code, Code::Denied);
    // A list of nobody else is a list.
    tree::create_folder(&db, &p.alice, &path("/workspaces/team/own"), 3).unwrap();
    set(&db, &p.alice, "/workspaces/team/own", &[(&p.alice, ALL)]);
    assert_eq!(tree::list_folder(&db, &p.reader, &path("/workspaces/team/own")).unwrap_err().code, Code::Denied);
    assert_eq!(tree::list_folder(&db, &p.alice, &path("/workspaces/team/own")).unwrap(), []);
}
