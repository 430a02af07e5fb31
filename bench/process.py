"""Run a command and say what host memory it took, and how long.

usage: python3 bench/process.py COMMAND...

Looks every 2 ms at /proc: anonymous memory is what the process has of its own,
file memory is pages of mapped files, which are the page cache's. What the
driver pins is in neither, so the fall of the system's MemAvailable, of which
the page cache is a part, is printed too: it is the whole of what the process
took above the page cache, and what else ran meanwhile.
"""

import os
import subprocess
import sys
import time


def fields(path, names):
    found = {}
    try:
        with open(path) as file:
            for line in file:
                name, _, rest = line.partition(":")
                if name in names:
                    found[name] = int(rest.split()[0]) / 1e6
    except (OSError, ValueError):
        pass
    return found


def main(command):
    before = fields("/proc/meminfo", {"MemAvailable"})["MemAvailable"]
    peak, least = {"RssAnon": 0.0, "RssFile": 0.0, "RssShmem": 0.0, "read_bytes": 0.0}, before
    start = time.perf_counter()
    child = subprocess.Popen(command, stdout=subprocess.PIPE)
    first = None
    os.set_blocking(child.stdout.fileno(), False)
    while child.poll() is None:
        seen = fields(f"/proc/{child.pid}/status", peak) | fields(f"/proc/{child.pid}/io", peak)
        for name, value in seen.items():
            peak[name] = max(peak[name], value)
        least = min(least, fields("/proc/meminfo", {"MemAvailable"}).get("MemAvailable", least))
        if child.stdout.read() and first is None:  # read on, or the pipe fills up
            first = time.perf_counter() - start
        time.sleep(0.002)
    took = time.perf_counter() - start
    said = "no output" if first is None else f"first output after {first:.2f} s"
    print(f"process: {took:.2f} s, {said}; peaks: anonymous {peak['RssAnon']:.2f} GB, files {peak['RssFile']:.2f} GB, "
          f"shared {peak['RssShmem']:.2f} GB; available memory fell by {before - least:.2f} GB; "
          f"{peak['read_bytes'] / 1e3:.2f} GB came from disks")
    return child.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
