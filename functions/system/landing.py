"""The page at ``/`` for browsers."""

from __future__ import annotations

LANDING = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Signalbox</title>
<link rel="icon" href="/docs/assets/favicon.png">
<style>
:root { color-scheme: light dark; font: 1rem/1.6 system-ui, sans-serif }
body { max-width: 42rem; margin: 12vh auto; padding: 0 1.5rem }
h1 { margin-bottom: 0 }
pre { overflow-x: auto; padding: 1rem; border: 1px solid; border-radius: .5rem }
</style>
</head>
<body>
<h1>Signalbox</h1>
<p>Write flows in YAML, run them durably, watch them live.</p>
<ul>
<li><a href="/docs">Try the API</a> (Swagger UI)</li>
<li><a href="/redoc">Read the API</a> (ReDoc)</li>
<li><a href="/openapi.json">OpenAPI 3.1 document</a></li>
<li><a href="/schemas/flow.json">JSON Schema of flow files</a>, for editors</li>
<li><a href="/plugins">Node types</a></li>
</ul>
<p>The first account that signs up becomes the administrator:</p>
<pre>curl -X POST BASE/api/v1/accounts \\
  -H 'Content-Type: application/json' \\
  -d '{"username": "you@example.com", "password": "at least 8 characters"}'</pre>
</body>
</html>
"""


def landing(base_url: str) -> str:
    """The page at ``/`` for browsers."""
    return LANDING.replace("BASE", base_url)
