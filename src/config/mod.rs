//! The configuration: defaults, then one TOML file, then the command line; checked as a whole.
//!
//! `keys` has the table of every key, `kind` what a value may be, `parse` brings text and table together with the place of
//! every mistake, `example` writes the table down for people.

mod example;
mod keys;
mod kind;
mod names;
mod parse;

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::Read;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::path::Path;
use std::path::PathBuf;

pub use example::example;
pub use kind::size;
pub use names::Policy;
pub use names::PortKey;
pub use names::RoleName;
pub use names::Store;
pub use names::VOICE_RIGHTS;

use keys::KEYS;
use kind::Value;
use parse::Settings;

/// The longest configuration file, in bytes.
const MAX_FILE: u64 = 1 << 20;
/// How many problems an error shows.
const MAX_PROBLEMS: usize = 20;

/// What the command line says; it comes before the file.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// The file; none: the defaults.
    pub config: Option<PathBuf>,
    pub data_dir: Option<PathBuf>,
    /// `KEY=VALUE`, in this order.
    pub set: Vec<String>,
    /// The address of every listener; the ports stay.
    pub bind: Option<String>,
    /// Every listener on port 0.
    pub any_port: bool,
    /// Names of roles; empty: as configured.
    pub roles: Vec<String>,
}

/// Role management.
#[derive(Clone, Debug)]
pub struct Management {
    pub registration: Policy,
    /// With `private_key`, or neither.
    pub certificate: Option<PathBuf>,
    pub private_key: Option<PathBuf>,
    pub token_days: u64,
}

/// Role realm.
#[derive(Clone, Debug)]
pub struct Realm {
    pub name: String,
    /// One line, for people.
    pub description: String,
    /// How long messages for a realm that is away wait; seconds.
    pub queue_seconds: u64,
    pub registration: Policy,
    /// None: attached when management runs in the same process.
    pub attach: Option<bool>,
    /// Accounts; none: any number.
    pub user_cap: Option<u64>,
    /// Bytes a user.
    pub quota: u64,
    /// It is not the default, which stands for data management's where the realm is attached.
    pub own_quota: bool,
}

/// Role data-management.
#[derive(Clone, Debug)]
pub struct DataManagement {
    /// Bytes a user.
    pub quota: u64,
    /// Seconds.
    pub grace: u64,
}

/// Role data.
#[derive(Clone, Debug)]
pub struct Data {
    /// Bytes.
    pub capacity: u64,
    pub store: Store,
    /// None: `blocks` in the data folder; see `Config::data_folder`.
    pub folder: Option<PathBuf>,
    pub s3: S3,
    pub scrub_days: u64,
}

/// An S3-compatible object store; all of it is there if it is the one in use.
#[derive(Clone, Debug)]
pub struct S3 {
    /// `https://host`, or `http://host` where that is allowed.
    pub endpoint: String,
    pub bucket: String,
    pub region: String,
    pub prefix: String,
    pub access_key: String,
    pub secret_key_file: Option<PathBuf>,
    /// Certificates (PEM) that are trusted in place of the public CAs.
    pub ca_file: Option<PathBuf>,
}

/// Voice.
#[derive(Clone, Debug)]
pub struct Voice {
    /// Names of rights, as contract 11 has them.
    pub default_rights: Vec<String>,
    pub allow_unsigned: bool,
    /// How many UDP ports there are from `listen.voice_udp` on; the last is at most 65535.
    pub udp_ports: u16,
}

/// Bounds and threads. Sizes in bytes.
#[derive(Clone, Debug)]
pub struct Engine {
    pub threads: usize,
    pub max_packet: usize,
    pub max_packet_before_sign_on: usize,
    pub outbox: usize,
    pub outbox_total: usize,
    pub max_links: usize,
    pub waiting_links: usize,
    pub stall_seconds: u64,
    pub argon2_workers: usize,
}

/// A configuration that passed every check.
#[derive(Clone, Debug)]
pub struct Config {
    /// Never empty, each once.
    pub roles: Vec<RoleName>,
    pub data_dir: PathBuf,
    pub name: String,
    /// `convergia://…` of another machine's management.
    pub join: Option<String>,
    /// Every port of `PortKey::ALL`.
    pub listen: BTreeMap<PortKey, SocketAddr>,
    /// `host:port`; only what is configured.
    pub advertise: BTreeMap<PortKey, String>,
    pub management: Management,
    pub realm: Realm,
    pub data_management: DataManagement,
    pub data: Data,
    pub voice: Voice,
    pub engine: Engine,
    /// A filter of the log.
    pub log: String,
    /// Every key's value, to tell what changed.
    values: BTreeMap<&'static str, Value>,
}

/// The folder of the blocks within the data folder, unless another is named.
pub const BLOCKS_FOLDER: &str = "blocks";

impl Config {
    /// Whether the realm of this process stands alone: it has accounts and storage of its own, and `join` names only the directory.
    pub fn is_realm_alone(&self) -> bool {
        self.roles == [RoleName::Realm] && !self.realm.attach.unwrap_or(false)
    }

    /// Whether this process opens a port, as one of its roles has it.
    pub fn opens(&self, port: PortKey) -> bool {
        let has = |roles: &[RoleName]| roles.iter().any(|role| self.roles.contains(role));
        match port {
            PortKey::PublicManagement
            | PortKey::ClientManagement
            | PortKey::MainManagement
            | PortKey::Validation
            | PortKey::DatamanagementManagement
            | PortKey::ClientRealms
            | PortKey::RealmManagement => has(&[RoleName::Management]),
            PortKey::ClientMain => has(&[RoleName::Main]),
            PortKey::MainMain => has(&[RoleName::Main]) || (has(&[RoleName::Realm]) && !self.is_realm_alone()),
            PortKey::MainDatamanagement | PortKey::DataDatamanagement => has(&[RoleName::DataManagement]),
            PortKey::DataData => has(&[RoleName::Data]),
            PortKey::Realm | PortKey::Web => has(&[RoleName::Realm]),
            PortKey::VoiceControl | PortKey::VoiceUdp => has(&[RoleName::Main, RoleName::Realm]),
            // Not listened on by a server.
            PortKey::ClientClient | PortKey::RealmClientClient | PortKey::Discovery | PortKey::Admin => false,
        }
    }

    /// The folder of the blocks on disk.
    pub fn data_folder(&self) -> PathBuf {
        self.data.folder.clone().unwrap_or_else(|| self.data_dir.join(BLOCKS_FOLDER))
    }
}

/// What is wrong with a configuration: one line for each mistake, with its place, its key, and what is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError(Vec<String>);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: Vec<&str> = self.0.iter().take(MAX_PROBLEMS).map(String::as_str).collect();
        f.write_str(&shown.join("\n"))?;
        match self.0.len().saturating_sub(MAX_PROBLEMS) {
            0 => Ok(()),
            more => write!(f, "\nand {more} more"),
        }
    }
}

impl std::error::Error for ConfigError {}

/// Where data is kept when nothing is said: `$XDG_DATA_HOME/convergia`, else `$HOME/.local/share/convergia`, else
/// `./convergia-data`.
pub fn default_data_dir() -> PathBuf {
    // Relative paths there are to be ignored, as the XDG rules say; so is an empty one.
    let folder = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    if let Some(data) = folder("XDG_DATA_HOME") {
        return data.join("convergia");
    }
    match folder("HOME") {
        Some(home) => home.join(".local/share/convergia"),
        None => PathBuf::from("convergia-data"),
    }
}

/// Reads and checks the configuration: defaults, then the file, then `--set`, then the other flags.
///
/// # Errors
/// Every mistake, one a line.
pub fn load(overrides: &Overrides) -> Result<Config, ConfigError> {
    let text = match &overrides.config {
        Some(path) => Some((path.display().to_string(), read(path)?)),
        None => None,
    };
    build(text.as_ref().map(|(name, text)| (name.as_str(), text.as_str())), overrides)
}

/// As `load`, with the file's text at hand; `file` names it in errors, and `overrides.config` is not looked at.
///
/// # Errors
/// As `load`.
pub fn parse(file: &str, text: &str, overrides: &Overrides) -> Result<Config, ConfigError> {
    build(Some((file, text)), overrides)
}

/// The keys that differ and need a restart to be in force.
pub fn reloadable(old: &Config, new: &Config) -> Vec<&'static str> {
    let changed = |name: &str| old.values.get(name) != new.values.get(name);
    KEYS.iter().filter(|key| !key.reload && changed(key.name)).map(|key| key.name).collect()
}

fn read(path: &Path) -> Result<String, ConfigError> {
    let fail = |what: String| ConfigError(vec![format!("{}: {what}", path.display())]);
    let file = fs::File::open(path).map_err(|error| fail(error.to_string()))?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(|error| fail(error.to_string()))?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(fail(format!("a configuration is at most {MAX_FILE} bytes long")));
    }
    String::from_utf8(bytes).map_err(|error| {
        let good = error.as_bytes().get(..error.utf8_error().valid_up_to()).unwrap_or_default();
        let line = good.iter().filter(|b| **b == b'\n').count() + 1;
        ConfigError(vec![format!("{}:{line}: not UTF-8", path.display())])
    })
}

fn build(file: Option<(&str, &str)>, overrides: &Overrides) -> Result<Config, ConfigError> {
    let mut problems = Vec::new();
    let mut settings = Settings::defaults();
    if let Some((name, text)) = file {
        settings.file(name, text, &mut problems);
    }
    for text in &overrides.set {
        settings.set(text, &mut problems);
    }
    flags(&mut settings, overrides, &mut problems);
    check_together(&settings, &mut problems);
    if !problems.is_empty() {
        return Err(ConfigError(problems));
    }
    let mut config = typed(&settings);
    if let Some(path) = &overrides.data_dir {
        config.data_dir.clone_from(path);
    }
    Ok(config)
}

/// The flags that stand for keys.
fn flags(settings: &mut Settings, overrides: &Overrides, problems: &mut Vec<String>) {
    let mut address = None;
    if let Some(text) = &overrides.bind {
        address = kind::bind_address(text);
        if address.is_none() {
            problems.push(format!("--bind {text:?}: must be an address, for example 127.0.0.1, 0.0.0.0 or ::"));
        }
    }
    for setting in settings.0.values_mut() {
        if let Value::Address(listen) = &mut setting.value {
            if let Some(address) = address {
                listen.set_ip(address);
            }
            if overrides.any_port {
                listen.set_port(0);
            }
        }
    }
    if !overrides.roles.is_empty() {
        match kind::roles(&overrides.roles) {
            Ok(roles) => {
                if let Some(setting) = settings.0.get_mut("roles") {
                    setting.value = Value::Roles(roles);
                    (setting.place, setting.shown) = ("--role: ".to_owned(), overrides.roles.join(", "));
                }
            }
            Err(error) => problems.push(format!("--role: {error}")),
        }
    }
    if overrides.data_dir.as_ref().is_some_and(|path| path.as_os_str().is_empty()) {
        problems.push("--data-dir \"\": must be a path".to_owned());
    }
}

/// What one key alone cannot tell.
fn check_together(settings: &Settings, problems: &mut Vec<String>) {
    let mut wrong = |first: &str, second: &str, what: &str| {
        // The place of whichever was said, not defaulted.
        let said = |name: &&str| settings.0.get(*name).is_some_and(|setting| !setting.place.is_empty());
        let name = [first, second].into_iter().find(said).unwrap_or(first);
        if let Some(setting) = settings.0.get(name) {
            problems.push(format!("{}{name} = {}: {what}", setting.place, setting.shown));
        }
    };
    let has = |role| settings.roles().contains(&role);
    if has(RoleName::Management) && settings.text_if_any("join").is_some() {
        wrong(
            "join",
            "roles",
            "role management is the network's own and joins none; a second main server has roles = [\"main\"] (--role main)",
        );
    }
    let attach = settings.yes("realm.attach");
    let realm_alone = has(RoleName::Realm) && !attach.unwrap_or(has(RoleName::Management));
    if realm_alone && settings.roles().len() > 1 {
        wrong(
            "realm.attach",
            "roles",
            "a realm that stands alone has a process and a data folder of its own: roles = [\"realm\"] (--role realm)",
        );
    }
    if !has(RoleName::Management) && !realm_alone && settings.text_if_any("join").is_none() {
        wrong(
            "roles",
            "join",
            "without role management in this process, join must say where it is: join = \
             \"convergia://HOST:PORT#FINGERPRINT\", as management prints it at its start",
        );
    }
    let (certificate, private_key) = ("management.certificate", "management.private_key");
    if settings.path(certificate).is_some() != settings.path(private_key).is_some() {
        wrong(certificate, private_key, "must be both or neither of management.certificate and management.private_key");
    }
    let (before, after) = ("engine.max_packet_before_sign_on", "engine.max_packet");
    if settings.number(before) > settings.number(after) {
        wrong(before, after, "engine.max_packet_before_sign_on must be at most engine.max_packet");
    }
    if settings.number("engine.outbox") > settings.number("engine.outbox_total") {
        wrong("engine.outbox", "engine.outbox_total", "engine.outbox must be at most engine.outbox_total");
    }
    if settings.text("data.store") == "s3" {
        for needed in
            ["data.s3_endpoint", "data.s3_bucket", "data.s3_region", "data.s3_access_key", "data.s3_secret_key_file"]
        {
            if settings.text(needed).is_empty() {
                wrong("data.store", needed, &format!("{needed} is needed, and is empty"));
            }
        }
    }
    let endpoint = settings.text("data.s3_endpoint");
    match endpoint.split_once("://") {
        None if endpoint.is_empty() => (),
        Some(("https", host)) if !host.is_empty() => (),
        Some(("http", host)) if is_loopback(host) || settings.yes("data.s3_plain_http") == Some(true) => (),
        Some(("http", _)) => wrong(
            "data.s3_endpoint",
            "data.s3_plain_http",
            "http:// over the network needs data.s3_plain_http = true; https:// is better",
        ),
        _ => wrong("data.s3_endpoint", "data.s3_plain_http", "must begin with https:// or http://"),
    }
    let first = u64::from(settings.address("listen.voice_udp").port());
    if first != 0 && first + settings.number("voice.udp_ports") > 65_536 {
        let what = "the last port, listen.voice_udp + voice.udp_ports - 1, must be at most 65535";
        wrong("voice.udp_ports", "listen.voice_udp", what);
    }
    let told = settings.text_if_any("advertise.voice_udp");
    let told = told.and_then(|told| told.rsplit(':').next()?.parse::<u64>().ok()).unwrap_or(0);
    if first != 0 && told + settings.number("voice.udp_ports") > 65_536 {
        let what = "the last port that is told, advertise.voice_udp + voice.udp_ports - 1, must be at most 65535";
        wrong("advertise.voice_udp", "voice.udp_ports", what);
    }
}

/// Whether `host`, `host:port` or what follows of a URL is this machine.
fn is_loopback(host: &str) -> bool {
    let host = host.split('/').next().unwrap_or_default();
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    // With an @, what comes before is no host.
    !host.contains('@') && (name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback()))
}

/// Values by key. The table and the readers below agree: a default is there for every key, and its kind makes its value.
impl Settings {
    fn value(&self, name: &str) -> &Value {
        match self.0.get(name) {
            Some(setting) => &setting.value,
            None => unreachable!("{name} is not in the table of keys"),
        }
    }

    /// Whether it is another than the default.
    fn differs(&self, name: &str) -> bool {
        Settings::defaults().value(name) != self.value(name)
    }

    fn number(&self, name: &str) -> u64 {
        match self.value(name) {
            Value::Number(number) => *number,
            other => unreachable!("{name}: {other:?}"),
        }
    }

    fn size(&self, name: &str) -> usize {
        usize::try_from(self.number(name)).unwrap_or(usize::MAX)
    }

    fn text(&self, name: &str) -> String {
        match self.value(name) {
            Value::Text(text) => text.clone(),
            other => unreachable!("{name}: {other:?}"),
        }
    }

    fn roles(&self) -> Vec<RoleName> {
        let joins = self.text_if_any("join").is_some();
        match self.value("roles") {
            Value::Roles(roles) if !roles.is_empty() => roles.clone(),
            _ if joins => vec![RoleName::Main],
            _ => RoleName::ALL.to_vec(),
        }
    }

    fn text_if_any(&self, name: &str) -> Option<String> {
        Some(self.text(name)).filter(|text| !text.is_empty())
    }

    fn path(&self, name: &str) -> Option<PathBuf> {
        self.text_if_any(name).map(PathBuf::from)
    }

    fn address(&self, name: &str) -> SocketAddr {
        match self.value(name) {
            Value::Address(address) => *address,
            other => unreachable!("{name}: {other:?}"),
        }
    }

    fn yes(&self, name: &str) -> Option<bool> {
        match self.value(name) {
            Value::Bool(yes) => Some(*yes),
            _ => None,
        }
    }

    fn policy(&self, name: &str) -> Policy {
        let text = self.text(name);
        let found = Policy::ALL.iter().find(|policy| policy.name() == text);
        found.copied().unwrap_or_else(|| unreachable!("{name}: {text}"))
    }
}

fn typed(settings: &Settings) -> Config {
    let default_rights = match settings.value("voice.default_rights") {
        Value::Words(words) => words.clone(),
        _ => Vec::new(),
    };
    let listen = |port: &PortKey| (*port, settings.address(&format!("listen.{}", port.name())));
    let advertise = |port: &PortKey| Some((*port, settings.text_if_any(&format!("advertise.{}", port.name()))?));
    Config {
        roles: settings.roles(),
        data_dir: settings.path("data_dir").unwrap_or_else(default_data_dir),
        name: settings.text("name"),
        join: settings.text_if_any("join"),
        listen: PortKey::ALL.iter().map(listen).collect(),
        advertise: PortKey::ALL.iter().filter_map(advertise).collect(),
        management: Management {
            registration: settings.policy("management.registration"),
            certificate: settings.path("management.certificate"),
            private_key: settings.path("management.private_key"),
            token_days: settings.number("management.token_days"),
        },
        realm: Realm {
            name: settings.text("realm.name"),
            description: settings.text("realm.description"),
            queue_seconds: settings.number("realm.queue_seconds"),
            registration: settings.policy("realm.registration"),
            attach: settings.yes("realm.attach"),
            user_cap: Some(settings.number("realm.user_cap")).filter(|cap| *cap != 0),
            quota: settings.number("realm.quota"),
            own_quota: settings.differs("realm.quota"),
        },
        data_management: DataManagement {
            quota: settings.number("data_management.quota"),
            grace: settings.number("data_management.grace"),
        },
        data: Data {
            capacity: settings.number("data.capacity"),
            store: if settings.text("data.store") == "s3" { Store::S3 } else { Store::Disk },
            folder: settings.path("data.folder"),
            s3: S3 {
                endpoint: settings.text("data.s3_endpoint"),
                bucket: settings.text("data.s3_bucket"),
                region: settings.text("data.s3_region"),
                prefix: settings.text("data.s3_prefix"),
                access_key: settings.text("data.s3_access_key"),
                secret_key_file: settings.path("data.s3_secret_key_file"),
                ca_file: settings.path("data.s3_ca_file"),
            },
            scrub_days: settings.number("data.scrub_days"),
        },
        voice: Voice {
            default_rights,
            allow_unsigned: settings.yes("voice.allow_unsigned").unwrap_or(false),
            udp_ports: u16::try_from(settings.number("voice.udp_ports")).unwrap_or(u16::MAX),
        },
        engine: Engine {
            threads: settings.size("engine.threads"),
            max_packet: settings.size("engine.max_packet"),
            max_packet_before_sign_on: settings.size("engine.max_packet_before_sign_on"),
            outbox: settings.size("engine.outbox"),
            outbox_total: settings.size("engine.outbox_total"),
            max_links: settings.size("engine.max_links"),
            waiting_links: settings.size("engine.waiting_links"),
            stall_seconds: settings.number("engine.stall_seconds"),
            argon2_workers: settings.size("engine.argon2_workers"),
        },
        log: settings.text("log"),
        values: settings.0.iter().map(|(name, setting)| (*name, setting.value.clone())).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_and_the_ports_agree() {
        for port in PortKey::ALL {
            let listen = keys::find(&format!("listen.{}", port.name())).unwrap();
            assert_eq!(listen.default, format!("\"127.0.0.1:{}\"", port.default_port()));
            assert!(matches!(listen.kind, kind::Kind::Listen(key) if key == *port));
            let advertise = keys::find(&format!("advertise.{}", port.name())).unwrap();
            assert!(matches!(advertise.kind, kind::Kind::Advertise(key) if key == *port));
        }
        let ports = |section: &str| KEYS.iter().filter(|key| key.name.starts_with(section)).count();
        assert_eq!(ports("listen."), PortKey::ALL.len());
        assert_eq!(ports("advertise."), PortKey::ALL.len());
        let names: Vec<&str> = Policy::ALL.iter().map(|policy| policy.name()).collect();
        assert_eq!(names, Policy::NAMES);
    }

    #[test]
    fn every_key_once_and_sections_together() {
        let mut sections = Vec::new();
        for (index, key) in KEYS.iter().enumerate() {
            assert!(!KEYS[..index].iter().any(|other| other.name == key.name), "{} twice", key.name);
            let section = key.name.split_once('.').map_or("", |(section, _)| section);
            if sections.last() != Some(&section) {
                assert!(!sections.contains(&section), "{section} stands in two places");
                sections.push(section);
            }
        }
        let told: Vec<&str> = [""].into_iter().chain(keys::SECTIONS.iter().map(|(name, _)| *name)).collect();
        assert_eq!(sections, told);
    }
}
