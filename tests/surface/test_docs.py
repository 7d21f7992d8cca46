"""The documentation pages: served by us, whole, and without a word to anybody else."""

import asyncio
import re
import shlex
import shutil
from html.parser import HTMLParser
from urllib.parse import urljoin, urlsplit

import pytest

PAGES = {"/docs": "swagger-ui", "/redoc": "redoc"}
CHROMIUM = shutil.which("chromium", path="/usr/bin")
FLAGS = shlex.split(
    "--headless --no-sandbox --disable-gpu --disable-background-networking --disable-component-update "
    "--disable-sync --no-first-run --virtual-time-budget=15000 --dump-dom"
)
FOREIGN = re.compile(r"""(?:@import|url\(|import\(|fetch\(|src=|href=)\s*["'`]?\s*(?:https?:)?//""")


class Page(HTMLParser):
    """What a browser would fetch of a page, and what it would run."""

    def __init__(self, text):
        super().__init__()
        self.fetched, self.inline, self._inside = [], [], None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.fetched += [
            given[name] for name in ("src", "href", "srcset", "data", "spec-url") if given.get(name)
        ]
        self._inside = tag if tag in ("script", "style") else None

    def handle_data(self, data):
        if self._inside and data.strip():
            self.inline.append(data)


async def read(client, path):
    async with client.session.get(client.stack.url + path) as response:
        return response.status, response.headers["Content-Type"], await response.text()


@pytest.mark.parametrize("path", PAGES)
async def test_a_page_fetches_only_from_us_and_all_of_it_is_there(opened, path):
    status, media, text = await read(opened, path)
    assert (status, media.partition(";")[0]) == (200, "text/html")
    page = Page(text)
    assert [one for one in page.fetched if "/ui/vendor/" in one]
    for address in page.fetched:
        parts = urlsplit(address)
        assert parts.scheme in ("", "data"), address
        assert not parts.netloc, address
        if not parts.scheme:
            assert (await read(opened, urljoin(path, address)))[0] == 200
    for script in page.inline:
        assert not FOREIGN.search(script)
        for address in re.findall(r"https?://[^\s\"'\\]+", script):
            assert not re.search(r"(fetch|import|src|url)\W+$", script[: script.index(address)])


def test_a_foreign_address_would_be_seen():
    for text in ('@import "//x"', "url(https://x)", 'fetch("https://x")', "src='//x'"):
        assert FOREIGN.search(text)
    assert Page('<link href="https://fonts.test/a.css"><script src=/b></script>').fetched == [
        "https://fonts.test/a.css",
        "/b",
    ]


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")
@pytest.mark.parametrize("path", PAGES)
async def test_a_browser_renders_the_title_and_the_operations(opened, path, tmp_path):
    process = await asyncio.create_subprocess_exec(
        CHROMIUM, *FLAGS, f"--user-data-dir={tmp_path}", opened.stack.url + path,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(40):
        out, _ = await process.communicate()
    dom = re.sub(r"<(script|style)\b.*?</\1>", "", out.decode(), flags=re.DOTALL)
    assert "Assay" in re.sub(r"<head>.*?</head>", "", dom, flags=re.DOTALL)
    words = re.sub(r"[\s\u200b]+|<wbr>", "", re.sub(r"<[^>]+>", "", dom))
    assert "/api/benchmark" in words
    assert PAGES[path] in dom
