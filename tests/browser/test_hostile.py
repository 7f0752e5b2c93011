"""Whatever others write stays text: in messages, names, files, notices, addresses of the page."""
import unittest

from support import Story, admin, drop, expect, needed, new_name

ATTACK = '<img src=x onerror="window.hurt=1"><script>window.hurt=1</script>'
# As a name of a file, where some signs are not allowed.
NAME = '<img src=x onerror=hurt=1>.txt'


class Hostile(Story):
    def unhurt(self, *people):
        for person in people:
            self.assertIsNone(person.page.evaluate("window.hurt ?? null"))
            self.assertEqual(person.page.locator("#app script, #app img[src='x'], dialog img[src='x']").count(), 0)

    def test_stays_text(self):
        name = "<b>eve</b>"[:3] + new_name("eve")[:12].replace("-", "'\"&")
        admin("user", "add", name)
        eve, bob = self.stranger(name).sign_in(), self.somebody("bob")
        eve.chat_with(bob.name)
        for text in (ATTACK, f"javascript:alert(1) https://example.org/{ATTACK}", "Subject: " + ATTACK + "\n\n" + ATTACK, "x\nconvergia-file:/users/a/b/%3Cimg%20src%3Dx%3E.svg?size=5"):
            eve.write(bob.name, text)
        expect(eve.page.locator(".message.delivered")).to_have_count(4)
        drop(eve.page, ".conversation", NAME, b"<svg xmlns='http://www.w3.org/2000/svg'><script>window.hurt=1</script></svg>")
        expect(eve.page.locator(".message.delivered")).to_have_count(5)
        drop(eve.page, ".conversation", "x.svg", b"<svg xmlns='http://www.w3.org/2000/svg' onload='window.hurt=1'><script>window.hurt=1</script><rect width='9' height='9'/></svg>")
        expect(eve.page.locator(".message.delivered")).to_have_count(6)
        bob.page.locator("a.item").filter(has_text="eve").click()
        expect(bob.page.locator(".message")).to_have_count(6)
        expect(bob.page.locator(".message .text").first).to_have_text(ATTACK)
        for link in bob.page.locator(".message a").all():
            self.assertTrue(link.get_attribute("href").startswith(("https://", "#/")))
            self.assertIn("noopener", link.get_attribute("rel") or "noopener")
        expect(bob.page.locator("img.thumbnail[src^='blob:']")).to_have_count(1)
        bob.page.get_by_role("button", name="Look at x.svg").last.click()
        expect(bob.page.locator("dialog img")).to_be_visible()
        bob.page.keyboard.press("Escape")
        self.unhurt(eve, bob)

        for place in (("chats",), ("workspaces",), ("files", "shared"), ("map",), ("settings",), ("chats", ATTACK), ("workspaces", ATTACK), ("files", "users", ATTACK), ("operator", ATTACK)):
            bob.open(*place)
            expect(bob.page.locator("main").first).to_be_visible()
            self.unhurt(bob)
        eve.page.evaluate("location.hash = '#/settings'")
        eve.page.get_by_label("What others see beside your name").fill(ATTACK[:100])
        eve.page.get_by_role("button", name="Set", exact=True).click()
        bob.open("map")
        bob.page.get_by_role("button", name="As a table").click()
        expect(bob.page.get_by_role("row").filter(has_text="onerror")).to_be_visible()
        self.unhurt(eve, bob)

    def test_workspace_names(self):
        alice, bob = self.somebody("alice"), self.somebody("bob")
        name = f"<i>{new_name('w')}"
        alice.open("workspaces")
        alice.page.get_by_role("button", name="New workspace").first.click()
        alice.page.get_by_label("Name", exact=True).fill(name)
        alice.page.get_by_label("Who takes part").fill(bob.name)
        alice.page.get_by_role("button", name="Create", exact=True).click()
        alice.write(name, ATTACK)
        drop(alice.page, ".conversation", NAME, b"x")
        bob.open("workspaces", name)
        expect(bob.page.locator(".text")).to_have_text([ATTACK])
        expect(bob.page.locator(".happened").first).to_contain_text(NAME)
        self.unhurt(alice, bob)

    def test_policy_of_the_page(self):
        """Nothing inline runs, nothing comes from elsewhere, and nobody may frame the page."""
        person = self.stranger("nobody")
        answer = person.page.goto(needed("CONVERGIA_WEB"))
        policy = answer.headers["content-security-policy"]
        for rule in ("default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'"):
            self.assertIn(rule, policy)
        self.assertEqual(answer.headers["x-content-type-options"], "nosniff")
        self.assertNotIn("set-cookie", answer.headers)
        requests = []
        person.page.on("request", lambda request: requests.append(request.url))
        person.page.reload()
        expect(person.page.get_by_role("button", name="Sign in")).to_be_visible()
        host = person.page.evaluate("location.host")
        self.assertEqual([url for url in requests if f"//{host}/" not in url], [])


if __name__ == "__main__":
    unittest.main()
