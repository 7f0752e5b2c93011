//! Channels in the database: those that stand alone, which somebody makes, and those of workspaces, which are there when they are needed.

use std::collections::BTreeSet;

use rusqlite::params;
use rusqlite::Connection;
use rusqlite::OptionalExtension;
use rusqlite::Row;

use super::ids;
use super::rights::need;
use super::users::VoiceUser;
use crate::voice::Rights;
use crate::wire::name;
use crate::wire::Code;
use crate::wire::Fail;

/// Channels that stand alone: of all, and of one owner.
const ALONE: u64 = 1_000;
const OF_OWNER: u64 = 100;
/// Channels of workspaces; one more, and the one that was not joined for longest goes.
const OF_WORKSPACES: u64 = 10_000;
/// One that was joined a moment ago stays, as the one who joined may not be known as a member yet; milliseconds.
const FRESH: u64 = 60_000;

/// What a session calls a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Called {
    /// By its id.
    Id(u64),
    /// By its name.
    Name(String),
    /// That of a workspace.
    Workspace(String),
}

/// Before the name of a workspace.
const WORKSPACE: &str = "workspace:";

impl Called {
    /// An id in decimal, a name, or `workspace:NAME`.
    ///
    /// # Errors
    /// BADARGS.
    pub fn parse(text: &str) -> Result<Called, Fail> {
        if let Some(workspace) = text.strip_prefix(WORKSPACE) {
            name::check(workspace)?;
            return Ok(Called::Workspace(workspace.to_owned()));
        }
        if is_number(text) {
            return text.parse().map(Called::Id).map_err(|_| none());
        }
        name::check(text)?;
        Ok(Called::Name(text.to_owned()))
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// A channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Channel {
    pub id: u64,
    /// A uid, perhaps deleted since; 0: nobody.
    pub owner: u64,
    pub signed: bool,
    /// Empty: it has none.
    pub name: String,
    pub workspace: Option<String>,
}

impl Channel {
    /// As it is called in answers; nothing, if it has only its id.
    pub fn title(&self) -> String {
        self.workspace.as_ref().map_or_else(|| self.name.clone(), |workspace| format!("{WORKSPACE}{workspace}"))
    }

    /// Whether the user may do this in the channel: its owner may, and who has the right.
    ///
    /// # Errors
    /// DENIED; NOTFOUND in the channel of a workspace, so that nobody from outside learns whether there is one.
    pub fn need(&self, user: &VoiceUser, right: Rights) -> Result<(), Fail> {
        match need(user.rights, right) {
            _ if user.uid == self.owner => Ok(()),
            Err(_) if self.workspace.is_some() => Err(none()),
            needed => needed,
        }
    }
}

const TEXT: &str = "SELECT seq, low, owner, signed, name, workspace FROM voice_channels";

fn row(row: &Row<'_>) -> rusqlite::Result<(i64, u32, Channel)> {
    let channel = Channel {
        id: 0,
        owner: ids::unsql(row.get(2)?),
        signed: row.get(3)?,
        name: row.get::<_, Option<String>>(4)?.unwrap_or_default(),
        workspace: row.get(5)?,
    };
    Ok((row.get(0)?, row.get(1)?, channel))
}

fn one(db: &Connection, condition: &str, values: impl rusqlite::Params) -> Result<Option<Channel>, Fail> {
    let mut statement = db.prepare_cached(&format!("{TEXT} WHERE {condition}")).map_err(Fail::internal)?;
    let found = statement.query_row(values, row).optional().map_err(Fail::internal)?;
    found.map(|(seq, low, channel)| Ok(Channel { id: ids::join(seq, low)?, ..channel })).transpose()
}

/// A channel.
///
/// # Errors
/// NOTFOUND.
pub fn find(db: &Connection, called: &Called) -> Result<Channel, Fail> {
    let found = match called {
        Called::Id(id) => one(db, "seq = ?1 AND low = ?2", ids::split(*id))?,
        Called::Name(name) => one(db, "folded = ?1", [name::fold(name)])?,
        Called::Workspace(workspace) => one(db, "workspace = ?1", [workspace])?,
    };
    found.ok_or_else(none)
}

/// There is no such channel, or it is none of the asker's business whether there is one.
pub fn none() -> Fail {
    Fail::new(Code::NotFound, "there is no such channel, or it is the channel of a workspace and not yours")
}

fn count(db: &Connection, text: &str, values: impl rusqlite::Params) -> Result<u64, Fail> {
    let mut statement = db.prepare_cached(text).map_err(Fail::internal)?;
    statement.query_row(values, |row| row.get(0).map(ids::unsql)).map_err(Fail::internal)
}

/// Makes a channel that stands alone.
///
/// # Errors
/// DENIED without add_channel; LIMIT; EXISTS: the name is taken; BADARGS: it is none.
pub fn create(db: &Connection, user: &VoiceUser, low: u32, signed: bool, title: Option<&str>) -> Result<u64, Fail> {
    need(user.rights, Rights::ADD_CHANNEL)?;
    if let Some(title) = title {
        name::check(title)?;
        if is_number(title) {
            return Err(Fail::bad_args("the name of a channel is not a number alone: that would be an id"));
        }
        if one(db, "folded = ?1", [name::fold(title)])?.is_some() {
            return Err(Fail::new(Code::Exists, "there is a channel of that name"));
        }
    }
    if count(db, "SELECT count(*) FROM voice_channels WHERE workspace IS NULL", [])? >= ALONE {
        return Err(Fail::new(Code::Limit, "there are 1,000 channels"));
    }
    let own = "SELECT count(*) FROM voice_channels WHERE workspace IS NULL AND owner = ?1";
    if count(db, own, [ids::sql(user.uid)])? >= OF_OWNER {
        return Err(Fail::new(Code::Limit, "a user has at most 100 channels"));
    }
    let text = "INSERT INTO voice_channels (low, owner, signed, name, folded, used) VALUES (?1, ?2, ?3, ?4, ?5, 0)";
    let mut statement = db.prepare_cached(text).map_err(Fail::internal)?;
    let values = params![low, ids::sql(user.uid), signed, title, title.map(name::fold)];
    ids::join(statement.insert(values).map_err(Fail::internal)?, low)
}

/// Somebody joins the channel of a workspace, which has this owner now (0: it is not known): it is made if there is none. `taken` are
/// channels that have members. The second is one that was deleted to make room.
///
/// # Errors
/// LIMIT: too many are in use.
pub fn of_workspace(
    db: &Connection,
    workspace: &str,
    owner: u64,
    low: u32,
    now: u64,
    taken: &BTreeSet<u64>,
) -> Result<(Channel, Option<u64>), Fail> {
    let called = Called::Workspace(workspace.to_owned());
    let mut gone = None;
    let now = i64::try_from(now).unwrap_or(i64::MAX);
    let text =
        "UPDATE voice_channels SET used = ?2, owner = CASE ?3 WHEN 0 THEN owner ELSE ?3 END WHERE workspace = ?1";
    let mut update = db.prepare_cached(text).map_err(Fail::internal)?;
    if update.execute(params![workspace, now, ids::sql(owner)]).map_err(Fail::internal)? == 0 {
        if count(db, "SELECT count(*) FROM voice_channels WHERE workspace IS NOT NULL", [])? >= OF_WORKSPACES {
            gone = Some(make_room(db, now, taken)?);
        }
        let text = "INSERT INTO voice_channels (low, owner, signed, workspace, used) VALUES (?1, ?2, 1, ?3, ?4)";
        let mut insert = db.prepare_cached(text).map_err(Fail::internal)?;
        insert.execute(params![low, ids::sql(owner), workspace, now]).map_err(Fail::internal)?;
    }
    Ok((find(db, &called)?, gone))
}

/// Deletes the channel of a workspace that was not joined for longest, of those without members.
fn make_room(db: &Connection, now: i64, taken: &BTreeSet<u64>) -> Result<u64, Fail> {
    let fresh = now.saturating_sub(i64::try_from(FRESH).unwrap_or(i64::MAX));
    let text = format!("{TEXT} WHERE workspace IS NOT NULL AND used < ?1 ORDER BY used");
    let mut statement = db.prepare_cached(&text).map_err(Fail::internal)?;
    for found in statement.query_map([fresh], row).map_err(Fail::internal)? {
        let (seq, low, _) = found.map_err(Fail::internal)?;
        let id = ids::join(seq, low)?;
        if !taken.contains(&id) {
            delete(db, id)?;
            return Ok(id);
        }
    }
    Err(Fail::new(Code::Limit, "too many workspaces have members in their channels"))
}

/// Deletes a channel.
///
/// # Errors
/// INTERNAL.
pub fn delete(db: &Connection, id: u64) -> Result<(), Fail> {
    let mut statement = db.prepare_cached("DELETE FROM voice_channels WHERE seq = ?1").map_err(Fail::internal)?;
    statement.execute([ids::split(id).0]).map(drop).map_err(Fail::internal)
}

/// All that stand alone, in the order in which they were made.
///
/// # Errors
/// INTERNAL.
pub fn alone(db: &Connection) -> Result<Vec<Channel>, Fail> {
    let text = format!("{TEXT} WHERE workspace IS NULL ORDER BY seq");
    let mut statement = db.prepare_cached(&text).map_err(Fail::internal)?;
    let rows = statement.query_map([], row).map_err(Fail::internal)?;
    rows.map(|found| {
        let (seq, low, channel) = found.map_err(Fail::internal)?;
        Ok(Channel { id: ids::join(seq, low)?, ..channel })
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::super::super::MIGRATIONS;
    use super::super::users;
    use super::*;

    fn database() -> (Connection, VoiceUser) {
        let db = Connection::open_in_memory().unwrap();
        MIGRATIONS.iter().for_each(|text| db.execute_batch(text).unwrap());
        let uid = users::create(&db, 3, Rights::ADD_CHANNEL).unwrap();
        let user = users::get(&db, uid).unwrap();
        (db, user)
    }

    #[test]
    fn made_found_deleted_and_never_again() {
        let (db, user) = database();
        let hall = create(&db, &user, 9, true, Some("Hall")).unwrap();
        assert_eq!(hall, 1 << 32 | 9);
        let plain = create(&db, &user, 9, false, None).unwrap();
        let found = find(&db, &Called::parse("hALL").unwrap()).unwrap();
        let expected = Channel { id: hall, owner: user.uid, signed: true, name: "Hall".into(), workspace: None };
        assert_eq!(found, expected);
        assert_eq!(find(&db, &Called::parse(&plain.to_string()).unwrap()).unwrap().title(), "");
        assert_eq!(create(&db, &user, 9, true, Some("HALL")).unwrap_err().code, Code::Exists);
        for bad in ["", "12", "a|b", "workspace:x"] {
            assert_eq!(create(&db, &user, 9, true, Some(bad)).unwrap_err().code, Code::BadArgs, "{bad}");
        }
        delete(&db, plain).unwrap();
        let next = create(&db, &user, 9, false, None).unwrap();
        assert_eq!(next, 3 << 32 | 9);
        assert_eq!(alone(&db).unwrap().iter().map(|channel| channel.id).collect::<Vec<_>>(), [hall, next]);
        let none = VoiceUser { rights: Rights(0), ..user };
        assert_eq!(create(&db, &none, 9, true, None).unwrap_err().code, Code::Denied);
    }

    #[test]
    fn what_a_session_calls_a_channel() {
        assert_eq!(Called::parse("workspace:a b").unwrap(), Called::Workspace("a b".into()));
        assert_eq!(Called::parse("12").unwrap(), Called::Id(12));
        assert_eq!(Called::parse("12a").unwrap(), Called::Name("12a".into()));
        assert_eq!(Called::parse("99999999999999999999").unwrap_err().code, Code::NotFound);
        for bad in ["", "workspace:", "workspace:a/b", "a:b"] {
            assert_eq!(Called::parse(bad).unwrap_err().code, Code::BadArgs, "{bad}");
        }
    }

    #[test]
    fn bounded() {
        let (db, user) = database();
        for _ in 0..OF_OWNER {
            create(&db, &user, 9, false, None).unwrap();
        }
        assert_eq!(create(&db, &user, 9, false, None).unwrap_err().code, Code::Limit);
        let fill = "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 900)
                    INSERT INTO voice_channels (low, owner, signed, used) SELECT 1, n, 0, 0 FROM n";
        db.execute(fill, []).unwrap();
        let other = VoiceUser { uid: 77, ..user };
        assert_eq!(create(&db, &other, 9, false, None).unwrap_err().code, Code::Limit);
    }

    #[test]
    fn workspaces_make_room_for_each_other() {
        let (db, _) = database();
        let first = of_workspace(&db, "first", 5, 1, 1_000, &BTreeSet::new()).unwrap().0;
        assert_eq!((first.owner, first.signed, first.title().as_str()), (5, true, "workspace:first"));
        assert_eq!(of_workspace(&db, "first", 0, 2, 2_000, &BTreeSet::new()).unwrap().0, first);
        assert_eq!(of_workspace(&db, "first", 6, 2, 2_000, &BTreeSet::new()).unwrap().0.owner, 6);
        let second = of_workspace(&db, "second", 5, 1, 3_000, &BTreeSet::new()).unwrap().0;
        let fill = "WITH RECURSIVE n(n) AS (SELECT 3 UNION ALL SELECT n + 1 FROM n WHERE n < 10000)
                    INSERT INTO voice_channels (low, owner, signed, workspace, used) SELECT 1, 1, 1, 'w' || n, 70000 FROM n";
        db.execute(fill, []).unwrap();
        let taken = BTreeSet::from([first.id]);
        assert_eq!(of_workspace(&db, "third", 5, 1, 100_000, &taken).unwrap().1, Some(second.id));
        assert_eq!(find(&db, &Called::Id(second.id)).unwrap_err().code, Code::NotFound);
        assert!(find(&db, &Called::Id(first.id)).is_ok());
        // All others were joined within the last minute.
        assert_eq!(of_workspace(&db, "fourth", 5, 1, 100_000, &taken).unwrap_err().code, Code::Limit);
        assert_eq!(alone(&db).unwrap(), []);
    }
}
