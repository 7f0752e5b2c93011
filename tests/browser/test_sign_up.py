"""Somebody signs up with the captcha, signs out, and in again."""
import unittest
import urllib.request

from support import PASSWORD, Story, expect, hook, new_name, written


class SignUp(Story):
    def test_sign_up_with_captcha(self):
        person = self.stranger(new_name("carol"))
        page = person.visit()
        page.get_by_role("tab", name="Create account").click()
        name, password = page.get_by_label("Name"), page.get_by_label("Password", exact=True)
        name.fill("two words")
        password.fill("short")
        page.get_by_role("button", name="Continue").click()
        expect(page.get_by_text("A user name has no spaces.")).to_be_visible()
        expect(page.get_by_text("Use at least 8 characters.")).to_be_visible()
        name.fill(person.name)
        password.fill(PASSWORD)
        page.get_by_role("button", name="Continue").click()
        picture = page.locator("img.captcha")
        expect(picture).to_be_visible()
        person.picture("sign-up-captcha")

        # Another picture is another one.
        first = self.bytes_of(page)
        before = picture.get_attribute("src")
        page.get_by_role("button", name="Another picture").click()
        expect(picture).not_to_have_attribute("src", before)
        self.assertTrue(first != self.bytes_of(page), "the same picture again")

        # A wrong answer gives a new picture, and says so.
        page.get_by_label("The characters in the picture").fill("??????")
        page.get_by_role("button", name="Create account").click()
        expect(page.get_by_text("Those were not the characters.")).to_be_visible()
        page.get_by_label("The characters in the picture").fill(hook("CONVERGIA_CAPTCHA", written(self.bytes_of(page))))
        page.get_by_role("button", name="Create account").click()
        person.signed_in()

        person.open("settings")
        page.get_by_role("button", name="Sign out", exact=True).click()
        expect(page.get_by_role("button", name="Sign in")).to_be_visible()
        page.get_by_label("Name").fill(person.name)
        page.get_by_label("Password", exact=True).fill("not the password")
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("alert")).to_have_text("The name or the password is not right.")
        page.get_by_label("Password", exact=True).fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        person.signed_in()

        # It stays signed in.
        page.reload()
        person.signed_in()

    def bytes_of(self, page):
        """The picture as the page draws it, as a PNG."""
        page.wait_for_function("document.querySelector('img.captcha')?.naturalWidth > 0")
        url = page.evaluate("""() => {
            const image = document.querySelector('img.captcha');
            const canvas = document.createElement('canvas');
            [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
            canvas.getContext('2d').drawImage(image, 0, 0);
            return canvas.toDataURL('image/png');
        }""")
        return urllib.request.urlopen(url).read()


if __name__ == "__main__":
    unittest.main()
