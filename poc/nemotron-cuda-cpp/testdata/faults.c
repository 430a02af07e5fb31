/* Faults for the scenarios: a library to preload, which stands between a
   program and the NVIDIA driver.

     gcc -shared -fPIC -o faults.so faults.c -ldl
     FAULT=hide LD_PRELOAD=./faults.so PROGRAM   no libcuda.so can be found
     FAULT=20   LD_PRELOAD=./faults.so PROGRAM   before launch number 20 of a
                                                 graph, a kernel that writes to
                                                 an address that does not exist

   The second is a real fault of the device, in the middle of generating: what
   the program says about it is the driver's own text. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *(*next_dlopen)(const char *, int);
static void *(*next_dlsym)(void *, const char *);

static const char *fault(void) {
    const char *f = getenv("FAULT");
    return f ? f : "";
}

static void find(void) {
    if (!next_dlsym) next_dlsym = (void *(*)(void *, const char *))dlvsym(RTLD_NEXT, "dlsym", "GLIBC_2.2.5");
    if (!next_dlopen) next_dlopen = (void *(*)(const char *, int))next_dlsym(RTLD_NEXT, "dlopen");
}

void *dlopen(const char *name, int flags) {
    find();
    if (!strcmp(fault(), "hide") && name && strstr(name, "libcuda.so")) name = "/hidden/libcuda.so.1";
    return next_dlopen(name, flags);
}

static const char poke[] =
    ".version 7.0\n.target sm_70\n.address_size 64\n"
    ".visible .entry poke() {\n"
    "  .reg .b32 %r; .reg .b64 %d;\n"
    "  mov.u64 %d, 4096; mov.u32 %r, 7; st.global.u32 [%d], %r; ret;\n}\n";

static int (*launch_graph)(void *, void *);
static void *driver;

static int launch_graph_with_fault(void *graph, void *stream) {
    static int launches;
    if (++launches == atoi(fault())) {
        int (*load)(void **, const void *) = (int (*)(void **, const void *))next_dlsym(driver, "cuModuleLoadData");
        int (*function)(void **, void *, const char *) = (int (*)(void **, void *, const char *))next_dlsym(driver, "cuModuleGetFunction");
        int (*launch)(void *, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void *, void **, void **) =
            (int (*)(void *, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void *, void **, void **))next_dlsym(driver, "cuLaunchKernel");
        void *module = 0, *kernel = 0;
        int code = load(&module, poke);
        if (!code) code = function(&kernel, module, "poke");
        if (!code) code = launch(kernel, 1, 1, 1, 1, 1, 1, 0, stream, 0, 0);
        if (code) fprintf(stderr, "faults.so: the fault cannot be made: code %d\n", code);
    }
    return launch_graph(graph, stream);
}

void *dlsym(void *library, const char *name) {
    find();
    void *p = next_dlsym(library, name);
    if (p && atoi(fault()) > 0 && !strcmp(name, "cuGraphLaunch")) {
        driver = library;
        launch_graph = (int (*)(void *, void *))p;
        return (void *)launch_graph_with_fault;
    }
    return p;
}
