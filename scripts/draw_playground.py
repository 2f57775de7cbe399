"""`make screenshots`: draws the pictures of the playground in docs/images, in a real browser.

python -m scripts.draw_playground
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

from harness.service import running_service

IMAGES = Path(__file__).parents[1] / "docs" / "images"
DESKTOP = {"viewport": {"width": 1280, "height": 860}}
PHONE = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True}


def main() -> None:
    """Run a service and a browser, and write the pictures."""
    options = ["--no-sandbox"]  # the sandbox cannot start where the tests run as root
    with running_service() as service, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=options)
        draw(browser, service.url, "playground.png", show_caption, **DESKTOP)
        draw(
            browser,
            service.url,
            "playground-dark.png",
            show_classes,
            color_scheme="dark",
            **DESKTOP,
        )
        draw(
            browser,
            service.url,
            "playground-phone.png",
            show_caption,
            device_scale_factor=2,
            **PHONE,
        )
        browser.close()


def draw(browser: Any, url: str, name: str, show: Callable[[Any], None], **context: Any) -> None:
    """Open the page with options of playwright, bring it into a state, and save what it shows."""
    opened = browser.new_context(**context)
    page = opened.new_page()
    page.goto(f"{url}/")
    show(page)
    page.screenshot(path=IMAGES / name)
    opened.close()


def show_caption(page: Any) -> None:
    """A caption of the first example."""
    page.locator("#examples button").first.click()
    page.locator("#save-json:not(:disabled)").wait_for()
    page.locator("#run:not(:disabled)").wait_for()
    page.mouse.move(5, 5)


def show_classes(page: Any) -> None:
    """A class list about six shapes, with one class lit up."""
    page.locator("#examples button").nth(1).click()
    page.locator("#run:not(:disabled)").wait_for()
    page.locator("#tasks label:has([value=detect])").click()
    page.locator("#text").fill("purple diamond, red square, yellow arrow, blue ring")
    page.locator("#run").click()
    page.locator("#boxes .absent").wait_for()
    page.locator("#answer .phrase").nth(1).hover()


if __name__ == "__main__":
    main()
