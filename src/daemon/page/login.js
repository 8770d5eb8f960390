/** The form that is shown where the agent asks who is there. */
import { ApiFailure, login } from "./api.js";
import { byId, h, setText } from "./dom.js";

/** Resolves when somebody has logged in. @returns {Promise<void>} */
export function askForLogin() {
  const dialog = /** @type {HTMLDialogElement} */ (byId("login"));
  if (dialog.open) return new Promise(() => {});
  const user = field("user", "text", "username");
  const password = field("password", "password", "current-password");
  const fault = h("p", { class: "fault", role: "alert" });
  const submit = h("button", { type: "submit", class: "primary" }, "Sign in");
  const form = h(
    "form",
    {},
    h("h2", { id: "login-title" }, "Sign in to this site"),
    h("label", {}, "User", user),
    h("label", {}, "Password", password),
    fault,
    h("div", { class: "dialog-actions" }, submit),
  );
  dialog.replaceChildren(form);
  // There is nothing behind it to go back to, and a browser closes it all the same at a second Escape.
  let isIn = false;
  dialog.addEventListener("close", () => {
    if (!isIn) dialog.showModal();
  });
  dialog.showModal();
  return new Promise((resolve) => {
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      submit.disabled = true;
      try {
        await login(user.value, password.value);
        isIn = true;
        dialog.close();
        dialog.replaceChildren();
        resolve();
      } catch (error) {
        if (!(error instanceof ApiFailure)) throw error;
        setText(fault, [error.message, error.hint].filter(Boolean).join(". "));
        password.select();
      } finally {
        submit.disabled = false;
      }
    });
  });
}

/**
 * @param {string} name
 * @param {string} type
 * @param {string} autocomplete
 */
function field(name, type, autocomplete) {
  return h("input", { name, type, autocomplete, required: true, autocapitalize: "none" });
}
