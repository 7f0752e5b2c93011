//! From a configuration to running roles, and back to rest. Start and stop read from top to bottom.

pub mod backup;
mod join;
mod realm;
mod voice;

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::path::PathBuf;
use std::sync::mpsc::Receiver;
use std::sync::mpsc::RecvTimeoutError;
use std::sync::mpsc::TryRecvError;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use rusqlite::Connection;
use serde_json::json;

use crate::blocks;
use crate::blocks::BlockStore;
use crate::client::Address;
use crate::client::ADMIN_SOCKET;
use crate::config;
use crate::config::Config;
use crate::config::PortKey;
use crate::config::RoleName;
use crate::engine::database;
use crate::engine::files;
use crate::engine::identity::ServerKey;
use crate::engine::limits::Limits;
use crate::engine::net;
use crate::engine::net::Handle;
use crate::engine::net::Registry;
use crate::engine::rt;
use crate::engine::tls;
use crate::engine::tls::Identity;
use crate::engine::Role;
use crate::engine::Target;
use crate::members::Where;
use crate::roles::data;
use crate::roles::data_management;
use crate::roles::main;
use crate::roles::management;
use crate::storage;

pub use join::unless_joined as join;
pub use join::Joiner;

/// Where the address of the management server of this machine stands, in the data folder: clients of the same user find it.
pub const ADDRESS_FILE: &str = "address";
/// A role's database, in its folder.
const DATABASE: &str = "database.sqlite";
/// Its certificate and that one's key, there too, unless others are named.
const CERTIFICATE: &str = "certificate.pem";
const PRIVATE_KEY: &str = "private-key.pem";
/// Threads of a data server that wait for its disk.
const DISK_WORKERS: usize = 4;
/// What data management's database keeps in memory, for each of its two connections; bytes.
const STORAGE_CACHE: u64 = 64 << 20;
/// How long a start may wait for management in the same process, and how often it is said that it waits for another.
const PATIENCE: Duration = Duration::from_secs(8);
/// How long clients may take to move to other main servers before a stop.
const DRAIN: Duration = Duration::from_secs(20);
/// How long a stop may take, all roles together.
const STOP: Duration = Duration::from_secs(9);
/// What of it data management may take, and a data server.
const STOP_STORAGE: Duration = Duration::from_secs(1);
/// What of it is left for management, when clients of the main server take all the rest.
const STOP_MANAGEMENT: Duration = Duration::from_secs(2);

/// A role that runs, whatever it is.
struct Running<R: Role> {
    handle: Handle<R>,
    identity: Arc<Identity>,
    files: (PathBuf, PathBuf),
}

/// The roles of this process.
pub struct Node {
    config: Config,
    key: ServerKey,
    management: Option<Running<management::Management>>,
    main: Option<Running<main::Main>>,
    data_management: Option<Running<data_management::DataManagement>>,
    data: Option<Running<data::Data>>,
    listen: BTreeMap<PortKey, SocketAddr>,
    listeners: Vec<net::Listening>,
    admin: Option<rt::JoinHandle<()>>,
    /// Held while the process runs: one process for one data folder.
    _lock: fs::File,
}

impl Node {
    /// Starts every role of the configuration; when this returns, every listener is bound and clients can sign on.
    ///
    /// # Errors
    /// In words, saying what to change.
    pub fn start(config: Config) -> Result<Node, String> {
        backup::whole(&config.data_dir)?;
        let lock = lock(&config.data_dir)?;
        let key = ServerKey::load(&config.data_dir)?;
        let registry = Arc::new(Registry::default());
        let mut node = Node {
            config,
            key,
            management: None,
            main: None,
            data_management: None,
            data: None,
            listen: BTreeMap::new(),
            listeners: Vec::new(),
            admin: None,
            _lock: lock,
        };
        // A realm that stands alone has all that it needs in its process, with its own doors alone.
        let alone = node.config.is_realm_alone();
        let plays = |node: &Node, role| alone || node.config.roles.contains(&role);
        if plays(&node, RoleName::Management) {
            node.start_management(&registry)?;
        }
        if plays(&node, RoleName::DataManagement) {
            node.start_data_management(&registry)?;
        }
        if plays(&node, RoleName::Data) {
            node.start_data(&registry)?;
        }
        if node.config.roles.contains(&RoleName::Main) || node.config.roles.contains(&RoleName::Realm) {
            node.start_main(&registry)?;
        }
        if let Some(management) = &node.management {
            let ports: Vec<_> = node.listen.iter().map(|(key, address)| (key.name(), address.port())).collect();
            management.handle.with(|management, ctx| {
                management.set_ports(ports);
                management.start(ctx);
            });
            node.admin = Some(net::listen_admin(&management.handle, &node.config.data_dir.join(ADMIN_SOCKET))?);
        }
        node.write_address()?;
        node.introduce()?;
        Ok(node)
    }

    /// Every role tells management that it is there, and is linked to data management where that is in this process; clients are sent here
    /// once management has answered. Management on another machine is waited for without end.
    fn introduce(&self) -> Result<(), String> {
        if let Some(role) = &self.data_management {
            self.wait(role.handle.with(|role, ctx| {
                role.start(ctx);
                role.when_ready()
            }))?;
        }
        if let Some(role) = &self.data {
            self.wait(role.handle.with(|role, ctx| {
                role.start(ctx);
                role.when_ready()
            }))?;
        }
        let Some(main) = &self.main else { return Ok(()) };
        let (known, storage) = main.handle.with(|main, ctx| {
            main.start(ctx);
            (main.when_known(), main.when_storage())
        });
        self.wait(known)?;
        match self.data_management {
            Some(_) => self.wait(storage),
            None => Ok(()),
        }
    }

    fn wait(&self, done: Receiver<()>) -> Result<(), String> {
        while let Err(RecvTimeoutError::Timeout) = done.recv_timeout(PATIENCE) {
            if self.management.is_some() {
                return Err("the roles of this process do not answer each other".to_owned());
            }
            log::warn!("waiting for management at {}", self.address()?);
        }
        Ok(())
    }

    /// Makes a role's handle: its folder, certificate, database, and threads.
    fn prepare<R: Role>(
        &self,
        registry: &Arc<Registry>,
        migrations: &[&str],
        given: Option<(PathBuf, PathBuf)>,
        tune: fn(&Connection, &Connection) -> Result<(), String>,
        make: impl FnOnce(&Identity) -> R,
    ) -> Result<Running<R>, String> {
        let folder = self.config.data_dir.join(R::NAME);
        files::create_folder(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let own = given.is_none();
        let files = given.unwrap_or_else(|| (folder.join(CERTIFICATE), folder.join(PRIVATE_KEY)));
        let identity = Identity::load(&files.0, &files.1, own)?;
        let path = folder.join(DATABASE);
        let databases = (database::open(&path, migrations)?, database::open(&path, migrations)?);
        tune(&databases.0, &databases.1)?;
        let role = make(&identity);
        let heavy = match R::NAME {
            // They wait for the disk: one writes, the others read.
            data::Data::NAME => DISK_WORKERS,
            _ => self.config.engine.argon2_workers,
        };
        let handle = Handle::new(role, limits(&self.config), heavy, Some(databases), registry)?;
        Ok(Running { handle, identity, files })
    }

    fn listen<R: Role>(&mut self, running: &Running<R>, ports: &[PortKey]) -> Result<(), String> {
        let tls = tls::server(&running.identity)?;
        for port in ports {
            let Some(address) = self.config.listen.get(port).filter(|_| self.config.opens(*port)) else { continue };
            let (bound, task) = net::listen(&running.handle, *port, *address, Arc::clone(&tls), &running.identity)?;
            self.listen.insert(*port, bound);
            self.listeners.push(task);
        }
        Ok(())
    }

    fn start_management(&mut self, registry: &Arc<Registry>) -> Result<(), String> {
        let given = self.config.management.certificate.clone().zip(self.config.management.private_key.clone());
        let running = self.prepare(
            registry,
            management::MIGRATIONS,
            given,
            |_, _| Ok(()),
            |identity| {
                management::Management::new(management::Settings {
                    name: self.config.name.clone(),
                    key: self.key.clone(),
                    registration: match self.config.is_realm_alone() {
                        true => self.config.realm.registration,
                        false => self.config.management.registration,
                    },
                    token_days: self.config.management.token_days,
                    fingerprint: identity.fingerprint(),
                    ports: Vec::new(),
                    voice_rights: self.config.voice.default_rights.clone(),
                })
            },
        )?;
        registry.add(
            &[
                PortKey::MainManagement,
                PortKey::Validation,
                PortKey::DatamanagementManagement,
                PortKey::RealmManagement,
            ],
            &running.handle,
        );
        self.listen(
            &running,
            &[
                PortKey::PublicManagement,
                PortKey::ClientManagement,
                PortKey::MainManagement,
                PortKey::Validation,
                PortKey::DatamanagementManagement,
                PortKey::ClientRealms,
                PortKey::RealmManagement,
            ],
        )?;
        self.management = Some(running);
        Ok(())
    }

    fn start_main(&mut self, registry: &Arc<Registry>) -> Result<(), String> {
        let (mut management, mut validation) =
            (Target::Local(PortKey::MainManagement), Target::Local(PortKey::Validation));
        let mut public = None;
        if let Some(address) = self.joins()? {
            let role = [RoleName::Main, RoleName::Realm].into_iter().find(|role| self.config.roles.contains(role));
            self.join::<main::Main>(&address, role.unwrap_or(RoleName::Main), main::MIGRATIONS)?;
            let at = |port| Target::Net(address.at(port), address.verify());
            (public, management, validation) = (Some(at(address.port)), at(0), at(0));
        }
        let (storage, realm) = (self.data_management.is_some(), self.realm_settings()?);
        let running = self.prepare(
            registry,
            main::MIGRATIONS,
            None,
            |_, _| Ok(()),
            |identity| {
                main::Main::new(main::Settings {
                    server_id: self.config.name.clone(),
                    name: self.config.name.clone(),
                    address: String::new(),
                    mesh: String::new(),
                    fingerprint: identity.fingerprint(),
                    key: self.key.clone(),
                    public,
                    management,
                    validation,
                    storage,
                    realm,
                })
            },
        )?;
        self.listen(&running, &[PortKey::ClientMain, PortKey::MainMain, PortKey::Realm])?;
        self.listen_web(&running)?;
        self.listen_voice(&running)?;
        let (address, mesh) = (self.told(PortKey::ClientMain), self.told(PortKey::MainMain));
        let realm = self.told(PortKey::Realm);
        running.handle.with(|main, _| {
            main.set_addresses(address, mesh);
            main.set_realm_address(realm);
        });
        self.main = Some(running);
        Ok(())
    }

    /// Gets the burst of a role, unless it has it.
    fn join<R: Role>(&self, address: &Address, role: RoleName, migrations: &[&str]) -> Result<(), String> {
        let folder = self.config.data_dir.join(R::NAME);
        files::create_folder(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let database = folder.join(DATABASE);
        join::unless_joined(address, &self.config.name, &self.key, role, (&database, migrations))
    }

    /// Where management is, for the roles that store.
    fn reach(&self) -> Result<Where, String> {
        Ok(match self.joins()? {
            Some(address) => {
                let at = |port| Target::Net(address.at(port), address.verify());
                Where { public: Some(at(address.port)), management: at(0) }
            }
            None => Where { public: None, management: Target::Local(PortKey::DatamanagementManagement) },
        })
    }

    fn start_data_management(&mut self, registry: &Arc<Registry>) -> Result<(), String> {
        if let Some(address) = self.joins()? {
            self.join::<data_management::DataManagement>(
                &address,
                RoleName::DataManagement,
                data_management::MIGRATIONS,
            )?;
        }
        let management = self.reach()?;
        let running = self.prepare(registry, data_management::MIGRATIONS, None, tune_storage, |identity| {
            data_management::DataManagement::new(data_management::Settings {
                server_id: self.config.name.clone(),
                key: self.key.clone(),
                fingerprint: identity.fingerprint(),
                address: String::new(),
                data: String::new(),
                management,
                quota: match self.config.is_realm_alone() {
                    true => self.config.realm.quota,
                    false => self.config.data_management.quota,
                },
                grace: self.config.data_management.grace.saturating_mul(1_000),
            })
        })?;
        let ports = [PortKey::MainDatamanagement, PortKey::DataDatamanagement];
        registry.add(&ports, &running.handle);
        self.listen(&running, &ports)?;
        let (address, data) = (self.told(PortKey::MainDatamanagement), self.told(PortKey::DataDatamanagement));
        running.handle.with(|role, _| role.set_addresses(address, data));
        self.data_management = Some(running);
        Ok(())
    }

    fn start_data(&mut self, registry: &Arc<Registry>) -> Result<(), String> {
        if let Some(address) = self.joins()? {
            self.join::<data::Data>(&address, RoleName::Data, data::MIGRATIONS)?;
        }
        let (management, local) = (self.reach()?, self.data_management.is_some());
        let store: Arc<dyn BlockStore> = Arc::from(blocks::open(&self.config)?);
        let running = self.prepare(
            registry,
            data::MIGRATIONS,
            None,
            |_, _| Ok(()),
            |identity| {
                data::Data::new(
                    data::Settings {
                        server_id: self.config.name.clone(),
                        key: self.key.clone(),
                        fingerprint: identity.fingerprint(),
                        address: String::new(),
                        management,
                        local,
                        scrub_days: self.config.data.scrub_days,
                    },
                    store,
                )
            },
        )?;
        backup::remember(&self.config)?;
        self.listen(&running, &[PortKey::DataData])?;
        let address = self.told(PortKey::DataData);
        running.handle.with(|role, _| role.set_address(address));
        self.data = Some(running);
        Ok(())
    }

    /// What others are told of where that port of this process is; without a host when it is on every address of this host:
    /// management says which, to each.
    fn told(&self, port: PortKey) -> String {
        let bound = |bound: &SocketAddr| match bound.ip().is_unspecified() {
            true => format!(":{}", bound.port()),
            false => bound.to_string(),
        };
        let advertised = self.config.advertise.get(&port).cloned();
        advertised.or_else(|| self.listen.get(&port).map(bound)).unwrap_or_default()
    }

    /// The network that this process belongs to; None: management is in this process.
    fn joins(&self) -> Result<Option<Address>, String> {
        let join = self.config.join.as_ref().filter(|_| self.management.is_none());
        join.map(|address| address.parse().map_err(|error| format!("join: {error}"))).transpose()
    }

    /// `convergia://HOST:PORT#FINGERPRINT` of management.
    fn address(&self) -> Result<Address, String> {
        if self.config.is_realm_alone() {
            return self.realm_address();
        }
        let Some(management) = &self.management else {
            return self.joins()?.ok_or_else(|| "this process has no management role, and joins none".to_owned());
        };
        let bound = self.listen.get(&PortKey::PublicManagement).copied();
        let bound = bound.ok_or_else(|| "management listens nowhere".to_owned())?;
        let own = self.config.management.certificate.is_none();
        let fingerprint = own.then(|| management.identity.fingerprint());
        if let Some(told) = self.config.advertise.get(&PortKey::PublicManagement) {
            let address: Address = format!("convergia://{told}").parse()?;
            return Ok(Address { fingerprint, ..address });
        }
        let host = if bound.ip().is_unspecified() { "127.0.0.1".to_owned() } else { bound.ip().to_string() };
        Ok(Address { host, port: bound.port(), fingerprint, realm: false })
    }

    fn write_address(&self) -> Result<(), String> {
        let address = format!("{}\n", self.address()?);
        let file = self.config.data_dir.join(ADDRESS_FILE);
        files::replace(&file, address.as_bytes(), 0o644).map_err(|e| format!("{}: {e}", file.display()))
    }

    /// The ready file's text (contract 12).
    ///
    /// # Errors
    /// As `start`.
    pub fn ready(&self) -> Result<String, String> {
        let roles: Vec<&str> = self.config.roles.iter().map(|role| role.name()).collect();
        let listen: BTreeMap<&str, String> = self.listen.iter().map(|(key, at)| (key.name(), at.to_string())).collect();
        let ready = json!({ "roles": roles, "listen": listen, "management": self.address()?.to_string() });
        Ok(format!("{ready}\n"))
    }

    /// Where to go next, for a person at the terminal who started `program`.
    ///
    /// # Errors
    /// As `start`.
    pub fn welcome(&self, program: &str) -> Result<String, String> {
        let roles: Vec<&str> = self.config.roles.iter().map(|role| role.name()).collect();
        let page = self.page().map(|page| format!("In a browser:         {page}\n")).unwrap_or_default();
        Ok(format!(
            "Convergia {} is running: {}.\n\
             Data: {}\n\
             Address: {}\n\n\
             {page}\
             In a second terminal:  {program} register alice   and then  {program} chat\n\
             In a third:            {program} register bob     and then  {program} chat --user bob alice\n\
             On another machine, add  --server ADDRESS  (start this one with  --bind 0.0.0.0  first).\n\
             Stop with Ctrl-C.\n",
            env!("CARGO_PKG_VERSION"),
            roles.join(", "),
            self.config.data_dir.display(),
            self.address()?,
        ))
    }

    /// Takes a changed configuration and changed certificates, as far as that goes without a restart; says what does not.
    ///
    /// # Errors
    /// When a certificate is not good; what was in force stays.
    pub fn reload(&mut self, fresh: Config) -> Result<(), String> {
        // All is read before anything is taken: a mistake changes nothing.
        let main = self.main.as_ref().map(|main| tls::read(&main.files.0, &main.files.1)).transpose()?;
        let management = self.management.as_ref().map(|role| tls::read(&role.files.0, &role.files.1)).transpose()?;
        let storage = self.data_management.as_ref().map(|role| tls::read(&role.files.0, &role.files.1)).transpose()?;
        let data = self.data.as_ref().map(|role| tls::read(&role.files.0, &role.files.1)).transpose()?;
        let stays = config::reloadable(&self.config, &fresh);
        if !stays.is_empty() {
            log::warn!("these need a restart and stay as they were: {}", stays.join(", "));
        }
        if let Some((main, certificate)) = self.main.as_ref().zip(main) {
            main.identity.replace(certificate);
            main.handle.set_limits(limits(&fresh));
            let print = main.identity.fingerprint();
            main.handle.with(|main, ctx| main.set_fingerprint(ctx, print));
        }
        if let Some((role, certificate)) = self.data_management.as_ref().zip(storage) {
            role.identity.replace(certificate);
            role.handle.set_limits(limits(&fresh));
            let print = role.identity.fingerprint();
            role.handle.with(|role, ctx| role.set_fingerprint(ctx, print));
        }
        if let Some((role, certificate)) = self.data.as_ref().zip(data) {
            role.identity.replace(certificate);
            role.handle.set_limits(limits(&fresh));
            let print = role.identity.fingerprint();
            role.handle.with(|role, ctx| role.set_fingerprint(ctx, print));
        }
        if let Some((management, certificate)) = self.management.as_ref().zip(management) {
            management.identity.replace(certificate);
            management.handle.set_limits(limits(&fresh));
            let print = management.identity.fingerprint();
            let (policy, days) = (fresh.management.registration, fresh.management.token_days);
            let rights = fresh.voice.default_rights.clone();
            management.handle.with(|management, _| management.reload(policy, days, print, rights));
            // The address holds the fingerprint.
            if let Err(error) = self.write_address() {
                log::error!("reload: {error}; clients of this machine find the old address there");
            }
        }
        self.config.management.registration = fresh.management.registration;
        self.config.management.token_days = fresh.management.token_days;
        self.config.voice.default_rights = fresh.voice.default_rights;
        self.config.engine = fresh.engine;
        log::info!("the configuration was loaded again");
        Ok(())
    }

    /// Stops: clients are moved to other main servers, if there are any; then no new links, goodbye to every client that is
    /// left, what is queued is written, rest.
    pub async fn stop(self) {
        if let Some(main) = &self.main {
            let (began, done) = (Instant::now(), main.handle.with(main::Main::drain));
            while done.try_recv() == Err(TryRecvError::Empty) && began.elapsed() < DRAIN {
                rt::sleep(Duration::from_millis(5)).await;
            }
        }
        let began = Instant::now();
        drop(self.listeners);
        if let Some(admin) = self.admin {
            admin.cancel().await;
        }
        if let Some(main) = &self.main {
            main.handle.stop(STOP - STOP_MANAGEMENT).await;
        }
        // Each after those that ask it.
        if let Some(role) = &self.data_management {
            role.handle.stop(STOP.saturating_sub(began.elapsed()).min(STOP_STORAGE)).await;
        }
        if let Some(role) = &self.data {
            role.handle.stop(STOP.saturating_sub(began.elapsed()).min(STOP_STORAGE)).await;
        }
        if let Some(management) = &self.management {
            management.handle.stop(STOP.saturating_sub(began.elapsed())).await;
        }
        let _ = fs::remove_file(self.config.data_dir.join(ADMIN_SOCKET));
    }
}

fn tune_storage(writer: &Connection, reader: &Connection) -> Result<(), String> {
    [writer, reader].into_iter().try_for_each(|db| storage::tune(db, STORAGE_CACHE)).map_err(|fail| fail.to_string())
}

fn limits(config: &Config) -> Limits {
    let engine = &config.engine;
    Limits {
        packet_before_sign_on: engine.max_packet_before_sign_on,
        packet: engine.max_packet,
        outbox: engine.outbox,
        outbox_total: engine.outbox_total,
        links: engine.max_links,
        waiting_links: engine.waiting_links,
        stall: engine.stall_seconds.saturating_mul(1_000),
    }
}

fn lock(data_dir: &Path) -> Result<fs::File, String> {
    let fail = |error: std::io::Error| format!("{}: {error}; --data-dir names another folder", data_dir.display());
    files::create_folder(data_dir).map_err(fail)?;
    let path = data_dir.join("lock");
    files::create_private(&path).map_err(fail)?;
    let file = fs::File::open(&path).map_err(fail)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(format!(
            "{}: another convergia runs with this data folder; stop it, or name another with --data-dir",
            data_dir.display()
        )),
        Err(fs::TryLockError::Error(error)) => Err(fail(error)),
    }
}
