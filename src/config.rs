//! stub until merged
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PortKey { ClientMain, PublicManagement, ClientManagement, MainManagement, Validation, ClientRealms, Admin }
impl PortKey {
    pub const ALL: &'static [PortKey] = &[PortKey::ClientMain, PortKey::PublicManagement, PortKey::ClientManagement, PortKey::MainManagement, PortKey::Validation, PortKey::ClientRealms];
    pub fn name(self) -> &'static str { match self { PortKey::ClientMain => "client_main", PortKey::PublicManagement => "public_management", PortKey::ClientManagement => "client_management", PortKey::MainManagement => "main_management", PortKey::Validation => "validation", PortKey::ClientRealms=>"client_realms", PortKey::Admin => "admin" } }
}
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy { Captcha, Open, Invite, Closed }
impl Policy { pub fn name(self) -> &'static str { "x" } }
