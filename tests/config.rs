//! Configurations, good and bad. `tests/config_test/bad/X.expected` is what must be said about `X.toml`, to the letter; with
//! CONVERGIA_BLESS set, it is written anew, to be read before it is kept.

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Output;

use convergia::config;
use convergia::config::Config;
use convergia::config::Overrides;
use convergia::config::Policy;
use convergia::config::PortKey;
use convergia::config::RoleName;
use convergia::config::Store;
use proptest::prelude::any;
use proptest::prelude::prop;
use proptest::prelude::ProptestConfig;
use proptest::prelude::Strategy;
use proptest::prop_assert;
use proptest::proptest;
use support::TempDir;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn folder(kind: &str) -> PathBuf {
    Path::new(ROOT).join("tests/config_test").join(kind)
}

/// The `.toml` files of a folder, sorted.
fn cases(kind: &str) -> Vec<PathBuf> {
    let files = fs::read_dir(folder(kind)).expect("the folder of cases").map(|entry| entry.expect("an entry").path());
    let cases: BTreeSet<PathBuf> = files.filter(|path| path.extension().is_some_and(|end| end == "toml")).collect();
    assert!(!cases.is_empty(), "no cases");
    cases.into_iter().collect()
}

fn file_name(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).expect("a name")
}

/// The real executable with `--check`, started in that folder.
fn check(folder: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_convergia"));
    command.current_dir(folder).arg("--check").args(args).output().expect("the executable")
}

fn words(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("UTF-8")
}

fn defaults() -> Config {
    config::load(&Overrides::default()).expect("the defaults")
}

fn set(settings: &[&str]) -> Result<Config, String> {
    let set = settings.iter().map(|text| (*text).to_owned()).collect();
    config::load(&Overrides { set, ..Overrides::default() }).map_err(|error| error.to_string())
}

#[test]
fn good_configurations() {
    for path in cases("good") {
        let overrides = Overrides { config: Some(path.clone()), ..Overrides::default() };
        config::load(&overrides).unwrap_or_else(|error| panic!("{error}"));
        let output = check(&folder("good"), &["--config", file_name(&path)]);
        assert_eq!(output.status.code(), Some(0), "{}: {}", path.display(), words(&output.stderr));
    }
}

#[test]
fn bad_configurations() {
    for path in cases("bad") {
        let output = check(&folder("bad"), &["--config", file_name(&path)]);
        assert_eq!(output.status.code(), Some(2), "{}", path.display());
        assert_eq!(words(&output.stdout), "", "{}", path.display());
        let expected = path.with_extension("expected");
        if std::env::var_os("CONVERGIA_BLESS").is_some() {
            fs::write(&expected, &output.stderr).expect("writing what is expected");
        }
        let expected = fs::read_to_string(&expected).unwrap_or_else(|error| panic!("{}: {error}", expected.display()));
        assert_eq!(words(&output.stderr), expected, "{}", path.display());
    }
}

#[test]
fn the_example_is_the_table_and_says_the_defaults() {
    let path = Path::new(ROOT).join("convergia.toml.example");
    let example = config::example();
    if std::env::var_os("CONVERGIA_BLESS").is_some() {
        fs::write(&path, &example).expect("writing the example");
    }
    assert_eq!(fs::read_to_string(&path).expect("convergia.toml.example"), example);
    let parsed = config::parse("example", &example, &Overrides::default()).unwrap_or_else(|error| panic!("{error}"));
    // Debug shows every field of it.
    assert_eq!(format!("{parsed:?}"), format!("{:?}", defaults()));
}

#[test]
fn defaults_are_those_of_the_contract() {
    let config = defaults();
    assert_eq!(config.roles, RoleName::ALL);
    assert_eq!(config.name, "main");
    assert_eq!(config.management.registration, Policy::Captcha);
    assert_eq!(config.listen.len(), PortKey::ALL.len());
    for (port, address) in &config.listen {
        assert_eq!(address.to_string(), format!("127.0.0.1:{}", port.default_port()));
    }
    assert!(config.advertise.is_empty() && config.join.is_none() && config.management.certificate.is_none());
    assert_eq!(config.engine.outbox_total, 256 << 20);
    let ports: BTreeSet<u16> = PortKey::ALL.iter().map(|port| port.default_port()).collect();
    assert_eq!(ports.len(), PortKey::ALL.len(), "each port has a number of its own");
}

#[test]
fn what_a_good_file_says_arrives() {
    let text = fs::read_to_string(folder("good").join("dotted.toml")).expect("dotted.toml");
    let config = config::parse("dotted.toml", &text, &Overrides::default()).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(config.roles, [RoleName::Management, RoleName::Main]);
    assert_eq!(config.listen[&PortKey::ClientMain].to_string(), "[::1]:0");
    assert_eq!(config.log, "warn,convergia::engine=debug");
    assert_eq!((config.engine.threads, config.engine.max_packet), (2, 1 << 20));
    assert_eq!((config.engine.outbox, config.engine.outbox_total), (2 << 20, 512 << 20));
    assert_eq!((config.management.registration, config.management.token_days), (Policy::Closed, 7));
    let text = fs::read_to_string(folder("good").join("later_roles.toml")).expect("later_roles.toml");
    let config =
        config::parse("later_roles.toml", &text, &Overrides::default()).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((config.realm.name.as_str(), config.realm.registration), ("Åland", Policy::Open));
    assert_eq!((config.realm.attach, config.realm.user_cap, config.realm.quota), (Some(true), Some(500), 100 << 20));
    assert_eq!(config.data.capacity, 5 << 40);
    assert_eq!(config.voice.default_rights, ["add_channel", "add_user"]);
    assert_eq!((config.voice.allow_unsigned, config.voice.udp_ports), (true, 36));
}

#[test]
fn settings_of_the_command_line() {
    let config = set(&[
        "management.registration=open",
        " engine.outbox = 2 MiB ",
        "engine.threads=3",
        "name=2024",
        "listen.web=[::1]:1",
        "advertise.web=\"chat.example:443\"",
        "roles=management, main",
        "voice.default_rights=add_channel",
        "realm.attach=false",
        "management.certificate=a=b.pem",
        "management.private_key=key.pem",
    ]);
    let config = config.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(config.management.registration, Policy::Open);
    assert_eq!((config.engine.outbox, config.engine.threads), (2 << 20, 3));
    assert_eq!(config.name, "2024");
    assert_eq!(config.listen[&PortKey::Web].to_string(), "[::1]:1");
    assert_eq!(config.advertise[&PortKey::Web], "chat.example:443");
    assert_eq!(config.roles, [RoleName::Management, RoleName::Main]);
    assert_eq!(config.voice.default_rights, ["add_channel"]);
    assert_eq!(config.realm.attach, Some(false));
    assert_eq!(config.management.certificate.as_deref(), Some(Path::new("a=b.pem")));
    // The last one counts.
    assert_eq!(set(&["name=a", "name=b"]).map(|config| config.name), Ok("b".to_owned()));
    // An empty value is the default of what may be empty.
    assert_eq!(set(&["join=", "roles="]).map(|config| config.roles), Ok(RoleName::ALL.to_vec()));
}

#[test]
fn bad_settings_of_the_command_line() {
    for (setting, said) in [
        (
            "management.registration=free",
            "--set management.registration = \"free\": must be one of captcha, open, invite, closed",
        ),
        (
            "management.registratoin=open",
            "--set unknown key management.registratoin; did you mean management.registration?",
        ),
        ("nothing", "--set nothing: must be KEY=VALUE"),
        ("engine=1", "--set engine is a table: write [engine] and its keys below it, or engine.KEY = VALUE"),
        ("engine.threads=0", "--set engine.threads = 0: must be a whole number from 1 to 256"),
        ("voice.allow_unsigned=yes", "--set voice.allow_unsigned = \"yes\": must be true or false"),
        ("realm.attach=false", "--set realm.attach = false: a realm that stands alone has a process and a data folder of its own: roles = [\"realm\"] (--role realm)"),
        (
            "management.certificate=a.pem",
            "--set management.certificate = \"a.pem\": must be both or neither of management.certificate and \
             management.private_key",
        ),
    ] {
        assert_eq!(set(&[setting]).map(|_| ()), Err(said.to_owned()), "{setting}");
    }
}

#[test]
fn where_blocks_are_kept() {
    let config = defaults();
    assert_eq!((config.data.store, config.data.scrub_days), (Store::Disk, 30));
    assert_eq!(config.data_folder(), config.data_dir.join("blocks"));
    assert_eq!(set(&["data.folder=/b"]).map(|config| config.data_folder()), Ok(PathBuf::from("/b")));
    let s3 = ["data.store=s3", "data.s3_bucket=b", "data.s3_access_key=k", "data.s3_secret_key_file=f"];
    let with = |endpoint: &str, more: &str| {
        let endpoint = format!("data.s3_endpoint={endpoint}");
        set(&[s3.as_slice(), &[endpoint.as_str(), more]].concat()).map(|config| config.data.store)
    };
    for good in ["https://s3.example", "http://127.0.0.1:9000", "http://[::1]:1/", "http://localhost"] {
        assert_eq!(with(good, "name=x"), Ok(Store::S3), "{good}");
    }
    let plain = "needs data.s3_plain_http = true";
    for bad in ["http://s3.example", "http://127.0.0.1@s3.example", "http://localhost.example", "http://10.0.0.1"] {
        assert!(with(bad, "name=x").is_err_and(|error| error.contains(plain)), "{bad}");
        assert_eq!(with(bad, "data.s3_plain_http=true"), Ok(Store::S3), "{bad}");
    }
    for bad in ["s3.example", "ftp://s3.example", "https://"] {
        assert!(with(bad, "name=x").is_err_and(|error| error.contains("must begin with https://")), "{bad}");
    }
    let needed = set(&["data.store=s3"]).map(|_| ()).expect_err("no bucket");
    assert!(needed.contains("data.s3_bucket is needed") && needed.lines().count() == 4, "{needed}");
}

#[test]
fn flags_come_before_the_file() {
    let text = "roles = [\"management\"]\ndata_dir = \"/a\"\n[listen]\nclient_main = \"10.0.0.1:5\"\n";
    let mut overrides = Overrides { bind: Some("[::1]".to_owned()), ..Overrides::default() };
    let parse = |overrides: &Overrides| config::parse("x", text, overrides).map_err(|error| error.to_string());
    let config = parse(&overrides).expect("good");
    assert_eq!(config.listen[&PortKey::ClientMain].to_string(), "[::1]:5");
    assert_eq!(config.listen[&PortKey::Web].to_string(), "[::1]:64580");
    assert_eq!((config.roles, config.data_dir), (vec![RoleName::Management], PathBuf::from("/a")));
    overrides.any_port = true;
    overrides.roles = vec!["main".to_owned(), "management".to_owned()];
    overrides.data_dir = Some(PathBuf::from("/b"));
    let config = parse(&overrides).expect("good");
    assert!(config.listen.values().all(|address| address.to_string() == "[::1]:0"));
    assert_eq!(config.roles, [RoleName::Main, RoleName::Management]);
    assert_eq!(config.data_dir, PathBuf::from("/b"));
    overrides.bind = Some("localhost".to_owned());
    let said = "--bind \"localhost\": must be an address, for example 127.0.0.1, 0.0.0.0 or ::";
    assert_eq!(parse(&overrides).map(|_| ()), Err(said.to_owned()));
    overrides = Overrides { roles: vec!["mane".to_owned()], ..Overrides::default() };
    let said = "--role: there is no role \"mane\"; the roles are management, main, data-management, data, realm";
    assert_eq!(parse(&overrides).map(|_| ()), Err(said.to_owned()));
}

#[test]
fn who_joins_has_no_management_of_its_own() {
    let join = format!("join=convergia://hub.example#{}", "0".repeat(64));
    assert_eq!(set(&[&join]).map(|config| config.roles), Ok(vec![RoleName::Main]), "a main server");
    assert_eq!(set(&[&join, "roles=main"]).map(|config| config.roles), Ok(vec![RoleName::Main]));
    let both = set(&[&join, "roles=management, main"]).map(|_| ()).expect_err("joins itself");
    assert!(both.starts_with("--set join = ") && both.contains("role management"), "{both}");
    let neither = set(&["roles=main"]).map(|_| ()).expect_err("no management");
    let said = "--set roles = main: without role management in this process, join must say where it is: join = \
                \"convergia://HOST:PORT#FINGERPRINT\", as management prints it at its start";
    assert_eq!(neither, said);
    let overrides = Overrides { roles: vec!["main".to_owned()], ..Overrides::default() };
    let neither = config::parse("x", "", &overrides).map(|_| ()).expect_err("no management").to_string();
    assert!(neither.starts_with("--role: roles = main: without role management"), "{neither}");
}

#[test]
fn what_needs_a_restart() {
    let old = defaults();
    assert!(config::reloadable(&old, &defaults()).is_empty());
    let new = set(&["management.registration=open", "management.token_days=3", "engine.outbox=2 MiB"]).expect("good");
    assert!(config::reloadable(&old, &new).is_empty());
    let new = set(&["engine.threads=2", "name=x", "listen.web=127.0.0.1:0", "management.token_days=3"]).expect("good");
    assert_eq!(config::reloadable(&old, &new), ["name", "listen.web", "engine.threads"]);
}

#[test]
fn files_that_cannot_be_read() {
    let folder = TempDir::new();
    let output = check(folder.path(), &["--config", "none.toml"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(words(&output.stderr).starts_with("none.toml: "), "{}", words(&output.stderr));
    fs::write(folder.path().join("big.toml"), vec![b'#'; (1 << 20) + 1]).expect("writing");
    let output = check(folder.path(), &["--config", "big.toml"]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(words(&output.stderr), "big.toml: a configuration is at most 1048576 bytes long\n");
    assert_eq!(check(folder.path(), &["--config", "."]).status.code(), Some(2));
}

#[test]
fn check_takes_the_command_line_too_and_starts_nothing() {
    let folder = TempDir::new();
    let data = folder.path().join("data");
    let data_dir = data.to_str().expect("UTF-8");
    assert_eq!(check(folder.path(), &["--data-dir", data_dir, "--any-port"]).status.code(), Some(0));
    assert_eq!(check(folder.path(), &["--data-dir", data_dir, "--set", "name=a/b"]).status.code(), Some(2));
    assert_eq!(check(folder.path(), &["--data-dir", data_dir, "--role", "data"]).status.code(), Some(2));
    assert!(!data.exists());
}

/// The environment belongs to the whole process, so another one is asked.
#[test]
fn where_data_is_kept() {
    let folder = TempDir::new();
    let ask = |data: Option<&str>, home: Option<&str>| {
        let mut command = Command::new(std::env::current_exe().expect("this test"));
        command.args(["--exact", "where_data_is_kept_here", "--nocapture"]).current_dir(folder.path());
        command.env_remove("XDG_DATA_HOME").env_remove("HOME");
        command.envs(data.map(|path| ("XDG_DATA_HOME", path)));
        command.envs(home.map(|path| ("HOME", path)));
        let output = command.output().expect("this test again");
        let answer =
            words(&output.stdout).lines().find_map(|line| line.split_once("data: ").map(|(_, path)| path.to_owned()));
        answer.unwrap_or_else(|| panic!("no answer: {output:?}"))
    };
    assert_eq!(ask(Some("/x"), Some("/h")), "/x/convergia");
    assert_eq!(ask(None, Some("/h")), "/h/.local/share/convergia");
    assert_eq!(ask(Some(""), Some("/h")), "/h/.local/share/convergia");
    assert_eq!(ask(Some("relative"), None), "convergia-data");
}

#[test]
fn where_data_is_kept_here() {
    println!("data: {}", defaults().data_dir.display());
    assert_eq!(defaults().data_dir, config::default_data_dir());
}

/// Pieces of a configuration, in any order: nearer to the point than any text.
fn pieces() -> impl Strategy<Value = String> {
    let names = config::example().lines().map(str::to_owned).filter(|line| !line.starts_with('#')).collect::<Vec<_>>();
    let odd = [
        "[",
        "]",
        "=",
        "\"",
        "'''",
        "\n",
        "{",
        "}",
        "[[",
        "]]",
        ".",
        ",",
        "-1",
        "1e9",
        "\u{0}",
        "é",
        "\r",
        "99999999999999999999",
    ];
    let piece = proptest::prop_oneof![
        prop::sample::select(names).prop_map(|line| format!("{line}\n")),
        prop::sample::select(odd.to_vec()).prop_map(str::to_owned),
        any::<char>().prop_map(String::from),
    ];
    prop::collection::vec(piece, 0..30).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_good_or_bad_and_never_a_panic(text in proptest::prop_oneof![pieces(), "\\PC{0,200}", "(?s).{0,200}"]) {
        if let Err(error) = config::parse("x.toml", &text, &Overrides::default()) {
            let error = error.to_string();
            prop_assert!(!error.is_empty());
            for line in error.lines() {
                prop_assert!(line.starts_with("x.toml:") || line.starts_with("and "), "{}", line);
            }
        }
    }

    #[test]
    fn any_setting_is_good_or_bad_and_never_a_panic(text in "(?s).{0,60}", key in prop::sample::select(keys())) {
        let _ = set(&[&text]);
        let _ = set(&[&format!("{key}={text}")]);
    }
}

/// Every dotted key, as the example has it.
fn keys() -> Vec<String> {
    let mut section = String::new();
    let mut keys = Vec::new();
    for line in config::example().lines().filter(|line| !line.starts_with('#')) {
        if let Some(name) = line.strip_prefix('[') {
            section = format!("{}.", name.trim_end_matches(']'));
        } else if let Some((name, _)) = line.split_once(" = ") {
            keys.push(format!("{section}{name}"));
        }
    }
    assert!(keys.len() > 60);
    keys
}

#[test]
fn deep_nesting_is_refused() {
    for deep in [
        format!("a = {}", "[".repeat(10_000)),
        format!("a{} = 1", ".a".repeat(50_000)),
        format!("{}1", "a={b=".repeat(20_000)),
    ] {
        assert!(config::parse("x.toml", &deep, &Overrides::default()).is_err());
    }
}
