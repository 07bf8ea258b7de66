"""What the deployment to an emulator does to the built template."""

from __future__ import annotations

import zipfile
from pathlib import Path

from scripts import deploy_local

TEMPLATE = """Resources:
  A:
    Properties:
      CodeUri: AFunction
  B:
    Properties:
      CodeUri: BFunction
"""


def test_all_functions_share_one_archive(tmp_path: Path) -> None:
    """Each function's files are packed once, with their paths, and every function points there; twice is once."""
    for name in ("AFunction", "BFunction"):
        (tmp_path / name / "functions").mkdir(parents=True)
        (tmp_path / name / "functions" / "app.py").write_text("handler = None\n")
    (tmp_path / "template.yaml").write_text(TEMPLATE)
    for _ in range(2):
        deploy_local._one_archive(tmp_path)
        assert (tmp_path / "template.yaml").read_text().count("CodeUri: bundle.zip") == 2
        with zipfile.ZipFile(tmp_path / "bundle.zip") as archive:
            assert archive.read("functions/app.py") == b"handler = None\n"
