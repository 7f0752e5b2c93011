//! Every key of the configuration, once: its name, its default, what is allowed, what it is for. The file is checked
//! against this table, and `convergia.toml.example` is made from it.

use super::kind::Kind;
use super::names::Policy;
use super::names::PortKey;
use super::names::Store;
use super::names::VOICE_RIGHTS;

/// One key of the configuration file.
pub struct Key {
    /// Dotted: what stands before the dot is the table of the file.
    pub name: &'static str,
    /// The default, as TOML text.
    pub default: &'static str,
    /// What is allowed.
    pub kind: Kind,
    /// Whether SIGHUP is enough to change it.
    pub reload: bool,
    /// For whoever writes the file.
    pub doc: &'static str,
}

/// A key that a running server cannot change.
const fn fixed(name: &'static str, default: &'static str, kind: Kind, doc: &'static str) -> Key {
    Key { name, default, kind, reload: false, doc }
}

/// A key that SIGHUP changes.
const fn live(name: &'static str, default: &'static str, kind: Kind, doc: &'static str) -> Key {
    Key { name, default, kind, reload: true, doc }
}

/// What a table of the file is about, for the example.
pub const SECTIONS: &[(&str, &str)] = &[
    (
        "listen",
        "Where this process listens: \"address:port\", an IPv6 address in brackets, port 0 for any free port. A port of a \
         role that does not run here is not opened. --bind ADDRESS replaces every address here, --any-port every port. \
         client_client, realm_client_client and discovery are opened by clients, not here.",
    ),
    (
        "advertise",
        "What others are told instead of the address listened on, for servers behind NAT: \"host:port\", where host is a \
         name, an IPv4 address, or an IPv6 address in brackets. Empty: the address listened on.",
    ),
    ("management", "Role management: accounts, registration, sign-on."),
    (
        "realm",
        "Role realm: where people register and sign on at one port, or with a browser. Alone (a process with no other role, and attach \
         not true) it has accounts and storage of its own.",
    ),
    ("data_management", "Role data-management: names, rights, quotas, and where blocks are."),
    ("data", "Role data: keeps blocks."),
    ("voice", "Voice: the ports of main servers and realms, and what management gives new users of it."),
    ("engine", "Threads, and bounds on what clients can make grow."),
];

const POLICY: Kind = Kind::Choice(Policy::NAMES);

/// The table. Keys of one section stand together; keys without a section come first.
pub const KEYS: &[Key] = &[
    fixed(
        "roles",
        "[]",
        Kind::Roles,
        "The roles that this process plays. Empty: every role; with join, main. --role replaces it. A network has one \
         data-management.",
    ),
    fixed(
        "data_dir",
        "\"\"",
        Kind::Path,
        "Where data is kept. Empty: $XDG_DATA_HOME/convergia, else $HOME/.local/share/convergia, else ./convergia-data. \
         --data-dir replaces it. Relative paths, here and below, start at the folder that the program is started in.",
    ),
    fixed("name", "\"main\"", Kind::Name, "The name of this server in the network; each has its own."),
    fixed(
        "join",
        "\"\"",
        Kind::Join,
        "The management server of the network to join, as it prints it at its start. Its operator has to add this server: \
         convergia admin add-server NAME ROLE KEY, where KEY is what convergia key prints here. Empty: management is in \
         this process. Of a realm that stands alone: the management server that has the directory of realms; empty: it knows no others.",
    ),
    fixed("log", "\"info\"", Kind::Log, "What is logged. The environment variable RUST_LOG comes first."),
    // listen
    fixed("listen.client_main", "\"127.0.0.1:64473\"", Kind::Listen(PortKey::ClientMain), "Client to main server."),
    fixed(
        "listen.public_management",
        "\"127.0.0.1:64474\"",
        Kind::Listen(PortKey::PublicManagement),
        "Anyone to management, without sign-on; a convergia:// address names this port.",
    ),
    fixed(
        "listen.client_management",
        "\"127.0.0.1:64475\"",
        Kind::Listen(PortKey::ClientManagement),
        "Client to management.",
    ),
    fixed(
        "listen.client_client",
        "\"127.0.0.1:64476\"",
        Kind::Listen(PortKey::ClientClient),
        "Client to client, direct.",
    ),
    fixed("listen.main_main", "\"127.0.0.1:64477\"", Kind::Listen(PortKey::MainMain), "Main server to main server."),
    fixed(
        "listen.main_management",
        "\"127.0.0.1:64478\"",
        Kind::Listen(PortKey::MainManagement),
        "Main server to management.",
    ),
    fixed(
        "listen.data_datamanagement",
        "\"127.0.0.1:64479\"",
        Kind::Listen(PortKey::DataDatamanagement),
        "Data server to data management.",
    ),
    fixed(
        "listen.data_data",
        "\"127.0.0.1:64480\"",
        Kind::Listen(PortKey::DataData),
        "Data server to data server, for direct copies.",
    ),
    fixed(
        "listen.main_datamanagement",
        "\"127.0.0.1:64481\"",
        Kind::Listen(PortKey::MainDatamanagement),
        "Main server or realm to data management.",
    ),
    fixed(
        "listen.validation",
        "\"127.0.0.1:64482\"",
        Kind::Listen(PortKey::Validation),
        "Anyone to management: whether a user or a key is good.",
    ),
    fixed(
        "listen.datamanagement_management",
        "\"127.0.0.1:64483\"",
        Kind::Listen(PortKey::DatamanagementManagement),
        "Data management to management.",
    ),
    fixed("listen.realm", "\"127.0.0.1:63745\"", Kind::Listen(PortKey::Realm), "Client to realm, realm to realm."),
    fixed(
        "listen.client_realms",
        "\"127.0.0.1:63746\"",
        Kind::Listen(PortKey::ClientRealms),
        "Client to management: the directory of realms.",
    ),
    fixed(
        "listen.realm_management",
        "\"127.0.0.1:63747\"",
        Kind::Listen(PortKey::RealmManagement),
        "Realm to management.",
    ),
    fixed(
        "listen.realm_client_client",
        "\"127.0.0.1:63748\"",
        Kind::Listen(PortKey::RealmClientClient),
        "Client to client, on the local network.",
    ),
    fixed(
        "listen.discovery",
        "\"127.0.0.1:63749\"",
        Kind::Listen(PortKey::Discovery),
        "UDP: multicast on the local network.",
    ),
    fixed("listen.voice_control", "\"127.0.0.1:64484\"", Kind::Listen(PortKey::VoiceControl), "Clients of KV: voice control, not encrypted."),
    fixed(
        "listen.voice_udp",
        "\"127.0.0.1:64500\"",
        Kind::Listen(PortKey::VoiceUdp),
        "UDP: the first port of the voice channels; voice.udp_ports says how many there are. With port 0 each channel \
         takes any free port.",
    ),
    fixed("listen.web", "\"127.0.0.1:64580\"", Kind::Listen(PortKey::Web), "The web server of a realm (HTTPS)."),
    // advertise
    fixed("advertise.client_main", "\"\"", Kind::Advertise(PortKey::ClientMain), ""),
    fixed("advertise.public_management", "\"\"", Kind::Advertise(PortKey::PublicManagement), ""),
    fixed("advertise.client_management", "\"\"", Kind::Advertise(PortKey::ClientManagement), ""),
    fixed("advertise.client_client", "\"\"", Kind::Advertise(PortKey::ClientClient), ""),
    fixed("advertise.main_main", "\"\"", Kind::Advertise(PortKey::MainMain), ""),
    fixed("advertise.main_management", "\"\"", Kind::Advertise(PortKey::MainManagement), ""),
    fixed("advertise.data_datamanagement", "\"\"", Kind::Advertise(PortKey::DataDatamanagement), ""),
    fixed("advertise.data_data", "\"\"", Kind::Advertise(PortKey::DataData), ""),
    fixed("advertise.main_datamanagement", "\"\"", Kind::Advertise(PortKey::MainDatamanagement), ""),
    fixed("advertise.validation", "\"\"", Kind::Advertise(PortKey::Validation), ""),
    fixed("advertise.datamanagement_management", "\"\"", Kind::Advertise(PortKey::DatamanagementManagement), ""),
    fixed("advertise.realm", "\"\"", Kind::Advertise(PortKey::Realm), ""),
    fixed("advertise.client_realms", "\"\"", Kind::Advertise(PortKey::ClientRealms), ""),
    fixed("advertise.realm_management", "\"\"", Kind::Advertise(PortKey::RealmManagement), ""),
    fixed("advertise.realm_client_client", "\"\"", Kind::Advertise(PortKey::RealmClientClient), ""),
    fixed("advertise.discovery", "\"\"", Kind::Advertise(PortKey::Discovery), ""),
    fixed("advertise.voice_control", "\"\"", Kind::Advertise(PortKey::VoiceControl), ""),
    fixed(
        "advertise.voice_udp",
        "\"\"",
        Kind::Advertise(PortKey::VoiceUdp),
        "The port alone counts: the first of the range that is forwarded to that of listen.voice_udp. The host is that of the \
         TCP connection.",
    ),
    fixed("advertise.web", "\"\"", Kind::Advertise(PortKey::Web), ""),
    // management
    live(
        "management.registration",
        "\"captcha\"",
        POLICY,
        "Who may register: captcha, whoever reads the letters in a picture; open, anybody; invite, whoever has an \
         invitation (convergia admin invite); closed, nobody.",
    ),
    fixed(
        "management.certificate",
        "\"\"",
        Kind::Path,
        "A certificate (PEM, with its chain) that public authorities vouch for; private_key is then needed too. Empty: \
         one is made at the first start, and clients check it by its fingerprint. SIGHUP reads the files again.",
    ),
    fixed("management.private_key", "\"\"", Kind::Path, "The private key (PEM) of certificate."),
    live("management.token_days", "30", Kind::Count(1, 3_650), "How many days a sign-on token is good."),
    // realm
    fixed("realm.name", "\"realm\"", Kind::Name, "The name of the realm in the directory."),
    fixed(
        "realm.description",
        "\"\"",
        Kind::Line(500),
        "What the directory says of the realm.",
    ),
    fixed("realm.registration", "\"captcha\"", POLICY, "Who may register on the realm; as management.registration."),
    fixed(
        "realm.attach",
        "\"auto\"",
        Kind::BoolOrAuto,
        "Whether the realm uses the accounts of management. auto: when management runs in the same process.",
    ),
    fixed("realm.user_cap", "0", Kind::Count(0, 10_000_000), "How many accounts the realm takes. 0: any number."),
    fixed(
        "realm.quota",
        "\"1 GiB\"",
        Kind::Size(0, 1 << 50),
        "What one user may store who registers here. Where the realm is attached, this default stands for data_management.quota.",
    ),
    fixed(
        "realm.queue_seconds",
        "259200",
        Kind::Count(1, 31_536_000),
        "How many seconds a message for a user of another realm waits while that realm is away (259200: three days); then it is dropped, \
         and its sender is told.",
    ),
    // data_management
    fixed(
        "data_management.quota",
        "\"10 GiB\"",
        Kind::Size(0, 1 << 50),
        "What one user may store: files, offline messages that wait, changes of workspaces.",
    ),
    fixed(
        "data_management.grace",
        "60",
        Kind::Count(1, 86_400),
        "Seconds that a data server may be off before the copies that it has are made anew on others.",
    ),
    // data
    fixed("data.capacity", "\"10 GiB\"", Kind::Size(1 << 20, 1 << 50), "What this data server stores, all together."),
    fixed(
        "data.store",
        "\"disk\"",
        Kind::Choice(Store::NAMES),
        "Where the blocks are kept: disk, in files of data.folder; s3, in a bucket of an S3-compatible object store, which \
         the keys s3_… name.",
    ),
    fixed("data.folder", "\"\"", Kind::Path, "The folder of the blocks on disk. Empty: the folder blocks in data_dir."),
    fixed(
        "data.s3_endpoint",
        "\"\"",
        Kind::Word,
        "The address of the object store: \"https://host\" or \"https://host:port\"; the bucket follows as the path. With \
         http:// only on this machine (127.0.0.1, ::1, localhost), unless s3_plain_http says otherwise.",
    ),
    fixed("data.s3_bucket", "\"\"", Kind::Word, "The bucket, which has to be there."),
    fixed("data.s3_region", "\"us-east-1\"", Kind::Word, "Its region, which is part of each signature."),
    fixed(
        "data.s3_prefix",
        "\"blocks/\"",
        Kind::Word,
        "What the name of every object begins with. No two data servers may have the same one in the same bucket.",
    ),
    fixed("data.s3_access_key", "\"\"", Kind::Word, "The name of the access key."),
    fixed(
        "data.s3_secret_key_file",
        "\"\"",
        Kind::Path,
        "A file with the secret of the access key, in one line, that nobody else may read (mode 0600).",
    ),
    fixed(
        "data.s3_ca_file",
        "\"\"",
        Kind::Path,
        "A file with the certificates (PEM) that the object store's certificate must be signed by: for a store of your own. \
         Empty: the public CAs.",
    ),
    fixed(
        "data.s3_plain_http",
        "false",
        Kind::Bool,
        "Whether http:// may be used over the network too. Who listens there reads the blocks, which users may have encrypted or \
         not.",
    ),
    live(
        "data.scrub_days",
        "30",
        Kind::Count(1, 3_650),
        "In how many days all blocks are read once, to find those that the disk has lost.",
    ),
    // voice
    live(
        "voice.default_rights",
        "[]",
        Kind::Words(VOICE_RIGHTS),
        "The rights of a regular voice registration.",
    ),
    fixed(
        "voice.allow_unsigned",
        "false",
        Kind::Bool,
        "Whether voice clients that sign nothing are served on other addresses than loopback too.",
    ),
    fixed(
        "voice.udp_ports",
        "500",
        Kind::Count(1, 10_000),
        "How many UDP ports the voice channels have, from listen.voice_udp on.",
    ),
    // engine
    fixed("engine.threads", "1", Kind::Count(1, 256), "Threads for links."),
    live(
        "engine.max_packet",
        "\"1 MiB\"",
        Kind::Size(4 << 10, 1 << 30),
        "The most DATA of a packet of a link that has signed on; of a command with a payload, the most payload.",
    ),
    live(
        "engine.max_packet_before_sign_on",
        "\"4 KiB\"",
        Kind::Size(1 << 10, 1 << 20),
        "The largest packet of a link that has not signed on; not more than max_packet.",
    ),
    live(
        "engine.outbox",
        "\"1 MiB\"",
        Kind::Size(16 << 10, 1 << 30),
        "What may wait to be read by one link; over it, senders get BUSY.",
    ),
    live(
        "engine.outbox_total",
        "\"256 MiB\"",
        Kind::Size(16 << 10, 1 << 40),
        "What may wait over all links of a role; not less than outbox.",
    ),
    live("engine.max_links", "100000", Kind::Count(1, 10_000_000), "Links of a role, all together."),
    live(
        "engine.waiting_links",
        "4096",
        Kind::Count(1, 1_000_000),
        "Links that have not signed on; the longest silent one goes when there are more.",
    ),
    live(
        "engine.stall_seconds",
        "30",
        Kind::Count(1, 3_600),
        "Seconds that an outbox may stay over its bound before the link is closed.",
    ),
    fixed(
        "engine.argon2_workers",
        "1",
        Kind::Count(1, 64),
        "Threads that check passwords; each needs the memory of one Argon2 run.",
    ),
];

/// The key of that name.
pub fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// Whether it is a table of the file.
pub fn is_section(name: &str) -> bool {
    SECTIONS.iter().any(|(section, _)| *section == name)
}
