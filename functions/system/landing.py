"""The page at ``/`` for browsers."""

from __future__ import annotations

from html import escape

LANDING = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Signalbox</title>
<link rel="icon" href="/docs/assets/favicon.png">
<style>
:root { color-scheme: light dark; font: 1rem/1.6 system-ui, sans-serif; accent-color: #2563eb }
body { max-width: 44rem; margin: 8vh auto; padding: 0 1.5rem }
h1 { margin: 0; font-size: 2.4rem }
h1 + p { margin-top: 0; font-size: 1.15rem; opacity: .75 }
h2 { margin: 2rem 0 .5rem; font-size: 1.05rem }
ul { padding: 0; list-style: none }
li { padding: .45rem 0; border-top: 1px solid #8884 }
a { color: LinkText; font-weight: 600; text-decoration: none }
a:hover { text-decoration: underline }
pre { margin: .5rem 0; padding: 1rem; border-radius: .5rem; background: #8882; white-space: pre-wrap;
  overflow-wrap: anywhere; font-size: .85rem }
</style>
</head>
<body>
<h1>Signalbox</h1>
<p>Write flows in YAML, run them durably, watch them live. Govern AI agents: budgets, policies, approvals,
a kill switch.</p>
<ul>
<li><a href="/docs">Try the API</a>, in Swagger UI</li>
<li><a href="/redoc">Read the API</a>, in ReDoc</li>
<li><a href="/openapi.json">OpenAPI 3.1 document</a>, for generators of clients</li>
<li><a href="/schemas/flow.json">JSON Schema of flow files</a>, for editors</li>
<li><a href="/plugins">Node types</a>, with their parameters</li>
<li><a href="/api/v1/capabilities">What the gate speaks</a>, for agents; its <a href="/api/v1/plans">plans</a></li>
</ul>
<h2>Sign up for flows; the first account becomes the administrator</h2>
<pre>curl BASE/api/v1/accounts -H 'Content-Type: application/json' \\
  -d '{"username": "you@example.com", "password": "at least 8 characters"}'</pre>
<h2>Sign up for agents; the answer has an organisation, a workflow and its API key</h2>
<pre>curl BASE/api/v1/auth/register -H 'Content-Type: application/json' \\
  -d '{"email": "you@example.com", "password": "at least 12 characters", "name": "You"}'</pre>
<h2>Govern a Python agent with that key, through NullRun's SDK</h2>
<pre>pip install 'nullrun[websocket]'
export NULLRUN_API_URL=BASE NULLRUN_API_KEY=nr_live_…</pre>
<h2>Sign in for a token</h2>
<pre>curl BASE/api/v1/auth/login -H 'Content-Type: application/json' \\
  -d '{"username": "you@example.com", "password": "at least 8 characters"}'</pre>
</body>
</html>
"""


def landing(base_url: str) -> str:
    """The page at ``/`` for browsers."""
    return LANDING.replace("BASE", escape(base_url))
