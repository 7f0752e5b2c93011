//! The tables.

/// The tables of storage: one migration. Times are Unix ms, sizes bytes. Everything that is repeated is a small number.
///
/// `objects` holds a row for each folder, file, message and large change, from one sequence of ids, so that rights, extents
/// and trash need no kinds of their own. A block is a row as long as an extent points to it. Where its copies are is a row
/// of `places`, shared by all blocks with copies on just the same servers: what is short of copies is found by looking at
/// the places, of which there are few, and never by looking at blocks.
pub const SCHEMA: &str = "
CREATE TABLE settings (
    key INTEGER PRIMARY KEY,              -- 1: quota of an account without its own
    value INTEGER NOT NULL
) STRICT;
CREATE TABLE accounts (
    account INTEGER PRIMARY KEY,
    name TEXT NOT NULL,                   -- as registered
    folded TEXT NOT NULL UNIQUE,          -- as compared
    home INTEGER NOT NULL UNIQUE,         -- its folder in objects
    used INTEGER NOT NULL DEFAULT 0,      -- bytes that its quota pays
    items INTEGER NOT NULL DEFAULT 0,     -- rows that it caused
    metadata INTEGER NOT NULL DEFAULT 0,  -- bytes of its metadata
    inbox INTEGER NOT NULL DEFAULT 0,     -- messages that wait for it
    quota INTEGER                         -- its own
) STRICT;
CREATE TABLE leaving (                    -- removed accounts whose rows are not all gone
    account INTEGER PRIMARY KEY
) STRICT;
CREATE TABLE objects (
    id INTEGER PRIMARY KEY AUTOINCREMENT, -- never used again
    size INTEGER NOT NULL,                -- a folder: how many entries it has
    extents INTEGER NOT NULL,             -- how many it has
    version INTEGER NOT NULL,             -- grows with each change of the bytes
    created INTEGER NOT NULL,
    modified INTEGER NOT NULL,
    owner INTEGER NOT NULL,               -- the account that made it
    poster INTEGER,                       -- whose `written` was posted last, and when
    posted INTEGER,
    hash BLOB                             -- of all bytes, at this version
) STRICT;
CREATE TABLE entries (
    parent INTEGER NOT NULL,
    name TEXT NOT NULL,
    id INTEGER NOT NULL,                  -- its row in objects
    kind INTEGER NOT NULL,                -- 0 folder, 1 file; + 2 with a list of rights of its own
    PRIMARY KEY (parent, name)
) STRICT, WITHOUT ROWID;
CREATE TABLE acl (
    object INTEGER NOT NULL,
    account INTEGER NOT NULL,             -- 0: everybody; -1: a user of another realm
    remote TEXT NOT NULL,                 -- realm::user, or nothing
    rights INTEGER NOT NULL,              -- 1 r, 2 w, 4 a
    PRIMARY KEY (object, account, remote)
) STRICT, WITHOUT ROWID;
CREATE INDEX acl_by_account ON acl (account, object);
CREATE TABLE extents (
    object INTEGER NOT NULL,
    at INTEGER NOT NULL,                  -- the first byte in the object
    length INTEGER NOT NULL,
    block INTEGER NOT NULL,
    skip INTEGER NOT NULL,                -- the first byte in the block
    PRIMARY KEY (object, at)
) STRICT, WITHOUT ROWID;
CREATE TABLE servers (
    no INTEGER PRIMARY KEY AUTOINCREMENT, -- never used again
    id TEXT NOT NULL UNIQUE
) STRICT;
CREATE TABLE places (
    id INTEGER PRIMARY KEY,
    servers BLOB NOT NULL UNIQUE,         -- their numbers in order, 4 bytes each
    blocks INTEGER NOT NULL,              -- how many blocks have just these copies
    bytes INTEGER NOT NULL                -- and their sizes together
) STRICT;
CREATE TABLE blocks (
    id INTEGER PRIMARY KEY,
    hash BLOB NOT NULL UNIQUE,
    size INTEGER NOT NULL,
    refs INTEGER NOT NULL,                -- extents that point to it
    place INTEGER NOT NULL,
    seqs BLOB NOT NULL                    -- 8 bytes for each server of the place: the number of the put
) STRICT;
CREATE INDEX blocks_by_place ON blocks (place);
CREATE TABLE garbage (                    -- what data servers shall delete
    server INTEGER NOT NULL,
    hash BLOB NOT NULL,
    seq INTEGER NOT NULL,
    PRIMARY KEY (server, hash)
) STRICT, WITHOUT ROWID;
CREATE TABLE trash (                      -- trees and objects that no name leads to any more
    object INTEGER PRIMARY KEY,
    folder INTEGER NOT NULL,              -- 1: what is in it goes too
    payer INTEGER NOT NULL                -- who pays for what is in the folder until it is gone
) STRICT;
CREATE TABLE messages (
    id INTEGER PRIMARY KEY,               -- its row in objects
    key BLOB NOT NULL UNIQUE,             -- what clients call it
    sender INTEGER NOT NULL,
    name TEXT NOT NULL,                   -- the sender's, as registered
    sent INTEGER NOT NULL,                -- when; 0: not yet
    remaining INTEGER NOT NULL            -- recipients that have not deleted it
) STRICT;
CREATE INDEX messages_unsent ON messages (id) WHERE sent = 0;
CREATE INDEX messages_unsent_by_sender ON messages (sender) WHERE sent = 0;
CREATE TABLE recipients (                 -- of messages not sent yet
    message INTEGER NOT NULL,
    account INTEGER NOT NULL,
    PRIMARY KEY (message, account)
) STRICT, WITHOUT ROWID;
CREATE TABLE inbox (
    account INTEGER NOT NULL,
    sent INTEGER NOT NULL,
    message INTEGER NOT NULL,
    PRIMARY KEY (account, sent, message)
) STRICT, WITHOUT ROWID;
CREATE TABLE workspaces (
    id INTEGER PRIMARY KEY,               -- its folder in objects
    name TEXT NOT NULL UNIQUE,
    creator INTEGER NOT NULL,             -- pays; 0: its account is gone, and nothing can grow
    created INTEGER NOT NULL,
    last INTEGER NOT NULL,                -- number of the newest change
    done INTEGER NOT NULL                 -- changes up to this one were acknowledged by all
) STRICT;
CREATE INDEX workspaces_by_creator ON workspaces (creator);
CREATE TABLE participants (
    workspace INTEGER NOT NULL,
    account INTEGER NOT NULL,
    acked INTEGER NOT NULL,               -- changes up to this one
    PRIMARY KEY (workspace, account)
) STRICT, WITHOUT ROWID;
CREATE INDEX participants_by_account ON participants (account, workspace);
CREATE INDEX participants_by_acked ON participants (workspace, acked);
CREATE TABLE changes (
    workspace INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    author INTEGER NOT NULL,              -- pays
    name TEXT NOT NULL,                   -- the author's, as registered
    at INTEGER NOT NULL,
    body BLOB,                            -- or, when NULL,
    object INTEGER,                       -- its row in objects
    PRIMARY KEY (workspace, seq)
) STRICT, WITHOUT ROWID;
CREATE TABLE acknowledged (               -- workspaces with changes that can go
    workspace INTEGER PRIMARY KEY
) STRICT;
CREATE TABLE metadata (
    account INTEGER NOT NULL,
    key TEXT NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (account, key)
) STRICT, WITHOUT ROWID;
INSERT INTO objects (id, size, extents, version, created, modified, owner) VALUES
    (1, 2, 0, 0, 0, 0, 0), (2, 0, 0, 0, 0, 0, 0), (3, 0, 0, 0, 0, 0, 0);
INSERT INTO settings VALUES (1, 10737418240);
";

/// Offline messages that go to other realms, and come from there. `user` is folded in all of them but `pointers`, and a realm is in lower
/// case.
pub const SCHEMA_ABROAD: &str = "
CREATE TABLE abroad (                     -- recipients in other realms of messages here
    message INTEGER NOT NULL,
    realm TEXT NOT NULL,
    user TEXT NOT NULL,
    state INTEGER NOT NULL,               -- 0 not sent yet, 1 its realm is to be told, 2 it knows
    PRIMARY KEY (message, realm, user)
) STRICT, WITHOUT ROWID;
CREATE INDEX abroad_to_tell ON abroad (realm, message, user) WHERE state = 1;
CREATE TABLE pointers (                   -- messages in other realms to users here
    account INTEGER NOT NULL,
    realm TEXT NOT NULL,                  -- where the message is
    key BLOB NOT NULL,                    -- what it is called there
    user TEXT NOT NULL,                   -- the name of the account, as registered
    sender TEXT NOT NULL,                 -- realm::user
    size INTEGER NOT NULL,
    sent INTEGER NOT NULL,
    PRIMARY KEY (account, realm, key)
) STRICT, WITHOUT ROWID;
CREATE TABLE farewells (                  -- messages in other realms that were deleted here, and are to be there
    realm TEXT NOT NULL,
    key BLOB NOT NULL,
    user TEXT NOT NULL,
    since INTEGER NOT NULL,
    PRIMARY KEY (realm, key, user)
) STRICT, WITHOUT ROWID;
";
