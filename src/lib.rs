//! Convergia: one executable that plays roles. ARCHITECTURE.md is the map.

#![forbid(unsafe_code)]

pub mod accounts;
pub mod blocks;
pub mod cli;
pub mod client;
pub mod config;
pub mod engine;
pub mod members;
pub mod node;
pub mod relay;
#[path = "../roles/mod.rs"]
pub mod roles;
pub mod route;
pub mod session;
pub mod storage;
pub mod voice;
pub mod wire;
