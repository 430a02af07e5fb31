// See runtime.h. This file is compiled once and linked into the library of
// every source.
#include "runtime.h"

#include <csetjmp>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <sys/mman.h>
#include <vector>
#ifndef __x86_64__
#include <ucontext.h>
#endif

namespace emulated {

Thread *current;
Dim grid_size, block_size;
void **parameters;

namespace {

constexpr size_t STACK = 128 * 1024, GUARD = 4096;

// Launch is what runs now.
struct Launch {
    const Kernel *kernel;
    unsigned shared;
    uint64_t random;
    std::vector<Warp *> ready;
    std::vector<Copy> bulk;           // under way
    std::vector<Variable *> variables; // static shared ones
    std::vector<unsigned> offsets;    // and where they lie
    unsigned static_shared;
    long spins; // without anything else happening
    int left;   // threads of the resident blocks
    uint64_t switches;
    void *main;    // the stack that the launch was called on
    jmp_buf start; // and where failures outside of threads go to
    bool failed;
    char message[2048];
};
Launch now;

unsigned draw() {
    now.random ^= now.random << 13, now.random ^= now.random >> 7, now.random ^= now.random << 17;
    return now.random >> 32;
}

// bit_from returns the first bit that is set from a place on, in a circle.
int bit_from(unsigned mask, int place) {
    const unsigned turned = mask >> (place & 31) | mask << (-place & 31);
    return (__builtin_ctz(turned) + place) & 31;
}

// ---- fibers ----

[[noreturn]] void thread_main();

#ifdef __x86_64__
// switch_stack saves the registers that a function must keep on the stack, and
// goes on where the other stack was left.
extern "C" void emulated_switch(void **save, void *to);
asm(R"(
    .text
    .globl emulated_switch
    .hidden emulated_switch
    .type emulated_switch, @function
emulated_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
    .size emulated_switch, .-emulated_switch
)");

void switch_stack(void **save, void *to) { emulated_switch(save, to); }

void *new_stack(char *stack) {
    void **sp = (void **)(stack + STACK - 64);
    *--sp = nullptr; // the return address of thread_main, which does not return
    *--sp = (void *)thread_main;
    for (int i = 0; i < 6; i++) *--sp = nullptr;
    return sp;
}
#else
// Elsewhere the C library switches; the context lies at the end of the stack.
void switch_stack(void **save, void *to) {
    ucontext_t here;
    *save = &here;
    swapcontext(&here, (ucontext_t *)to);
}

void *new_stack(char *stack) {
    ucontext_t *c = (ucontext_t *)(stack + STACK - sizeof(ucontext_t) - 64);
    getcontext(c);
    c->uc_stack.ss_sp = stack;
    c->uc_stack.ss_size = STACK - sizeof(ucontext_t) - 64;
    c->uc_link = nullptr;
    makecontext(c, (void (*)())thread_main, 0);
    return c;
}
#endif

// Stacks are kept for the next blocks, a page without access below each.
std::vector<char *> stacks;

char *stack(size_t i) {
    while (stacks.size() <= i) {
        char *p = (char *)mmap(nullptr, STACK + GUARD, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (p == MAP_FAILED) {
            fprintf(stderr, "emulated: no memory for stacks\n");
            abort();
        }
        mprotect(p, GUARD, PROT_NONE);
        stacks.push_back(p + GUARD);
    }
    return stacks[i];
}

// ---- scheduling ----

void wake(Warp *w, unsigned lanes) {
    if (!w->runnable) {
        w->place = now.ready.size();
        now.ready.push_back(w);
    }
    w->runnable |= lanes;
}

void wake(Thread *t) {
    t->waits = nullptr;
    wake(t->warp, 1u << t->lane);
}

void put_to_sleep(Thread *t) {
    Warp *w = t->warp;
    w->runnable &= ~(1u << t->lane);
    if (w->runnable) return;
    Warp *last = now.ready.back();
    now.ready[w->place] = last;
    last->place = w->place;
    now.ready.pop_back();
    w->place = -1;
}

void land(std::vector<Copy> &copies, size_t i);
[[noreturn]] void deadlock();

// choose returns the thread that goes on, or null if all have ended.
Thread *choose(Warp *own) {
    if (!now.bulk.empty() && (draw() & 7) == 0) land(now.bulk, draw() % now.bulk.size());
    while (now.ready.empty()) {
        if (now.left == 0) return nullptr;
        if (now.bulk.empty()) deadlock();
        land(now.bulk, draw() % now.bulk.size());
    }
    // The lanes of a warp mostly run one after another.
    Warp *w = own && own->runnable && (draw() & 15) ? own : now.ready[draw() % now.ready.size()];
    return w->lanes[bit_from(w->runnable, draw())];
}

// give_way goes on with another thread, or with this one if it is chosen.
void give_way() {
    Thread *me = current, *to = choose(me->warp);
    now.switches++;
    if (to == me) return;
    current = to;
    switch_stack(&me->stack_pointer, to->stack_pointer);
}

void sleep(const char *what, const void *at) {
    current->waits = what;
    current->at = at;
    now.spins = 0;
    put_to_sleep(current);
    give_way();
}

void check_meeting(Warp *w);
void check_barrier(Block *b, int number, int want);
void check_cluster(Cluster *c);
void land_async(Thread *t, int groups);

void thread_end() {
    Thread *me = current;
    Warp *w = me->warp;
    Block *b = me->block;
    me->opened++;
    land_async(me, 0);
    put_to_sleep(me);
    w->alive &= ~(1u << me->lane);
    b->alive--;
    now.left--;
    me->waits = "nothing: it has ended";
    if (w->meeting) check_meeting(w);
    check_barrier(b, 0, b->alive);
    if (b->cluster) {
        b->cluster->alive--;
        check_cluster(b->cluster);
    }
}

[[noreturn]] void thread_main() {
    now.kernel->invoke(now.kernel);
    thread_end();
    Thread *to = choose(nullptr);
    void *nowhere;
    if (to) {
        current = to;
        switch_stack(&nowhere, to->stack_pointer);
    }
    switch_stack(&nowhere, now.main);
    abort();
}

void describe(const Thread *t, char *to, size_t n) {
    snprintf(to, n, "block (%u, %u, %u), thread (%u, %u, %u)", t->block->index.x, t->block->index.y, t->block->index.z, t->index.x,
             t->index.y, t->index.z);
}

std::vector<Block *> resident;

[[noreturn]] void deadlock() {
    char list[1200];
    size_t n = 0;
    int told = 0, waiting = 0;
    for (Block *b : resident)
        for (int i = 0; i < b->threads; i++) {
            const Thread *t = b->thread + i;
            if (!(t->warp->alive >> t->lane & 1)) continue;
            waiting++;
            // One of each warp and reason is enough.
            if (told == 12 || (t->lane > 0 && t[-1].waits == t->waits && t[-1].at == t->at && t[-1].members == t->members)) continue;
            char who[120];
            describe(t, who, sizeof who);
            n += snprintf(list + n, sizeof list - n, "\n  %s waits for %s", who, t->waits);
            if (t->resolve) n += snprintf(list + n, sizeof list - n, " of lanes %08x", t->members);
            told++;
        }
    fail("deadlock: %d threads wait, none can go on%s", waiting, list);
}

} // namespace

void fail(const char *format, ...) {
    int n = snprintf(now.message, sizeof now.message, "kernel %s: ", now.kernel ? now.kernel->name : "?");
    if (current) {
        describe(current, now.message + n, sizeof now.message - n);
        n = strlen(now.message);
        n += snprintf(now.message + n, sizeof now.message - n, ": ");
    }
    va_list args;
    va_start(args, format);
    vsnprintf(now.message + n, sizeof now.message - n, format, args);
    va_end(args);
    now.failed = true;
    if (!current) longjmp(now.start, 1);
    void *nowhere;
    switch_stack(&nowhere, now.main); // the stacks are left as they are
    abort();
}

void pause() {
    if ((draw() & 7) == 0) give_way();
}

void spin() {
    if (++now.spins > 20000000) fail("it waits in vain for a change in memory");
    give_way();
}

// ---- warps ----

namespace {

// check_meeting looks whether all members of a meeting have come.
void check_meeting(Warp *w) {
    for (unsigned left = w->meeting; left;) {
        const Thread *first = w->lanes[__builtin_ctz(left)];
        unsigned come = 0;
        for (unsigned m = left; m; m &= m - 1) {
            const Thread *t = w->lanes[__builtin_ctz(m)];
            if (t->resolve == first->resolve && t->members == first->members) come |= 1u << t->lane;
        }
        left &= ~come;
        if (come != (first->members & w->alive)) continue;
        first->resolve(w->lanes, come);
        w->meeting &= ~come;
        wake(w, come);
        w->turn = draw();
    }
}

} // namespace

void meet(unsigned members, Resolve resolve, void *operands, const char *what) {
    Thread *me = current;
    Warp *w = me->warp;
    if (!(members >> me->lane & 1)) fail("%s of lanes %08x, which lane %d is not among", what, members, me->lane);
    me->resolve = resolve, me->members = members, me->operands = operands;
    me->waits = what, me->at = nullptr;
    w->meeting |= 1u << me->lane;
    now.spins = 0;
    if (w->runnable & (w->runnable - 1)) { // others of the warp can run: the usual case
        w->runnable &= ~(1u << me->lane);
        if ((w->meeting & members) == (members & w->alive)) check_meeting(w);
        Thread *to = w->lanes[bit_from(w->runnable, w->turn)];
        if (to == me) return;
        current = to;
        switch_stack(&me->stack_pointer, to->stack_pointer);
        return;
    }
    put_to_sleep(me);
    if ((w->meeting & members) == (members & w->alive)) check_meeting(w);
    give_way();
}

// ---- barriers of a block ----

namespace {

void check_barrier(Block *b, int number, int want) {
    Barrier &r = b->barriers[number];
    if (r.arrived == 0 || r.arrived < want) return;
    const int votes = r.votes;
    r.arrived = r.votes = 0;
    for (int i = 0; i < b->threads; i++)
        if (b->thread[i].at == &r && b->thread[i].waits) b->thread[i].votes = votes, wake(b->thread + i);
}

void come(int number, int threads, bool vote) {
    Block *b = current->block;
    if (number < 0 || number > 15) fail("barrier %d: there are 16", number);
    if (threads % 32 || threads > (b->threads + 31) / 32 * 32) fail("barrier %d of %d threads in a block of %d", number, threads, b->threads);
    Barrier &r = b->barriers[number];
    r.arrived++;
    r.votes += vote;
    if (threads && r.arrived > threads) fail("barrier %d: more than %d threads come", number, threads);
}

} // namespace

int barrier(int number, int threads, bool vote) {
    static const char *const names[16] = {"__syncthreads", "barrier 1", "barrier 2", "barrier 3", "barrier 4", "barrier 5", "barrier 6", "barrier 7",
                                          "barrier 8", "barrier 9", "barrier 10", "barrier 11", "barrier 12", "barrier 13", "barrier 14", "barrier 15"};
    come(number, threads, vote);
    Thread *me = current;
    Block *b = me->block;
    me->waits = names[number], me->at = b->barriers + number;
    now.spins = 0;
    put_to_sleep(me);
    check_barrier(b, number, threads ? threads : b->alive);
    give_way();
    return me->votes;
}

void barrier_arrive(int number, int threads) {
    come(number, threads, false);
    check_barrier(current->block, number, threads);
}

// ---- clusters ----

namespace {

void check_cluster(Cluster *c) {
    if (c->arrived == 0 || c->arrived < c->alive) return;
    c->arrived = 0;
    c->turn++;
    for (int i = 0; i < c->size; i++)
        for (int k = 0; k < c->blocks[i]->threads; k++) {
            Thread *t = c->blocks[i]->thread + k;
            if (t->at == c && t->waits) wake(t);
        }
}

Cluster *cluster() {
    if (!current->block->cluster) fail("an instruction of clusters in a launch without");
    return current->block->cluster;
}

} // namespace

void cluster_barrier_arrive() {
    Cluster *c = cluster();
    if (current->cluster_turn == c->turn + 1) fail("it arrives at the cluster's barrier twice without waiting");
    current->cluster_turn = c->turn + 1;
    c->arrived++;
    check_cluster(c);
    pause();
}

void cluster_barrier_wait() {
    Cluster *c = cluster();
    if (current->cluster_turn == 0) fail("it waits at the cluster's barrier without having arrived");
    if (c->turn < current->cluster_turn) sleep("the cluster's barrier", c);
    else pause();
    current->cluster_turn = 0;
}

// ---- shared memory ----

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
    const unsigned offset = address & 0xffffff;
    if (offset % align) fail("shared memory at %#x, which is not aligned to %u bytes", offset, align);
    const bool fixed = offset >= STATIC_SHARED && offset + bytes <= STATIC_SHARED + now.static_shared;
    const bool dynamic = offset >= DYNAMIC_SHARED && offset + bytes <= ARENA;
    if (!fixed && !dynamic) fail("%u bytes of shared memory at %#x: there are none", bytes, offset);
    return b->arena + offset;
}

unsigned shared_of_rank(unsigned address, unsigned rank) {
    if (rank >= (unsigned)cluster()->size) fail("block %u of a cluster of %d", rank, cluster()->size);
    return (address & 0xffffff) | (rank + 1) << 24;
}

// dynamic_shared returns the beginning of what the launch asked for, which is
// aligned to no more than the kernel asks for.
char *dynamic_shared(unsigned align) {
    char *p = current->block->arena + DYNAMIC_SHARED;
    return align >= 1024 ? p : p + align;
}

namespace {

std::vector<char *> arenas;

char *arena(size_t i) {
    while (arenas.size() <= i) {
        char *p = (char *)mmap(nullptr, ARENA + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (p == MAP_FAILED) {
            fprintf(stderr, "emulated: no memory for shared memory\n");
            abort();
        }
        mprotect(p + ARENA, 4096, PROT_NONE);
        arenas.push_back(p);
    }
    return arenas[i];
}

constexpr unsigned CANARY = 1024; // bytes behind dynamic shared memory
constexpr unsigned char CANARY_BYTE = 0xa5;

void prepare_shared(Block *b) {
    b->initialised = 0;
    memset(b->arena + DYNAMIC_SHARED, 0xff, now.shared + 1024);
    memset(b->arena + DYNAMIC_SHARED + now.shared + 1024, CANARY_BYTE, CANARY);
}

void check_shared(const Block *b) {
    const unsigned char *p = (const unsigned char *)b->arena + DYNAMIC_SHARED + now.shared + 1024;
    for (unsigned i = 0; i < CANARY; i++)
        if (p[i] != CANARY_BYTE) fail("a block of index (%u, %u, %u) has written behind its %u bytes of dynamic shared memory", b->index.x, b->index.y, b->index.z, now.shared);
}

} // namespace

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

// ---- copies in the background ----

namespace {

// start puts poison where a copy will land: whoever reads it early shall see.
Copy start(char *to, const char *from, unsigned bytes, int group, unsigned long long *barrier) {
    memset(to, 0xff, bytes);
    return {to, from, bytes, group, barrier};
}

void deliver(const Copy &c) {
    if (c.from) memcpy(c.to, c.from, c.bytes);
    else memset(c.to, 0, c.bytes);
}

void phase_bytes(unsigned long long *b, int bytes);

void land(std::vector<Copy> &copies, size_t i) {
    const Copy c = copies[i];
    copies[i] = copies.back();
    copies.pop_back();
    deliver(c);
    if (c.barrier) phase_bytes(c.barrier, -(int)c.bytes);
}

// What threads have not waited for, by their place among the resident ones.
std::vector<std::vector<Copy>> pending;

// land_async ends the copies of a thread but for those of its last groups.
void land_async(Thread *t, int groups) {
    std::vector<Copy> &list = pending[t->number];
    size_t kept = 0;
    for (size_t i = 0; i < list.size(); i++)
        if (list[i].group < t->opened - groups) deliver(list[i]);
        else list[kept++] = list[i];
    list.resize(kept);
}

} // namespace

void copy_async(char *to, const char *from, unsigned bytes) {
    Copy c = start(to, from, bytes, current->opened, nullptr);
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

namespace {

struct Phase {
    unsigned pending, arrivals;
    int bytes;
    unsigned parity;
};
constexpr unsigned MARK = 0x5a >> 1;

Phase phase_read(const unsigned long long *b) {
    const unsigned long long v = *b;
    if ((v >> 57) != MARK) fail("a barrier in memory that was not initialised, or overwritten");
    return {unsigned(v & 0xffff), unsigned(v >> 16 & 0xffff), int(v >> 32 << 8) >> 8, unsigned(v >> 56 & 1)};
}

void phase_write(unsigned long long *b, const Phase &p) {
    *b = (unsigned long long)MARK << 57 | (unsigned long long)p.parity << 56 | (unsigned long long)(p.bytes & 0xffffff) << 32 | p.arrivals << 16 | p.pending;
}

// phase_check ends the phase if nothing is to come.
void phase_check(unsigned long long *b, Phase p) {
    const bool over = p.pending == 0 && p.bytes == 0;
    if (over) p.pending = p.arrivals, p.parity ^= 1;
    phase_write(b, p);
    if (!over) return;
    for (Block *k : resident)
        for (int i = 0; i < k->threads; i++)
            if (k->thread[i].at == b && k->thread[i].waits) wake(k->thread + i);
}

void phase_bytes(unsigned long long *b, int bytes) {
    Phase p = phase_read(b);
    p.bytes += bytes;
    phase_check(b, p);
}

} // namespace

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

void copy_bulk(char *to, const char *from, unsigned bytes, unsigned long long *b) {
    if ((uintptr_t)to % 16 || (uintptr_t)from % 16 || bytes % 16) fail("a bulk copy of %u bytes from %p to shared memory at %#x: want multiples of 16", bytes, from, shared_offset(to));
    phase_read(b);
    now.bulk.push_back(start(to, from, bytes, 0, b));
    pause();
}

unsigned long long clock() { return now.switches * 32; }

// ---- launches ----

static Kernel *kernels;

void Kernel::register_() {
    next = kernels;
    kernels = this;
}

namespace {

// Request is launchRequest in emulated.go.
struct Request {
    Kernel *kernel;
    Dim grid, block, cluster;
    unsigned shared, cooperative;
    uint64_t seed;
    void **parameters;
    char *message;
    uint64_t message_size;
    uint64_t switches; // out
};

std::vector<Block> blocks;
std::vector<Warp> warps;
std::vector<Thread> threads;
std::vector<Cluster> clusters;

// Shape is how many blocks are resident at a time.
struct Shape {
    unsigned per_cluster, per_wave; // blocks; clusters
    unsigned threads, warps;        // of a block
};

void prepare_thread(Thread &t, Block *b, int i, size_t number) {
    t = {};
    const unsigned n = i;
    t.index = {n % block_size.x, n / block_size.x % block_size.y, n / (block_size.x * block_size.y)};
    t.lane = i & 31;
    t.block = b;
    t.warp = b->warp + i / 32;
    t.number = number;
    pending[number].clear();
    t.stack_pointer = new_stack(stack(number));
    t.warp->lanes[t.lane] = &t;
    t.warp->alive |= 1u << t.lane;
    wake(&t);
}

void prepare_block(const Shape &s, size_t i, Dim index, Cluster *c, int rank) {
    Block &b = blocks[i];
    b = {};
    b.index = index;
    b.arena = arena(i);
    b.threads = b.alive = s.threads;
    b.warps = s.warps;
    b.warp = &warps[i * s.warps];
    b.thread = &threads[i * s.threads];
    if (s.per_cluster > 1 || c) b.cluster = c, b.rank = rank, c->blocks[rank] = &b;
    for (unsigned w = 0; w < s.warps; w++) b.warp[w] = {}, b.warp[w].block = &b, b.warp[w].place = -1;
    for (unsigned t = 0; t < s.threads; t++) prepare_thread(b.thread[t], &b, t, i * s.threads + t);
    prepare_shared(&b);
    resident.push_back(&b);
    now.left += s.threads;
}

// Places maps numbers of clusters to the indices of their blocks.
struct Places {
    Dim grid, cluster;
    Dim block(unsigned number, unsigned rank) const {
        const unsigned nx = grid.x / cluster.x, ny = grid.y / cluster.y;
        return {number % nx * cluster.x + rank % cluster.x, number / nx % ny * cluster.y + rank / cluster.x % cluster.y,
                number / (nx * ny) * cluster.z + rank / (cluster.x * cluster.y)};
    }
};

void run_wave(const Shape &s, const Places &places, const std::vector<unsigned> &order, size_t from, size_t to, bool clustered) {
    now.ready.clear();
    resident.clear();
    now.left = 0;
    size_t n = 0;
    for (size_t i = from; i < to; i++) {
        Cluster &c = clusters[i - from];
        c = {};
        c.size = s.per_cluster;
        c.alive = s.per_cluster * s.threads;
        for (unsigned r = 0; r < s.per_cluster; r++) prepare_block(s, n++, places.block(order[i], r), clustered ? &c : nullptr, r);
    }
    Thread *first = choose(nullptr);
    current = first;
    switch_stack(&now.main, first->stack_pointer);
    current = nullptr;
    if (now.failed) return;
    if (!now.bulk.empty()) fail("%zu bulk copies are under way when the kernel ends", now.bulk.size());
    for (Block *b : resident) check_shared(b);
}

// run_launch runs all blocks, in waves, in random order.
void run_launch(const Request &r) {
    const Dim fixed = {r.kernel->cluster, 1, 1};
    if (fixed.x && r.cluster.x && fixed.x != r.cluster.x) fail("clusters of %u blocks, its code has %u", r.cluster.x, fixed.x);
    const bool clustered = fixed.x || r.cluster.x;
    const Dim cluster = r.cluster.x ? r.cluster : fixed.x ? fixed : Dim{1, 1, 1};
    const Places places = {r.grid, cluster};
    if (r.grid.x % cluster.x || r.grid.y % cluster.y || r.grid.z % cluster.z) fail("the grid is no multiple of its clusters");
    Shape s;
    s.per_cluster = cluster.x * cluster.y * cluster.z;
    s.threads = r.block.x * r.block.y * r.block.z;
    s.warps = (s.threads + 31) / 32;
    if (s.per_cluster > 16) fail("clusters of %u blocks", s.per_cluster);
    if (r.kernel->max_threads && s.threads > r.kernel->max_threads) fail("%u threads, its launch bound is %u", s.threads, r.kernel->max_threads);
    if (r.shared > ARENA - DYNAMIC_SHARED - 2 * CANARY) fail("%u bytes of shared memory", r.shared);
    const size_t number = (size_t)r.grid.x * r.grid.y * r.grid.z / s.per_cluster;
    const size_t most = r.cooperative ? number : 1 + 1024 / (s.per_cluster * s.threads);
    const size_t limit = most < number ? most : number;
    s.per_wave = limit < 3 || r.cooperative ? limit : 3;
    clusters.resize(s.per_wave);
    blocks.resize(s.per_wave * s.per_cluster);
    warps.resize(blocks.size() * s.warps);
    threads.resize(blocks.size() * s.threads);
    if (pending.size() < threads.size()) pending.resize(threads.size());
    std::vector<unsigned> order(number);
    for (size_t i = 0; i < number; i++) {
        const size_t k = draw() % (i + 1);
        order[i] = order[k], order[k] = i;
    }
    for (size_t at = 0; at < number && !now.failed;) {
        const size_t n = r.cooperative ? number : 1 + draw() % s.per_wave;
        const size_t end = at + n < number ? at + n : number;
        run_wave(s, places, order, at, end, clustered);
        at = end;
    }
}

} // namespace
} // namespace emulated

#define EXPORTED extern "C" __attribute__((visibility("default")))

// emulated_kernel returns the number-th kernel, its name, and its parameters'
// sizes; null past the last one.
EXPORTED emulated::Kernel *emulated_kernel(long number, char *name, long name_size, unsigned *sizes, long *parameters) {
    emulated::Kernel *k = emulated::kernels;
    while (k && number-- > 0) k = k->next;
    if (!k) return nullptr;
    snprintf(name, name_size, "%s", k->name);
    for (int i = 0; i < k->parameters && i < *parameters; i++) sizes[i] = k->sizes[i];
    *parameters = k->parameters;
    return k;
}

// emulated_launch runs a kernel to its end. The result is 0, or 1 with a
// message.
EXPORTED long emulated_launch(emulated::Request *r) {
    using namespace emulated;
    current = nullptr;
    now.kernel = r->kernel, now.shared = r->shared, now.random = r->seed * 0x9e3779b97f4a7c15ull | 1;
    now.bulk.clear(), now.variables.clear(), now.offsets.clear();
    now.static_shared = 0, now.spins = 0, now.switches = 0, now.failed = false;
    grid_size = r->grid, block_size = r->block, parameters = r->parameters;
    for (int i = 0; i < 8; i++) draw();
    if (setjmp(now.start) == 0) run_launch(*r);
    r->switches = now.switches;
    if (!now.failed) return 0;
    snprintf(r->message, r->message_size, "%s", now.message);
    return 1;
}

// ---- what the compiler's checks report ----

namespace {
struct Place {
    const char *file;
    unsigned line, column;
};
struct Mismatch {
    Place place;
    const void *type;
    unsigned char log_align, kind;
};
struct Bounds {
    Place place;
};
} // namespace

#define REPORT extern "C" __attribute__((visibility("hidden")))

REPORT void __ubsan_handle_type_mismatch_v1_abort(Mismatch *m, void *p) {
    emulated::fail("%s:%u: address %p is not aligned to %u bytes", m->place.file, m->place.line, p, 1u << m->log_align);
}
REPORT void __ubsan_handle_type_mismatch_v1(Mismatch *m, void *p) { __ubsan_handle_type_mismatch_v1_abort(m, p); }
REPORT void __ubsan_handle_out_of_bounds_abort(Bounds *b, long i) { emulated::fail("%s:%u: index %ld is out of bounds", b->place.file, b->place.line, i); }
REPORT void __ubsan_handle_out_of_bounds(Bounds *b, long i) { __ubsan_handle_out_of_bounds_abort(b, i); }
