//! The files of the web port, as they are in `roles/realm/web/`: all of them are part of the executable.

use crate::engine::net::File;

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";
const MANIFEST: &str = "application/manifest+json";

/// Path, content type, bytes.
pub const FILES: &[File] = &[
    ("/", HTML, include_bytes!("web/index.html")),
    ("/account.js", JS, include_bytes!("web/account.js")),
    ("/app.js", JS, include_bytes!("web/app.js")),
    ("/base.css", CSS, include_bytes!("web/base.css")),
    ("/browser.js", JS, include_bytes!("web/browser.js")),
    ("/bubble.js", JS, include_bytes!("web/bubble.js")),
    ("/cards.js", JS, include_bytes!("web/cards.js")),
    ("/chart.js", JS, include_bytes!("web/chart.js")),
    ("/composer.js", JS, include_bytes!("web/composer.js")),
    ("/conversation.js", JS, include_bytes!("web/conversation.js")),
    ("/dialog.js", JS, include_bytes!("web/dialog.js")),
    ("/dom.js", JS, include_bytes!("web/dom.js")),
    ("/emitter.js", JS, include_bytes!("web/emitter.js")),
    ("/fail.js", JS, include_bytes!("web/fail.js")),
    ("/file-kinds.js", JS, include_bytes!("web/file-kinds.js")),
    ("/format.js", JS, include_bytes!("web/format.js")),
    ("/history.js", JS, include_bytes!("web/history.js")),
    ("/icon-unread.svg", SVG, include_bytes!("web/icon-unread.svg")),
    ("/icon.svg", SVG, include_bytes!("web/icon.svg")),
    ("/icons.js", JS, include_bytes!("web/icons.js")),
    ("/link.js", JS, include_bytes!("web/link.js")),
    ("/linkify.js", JS, include_bytes!("web/linkify.js")),
    ("/mail.js", JS, include_bytes!("web/mail.js")),
    ("/manifest.webmanifest", MANIFEST, include_bytes!("web/manifest.webmanifest")),
    ("/map-layout.js", JS, include_bytes!("web/map-layout.js")),
    ("/names.js", JS, include_bytes!("web/names.js")),
    ("/notify.js", JS, include_bytes!("web/notify.js")),
    ("/operator-invites.js", JS, include_bytes!("web/operator-invites.js")),
    ("/operator-servers.js", JS, include_bytes!("web/operator-servers.js")),
    ("/operator-sessions.js", JS, include_bytes!("web/operator-sessions.js")),
    ("/operator-users.js", JS, include_bytes!("web/operator-users.js")),
    ("/outbox.js", JS, include_bytes!("web/outbox.js")),
    ("/pages.css", CSS, include_bytes!("web/pages.css")),
    ("/people.js", JS, include_bytes!("web/people.js")),
    ("/permissions.js", JS, include_bytes!("web/permissions.js")),
    ("/preview.js", JS, include_bytes!("web/preview.js")),
    ("/repeats.js", JS, include_bytes!("web/repeats.js")),
    ("/router.js", JS, include_bytes!("web/router.js")),
    ("/session.js", JS, include_bytes!("web/session.js")),
    ("/shell.css", CSS, include_bytes!("web/shell.css")),
    ("/shell.js", JS, include_bytes!("web/shell.js")),
    ("/storage.js", JS, include_bytes!("web/storage.js")),
    ("/talk.css", CSS, include_bytes!("web/talk.css")),
    ("/talks.js", JS, include_bytes!("web/talks.js")),
    ("/theme.js", JS, include_bytes!("web/theme.js")),
    ("/transfers.js", JS, include_bytes!("web/transfers.js")),
    ("/view-chats.js", JS, include_bytes!("web/view-chats.js")),
    ("/view-files.js", JS, include_bytes!("web/view-files.js")),
    ("/view-map.js", JS, include_bytes!("web/view-map.js")),
    ("/view-operator.js", JS, include_bytes!("web/view-operator.js")),
    ("/view-settings.js", JS, include_bytes!("web/view-settings.js")),
    ("/view-sign.js", JS, include_bytes!("web/view-sign.js")),
    ("/view-transfers.js", JS, include_bytes!("web/view-transfers.js")),
    ("/view-workspaces.js", JS, include_bytes!("web/view-workspaces.js")),
    ("/wire.js", JS, include_bytes!("web/wire.js")),
    ("/workspaces.js", JS, include_bytes!("web/workspaces.js")),
];
