//! Workspaces: a folder, and a list of changes in order, which is a team's conversation.

use std::str::FromStr;

use super::Again;
use super::Store;
use crate::wire::Code;
use crate::wire::Fail;

/// A line of LISTWORKSPACES: `name|creator|last seq|acknowledged seq|number of participants`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workspace {
    /// Its name; the folder is `/workspaces/NAME`.
    pub name: String,
    /// Who made it.
    pub creator: String,
    /// The number of the last change.
    pub last: u64,
    /// The number up to which the user has acknowledged them.
    pub acknowledged: u64,
    /// How many take part, the creator among them.
    pub participants: u64,
}

/// A change of a workspace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Its number: 1, 2, …
    pub seq: u64,
    /// Who made it.
    pub author: String,
    /// Unix milliseconds.
    pub at: u64,
    /// What.
    pub body: Vec<u8>,
}

fn broken() -> Fail {
    Fail::new(Code::Internal, "the server's answer cannot be read")
}

impl FromStr for Workspace {
    type Err = Fail;

    fn from_str(line: &str) -> Result<Workspace, Fail> {
        let mut columns = line.split('|');
        let mut next = || columns.next().ok_or_else(broken);
        let (name, creator) = (next()?.to_owned(), next()?.to_owned());
        let mut number = || next()?.parse::<u64>().map_err(|_| broken());
        let (last, acknowledged, participants) = (number()?, number()?, number()?);
        Ok(Workspace { name, creator, last, acknowledged, participants })
    }
}

impl Change {
    /// READCHANGES' answer: of each change a line `seq|author|time|size`, then that many bytes, and an LF between two.
    ///
    /// # Errors
    /// INTERNAL when it is none.
    pub fn parse_all(mut rest: &[u8]) -> Result<Vec<Change>, Fail> {
        let mut changes = Vec::new();
        while !rest.is_empty() {
            let end = rest.iter().position(|byte| *byte == b'\n').ok_or_else(broken)?;
            let (line, after) = rest.split_at(end);
            let line = std::str::from_utf8(line).map_err(|_| broken())?;
            let [seq, author, at, size, ..] = line.split('|').collect::<Vec<_>>()[..] else { return Err(broken()) };
            let number = |text: &str| text.parse::<u64>().map_err(|_| broken());
            let size = usize::try_from(number(size)?).map_err(|_| broken())?;
            let (body, after) = after.get(1..).and_then(|after| after.split_at_checked(size)).ok_or_else(broken)?;
            changes.push(Change { seq: number(seq)?, author: author.to_owned(), at: number(at)?, body: body.to_vec() });
            rest = match after {
                [] => after,
                [b'\n', after @ ..] => after,
                _ => return Err(broken()),
            };
        }
        Ok(changes)
    }
}

impl Store {
    /// CREATEWORKSPACE; the user takes part in it.
    ///
    /// # Errors
    /// EXISTS, NOTFOUND (a participant), BADARGS, LIMIT.
    pub async fn create_workspace(&self, name: &str, participants: &[String]) -> Result<(), Fail> {
        let fields: Vec<&[u8]> =
            std::iter::once(name).chain(participants.iter().map(String::as_str)).map(str::as_bytes).collect();
        self.ask(Again::Exists, "CREATEWORKSPACE", &fields).await.map(drop)
    }

    /// POSTCHANGE; the number that it got. A change must not come twice: it is not asked again.
    ///
    /// # Errors
    /// NOTFOUND, DENIED, QUOTA. UNAVAILABLE: it may be there or not.
    pub async fn post_change(&self, name: &str, bytes: &[u8]) -> Result<u64, Fail> {
        let seq = self.ask_text(Again::Never, "POSTCHANGE", &[name.as_bytes(), bytes]).await?;
        seq.parse().map_err(|_| broken())
    }

    /// READCHANGES: at most `count` of those behind `after`; fewer when an answer does not hold more.
    ///
    /// # Errors
    /// NOTFOUND, DENIED.
    pub async fn changes(&self, name: &str, after: u64, count: u64) -> Result<Vec<Change>, Fail> {
        let (after, count) = (after.to_string(), count.to_string());
        let fields = [name.as_bytes(), after.as_bytes(), count.as_bytes()];
        Change::parse_all(&self.ask(Again::Same, "READCHANGES", &fields).await?)
    }

    /// ACKCHANGES: those up to `seq` need not be kept for this user.
    ///
    /// # Errors
    /// NOTFOUND, DENIED.
    pub async fn acknowledge(&self, name: &str, seq: u64) -> Result<(), Fail> {
        self.ask(Again::Same, "ACKCHANGES", &[name.as_bytes(), seq.to_string().as_bytes()]).await.map(drop)
    }

    /// SETPARTICIPANTS: these and no others, besides the creator.
    ///
    /// # Errors
    /// NOTFOUND (it, or a participant), DENIED.
    pub async fn set_participants(&self, name: &str, participants: &[String]) -> Result<(), Fail> {
        let fields: Vec<&[u8]> =
            std::iter::once(name).chain(participants.iter().map(String::as_str)).map(str::as_bytes).collect();
        self.ask(Again::Same, "SETPARTICIPANTS", &fields).await.map(drop)
    }

    /// LISTWORKSPACES.
    ///
    /// # Errors
    /// Those of every request.
    pub async fn workspaces(&self) -> Result<Vec<Workspace>, Fail> {
        self.ask_text(Again::Same, "LISTWORKSPACES", &[]).await?.lines().map(str::parse).collect()
    }

    /// LISTPARTICIPANTS: who takes part, the creator among them.
    ///
    /// # Errors
    /// NOTFOUND.
    pub async fn participants(&self, name: &str) -> Result<Vec<String>, Fail> {
        let names = self.ask_text(Again::Same, "LISTPARTICIPANTS", &[name.as_bytes()]).await?;
        Ok(names.lines().map(str::to_owned).collect())
    }

    /// LEAVEWORKSPACE.
    ///
    /// # Errors
    /// NOTFOUND, DENIED.
    pub async fn leave_workspace(&self, name: &str) -> Result<(), Fail> {
        self.ask(Again::NotFound, "LEAVEWORKSPACE", &[name.as_bytes()]).await.map(drop)
    }

    /// DELETEWORKSPACE, with all that is in its folder.
    ///
    /// # Errors
    /// NOTFOUND, DENIED.
    pub async fn delete_workspace(&self, name: &str) -> Result<(), Fail> {
        self.ask(Again::NotFound, "DELETEWORKSPACE", &[name.as_bytes()]).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_hold_any_bytes() {
        let changes = Change::parse_all(b"1|alice|5|3\na|\n\n2|bob|6|0\n\n3|bob|7|1\n~").unwrap();
        let told: Vec<_> = changes.iter().map(|change| (change.seq, change.body.as_slice())).collect();
        assert_eq!(told, [(1, &b"a|\n"[..]), (2, b""), (3, b"~")]);
        assert_eq!(Change::parse_all(b""), Ok(Vec::new()));
        for bad in [&b"1|alice|5|3"[..], b"1|alice|5|4\nabc", b"1|alice|5|1\nabc", b"x|a|1|0\n", b"1|a|1|-1\n"] {
            assert!(Change::parse_all(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn workspaces() {
        let one: Workspace = "team|alice|7|3|2|of a later version".parse().unwrap();
        assert_eq!((one.last, one.acknowledged, one.participants), (7, 3, 2));
        assert!("team|alice|x|3|1".parse::<Workspace>().is_err());
        assert!("team|alice|7|3|".parse::<Workspace>().is_err());
    }
}
