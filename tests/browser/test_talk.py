"""Two people talk; one goes away, and finds the message when back; nothing is lost or doubled when the connection breaks."""
import unittest

from support import Story, expect


class Talk(Story):
    def test_two_talk(self):
        alice, bob = self.somebody("alice"), self.somebody("bob")
        search = alice.page.get_by_label("Search or start a chat by name")
        search.fill(bob.name)
        search.press("Enter")
        text = "two lines,\nand signs: ~ | & <b> 👋 https://example.org/a_(b)."
        alice.write(bob.name, text)
        expect(alice.page.locator(".message.delivered")).to_have_count(1)
        expect(bob.page).to_have_title("(1) " + bob.page.evaluate("document.title.replace(/^\\(\\d+\\) /, '')"))
        bob.page.get_by_role("link", name=alice.name).click()
        expect(bob.page.locator(".text")).to_have_text(text, use_inner_text=True)
        expect(bob.page.locator(".text a")).to_have_attribute("href", "https://example.org/a_(b)")
        self.assertNotIn("(", bob.page.title())
        bob.write(alice.name, "hello back")
        expect(alice.message("hello back")).to_be_visible()
        alice.picture("talk")

        # Presence follows.
        expect(alice.page.locator(".talk-head")).to_contain_text("Online")
        bob.leave()
        expect(alice.page.locator(".talk-head")).to_contain_text("Away")

    def test_found_when_back(self):
        alice, bob = self.somebody("alice"), self.somebody("bob")
        bob.page.close()
        alice.chat_with(bob.name)
        expect(alice.page.locator(".talk-head")).to_contain_text("Away")
        alice.write(bob.name, "first, while away")
        alice.write(bob.name, "second, while away")
        expect(alice.page.get_by_text(f"Will be delivered when {bob.name} is back").first).to_be_visible()
        expect(alice.page.locator(".message.kept")).to_have_count(2)

        bob.page = bob.context.new_page()
        bob.visit()
        bob.signed_in()
        bob.page.get_by_role("link", name=alice.name).click()
        expect(bob.page.locator(".text")).to_have_text(["first, while away", "second, while away"])
        # It is kept by the browser now, and comes no second time.
        bob.page.reload()
        expect(bob.page.locator(".text")).to_have_text(["first, while away", "second, while away"])

    def test_connection_breaks(self):
        alice, bob = self.somebody("alice"), self.somebody("bob")
        wire = Wire(alice)
        alice.page.reload()
        alice.signed_in()
        alice.chat_with(bob.name)
        alice.write(bob.name, "before")
        expect(alice.page.locator(".message.delivered")).to_have_count(1)
        wire.cut()
        expect(alice.page.locator(".banner")).to_be_visible()
        bob.page.get_by_role("link", name=alice.name).click()
        alice.write(bob.name, "first while it was broken")
        alice.write(bob.name, "second while it was broken")
        expect(alice.page.locator(".message.waiting")).to_have_count(2)
        alice.picture("broken")
        wire.mend()
        expect(alice.page.locator(".message.delivered")).to_have_count(3)
        expect(alice.page.locator(".banner")).to_be_hidden()
        bob.write(alice.name, "from the other side")
        expect(alice.message("from the other side")).to_have_count(1)
        expect(bob.page.locator(".message.theirs .text")).to_have_text(["before", "first while it was broken", "second while it was broken"])

    def test_answer_lost(self):
        """A message whose answer was lost is not sent again by itself: the person says what shall be."""
        alice, bob = self.somebody("alice"), self.somebody("bob")
        wire = Wire(alice)
        alice.page.reload()
        alice.signed_in()
        alice.chat_with(bob.name)
        wire.swallow = b" SENDMESSAGE OK"
        alice.write(bob.name, "did it arrive?")
        bob.page.get_by_role("link", name=alice.name).click()
        expect(bob.message("did it arrive?")).to_have_count(1)
        wire.cut()
        wire.swallow = None
        expect(alice.page.get_by_text("May have arrived").first).to_be_visible()
        alice.picture("may-have-arrived")
        wire.mend()
        expect(alice.page.locator(".banner")).to_be_hidden()
        alice.write(bob.name, "another one")
        expect(bob.message("another one")).to_have_count(1)
        expect(bob.message("did it arrive?")).to_have_count(1)
        alice.page.get_by_role("button", name="Send again").click()
        expect(bob.message("did it arrive?")).to_have_count(2)
        expect(alice.page.locator(".message.delivered")).to_have_count(2)

    def test_two_tabs(self):
        """Two tabs of one browser show the same, once."""
        alice, bob = self.somebody("alice"), self.somebody("bob")
        second = alice.context.new_page()
        second.goto(alice.page.url)
        expect(second.get_by_role("navigation", name="Pages")).to_be_visible()
        alice.chat_with(bob.name)
        bob.chat_with(alice.name)
        bob.write(alice.name, "to both")
        alice.write(bob.name, "from one")
        for page in (alice.page, second):
            page.get_by_role("link", name=bob.name).click()
            expect(page.locator(".text")).to_have_count(2)
            page.reload()
            expect(page.locator(".text")).to_have_count(2)


class Wire:
    """The web socket of somebody, that can be cut. It counts for pages that are loaded after this."""

    def __init__(self, person):
        self.open, self.broken, self.swallow = [], False, None
        person.context.route_web_socket("**/socket", self._opened)

    def _opened(self, socket):
        if self.broken:
            socket.close()
            return
        server = socket.connect_to_server()
        self.open.append((socket, server))
        server.on_message(lambda frame: None if self.swallow and self.swallow in frame else socket.send(frame))

    def cut(self):
        self.broken = True
        for socket, server in self.open:
            socket.close()
            server.close()
        self.open.clear()

    def mend(self):
        self.broken = False


if __name__ == "__main__":
    unittest.main()
