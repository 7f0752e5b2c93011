//! Who may do what with an entry: the way that a path takes, and the lists of rights on it.
//!
//! The list that counts for an entry is its own, or that of the nearest folder above with one, up to the home or workspace.
//! A home's account has all rights in it always, and so has the creator of a workspace. The other participants have `rw`
//! wherever the workspace's own list counts. A right that is missing is DENIED; so is what is not there, in a folder that the
//! caller may not read: nobody learns what exists by asking.

use rusqlite::params;
use rusqlite::Connection;
use rusqlite::OptionalExtension;

use super::accounts;
use super::args::Path;
use super::args::Rights;
use super::args::ADMINISTER;
use super::args::READ;
use super::args::WRITE;
use super::prepare;
use super::sql;
use super::unsql;
use super::Caller;
use crate::wire::name;
use crate::wire::Code;
use crate::wire::Fail;

/// Whom a right is given to: [`super::args::SubjectName`] with its account, which is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A local account; it is made known by what takes the subject.
    Account(Caller),
    /// `realm::user`, the realm in lower case.
    Remote(String),
    /// Everybody here.
    Everybody,
}

/// The folder `/`.
pub(super) const ROOT: i64 = 1;
/// The folder `/users`.
pub(super) const USERS: i64 = 2;
/// The folder `/workspaces`.
pub(super) const WORKSPACES: i64 = 3;

/// The bit of `entries.kind` for a file.
pub(super) const FILE: i64 = 1;
/// The bit of `entries.kind` for an own list of rights.
pub(super) const OWN_LIST: i64 = 2;

/// What a path leads into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Base {
    /// `/`, `/users`, `/workspaces`, and what would be beside them.
    Fixed,
    /// A home.
    Home { account: i64 },
    /// A workspace.
    Workspace { id: i64, name: String, creator: i64, participant: bool },
}

/// An entry that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub id: i64,
    pub kind: i64,
    /// The entry whose list counts for it.
    pub list: i64,
}

impl Found {
    pub fn is_folder(&self) -> bool {
        self.kind & FILE == 0
    }
}

/// Where a path leads.
#[derive(Clone, Debug)]
pub(super) struct Way {
    pub base: Base,
    /// The folders on the way, the last one being the entry's; empty for a fixed entry, a home, a workspace's folder.
    pub above: Vec<Found>,
    /// The entry, if there is one.
    pub entry: Option<Found>,
    /// Its name.
    pub name: String,
}

/// Follows a path. Fails when the way to the entry is not there, not when only the entry is missing.
pub(super) fn follow(db: &Connection, caller: &Caller, path: &Path) -> Result<Way, Fail> {
    let mut segments = path.segments();
    let (first, second) = (segments.next(), segments.next());
    let (base, root) = match (first, second) {
        (None, _) => return known(db, caller, Some(ROOT), ""),
        (Some("users"), None) => return known(db, caller, Some(USERS), "users"),
        (Some("workspaces"), None) => return known(db, caller, Some(WORKSPACES), "workspaces"),
        (Some(other), None) => return known(db, caller, None, other),
        (Some("users"), Some(user)) => home(db, user)?.ok_or_else(denied)?,
        (Some("workspaces"), Some(name)) => workspace(db, caller, name)?.ok_or_else(denied)?,
        (Some(_), Some(_)) => return Err(not_found()),
    };
    // The one whose home it is is known: the home's row says so.
    if base != (Base::Home { account: sql(caller.account) }) {
        accounts::admit(db, caller)?;
    }
    let mut at = Found { id: root, kind: OWN_LIST, list: root };
    let Some(mut name) = segments.next() else {
        return Ok(Way { base, above: Vec::new(), entry: Some(at), name: second.unwrap_or_default().to_owned() });
    };
    let mut above = Vec::new();
    let mut statement = prepare(db, "SELECT id, kind FROM entries WHERE parent = ?1 AND name = ?2")?;
    loop {
        above.push(at);
        let entry = statement
            .query_row(params![at.id, name], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()
            .map_err(Fail::internal)?;
        let entry = entry.map(|(id, kind): (i64, i64)| {
            let list = if kind & OWN_LIST == 0 { at.list } else { id };
            Found { id, kind, list }
        });
        let Some(next) = segments.next() else {
            return Ok(Way { base, above, entry, name: name.to_owned() });
        };
        match entry {
            Some(folder) if folder.is_folder() => (at, name) = (folder, next),
            _ => return Err(missing(db, caller, &base, &at)?),
        }
    }
}

/// An entry of `/`, which everybody may read.
fn known(db: &Connection, caller: &Caller, id: Option<i64>, name: &str) -> Result<Way, Fail> {
    accounts::admit(db, caller)?;
    let entry = id.map(|id| Found { id, kind: 0, list: id });
    Ok(Way { base: Base::Fixed, above: Vec::new(), entry, name: name.to_owned() })
}

fn home(db: &Connection, user: &str) -> Result<Option<(Base, i64)>, Fail> {
    prepare(db, "SELECT account, home FROM accounts WHERE folded = ?1")?
        .query_row([name::fold(user)], |row| Ok((Base::Home { account: row.get(0)? }, row.get(1)?)))
        .optional()
        .map_err(Fail::internal)
}

fn workspace(db: &Connection, caller: &Caller, name: &str) -> Result<Option<(Base, i64)>, Fail> {
    let text = "SELECT id, creator, EXISTS (SELECT 1 FROM participants WHERE workspace = id AND account = ?2)
                FROM workspaces WHERE name = ?1";
    prepare(db, text)?
        .query_row(params![name, sql(caller.account)], |row| {
            let (id, creator, participant) = (row.get(0)?, row.get(1)?, row.get(2)?);
            Ok((Base::Workspace { id, name: name.to_owned(), creator, participant }, id))
        })
        .optional()
        .map_err(Fail::internal)
}

impl Way {
    /// Who made what the caller makes there: of what a user of another realm makes, the one who pays for it.
    pub fn maker(&self, caller: &Caller) -> u64 {
        match caller.is_foreign() {
            true => unsql(self.payer()),
            false => caller.account,
        }
    }

    /// Who pays for what is there; 0: nobody.
    pub fn payer(&self) -> i64 {
        match &self.base {
            Base::Fixed => 0,
            Base::Home { account } => *account,
            Base::Workspace { creator, .. } => *creator,
        }
    }

    /// The folder that the entry is in, which is no fixed one, and in which the caller may create and delete.
    pub fn folder(&self, db: &Connection, caller: &Caller) -> Result<Found, Fail> {
        let folder = *self.above.last().ok_or_else(denied)?;
        need(db, caller, &self.base, &folder, WRITE)?;
        Ok(folder)
    }

    /// The entry, which is there, and of which the caller has the rights `needed`.
    pub fn entry(&self, db: &Connection, caller: &Caller, needed: Rights) -> Result<Found, Fail> {
        let Some(entry) = self.entry else {
            return Err(match self.above.last() {
                Some(folder) => missing(db, caller, &self.base, folder)?,
                None => not_found(),
            });
        };
        need(db, caller, &self.base, &entry, needed)?;
        Ok(entry)
    }

    /// The same for a file; BADARGS for a folder.
    pub fn file(&self, db: &Connection, caller: &Caller, needed: Rights) -> Result<Found, Fail> {
        let entry = self.entry(db, caller, needed)?;
        match entry.is_folder() {
            true => Err(Fail::bad_args("this is a folder")),
            false => Ok(entry),
        }
    }

    /// Those who have rights by the place, where `list` counts: for GETINFO.
    pub fn by_place(&self, list: i64) -> (i64, Option<i64>) {
        match &self.base {
            Base::Fixed => (0, None),
            Base::Home { account } => (*account, None),
            Base::Workspace { id, creator, .. } => (*creator, (list == *id).then_some(*id)),
        }
    }
}

fn need(db: &Connection, caller: &Caller, base: &Base, found: &Found, needed: Rights) -> Result<(), Fail> {
    match rights(db, caller, base, found.list)? & needed == needed {
        true => Ok(()),
        false => Err(denied()),
    }
}

/// The caller's rights where `list` counts.
pub(super) fn rights(db: &Connection, caller: &Caller, base: &Base, list: i64) -> Result<Rights, Fail> {
    let by_place = match base {
        Base::Fixed => return Ok(READ),
        Base::Home { account } if *account == sql(caller.account) => return Ok(READ | WRITE | ADMINISTER),
        Base::Workspace { creator, .. } if *creator == sql(caller.account) => return Ok(READ | WRITE | ADMINISTER),
        Base::Workspace { id, participant: true, .. } if *id == list => READ | WRITE,
        _ => 0,
    };
    Ok(by_place | listed(db, caller, list)?)
}

/// The rights that an account, whoever asks, has by the place where `list` counts.
pub(super) fn of_place(db: &Connection, base: &Base, list: i64, account: i64) -> Result<Rights, Fail> {
    Ok(match base {
        Base::Fixed => READ,
        Base::Home { account: all } | Base::Workspace { creator: all, .. } if *all == account => {
            READ | WRITE | ADMINISTER
        }
        Base::Workspace { id, .. } if *id == list => {
            let text = "SELECT 1 FROM participants WHERE workspace = ?1 AND account = ?2";
            let takes_part = prepare(db, text)?.exists([*id, account]).map_err(Fail::internal)?;
            if takes_part {
                READ | WRITE
            } else {
                0
            }
        }
        Base::Home { .. } | Base::Workspace { .. } => 0,
    })
}

/// The rights that a list gives to the caller. `*` is everybody here, and nobody of another realm.
pub(super) fn listed(db: &Connection, caller: &Caller, list: i64) -> Result<Rights, Fail> {
    if caller.is_foreign() {
        return listed_abroad(db, caller, list);
    }
    let mut statement = prepare(db, "SELECT rights FROM acl WHERE object = ?1 AND account IN (0, ?2)")?;
    let mut rows = statement.query([list, sql(caller.account)]).map_err(Fail::internal)?;
    let mut rights = 0;
    while let Some(row) = rows.next().map_err(Fail::internal)? {
        rights |= row.get::<_, Rights>(0).map_err(Fail::internal)?;
    }
    Ok(rights)
}

/// The same for a user of another realm: at most 1,000 names are looked at.
fn listed_abroad(db: &Connection, caller: &Caller, list: i64) -> Result<Rights, Fail> {
    let wanted = name::fold(&caller.name);
    let mut statement = prepare(db, "SELECT remote, rights FROM acl WHERE object = ?1 AND account = -1")?;
    let mut rows = statement.query([list]).map_err(Fail::internal)?;
    let mut rights = 0;
    while let Some(row) = rows.next().map_err(Fail::internal)? {
        let who = row.get_ref(0).map_err(Fail::internal)?.as_str().map_err(Fail::internal)?;
        if name::fold(who) == wanted {
            rights |= row.get::<_, Rights>(1).map_err(Fail::internal)?;
        }
    }
    Ok(rights)
}

/// What to say of an entry that is not in `folder`.
fn missing(db: &Connection, caller: &Caller, base: &Base, folder: &Found) -> Result<Fail, Fail> {
    Ok(match rights(db, caller, base, folder.list)? & READ {
        0 => denied(),
        _ => not_found(),
    })
}

pub(super) fn denied() -> Fail {
    Fail::new(Code::Denied, "not allowed")
}

pub(super) fn not_found() -> Fail {
    Fail::new(Code::NotFound, "no such entry")
}
