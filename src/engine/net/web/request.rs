//! One HTTP request and its response; pure. `httparse` reads the head, this file decides.

use aws_lc_rs::digest;
use base64::engine::general_purpose::STANDARD;
use base64::Engine;
use httparse::Header;
use httparse::Request;
use httparse::Status;

use super::assets::Assets;
use super::date;
use crate::engine::limits;

/// Where the web socket is.
const SOCKET: &str = "/socket";
/// Header lines of a request, at most.
const HEADERS: usize = 64;
/// What RFC 6455 adds to a key before it is hashed.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Sent with every response: the page runs what comes from here, is shown in no frame, and tells nobody where it was. There are no cookies.
const ALWAYS: &str = "\
    Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; \
    media-src 'self' blob:; connect-src 'self'; font-src 'self'; manifest-src 'self'; base-uri 'none'; \
    form-action 'none'; frame-ancestors 'none'\r\n\
    X-Content-Type-Options: nosniff\r\n\
    Referrer-Policy: no-referrer\r\n\
    Cross-Origin-Opener-Policy: same-origin\r\n\
    Cross-Origin-Resource-Policy: same-origin\r\n\
    Permissions-Policy: microphone=(self), camera=(), geolocation=(), payment=(), usb=()\r\n";

/// How a connection came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Over TLS.
    Tls,
    /// Plain, from this machine.
    Plain,
    /// Plain, from elsewhere: it is told to come over TLS.
    Astray,
}

/// What follows a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// The next request.
    Next,
    /// The end of the connection.
    Close,
    /// Frames of a web socket.
    Frames,
}

/// A response.
#[derive(Debug)]
pub struct Response {
    /// Status line and headers, and a body if it is a short text.
    pub head: Vec<u8>,
    /// The file that follows: its place, and whether it is the packed form.
    pub file: Option<(usize, bool)>,
    /// What follows.
    pub then: Then,
}

/// The response to the request at the beginning of `bytes`, and how many bytes of it are the request. None: it is not there as a whole yet.
/// `now`: Unix milliseconds.
pub fn respond(bytes: &[u8], assets: &Assets, way: Way, now: u64) -> Option<(usize, Response)> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut request = Request::new(&mut headers);
    let answer = |status, text, then| Answer { now, then }.text(status, text);
    match request.parse(bytes) {
        Ok(Status::Complete(used)) => {
            let mut response = decide(&request, assets, way, now);
            if request.method == Some("HEAD") {
                cut_body(&mut response);
            }
            Some((used, response))
        }
        Ok(Status::Partial) if bytes.len() < limits::HTTP_HEAD => None,
        Ok(Status::Partial) | Err(httparse::Error::TooManyHeaders) => Some((
            bytes.len(),
            answer("431 Request Header Fields Too Large", "The head of the request is too long.", Then::Close),
        )),
        Err(_) => Some((bytes.len(), answer("400 Bad Request", "This is no HTTP/1.1 request.", Then::Close))),
    }
}

fn decide(request: &Request<'_, '_>, assets: &Assets, way: Way, now: u64) -> Response {
    let headers = Headers(request.headers);
    let newer = request.version == Some(1);
    // A body is not read, so nothing can follow it.
    let body = headers.any("transfer-encoding") || headers.all("content-length").any(|length| length != b"0");
    let keep = newer && !body && !headers.list("connection").any(|word| word.eq_ignore_ascii_case(b"close"));
    let answer = Answer { now, then: if keep { Then::Next } else { Then::Close } };
    let host = match headers.one("host") {
        Ok(Some(host)) if is_host(host) => std::str::from_utf8(host).ok(),
        Ok(None) if !newer => None,
        _ => return answer.closing().text("400 Bad Request", "The request needs one Host."),
    };
    let (method, path) = (request.method.unwrap_or_default(), path(request.path.unwrap_or_default()));
    if way == Way::Astray {
        let Some(host) = host else { return answer.closing().text("400 Bad Request", "This port speaks HTTPS.") };
        let more = format!("Location: https://{host}{path}\r\n");
        return answer.closing().with("301 Moved Permanently", &more, "This port speaks HTTPS.");
    }
    if path == SOCKET {
        return match method {
            "GET" => socket(&headers, host, way, newer && !body, answer),
            _ => answer.with("405 Method Not Allowed", "Allow: GET\r\n", "The web socket is opened with GET."),
        };
    }
    if method != "GET" && method != "HEAD" {
        return answer.with("405 Method Not Allowed", "Allow: GET, HEAD\r\n", "Only GET and HEAD are answered here.");
    }
    let found = assets.find(path.split('?').next().unwrap_or_default());
    let Some((place, file)) = found.and_then(|place| Some((place, assets.at(place)?))) else {
        return answer.text("404 Not Found", "There is no such page.");
    };
    let packed = file.gzip.as_ref().filter(|_| takes_gzip(&headers));
    let form = packed.unwrap_or(&file.plain);
    let mut more = format!("ETag: {}\r\nCache-Control: no-cache\r\nVary: Accept-Encoding\r\n", form.tag);
    let known = headers.list("if-none-match").any(|tag| {
        let tag = tag.strip_prefix(b"W/").unwrap_or(tag);
        tag == b"*" || tag == form.tag.as_bytes()
    });
    if known {
        return Response { head: answer.head("304 Not Modified", &more), file: None, then: answer.then };
    }
    more += &format!("Content-Type: {}\r\nContent-Length: {}\r\n", file.kind, form.bytes.len());
    if packed.is_some() {
        more += "Content-Encoding: gzip\r\n";
    }
    Response { head: answer.head("200 OK", &more), file: Some((place, packed.is_some())), then: answer.then }
}

/// The opening handshake of a web socket (RFC 6455, 4.2).
fn socket(headers: &Headers<'_, '_>, host: Option<&str>, way: Way, newer: bool, answer: Answer) -> Response {
    let has = |name, word: &[u8]| headers.list(name).any(|found| found.eq_ignore_ascii_case(word));
    if !newer || !has("upgrade", b"websocket") || !has("connection", b"upgrade") {
        return answer.closing().text("400 Bad Request", "Here a web socket is opened.");
    }
    if headers.one("sec-websocket-version") != Ok(Some(b"13")) {
        let more = "Sec-WebSocket-Version: 13\r\n";
        return answer.closing().with("426 Upgrade Required", more, "The version of web sockets is 13.");
    }
    let key = headers.one("sec-websocket-key").ok().flatten();
    let Some(key) = key.filter(|key| STANDARD.decode(key).is_ok_and(|key| key.len() == 16)) else {
        return answer.closing().text("400 Bad Request", "Sec-WebSocket-Key is 16 bytes in Base64.");
    };
    let fits = match headers.one("origin") {
        // Not a browser: it could say anything.
        Ok(None) => true,
        Ok(Some(origin)) => host.is_some_and(|host| is_same(origin, host, way)),
        Err(()) => false,
    };
    if !fits {
        return answer.closing().text("403 Forbidden", "A page of another site opens no web socket here.");
    }
    let mut hash = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    hash.update(key);
    hash.update(GUID);
    let accept = STANDARD.encode(hash.finish());
    let more = format!("Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n");
    let answer = Answer { then: Then::Frames, ..answer };
    Response { head: answer.head("101 Switching Protocols", &more), file: None, then: Then::Frames }
}

#[derive(Clone, Copy)]
struct Answer {
    now: u64,
    then: Then,
}

impl Answer {
    fn closing(self) -> Answer {
        Answer { then: Then::Close, ..self }
    }

    fn head(self, status: &str, more: &str) -> Vec<u8> {
        let close = if self.then == Then::Close { "Connection: close\r\n" } else { "" };
        format!("HTTP/1.1 {status}\r\nDate: {}\r\n{more}{ALWAYS}{close}\r\n", date::http(self.now)).into_bytes()
    }

    fn text(self, status: &str, text: &str) -> Response {
        self.with(status, "", text)
    }

    fn with(self, status: &str, more: &str, text: &str) -> Response {
        let length = text.len() + 1;
        let more = format!("{more}Content-Type: text/plain; charset=utf-8\r\nContent-Length: {length}\r\n");
        let mut head = self.head(status, &more);
        head.extend_from_slice(text.as_bytes());
        head.push(b'\n');
        Response { head, file: None, then: self.then }
    }
}

/// Leaves status line and headers.
fn cut_body(response: &mut Response) {
    response.file = None;
    if let Some(end) = memchr::memmem::find(&response.head, b"\r\n\r\n") {
        response.head.truncate(end + 4);
    }
}

/// The header lines of a request.
struct Headers<'h, 'b>(&'h [Header<'b>]);

impl<'b> Headers<'_, 'b> {
    fn all<'s>(&'s self, name: &'static str) -> impl Iterator<Item = &'b [u8]> + 's {
        self.0
            .iter()
            .filter(move |header| header.name.eq_ignore_ascii_case(name))
            .map(|header| header.value.trim_ascii())
    }

    fn any(&self, name: &'static str) -> bool {
        self.all(name).next().is_some()
    }

    /// The one value; an error where there are several.
    fn one(&self, name: &'static str) -> Result<Option<&'b [u8]>, ()> {
        let mut all = self.all(name);
        match (all.next(), all.next()) {
            (value, None) => Ok(value),
            _ => Err(()),
        }
    }

    /// The values of a list, which may be cut over several lines. (An ETag with a comma is cut here too: ours have none.)
    fn list<'s>(&'s self, name: &'static str) -> impl Iterator<Item = &'b [u8]> + 's {
        self.all(name).flat_map(|value| value.split(|byte| *byte == b',')).map(<[u8]>::trim_ascii)
    }
}

/// The path and what follows it, of a request's target in any of its forms.
fn path(target: &str) -> &str {
    if target.starts_with('/') {
        return target;
    }
    match target.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("/", |at| &rest[at..]),
        None => "",
    }
}

fn is_host(host: &[u8]) -> bool {
    !host.is_empty() && host.iter().all(|byte| byte.is_ascii_alphanumeric() || b".-_:[]".contains(byte))
}

/// Whether `origin` is the site that the request was for. Over TLS, pages that came without it are not; in front of plain HTTP on this machine
/// there may be something that does TLS.
fn is_same(origin: &[u8], host: &str, way: Way) -> bool {
    let Ok(origin) = std::str::from_utf8(origin) else { return false };
    let Some((scheme, authority)) = origin.split_once("://") else { return false };
    let port = match scheme {
        "https" => ":443",
        "http" if way != Way::Tls => ":80",
        _ => return false,
    };
    let bare = |name: &str| name.strip_suffix(port).unwrap_or(name).to_ascii_lowercase();
    bare(authority) == bare(host)
}

fn takes_gzip(headers: &Headers<'_, '_>) -> bool {
    headers.list("accept-encoding").any(|coding| {
        let mut parts = coding.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
        let name = parts.next().unwrap_or_default();
        // `q=0`, `q=0.0`: not this one.
        let refused = |part: &[u8]| {
            let weight = part.strip_prefix(b"q=").or(part.strip_prefix(b"Q="));
            weight.is_some_and(|weight| weight.iter().all(|byte| b"0.".contains(byte)))
        };
        (name.eq_ignore_ascii_case(b"gzip") || name == b"*") && !parts.any(refused)
    })
}

#[cfg(test)]
mod tests;
