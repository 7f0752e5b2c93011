"""A workspace: conversation and files for several, also over a restart of the server."""
import unittest

from support import Story, drop, expect, hook, new_name


class Workspace(Story):
    def test_survives_a_restart(self):
        alice, bob = self.somebody("alice"), self.somebody("bob")
        name = new_name("team")
        alice.open("workspaces")
        alice.page.get_by_role("button", name="New workspace").first.click()
        alice.page.get_by_label("Name", exact=True).fill(name)
        alice.page.get_by_label("Who takes part").fill(bob.name)
        alice.page.get_by_role("button", name="Create", exact=True).click()
        expect(alice.page.get_by_label(f"Message to {name}")).to_be_visible()
        alice.write(name, "welcome")

        bob.open("workspaces")
        bob.page.get_by_role("link", name=name).click()
        expect(bob.message("welcome")).to_be_visible()
        bob.write(name, "glad to be here")
        expect(alice.message("glad to be here")).to_be_visible()
        drop(alice.page, ".conversation", "plan.txt", b"plan")
        expect(bob.page.locator(".happened")).to_contain_text(f"{alice.name} added plan.txt")
        expect(bob.page.get_by_role("button", name="plan.txt", exact=True)).to_be_visible()
        alice.picture("workspace")

        hook("CONVERGIA_RESTART")
        # Nobody does anything: the page comes back by itself.
        alice.write(name, "after the restart")
        expect(bob.message("after the restart")).to_be_visible(timeout=60_000)
        for person in (alice, bob):
            expect(person.page.locator(".text")).to_have_text(["welcome", "glad to be here", "after the restart"])
            person.page.reload()
            expect(person.page.locator(".text")).to_have_text(["welcome", "glad to be here", "after the restart"])

        bob.page.get_by_role("button", name="Leave this workspace").click()
        bob.page.get_by_role("button", name="Leave", exact=True).click()
        expect(bob.page.get_by_role("link", name=name)).to_have_count(0)
        alice.page.get_by_role("button", name="Delete this workspace").click()
        alice.page.get_by_role("button", name="Delete", exact=True).click()
        expect(alice.page.get_by_role("link", name=name)).to_have_count(0)


if __name__ == "__main__":
    unittest.main()
