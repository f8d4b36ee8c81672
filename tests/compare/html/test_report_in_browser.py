"""The report in headless Chromium: sorting, switches, width, dark mode, accessibility and print."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
_FOUND = importlib.util.find_spec("axe_core_python")
AXE = None if _FOUND is None or _FOUND.origin is None else Path(_FOUND.origin).with_name("axe.min.js")


def chromium(page: Path, *arguments: str) -> str:
    """Return what Chromium prints about a page."""
    fixed = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    command = [str(CHROMIUM), *fixed, *arguments, page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


def run_in(page: Path, tmp_path: Path, script: str, *arguments: str) -> Any:
    """Run a script at the end of a copy of the page; return what it has written as JSON to the page's title."""
    # The page of the test acts by itself, because the browser only prints the page at its end.
    copy = tmp_path / "page.html"
    copy.write_text(page.read_text().replace("</body>", f"<script>{script}</script></body>"))
    shown = chromium(copy, "--dump-dom", "--virtual-time-budget=20000", *arguments)
    # Names of svg elements come first where the page has figures: the title of the head is the first one.
    title = re.search(r"<title>(.*?)</title>", shown, re.DOTALL)
    assert title is not None
    return json.loads(title[1].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))


def test_sorting_and_switching(page: Path, tmp_path: Path) -> None:
    script = """
    const errors = []; window.onerror = (text) => errors.push(text);
    document.querySelectorAll("thead button")[2].click();
    const box = document.querySelector("[data-toggle=m0]");
    box.checked = false; box.dispatchEvent(new Event("change"));
    const names = [...document.querySelector("tbody").rows].map((row) => row.cells[0].textContent);
    const hidden = document.querySelectorAll("[data-method=m0]:not([data-off])").length;
    document.title = JSON.stringify({names, hidden, errors, wide: document.documentElement.scrollWidth});
    """
    found = run_in(page, tmp_path, script, "--window-size=500,900")
    # Lowest error first.
    assert found["names"] == ["<b onclick=alert(1)>", "lds", "vanilla"]
    assert found["hidden"] == 0
    assert found["errors"] == []
    # Wide tables scroll in their own box: the page does not.
    assert found["wide"] <= 500


@pytest.mark.skipif(AXE is None, reason="the package axe-core-python is not installed")
@pytest.mark.parametrize(("width", "dark"), [(1280, False), (400, True)])
def test_axe_finds_nothing_serious(full_page: Path, tmp_path: Path, width: int, dark: bool) -> None:
    assert AXE is not None
    # A frame sets the width: Chromium's own window is never narrower than 500 pixels.
    inner = tmp_path / "inner.html"
    script = """
    for (const part of document.querySelectorAll("details")) part.open = true;
    axe.run().then((found) => {
      const serious = found.violations.filter((one) => ["serious", "critical"].includes(one.impact));
      const shown = serious.map((one) => [one.id, one.nodes.map((node) => node.html.slice(0, 200))]);
      const ground = getComputedStyle(document.body).backgroundColor;
      const [wide, rules] = [document.documentElement.scrollWidth, found.passes.length];
      parent.postMessage(JSON.stringify({shown, ground, rules, wide}), "*");
    });
    """
    scripts = f"<script>{AXE.read_text(encoding='utf-8')}</script><script>{script}</script></body>"
    text = full_page.read_text().replace("</body>", scripts)
    if dark:
        # The setting of the browser has no switch: the rule for dark pages holds for every page.
        text = text.replace("(prefers-color-scheme: dark)", "all")
    inner.write_text(text)
    outer = tmp_path / "outer.html"
    outer.write_text(
        "<!doctype html><title>waits</title><script>onmessage = (event) => { document.title = event.data; };</script>"
        f'<iframe src="{inner.as_uri()}" width="{width}" height="900"></iframe>'
    )
    shown = chromium(outer, "--dump-dom", "--virtual-time-budget=60000", "--allow-file-access-from-files")
    title = re.search(r"<title>(.*?)</title>", shown, re.DOTALL)
    assert title is not None
    found = json.loads(title[1].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))
    assert found["rules"] > 15, "axe has checked the page"
    assert found["ground"] == ("rgb(23, 23, 27)" if dark else "rgb(255, 255, 255)")
    assert found["wide"] <= width
    assert found["shown"] == []


def test_the_page_prints_to_pdf(page: Path, tmp_path: Path) -> None:
    chromium(page, f"--print-to-pdf={tmp_path / 'report.pdf'}", "--no-pdf-header-footer")
    content = (tmp_path / "report.pdf").read_bytes()
    assert content.startswith(b"%PDF")
    pages = len(re.findall(rb"/Type\s*/Page\b", content))
    assert 2 <= pages <= 8
