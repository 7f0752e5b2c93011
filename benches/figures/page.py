"""Loads pages in Chromium, each time as for the first time, in turns. Of each load a line of JSON.

    page.py CHROMIUM ROUNDS FOLDER URL URL      # FOLDER: gets files of the same number, kinds and sizes as the first page has; the second serves them

A page is interactive when its first text field can be seen and typed into.
"""
import json
import re
import secrets
import sys
from pathlib import Path
from urllib.parse import urlparse

from playwright.sync_api import sync_playwright

WATCH = """
const look = () => {
  const field = document.querySelector("input:not([type=checkbox])");
  if (field && field.offsetParent && !field.disabled) window.interactive = performance.now();
  else requestAnimationFrame(look);
};
requestAnimationFrame(look);
"""


def load(browser, url):
    """One first load: bytes over the network, of which files, and when one can type; bytes with heads, milliseconds."""
    context = browser.new_context(ignore_https_errors=True)
    context.add_init_script(WATCH)
    page = context.new_page()
    network = context.new_cdp_session(page)
    network.send("Network.enable")
    files, total = {}, 0
    kinds = {}

    def response(event):
        kinds[event["requestId"]] = (event["response"]["url"], event["type"])

    def finished(event):
        nonlocal total
        total += event["encodedDataLength"]
        if event["requestId"] in kinds:
            address, kind = kinds[event["requestId"]]
            files[urlparse(address).path] = (kind, event["encodedDataLength"])

    network.on("Network.responseReceived", response)
    network.on("Network.loadingFinished", finished)
    page.goto(url, wait_until="load")
    page.wait_for_function("window.interactive")
    interactive = page.evaluate("window.interactive")
    loaded = page.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd")
    page.wait_for_load_state("networkidle")
    context.close()
    return {"bytes": total, "files": files, "interactive": interactive, "loaded": loaded}


def noise(count):
    """Text that does not pack."""
    return secrets.token_hex(count // 2 + 1)[:count]


def copy(folder, files):
    """Files as many, as large, and fetched by the same kinds of tags; a text field."""
    tags = []
    for number, (path, (kind, size)) in enumerate(sorted(files.items())):
        size = max(size - 250, 16)  # without the head of the response
        if kind == "Script":
            (folder / f"{number}.js").write_text(f"/*{noise(size)}*/")
            tags.append(f'<script type="module" src="{number}.js"></script>')
        elif kind == "Stylesheet":
            (folder / f"{number}.css").write_text(f"/*{noise(size)}*/")
            tags.append(f'<link rel="stylesheet" href="{number}.css">')
        elif kind != "Document":
            (folder / f"{number}.svg").write_text(f'<svg xmlns="http://www.w3.org/2000/svg"><!--{noise(size)}--></svg>')
            tags.append(f'<img src="{number}.svg" alt="">')
    document = sum(size for kind, size in files.values() if kind == "Document")
    (folder / "index.html").write_text(f"<!doctype html><title>static</title>{''.join(tags)}<input><!--{noise(document)}-->")


def main(chromium, rounds, folder, url, other):
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        # Not counted: the browser finds its files on the disk.
        first = load(browser, url)
        copy(Path(folder), {path: file for path, file in first["files"].items() if not re.search("socket", path)})
        load(browser, other)
        for _ in range(int(rounds)):
            for name, at in (("convergia", url), ("nginx", other)):
                took = load(browser, at)
                print(json.dumps({"name": name, "count": len(took.pop("files")), **took}), flush=True)
        browser.close()


main(*sys.argv[1:])
