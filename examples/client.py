#!/usr/bin/env python3
"""A Convergia client in 100 lines of Python's standard library; docs/protocol.md says all that it knows.
  client.py convergia://HOST:PORT#FINGERPRINT USER [--register]    (password: CONVERGIA_PASSWORD, or asked for)
Then each line of input, `RECIPIENT TEXT`, is sent; what comes is printed as `SENDER TEXT`."""
import getpass, hashlib, os, re, select, socket, ssl, sys, time

class Fail(Exception): """The server refused, or cannot be trusted."""

class Link:
    """A TLS 1.3 connection that carries packets: ID SP COMMAND [SP DATA] EOL."""
    def __init__(self, host, port, fingerprint):
        context = ssl.create_default_context()
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        if fingerprint:  # The certificate is self-signed: its fingerprint says whom we trust, not an authority.
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        host, began = host.strip("[]"), time.monotonic()
        self.socket = context.wrap_socket(socket.create_connection((host, int(port)), 10), server_hostname=host)
        self.round_trip = int((time.monotonic() - began) * 1000)
        self.fingerprint = hashlib.sha256(self.socket.getpeercert(binary_form=True)).hexdigest()
        if fingerprint and fingerprint != self.fingerprint:
            raise Fail(f"{host}:{port} shows another certificate: {self.fingerprint}")
        self.buffer, self.packets, self.last_id = b"", [], 0
    def send(self, packet_id, command, data):
        escaped = re.sub(rb"([~\n\r])", rb"~\1", data)  # In DATA, ~ makes the next byte literal.
        self.socket.settimeout(30)
        self.socket.sendall(b" ".join(filter(None, [packet_id.encode(), command.encode(), escaped])) + b"\n")
    def receive(self):
        """Takes what has come, without waiting for more. PINGs are answered here."""
        self.socket.settimeout(0)
        before = len(self.buffer)
        try:
            while chunk := self.socket.recv(65536): self.buffer += chunk
            if len(self.buffer) == before: raise Fail("the server closed the connection")
        except ssl.SSLWantReadError: pass
        while line := re.match(rb"((?:[^~\r\n]|~.)*)[\r\n]", self.buffer, re.S):
            self.buffer = self.buffer[line.end():]
            packet_id, command, data = (line[1].decode("latin-1").split(" ", 2) + ["", ""])[:3]
            data = re.sub(rb"~(.)", rb"\1", data.encode("latin-1"), flags=re.S)
            if command == "ERROR": raise Fail(data.decode())
            elif command == "PING" and not data: self.send(packet_id, "PING", b"OK")
            elif command == "REDIRECT": self.send(packet_id, command, b"FAIL REFUSED " + data.split(b"\n")[0])  # We stay.
            elif command: self.packets.append((packet_id, command, data))
    def request(self, command, *fields):
        self.last_id += 1
        self.send(str(self.last_id), command, "\n".join(fields).encode())
        while not (answer := [packet for packet in self.packets if packet[0] == str(self.last_id)]):
            select.select([self.socket], [], [], 60)
            self.receive()
        self.packets.remove(answer[0])
        status, _, data = answer[0][2].partition(b" ")
        if status != b"OK": raise Fail(f"{command}: {data.decode()}")
        return data

def sign_on(url, user, password, new):
    host, port, pin = re.fullmatch(r"convergia://(.+):(\d+)#?(\w*)", url).groups()
    public = Link(host, port, pin)
    ports = dict(line.split("|") for line in public.request("GETPORTS").decode().splitlines())
    if new:
        request_id, _, picture = public.request("REGISTERACCOUNT", user, password).partition(b"\n")
        if picture:
            with open("captcha.png", "wb") as file: file.write(picture)
        text = input("the text in captcha.png: ") if picture else ""
        public.request("CONFIRMREGISTERACCOUNT", request_id.decode(), text)
    management, validation = Link(host, ports["client_management"], pin), Link(host, ports["validation"], pin)
    management.request("LOGIN", user, password)  # The answer is a token: good in the password's place for 30 days.
    reached, report = {}, []
    for line in management.request("LISTSERVERS").decode().splitlines():
        server_id, _name, address, fingerprint, _clients = line.split("|")
        try:
            link = Link(*address.rsplit(":", 1), fingerprint)
            validation.request("VALIDATEKEY", server_id, link.fingerprint)
            reached[server_id] = link
            report.append(f"{server_id}|yes|{link.round_trip}")
        except (OSError, Fail):
            report.append(f"{server_id}|no|0")
    server_id, ticket = management.request("REPORTSERVERS", *report).decode().split("\n")
    reached[server_id].request("SIGNON", user, ticket)
    return reached[server_id]

def main(url, user, *options):
    server = sign_on(url, user, os.environ.get("CONVERGIA_PASSWORD") or getpass.getpass(), "--register" in options)
    print(f"signed on as {user}", flush=True)
    typed = b""
    while True:
        while server.packets:
            _id, command, data = server.packets.pop(0)
            if command == "RECEIVEMESSAGE":
                sender, _sent_at, body = data.decode(errors="replace").split("\n", 2)
                print(sender, "".join(c if c.isprintable() else "?" for c in body), flush=True)  # No terminal codes.
        if sys.stdin in select.select([server.socket, sys.stdin], [], [], 60)[0]:
            chunk = os.read(0, 65536)
            *lines, typed = (typed + chunk).split(b"\n")
            for line in filter(None, lines):
                try: server.request("SENDMESSAGE", *line.decode().split(" ", 1))
                except Fail as fail: print("not sent:", fail, flush=True)
            if not chunk: return server.request("SIGNOFF")
        server.receive()

if __name__ == "__main__":
    main(*sys.argv[1:])
