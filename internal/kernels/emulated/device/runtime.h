// What runs the threads of a kernel: fibers on one thread of the process, which
// give way to each other where they wait. Which one goes on is drawn from a
// seeded generator, so that a barrier that is missing shows as a wrong result
// for some seed.
//
// A few blocks are resident at a time, in clusters where there are clusters;
// all of them in a cooperative launch. Each has an arena of its own for shared
// memory. Memory that nobody has written holds bytes of 0xff: NaN in every
// type.
#pragma once
#include <stddef.h>

namespace emulated {

struct Dim {
    unsigned x, y, z;
};

struct Barrier {
    int arrived, votes;
};

// Resolve computes what the lanes of a warp have come together for.
struct Thread;
typedef void (*Resolve)(Thread *const *lanes, unsigned members);

// Copy is a copy in the background.
struct Copy {
    char *to;
    const char *from; // null: zeros
    unsigned bytes;
    int group;                  // of the thread's cp.async groups
    unsigned long long *barrier; // of a bulk copy
    bool store;                  // of value
    char value[16];
};

struct Warp;
struct Block;

// Thread is one thread of the kernel.
struct Thread {
    void *stack_pointer; // while it does not run
    Dim index;
    int lane;
    Warp *warp;
    Block *block;

    // What it waits for, or has waited for.
    const char *waits; // in words
    const void *at;    // barrier, null once it is over
    Resolve resolve;
    unsigned members;
    void *operands; // of the lanes' operation
    int votes;      // of a barrier, after it

    int opened, cluster_turn;
    size_t number; // among the resident ones
};

struct Warp {
    Block *block;
    Thread *lanes[32];
    unsigned alive, runnable, meeting; // lanes
    int turn;  // the lane that goes on first
    int place; // among the ready warps
};

struct Cluster;

struct Block {
    Dim index;
    char *arena;
    int threads, alive;
    Warp *warp;
    Thread *thread;
    Barrier barriers[16];
    Cluster *cluster;
    int rank;
    unsigned long long initialised; // static shared variables that hold poison or data
};

struct Cluster {
    int size, alive, arrived, turn;
    Block *blocks[16];
};
Cluster *cluster(); // of the block that runs

// Where things lie in the window of shared memory, whose first 1024 bytes
// belong to the system.
constexpr unsigned STATIC_SHARED = 1024, DYNAMIC_SHARED = STATIC_SHARED + 64 * 1024, ARENA = DYNAMIC_SHARED + 256 * 1024;

extern Thread *current;
extern Dim grid_size, block_size;

// ---- what device code calls ----

// fail ends the launch: the device has failed.
[[noreturn]] void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

// pause lets others go on, now and then.
void pause();

// spin lets others go on: the thread looks at memory again and again.
void spin();

// meet waits for the members of the warp to come to the same operation. The
// last one resolves it for all.
void meet(unsigned members, Resolve resolve, void *operands, const char *what);

// barrier waits at a barrier of the block until so many threads have come, all
// that are left if 0, and returns how many voted. barrier_arrive does not wait.
int barrier(int number, int threads, bool vote);
void barrier_arrive(int number, int threads);

void cluster_barrier_arrive();
void cluster_barrier_wait();

// Shared memory as 32-bit addresses: the offset in the arena, and the block's
// rank in its cluster + 1 above, if it is not the thread's own block.
unsigned shared_offset(const void *p);
char *shared_pointer(unsigned address, unsigned bytes, unsigned align);
unsigned shared_of_rank(unsigned address, unsigned rank);
char *dynamic_shared(unsigned align);
struct Variable {
    unsigned size, align, number;
};
void *static_shared(Variable *v);

template <class T> using Same = T;

// DynamicShared is what extern __shared__ declares.
template <class T, int ALIGN> struct DynamicShared {
    operator T *() const { return (T *)dynamic_shared(ALIGN); }
    template <class U> explicit operator U *() const { return (U *)dynamic_shared(ALIGN); }
};

// Copies in the background.
void copy_async(char *to, const char *from, unsigned bytes);
void copy_commit();
void copy_wait(int groups);

// Barriers in memory, and the copies that report to them.
void phase_init(unsigned long long *b, unsigned arrivals);
void phase_arrive(unsigned long long *b, unsigned arrivals, unsigned bytes);
bool phase_test(unsigned long long *b, unsigned parity);
void phase_wait(unsigned long long *b, unsigned parity);
void copy_bulk(char *to, const char *from, unsigned bytes, unsigned long long *b);
void store_async(char *to, const void *value, unsigned bytes, unsigned long long *b);

unsigned long long clock();

// ---- kernels ----

// Kernel is a __global__ function.
struct Kernel {
    const char *name;
    void (*invoke)(const struct Kernel *k);
    void (*function)();
    int parameters;
    const unsigned *sizes;
    unsigned max_threads, cluster; // 0: not given
    Kernel *next;
    void register_();
};

void copy_parameter(void *to, int i, unsigned bytes);

template <class... A> struct Sizes {
    static constexpr unsigned sizes[sizeof...(A) + 1] = {sizeof(A)..., 0};
};

template <class T> T parameter(int i) {
    T v;
    copy_parameter(&v, i, sizeof(T));
    return v;
}

template <int... I> struct Indices {};
template <int N, int... I> struct Count : Count<N - 1, N - 1, I...> {};
template <int... I> struct Count<0, I...> {
    typedef Indices<I...> type;
};

template <class... A, int... I> void invoke(const Kernel *k, Indices<I...>) {
    ((void (*)(A...))k->function)(parameter<A>(I)...);
}

// Register adds a kernel to the list of the library.
template <class... A> struct Register : Kernel {
    Register(const char *name, void (*f)(A...), unsigned max_threads, unsigned cluster) {
        this->name = name;
        this->function = (void (*)())f;
        this->invoke = [](const Kernel *k) { emulated::invoke<A...>(k, typename Count<sizeof...(A)>::type()); };
        this->parameters = sizeof...(A);
        this->sizes = Sizes<A...>::sizes;
        this->max_threads = max_threads;
        this->cluster = cluster;
        register_();
    }
};

} // namespace emulated
