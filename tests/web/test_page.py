#!/usr/bin/env python3
"""The administration page in headless Chromium, as an administrator uses it.

The environment says where things are: LODGE, LODGE_WEB_SITE (the programs), LODGE_SCREENSHOTS (a folder; nothing: none
are kept).
"""
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import time
import unittest
import urllib.error
import urllib.request

import browser

LODGE = os.environ.get("LODGE", "build/release/lodge")
WEB_SITE = os.environ.get("LODGE_WEB_SITE", "build/release/tests/web/web_site")
SCREENSHOTS = os.environ.get("LODGE_SCREENSHOTS")
SECONDS = 40


@unittest.skipIf(browser.missing(), browser.missing())
class Page(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="lodge-web-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.store = self.folder / "store"
        self.lodge("init", self.store)
        for name, size in (("debian", "64M"), ("win10", "128M")):
            self.lodge("create", self.store, name, "--size", size, "--note", f"made for {name}")
        self.lodge("client", "add", self.store, "52:54:00:00:00:01", "--name", "Front desk")
        self.lodge("assign", self.store, "52:54:00:00:00:01", "debian", "--mode", "shared")
        self.site = browser.Site(WEB_SITE, self.store)
        self.addCleanup(self.close_site)

    def close_site(self):
        status, errors = self.site.close()
        self.assertEqual(status, 0)
        # What it logs is refused requests, of the test that has a password.
        self.assertEqual([line for line in errors.splitlines() if "password" not in line], [])

    def lodge(self, *arguments):
        done = subprocess.run([LODGE, "vdisk", *map(str, arguments)], capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def open(self, part="", **options):
        profile = tempfile.mkdtemp(dir=self.folder)
        self.browser = browser.open_browser(profile, **options)
        self.addCleanup(self.browser.quit)
        self.browser.get(f"{self.site.address}/{part}")

    def find(self, selector):
        return self.browser.find_elements("css selector", selector)

    def wait_for(self, condition, what):
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            value = condition()
            if value:
                return value
            time.sleep(0.1)
        raise AssertionError(f"{what} did not come; the page: {self.find('body')[0].text}")

    def wait_for_text(self, selector, text):
        def there():
            # The page may change between finding an element and reading it.
            return self.browser.execute_script(
                "return [...document.querySelectorAll(arguments[0])].some(e => e.innerText.includes(arguments[1]))",
                selector, text)
        self.wait_for(there, f"{text!r} in {selector}")

    def press(self, selector, name=None):
        """Presses the one visible element, by its label for readers if it has one, else its text."""
        def found():
            return [each for each in self.find(selector) if each.is_displayed() and
                    (name is None or name in (each.get_attribute("aria-label"), each.text))]
        elements = self.wait_for(found, f"{name!r} in {selector}")
        self.assertEqual(len(elements), 1, name)
        elements[0].click()

    def fill(self, dialog, **values):
        for name, value in values.items():
            field = self.find(f"#{dialog} [name={name}]")[0]
            if field.tag_name != "select":
                field.clear()
            field.send_keys(value)

    def screenshot(self, name):
        if SCREENSHOTS:
            pathlib.Path(SCREENSHOTS).mkdir(parents=True, exist_ok=True)
            self.browser.save_screenshot(f"{SCREENSHOTS}/{name}.png")

    def assert_quiet(self):
        """Nothing that the browser complains of: scripts' errors, what the content policy stopped."""
        self.assertEqual([entry for entry in self.browser.get_log("browser") if entry["level"] == "SEVERE"], [])

    def listed(self, *arguments):
        return json.loads(self.lodge(*arguments, "--json"))

    def test_administration(self):
        self.open()
        # What goes on, from a server whose counters grow by 8 and 2 MB a second.
        self.wait_for_text("#sessions-table", "Front desk")
        self.wait_for_text("#sessions-table", "52:54:00:00:00:02")
        self.wait_for_text("#caches-table", "full: writes fail")
        self.wait_for_text("#tile-read", "9.5 MiB/s")
        self.wait_for_text("#tile-written", "1.2 MiB/s")
        self.screenshot("now")
        self.press("#sessions-table button", "Disconnect Front desk")
        self.press("#confirm-dialog button", "Disconnect")
        self.wait_for(lambda: "Front desk" not in self.find("#sessions-table")[0].text, "the end of a session")

        self.press("nav a", "Clients")
        self.press("#add-client")
        self.fill("client-dialog", mac="52-54-00-AA-BB-CC", name="<b>Büro & 2</b>")
        self.press("#client-dialog button", "Save")
        self.wait_for_text("#clients-table", "<b>Büro & 2</b>")
        self.press("#clients-table button", "Assign a vDisk to <b>Büro & 2</b>")
        self.fill("assign-dialog", vdisk="win10")
        self.press("#assign-dialog input[value=shared]")
        self.press("#assign-dialog button", "Save")
        self.wait_for_text("#clients-table .chips", "win10 · shared")
        client, = [each for each in self.listed("client", "list", self.store)["clients"] if each["mac"] == "52:54:00:aa:bb:cc"]
        self.assertEqual(client["name"], "<b>Büro & 2</b>")
        # A mistake is said where it was made.
        self.press("#add-client")
        self.fill("client-dialog", mac="52-54-00-AA-BB-CC")
        self.press("#client-dialog button", "Save")
        self.wait_for_text("#client-dialog .error", "52:54:00:aa:bb:cc")
        self.press("#client-dialog button", "Cancel")
        self.screenshot("clients")

        self.press("nav a", "vDisks")
        self.press("#create-vdisk")
        self.fill("create-dialog", name="empty", size="1", note="for an installation")
        self.press("#create-dialog button", "Make it")
        self.wait_for_text("#vdisks-table", "for an installation")
        self.assertIn("empty", self.lodge("list", self.store))
        (self.store / "import").mkdir()
        (self.store / "import/small.raw").write_bytes(b"x" * 1048576)
        self.press("#import-vdisk")
        self.fill("import-dialog", image="small.raw", name="small")
        self.press("#import-dialog [name=raw]")
        self.press("#import-dialog button", "Import")
        self.wait_for_text("#jobs-table", "done")
        self.wait_for_text("#vdisks-table", "small")
        self.screenshot("vdisks")
        self.press("#vdisks-table button", "Remove win10")
        self.press("#confirm-dialog button", "Remove")
        self.wait_for_text("#confirm-dialog .error", "assigned")
        self.press("#confirm-dialog [name=force]")
        self.press("#confirm-dialog button", "Remove")
        self.wait_for(lambda: "win10" not in self.find("#vdisks-table")[0].text, "the end of a vDisk")

        self.press("nav a", "Settings")
        self.press("#settings-form input[value=register]")
        self.fill("settings-form", default="debian", menu_seconds="5")
        self.press("#settings-form button", "Save")
        self.wait_for_text("#message", "saved")
        settings = self.listed("settings", self.store)
        self.assertEqual((settings["unknown"], settings["default"]), ("register", "debian"))
        self.screenshot("settings")

        # The command line's changes come by themselves.
        self.press("nav a", "Log")
        self.lodge("client", "remove", self.store, "52:54:00:aa:bb:cc")
        self.wait_for_text("#log-table", "removed client 52:54:00:aa:bb:cc")
        self.wait_for_text("#log-table", "API: 127.0.0.1")
        self.screenshot("log")
        self.assert_quiet_but_for(400, 409)

    def assert_quiet_but_for(self, *statuses):
        """As assert_quiet, but the page was told of these mistakes on purpose."""
        entries = [entry for entry in self.browser.get_log("browser") if entry["level"] == "SEVERE" and not
                   any(f"status of {status}" in entry["message"] for status in statuses)]
        self.assertEqual(entries, [])

    def test_keyboard_narrow_and_dark(self):
        from selenium.webdriver.common.keys import Keys
        self.open("#clients", width=500, height=900, dark=True)
        self.wait_for_text("#clients-table", "Front desk")
        self.assertEqual(self.browser.execute_script(
            "return matchMedia('(prefers-color-scheme: dark)').matches && "
            "document.documentElement.scrollWidth <= innerWidth"), True)
        self.screenshot("narrow")
        # With the keyboard alone: to the button, into the dialog, through it, and out by Enter.
        self.find("#clients-filter")[0].send_keys("front", Keys.TAB)
        active = self.browser.switch_to.active_element
        self.assertEqual(active.text, "Add a client")
        active.send_keys(Keys.ENTER)
        self.wait_for(lambda: self.find("#client-dialog")[0].is_displayed(), "the dialog")
        self.browser.switch_to.active_element.send_keys("525400000009", Keys.TAB)
        self.browser.switch_to.active_element.send_keys("Back office", Keys.ENTER)
        self.wait_for_text("#message", "added")
        self.find("#clients-filter")[0].clear()
        self.find("#clients-filter")[0].send_keys("back")
        self.wait_for_text("#clients-table", "Back office")
        self.assertNotIn("Front desk", self.find("#clients-table")[0].text)
        # Refreshing leaves the focus where it is.
        button, = [each for each in self.find("#clients-table button") if each.text == "Change"]
        button.send_keys(Keys.NULL)
        self.browser.execute_script("arguments[0].focus()", button)
        self.lodge("client", "add", self.store, "52:54:00:00:00:0a", "--name", "Back door")
        self.wait_for_text("#clients-table", "Back door")
        self.assertEqual(self.browser.switch_to.active_element.get_attribute("aria-label"), "Change Back office")
        self.assert_quiet()

    def test_password(self):
        """With a password the browser asks; the page works with it."""
        self.open("#settings")
        self.wait_for_text("#password-state", "There is none")
        self.fill("settings-form", password="correct horse")
        self.press("#settings-form button", "Save")
        self.wait_for(lambda: "new administrator's password" in self.lodge("log", self.store), "the line of the log")
        with self.assertRaises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"{self.site.address}/api/v1/facts", timeout=SECONDS)
        self.assertEqual(refused.exception.code, 401)
        refused.exception.close()
        host = self.site.address.removeprefix("http://")
        self.browser.get(f"http://admin:correct%20horse@{host}/#now")
        self.wait_for_text("#sessions-table", "Front desk")


if __name__ == "__main__":
    unittest.main()
