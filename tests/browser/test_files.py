"""A file is dragged into a conversation, and comes out identical; folders, names, and what is in them."""
import os
import re
import unittest

from support import Story, drop, expect, new_name, saved


class Files(Story):
    def test_dragged_in_and_out(self):
        alice, bob = self.somebody("alice"), self.somebody("bob")
        alice.chat_with(bob.name)
        # Over one packet, so that it goes in pieces and comes to its name when it is whole; and every byte value.
        content = os.urandom(3_500_000) + bytes(range(256)) * 16
        drop(alice.page, ".conversation", "plan: 100% & more.bin", content)
        expect(alice.page.locator(".message.delivered .card")).to_contain_text("plan_ 100% & more.bin")
        bob.page.get_by_role("link", name=alice.name).click()
        card = bob.page.locator(".card")
        expect(card).to_contain_text(re.compile(r"3\.5\sMB"))
        self.assertEqual(saved(bob.page, card.get_by_role("button", name="Save").click), content)
        bob.picture("file-card")

        # It is under what is shared with bob, and nobody else can read it.
        bob.open("files", "shared")
        expect(bob.page.get_by_role("button", name="plan_ 100% & more.bin", exact=True)).to_be_visible()
        carol = self.somebody("carol")
        carol.open("files", "users", alice.name, "sent", bob.name)
        expect(carol.page.get_by_text("You may not look here")).to_be_visible()

    def test_browser(self):
        alice = self.somebody("alice")
        page = alice.page
        alice.open("files", "users", alice.name)
        expect(page.get_by_text("This folder is empty")).to_be_visible()
        page.get_by_role("button", name="New folder").click()
        page.get_by_label("Name", exact=True).fill("bad/name")
        page.get_by_role("button", name="Create", exact=True).click()
        expect(page.get_by_role("alert").filter(has_text="cannot contain")).to_be_visible()
        page.get_by_label("Name", exact=True).fill("letters")
        page.get_by_role("button", name="Create", exact=True).click()
        page.get_by_role("link", name="letters", exact=True).click()

        content = b"hello\n<script>alert(1)</script>\n"
        drop(page, ".browser", "letter.txt", content, "text/plain")
        expect(page.get_by_role("button", name="letter.txt", exact=True)).to_be_visible()
        page.get_by_role("button", name="letter.txt", exact=True).click()
        expect(page.locator("dialog pre")).to_have_text(content.decode())
        page.keyboard.press("Escape")
        expect(page.locator("dialog")).to_have_count(0)

        # The same name again: both are kept.
        drop(page, ".browser", "letter.txt", b"other", "text/plain")
        page.get_by_role("button", name="Keep both").click()
        expect(page.get_by_role("button", name="letter (2).txt", exact=True)).to_be_visible()

        # And replaced.
        drop(page, ".browser", "letter.txt", b"third", "text/plain")
        page.get_by_role("button", name="Replace").click()
        expect(page.get_by_role("row").filter(has_text="letter.txt")).to_contain_text(re.compile(r"txt5\sB"))
        self.assertEqual(saved(page, page.get_by_role("button", name="Save letter.txt").click), b"third")

        page.get_by_role("button", name="More about letter (2).txt").click()
        page.get_by_role("button", name="Rename").click()
        page.get_by_label("New name").fill("renamed.txt")
        page.get_by_role("button", name="Rename", exact=True).click()
        expect(page.get_by_role("button", name="renamed.txt", exact=True)).to_be_visible()

        page.get_by_role("button", name="More about renamed.txt").click()
        page.get_by_role("button", name="Move").click()
        page.get_by_role("button", name="One up").click()
        page.get_by_role("button", name="Move here").click()
        expect(page.get_by_role("button", name="renamed.txt", exact=True)).to_have_count(0)
        page.get_by_role("link", name="My files", exact=True).last.click()
        expect(page.get_by_role("button", name="renamed.txt", exact=True)).to_be_visible()

        page.get_by_role("button", name="More about letters").click()
        page.get_by_role("button", name="Delete").click()
        page.get_by_role("button", name="Delete", exact=True).click()
        expect(page.get_by_role("link", name="letters", exact=True)).to_have_count(0)
        alice.picture("files")

    def test_shared_by_hand(self):
        alice, bob = self.somebody("alice"), self.somebody("bob")
        alice.open("files", "users", alice.name)
        expect(alice.page.get_by_text("This folder is empty")).to_be_visible()
        drop(alice.page, ".browser", "both.txt", b"one")
        alice.page.get_by_role("button", name="More about both.txt").click()
        alice.page.get_by_role("button", name="Share", exact=True).click()
        alice.page.get_by_label("Share with", exact=True).fill(new_name("nobody"))
        alice.page.get_by_role("button", name="Add").click()
        alice.page.get_by_role("button", name="Save", exact=True).click()
        expect(alice.page.get_by_text("is not the name of a user")).to_be_visible()
        alice.page.get_by_role("button", name="Do not share with nobody").click()
        alice.page.get_by_label("Share with", exact=True).fill(bob.name)
        alice.page.get_by_role("button", name="Add").click()
        alice.page.get_by_role("button", name="Save", exact=True).click()
        expect(alice.page.locator("dialog")).to_have_count(0)
        alice.page.get_by_role("button", name="More about both.txt").click()
        expect(alice.page.locator("dialog")).to_contain_text(bob.name)


if __name__ == "__main__":
    unittest.main()
