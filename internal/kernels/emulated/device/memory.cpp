// Shared memory, and the checks of every access.
#include "internal.h"

namespace emulated {

// ---- shared memory ----

// Arenas of the resident blocks lie at multiples of a power of two.
constexpr size_t ARENAS = 4096, ARENA_STEP = 512 * 1024;
static_assert(ARENA <= ARENA_STEP, "an arena fits into its place");
static char *arenas;

void open_arenas() {
    if (!arenas) arenas = reserve(ARENAS * ARENA_STEP);
}

char *arena(size_t i) {
    if (i >= ARENAS) fail("more than %zu blocks at a time", ARENAS);
    return arenas + i * ARENA_STEP;
}

void prepare_shared(Block *b) {
    b->initialised = 0;
    memset(b->arena + DYNAMIC_SHARED, 0xff, now.shared + 1024);
}

// in_shared reports whether a block has the bytes at an offset of its arena.
static bool in_shared(size_t at, size_t n) {
    if (at >= DYNAMIC_SHARED) return at >= now.dynamic_from && at + n <= now.dynamic_from + now.shared;
    return at >= STATIC_SHARED && at + n <= STATIC_SHARED + now.static_shared;
}

unsigned shared_offset(const void *p) {
    const Block *b = current->block;
    const long offset = (const char *)p - b->arena;
    if (offset < STATIC_SHARED || offset >= ARENA) fail("the address %p is not in the block's shared memory", p);
    return offset;
}

char *shared_pointer(unsigned address, unsigned bytes, unsigned align) {
    const Block *b = current->block;
    if (const unsigned rank = address >> 24) {
        b = cluster()->blocks[rank - 1];
        if (b->alive == 0) fail("shared memory of block %u of the cluster, which has ended", rank - 1);
    }
    const unsigned at = address & 0xffffff;
    if (at % align) fail("shared memory at %#x, which is not aligned to %u bytes", at, align);
    if (!in_shared(at, bytes)) fail("%u bytes of shared memory at %#x, where there are none", bytes, at);
    return b->arena + at;
}

unsigned shared_of_rank(unsigned address, unsigned rank) {
    if (rank >= (unsigned)cluster()->size) fail("block %u of a cluster of %d", rank, cluster()->size);
    return (address & 0xffffff) | (rank + 1) << 24;
}

// dynamic_shared returns the beginning of what the launch asked for, which is
// aligned to no more than the kernel asks for.
char *dynamic_shared(unsigned align) {
    now.dynamic_from = align >= 1024 ? DYNAMIC_SHARED : DYNAMIC_SHARED + align;
    return current->block->arena + now.dynamic_from;
}

// static_shared returns where a static __shared__ variable lies in the running
// block: at the same place in all blocks of a launch.
void *static_shared(Variable *v) {
    Block *b = current->block;
    size_t i = v->number;
    if (i == 0 || i > now.variables.size() || now.variables[i - 1] != v) {
        const unsigned align = v->align < 16 ? 16 : v->align;
        const unsigned at = (now.static_shared + align - 1) / align * align;
        if (at + v->size > 48 * 1024 || now.variables.size() == 64) fail("static shared memory: more than 48 KiB or 64 variables");
        now.variables.push_back(v);
        now.offsets.push_back(at);
        now.static_shared = at + v->size;
        i = v->number = now.variables.size();
    }
    char *p = b->arena + STATIC_SHARED + now.offsets[i - 1];
    if (!(b->initialised >> (i - 1) & 1)) {
        b->initialised |= 1ull << (i - 1);
        memset(p, 0xff, v->size);
    }
    return p;
}

// ---- checks of every access ----
//
// The compiler calls __asan_load4_noabort and the like ahead of each access of
// device code.

static Region last; // the one that was touched last

void forget_regions() { last = {}; }

// A library's own data.
extern "C" __attribute__((visibility("hidden"))) char __ehdr_start, _end;

static bool in_region(uintptr_t p, size_t n) {
    size_t low = 0, high = now.region_count;
    while (low < high) {
        const size_t middle = (low + high) / 2;
        if (now.regions[middle].to <= p) low = middle + 1;
        else high = middle;
    }
    if (low == now.region_count || p < now.regions[low].from || p + n > now.regions[low].to) return false;
    last = now.regions[low];
    return true;
}

__attribute__((noinline)) static void check_elsewhere(uintptr_t p, size_t n, const char *what) {
    if (!current) return; // the library is being loaded
    if (p - (uintptr_t)arenas < ARENAS * ARENA_STEP) {
        const size_t at = (p - (uintptr_t)arenas) % ARENA_STEP;
        if (!in_shared(at, n)) fail("it %s %zu bytes of shared memory at %#zx, where there are none", what, n, at);
        return;
    }
    if (in_region(p, n) || p - (uintptr_t)&__ehdr_start < (uintptr_t)(&_end - &__ehdr_start)) return;
    const Region *below = nullptr;
    for (size_t i = 0; i < now.region_count && now.regions[i].from <= p; i++) below = now.regions + i;
    if (!below) fail("it %s %zu bytes at %#zx, where there is no memory of the device", what, n, p);
    fail("it %s %zu bytes at %#zx, of which %zu lie past the end of an allocation of %zu bytes at %#zx", what, n, p,
         p + n - below->to < n ? p + n - below->to : n, below->to - below->from, below->from);
}

void check_access(uintptr_t p, size_t n, const char *what) {
    if (p - (uintptr_t)world < world_size || (p >= last.from && p + n <= last.to)) return;
    check_elsewhere(p, n, what);
}

} // namespace emulated

using emulated::check_access;

#define HOOK extern "C" __attribute__((visibility("hidden")))
#define HOOKS(N)                                                                         \
    HOOK void __asan_load##N##_noabort(uintptr_t p) { check_access(p, N, "reads"); }     \
    HOOK void __asan_store##N##_noabort(uintptr_t p) { check_access(p, N, "writes"); }
HOOKS(1) HOOKS(2) HOOKS(4) HOOKS(8) HOOKS(16)
HOOK void __asan_loadN_noabort(uintptr_t p, size_t n) { check_access(p, n, "reads"); }
HOOK void __asan_storeN_noabort(uintptr_t p, size_t n) { check_access(p, n, "writes"); }
HOOK void __asan_handle_no_return() {}
HOOK void __asan_before_dynamic_init(const char *) {}
HOOK void __asan_after_dynamic_init() {}

// What it found of an address's alignment, and of an index's bounds.
struct Place {
    const char *file;
    unsigned line, column;
};
struct Mismatch {
    Place place;
    const void *type;
    unsigned char log_align, kind;
};

HOOK void __ubsan_handle_type_mismatch_v1_abort(Mismatch *m, void *p) {
    emulated::fail("%s:%u: address %p is not aligned to %u bytes", m->place.file, m->place.line, p, 1u << m->log_align);
}
HOOK void __ubsan_handle_out_of_bounds_abort(Place *p, long i) { emulated::fail("%s:%u: index %ld is out of bounds", p->file, p->line, i); }
