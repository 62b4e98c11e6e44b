"""Every module of the package can be imported where Unix-only modules are absent."""

import subprocess
import sys

UNIX_ONLY = ("resource", "fcntl", "termios", "tty", "pty", "pwd", "grp", "syslog", "readline")
SCRIPT = f"""
import importlib, pkgutil, sys
import torch, lightning.pytorch, sklearn, matplotlib.pyplot, scipy.stats  # use what they find
for name in {UNIX_ONLY}:
    sys.modules[name] = None
import auricle
for module in pkgutil.walk_packages(auricle.__path__, "auricle."):
    importlib.import_module(module.name)
    print(module.name)
"""


def test_every_module_is_imported_without_the_modules_of_unix():
    answer = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr[-2000:]
    assert "auricle.training.fit" in answer.stdout
