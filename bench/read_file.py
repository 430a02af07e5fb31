"""Read a file that is not in the page cache as fast as its disk gives it.

usage: python3 bench/read_file.py FILE [--readers N] [--direct] [--drop]

So many readers take pieces of 2 MiB in order, as the loader does, into memory
of their own; --direct goes past the page cache. The file's pages are dropped
first. Prints the rate, and how much of the file was read from the disk. --drop
only drops the pages.
"""

import argparse
import mmap
import os
import threading
import time

PIECE = 2 << 20


def drop(path):
    fd = os.open(path, os.O_RDONLY)
    os.fdatasync(fd)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(fd)
    try:
        with open("/proc/sys/vm/drop_caches", "w") as file:
            file.write("3")
    except OSError:
        pass  # not root: what was advised has to do


def from_disk():
    with open("/proc/self/io") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("read_bytes"))


def read(path, readers, direct):
    size = os.path.getsize(path)
    fd = os.open(path, os.O_RDONLY | (os.O_DIRECT if direct else 0))
    pieces = iter(range(0, size, PIECE))
    lock = threading.Lock()

    def work():
        memory = mmap.mmap(-1, PIECE)  # aligned to a page, as O_DIRECT wants it
        while True:
            with lock:
                at = next(pieces, None)
            if at is None:
                return
            os.preadv(fd, [memory], at)

    threads = [threading.Thread(target=work) for _ in range(readers)]
    before, start = from_disk(), time.perf_counter()
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    took = time.perf_counter() - start
    os.close(fd)
    return size / took, (from_disk() - before) / size


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file")
    parser.add_argument("--readers", type=int, default=16)
    parser.add_argument("--direct", action="store_true")
    parser.add_argument("--drop", action="store_true")
    a = parser.parse_args()
    drop(a.file)
    if a.drop:
        return
    rate, share = read(a.file, a.readers, a.direct)
    way = "past the page cache" if a.direct else "through the page cache"
    print(f"{a.readers} readers {way}: {rate / 1e9:.2f} GB/s, {100 * share:.0f} % from the disk")


if __name__ == "__main__":
    main()
