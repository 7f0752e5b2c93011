//! The data of storage commands (contract 6), as it stands on the wire, taken apart. Pure: a database is not needed to say
//! that a path is none. Every refusal is FAIL BADARGS.

use std::collections::BTreeSet;

use crate::wire::name;
use crate::wire::raw::Raw;
use crate::wire::Fail;

/// The most bytes of a path.
pub const MAX_PATH: usize = 4 << 10;
/// The most segments of a path.
pub const MAX_SEGMENTS: usize = 64;
/// The most recipients of a message, participants of a workspace, and subjects of a list of rights.
pub const MAX_NAMES: usize = 1_000;
/// The most bytes of one read or one write.
pub const MAX_LENGTH: u64 = 1 << 20;
/// The greatest offset or size.
pub const MAX_OFFSET: u64 = 1 << 49;
/// The most bytes of a metadata key.
pub const MAX_KEY: usize = 256;

/// A path: `/`, or segments each behind a `/`, all of them names (contract 1). At most [`MAX_PATH`] bytes and
/// [`MAX_SEGMENTS`] segments.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Path(String);

impl Path {
    /// Checks a path. Another Unicode form than NFC is refused, not normalised.
    pub fn parse(text: &str) -> Result<Path, Fail> {
        if text.len() > MAX_PATH {
            return Err(Fail::bad_args("a path is at most 4096 bytes long"));
        }
        let rest = text.strip_prefix('/').ok_or_else(|| Fail::bad_args("a path begins with /"))?;
        if !rest.is_empty() {
            for (n, segment) in rest.split('/').enumerate() {
                if n == MAX_SEGMENTS {
                    return Err(Fail::bad_args("a path has at most 64 segments"));
                }
                name::check(segment)?;
            }
        }
        Ok(Path(text.to_owned()))
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its segments; the root has none.
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        self.0[1..].split('/').filter(|segment| !segment.is_empty())
    }
}

/// Whom a right is given to, as the user wrote it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SubjectName {
    /// A local user, checked to be a user name.
    User(String),
    /// `realm::user`, the realm being `host:port` in lower case.
    Remote(String),
    /// `*`: the users here, and nobody of another realm.
    Everybody,
}

/// Rights: bits of [`READ`], [`WRITE`], [`ADMINISTER`].
pub type Rights = u8;
/// `r`: read, list, ask.
pub const READ: Rights = 1;
/// `w`: change, create within.
pub const WRITE: Rights = 2;
/// `a`: change rights.
pub const ADMINISTER: Rights = 4;

/// The letters of rights, in the order `rwa`.
pub fn rights_text(rights: Rights) -> String {
    let letters = [(READ, 'r'), (WRITE, 'w'), (ADMINISTER, 'a')];
    letters.into_iter().filter(|(bit, _)| rights & bit != 0).map(|(_, letter)| letter).collect()
}

/// `path`: CREATEFOLDER, DELETEFOLDER, CREATEFILE, DELETEFILE, LISTFOLDER, GETINFO.
pub fn path(data: Raw<'_>) -> Result<Path, Fail> {
    // What is escaped is at most twice as long: a longer one is not even copied.
    if data.0.len() > 2 * MAX_PATH {
        return Err(Fail::bad_args("a path is at most 4096 bytes long"));
    }
    Path::parse(&data.text()?)
}

/// `path LF path`: MOVE, REPLACE.
pub fn paths(data: Raw<'_>) -> Result<(Path, Path), Fail> {
    let [from, to] = data.take()?;
    Ok((path(from)?, path(to)?))
}

/// `path LF offset LF bytes`: WRITEFILE. The bytes are still escaped; they are at most [`MAX_LENGTH`] when unescaped.
pub fn write(data: Raw<'_>) -> Result<(Path, u64, Raw<'_>), Fail> {
    let [at, offset, bytes] = data.take()?;
    Ok((path(at)?, number(offset, MAX_OFFSET)?, bytes))
}

/// `path LF offset LF length`: READFILE.
pub fn read(data: Raw<'_>) -> Result<(Path, u64, u64), Fail> {
    let [at, offset, length] = data.take()?;
    Ok((path(at)?, number(offset, MAX_OFFSET)?, number(length, MAX_LENGTH)?))
}

/// `path LF size`: TRUNCATEFILE.
pub fn truncate(data: Raw<'_>) -> Result<(Path, u64), Fail> {
    let [at, size] = data.take()?;
    Ok((path(at)?, number(size, MAX_OFFSET)?))
}

/// `path[ LF subject|rights…]`: SETPERMISSIONS. A subject stands there once; rights are letters of `rwa`, each at most
/// once, or none.
pub fn permissions(data: Raw<'_>) -> Result<(Path, Vec<(SubjectName, Rights)>), Fail> {
    let mut fields = data.fields();
    let at = path(fields.next().ok_or_else(|| Fail::bad_args("a path is needed"))?)?;
    let (mut list, mut seen) = (Vec::new(), BTreeSet::new());
    for field in fields {
        if list.len() == MAX_NAMES {
            return Err(Fail::bad_args("at most 1000 subjects"));
        }
        let text = short(field, 512)?;
        let (who, letters) = text.rsplit_once('|').ok_or_else(|| Fail::bad_args("a subject is subject|rights"))?;
        let who = subject(who)?;
        let key = match &who {
            SubjectName::User(user) => SubjectName::User(name::fold(user).into_owned()),
            SubjectName::Remote(user) => SubjectName::Remote(name::fold(user).into_owned()),
            SubjectName::Everybody => SubjectName::Everybody,
        };
        if !seen.insert(key) {
            return Err(Fail::bad_args("a subject is named twice"));
        }
        list.push((who, rights(letters)?));
    }
    Ok((at, list))
}

/// `recipient[ LF recipient…]`: INITOFFLINEMESSAGE. Names that differ only in case are one.
pub fn recipients(data: Raw<'_>) -> Result<Vec<SubjectName>, Fail> {
    let names = names(data.fields())?;
    match names.is_empty() {
        true => Err(Fail::bad_args("a recipient is needed")),
        false => Ok(names),
    }
}

/// `message-id`: SENDOFFLINEMESSAGE, DELETEOFFLINEMESSAGE. 32 lower-case hexadecimal digits.
pub fn message(data: Raw<'_>) -> Result<[u8; 16], Fail> {
    let bad = || Fail::bad_args("a message id is 32 hexadecimal digits");
    let text = short(data, 64)?;
    let lower = !text.bytes().any(|byte| byte.is_ascii_uppercase());
    crate::wire::hex::decode(&text).filter(|_| lower).ok_or_else(bad)
}

/// `message-id LF bytes`: APPENDOFFLINEMESSAGE; the bytes are still escaped.
pub fn append(data: Raw<'_>) -> Result<([u8; 16], Raw<'_>), Fail> {
    let [id, bytes] = data.take()?;
    Ok((message(id)?, bytes))
}

/// `message-id LF offset LF length`: READOFFLINEMESSAGE.
pub fn read_message(data: Raw<'_>) -> Result<([u8; 16], u64, u64), Fail> {
    let [id, offset, length] = data.take()?;
    Ok((message(id)?, number(offset, MAX_OFFSET)?, number(length, MAX_LENGTH)?))
}

/// `NAME`: LEAVEWORKSPACE, DELETEWORKSPACE.
pub fn workspace(data: Raw<'_>) -> Result<String, Fail> {
    let text = short(data, 2 * name::MAX_NAME)?;
    name::check(&text)?;
    Ok(text)
}

/// `NAME[ LF participant…]`: CREATEWORKSPACE, SETPARTICIPANTS.
pub fn participants(data: Raw<'_>) -> Result<(String, Vec<SubjectName>), Fail> {
    let mut fields = data.fields();
    let named = workspace(fields.next().unwrap_or_default())?;
    Ok((named, names(fields)?))
}

/// `NAME LF bytes`: POSTCHANGE; the bytes are still escaped.
pub fn post(data: Raw<'_>) -> Result<(String, Raw<'_>), Fail> {
    let [named, bytes] = data.take()?;
    Ok((workspace(named)?, bytes))
}

/// `NAME LF after-seq LF count`: READCHANGES.
pub fn read_changes(data: Raw<'_>) -> Result<(String, u64, u64), Fail> {
    let [named, after, count] = data.take()?;
    Ok((workspace(named)?, number(after, i64::MAX as u64)?, number(count, i64::MAX as u64)?))
}

/// `NAME LF seq`: ACKCHANGES.
pub fn ack(data: Raw<'_>) -> Result<(String, u64), Fail> {
    let [named, seq] = data.take()?;
    Ok((workspace(named)?, number(seq, i64::MAX as u64)?))
}

/// `key LF value`: SETMETADATA; the value is still escaped. A key is 1 to [`MAX_KEY`] bytes of text without control
/// characters and `|`, as lists show it.
pub fn set_metadata(data: Raw<'_>) -> Result<(String, Raw<'_>), Fail> {
    let [key, value] = data.take()?;
    Ok((metadata_key(key)?, value))
}

/// `user LF key`: GETMETADATA.
pub fn get_metadata(data: Raw<'_>) -> Result<(String, String), Fail> {
    let [user, key] = data.take()?;
    Ok((self::user(user)?, metadata_key(key)?))
}

/// `user`: LISTMETADATA.
pub fn user(data: Raw<'_>) -> Result<String, Fail> {
    let text = short(data, 2 * name::MAX_NAME)?;
    name::check_user(&text)?;
    Ok(text)
}

fn metadata_key(field: Raw<'_>) -> Result<String, Fail> {
    let key = short(field, 2 * MAX_KEY)?;
    let bad = |c: char| c.is_control() || matches!(c, '|' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if key.is_empty() || key.len() > MAX_KEY || key.chars().any(bad) {
        return Err(Fail::bad_args("a key is 1 to 256 bytes without control characters and |"));
    }
    Ok(key)
}

fn names<'a>(fields: impl Iterator<Item = Raw<'a>>) -> Result<Vec<SubjectName>, Fail> {
    let (mut names, mut seen) = (Vec::new(), BTreeSet::new());
    for (n, field) in fields.enumerate() {
        if n == MAX_NAMES {
            return Err(Fail::bad_args("at most 1000 names"));
        }
        let named = subject(&short(field, 512)?)?;
        let key = match &named {
            SubjectName::Everybody => return Err(Fail::bad_args("* is nobody in particular")),
            SubjectName::User(user) | SubjectName::Remote(user) => name::fold(user).into_owned(),
        };
        if seen.insert(key) {
            names.push(named);
        }
    }
    Ok(names)
}

fn subject(text: &str) -> Result<SubjectName, Fail> {
    if text == "*" {
        return Ok(SubjectName::Everybody);
    }
    match name::of_realm(text)? {
        // A realm has one spelling, so that two of one user are seen.
        Some((realm, user)) => Ok(SubjectName::Remote(format!("{realm}::{user}"))),
        None => {
            name::check_user(text)?;
            Ok(SubjectName::User(text.to_owned()))
        }
    }
}

fn rights(letters: &str) -> Result<Rights, Fail> {
    let mut rights = 0;
    for letter in letters.chars() {
        let bit = match letter {
            'r' => READ,
            'w' => WRITE,
            'a' => ADMINISTER,
            _ => return Err(Fail::bad_args("rights are of r, w and a")),
        };
        if rights & bit != 0 {
            return Err(Fail::bad_args("a right is given twice"));
        }
        rights |= bit;
    }
    Ok(rights)
}

/// Whether a path or an id may name another realm: those here begin with `/`, or have no `:`. The rest of its text tells.
fn is_elsewhere(field: Raw<'_>) -> bool {
    !field.0.starts_with(b"/") && field.0.len() <= 2 * (MAX_PATH + 512) && memchr::memchr(b':', field.0).is_some()
}

/// The realm of `realm::/path`, and the path there. None: it begins with no realm.
///
/// # Errors
/// BADARGS.
pub fn path_elsewhere(field: Raw<'_>) -> Result<Option<(String, Path)>, Fail> {
    if !is_elsewhere(field) {
        return Ok(None);
    }
    let text = field.text()?;
    let Some((realm, path)) = text.split_once("::/").filter(|_| !text.starts_with('/')) else { return Ok(None) };
    let realm = realm.to_ascii_lowercase();
    name::check_realm(&realm)?;
    Ok(Some((realm, Path::parse(&format!("/{path}"))?)))
}

/// The realm of `realm::message-id`, and the id there. None: it has no realm.
///
/// # Errors
/// BADARGS.
pub fn message_elsewhere(field: Raw<'_>) -> Result<Option<(String, [u8; 16])>, Fail> {
    if !is_elsewhere(field) {
        return Ok(None);
    }
    let text = field.text()?;
    let Some((realm, id)) = text.rsplit_once("::") else { return Ok(None) };
    let realm = realm.to_ascii_lowercase();
    name::check_realm(&realm)?;
    Ok(Some((realm, message(Raw(id.as_bytes()))?)))
}

/// `message-id LF recipient LF size LF sent-at`: MAIL. A time or size that SQLite cannot keep is refused.
pub fn mail(data: Raw<'_>) -> Result<([u8; 16], String, u64, u64), Fail> {
    let [id, recipient, size, sent] = data.take()?;
    Ok((message(id)?, user(recipient)?, number(size, MAX_OFFSET)?, number(sent, i64::MAX as u64)?))
}

/// The text of a field of at most `most` bytes on the wire.
fn short(field: Raw<'_>, most: usize) -> Result<String, Fail> {
    if field.0.len() > 2 * most {
        return Err(Fail::bad_args("too long"));
    }
    field.text().map(std::borrow::Cow::into_owned)
}

fn number(field: Raw<'_>, most: u64) -> Result<u64, Fail> {
    // A number may have zeros in front; nobody needs hundreds.
    if field.0.len() > 64 {
        return Err(Fail::bad_args("not a number"));
    }
    field.number().and_then(|number| match number <= most {
        true => Ok(number),
        false => Err(Fail::bad_args(format!("at most {most}"))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::raw::escape_into;
    use crate::wire::Code;

    fn wire(text: &str) -> Vec<u8> {
        let mut escaped = Vec::new();
        escape_into(&mut escaped, text.as_bytes());
        escaped
    }

    fn refused<T>(result: Result<T, Fail>) -> bool {
        matches!(result, Err(fail) if fail.code == Code::BadArgs)
    }

    #[test]
    fn paths_that_are_none() {
        let deep = |count: usize| "/a".repeat(count);
        for good in ["/", "/users", "/users/alice/a b/ä", "/...", &deep(64)] {
            let path = path(Raw(&wire(good))).unwrap();
            assert_eq!(path.as_str(), good);
            assert_eq!(path.segments().count(), good.split('/').filter(|part| !part.is_empty()).count());
        }
        let long = format!("/{}", "x".repeat(65));
        let large = format!("/{}", vec!["x".repeat(64); 64].join("/"));
        for bad in [
            "",
            "a",
            "//",
            "/a/",
            "/a//b",
            "/.",
            "/..",
            "/a/../b",
            "/a\nb",
            "/a\0",
            "/\u{7f}",
            "/\u{202e}x",
            "/a|b",
            "/a:b",
            "/e\u{301}",
            &long,
            &large,
            &deep(65),
            &deep(1_000_000),
        ] {
            assert!(refused(path(Raw(&wire(bad)))), "{:?}", &bad[..bad.len().min(80)]);
        }
        assert!(refused(path(Raw(b"/\xff"))));
    }

    #[test]
    fn numbers_that_are_none() {
        for number in
            ["-1", "", "+1", "1 ", "0x1", "562949953421313", "18446744073709551616", "99999999999999999999999"]
        {
            let data = wire(&format!("/f\n{number}\n5"));
            assert!(refused(write(Raw(&data))) && refused(read(Raw(&data))), "{number}");
            assert!(refused(truncate(Raw(&wire(&format!("/f\n{number}"))))), "{number}");
        }
        assert!(refused(read(Raw(&wire("/f\n0\n1048577")))));
        assert_eq!(read(Raw(&wire("/f\n007\n1048576"))).map(|(_, offset, length)| (offset, length)), Ok((7, 1 << 20)));
        assert!(refused(read(Raw(&wire("/f\n0")))) && refused(read(Raw(&wire("/f\n0\n1\n2")))));
        let zeros = "0".repeat(1 << 20);
        assert!(refused(truncate(Raw(&wire(&format!("/f\n{zeros}"))))));
    }

    #[test]
    fn what_is_elsewhere() {
        let path = |text: &str| path_elsewhere(Raw(&wire(text)));
        let there = |realm: &str, at: &str| Ok(Some((realm.to_owned(), Path::parse(at).unwrap())));
        assert_eq!(path("Host:9::/users/bob/a b"), there("host:9", "/users/bob/a b"));
        assert_eq!(path("[::1]:9::/"), there("[::1]:9", "/"));
        for here in ["/users/bob", "", "x", "/h:9::/x", "h:9::bob"] {
            assert_eq!(path(here), Ok(None), "{here}");
        }
        for bad in ["h::/x", "h:0::/x", "h:9::/..", "h:9::/a//b", "a/h:9::/x", "h:9::/h:9::/x", "h|:9::/x", "::/x"] {
            assert!(refused(path(bad)), "{bad}");
        }
        let id = "00112233445566778899aabbccddeeff";
        let message = |text: &str| message_elsewhere(Raw(&wire(text)));
        assert_eq!(message(&format!("H:9::{id}")).map(|found| found.map(|(realm, _)| realm)), Ok(Some("h:9".into())));
        assert_eq!(message(id), Ok(None));
        for bad in ["h:9::", "h:9::0011", &format!("h::{id}"), &format!("h:9::h:9::{id}")] {
            assert!(refused(message(bad)), "{bad}");
        }
    }

    #[test]
    fn subjects_and_names() {
        let of = |text: &str| permissions(Raw(&wire(text))).map(|(_, list)| list);
        assert_eq!(of("/f"), Ok(Vec::new()));
        let list = of("/f\nbob|rw\n*|\nhost:99::Bob|a\n[::1]:99::bob|r").unwrap();
        let rights: Vec<Rights> = list.iter().map(|(_, rights)| *rights).collect();
        assert_eq!(rights, [READ | WRITE, 0, ADMINISTER, READ]);
        assert_eq!(list[2].0, SubjectName::Remote("host:99::Bob".to_owned()));
        for bad in
            ["bob", "bob|x", "bob|rr", "|r", "b ob|r", "host::bob|r", ":9::bob|r", "h:0::b|r", "h:+1::b|r", "h:1::|r"]
        {
            assert!(refused(of(&format!("/f\n{bad}"))), "{bad}");
        }
        for twice in ["/f\nbob|r\nBOB|w", "/f\nh:1::bob|r\nH:1::Bob|w"] {
            assert!(refused(of(twice)), "one subject, two rights");
        }
        let to = |text: &str| recipients(Raw(&wire(text)));
        assert_eq!(to("bob\nBob\nalice").map(|names| names.len()), Ok(2));
        assert!(refused(to("")) && refused(to("*")) && refused(to("bob\n")));
        assert!(refused(to(&(0..1001).map(|n| format!("u{n}\n")).collect::<String>())));
        assert!(message(Raw(b"00112233445566778899aabbccddeeff")).is_ok());
        assert!(refused(message(Raw(b"00112233445566778899AABBCCDDEEFF"))) && refused(message(Raw(b"0011"))));
        assert!(refused(set_metadata(Raw(b"a|b~\nx"))) && refused(set_metadata(Raw(b"~\nx"))));
        assert!(refused(workspace(Raw(b""))) && refused(participants(Raw(b""))));
    }
}
