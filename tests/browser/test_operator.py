"""An operator invites somebody, ends a session, disables and enables an account, and tells all something."""
import re
import unittest

from support import PASSWORD, Story, admin, expect, new_name


class Operator(Story):
    def test_operator(self):
        name = new_name("olga")
        admin("user", "add", name)
        admin("user", "operator", name)
        olga = self.stranger(name).sign_in()
        bob = self.somebody("bob")
        expect(bob.page.get_by_role("link", name="Operator")).to_have_count(0)
        page = olga.page
        page.get_by_role("link", name="Operator").click()
        expect(page.get_by_text("users", exact=True).first).to_be_visible()
        olga.picture("operator-overview")

        page.get_by_role("link", name="Invites").click()
        page.get_by_role("button", name="New invite").click()
        page.get_by_role("button", name="Make").click()
        expect(page.locator("#invite-code")).to_have_text(re.compile(r"^[0-9A-Z]{4}(-[0-9A-Z]{4}){3}$"))
        page.keyboard.press("Escape")

        page.get_by_role("button", name="Notice to all").click()
        page.get_by_label("Text").fill("Maintenance at 8")
        page.get_by_role("button", name="Tell everybody").click()
        expect(bob.page.get_by_text("From the operator: Maintenance at 8")).to_be_visible()

        page.get_by_role("link", name="Sessions").click()
        expect(page.get_by_role("row").filter(has_text=bob.name)).to_contain_text("browser")
        page.get_by_role("link", name="Users").click()
        page.get_by_label("Find a user").fill(bob.name)
        page.get_by_role("button", name=f"Change {bob.name}").click()
        page.get_by_role("button", name="Disable").click()
        page.get_by_role("button", name="Disable", exact=True).click()
        expect(page.get_by_role("row").filter(has_text=bob.name)).to_contain_text("disabled")
        olga.picture("operator-users")

        # Bob is out, is told why, and does not come in again.
        expect(bob.page.get_by_role("button", name="Sign in")).to_be_visible()
        bob.page.get_by_label("Name").fill(bob.name)
        bob.page.get_by_label("Password", exact=True).fill(PASSWORD)
        bob.page.get_by_role("button", name="Sign in").click()
        expect(bob.page.get_by_role("alert")).to_contain_text("disabled")
        page.get_by_role("button", name=f"Change {bob.name}").click()
        page.get_by_role("button", name="Enable").click()
        expect(page.get_by_role("row").filter(has_text=bob.name)).to_contain_text("active")
        bob.page.get_by_role("button", name="Sign in").click()
        bob.signed_in()


if __name__ == "__main__":
    unittest.main()
