// What the parts of the runtime share.
#pragma once
#include "runtime.h"

#include <csetjmp>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

namespace emulated {

// Region is a piece of the device's memory, or of the host's that it can reach.
struct Region {
    uintptr_t from, to;
};

// Launch is what runs now.
struct Launch {
    const Kernel *kernel;
    void **parameters;
    unsigned shared; // bytes of dynamic shared memory
    uint64_t random;

    std::vector<Block *> resident;
    std::vector<Warp *> ready; // with lanes that can run
    int left;                  // threads of the resident blocks
    std::vector<Copy> bulk;    // under way

    std::vector<Variable *> variables; // static shared ones
    std::vector<unsigned> offsets;     // and where they lie in the arena
    unsigned static_shared;            // bytes
    unsigned dynamic_from;             // where dynamic shared memory begins

    const Region *regions; // by address
    size_t region_count;

    long spins; // without anything else happening
    uint64_t switches;

    void *main;    // the stack that the launch was called on
    jmp_buf start; // and where failures outside of threads go to
    bool failed;
    char message[2048];
};
extern Launch now;

// draw returns 32 random bits.
inline unsigned draw() {
    now.random ^= now.random << 13, now.random ^= now.random >> 7, now.random ^= now.random << 17;
    return now.random >> 32;
}

// ---- fibers.cpp ----

// The world is the memory that threads may touch besides shared memory and that
// of the device: what the runtime keeps of them, and their stacks.
extern char *world;
extern const size_t world_size;
void open_world();
char *reserve(size_t bytes);

// take returns memory for what is kept of a launch's threads.
void *take(size_t bytes);

// new_stack prepares the stack of thread number i.
void *new_stack(size_t i, void (*begin)());

// switch_stack goes on where another stack was left. EMULATED_UCONTEXT makes
// x86-64 do what other processors do.
#if defined(__x86_64__) && !defined(EMULATED_UCONTEXT)
extern "C" void emulated_switch(void **save, void *to);
inline void switch_stack(void **save, void *to) { emulated_switch(save, to); }
#else
void switch_stack(void **save, void *to);
#endif

// ---- schedule.cpp ----

void thread_main();

// run runs the resident threads to their end.
void run();

// give_way goes on with another thread, or with this one if it is chosen.
void give_way();

// sleep goes on with another thread until somebody wakes this one.
void sleep(const char *what, const void *at);
void put_to_sleep(Thread *t, const char *what, const void *at);

void wake(Warp *w, unsigned lanes);

// wake_at wakes the threads of a block that wait at a place.
void wake_at(Block *b, const void *at);

// bit_from returns the first bit that is set from a place on, in a circle.
inline int bit_from(unsigned mask, int place) {
    const unsigned turned = mask >> (place & 31) | mask << (-place & 31);
    return (__builtin_ctz(turned) + place) & 31;
}

// ---- waits.cpp ----

// These look whether all have come.
void check_meeting(Warp *w);
void check_barrier(Block *b, int number, int want);
void check_cluster(Cluster *c);

// ---- memory.cpp ----

void open_arenas();
char *arena(size_t i);
void prepare_shared(Block *b);
void check_access(uintptr_t p, size_t n, const char *what);
void forget_regions();

// ---- copies.cpp ----

void prepare_copies(size_t number);

// land_bulk ends one of the bulk copies.
void land_bulk();
void check_landed(const Block *b); // when it ends

// land_async ends the copies of a thread but for those of its last groups.
void land_async(Thread *t, int groups);

} // namespace emulated
