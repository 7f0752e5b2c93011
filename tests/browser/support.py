"""What all stories of the browser share: the server's address and hooks, people with a browser each, screenshots, axe-core."""
import base64
import os
import re
import secrets
import shlex
import subprocess
import tempfile
import unittest
from pathlib import Path

from playwright.sync_api import expect, sync_playwright

ROOT = Path(__file__).resolve().parents[2]
PASSWORD = "correct horse battery"
DESKTOP = {"viewport": {"width": 1280, "height": 800}}
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
# What a page may say on the console while its server is away.
AWAY = re.compile(r"WebSocket connection to|ERR_INTERNET_DISCONNECTED|ERR_CONNECTION|ERR_SOCKET_NOT_CONNECTED")

expect.set_options(timeout=20_000)


def needed(name):
    """A variable of the environment, or a failure that names it."""
    value = os.environ.get(name)
    if not value:
        raise AssertionError(f"{name} is not set; tests/browser/README.md says what it is")
    return value


def hook(name, *arguments):
    """Runs a hook command, and gives what it prints."""
    done = subprocess.run(shlex.split(needed(name)) + list(arguments), check=True, capture_output=True, text=True, timeout=120)
    return done.stdout.strip()


def admin(*arguments):
    """`convergia admin …` on the server's data folder."""
    command = [os.environ.get("CONVERGIA_BIN", str(ROOT / "target/debug/convergia")), "admin", "--data-dir", needed("CONVERGIA_DATA")]
    done = subprocess.run(command + list(arguments), capture_output=True, text=True, timeout=60, env={**os.environ, "CONVERGIA_PASSWORD": PASSWORD})
    if done.returncode != 0:
        raise AssertionError(f"convergia admin {' '.join(arguments)}: {done.stderr}")
    return done.stdout


def new_name(stem):
    return f"{stem}-{secrets.token_hex(3)}"


class Person:
    """Somebody with a browser of their own."""

    def __init__(self, story, name, browser=None, **options):
        self.story, self.name = story, name
        self.context = (browser or story.browser).new_context(**{**DESKTOP, "accept_downloads": True, **options})
        self.page = self.context.new_page()
        self.complaints = []
        self.page.on("pageerror", lambda error: self.complaints.append(f"{self.name}: {error}"))
        self.page.on("console", self._console)
        self.page.on("dialog", self._dialog)

    def _console(self, message):
        if message.type == "error" and not AWAY.search(message.text + str(message.location.get("url"))):
            self.complaints.append(f"{self.name}: {message.text}")

    def _dialog(self, dialog):
        if dialog.type != "beforeunload":
            self.complaints.append(f"{self.name}: the page opened a dialog: {dialog.message}")
        dialog.accept()

    def visit(self, place=""):
        self.page.goto(needed("CONVERGIA_WEB") + place)
        return self.page

    def sign_in(self):
        page = self.visit()
        page.get_by_label("Name").fill(self.name)
        page.get_by_label("Password", exact=True).fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        self.signed_in()
        return self

    def signed_in(self):
        expect(self.page.get_by_role("navigation", name="Pages")).to_be_visible()

    def open(self, *words):
        """A page of the application by its address."""
        self.page.evaluate("place => location.hash = '#/' + place.map(encodeURIComponent).join('/')", list(words))

    def chat_with(self, other):
        self.open("chats", other)
        expect(self.page.get_by_label(f"Message to {other}")).to_be_visible()

    def write(self, other, text):
        box = self.page.get_by_label(f"Message to {other}")
        box.fill(text)
        box.press("Enter")

    def message(self, text):
        return self.page.locator(".message").filter(has_text=text)

    def picture(self, name):
        self.page.screenshot(path=self.story.artefacts / f"{name}.png")

    def leave(self):
        self.context.close()


class Story(unittest.TestCase):
    """One browser for a story, closed at its end; whatever a page complained about fails it."""

    def setUp(self):
        self.artefacts = Path(os.environ.get("CONVERGIA_ARTEFACTS", ROOT / "target/browser"))
        self.artefacts.mkdir(parents=True, exist_ok=True)
        self.people = []
        self.playwright = sync_playwright().start()
        self.addCleanup(self.playwright.stop)
        self.browser = self.launch()

    def launch(self, *arguments):
        """A browser, closed at the end of the story."""
        browser = self.playwright.chromium.launch(executable_path=os.environ.get("CONVERGIA_CHROMIUM") or None, args=list(arguments))
        self.addCleanup(browser.close)
        return browser

    def tearDown(self):
        for person in self.people:
            if not person.page.is_closed():
                person.picture(f"{type(self).__name__}-end-{person.name.split('-')[0]}")
        complaints = [line for person in self.people for line in person.complaints]
        self.assertEqual(complaints, [], "the page complained")

    def stranger(self, name, **options):
        """Somebody who has no account yet."""
        person = Person(self, name, **options)
        self.people.append(person)
        return person

    def somebody(self, stem, **options):
        """Somebody with an account, signed in."""
        name = new_name(stem)
        admin("user", "add", name)
        return self.stranger(name, **options).sign_in()

    def check_axe(self, page, view):
        """No serious finding of axe-core on what is shown now."""
        page.evaluate(Path(needed("CONVERGIA_AXE")).read_text())
        found = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")["violations"]
        serious = [f"{view}: {one['id']}: {one['nodes'][0]['target']}" for one in found if one["impact"] in ("serious", "critical")]
        self.assertEqual(serious, [])


def drop(page, selector, name, content, kind="application/octet-stream"):
    """Drags a file of this machine over an element, and lets it go."""
    data = page.evaluate_handle(
        "([name, kind, bytes]) => { const data = new DataTransfer(); data.items.add(new File([Uint8Array.from(atob(bytes), c => c.charCodeAt(0))], name, { type: kind })); return data; }",
        [name, kind, base64.b64encode(content).decode()])
    for event in ("dragenter", "dragover", "drop"):
        page.dispatch_event(selector, event, {"dataTransfer": data})


def saved(page, click):
    """The bytes that the browser saves when `click` is done."""
    with page.expect_download() as download:
        click()
    return Path(download.value.path()).read_bytes()


def written(content):
    """A file of this machine with that content."""
    file = tempfile.NamedTemporaryFile(suffix=".png", delete=False)
    file.write(content)
    file.close()
    return file.name
