// What a person sets for themselves.

import { Complaint, confirm, form, toast } from "./dialog.js";
import { button, el, face, field } from "./dom.js";
import { words } from "./fail.js";
import { bytes, moment } from "./format.js";
import { History } from "./history.js";
import { fold } from "./names.js";
import { notifying, setNotifying } from "./notify.js";
import { setTheme, theme, THEMES } from "./theme.js";

export function settingsView({ session, account }) {
  const facts = el("p", { class: "quiet-words" });
  const status = el("input", { maxlength: "120", autocomplete: "off", placeholder: "For example: at lunch", value: account.people.user(account.user)?.notes ?? "" });
  const bell = el("input", { type: "checkbox", id: "bell", checked: notifying(), disabled: !("Notification" in globalThis) });
  const looks = el("div", { class: "segments", role: "radiogroup", "aria-label": "Light or dark" }, ...THEMES.map((name) => {
    const id = `theme-${name}`;
    const radio = el("input", { type: "radio", name: "theme", id, value: name, checked: theme() === name, class: "unseen", onchange: () => setTheme(name) });
    return el("span", {}, radio, el("label", { for: id, text: { system: "As the system", light: "Light", dark: "Dark" }[name] }));
  }));
  const meter = el("meter", { min: "0", max: "1", high: "0.9", value: 0, "aria-label": "Storage used" });
  const used = el("p", { class: "quiet-words" });
  const storage = card("Storage", meter, used);

  bell.addEventListener("change", async () => {
    bell.checked = await setNotifying(bell.checked);
    if (!bell.checked && "Notification" in globalThis && Notification.permission === "denied") toast("The browser does not allow notifications for this page. Its settings say so.", "wrong");
  });

  const setStatus = el("form", { class: "inline-form", onsubmit: (event) => {
    event.preventDefault();
    session.link.request("SETSTATUS", status.value.trim()).then(() => toast("Your status is set."), (error) => toast(words(error), "wrong"));
  } }, field("What others see beside your name", status, "Until you sign out."), button("Set", { type: "submit" }));

  function draw() {
    const [have, limit] = [Number(session.account.get("used") || NaN), Number(session.account.get("quota") || NaN)];
    storage.hidden = !(limit > 0);
    meter.value = have / limit || 0;
    used.textContent = `${bytes(have)} of ${bytes(limit)} used by files and messages that you keep on the server.`;
    const since = Number(session.account.get("registered"));
    facts.textContent = [session.realm.get("name"), since > 0 ? `member since ${moment(since)}` : "", session.operator ? "operator" : ""].filter(Boolean).join(" · ");
  }

  const node = el("section", { class: "page settings", "aria-labelledby": "settings-title" }, el("header", {}, el("h1", { id: "settings-title", text: "Settings" })), el("div", { class: "cards" },
    el("section", { class: "card-block me" }, face(account.user, "large"), el("div", {}, el("h2", { text: account.user }), facts), button("Sign out", { icon: "out", onclick: () => signOut(session, account) })),
    card("Status", setStatus),
    card("Appearance", looks),
    card("Notifications", el("div", { class: "check" }, bell, el("label", { for: "bell", text: "Show notifications of new messages while this page is in the background" }))),
    storage,
    card("Security", el("p", { text: "Changing the password signs you out on all other devices at their next sign-in." }), el("div", { class: "row" }, button("Change password", { icon: "edit", onclick: () => changePassword(session) }), button("Sign out everywhere", { icon: "out", onclick: () => everywhere(session) }))),
    card("This browser", el("p", { text: "Your conversations are kept in this browser, and nowhere else." }), el("div", { class: "row" }, button("Sign out and forget everything here", { icon: "trash", kind: "danger", onclick: () => forget(session, account) })))));
  draw();
  const end = session.on("change", draw);
  session.refreshAccount().catch(() => undefined);
  return { node, show: () => undefined, dispose: end };
}

function card(title, ...content) {
  return el("section", { class: "card-block" }, el("h2", { text: title }), ...content);
}

async function signOut(session, account) {
  const waiting = (await account.history.queue()).length;
  const sure = waiting === 0 || (await confirm("Sign out now?", "Some messages are not sent yet. They wait in this browser until you sign in again.", "Sign out"));
  if (sure) session.signOut();
}

async function everywhere(session) {
  const sure = await confirm("Sign out everywhere?", "All browsers and programs, this one too, will ask for your password at their next sign-in.", "Sign out everywhere");
  if (sure) session.signOut(true).catch((error) => toast(words(error), "wrong"));
}

async function forget(session, account) {
  const sure = await confirm("Forget everything here?", "All your conversations are removed from this browser. Files on the server stay.", "Sign out and forget");
  if (!sure) return;
  const user = fold(account.user);
  await session.signOut();
  await History.destroy(user);
}

async function changePassword(session) {
  const input = (complete) => el("input", { type: "password", autocomplete: complete });
  const [old, next, again] = [input("current-password"), input("new-password"), input("new-password")];
  const done = await form("Change password", [field("Password now", old), field("New password", next, "At least 8 characters; a few words are good."), field("New password again", again)], "Change", async () => {
    if (next.value.length < 8) throw new Complaint("Use at least 8 characters.");
    if (next.value !== again.value) throw new Complaint("The two new passwords are not the same.");
    if (next.value.startsWith("token:")) throw new Complaint("A password does not begin with token:");
    await session.changePassword(old.value, next.value);
  }, (error) => (error instanceof Complaint ? error.message : words(error, { WRONG: "The password now is not right." })));
  if (done) toast("Your password is changed.");
}
