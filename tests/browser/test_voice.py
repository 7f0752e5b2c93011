"""Voice: what one says, others hear, and nothing of it when one does not want that. Each microphone is a tone of its own."""
import math
import struct
import tempfile
import unittest
import wave
from pathlib import Path

from support import PHONE, Story, admin, expect, hook, new_name

RATE = 48_000
# Tones in bursts, as the browser takes what never pauses for noise, and removes it.
SOUND, PAUSE, SECONDS = 0.4, 0.2, 6
# What the page plays, as it goes to the loudspeaker: its strongest frequency, and how strong that is in dB.
LISTEN = """(() => {
    const connect = AudioNode.prototype.connect;
    AudioNode.prototype.connect = function (to, ...rest) {
        if (to instanceof AudioDestinationNode) {
            window.analyser = new AnalyserNode(to.context, { fftSize: 4096, smoothingTimeConstant: 0 });
            connect.call(this, window.analyser);
        }
        return connect.call(this, to, ...rest);
    };
    window.playing = () => {
        const strength = new Float32Array(window.analyser.frequencyBinCount);
        window.analyser.getFloatFrequencyData(strength);
        const strongest = strength.indexOf(Math.max(...strength));
        return { frequency: strongest * window.analyser.context.sampleRate / window.analyser.fftSize, strength: strength[strongest] };
    };
})()"""
# Whether nothing is played for a second, by the clock of the sound: longer than the pauses in the tones.
SILENT = """async () => {
    let silent = true;
    const until = window.analyser.context.currentTime + 1;
    while (window.analyser.context.currentTime < until) {
        if (window.playing().strength > -85) silent = false;
        await new Promise(requestAnimationFrame);
    }
    return silent;
}"""


def tone(frequency):
    """A sound file that a browser takes for what its microphone hears."""
    file = tempfile.NamedTemporaryFile(suffix=".wav", delete=False)
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(RATE)
        sound = [0.5 * math.sin(2 * math.pi * frequency * n / RATE) if n / RATE % (SOUND + PAUSE) < SOUND else 0 for n in range(RATE * SECONDS)]
        out.writeframes(b"".join(struct.pack("<h", int(32767 * one)) for one in sound))
    file.close()
    return file.name


class Voice(Story):
    def speaker(self, stem, frequency, **options):
        """Somebody whose microphone hears that frequency."""
        file = tone(frequency)
        self.addCleanup(Path(file).unlink)
        browser = self.launch("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream", f"--use-file-for-fake-audio-capture={file}")
        return self.listener(stem, browser, **options)

    def listener(self, stem, browser, **options):
        name = new_name(stem)
        admin("user", "add", name)
        person = self.stranger(name, browser=browser, **options)
        person.context.add_init_script(LISTEN)
        return person.sign_in()

    def workspace(self, maker, *others):
        name = new_name("team")
        maker.open("workspaces")
        maker.page.get_by_role("button", name="New workspace").first.click()
        maker.page.get_by_label("Name", exact=True).fill(name)
        maker.page.get_by_label("Who takes part").fill(", ".join(one.name for one in others))
        maker.page.get_by_role("button", name="Create", exact=True).click()
        expect(maker.page.get_by_label(f"Message to {name}")).to_be_visible()
        # By the first message the others hear of the workspace.
        maker.write(name, "let us talk")
        for one in others:
            one.open("workspaces", name)
            expect(one.message("let us talk")).to_be_visible()
        return name

    def join(self, *people):
        for one in people:
            one.page.get_by_role("button", name="Join voice").click()
            expect(one.page.get_by_role("button", name="Leave voice")).to_be_visible()
            expect(self.inside(one)).to_contain_text([f"{one.name} (you)"])

    def inside(self, person):
        return person.page.get_by_role("list", name="In voice").get_by_role("listitem")

    def plays(self, person, frequency):
        person.page.wait_for_function("frequency => Math.abs(window.playing().frequency - frequency) < 25 && window.playing().strength > -45", arg=frequency)

    def silent(self, person):
        for _ in range(20):
            if person.page.evaluate(SILENT):
                return
        self.fail(f"{person.name} still hears something")

    def test_speaking(self):
        alice, bob = self.speaker("alice", 500), self.speaker("bob", 1100)
        name = self.workspace(alice, bob)
        expect(alice.page.get_by_text("Nobody is in voice")).to_be_visible()
        self.join(alice)
        # From outside one sees who is in.
        bob.page.reload()
        expect(self.inside(bob)).to_contain_text([alice.name])
        self.join(bob)
        for one, other in ((alice, bob), (bob, alice)):
            expect(self.inside(one)).to_have_count(2)
            expect(one.page.locator(".voice-people .speaking").filter(has_text=other.name)).to_be_visible()
            expect(one.page.locator(".voice-people .speaking").filter(has_text=one.name)).to_be_visible()
        self.plays(bob, 500)
        self.plays(alice, 1100)
        alice.picture("voice")
        self.check_axe(alice.page, "voice")

        mute = alice.page.get_by_role("button", name="Mute")
        mute.click()
        expect(mute).to_have_attribute("aria-pressed", "true")
        self.silent(bob)
        expect(bob.page.locator(".voice-people .speaking").filter(has_text=alice.name)).to_have_count(0)
        self.plays(alice, 1100)
        mute.click()
        self.plays(bob, 500)

        # Elsewhere in the page voice goes on.
        alice.open("chats")
        strip = alice.page.get_by_role("region", name="Voice that you are in")
        expect(strip.get_by_role("link", name=name)).to_be_visible()
        self.plays(bob, 500)
        self.plays(alice, 1100)
        alice.picture("voice-strip")
        self.check_axe(alice.page, "voice strip")
        strip.get_by_role("link", name=name).click()
        expect(strip).to_be_hidden()
        alice.page.get_by_role("button", name="Leave voice").click()
        expect(alice.page.get_by_role("button", name="Join voice")).to_be_focused()
        expect(self.inside(bob)).to_have_count(1)
        self.silent(bob)
        # Who comes back is heard again.
        self.join(alice)
        self.plays(bob, 500)

    def test_push_to_talk(self):
        alice, bob = self.speaker("alice", 700), self.speaker("bob", 1300)
        name = self.workspace(alice, bob)
        self.join(alice, bob)
        page = alice.page
        self.plays(bob, 700)
        push = page.get_by_role("button", name="Push to talk")
        push.click()
        expect(push).to_have_attribute("aria-pressed", "true")
        self.silent(bob)
        page.keyboard.down(" ")
        self.plays(bob, 700)
        page.keyboard.up(" ")
        self.silent(bob)
        # In a text field the space bar writes.
        box = page.get_by_label(f"Message to {name}")
        box.focus()
        page.keyboard.down(" ")
        self.silent(bob)
        page.keyboard.up(" ")
        expect(box).to_have_value(" ")
        # A control that was reached with the keyboard keeps it, too.
        box.press("Backspace")
        page.get_by_role("button", name="Hold to talk").focus()
        page.keyboard.press("Tab")
        expect(page.get_by_role("button", name="Mute")).to_be_focused()
        for pressed in ("true", "false"):
            page.keyboard.press(" ")
            expect(page.get_by_role("button", name="Mute")).to_have_attribute("aria-pressed", pressed)
        hold = page.get_by_role("button", name="Hold to talk")
        hold.hover()
        page.mouse.down()
        self.plays(bob, 700)
        self.check_axe(page, "push to talk")
        page.mouse.up()
        self.silent(bob)
        hold.focus()
        page.keyboard.down(" ")
        self.plays(bob, 700)
        page.keyboard.up(" ")
        self.silent(bob)
        # Enter cannot be held: it talks until the next one.
        hold.press("Enter")
        self.plays(bob, 700)
        hold.press("Enter")
        self.silent(bob)
        push.click()
        self.plays(bob, 700)

    def test_listening_without_a_microphone(self):
        alice = self.speaker("alice", 900)
        carol = self.listener("carol", self.launch("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream=deny"), **PHONE, color_scheme="dark")
        self.workspace(alice, carol)
        self.join(alice, carol)
        expect(carol.page.get_by_text("You can listen, but not speak: this page may not use the microphone.")).to_be_visible()
        expect(carol.page.get_by_role("button", name="Use the microphone")).to_be_visible()
        expect(carol.page.get_by_role("button", name="Mute")).to_be_hidden()
        self.plays(carol, 900)
        self.silent(alice)
        for place in ("", "strip"):
            if place:
                carol.open("chats")
                expect(carol.page.get_by_role("region", name="Voice that you are in")).to_be_visible()
            carol.picture(f"voice-phone{place}")
            self.check_axe(carol.page, f"voice on a phone {place}")
            self.assertLessEqual(carol.page.evaluate("document.documentElement.scrollWidth"), 390)
            small = carol.page.evaluate("""() => [...document.querySelectorAll('.voice button, .voice a')].filter(one => one.checkVisibility())
                .map(one => one.getBoundingClientRect()).filter(box => box.height < 44 || box.right > 391).length""")
            self.assertEqual(small, 0)

    def test_comes_back_by_itself(self):
        alice, bob = self.speaker("alice", 600), self.speaker("bob", 1200)
        self.workspace(alice, bob)
        self.join(alice, bob)
        self.plays(bob, 600)
        hook("CONVERGIA_RESTART")
        for one, frequency in ((bob, 600), (alice, 1200)):
            expect(one.page.locator(".banner")).to_be_hidden(timeout=60_000)
            expect(self.inside(one)).to_have_count(2, timeout=60_000)
            self.plays(one, frequency)

    def test_channels_that_stand_alone(self):
        alice, bob = self.speaker("alice", 800), self.speaker("bob", 1400)
        name = new_name("hall")
        for one in (alice, bob):
            one.open("workspaces")
            one.page.get_by_role("button", name="Voice channels").first.click()
        alice.page.get_by_role("button", name="New voice channel").click()
        alice.page.get_by_label("Name", exact=True).fill(name)
        alice.page.get_by_role("button", name="Create", exact=True).click()
        expect(alice.page.get_by_text("The operator can give you the right")).to_be_visible()
        admin("voice-rights", alice.name, "add_channel")
        alice.page.get_by_role("button", name="Create", exact=True).click()
        alice.page.get_by_role("button", name=f"Join {name}").click()
        expect(self.inside(alice)).to_contain_text([alice.name])
        self.check_axe(alice.page, "voice channels")
        alice.picture("voice-channels")
        bob.page.keyboard.press("Escape")
        bob.page.get_by_role("button", name="Voice channels").first.click()
        expect(bob.page.get_by_role("button", name=f"Delete {name}")).to_have_count(0)
        bob.page.get_by_role("button", name=f"Join {name}").click()
        self.plays(bob, 800)
        self.plays(alice, 1400)

        # One place for each person: joining elsewhere ends it here.
        other = self.stranger(alice.name, browser=alice.context.browser)
        other.sign_in()
        other.open("workspaces")
        other.page.get_by_role("button", name="Voice channels").first.click()
        other.page.get_by_role("button", name=f"Join {name}").click()
        expect(alice.page.get_by_role("dialog").get_by_text("You joined this voice channel elsewhere")).to_be_visible()
        self.plays(bob, 800)
        other.page.get_by_role("button", name=f"Delete {name}").click()
        other.page.get_by_role("button", name="Delete", exact=True).click()
        for one in (bob, other):
            expect(one.page.get_by_role("dialog").get_by_text("The voice channel was deleted.")).to_be_visible()


if __name__ == "__main__":
    unittest.main()
