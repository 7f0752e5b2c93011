// Signing in and signing up.

import { button, el, field, icon } from "./dom.js";
import { words } from "./fail.js";
import { typed, wrongWithUser } from "./names.js";
import { here } from "./router.js";

const SIGN_IN = { WRONG: "The name or the password is not right.", DENIED: "This account is disabled. Ask the operator." };
const SIGN_UP = {
  EXISTS: "This name is taken. Choose another one.",
  REFUSED: "Nobody can sign up here now. Ask the operator for an account.",
  EXPIRED: "That took longer than a minute. Here is a new picture.",
};

export function signView(session, ended) {
  const heading = el("h1", {});
  const about = el("p", { class: "quiet-words" });
  const notice = el("p", { class: "error", role: "alert", text: ended, hidden: ended === "" });
  const place = el("div", { class: "sign-form" });
  const tabs = { in: el("button", { type: "button", role: "tab", text: "Sign in" }), up: el("button", { type: "button", role: "tab", text: "Create account" }) };
  const bar = el("div", { class: "segments", role: "tablist", "aria-label": "Sign in or create an account" }, tabs.in, tabs.up);
  const node = el("main", { class: "sign", id: "main", tabindex: "-1" }, el("section", { class: "sign-card" },
    el("img", { src: "icon.svg", alt: "", width: 56, height: 56 }), heading, about, bar, notice, place));
  let current = "";
  let wanted = { name: "", password: "" };

  const policy = () => session.realm.get("registration") || "captcha";

  function describe() {
    heading.textContent = session.realm.get("name") || "Convergia";
    const say = { closed: "Accounts are made by the operator here.", invite: "To sign up you need an invite code from the operator." };
    about.textContent = say[policy()] ?? "Messages, workspaces and files, on your own server.";
    tabs.up.hidden = policy() === "closed";
    bar.hidden = tabs.up.hidden;
  }

  function choose(which) {
    current = which;
    for (const [name, tab] of Object.entries(tabs)) tab.setAttribute("aria-selected", String(name === which));
    place.replaceChildren(which === "in" ? signIn() : signUp());
    place.querySelector("input")?.focus();
  }

  function complain(text) {
    notice.textContent = text;
    notice.hidden = text === "";
  }

  /** A form whose button waits until `work` is done. */
  function shape(fields, action, work, special) {
    const go = button(action, { kind: "primary wide", type: "submit" });
    return el("form", {
      novalidate: true,
      onsubmit: async (event) => {
        event.preventDefault();
        if (go.disabled) return;
        go.disabled = true;
        complain("");
        try {
          await work();
        } catch (error) {
          complain(words(error, special));
        } finally {
          go.disabled = false;
        }
      },
    }, ...fields, go);
  }

  function signIn() {
    const name = el("input", { autocomplete: "username", autocapitalize: "none", spellcheck: "false", name: "username", value: wanted.name, required: true });
    const password = el("input", { type: "password", autocomplete: "current-password", name: "password", required: true });
    const keep = el("input", { type: "checkbox", id: "keep", checked: true });
    const nameField = field("Name", name);
    const passwordField = field("Password", password);
    return shape([nameField, passwordField, el("div", { class: "check" }, keep, el("label", { for: "keep", text: "Stay signed in on this device" }))], "Sign in", async () => {
      const user = typed(name.value);
      nameField.complain(user ? "" : "Type your name.");
      passwordField.complain(password.value ? "" : "Type your password.");
      if (user && password.value) await session.signIn(user, password.value, keep.checked);
    }, SIGN_IN);
  }

  function signUp() {
    const name = el("input", { autocomplete: "username", autocapitalize: "none", spellcheck: "false", name: "username", value: wanted.name, required: true });
    const password = el("input", { type: "password", autocomplete: "new-password", name: "password", required: true });
    const nameField = field("Name", name, "Others find you by it. Letters, digits and signs, no spaces.");
    const passwordField = field("Password", password, "At least 8 characters; a few words are good.");
    const fields = [nameField, passwordField];
    const invite = policy() === "invite" ? el("input", { autocomplete: "off", autocapitalize: "characters", spellcheck: "false", name: "invite", value: here()[0] === "invite" ? here()[1] ?? "" : "" }) : null;
    const inviteField = invite && field("Invite code", invite, "Like K7QM-2XWP-9RTV-HB3N, from the operator.");
    if (inviteField) fields.push(inviteField);
    return shape(fields, policy() === "captcha" ? "Continue" : "Create account", async () => {
      wanted = { name: typed(name.value), password: password.value };
      const wrong = wrongWithUser(wanted.name);
      const weak = passwordProblem(wanted.password);
      nameField.complain(wrong);
      passwordField.complain(weak);
      inviteField?.complain(invite.value.trim() ? "" : "Type the code that the operator gave you.");
      if (wrong || weak || (invite && !invite.value.trim())) return;
      const { id, image } = await session.register(wanted.name, wanted.password);
      if (image.length > 0) return captcha(id, image);
      await confirm(id, invite?.value ?? "", invite ? "This invite code is not good (any more). Ask the operator for another." : "");
    }, SIGN_UP);
  }

  async function confirm(id, text, wrong) {
    try {
      await session.confirmRegistration(id, text);
    } catch (error) {
      if (error.code !== "WRONG" || !wrong) throw error;
      return complain(wrong);
    }
    return session.signIn(wanted.name, wanted.password, true);
  }

  /** The picture with characters, and what they are. */
  function captcha(id, image) {
    const url = URL.createObjectURL(new Blob([image], { type: "image/png" }));
    const picture = el("img", { src: url, class: "captcha", alt: "A picture with 5 or 6 characters to type below. If you cannot see it, ask the operator for an account." });
    picture.addEventListener("load", () => URL.revokeObjectURL(url), { once: true });
    const text = el("input", { autocomplete: "off", autocapitalize: "characters", spellcheck: "false", name: "captcha" });
    const textField = field("The characters in the picture", text, "Capital or small does not matter.");
    const anew = async () => {
      complain("");
      const fresh = await session.register(wanted.name, wanted.password);
      captcha(fresh.id, fresh.image);
    };
    const other = el("button", { type: "button", class: "link" }, icon("refresh"), el("span", { text: "Another picture" }));
    other.addEventListener("click", () => anew().catch((error) => complain(words(error, SIGN_UP))));
    const back = el("button", { type: "button", class: "link", text: "Back", onclick: () => choose("up") });
    const form = shape([el("div", { class: "captcha-box" }, picture), textField], "Create account", async () => {
      textField.complain(text.value.trim() ? "" : "Type what you see.");
      if (!text.value.trim()) return;
      try {
        await session.confirmRegistration(id, text.value);
      } catch (error) {
        if (error.code !== "WRONG" && error.code !== "EXPIRED") throw error;
        await anew();
        complain(error.code === "WRONG" ? "Those were not the characters. Here is a new picture." : SIGN_UP.EXPIRED);
        return;
      }
      await session.signIn(wanted.name, wanted.password, true);
    }, SIGN_UP);
    form.append(el("div", { class: "row between" }, other, back));
    place.replaceChildren(form);
    text.focus();
  }

  tabs.in.addEventListener("click", () => { complain(""); choose("in"); });
  tabs.up.addEventListener("click", () => { complain(""); choose("up"); });
  bar.addEventListener("keydown", (event) => {
    if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
    choose(current === "in" ? "up" : "in");
    tabs[current].focus();
  });
  const away = session.on("link", (state) => {
    if (state === "waiting") complain("The server cannot be reached. Trying again…");
    else if (state === "ready" && notice.textContent.startsWith("The server cannot")) complain("");
  });
  let shown = policy();
  const end = session.on("realm", () => {
    describe();
    if (current === "up" && policy() !== shown) choose("up");
    shown = policy();
  });
  describe();
  choose(here()[0] === "invite" ? "up" : "in");
  return { node, dispose: () => { end(); away(); }, focus: () => place.querySelector("input")?.focus() };
}

function passwordProblem(password) {
  if (password.length < 8) return "Use at least 8 characters.";
  if (password.includes("\n")) return "A password has no line breaks.";
  if (password.startsWith("token:")) return "A password does not begin with token:";
  return new TextEncoder().encode(password).length > 1024 ? "This password is too long." : "";
}
