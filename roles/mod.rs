//! The roles of the executable. A role is state plus a table of commands; no role imports another. Role realm
//! is role main with more doors: `main::realm`, in the folder `realm`.

pub mod data;
pub mod data_management;
pub mod main;
pub mod management;
