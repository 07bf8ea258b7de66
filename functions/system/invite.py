"""The page that the mail of an invite leads to: who invites, and accepting or declining.

It asks the API by the token in its own address, like any client. Source: NullRun docs, HTTP API, Invites.
"""

from __future__ import annotations

import base64
import hashlib

_SCRIPT = """
const path = "/api/v1/invites/" + encodeURIComponent(new URLSearchParams(location.search).get("token") || "-");
const form = document.forms[0];
const say = text => { document.getElementById("said").textContent = text; };
const ask = async (method, rest, body) => {
  const answer = await fetch(path + rest, {
    method, headers: {"Content-Type": "application/json"}, body: body ? JSON.stringify(body) : undefined,
  });
  const found = await answer.json();
  if (!answer.ok) throw new Error(found.message || answer.statusText);
  return found;
};
const end = (promise, text) => promise.then(() => { form.hidden = true; say(text); }, error => say(error.message));
form.addEventListener("submit", event => {
  event.preventDefault();
  const body = {name: form.elements.name.value, password: form.elements.password.value};
  end(ask("POST", "/accept", body), "You have joined. Sign in with your address and this password.");
});
document.getElementById("decline").addEventListener("click", () => {
  end(ask("POST", "/decline", {}), "The invite is declined.");
});
ask("GET", "").then(invite => {
  say(`${invite.organization_name} invites ${invite.email} to join as ${invite.role}.`);
  form.hidden = false;
}, error => say(error.message));
"""

PAGE = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Invitation</title>
<style>
:root {{ color-scheme: light dark; font: 1rem/1.6 system-ui, sans-serif; accent-color: #2563eb }}
body {{ max-width: 30rem; margin: 12vh auto; padding: 0 1.5rem }}
label {{ display: block; margin: .75rem 0 }}
input {{ display: block; box-sizing: border-box; width: 100%; padding: .4rem; font: inherit }}
button {{ padding: .4rem 1rem; font: inherit }}
</style>
</head>
<body>
<h1>Invitation</h1>
<p id="said" role="status">One moment …</p>
<noscript><p>This page needs JavaScript; without it, ask whoever invites you for help.</p></noscript>
<form hidden>
<label>Your name <input name="name" required maxlength="100" autocomplete="name"></label>
<label>A password of 12 characters or more
<input name="password" type="password" required minlength="12" autocomplete="new-password"></label>
<button>Accept</button> <button type="button" id="decline">Decline</button>
</form>
<script>{_SCRIPT}</script>
</body>
</html>
"""

_DIGEST = base64.b64encode(hashlib.sha256(_SCRIPT.encode()).digest()).decode()
HEADERS = {
    "Content-Security-Policy": (
        f"default-src 'none'; script-src 'sha256-{_DIGEST}'; style-src 'unsafe-inline'; connect-src 'self';"
        " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    # The address has the token; nobody else is to be told of it.
    "Referrer-Policy": "no-referrer",
}
