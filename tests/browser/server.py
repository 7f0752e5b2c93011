"""The server that the stories talk to: the test build, all roles, on free ports which it keeps over a restart.

    server.py start DIR       # prints the environment that the stories want, one NAME=VALUE a line
    server.py restart DIR     # stops it, starts it on the same ports and data, and ends when it is ready
    server.py stop DIR
"""
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
EXECUTABLE = ROOT / "target/debug/convergia-test-build"
PATIENCE = 60


def start(folder, ports):
    ready = folder / "ready.json"
    ready.unlink(missing_ok=True)
    command = [EXECUTABLE, "--data-dir", folder / "data", "--ready-file", ready]
    command += [word for key, address in ports.items() for word in ("--set", f"listen.{key}={address}")] or ["--any-port"]
    environment = {**os.environ, "CONVERGIA_TEST_CAPTCHA": str(folder / "captcha")}
    log = open(folder / "log", "ab")
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=log, env=environment, start_new_session=True)
    (folder / "pid").write_text(str(child.pid))
    until = time.monotonic() + PATIENCE
    # The ready file appears whole; there is nothing else to wait for.
    while not ready.exists():
        if child.poll() is not None or time.monotonic() > until:
            sys.exit(f"the server does not start:\n{(folder / 'log').read_text()}")
        time.sleep(0.02)
    return json.loads(ready.read_text())["listen"]


def stop(folder):
    pid = int((folder / "pid").read_text())
    os.kill(pid, signal.SIGTERM)
    until = time.monotonic() + PATIENCE
    while is_alive(pid):
        if time.monotonic() > until:
            sys.exit("the server does not stop")
        time.sleep(0.02)


def is_alive(pid):
    # Of a server that ended, and that nobody has waited for, the state is Z.
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def main(what, folder):
    folder = Path(folder)
    if what == "start":
        folder.mkdir(parents=True)
        ports = start(folder, {})
        (folder / "ports").write_text(json.dumps(ports))
        own = f"{sys.executable} {__file__}"
        print(f"CONVERGIA_WEB=http://{ports['web']}/")
        print(f"CONVERGIA_DATA={folder / 'data'}")
        print(f"CONVERGIA_BIN={EXECUTABLE}")
        print(f"CONVERGIA_CAPTCHA={own} captcha {folder}")
        print(f"CONVERGIA_RESTART={own} restart {folder}")
    elif what == "restart":
        stop(folder)
        start(folder, json.loads((folder / "ports").read_text()))
    elif what == "stop":
        stop(folder)
    elif what == "captcha":
        print((folder / "captcha").read_text())


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
