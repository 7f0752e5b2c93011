//! stub until merged
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PortKey {
    ClientMain,
    PublicManagement,
    ClientManagement,
    MainManagement,
    Validation,
    ClientRealms,
    Admin,
}
impl PortKey {
    pub const ALL: &'static [PortKey] = &[
        PortKey::ClientMain,
        PortKey::PublicManagement,
        PortKey::ClientManagement,
        PortKey::MainManagement,
        PortKey::Validation,
        PortKey::ClientRealms,
    ];
    pub fn name(self) -> &'static str {
        match self {
            PortKey::ClientMain => "client_main",
            PortKey::PublicManagement => "public_management",
            PortKey::ClientManagement => "client_management",
            PortKey::MainManagement => "main_management",
            PortKey::Validation => "validation",
            PortKey::ClientRealms => "client_realms",
            PortKey::Admin => "admin",
        }
    }
    pub fn default_port(self) -> u16 {
        match self {
            PortKey::ClientMain => 64473,
            PortKey::PublicManagement => 64474,
            PortKey::ClientManagement => 64475,
            PortKey::MainManagement => 64478,
            PortKey::Validation => 64482,
            PortKey::ClientRealms => 63746,
            PortKey::Admin => 0,
        }
    }
}
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    Captcha,
    Open,
    Invite,
    Closed,
}
impl Policy {
    pub fn name(self) -> &'static str {
        match self {
            Policy::Captcha => "captcha",
            Policy::Open => "open",
            Policy::Invite => "invite",
            Policy::Closed => "closed",
        }
    }
}
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoleName {
    Management,
    Main,
}
impl RoleName {
    pub fn name(self) -> &'static str {
        match self {
            RoleName::Management => "management",
            RoleName::Main => "main",
        }
    }
}
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    pub config: Option<PathBuf>,
    pub data_dir: Option<PathBuf>,
    pub set: Vec<String>,
    pub bind: Option<String>,
    pub any_port: bool,
    pub roles: Vec<String>,
}
#[derive(Clone, Debug)]
pub struct Management {
    pub registration: Policy,
    pub certificate: Option<PathBuf>,
    pub private_key: Option<PathBuf>,
    pub token_days: u64,
}
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
#[derive(Clone, Debug)]
pub struct Config {
    pub roles: Vec<RoleName>,
    pub data_dir: PathBuf,
    pub name: String,
    pub join: Option<String>,
    pub listen: BTreeMap<PortKey, SocketAddr>,
    pub advertise: BTreeMap<PortKey, String>,
    pub management: Management,
    pub engine: Engine,
    pub log: String,
}
pub fn load(o: &Overrides) -> Result<Config, String> {
    let ip: std::net::IpAddr = o.bind.as_deref().unwrap_or("127.0.0.1").parse().map_err(|_| "bind")?;
    let listen =
        PortKey::ALL.iter().map(|k| (*k, SocketAddr::new(ip, if o.any_port { 0 } else { k.default_port() }))).collect();
    let mut c = Config {
        roles: vec![RoleName::Management, RoleName::Main],
        data_dir: o.data_dir.clone().unwrap_or_else(|| "/tmp/convergia-data".into()),
        name: "main".into(),
        join: None,
        listen,
        advertise: BTreeMap::new(),
        management: Management { registration: Policy::Captcha, certificate: None, private_key: None, token_days: 30 },
        engine: Engine {
            threads: 1,
            max_packet: 1 << 20,
            max_packet_before_sign_on: 4096,
            outbox: 1 << 20,
            outbox_total: 256 << 20,
            max_links: 100_000,
            waiting_links: 4096,
            stall_seconds: 30,
            argon2_workers: 1,
        },
        log: "info".into(),
    };
    for s in &o.set {
        match s.as_str() {
            "management.registration=open" => c.management.registration = Policy::Open,
            "management.registration=invite" => c.management.registration = Policy::Invite,
            "management.registration=closed" => c.management.registration = Policy::Closed,
            other => {
                if let Some(v) = other.strip_prefix("engine.threads=") {
                    c.engine.threads = v.parse().unwrap()
                } else if let Some(v) = other.strip_prefix("engine.stall_seconds=") {
                    c.engine.stall_seconds = v.parse().unwrap()
                } else {
                    return Err(format!("{other}"));
                }
            }
        }
    }
    Ok(c)
}
pub fn reloadable(_: &Config, _: &Config) -> Vec<&'static str> {
    vec![]
}
