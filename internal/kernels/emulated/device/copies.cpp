// Copies in the background, and the barriers in memory that they report to.
#include "internal.h"

namespace emulated {

// start puts poison where a copy will land: whoever reads it early shall see.
static Copy start(char *to, const char *from, unsigned bytes, int group, unsigned long long *barrier) {
    if (from) check_access((uintptr_t)from, bytes, "copies");
    check_access((uintptr_t)to, bytes, "copies to");
    memset(to, 0xff, bytes);
    return {to, from, bytes, group, barrier, false, {}};
}

static void deliver(const Copy &c) {
    if (c.store) memcpy(c.to, c.value, c.bytes);
    else if (c.from) memcpy(c.to, c.from, c.bytes);
    else memset(c.to, 0, c.bytes);
}

// ---- of single threads ----

// What threads have not waited for, by their place among the resident ones.
static std::vector<std::vector<Copy>> pending;

void prepare_copies(size_t number) {
    if (pending.size() <= number) pending.resize(number + 1);
    pending[number].clear();
}

void land_async(Thread *t, int groups) {
    std::vector<Copy> &list = pending[t->number];
    size_t kept = 0;
    for (size_t i = 0; i < list.size(); i++)
        if (list[i].group < t->opened - groups) deliver(list[i]);
        else list[kept++] = list[i];
    list.resize(kept);
}

void copy_async(char *to, const char *from, unsigned bytes) {
    const Copy c = start(to, from, bytes, current->opened, nullptr);
    if (draw() & 1) deliver(c);
    else pending[current->number].push_back(c);
}

void copy_commit() { current->opened++; }

void copy_wait(int groups) {
    land_async(current, groups);
    pause();
}

// ---- barriers in memory ----
//
// 64 bits: arrivals to come (16), arrivals of a phase (16), bytes to come (24,
// signed), 7 that say that it is one, and the phase.

struct Phase {
    unsigned pending, arrivals;
    int bytes;
    unsigned parity;
};
constexpr unsigned MARK = 0x5a >> 1;

static Phase phase_read(const unsigned long long *b) {
    const unsigned long long v = *b;
    if ((v >> 57) != MARK) fail("a barrier in memory that was not initialised, or overwritten");
    return {unsigned(v & 0xffff), unsigned(v >> 16 & 0xffff), int(v >> 32 << 8) >> 8, unsigned(v >> 56 & 1)};
}

static void phase_write(unsigned long long *b, const Phase &p) {
    *b = (unsigned long long)MARK << 57 | (unsigned long long)p.parity << 56 | (unsigned long long)(p.bytes & 0xffffff) << 32 | p.arrivals << 16 | p.pending;
}

// phase_check ends the phase if nothing is to come.
static void phase_check(unsigned long long *b, Phase p) {
    const bool over = p.pending == 0 && p.bytes == 0;
    if (over) p.pending = p.arrivals, p.parity ^= 1;
    phase_write(b, p);
    if (!over) return;
    for (Block *k : now.resident) wake_at(k, b);
}

void phase_init(unsigned long long *b, unsigned arrivals) { phase_write(b, {arrivals, arrivals, 0, 0}); }

void phase_arrive(unsigned long long *b, unsigned arrivals, unsigned bytes) {
    Phase p = phase_read(b);
    if (p.pending < arrivals) fail("a barrier in memory: more than %u arrivals in a phase", p.arrivals);
    p.bytes += bytes;
    p.pending -= arrivals;
    phase_check(b, p);
    pause();
}

bool phase_test(unsigned long long *b, unsigned parity) { return phase_read(b).parity != (parity & 1); }

void phase_wait(unsigned long long *b, unsigned parity) {
    while (!phase_test(b, parity)) sleep("a barrier in memory", b);
}

// ---- bulk copies ----

void copy_bulk(char *to, const char *from, unsigned bytes, unsigned long long *b) {
    if ((uintptr_t)to % 16 || (uintptr_t)from % 16 || bytes % 16) fail("a bulk copy of %u bytes from %p to shared memory at %#x: want multiples of 16", bytes, from, shared_offset(to));
    phase_read(b);
    now.bulk.push_back(start(to, from, bytes, 0, b));
    pause();
}

// store_async is a store that lands later, as a copy of what was at hand.
void store_async(char *to, const void *value, unsigned bytes, unsigned long long *b) {
    phase_read(b);
    Copy c = start(to, nullptr, bytes, 0, b);
    c.store = true;
    memcpy(c.value, value, bytes);
    now.bulk.push_back(c);
    pause();
}

// check_landed: nothing may be on its way to a block that ends.
void check_landed(const Block *b) {
    for (const Copy &c : now.bulk)
        if (c.to >= b->arena && c.to < b->arena + ARENA) fail("%u bytes are on their way to its shared memory when it ends", c.bytes);
}

void land_bulk() {
    const size_t i = draw() % now.bulk.size();
    const Copy c = now.bulk[i];
    now.bulk[i] = now.bulk.back();
    now.bulk.pop_back();
    deliver(c);
    Phase p = phase_read(c.barrier);
    p.bytes -= (int)c.bytes;
    phase_check(c.barrier, p);
}

} // namespace emulated
