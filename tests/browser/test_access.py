"""Every view passes axe-core, in light and dark, on a desk and on a phone; and can be used with the keyboard alone."""
import unittest

from support import DESKTOP, PHONE, Story, admin, drop, expect, new_name

VIEWS = ["chats", "workspaces", "files", "map", "settings"]


class Access(Story):
    def test_every_view(self):
        for scheme in ("light", "dark"):
            for size, options in (("desk", DESKTOP), ("phone", PHONE)):
                with self.subTest(scheme=scheme, size=size):
                    self.views(f"{scheme}-{size}", {**options, "color_scheme": scheme, "reduced_motion": "reduce"})

    def views(self, label, options):
        stranger = self.stranger(new_name("new"), **options)
        page = stranger.visit()
        expect(page.get_by_role("button", name="Sign in")).to_be_visible()
        self.check(stranger, label, "sign-in")
        stranger.leave()
        name = new_name("olga")
        admin("user", "add", name)
        admin("user", "operator", name)
        olga = self.stranger(name, **options).sign_in()
        bob = self.somebody("bob")
        for view in VIEWS:
            olga.open(view)
            expect(olga.page.locator(f".shell[data-page='{view}']")).to_be_visible()
            self.check(olga, label, f"{view}-empty")
        olga.chat_with(bob.name)
        olga.write(bob.name, "hello https://example.org/")
        drop(olga.page, ".conversation", "notes.txt", b"notes")
        expect(olga.page.locator(".message.delivered")).to_have_count(2)
        self.check(olga, label, "talk")
        bob.leave()
        expect(olga.page.locator(".talk-head")).to_contain_text("Away")
        olga.write(bob.name, "later")
        expect(olga.page.locator(".message.kept")).to_have_count(1)
        self.check(olga, label, "talk-kept")
        olga.open("files", "users", name, "sent", bob.name)
        olga.page.get_by_role("button", name="More about notes.txt").click()
        expect(olga.page.locator("dialog")).to_contain_text("Copies")
        self.check(olga, label, "file-details")
        olga.page.get_by_role("button", name="Share", exact=True).click()
        expect(olga.page.get_by_label("Share with", exact=True)).to_be_visible()
        self.check(olga, label, "file-share")
        olga.page.keyboard.press("Escape")
        olga.open("map")
        olga.page.get_by_role("button", name="As a table").click()
        self.check(olga, label, "map-table")
        for part in ("overview", "users", "invites", "sessions", "servers"):
            olga.open("operator", part)
            expect(olga.page.locator(".part > div")).to_be_visible()
            expect(olga.page.locator(".part .loading:visible")).to_have_count(0)
            self.check(olga, label, f"operator-{part}")
        olga.leave()

    def check(self, person, label, view):
        person.picture(f"{label}-{view}")
        self.check_axe(person.page, f"{label} {view}")

    def test_keyboard(self):
        name, other = new_name("kim"), self.somebody("bob")
        admin("user", "add", name)
        kim = self.stranger(name)
        page = kim.visit()
        expect(page.get_by_label("Name")).to_be_focused()
        page.keyboard.type(name)
        page.keyboard.press("Tab")
        page.keyboard.type("correct horse battery")
        page.keyboard.press("Enter")
        kim.signed_in()
        page.get_by_label("Search or start a chat by name").focus()
        page.keyboard.type(other.name)
        expect(page.locator("a.item")).to_have_count(1)
        page.keyboard.press("ArrowDown")
        expect(page.locator("a.item")).to_be_focused()
        page.keyboard.press("Enter")
        expect(page.get_by_label(f"Message to {other.name}")).to_be_focused()
        page.keyboard.type("first line")
        page.keyboard.press("Shift+Enter")
        page.keyboard.type("second line")
        page.keyboard.press("Enter")
        expect(page.locator(".message.delivered .text")).to_have_text("first line\nsecond line", use_inner_text=True)
        forget = page.get_by_role("button", name="Forget this conversation")
        forget.focus()
        page.keyboard.press("Enter")
        expect(page.get_by_role("dialog")).to_be_visible()
        page.keyboard.press("Escape")
        expect(page.get_by_role("dialog")).to_have_count(0)
        expect(forget).to_be_focused()
        kim.open("settings")
        page.reload()
        kim.signed_in()
        page.keyboard.press("Tab")
        expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
        page.keyboard.press("Enter")
        expect(page.locator("#main")).to_be_focused()


if __name__ == "__main__":
    unittest.main()
