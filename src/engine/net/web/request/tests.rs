use proptest::prelude::*;

use super::*;

const PAGE: &[u8] = &[b'p'; 2_000];

fn assets() -> Assets {
    Assets::new(&[("/", "text/html; charset=utf-8", PAGE), ("/small.css", "text/css", b"p{}")])
}

fn ask(request: &str, way: Way) -> Response {
    let (used, response) = respond(request.as_bytes(), &assets(), way, 784_111_777_000).unwrap();
    assert_eq!(used, request.len());
    response
}

fn head(response: &Response) -> String {
    String::from_utf8(response.head.clone()).unwrap()
}

/// Status, and the value of each header.
fn parts(response: &Response) -> (u16, Vec<(String, String)>) {
    let text = head(response);
    let mut lines = text.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers = lines.take_while(|line| !line.is_empty()).map(|line| line.split_once(": ").unwrap());
    (status, headers.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}

fn header(response: &Response, name: &str) -> Option<String> {
    parts(response).1.into_iter().find(|(is, _)| is == name).map(|(_, value)| value)
}

fn status(request: &str) -> u16 {
    parts(&ask(request, Way::Tls)).0
}

#[test]
fn a_file_with_all_its_headers() {
    let response = ask("GET / HTTP/1.1\r\nHost: h\r\n\r\n", Way::Tls);
    assert_eq!(parts(&response).0, 200);
    assert_eq!(response.file, Some((0, false)));
    assert_eq!(response.then, Then::Next);
    for (name, value) in [
        ("Date", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ("Content-Type", "text/html; charset=utf-8"),
        ("Content-Length", "2000"),
        ("Cache-Control", "no-cache"),
        ("Vary", "Accept-Encoding"),
        ("X-Content-Type-Options", "nosniff"),
        ("Referrer-Policy", "no-referrer"),
        ("Cross-Origin-Opener-Policy", "same-origin"),
        ("Cross-Origin-Resource-Policy", "same-origin"),
    ] {
        assert_eq!(header(&response, name).as_deref(), Some(value), "{name}");
    }
    let policy = header(&response, "Content-Security-Policy").unwrap();
    assert_eq!(
        policy,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; \
         connect-src 'self'; font-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'"
    );
    assert!(header(&response, "Permissions-Policy").unwrap().starts_with("microphone=(self)"));
    assert_eq!(header(&response, "Set-Cookie"), None);
}

#[test]
fn packed_where_it_is_taken_and_unchanged_where_it_is_known() {
    let plain = ask("GET /?invite=x HTTP/1.1\r\nHost: h\r\n\r\n", Way::Tls);
    let packed = ask("GET / HTTP/1.1\r\nHost: h\r\nAccept-Encoding: br, gzip;q=0.5\r\n\r\n", Way::Tls);
    assert_eq!(packed.file, Some((0, true)));
    assert_eq!(header(&packed, "Content-Encoding").as_deref(), Some("gzip"));
    let (plain_tag, packed_tag) = (header(&plain, "ETag").unwrap(), header(&packed, "ETag").unwrap());
    assert_ne!(plain_tag, packed_tag);
    for refused in ["", "br", "gzip;q=0", "gzip; q=0.00", "gzipped"] {
        let response = ask(&format!("GET / HTTP/1.1\r\nHost: h\r\nAccept-Encoding: {refused}\r\n\r\n"), Way::Tls);
        assert_eq!(response.file, Some((0, false)), "{refused}");
    }
    for known in [plain_tag.clone(), format!("W/{plain_tag}"), format!("\"x\", {plain_tag}"), "*".to_owned()] {
        let response = ask(&format!("GET / HTTP/1.1\r\nHost: h\r\nIf-None-Match: {known}\r\n\r\n"), Way::Tls);
        assert_eq!((parts(&response).0, response.file), (304, None), "{known}");
        assert_eq!(header(&response, "ETag"), Some(plain_tag.clone()));
    }
    let other = ask(&format!("GET / HTTP/1.1\r\nHost: h\r\nIf-None-Match: {packed_tag}\r\n\r\n"), Way::Tls);
    assert_eq!(parts(&other).0, 200, "the tag of the other form");
}

#[test]
fn a_head_has_no_body() {
    for path in ["/", "/small.css", "/none", "/socket"] {
        let response = ask(&format!("HEAD {path} HTTP/1.1\r\nHost: h\r\n\r\n"), Way::Tls);
        assert_eq!(response.file, None);
        assert!(head(&response).ends_with("\r\n\r\n"), "{path}");
        assert!(header(&response, "Content-Length").is_some_and(|length| length != "0"));
    }
}

#[test]
fn what_is_refused() {
    for (request, expected) in [
        ("GET /none HTTP/1.1\r\nHost: h\r\n\r\n", 404),
        ("GET /../etc/passwd HTTP/1.1\r\nHost: h\r\n\r\n", 404),
        ("GET /%2e%2e/x HTTP/1.1\r\nHost: h\r\n\r\n", 404),
        ("GET //small.css HTTP/1.1\r\nHost: h\r\n\r\n", 404),
        ("GET * HTTP/1.1\r\nHost: h\r\n\r\n", 404),
        ("GET http://h/small.css HTTP/1.1\r\nHost: h\r\n\r\n", 200),
        ("GET http://h HTTP/1.1\r\nHost: h\r\n\r\n", 200),
        ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n", 405),
        ("OPTIONS / HTTP/1.1\r\nHost: h\r\n\r\n", 405),
        ("POST /socket HTTP/1.1\r\nHost: h\r\n\r\n", 405),
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\"b\r\n\r\n", 400),
        ("GET / HTTP/1.0\r\n\r\n", 200),
        ("GET / HTTP/2.0\r\nHost: h\r\n\r\n", 400),
        ("GET /socket HTTP/1.1\r\nHost: h\r\n\r\n", 400),
    ] {
        let (_, response) = respond(request.as_bytes(), &assets(), Way::Tls, 0).unwrap();
        assert_eq!(parts(&response).0, expected, "{request}");
    }
    let long = format!("GET / HTTP/1.1\r\nHost: h\r\nX: {}", "x".repeat(limits::HTTP_HEAD));
    assert_eq!(status(&long), 431);
    assert_eq!(status(&format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(100))), 431);
}

#[test]
fn after_what_there_is_no_next_request() {
    for request in [
        "GET / HTTP/1.0\r\nHost: h\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, Close\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n",
    ] {
        let response = ask(request, Way::Tls);
        assert_eq!(response.then, Then::Close, "{request}");
        assert_eq!(header(&response, "Connection").as_deref(), Some("close"), "{request}");
    }
}

#[test]
fn plain_http_from_elsewhere_is_sent_to_https() {
    let response = ask("GET /a?b HTTP/1.1\r\nHost: h:64580\r\n\r\n", Way::Astray);
    assert_eq!((parts(&response).0, response.then), (301, Then::Close));
    assert_eq!(header(&response, "Location").as_deref(), Some("https://h:64580/a?b"));
    assert_eq!(parts(&ask("GET / HTTP/1.0\r\n\r\n", Way::Astray)).0, 400);
}

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

fn open(host: &str, origin: &str, way: Way) -> Response {
    let origin = if origin.is_empty() { String::new() } else { format!("Origin: {origin}\r\n") };
    let request = format!(
        "GET /socket HTTP/1.1\r\nHost: {host}\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n{origin}\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n"
    );
    ask(&request, way)
}

#[test]
fn a_web_socket_is_opened() {
    let response = open("h:1", "https://h:1", Way::Tls);
    assert_eq!((parts(&response).0, response.then), (101, Then::Frames));
    // The example of RFC 6455.
    assert_eq!(header(&response, "Sec-WebSocket-Accept").as_deref(), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    let good = head(&response);
    assert_eq!(header(&response, "Connection").as_deref(), Some("Upgrade"), "{good}");
    let request = |change: &str, to: &str| {
        let text = format!(
            "GET /socket HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: {KEY}\r\n\r\n"
        );
        assert!(text.contains(change));
        status(&text.replace(change, to))
    };
    assert_eq!(request("Host", "Host"), 101);
    for (change, to, expected) in [
        ("Connection: Upgrade\r\n", "", 400),
        ("Upgrade: websocket\r\n", "", 400),
        ("websocket", "h2c", 400),
        ("Version: 13", "Version: 8", 426),
        (KEY, "c2hvcnQ=", 400),
        (KEY, "not base64", 400),
        ("HTTP/1.1", "HTTP/1.0", 400),
        ("Host: h", "Host: h\r\nContent-Length: 3", 400),
    ] {
        assert_eq!(request(change, to), expected, "{change} to {to}");
    }
}

#[test]
fn pages_of_other_sites_open_none() {
    for (host, origin, way) in [
        ("h:1", "", Way::Tls),
        ("h", "https://h", Way::Tls),
        ("H.example", "https://h.EXAMPLE:443", Way::Tls),
        ("[::1]:5", "https://[::1]:5", Way::Tls),
        ("localhost:1", "http://localhost:1", Way::Plain),
        ("h", "https://h", Way::Plain),
        ("h:80", "http://h", Way::Plain),
    ] {
        assert_eq!(parts(&open(host, origin, way)).0, 101, "{host} {origin}");
    }
    for (host, origin, way) in [
        ("h:1", "https://evil:1", Way::Tls),
        ("h:1", "https://h", Way::Tls),
        ("h:1", "https://h:1.evil", Way::Tls),
        ("h:1", "https://h:1@evil", Way::Tls),
        ("h", "http://h", Way::Tls),
        ("h:80", "https://h", Way::Plain),
        ("h", "null", Way::Tls),
        ("h", "https://h\r\nOrigin: https://h", Way::Tls),
        ("h", "file://h", Way::Plain),
        ("h", "https://", Way::Plain),
    ] {
        assert_eq!(parts(&open(host, origin, way)).0, 403, "{host} {origin}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Any head at all has an answer or waits for more, and nobody puts a line of his own into a response.
    #[test]
    fn any_bytes_are_answered(
        mut bytes in proptest::collection::vec(any::<u8>(), 0..300),
        begin in 0..4_usize,
        astray in any::<bool>(),
    ) {
        let begins = ["", "GET /", "GET /socket HTTP/1.1\r\nHost: ", "GET / HTTP/1.1\r\nHost: h\r\nOrigin: "];
        bytes.splice(0..0, begins[begin].bytes());
        bytes.extend_from_slice(b"\r\n\r\n");
        let way = if astray { Way::Astray } else { Way::Tls };
        if let Some((used, response)) = respond(&bytes, &assets(), way, 0) {
            prop_assert!(used <= bytes.len());
            let mut headers = [httparse::EMPTY_HEADER; HEADERS];
            let mut parsed = httparse::Response::new(&mut headers);
            prop_assert!(parsed.parse(&response.head).unwrap().is_complete());
            let location = parsed.headers.iter().filter(|header| header.name == "Location").count();
            prop_assert_eq!(location, usize::from(parsed.code == Some(301)));
        }
    }
}
