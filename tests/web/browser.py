"""A headless Chromium that a test drives, and the web side alone of a vDisk server (web_site) for it to look at."""
import shutil
import subprocess
import tempfile

try:
    from selenium import webdriver
    from selenium.webdriver.chrome.options import Options
    from selenium.webdriver.chrome.service import Service
except ImportError:
    webdriver = None

CHROMIUM = shutil.which("chromium")
DRIVER = shutil.which("chromedriver")


def missing():
    """Why there is no browser here; nothing if there is one."""
    if webdriver is None:
        return "python3-selenium is not installed"
    if not CHROMIUM or not DRIVER:
        return "chromium and chromium-driver are not installed"
    return None


def open_browser(profile, width=1280, height=900, dark=False):
    """The caller quits it."""
    options = Options()
    options.binary_location = CHROMIUM
    # Chromium's own sandbox wants a user that is not root, or a kernel that lets root make namespaces.
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--no-first-run",
                     "--disable-background-networking", "--disable-component-update", "--disable-sync",
                     f"--user-data-dir={profile}", f"--window-size={width},{height}"):
        options.add_argument(argument)
    if dark:
        options.add_argument("--force-dark-mode")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return webdriver.Chrome(service=Service(DRIVER), options=options)


class Site:
    """web_site on a store; `address` is where the page is."""

    def __init__(self, program, store):
        self.errors = tempfile.TemporaryFile()
        self.process = subprocess.Popen([program, store], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=self.errors, text=True)
        self.address = f"http://127.0.0.1:{int(self.process.stdout.readline())}"

    def close(self):
        self.process.stdin.close()
        status = self.process.wait(20)
        self.process.stdout.close()
        self.errors.seek(0)
        text = self.errors.read().decode()
        self.errors.close()
        return status, text
