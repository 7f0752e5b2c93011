//! The files of the web port, as they are in `roles/realm/web/`: all of them are part of the executable.

use crate::engine::net::File;

/// Path, content type, bytes.
pub const FILES: &[File] = &[("/", "text/html; charset=utf-8", include_bytes!("web/index.html"))];
