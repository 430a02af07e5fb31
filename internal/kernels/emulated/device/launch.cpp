// Launches: all blocks of a grid, a few at a time.
#include "internal.h"

namespace emulated {

Dim grid_size, block_size;
static Kernel *kernels;

void Kernel::register_() {
    next = kernels;
    kernels = this;
}

void copy_parameter(void *to, int i, unsigned bytes) { memcpy(to, now.parameters[i], bytes); }

unsigned long long clock() { return now.switches * 32; }

// Request is request in emulated.go.
struct Request {
    const Kernel *kernel;
    Dim grid, block, cluster;
    unsigned shared, cooperative;
    uint64_t seed;
    void **parameters;
    char *message;
    uint64_t message_size;
    uint64_t switches; // out
    const Region *regions;
    uint64_t region_count;
};

// Wave is the blocks that are resident together.
struct Wave {
    Dim grid, cluster;
    bool clustered;
    unsigned per_cluster, most;      // blocks; clusters
    unsigned block_threads, block_warps;
    Cluster *clusters;
    Block *blocks;
    Warp *warps;
    Thread *threads;
};

template <class T> static T *take_all(size_t n) { return (T *)take(n * sizeof(T)); }

// plan checks a launch and reserves what the largest wave takes.
static Wave plan(const Request &r) {
    Wave w = {};
    const Dim fixed = {r.kernel->cluster, 1, 1};
    if (fixed.x && r.cluster.x && fixed.x != r.cluster.x) fail("clusters of %u blocks, its code has %u", r.cluster.x, fixed.x);
    w.grid = r.grid;
    w.clustered = fixed.x || r.cluster.x;
    w.cluster = r.cluster.x ? r.cluster : fixed.x ? fixed : Dim{1, 1, 1};
    w.per_cluster = w.cluster.x * w.cluster.y * w.cluster.z;
    w.block_threads = r.block.x * r.block.y * r.block.z;
    w.block_warps = (w.block_threads + 31) / 32;
    if (r.grid.x % w.cluster.x || r.grid.y % w.cluster.y || r.grid.z % w.cluster.z) fail("the grid is no multiple of its clusters");
    if (w.per_cluster > 16) fail("clusters of %u blocks, at most 16", w.per_cluster);
    if (r.kernel->max_threads && w.block_threads > r.kernel->max_threads) fail("%u threads, its launch bound is %u", w.block_threads, r.kernel->max_threads);
    if (r.shared > ARENA - DYNAMIC_SHARED - 1024) fail("%u bytes of shared memory", r.shared);

    const unsigned clusters = r.grid.x * r.grid.y * r.grid.z / w.per_cluster, fit = 1 + 1024 / (w.per_cluster * w.block_threads);
    w.most = r.cooperative ? clusters : fit < 3 ? fit : 3;
    const size_t blocks = (size_t)w.most * w.per_cluster;
    w.clusters = take_all<Cluster>(w.most);
    w.blocks = take_all<Block>(blocks);
    w.warps = take_all<Warp>(blocks * w.block_warps);
    w.threads = take_all<Thread>(blocks * w.block_threads);
    return w;
}

static void prepare_thread(Thread *t, Block *b, unsigned i, size_t number) {
    *t = {};
    t->index = {i % block_size.x, i / block_size.x % block_size.y, i / (block_size.x * block_size.y)};
    t->lane = i & 31;
    t->block = b;
    t->warp = b->warp + i / 32;
    t->number = number;
    t->waits = "its beginning";
    t->stack_pointer = new_stack(number, thread_main);
    t->warp->lanes[t->lane] = t;
    t->warp->alive |= 1u << t->lane;
    prepare_copies(number);
    wake(t->warp, 1u << t->lane);
}

static void prepare_block(const Wave &w, size_t i, Dim index, Cluster *c, int rank) {
    Block *b = w.blocks + i;
    *b = {};
    b->index = index;
    b->arena = arena(i);
    b->threads = b->alive = w.block_threads;
    b->warp = w.warps + i * w.block_warps;
    b->thread = w.threads + i * w.block_threads;
    b->rank = rank;
    b->cluster = w.clustered ? c : nullptr;
    c->blocks[rank] = b;
    for (unsigned k = 0; k < w.block_warps; k++) b->warp[k] = {};
    for (unsigned k = 0; k < w.block_threads; k++) prepare_thread(b->thread + k, b, k, i * w.block_threads + k);
    prepare_shared(b);
    now.resident.push_back(b);
    now.left += w.block_threads;
}

// index_of returns where a block of a cluster lies in the grid.
static Dim index_of(const Wave &w, unsigned cluster, unsigned rank) {
    const Dim c = w.cluster;
    const unsigned nx = w.grid.x / c.x, ny = w.grid.y / c.y;
    return {cluster % nx * c.x + rank % c.x, cluster / nx % ny * c.y + rank / c.x % c.y, cluster / (nx * ny) * c.z + rank / (c.x * c.y)};
}

static void run_wave(const Wave &w, const unsigned *numbers, size_t n) {
    now.ready.clear();
    now.resident.clear();
    now.left = 0;
    for (size_t i = 0; i < n; i++) {
        Cluster *c = w.clusters + i;
        *c = {};
        c->size = w.per_cluster;
        c->alive = w.per_cluster * w.block_threads;
        for (unsigned r = 0; r < w.per_cluster; r++) prepare_block(w, i * w.per_cluster + r, index_of(w, numbers[i], r), c, r);
    }
    run();
}

// run_grid runs all clusters in a random order.
static void run_grid(const Request &r) {
    const Wave w = plan(r);
    static std::vector<unsigned> order; // static: failures jump out of here
    order.resize((size_t)r.grid.x * r.grid.y * r.grid.z / w.per_cluster);
    for (size_t i = 0; i < order.size(); i++) {
        const size_t k = draw() % (i + 1);
        order[i] = order[k], order[k] = i;
    }
    for (size_t at = 0; at < order.size() && !now.failed;) {
        const size_t left = order.size() - at, n = r.cooperative ? left : 1 + draw() % w.most;
        run_wave(w, order.data() + at, n < left ? n : left);
        at += n;
    }
}

static void open_launch(const Request &r) {
    current = nullptr;
    grid_size = r.grid, block_size = r.block;
    now.kernel = r.kernel, now.parameters = r.parameters, now.shared = r.shared;
    now.regions = r.regions, now.region_count = r.region_count;
    now.random = r.seed * 0x9e3779b97f4a7c15ull | 1;
    now.bulk.clear(), now.variables.clear(), now.offsets.clear();
    now.static_shared = 0, now.dynamic_from = ARENA, now.spins = 0, now.switches = 0, now.failed = false;
    open_world();
    open_arenas();
    forget_regions();
    for (int i = 0; i < 8; i++) draw();
}

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
    using emulated::now;
    open_launch(*r);
    if (setjmp(now.start) == 0) run_grid(*r);
    r->switches = now.switches;
    if (!now.failed) return 0;
    snprintf(r->message, r->message_size, "%s", now.message);
    return 1;
}
