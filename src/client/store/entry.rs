//! What the storage tells of an entry, read with care: the names become names of files here.

use std::str::FromStr;

use crate::wire::hex;
use crate::wire::name;
use crate::wire::Code;
use crate::wire::Fail;

/// A line of LISTFOLDER.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// A name as contract 1 has it: never `..`, never with a `/`.
    pub name: String,
    /// Not a file.
    pub folder: bool,
    /// Bytes; of a folder nothing is meant by it.
    pub size: u64,
    /// Unix milliseconds.
    pub modified: u64,
}

fn broken() -> Fail {
    Fail::new(Code::Internal, "the server's answer cannot be read")
}

/// A server that counts wrongly is not believed.
fn number(text: &str) -> Result<u64, Fail> {
    text.parse().map_err(|_| broken())
}

fn is_folder(kind: &str) -> Result<bool, Fail> {
    match kind {
        "folder" => Ok(true),
        "file" => Ok(false),
        _ => Err(broken()),
    }
}

impl FromStr for Entry {
    type Err = Fail;

    fn from_str(line: &str) -> Result<Entry, Fail> {
        let mut columns = line.split('|');
        let mut next = || columns.next().ok_or_else(broken);
        let (name, kind, size, modified) = (next()?, next()?, next()?, next()?);
        name::check(name).map_err(|_| broken())?;
        let folder = is_folder(kind)?;
        let size = if folder { number(size).unwrap_or(0) } else { number(size)? };
        Ok(Entry { name: name.to_owned(), folder, size, modified: number(modified)? })
    }
}

/// GETINFO's answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Info {
    /// Not a file.
    pub folder: bool,
    /// Bytes.
    pub size: u64,
    /// Who made it.
    pub owner: String,
    /// Unix milliseconds.
    pub created: u64,
    /// Unix milliseconds.
    pub modified: u64,
    /// BLAKE3, of a file.
    pub hash: Option<[u8; 32]>,
    /// The fewest copies of any of its blocks.
    pub copies: Option<u64>,
    /// Who may do what: subject, and letters of `rwa`.
    pub permissions: Vec<(String, String)>,
}

impl FromStr for Info {
    type Err = Fail;

    fn from_str(lines: &str) -> Result<Info, Fail> {
        let (mut info, mut known) = (Info::default(), false);
        for line in lines.lines() {
            let (key, value) = line.split_once('|').ok_or_else(broken)?;
            match key {
                "type" => (info.folder, known) = (is_folder(value)?, true),
                "size" => info.size = number(value).unwrap_or(0),
                "owner" => info.owner = value.to_owned(),
                "created" => info.created = number(value)?,
                "modified" => info.modified = number(value)?,
                "hash" => info.hash = hex::decode_32(value),
                "copies" => info.copies = value.parse().ok(),
                "permissions" => {
                    let pairs = value.split('|').filter(|pair| !pair.is_empty());
                    let pair = |pair: &str| pair.rsplit_once(' ').map(|(who, what)| (who.to_owned(), what.to_owned()));
                    info.permissions = pairs.map(|text| pair(text).ok_or_else(broken)).collect::<Result<_, _>>()?;
                }
                // Of a later version.
                _ => {}
            }
        }
        known.then_some(info).ok_or_else(broken)
    }
}

/// A line of LISTOFFLINEMESSAGES.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// What READOFFLINEMESSAGE takes.
    pub id: String,
    /// Who sent it.
    pub sender: String,
    /// Bytes.
    pub size: u64,
    /// Unix milliseconds.
    pub sent_at: u64,
}

impl FromStr for Waiting {
    type Err = Fail;

    fn from_str(line: &str) -> Result<Waiting, Fail> {
        let mut columns = line.split('|');
        let mut next = || columns.next().ok_or_else(broken);
        let (id, sender, size, sent_at) = (next()?.to_owned(), next()?.to_owned(), number(next()?)?, number(next()?)?);
        Ok(Waiting { id, sender, size, sent_at })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries() {
        let entry: Entry = "a b.txt|file|12|1700000000000|later".parse().unwrap();
        assert_eq!(entry, Entry { name: "a b.txt".into(), folder: false, size: 12, modified: 1_700_000_000_000 });
        assert!("docs|folder||5".parse::<Entry>().unwrap().folder);
        for bad in
            ["", "a", "../x|file|1|1", "..|file|1|1", "a|pipe|1|1", "a|file|-1|1", "a|file|1", "a\u{1b}|file|1|1"]
        {
            assert!(bad.parse::<Entry>().is_err(), "{bad}");
        }
    }

    #[test]
    fn infos() {
        let hash = "ab".repeat(32);
        let text =
            format!("type|file\nsize|3\nowner|alice\nhash|{hash}\ncopies|3\npermissions|alice rwa|*  r\nnew|x|y");
        let info: Info = text.parse().unwrap();
        assert_eq!((info.size, info.hash, info.copies), (3, Some([0xab; 32]), Some(3)));
        assert_eq!(info.permissions[0], ("alice".to_owned(), "rwa".to_owned()));
        assert!("type|folder\npermissions|".parse::<Info>().unwrap().permissions.is_empty());
        for bad in ["", "size|3", "type|x", "nonsense"] {
            assert!(bad.parse::<Info>().is_err(), "{bad}");
        }
    }
}
