//! A main server of the network that lies, floods, or says nothing (issue 3, "Bad input"), on a virtual clock: it is refused, the log
//! has its name, and others notice nothing.

mod clients;
mod control;
mod fuzz;
mod lies;
mod management;
mod receipts;
mod relay;
pub mod server;
pub mod stage;
