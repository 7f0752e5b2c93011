//! Fuzzes the arguments of storage commands: nothing panics, what is taken obeys the contract, and means the same when it is
//! written and read again.

#![no_main]

extern crate wire;

#[path = "../../src/storage/args.rs"]
#[allow(dead_code)]
mod args;

use args::Path;
use args::SubjectName;
use libfuzzer_sys::fuzz_target;
use wire::name;
use wire::raw;
use wire::Code;
use wire::Fail;
use wire::Raw;

fuzz_target!(|input: &[u8]| {
    let data = Raw(input);
    if let Some(path) = taken(args::path(data)) {
        check_path(&path);
    }
    if let Some((from, to)) = taken(args::paths(data)) {
        check_path(&from);
        check_path(&to);
        let text = format!("{}\n{}", from.as_str(), to.as_str());
        assert_eq!(args::paths(Raw(&fields(&text))), Ok((from, to)));
    }
    if let Some((path, offset, bytes)) = taken(args::write(data)) {
        check_path(&path);
        assert!(offset <= args::MAX_OFFSET);
        assert!(input.ends_with(bytes.0));
    }
    if let Some((path, offset, length)) = taken(args::read(data)) {
        assert!(offset <= args::MAX_OFFSET && length <= args::MAX_LENGTH);
        let text = format!("{}\n{offset}\n{length}", path.as_str());
        assert_eq!(args::read(Raw(&fields(&text))), Ok((path, offset, length)));
    }
    if let Some((path, size)) = taken(args::truncate(data)) {
        assert!(size <= args::MAX_OFFSET);
        check_path(&path);
    }
    if let Some((path, list)) = taken(args::permissions(data)) {
        assert!(list.len() <= args::MAX_NAMES);
        let mut text = path.as_str().to_owned();
        for (subject, rights) in &list {
            assert!(*rights <= 7);
            text += &format!("\n{}|{}", shown(subject), args::rights_text(*rights));
        }
        assert_eq!(args::permissions(Raw(&fields(&text))), Ok((path, list)));
    }
    if let Some(names) = taken(args::recipients(data)) {
        assert!(!names.is_empty());
        check_names(&names);
    }
    if let Some((workspace, names)) = taken(args::participants(data)) {
        assert_eq!(name::check(&workspace), Ok(()));
        check_names(&names);
    }
    if let Some((key, _)) = taken(args::set_metadata(data)) {
        assert!((1..=args::MAX_KEY).contains(&key.len()) && !key.contains(['|', '\n', '\0']));
    }
    if let Some((user, _)) = taken(args::get_metadata(data)) {
        assert_eq!(name::check_user(&user), Ok(()));
    }
    if let Some((_, after, count)) = taken(args::read_changes(data)) {
        assert!(after.max(count) <= i64::MAX as u64);
    }
    taken(args::message(data));
    taken(args::append(data));
    taken(args::read_message(data));
    taken(args::workspace(data));
    taken(args::post(data));
    taken(args::ack(data));
    taken(args::user(data));
});

/// What was taken; whatever was not is BADARGS.
fn taken<T>(result: Result<T, Fail>) -> Option<T> {
    if let Err(fail) = &result {
        assert_eq!(fail.code, Code::BadArgs);
    }
    result.ok()
}

fn check_path(path: &Path) {
    let text = path.as_str();
    assert!(text.len() <= args::MAX_PATH);
    let segments: Vec<&str> = path.segments().collect();
    assert!(segments.len() <= args::MAX_SEGMENTS);
    assert!(segments.iter().all(|segment| name::check(segment).is_ok()));
    assert_eq!(text, format!("/{}", segments.join("/")));
    assert_eq!(args::path(Raw(&fields(text))).as_ref(), Ok(path));
}

fn check_names(names: &[SubjectName]) {
    assert!(names.len() <= args::MAX_NAMES && !names.contains(&SubjectName::Everybody));
    let text = names.iter().map(shown).collect::<Vec<_>>().join("\n");
    if !names.is_empty() {
        assert_eq!(args::recipients(Raw(&fields(&text))).as_deref(), Ok(names));
    }
}

fn shown(subject: &SubjectName) -> String {
    match subject {
        SubjectName::User(name) | SubjectName::Remote(name) => name.clone(),
        SubjectName::Everybody => "*".to_owned(),
    }
}

/// As it stands on the wire.
fn fields(text: &str) -> Vec<u8> {
    let mut escaped = Vec::new();
    raw::escape_into(&mut escaped, text.as_bytes());
    escaped
}
