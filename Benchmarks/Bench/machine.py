# SPDX-License-Identifier: Apache-2.0

"""The machine of the measurements."""

import datetime
import os
import platform
import re
import subprocess


def describe():
    return {
        "cpu": first(r"(?m)^model name\s*: (.*)$", text("/proc/cpuinfo")) or platform.machine(),
        "cores": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": first(r'(?m)^PRETTY_NAME="?([^"\n]*)', text("/etc/os-release")),
        "kernel": f"{platform.system()} {platform.release()}",
        "swift": first(r"Swift version (\S+)", output("swift", "--version")),
        "proton": proton(),
        "python": platform.python_version(),
        "commit": output("git", "describe", "--always", "--dirty").strip(),
        "date": datetime.datetime.now().astimezone().isoformat(timespec="minutes"),
        "load_before": load(),
    }


def load():
    """Returns the load averages of 1, 5 and 15 minutes."""
    return [round(value, 2) for value in os.getloadavg()]


def proton():
    header = text("/usr/include/proton/version.h")
    parts = [first(rf"PN_VERSION_{part}\s+(\d+)", header) for part in ("MAJOR", "MINOR", "POINT")]
    return ".".join(parts) if all(parts) else ""


def text(path):
    try:
        with open(path, errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def output(*command):
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def first(pattern, string):
    found = re.search(pattern, string)
    return found.group(1).strip() if found else ""
