"""Print what the NVIDIA driver takes of a device's memory, step by step.

usage: python3 bench/context.py [--stack BYTES] [--heap BYTES] [--printf BYTES]
           [--flags N] [--images FOLDER [--target sm_90a]]

After the start of the driver, the context, limits set on it, each module of
kernels and each module's functions, the device's memory in use is read from
NVML: run it on an idle GPU. CUDA_MODULE_LOADING, CUDA_DEVICE_MAX_CONNECTIONS
and the like work as for any program. Needs nothing but the driver.
"""

import argparse
import ctypes as c
import glob
import gzip
import os
import re

cuda = c.CDLL("libcuda.so.1")
nvml = c.CDLL("libnvidia-ml.so.1")
LIMITS = {"stack": 0, "printf": 1, "heap": 2}


class Memory(c.Structure):
    _fields_ = [("total", c.c_ulonglong), ("free", c.c_ulonglong), ("used", c.c_ulonglong)]


def must(code, what):
    if code:
        name = c.c_char_p()
        cuda.cuGetErrorName(code, c.byref(name))
        raise SystemExit(f"{what}: {code} {(name.value or b'').decode()}")


class Ledger:
    def __init__(self):
        must(nvml.nvmlInit_v2(), "nvmlInit")
        self.device, self.last = c.c_void_p(), None
        must(nvml.nvmlDeviceGetHandleByIndex_v2(0, c.byref(self.device)), "nvmlDeviceGetHandleByIndex")

    def note(self, what):
        memory = Memory()
        must(nvml.nvmlDeviceGetMemoryInfo(self.device, c.byref(memory)), "nvmlDeviceGetMemoryInfo")
        used = memory.used / 1e6
        grown = 0 if self.last is None else used - self.last
        print(f"{what:50} {grown:+9.2f} MB, in use {used:10.2f} MB")
        self.last = used


def limit(name, value=None):
    if value is not None:
        must(cuda.cuCtxSetLimit(LIMITS[name], c.c_size_t(value)), f"limit of {name}")
    got = c.c_size_t()
    must(cuda.cuCtxGetLimit(c.byref(got), LIMITS[name]), f"limit of {name}")
    return got.value


def load(path, ledger):
    with gzip.open(path) as file:
        image = file.read()
    buffer, module = c.create_string_buffer(image, len(image)), c.c_void_p()
    must(cuda.cuModuleLoadData(c.byref(module), buffer), path)
    ledger.note(f"module {os.path.basename(path)}, {len(image)} bytes")
    names = sorted({n.decode() for n in re.findall(rb"\x00\.text\.(\w+)(?=\x00)", image)})
    return module, names, buffer


def load_functions(source, module, names, ledger):
    local, largest = 0, ""
    for name in names:
        function, value = c.c_void_p(), c.c_int()
        must(cuda.cuModuleGetFunction(c.byref(function), module, name.encode()), name)
        must(cuda.cuFuncLoad(function), name)
        must(cuda.cuFuncGetAttribute(c.byref(value), 3, function), name)
        if value.value > local:
            local, largest = value.value, name
    ledger.note(f"{len(names)} functions of {source}" + (f", {local} bytes local in {largest}" if local else ""))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in LIMITS:
        parser.add_argument("--" + name, type=int)
    parser.add_argument("--flags", type=lambda s: int(s, 0))
    parser.add_argument("--images")
    parser.add_argument("--target", default="sm_90a")
    a = parser.parse_args()
    ledger, context = Ledger(), c.c_void_p()
    ledger.note("before")
    must(cuda.cuInit(0), "cuInit")
    ledger.note("cuInit")
    if a.flags is not None:
        must(cuda.cuDevicePrimaryCtxSetFlags_v2(0, a.flags), "flags")
    must(cuda.cuDevicePrimaryCtxRetain(c.byref(context), 0), "context")
    must(cuda.cuCtxSetCurrent(context), "context")
    ledger.note("context")
    for name in LIMITS:
        before, value = limit(name), getattr(a, name)
        if value is None:
            print(f"limit of {name}: {before}")
        else:
            ledger.note(f"limit of {name}: {before}, now {limit(name, value)}")
    must(cuda.cuCtxSynchronize(), "synchronize")
    ledger.note("synchronized")
    if not a.images:
        return
    modules = {p: load(p, ledger) for p in sorted(glob.glob(f"{a.images}/*.{a.target}.gz"))}
    for path, (module, names, _) in modules.items():
        load_functions(os.path.basename(path).split(".")[0], module, names, ledger)


if __name__ == "__main__":
    main()
