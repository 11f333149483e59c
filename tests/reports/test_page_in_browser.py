"""The page in a real browser: sorted, filtered, sent as an address, worked with keys, looked at on a phone, and held to WCAG."""

import base64
import functools
import http.server
import importlib.resources
import importlib.util
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

ROWS = 2 * 6 * 2 + 2


@pytest.fixture(scope="module")
def opened(written: Path) -> Iterator[Any]:
    """Headless Chromium on the page, served from this machine."""
    webdriver = pytest.importorskip("selenium.webdriver")
    chromium, driver = shutil.which("chromium") or shutil.which("chromium-browser"), shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.skip("needs Chromium and its driver (Debian: chromium, chromium-driver)")
    quiet = type("Quiet", (http.server.SimpleHTTPRequestHandler,), {"log_message": lambda *args: None})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(quiet, directory=written))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--window-size=1400,1000",
    ):
        options.add_argument(flag)
    window = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    window.start = f"http://127.0.0.1:{server.server_port}/index.html"
    window.get(window.start)
    yield window
    window.quit()
    server.shutdown()


@pytest.fixture
def browser(opened: Any) -> Any:
    """The page as it opens."""
    opened.execute_script("document.querySelector('#filters button').click(); scrollTo(0, 0)")
    return opened


def tables(browser: Any) -> dict[str, pd.DataFrame]:
    """The boards by their titles."""
    script = (
        "return [...document.querySelectorAll('#boards table')].map(t => [t.caption.firstChild.firstChild.textContent,"
        " [...t.rows].map(r => [...r.cells].map(c => c.textContent))])"
    )
    return {title: pd.DataFrame(rows[1:], columns=rows[0]) for title, rows in browser.execute_script(script)}


def choose(browser: Any, name: str, value: str) -> None:
    script = "const s = document.querySelector(`[name='${arguments[0]}']`); s.value = arguments[1];"
    browser.execute_script(script + "s.dispatchEvent(new Event(s.tagName === 'INPUT' ? 'input' : 'change'))", name, value)


def sort(browser: Any, header: str) -> None:
    script = "[...document.querySelectorAll('#boards th button')].find(b => b.textContent === arguments[0]).click()"
    browser.execute_script(script, header)


def test_a_task_has_a_table_of_its_own_and_units_never_mix(browser: Any) -> None:
    found = tables(browser)
    assert len(found) == 4 and sum(map(len, found.values())) == ROWS
    for title, table in found.items():
        dataset, tuned = title.split(":")[0], "tuned hyper-parameters" in title
        assert "HD95 mm" in table and "Dataset" not in table  # which the title says
        assert all(("tuned" in name) == tuned for name in table["Method"])
        assert dataset in ("acdc", "phantom")
    assert "weights: last" in browser.find_element("css selector", "#boards caption small").text.lower()


def test_filters_sorting_and_metrics(browser: Any) -> None:
    choose(browser, "dataset", "phantom")
    choose(browser, "labels", "7")
    choose(browser, "track", "published")
    (part,) = tables(browser).values()
    assert len(part) == 5 and set(part["Labels"]) == {"7"}
    sort(browser, "DSC %")
    (best,) = (table["DSC %"].tolist() for table in tables(browser).values())
    assert best[-1] == "–" and best[:-1] == sorted(best[:-1], key=float, reverse=True)
    sort(browser, "DSC %")
    (worst,) = (table["DSC %"].tolist() for table in tables(browser).values())
    assert worst[-1] == "–" and worst[:-1] == best[-2::-1]
    for header in ("95 % CI", "vs baseline"):  # begin with the best, too
        sort(browser, header)
        assert next(iter(tables(browser).values()))["Method"][0] == "cctr"
    choose(browser, "metric", "NSD")
    (part,) = tables(browser).values()
    assert {"NSD %", "95 % CI", "vs baseline", "Verdict"} <= set(part) and not {"HD95 mm", "DSC %", "P(flip)"} & set(part)
    choose(browser, "class", "lv")
    choose(browser, "method", "CCTR")
    (part,) = tables(browser).values()
    assert part["Method"].tolist() == ["cctr"]


def test_a_view_is_an_address(browser: Any) -> None:
    choose(browser, "dataset", "acdc")
    choose(browser, "metric", "HD95")
    sort(browser, "HD95 mm")
    browser.execute_script("document.querySelector('[data-of=cps] .hide').click()")
    address, before = browser.current_url, tables(browser)
    assert "dataset=acdc" in address and "sort=hd95" in address and "hide=cps" in address
    browser.get("about:blank")
    browser.get(address)
    after = tables(browser)
    assert after.keys() == before.keys() and all(after[title].equals(before[title]) for title in before)
    browser.execute_script("document.querySelector('#filters button').click()")
    assert browser.current_url == browser.start and sum(map(len, tables(browser).values())) == ROWS


def test_a_link_within_the_page_leaves_the_view_alone(browser: Any) -> None:
    choose(browser, "dataset", "acdc")
    browser.execute_script("document.querySelector('nav a[href=\"#words\"]').click()")
    assert len(tables(browser)) == 2
    browser.get(browser.start)


def test_what_finds_nothing_says_so(browser: Any) -> None:
    choose(browser, "method", "no such method")
    said = browser.find_element("id", "empty")
    assert not tables(browser) and said.is_displayed() and "method contains “no such method”" in said.text
    choose(browser, "method", "")
    assert tables(browser) and not said.is_displayed()


def test_keys_keep_their_place(browser: Any) -> None:
    from selenium.webdriver.common.keys import Keys

    button = browser.find_element("css selector", "[data-place='1 hd95']")
    button.send_keys(Keys.ENTER)
    assert browser.execute_script("return document.activeElement.dataset.place") == "1 hd95"
    header = "return document.activeElement.closest('th').getAttribute('aria-sort')"
    assert browser.execute_script(header) == "ascending"
    browser.switch_to.active_element.send_keys(Keys.SPACE)
    assert browser.execute_script(header) == "descending"
    areas = browser.execute_script("return [...document.querySelectorAll('.scroll')].map(a => [a.tabIndex, a.ariaLabel])")
    assert areas and all(index == 0 and label for index, label in areas)
    lacking = "return [...document.querySelectorAll('table')].filter(t => !t.caption || !t.querySelector('tbody th[scope=row]')).length"
    assert browser.execute_script(lacking) == 0


def test_a_method_is_followed_and_hidden_everywhere_and_a_mark_says_its_values(browser: Any) -> None:
    shown = "return [...document.querySelectorAll('figure [data-method=cctr]')].filter(m => getComputedStyle(m).display !== 'none').length"
    there = browser.execute_script(shown)
    browser.execute_script("document.querySelector('[data-of=cctr] .follow').click()")
    faint = "return getComputedStyle(document.querySelector('figure [data-method=cps]')).opacity"
    assert float(browser.execute_script(faint)) < 0.5 and "follow=cctr" in browser.current_url
    followed = browser.find_elements("css selector", "tr.followed th")
    assert followed and {row.text for row in followed} == {"cctr"}
    mark = "const m = document.querySelector('figure [data-method=cctr]');"
    browser.execute_script(mark + "m.dispatchEvent(new MouseEvent('click', {bubbles: true, cancelable: true}))")
    assert browser.current_url == browser.start and float(browser.execute_script(faint)) == 1
    browser.execute_script("document.querySelector('[data-of=cctr] .hide').click()")
    assert there > 10 and browser.execute_script(shown) == 0
    assert not any("cctr" in set(table["Method"]) for table in tables(browser).values())
    over = "const m = document.querySelector('figure [data-title]'); m.dispatchEvent(new PointerEvent('pointerover', {bubbles: true}));"
    browser.execute_script(over)
    assert "%" in browser.find_element("id", "tip").text


def test_on_a_phone_nothing_but_tables_is_wider_than_the_screen_and_all_can_be_read(browser: Any) -> None:
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    )
    browser.execute_script("document.querySelector('.words li').append('x'.repeat(200))")  # as long as a command may be
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 390
    smallest = (
        "return Math.min(...[...document.querySelectorAll('figure svg')].flatMap(s => [...s.querySelectorAll('text')].map("
        "t => parseFloat(getComputedStyle(t).fontSize) * s.getBoundingClientRect().width / s.viewBox.baseVal.width)))"
    )
    assert browser.execute_script(smallest) >= 8.99
    stacked = (
        "return [...document.querySelectorAll('.panels')].map(p => [...p.children].map(a => a.getBoundingClientRect()))"
        ".every(boxes => boxes.every((box, i) => !i || box.top >= boxes[i - 1].top))"
    )
    assert browser.execute_script(stacked)
    assert browser.execute_script("return [...document.querySelectorAll('.panels a')].every(a => a.href.endsWith('.svg'))")
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_axe_finds_nothing_and_no_script_failed(browser: Any) -> None:
    if importlib.util.find_spec("axe_core_python") is None:
        pytest.skip("needs axe-core-python")
    browser.execute_script((importlib.resources.files("axe_core_python") / "axe.min.js").read_text(encoding="utf-8"))
    browser.set_script_timeout(280)
    inside = (
        "{exclude: ['figure svg > *']}, {resultTypes: ['violations']}"  # a figure is an image; thousands of marks take minutes
    )
    found = browser.execute_async_script(f"const done = arguments[0]; axe.run({inside}).then(r => done(r.violations))")
    assert not [(one["id"], [node["html"][:200] for node in one["nodes"][:3]]) for one in found]
    errors = [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE" and "favicon" not in entry["message"]]
    assert not errors


def test_on_paper_every_column_fits_and_headers_come_again(browser: Any) -> None:
    for width in (1047, 980):  # A4 and Letter, lying, without margins
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
        metrics = {"width": width, "height": 700, "deviceScaleFactor": 1, "mobile": False}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        browser.execute_script("dispatchEvent(new Event('beforeprint'))")
        wide = "return [...document.querySelectorAll('table, figure svg')].filter(t => t.getBoundingClientRect().right > innerWidth).length"
        assert browser.execute_script(wide) == 0
        heads = "return [...new Set([...document.querySelectorAll('thead')].map(t => getComputedStyle(t).display))]"
        assert browser.execute_script(heads) == ["table-header-group"]
        assert browser.execute_script("return [...document.querySelectorAll('details')].every(d => d.open)")
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


def test_a_printed_table_has_its_header_on_every_page(browser: Any, tmp_path: Path) -> None:
    if not shutil.which("pdftotext"):
        pytest.skip("needs pdftotext (Debian: poppler-utils)")
    tall = "tbody tr > * { height: 70mm } header, footer, main > *:not(#boards), .scroll ~ .scroll { display: none }"
    browser.execute_script(  # the first table over several pages, alone
        "const style = document.createElement('style'); style.id = 'tall'; document.head.append(style);"
        f"style.textContent = '@media print {{ {tall} }}'"
    )
    printed = browser.execute_cdp_cmd("Page.printToPDF", {"preferCSSPageSize": True})
    browser.execute_script("document.getElementById('tall').remove()")
    (tmp_path / "page.pdf").write_bytes(base64.b64decode(printed["data"]))
    told = subprocess.run(["pdftotext", "-layout", tmp_path / "page.pdf", "-"], capture_output=True, text=True, check=True)
    pages = [page for page in told.stdout.split("\f") if page.strip()]
    assert len(pages) > 2 and all("DSC %" in page for page in pages)
