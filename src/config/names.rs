//! The words of the configuration that other modules use: ports, roles, policies, rights.

/// A port of contract section 3, by its key in the configuration. Two of them are UDP: `Discovery` and `VoiceUdp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PortKey {
    ClientMain,
    PublicManagement,
    ClientManagement,
    ClientClient,
    MainMain,
    MainManagement,
    DataDatamanagement,
    DataData,
    MainDatamanagement,
    Validation,
    DatamanagementManagement,
    Realm,
    ClientRealms,
    RealmManagement,
    RealmClientClient,
    Discovery,
    VoiceControl,
    /// The first port of a range; `voice.udp_ports` says how many follow it.
    VoiceUdp,
    Web,
    /// The operator's Unix socket: no port of the network, not in `ALL`, and nothing to configure.
    Admin,
}

impl PortKey {
    /// Every port that can be configured, in the order of the contract.
    pub const ALL: &'static [PortKey] = &[
        PortKey::ClientMain,
        PortKey::PublicManagement,
        PortKey::ClientManagement,
        PortKey::ClientClient,
        PortKey::MainMain,
        PortKey::MainManagement,
        PortKey::DataDatamanagement,
        PortKey::DataData,
        PortKey::MainDatamanagement,
        PortKey::Validation,
        PortKey::DatamanagementManagement,
        PortKey::Realm,
        PortKey::ClientRealms,
        PortKey::RealmManagement,
        PortKey::RealmClientClient,
        PortKey::Discovery,
        PortKey::VoiceControl,
        PortKey::VoiceUdp,
        PortKey::Web,
    ];

    /// Its name in the configuration (`listen.NAME`), the ready file and `GETPORTS`.
    pub fn name(self) -> &'static str {
        match self {
            PortKey::ClientMain => "client_main",
            PortKey::PublicManagement => "public_management",
            PortKey::ClientManagement => "client_management",
            PortKey::ClientClient => "client_client",
            PortKey::MainMain => "main_main",
            PortKey::MainManagement => "main_management",
            PortKey::DataDatamanagement => "data_datamanagement",
            PortKey::DataData => "data_data",
            PortKey::MainDatamanagement => "main_datamanagement",
            PortKey::Validation => "validation",
            PortKey::DatamanagementManagement => "datamanagement_management",
            PortKey::Realm => "realm",
            PortKey::ClientRealms => "client_realms",
            PortKey::RealmManagement => "realm_management",
            PortKey::RealmClientClient => "realm_client_client",
            PortKey::Discovery => "discovery",
            PortKey::VoiceControl => "voice_control",
            PortKey::VoiceUdp => "voice_udp",
            PortKey::Web => "web",
            PortKey::Admin => "admin",
        }
    }

    /// Whether `OpenGroove` is the first line there.
    pub fn greets(self) -> bool {
        use PortKey::ClientRealms;
        use PortKey::Realm;
        use PortKey::RealmClientClient;
        use PortKey::RealmManagement;
        matches!(self, Realm | ClientRealms | RealmManagement | RealmClientClient)
    }

    /// The port when nothing else is said; 0 for `Admin`, which has none.
    pub fn default_port(self) -> u16 {
        match self {
            PortKey::ClientMain => 64473,
            PortKey::PublicManagement => 64474,
            PortKey::ClientManagement => 64475,
            PortKey::ClientClient => 64476,
            PortKey::MainMain => 64477,
            PortKey::MainManagement => 64478,
            PortKey::DataDatamanagement => 64479,
            PortKey::DataData => 64480,
            PortKey::MainDatamanagement => 64481,
            PortKey::Validation => 64482,
            PortKey::DatamanagementManagement => 64483,
            PortKey::Realm => 63745,
            PortKey::ClientRealms => 63746,
            PortKey::RealmManagement => 63747,
            PortKey::RealmClientClient => 63748,
            PortKey::Discovery => 63749,
            PortKey::VoiceControl => 64484,
            PortKey::VoiceUdp => 64500,
            PortKey::Web => 64580,
            PortKey::Admin => 0,
        }
    }
}

/// Where a data server keeps blocks (`data.store`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Store {
    /// In files of a folder.
    Disk,
    /// In a bucket of an S3-compatible object store.
    S3,
}

impl Store {
    /// Their names in the configuration.
    pub const NAMES: &'static [&'static str] = &["disk", "s3"];
}

/// Who may register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Whoever reads the letters in a picture.
    Captcha,
    /// Anybody.
    Open,
    /// Whoever has an invitation from the operator.
    Invite,
    /// Nobody.
    Closed,
}

impl Policy {
    /// Every policy.
    pub const ALL: &'static [Policy] = &[Policy::Captcha, Policy::Open, Policy::Invite, Policy::Closed];
    /// Their names, in the same order.
    pub const NAMES: &'static [&'static str] = &["captcha", "open", "invite", "closed"];

    /// Its name in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Policy::Captcha => "captcha",
            Policy::Open => "open",
            Policy::Invite => "invite",
            Policy::Closed => "closed",
        }
    }
}

/// A role that a process can play.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RoleName {
    Management,
    Main,
    DataManagement,
    Data,
    Realm,
}

impl RoleName {
    /// Every role.
    pub const ALL: &'static [RoleName] =
        &[RoleName::Management, RoleName::Main, RoleName::DataManagement, RoleName::Data, RoleName::Realm];

    /// The role of that name.
    pub fn parse(name: &str) -> Option<RoleName> {
        RoleName::ALL.iter().copied().find(|role| role.name() == name)
    }

    /// Its name in the configuration and after `--role`.
    pub fn name(self) -> &'static str {
        match self {
            RoleName::Management => "management",
            RoleName::Main => "main",
            RoleName::DataManagement => "data-management",
            RoleName::Data => "data",
            RoleName::Realm => "realm",
        }
    }
}

/// What a regular voice registration may do (contract 11).
pub const VOICE_RIGHTS: &[&str] =
    &["register_user", "delete_user", "add_channel", "rm_channel", "add_user", "kick_user", "admin"];
