"""Opens MLflow's page of a search in a headless browser, in the network of whoever runs this; keeps a picture.

Usage: look_at_page.py URL TRIAL PNG
"""

import sys

from playwright.sync_api import sync_playwright

url, trial, picture = sys.argv[1:]
with sync_playwright() as playwright:
    browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
    page = browser.new_page(viewport={"width": 1600, "height": 900})
    page.goto(url)
    page.get_by_role("link", name=trial, exact=True).wait_for(timeout=90_000)
    page.screenshot(path=picture)
    browser.close()
