//! Convergia: one executable that plays roles. ARCHITECTURE.md is the map.

#![forbid(unsafe_code)]

pub mod accounts;
pub mod wire;
