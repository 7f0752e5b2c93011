#!/usr/bin/env python3
"""A Convergia client in 100 lines of Python's standard library; docs/protocol.md says all that it knows.

  client.py convergia://HOST:PORT#FINGERPRINT USER [--register]    (password: CONVERGIA_PASSWORD, or asked for)
Then each line of input, `RECIPIENT TEXT`, is sent; what comes is printed as `SENDER TEXT`."""
import getpass, hashlib, os, re, select, socket, ssl, sys, time

class Fail(Exception): pass

class Link:
    """A TLS 1.3 connection that carries packets: ID SP COMMAND [SP DATA] EOL."""
    def __init__(self, address, fingerprint=None, pinned=True):
        host, port = address.rsplit(":", 1)
        context = ssl.create_default_context()
        if pinned:  # The certificate is self-signed: its fingerprint says whom we trust, no authority does.
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        began = time.monotonic()
        tcp = socket.create_connection((host.strip("[]"), int(port)), 10)
        self.socket = context.wrap_socket(tcp, server_hostname=host.strip("[]"))
        self.round_trip = int((time.monotonic() - began) * 1000)
        self.fingerprint = hashlib.sha256(self.socket.getpeercert(binary_form=True)).hexdigest()
        if fingerprint and fingerprint != self.fingerprint:
            raise Fail(f"{address} shows another certificate: {self.fingerprint}")
        self.buffer, self.packets, self.last_id = b"", [], 0

    def send(self, packet_id, command, data=b""):
        escaped = re.sub(rb"([~\n\r])", rb"~\1", data)  # In DATA, ~ makes the next byte literal.
        self.socket.settimeout(30)
        self.socket.sendall(b"%s %s %s\n" % (packet_id.encode(), command.encode(), escaped))

    def receive(self):
        """Takes what has come, without waiting; answers PINGs."""
        self.socket.settimeout(0)
        try:
            while True:
                chunk = self.socket.recv(65536)
                if not chunk: raise Fail("the server closed the connection")
                self.buffer += chunk
        except ssl.SSLWantReadError:
            pass
        while line := re.match(rb"((?:[^~\r\n]|~.)*)[\r\n]", self.buffer, re.S):
            self.buffer = self.buffer[line.end():]
            packet = (line[1].split(b" ", 2) + [b"", b""])[:3]
            packet_id, command = packet[0].decode(), packet[1].decode()
            data = re.sub(rb"~(.)", rb"\1", packet[2], flags=re.S)
            if command == "PING" and not data: self.send(packet_id, "PING", b"OK")
            elif command == "ERROR": raise Fail(data.decode())
            elif command: self.packets.append((packet_id, command, data))

    def request(self, command, *fields):
        self.last_id += 1
        self.send(str(self.last_id), command, b"\n".join(f if isinstance(f, bytes) else f.encode() for f in fields))
        while True:
            for packet in self.packets:
                if packet[0] == str(self.last_id):
                    self.packets.remove(packet)
                    status, _, data = packet[2].partition(b" ")
                    if status != b"OK": raise Fail(f"{command}: {data.decode()}")
                    return data
            select.select([self.socket], [], [], 60)
            self.receive()

def register(public, user, password):
    request_id, _, picture = public.request("REGISTERACCOUNT", user, password).partition(b"\n")
    text = ""
    if picture:
        with open("captcha.png", "wb") as file: file.write(picture)
        text = input("the text in captcha.png: ")
    public.request("CONFIRMREGISTERACCOUNT", request_id, text)

def sign_on(url, user, password, new):
    address, _, pin = re.sub("^convergia://", "", url).partition("#")
    public = Link(address, pin, bool(pin))
    ports = dict(line.split("|") for line in public.request("GETPORTS").decode().splitlines())
    at = lambda key: Link(address.rsplit(":", 1)[0] + ":" + ports[key], pin, bool(pin))
    if new: register(public, user, password)
    management, validation, reached, report = at("client_management"), at("validation"), {}, []
    management.request("LOGIN", user, password)  # Answers with a token, good in place of the password for 30 days.
    for line in management.request("LISTSERVERS").decode().splitlines():
        server_id, _name, server_address, fingerprint, _clients = line.split("|")
        try:
            link = Link(server_address, fingerprint)
            validation.request("VALIDATEKEY", server_id, link.fingerprint)
            reached[server_id] = link
        except (OSError, Fail) as error: print(f"{server_address}: {error}", file=sys.stderr)
        report.append(f"{server_id}|yes|{link.round_trip}" if server_id in reached else f"{server_id}|no|0")
    server_id, ticket = management.request("REPORTSERVERS", *report).decode().split("\n")
    reached[server_id].request("SIGNON", user, ticket)
    return reached[server_id]

def main():
    url, user, *options = sys.argv[1:]
    main_server = sign_on(url, user, os.environ.get("CONVERGIA_PASSWORD") or getpass.getpass(), "--register" in options)
    print(f"signed on as {user}", flush=True)
    typed = b""
    while True:
        while main_server.packets:
            _id, command, data = main_server.packets.pop(0)
            if command == "RECEIVEMESSAGE":
                sender, _sent_at, body = data.decode(errors="replace").split("\n", 2)
                print(sender, body, flush=True)
        ready, _, _ = select.select([main_server.socket, sys.stdin], [], [], 60)
        if sys.stdin in ready:
            chunk = os.read(0, 65536)
            *lines, typed = (typed + chunk).split(b"\n")
            for line in filter(None, lines):
                recipient, _, text = line.partition(b" ")
                try: main_server.request("SENDMESSAGE", recipient, text)
                except Fail as fail: print(f"not sent: {fail}", file=sys.stderr, flush=True)
            if not chunk: return main_server.request("SIGNOFF")
        elif not ready: main_server.request("PING")
        main_server.receive()

if __name__ == "__main__":
    try: main()
    except (Fail, OSError) as error: sys.exit(f"client.py: {error}")
