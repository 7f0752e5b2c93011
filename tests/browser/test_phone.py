"""On a phone: one column, a way back, targets that a finger hits, nothing wider than the screen."""
import unittest

from support import PHONE, Story, expect


class Phone(Story):
    def test_phone(self):
        alice, bob = self.somebody("alice", **PHONE), self.somebody("bob")
        page = alice.page
        bob.chat_with(alice.name)
        bob.write(alice.name, "https://example.org/" + "long" * 60)
        page.get_by_role("link", name=bob.name).click()
        expect(page.get_by_label(f"Message to {bob.name}")).to_be_visible()
        expect(page.get_by_label("Search or start a chat by name")).to_be_hidden()
        self.fits(alice, "phone-talk")
        page.get_by_label(f"Message to {bob.name}").fill("hello from the phone")
        page.get_by_role("button", name="Send").tap()
        expect(bob.message("hello from the phone")).to_be_visible()
        page.get_by_role("link", name="Back to the list").tap()
        expect(page.get_by_label("Search or start a chat by name")).to_be_visible()
        for view in ("chats", "workspaces", "files", "map", "settings"):
            alice.open(view)
            expect(page.locator(f".shell[data-page='{view}']")).to_be_visible()
            self.fits(alice, f"phone-{view}")
        alice.open("files", "users", alice.name)
        expect(page.get_by_text("This folder is empty")).to_be_visible()
        self.fits(alice, "phone-my-files")

    def fits(self, person, name):
        person.picture(name)
        self.assertLessEqual(person.page.evaluate("document.documentElement.scrollWidth"), 390, name)
        small = person.page.evaluate("""() => [...document.querySelectorAll('.button, a.item, .tab, input:not([type=checkbox], [type=file], .unseen), select, textarea')]
            .filter(one => one.checkVisibility())
            .map(one => [one.getBoundingClientRect(), one.outerHTML.slice(0, 80)])
            .filter(([box]) => box.width < 44 || box.height < 44 || box.left < -1 || box.right > 391).map(([box, html]) => `${Math.round(box.width)}x${Math.round(box.height)} ${html}`)""")
        self.assertEqual(small, [], name)


if __name__ == "__main__":
    unittest.main()
